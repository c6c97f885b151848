//! ListGroups (16).

use std::sync::Arc;

use ottla_core::group::ListGroups;
use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::{ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
};

use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let filter = ListGroups {
        states: request.states_filter,
        types: request.types_filter,
    };
    match broker.groups.list(&filter).await {
        Ok(groups) => ListGroupsResponse {
            groups: groups
                .into_iter()
                .map(|g| ListedGroup {
                    group_id: g.group_id,
                    protocol_type: g.protocol_type,
                    group_state: Str::from_static(g.state),
                    group_type: Str::from_static(g.group_type),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        Err(error) => ListGroupsResponse {
            error_code: error.code(),
            ..Default::default()
        },
    }
}
