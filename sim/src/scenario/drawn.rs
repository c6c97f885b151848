//! Scenarios drawn from a seed.
//!
//! Swarm testing: each seed draws which faults, workloads and settings take part at all, so that rare
//! combinations are common.

use std::{collections::BTreeMap, time::Duration};

use super::{
    AssignorKind, Chaos, Cluster, Expect, Fault, FaultKind, Parameters, Scenario, Span, Topic,
    Workload,
};
use crate::random::SimRandom;

impl Scenario {
    /// A scenario drawn from a seed. Which kinds of fault take part is drawn too (swarm testing),
    /// so that rare combinations are common.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        use FaultKind as K;
        let mut random = SimRandom::new(seed, "scenario");
        let all = K::SURVIVED.into_iter().chain([K::PowerLoss]);
        // Each a third of the time, so that few kinds meet often enough to matter.
        let mut kinds: Vec<K> = all.filter(|_| random.chance(1, 3)).collect();
        if kinds.is_empty() {
            kinds.push(K::PowerLoss);
        }
        let config = drawn_topic_config(&mut random);
        let cluster = Cluster {
            config: drawn_broker_config(&mut random),
            ..Cluster::default()
        };
        let partitions = i32::try_from(random.within(1..=4)).unwrap_or(1);
        let mut scenario = Self {
            seed: None,
            cluster,
            topics: vec![Topic {
                name: "events".to_owned(),
                partitions,
                config,
            }],
            workload: drawn_workload(&mut random),
            faults: Vec::new(),
            chaos: Some(Chaos {
                kinds,
                every: Span(Duration::from_millis(random.within(800..=5000))),
            }),
            expect: Expect::default(),
            applications: Vec::new(),
        };
        if random.chance(1, 3) {
            scenario.faults = scenario.wrong_clocks(&mut random);
        }
        scenario
    }

    /// Wall clocks that are wrong from beginning to end, each in its own way.
    fn wrong_clocks(&self, random: &mut SimRandom) -> Vec<Fault> {
        let nodes = self.node_names().into_iter();
        let kinds = nodes.flat_map(|node| {
            [FaultKind::ClockSkew, FaultKind::ClockDrift].map(|fault| (node.clone(), fault))
        });
        kinds
            .map(|(node, fault)| Fault {
                at: Span::default(),
                fault,
                node,
                lasts: self.workload.duration,
                with: Parameters::drawn(fault, random),
            })
            .collect()
    }
}

fn drawn_workload(random: &mut SimRandom) -> Workload {
    let millis = |millis| Span(Duration::from_millis(millis));
    Workload {
        producers: random.within(1..=3) as u32,
        plain_producers: random.pick(&[0, 0, 0, 1, 2]),
        consumers: random.within(1..=2) as u32,
        members: random.pick(&[0, 1, 2, 3]),
        session_readers: random.pick(&[0, 0, 1, 2]),
        timers: random.pick(&[0, 0, 0, 1]),
        admins: random.pick(&[0, 0, 1, 2]),
        deletes_records: random.chance(1, 3),
        hostiles: random.pick(&[0, 0, 0, 1]),
        assignor: random.pick(&[
            AssignorKind::Range,
            AssignorKind::CooperativeSticky,
            AssignorKind::Both,
        ]),
        duration: Span(Duration::from_secs(random.within(6..=20))),
        payload_bytes_max: random.pick(&[40, 300, 3000]),
        // A heavy load is drawn seldom: it takes the time of a dozen others, and what it meets are
        // more of the same records, not more faults.
        pause_max: millis(random.pick(&[10, 40, 40, 40, 100, 100, 100, 100, 100, 100, 400, 400])),
        late_max: millis(random.pick(&[0, 0, 0, 50, 5000])),
        reader_pause_max: millis(random.pick(&[0, 0, 200, 3000])),
    }
}

/// Small segments and dense indexes make common what a large log meets once a day, and short
/// retention deletes under its readers.
fn drawn_topic_config(random: &mut SimRandom) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    let mut set = |key: &str, value: &dyn std::fmt::Display| {
        config.insert(key.to_owned(), value.to_string());
    };
    let (by_time, by_size) = (random.chance(1, 6), random.chance(1, 6));
    if by_time {
        set("retention.ms", &random.within(1500..=8000));
    }
    if by_size {
        set("retention.bytes", &random.within(20_000..=200_000));
    }
    if by_time || by_size || random.chance(1, 2) {
        set("internal.segment.bytes", &(random.within(6..=200) * 1024));
    }
    if random.chance(1, 2) {
        set("index.interval.bytes", &random.pick(&[64, 512, 4096]));
    }
    if random.chance(1, 6) {
        set("segment.index.bytes", &random.within(48..=400));
    }
    if random.chance(1, 4) {
        set("segment.ms", &random.within(300..=4000));
    }
    if random.chance(1, 2) {
        set("file.delete.delay.ms", &random.within(0..=2000));
    }
    if random.chance(1, 8) {
        set("max.message.bytes", &random.pick(&[2000, 20_000]));
    }
    if random.chance(1, 8) {
        set("message.timestamp.type", &"LogAppendTime");
    }
    if random.chance(1, 6) {
        let codecs = ["zstd", "lz4", "gzip", "snappy", "uncompressed"];
        set("compression.type", &random.pick(&codecs));
    }
    config
}

/// Checkpoints, snapshots and retention within the run, and tiny limits.
fn drawn_broker_config(random: &mut SimRandom) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    let mut set = |key: &str, value: u64| config.insert(key.to_owned(), value.to_string());
    if random.chance(1, 2) {
        let interval = random.within(200..=5000);
        set("log.flush.offset.checkpoint.interval.ms", interval);
        set("log.flush.start.offset.checkpoint.interval.ms", interval);
    }
    set("log.retention.check.interval.ms", random.within(200..=1500));
    if random.chance(1, 6) {
        set("fetch.max.bytes", random.within(1024..=20_000));
    }
    if random.chance(1, 3) {
        let slots = random.within(0..=2);
        set("max.incremental.fetch.session.cache.slots", slots);
    }
    if random.chance(1, 6) {
        set("connections.max.idle.ms", random.within(500..=3000));
    }
    if random.chance(1, 3) {
        let bytes = random.within(500..=20_000);
        set("metadata.log.max.record.bytes.between.snapshots", bytes);
    }
    if random.chance(1, 3) {
        set("num.recovery.threads.per.data.dir", random.within(1..=3));
    }
    config
}
