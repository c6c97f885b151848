//! A batch on its way: its records, its place in the partition's sequence, and what is known of it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_core::time::Instant;
use ottla_wire::records::{
    BatchBuilder, BatchHeader, BatchView, Compression, HEADER_LEN, RecordHeader, RecordIter,
    crc32c, increment_sequence,
};

use super::{
    delivery::Completion,
    record::{SendError, SendFailure},
};

/// An idempotent producer's id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// The place of a batch in the order in which a broker must see them (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) identity: ProducerIdentity,
    pub(crate) base: i32,
}

/// Records that are sent together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Orders a partition's batches, with room behind it for those that it may be split into.
    pub(crate) number: u64,
    records: Records,
    pub(crate) count: i32,
    /// Its size as it was collected, uncompressed.
    pub(crate) size: usize,
    /// Bytes of `buffer.memory` that it holds.
    pub(crate) memory: usize,
    pub(crate) created: Instant,
    pub(crate) completion: Arc<Completion>,
    /// How often it was sent.
    pub(crate) attempts: u32,
    pub(crate) sequence: Option<Sequence>,
    pub(crate) on_wire: bool,
    /// An attempt ended in a way that leaves open whether the batch was written.
    pub(crate) ambiguous: bool,
    /// Its senders have been told that it failed; only its place in the sequence matters still.
    pub(crate) given_up: bool,
    pub(crate) last_failure: Option<SendFailure>,
}

#[derive(Debug)]
enum Records {
    Open(BatchBuilder),
    Built(Bytes),
    /// The builder failed; only met while the batch is being failed.
    Broken,
}

impl Batch {
    pub(crate) fn new(number: u64, created: Instant, room: usize) -> Self {
        // The header's room is part of the builder's buffer from the start.
        let builder = BatchBuilder::with_buffer(BytesMut::with_capacity(room));
        Self {
            number,
            size: builder.size(),
            records: Records::Open(builder),
            count: 0,
            memory: 0,
            created,
            completion: Completion::new(),
            attempts: 0,
            sequence: None,
            on_wire: false,
            ambiguous: false,
            given_up: false,
            last_failure: None,
        }
    }

