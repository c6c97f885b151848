//! Marks: places in the code that an honest fuzz must reach sometimes.
//!
//! A fuzz that never cuts a torn tail says nothing about the cutting of torn tails. So such places
//! are counted in the simulator, and a fuzz of many seeds fails if one of them was never reached
//! (FoundationDB's `TEST` macro and TigerBeetle's coverage marks are the models). In a production
//! build [`Mark::reach`] is empty.

#[cfg(madsim)]
use core::sync::atomic::{AtomicU32, Ordering};

/// A place that a fuzz must reach sometimes.
#[derive(Debug)]
pub struct Mark {
    /// Its name.
    pub name: &'static str,
    /// What happens there.
    pub says: &'static str,
    #[cfg(madsim)]
    count: AtomicU32,
}

impl Mark {
    const fn new(name: &'static str, says: &'static str) -> Self {
        Self {
            name,
            says,
            #[cfg(madsim)]
            count: AtomicU32::new(0),
        }
    }

    /// Counts that the place was reached.
    #[inline]
    pub fn reach(&self) {
        #[cfg(madsim)]
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the place was reached by this process.
    #[cfg(madsim)]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

macro_rules! marks {
    ($($name:ident: $says:literal,)*) => {
        $(
            #[doc = $says]
            pub static $name: Mark = Mark::new(stringify!($name), $says);
        )*

        /// All marks, in the order of the part of the code that they are in.
        pub static ALL: &[&Mark] = &[$(&$name),*];
    };
}

marks! {
    TORN_TAIL_CUT: "recovery cuts a torn end off a log",
    TORN_BASE_OFFSET_CUT: "recovery cuts a batch of which the base offset alone was torn",
    LATER_SEGMENTS_CUT: "recovery cuts in a segment that is not the last",
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mark_has_a_name_and_a_sentence_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|mark| mark.name).collect();
        let sentences: BTreeSet<_> = ALL.iter().map(|mark| mark.says).collect();
        assert_eq!((names.len(), sentences.len()), (ALL.len(), ALL.len()));
    }
}
