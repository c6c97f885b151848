//! That faults which overlap do not heal each other, and that those of processes and clocks bite.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::{FutureExt, join};
use madsim::runtime::Runtime;
use ottla_io::{Clock, Spawn};

use super::super::stage::Stage;
use crate::{
    io::SimIo,
    net::{Link, LinkState},
    scenario::{Fault, Scenario},
    world::World,
};

const SCENARIO: &str = "[[topics]]\nname = 't'\npartitions = 1\n\
                        [workload]\nproducers = 1\nconsumers = 1\nduration = '5s'\n";

fn staged<F: Future>(test: impl FnOnce(Stage) -> F) -> F::Output {
    Runtime::new().block_on(async {
        let scenario = Scenario::from_toml(SCENARIO).unwrap();
        test(Stage::new(World::new(1, false), scenario, BTreeMap::new())).await
    })
}

fn fault(kind: &str, node: &str, lasts: &str, with: &str) -> Fault {
    let text = format!(
        "{SCENARIO}[[faults]]\nat = '0s'\nfault = '{kind}'\nnode = '{node}'\nlasts = '{lasts}'\nwith = {{{with}}}\n"
    );
    Scenario::from_toml(&text).unwrap().faults.remove(0)
}

impl Stage {
    fn link(&self, from: &str, to: &str) -> LinkState {
        let (from, to) = (self.node(from).id(), self.node(to).id());
        self.world().network().link(Link { from, to })
    }

    async fn pass(&self, time: Duration) {
        self.world().clock().sleep(time).await;
    }
}

#[test]
fn the_end_of_a_cut_does_not_heal_another_that_lasts() {
    staged(|stage| async move {
        let long = stage.befall(fault("cut", "broker", "4s", ""));
        let short = stage.befall(fault("cut-to", "broker", "1s", ""));
        let slow = stage.befall(fault("slow-network", "producer1", "2s", ""));
        let look = async {
            stage.pass(Duration::from_millis(500)).await;
            assert!(stage.link("producer1", "broker").delay.mean_micros > 0);
            stage.pass(Duration::from_secs(1)).await;
            assert!(
                stage.link("producer1", "broker").cut,
                "the short one has ended"
            );
            stage.pass(Duration::from_secs(1)).await;
            let link = stage.link("producer1", "broker");
            assert!(link.cut && link.delay.mean_micros == 0);
            stage.pass(Duration::from_secs(2)).await;
            assert_eq!(stage.link("producer1", "broker"), LinkState::default());
        };
        join(join(long, short), join(slow, look)).await;
    });
}

#[test]
fn the_end_of_a_slow_disk_does_not_make_room_on_a_full_one() {
    staged(|stage| async move {
        let full = stage.befall(fault("disk-full", "broker", "4s", "free_bytes = 7"));
        let slow = stage.befall(fault("slow-disk", "broker", "1s", ""));
        let look = async {
            stage.pass(Duration::from_secs(2)).await;
            let faults = stage.server().node().disk().faults();
            assert_eq!((faults.limit_bytes, faults.slow), (Some(7), 0));
            stage.pass(Duration::from_secs(3)).await;
            assert_eq!(stage.server().node().disk().faults(), Default::default());
        };
        join(join(full, slow), look).await;
    });
}

fn count(io: &SimIo) -> Arc<AtomicU32> {
    let counted = Arc::new(AtomicU32::new(0));
    let (counter, sleeper) = (Arc::clone(&counted), io.clone());
    let task = async move {
        loop {
            sleeper.sleep(Duration::from_millis(10)).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    io.spawn_detached("counter", task.boxed());
    counted
}

#[test]
fn a_paused_process_does_not_run_and_goes_on_when_every_pause_is_over() {
    staged(|stage| async move {
        let counted = count(&stage.node("producer1").start());
        stage.pass(Duration::from_millis(105)).await;
        let long = stage.befall(fault("pause", "producer1", "3s", ""));
        let short = stage.befall(fault("pause", "producer1", "1s", ""));
        let look = async {
            let before = counted.load(Ordering::Relaxed);
            assert!(before >= 9, "{before}");
            stage.pass(Duration::from_secs(2)).await;
            assert_eq!(counted.load(Ordering::Relaxed), before);
            stage.pass(Duration::from_secs(2)).await;
            assert!(counted.load(Ordering::Relaxed) > before + 50);
        };
        join(join(long, short), look).await;
    });
}

#[test]
fn a_process_killed_while_it_is_paused_is_gone_and_the_next_one_runs() {
    staged(|stage| async move {
        let node = stage.node("producer1");
        let old = count(&node.start());
        stage.pass(Duration::from_millis(105)).await;
        node.pause();
        stage.pass(Duration::from_millis(100)).await;
        let before = old.load(Ordering::Relaxed);
        node.kill();
        let new = count(&node.start());
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(old.load(Ordering::Relaxed), before);
        assert!(new.load(Ordering::Relaxed) > 50);
    });
}

#[test]
fn skews_and_drifts_add_up_and_are_corrected_while_a_jump_stays() {
    staged(|stage| async move {
        let io = stage.node("producer1").start();
        let right = stage.node("consumer1").start();
        let ahead = || io.now().wall.0 - right.now().wall.0;
        stage
            .befall(fault("clock-jump", "producer1", "1s", "ahead_ms = -500"))
            .await;
        let skew = stage.befall(fault("clock-skew", "producer1", "3s", "ahead_ms = 2000"));
        let drift = stage.befall(fault("clock-drift", "producer1", "2s", "ppm = 100000"));
        let look = async {
            let monotonic = io.now().monotonic.0;
            stage.pass(Duration::from_secs(1)).await;
            assert!((1_599..=1_601).contains(&ahead()), "{}", ahead());
            assert!((1_000..1_001).contains(&((io.now().monotonic.0 - monotonic) / 1_000_000)));
            stage.pass(Duration::from_millis(1_500)).await;
            assert_eq!(ahead(), 1_500);
            stage.pass(Duration::from_secs(1)).await;
            assert_eq!(ahead(), -500);
        };
        join(join(skew, drift), look).await;
    });
}
