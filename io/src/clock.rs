//! Time: what the clocks say, and waiting for the monotonic one.

use core::future::Future;
use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};
use ottla_core::time::{Instant, Now};

/// A node's clocks.
pub trait Clock {
    /// Both clocks, read together.
    fn now(&self) -> Now;

    /// Completes once the monotonic clock has reached `deadline`; at once if it has passed.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static;

    /// Completes after `duration` on the monotonic clock.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.sleep_until(self.now().monotonic.after(duration))
    }

    /// Runs `future` until it completes or `duration` has passed; `None` means that it has. The
    /// future is polled first, so one that is ready in time always wins.
    fn timeout<F>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        let sleep = self.sleep(duration);
        async move {
            match select(pin!(future), pin!(sleep)).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(((), _)) => None,
            }
        }
    }
}
