//! Subscribing to the topics whose names fit, now and later.

use std::collections::BTreeSet;

use ottla_io::Io;
use ottla_wire::Str;

use super::{Consumer, record::ConsumerError};
use crate::metadata::Metadata;

/// Which topics are wanted, and in which version of the metadata they were last looked for.
pub(super) struct Pattern {
    wanted: Box<dyn Fn(&str) -> bool + Send + Sync>,
    seen: Option<u64>,
}

impl Pattern {
    /// The topics that fit, if they were not looked for in this metadata before. Kafka's own are never
    /// among them.
    fn fitting(&mut self, metadata: &Metadata) -> Option<BTreeSet<Str>> {
        if metadata.version == 0 || self.seen.replace(metadata.version) == Some(metadata.version) {
            return None;
        }
        let topics = metadata.topics.values();
        let fitting = topics.filter(|t| !t.is_internal && (self.wanted)(&t.name));
        Some(fitting.map(|t| t.name.clone()).collect())
    }
}

impl<I: Io> Consumer<I> {
    /// Reads the topics whose names fit, as a member of the group. Topics that are made later are
    /// found within `metadata.max.age.ms`, those that are deleted are let go of. While none fits it is
    /// no member. Replaces what was subscribed to before.
    pub fn subscribe_matching(
        &mut self,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<(), ConsumerError> {
        if self.inner.config.group_id.is_none() {
            return Err(ConsumerError::NoGroup);
        }
        self.client.watch_all_topics(true);
        self.pattern = Some(Pattern {
            wanted: Box::new(wanted),
            seen: None,
        });
        self.inner.poll_wake.notify_one();
        Ok(())
    }

    /// Subscribes to the topics that fit now, where that is not known yet.
    pub(super) fn follow_pattern(&mut self) -> Result<(), ConsumerError> {
        let metadata = self.client.metadata();
        let Some(topics) = self.pattern.as_mut().and_then(|p| p.fitting(&metadata)) else {
            return Ok(());
        };
        self.subscribe_to(topics)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_wire::Uuid;

    use super::*;
    use crate::metadata::Topic;

    fn metadata(version: u64, names: &[&str]) -> Metadata {
        let topic = |name: &&str| {
            let topic = Topic {
                name: Str::from(*name),
                id: Uuid::ZERO,
                is_internal: name.starts_with("__"),
                partitions: Vec::new(),
            };
            (Str::from(*name), topic)
        };
        Metadata {
            version,
            topics: names.iter().map(topic).collect::<BTreeMap<_, _>>(),
            ..Metadata::default()
        }
    }

    #[test]
    fn topics_that_fit_are_looked_for_once_in_each_metadata_and_never_among_kafkas_own() {
        let mut pattern = Pattern {
            wanted: Box::new(|name| name.ends_with('a')),
            seen: None,
        };
        assert_eq!(pattern.fitting(&metadata(0, &[])), None);
        let first = metadata(1, &["a", "b", "__a"]);
        assert_eq!(pattern.fitting(&first), Some(["a".into()].into()));
        assert_eq!(pattern.fitting(&first), None);
        let second = metadata(2, &["b", "ba"]);
        assert_eq!(pattern.fitting(&second), Some(["ba".into()].into()));
    }
}
