//! Processes that go down and come back: killed, out of power, or stopped in good order.

use std::time::Duration;

use super::Stage;
use crate::{event::What, scenario::Fault};

/// How long a graceful stop may take before the operator kills.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How a process goes down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At once; the page cache stays.
    Kill,
    /// With everything that was not synced.
    PowerLoss,
    /// In good order; a client knows no other end than being killed.
    Stop,
}

impl Stage {
    pub(super) async fn down(&self, fault: &Fault, way: Way) {
        if fault.node == "broker" {
            self.broker_down(fault, way).await;
        } else {
            self.client_down(fault, way == Way::PowerLoss).await;
        }
    }

    async fn broker_down(&self, fault: &Fault, way: Way) {
        // One thing at a time happens to a process: the next waits until it is up again.
        let _up = self.process_faults().lock().await;
        let server = self.server();
        // What waited for the one before would always hit the start: rather some way into it.
        let mut random = self.world().random(&format!("delay of {:?}", fault.at));
        if random.chance(1, 2) {
            let longest = random.pick(&[100, 1_000, 10_000, 100_000]);
            self.world().clock().sleep(random.micros(0..=longest)).await;
        }
        match way {
            Way::Kill => server.kill(),
            Way::Stop => self.stop_server().await,
            Way::PowerLoss => server.lose_power(),
        }
        self.world().clock().sleep(fault.lasts.0).await;
        server.start();
    }

    /// Stops the broker as an operator does, who kills it when it takes too long.
    pub(in crate::run) async fn stop_server(&self) {
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
