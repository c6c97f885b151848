//! What must hold for every message alike.

mod records;
mod roundtrip;
