//! What must hold for every message alike.

mod roundtrip;
