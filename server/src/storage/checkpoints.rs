//! The checkpoints of a log directory: where each partition's recovery begins, where its log starts,
//! and how far it was settled.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use bytes::Bytes;
use ottla_core::log::checkpoint::{self, Offsets};
use ottla_io::{Disk, Io};

use super::{cell::Cell, directory::Directory, recovery::Known};

const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
const LOG_START: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARK: &str = "replication-offset-checkpoint";

/// The files' names.
pub(super) const NAMES: [&str; 3] = [RECOVERY_POINT, LOG_START, HIGH_WATERMARK];

/// What the three files say.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
}

impl Checkpoints {
    /// What is known of a partition. Without an entry all of it is checked.
    pub(super) fn known(&self, topic: &str, partition: i32, clean: bool) -> Known {
        let key = (topic.to_owned(), partition);
        let of = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or(0);
        Known {
            recovery_point: of(&self.recovery_points),
            log_start: of(&self.log_starts),
            high_watermark: of(&self.high_watermarks),
            cut_to: None,
            clean,
        }
    }
}

impl<I: Io> Directory<I> {
    /// Reads the checkpoints. One that is damaged is left out of account, which costs time but no data:
    /// everything is checked.
    pub(super) async fn read_checkpoints(&self, io: &I) -> io::Result<Checkpoints> {
        Ok(Checkpoints {
            recovery_points: self.read_offsets(io, RECOVERY_POINT).await?,
            log_starts: self.read_offsets(io, LOG_START).await?,
            high_watermarks: self.read_offsets(io, HIGH_WATERMARK).await?,
        })
    }

    async fn read_offsets(&self, io: &I, name: &str) -> io::Result<Offsets> {
        let path = self.path.join(name);
        let contents = match io.disk().read(&path).await {
            Ok(contents) => contents,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Offsets::new()),
            Err(error) => return Err(error),
        };
        Ok(checkpoint::parse_offsets(&contents).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "a checkpoint is damaged: all partitions of the directory are checked in full");
            Offsets::new()
        }))
    }

    /// Writes down where the partitions of this directory stand. One that is offline keeps what was
    /// known of it. `cells` gives the partitions once it is this writer's turn, or none if the storage has
    /// written its last.
    pub(super) async fn write_checkpoints(
        &self,
        io: &I,
        cells: impl FnOnce() -> Option<Vec<Arc<Cell<I>>>> + Send,
    ) -> io::Result<()> {
        // Two writers at once would use the same temporary files, and the later must not have the older
        // view.
        let _writing = self.writing.lock().await;
        let stale = std::mem::take(&mut *self.stale());
        let Some(cells) = cells() else {
            return Err(io::Error::other("the storage is closed"));
        };
        let written = self.write_offsets(io, &cells).await;
        if written.is_err() {
            self.stale().extend(stale);
        }
        written
    }

    async fn write_offsets(&self, io: &I, cells: &[Arc<Cell<I>>]) -> io::Result<()> {
        let known: Vec<_> = cells
            .iter()
            .map(|cell| (cell, cell.state().known()))
            .collect();
        let file = |of: fn(&Known) -> i64, zero: bool| -> Bytes {
            let lines: Vec<_> = known
                .iter()
                .map(|(cell, known)| (cell.name.topic.as_ref(), cell.name.partition, of(known)))
                // A log that starts at 0 needs no line in the log-start file.
                .filter(|(_, _, offset)| zero || *offset > 0)
                .collect();
            checkpoint::format_offsets(lines.into_iter())
        };
        let files = [
            (RECOVERY_POINT, file(|known| known.recovery_point, true)),
            (LOG_START, file(|known| known.log_start, false)),
            (HIGH_WATERMARK, file(|known| known.high_watermark, true)),
        ];
        for (name, contents) in files {
            io.disk().replace(&self.path.join(name), contents).await?;
        }
        Ok(())
    }
}
