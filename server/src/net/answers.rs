//! The memory that records in answers to fetches may hold together, from before they are read until
//! they are on the socket.
//!
//! A reader that asks for much and does not read it holds what it was given, so what one may have
//! depends on what is left. Small answers have memory of their own: whoever finds no room for what it
//! wants gets a little, and nobody has to wait for those who want much.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_core::limits::{RESPONSE_BYTES_MAX, RESPONSE_BYTES_SMALL, SMALL_RESPONSE_BYTES_MAX};
use ottla_io::Io;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a permit stands for: a semaphore's request is a `u32`.
const UNIT: usize = 1024;

/// Hands out memory for answers. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ResponseMemory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Room for the records of one answer; what is not used of it is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    /// Where it came from, for more.
    pool: Arc<Semaphore>,
}

/// Records on their way to a socket.
struct Counted {
    records: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.records
    }
}

impl ResponseMemory {
    pub(crate) fn new() -> Self {
        let of = |bytes| Arc::new(Semaphore::new(bytes / UNIT));
        Self {
            small: of(SMALL_RESPONSE_BYTES_MAX),
            large: of(RESPONSE_BYTES_MAX - SMALL_RESPONSE_BYTES_MAX),
        }
    }

    /// Room for `wanted` bytes; for less if there is not as much; none if there is not even that
    /// within `patience`.
    pub(crate) async fn take<I: Io>(
        &self,
        io: &I,
        wanted: usize,
        patience: Duration,
    ) -> Option<Room> {
        if wanted > RESPONSE_BYTES_SMALL
            && let Some(room) = Room::now(&self.large, wanted)
        {
            return Some(room);
        }
        let wanted = wanted.min(RESPONSE_BYTES_SMALL);
        if let Some(room) = Room::now(&self.small, wanted) {
            return Some(room);
        }
        let waiting = Arc::clone(&self.small).acquire_many_owned(units(wanted));
        // It is never closed.
        let permit = io.timeout(patience, waiting).await?.ok()?;
        let pool = Arc::clone(&self.small);
        Some(Room { permit, pool })
    }

    /// Whether there is so little left of it that who does not read on should give up its part.
    pub(crate) fn is_short(&self) -> bool {
        let little = |pool: &Semaphore, all: usize| pool.available_permits() < all / UNIT / 4;
        little(&self.small, SMALL_RESPONSE_BYTES_MAX)
            || little(&self.large, RESPONSE_BYTES_MAX - SMALL_RESPONSE_BYTES_MAX)
    }
}

impl Room {
    fn now(pool: &Arc<Semaphore>, bytes: usize) -> Option<Self> {
        let permit = Arc::clone(pool).try_acquire_many_owned(units(bytes)).ok()?;
        let pool = Arc::clone(pool);
        Some(Self { permit, pool })
    }

    /// How many bytes there is room for.
    pub(crate) fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Lets records hold their part of the room, until the last slice of them is dropped.
    pub(crate) fn hold(&mut self, records: Bytes) -> Bytes {
        if records.is_empty() {
            return records;
        }
        let wanted = records.len().div_ceil(UNIT);
        let missing = wanted.saturating_sub(self.permit.num_permits());
        let missing = missing.min(self.pool.available_permits());
        if missing > 0
            && let Some(more) = Self::now(&self.pool, missing * UNIT)
        {
            self.permit.merge(more.permit);
        }
        // The first batch may be larger than what there is room for (KIP-74), and must be given.
        let share = self.permit.num_permits().min(wanted);
        match self.permit.split(share) {
            Some(share) => Bytes::from_owner(Counted {
                records,
                _share: share,
            }),
            None => records,
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_give_their_room_back_with_their_last_slice() {
        let memory = ResponseMemory::new();
        let all = memory.large.available_permits();
        let mut room = Room::now(&memory.large, 3 << 20).unwrap();
        let records = room.hold(Bytes::from(vec![1; 2 << 20]));
        let rest = room.bytes();
        assert_eq!(rest, 1 << 20);
        drop(room);
        assert_eq!(memory.large.available_permits(), all - (2 << 10));
        let slice = records.slice(10..20);
        drop(records);
        assert_eq!(memory.large.available_permits(), all - (2 << 10));
        drop(slice);
        assert_eq!(memory.large.available_permits(), all);
    }

    #[test]
    fn a_first_batch_larger_than_its_room_is_counted_as_far_as_there_is_any() {
        let memory = ResponseMemory::new();
        let mut room = Room::now(&memory.small, 1 << 20).unwrap();
        let _rest = Room::now(&memory.small, SMALL_RESPONSE_BYTES_MAX - (2 << 20)).unwrap();
        let held = room.hold(Bytes::from(vec![1; 3 << 20]));
        assert_eq!(held.len(), 3 << 20);
        assert!(memory.is_short());
        assert_eq!(memory.small.available_permits(), 0);
        drop((held, room));
        assert_eq!(memory.small.available_permits(), 2 << 10);
    }
}
