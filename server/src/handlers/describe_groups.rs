//! DescribeGroups (15).

use std::sync::Arc;

use ottla_core::group::{GroupError, GroupState, Request, Response};
use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
};

use super::groups::ask;
use crate::{broker::Broker, context::RequestContext};

/// What can be allowed on a group, all of which is where nothing is forbidden: READ, DELETE,
/// DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as a set of bits.
const AUTHORIZED_OPERATIONS: i32 = (1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11);

/// Answers a request. A group that does not exist is dead to clients before version 6 (KIP-1043).
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut response = DescribeGroupsResponse::default();
    for group_id in request.groups {
        let asked = Request::Describe(group_id.clone());
        let answer = ask(broker, context, &group_id, asked).await;
        let mut group = describe(group_id, answer, context.api_version >= 6);
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = AUTHORIZED_OPERATIONS;
        }
        response.groups.push(group);
    }
    response
}

fn describe(group_id: Str, answer: Response, tells_not_found: bool) -> DescribedGroup {
    match answer {
        Response::Describe(Ok(it)) => DescribedGroup {
            group_id,
            group_state: Str::from_static(it.state),
            protocol_type: it.protocol_type,
            protocol_data: it.protocol,
            members: it
                .members
                .into_iter()
                .map(|m| DescribedGroupMember {
                    member_id: m.member_id,
                    group_instance_id: m.group_instance_id,
                    client_id: m.client_id,
                    client_host: m.client_host,
                    member_metadata: m.metadata,
                    member_assignment: m.assignment,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        Response::Describe(Err(GroupError::GroupIdNotFound)) => {
            let mut group = DescribedGroup {
                group_state: Str::from_static(GroupState::Dead.name()),
                ..Default::default()
            };
            if tells_not_found {
                group.error_code = GroupError::GroupIdNotFound.code();
                group.error_message = Some(Str::from(format!("Group {group_id} not found.")));
            }
            DescribedGroup { group_id, ..group }
        }
        Response::Describe(Err(error)) => DescribedGroup {
            group_id,
            error_code: error.code(),
            ..Default::default()
        },
        _ => unreachable!("a description is answered by a description"),
    }
}
