//! One direction of a connection: bytes on their way, in order, within a window.

use std::{collections::VecDeque, task::Waker};

use bytes::{Buf, Bytes};

/// Bytes that may be on their way or unread before the writer has to wait: a socket's send and
/// receive buffers together, kept small so that back-pressure is met often.
pub(super) const WINDOW_BYTES: usize = 128 * 1024;

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Pipe {
    items: VecDeque<Item>,
    /// Bytes in `items`.
    held: usize,
    /// Nothing arrives before the item in front of it.
    last_arrival: u64,
    /// The reading end was dropped or its process has ended: bytes go nowhere.
    pub(super) reader_gone: bool,
    /// The sending half was closed: an end of file is among the items, or was.
    pub(super) closed: bool,
    /// The writer has been told of a reset.
    pub(super) reset: bool,
    /// The reader has seen the end of file.
    pub(super) ended: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

struct Item {
    arrives: u64,
    what: Arriving,
}

enum Arriving {
    Bytes(Bytes),
    EndOfFile,
    Reset,
}

/// What a reader finds.
pub(super) enum Found {
    /// Bytes, at most as many as asked for.
    Bytes(Bytes),
    /// The peer closed its half.
    EndOfFile,
    /// The connection was reset.
    Reset,
    /// Nothing yet, and the next item arrives then.
    Later(u64),
    /// Nothing.
    Nothing,
}

impl Pipe {
    pub(super) fn room(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.held)
    }

    pub(super) fn unread(&self) -> bool {
        self.held > 0
    }

    pub(super) fn push(&mut self, bytes: Bytes, arrives: u64) {
        self.held += bytes.len();
        self.add(Arriving::Bytes(bytes), arrives);
    }

    pub(super) fn push_end(&mut self, arrives: u64) {
        self.closed = true;
        self.add(Arriving::EndOfFile, arrives);
    }

    /// A reset overtakes nothing, but what is behind it never comes; with `at_once` it also takes
    /// the place of everything on its way.
    pub(super) fn push_reset(&mut self, arrives: u64, at_once: bool) {
        self.closed = true;
        if at_once {
            self.items.clear();
            self.held = 0;
            self.last_arrival = 0;
        }
        self.add(Arriving::Reset, arrives);
    }

    /// What is on its way never arrives, and nobody is told.
    pub(super) fn vanish(&mut self) {
        self.items.clear();
        self.held = 0;
    }

    fn add(&mut self, what: Arriving, arrives: u64) {
        self.last_arrival = self.last_arrival.max(arrives);
        self.items.push_back(Item {
            arrives: self.last_arrival,
            what,
        });
        self.wake_reader();
    }

    /// Everything on its way arrives only after `earliest`: it had to be sent again.
    pub(super) fn delay(&mut self, earliest: u64) {
        for item in &mut self.items {
            item.arrives = item.arrives.max(earliest);
        }
        self.last_arrival = self.last_arrival.max(earliest);
    }

    pub(super) fn take(&mut self, now: u64, len: usize) -> Found {
        let Some(front) = self.items.front_mut() else {
            return if self.ended {
                Found::EndOfFile
            } else {
                Found::Nothing
            };
        };
        if front.arrives > now {
            return Found::Later(front.arrives);
        }
        match &mut front.what {
            Arriving::Bytes(bytes) => {
                let len = len.min(bytes.len());
                let taken = bytes.copy_to_bytes(len);
                if bytes.is_empty() {
                    self.items.pop_front();
                }
                self.held -= len;
                if let Some(writer) = self.writer.take() {
                    writer.wake();
                }
                Found::Bytes(taken)
            }
            Arriving::EndOfFile => {
                self.items.pop_front();
                self.ended = true;
                Found::EndOfFile
            }
            Arriving::Reset => Found::Reset,
        }
    }

    /// Whether a reset is there, behind whatever is still to be read.
    pub(super) fn is_reset(&self, now: u64) -> bool {
        let last = self.items.back();
        last.is_some_and(|item| matches!(item.what, Arriving::Reset) && item.arrives <= now)
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.reader.take().into_iter().chain(self.writer.take())
    }
}
