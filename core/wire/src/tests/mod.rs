//! What must hold for every message alike.

mod interop;
mod pieces;
mod records;
mod roundtrip;
mod second_opinion;

/// Bytes from a small generator (SplitMix64), the same on every run.
fn noise(seed: u64, len: usize) -> alloc::vec::Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ (z >> 27)) as u8
        })
        .collect()
}