    /// Adds a record if the batch is open and stays within `limit` bytes (any record fits into an
    /// empty one). Gives its index.
    pub(crate) fn push(
        &mut self,
        limit: usize,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Option<i64> {
        let Records::Open(builder) = &mut self.records else {
            return None;
        };
        if !builder.is_empty() && builder.size_with(key, value, headers) > limit {
            return None;
        }
        builder
            .push_at(builder.next_offset(), timestamp, key, value, headers)
            .ok()?;
        self.size = builder.size();
        self.count += 1;
        Some(i64::from(self.count) - 1)
    }

    /// Two batches of half the records each, in the sequence where this one is; whoever waits for one
    /// of its records waits for one of theirs from now on. `None` if nothing can be split.
    pub(crate) fn split(&self) -> Option<[Self; 2]> {
        let Records::Built(bytes) = &self.records else {
            return None;
        };
        let at = self.count / 2;
        if at == 0 {
            return None;
        }
        let view = BatchView::new(bytes).ok()?;
        let records = view.records(self.size).ok()?;
        let (mut first, mut second) = (self.part(0), self.part(at));
        for record in RecordIter::new(view.header(), &records) {
            let record = record.ok()?;
            let half = if first.count < at {
                &mut first
            } else {
                &mut second
            };
            let headers: Vec<RecordHeader<'_>> = record.headers.iter().collect();
            let limit = usize::MAX;
            half.push(limit, record.timestamp, record.key, record.value, &headers)?;
        }
        first.memory = self.memory / 2;
        second.memory = self.memory - first.memory;
        let halves = [&first, &second].map(|half| Arc::clone(&half.completion));
        self.completion.split(i64::from(at), halves);
        Some([first, second])
    }

    /// An empty batch for the records from `at` on.
    fn part(&self, at: i32) -> Self {
        Self {
            attempts: self.attempts,
            sequence: self.sequence.map(|sequence| Sequence {
                base: increment_sequence(sequence.base, at),
                ..sequence
            }),
            last_failure: self.last_failure.clone(),
            ..Self::new(self.number + u64::from(at.unsigned_abs()), self.created, 0)
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.records, Records::Open(_))
    }

    /// The batch's bytes, with its sequence in the header; what is pushed later goes elsewhere.
    pub(crate) fn bytes(&mut self, compression: Compression) -> Result<Bytes, SendError> {
        let bytes = match std::mem::replace(&mut self.records, Records::Broken) {
            Records::Open(builder) => {
                let builder = match self.sequence {
                    Some(s) => builder.producer(s.identity.id, s.identity.epoch, s.base),
                    None => builder,
                };
                builder
                    .build_compressed(compression, None)
                    .map_err(|error| {
                        let detail = error.to_string();
                        SendError::not_written(SendFailure::Batch { detail })
                    })?
            }
            Records::Built(bytes) => stamped(bytes, self.sequence),
            Records::Broken => {
                let detail = "it was given up before".to_owned();
                return Err(SendError::not_written(SendFailure::Batch { detail }));
            }
        };
        self.records = Records::Built(bytes.clone());
        Ok(bytes)
    }
}

/// A built batch with another sequence, where it has another.
fn stamped(bytes: Bytes, sequence: Option<Sequence>) -> Bytes {
    let (Some(sequence), Some(head)) = (sequence, bytes.first_chunk::<HEADER_LEN>()) else {
        return bytes;
    };
    let mut header = BatchHeader::read(head);
    let identity = ProducerIdentity {
        id: header.producer_id,
        epoch: header.producer_epoch,
    };
    if (Sequence {
        identity,
        base: header.base_sequence,
    }) == sequence
    {
        return bytes;
    }
    header.producer_id = sequence.identity.id;
    header.producer_epoch = sequence.identity.epoch;
    header.base_sequence = sequence.base;
    let mut new = BytesMut::from(&bytes[..]);
    let mut head = [0; HEADER_LEN];
    header.write(&mut head);
    // The checksum covers the header from the attributes on, at 21.
    new[..HEADER_LEN].copy_from_slice(&head);
    header.crc = crc32c(&new[21..]);
    header.write(&mut head);
    new[..HEADER_LEN].copy_from_slice(&head);
    new.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_into_halves_that_are_next_to_each_other_in_the_sequence() {
        let mut batch = Batch::new(64, Instant(0), 100);
        for i in 0..5u8 {
            let headers = [RecordHeader {
                key: b"h",
                value: None,
            }];
            let pushed = batch.push(1000, 7, Some(&[i]), None, &headers);
            assert_eq!(pushed, Some(i64::from(i)));
        }
        batch.memory = 101;
        let identity = ProducerIdentity { id: 7, epoch: 3 };
        let base = i32::MAX;
        batch.sequence = Some(Sequence { identity, base });
        assert!(batch.split().is_none(), "it was not sent yet");
        batch.bytes(Compression::Gzip).unwrap();
        let mut halves = batch.split().unwrap();
        assert_eq!(halves[0].memory + halves[1].memory, 101);
        let mut keys = Vec::new();
        for (half, base) in halves.iter_mut().zip([i32::MAX, 1]) {
            let bytes = half.bytes(Compression::Gzip).unwrap();
            let view = BatchView::new(&bytes).unwrap();
            view.validate_produced().unwrap();
            assert_eq!(view.header().base_sequence, base);
            let records = view.records(1000).unwrap();
            for record in RecordIter::new(view.header(), &records) {
                let record = record.unwrap();
                assert_eq!((record.timestamp, record.headers.iter().count()), (7, 1));
                keys.extend_from_slice(record.key.unwrap());
            }
        }
        assert_eq!(keys, [0, 1, 2, 3, 4]);
        assert_eq!((halves[0].number, halves[1].number), (64, 66));
        assert_eq!((halves[0].count, halves[1].count), (2, 3));
    }

    #[test]
    fn a_batch_sent_again_under_another_sequence_is_valid_and_otherwise_the_same() {
        let mut batch = Batch::new(0, Instant(0), 100);
        for i in 0..3 {
            assert_eq!(batch.push(1000, 5, Some(b"k"), None, &[]), Some(i));
        }
        let identity = ProducerIdentity { id: 7, epoch: 0 };
        batch.sequence = Some(Sequence { identity, base: 40 });
        let first = batch.bytes(Compression::None).unwrap();
        assert_eq!(batch.bytes(Compression::None).unwrap(), first);
        let identity = ProducerIdentity { id: 7, epoch: 1 };
        batch.sequence = Some(Sequence { identity, base: 0 });
        let second = BatchView::new(&batch.bytes(Compression::None).unwrap()).unwrap();
        second.validate_produced().unwrap();
        assert_eq!(
            (
                second.header().producer_epoch,
                second.header().base_sequence
            ),
            (1, 0)
        );
        assert_eq!(second.payload(), BatchView::new(&first).unwrap().payload());
    }
}
