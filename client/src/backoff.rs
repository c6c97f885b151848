//! How long to wait before trying again: exponential, with jitter (KIP-144, KIP-580).

use std::time::Duration;

use crate::random::SmallRng;

/// A range of waits. The n-th try waits `initial * 2^n`, at most `max`, give or take a fifth, so that
/// clients that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (from 0).
    pub(crate) fn wait(&self, failures: u32, rng: &mut SmallRng) -> Duration {
        let doubled = self
            .initial
            .saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX));
        let wait = doubled.min(self.max);
        // 80 % to 120 %.
        wait * (800 + rng.below(401) as u32) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_give_or_take_a_fifth() {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_millis(1000),
        };
        let mut rng = SmallRng::new(3);
        for (failures, ms) in [
            (0, 100),
            (1, 200),
            (2, 400),
            (3, 800),
            (4, 1000),
            (31, 1000),
            (90, 1000),
        ] {
            for _ in 0..50 {
                let wait = backoff.wait(failures, &mut rng).as_millis();
                assert!(
                    (ms * 8 / 10..=ms * 12 / 10).contains(&wait),
                    "{failures}: {wait}"
                );
            }
        }
    }
}
