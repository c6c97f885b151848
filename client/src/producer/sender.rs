//! The producer's task: asks the accumulator what to send, sends it, and tells it what became of it.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Message, Str, Uuid,
    messages::{
        InitProducerIdRequest, ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};

use super::{
    Acks, Inner,
    accumulator::{Accumulator, Sending, Work},
    batch::ProducerIdentity,
    delivery::Acked,
    partition::Outcome,
    record::SendFailure,
};
use crate::{
    client::{Client, Lane},
    error::{BrokerError, RequestError},
    sync::lock,
    types::TopicPartition,
};

type Running<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Something that the task has waited for.
enum Event {
    Produced {
        node: i32,
        outcomes: Vec<(TopicPartition, u64, Outcome)>,
        new_leaders: Vec<TopicPartition>,
        /// The version of the metadata by which it went to the wrong place, perhaps.
        stale: Option<u64>,
    },
    Identity(Result<ProducerIdentity, Trouble>),
    Metadata,
}

enum Trouble {
    Again,
    Fatal(SendFailure),
}

/// Runs until the producer is closed and nothing is left to send.
pub(super) async fn run<I: Io>(client: Client<I>, inner: Arc<Inner>) {
    let mut running: Running<Event> = FuturesUnordered::new();
    let (mut identity_asked, mut metadata_asked) = (false, false);
    let mut identity_failures = 0;
    loop {
        let now = client.io.now().monotonic;
        let metadata = client.metadata();
        let leader =
            |p: &TopicPartition| metadata.leader(&p.topic, p.partition).map(|(node, _)| node);
        let work = {
            let mut accumulator = lock(&inner.accumulator);
            let work = accumulator.work(now, leader);
            if inner.is_closing() && accumulator.is_empty() && running.is_empty() {
                break;
            }
            work
        };
        let Work {
            requests,
            needs_identity,
            needs_leader,
            next_at,
            freed,
        } = work;
        inner.memory.add_permits(freed);
        for (node, sendings) in requests {
            running.push(Box::pin(produce(
                client.clone(),
                Arc::clone(&inner),
                node,
                sendings,
            )));
        }
        if needs_identity && !identity_asked {
            identity_asked = true;
            let wait = (identity_failures > 0).then(|| client.retry_wait(identity_failures - 1));
            running.push(Box::pin(init_producer_id(client.clone(), wait)));
        }
        if (needs_leader || client.metadata_is_old()) && !metadata_asked {
            metadata_asked = true;
            let wait = needs_leader.then(|| client.retry_wait(0));
            running.push(Box::pin(refresh(client.clone(), metadata.version, wait)));
        }
        let timer = async {
            match next_at {
                Some(at) => client.io.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(event) = running.next() => match event {
                Event::Produced { node, outcomes, new_leaders, stale } => {
                    produced(&client, &inner, node, outcomes, &new_leaders);
                    if let (Some(seen), false) = (stale, metadata_asked) {
                        metadata_asked = true;
                        running.push(Box::pin(refresh(client.clone(), seen, None)));
                    }
                }
                Event::Identity(result) => {
                    identity_asked = false;
                    identity_failures = take_identity(&inner, result, identity_failures);
                }
                Event::Metadata => metadata_asked = false,
            },
            () = inner.wake.notified() => {}
            () = timer => {}
        }
        if inner.is_aborted() {
            break;
        }
    }
    let freed = lock(&inner.accumulator).fail_all(&SendFailure::Closed);
    inner.memory.add_permits(freed);
    client.close().await;
    inner.stopped.set();
}

fn take_identity(inner: &Inner, result: Result<ProducerIdentity, Trouble>, failures: u32) -> u32 {
    let mut accumulator = lock(&inner.accumulator);
    match result {
        Ok(identity) => {
            accumulator.set_identity(identity);
            0
        }
        Err(Trouble::Again) => failures.saturating_add(1),
        Err(Trouble::Fatal(reason)) => {
            // What is sent later asks again.
            let freed = accumulator.fail_all(&reason);
            inner.memory.add_permits(freed);
            0
        }
    }
}

fn produced<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    node: i32,
    outcomes: Vec<(TopicPartition, u64, Outcome)>,
    new_leaders: &[TopicPartition],
) {
    let now = client.io.now().monotonic;
    let mut accumulator: std::sync::MutexGuard<'_, Accumulator> = lock(&inner.accumulator);
    accumulator.request_done(node);
    let mut freed = 0;
    for (partition, number, outcome) in outcomes {
        let wait = |failures| client.retry_wait(failures);
        freed += accumulator.on_outcome(&partition, number, outcome, now, wait);
    }
    for partition in new_leaders {
        accumulator.retry_now(partition, now);
    }
    inner.memory.add_permits(freed);
}

