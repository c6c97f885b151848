//! What is read, how far it was read, and what waits to be handed out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_wire::Str;

use super::{
    fetched::Fetched,
    member::Member,
    record::{ConsumerError, ConsumerRecord},
};
use crate::{
    commit::Committer,
    types::{OffsetAndMetadata, OffsetSpec, TopicPartition},
};

/// A partition that is read.
#[derive(Debug)]
pub(super) struct PartitionState {
    /// Changes with each seek and assignment: what was asked for before is worthless then.
    pub(super) version: u64,
    pub(super) next_version: u64,
    /// Offset and leader epoch behind what was handed out.
    pub(super) position: Option<(i64, i32)>,
    /// The offset behind what was fetched, and the leader epoch of what is before it; -1 if that is
    /// not known.
    pub(super) fetch_offset: i64,
    pub(super) fetch_epoch: i32,
    /// Where to look for a position; `None` is the committed offset.
    pub(super) reset: Option<OffsetSpec>,
    /// It has no position, and there is no rule for one: a seek must give it.
    pub(super) stuck: bool,
    pub(super) paused: bool,
    pub(super) fetching: bool,
    /// Pieces of it that wait to be handed out.
    pub(super) buffered: usize,
    pub(super) high_watermark: i64,
}

impl PartitionState {
    pub(super) fn new(version: u64) -> Self {
        Self {
            version,
            next_version: version,
            position: None,
            fetch_offset: 0,
            fetch_epoch: -1,
            reset: None,
            stuck: false,
            paused: false,
            fetching: false,
            buffered: 0,
            high_watermark: -1,
        }
    }

    pub(super) fn move_to(&mut self, offset: i64, epoch: i32) {
        self.position = Some((offset, epoch));
        self.fetch_offset = offset;
        self.fetch_epoch = epoch;
        self.buffered = 0;
        self.stuck = false;
        self.reset = None;
    }

    pub(super) fn reset_to(&mut self, spec: OffsetSpec) {
        self.position = None;
        self.buffered = 0;
        self.stuck = false;
        self.reset = Some(spec);
    }
}

/// Offsets that are to be committed, by whoever this consumer was when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) committer: Committer,
    pub(super) offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

/// The commits that nobody waits for: one is under way at a time, and of those that wait only the
/// newest counts.
#[derive(Debug, Default)]
pub(super) struct AsyncCommits {
    running: bool,
    next: Option<Commit>,
}

impl AsyncCommits {
    /// Takes a commit; whether a task must be started that asks for [`Self::next`].
    pub(super) fn add(&mut self, commit: Commit) -> bool {
        self.next = Some(commit);
        !std::mem::replace(&mut self.running, true)
    }

    /// What the task commits next. It ends where there is nothing.
    pub(super) fn next(&mut self) -> Option<Commit> {
        let next = self.next.take().filter(|commit| !commit.offsets.is_empty());
        self.running = next.is_some();
        next
    }

