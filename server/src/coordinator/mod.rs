//! The group coordinator of this node: drives `ottla_core::group` over `__consumer_offsets`.
//!
//! [`Groups`] holds one `shard` for each partition of `__consumer_offsets` that this node leads.
//! A shard is a machine behind a mutex and one task: the task loads the partition, appends what the
//! machine wants appended (everything that gathered while the append before was under way goes into
//! the next one, so the disk's pace sets the size of a batch and nothing ever lingers), and wakes
//! the machine when its next timer is due.
//!
//! What this node leads follows from the metadata: [`Groups::publish`] is called with each new
//! image, and starts and stops shards.

mod load;
mod settings;
mod shard;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_core::{
    group::{
        Client, GroupError, ListGroups, OFFSETS_TOPIC, Request, Response, partition_for,
        request::GroupListing,
    },
    metadata::{MetadataDelta, MetadataImage},
};
use ottla_io::Io;
use ottla_wire::{Str, Uuid};

pub use settings::GroupSettings;
use shard::Shard;

use crate::storage::{Storage, TopicPartition};

/// The groups that this node coordinates. Clones are the same groups.
pub struct Groups<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> Clone for Groups<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<I: Io> {
    io: I,
    storage: Storage<I>,
    settings: GroupSettings,
    state: Mutex<State<I>>,
}

struct State<I: Io> {
    /// How many partitions `__consumer_offsets` has; `None` until it exists.
    partitions: Option<i32>,
    shards: BTreeMap<i32, Shard<I>>,
}

impl<I: Io> Groups<I> {
    /// No groups yet: [`Groups::publish`] brings them.
    pub fn new(io: I, storage: Storage<I>, settings: GroupSettings) -> Self {
        let state = Mutex::new(State {
            partitions: None,
            shards: BTreeMap::new(),
        });
        Self {
            shared: Arc::new(Shared {
                io,
                storage,
                settings,
                state,
            }),
        }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &GroupSettings {
        &self.shared.settings
    }

    /// The partition of `__consumer_offsets` that a group belongs to, once there is such a topic.
    #[must_use]
    pub fn partition_of(&self, group_id: &str) -> Option<i32> {
        self.state()
            .partitions
            .map(|count| partition_for(group_id, count))
    }

    /// Takes over a new image: loads the partitions that this node has come to lead, leaves those
    /// that it does not lead any more, and forgets the offsets of deleted topics. The storage must
    /// have taken the image over before.
    pub fn publish(&self, image: &MetadataImage, delta: &MetadataDelta) {
        self.follow_leaders(image);
        let deleted: Vec<(Str, Uuid)> = delta
            .deleted_topics()
            .map(|(id, change)| (change.name.clone(), id))
            .collect();
        if !deleted.is_empty() {
            let shards: Vec<Shard<I>> = self.state().shards.values().cloned().collect();
            for shard in shards {
                shard.topics_deleted(deleted.clone());
            }
        }
    }

    fn follow_leaders(&self, image: &MetadataImage) {
        let node = self.shared.settings.node_id;
        let topic = image.topic(OFFSETS_TOPIC);
        let mut state = self.state();
        state.partitions = topic.map(|t| t.partition_count());
        let led: BTreeMap<i32, i32> = topic
            .into_iter()
            .flat_map(|t| &t.partitions)
            .filter(|(_, p)| p.leader() == Some(node))
            .map(|(index, p)| (*index, p.leader_epoch))
            .collect();
        state.shards.retain(|index, shard| {
            let stays = led.get(index) == Some(&shard.leader_epoch());
            if !stays {
                shard.stop();
            }
            stays
        });
        let mut topics: Option<Arc<BTreeSet<Uuid>>> = None;
        for (index, epoch) in led {
            if state.shards.contains_key(&index) {
                continue;
            }
            let name = TopicPartition::new(OFFSETS_TOPIC, index);
            match self.shared.storage.get(&name) {
                Some(handle) => {
                    let topics = topics.get_or_insert_with(|| {
                        image.topics().map(|t| t.id).collect::<BTreeSet<_>>().into()
                    });
                    let (io, settings) = (self.shared.io.clone(), self.shared.settings.clone());
                    let shard = Shard::start(io, handle, epoch, settings, Arc::clone(topics));
                    state.shards.insert(index, shard);
                }
                // The storage could not open it: its groups have no coordinator until it can.
                None => {
                    tracing::warn!(partition = %name, "led by this node but not in its storage")
                }
            }
        }
    }

    /// Asks the group that the request is about; `group_id` says which.
    pub async fn ask(&self, group_id: &str, client: Client, request: Request) -> Response {
        let shard = {
            let state = self.state();
            state
                .partitions
                .map(|count| partition_for(group_id, count))
                .and_then(|partition| state.shards.get(&partition).cloned())
        };
        match shard {
            Some(shard) => shard.ask(client, request).await,
            None => request.refused(GroupError::NotCoordinator),
        }
    }

    /// All groups of this node that the filter lets through.
    ///
    /// # Errors
    /// While a partition is being loaded.
    pub async fn list(&self, filter: &ListGroups) -> Result<Vec<GroupListing>, GroupError> {
        let shards: Vec<Shard<I>> = self.state().shards.values().cloned().collect();
        let mut groups = Vec::new();
        for shard in shards {
            match shard
                .ask(Client::default(), Request::List(filter.clone()))
                .await
            {
                Response::List(Ok(part)) => groups.extend(part),
                Response::List(Err(GroupError::CoordinatorLoadInProgress)) => {
                    return Err(GroupError::CoordinatorLoadInProgress);
                }
                // It has just ceased to be this node's: another one lists its groups.
                _ => {}
            }
        }
        Ok(groups)
    }

    /// Leaves all groups: whoever waits is told to look for another coordinator.
    pub fn shutdown(&self) {
        let shards = std::mem::take(&mut self.state().shards);
        for shard in shards.values() {
            shard.stop();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<I>> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
