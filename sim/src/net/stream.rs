//! One end of a connection, as tokio's `AsyncRead` and `AsyncWrite`.

use std::{
    future::Future,
    io::{Error, ErrorKind, IoSlice, Result},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use ottla_io::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    SimNet,
    link::{Link, NARROW_PIECE_BYTES},
    pipe::{Found, WINDOW_BYTES},
};
use crate::{clock::Sleep, event::What, hash::digest};

/// A connection's end.
#[derive(Debug)]
pub struct SimStream {
    net: SimNet,
    number: u64,
    end: usize,
    local: SocketAddr,
    peer: SocketAddr,
    /// Until the next bytes arrive.
    arrival: Option<Sleep>,
    /// The link was cut when bytes were looked for: they will have to be sent again.
    was_cut: bool,
}

impl SimStream {
    pub(super) fn new(
        net: SimNet,
        number: u64,
        end: usize,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Self {
        Self {
            net,
            number,
            end,
            local,
            peer,
            arrival: None,
            was_cut: false,
        }
    }

    /// The connection's number in this run.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.number
    }

    pub(super) fn round_trip(&self) -> Option<u64> {
        let mut state = self.net.network.lock();
        let connection = state.connections.get(&self.number)?;
        let (from, to) = (connection.ends[0].node, connection.ends[1].node);
        Some(state.latency(Link { from, to }) + state.latency(Link { from: to, to: from }))
    }

    /// What there is to read, without waiting.
    fn look(&mut self, len: usize, cx: &Context<'_>) -> Found {
        let now = self.net.network.clock.now();
        let mut state = self.net.network.lock();
        let Some(connection) = state.connections.get(&self.number) else {
            return Found::Reset;
        };
        if connection.ends[self.end].severed {
            return Found::Reset;
        }
        let from = connection.ends[1 - self.end].node;
        let to = connection.ends[self.end].node;
        let cut = state.is_cut(Link { from, to });
        let again = match self.was_cut && !cut {
            true => Some(state.retransmission(now)),
            false => None,
        };
        self.was_cut = cut;
        // Readers are given any split of what is there, most often all.
        let len = match state.random.chance(1, 4) {
            true => len.min(state.random.within(1..=len.max(1) as u64) as usize),
            false => len,
        };
        let Some(connection) = state.connections.get_mut(&self.number) else {
            return Found::Reset;
        };
        let pipe = &mut connection.pipes[1 - self.end];
        if let Some(again) = again {
            pipe.delay(again);
        }
        let found = if cut {
            Found::Nothing
        } else {
            pipe.take(now, len)
        };
        if matches!(found, Found::Later(_) | Found::Nothing) {
            pipe.reader = Some(cx.waker().clone());
        }
        found
    }

    fn record_end(&self, how: &'static str) {
        self.net.record(What::Ended {
            connection: self.number,
            how,
        });
    }

