//! Cuts: nothing gets to a node, or away from it, or neither. Bytes wait until the cut is healed.

use super::{Stage, conditions::Condition};
use crate::{
    net::LinkState,
    scenario::{Fault, FaultKind},
};

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let node = stage.node(&fault.node).id();
    let mut links = Vec::new();
    if fault.fault != FaultKind::CutFrom {
        links.extend(stage.links_to(node));
    }
    if fault.fault != FaultKind::CutTo {
        links.extend(stage.links_from(node));
    }
    let cut = LinkState {
        cut: true,
        ..LinkState::default()
    };
    Condition::Links(links, cut)
}
