//! A firewall before a node: new connections are refused, or get no answer and time out; those that
//! stand go on.

use super::{Stage, conditions::Condition};
use crate::{
    net::{Connects, LinkState},
    scenario::{Fault, FaultKind},
};

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    // Nobody connects to a client: there it is what the client asks for that is stopped.
    let node = stage.node(&fault.node).id();
    let links = match fault.node == "broker" {
        true => stage.links_to(node),
        false => stage.links_from(node),
    };
    let connects = match fault.fault {
        FaultKind::DropConnects => Connects::Dropped,
        _ => Connects::Refused,
    };
    let state = LinkState {
        connects,
        ..LinkState::default()
    };
    Condition::Links(links, state)
}
