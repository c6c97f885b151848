//! SyncGroup (14).

use std::sync::Arc;

use ottla_core::group::{GroupError, Request, Response, request::SyncGroup};
use ottla_io::Io;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::groups::ask;
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    // From version 5 on a member says which protocol it means (KIP-559).
    if context.api_version >= 5
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return refuse(GroupError::InconsistentGroupProtocol);
    }
    let group = request.group_id.clone();
    let asked = Request::Sync(SyncGroup {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|a| (a.member_id, a.assignment))
            .collect(),
    });
    match ask(broker, context, &group, asked).await {
        Response::Sync(Ok(it)) => SyncGroupResponse {
            protocol_type: it.protocol_type,
            protocol_name: it.protocol_name,
            assignment: it.assignment,
            ..Default::default()
        },
        Response::Sync(Err(error)) => refuse(error),
        _ => unreachable!("a sync is answered by a sync"),
    }
}

fn refuse(error: GroupError) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        ..Default::default()
    }
}
