//! Commits that a network delivers late: a member's commit of an earlier generation is sent once more,
//! on a connection of its own, when the group has moved on. It must be refused.

use std::time::Duration;

use ottla_client::{TopicPartition as ClientPartition, consumer::GroupMetadata};
use ottla_io::Clock;

use super::raw::{OldCommit, RawClient};
use crate::{event::TopicPartition, io::SimIo};

/// A member is not kept from polling for longer.
const WAIT: Duration = Duration::from_millis(500);

/// What a member has committed, to be sent again.
pub(super) struct Echo {
    io: SimIo,
    bootstrap: String,
    last: Option<(GroupMetadata, ClientPartition, i64)>,
}

impl Echo {
    pub(super) fn new(io: SimIo, bootstrap: String) -> Self {
        Self {
            io,
            bootstrap,
            last: None,
        }
    }

    /// This was committed just now by a member who is that.
    pub(super) fn remember(&mut self, member: GroupMetadata, at: &ClientPartition, offset: i64) {
        // The oldest stays until it was sent again: generations pass meanwhile.
        self.last.get_or_insert((member, at.clone(), offset));
    }

    /// Sends it again if the member is in a later generation by now. What was accepted: the partition and
    /// the offset.
    pub(super) async fn arrive(&mut self, generation: i32) -> Option<(ClientPartition, i64)> {
        let (member, ..) = self.last.as_ref()?;
        if generation <= member.generation {
            return None;
        }
        let (member, at, offset) = self.last.take()?;
        let commit = OldCommit {
            group: member.group,
            generation: member.generation,
            member_id: member.member_id,
            partition: TopicPartition {
                topic: (&*at.topic).into(),
                partition: at.partition,
            },
            offset,
        };
        let mut raw = RawClient::new(self.io.clone(), self.bootstrap.clone());
        let sent = self.io.timeout(WAIT, raw.commit(&commit)).await;
        matches!(sent, Some(Ok(()))).then_some((at, offset))
    }
}
