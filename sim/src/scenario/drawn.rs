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
        let config = Self::drawn_topic_config(&mut random);
        let cluster = Cluster {
            config: Self::drawn_broker_config(&mut random),
            ..Cluster::default()
        };
        let partitions = i32::try_from(random.within(1..=4)).unwrap_or(1);
        let mut scenario = Self {
            cluster,
            topics: vec![Topic {
                name: "events".to_owned(),
                partitions,
                config,
            }],
            workload: Workload {
                producers: random.within(1..=3) as u32,
                consumers: random.within(1..=2) as u32,
                members: random.pick(&[0, 1, 2, 3]),
                assignor: random.pick(&[
                    AssignorKind::Range,
                    AssignorKind::CooperativeSticky,
                    AssignorKind::Both,
                ]),
                duration: Span(Duration::from_secs(random.within(6..=20))),
                payload_bytes_max: random.pick(&[40, 300, 3000]),
                pause_max: Span(Duration::from_millis(random.pick(&[10, 100, 400]))),
            },
            faults: Vec::new(),
            chaos: Some(Chaos {
                kinds,
                every: Span(Duration::from_millis(random.within(800..=5000))),
            }),
            expect: Expect::default(),
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

    /// Small segments and dense indexes make common what a large log meets once a day.
    fn drawn_topic_config(random: &mut SimRandom) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        let mut set = |key: &str, value: u64| config.insert(key.to_owned(), value.to_string());
        if random.chance(1, 2) {
            set("internal.segment.bytes", random.within(6..=200) * 1024);
        }
        if random.chance(1, 2) {
            set("index.interval.bytes", random.pick(&[64, 512, 4096]));
        }
        if random.chance(1, 4) {
            set("segment.ms", random.within(300..=4000));
        }
        config
    }

    /// Checkpoints within the run, so that recovery begins at them.
    fn drawn_broker_config(random: &mut SimRandom) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        if random.chance(1, 2) {
            let interval = random.within(200..=5000).to_string();
            for key in [
                "log.flush.offset.checkpoint.interval.ms",
                "log.flush.start.offset.checkpoint.interval.ms",
            ] {
                config.insert(key.to_owned(), interval.clone());
            }
        }
        config
    }
}
