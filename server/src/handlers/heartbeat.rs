//! Heartbeat (12).

use std::sync::Arc;

use ottla_core::group::{Request, Response, request::Heartbeat};
use ottla_io::Io;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::groups::{ask, code};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let group = request.group_id.clone();
    let asked = Request::Heartbeat(Heartbeat {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    });
    let Response::Heartbeat(result) = ask(broker, context, &group, asked).await else {
        unreachable!("a heartbeat is answered by a heartbeat")
    };
    HeartbeatResponse {
        error_code: code(&result),
        ..Default::default()
    }
}
