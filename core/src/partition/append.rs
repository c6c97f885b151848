//! Taking appends.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    Acks, Answer, AppendError, AppendOptions, Appended, Condition, Origin, Output, Partition,
    Ticket, Unwritten,
};
use crate::{batch::Batches, log::Append, time::Now};

impl Partition {
    /// Takes an append, or parks it behind others when too much is unwritten.
    pub(super) fn append(
        &mut self,
        now: Now,
        from: Ticket,
        records: Bytes,
        options: AppendOptions,
        out: &mut Vec<Output>,
    ) {
        if matches!(self.condition, Condition::Closing { .. }) {
            let answer = Answer::Appended(Err(AppendError::Closed));
            out.push(Output::Reply { to: from, answer });
            return;
        }
        // One that is larger than the bound by itself is taken when nothing else is unwritten.
        let no_room = self.unwritten_bytes > 0
            && self.unwritten_bytes + records.len() > self.config.unwritten_bytes_max;
        if self.condition == Condition::Online && (no_room || !self.parked.is_empty()) {
            self.parked.push_back((from, records, options));
            return;
        }
        self.take(now, from, records, options, out);
    }

    /// Takes appends that were parked, as far as there is room.
    pub(super) fn unpark(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some((_, records, _)) = self.parked.front() {
            if self.unwritten_bytes > 0
                && self.unwritten_bytes + records.len() > self.config.unwritten_bytes_max
            {
                break;
            }
            let Some((from, records, options)) = self.parked.pop_front() else {
                break;
            };
            self.take(now, from, records, options, out);
        }
    }

    fn take(
        &mut self,
        now: Now,
        from: Ticket,
        records: Bytes,
        options: AppendOptions,
        out: &mut Vec<Output>,
    ) {
        match self.try_take(now, &records, &options, out) {
            Err(error) => {
                out.push(Output::Reply {
                    to: from,
                    answer: Answer::Appended(Err(error)),
                });
            }
            Ok(appended) => self.promise(from, options.acks, appended, out),
        }
    }

    fn try_take(
        &mut self,
        now: Now,
        records: &Bytes,
        options: &AppendOptions,
        out: &mut Vec<Output>,
    ) -> Result<Appended, AppendError> {
        self.check_writable(options)?;
        let max = self.config.log.max_message_bytes as usize;
        let batches = match options.origin {
            Origin::Client => Batches::from_client(records.clone(), max)?,
            Origin::Replication => Batches::from_leader(records.clone())?,
            origin => Batches::from_node(records.clone(), origin, max)?,
        };
        let epoch = self.replication.epoch();
        let how = match options.origin {
            Origin::Replication => Append::Follower,
            _ => Append::Leader { epoch },
        };
        let taken = self
            .log
            .append(now.wall, &batches, how, &mut self.effects)?;
        let log_end = self.log.log_end();
        if let Some(last) = self.push_effects(out) {
            let bytes = records.len();
            self.unwritten_bytes += bytes;
            self.unwritten.push_back(Unwritten {
                last,
                log_end,
                bytes,
            });
        }
        Ok(Appended {
            base_offset: taken.base_offset,
            last_offset: taken.last_offset,
            log_append_time: taken.log_append_time,
            log_start: taken.log_start,
            leader_epoch: epoch,
            duplicate: taken.duplicate,
        })
    }

    fn check_writable(&self, options: &AppendOptions) -> Result<(), AppendError> {
        match self.condition {
            // Those that were parked before the close began are still taken.
            Condition::Online | Condition::Closing { .. } => {}
            Condition::Offline => return Err(AppendError::Storage),
            Condition::Closed => return Err(AppendError::Closed),
        }
        let current = self.replication.epoch();
        let leads = self.replication.is_leader();
        if leads == (options.origin == Origin::Replication) {
            return Err(AppendError::NotLeader {
                leader_epoch: current,
            });
        }
        if let Some(expected) = options
            .expected_leader_epoch
            .filter(|&epoch| epoch != current)
        {
            return Err(AppendError::WrongLeaderEpoch { expected, current });
        }
        // No more can be asked for than there are (as for Kafka): else a topic with one replica could
        // not be written to.
        let replicas = self.replication.replicas().len().max(1);
        let required = self.config.min_insync_replicas.min(replicas);
        let in_sync = self.replication.in_sync();
        if options.acks == Acks::All && leads && in_sync < required {
            return Err(AppendError::NotEnoughReplicas { in_sync, required });
        }
        Ok(())
    }

    /// Answers when what `acks` promises is so. Appends end in rising order, but a repeated one
    /// (a duplicate) ends where the first did.
    fn promise(&mut self, to: Ticket, acks: Acks, appended: Appended, out: &mut Vec<Output>) {
        let end = appended.last_offset + 1;
        let (promised, waiting) = match acks {
            Acks::None => (true, &mut self.on_written),
            Acks::Leader => (end <= self.log.written_end(), &mut self.on_written),
            Acks::All => (
                end <= self.replication.high_watermark(),
                &mut self.on_settled,
            ),
        };
        if promised {
            out.push(Output::Reply {
                to,
                answer: Answer::Appended(Ok(appended)),
            });
        } else {
            let at = waiting.partition_point(|(other, ..)| *other <= end);
            waiting.insert(at, (end, to, appended));
        }
    }

    /// Refuses everything that is taken or parked and not answered yet.
    pub(super) fn refuse_all(&mut self, error: AppendError, out: &mut Vec<Output>) {
        let written = self.on_written.drain(..).map(|(_, ticket, _)| ticket);
        let settled = self.on_settled.drain(..).map(|(_, ticket, _)| ticket);
        let parked = self.parked.drain(..).map(|(ticket, ..)| ticket);
        out.extend(
            written
                .chain(settled)
                .chain(parked)
                .map(|to| Output::Reply {
                    to,
                    answer: Answer::Appended(Err(error)),
                }),
        );
    }
}
