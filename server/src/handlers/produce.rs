//! Produce (0): records into partitions.
//!
//! All appends of a request are taken before the handler first waits, in the order of the request, so
//! that pipelined requests of one connection (an idempotent producer's, above all) keep their order.
//! Then it waits for what `acks` promises: with acks=all at most for the request's time-out or, if that
//! is longer, what a sync may take; otherwise for the write.
//!
//! Batches are not opened, with two exceptions, both the topic's wish: a `compression.type` that
//! differs from the batch's, and a compacted topic, which takes no record without a key.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, FutureExt, select};
use ottla_core::time::Instant;
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::PartitionProduceData,
        produce_response::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    records::{
        BatchHeader, BatchView, Compression, HEADER_LEN, LOG_OVERHEAD, RecordIter, compression,
        crc32c,
    },
};

use super::{errors, topics};
use crate::{
    broker::Broker,
    context::RequestContext,
    storage::{
        Acks, AppendError, Appended, Origin, PartitionConfig, PartitionHandle, TopicCompression,
        TopicPartition,
    },
};

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 13;

/// From this version on clients may send what zstd compressed (KIP-110).
const ZSTD: i16 = 7;

/// How long an append with acks=all is waited for at least. A request's time-out is for replicas to
/// follow, and no partition has any elsewhere: what is left to wait for is this node's own sync.
const SYNC_PATIENCE_MIN: Duration = Duration::from_secs(30);

/// The client that may write to internal topics: Kafka's own tools.
const ADMIN_CLIENT: &str = "__admin_client";

/// Where a batch's checksum begins to count: behind the checksum itself.
const CRC_FROM: usize = 21;

/// A partition's answer on its way.
enum Answer {
    Ready(PartitionProduceResponse),
    Waiting {
        index: i32,
        bytes: usize,
        appended: BoxFuture<'static, Result<Appended, AppendError>>,
    },
}

/// Why a partition's records are refused before the log sees them.
struct Refusal {
    code: ErrorCode,
    message: String,
    /// The records that are wrong, with what is wrong with each.
    records: Vec<(i32, String)>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }
}

/// Answers a request. For one with acks=0 nobody reads the answer, but an error in it closes the
/// connection.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: ProduceRequest,
) -> ProduceResponse {
    let since = broker.io.now().monotonic;
    let mut begun = Vec::with_capacity(request.topic_data.len());
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    for topic in request.topic_data {
        let resolved = topics::resolve(
            broker,
            &topic.name,
            topic.topic_id,
            context.api_version >= TOPIC_IDS,
        )
        .and_then(|name| check_topic(context, name));
        let answers: Vec<Answer> = topic
            .partition_data
            .into_iter()
            .map(|data| {
                let index = data.index;
                let bytes = data.records.as_ref().map_or(0, Bytes::len);
                let taken = match (&resolved, acks) {
                    (_, None) => Err(Refusal::new(
                        ErrorCode::InvalidRequiredAcks,
                        format!("acks is {}, expected -1, 0 or 1", request.acks),
                    )),
                    (Err(code), _) => Err(Refusal::new(*code, "")),
                    (Ok(name), Some(acks)) => take(broker, context, Arc::clone(name), data, acks),
                };
                match taken {
                    Ok(appended) => Answer::Waiting {
                        index,
                        bytes,
                        appended,
                    },
                    Err(refusal) => Answer::Ready(refused(index, refusal)),
                }
            })
            .collect();
        begun.push((topic.name, topic.topic_id, answers));
    }
    let timeout = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    let patience = match acks {
        Some(Acks::All) => broker
            .io
            .sleep(timeout.max(SYNC_PATIENCE_MIN))
            .left_future(),
        _ => pending().right_future(),
    };
    let mut deadline = pin!(patience.fuse());
    let mut is_late = false;
    let mut responses = Vec::with_capacity(begun.len());
    for (name, topic_id, answers) in begun {
        let mut partition_responses = Vec::with_capacity(answers.len());
        for answer in answers {
            partition_responses.push(match answer {
                Answer::Ready(response) => response,
                Answer::Waiting {
                    index,
                    bytes,
                    appended,
                } => {
                    let result = if is_late {
                        appended.now_or_never()
                    } else {
                        match select(appended, &mut deadline).await {
                            Either::Left((result, _)) => Some(result),
                            Either::Right(((), appended)) => {
                                is_late = true;
                                appended.now_or_never()
                            }
                        }
                    };
                    count(broker, since, bytes, result.as_ref());
                    respond(index, result)
                }
            });
        }
        responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses,
            ..Default::default()
        });
    }
    ProduceResponse {
        responses,
        ..Default::default()
    }
}

/// Whether clients may write to the topic.
fn check_topic(context: &RequestContext, name: Arc<str>) -> Result<Arc<str>, ErrorCode> {
    let is_internal = matches!(
        name.as_ref(),
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    );
    if is_internal && context.client_id() != ADMIN_CLIENT {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(name)
}

/// Takes one partition's append.
fn take<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    topic: Arc<str>,
    data: PartitionProduceData,
    acks: Acks,
) -> Result<BoxFuture<'static, Result<Appended, AppendError>>, Refusal> {
    let name = TopicPartition::new(topic, data.index);
    let partition = topics::held(broker, &name).map_err(|code| Refusal::new(code, ""))?;
    let records = data.records.unwrap_or_default();
    let records = prepare(&partition, context.api_version, records)?;
    Ok(partition.append(records, acks, Origin::Client).boxed())
}

