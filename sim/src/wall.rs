//! A node's wall clock: what its hardware and its time service make of the time.
//!
//! A skew is an error that lasts and is then corrected, as a time service does; a drift grows for as
//! long as it lasts and is then corrected; a jump is there to stay, as after an operator who set the
//! clock. The monotonic clock knows nothing of all this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When a run begins, on every right wall clock: 2026-01-01 00:00 UTC.
const START_MS: i64 = 1_767_225_600_000;

/// The wall clock of a node; it outlives the node's processes. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    state: Arc<Mutex<WallError>>,
}

/// How a wall clock is wrong, beside its jumps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WallError {
    /// Ahead by this much, in milliseconds; behind, where it is negative.
    pub skew_ms: i64,
    /// Clocks that go too fast or too slowly, each for a time.
    pub drifts: Vec<Drift>,
    jumped_ms: i64,
}

/// A wall clock that goes too fast or too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// By so many microseconds a second.
    pub ppm: i64,
    /// Since when, in virtual nanoseconds.
    pub since: u64,
}

impl WallError {
    fn ms(&self, now: u64) -> i64 {
        let drifted = self.drifts.iter().map(|drift| {
            let passed_ms = i64::try_from(now.saturating_sub(drift.since) / 1_000_000);
            passed_ms.unwrap_or(0).saturating_mul(drift.ppm) / 1_000_000
        });
        self.skew_ms + self.jumped_ms + drifted.sum::<i64>()
    }
}

impl WallClock {
    /// What the clock shows at a virtual time, in milliseconds since 1970.
    #[must_use]
    pub fn at(&self, now: u64) -> i64 {
        let millis = i64::try_from(now / 1_000_000).unwrap_or(i64::MAX);
        START_MS
            .saturating_add(millis)
            .saturating_add(self.lock().ms(now))
    }

    /// Sets skew and drifts; what it jumped stays.
    pub fn set_error(&self, error: WallError) {
        let mut state = self.lock();
        let jumped_ms = state.jumped_ms;
        *state = WallError { jumped_ms, ..error };
    }

    /// The clock is set ahead, or back where it is negative, for good.
    pub fn jump(&self, by_ms: i64) {
        self.lock().jumped_ms += by_ms;
    }

    fn lock(&self) -> MutexGuard<'_, WallError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_skew_and_a_drift_are_corrected_and_a_jump_stays() {
        let wall = WallClock::default();
        let off = |now: u64| wall.at(now) - START_MS - (now / 1_000_000) as i64;
        assert_eq!(off(SECOND), 0);
        wall.jump(-500);
        let drift = Drift {
            ppm: 10_000,
            since: SECOND,
        };
        wall.set_error(WallError {
            skew_ms: 2_000,
            drifts: vec![drift],
            ..WallError::default()
        });
        assert_eq!(off(SECOND), 1_500);
        assert_eq!(off(11 * SECOND), 1_600);
        wall.set_error(WallError::default());
        assert_eq!(off(11 * SECOND), -500);
    }
}
