//! From the log to the state: at loading, and when an append has become durable.
//!
//! Offsets take this one way in both cases. The membership does not: while the shard is active its
//! groups are ahead of the log (a rebalance is never written), so there a record only becomes the
//! group's newest, kept for the rewrite of the log; at loading it *is* the group.
//!
//! A log written by Kafka may hold offsets of transactions. They wait for their producer's marker
//! and then count as if they had been written at their place in the log: of two commits of one key
//! the later record wins, not the later marker.

use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

use super::{
    Output, Record,
    classic::ClassicGroup,
    records::{Parsed, RECORD_OVERHEAD, StoredOffset, parse},
    shard::{Group, GroupShard},
    writes::{Change, Then},
};
use crate::time::Now;

/// An offset whose transaction is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingOffset {
    pub(super) group: Str,
    pub(super) topic: Str,
    pub(super) partition: i32,
    stored: StoredOffset,
    /// Where its record lies.
    offset: i64,
}

impl PendingOffset {
    fn is(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.group == *group && self.topic == *topic
    }
}

/// About what an offset takes in the log: the fixed fields of key and value, and its strings.
fn offset_size(group: &Str, topic: &Str, stored: &StoredOffset) -> usize {
    RECORD_OVERHEAD + 10 + group.len() + topic.len() + 24 + stored.metadata.len()
}

impl GroupShard {
    pub(super) fn replay(
        &mut self,
        now: Now,
        record: &Record,
        offset: i64,
        producer_id: Option<i64>,
    ) {
        self.size.log = self.size.log.saturating_add(record.size());
        self.next_offset = offset.saturating_add(1);
        let parsed = parse(record);
        // Whatever it says, it is the newest of its key.
        self.forget_foreign(&record.key);
        match (parsed, producer_id) {
            (Parsed::Foreign, _) => self.keep_foreign(record),
            (
                Parsed::Offset {
                    group,
                    topic,
                    partition,
                    stored: Some(stored),
                },
                Some(producer),
            ) => {
                self.groups
                    .entry(group.clone())
                    .or_insert_with(|| Group::new(now.wall));
                let pending = PendingOffset {
                    group,
                    topic,
                    partition,
                    stored,
                    offset,
                };
                self.open_transactions
                    .entry(producer)
                    .or_default()
                    .push(pending);
            }
            (
                Parsed::Offset {
                    group,
                    topic,
                    partition,
                    stored,
                },
                _,
            ) => {
                self.apply(
                    now,
                    Change::Offset {
                        group,
                        topic,
                        partition,
                        stored,
                    },
                );
            }
            (Parsed::Group { group, restored }, _) => {
                let value = record.value.as_ref().map(|v| Bytes::copy_from_slice(v));
                self.apply(
                    now,
                    Change::Group {
                        group: group.clone(),
                        value,
                    },
                );
                if let Some(place) = self.groups.get_mut(&group) {
                    place.classic = restored.unwrap_or_else(|| ClassicGroup::new(now.wall));
                }
            }
        }
    }

    pub(super) fn replay_marker(&mut self, now: Now, producer_id: i64, committed: bool) {
        self.next_offset = self.next_offset.saturating_add(1);
        let Some(offsets) = self.open_transactions.remove(&producer_id) else {
            return;
        };
        if !committed {
            return;
        }
        for it in offsets {
            let later = |other: &PendingOffset| {
                other.is(&it.group, &it.topic, it.partition) && other.offset > it.offset
            };
            // A later commit of the key that is open stays so; if it is aborted, this one counts.
            let still_open: Vec<(i64, PendingOffset)> = self
                .open_transactions
                .iter()
                .flat_map(|(producer, all)| all.iter().map(move |p| (*producer, p)))
                .filter(|(_, p)| later(p))
                .map(|(producer, p)| (producer, p.clone()))
                .collect();
            let (group, topic, partition) = (it.group, it.topic, it.partition);
            self.apply(
                now,
                Change::Offset {
                    group,
                    topic,
                    partition,
                    stored: Some(it.stored),
                },
            );
            for (producer, pending) in still_open {
                self.open_transactions
                    .entry(producer)
                    .or_default()
                    .push(pending);
            }
        }
    }

    /// Keeps a record that says nothing to the shard, as it may to others that read the log.
    fn keep_foreign(&mut self, record: &Record) {
        let Some(value) = &record.value else {
            return;
        };
        self.size.live = self.size.live.saturating_add(record.size());
        self.foreign.insert(
            Bytes::copy_from_slice(&record.key),
            Bytes::copy_from_slice(value),
        );
    }

