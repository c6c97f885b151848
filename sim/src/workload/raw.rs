//! A minimal client: one connection, one request at a time, no retries of its own.
//!
//! What the checkers call the ground truth is read with it, so that a fault of the real client
//! cannot hide one of the broker.

use std::time::Duration;

use bytes::Bytes;
use ottla_io::{Clock, Io, Net};
use ottla_wire::{
    ApiRequest, Decoder, Encoder, ErrorCode, Message, Str, Uuid,
    messages::{
        DeleteTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, OffsetCommitRequest,
        RequestHeader, ResponseHeader,
        delete_topics_request::DeleteTopicState,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
    records::{RecordIter, batches},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::payload;
use crate::{
    event::{Contents, TopicPartition, Work},
    io::SimIo,
    net::SimStream,
};

/// The newest version that names topics rather than numbering them.
const FETCH_VERSION: i16 = 12;
/// The version with leader epochs; later ones add special times.
const LIST_OFFSETS_VERSION: i16 = 7;
/// The last version that names topics.
const COMMIT_VERSION: i16 = 9;
/// The version that knows topics by their ids.
const DELETE_TOPICS_VERSION: i16 = 6;
/// In place of a time: the log's start, and its end.
pub const EARLIEST: i64 = -2;
/// See [`EARLIEST`].
pub const LATEST: i64 = -1;
const TIMEOUT: Duration = Duration::from_secs(10);
/// As much as an answer holds.
pub(super) const MAX_BYTES: i32 = 256 * 1024;

/// A connection, made when it is needed.
#[derive(Debug)]
pub struct RawClient {
    io: SimIo,
    bootstrap: String,
    stream: Option<SimStream>,
    correlation: i32,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    /// Its offset.
    pub offset: i64,
    /// Its time, in milliseconds.
    pub timestamp: i64,
    /// What it holds.
    pub contents: Contents,
}

/// A commit of a member's, as the member was then.
#[derive(Clone, Debug)]
pub(super) struct OldCommit {
    pub(super) group: Str,
    pub(super) generation: i32,
    pub(super) member_id: Str,
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
}

/// Why a request came to nothing. Whatever it is, the same may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// The broker answered with an error.
    #[error("{}", .0.name())]
    Answered(ErrorCode),
    /// There was no answer that could be read.
    #[error("{0}")]
    Unanswered(String),
}

/// What a fetch gave.
#[derive(Debug)]
pub struct Page {
    /// The records from the wanted offset on.
    pub records: Vec<Fetched>,
    /// Where the next page begins.
    pub next_offset: i64,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// What is wrong with the batch behind them, if it is damaged.
    pub damage: Option<String>,
    /// Where the first batch ends, if that is before the wanted offset.
    pub unwanted: Option<i64>,
}

impl Page {
    /// Nothing yet, from an offset on.
    pub(super) fn at(offset: i64) -> Self {
        Self {
            records: Vec::new(),
            next_offset: offset,
            high_watermark: -1,
            damage: None,
            unwanted: None,
        }
    }

    /// What is to be told of a page that was wanted from an offset on and begins too early.
    pub(super) fn told(&self, partition: &TopicPartition, wanted: i64) -> Option<Work> {
        self.unwanted.map(|got| Work::Unwanted {
            partition: partition.clone(),
            wanted,
            got,
        })
    }
}

impl RawClient {
    /// A client of one broker.
    #[must_use]
    pub fn new(io: SimIo, bootstrap: String) -> Self {
        Self {
            io,
            bootstrap,
            stream: None,
            correlation: 0,
        }
    }

    /// Reads a partition from `offset` on, waiting up to `wait` for data.
    pub async fn fetch(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        wait: Duration,
    ) -> Result<Page, RawError> {
        let request = fetch_request(partition, offset, wait);
        let response = self.call(&request, FETCH_VERSION).await?;
        check(response.error_code)?;
        let topic = response.responses.into_iter().next();
        let data = topic.and_then(|topic| topic.partitions.into_iter().next());
        let data = data.ok_or_else(left_out)?;
        check(data.error_code)?;
        let mut page = Page::at(offset);
        page.high_watermark = data.high_watermark;
        read(data.records.unwrap_or_default(), partition, &mut page);
        Ok(page)
    }

    /// The first offset at or behind a time, with that record's time; or the end that
    /// [`EARLIEST`] or [`LATEST`] asks for. -1 where there is no such record.
    pub async fn list_offset(
        &mut self,
        partition: &TopicPartition,
        time: i64,
    ) -> Result<(i64, i64), RawError> {
        let request = list_request(partition, time);
        let response = self.call(&request, LIST_OFFSETS_VERSION).await?;
        let topic = response.topics.into_iter().next();
        let found = topic.and_then(|topic| topic.partitions.into_iter().next());
        let found = found.ok_or_else(left_out)?;
        check(found.error_code)?;
        Ok((found.offset, found.timestamp))
    }

    /// Deletes the topic with an id, and nothing else, however late the request comes.
    pub(super) async fn delete_topic(&mut self, topic_id: Uuid) -> Result<ErrorCode, RawError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                topic_id,
                ..DeleteTopicState::default()
            }],
            timeout_ms: 5000,
            ..DeleteTopicsRequest::default()
        };
        let response = self.call(&request, DELETE_TOPICS_VERSION).await?;
        let answer = response.responses.first().ok_or_else(left_out)?;
        Ok(ErrorCode::from(answer.error_code))
    }

    /// One fetch of an incremental session (KIP-227), as it is.
    pub(super) async fn fetch_in_session(
        &mut self,
        session: (i32, i32),
        wait: Duration,
        max_bytes: i32,
        topics: Vec<FetchTopic>,
    ) -> Result<FetchResponse, RawError> {
        let request = session_request(session, wait, max_bytes, topics);
        let response = self.call(&request, FETCH_VERSION).await?;
        check(response.error_code)?;
        Ok(response)
    }

    /// The same, but hangs up before the answer.
    pub(super) async fn leave_a_fetch_in_session(
        &mut self,
        session: (i32, i32),
        wait: Duration,
        max_bytes: i32,
        topics: Vec<FetchTopic>,
    ) {
        let request = session_request(session, wait, max_bytes, topics);
        let io = self.io.clone();
        let _ = io
            .timeout(TIMEOUT, self.send(&request, FETCH_VERSION))
            .await;
        // Long enough for it to be served, mostly.
        io.sleep(wait + Duration::from_millis(20)).await;
        self.stream = None;
    }

    /// Commits an offset as somebody who may be a member no more.
    pub(super) async fn commit(&mut self, commit: &OldCommit) -> Result<(), RawError> {
        let request = OffsetCommitRequest {
            group_id: commit.group.clone(),
            generation_id_or_member_epoch: commit.generation,
            member_id: commit.member_id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: commit.partition.name().into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: commit.partition.partition,
                    committed_offset: commit.offset,
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let response = self.call(&request, COMMIT_VERSION).await?;
        let topic = response.topics.into_iter().next();
        let answer = topic.and_then(|topic| topic.partitions.into_iter().next());
        check(answer.ok_or_else(left_out)?.error_code)
    }

    /// Sends several requests at once, the first of which waits for records that may not come, and
    /// says for each answer whose turn it was and whose it is.
    pub(super) async fn answers_in_turn(
        &mut self,
        partition: &TopicPartition,
        wait: Duration,
    ) -> Result<Vec<(i32, i32)>, RawError> {
        let (end, _) = self.list_offset(partition, LATEST).await?;
        let fetch = fetch_request(partition, end, wait);
        let look_up = list_request(partition, EARLIEST);
        let io = self.io.clone();
        let turns = async {
            let first = self.send(&fetch, FETCH_VERSION).await?;
            self.send(&look_up, LIST_OFFSETS_VERSION).await?;
            let last = self.send(&look_up, LIST_OFFSETS_VERSION).await?;
            let mut turns = Vec::new();
            for expected in first..=last {
                let frame = self.receive().await?;
                let number = frame.first_chunk().ok_or("an answer without a number")?;
                turns.push((expected, i32::from_be_bytes(*number)));
            }
            Ok(turns)
        };
        let turns = io.timeout(TIMEOUT, turns).await;
        self.kept_if_answered(turns)
    }

    async fn call<R: ApiRequest + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, RawError>
    where
        R::Response: Send,
    {
        let io = self.io.clone();
        let answer = io.timeout(TIMEOUT, self.exchange(request, version)).await;
        self.kept_if_answered(answer)
    }

    /// A connection on which something failed is not used again.
    fn kept_if_answered<T>(&mut self, answer: Option<Result<T, String>>) -> Result<T, RawError> {
        let answer = answer.unwrap_or_else(|| Err("no answer in time".to_owned()));
        if answer.is_err() {
            self.stream = None;
        }
        answer.map_err(RawError::Unanswered)
    }

    async fn exchange<R: ApiRequest + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, String>
    where
        R::Response: Send,
    {
        self.send(request, version).await?;
        let mut decoder = Decoder::new(self.receive().await?);
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))
            .and_then(|_| R::Response::decode(&mut decoder, version))
            .map_err(|error| format!("unreadable answer: {error}"))
    }

    /// Sends a request, and gives its number on the connection.
    async fn send<R: ApiRequest + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<i32, String> {
        if self.stream.is_none() {
            let address = self
                .bootstrap
                .parse()
                .map_err(|_| "not an address".to_owned())?;
            self.stream = Some(
                self.io
                    .net()
                    .connect(address)
                    .await
                    .map_err(|error| error.to_string())?,
            );
        }
        self.correlation += 1;
        let header = RequestHeader {
            request_api_key: R::KEY.code(),
            request_api_version: version,
            correlation_id: self.correlation,
            client_id: Some("raw".into()),
            ..RequestHeader::default()
        };
        let mut encoder = Encoder::framed();
        let encoded = header
            .encode(&mut encoder, R::KEY.request_header_version(version))
            .and_then(|()| request.encode(&mut encoder, version));
        encoded.map_err(|error| error.to_string())?;
        let stream = self.stream.as_mut().ok_or("not connected")?;
        let sent = stream.write_all(&encoder.finish().into_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        Ok(self.correlation)
    }

    /// The next answer, from its header on.
    async fn receive(&mut self) -> Result<Bytes, String> {
        let stream = self.stream.as_mut().ok_or("not connected")?;
        let len = stream.read_u32().await.map_err(|error| error.to_string())?;
        let mut frame = vec![0; usize::try_from(len).unwrap_or(0).min(64 << 20)];
        stream
            .read_exact(&mut frame)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Bytes::from(frame))
    }
}

