//! A picture of a run: a lane for each node, partition, client and group over virtual time, the life
//! of each record, and the violations in words.
//!
//! It is drawn from what a run recorded when all events were kept, and needs nothing else. `trace`
//! goes over the events once: each becomes a [`Mark`] in one or two [`Lane`]s, what lasts becomes a
//! [`Span`], and whatever concerns a record of the workload a [`Step`] of its life. `files` knows
//! which batches a write or a sync concerned. `page` makes one self-contained page of it, `text` the
//! same for a terminal.

mod files;
mod json;
mod lanes;
mod life;
mod mark;
mod options;
mod page;
mod spans;
mod text;
mod trace;
mod verdict;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use self::{
    lanes::{Lane, LaneKind},
    life::{Meaning, RecordKey, Step},
    mark::{Kind, Mark},
    options::PictureOptions,
    page::page,
    spans::{Span, SpanKind},
    verdict::Verdict,
};
use self::{life::Lives, trace::Trace};
use crate::{check::Violation, event::Recording};

/// What a run's events come to when they are drawn.
#[derive(Debug)]
pub struct Picture {
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
    /// What happened, in order.
    pub marks: Vec<Mark>,
    /// What lasted, in order of its end.
    pub spans: Vec<Span>,
    /// Every record's life.
    pub lives: Lives,
    /// What does not hold.
    pub verdicts: Vec<Verdict>,
    /// When the last event was.
    pub end: u64,
}

impl Picture {
    /// The picture of a recording that kept all events. With `all` it has the bytes on the network and
    /// the reads of the disk too.
    #[must_use]
    pub fn new(recording: &Recording, violations: &[Violation], all: bool) -> Self {
        let mut picture = Trace::new(recording, all).follow();
        picture.verdicts = verdict::verdicts(recording, violations, &picture.marks);
        picture
    }
}