/// Opens the batch where the topic's configuration asks for it.
fn prepare<I: Io>(
    partition: &PartitionHandle<I>,
    version: i16,
    records: Bytes,
) -> Result<Bytes, Refusal> {
    let config = partition.config();
    // What is no batch at all is left to the log, which says what is wrong with it.
    let Ok(batch) = BatchView::new(&records) else {
        return Ok(records);
    };
    if batch.size() != records.len() {
        return Ok(records);
    }
    if batch.header().attributes.is_transactional() {
        return Err(Refusal::new(
            ErrorCode::InvalidTxnState,
            "this broker does not serve transactions",
        ));
    }
    let Ok(used) = batch.compression() else {
        return Ok(records);
    };
    if used == Compression::Zstd && version < ZSTD {
        return Err(Refusal::new(
            ErrorCode::UnsupportedCompressionType,
            format!("version {version} of a produce request may not use zstd"),
        ));
    }
    let wanted = match config.compression {
        TopicCompression::Codec(codec, level) if codec != used => Some((codec, level)),
        _ => None,
    };
    if wanted.is_none() && !config.log.compact {
        return Ok(records);
    }
    let corrupt =
        |error: &dyn std::fmt::Display| Refusal::new(ErrorCode::CorruptMessage, error.to_string());
    // The bytes are opened, so they are checked first.
    batch.check_crc().map_err(|error| corrupt(&error))?;
    let payload = batch
        .records(decompressed_bytes_max(&config))
        .map_err(|error| corrupt(&error))?;
    if config.log.compact {
        refuse_keyless(batch.header(), &payload)?;
    }
    let Some((codec, level)) = wanted else {
        return Ok(records);
    };
    let compressed =
        compression::compress(codec, level, &payload).map_err(|error| corrupt(&error))?;
    let batch = with_payload(batch.header(), codec, &compressed);
    // What the request holds of the memory for requests it holds for them.
    Ok(Bytes::from_owner(Made {
        batch,
        _of: records,
    }))
}

/// A batch that was made of another.
struct Made {
    batch: Bytes,
    _of: Bytes,
}

impl AsRef<[u8]> for Made {
    fn as_ref(&self) -> &[u8] {
        &self.batch
    }
}

/// How far one batch may swell when it is opened: the largest request times what the best of the
/// codecs makes of ordinary text. A batch that claims more is taken for an attack.
fn decompressed_bytes_max(config: &PartitionConfig) -> usize {
    (config.log.max_message_bytes as usize)
        .saturating_mul(32)
        .max(32 << 20)
}

fn refuse_keyless(header: &BatchHeader, payload: &[u8]) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    for (at, record) in RecordIter::new(header, payload).enumerate() {
        let record =
            record.map_err(|error| Refusal::new(ErrorCode::CorruptMessage, error.to_string()))?;
        if record.key.is_none() {
            let at = i32::try_from(at).unwrap_or(i32::MAX);
            wrong.push((
                at,
                "Compacted topic cannot accept message without key.".to_owned(),
            ));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Refusal {
        code: ErrorCode::InvalidRecord,
        message: "One or more records have been rejected".to_owned(),
        records: wrong,
    })
}

/// The batch with other bytes for its records.
fn with_payload(header: &BatchHeader, codec: Compression, payload: &[u8]) -> Bytes {
    let mut bytes = vec![0; HEADER_LEN + payload.len()];
    bytes[HEADER_LEN..].copy_from_slice(payload);
    let length = i32::try_from(bytes.len() - LOG_OVERHEAD).unwrap_or(i32::MAX);
    let mut header = BatchHeader {
        batch_length: length,
        attributes: header.attributes.with_compression(codec),
        crc: 0,
        ..*header
    };
    let mut head = [0; HEADER_LEN];
    header.write(&mut head);
    bytes[..HEADER_LEN].copy_from_slice(&head);
    header.crc = crc32c(&bytes[CRC_FROM..]);
    header.write(&mut head);
    bytes[..HEADER_LEN].copy_from_slice(&head);
    Bytes::from(bytes)
}

/// Counts what became of an append.
fn count<I: Io>(
    broker: &Arc<Broker<I>>,
    since: Instant,
    bytes: usize,
    result: Option<&Result<Appended, AppendError>>,
) {
    let metrics = &broker.metrics.records;
    if let Some(Ok(_)) = result {
        metrics.produced_bytes.inc_by(bytes as u64);
        metrics.produced_batches.inc();
        metrics
            .append_seconds
            .observe(broker.io.now().monotonic.since(since).as_secs_f64());
    } else {
        metrics.refused_batches.inc();
    }
}

fn respond(index: i32, result: Option<Result<Appended, AppendError>>) -> PartitionProduceResponse {
    match result {
        None => refused(index, Refusal::new(ErrorCode::RequestTimedOut, "")),
        Some(Ok(appended)) => PartitionProduceResponse {
            index,
            error_code: ErrorCode::None as i16,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time.0,
            log_start_offset: appended.log_start,
            ..Default::default()
        },
        Some(Err(error)) => refused(
            index,
            Refusal::new(errors::of_append(&error), error.to_string()),
        ),
    }
}

fn refused(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    let record_errors =
        refusal
            .records
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(Str::from(message.as_str())),
                ..Default::default()
            });
    PartitionProduceResponse {
        index,
        error_code: refusal.code as i16,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        record_errors: record_errors.collect(),
        error_message: (!refusal.message.is_empty()).then(|| Str::from(refusal.message.as_str())),
        ..Default::default()
    }
}

/// Whether anything in an answer is an error.
#[must_use]
pub fn has_errors(response: &ProduceResponse) -> bool {
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    partitions
        .into_iter()
        .any(|partition| partition.error_code != ErrorCode::None as i16)
}
