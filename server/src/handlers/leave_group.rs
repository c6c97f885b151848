//! LeaveGroup (13).

use std::sync::Arc;

use ottla_core::group::{
    Request, Response,
    request::{LeaveGroup, MemberIdentity},
};
use ottla_io::Io;
use ottla_wire::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse,
};

use super::groups::{NONE, ask, code};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request. Before version 3 it is about one member, whose error is the response's.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = request.group_id.clone();
    let batched = context.api_version >= 3;
    let members = if batched {
        request
            .members
            .into_iter()
            .map(|m| MemberIdentity {
                member_id: m.member_id,
                group_instance_id: m.group_instance_id,
            })
            .collect()
    } else {
        vec![MemberIdentity {
            member_id: request.member_id,
            group_instance_id: None,
        }]
    };
    let asked = Request::Leave(LeaveGroup {
        group_id: request.group_id,
        members,
    });
    match ask(broker, context, &group, asked).await {
        Response::Leave(Ok(members)) if batched => LeaveGroupResponse {
            members: members
                .into_iter()
                .map(|(who, result)| MemberResponse {
                    member_id: who.member_id,
                    group_instance_id: who.group_instance_id,
                    error_code: code(&result),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        Response::Leave(Ok(members)) => LeaveGroupResponse {
            error_code: members.first().map_or(NONE, |(_, result)| code(result)),
            ..Default::default()
        },
        Response::Leave(Err(error)) => LeaveGroupResponse {
            error_code: error.code(),
            ..Default::default()
        },
        _ => unreachable!("a leave is answered by a leave"),
    }
}
