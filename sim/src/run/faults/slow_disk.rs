//! A slow disk: everything takes many times as long.

use super::{Stage, conditions::Condition};
use crate::{disk::DiskFaults, scenario::Fault};

const TIMES: u32 = 60;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let faults = DiskFaults {
        slow: fault.with.times.unwrap_or(TIMES),
        ..DiskFaults::default()
    };
    Condition::Disk(stage.server().node().clone(), faults)
}
