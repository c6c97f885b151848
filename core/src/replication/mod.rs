//! Log replication: whose log is the truth under which epoch, and how much of it is settled.
//!
//! One machine serves the metadata quorum (KRaft, KIP-595: a majority settles) and data partitions
//! (KIP-101, KIP-966: every replica in sync settles); only the [`Policy`] tells them apart. It
//! counts what each replica has made *durable*, not what it has received: an offset below the high
//! watermark survives the loss of power on all nodes at once. It holds no log and sends nothing:
//! its owner reports ends of logs and asks where the high watermark is.
//!
//! Today every partition has one replica. The rules below are written for a set, and tested so.

use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// Which replicas must hold a record durably before it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// More than half of the voters, this epoch's first record included: a leader may not settle
    /// older epochs' records by counting copies alone (Raft, figure 8).
    Majority,
    /// All that are in the in-sync set. One that has not caught up for `lag_max` is to leave it.
    InSyncSet {
        /// `replica.lag.time.max.ms`.
        lag_max: Duration,
    },
}

/// What a node is to a replicated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It knows of no leader under the current epoch.
    Unattached,
    /// Its log is the truth, its own epoch's records start at `epoch_start`.
    Leader {
        /// The log's end when it became leader.
        epoch_start: i64,
    },
    /// It copies the log of `leader`.
    Follower {
        /// Whose log it copies.
        leader: i32,
    },
}

/// A member of the replica set, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The node's id.
    pub id: i32,
    /// Below it everything is durable there; `None` until it reported under this epoch.
    pub durable_end: Option<i64>,
    /// Whether it counts: a voter, or in the in-sync set.
    pub counts: bool,
    /// When its log was last as long as the leader's.
    pub caught_up_at: Instant,
}

/// An epoch may only grow, and one epoch has one leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The epoch is older than the current one.
    #[error("epoch {got} is older than {current}")]
    OldEpoch {
        /// The current epoch.
        current: i32,
        /// The one given.
        got: i32,
    },
    /// This epoch already has another leader.
    #[error("epoch {epoch} has another leader already")]
    OtherLeader {
        /// The epoch.
        epoch: i32,
    },
}

/// The replication state of one log on one node.
///
/// | from \ to | Unattached | Follower(l) | Leader |
/// | --- | --- | --- | --- |
/// | Unattached(e) | e' > e | e' >= e | e' >= e |
/// | Follower(e, l) | e' > e | e' > e, or e' = e and the same l | e' > e |
/// | Leader(e) | e' > e | e' > e | e' >= e |
///
/// Entering `Leader` with the epoch it already leads changes the set only. The high watermark never
/// goes back, except that a follower which truncates below it (its copy was lost) goes with its log.
#[derive(Clone, Debug)]
pub struct Replication {
    me: i32,
    epoch: i32,
    role: Role,
    policy: Policy,
    /// Sorted by id; holds `me` while leader.
    replicas: Vec<Replica>,
    high_watermark: i64,
}

