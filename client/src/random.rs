//! A small random generator for jitter and for spreading load.
//!
//! Each producer, consumer and connection pool owns one, seeded once from [`ottla_io::Random`]. Draws
//! are then independent of what else runs on the node, so that a simulated run replays: a draw
//! from the backend itself would be ordered by whoever came first.

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, good enough for choices that no
/// correctness depends on.
#[derive(Clone, Debug)]
pub(crate) struct SmallRng(u64);

impl SmallRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * (bound as u128);
        (wide >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let mut a = SmallRng::new(7);
        let mut b = SmallRng::new(7);
        let drawn: Vec<u64> = (0..10).map(|_| a.next_u64()).collect();
        assert_eq!(drawn, (0..10).map(|_| b.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn below_covers_its_range_and_nothing_else() {
        let mut rng = SmallRng::new(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[rng.below(5)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }
}
