//! A narrow link: little gets through at a time, so windows fill and writers wait.

use super::{Stage, conditions::Condition};
use crate::{net::LinkState, scenario::Fault};

const BYTES_PER_SECOND: u64 = 100_000;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let state = LinkState {
        bytes_per_second: fault.with.bytes_per_second.or(Some(BYTES_PER_SECOND)),
        ..LinkState::default()
    };
    Condition::Links(stage.links_of(&fault.node), state)
}
