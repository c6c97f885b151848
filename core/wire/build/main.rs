//! Generates the message codecs from the tables under `schema/`.
fn main() {}
