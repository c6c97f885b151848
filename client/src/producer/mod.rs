//! Writing records.
//!
//! A [`Producer`] collects records into batches and sends them, several at once, in order. By
//! default it is idempotent: whatever is tried again is written once, in the order in which it was
//! queued, and an acknowledged record is durable.
//!
//! ```no_run
//! # async fn example<I: ottla_io::Io>(io: I) -> Result<(), Box<dyn std::error::Error>> {
//! use ottla_client::producer::{Producer, Record};
//!
//! let producer = Producer::builder(io, ["127.0.0.1:9092"]).build()?;
//! // One at a time: wait for each.
//! let written = producer.send(Record::to("orders").key("alice").value("3 apples")).await?;
//! println!("offset {}", written.offset);
//! // Many: queue them, then see what became of them.
//! let mut deliveries = Vec::new();
//! for n in 0..1000 {
//!     deliveries.push(producer.queue(Record::to("orders").value(n.to_string())).await?);
//! }
//! for delivery in deliveries {
//!     delivery.await?;
//! }
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! `accumulator` and `partition` hold the decisions, `sender` the task.

mod accumulator;
mod batch;
mod config;
mod delivery;
mod murmur2;
mod partition;
mod partitioner;
mod record;
#[cfg(test)]
mod retries;
mod sender;

pub use config::{Acks, ProducerConfig};
pub use delivery::Delivery;
pub use murmur2::{murmur2, partition_for_key};
pub use ottla_wire::records::Compression;
pub use record::{Record, RecordMetadata, SendError, SendFailure};

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ottla_io::Io;
use ottla_wire::records::RecordHeader;
use tokio::sync::{Notify, Semaphore};

use self::{
    accumulator::{Accumulator, RecordRef},
    partitioner::Partitioner,
};
use crate::{
    client::{Client, ClientConfig, TopicError},
    error::ConnectError,
    metadata::Metadata,
    sync::{Flag, lock},
    types::TopicPartition,
};

/// Writes records. Cheap to clone; clones share everything. When the last clone is dropped without
/// [`Producer::close`], what was not yet sent is given up.
#[derive(Debug)]
pub struct Producer<I: Io> {
    client: Client<I>,
    handle: Arc<Handle>,
}

impl<I: Io> Clone for Producer<I> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            handle: Arc::clone(&self.handle),
        }
    }
}

/// Ends the task when the last producer is gone.
#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    partitioner: Mutex<Partitioner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.aborted.store(true, Ordering::Release);
        self.inner.wake.notify_one();
    }
}

/// What producers and their task have in common.
#[derive(Debug)]
struct Inner {
    config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    memory: Semaphore,
    wake: Notify,
    closing: AtomicBool,
    aborted: AtomicBool,
    stopped: Flag,
}

impl Inner {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }
}

/// Makes a [`Producer`].
#[derive(Debug)]
pub struct ProducerBuilder<I: Io> {
    io: I,
    bootstrap: Vec<String>,
    config: ProducerConfig,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.config.$name = $name;
                self
            }
        )*
    };
}

impl<I: Io> ProducerBuilder<I> {
    setters! {
        /// What must have happened before a record counts as acknowledged.
        acks: Acks;
        /// Whether what is tried again is written once; on by default.
        idempotent: bool;
        /// How batches are compressed; not at all by default.
        compression: Compression;
        /// Bytes of records that are sent together.
        batch_size: usize;
        /// How long to wait for a batch to fill.
        linger: Duration;
        /// Bytes of records without an answer; a sender waits when it is full.
        buffer_memory: usize;
        /// The largest request.
        max_request_size: usize;
        /// How long a sender waits for room or metadata.
        max_block: Duration;
        /// How long a record may take, retries included.
        delivery_timeout: Duration;
        /// Requests without an answer to one broker.
        max_in_flight: usize;
        /// What producer, consumer and admin have in common.
        client: ClientConfig;
    }

