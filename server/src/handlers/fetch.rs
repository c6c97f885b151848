//! Fetch (1): batches as they lie in the log, with sessions (KIP-227) and long polls.
//!
//! A request waits until `min_bytes` are there, something went wrong that the reader should know, or
//! `max_wait_ms` has passed. It is woken by data, never by a clock in between. What is waited for is
//! planned from memory; files are read once, when the answer is made.
//!
//! The first batch of an answer is given even if it is larger than every limit, so that no reader is
//! ever stuck (KIP-74).

use std::{
    pin::pin,
    sync::Arc,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use ottla_core::fetch::{Context, Request, SessionError, Sessions, Told, Wanted};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        FetchRequest, FetchResponse,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
        },
    },
    records::Compression,
};

use super::{errors, topics};
use crate::{
    broker::Broker,
    context::RequestContext,
    net::Room,
    storage::{
        FetchQuery, Isolation, PartitionHandle, ReadError, ReadPlan, TopicCompression,
        TopicPartition,
    },
};

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 13;

/// From this version on clients know zstd.
const ZSTD: i16 = 10;

/// How long a request waits for memory for its answer at least, whatever its `max_wait_ms`.
const ROOM_PATIENCE_MIN: Duration = Duration::from_secs(1);

/// A partition as a session names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    topic: Str,
    topic_id: Uuid,
    partition: i32,
}

/// The fetch sessions of a broker.
pub struct FetchSessions(Mutex<Sessions<Key>>);

impl FetchSessions {
    /// At most `slots` of them: `max.incremental.fetch.session.cache.slots`.
    #[must_use]
    pub fn new(slots: usize, idle_min: Duration) -> Self {
        Self(Mutex::new(Sessions::new(slots, idle_min)))
    }

    /// How many there are, and how many partitions they hold together.
    pub fn counts(&self) -> (usize, usize) {
        let sessions = self.lock();
        (sessions.len(), sessions.partitions())
    }

    fn lock(&self) -> MutexGuard<'_, Sessions<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A partition that is fetched from.
struct Reader<I: Io> {
    partition: Result<PartitionHandle<I>, ErrorCode>,
    wanted: Wanted,
    isolation: Isolation,
}

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: FetchRequest,
) -> FetchResponse {
    let by_id = context.api_version >= TOPIC_IDS;
    let is_replica = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
    let begun = broker.fetch_sessions.lock().begin(
        broker.io.now().monotonic,
        session_request(&request, by_id, is_replica),
    );
    let session = match begun {
        Ok(session) => session,
        Err(error) => return failed(session_code(&error)),
    };
    let isolation = if request.isolation_level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    let readers: Vec<Reader<I>> = session
        .partitions
        .iter()
        .map(|(key, wanted)| {
            let partition = if is_replica {
                // No partition has replicas elsewhere.
                Err(ErrorCode::NotLeaderOrFollower)
            } else {
                find(broker, key, by_id)
                    .and_then(|partition| check_readable(context.api_version, partition))
            };
            Reader {
                partition,
                wanted: *wanted,
                isolation,
            }
        })
        .collect();
    let began = broker.io.now().monotonic;
    wait(broker, &request, &readers).await;
    let limit = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(broker.settings.fetch_max_bytes);
    let waited = broker.io.now().monotonic.since(began);
    let patience = max_wait(&request)
        .saturating_sub(waited)
        .max(ROOM_PATIENCE_MIN);
    let wanted = wanted(&readers, limit);
    let room = match wanted {
        0 => None,
        _ => {
            broker
                .response_memory
                .take(&broker.io, wanted, patience)
                .await
        }
    };
    let answers = read_all(&readers, limit, room).await;
    answer(broker, &session, answers)
}

fn session_request(request: &FetchRequest, by_id: bool, is_replica: bool) -> Request<Key> {
    let key = |topic: &Str, topic_id: Uuid, partition| Key {
        // What is kept must not keep the frame.
        topic: if by_id { Str::new() } else { topic.detach() },
        topic_id: if by_id { topic_id } else { Uuid::ZERO },
        partition,
    };
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |partition| {
            let wanted = Wanted {
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
            };
            (
                key(&topic.topic, topic.topic_id, partition.partition),
                wanted,
            )
        })
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(move |partition| key(&topic.topic, topic.topic_id, *partition))
    });
    Request {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: by_id,
        privileged: is_replica,
        partitions: partitions.collect(),
        forgotten: forgotten.collect(),
    }
}

