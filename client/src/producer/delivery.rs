//! How the senders of a batch's records learn what became of it: one shared cell a batch, not one
//! channel a record.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::record::{RecordMetadata, SendError};
use crate::{sync::lock, types::TopicPartition};

/// What an acknowledged batch was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    /// The first record's offset; -1 if not told.
    pub(crate) base_offset: i64,
    /// The broker's time, where the topic is stamped with it; else -1.
    pub(crate) log_append_time: i64,
}

/// A batch's fate, once it is known.
#[derive(Debug)]
pub(crate) struct Completion {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Vec<Waker>),
    Done(Result<Acked, SendError>),
    Split(Split),
}

/// The batch is two now.
#[derive(Clone, Debug)]
struct Split {
    /// The index of the second's first record.
    at: i64,
    halves: [Arc<Completion>; 2],
}

/// What a completion says.
enum Fate {
    Known(Result<Acked, SendError>),
    /// It is that of others.
    Elsewhere(Split),
}

impl Completion {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Open(Vec::new())),
        })
    }

    /// Settles the fate; the first one stands.
    pub(crate) fn settle(&self, result: Result<Acked, SendError>) {
        self.end(State::Done(result));
    }

    /// From the record at `at` on the fate is that of the second of two batches, before that of the
    /// first.
    pub(crate) fn split(&self, at: i64, halves: [Arc<Self>; 2]) {
        self.end(State::Split(Split { at, halves }));
    }

    fn end(&self, end: State) {
        let mut state = lock(&self.state);
        if let State::Open(wakers) = &mut *state {
            let wakers = mem::take(wakers);
            *state = end;
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Fate> {
        match &mut *lock(&self.state) {
            State::Done(result) => Poll::Ready(Fate::Known(result.clone())),
            State::Split(split) => Poll::Ready(Fate::Elsewhere(split.clone())),
            State::Open(wakers) => {
                if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
                    wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Completes once the fate of all its records is known.
    pub(crate) async fn wait(self: &Arc<Self>) {
        let mut left = vec![Arc::clone(self)];
        while let Some(one) = left.pop() {
            // The fate itself is for the records' senders.
            if let Fate::Elsewhere(split) = std::future::poll_fn(|cx| one.poll(cx)).await {
                left.extend(split.halves);
            }
        }
    }
}

/// A future of one record's fate. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a delivery says whether the record was acknowledged"]
pub struct Delivery {
    completion: Arc<Completion>,
    index: i64,
    timestamp: i64,
    partition: TopicPartition,
}

impl Delivery {
    pub(crate) fn new(
        completion: Arc<Completion>,
        index: i64,
        timestamp: i64,
        partition: TopicPartition,
    ) -> Self {
        Self {
            completion,
            index,
            timestamp,
            partition,
        }
    }

    /// The partition that the record was put in line for.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let fate = loop {
            match self.completion.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Fate::Known(fate)) => break fate,
                Poll::Ready(Fate::Elsewhere(split)) => {
                    let [first, second] = split.halves;
                    if self.index < split.at {
                        self.completion = first;
                    } else {
                        self.index -= split.at;
                        self.completion = second;
                    }
                }
            }
        };
        Poll::Ready(fate.map(|acked| RecordMetadata {
            partition: self.partition.clone(),
            offset: if acked.base_offset < 0 {
                -1
            } else {
                acked.base_offset + self.index
            },
            timestamp: if acked.log_append_time < 0 {
                self.timestamp
            } else {
                acked.log_append_time
            },
        }))
    }
}
