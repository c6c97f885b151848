//! Who makes an event happen: a task of a process, or a fault of the scenario.
//!
//! Each task and each fault has a number of its own, in the order in which they begin. It is hashed with
//! every event, so two histories part where another task does the same thing, not only where it shows.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

thread_local! {
    // A run has a thread of its own.
    static CURRENT: Cell<CauseId> = const { Cell::new(CauseId::WORLD) };
}

/// The number of a cause in its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CauseId(pub u32);

impl CauseId {
    /// The run itself: it sets the stage and reads at the end.
    pub const WORLD: Self = Self(0);
}

/// Who acts now.
#[must_use]
pub fn current() -> CauseId {
    CURRENT.get()
}

/// A future with a cause; see [`crate::event::Recorder::caused`].
#[derive(Debug)]
pub struct Caused<F> {
    cause: CauseId,
    future: Pin<Box<F>>,
}

impl<F: Future> Caused<F> {
    pub(crate) fn new(cause: CauseId, future: F) -> Self {
        Self {
            cause,
            future: Box::pin(future),
        }
    }
}

/// Gives the turn back however it ends.
struct Turn(CauseId);

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl<F: Future> Future for Caused<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _turn = Turn(CURRENT.replace(self.cause));
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_cause_holds_while_its_future_is_polled_and_the_outer_one_comes_back() {
        let inner = Caused::new(CauseId(2), async { current() });
        let outer = Caused::new(CauseId(1), async { (inner.await, current()) });
        assert_eq!(outer.now_or_never(), Some((CauseId(2), CauseId(1))));
        assert_eq!(current(), CauseId::WORLD);
    }
}
