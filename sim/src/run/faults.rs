//! Faults of a scenario, put to work and healed.

use std::time::Duration;

use super::stage::Stage;
use crate::{
    disk::DiskFaults,
    event::{NodeId, What},
    net::{Link, LinkState},
    scenario::{Fault, FaultKind},
};

/// How long a graceful stop may take before the operator kills.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// How much more a message takes on a slow network.
const SLOW_NETWORK_MICROS: u64 = 400_000;
/// How many times as long a slow disk takes.
const SLOW_DISK: u32 = 60;
/// What is left on a disk that fills.
const NEARLY_FULL_BYTES: u64 = 20_000;

impl Stage {
    /// Lets a fault befall its node, waits as long as it lasts, and heals it.
    pub(super) async fn befall(&self, fault: Fault) {
        let is_broker = fault.node == "broker";
        let world = self.world();
        match fault.fault {
            FaultKind::Kill | FaultKind::PowerLoss | FaultKind::Stop => {
                if is_broker {
                    self.broker_down(&fault).await;
                } else {
                    self.client_down(&fault).await;
                }
                return;
            }
            FaultKind::Reset => {
                let node = self.node_id(&fault.node);
                for other in self.others(node) {
                    world.network().reset_between(node, other);
                }
                self.note(node, fault.fault, "of all connections");
                return;
            }
            _ => {}
        }
        let node = self.node_id(&fault.node);
        self.note(node, fault.fault, "begins");
        self.set(&fault, node, true);
        world.clock().sleep(fault.lasts.0).await;
        self.set(&fault, node, false);
        world
            .recorder()
            .record(node, What::Fault(format!("{} ends", fault.fault)));
    }

    fn note(&self, node: NodeId, kind: FaultKind, how: &str) {
        let what = What::Fault(format!("{kind} {how}"));
        self.world().recorder().fault(node, kind.name(), what);
    }

    fn set(&self, fault: &Fault, node: NodeId, on: bool) {
        let state = |cut| LinkState {
            cut,
            extra_latency_micros: if on && !cut { SLOW_NETWORK_MICROS } else { 0 },
        };
        let network = self.world().network();
        let server = self.server().node().disk();
        match fault.fault {
            FaultKind::CutTo | FaultKind::CutFrom | FaultKind::Cut | FaultKind::SlowNetwork => {
                let state = state(on && fault.fault != FaultKind::SlowNetwork);
                for other in self.others(node) {
                    if fault.fault != FaultKind::CutFrom {
                        network.set_link(
                            Link {
                                from: other,
                                to: node,
                            },
                            state,
                        );
                    }
                    if fault.fault != FaultKind::CutTo {
                        network.set_link(
                            Link {
                                from: node,
                                to: other,
                            },
                            state,
                        );
                    }
                }
            }
            FaultKind::DiskFull => server.limit_free_space(on.then_some(NEARLY_FULL_BYTES)),
            FaultKind::SlowDisk => {
                let slow = if on { SLOW_DISK } else { 0 };
                server.set_faults(DiskFaults {
                    slow,
                    ..DiskFaults::default()
                });
            }
            FaultKind::Kill | FaultKind::PowerLoss | FaultKind::Stop | FaultKind::Reset => {}
        }
    }

    /// Heals everything that is not healed yet.
    pub(super) fn heal(&self) {
        let network = self.world().network();
        let nodes = self.all_nodes();
        for from in &nodes {
            for to in &nodes {
                network.set_link(
                    Link {
                        from: *from,
                        to: *to,
                    },
                    LinkState::default(),
                );
            }
        }
        let disk = self.server().node().disk();
        disk.limit_free_space(None);
        disk.set_faults(DiskFaults::default());
        self.world()
            .recorder()
            .record(NodeId::WORLD, What::Fault("all healed".to_owned()));
    }

    async fn broker_down(&self, fault: &Fault) {
        // One thing at a time happens to a process: the next waits until it is up again.
        let _up = self.process_faults().lock().await;
        let server = self.server();
        // What waited for the one before would always hit the start: rather some way into it.
        let mut random = self.world().random(&format!("delay of {:?}", fault.at));
        if random.chance(1, 2) {
            let longest = random.pick(&[100, 1_000, 10_000, 100_000]);
            self.world().clock().sleep(random.micros(0..=longest)).await;
        }
        match fault.fault {
            FaultKind::Kill => server.kill(),
            FaultKind::Stop => self.stop_server().await,
            _ => server.lose_power(),
        }
        self.world().clock().sleep(fault.lasts.0).await;
        server.start();
    }

    /// Stops the broker as an operator does, who kills it when it takes too long.
    pub(super) async fn stop_server(&self) {
        let server = self.server();
        let stopped = std::pin::pin!(server.stop());
        let patience = self.world().clock().sleep(STOP_PATIENCE);
        if let futures_util::future::Either::Right(_) =
            futures_util::future::select(stopped, patience).await
        {
            let text = format!("the broker did not stop within {STOP_PATIENCE:?}");
            let recorder = self.world().recorder();
            recorder.record(server.node().id(), What::Violation(text));
            server.kill();
        }
    }
}
