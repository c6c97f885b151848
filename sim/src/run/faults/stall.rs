//! A stalling disk: syncs, and reads that the page cache cannot answer, come back once it is over.

use super::{Stage, conditions::Condition};
use crate::disk::DiskFaults;

pub(super) fn condition(stage: &Stage) -> Condition {
    let faults = DiskFaults {
        stalled: true,
        ..DiskFaults::default()
    };
    Condition::Disk(stage.server().node().clone(), faults)
}