fn fetch_request(partition: &TopicPartition, offset: i64, wait: Duration) -> FetchRequest {
    FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(0),
        min_bytes: 1,
        max_bytes: MAX_BYTES,
        topics: vec![FetchTopic {
            topic: partition.name().into(),
            partitions: vec![wanted(partition, offset)],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn session_request(
    session: (i32, i32),
    wait: Duration,
    max_bytes: i32,
    topics: Vec<FetchTopic>,
) -> FetchRequest {
    FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(0),
        min_bytes: 1,
        max_bytes,
        session_id: session.0,
        session_epoch: session.1,
        topics,
        ..FetchRequest::default()
    }
}

fn list_request(partition: &TopicPartition, time: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: partition.name().into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition.partition,
                timestamp: time,
                ..ListOffsetsPartition::default()
            }],
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    }
}

/// A partition as a fetch names it.
pub(super) fn wanted(partition: &TopicPartition, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: partition.partition,
        fetch_offset: offset,
        partition_max_bytes: MAX_BYTES,
        ..FetchPartition::default()
    }
}

pub(super) fn check(code: i16) -> Result<(), RawError> {
    match ErrorCode::from(code) {
        ErrorCode::None => Ok(()),
        code => Err(RawError::Answered(code)),
    }
}

fn left_out() -> RawError {
    RawError::Unanswered("the answer leaves the partition out".to_owned())
}

