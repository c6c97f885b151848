//! One partition: a log, a role in its replication, and the readers and writers that wait on it.

mod types;

pub use types::{
    Acks, AppendError, Appended, EpochEnd, Isolation, ListedOffset, OffsetSpec, Offsets, Origin,
    ProducerView, Producers, QueryError, Ticket, TopicPartition,
};
