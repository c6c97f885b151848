//! Reading a partition of `__consumer_offsets` into its machine.

use bytes::Bytes;
use ottla_core::{
    group::{Input, Record},
    limits::GROUP_LOAD_BATCH_BYTES_MAX,
};
use ottla_io::Io;
use ottla_wire::records::{
    BatchError, BatchView, ControlError, ControlRecord, ControlRecordType, RecordError, RecordIter,
    batches, compression::CompressionError,
};

use crate::storage::{Isolation, PartitionHandle, QueryError, ReadError};

/// Why a partition could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("reading at offset {offset}: {source}")]
    Read { offset: i64, source: ReadError },
    #[error("nothing is read at offset {offset}, though the log ends at {end}")]
    Missing { offset: i64, end: i64 },
    #[error("waiting for the log to be durable: {0}")]
    Wait(QueryError),
    #[error("a batch behind offset {offset}: {source}")]
    Batch { offset: i64, source: BatchError },
    #[error("the batch at offset {offset}: {source}")]
    Compression {
        offset: i64,
        source: CompressionError,
    },
    #[error("the batch at offset {offset}: {source}")]
    Record { offset: i64, source: RecordError },
    #[error("the control batch at offset {offset}: {source}")]
    Control { offset: i64, source: ControlError },
}

/// Reads the whole log, `read_bytes` at a time (or a batch that is larger), and gives `take` the inputs
/// of each part. What is read is durable when this returns.
pub(super) async fn load<I: Io>(
    handle: &PartitionHandle<I>,
    read_bytes: usize,
    mut take: impl FnMut(Vec<Input>),
) -> Result<(), LoadError> {
    let mut offset = handle.log_start();
    loop {
        let end = handle.log_end();
        let bytes = handle
            .read_from(offset, read_bytes, Isolation::LogEnd)
            .await
            .map_err(|source| LoadError::Read { offset, source })?;
        let next = read_part(offset, bytes, &mut take)?;
        if next == offset {
            // An append from before that is still on its way, or a defect: in both cases the state
            // would lack it, so the partition is loaded again.
            if offset < end {
                return Err(LoadError::Missing { offset, end });
            }
            break;
        }
        offset = next;
    }
    // What is not durable yet might be gone after a crash, so nobody may see it before it is.
    if offset > handle.high_watermark() {
        handle
            .wait_beyond(offset - 1, Isolation::ReadUncommitted)
            .await
            .map_err(LoadError::Wait)?;
    }
    Ok(())
}

/// Reads some batches; gives the offset behind the last.
fn read_part(from: i64, bytes: Bytes, take: &mut impl FnMut(Vec<Input>)) -> Result<i64, LoadError> {
    let mut next = from;
    for batch in batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            // The read ended within it: it comes first in the next one.
            Err(BatchError::TooShort { .. }) if next > from => break,
            Err(source) => {
                return Err(LoadError::Batch {
                    offset: next,
                    source,
                });
            }
        };
        take(inputs(&batch)?);
        next = next.max(batch.next_offset());
    }
    Ok(next)
}

fn inputs(batch: &BatchView) -> Result<Vec<Input>, LoadError> {
    let header = batch.header();
    let offset = header.base_offset;
    batch
        .check_crc()
        .map_err(|source| LoadError::Batch { offset, source })?;
    let payload = batch
        .records(GROUP_LOAD_BATCH_BYTES_MAX)
        .map_err(|source| LoadError::Compression { offset, source })?;
    let is_control = header.attributes.is_control();
    let producer_id = header
        .attributes
        .is_transactional()
        .then_some(header.producer_id);
    let mut inputs = Vec::new();
    for record in RecordIter::new(header, &payload) {
        let record = record.map_err(|source| LoadError::Record { offset, source })?;
        let (record_offset, (key, value)) = (record.offset, record.shared(&payload));
        if is_control {
            let key = key.unwrap_or_default();
            let control = ControlRecord::decode(&key, value.unwrap_or_default())
                .map_err(|source| LoadError::Control { offset, source })?;
            let kind = control.as_ref().map(ControlRecord::record_type);
            let committed = match kind {
                Some(ControlRecordType::Commit) => true,
                Some(ControlRecordType::Abort) => false,
                _ => continue,
            };
            inputs.push(Input::LoadedMarker {
                producer_id: header.producer_id,
                committed,
            });
        } else if let Some(key) = key {
            // Kafka skips a record without a key too: it says nothing.
            let record = Record { key, value };
            inputs.push(Input::Loaded {
                record,
                offset: record_offset,
                producer_id,
            });
        }
    }
    Ok(inputs)
}