/// The records from the page's offset on, up to a batch that is damaged by its own checksum. One that
/// cannot be read although the checksum holds counts as one changed record.
pub(super) fn read(bytes: Bytes, partition: &TopicPartition, page: &mut Page) {
    let from = page.next_offset;
    for batch in batches(bytes) {
        // A last batch may be cut off by the size limit.
        let Ok(batch) = batch else { break };
        if batch.check_crc().is_err() {
            page.damage = Some(format!(
                "the checksum of the batch at {} does not hold",
                batch.base_offset()
            ));
            return;
        }
        let changed = Fetched {
            offset: batch.base_offset(),
            timestamp: -1,
            contents: Contents::Changed {
                digest: crate::hash::digest(&[batch.bytes()]),
            },
        };
        page.next_offset = batch.next_offset();
        if page.next_offset <= from {
            page.unwanted.get_or_insert(page.next_offset);
        }
        let Ok(body) = batch.records(64 << 20) else {
            page.records.push(changed);
            continue;
        };
        for record in RecordIter::new(batch.header(), &body) {
            let Ok(record) = record else {
                page.records.push(changed);
                break;
            };
            if record.offset >= from {
                page.records.push(Fetched {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    contents: payload::decode(record.value.unwrap_or_default(), partition),
                });
            }
        }
    }
}
