//! Starting: from a directory, formatted or not, to a node that leads its quorum and its partitions.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, RwLock, atomic::AtomicI64},
};

use ottla_core::{
    controller::{
        AnswerError, Controller, ControllerSettings, Input, ProducerIdBlock, Request, Response,
        SelfRegistration, broker_features,
    },
    limits::{CONTROLLER_REQUESTS_WAITING_MAX, METADATA_DELTAS_WAITING_MAX},
    log::checkpoint,
};
use ottla_io::{Disk, Io};
use ottla_wire::{
    Str, Uuid,
    metadata::{
        RegisterControllerRecord,
        register_controller_record::{ControllerEndpoint as Reached, ControllerFeature},
    },
};
use tokio::sync::{Mutex, broadcast, mpsc, watch};

use super::{
    Metadata, MetadataSettings, Shared,
    driver::{DriveError, Driver},
    format::{FormatSettings, METADATA_FOLDER, format_if_needed},
    load::{LoadError, Loaded, load_bootstrap, load_log, load_snapshot},
    partition_config::metadata_partition_config,
    publish::Publisher,
    quorum::{QUORUM_STATE, QuorumState, leader_change, quorum_records},
    records::{EncodeBatchError, encode_control},
    snapshot::SnapshotError,
};
use crate::storage::{
    Acks, AppendError, CreateError, Origin, PartitionHandle, Storage, TopicPartition,
};

/// Why the metadata cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// `meta.properties` does not name the directory.
    #[error("{path} has no directory.id")]
    NoDirectoryId {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be formatted.
    #[error(transparent)]
    Format(#[from] SnapshotError),
    /// What is in the directory cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The quorum has other members: this node alone may not lead it.
    #[error(
        "the metadata quorum has the voters {voters:?}; this version runs a quorum of one, node {node_id}"
    )]
    NotAlone {
        /// This node.
        node_id: i32,
        /// The voters that are written down.
        voters: Vec<i32>,
    },
    /// The metadata partition cannot be opened.
    #[error(transparent)]
    Partition(#[from] CreateError),
    /// The first record of the epoch cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeBatchError),
    /// The metadata log cannot be written.
    #[error("the metadata log cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The first records cannot be written.
    #[error("the node cannot take up its quorum: {0}")]
    Activate(String),
    /// The controller refuses this node.
    #[error("the controller refuses this node: {0}")]
    Refused(#[from] AnswerError),
}

impl From<DriveError> for StartError {
    fn from(error: DriveError) -> Self {
        Self::Activate(error.to_string())
    }
}

impl<I: Io> Metadata<I> {
    /// Loads the metadata, takes up the leadership, registers this broker and opens its partitions.
    pub async fn start(
        io: I,
        settings: MetadataSettings,
        storage: Storage<I>,
    ) -> Result<Self, StartError> {
        let settings = Arc::new(settings);
        check_alone(settings.node_id, settings.configured_voters.clone())?;
        let folder = settings.metadata_log_dir.join(METADATA_FOLDER);
        let directory_id = directory_id(&io, settings.metadata_log_dir.clone()).await?;
        format(&io, &settings, directory_id).await?;
        let state = read_quorum_state(&io, &folder).await?;
        let known_epoch = state.as_ref().map_or(0, |state| state.leader_epoch);
        let name = TopicPartition::new("__cluster_metadata", 0);
        let config = metadata_partition_config(&settings.file);
        let id = Uuid::METADATA_TOPIC;
        let log = storage
            .create(name.clone(), id, config, known_epoch)
            .await?;

        let new_controller = || {
            Controller::new(ControllerSettings {
                node_id: settings.node_id,
                file: settings.file.clone(),
                max_bytes_between_snapshots: settings.max_bytes_between_snapshots,
                max_snapshot_interval: settings.max_snapshot_interval,
            })
        };
        let (mut controller, mut loaded) =
            load_snapshot(&io, folder.clone(), new_controller).await?;
        load_log(&log, folder.clone(), &mut controller, &mut loaded).await?;
        let bootstrap = load_bootstrap(&io, &settings.metadata_log_dir).await?;
        check_alone(settings.node_id, known_voters(&loaded, state.as_ref()))?;

        let epoch = known_epoch.max(loaded.epoch) + 1;
        lead(
            &io,
            &folder,
            settings.node_id,
            epoch,
            loaded.voters.is_some(),
        )
        .await?;
        storage.set_leader(&name, epoch);
        let log_end = begin_epoch(&io, &log, settings.node_id, epoch, &loaded).await?;

        let (requests, receiver) = mpsc::channel(CONTROLLER_REQUESTS_WAITING_MAX);
        let shared = Arc::new(Shared {
            cluster_id: Str::from(storage.cluster_id()),
            directory_id,
            epoch,
            voters: loaded.voters,
            registration: registration(&io, &settings).await?,
            log,
            image: RwLock::new(controller.image().clone()),
            applied: AtomicI64::new(log_end - 1),
            requests,
            followers: std::sync::Mutex::new(Vec::new()),
            published: broadcast::channel(METADATA_DELTAS_WAITING_MAX).0,
            failed: watch::channel(None).0,
            producer_ids: Mutex::new(ProducerIdBlock {
                first: 0,
                length: 0,
            }),
            settings: Arc::clone(&settings),
        });
        let publisher = Publisher::new(storage, Arc::clone(&settings));
        let mut driver = Driver::new(
            io.clone(),
            Arc::clone(&shared),
            controller,
            publisher,
            folder,
            loaded.timestamp,
        );
        driver
            .settle(Input::BecameLeader {
                epoch,
                log_end,
                bootstrap,
            })
            .await?;
        register(&mut driver, &settings, random_uuid(&io)).await?;
        driver.go_live().await;
        io.spawn_detached("metadata", Box::pin(driver.run(receiver)));
        Ok(Self { shared })
    }
}

async fn format<I: Io>(
    io: &I,
    settings: &MetadataSettings,
    directory_id: Uuid,
) -> Result<(), StartError> {
    let settings = FormatSettings {
        directory: settings.metadata_log_dir.clone(),
        node_id: settings.node_id,
        directory_id,
        endpoint: (!settings.is_static_quorum).then(|| settings.controller.clone()),
    };
    if format_if_needed(io, &settings).await? {
        tracing::info!(directory = %settings.directory.display(), "formatted for a new cluster");
    }
    Ok(())
}

/// The `directory.id` of a log directory.
async fn directory_id<I: Io>(io: &I, directory: PathBuf) -> Result<Uuid, StartError> {
    let path = directory.join("meta.properties");
    let bytes = match io.disk().read(&path).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(StartError::Io { path, source }),
    };
    let properties = checkpoint::parse_meta_properties(&bytes);
    let id = properties
        .ok()
        .and_then(|p| p.directory_id)
        .and_then(|id| id.parse().ok());
    id.ok_or(StartError::NoDirectoryId { path })
}

