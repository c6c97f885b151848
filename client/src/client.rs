//! What producer, consumer and admin share: connections to brokers, and the cached metadata.
//!
//! Connections are made when first needed and kept, one for each broker and [`Lane`]. A broker works
//! on one request of a connection at a time, so what may wait long there (a fetch, joining a group)
//! has a lane of its own. Reconnecting backs off exponentially with jitter (KIP-144); whoever asks
//! during a back-off waits for it, within its own deadline. When no known broker answers, the
//! bootstrap list is tried anew (KIP-899).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use ottla_core::time::Instant;
use ottla_io::Io;
use ottla_wire::{
    ApiRequest, ErrorCode, Str,
    messages::{MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic},
};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    backoff::Backoff,
    connection::{Connection, ConnectionConfig},
    error::{BrokerError, ConnectError, RequestError},
    metadata::Metadata,
    random::SmallRng,
    sync::lock,
};

/// Settings that producer, consumer and admin have in common. Each names Kafka's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// `client.id`: names this client in the broker's logs and metrics.
    pub client_id: String,
    /// `request.timeout.ms`: how long to wait for a response.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long an operation may take, retries included.
    pub api_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Backoff,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    pub reconnect_backoff: Backoff,
    /// `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// `connections.max.idle.ms`: brokers close idle connections after ten minutes, so this is less.
    pub max_idle: Duration,
    /// `metadata.max.age.ms`: metadata older than this is refreshed.
    pub metadata_max_age: Duration,
    /// Requests without a response on one connection; more wait.
    pub max_in_flight: usize,
    /// The largest response that is read.
    pub max_response_bytes: usize,
    /// `allow.auto.create.topics`: whether asking for a topic that does not exist may create it,
    /// where the broker does that.
    pub allow_auto_create_topics: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            client_id: "ottla-client".to_owned(),
            request_timeout: ms(30_000),
            api_timeout: ms(60_000),
            retry_backoff: Backoff {
                initial: ms(100),
                max: ms(1_000),
            },
            reconnect_backoff: Backoff {
                initial: ms(50),
                max: ms(1_000),
            },
            connect_timeout: ms(10_000),
            max_idle: ms(540_000),
            metadata_max_age: ms(300_000),
            max_in_flight: 64,
            // Above the broker's own bound on what one fetch returns, with room for one large batch.
            max_response_bytes: 256 << 20,
            allow_auto_create_topics: true,
        }
    }
}

/// Which of the connections to one broker a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What is answered at once, and produce requests.
    Main,
    /// Fetches, which wait at the broker for data.
    Fetch,
    /// Heartbeats and commits.
    Coordinator,
    /// Joining a group, which waits at the broker for the other members.
    Join,
}

/// A client: the connections and metadata that producers, consumers and admins are built on.
/// Cheap to clone; clones share everything.
#[derive(Debug)]
pub struct Client<I: Io> {
    pub(crate) io: I,
    shared: Arc<Shared>,
}

impl<I: Io> Clone for Client<I> {
    fn clone(&self) -> Self {
        Self {
            io: self.io.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    connection: ConnectionConfig,
    bootstrap: Vec<(String, u16)>,
    slots: Mutex<Slots>,
    /// Brokers that only a coordinator look-up told of.
    extra: Mutex<BTreeMap<i32, (Str, u16)>>,
    metadata: Mutex<Arc<Metadata>>,
    /// Topics that a refresh asks for.
    interest: Mutex<BTreeSet<Str>>,
    /// A refresh asks for all topics; since which version of the metadata.
    all_since: Mutex<Option<u64>>,
    refresh: AsyncMutex<Refresh>,
    rng: Mutex<SmallRng>,
}

/// Every lane to every broker that was used.
type Slots = BTreeMap<(i32, Lane), Arc<AsyncMutex<Slot>>>;

/// The state of one lane to one broker; held locked while connecting.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    failures: u32,
    retry_at: Instant,
    last_failure: Option<(Instant, ConnectError)>,
}

#[derive(Debug, Default)]
struct Refresh {
    /// Failures in a row.
    failures: u32,
}

impl<I: Io> Client<I> {
    /// A client of the cluster that one of `bootstrap` (each `host:port`) belongs to. Nothing is
    /// connected before it is needed.
    pub fn new<S: AsRef<str>>(
        io: I,
        bootstrap: impl IntoIterator<Item = S>,
        config: ClientConfig,
    ) -> Result<Self, ConnectError> {
        let bootstrap = parse_bootstrap(bootstrap)?;
        let seed = io.random_u64();
        let connection = ConnectionConfig {
            client_id: Str::from(config.client_id.as_str()),
            connect_timeout: config.connect_timeout,
            max_in_flight: config.max_in_flight,
            max_response_bytes: config.max_response_bytes,
        };
        let shared = Shared {
            config,
            connection,
            bootstrap,
            slots: Mutex::default(),
            extra: Mutex::default(),
            metadata: Mutex::default(),
            interest: Mutex::new(BTreeSet::new()),
            all_since: Mutex::new(None),
            refresh: AsyncMutex::default(),
            rng: Mutex::new(SmallRng::new(seed)),
        };
        Ok(Self {
            io,
            shared: Arc::new(shared),
        })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// What is known of the cluster now.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&lock(&self.shared.metadata))
    }

