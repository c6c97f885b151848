//! Commits that a network delivers late: a member's commit of an earlier generation is sent once more,
//! on a connection of its own, when the group has moved on. It must be refused.

use std::time::Duration;

use ottla_io::Clock;

use super::raw::{OldCommit, RawClient};
use crate::io::SimIo;

/// A member is not kept from polling for longer.
const WAIT: Duration = Duration::from_millis(500);

/// What a member has committed, to be sent again.
pub(super) struct Echo {
    io: SimIo,
    bootstrap: String,
    last: Option<OldCommit>,
}

impl Echo {
    pub(super) fn new(io: SimIo, bootstrap: String) -> Self {
        Self {
            io,
            bootstrap,
            last: None,
        }
    }

    /// This was committed just now.
    pub(super) fn remember(&mut self, commit: OldCommit) {
        // The oldest stays until it was sent again: generations pass meanwhile.
        self.last.get_or_insert(commit);
    }

    /// Sends it again if the member is in a later generation by now; gives it if it was accepted.
    pub(super) async fn arrive(&mut self, generation: i32) -> Option<OldCommit> {
        let is_old = |commit: &mut OldCommit| commit.generation < generation;
        let commit = self.last.take_if(is_old)?;
        let mut raw = RawClient::new(self.io.clone(), self.bootstrap.clone());
        let sent = self.io.timeout(WAIT, raw.commit(&commit)).await;
        matches!(sent, Some(Ok(()))).then_some(commit)
    }
}
