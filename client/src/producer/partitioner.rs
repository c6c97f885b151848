//! Which partition a record goes to when its sender names none.
//!
//! A keyed record goes where the Java client would put it (murmur2 of the key). Records without a
//! key stick to one partition until about a batch's worth of bytes is there, then move to another
//! (KIP-480, KIP-794): batches fill up, and over time every partition gets its share.

use std::collections::BTreeMap;

use ottla_wire::Str;

use super::murmur2::partition_for_key;
use crate::random::SmallRng;

/// The choice for records without a key, of every topic written to.
#[derive(Debug)]
pub(crate) struct Partitioner {
    rng: SmallRng,
    /// Bytes after which a topic moves to another partition.
    switch_after_bytes: usize,
    sticky: BTreeMap<Str, Sticky>,
}

#[derive(Debug)]
struct Sticky {
    partition: i32,
    bytes: usize,
}

impl Partitioner {
    pub(crate) fn new(seed: u64, switch_after_bytes: usize) -> Self {
        Self {
            rng: SmallRng::new(seed),
            switch_after_bytes,
            sticky: BTreeMap::new(),
        }
    }

    /// The partition of a record of `bytes` bytes. `partitions` counts all of the topic's;
    /// `available` tells those that have a leader (if none has, any will do).
    pub(crate) fn choose(
        &mut self,
        topic: &Str,
        key: Option<&[u8]>,
        bytes: usize,
        partitions: i32,
        available: impl FnOnce() -> Vec<i32>,
    ) -> i32 {
        if let Some(key) = key {
            return partition_for_key(key, partitions);
        }
        match self.sticky.get_mut(topic) {
            Some(sticky)
                if sticky.bytes < self.switch_after_bytes && sticky.partition < partitions =>
            {
                sticky.bytes += bytes;
                sticky.partition
            }
            _ => self.switch(topic, bytes, partitions, &available()),
        }
    }

    fn switch(&mut self, topic: &Str, bytes: usize, partitions: i32, available: &[i32]) -> i32 {
        let before = self.sticky.get(topic).map(|s| s.partition);
        let partition = if available.is_empty() {
            self.rng.below(usize::try_from(partitions).unwrap_or(0)) as i32
        } else {
            let others = available.iter().filter(|&&p| Some(p) != before).count();
            let at = self.rng.below(others.max(1));
            let mut others = available.iter().copied().filter(|&p| Some(p) != before);
            others.nth(at).unwrap_or(available[0])
        };
        self.sticky
            .insert(topic.detach(), Sticky { partition, bytes });
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_stick_until_a_batch_is_full_then_move() {
        let mut partitioner = Partitioner::new(1, 100);
        let topic = Str::from_static("t");
        let chosen: Vec<i32> = (0..40)
            .map(|_| partitioner.choose(&topic, None, 25, 3, || vec![0, 1, 2]))
            .collect();
        for four in chosen.chunks(4) {
            assert!(four.iter().all(|p| *p == four[0]), "{chosen:?}");
        }
        assert!(
            chosen
                .chunks(4)
                .zip(chosen.chunks(4).skip(1))
                .all(|(a, b)| a[0] != b[0])
        );
        assert!((0..3).all(|p| chosen.contains(&p)));
    }

    #[test]
    fn partitions_without_a_leader_are_passed_over_while_others_have_one() {
        let mut partitioner = Partitioner::new(1, 1);
        let topic = Str::from_static("t");
        for _ in 0..20 {
            assert_eq!(partitioner.choose(&topic, None, 9, 3, || vec![2]), 2);
        }
        assert!((0..3).contains(&partitioner.choose(&topic, None, 9, 3, Vec::new)));
    }
}
