//! Ottla's client: a producer, a consumer and an admin for Ottla and Apache Kafka clusters.
//!
//! Everything is generic over [`ottla_io::Io`], so the same code talks to a real broker and runs in
//! the simulator. Decisions (batching, sequence numbers, group membership, assignment) are plain
//! structs with tests of their own; the tasks around them only carry things to and from the network.

mod backoff;
mod client;
mod connection;
mod error;
mod metadata;
pub mod producer;
mod random;
mod sync;

pub use backoff::Backoff;
pub use client::{Client, ClientConfig, TopicError};
pub use error::{BrokerError, ConnectError, RequestError};
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use ottla_wire::{ErrorCode, Str, Uuid};
