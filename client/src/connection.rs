//! One connection to one broker: requests go out as they come, responses come back in order.
//!
//! Kafka answers the requests of a connection in the order in which they were sent, so a queue of
//! those that wait is all the book-keeping there is; a response whose correlation id is not that of
//! the queue's head means that the two ends disagree, and ends the connection. One task a connection
//! reads and writes; whatever ends it, every waiting request learns whether it was sent.
//!
//! A request that gets no response in time takes the connection with it: what comes later could not
//! come before the missing response. A connection that is given up, or that fails, is reset rather than
//! closed: what the socket has not sent yet must not reach the broker after the same request has been
//! sent again on another connection, or a commit would undo a later one. One whose client is closed
//! still delivers what it holds.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use ottla_core::time::Instant;
use ottla_io::{Io, Net, Stream};
use ottla_wire::{
    ApiRequest, DecodeError, Decoder, Encoder, ErrorCode, Message, Pieces, Str,
    messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
};

use crate::{
    error::{ConnectError, RequestError},
    sync::lock,
};

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionConfig {
    pub(crate) client_id: Str,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_response_bytes: usize,
}

/// A connection over which versions have been negotiated. Cheap to clone; it is closed when the
/// last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
    correlation: AtomicI32,
    versions: BTreeMap<i16, (i16, i16)>,
    client_id: Str,
}

/// What the handles and the task have in common.
#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    given_up: AtomicBool,
    close: Notify,
    waiting: Mutex<VecDeque<Waiting>>,
    last_used: AtomicU64,
}