async fn read_quorum_state<I: Io>(
    io: &I,
    folder: &std::path::Path,
) -> Result<Option<QuorumState>, StartError> {
    let path = folder.join(QUORUM_STATE);
    let state = QuorumState::read(io.disk(), &path).await;
    state.map_err(|source| StartError::Io { path, source })
}

/// The voters that the metadata directory names.
fn known_voters(loaded: &Loaded, state: Option<&QuorumState>) -> Vec<i32> {
    match (&loaded.voters, state) {
        (Some(voters), _) => voters.voters.iter().map(|v| v.voter_id).collect(),
        (None, Some(state)) => state.voters().collect(),
        (None, None) => Vec::new(),
    }
}

/// Refuses a quorum with other members than this node.
fn check_alone(node_id: i32, voters: Vec<i32>) -> Result<(), StartError> {
    if voters.iter().any(|voter| *voter != node_id) {
        return Err(StartError::NotAlone { node_id, voters });
    }
    Ok(())
}

/// Makes it durable that this node leads in `epoch`, before it acts on it.
async fn lead<I: Io>(
    io: &I,
    folder: &std::path::Path,
    node_id: i32,
    epoch: i32,
    is_dynamic: bool,
) -> Result<(), StartError> {
    let path = folder.join(QUORUM_STATE);
    let written = QuorumState::leading(node_id, epoch, is_dynamic)
        .write(io.disk(), &path)
        .await;
    written.map_err(|source| StartError::Io { path, source })
}

/// Appends the record with which the epoch begins, and in the log's first one the quorum's voters.
/// Gives the offset after it.
async fn begin_epoch<I: Io>(
    io: &I,
    log: &PartitionHandle<I>,
    node_id: i32,
    epoch: i32,
    loaded: &Loaded,
) -> Result<i64, StartError> {
    let mut records = vec![leader_change(node_id)];
    if !loaded.voters_in_log {
        records.extend(quorum_records(loaded.voters.as_ref()));
    }
    let batch = encode_control(&records, loaded.next_offset, epoch, io.now().wall.0)?;
    let appended = log.append(batch, Acks::All, Origin::RaftLeader).await?;
    Ok(appended.last_offset + 1)
}

/// What this run of the broker says of itself.
async fn registration<I: Io>(
    io: &I,
    settings: &MetadataSettings,
) -> Result<SelfRegistration, StartError> {
    let mut log_dirs = Vec::new();
    for directory in &settings.log_dirs {
        log_dirs.push(directory_id(io, directory.clone()).await?);
    }
    log_dirs.sort_unstable();
    Ok(SelfRegistration {
        broker_id: settings.node_id,
        incarnation: random_uuid(io),
        endpoints: settings.endpoints.clone(),
        rack: settings.rack.as_deref().map(Str::from),
        log_dirs,
    })
}

fn random_uuid<I: Io>(io: &I) -> Uuid {
    let mut bytes = [0; 16];
    io.fill_random(&mut bytes);
    Uuid::from_random(bytes)
}

/// Registers this node as controller and broker, and makes it the leader of its partitions.
async fn register<I: Io>(
    driver: &mut Driver<I>,
    settings: &MetadataSettings,
    incarnation: Uuid,
) -> Result<(), StartError> {
    let controller = controller_record(settings, incarnation);
    driver
        .ask(Request::RegisterController(controller))
        .await??;
    let registration = Box::new(driver.shared.registration.clone());
    driver.ask(Request::RegisterBroker(registration)).await??;
    let broker_id = settings.node_id;
    driver.ask(Request::UnfenceBroker { broker_id }).await??;
    let mut from = None;
    loop {
        match driver
            .ask(Request::ElectAfterRestart { broker_id, from })
            .await??
        {
            Response::Elected { next: Some(next) } => from = Some(next),
            _ => return Ok(()),
        }
    }
}

fn controller_record(settings: &MetadataSettings, incarnation: Uuid) -> RegisterControllerRecord {
    let feature = |(name, versions): (&'static str, ottla_core::metadata::SupportedVersions)| {
        ControllerFeature {
            name: Str::from_static(name),
            min_supported_version: versions.min,
            max_supported_version: versions.max,
            ..Default::default()
        }
    };
    RegisterControllerRecord {
        controller_id: settings.node_id,
        incarnation_id: incarnation,
        end_points: vec![Reached {
            name: Str::from(&settings.controller.name),
            host: Str::from(&settings.controller.host),
            port: settings.controller.port,
            ..Default::default()
        }],
        features: broker_features().into_iter().map(feature).collect(),
        ..Default::default()
    }
}