impl Replication {
    /// A node that knows of no leader. `epoch` and `high_watermark` are what it had written down.
    #[must_use]
    pub fn new(me: i32, policy: Policy, epoch: i32, high_watermark: i64) -> Self {
        Self {
            me,
            epoch,
            role: Role::Unattached,
            policy,
            replicas: Vec::new(),
            high_watermark,
        }
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What this node is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether this node's log is the truth.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Below it everything is settled.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// How many replicas count.
    #[must_use]
    pub fn in_sync(&self) -> usize {
        self.replicas.iter().filter(|r| r.counts).count()
    }

    /// The replica set as the leader sees it.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// Makes this node leader of `epoch`. `members` are all replicas with whether each counts; this
    /// node is added if it is missing. `durable_end` and `log_end` are of its own log.
    pub fn lead(
        &mut self,
        now: Instant,
        epoch: i32,
        members: &[(i32, bool)],
        durable_end: i64,
        log_end: i64,
    ) -> Result<(), TransitionError> {
        self.enter(epoch, |role| {
            matches!(role, Role::Leader { .. } | Role::Unattached)
        })?;
        let known = if self.is_leader() && epoch == self.epoch {
            core::mem::take(&mut self.replicas)
        } else {
            self.role = Role::Leader {
                epoch_start: log_end,
            };
            Vec::new()
        };
        self.epoch = epoch;
        self.replicas = members
            .iter()
            .map(|&(id, counts)| match known.iter().find(|r| r.id == id) {
                Some(&replica) => Replica { counts, ..replica },
                None => Replica {
                    id,
                    durable_end: None,
                    counts,
                    caught_up_at: now,
                },
            })
            .collect();
        let me = self.me;
        if !self.replicas.iter().any(|r| r.id == me) {
            self.replicas.push(Replica {
                id: me,
                durable_end: None,
                counts: true,
                caught_up_at: now,
            });
        }
        self.replicas.sort_by_key(|r| r.id);
        self.replicas.dedup_by_key(|r| r.id);
        self.made_durable(now, me, durable_end, log_end);
        Ok(())
    }

    /// Makes this node a follower of `leader` under `epoch`.
    pub fn follow(&mut self, epoch: i32, leader: i32) -> Result<(), TransitionError> {
        self.enter(epoch, |role| match role {
            Role::Unattached => true,
            Role::Follower { leader: current } => current == leader,
            Role::Leader { .. } => false,
        })?;
        self.epoch = epoch;
        self.role = Role::Follower { leader };
        self.replicas.clear();
        Ok(())
    }

    /// Forgets the leader: `epoch` has none yet.
    pub fn detach(&mut self, epoch: i32) -> Result<(), TransitionError> {
        self.enter(epoch, |role| role == Role::Unattached)?;
        self.epoch = epoch;
        self.role = Role::Unattached;
        self.replicas.clear();
        Ok(())
    }

    /// A replica has everything below `end` on disk. Gives the high watermark if it moved.
    pub fn made_durable(
        &mut self,
        now: Instant,
        replica: i32,
        end: i64,
        leader_log_end: i64,
    ) -> Option<i64> {
        if !self.is_leader() {
            return None;
        }
        let replica = self.replicas.iter_mut().find(|r| r.id == replica)?;
        replica.durable_end = Some(replica.durable_end.map_or(end, |known| known.max(end)));
        if end >= leader_log_end {
            replica.caught_up_at = now;
        }
        self.advance()
    }

    /// The leader told its follower where the high watermark is. Gives it if it moved here: it
    /// never passes what this node has itself made durable.
    pub fn leader_settled(&mut self, high_watermark: i64, durable_end: i64) -> Option<i64> {
        if self.is_leader() {
            return None;
        }
        let settled = high_watermark.min(durable_end);
        (settled > self.high_watermark).then(|| {
            self.high_watermark = settled;
            settled
        })
    }

    /// The log now starts at `log_start`: what lies before it is settled for good.
    pub fn log_starts(&mut self, log_start: i64) {
        self.high_watermark = self.high_watermark.max(log_start);
    }

    /// This node's log was cut to `end`.
    pub fn truncated(&mut self, end: i64) {
        self.high_watermark = self.high_watermark.min(end);
        let me = self.me;
        if let Some(replica) = self.replicas.iter_mut().find(|r| r.id == me) {
            replica.durable_end = replica.durable_end.map(|known| known.min(end));
        }
    }

    /// The counting replicas, other than this node, that have lagged for too long.
    pub fn lagging(&self, now: Instant) -> impl Iterator<Item = i32> + '_ {
        let lag_max = match self.policy {
            Policy::InSyncSet { lag_max } => Some(lag_max),
            Policy::Majority => None,
        };
        self.replicas
            .iter()
            .filter(move |r| {
                r.counts
                    && r.id != self.me
                    && lag_max.is_some_and(|max| now.since(r.caught_up_at) > max)
            })
            .map(|r| r.id)
    }

    fn enter(
        &self,
        epoch: i32,
        same_epoch: impl FnOnce(Role) -> bool,
    ) -> Result<(), TransitionError> {
        if epoch < self.epoch {
            Err(TransitionError::OldEpoch {
                current: self.epoch,
                got: epoch,
            })
        } else if epoch == self.epoch && !same_epoch(self.role) {
            Err(TransitionError::OtherLeader { epoch })
        } else {
            Ok(())
        }
    }

    fn advance(&mut self) -> Option<i64> {
        let Role::Leader { epoch_start } = self.role else {
            return None;
        };
        // A replica that has not reported holds nothing for certain.
        let mut ends: Vec<i64> = self
            .replicas
            .iter()
            .filter(|r| r.counts)
            .map(|r| r.durable_end.unwrap_or(0))
            .collect();
        ends.sort_unstable();
        let settled = match self.policy {
            // With the ends in rising order, those from here on are a majority.
            Policy::Majority => {
                let settled = *ends.get(ends.len().saturating_sub(1) / 2)?;
                (settled > epoch_start).then_some(settled)?
            }
            Policy::InSyncSet { .. } => *ends.first()?,
        };
        (settled > self.high_watermark).then(|| {
            self.high_watermark = settled;
            settled
        })
    }
}
