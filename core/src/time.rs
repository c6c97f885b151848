//! Time as the machines see it: handed in, never read.
//!
//! Two clocks travel with every input. The monotonic one ([`Instant`]) decides time-outs; the wall
//! clock ([`Timestamp`]) only labels things (record timestamps, retention by record time) because
//! it may jump.

pub use core::time::Duration;

/// A point on a node's monotonic clock: nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `by` later, or the last one that can be represented.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time as Kafka writes it: milliseconds since the Unix epoch; -1 is "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Kafka's "no timestamp".
    pub const NONE: Self = Self(-1);
}

/// The two clocks of a node at the moment of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For time-outs: never goes back.
    pub monotonic: Instant,
    /// For labels: may jump.
    pub wall: Timestamp,
}