    /// These partitions are committed by a later call: what waits for them would take it back.
    pub(super) fn overtaken(&mut self, by: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        if let Some(next) = &mut self.next {
            next.offsets
                .retain(|partition, _| !by.contains_key(partition));
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct State {
    pub(super) member: Member,
    /// Generation and member id as of the last rebalance that the application took part in.
    pub(super) identity: (i32, Str),
    pub(super) partitions: BTreeMap<TopicPartition, PartitionState>,
    pub(super) buffer: VecDeque<(u64, Fetched)>,
    /// Brokers with a fetch under way.
    pub(super) fetching: BTreeSet<i32>,
    pub(super) positioning: bool,
    pub(super) refreshing: bool,
    pub(super) errors: VecDeque<ConsumerError>,
    pub(super) commits: AsyncCommits,
    /// As the group's leader: how many partitions each topic had when they were divided.
    pub(super) led_counts: Option<BTreeMap<Str, i32>>,
    versions: u64,
}

impl State {
    pub(super) fn new(member: Member) -> Self {
        Self {
            member,
            identity: (-1, Str::new()),
            partitions: BTreeMap::new(),
            buffer: VecDeque::new(),
            fetching: BTreeSet::new(),
            positioning: false,
            refreshing: false,
            errors: VecDeque::new(),
            commits: AsyncCommits::default(),
            led_counts: None,
            versions: 0,
        }
    }

    pub(super) fn new_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Moves up to `max` records to `out` and the positions behind them. An error is told only when
    /// nothing else is there to be handed out first.
    pub(super) fn take(
        &mut self,
        max: usize,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumerError> {
        let mut kept = VecDeque::new();
        while out.len() < max {
            let Some((version, mut fetched)) = self.buffer.pop_front() else {
                break;
            };
            let state = self.partitions.get_mut(&fetched.partition);
            let Some(p) = state.filter(|p| p.version == version) else {
                continue;
            };
            if p.paused {
                kept.push_back((version, fetched));
                continue;
            }
            let (offset, epoch, result) = fetched.take(max - out.len(), out);
            p.position = Some((offset, epoch));
            if let Err(fault) = result {
                // The application sees the error each time it comes here, until it seeks.
                p.fetch_offset = offset;
                p.fetch_epoch = epoch;
                let partition = fetched.partition.clone();
                self.buffer.retain(|(_, f)| f.partition != partition);
                p.buffered = 0;
                self.errors.push_back(ConsumerError::Corrupt {
                    partition,
                    offset,
                    fault,
                });
            } else if fetched.is_done() {
                p.buffered = p.buffered.saturating_sub(1);
            } else {
                // There is no more room: its later pieces are not looked at.
                kept.push_back((version, fetched));
            }
        }
        kept.append(&mut self.buffer);
        self.buffer = kept;
        match self.errors.pop_front() {
            Some(error) if out.is_empty() => Err(error),
            Some(error) => {
                self.errors.push_front(error);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A leader says that its log is what was fetched only up to `end`, the end of `epoch` there: an
    /// unclean election took the rest (KIP-320). What was fetched beyond that is forgotten; if it was
    /// handed out already, reading goes on at `end` or, without a rule for that, not at all.
    pub(super) fn diverged(
        &mut self,
        partition: &TopicPartition,
        (end, epoch): (i64, i32),
        may_reset: bool,
    ) {
        let version = self.new_version();
        let Some(p) = self.partitions.get_mut(partition) else {
            return;
        };
        let Some((position, position_epoch)) = p.position else {
            return;
        };
        p.version = version;
        if position <= end {
            p.move_to(position, position_epoch.min(epoch));
        } else if may_reset {
            p.move_to(end, epoch);
            tracing::warn!(%partition, position, end, "the log was truncated");
        } else {
            // Found again by the next fetch, if the application goes on without a seek.
            p.move_to(position, position_epoch);
            self.errors.push_back(ConsumerError::LogTruncated {
                partition: partition.clone(),
                position,
                diverged_at: end,
            });
        }
    }

    /// What was handed out, as offsets to commit.
    pub(super) fn positions(
        &self,
        of: Option<&BTreeSet<TopicPartition>>,
    ) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.partitions
            .iter()
            .filter(|(partition, _)| of.is_none_or(|of| of.contains(partition)))
            .filter_map(|(partition, p)| {
                let (offset, epoch) = p.position?;
                let leader_epoch = Some(epoch).filter(|e| *e >= 0);
                let metadata = String::new();
                Some((
                    partition.clone(),
                    OffsetAndMetadata {
                        offset,
                        leader_epoch,
                        metadata,
                    },
                ))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_core::time::Instant;

    use super::*;

    fn reading(position: (i64, i32), fetch: (i64, i32)) -> (State, TopicPartition) {
        let config = super::super::member::MemberConfig {
            cooperative: true,
            is_static: false,
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
        };
        let mut state = State::new(Member::new(config, Instant(0)));
        let partition = TopicPartition::new("t", 0);
        let mut p = PartitionState::new(0);
        p.position = Some(position);
        (p.fetch_offset, p.fetch_epoch) = fetch;
        p.buffered = 1;
        state.partitions.insert(partition.clone(), p);
        (state, partition)
    }

    #[test]
    fn what_was_fetched_beyond_a_truncated_log_is_forgotten_and_fetched_anew() {
        let (mut state, partition) = reading((5, 2), (10, 3));
        state.diverged(&partition, (7, 2), false);
        let p = &state.partitions[&partition];
        assert_eq!((p.fetch_offset, p.fetch_epoch, p.buffered), (5, 2, 0));
        assert!(p.version > 0 && state.errors.is_empty());
    }

    #[test]
    fn a_position_beyond_a_truncated_log_goes_to_its_end_or_is_an_error_without_a_rule() {
        let (mut state, partition) = reading((9, 3), (10, 3));
        state.diverged(&partition, (7, 2), false);
        let truncated = ConsumerError::LogTruncated {
            partition: partition.clone(),
            position: 9,
            diverged_at: 7,
        };
        assert_eq!(state.errors.pop_front(), Some(truncated));
        assert_eq!(state.partitions[&partition].position, Some((9, 3)));
        state.diverged(&partition, (7, 2), true);
        assert_eq!(state.partitions[&partition].position, Some((7, 2)));
        assert!(state.errors.is_empty());
    }

    fn commit(offsets: &[(i32, i64)]) -> Commit {
        let one = |&(partition, offset): &(i32, i64)| {
            let offset = OffsetAndMetadata {
                offset,
                leader_epoch: None,
                metadata: String::new(),
            };
            (TopicPartition::new("t", partition), offset)
        };
        Commit {
            committer: Committer::outside("g".into()),
            offsets: offsets.iter().map(one).collect(),
        }
    }

    #[test]
    fn of_the_commits_that_wait_for_one_under_way_only_the_newest_is_made() {
        let mut commits = AsyncCommits::default();
        assert!(commits.add(commit(&[(0, 1)])));
        assert_eq!(commits.next(), Some(commit(&[(0, 1)])));
        assert!(!commits.add(commit(&[(0, 2)])));
        assert!(!commits.add(commit(&[(0, 3)])));
        assert_eq!(commits.next(), Some(commit(&[(0, 3)])));
        assert_eq!(commits.next(), None);
        assert!(commits.add(commit(&[(0, 4)])));
    }

    #[test]
    fn a_commit_that_waits_takes_back_nothing_of_a_later_call() {
        let mut commits = AsyncCommits::default();
        commits.add(commit(&[(0, 1), (1, 1)]));
        commits.overtaken(&commit(&[(0, 5)]).offsets);
        assert_eq!(commits.next(), Some(commit(&[(1, 1)])));
        commits.add(commit(&[(1, 2)]));
        commits.overtaken(&commit(&[(1, 5)]).offsets);
        assert_eq!(commits.next(), None);
    }
}
