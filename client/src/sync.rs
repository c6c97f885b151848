//! Locks that outlive a panic, and a flag to wait for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Locks `mutex`, poisoned or not: no code here panics half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that happens once, and that many may wait for.
#[derive(Debug)]
pub(crate) struct Flag(watch::Sender<bool>);

impl Default for Flag {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Flag {
    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|set| *set).await;
    }
}

/// A part of `whole` as shared bytes; empty parts hold on to nothing.
pub(crate) fn slice_of(whole: &bytes::Bytes, part: &[u8]) -> bytes::Bytes {
    if part.is_empty() {
        bytes::Bytes::new()
    } else {
        whole.slice_ref(part)
    }
}
