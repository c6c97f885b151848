//! Wrong wall clocks: a skew that is corrected in the end, a drift that grows until it is, a jump that
//! stays. The monotonic clock goes on as ever.

use super::{Stage, conditions::Condition};
use crate::{
    scenario::{Fault, FaultKind},
    wall::{Drift, WallError},
};

const AHEAD_MS: i64 = 60_000;
const PPM: i64 = 1_000;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let mut error = WallError::default();
    match fault.fault {
        FaultKind::ClockDrift => error.drifts.push(Drift {
            ppm: fault.with.ppm.unwrap_or(PPM),
            since: stage.world().clock().now(),
        }),
        _ => error.skew_ms = fault.with.ahead_ms.unwrap_or(AHEAD_MS),
    }
    Condition::Clock(stage.node(&fault.node).clone(), error)
}

impl Stage {
    pub(super) fn jump(&self, fault: &Fault) {
        let ahead = fault.with.ahead_ms.unwrap_or(AHEAD_MS);
        self.node(&fault.node).wall().jump(ahead);
        self.strike(fault, &format!("by {ahead} ms"));
    }
}
