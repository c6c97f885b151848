//! The memory that all connections' requests may hold together.

use std::{future::Future, pin::Pin, sync::Arc};

use ottla_core::limits::REQUEST_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a permit stands for: a semaphore's request is a `u32`.
const UNIT: usize = 1024;

/// Hands out memory for requests, in the order in which it is asked for. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory {
    units: Arc<Semaphore>,
}

impl RequestMemory {
    pub(crate) fn new() -> Self {
        Self::of(REQUEST_BYTES_MAX)
    }

    pub(crate) fn of(bytes: usize) -> Self {
        Self {
            units: Arc::new(Semaphore::new(bytes / UNIT)),
        }
    }

    /// Memory for `len` bytes, if it is there now and nobody waits for it.
    pub(crate) fn try_take(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.units)
            .try_acquire_many_owned(units(len))
            .ok()
    }

    /// Memory for `len` bytes, once it is there.
    pub(crate) fn take(
        &self,
        len: usize,
    ) -> Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>> {
        let units_left = Arc::clone(&self.units);
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
