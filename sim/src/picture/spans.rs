//! What lasts: processes, faults, leadership, what a member holds.

use std::collections::BTreeMap;

/// Something that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its lane.
    pub lane: usize,
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub to: u64,
    /// What it is.
    pub kind: SpanKind,
    /// What it is, in words.
    pub text: String,
}

/// What kind of thing lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpanKind {
    /// A process that does not serve yet.
    Starting,
    /// A process at work.
    Up,
    /// No process.
    Down,
    /// A fault.
    Fault,
    /// A replica that is being recovered.
    Recovering,
    /// A replica that leads.
    Leading,
    /// A member holds partitions.
    Holding,
}

impl SpanKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Up,
        Self::Down,
        Self::Fault,
        Self::Recovering,
        Self::Leading,
        Self::Holding,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Fault => "fault",
            Self::Recovering => "recovering",
            Self::Leading => "leading",
            Self::Holding => "holding",
        }
    }
}

/// Spans in the making. Of one topic in a lane only one is open at a time.
#[derive(Debug, Default)]
pub(super) struct Spans {
    open: BTreeMap<(usize, String), (u64, SpanKind, String)>,
    done: Vec<Span>,
}

impl Spans {
    /// Begins one, which ends the one of the same topic.
    pub(super) fn begin(
        &mut self,
        at: u64,
        lane: usize,
        topic: &str,
        kind: SpanKind,
        text: impl Into<String>,
    ) {
        self.end(at, lane, topic);
        self.open
            .insert((lane, topic.to_owned()), (at, kind, text.into()));
    }

    /// Ends one, if it is open.
    pub(super) fn end(&mut self, at: u64, lane: usize, topic: &str) {
        if let Some((from, kind, text)) = self.open.remove(&(lane, topic.to_owned())) {
            self.done.push(Span {
                lane,
                from,
                to: at,
                kind,
                text,
            });
        }
    }

    /// Ends all of one kind.
    pub(super) fn end_all(&mut self, at: u64, kind: SpanKind) {
        let open: Vec<(usize, String)> = self
            .open
            .iter()
            .filter(|(_, (_, of, _))| *of == kind)
            .map(|(key, _)| key.clone())
            .collect();
        for (lane, topic) in open {
            self.end(at, lane, &topic);
        }
    }

    /// Gives one that is open other words.
    pub(super) fn rename(&mut self, lane: usize, topic: &str, text: String) {
        if let Some((_, _, old)) = self.open.get_mut(&(lane, topic.to_owned())) {
            *old = text;
        }
    }

    /// All, those that are open ending now.
    pub(super) fn finish(mut self, at: u64) -> Vec<Span> {
        for kind in SpanKind::ALL {
            self.end_all(at, kind);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_when_the_next_of_its_topic_begins_or_the_run_ends() {
        let mut spans = Spans::default();
        spans.begin(1, 0, "process", SpanKind::Up, "process 0");
        spans.begin(2, 0, "cut", SpanKind::Fault, "cut");
        spans.begin(5, 0, "process", SpanKind::Down, "killed");
        spans.end_all(7, SpanKind::Fault);
        spans.end(8, 0, "cut");
        let spans = spans.finish(9);
        let told = spans.iter().map(|span| (&*span.text, span.from, span.to));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [("process 0", 1, 5), ("cut", 2, 7), ("killed", 5, 9)]);
    }
}
