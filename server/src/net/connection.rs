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
use ottla_core::{
    limits::{
        ANSWER_UNREAD_MAX, CONNECTION_STEPS_PER_TURN, FRAME_BYTES_AT_ONCE,
        FRAME_BYTES_PER_SECOND_MIN, FRAME_SILENCE_MAX, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
        RESPONSE_BYTES_WAITING_MAX, WRITE_PIECES_PER_CALL,
    },
    time::Instant,
};
use ottla_io::Io;
use ottla_wire::{Pieces, messages::ApiKey};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    frame::{Buffered, FrameError, FrameReader},
    memory::{Leave, Need, RequestMemory, Waiting},
};
use crate::{
    broker::Broker,
    context::ConnectionInfo,
    dispatch::{self, Answer, Answering, RequestError},
};

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
    /// The client does not read its answers, and others need the memory.
    #[error("it did not read its answers ({bytes} bytes) while memory for answers was short")]
    Unread {
        /// How many bytes wait to be sent.
        bytes: usize,
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
            Self::CutOff { .. }
            | Self::Frame(_)
            | Self::Request(_)
            | Self::Stalled { .. }
            | Self::Unread { .. } => true,
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
    /// Its frame's memory is given back when the answer is there, or with the last of its records.
    Answering(
        Answering,
        #[expect(dead_code, reason = "held, and given back when dropped")] Option<Leave>,
    ),
    Answered(Answer),
}

impl Slot {
    /// The bytes of its answer, once that is there.
    fn answered_bytes(&self) -> usize {
        match &self.state {
            SlotState::Answered(Answer::Respond(pieces)) => pieces.len(),
            _ => 0,
        }
    }
}

