//! The marker that ends a transaction, as a log needs it.

use bytes::Bytes;
use ottla_wire::records::{BatchHeader, ControlRecord, RecordIter};

use crate::limits::BATCH_HEADER_BYTES;

/// The marker that ends a transaction: the record of a control batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether it commits.
    pub commit: bool,
    /// The epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in a batch's first record; none if it is no control batch, or one of another kind.
    #[must_use]
    pub fn parse(header: &BatchHeader, batch: &Bytes) -> Option<Self> {
        if !header.attributes.is_control() || batch.len() < BATCH_HEADER_BYTES {
            return None;
        }
        let payload = batch.slice(BATCH_HEADER_BYTES..);
        let record = RecordIter::new(header, &payload).next()?.ok()?;
        let (key, value) = record.shared(&payload);
        let (commit, marker) = match ControlRecord::decode(&key?, value?).ok()?? {
            ControlRecord::Commit(marker) => (true, marker),
            ControlRecord::Abort(marker) => (false, marker),
            _ => return None,
        };
        Some(Self {
            commit,
            coordinator_epoch: marker.coordinator_epoch,
        })
    }
}
