//! Topics and their partitions, as the image holds them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use ottla_wire::metadata::{PartitionChangeRecord, PartitionRecord};
use ottla_wire::{Str, Uuid};

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its name.
    pub name: Str,
    /// Its id, never used again once the topic is deleted.
    pub id: Uuid,
    /// Its partitions by index.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

impl TopicImage {
    /// One of its partitions.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionImage> {
        self.partitions.get(&index)
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// How many replicas its first partition has, which stands for all of them.
    #[must_use]
    pub fn replication_factor(&self) -> i16 {
        let replicas = self
            .partitions
            .values()
            .next()
            .map_or(0, |p| p.replicas.len());
        i16::try_from(replicas).unwrap_or(i16::MAX)
    }
}

/// One partition: who holds it and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Box<[i32]>,
    /// The log directory of each replica, in the order of `replicas` (KIP-858).
    pub directories: Box<[Uuid]>,
    /// The replicas that are in sync.
    pub isr: Box<[i32]>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Box<[i32]>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Box<[i32]>,
    /// Replicas out of the ISR that are still known to have all data (KIP-966).
    pub eligible_leader_replicas: Box<[i32]>,
    /// The last members of the ELR that went away uncleanly (KIP-966).
    pub last_known_elr: Box<[i32]>,
    /// The leader; -1 if there is none.
    pub leader: i32,
    /// Whether the leader still recovers from an unclean election.
    pub recovering: bool,
    /// Grows with every change of leader.
    pub leader_epoch: i32,
    /// Grows with every change.
    pub partition_epoch: i32,
}

impl PartitionImage {
    /// The leader, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<i32> {
        (self.leader >= 0).then_some(self.leader)
    }

    /// Whether `broker` holds a replica.
    #[must_use]
    pub fn has_replica(&self, broker: i32) -> bool {
        self.replicas.contains(&broker)
    }

    /// Whether `broker` is in sync.
    #[must_use]
    pub fn is_in_sync(&self, broker: i32) -> bool {
        self.isr.contains(&broker)
    }

    /// The log directory in which `broker` holds its replica; `None` if it holds none.
    #[must_use]
    pub fn directory(&self, broker: i32) -> Option<Uuid> {
        let at = self.replicas.iter().position(|&r| r == broker)?;
        Some(
            self.directories
                .get(at)
                .copied()
                .unwrap_or(Uuid::MIGRATING_DIR),
        )
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Self {
        let mut partition = Self {
            replicas: record.replicas.as_slice().into(),
            directories: record.directories.as_slice().into(),
            isr: record.isr.as_slice().into(),
            removing_replicas: record.removing_replicas.as_slice().into(),
            adding_replicas: record.adding_replicas.as_slice().into(),
            eligible_leader_replicas: record
                .eligible_leader_replicas
                .as_deref()
                .unwrap_or_default()
                .into(),
            last_known_elr: record.last_known_elr.as_deref().unwrap_or_default().into(),
            leader: record.leader,
            recovering: record.leader_recovery_state == 1,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        // Records from before KIP-858 name no directories.
        if partition.directories.is_empty() {
            partition.directories = partition
                .replicas
                .iter()
                .map(|_| Uuid::MIGRATING_DIR)
                .collect();
        }
        partition
    }

    /// Takes in a change. The leader epoch grows whenever a leader is named, be it the same one.
    pub(super) fn merge(&mut self, change: &PartitionChangeRecord) {
        if let Some(replicas) = &change.replicas {
            if change.directories.is_none() {
                self.directories = replicas
                    .iter()
                    .map(|&replica| self.directory(replica).unwrap_or(Uuid::UNASSIGNED_DIR))
                    .collect();
            }
            self.replicas = replicas.as_slice().into();
        }
        if let Some(directories) = &change.directories {
            self.directories = directories.as_slice().into();
        }
        let lists = [
            (&mut self.isr, &change.isr),
            (&mut self.removing_replicas, &change.removing_replicas),
            (&mut self.adding_replicas, &change.adding_replicas),
            (
                &mut self.eligible_leader_replicas,
                &change.eligible_leader_replicas,
            ),
            (&mut self.last_known_elr, &change.last_known_elr),
        ];
        for (list, changed) in lists {
            if let Some(changed) = changed {
                *list = changed.as_slice().into();
            }
        }
        if change.leader != NO_LEADER_CHANGE {
            self.leader = change.leader;
            self.leader_epoch += 1;
        }
        if change.leader_recovery_state >= 0 {
            self.recovering = change.leader_recovery_state == 1;
        }
        self.partition_epoch += 1;
    }
}

/// The leader of a change that does not change the leader.
const NO_LEADER_CHANGE: i32 = -2;
