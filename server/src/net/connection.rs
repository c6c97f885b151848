//! One connection: one task that reads frames, keeps their answers going, and writes them in order.
//!
//! A request's future is polled once as soon as its frame is complete, in the order of arrival, so
//! that what must happen in order (taking offsets in a log) does; from then on pipelined requests
//! overlap, and their answers wait in a queue for those before them. The connection is not read
//! while it has too many requests under way, while too much waits to be sent to it, or while all
//! connections together hold too much memory for requests: TCP then slows the client down.
//!
//! The whole connection is one hand-written poll function over plain state: nothing in it can be
//! lost by dropping a future half-way, and one wake-up does all that can be done.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use ottla_core::{
    limits::{
        CONNECTION_STEPS_PER_TURN, FRAME_BYTES_AT_ONCE, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
        RESPONSE_BYTES_WAITING_MAX, WRITE_PIECES_PER_CALL,
    },
    time::Instant,
};
use ottla_io::Io;
use ottla_wire::{Pieces, messages::ApiKey};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};

use super::{
    frame::{Buffered, FrameError, FrameReader},
    memory::RequestMemory,
};
use crate::{
    broker::Broker,
    context::ConnectionInfo,
    dispatch::{self, Answer, Answering, RequestError},
};

/// How long a sender that is in the middle of a large frame may be silent. Its part of the memory
/// for requests is held for it meanwhile.
const FRAME_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    /// The client closed it, between two requests.
    #[error("the client closed it")]
    ByClient,
    /// The client closed it in the middle of a frame.
    #[error("it was cut off in the middle of a request ({got} bytes of it arrived)")]
    CutOff {
        /// How many bytes of the frame are here.
        got: usize,
    },
    /// What arrived is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A request cannot be answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A request that wants no answer failed.
    #[error("a request that wanted no answer failed")]
    FailedInSilence,
    /// `connections.max.idle.ms` went by.
    #[error("nothing was heard or sent for connections.max.idle.ms")]
    Idle,
    /// The client stopped in the middle of a large frame.
    #[error("it stopped in the middle of a request ({got} bytes of it arrived)")]
    Stalled {
        /// How many bytes of the frame are here.
        got: usize,
    },
    /// The broker shuts down.
    #[error("the broker shuts down")]
    ShutDown,
    /// The network failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Closed {
    /// Whether the operator should hear of it.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        match self {
            Self::CutOff { .. } | Self::Frame(_) | Self::Request(_) | Self::Stalled { .. } => true,
            Self::ByClient | Self::FailedInSilence | Self::Idle | Self::ShutDown | Self::Io(_) => {
                false
            }
        }
    }
}

/// A request under way, or its answer waiting for those before it.
struct Slot {
    api: ApiKey,
    started: Instant,
    state: SlotState,
}

enum SlotState {
    /// Its frame's memory is given back when the answer is there.
    Answering(
        Answering,
        #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
    ),
    Answered(Answer),
}

/// A connection's whole state.
pub(crate) struct Connection<I: Io, S> {
    broker: Arc<Broker<I>>,
    info: Arc<ConnectionInfo>,
    memory: RequestMemory,
    stream: S,
    frames: FrameReader,
    slots: VecDeque<Slot>,
    /// What is to be written, and how many bytes that is.
    output: VecDeque<Bytes>,
    output_bytes: usize,
    needs_flush: bool,
    /// Memory for the frame that is half here.
    granted: Option<OwnedSemaphorePermit>,
    waiting_for_memory: Option<BoxFuture<'static, OwnedSemaphorePermit>>,
    /// The client sends no more.
    read_ended: bool,
    /// No more requests are taken.
    draining: bool,
    idle_max: Duration,
    last_moved: Instant,
    timer: Pin<Box<dyn Future<Output = ()> + Send>>,
    timer_at: Instant,
}

