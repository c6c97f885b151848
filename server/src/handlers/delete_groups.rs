//! DeleteGroups (42).

use std::sync::Arc;

use ottla_core::group::{Request, Response};
use ottla_io::Io;
use ottla_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

use super::groups::{ask, code};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    for group_id in request.groups_names {
        let asked = Request::Delete(group_id.clone());
        let Response::Delete(result) = ask(broker, context, &group_id, asked).await else {
            unreachable!("a deletion is answered by a deletion")
        };
        response.results.push(DeletableGroupResult {
            group_id,
            error_code: code(&result),
            ..Default::default()
        });
    }
    response
}
