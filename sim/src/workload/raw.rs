//! A minimal client: one connection, one request at a time, no retries of its own.
//!
//! What the checkers call the ground truth is read with it, so that a fault of the real client
//! cannot hide one of the broker.

use std::time::Duration;

use bytes::Bytes;
use ottla_io::{Clock, Io, Net};
use ottla_wire::{
    ApiRequest, Decoder, Encoder, ErrorCode, Message,
    messages::{
        FetchRequest, RequestHeader, ResponseHeader,
        fetch_request::{FetchPartition, FetchTopic},
    },
    records::{RecordIter, batches},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::payload;
use crate::{
    event::{Contents, TopicPartition},
    io::SimIo,
    net::SimStream,
};

/// The newest version that names topics rather than numbering them.
const FETCH_VERSION: i16 = 12;
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BYTES: i32 = 256 * 1024;

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
    /// What it holds.
    pub contents: Contents,
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
    /// What is wrong with the batch at `next_offset`, if its checksum says that it is damaged.
    pub damage: Option<String>,
}

/// Why a fetch gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No answer, or none that can be read.
    Lost(String),
    /// The broker refuses.
    Refused(ErrorCode),
}

impl From<String> for FetchError {
    fn from(text: String) -> Self {
        Self::Lost(text)
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

    /// Reads a partition from `offset` on, waiting up to `wait` for data. The error is for the
    /// timeline; whatever it is, the same fetch may be tried again.
    pub async fn fetch(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        wait: Duration,
    ) -> Result<Page, FetchError> {
        let request = FetchRequest {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(0),
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            topics: vec![FetchTopic {
                topic: (&*partition.topic).into(),
                partitions: vec![FetchPartition {
                    partition: partition.partition,
                    fetch_offset: offset,
                    partition_max_bytes: MAX_BYTES,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let response = self.call(&request, FETCH_VERSION).await?;
        let check = |code: i16| match ErrorCode::from(code) {
            ErrorCode::None => Ok(()),
            code => Err(FetchError::Refused(code)),
        };
        check(response.error_code)?;
        let topic = response.responses.into_iter().next();
        let data = topic.and_then(|topic| topic.partitions.into_iter().next());
        let data = data.ok_or_else(|| "the answer leaves the partition out".to_owned())?;
        check(data.error_code)?;
        let mut page = Page {
            records: Vec::new(),
            next_offset: offset,
            high_watermark: data.high_watermark,
            damage: None,
        };
        read(data.records.unwrap_or_default(), partition, &mut page);
        Ok(page)
    }

    async fn call<R: ApiRequest + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, String>
    where
        R::Response: Send,
    {
        let io = self.io.clone();
        let answer = io.timeout(TIMEOUT, self.exchange(request, version)).await;
        let answer = answer.unwrap_or_else(|| Err("no answer in time".to_owned()));
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    async fn exchange<R: ApiRequest + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, String>
    where
        R::Response: Send,
    {
        let text = |error: std::io::Error| error.to_string();
        if self.stream.is_none() {
            let address = self
                .bootstrap
                .parse()
                .map_err(|_| "not an address".to_owned())?;
            self.stream = Some(self.io.net().connect(address).await.map_err(text)?);
        }
        let Some(stream) = &mut self.stream else {
            return Err("not connected".to_owned());
        };
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
        stream
            .write_all(&encoder.finish().into_bytes())
            .await
            .map_err(text)?;
        let len = stream.read_u32().await.map_err(text)?;
        let mut frame = vec![0; usize::try_from(len).unwrap_or(0).min(64 << 20)];
        stream.read_exact(&mut frame).await.map_err(text)?;
        let mut decoder = Decoder::new(Bytes::from(frame));
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))
            .and_then(|_| R::Response::decode(&mut decoder, version))
            .map_err(|error| format!("unreadable answer: {error}"))
    }
}

/// The records from the page's offset on, up to a batch that is damaged by its own checksum. One that
/// cannot be read although the checksum holds counts as one changed record.
fn read(bytes: Bytes, partition: &TopicPartition, page: &mut Page) {
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
            contents: Contents::Changed {
                digest: crate::hash::digest(&[batch.bytes()]),
            },
        };
        page.next_offset = batch.next_offset();
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
                let contents = payload::decode(record.value.unwrap_or_default(), partition);
                page.records.push(Fetched {
                    offset: record.offset,
                    contents,
                });
            }
        }
    }
}