    /// A newer record of this key makes an unknown one nothing.
    pub(super) fn forget_foreign(&mut self, key: &Bytes) {
        if let Some(value) = self.foreign.remove(key) {
            let size = RECORD_OVERHEAD + key.len() + value.len();
            self.size.live = self.size.live.saturating_sub(size);
        }
    }

    /// Makes a durable change visible.
    pub(super) fn apply(&mut self, now: Now, change: Change) {
        match change {
            Change::Offset {
                group,
                topic,
                partition,
                stored,
            } => {
                // Whatever is open for this key lies earlier in the log: it has been overtaken.
                self.open_transactions.retain(|_, all| {
                    all.retain(|pending| !pending.is(&group, &topic, partition));
                    !all.is_empty()
                });
                match stored {
                    Some(stored) => self.put_offset(now, &group, topic, partition, stored),
                    None => self.remove_offset(&group, &topic, partition),
                }
            }
            Change::Group { group, value } => {
                let key_size = RECORD_OVERHEAD + 4 + group.len();
                if value.is_none() && !self.groups.contains_key(&group) {
                    return;
                }
                let place = self
                    .groups
                    .entry(group)
                    .or_insert_with(|| Group::new(now.wall));
                let old = place.record.as_ref().map_or(0, |v| v.len() + key_size);
                let new = value.as_ref().map_or(0, |v| v.len() + key_size);
                place.record = value;
                self.size.live = (self.size.live + new).saturating_sub(old);
            }
        }
    }

    fn put_offset(
        &mut self,
        now: Now,
        group: &Str,
        topic: Str,
        partition: i32,
        stored: StoredOffset,
    ) {
        let new = offset_size(group, &topic, &stored);
        let place = self
            .groups
            .entry(group.clone())
            .or_insert_with(|| Group::new(now.wall));
        let old = match place.offsets.get_mut(&topic) {
            Some(partitions) => partitions
                .insert(partition, stored)
                .map_or(0, |old| offset_size(group, &topic, &old)),
            None => {
                place
                    .offsets
                    .entry(topic)
                    .or_default()
                    .insert(partition, stored);
                0
            }
        };
        self.size.live = (self.size.live + new).saturating_sub(old);
    }

    fn remove_offset(&mut self, group: &Str, topic: &Str, partition: i32) {
        let Some(place) = self.groups.get_mut(group) else {
            return;
        };
        let Some(partitions) = place.offsets.get_mut(topic) else {
            return;
        };
        if let Some(old) = partitions.remove(&partition) {
            self.size.live = self
                .size
                .live
                .saturating_sub(offset_size(group, topic, &old));
        }
        if partitions.is_empty() {
            place.offsets.remove(topic);
        }
    }

    pub(super) fn has_open_transaction(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.open_transactions
            .values()
            .flatten()
            .any(|p| p.is(group, topic, partition))
    }

    /// The log has been read: members have a session from now on to show themselves.
    pub(super) fn loaded(&mut self, now: Now, out: &mut Vec<Output>) {
        let ids: Vec<Str> = self.groups.keys().cloned().collect();
        for id in ids {
            self.forget_unless_open(&id);
            let Some(group) = self.groups.get(&id).map(|g| &g.classic) else {
                continue;
            };
            let members = group.member_ids();
            let too_many = group.member_count() > self.config.max_size;
            for member in &members {
                self.heard_of(now, &id, member);
            }
            if too_many {
                // Members are turned away as they join again, after a chance to commit.
                self.prepare_rebalance(now, &id, out);
            }
        }
        self.forget_unknown_topics(now, out);
        self.schedule_offset_expiry(now);
    }

    /// The topics that were deleted while nobody coordinated these groups lose their offsets. An id
    /// never comes back; an offset without one stays, as its topic may be the one of that name.
    fn forget_unknown_topics(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(known) = self.known_topics.take() else {
            return;
        };
        let mut changes = Vec::new();
        for (id, group) in &self.groups {
            for (topic, partitions) in &group.offsets {
                for (partition, stored) in partitions {
                    if stored.topic_id != Uuid::ZERO && !known.contains(&stored.topic_id) {
                        changes.push(Change::Offset {
                            group: id.clone(),
                            topic: topic.clone(),
                            partition: *partition,
                            stored: None,
                        });
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.append_in_parts(now, changes, Then::Nothing, out);
        }
    }

    fn forget_unless_open(&mut self, id: &Str) {
        if !self
            .open_transactions
            .values()
            .flatten()
            .any(|p| p.group == *id)
        {
            self.forget_if_nothing(id);
        }
    }
}
