//! I/O errors: reads, writes or syncs fail. A write may have been done in part, and a sync that fails
//! loses some of what it was to make durable, which no later sync brings back.

use super::{Stage, conditions::Condition};
use crate::{
    disk::DiskFaults,
    scenario::{Fault, FaultKind},
};

const PER_10000: u32 = 1_000;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let rate = fault.with.per_10000.unwrap_or(PER_10000);
    let mut faults = DiskFaults::default();
    match fault.fault {
        FaultKind::ReadErrors => faults.read_errors = rate,
        FaultKind::WriteErrors => faults.write_errors = rate,
        _ => faults.sync_errors = rate,
    }
    Condition::Disk(stage.server().node().clone(), faults)
}
