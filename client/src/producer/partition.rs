//! One partition's batches, in order, and the sequence numbers that keep them so (KIP-98, KIP-360,
//! KIP-480's five in flight).
//!
//! A broker takes a producer's batches of a partition only in the order of their sequence numbers,
//! and knows the last five again, so a batch may be sent again without being written twice, as long
//! as it keeps its number. The rules here:
//!
//! * A batch gets its number when it is first sent. While it may have been written it keeps it.
//! * The first batch under an id and epoch goes alone: a broker that does not know the producer yet
//!   takes any number, so one behind it could overtake it.
//! * A batch that is sent again must be the oldest without an answer, and goes alone.
//! * A batch that is given up leaves a *gap*: no new numbers are handed out until the gap is closed.
//!   If the batch was certainly not written, nothing behind it was either, and all that is left gets
//!   new numbers under a bumped epoch. If it may have been written, the next one that may have been is
//!   tried under its old number: success proves that the gap was written. `OUT_OF_ORDER_SEQUENCE_NUMBER`
//!   proves only that it was not written so far: requests that were given up may still arrive, the
//!   gap's first. So that batch is given up as well, and those that were never without an answer get
//!   new numbers. No record is ever written twice.
//!
//! | event | answer |
//! | --- | --- |
//! | acknowledged (or known already) | done; older gaps are closed |
//! | may be tried again | stays in its place, after a wait |
//! | out of order behind a gap, and an earlier attempt had no answer | failed, may be written; gap |
//! | out of order, and it is the oldest | it was not written: gap, new numbers for all |
//! | out of order, and it is not | stays in its place |
//! | too large, with several records | split: its halves take its place |
//! | refused for good | failed; gap |
//! | too old, not on its way | failed; gap if it had a number |
//! | too old, on its way | failed for its senders; its answer still decides about the gap |

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ottla_core::time::Instant;
use ottla_wire::{ErrorCode, records::increment_sequence};

use super::{
    batch::{Batch, ProducerIdentity, Sequence},
    delivery::Acked,
    record::{SendError, SendFailure},
};
use crate::error::BrokerError;

/// How far the numbers of two batches are apart: one that is split needs a number for each of its
/// parts, of which there are as many as records at the most. A batch of so many records is too large
/// for any request by far, and a partition gets 2^40 batches.
const NUMBERS_PER_BATCH: u64 = 1 << 24;

/// What became of one attempt to send a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker has it.
    Acked(Acked),
    /// The broker refused it.
    Refused(BrokerError),
    /// No answer. `may_be_written` says whether the broker may have got it; `retry` whether another
    /// attempt makes sense.
    Failed {
        reason: SendFailure,
        may_be_written: bool,
        retry: bool,
    },
}

/// What the queue must know to decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) idempotent: bool,
    pub(crate) max_in_flight: usize,
}

/// The producer's id as all its partitions share it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SharedIdentity {
    /// `None` until a broker has given one.
    pub(crate) current: Option<ProducerIdentity>,
}

impl SharedIdentity {
    /// An epoch that was not used before; none is left at the largest, then a new id is needed.
    fn bump(&mut self) -> Option<ProducerIdentity> {
        let bumped = self.current.and_then(|current| {
            let epoch = current.epoch.checked_add(1)?;
            Some(ProducerIdentity { epoch, ..current })
        });
        self.current = bumped;
        bumped
    }
}

/// The batches of one partition that have no answer yet.
#[derive(Debug, Default)]
pub(crate) struct PartitionQueue {
    /// In the order of their numbers: first those that were sent, then those that were not.
    batches: VecDeque<Batch>,
    next_number: u64,
    identity: Option<ProducerIdentity>,
    next_sequence: i32,
    /// A batch under `identity` was acknowledged: the broker knows the sequence.
    established: bool,
    /// Batches that were given up, and whether each was certainly not written.
    gaps: BTreeMap<u64, bool>,
    /// The broker has lost what it knew of this producer: all that is left gets new numbers.
    lost: bool,
    retry_at: Instant,
}

/// Whether a batch can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The one at this place, now.
    Send(usize),
    /// Not before this instant.
    NotBefore(Instant),
    /// Not before an answer.
    Wait,
    /// Not before the producer has an id.
    NeedsIdentity,
    /// There is none.
    Empty,
}