    /// All settings at once.
    #[must_use]
    pub fn config(mut self, config: ProducerConfig) -> Self {
        self.config = config;
        self
    }

    /// The producer. Nothing is connected before the first record is sent.
    pub fn build(self) -> Result<Producer<I>, ConnectError> {
        let Self {
            io,
            bootstrap,
            config,
        } = self;
        let client = Client::new(io, &bootstrap, config.client.clone())?;
        let partitioner = Partitioner::new(client.io.random_u64(), config.batch_size);
        let inner = Arc::new(Inner {
            accumulator: Mutex::new(Accumulator::new(config.accumulator())),
            memory: Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            stopped: Flag::default(),
            config,
        });
        let task = sender::run(client.clone(), Arc::clone(&inner));
        client.io.spawn_detached("producer", Box::pin(task));
        let handle = Handle {
            inner,
            partitioner: Mutex::new(partitioner),
        };
        Ok(Producer {
            client,
            handle: Arc::new(handle),
        })
    }
}

impl<I: Io> Producer<I> {
    /// A producer to the cluster that one of `bootstrap` (each `host:port`) belongs to.
    pub fn builder<S: AsRef<str>>(
        io: I,
        bootstrap: impl IntoIterator<Item = S>,
    ) -> ProducerBuilder<I> {
        let bootstrap = bootstrap
            .into_iter()
            .map(|b| b.as_ref().to_owned())
            .collect();
        ProducerBuilder {
            io,
            bootstrap,
            config: ProducerConfig::default(),
        }
    }

    /// Sends a record and waits until it is acknowledged. Nothing happens before the future is
    /// polled; records whose order matters are to be queued one after the other.
    pub async fn send(&self, record: Record) -> Result<RecordMetadata, SendError> {
        self.queue(record).await?.await
    }

    /// Puts a record in line, waiting for room if the buffer is full. Records of one partition are
    /// written in the order in which they were put in line. The [`Delivery`] says what became of it.
    pub async fn queue(&self, record: Record) -> Result<Delivery, SendError> {
        let failed = SendError::not_written;
        let inner = &self.handle.inner;
        let size = size_of_record(&record);
        let max = inner
            .config
            .max_request_size
            .min(inner.config.buffer_memory);
        if size > max {
            return Err(failed(SendFailure::TooLarge { size, max }));
        }
        let metadata = self.metadata_of(&record).await.map_err(failed)?;
        self.take_memory(size).await.map_err(failed)?;
        self.append(&metadata, record, size).map_err(|reason| {
            inner.memory.add_permits(size);
            failed(reason)
        })
    }