impl<I: Io, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<I, S> {
    pub(crate) fn new(
        broker: Arc<Broker<I>>,
        info: Arc<ConnectionInfo>,
        memory: RequestMemory,
        stream: S,
    ) -> Self {
        let now = broker.io.now().monotonic;
        let net = &broker.settings.net;
        let timer_at = now.after(net.connections_max_idle);
        Self {
            frames: FrameReader::new(net.socket_request_max_bytes),
            idle_max: net.connections_max_idle,
            timer: Box::pin(broker.io.sleep_until(timer_at)),
            timer_at,
            last_moved: now,
            broker,
            info,
            memory,
            stream,
            slots: VecDeque::new(),
            output: VecDeque::new(),
            output_bytes: 0,
            needs_flush: false,
            granted: None,
            waiting_for_memory: None,
            read_ended: false,
            draining: false,
        }
    }

    /// Takes no more requests; the connection ends once what is under way is answered.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Does all that can be done now. Completes when the connection is to be closed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        match self.poll_turn(cx) {
            Poll::Ready(Ok(())) => unreachable!("a connection ends with a reason"),
            Poll::Ready(Err(closed)) => Poll::Ready(closed),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_slots(cx)?;
        for _ in 0..CONNECTION_STEPS_PER_TURN {
            self.take_answers()?;
            self.poll_write(cx)?;
            let moved = self.poll_next_frame(cx)?;
            if self.is_done() {
                let closed = if self.draining {
                    Closed::ShutDown
                } else {
                    Closed::ByClient
                };
                return Poll::Ready(Err(closed));
            }
            if !moved {
                return self.poll_timer(cx).map(Err);
            }
        }
        // Others have a turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        (self.read_ended || self.draining) && self.slots.is_empty() && self.output_bytes == 0
    }

    /// Polls every request under way.
    fn poll_slots(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        for slot in &mut self.slots {
            poll_slot(slot, cx)?;
        }
        Ok(())
    }

    /// Moves the answers at the head of the queue to the output.
    fn take_answers(&mut self) -> Result<(), Closed> {
        while let Some(Slot {
            state: SlotState::Answered(_),
            ..
        }) = self.slots.front()
        {
            let Some(Slot {
                api,
                started,
                state: SlotState::Answered(answer),
            }) = self.slots.pop_front()
            else {
                break;
            };
            let took = self.broker.io.now().monotonic.since(started);
            self.broker.metrics.requests.answered(api, took);
            match answer {
                Answer::Respond(pieces) => self.push_output(pieces),
                Answer::Silence => {}
                Answer::Close => return Err(Closed::FailedInSilence),
            }
        }
        Ok(())
    }

    fn push_output(&mut self, pieces: Pieces) {
        // A response cannot reach 2 GiB: what it may carry is bounded by the fetch settings.
        let len = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        self.output_bytes += pieces.len() + size_of::<u32>();
        self.output
            .push_back(Bytes::copy_from_slice(&len.to_be_bytes()));
        self.output.extend(pieces);
    }

    /// Writes until the stream takes no more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_PIECES_PER_CALL];
            let count = self.output.len().min(WRITE_PIECES_PER_CALL);
            for (slice, piece) in slices.iter_mut().zip(&self.output) {
                *slice = IoSlice::new(piece);
            }
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Poll::Ready(Ok(written)) => self.written(written),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => return Ok(()),
            }
        }
        if self.needs_flush {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.needs_flush = false;
                }
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn written(&mut self, written: usize) {
        self.output_bytes -= written;
        self.needs_flush = true;
        self.last_moved = self.broker.io.now().monotonic;
        self.broker
            .metrics
            .connections
            .bytes_out
            .inc_by(written as u64);
        let mut left = written;
        while let Some(piece) = self.output.front_mut() {
            if piece.len() > left {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            self.output.pop_front();
        }
    }

    /// Starts the next buffered request, or reads. False when nothing more can be done until
    /// something wakes the task.
    fn poll_next_frame(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        if self.draining || self.read_ended && self.frames.len() == 0 {
            return Ok(false);
        }
        let buffered = self.frames.buffered()?;
        if self.is_full() {
            return Ok(false);
        }
        match buffered {
            Buffered::Whole { len } => {
                // A fetch may carry much, so one is prepared at a time, as at Kafka.
                if self.frames.api_key() == Some(ApiKey::Fetch.code())
                    && self.slots.iter().any(|slot| slot.api == ApiKey::Fetch)
                {
                    return Ok(false);
                }
                let Some(memory) = self.poll_memory(len, cx) else {
                    return Ok(false);
                };
                let frame = self.frames.take(len);
                self.start(frame, memory, cx)?;
                Ok(true)
            }
            Buffered::Part { len } if self.frames.len() >= FRAME_BYTES_AT_ONCE => {
                // A small part is read for nothing; more of it needs leave.
                let Some(memory) = self.poll_memory(len, cx) else {
                    return Ok(false);
                };
                if self.granted.is_none() {
                    self.granted = Some(memory);
                }
                self.poll_read(cx)
            }
            Buffered::Part { .. } | Buffered::Nothing => self.poll_read(cx),
        }
    }

    /// Whether enough is under way.
    fn is_full(&self) -> bool {
        self.slots.len() >= REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
            || self.output_bytes >= RESPONSE_BYTES_WAITING_MAX
    }

    /// Leave to hold a frame of `len` bytes.
    fn poll_memory(&mut self, len: usize, cx: &mut Context<'_>) -> Option<OwnedSemaphorePermit> {
        if let Some(granted) = self.granted.take() {
            return Some(granted);
        }
        let waiting = match &mut self.waiting_for_memory {
            Some(waiting) => waiting,
            None => {
                if let Some(granted) = self.memory.try_take(len) {
                    return Some(granted);
                }
                self.waiting_for_memory.insert(self.memory.take(len))
            }
        };
        match waiting.as_mut().poll(cx) {
            Poll::Ready(granted) => {
                self.waiting_for_memory = None;
                // What kept it waiting was not its own silence.
                self.last_moved = self.broker.io.now().monotonic;
                Some(granted)
            }
            Poll::Pending => None,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        if self.read_ended {
            return Err(Closed::CutOff {
                got: self.frames.len(),
            });
        }
        match self.frames.poll_read(&mut self.stream, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Ready(Ok(0)) => {
                self.read_ended = true;
                match self.frames.len() {
                    0 => Ok(true),
                    got => Err(Closed::CutOff { got }),
                }
            }
            Poll::Ready(Ok(count)) => {
                self.last_moved = self.broker.io.now().monotonic;
                self.broker
                    .metrics
                    .connections
                    .bytes_in
                    .inc_by(count as u64);
                Ok(true)
            }
        }
    }

    /// Reads a request's header and takes its first step.
    fn start(
        &mut self,
        frame: Bytes,
        memory: OwnedSemaphorePermit,
        cx: &mut Context<'_>,
    ) -> Result<(), Closed> {
        let request = dispatch::read_header(frame, &self.info)?;
        let api = request.context.api_key;
        let answering = dispatch::answer(&self.broker, request);
        let mut slot = Slot {
            api,
            started: self.broker.io.now().monotonic,
            state: SlotState::Answering(answering, memory),
        };
        poll_slot(&mut slot, cx)?;
        self.slots.push_back(slot);
        Ok(())
    }

    /// Completes when the client has been silent for too long.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            // While a request is being answered, silence is ours.
            let answering = self
                .slots
                .iter()
                .any(|slot| matches!(slot.state, SlotState::Answering(..)));
            let (silence_max, closed) = match self.granted {
                Some(_) if !self.is_full() => (
                    FRAME_SILENCE_MAX.min(self.idle_max),
                    Closed::Stalled {
                        got: self.frames.len(),
                    },
                ),
                _ => (self.idle_max, Closed::Idle),
            };
            let now = self.broker.io.now().monotonic;
            let since = if answering || self.waiting_for_memory.is_some() {
                now
            } else {
                self.last_moved
            };
            let deadline = since.after(silence_max);
            if deadline <= now {
                return Poll::Ready(closed);
            }
            if self.timer_at > deadline {
                self.set_timer(deadline);
            }
            match self.timer.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.set_timer(deadline),
            }
        }
    }

    fn set_timer(&mut self, at: Instant) {
        self.timer = Box::pin(self.broker.io.sleep_until(at));
        self.timer_at = at;
    }
}

fn poll_slot(slot: &mut Slot, cx: &mut Context<'_>) -> Result<(), Closed> {
    if let SlotState::Answering(answering, _) = &mut slot.state {
        match answering.as_mut().poll(cx) {
            Poll::Ready(answer) => slot.state = SlotState::Answered(answer?),
            Poll::Pending => {}
        }
    }
    Ok(())
}
