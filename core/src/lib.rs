//! Ottla's decisions: pure state machines for logs, partitions, replication, groups and metadata.
//!
//! Nothing here reads a clock, draws a random number, opens a file or a socket, or starts a task:
//! the crate is `#![no_std]`, so the compiler keeps all of that out, and `core/clippy.toml` bans
//! what is left. The machines have one shape: each takes one input at a given [`time::Now`] and
//! pushes what must happen into an output list, in durability order. The driver (in `server/`)
//! carries those outputs to an `ottla-io` backend, real or simulated, and feeds back what came of
//! them.
#![no_std]

extern crate alloc;

pub mod batch;
pub mod config;
pub mod controller;
pub mod fetch;
pub mod group;
pub mod limits;
pub mod log;
pub mod marks;
pub mod metadata;
pub mod partition;
pub mod replication;
pub mod time;
