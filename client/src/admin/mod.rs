//! Managing a cluster: topics, configurations, records, groups.
//!
//! Each operation goes to the broker that can answer it (any, a partition's leader, a group's
//! coordinator) and is tried again within `default.api.timeout.ms` while the answer may change by
//! itself. Where many things are asked about at once, each has an answer of its own.
//!
//! ```no_run
//! # async fn example<I: ottla_io::Io>(io: I) -> Result<(), Box<dyn std::error::Error>> {
//! use ottla_client::admin::{Admin, NewTopic};
//!
//! let admin = Admin::new(io, ["127.0.0.1:9092"])?;
//! admin.create_topic(NewTopic::new("orders", 6, 1).config("retention.ms", "86400000")).await?;
//! for topic in admin.list_topics().await? {
//!     println!("{} has {} partitions", topic.name, topic.partitions.len());
//! }
//! # Ok(())
//! # }
//! ```

mod cluster;
mod configs;
mod groups;
mod records;
mod topics;

pub use cluster::{ClusterDescription, LogDir, LogDirReplica};
pub use configs::{
    AlterOp, ConfigAlteration, ConfigEntry, ConfigResource, ConfigSource, ResourceType,
};
pub use groups::{GroupDescription, GroupListing, MemberDescription};
pub use topics::{CreatedTopic, NewTopic};

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{ApiRequest, ErrorCode, Str};

use crate::{
    client::{Client, ClientConfig, Retry, TopicError},
    coordinator::GroupError,
    error::{BrokerError, ConnectError, RequestError},
    offsets::PartitionError,
};

/// Manages a cluster. Cheap to clone.
#[derive(Debug)]
pub struct Admin<I: Io> {
    pub(crate) client: Client<I>,
}

impl<I: Io> Clone for Admin<I> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
        }
    }
}

/// Why an operation failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No broker answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A broker refused.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The response leaves out what was asked about: the peer misbehaves.
    #[error("the broker's answer leaves out {what}")]
    Missing {
        /// What was asked about.
        what: String,
    },
}

impl From<ConnectError> for AdminError {
    fn from(error: ConnectError) -> Self {
        Self::Request(error.into())
    }
}

impl From<GroupError> for AdminError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Broker(error) => Self::Broker(error),
            GroupError::Request(error) => Self::Request(error),
        }
    }
}

impl From<PartitionError> for AdminError {
    fn from(error: PartitionError) -> Self {
        match error {
            PartitionError::Broker(error) => Self::Broker(error),
            PartitionError::Request(error) => Self::Request(error),
            PartitionError::NoLeader => {
                Self::Broker(BrokerError::new(ErrorCode::LeaderNotAvailable))
            }
        }
    }
}

impl From<TopicError> for AdminError {
    fn from(error: TopicError) -> Self {
        PartitionError::from(error).into()
    }
}

/// An answer for each thing, by its name.
pub type PerName<T> = BTreeMap<Str, Result<T, BrokerError>>;

impl<I: Io> Admin<I> {
    /// An admin with Kafka's default settings, except that it never creates a topic by asking for it.
    pub fn new<S: AsRef<str>>(
        io: I,
        bootstrap: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConnectError> {
        let client_id = "ottla-admin".to_owned();
        let config = ClientConfig {
            client_id,
            allow_auto_create_topics: false,
            ..ClientConfig::default()
        };
        Ok(Self::with_client(Client::new(io, bootstrap, config)?))
    }

    /// An admin over a client's connections.
    #[must_use]
    pub fn with_client(client: Client<I>) -> Self {
        Self { client }
    }

    /// Closes its connections.
    pub async fn close(self) {
        self.client.close().await;
    }

    /// Asks any broker, again while the connection is at fault. The request may so be carried out
    /// twice; `build` must stand for something that is the same when done twice, or that the broker
    /// refuses the second time.
    async fn ask_any<R: ApiRequest>(
        &self,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<(i16, R::Response), AdminError> {
        let mut retry = Retry::new(&self.client);
        loop {
            match self.client.call_any(i16::MAX, &build).await {
                Ok(answer) => return Ok(answer),
                // Nobody there at all: a person waits for the answer, so a few tries are enough.
                Err(error @ RequestError::Connect(_)) if retry.failures() >= CONNECT_TRIES => {
                    return Err(error.into());
                }
                Err(error) if error.is_retriable() && retry.pause().await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// How often connecting is tried before an operation fails.
const CONNECT_TRIES: u32 = 3;

/// The one answer that was asked for.
fn only<T>(mut answers: PerName<T>, name: &str) -> Result<T, AdminError> {
    match answers.remove(name) {
        Some(answer) => Ok(answer?),
        None => Err(AdminError::Missing {
            what: name.to_owned(),
        }),
    }
}
