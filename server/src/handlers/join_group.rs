//! JoinGroup (11).

use std::sync::Arc;

use ottla_core::group::{
    Request, Response,
    request::{JoinGroup, Protocol},
};
use ottla_io::Io;
use ottla_wire::{
    Str, Uuid,
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
};

use super::groups::{ask, code_of};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.api_version;
    let group = request.group_id.clone();
    let mut random = [0; 16];
    if request.member_id.is_empty() {
        broker.io.fill_random(&mut random);
    }
    let asked = JoinGroup {
        group_id: request.group_id,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|p| Protocol {
                name: p.name,
                metadata: p.metadata,
            })
            .collect(),
        new_member_uuid: Uuid::from_random(random),
        requires_member_id: version >= 4,
        can_skip_assignment: version >= 9,
    };
    let Response::Join(answer) = ask(broker, context, &group, Request::Join(asked)).await else {
        unreachable!("a join is answered by a join")
    };
    // Before version 7 the protocol's name could not be null.
    let no_name = if version < 7 { Some(Str::new()) } else { None };
    JoinGroupResponse {
        error_code: code_of(answer.error),
        generation_id: answer.generation_id,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol_name.or(no_name),
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: answer
            .members
            .into_iter()
            .map(|m| JoinGroupResponseMember {
                member_id: m.member_id,
                group_instance_id: m.group_instance_id,
                metadata: m.metadata,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
