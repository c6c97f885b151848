//! Writing records.
mod murmur2;
mod partitioner;
pub use murmur2::{murmur2, partition_for_key};
