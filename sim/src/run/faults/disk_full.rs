//! A full disk: little or nothing is left, until somebody makes room.

use super::{Stage, conditions::Condition};
use crate::{disk::DiskFaults, scenario::Fault};

const FREE_BYTES: u64 = 20_000;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let node = stage.server().node().clone();
    let free = fault.with.free_bytes.unwrap_or(FREE_BYTES);
    let faults = DiskFaults {
        limit_bytes: Some(node.disk().used_bytes() + free),
        ..DiskFaults::default()
    };
    Condition::Disk(node, faults)
}
