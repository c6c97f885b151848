//! The hash over a run's events.
//!
//! FNV-1a with 128 bits, written out here so that no change of a library can change a hash that
//! somebody has noted down. It is fed through [`std::hash::Hash`], whose derived form visits every
//! field in order; nothing that is fed holds a pointer, a wall time or the order of a random map.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// An FNV-1a hash in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHash(u128);

impl Default for EventHash {
    fn default() -> Self {
        Self(OFFSET_BASIS)
    }
}

impl EventHash {
    /// Adds one value.
    pub fn add(&mut self, value: &impl Hash) {
        value.hash(self);
    }
}

impl Hasher for EventHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn finish(&self) -> u64 {
        // Both halves folded: what a 64-bit user gets still depends on every bit.
        (self.0 >> 64) as u64 ^ self.0 as u64
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A short digest of bytes, for events that carry contents: eight bytes at a time, so that hashing
/// what a run writes does not cost more than running it.
#[must_use]
pub fn digest(pieces: &[&[u8]]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut mix = |word: u64| {
        state = (state.rotate_left(23) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
    };
    for piece in pieces {
        let mut words = piece.chunks_exact(8);
        for word in &mut words {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            mix(u64::from_le_bytes(bytes));
        }
        for byte in words.remainder() {
            mix(u64::from(*byte) | 0x100);
        }
    }
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors_of_fnv_1a_128() {
        let of = |bytes: &[u8]| {
            let mut hash = EventHash::default();
            hash.write(bytes);
            hash.to_string()
        };
        assert_eq!(of(b""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(of(b"a"), "d228cb696f1a8caf78912b704e4a8964");
    }

    #[test]
    fn a_digest_depends_on_every_byte_and_its_place() {
        let zero = digest(&[&[0; 24]]);
        for at in 0..24 {
            let mut bytes = [0; 24];
            bytes[at] = 1;
            assert_ne!(digest(&[&bytes]), zero, "byte {at}");
        }
        assert_ne!(digest(&[&[0; 9]]), digest(&[&[0; 10]]));
    }
}