/// A request on its way to the socket.
#[derive(Debug)]
struct Outgoing {
    correlation: i32,
    frame: Pieces,
    response: Option<oneshot::Sender<Result<Bytes, RequestError>>>,
    /// Acknowledges that a request without a response was written.
    written: Option<oneshot::Sender<()>>,
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Waiting {
    correlation: i32,
    response: oneshot::Sender<Result<Bytes, RequestError>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Connects to `host:port` and asks which versions the broker has.
    pub(crate) async fn open<I: Io>(
        io: &I,
        host: &str,
        port: u16,
        config: &ConnectionConfig,
    ) -> Result<Self, ConnectError> {
        let address = format!("{host}:{port}");
        let stream = connect(io, host, port, &address, config.connect_timeout).await?;
        let (outgoing, requests) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        shared
            .last_used
            .store(io.now().monotonic.0, Ordering::Relaxed);
        let task_shared = Arc::clone(&shared);
        let max_response_bytes = config.max_response_bytes;
        io.spawn_detached(
            "client-connection",
            Box::pin(async move { run(stream, requests, &task_shared, max_response_bytes).await }),
        );
        let mut link = Link {
            outgoing,
            shared,
            in_flight: Arc::new(Semaphore::new(config.max_in_flight)),
            correlation: AtomicI32::new(0),
            versions: BTreeMap::new(),
            client_id: config.client_id.clone(),
        };
        link.versions = link.negotiate(io, &address, config.connect_timeout).await?;
        Ok(Self {
            link: Arc::new(link),
        })
    }

    /// Whether it may still be used.
    pub(crate) fn is_open(&self) -> bool {
        !self.link.shared.closed.load(Ordering::Acquire)
    }

    /// Ends it; all that wait fail.
    pub(crate) fn close(&self) {
        self.link.shared.close();
    }

    /// Ends it, and drops what was not sent: requests that wait may be sent again on another.
    pub(crate) fn give_up(&self) {
        self.link.shared.give_up();
    }

    /// When a request was last sent over it.
    pub(crate) fn last_used(&self) -> Instant {
        Instant(self.link.shared.last_used.load(Ordering::Relaxed))
    }

    /// The newest version of `R` that both ends have and that is at most `cap`.
    pub(crate) fn version<R: ApiRequest>(&self, cap: i16) -> Result<i16, RequestError> {
        let unstable = i16::from(R::KEY.latest_unstable());
        let (ours_min, ours_max) = (R::MIN_VERSION, (R::MAX_VERSION - unstable).min(cap));
        let (theirs_min, theirs_max) = self
            .link
            .versions
            .get(&R::KEY.code())
            .copied()
            .unwrap_or((0, -1));
        let version = ours_max.min(theirs_max);
        if version < ours_min.max(theirs_min) {
            let api = R::KEY;
            return Err(RequestError::UnsupportedVersion {
                api,
                ours_min,
                ours_max,
                theirs_min,
                theirs_max,
            });
        }
        Ok(version)
    }

    /// Sends a request, in order with those before it, and waits for its response. `build` is told
    /// the version, which is at most `cap`.
    pub(crate) async fn call<I: Io, R: ApiRequest>(
        &self,
        io: &I,
        cap: i16,
        timeout: Duration,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<(i16, R::Response), RequestError> {
        let version = self.version::<R>(cap)?;
        let request = build(version);
        self.link
            .shared
            .last_used
            .store(io.now().monotonic.0, Ordering::Relaxed);
        let permit = Arc::clone(&self.link.in_flight).acquire_owned().await.ok();
        let response = self.link.start(&request, version, permit)?;
        let body = self
            .link
            .await_response(io, R::KEY, timeout, response)
            .await?;
        let response = decode::<R>(body, version);
        if response.is_err() {
            // What follows on this connection cannot be trusted either.
            self.give_up();
        }
        Ok((version, response?))
    }

    /// Sends a request to which the broker sends no response (Produce with acks=0).
    pub(crate) async fn send_only<I: Io, R: ApiRequest>(
        &self,
        io: &I,
        cap: i16,
        timeout: Duration,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<(), RequestError> {
        let version = self.version::<R>(cap)?;
        self.link
            .shared
            .last_used
            .store(io.now().monotonic.0, Ordering::Relaxed);
        let (correlation, frame) = self.link.frame(&build(version), version)?;
        let (written, done) = oneshot::channel();
        let outgoing = Outgoing {
            correlation,
            frame,
            response: None,
            written: Some(written),
            permit: None,
        };
        self.link
            .outgoing
            .send(outgoing)
            .map_err(|_| RequestError::NotSent)?;
        match io.timeout(timeout, done).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(RequestError::Lost),
            None => {
                self.give_up();
                Err(RequestError::TimedOut {
                    api: R::KEY,
                    timeout,
                })
            }
        }
    }
}

impl Link {
    fn frame<R: ApiRequest>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(i32, Pieces), RequestError> {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let header = RequestHeader {
            request_api_key: R::KEY.code(),
            request_api_version: version,
            correlation_id: correlation,
            client_id: Some(self.client_id.clone()),
            ..RequestHeader::default()
        };
        let mut encoder = Encoder::framed();
        header.encode(&mut encoder, R::KEY.request_header_version(version))?;
        request.encode(&mut encoder, version)?;
        Ok((correlation, encoder.finish()))
    }

    fn start<R: ApiRequest>(
        &self,
        request: &R,
        version: i16,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<Result<Bytes, RequestError>>, RequestError> {
        let (correlation, frame) = self.frame(request, version)?;
        let (sender, response) = oneshot::channel();
        let outgoing = Outgoing {
            correlation,
            frame,
            response: Some(sender),
            written: None,
            permit,
        };
        self.outgoing
            .send(outgoing)
            .map_err(|_| RequestError::NotSent)?;
        Ok(response)
    }

    async fn await_response<I: Io>(
        &self,
        io: &I,
        api: ApiKey,
        timeout: Duration,
        response: oneshot::Receiver<Result<Bytes, RequestError>>,
    ) -> Result<Bytes, RequestError> {
        match io.timeout(timeout, response).await {
            Some(Ok(body)) => body,
            Some(Err(_)) => Err(RequestError::NotSent),
            None => {
                self.shared.give_up();
                Err(RequestError::TimedOut { api, timeout })
            }
        }
    }

    /// Asks for the broker's versions, first in the newest version of that question; a broker that
    /// does not have it answers in version 0 with those that it has.
    async fn negotiate<I: Io>(
        &self,
        io: &I,
        address: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<i16, (i16, i16)>, ConnectError> {
        let not_kafka = || ConnectError::NotKafka {
            address: address.to_owned(),
        };
        let mut version = ApiVersionsRequest::MAX_VERSION;
        for _ in 0..2 {
            let request = ApiVersionsRequest {
                client_software_name: Str::from_static("ottla-client"),
                client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
                ..ApiVersionsRequest::default()
            };
            let started = self
                .start(&request, version, None)
                .map_err(|_| not_kafka())?;
            let body = self
                .await_response(io, ApiKey::ApiVersions, timeout, started)
                .await;
            let body = body.map_err(|error| match error {
                RequestError::TimedOut { timeout, .. } => ConnectError::TimedOut {
                    address: address.to_owned(),
                    timeout,
                },
                _ => not_kafka(),
            })?;
            let response = decode::<ApiVersionsRequest>(body.clone(), version)
                .or_else(|_| decode::<ApiVersionsRequest>(body, 0))
                .map_err(|_| not_kafka())?;
            if response.error_code == 0 {
                return Ok(versions(&response));
            }
            let theirs = versions(&response)
                .get(&ApiKey::ApiVersions.code())
                .copied();
            version = match (ErrorCode::from(response.error_code), theirs) {
                (ErrorCode::UnsupportedVersion, Some((_, max))) if max < version && max >= 0 => max,
                (ErrorCode::UnsupportedVersion, _) if version > 0 => 0,
                _ => return Err(not_kafka()),
            };
        }
        Err(not_kafka())
    }
}

impl Shared {
    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.close();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.close.notify_one();
    }
}

fn versions(response: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    response
        .api_keys
        .iter()
        .map(|api| (api.api_key, (api.min_version, api.max_version)))
        .collect()
}

fn decode<R: ApiRequest>(body: Bytes, version: i16) -> Result<R::Response, RequestError> {
    let read = || -> Result<R::Response, DecodeError> {
        let mut decoder = Decoder::new(body);
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))?;
        R::Response::decode(&mut decoder, version)
    };
    read().map_err(|error| RequestError::BadResponse { api: R::KEY, error })
}

async fn connect<I: Io>(
    io: &I,
    host: &str,
    port: u16,
    address: &str,
    timeout: Duration,
) -> Result<<I::Net as Net>::Stream, ConnectError> {
    let address = || address.to_owned();
    let timed_out = || ConnectError::TimedOut {
        address: address(),
        timeout,
    };
    let resolved = io
        .timeout(timeout, io.net().resolve(host, port))
        .await
        .ok_or_else(timed_out)?;
    let resolved = resolved.map_err(|e| ConnectError::Resolve {
        address: address(),
        kind: e.kind(),
    })?;
    let mut failure = ConnectError::Resolve {
        address: address(),
        kind: io::ErrorKind::NotFound,
    };
    for to in resolved {
        match io.timeout(timeout, io.net().connect(to)).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(e)) => {
                failure = ConnectError::Refused {
                    address: address(),
                    kind: e.kind(),
                };
            }
            None => failure = timed_out(),
        }
    }
    Err(failure)
}