fn find<I: Io>(
    broker: &Arc<Broker<I>>,
    key: &Key,
    by_id: bool,
) -> Result<PartitionHandle<I>, ErrorCode> {
    let topic = topics::resolve(broker, &key.topic, key.topic_id, by_id)?;
    topics::held(broker, &TopicPartition::new(topic, key.partition))
}

/// Old clients cannot read what zstd compressed (KIP-110): as at Kafka the topic's configuration says
/// whether it did.
fn check_readable<I: Io>(
    version: i16,
    partition: PartitionHandle<I>,
) -> Result<PartitionHandle<I>, ErrorCode> {
    if version < ZSTD
        && matches!(
            partition.config().compression,
            TopicCompression::Codec(Compression::Zstd, _)
        )
    {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    Ok(partition)
}

impl<I: Io> Reader<I> {
    fn plan(&self, max_bytes: usize, at_least_one: bool) -> Result<ReadPlan, ErrorCode> {
        let partition = self.partition.as_ref().map_err(|code| *code)?;
        let known = |epoch: i32| (epoch >= 0).then_some(epoch);
        let plan = partition.plan_fetch(FetchQuery {
            offset: self.wanted.fetch_offset,
            max_bytes,
            at_least_one,
            isolation: self.isolation,
            current_leader_epoch: known(self.wanted.current_leader_epoch),
            last_fetched_epoch: known(self.wanted.last_fetched_epoch),
        });
        plan.map_err(|error| errors::of_query(&error))
    }

    fn max_bytes(&self) -> usize {
        usize::try_from(self.wanted.max_bytes).unwrap_or(0)
    }

    /// The end that this reader was shown.
    fn end(&self, plan: &ReadPlan) -> i64 {
        match self.isolation {
            Isolation::ReadCommitted => plan.offsets.last_stable,
            _ => plan.offsets.high_watermark,
        }
    }
}

fn max_wait(request: &FetchRequest) -> Duration {
    Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into())
}

/// About how many bytes the readers get when they get up to `limit`.
fn wanted<I: Io>(readers: &[Reader<I>], limit: usize) -> usize {
    let mut wanted = 0_usize;
    for reader in readers {
        let left = limit.saturating_sub(wanted);
        if wanted > 0 && left == 0 {
            break;
        }
        // The first batch is given whatever the limits say (KIP-74).
        let least = usize::from(wanted == 0);
        let max_bytes = reader.max_bytes().min(left).max(least);
        let plan = reader.plan(max_bytes, wanted == 0);
        wanted += plan.map_or(0, |plan| plan.size_hint());
    }
    wanted
}

/// Waits until the request is to be answered.
async fn wait<I: Io>(broker: &Arc<Broker<I>>, request: &FetchRequest, readers: &[Reader<I>]) {
    let max_wait = max_wait(request);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    if max_wait.is_zero() || min_bytes == 0 || readers.is_empty() {
        return;
    }
    let mut deadline = pin!(broker.io.sleep(max_wait).fuse());
    loop {
        let mut there = 0_usize;
        let mut ends = Vec::with_capacity(readers.len());
        for reader in readers {
            // What went wrong is told at once.
            let Ok(plan) = reader.plan(reader.max_bytes(), true) else {
                return;
            };
            if plan.diverging.is_some() {
                return;
            }
            there = there.saturating_add(plan.size_hint());
            if there >= min_bytes {
                return;
            }
            ends.push(reader.end(&plan));
        }
        let mut news: FuturesUnordered<_> = readers
            .iter()
            .zip(ends)
            .filter_map(|(reader, end)| {
                Some(
                    reader
                        .partition
                        .as_ref()
                        .ok()?
                        .wait_beyond(end, reader.isolation),
                )
            })
            .collect();
        if let Either::Right(_) = select(news.next(), &mut deadline).await {
            return;
        }
    }
}

