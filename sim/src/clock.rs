//! Virtual time: madsim's clock, with sleeps shorter than its own millisecond.
//!
//! madsim's `sleep` never takes less than a millisecond, too coarse for a disk or a network, but a
//! sleep that is reset keeps the deadline it is given. It also adds a timer at every poll and leaves
//! it when the sleep is dropped; here a sleep registers once, through a waker of its own, and a
//! dropped one lets go of the task, so its timer fires into nothing.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use madsim::time::{Sleep as MadsimSleep, TimeHandle};

/// The world's clock: nanoseconds since the run began.
#[derive(Clone)]
pub struct SimClock {
    handle: TimeHandle,
}

impl SimClock {
    /// The clock of the running world.
    ///
    /// # Panics
    /// Outside of a madsim runtime.
    #[must_use]
    pub fn current() -> Self {
        Self {
            handle: TimeHandle::current(),
        }
    }

    /// Virtual nanoseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.handle.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Completes once [`Self::now`] has reached `deadline`; at once if it has.
    #[must_use]
    pub fn sleep_until(&self, deadline: u64) -> Sleep {
        Sleep {
            clock: self.clone(),
            deadline,
            armed: None,
        }
    }

    /// Completes after `duration`.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sleep_until(self.now().saturating_add(nanos))
    }
}

impl std::fmt::Debug for SimClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimClock({} ns)", self.now())
    }
}

/// See [`SimClock::sleep_until`].
pub struct Sleep {
    clock: SimClock,
    deadline: u64,
    armed: Option<Armed>,
}

struct Armed {
    // Held so that madsim's timer stays described; it is polled once.
    _inner: Pin<Box<MadsimSleep>>,
    sleeper: Arc<Sleeper>,
}

/// Passes a timer's wake on to whoever waits now, if anyone still does.
struct Sleeper(Mutex<Option<Waker>>);

impl Sleeper {
    fn set(&self, waker: Option<Waker>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        if now >= self.deadline {
            return Poll::Ready(());
        }
        if let Some(armed) = &self.armed {
            armed.sleeper.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        // A year is as good as for ever, and far from any overflow.
        let wait = (self.deadline - now).min(365 * 24 * 3600 * 1_000_000_000);
        let deadline = self.clock.handle.now_instant() + Duration::from_nanos(wait);
        let mut inner = Box::pin(self.clock.handle.sleep_until(deadline));
        inner.as_mut().reset(deadline);
        let sleeper = Arc::new(Sleeper(Mutex::new(Some(cx.waker().clone()))));
        let waker = Waker::from(Arc::clone(&sleeper));
        match inner.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => {
                self.armed = Some(Armed {
                    _inner: inner,
                    sleeper,
                });
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(armed) = &self.armed {
            armed.sleeper.set(None);
        }
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep until {} ns", self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use madsim::runtime::Runtime;

    use super::*;

    #[test]
    fn a_sleep_may_be_shorter_than_madsims_millisecond() {
        Runtime::new().block_on(async {
            let clock = SimClock::current();
            let before = clock.now();
            clock.sleep(Duration::from_micros(20)).await;
            let slept = clock.now() - before;
            assert!((20_000..25_000).contains(&slept), "{slept}");
        });
    }
}