/// The connection's task: reads and writes until either side is done or the peer misbehaves.
async fn run<S: Stream>(
    stream: S,
    requests: mpsc::UnboundedReceiver<Outgoing>,
    shared: &Shared,
    max_response_bytes: usize,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let ended: io::Result<()> = tokio::select! {
        biased;
        () = shared.close.notified() => Ok(()),
        read = read_responses(&mut reader, shared, max_response_bytes) => read,
        written = write_requests(&mut writer, requests, shared) => written,
    };
    let failed = ended.is_err();
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    shared.closed.store(true, Ordering::Release);
    let unanswered = std::mem::take(&mut *lock(&shared.waiting));
    if shared.given_up.load(Ordering::Acquire) || failed {
        reader.unsplit(writer).reset();
    }
    for waiting in unanswered {
        // The request may have been given up meanwhile.
        let _ = waiting.response.send(Err(RequestError::Lost));
    }
}

async fn write_requests<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut requests: mpsc::UnboundedReceiver<Outgoing>,
    shared: &Shared,
) -> io::Result<()> {
    // All handles gone: nobody waits for anything any more.
    while let Some(request) = requests.recv().await {
        let Outgoing {
            correlation,
            frame,
            response,
            written,
            permit,
        } = request;
        if let Some(response) = response {
            lock(&shared.waiting).push_back(Waiting {
                correlation,
                response,
                _permit: permit,
            });
        }
        write_pieces(writer, frame).await?;
        if requests.is_empty() {
            writer.flush().await?;
        }
        if let Some(written) = written {
            let _ = written.send(());
        }
    }
    writer.flush().await
}

async fn write_pieces<W: AsyncWrite + Unpin>(writer: &mut W, frame: Pieces) -> io::Result<()> {
    let mut pieces: VecDeque<Bytes> = frame.into_iter().collect();
    while !pieces.is_empty() {
        let slices: Vec<io::IoSlice<'_>> = pieces
            .iter()
            .take(64)
            .map(|piece| io::IoSlice::new(piece))
            .collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

/// Bytes asked of the socket at once, when no large frame is under way.
const READ_AHEAD: usize = 32 * 1024;

async fn read_responses<R: AsyncRead + Unpin>(
    reader: &mut R,
    shared: &Shared,
    max_response_bytes: usize,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_AHEAD);
    loop {
        while buffer.len() < 4 {
            buffer.reserve(READ_AHEAD);
            if reader.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let length = i32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        let length = usize::try_from(length)
            .ok()
            .filter(|l| (4..=max_response_bytes).contains(l));
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        buffer.advance(4);
        if buffer.len() < length {
            buffer.reserve(length - buffer.len());
        }
        while buffer.len() < length {
            if reader.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let frame = buffer.split_to(length).freeze();
        let correlation = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let waiting = lock(&shared.waiting)
            .pop_front()
            .ok_or(io::ErrorKind::InvalidData)?;
        if waiting.correlation != correlation {
            let _ = waiting.response.send(Err(RequestError::Lost));
            return Err(io::ErrorKind::InvalidData.into());
        }
        // The request may have been given up meanwhile.
        let _ = waiting.response.send(Ok(frame));
    }
}