    async fn metadata_of(&self, record: &Record) -> Result<Arc<Metadata>, SendFailure> {
        let metadata = self.client.metadata();
        let known = metadata
            .topics
            .get(&record.topic)
            .map(|t| t.partitions.len());
        let wanted = record
            .partition
            .map_or(0, |p| usize::try_from(p).unwrap_or(0));
        if known.is_some_and(|n| wanted < n) {
            return Ok(metadata);
        }
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.handle.inner.config.max_block);
        let refreshed = if known.is_some() {
            // The topic may have got more partitions since.
            self.client
                .refresh_metadata(metadata.version)
                .await
                .map_err(TopicError::Request)
        } else {
            self.client.wait_for_topic(&record.topic, deadline).await
        };
        refreshed.map_err(|error| SendFailure::Topic {
            topic: record.topic.detach(),
            error,
        })
    }

    async fn take_memory(&self, size: usize) -> Result<(), SendFailure> {
        let inner = &self.handle.inner;
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        if let Ok(permit) = inner.memory.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        lock(&inner.accumulator).press();
        inner.wake.notify_one();
        let acquire = inner.memory.acquire_many(permits);
        match self
            .client
            .io
            .timeout(inner.config.max_block, acquire)
            .await
        {
            Some(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Some(Err(_)) => Err(SendFailure::Closed),
            None => Err(SendFailure::BufferFull),
        }
    }

    fn append(
        &self,
        metadata: &Metadata,
        record: Record,
        size: usize,
    ) -> Result<Delivery, SendFailure> {
        let inner = &self.handle.inner;
        let now = self.client.io.now();
        let headers: Vec<RecordHeader<'_>> = record
            .headers
            .iter()
            .map(|h| RecordHeader {
                key: h.key.as_bytes(),
                value: h.value.as_deref(),
            })
            .collect();
        let timestamp = record.timestamp.unwrap_or(now.wall.0);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let as_ref = RecordRef {
            timestamp,
            key,
            value,
            headers: &headers,
        };
        let partition = self.partition_of(metadata, &record, size)?;
        let mut accumulator = lock(&inner.accumulator);
        // Checked under the lock, so that nothing is added behind the task's back.
        if inner.is_closing() || inner.is_aborted() {
            return Err(SendFailure::Closed);
        }
        let (delivery, wake) = accumulator.append(&partition, as_ref, size, now.monotonic)?;
        drop(accumulator);
        if wake {
            inner.wake.notify_one();
        }
        Ok(delivery)
    }

    fn partition_of(
        &self,
        metadata: &Metadata,
        record: &Record,
        size: usize,
    ) -> Result<TopicPartition, SendFailure> {
        let partitions = metadata
            .topics
            .get(&record.topic)
            .map_or(&[][..], |t| &t.partitions);
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                let available = || {
                    partitions
                        .iter()
                        .filter(|p| p.leader.is_some())
                        .map(|p| p.index)
                        .collect()
                };
                let key = record.key.as_deref();
                let mut partitioner = lock(&self.handle.partitioner);
                partitioner.choose(&record.topic, key, size, count, available)
            }
        };
        let partition = TopicPartition {
            topic: record.topic.clone(),
            partition,
        };
        if (0..count).contains(&partition.partition) {
            Ok(partition)
        } else {
            Err(SendFailure::NoSuchPartition {
                partition,
                partitions: count,
            })
        }
    }

    /// Sends what is in line at once, and waits until all of it has succeeded or failed.
    pub async fn flush(&self) {
        let inner = &self.handle.inner;
        let completions = lock(&inner.accumulator).begin_flush();
        // Ends the flush when this future is dropped, too.
        let _flushing = Flushing(inner);
        inner.wake.notify_one();
        for completion in completions {
            completion.wait().await;
        }
    }

    /// Takes no more records, sends what is in line, and closes the connections.
    pub async fn close(self) {
        let inner = &self.handle.inner;
        {
            let _accumulator = lock(&inner.accumulator);
            inner.closing.store(true, Ordering::Release);
        }
        self.flush().await;
        inner.wake.notify_one();
        inner.stopped.wait().await;
    }

    /// How many partitions a topic has, waiting until it is known.
    pub async fn partitions(&self, topic: &str) -> Result<i32, TopicError> {
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.handle.inner.config.max_block);
        let metadata = self.client.wait_for_topic(&topic.into(), deadline).await?;
        let count = metadata.topics.get(topic).map_or(0, |t| t.partitions.len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

struct Flushing<'a>(&'a Inner);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        lock(&self.0.accumulator).end_flush();
    }
}

/// Bytes that a record takes at most in a batch of its own; what it is charged in `buffer.memory`.
fn size_of_record(record: &Record) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|h| h.key.len() + h.value.as_ref().map_or(0, bytes::Bytes::len) + 10)
        .sum();
    let key = record.key.as_ref().map_or(0, bytes::Bytes::len);
    let value = record.value.as_ref().map_or(0, bytes::Bytes::len);
    key + value + headers + RECORD_OVERHEAD
}

/// The lengths, deltas and attributes around a record, at their longest.
const RECORD_OVERHEAD: usize = 36;