impl PartitionQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    /// The batch that takes new records.
    pub(crate) fn open_batch(&mut self) -> Option<&mut Batch> {
        self.batches
            .back_mut()
            .filter(|b| b.is_open() && b.attempts == 0 && b.sequence.is_none())
    }

    /// Adds an open batch.
    pub(crate) fn add_batch(&mut self, now: Instant, room: usize) -> &mut Batch {
        let number = self.next_number;
        self.next_number += NUMBERS_PER_BATCH;
        self.batches.push_back(Batch::new(number, now, room));
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// Takes back a batch that was added and got no record.
    pub(crate) fn drop_empty_batch(&mut self) {
        if self.batches.back().is_some_and(|b| b.count == 0) {
            self.batches.pop_back();
        }
    }

    fn on_wire(&self) -> usize {
        self.batches.iter().filter(|b| b.on_wire).count()
    }

    /// Which batch goes next. Whether it is full enough is for the caller to say.
    pub(crate) fn next(&mut self, now: Instant, rules: Rules, shared: &mut SharedIdentity) -> Next {
        let Some(at) = self.batches.iter().position(|b| !b.on_wire) else {
            return if self.batches.is_empty() {
                Next::Empty
            } else {
                Next::Wait
            };
        };
        let on_wire = self.on_wire();
        if now < self.retry_at {
            return Next::NotBefore(self.retry_at);
        }
        if on_wire >= rules.max_in_flight {
            return Next::Wait;
        }
        if !rules.idempotent {
            return Next::Send(at);
        }
        if (self.lost || !self.gaps.is_empty()) && on_wire == 0 && !self.close_gap(shared) {
            return Next::NeedsIdentity;
        }
        if self.batches[at].sequence.is_some() {
            // Alone: while one behind it has no answer yet, its fate is unknown, and once this one
            // is acknowledged new numbers would be handed out past it.
            let alone = at == 0 && on_wire == 0;
            return if alone { Next::Send(0) } else { Next::Wait };
        }
        // No new numbers behind a gap, nor behind one that is being tried again.
        let gap = self.lost || !self.gaps.is_empty();
        if gap
            || (!self.established && on_wire > 0)
            || self
                .batches
                .front()
                .is_some_and(|b| b.on_wire && b.attempts > 1)
        {
            return Next::Wait;
        }
        if self.identity.is_none() {
            self.identity = shared.current;
            self.next_sequence = 0;
            self.established = false;
        }
        if self.identity.is_none() {
            Next::NeedsIdentity
        } else {
            Next::Send(at)
        }
    }

    /// Deals with gaps while nothing is on its way. `false` if a new producer id is needed for it.
    fn close_gap(&mut self, shared: &mut SharedIdentity) -> bool {
        let head = self.batches.front().filter(|b| b.sequence.is_some());
        if let Some(head) = head
            && !self.lost
        {
            let before = self.gaps.range(..head.number);
            let (mut seen, mut certain) = (false, false);
            for (_, not_written) in before {
                seen = true;
                certain |= *not_written;
            }
            if !seen || (!certain && head.ambiguous) {
                // The head goes first, under its old number.
                return true;
            }
        }
        self.renumber(shared);
        self.identity.is_some()
    }

    /// Starts at sequence 0 under a bumped epoch with all that is left.
    fn renumber(&mut self, shared: &mut SharedIdentity) {
        for batch in &mut self.batches {
            batch.sequence = None;
            batch.ambiguous = false;
        }
        self.gaps.clear();
        self.lost = false;
        self.identity = shared.bump();
        self.next_sequence = 0;
        self.established = false;
    }

    /// The batch at this place goes on its way.
    pub(crate) fn send(&mut self, at: usize, rules: Rules) -> Option<&mut Batch> {
        let identity = self.identity;
        let batch = self.batches.get_mut(at)?;
        if rules.idempotent && batch.sequence.is_none() {
            batch.sequence = identity.map(|identity| Sequence {
                identity,
                base: self.next_sequence,
            });
            self.next_sequence = increment_sequence(self.next_sequence, batch.count);
        }
        batch.on_wire = true;
        batch.attempts += 1;
        Some(batch)
    }

    /// An attempt ended. `wait` says how long to wait before another, after so many failures. Gives
    /// the batch back if it is done with.
    pub(crate) fn on_outcome(
        &mut self,
        number: u64,
        outcome: Outcome,
        now: Instant,
        rules: Rules,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Option<Batch> {
        let at = self.batches.iter().position(|b| b.number == number)?;
        self.batches[at].on_wire = false;
        match outcome {
            Outcome::Acked(acked) => {
                self.gaps = self.gaps.split_off(&number);
                let batch = self.batches.remove(at)?;
                // All that is on its way has the same identity: it changes only when nothing is.
                self.established = true;
                batch.completion.settle(Ok(acked));
                Some(batch)
            }
            Outcome::Refused(error) => self.on_refused(at, error, now, rules, wait),
            Outcome::Failed {
                reason,
                may_be_written,
                retry,
            } => {
                self.batches[at].ambiguous |= may_be_written;
                if retry {
                    self.keep(at, reason, now, wait)
                } else {
                    self.give_up(at, reason)
                }
            }
        }
    }

    fn on_refused(
        &mut self,
        at: usize,
        error: BrokerError,
        now: Instant,
        rules: Rules,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Option<Batch> {
        let code = error.code;
        let reason = SendFailure::Broker(error);
        let out_of_order = rules.idempotent
            && matches!(
                code,
                ErrorCode::OutOfOrderSequenceNumber
                    | ErrorCode::UnknownProducerId
                    | ErrorCode::InvalidProducerEpoch
            );
        if out_of_order {
            if self.may_still_arrive(at) {
                return self.give_up(at, reason);
            }
            self.batches[at].ambiguous = false;
            if at > 0 {
                // It waits for those before it anyway.
                return self.keep(at, reason, now, |_| Duration::ZERO);
            }
            // The broker has lost what was before. This batch and all behind it are not written.
            self.lost = true;
            return self.keep(at, reason, now, wait);
        }
        if code.is_retriable() {
            // A leader may refuse after it has written: it lost its followers or its leadership.
            self.batches[at].ambiguous |= !matches!(
                code,
                ErrorCode::CorruptMessage | ErrorCode::NotEnoughReplicas
            );
            return self.keep(at, reason, now, wait);
        }
        if code == ErrorCode::MessageTooLarge && self.split(at) {
            return None;
        }
        self.batches[at].ambiguous |= code == ErrorCode::UnknownServerError;
        self.give_up(at, reason)
    }

    /// Whether an earlier attempt to send this batch may be written yet, although the broker has just
    /// said that it is out of order: that attempt and the batch of a gap before it may both be on their
    /// way to the broker still, and would be in order there.
    fn may_still_arrive(&self, at: usize) -> bool {
        let batch = &self.batches[at];
        let mut before = self.gaps.range(..batch.number);
        batch.ambiguous && before.any(|(_, not_written)| !not_written)
    }

    /// Halves a batch that is too large for the topic (KIP-126). Together the halves have the numbers
    /// in the sequence that it had, so nothing changes for those behind it. `false` if it must be
    /// given up: its senders were told so, or it may have been written as it was.
    fn split(&mut self, at: usize) -> bool {
        let batch = &self.batches[at];
        let numbers = u64::from(batch.count.unsigned_abs());
        if batch.given_up || batch.ambiguous || numbers > NUMBERS_PER_BATCH {
            return false;
        }
        let Some([first, second]) = batch.split() else {
            return false;
        };
        self.batches[at] = first;
        self.batches.insert(at + 1, second);
        true
    }

    /// Leaves the batch in its place for another attempt, unless its senders were told of its failure.
    fn keep(
        &mut self,
        at: usize,
        reason: SendFailure,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Option<Batch> {
        if self.batches[at].given_up {
            return self.give_up(at, reason);
        }
        let wait = wait(self.batches[at].attempts.saturating_sub(1));
        self.retry_at = self.retry_at.max(now.after(wait));
        self.batches[at].last_failure = Some(reason);
        None
    }

    fn give_up(&mut self, at: usize, reason: SendFailure) -> Option<Batch> {
        let batch = self.batches.remove(at)?;
        if batch.sequence.is_some() {
            self.gaps.insert(batch.number, !batch.ambiguous);
        }
        batch.completion.settle(Err(SendError {
            may_be_written: batch.ambiguous,
            reason,
        }));
        Some(batch)
    }

    /// Lets all leader changes be tried at once: a newer leader is known.
    pub(crate) fn retry_now(&mut self, now: Instant) {
        self.retry_at = self.retry_at.min(now);
    }

    /// Fails what was collected at or before `before`. Gives back what is done with.
    pub(crate) fn expire(&mut self, before: Instant) -> Vec<Batch> {
        let mut done = Vec::new();
        let mut at = 0;
        while let Some(batch) = self.batches.get_mut(at) {
            if batch.created > before || batch.given_up {
                at += 1;
                continue;
            }
            let last = batch.last_failure.take().map(Box::new);
            let reason = SendFailure::TimedOut { last };
            if batch.on_wire {
                batch.given_up = true;
                batch.completion.settle(Err(SendError {
                    may_be_written: true,
                    reason,
                }));
                at += 1;
            } else {
                done.extend(self.give_up(at, reason));
            }
        }
        done
    }

    /// Fails everything.
    pub(crate) fn fail_all(&mut self, reason: &SendFailure) -> Vec<Batch> {
        for batch in &self.batches {
            let may_be_written = batch.ambiguous || batch.on_wire;
            batch.completion.settle(Err(SendError {
                may_be_written,
                reason: reason.clone(),
            }));
        }
        self.batches.drain(..).collect()
    }

    /// When the oldest batch that can still be failed was collected.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.batches
            .iter()
            .filter(|b| !b.given_up)
            .map(|b| b.created)
            .min()
    }
}
