//! A paused process, as by SIGSTOP or a hypervisor: none of its tasks runs while the world goes on.

use super::{Stage, conditions::Condition};
use crate::scenario::Fault;

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    Condition::Paused(stage.node(&fault.node).clone())
}