async fn refresh<I: Io>(client: Client<I>, seen: u64, wait: Option<Duration>) -> Event {
    if let Some(wait) = wait {
        client.io.sleep(wait).await;
    }
    // If it fails it is asked for again as long as it is needed.
    let _ = client.refresh_metadata(seen).await;
    Event::Metadata
}

async fn init_producer_id<I: Io>(client: Client<I>, wait: Option<Duration>) -> Event {
    if let Some(wait) = wait {
        client.io.sleep(wait).await;
    }
    let build = |_| InitProducerIdRequest {
        transactional_id: None,
        // Not used without a transactional id; Java sends this too.
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let result = match client.call_any(i16::MAX, build).await {
        Ok((_, response)) => match BrokerError::check(response.error_code, None) {
            Ok(()) => Ok(ProducerIdentity {
                id: response.producer_id,
                epoch: response.producer_epoch,
            }),
            Err(error) if error.code.is_retriable() => Err(Trouble::Again),
            Err(error) => Err(Trouble::Fatal(SendFailure::Broker(error))),
        },
        Err(error) if error.is_retriable() => Err(Trouble::Again),
        Err(error) => Err(Trouble::Fatal(SendFailure::Request(error))),
    };
    Event::Identity(result)
}

/// One produce request.
async fn produce<I: Io>(
    client: Client<I>,
    inner: Arc<Inner>,
    node: i32,
    sendings: Vec<Sending>,
) -> Event {
    let metadata = client.metadata();
    let id_of = |topic: &str| metadata.topics.get(topic).map_or(Uuid::ZERO, |t| t.id);
    let mut topics: BTreeMap<Str, Vec<PartitionProduceData>> = BTreeMap::new();
    for sending in &sendings {
        let data = PartitionProduceData {
            index: sending.partition.partition,
            records: Some(sending.bytes.clone()),
            ..Default::default()
        };
        topics
            .entry(sending.partition.topic.clone())
            .or_default()
            .push(data);
    }
    // From version 13 on topics go by their ids.
    let all_have_ids = topics.keys().all(|topic| !id_of(topic).is_zero());
    let cap = if all_have_ids { i16::MAX } else { 12 };
    let acks = inner.config.acks;
    let timeout_ms =
        i32::try_from(inner.config.client.request_timeout.as_millis()).unwrap_or(i32::MAX);
    let build = |_| ProduceRequest {
        transactional_id: None,
        acks: acks.code(),
        timeout_ms,
        topic_data: topics
            .into_iter()
            .map(|(name, partition_data)| TopicProduceData {
                topic_id: id_of(&name),
                name,
                partition_data,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let result = send(&client, node, acks, cap, build).await;
    let new_leaders = match &result {
        Ok(Some(response)) => learn(&client, response),
        _ => Vec::new(),
    };
    let outcomes: Vec<_> = sendings
        .into_iter()
        .map(|s| {
            let outcome = outcome(&result, &s.partition, id_of(&s.partition.topic));
            (s.partition, s.number, outcome)
        })
        .collect();
    let moved = |o: &Outcome| match o {
        Outcome::Refused(error) => error.code.is_retriable(),
        Outcome::Failed { retry, .. } => *retry,
        Outcome::Acked(_) => false,
    };
    // The outcomes are told at once: until then what failed counts as on its way, and what is behind it
    // would overtake it on a new connection, further than the broker remembers.
    let stale = outcomes
        .iter()
        .any(|(p, _, o)| moved(o) && !new_leaders.contains(p))
        .then_some(metadata.version);
    Event::Produced {
        node,
        outcomes,
        new_leaders,
        stale,
    }
}

/// `None` is the success of a request without a response.
async fn send<I: Io>(
    client: &Client<I>,
    node: i32,
    acks: Acks,
    cap: i16,
    build: impl FnOnce(i16) -> ProduceRequest + Send,
) -> Result<Option<ProduceResponse>, RequestError> {
    if acks == Acks::None {
        let connection = client.connection(node, Lane::Main).await?;
        let timeout = client.config().request_timeout;
        connection
            .send_only(&client.io, cap, timeout, build)
            .await?;
        return Ok(None);
    }
    let cap = cap.min(ProduceRequest::MAX_VERSION);
    Ok(Some(client.call(node, Lane::Main, cap, build).await?.1))
}

/// Takes what the response tells of newer leaders (KIP-951); gives their partitions.
fn learn<I: Io>(client: &Client<I>, response: &ProduceResponse) -> Vec<TopicPartition> {
    let metadata = client.metadata();
    let mut learned = Vec::new();
    for topic in &response.responses {
        let name = match metadata.topic_name(topic.topic_id) {
            Some(name) if !topic.topic_id.is_zero() => name,
            _ => &topic.name,
        };
        for p in &topic.partition_responses {
            let (leader, epoch) = (p.current_leader.leader_id, p.current_leader.leader_epoch);
            if leader >= 0 && client.learn_leader(name, p.index, leader, epoch) {
                learned.push(TopicPartition::new(name.clone(), p.index));
            }
        }
    }
    learned
}

fn outcome(
    result: &Result<Option<ProduceResponse>, RequestError>,
    partition: &TopicPartition,
    topic_id: Uuid,
) -> Outcome {
    let response = match result {
        Ok(Some(response)) => response,
        Ok(None) => {
            return Outcome::Acked(Acked {
                base_offset: -1,
                log_append_time: -1,
            });
        }
        Err(error) => {
            return Outcome::Failed {
                may_be_written: error.may_have_been_done(),
                retry: error.is_retriable(),
                reason: SendFailure::Request(error.clone()),
            };
        }
    };
    let same_topic = |topic_name: &Str, id: Uuid| {
        if id.is_zero() {
            *topic_name == partition.topic
        } else {
            id == topic_id
        }
    };
    let answer = response
        .responses
        .iter()
        .filter(|t| same_topic(&t.name, t.topic_id))
        .flat_map(|t| &t.partition_responses)
        .find(|p| p.index == partition.partition);
    let Some(answer) = answer else {
        // The peer misbehaves; whether it wrote the batch is anybody's guess.
        let reason = SendFailure::Broker(BrokerError {
            code: ErrorCode::UnknownServerError,
            message: Some("the broker's answer leaves the partition out".to_owned()),
        });
        return Outcome::Failed {
            reason,
            may_be_written: true,
            retry: false,
        };
    };
    let acked = Acked {
        base_offset: answer.base_offset,
        log_append_time: answer.log_append_time_ms,
    };
    match ErrorCode::from(answer.error_code) {
        ErrorCode::None => Outcome::Acked(acked),
        ErrorCode::DuplicateSequenceNumber => Outcome::Acked(Acked {
            base_offset: -1,
            log_append_time: -1,
        }),
        code => {
            let mut message = answer.error_message.as_deref();
            if let Some(record) = answer.record_errors.first() {
                message = record.batch_index_error_message.as_deref().or(message);
            }
            let message = message.map(str::to_owned);
            Outcome::Refused(BrokerError { code, message })
        }
    }
}