    /// Adds a topic to those that a refresh asks for.
    pub(crate) fn watch_topic(&self, topic: &Str) {
        let mut topics = lock(&self.shared.interest);
        if !topics.contains(topic) {
            topics.insert(topic.detach());
        }
    }

    /// Has a refresh ask for all topics, or only for those that are watched.
    pub(crate) fn watch_all_topics(&self, all: bool) {
        let since = all.then(|| self.metadata().version);
        *lock(&self.shared.all_since) = since;
    }

    /// Whether the metadata is old enough to be refreshed, or is not about what it should be.
    pub(crate) fn metadata_is_old(&self) -> bool {
        let metadata = self.metadata();
        let age = self.io.now().monotonic.since(metadata.refreshed_at);
        let all_since = *lock(&self.shared.all_since);
        age >= self.shared.config.metadata_max_age || all_since == Some(metadata.version)
    }

    /// A wait before the try after `failures` failures.
    pub(crate) fn retry_wait(&self, failures: u32) -> Duration {
        self.shared
            .config
            .retry_backoff
            .wait(failures, &mut lock(&self.shared.rng))
    }

    /// Asks a broker for the metadata of the topics of interest. Callers at the same time share one
    /// request: `seen` is the version that the caller found wanting.
    pub async fn refresh_metadata(&self, seen: u64) -> Result<Arc<Metadata>, RequestError> {
        let mut refresh = self.shared.refresh.lock().await;
        let known = self.metadata();
        if known.version > seen {
            return Ok(known);
        }
        if refresh.failures > 0 {
            self.io.sleep(self.retry_wait(refresh.failures - 1)).await;
        }
        let all = lock(&self.shared.all_since).is_some();
        let interest = lock(&self.shared.interest).clone();
        let topics = interest
            .into_iter()
            .map(|name| MetadataRequestTopic {
                name: Some(name),
                ..Default::default()
            })
            .collect();
        let asked = self
            .fetch_metadata(
                Some(topics).filter(|_| !all),
                self.shared.config.allow_auto_create_topics,
            )
            .await;
        match asked {
            Ok(response) => {
                refresh.failures = 0;
                let now = self.io.now().monotonic;
                let mut metadata = lock(&self.shared.metadata);
                let refreshed = metadata.refreshed(&response, now);
                *metadata = Arc::new(if all {
                    refreshed.only_in(&response)
                } else {
                    refreshed
                });
                Ok(Arc::clone(&metadata))
            }
            Err(error) => {
                refresh.failures = refresh.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    /// One metadata request; `None` asks for all topics.
    pub(crate) async fn fetch_metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        allow_auto_topic_creation: bool,
    ) -> Result<MetadataResponse, RequestError> {
        let build = |version: i16| MetadataRequest {
            // Version 0 has no null: there an empty list is all topics. Nothing that old is met.
            topics: if version == 0 {
                Some(topics.clone().unwrap_or_default())
            } else {
                topics.clone()
            },
            allow_auto_topic_creation: allow_auto_topic_creation || version < 4,
            ..MetadataRequest::default()
        };
        Ok(self.call_any(i16::MAX, build).await?.1)
    }

    /// A topic's metadata, waiting until it is known (a broker may be creating it just now) or until
    /// `deadline`.
    pub(crate) async fn wait_for_topic(
        &self,
        topic: &Str,
        deadline: Instant,
    ) -> Result<Arc<Metadata>, TopicError> {
        self.watch_topic(topic);
        let mut failures = 0;
        loop {
            let metadata = self.metadata();
            if metadata
                .topics
                .get(topic)
                .is_some_and(|t| !t.partitions.is_empty())
            {
                return Ok(metadata);
            }
            let left = deadline.since(self.io.now().monotonic);
            let error = match self
                .io
                .timeout(left, self.refresh_metadata(metadata.version))
                .await
            {
                Some(Ok(metadata)) => {
                    let topic_error = metadata.topic_errors.get(topic).copied();
                    match topic_error {
                        None if metadata.topics.contains_key(topic) => continue,
                        Some(code) if !code.is_retriable() => {
                            return Err(TopicError::Broker(BrokerError::new(code)));
                        }
                        code => TopicError::Broker(BrokerError::new(
                            code.unwrap_or(ErrorCode::UnknownTopicOrPartition),
                        )),
                    }
                }
                Some(Err(error)) if !error.is_retriable() => {
                    return Err(TopicError::Request(error));
                }
                Some(Err(error)) => TopicError::Request(error),
                None => return Err(TopicError::TimedOut),
            };
            let wait = self.retry_wait(failures);
            failures += 1;
            if deadline.since(self.io.now().monotonic) <= wait {
                return Err(error);
            }
            self.io.sleep(wait).await;
        }
    }

    /// Takes a newer leader that a broker told in passing (KIP-951). Says whether it was news.
    pub(crate) fn learn_leader(
        &self,
        topic: &str,
        partition: i32,
        leader: i32,
        epoch: i32,
    ) -> bool {
        let mut metadata = lock(&self.shared.metadata);
        match metadata.with_leader(topic, partition, leader, epoch) {
            Some(next) => {
                *metadata = Arc::new(next);
                true
            }
            None => false,
        }
    }

    /// Remembers the address of a broker that is not (yet) in the metadata.
    pub(crate) fn learn_broker(&self, node: i32, host: &Str, port: i32) {
        if let Ok(port) = u16::try_from(port) {
            lock(&self.shared.extra).insert(node, (host.detach(), port));
        }
    }

    /// Sends a request to broker `node`, in the newest version that both ends have, at most `cap`.
    pub(crate) async fn call<R: ApiRequest>(
        &self,
        node: i32,
        lane: Lane,
        cap: i16,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<(i16, R::Response), RequestError> {
        self.call_within(node, lane, cap, self.shared.config.request_timeout, build)
            .await
    }

    /// As [`Client::call`], with a time-out of its own.
    pub(crate) async fn call_within<R: ApiRequest>(
        &self,
        node: i32,
        lane: Lane,
        cap: i16,
        timeout: Duration,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<(i16, R::Response), RequestError> {
        let connection = self.connection(node, lane).await?;
        connection.call(&self.io, cap, timeout, build).await
    }

    /// Sends a request to whichever broker answers: a known one, connected ones first, else one of
    /// the bootstrap list.
    pub(crate) async fn call_any<R: ApiRequest>(
        &self,
        cap: i16,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<(i16, R::Response), RequestError> {
        let mut failure = RequestError::Connect(ConnectError::NoBootstrap);
        for node in self.candidates() {
            match self.call(node, Lane::Main, cap, &build).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_retriable() => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    fn candidates(&self) -> Vec<i32> {
        let mut known: Vec<i32> = self.metadata().brokers.keys().copied().collect();
        let mut bootstrap: Vec<i32> = (1..=self.shared.bootstrap.len())
            .map(|i| -(i as i32))
            .collect();
        let mut rng = lock(&self.shared.rng);
        for list in [&mut known, &mut bootstrap] {
            for i in (1..list.len()).rev() {
                list.swap(i, rng.below(i + 1));
            }
        }
        drop(rng);
        let connected: BTreeSet<i32> = lock(&self.shared.slots)
            .iter()
            .filter(|(_, slot)| {
                slot.try_lock()
                    .is_ok_and(|s| s.connection.as_ref().is_some_and(Connection::is_open))
            })
            .map(|((node, _), _)| *node)
            .collect();
        known.sort_by_key(|node| !connected.contains(node));
        known.extend(bootstrap);
        known
    }

    fn address(&self, node: i32) -> Result<(String, u16), ConnectError> {
        if let Some(broker) = self.metadata().brokers.get(&node) {
            return Ok((broker.host.to_string(), broker.port));
        }
        if node < 0 {
            let index = usize::try_from(-(i64::from(node) + 1)).unwrap_or(usize::MAX);
            if let Some(address) = self.shared.bootstrap.get(index) {
                return Ok(address.clone());
            }
        }
        let extra = lock(&self.shared.extra);
        let (host, port) = extra.get(&node).ok_or(ConnectError::UnknownNode { node })?;
        Ok((host.to_string(), *port))
    }

    /// The open connection of a lane to a broker, made if need be.
    pub(crate) async fn connection(
        &self,
        node: i32,
        lane: Lane,
    ) -> Result<Connection, ConnectError> {
        let asked_at = self.io.now().monotonic;
        let slot = Arc::clone(lock(&self.shared.slots).entry((node, lane)).or_default());
        let mut slot = slot.lock().await;
        let now = self.io.now().monotonic;
        if let Some(connection) = &slot.connection {
            if connection.is_open()
                && now.since(connection.last_used()) < self.shared.config.max_idle
            {
                return Ok(connection.clone());
            }
            connection.give_up();
            slot.connection = None;
        }
        // Those who waited while another tried and failed share its failure.
        if let Some((failed_at, error)) = &slot.last_failure
            && *failed_at > asked_at
        {
            return Err(error.clone());
        }
        self.io.sleep_until(slot.retry_at).await;
        let (host, port) = self.address(node)?;
        match Connection::open(&self.io, &host, port, &self.shared.connection).await {
            Ok(connection) => {
                *slot = Slot {
                    connection: Some(connection.clone()),
                    ..Slot::default()
                };
                Ok(connection)
            }
            Err(error) => {
                let now = self.io.now().monotonic;
                let wait = {
                    let mut rng = lock(&self.shared.rng);
                    self.shared
                        .config
                        .reconnect_backoff
                        .wait(slot.failures, &mut rng)
                };
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = now.after(wait);
                slot.last_failure = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        let slots: Vec<_> = lock(&self.shared.slots).values().cloned().collect();
        for slot in slots {
            if let Some(connection) = slot.lock().await.connection.take() {
                connection.close();
            }
        }
    }
}

/// Tries again, with longer and longer waits, until a deadline.
pub(crate) struct Retry<'a, I: Io> {
    client: &'a Client<I>,
    deadline: Instant,
    failures: u32,
}

impl<'a, I: Io> Retry<'a, I> {
    pub(crate) fn until(client: &'a Client<I>, deadline: Instant) -> Self {
        Self {
            client,
            deadline,
            failures: 0,
        }
    }

    /// Within `api_timeout` from now.
    pub(crate) fn new(client: &'a Client<I>) -> Self {
        Self::until(
            client,
            client.io.now().monotonic.after(client.config().api_timeout),
        )
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Waits before the next try; `false` if there is no time for one.
    pub(crate) async fn pause(&mut self) -> bool {
        let wait = self.client.retry_wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        if self.deadline.since(self.client.io.now().monotonic) <= wait {
            return false;
        }
        self.client.io.sleep(wait).await;
        true
    }
}

/// Why a topic's metadata could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No broker answered.
    #[error(transparent)]
    Request(RequestError),
    /// A broker says why.
    #[error(transparent)]
    Broker(BrokerError),
    /// No answer in time.
    #[error("no metadata in time")]
    TimedOut,
}

fn parse_bootstrap<S: AsRef<str>>(
    bootstrap: impl IntoIterator<Item = S>,
) -> Result<Vec<(String, u16)>, ConnectError> {
    let mut parsed = Vec::new();
    for list in bootstrap {
        for text in list
            .as_ref()
            .split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
        {
            let bad = || ConnectError::BadAddress {
                text: text.to_owned(),
            };
            let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
            let host = host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .unwrap_or(host);
            let port: u16 = port.parse().map_err(|_| bad())?;
            if host.is_empty() || port == 0 {
                return Err(bad());
            }
            parsed.push((host.to_owned(), port));
        }
    }
    if parsed.is_empty() {
        Err(ConnectError::NoBootstrap)
    } else {
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_list_is_split_at_commas_and_checked() {
        let parsed = parse_bootstrap(["a:1, b:2,", "[::1]:3"]).unwrap();
        assert_eq!(
            parsed,
            [
                ("a".to_owned(), 1),
                ("b".to_owned(), 2),
                ("::1".to_owned(), 3)
            ]
        );
        assert_eq!(parse_bootstrap([""]), Err(ConnectError::NoBootstrap));
        for bad in ["a", "a:", ":1", "a:x", "a:70000", "a:0"] {
            assert_eq!(
                parse_bootstrap([bad]),
                Err(ConnectError::BadAddress {
                    text: bad.to_owned()
                })
            );
        }
    }
}
