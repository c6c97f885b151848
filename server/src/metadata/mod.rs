//! The metadata of a cluster whose quorum is this node: the driver of [`ottla_core::controller`].
//!
//! [`Metadata::start`] formats an empty directory, loads the newest snapshot and the log of
//! `__cluster_metadata-0`, makes this node the leader under a new epoch (durable in `quorum-state`
//! before anything else), writes what Kafka's controller writes at this point, and opens this
//! node's partitions. From then on one task takes requests in order, appends the controller's
//! records, and, once they are durable, replays them onto the published image, acts on them, and
//! answers. So when [`Metadata::submit`] returns, the next request of the same client finds the
//! change in the image and in the storage.
//!
//! All files are Kafka's: either broker starts on a directory of the other.

mod driver;
mod format;
mod load;
mod partition_config;
mod publish;
mod quorum;
mod records;
mod snapshot;
mod start;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ottla_core::{
    config::{Entries, Layers, Value},
    controller::{AnswerError, ProducerIdBlock, Request, Response, SelfRegistration},
    metadata::{ConfigResource, Endpoint, MetadataDelta, MetadataImage},
};
use ottla_io::Io;
use ottla_wire::{ErrorCode, Str, Uuid, raft::VotersRecord};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};

pub use format::{BOOTSTRAP, FormatSettings, METADATA_FOLDER, bootstrap_records, format_if_needed};
pub use load::LoadError;
pub use partition_config::partition_config;
pub use quorum::{ControllerEndpoint, QUORUM_STATE, QuorumState};
pub use records::{DecodeBatchError, EncodeBatchError, LogRecord, decode_batches};
pub use snapshot::{SnapshotError, SnapshotId, list_snapshots};
pub use start::StartError;

use crate::config::BrokerConfig;
use crate::storage::PartitionHandle;

