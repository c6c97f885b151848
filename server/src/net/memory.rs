//! The memory that all connections' requests may hold together.
//!
//! Waiters are served in the order in which they ask, and the first of them keeps what is given back
//! until it has enough. A large frame of which little comes would so keep everybody waiting, so small,
//! moderate and large requests have memory of their own; and what is counted as small has arrived.

use std::{future::Future, pin::Pin, sync::Arc};

use ottla_core::limits::{
    FRAME_BYTES_AT_ONCE, MODERATE_FRAME_BYTES, MODERATE_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX,
    SMALL_REQUEST_BYTES_MAX,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a permit stands for: a semaphore's request is a `u32`.
const UNIT: usize = 1024;

/// The largest request that is asked for only when it is whole: a frame's first read takes as much,
/// its length included.
const SMALL_MAX: usize = FRAME_BYTES_AT_ONCE - size_of::<u32>();

/// Hands out memory for requests, in the order in which it is asked for. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory {
    small: Arc<Semaphore>,
    moderate: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl RequestMemory {
    pub(crate) fn new() -> Self {
        let of = |bytes| Arc::new(Semaphore::new(bytes / UNIT));
        let large = REQUEST_BYTES_MAX - MODERATE_REQUEST_BYTES_MAX - SMALL_REQUEST_BYTES_MAX;
        Self {
            small: of(SMALL_REQUEST_BYTES_MAX),
            moderate: of(MODERATE_REQUEST_BYTES_MAX),
            large: of(large),
        }
    }

    fn of_size(&self, len: usize) -> Arc<Semaphore> {
        Arc::clone(match len {
            bytes if bytes <= SMALL_MAX => &self.small,
            bytes if bytes <= MODERATE_FRAME_BYTES => &self.moderate,
            _ => &self.large,
        })
    }

    /// Memory for `len` bytes, if it is there now and nobody waits for it.
    pub(crate) fn try_take(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        self.of_size(len).try_acquire_many_owned(units(len)).ok()
    }

    /// Memory for `len` bytes, once it is there.
    pub(crate) fn take(
        &self,
        len: usize,
    ) -> Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>> {
        let units_left = self.of_size(len);
        Box::pin(async move {
            match units_left.acquire_many_owned(units(len)).await {
                Ok(permit) => permit,
                // It is never closed.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

fn units(len: usize) -> u32 {
    u32::try_from(len.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use ottla_core::limits::FRAME_BYTES_MAX;

    use super::*;

    #[test]
    fn small_and_moderate_requests_do_not_wait_for_large_ones() {
        let memory = RequestMemory::new();
        let mut held = Vec::new();
        while let Some(permit) = memory.try_take(FRAME_BYTES_MAX) {
            held.push(permit);
        }
        let mut waits = memory.take(FRAME_BYTES_MAX);
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(memory.try_take(MODERATE_FRAME_BYTES + 1).is_none());
        assert!(memory.try_take(MODERATE_FRAME_BYTES).is_some());
        assert!(memory.try_take(SMALL_MAX).is_some());
        held.clear();
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn memory_of_all_sizes_together_is_bounded() {
        let memory = RequestMemory::new();
        let mut held = Vec::new();
        for len in [SMALL_MAX, MODERATE_FRAME_BYTES, FRAME_BYTES_MAX] {
            while let Some(permit) = memory.try_take(len) {
                held.push((len, permit));
            }
        }
        let taken: usize = held.iter().map(|(len, _)| len).sum();
        assert!(taken <= REQUEST_BYTES_MAX, "{taken}");
    }
}
