//! A slow network: everything to and from a node takes longer, always or by a distribution.

use std::time::Duration;

use super::{Stage, conditions::Condition};
use crate::{
    net::{Delay, LinkState},
    scenario::Fault,
};

const LATENCY: Duration = Duration::from_millis(400);

pub(super) fn condition(stage: &Stage, fault: &Fault) -> Condition {
    let latency = fault.with.latency.map_or(LATENCY, |latency| latency.0);
    let delay = Delay {
        mean_micros: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        spread: fault.with.spread.unwrap_or_default(),
    };
    let state = LinkState {
        delay,
        ..LinkState::default()
    };
    Condition::Links(stage.links_of(&fault.node), state)
}
