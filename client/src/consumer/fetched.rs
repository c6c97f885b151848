//! The records in what a broker sent for one partition.
//!
//! Batches are unpacked one at a time, when their records are wanted. With `read_committed` the
//! records of aborted transactions are left out: the broker lists them, and a marker in the log says
//! where each ends (KIP-98). Control batches are never shown, but move the position.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_wire::{
    Str,
    records::{BatchView, Batches, ControlRecordType, RecordIter, batches},
};

use super::record::{BatchFault, ConsumerRecord};
use crate::{
    sync::slice_of,
    types::{Header, TopicPartition},
};

/// An aborted transaction, as the broker lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
}

/// What was fetched of one partition and not yet handed out.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) partition: TopicPartition,
    batches: Batches<Bytes>,
    records: VecDeque<ConsumerRecord>,
    /// The offset to go on with, once `records` is empty.
    next_offset: i64,
    next_epoch: i32,
    /// Aborted transactions that begin later than what was unpacked, by offset.
    aborted: VecDeque<Aborted>,
    aborting: BTreeSet<i64>,
    read_committed: bool,
    check_crcs: bool,
    max_batch_bytes: usize,
    failed: bool,
}

/// How to read what was fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRules {
    pub(crate) read_committed: bool,
    pub(crate) check_crcs: bool,
    pub(crate) max_batch_bytes: usize,
}

impl Fetched {
    pub(crate) fn new(
        partition: TopicPartition,
        offset: i64,
        records: Bytes,
        mut aborted: Vec<Aborted>,
        rules: ReadRules,
    ) -> Self {
        aborted.sort_by_key(|a| a.first_offset);
        Self {
            partition,
            batches: batches(records),
            records: VecDeque::new(),
            next_offset: offset,
            next_epoch: -1,
            aborted: aborted.into(),
            aborting: BTreeSet::new(),
            read_committed: rules.read_committed,
            check_crcs: rules.check_crcs,
            max_batch_bytes: rules.max_batch_bytes,
            failed: false,
        }
    }

    /// The offset behind the last whole batch of some fetched bytes and that batch's leader epoch,
    /// from their headers alone; where reading began if there is none.
    pub(crate) fn end_of(from: (i64, i32), records: &Bytes) -> (i64, i32) {
        batches(records.clone())
            .map_while(Result::ok)
            .map(|b| (b.next_offset(), b.header().partition_leader_epoch))
            .fold(from, |end, next| if next.0 > end.0 { next } else { end })
    }

    /// Moves up to `max` records to `out`. Gives the position behind them (offset and leader epoch);
    /// an error says that what follows the position is damaged.
    pub(crate) fn take(
        &mut self,
        max: usize,
        out: &mut Vec<ConsumerRecord>,
    ) -> (i64, i32, Result<(), BatchFault>) {
        let mut left = max;
        let mut position = (self.next_offset, self.next_epoch);
        if let Some(first) = self.records.front() {
            position = (first.offset, first.leader_epoch);
        }
        while left > 0 {
            if let Some(record) = self.records.pop_front() {
                position = (record.offset + 1, record.leader_epoch);
                out.push(record);
                left -= 1;
                if self.records.is_empty() {
                    position = (self.next_offset, self.next_epoch);
                }
                continue;
            }
            match self.unpack() {
                Ok(true) => {
                    position = self
                        .records
                        .front()
                        .map_or((self.next_offset, self.next_epoch), |first| {
                            (first.offset, position.1)
                        })
                }
                Ok(false) => break,
                Err(fault) => {
                    self.failed = true;
                    return (position.0, position.1, Err(fault));
                }
            }
        }
        (position.0, position.1, Ok(()))
    }

    /// Whether all has been handed out.
    pub(crate) fn is_done(&mut self) -> bool {
        self.failed
            || (self.records.is_empty() && self.batches.clone().next().is_none_or(|b| b.is_err()))
    }

    /// Unpacks the next batch; `false` if there is none. A batch that was cut short by the broker's
    /// limit is the end.
    fn unpack(&mut self) -> Result<bool, BatchFault> {
        let batch = match self.batches.next() {
            None => return Ok(false),
            Some(Err(error)) => {
                let cut = matches!(error, ottla_wire::records::BatchError::TooShort { .. });
                return if cut { Ok(false) } else { Err(error.into()) };
            }
            Some(Ok(batch)) => batch,
        };
        if self.check_crcs {
            batch.check_crc()?;
        }
        let header = batch.header();
        while self
            .aborted
            .front()
            .is_some_and(|a| a.first_offset <= header.last_offset())
        {
            self.aborting
                .extend(self.aborted.pop_front().map(|a| a.producer_id));
        }
        let wanted = batch.next_offset() > self.next_offset;
        if header.attributes.is_control() {
            self.end_transaction(&batch)?;
        } else if wanted && !self.is_aborted(&batch) {
            self.read(&batch)?;
        }
        self.next_offset = self.next_offset.max(batch.next_offset());
        self.next_epoch = header.partition_leader_epoch;
        Ok(true)
    }

    fn is_aborted(&self, batch: &BatchView) -> bool {
        let header = batch.header();
        self.read_committed
            && header.attributes.is_transactional()
            && self.aborting.contains(&header.producer_id)
    }

    fn end_transaction(&mut self, batch: &BatchView) -> Result<(), BatchFault> {
        let records = self.payload(batch)?;
        if let Some(first) = RecordIter::new(batch.header(), &records).next() {
            let key = first?.key.unwrap_or_default();
            if matches!(
                ControlRecordType::of_key(key),
                Ok(Some(ControlRecordType::Abort))
            ) {
                self.aborting.remove(&batch.header().producer_id);
            }
        }
        Ok(())
    }

    fn payload(&self, batch: &BatchView) -> Result<Bytes, BatchFault> {
        let unpacked = batch.records(self.max_batch_bytes);
        unpacked.map_err(|error| BatchFault::Compression {
            detail: error.to_string(),
        })
    }

    fn read(&mut self, batch: &BatchView) -> Result<(), BatchFault> {
        let payload = self.payload(batch)?;
        let header = batch.header();
        let timestamp_type = header.attributes.timestamp_type();
        // What the header says is bounded by what the payload can hold.
        let count = usize::try_from(header.records_count).unwrap_or(0);
        let mut read = VecDeque::with_capacity(count.min(payload.len() / 7 + 1));
        for record in RecordIter::new(header, &payload) {
            let record = record?;
            if record.offset < self.next_offset {
                continue;
            }
            let mut headers = Vec::with_capacity(record.headers.len());
            for h in record.headers.iter() {
                let key = Str::from_utf8(slice_of(&payload, h.key));
                let key = key.map_err(|_| BatchFault::HeaderKey)?;
                headers.push(Header {
                    key,
                    value: h.value.map(|v| slice_of(&payload, v)),
                });
            }
            read.push_back(ConsumerRecord {
                topic: self.partition.topic.clone(),
                partition: self.partition.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type,
                leader_epoch: header.partition_leader_epoch,
                key: record.key.map(|k| slice_of(&payload, k)),
                value: record.value.map(|v| slice_of(&payload, v)),
                headers,
            });
        }
        self.records = read;
        Ok(())
    }
}
