//! Metadata records in batches: as the log and snapshots hold them.

use bytes::Bytes;
use ottla_core::metadata::record_version;
use ottla_wire::{
    DecodeError, EncodeError,
    metadata::MetadataRecord,
    records::{
        BatchBuilder, BatchError, BuildError, ControlBuildError, ControlError, ControlRecord,
        RecordError, RecordIter, batches,
    },
};

/// The largest payload of one batch: as much as Kafka's own limit for a batch of the metadata log.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// Why records cannot be put into a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeBatchError {
    /// A record has what its version cannot say.
    #[error(transparent)]
    Record(#[from] EncodeError),
    /// The batch is full.
    #[error(transparent)]
    Batch(#[from] BuildError),
    /// A control record does not fit.
    #[error(transparent)]
    Control(#[from] ControlBuildError),
}

/// Why a log or snapshot cannot be understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeBatchError {
    /// A batch is damaged.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A batch's payload cannot be decompressed.
    #[error("the batch at offset {offset} cannot be decompressed: {why}")]
    Compression {
        /// The batch's first offset.
        offset: i64,
        /// What is wrong.
        why: String,
    },
    /// A record is damaged.
    #[error("the batch at offset {offset}: {error}")]
    Record {
        /// The batch's first offset.
        offset: i64,
        /// What is wrong.
        error: RecordError,
    },
    /// A record is of a type or version that is not known here.
    #[error("the record at offset {offset}: {error}")]
    Unknown {
        /// The record's offset.
        offset: i64,
        /// What is wrong.
        error: DecodeError,
    },
    /// A control record is damaged.
    #[error("the control record at offset {offset}: {error}")]
    Control {
        /// The record's offset.
        offset: i64,
        /// What is wrong.
        error: ControlError,
    },
}

/// One record of the metadata log.
#[derive(Clone, Debug, PartialEq)]
pub enum LogRecord {
    /// Of the cluster's metadata.
    Metadata(MetadataRecord),
    /// Of the quorum.
    Control(ControlRecord),
}

/// One batch of records that count together.
pub(super) fn encode_batch(
    records: &[MetadataRecord],
    metadata_version: i16,
    base_offset: i64,
    epoch: i32,
    timestamp: i64,
) -> Result<Bytes, EncodeBatchError> {
    let mut batch = BatchBuilder::new()
        .base_offset(base_offset)
        .leader_epoch(epoch);
    for record in records {
        let bytes = record.to_bytes(record_version(record, metadata_version))?;
        batch.push(timestamp, None, Some(&bytes))?;
    }
    Ok(batch.build())
}

/// One batch of the quorum's own records.
pub(super) fn encode_control(
    records: &[ControlRecord],
    base_offset: i64,
    epoch: i32,
    timestamp: i64,
) -> Result<Bytes, EncodeBatchError> {
    let mut batch = BatchBuilder::new()
        .base_offset(base_offset)
        .leader_epoch(epoch);
    for record in records {
        batch.push_control(timestamp, record)?;
    }
    Ok(batch.build())
}

/// What lies in a run of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The offset after the last batch.
    pub next_offset: i64,
    /// The epoch of the last batch.
    pub epoch: i32,
    /// The latest timestamp.
    pub timestamp: i64,
}

/// Passes every record of whole batches to `take`, with its offset; `None` if there is no batch.
/// Checksums are checked. Control records of kinds that are not known are passed over.
pub fn decode_batches<E: From<DecodeBatchError>>(
    bytes: Bytes,
    mut take: impl FnMut(i64, LogRecord) -> Result<(), E>,
) -> Result<Option<Decoded>, E> {
    let mut decoded: Option<Decoded> = None;
    for batch in batches(bytes) {
        let batch = batch.map_err(DecodeBatchError::Batch)?;
        batch.check_crc().map_err(DecodeBatchError::Batch)?;
        let header = *batch.header();
        let offset = header.base_offset;
        let payload =
            batch
                .records(PAYLOAD_BYTES_MAX)
                .map_err(|error| DecodeBatchError::Compression {
                    offset,
                    why: error.to_string(),
                })?;
        for record in RecordIter::new(&header, &payload) {
            let record = record.map_err(|error| DecodeBatchError::Record { offset, error })?;
            let offset = record.offset;
            let (key, value) = record.shared(&payload);
            let value = value.unwrap_or_default();
            if header.attributes.is_control() {
                let control = ControlRecord::decode(&key.unwrap_or_default(), value)
                    .map_err(|error| DecodeBatchError::Control { offset, error })?;
                if let Some(control) = control {
                    take(offset, LogRecord::Control(control))?;
                }
            } else {
                let (record, _) = MetadataRecord::decode(value)
                    .map_err(|error| DecodeBatchError::Unknown { offset, error })?;
                take(offset, LogRecord::Metadata(record))?;
            }
        }
        decoded = Some(Decoded {
            next_offset: header.next_offset(),
            epoch: header.partition_leader_epoch,
            timestamp: header
                .max_timestamp
                .max(decoded.map_or(-1, |d| d.timestamp)),
        });
    }
    Ok(decoded)
}
