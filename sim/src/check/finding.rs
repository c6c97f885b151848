//! What a checker found: in words, and the events that show it.

/// What shows that an invariant does not hold.
///
/// The places are indices into [`History::work`](super::History::work).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was seen, and what should have been.
    pub detail: String,
    /// The event that made the promise, where it is one event.
    pub promised: Option<usize>,
    /// The event at which it was seen broken, where it is one event.
    pub seen: Option<usize>,
}

impl Finding {
    /// Something found that no single event shows.
    pub fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            promised: None,
            seen: None,
        }
    }

    /// The same, promised by the event at this place.
    #[must_use]
    pub fn promised(mut self, place: impl Into<Option<usize>>) -> Self {
        self.promised = place.into();
        self
    }

    /// The same, seen in the event at this place.
    #[must_use]
    pub fn seen(mut self, place: impl Into<Option<usize>>) -> Self {
        self.seen = place.into();
        self
    }
}