    /// Puts bytes on their way; `None` means that the window is full.
    fn send(&mut self, buffer: &[u8], cx: &Context<'_>) -> Option<Result<usize>> {
        let now = self.net.network.clock.now();
        let mut state = self.net.network.lock();
        let broken = |kind: ErrorKind| Some(Err(Error::from(kind)));
        let Some(connection) = state.connections.get(&self.number) else {
            return broken(ErrorKind::ConnectionReset);
        };
        if connection.ends[self.end].severed {
            return broken(ErrorKind::ConnectionReset);
        }
        let (own, peer) = (
            connection.ends[self.end].node,
            connection.ends[1 - self.end].node,
        );
        let (link, back) = (
            Link {
                from: own,
                to: peer,
            },
            Link {
                from: peer,
                to: own,
            },
        );
        let pipe = &connection.pipes[self.end];
        if pipe.reset || pipe.closed {
            return broken(ErrorKind::BrokenPipe);
        }
        if connection.pipes[1 - self.end].is_reset(now) && !state.is_cut(back) {
            return broken(ErrorKind::ConnectionReset);
        }
        let room = pipe.room();
        let (gone, powered) = (pipe.reader_gone, state.is_powered(peer));
        let narrow = state.link(link).bytes_per_second.is_some();
        let wanted = match narrow {
            true => buffer.len().min(room).min(NARROW_PIECE_BYTES),
            false => buffer.len().min(room),
        };
        let taken = match wanted > 1 && state.random.chance(1, 8) {
            true => state.random.within(1..=wanted as u64) as usize,
            false => wanted,
        };
        let arrives = state.arrival(link, now, taken);
        let answered = arrives + state.latency(back);
        let connection = state.connections.get_mut(&self.number)?;
        if gone && powered {
            // The peer's kernel answers with a reset, and this end learns of it a trip later.
            connection.pipes[self.end].reset = true;
            connection.pipes[1 - self.end].push_reset(answered, false);
            return Some(Ok(buffer.len()));
        }
        let pipe = &mut connection.pipes[self.end];
        if room == 0 && !buffer.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return None;
        }
        if taken > 0 {
            pipe.push(Bytes::copy_from_slice(&buffer[..taken]), arrives);
        }
        Some(Ok(taken))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let stream = &mut *self;
        if !stream.net.process.is_alive() {
            return Poll::Pending;
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match stream.look(buffer.remaining(), cx) {
                Found::Bytes(bytes) => {
                    stream.arrival = None;
                    let len = bytes.len() as u64;
                    stream.net.record(What::Received {
                        connection: stream.number,
                        len,
                    });
                    buffer.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                Found::EndOfFile => {
                    stream.record_end("read its end");
                    return Poll::Ready(Ok(()));
                }
                Found::Reset => {
                    stream.record_end("was reset");
                    return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
                }
                Found::Nothing => {
                    stream.arrival = None;
                    return Poll::Pending;
                }
                Found::Later(at) => {
                    let mut sleep = stream.net.network.clock.sleep_until(at);
                    let ready = Pin::new(&mut sleep).poll(cx).is_ready();
                    stream.arrival = Some(sleep);
                    if !ready {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        if !self.net.process.is_alive() {
            return Poll::Pending;
        }
        match self.send(buffer, cx) {
            None => Poll::Pending,
            Some(result) => {
                if let Ok(len) = &result {
                    self.net.record(What::Sent {
                        connection: self.number,
                        len: *len as u64,
                        digest: digest(&[&buffer[..*len]]),
                    });
                }
                Poll::Ready(result)
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let [slice] = slices {
            return self.poll_write(cx, slice);
        }
        // All at once, so that a partial write ends anywhere in any of them.
        let mut joined = Vec::new();
        for slice in slices {
            let room = WINDOW_BYTES - joined.len();
            joined.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.net.process.is_alive() {
            return Poll::Pending;
        }
        let now = self.net.network.clock.now();
        let mut state = self.net.network.lock();
        let Some(connection) = state.connections.get(&self.number) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let (from, to) = (
            connection.ends[self.end].node,
            connection.ends[1 - self.end].node,
        );
        let arrives = now + state.latency(Link { from, to });
        if let Some(connection) = state.connections.get_mut(&self.number)
            && !connection.pipes[self.end].closed
            && !connection.ends[self.end].dropped
        {
            connection.pipes[self.end].push_end(arrives);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for SimStream {
    fn peer_addr(&self) -> Result<SocketAddr> {
        Ok(self.peer)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.local)
    }

    fn reset(self) {
        if self.net.process.is_alive() {
            self.record_end("resets");
            let now = self.net.network.clock.now();
            self.net
                .network
                .lock()
                .close_end(self.number, self.end, now, true);
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.net.process.is_alive() {
            let now = self.net.network.clock.now();
            self.net
                .network
                .lock()
                .close_end(self.number, self.end, now, false);
        }
    }
}