/// A frame whose memory is given back with the last slice of it: its records may outlive the request,
/// waiting to be written when its time-out has passed or its client has gone.
struct Held {
    frame: Bytes,
    _leave: Leave,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
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
    /// Memory for the frame that is half here, and since when it was not for us that the rest of it
    /// did not come.
    granted: Option<Leave>,
    granted_at: Instant,
    waiting_for_memory: Option<Waiting>,
    /// Since when nothing is read.
    paused_at: Option<Instant>,
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
            granted_at: now,
            waiting_for_memory: None,
            paused_at: None,
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
        self.output_bytes += pieces.len();
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
                let need = self.need(len);
                if !self.poll_leave(need, need.total(), cx) {
                    return Ok(false);
                }
                let frame = self.frames.take(len);
                self.start(frame, cx)?;
                Ok(true)
            }
            Buffered::Part { len } => {
                // A small part is read for nothing; more of it needs leave.
                if self.frames.len() >= self.allowed() {
                    let share = self.frames.next_share(len);
                    if !self.poll_leave(self.need(len), share, cx) {
                        return Ok(false);
                    }
                }
                self.poll_read(cx)
            }
            Buffered::Nothing => self.poll_read(cx),
        }
    }

    /// Whether enough is under way.
    fn is_full(&self) -> bool {
        let answered = self.slots.iter().map(Slot::answered_bytes).sum::<usize>();
        self.slots.len() >= REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
            || self.output_bytes + answered >= RESPONSE_BYTES_WAITING_MAX
    }

    /// How large the buffer for a frame may be.
    fn allowed(&self) -> usize {
        let granted = self
            .granted
            .as_ref()
            .map_or(0, |leave| leave.bytes() + size_of::<u32>());
        granted.max(FRAME_BYTES_AT_ONCE)
    }

    /// What the frame that is buffered, of `len` bytes, needs.
    fn need(&self, len: usize) -> Need {
        if self.frames.api_key() == Some(ApiKey::Produce.code()) {
            Need::of_records(len)
        } else {
            Need::of_fields(len)
        }
    }

    /// Gets leave to hold `bytes` of what a frame needs. Whether it is there.
    fn poll_leave(&mut self, need: Need, bytes: usize, cx: &mut Context<'_>) -> bool {
        loop {
            if let Some(waiting) = &mut self.waiting_for_memory {
                let Poll::Ready(leave) = waiting.as_mut().poll(cx) else {
                    return false;
                };
                self.waiting_for_memory = None;
                self.granted = Some(leave);
                // What kept it waiting was not its own silence.
                self.resume();
            }
            if self
                .granted
                .as_ref()
                .is_some_and(|leave| leave.bytes() >= bytes)
            {
                return true;
            }
            if self.granted.is_none() {
                self.granted_at = self.last_moved;
            }
            match self.memory.grow(need, self.granted.take(), bytes) {
                Ok(leave) => self.granted = Some(leave),
                Err(waiting) => self.waiting_for_memory = Some(waiting),
            }
        }
    }

    /// The client's time runs again, if it did not.
    fn resume(&mut self) {
        if let Some(paused_at) = self.paused_at.take() {
            let now = self.broker.io.now().monotonic;
            self.granted_at = self.granted_at.after(now.since(paused_at));
            self.last_moved = now;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        if self.read_ended {
            return Err(Closed::CutOff {
                got: self.frames.len(),
            });
        }
        let allowed = self.allowed();
        match self.frames.poll_read(&mut self.stream, allowed, cx) {
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
    fn start(&mut self, frame: Bytes, cx: &mut Context<'_>) -> Result<(), Closed> {
        let mut leave = self.granted.take();
        let frame = match leave.take_if(|_| is_produce(&frame)) {
            Some(leave) => Bytes::from_owner(Held {
                frame,
                _leave: leave,
            }),
            None => frame,
        };
        let request = dispatch::read_header(frame, &self.info)?;
        let api = request.context.api_key;
        let answering = dispatch::answer(&self.broker, request);
        let mut slot = Slot {
            api,
            started: self.broker.io.now().monotonic,
            state: SlotState::Answering(answering, leave),
        };
        poll_slot(&mut slot, cx)?;
        self.slots.push_back(slot);
        Ok(())
    }

    /// Completes when the client has been silent for too long.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            let now = self.broker.io.now().monotonic;
            let (deadline, closed) = self.patience(now);
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

    /// Until when the client is waited for, and what it is then.
    fn patience(&mut self, now: Instant) -> (Instant, Closed) {
        let is_whole = matches!(self.frames.buffered(), Ok(Buffered::Whole { .. }));
        let reads = !is_whole && !self.is_full() && self.waiting_for_memory.is_none();
        if reads {
            self.resume();
        } else {
            self.paused_at.get_or_insert(now);
        }
        if reads && self.granted.is_some() {
            let silent = self.last_moved.after(FRAME_SILENCE_MAX.min(self.idle_max));
            let got = self.frames.len();
            return (silent.min(self.frame_due()), Closed::Stalled { got });
        }
        // While a request is being answered, silence is ours.
        let answering = self
            .slots
            .iter()
            .any(|slot| matches!(slot.state, SlotState::Answering(..)));
        let since = if answering { now } else { self.last_moved };
        let idle = since.after(self.idle_max);
        if self.output_bytes == 0 || idle <= now {
            return (idle, Closed::Idle);
        }
        let unread = self.last_moved.after(ANSWER_UNREAD_MAX);
        if unread <= now && self.broker.response_memory.is_short() {
            let bytes = self.output_bytes;
            return (now, Closed::Unread { bytes });
        }
        // Whether others need the memory is to be asked then, and again.
        let ask = if unread > now {
            unread
        } else {
            now.after(ANSWER_UNREAD_MAX)
        };
        (idle.min(ask), Closed::Idle)
    }

    /// When the frame that is half here must be whole, however it drips.
    fn frame_due(&self) -> Instant {
        let len = match self.frames.buffered() {
            Ok(Buffered::Part { len } | Buffered::Whole { len }) => len,
            _ => 0,
        };
        let seconds = (len / FRAME_BYTES_PER_SECOND_MIN) as u64;
        self.granted_at
            .after(FRAME_SILENCE_MAX + Duration::from_secs(seconds))
    }

    fn set_timer(&mut self, at: Instant) {
        self.timer = Box::pin(self.broker.io.sleep_until(at));
        self.timer_at = at;
    }
}

/// Whether a frame carries records.
fn is_produce(frame: &[u8]) -> bool {
    frame.first_chunk().copied().map(i16::from_be_bytes) == Some(ApiKey::Produce.code())
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
