//! What is remembered of the producers that wrote to a log, so that a repeated batch is answered and
//! not written again, a lost one is noticed, and a fenced one is refused (KIP-98, KIP-360, KIP-447,
//! KIP-890).
//!
//! State is a fold over the log's batches: replaying them from any snapshot gives the same answers.
//! Each change is recorded in a [`ProducerUndo`], so that an append whose write fails leaves no
//! trace. Transactions are followed as far as the log needs: where each open one began (the
//! first unstable offset), and which ended by a marker that is not yet below the high watermark.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    batch::{BatchHeader, EndTxnMarker, Origin},
    limits::{PRODUCER_BATCHES_KEPT, PRODUCERS_EVICTED_AT_ONCE, PRODUCERS_PER_PARTITION_MAX},
    marks,
    time::{Duration, Timestamp},
};

/// A batch of a producer's, as remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBatch {
    /// Its last sequence number.
    pub last_sequence: i32,
    /// Its last offset.
    pub last_offset: i64,
    /// Its last offset less its first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: i64,
}

impl KeptBatch {
    const NONE: Self = Self {
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: -1,
    };

    /// Its first sequence number; sequence numbers go round from `i32::MAX` to 0.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        if first >= 0 || self.last_sequence < 0 {
            first as i32
        } else {
            (first + (1 << 31)) as i32
        }
    }

    /// Its first offset.
    #[must_use]
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// A producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its epoch; -1 before the first batch.
    pub producer_epoch: i16,
    /// The epoch of the coordinator that last ended a transaction of its; -1 if none did.
    pub coordinator_epoch: i32,
    /// The timestamp of what it last wrote.
    pub last_timestamp: i64,
    /// Where its open transaction began.
    pub current_txn_first_offset: Option<i64>,
    kept: [KeptBatch; PRODUCER_BATCHES_KEPT],
    kept_count: u8,
}

impl ProducerEntry {
    const EMPTY: Self = Self {
        producer_epoch: -1,
        coordinator_epoch: -1,
        last_timestamp: -1,
        current_txn_first_offset: None,
        kept: [KeptBatch::NONE; PRODUCER_BATCHES_KEPT],
        kept_count: 0,
    };

    /// A producer as one entry of a snapshot holds it: with one batch.
    #[must_use]
    pub fn from_snapshot(
        producer_epoch: i16,
        coordinator_epoch: i32,
        last_timestamp: i64,
        current_txn_first_offset: Option<i64>,
        last: Option<KeptBatch>,
    ) -> Self {
        let mut entry = Self {
            producer_epoch,
            coordinator_epoch,
            last_timestamp,
            current_txn_first_offset,
            ..Self::EMPTY
        };
        if let Some(batch) = last {
            entry.keep(batch);
        }
        entry
    }

    /// This entry with the batches of `before`, the entry that stands before it in a snapshot.
    #[must_use]
    pub fn behind(self, before: &Self) -> Self {
        if before.producer_epoch != self.producer_epoch {
            return self;
        }
        let mut entry = Self {
            kept: before.kept,
            kept_count: before.kept_count,
            ..self
        };
        for batch in self.batches() {
            entry.keep(*batch);
        }
        entry
    }

