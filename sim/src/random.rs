//! Streams of randomness drawn from the seed.
//!
//! Every part of the world (each node's disk, each node's network, the faults, the workload) has a
//! stream of its own, named by a label, so that one part drawing once more does not change what the
//! others draw: a scenario stays close to itself while it is edited or shrunk. The generator is
//! SplitMix64 (Steele, Lea and Flood, 2014), written out so that a seed means the same for ever.

use std::{hash::Hasher, ops::RangeInclusive, time::Duration};

use crate::hash::EventHash;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct SimRandom {
    state: u64,
}

impl SimRandom {
    /// The stream of `seed` that is named `label`.
    #[must_use]
    pub fn new(seed: u64, label: &str) -> Self {
        let mut hash = EventHash::default();
        hash.write(&seed.to_le_bytes());
        hash.write(label.as_bytes());
        Self {
            state: hash.finish(),
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// A number of `range`.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let span = high.saturating_sub(low).saturating_add(1);
        // The high half of a product: no modulo, and the bias is below 2^-32 for the spans in use.
        low + ((u128::from(self.next_u64()) * u128::from(span)) >> 64) as u64
    }

    /// An index below `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.within(0..=len.saturating_sub(1) as u64) as usize
    }

    /// True `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.within(1..=denominator) <= numerator
    }

    /// A duration of `range`, in microseconds.
    pub fn micros(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.within(range))
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_and_label_give_one_stream_and_others_another() {
        let draw = |seed, label| SimRandom::new(seed, label).next_u64();
        assert_eq!(draw(1, "disk"), draw(1, "disk"));
        assert_ne!(draw(1, "disk"), draw(1, "net"));
        assert_ne!(draw(1, "disk"), draw(2, "disk"));
    }

    #[test]
    fn a_range_is_kept_and_both_its_ends_are_drawn() {
        let mut random = SimRandom::new(3, "range");
        let drawn: Vec<u64> = (0..1000).map(|_| random.within(5..=8)).collect();
        assert!(drawn.iter().all(|number| (5..=8).contains(number)));
        assert!(drawn.contains(&5) && drawn.contains(&8));
    }
}
