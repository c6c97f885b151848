//! Looking offsets up.

use ottla_core::partition::{Isolation, ListedOffset, OffsetSpec};
use ottla_io::Io;

use super::{PartitionHandle, ReadError};

impl<I: Io> PartitionHandle<I> {
    /// Looks an offset up.
    pub async fn list_offset(
        &self,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<i32>,
    ) -> Result<ListedOffset, ReadError> {
        let at = |offset: i64, epoch: i32| ListedOffset {
            offset,
            timestamp: -1,
            leader_epoch: epoch,
        };
        let listed = self.query(|machine| {
            machine.check_online()?;
            machine.check_readable(current_leader_epoch)?;
            let log_start = machine.log().log_start();
            let end = machine.end_for(isolation);
            Ok(match spec {
                OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                    at(log_start, machine.epoch_for(log_start))
                }
                OffsetSpec::EarliestPendingUpload | OffsetSpec::LatestTiered => ListedOffset::NONE,
                OffsetSpec::Latest => at(end, machine.replication().epoch()),
                OffsetSpec::MaxTimestamp | OffsetSpec::Timestamp(_) => ListedOffset::NONE,
            })
        })?;
        Ok(listed)
    }
}
