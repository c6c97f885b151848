//! One warning a source a minute, whatever a source sends.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ottla_core::{limits::WARNED_SOURCES_MAX, time::Instant};

/// How long a source is not warned about again.
const INTERVAL: Duration = Duration::from_secs(60);

/// Which sources were warned about.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    sources: Mutex<BTreeMap<IpAddr, Warned>>,
}

#[derive(Debug)]
struct Warned {
    at: Instant,
    /// How many warnings were left out since.
    left_out: u64,
}

impl Warnings {
    /// Whether to warn about `source` now; if so, how many warnings about it were left out since
    /// the last one.
    pub(crate) fn admit(&self, source: IpAddr, now: Instant) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(warned) = sources.get_mut(&source) {
            if now.since(warned.at) < INTERVAL {
                warned.left_out += 1;
                return None;
            }
            let left_out = warned.left_out;
            *warned = Warned {
                at: now,
                left_out: 0,
            };
            return Some(left_out);
        }
        if sources.len() >= WARNED_SOURCES_MAX {
            sources.retain(|_, warned| now.since(warned.at) < INTERVAL);
        }
        if sources.len() >= WARNED_SOURCES_MAX {
            // So many bad sources at once: the log has heard enough.
            return None;
        }
        sources.insert(
            source,
            Warned {
                at: now,
                left_out: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn a_source_is_warned_about_once_a_minute() {
        let warnings = Warnings::default();
        let source = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(warnings.admit(source, at(0)), Some(0));
        assert_eq!(warnings.admit(source, at(1)), None);
        assert_eq!(warnings.admit(source, at(59)), None);
        assert_eq!(warnings.admit(IpAddr::from([10, 0, 0, 2]), at(59)), Some(0));
        assert_eq!(warnings.admit(source, at(60)), Some(2));
    }

    #[test]
    fn many_sources_are_forgotten_in_time_and_bounded_before() {
        let warnings = Warnings::default();
        for source in 0..u32::try_from(WARNED_SOURCES_MAX).unwrap() {
            assert!(
                warnings
                    .admit(IpAddr::from(source.to_be_bytes()), at(0))
                    .is_some()
            );
        }
        let another = IpAddr::from([255, 0, 0, 1]);
        assert_eq!(warnings.admit(another, at(1)), None);
        assert_eq!(warnings.admit(another, at(61)), Some(0));
    }
}
