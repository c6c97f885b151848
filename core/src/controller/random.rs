//! Chance, handed in with each request.

use ottla_wire::Uuid;

/// 128 random bits that a request brings. All that is drawn for the request comes from them, so
/// the same input gives the same decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// The next 64 bits (SplitMix64, on each half).
    fn next(&mut self) -> [u64; 2] {
        self.0.each_mut().map(|state| {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    /// A random UUID that is none of Kafka's reserved ones (a version 4 UUID never is).
    pub fn uuid(&mut self) -> Uuid {
        let [high, low] = self.next();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        Uuid::from_random(bytes)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let [high, _] = self.next();
        usize::try_from(high % (end.max(1) as u64)).unwrap_or(0)
    }
}
