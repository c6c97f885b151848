//! Opening one partition's log after a stop, clean or not: reads what the log's machines ask for and
//! performs what they push.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use ottla_core::{
    limits,
    log::{
        Effect, FileName, Listed, Log, Recovered, Recovery, RecoveryError, RecoveryInput, Request,
        Step, TruncationStep, checkpoint, read::Damaged,
    },
    partition::{Partition, PartitionConfig, TopicPartition},
};
use ottla_io::{Disk, File, Io, OpenMode};

use super::{
    cell::Identity,
    lanes::{self, Place},
};

/// What is known of a partition's log before its files are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Below it everything was synced.
    pub(super) recovery_point: i64,
    /// Where the log starts.
    pub(super) log_start: i64,
    /// How far it was settled.
    pub(super) high_watermark: i64,
    /// A write or a sync failed: what lies from here on is taken for lost, whatever the files show.
    pub(super) cut_to: Option<i64>,
    /// Whether it was closed in good order.
    pub(super) clean: bool,
}

/// Why a partition cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file cannot be synced: what is not durable yet may be lost.
    #[error("a sync failed: {0}")]
    Sync(io::Error),
    /// What was durable is damaged.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// What is to be cut is damaged.
    #[error(transparent)]
    Truncation(#[from] Damaged),
}

impl RecoverError {
    /// Whether it may be another time: the disk failed, nothing is known to be damaged.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Sync(_))
    }
}

/// How often a file that says of which topic a folder is may fail to be read before it is given up.
const IDENTITY_READS_MAX: u32 = 8;

/// The topic, as the folder says.
pub(super) async fn identity<I: Io>(place: &Place<I>) -> Identity {
    let path = place.path(FileName::PartitionMetadata);
    let mut reads = 0;
    let contents = loop {
        reads += 1;
        match place.io.disk().read(&path).await {
            Ok(contents) => break contents,
            Err(error) if error.kind() == ErrorKind::NotFound => return Identity::Unsaid,
            Err(_) if reads < IDENTITY_READS_MAX => {
                place.io.sleep(limits::PARTITION_REOPEN_DELAY_MIN).await;
            }
            Err(_) => return Identity::Unreadable,
        }
    };
    let id = checkpoint::parse_partition_metadata(&contents);
    id.ok()
        .and_then(|id| id.parse().ok())
        .map_or(Identity::Unreadable, Identity::Topic)
}

/// Opens a partition.
pub(super) async fn open<I: Io>(
    place: &Place<I>,
    name: &TopicPartition,
    node_id: i32,
    config: PartitionConfig,
    known: Known,
) -> Result<Partition, RecoverError> {
    let now = place.io.now();
    let listed = place.io.disk().list(&place.folder).await?;
    let files = listed
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .map(|entry| Listed {
            name: entry.name,
            len: entry.len,
        })
        .collect();
    let mut recovery = Recovery::new(RecoveryInput {
        config: config.log.clone(),
        files,
        recovery_point: known.recovery_point,
        log_start: known.log_start,
        clean: known.clean,
        now: now.wall,
        seed: place.io.random_u64(),
    });
    let (mut effects, mut read) = (Vec::new(), None);
    let recovered = loop {
        let step = recovery.step(read.take(), &mut effects);
        perform_all(place, &mut effects).await?;
        match step? {
            Step::Read(request) => read = Some(read_file(place, request).await?),
            Step::Done(recovered) => break *recovered,
        }
    };
    report(name, place, &recovered, known);
    let mut log = recovered.log;
    if let Some(offset) = known.cut_to {
        // Below the log's start there is nothing that could be lost.
        let offset = offset.max(log.log_start());
        cut(place, &mut log, offset).await?;
    }
    Ok(Partition::open(node_id, log, config, known.high_watermark))
}

/// Cuts a log so that it ends at `offset`.
async fn cut<I: Io>(place: &Place<I>, log: &mut Log, offset: i64) -> Result<(), RecoverError> {
    let Some(mut truncation) = log.truncate_to(offset, place.io.now().wall) else {
        return Ok(());
    };
    let (mut effects, mut read) = (Vec::new(), None);
    loop {
        let step = truncation.step(log, read.take(), &mut effects);
        perform_all(place, &mut effects).await?;
        match step? {
            TruncationStep::Read(request) => read = Some(read_file(place, request).await?),
            TruncationStep::Done => return Ok(()),
        }
    }
}

async fn perform_all<I: Io>(
    place: &Place<I>,
    effects: &mut Vec<Effect>,
) -> Result<(), RecoverError> {
    for effect in effects.drain(..) {
        let syncs = matches!(effect, Effect::Sync(_) | Effect::SyncDir);
        match lanes::perform(place, effect).await {
            Err(error) if syncs => return Err(RecoverError::Sync(error)),
            result => result?,
        }
    }
    Ok(())
}

async fn read_file<I: Io>(place: &Place<I>, request: Request) -> io::Result<Bytes> {
    let Request {
        file,
        mark,
        at,
        len,
    } = request;
    let opened = match mark {
        None => place.open(file, OpenMode::Read).await,
        Some(mark) => {
            let path = place.folder.join(file.marked(mark));
            place.io.disk().open(&path, OpenMode::Read).await
        }
    };
    match opened {
        Ok(file) => file.read_at(at, len).await,
        // A file that is not there has no bytes: the machine judges that.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Bytes::new()),
        Err(error) => Err(error),
    }
}

/// Says in one line what was found out of order.
fn report<I: Io>(name: &TopicPartition, place: &Place<I>, recovered: &Recovered, known: Known) {
    let folder = place.folder.display();
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            partition = %name, %folder, file = %cut.file, position = cut.position, offset = cut.offset,
            bytes = cut.bytes, reason = %cut.reason,
            "cut a torn tail that was never synced: the log ends at offset {}", cut.offset
        );
    }
    if let Some(log_end) = recovered.discarded {
        tracing::warn!(
            partition = %name, %folder, log_end, log_start = recovered.log.log_start(),
            "all of the log lies below its start: it was removed and begins anew there"
        );
    }
    if !known.clean {
        tracing::debug!(
            partition = %name, log_end = recovered.log.log_end(), bytes_checked = recovered.bytes_checked,
            indexes_rebuilt = recovered.indexes_rebuilt, "recovered after an unclean stop"
        );
    }
}
