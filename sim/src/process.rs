//! A process: one life of a node.
//!
//! A killed process must never touch the world again, but its futures are dropped by the executor
//! one after the other, and their destructors run. So everything that a process does, drops
//! included, first asks whether it is still alive.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::event::NodeId;

/// One life of a node. Clones are the same life.
#[derive(Clone, Debug)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    number: u32,
    alive: AtomicBool,
}

impl Process {
    /// The life of `node` with this number, alive.
    #[must_use]
    pub fn new(node: NodeId, number: u32) -> Self {
        Self {
            inner: Arc::new(Inner {
                node,
                number,
                alive: AtomicBool::new(true),
            }),
        }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// How many processes the node had before this one.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.inner.number
    }

    /// Whether it may still act.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.inner.alive.load(Ordering::Relaxed)
    }

    /// Ends it. Whoever calls this sees to its disk and connections.
    pub fn end(&self) {
        self.inner.alive.store(false, Ordering::Relaxed);
    }

    /// Goes on at once in a live process, never in a dead one.
    pub async fn only_alive(&self) {
        if !self.is_alive() {
            pending::<()>().await;
        }
    }
}