/// Reads what each partition gives, in order, until the answer is full. Without room no records are
/// given.
async fn read_all<I: Io>(
    readers: &[Reader<I>],
    limit: usize,
    mut room: Option<Room>,
) -> Vec<(PartitionData, Told)> {
    let mut left = room.as_ref().map_or(0, |room| limit.min(room.bytes()));
    let mut is_empty = room.is_some();
    let mut answers = Vec::with_capacity(readers.len());
    for reader in readers {
        let max_bytes = reader.max_bytes().min(left);
        let mut answer = read(reader, max_bytes, is_empty)
            .await
            .unwrap_or_else(error_data);
        if let Some(room) = &mut room {
            answer.0.records = answer.0.records.map(|records| room.hold(records));
        }
        let bytes = answer.1.record_bytes;
        left = left.saturating_sub(bytes);
        is_empty &= bytes == 0;
        answers.push(answer);
    }
    answers
}

async fn read<I: Io>(
    reader: &Reader<I>,
    max_bytes: usize,
    at_least_one: bool,
) -> Result<(PartitionData, Told), ErrorCode> {
    let plan = reader.plan(max_bytes, at_least_one)?;
    let partition = reader.partition.as_ref().map_err(|code| *code)?;
    let code = |error: ReadError| {
        if !matches!(error, ReadError::Query(_)) {
            tracing::warn!(partition = %partition.name(), %error, "a fetch cannot be read");
        }
        errors::of_read(&error)
    };
    let records = match &plan.diverging {
        None => partition.read(&plan).await.map_err(code)?,
        Some(_) => Bytes::new(),
    };
    let aborted = match reader.isolation {
        Isolation::ReadCommitted => Some(partition.aborted(&plan).await.map_err(code)?),
        _ => None,
    };
    let offsets = plan.offsets;
    let told = Told {
        record_bytes: records.len(),
        high_watermark: offsets.high_watermark,
        log_start: offsets.log_start,
        notable: plan.diverging.is_some(),
        error: false,
    };
    let mut data = PartitionData {
        high_watermark: offsets.high_watermark,
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        aborted_transactions: aborted.map(|aborted| {
            let transactions = aborted.into_iter().map(|transaction| AbortedTransaction {
                producer_id: transaction.producer_id,
                first_offset: transaction.first_offset,
                ..Default::default()
            });
            transactions.collect()
        }),
        records: Some(records),
        ..Default::default()
    };
    if let Some(diverging) = plan.diverging {
        data.diverging_epoch = EpochEndOffset {
            epoch: diverging.leader_epoch,
            end_offset: diverging.end_offset,
            ..Default::default()
        };
    }
    Ok((data, told))
}

fn error_data(code: ErrorCode) -> (PartitionData, Told) {
    let data = PartitionData {
        error_code: code as i16,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    let told = Told {
        record_bytes: 0,
        high_watermark: -1,
        log_start: -1,
        notable: true,
        error: true,
    };
    (data, told)
}

/// Leaves out what the session has told before, and groups the rest by topic.
fn answer<I: Io>(
    broker: &Arc<Broker<I>>,
    session: &Context<Key>,
    answers: Vec<(PartitionData, Told)>,
) -> FetchResponse {
    let told: Vec<Told> = answers.iter().map(|(_, told)| *told).collect();
    let bytes: usize = told.iter().map(|told| told.record_bytes).sum();
    broker.metrics.records.fetched_bytes.inc_by(bytes as u64);
    let (now, random) = (broker.io.now().monotonic, broker.io.random_u64());
    // The low half is as random as the whole.
    #[allow(clippy::cast_possible_truncation)]
    let random = random as u32;
    let finished = broker
        .fetch_sessions
        .lock()
        .finish(now, session, &told, random);
    let finished = match finished {
        Ok(finished) => finished,
        Err(error) => return failed(session_code(&error)),
    };
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let sent = session
        .partitions
        .iter()
        .zip(answers)
        .zip(finished.sent)
        .filter(|(_, sent)| *sent);
    for (((key, _), (mut data, _)), _) in sent {
        data.partition_index = key.partition;
        match responses.last_mut() {
            Some(last) if last.topic == key.topic && last.topic_id == key.topic_id => {
                last.partitions.push(data);
            }
            _ => responses.push(FetchableTopicResponse {
                topic: key.topic.clone(),
                topic_id: key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    FetchResponse {
        session_id: finished.session_id,
        responses,
        ..Default::default()
    }
}

fn failed(code: ErrorCode) -> FetchResponse {
    FetchResponse {
        error_code: code as i16,
        ..Default::default()
    }
}

fn session_code(error: &SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound { .. } => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds { .. } => ErrorCode::FetchSessionTopicIdError,
    }
}
