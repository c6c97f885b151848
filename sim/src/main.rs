//! The `ottla-sim` binary.
fn main() {}