/// What the metadata is told when it starts.
#[derive(Clone, Debug)]
pub struct MetadataSettings {
    /// `node.id`.
    pub node_id: i32,
    /// The properties file and its overrides.
    pub file: Entries,
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of the log directories.
    pub metadata_log_dir: PathBuf,
    /// What is told to clients: the advertised listeners with the ports that are bound.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Where the controller is reached. It is written into a new quorum's voters; nothing but
    /// Kafka's own nodes would connect to it.
    pub controller: ControllerEndpoint,
    /// Whether `controller.quorum.voters` makes the quorum a static one.
    pub is_static_quorum: bool,
    /// The ids of the voters that it names.
    pub configured_voters: Vec<i32>,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_bytes_between_snapshots: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` for no limit.
    pub max_snapshot_interval: Option<Duration>,
}

impl MetadataSettings {
    /// From the broker's configuration.
    #[must_use]
    pub fn new(config: &BrokerConfig) -> Self {
        let interval = config.get_ms("metadata.log.max.snapshot.interval.ms");
        let controller = config.controller_listeners.first();
        Self {
            node_id: config.node_id,
            file: config.entries.clone(),
            log_dirs: config.log_dirs.clone(),
            metadata_log_dir: config.metadata_log_dir.clone(),
            endpoints: config
                .advertised_listeners
                .iter()
                .map(|listener| Endpoint {
                    listener: Str::from(&listener.name),
                    host: Str::from(&listener.host),
                    port: listener.port,
                    security_protocol: listener.protocol.id(),
                })
                .collect(),
            rack: config.rack.clone(),
            controller: ControllerEndpoint {
                name: controller
                    .map_or("CONTROLLER", |l| l.name.as_str())
                    .to_owned(),
                host: controller
                    .map(|l| l.host.as_str())
                    .filter(|host| !host.is_empty())
                    .unwrap_or("localhost")
                    .to_owned(),
                port: controller.map_or(9093, |l| l.port),
            },
            is_static_quorum: !config.get_list("controller.quorum.voters").is_empty(),
            // `ID@HOST:PORT,..`
            configured_voters: config
                .get_list("controller.quorum.voters")
                .iter()
                .filter_map(|voter| voter.split('@').next()?.trim().parse().ok())
                .collect(),
            max_bytes_between_snapshots: config
                .get_i64("metadata.log.max.record.bytes.between.snapshots")
                .max(1)
                .cast_unsigned(),
            max_snapshot_interval: (!interval.is_zero()).then_some(interval),
        }
    }
}

/// A change of the metadata that is committed, and that this node has acted on.
#[derive(Clone, Debug)]
pub struct Published {
    /// The offset of the last record that made it.
    pub offset: i64,
    /// What changed. How things are now is in the image.
    pub delta: MetadataDelta,
}

type Follower = Box<dyn Fn(&MetadataImage, &MetadataDelta) + Send + Sync>;
type Asked = (Request, oneshot::Sender<Result<Response, AnswerError>>);

/// The cluster's metadata. Clones are the same.
pub struct Metadata<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> Clone for Metadata<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<I: Io> {
    settings: Arc<MetadataSettings>,
    cluster_id: Str,
    directory_id: Uuid,
    epoch: i32,
    voters: Option<VotersRecord>,
    registration: SelfRegistration,
    log: PartitionHandle<I>,
    image: RwLock<MetadataImage>,
    applied: AtomicI64,
    requests: mpsc::Sender<Asked>,
    followers: std::sync::Mutex<Vec<Follower>>,
    published: broadcast::Sender<Arc<Published>>,
    failed: watch::Sender<Option<Arc<str>>>,
    producer_ids: Mutex<ProducerIdBlock>,
}

impl<I: Io> Shared<I> {
    fn followers(&self) -> std::sync::MutexGuard<'_, Vec<Follower>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_followers(&self, delta: &MetadataDelta) {
        let followers = self.followers();
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        for follower in &*followers {
            follower(&image, delta);
        }
    }
}

impl<I: Io> Metadata<I> {
    /// The image of what is committed and acted on. A guard is not to be held while waiting for
    /// anything: publication waits for it.
    pub fn image(&self) -> RwLockReadGuard<'_, MetadataImage> {
        self.shared
            .image
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the controller. The answer comes after the change is durable and this node has acted
    /// on it.
    pub async fn submit(&self, request: Request) -> Result<Response, AnswerError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.shared.requests.send((request, sender)).await;
        sent.map_err(|_| AnswerError::not_controller())?;
        answer
            .await
            .unwrap_or_else(|_| Err(AnswerError::not_controller()))
    }

    /// Tells clients other addresses of this broker.
    pub async fn advertise(&self, endpoints: Vec<Endpoint>) -> Result<(), AnswerError> {
        let broker_id = self.shared.settings.node_id;
        let registration = SelfRegistration {
            endpoints,
            ..self.shared.registration.clone()
        };
        self.submit(Request::RegisterBroker(Box::new(registration)))
            .await?;
        self.submit(Request::UnfenceBroker { broker_id }).await?;
        Ok(())
    }

    /// A producer id that nobody else has, from this broker's block.
    pub async fn next_producer_id(&self) -> Result<i64, AnswerError> {
        let mut block = self.shared.producer_ids.lock().await;
        if block.length == 0 {
            let broker_id = self.shared.settings.node_id;
            match self
                .submit(Request::AllocateProducerIds { broker_id })
                .await?
            {
                Response::ProducerIds(new) => *block = new,
                _ => return Err(UNEXPECTED_ANSWER),
            }
        }
        let id = block.first;
        block.first += 1;
        block.length -= 1;
        Ok(id)
    }

    /// Has `follower` told of every change, after this node's partitions follow it and before
    /// anyone is answered; and of the whole image now. It must not wait, nor ask for the image.
    pub fn follow(
        &self,
        follower: impl Fn(&MetadataImage, &MetadataDelta) + Send + Sync + 'static,
    ) {
        let mut followers = self.shared.followers();
        let image = self.image();
        let mut all = MetadataDelta::default();
        all.mark_all(&image);
        follower(&image, &all);
        followers.push(Box::new(follower));
    }

    /// The changes from now on, each after this node acted on it. Who lags too far behind is told
    /// so and must look at the image.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.shared.published.subscribe()
    }

    /// Becomes `Some(why)` when the metadata log can no longer be written: the node must end, and
    /// recover when it starts again.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.failed.subscribe()
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &MetadataSettings {
        &self.shared.settings
    }

    /// `node.id`.
    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.shared.settings.node_id
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &Str {
        &self.shared.cluster_id
    }

    /// The id of the directory that the metadata log is in.
    #[must_use]
    pub fn directory_id(&self) -> Uuid {
        self.shared.directory_id
    }

    /// The epoch in which this node leads the quorum.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.shared.epoch
    }

    /// The voters of a dynamic quorum; `None` for a static one.
    #[must_use]
    pub fn voters(&self) -> Option<&VotersRecord> {
        self.shared.voters.as_ref()
    }

    /// The partition that the metadata is in.
    #[must_use]
    pub fn log(&self) -> &PartitionHandle<I> {
        &self.shared.log
    }

    /// The offset of the last record that is in the image.
    #[must_use]
    pub fn applied_offset(&self) -> i64 {
        self.shared.applied.load(Ordering::Acquire)
    }

    /// Asks something of this broker's configuration as it is now, dynamic changes included.
    pub fn with_broker_layers<T>(&self, ask: impl FnOnce(&MetadataImage, &Layers<'_>) -> T) -> T {
        let image = self.image();
        let layers = Layers {
            broker: image.configs(&ConfigResource::broker(self.shared.settings.node_id)),
            cluster: image.configs(&ConfigResource::broker_default()),
            file: &self.shared.settings.file,
        };
        ask(&image, &layers)
    }

    /// The value in force of a broker key, dynamic changes included.
    #[must_use]
    pub fn broker_value(&self, name: &str) -> Option<Value> {
        self.with_broker_layers(|_, layers| layers.broker_value(name))
    }

    /// Whether a broker key that is true or false is true now.
    #[must_use]
    pub fn broker_flag(&self, name: &str) -> bool {
        self.broker_value(name) == Some(Value::Boolean(true))
    }

    /// The value in force of a topic key.
    #[must_use]
    pub fn topic_value(&self, topic: &str, name: &str) -> Option<Value> {
        self.with_broker_layers(|image, layers| {
            layers.topic_value(name, image.topic_configs(topic))
        })
    }
}

/// The controller answered another question: a fault of ours.
const UNEXPECTED_ANSWER: AnswerError = AnswerError {
    code: ErrorCode::UnknownServerError,
    message: "The controller's answer is of another kind than the request.",
};
