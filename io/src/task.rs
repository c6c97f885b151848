//! Tasks: starting one, waiting for it, ending it.
//!
//! A backend only has to run a boxed future ([`Spawn::spawn_detached`]); joining and aborting are
//! built on it here, once, so that they mean the same in production and in the simulator.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use tokio::sync::oneshot;

/// Starts tasks on the backend's executor.
pub trait Spawn {
    /// Runs `future` to its end. `name` shows in traces.
    fn spawn_detached(&self, name: &'static str, future: BoxFuture<'static, ()>);

    /// Runs `future` and gives a handle to wait for its output or to end it early. Dropping the
    /// handle leaves the task running.
    fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (sender, output) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let future = Abortable::new(future, registration);
        self.spawn_detached(
            name,
            Box::pin(async move {
                if let Ok(output) = future.await {
                    // Nobody waiting is fine: the handle was dropped.
                    let _ = sender.send(output);
                }
            }),
        );
        Task { output, abort }
    }
}

/// A running task: a future of its output.
#[derive(Debug)]
pub struct Task<T> {
    output: oneshot::Receiver<T>,
    abort: AbortHandle,
}

/// The task ended without an output: it was aborted or it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLost;

impl<T> Task<T> {
    /// Ends the task at its next suspension point.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.output).poll(cx).map_err(|_| TaskLost)
    }
}