    /// Its last batches of this epoch, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[KeptBatch] {
        &self.kept[..usize::from(self.kept_count)]
    }

    /// Its last batch of this epoch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&KeptBatch> {
        self.batches().last()
    }

    /// The last sequence number of this epoch, or -1.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(-1, |batch| batch.last_sequence)
    }

    fn keep(&mut self, batch: KeptBatch) {
        let count = usize::from(self.kept_count);
        if count == PRODUCER_BATCHES_KEPT {
            self.kept.copy_within(1.., 0);
            self.kept[count - 1] = batch;
        } else {
            self.kept[count] = batch;
            self.kept_count += 1;
        }
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.producer_epoch != epoch {
            self.producer_epoch = epoch;
            self.kept = [KeptBatch::NONE; PRODUCER_BATCHES_KEPT];
            self.kept_count = 0;
        }
    }

    fn expired(&self, now: Timestamp, after: Duration) -> bool {
        self.current_txn_first_offset.is_none()
            && i128::from(now.0) - i128::from(self.last_timestamp)
                >= after.as_millis().cast_signed()
    }
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// `INVALID_PRODUCER_EPOCH`: a newer incarnation of the producer has written.
    #[error("producer {producer_id} has epoch {current}, the batch {got}")]
    InvalidProducerEpoch {
        /// Whose batch.
        producer_id: i64,
        /// The epoch known.
        current: i16,
        /// The batch's.
        got: i16,
    },
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`: a batch before this one is missing, or the batch is an old
    /// one that is no longer remembered.
    #[error("producer {producer_id} is at sequence {last}, the batch begins at {got}")]
    OutOfOrderSequence {
        /// Whose batch.
        producer_id: i64,
        /// The last sequence number known, or -1.
        last: i32,
        /// The batch's first.
        got: i32,
    },
    /// `INVALID_TXN_STATE`: a plain batch while the producer's transaction is open.
    #[error("producer {producer_id} has a transaction open since offset {first_offset}")]
    InvalidTxnState {
        /// Whose batch.
        producer_id: i64,
        /// Where its transaction began.
        first_offset: i64,
    },
    /// `TRANSACTION_COORDINATOR_FENCED`: a newer coordinator has written a marker.
    #[error(
        "producer {producer_id} has a marker of coordinator epoch {current}, this one is of {got}"
    )]
    TransactionCoordinatorFenced {
        /// Whose transaction.
        producer_id: i64,
        /// The coordinator's epoch known.
        current: i32,
        /// The marker's.
        got: i32,
    },
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: i64,
    /// Its marker.
    pub last_offset: i64,
    /// Whether it was aborted.
    pub aborted: bool,
    /// The last stable offset once it is ended: where the first transaction still open began, or behind the marker.
    pub last_stable_offset: i64,
}

/// How to take back one batch's effect on its producer.
#[derive(Clone, Debug)]
pub struct ProducerUndo {
    producer_id: i64,
    before: Option<ProducerEntry>,
    opened: Option<i64>,
    completed: Option<i64>,
}

/// The producers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    entries: BTreeMap<i64, ProducerEntry>,
    /// First offset of each open transaction, and whose it is.
    open: BTreeMap<i64, i64>,
    /// First offset and marker of each transaction that ended at or above the high watermark.
    unreplicated: BTreeMap<i64, i64>,
}

impl Producers {
    /// The producers of a snapshot, less those that are long idle.
    #[must_use]
    pub fn from_snapshot(
        entries: impl IntoIterator<Item = (i64, ProducerEntry)>,
        now: Timestamp,
        expiration: Duration,
    ) -> Self {
        let entries: BTreeMap<_, _> = entries
            .into_iter()
            .filter(|(_, entry)| !entry.expired(now, expiration))
            .collect();
        let open = entries
            .iter()
            .filter_map(|(&id, entry)| Some((entry.current_txn_first_offset?, id)))
            .collect();
        Self {
            entries,
            open,
            unreplicated: BTreeMap::new(),
        }
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &ProducerEntry)> {
        self.entries.iter().map(|(&id, entry)| (id, entry))
    }

    /// One producer.
    #[must_use]
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// The batch that `header` repeats, if it is among those remembered.
    #[must_use]
    pub fn duplicate(&self, header: &BatchHeader) -> Option<KeptBatch> {
        let entry = self.entries.get(&header.producer_id)?;
        if entry.producer_epoch != header.producer_epoch || header.attributes.is_control() {
            return None;
        }
        entry
            .batches()
            .iter()
            .find(|kept| {
                kept.first_sequence() == header.base_sequence
                    && kept.last_sequence == header.last_sequence()
            })
            .copied()
    }

    /// The first offset that a reader of committed records may not see: where the first transaction
    /// begins that is open or whose marker is not below the high watermark.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let open = self.open.keys().next().copied();
        let ended = self.unreplicated.keys().next().copied();
        open.into_iter().chain(ended).min()
    }

    /// Where the first open transaction began, and whose it is.
    #[must_use]
    pub fn first_open_transaction(&self) -> Option<(i64, i64)> {
        self.open.iter().next().map(|(&first, &id)| (first, id))
    }

    /// Folds in a batch that takes offsets `base..=last`. `header` may still bear the producer's own offsets;
    /// `timestamp` is what its largest will be. On success `undo` has one more entry; on failure nothing has changed.
    ///
    /// # Errors
    /// If the producer may not write this batch. Never for [`Origin::Replication`]: what the leader
    /// took is taken.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        (base, last): (i64, i64),
        timestamp: i64,
        marker: Option<EndTxnMarker>,
        origin: Origin,
        undo: &mut Vec<ProducerUndo>,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        let producer_id = header.producer_id;
        if producer_id < 0 || (header.attributes.is_control() && marker.is_none()) {
            return Ok(None);
        }
        let before = self.entries.get(&producer_id).copied();
        let mut entry = before.unwrap_or(ProducerEntry::EMPTY);
        if origin != Origin::Replication && header.producer_epoch < entry.producer_epoch {
            let current = entry.producer_epoch;
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id,
                current,
                got: header.producer_epoch,
            });
        }
        let mut record = ProducerUndo {
            producer_id,
            before,
            opened: None,
            completed: None,
        };
        let completed = if let Some(marker) = marker {
            self.end_transaction(
                &mut entry,
                header,
                (last, timestamp),
                marker,
                origin,
                &mut record,
            )?
        } else {
            self.data(
                &mut entry,
                header,
                (base, last),
                timestamp,
                origin,
                &mut record,
            )?;
            None
        };
        if before.is_none() {
            self.make_room();
        }
        self.entries.insert(producer_id, entry);
        undo.push(record);
        Ok(completed)
    }

    fn data(
        &mut self,
        entry: &mut ProducerEntry,
        header: &BatchHeader,
        (base, last): (i64, i64),
        timestamp: i64,
        origin: Origin,
        undo: &mut ProducerUndo,
    ) -> Result<(), ProducerError> {
        let producer_id = header.producer_id;
        if origin == Origin::Client {
            check_sequence(entry, header)?;
        }
        entry.set_epoch(header.producer_epoch);
        entry.keep(KeptBatch {
            last_sequence: header.last_sequence(),
            last_offset: last,
            offset_delta: (last - base) as i32,
            timestamp,
        });
        entry.last_timestamp = timestamp;
        match entry.current_txn_first_offset {
            Some(first_offset) if !header.attributes.is_transactional() => {
                // A log may hold such a batch from a time before this rule; replaying it must not fail.
                if origin != Origin::Replication {
                    return Err(ProducerError::InvalidTxnState {
                        producer_id,
                        first_offset,
                    });
                }
            }
            None if header.attributes.is_transactional() => {
                entry.current_txn_first_offset = Some(base);
                self.open.insert(base, producer_id);
                undo.opened = Some(base);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn end_transaction(
        &mut self,
        entry: &mut ProducerEntry,
        header: &BatchHeader,
        (offset, timestamp): (i64, i64),
        marker: EndTxnMarker,
        origin: Origin,
        undo: &mut ProducerUndo,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        let producer_id = header.producer_id;
        if origin != Origin::Replication && entry.coordinator_epoch > marker.coordinator_epoch {
            let current = entry.coordinator_epoch;
            return Err(ProducerError::TransactionCoordinatorFenced {
                producer_id,
                current,
                got: marker.coordinator_epoch,
            });
        }
        let ended = entry.current_txn_first_offset.take();
        entry.set_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = timestamp;
        // A marker without records before it changes nothing that readers see.
        let Some(first_offset) = ended else {
            return Ok(None);
        };
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, offset);
        undo.completed = Some(first_offset);
        let last_stable_offset = self.open.keys().next().copied().unwrap_or(offset + 1);
        Ok(Some(CompletedTxn {
            producer_id,
            first_offset,
            last_offset: offset,
            aborted: !marker.commit,
            last_stable_offset,
        }))
    }

    /// Takes back what [`Self::apply`] recorded; newest first.
    pub fn undo(&mut self, undo: ProducerUndo) {
        if let Some(first) = undo.opened {
            self.open.remove(&first);
        }
        if let Some(first) = undo.completed {
            self.unreplicated.remove(&first);
            self.open.insert(first, undo.producer_id);
        }
        match undo.before {
            Some(entry) => self.entries.insert(undo.producer_id, entry),
            None => self.entries.remove(&undo.producer_id),
        };
    }

    /// Everything below is on the in-sync replicas: transactions that ended there are stable.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        self.unreplicated
            .retain(|_, &mut marker| marker >= high_watermark);
    }

    /// Forgets producers that have been idle for `expiration`. One with an open transaction stays.
    pub fn expire(&mut self, now: Timestamp, expiration: Duration) {
        self.entries
            .retain(|_, entry| !entry.expired(now, expiration));
    }

    /// When the next producer becomes expired (wall clock), if nothing is written until then.
    #[must_use]
    pub fn oldest_timestamp(&self) -> Option<Timestamp> {
        let idle = self
            .entries
            .values()
            .filter(|entry| entry.current_txn_first_offset.is_none());
        idle.map(|entry| Timestamp(entry.last_timestamp)).min()
    }

    /// Makes room for one more. Forgets those idle longest, an eighth at once.
    fn make_room(&mut self) {
        if self.entries.len() < PRODUCERS_PER_PARTITION_MAX {
            return;
        }
        let mut oldest: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.current_txn_first_offset.is_none())
            .map(|(&id, entry)| (entry.last_timestamp, id))
            .collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(PRODUCERS_EVICTED_AT_ONCE) {
            self.entries.remove(&id);
        }
    }
}

/// Whether a client's batch follows the producer's last one.
fn check_sequence(entry: &ProducerEntry, header: &BatchHeader) -> Result<(), ProducerError> {
    let got = header.base_sequence;
    let refused = ProducerError::OutOfOrderSequence {
        producer_id: header.producer_id,
        last: entry.last_sequence(),
        got,
    };
    // Nothing is known of it (all its records are deleted, or it is new): any sequence number will do.
    if entry.producer_epoch < 0 {
        return Ok(());
    }
    let last = if header.producer_epoch == entry.producer_epoch {
        entry.last_sequence()
    } else {
        -1
    };
    let follows = i64::from(got) == i64::from(last) + 1 || (got == 0 && last == i32::MAX);
    if follows {
        return Ok(());
    }
    marks::SEQUENCE_GAP_REFUSED.reach();
    Err(refused)
}
