//! The memory that all connections' requests may hold together.
//!
//! Waiters are served in the order in which they ask, and the first of them keeps what is given back
//! until it has enough. A large frame of which little comes would so keep everybody waiting, so small,
//! moderate and large requests have memory of their own; and what is counted as small has arrived.
//!
//! A frame that is half here is charged for its buffer, which follows what has arrived, and not for
//! what it announces. Many of them could so hold all there is and each want more, so a part of the
//! memory is kept for finishing: from it a frame gets all that it still needs, at once, and then waits
//! for nobody.

use std::{future::Future, pin::Pin, sync::Arc};

use ottla_core::limits::{
    DECODED_GROWTH, FRAME_BYTES_AT_ONCE, FRAME_BYTES_MAX, MODERATE_FINISHING_BYTES_MAX,
    MODERATE_FRAME_BYTES, MODERATE_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, SMALL_REQUEST_BYTES_MAX,
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
    moderate: Pool,
    large: Pool,
}

#[derive(Clone, Debug)]
struct Pool {
    growing: Arc<Semaphore>,
    finishing: Arc<Semaphore>,
}

/// What a request needs in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Its frame's length.
    len: usize,
    /// Its frame, and what is made of it when it is read.
    total: usize,
}

impl Need {
    /// Of a frame whose content stays as it is: records.
    pub(crate) fn of_records(len: usize) -> Self {
        Self { len, total: len }
    }

    /// Of a frame that is read into structs, which are larger than their fields on the wire. What is
    /// small is not worth the count.
    pub(crate) fn of_fields(len: usize) -> Self {
        let total = match len {
            ..=SMALL_MAX => len,
            _ => len.saturating_mul(DECODED_GROWTH).min(FRAME_BYTES_MAX),
        };
        Self { len, total }
    }

    /// All of it.
    pub(crate) fn total(self) -> usize {
        self.total
    }
}

/// Leave to hold so many bytes, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Leave {
    bytes: usize,
    growing: Option<OwnedSemaphorePermit>,
    finishing: Option<OwnedSemaphorePermit>,
}

impl Leave {
    const NONE: Self = Self {
        bytes: 0,
        growing: None,
        finishing: None,
    };

    /// How many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn grow(&mut self, bytes: usize, permit: OwnedSemaphorePermit) {
        self.bytes = bytes;
        match &mut self.growing {
            Some(growing) => growing.merge(permit),
            None => self.growing = Some(permit),
        }
    }

    fn finish(&mut self, bytes: usize, permit: OwnedSemaphorePermit) {
        self.bytes = bytes;
        self.finishing = Some(permit);
    }
}

/// Leave that is waited for.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Leave> + Send>>;

impl RequestMemory {
    pub(crate) fn new() -> Self {
        let of = |bytes| Arc::new(Semaphore::new(bytes / UNIT));
        let pool = |all: usize, finishing: usize| Pool {
            growing: of(all - finishing),
            finishing: of(finishing),
        };
        let large = REQUEST_BYTES_MAX - MODERATE_REQUEST_BYTES_MAX - SMALL_REQUEST_BYTES_MAX;
        Self {
            small: of(SMALL_REQUEST_BYTES_MAX),
            moderate: pool(MODERATE_REQUEST_BYTES_MAX, MODERATE_FINISHING_BYTES_MAX),
            large: pool(large, FRAME_BYTES_MAX),
        }
    }

    /// Makes `leave` one for `bytes` of what a request needs: at once if there is room and nobody
    /// waits for it, else it is to be waited for.
    pub(crate) fn grow(
        &self,
        need: Need,
        leave: Option<Leave>,
        bytes: usize,
    ) -> Result<Leave, Waiting> {
        let mut leave = leave.unwrap_or(Leave::NONE);
        let more = units(bytes) - units(leave.bytes);
        let (growing, finishing) = self.of_size(need.len);
        if let Ok(permit) = Arc::clone(growing).try_acquire_many_owned(more) {
            leave.grow(bytes, permit);
            return Ok(leave);
        }
        let growing = Arc::clone(growing).acquire_many_owned(more);
        let rest = units(need.total) - units(leave.bytes);
        let finishing = finishing.map(|pool| Arc::clone(pool).acquire_many_owned(rest));
        Err(Box::pin(async move {
            let finishing = async {
                match finishing {
                    Some(finishing) => finishing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Ok(permit) = growing => leave.grow(bytes, permit),
                Ok(permit) = finishing => leave.finish(need.total, permit),
                // They are never closed.
                else => std::future::pending().await,
            }
            leave
        }))
    }

    fn of_size(&self, len: usize) -> (&Arc<Semaphore>, Option<&Arc<Semaphore>>) {
        if len <= SMALL_MAX {
            return (&self.small, None);
        }
        let pool = if len <= MODERATE_FRAME_BYTES {
            &self.moderate
        } else {
            &self.large
        };
        (&pool.growing, Some(&pool.finishing))
    }
}

fn units(len: usize) -> u32 {
    u32::try_from(len.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn whole(memory: &RequestMemory, len: usize) -> Result<Leave, Waiting> {
        memory.grow(Need::of_records(len), None, len)
    }

    /// Takes all of the memory for requests of `len` bytes.
    fn exhaust(memory: &RequestMemory, len: usize) -> Vec<Leave> {
        let mut held = Vec::new();
        loop {
            match whole(memory, len).or_else(|waiting| waiting.now_or_never().ok_or(())) {
                Ok(leave) => held.push(leave),
                Err(()) => return held,
            }
        }
    }

    #[test]
    fn small_and_moderate_requests_do_not_wait_for_large_ones() {
        let memory = RequestMemory::new();
        let held = exhaust(&memory, MODERATE_FRAME_BYTES + 1);
        let mut waits = whole(&memory, FRAME_BYTES_MAX).unwrap_err();
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(whole(&memory, MODERATE_FRAME_BYTES).is_ok());
        assert!(whole(&memory, SMALL_MAX).is_ok());
        drop(held);
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn memory_of_all_sizes_together_is_bounded() {
        let memory = RequestMemory::new();
        let mut held = Vec::new();
        for len in [SMALL_MAX, MODERATE_FRAME_BYTES, FRAME_BYTES_MAX] {
            held.extend(exhaust(&memory, len));
        }
        let taken: usize = held.iter().map(Leave::bytes).sum();
        assert!(taken <= REQUEST_BYTES_MAX, "{taken}");
    }

    #[test]
    fn frames_that_hold_all_there_is_and_want_more_are_finished_one_after_the_other() {
        let memory = RequestMemory::new();
        let need = Need::of_records(1 << 20);
        let mut half = Vec::new();
        while let Ok(leave) = memory.grow(need, None, 512 << 10) {
            half.push(leave);
        }
        assert!(half.len() > 100, "{}", half.len());
        let mut waiting: Vec<Waiting> = half
            .into_iter()
            .map(|leave| memory.grow(need, Some(leave), need.total()).unwrap_err())
            .collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            // Each that gets what it needs is answered, and gives it back.
            waiting.retain_mut(|leave| match leave.now_or_never() {
                Some(leave) => {
                    assert_eq!(leave.bytes(), need.total());
                    false
                }
                None => true,
            });
            assert!(waiting.len() < before, "{before} wait for one another");
        }
    }
}
