//! What the handlers of the group APIs share.

use std::sync::Arc;

use ottla_core::{
    group::{Client, GroupError, Request, Response, request::TopicName},
    metadata::MetadataImage,
};
use ottla_io::Io;
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::{broker::Broker, context::RequestContext};

/// Success, in a response's `error_code`.
pub(super) const NONE: i16 = 0;

/// Asks the group of this id.
pub(super) async fn ask<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    group_id: &str,
    request: Request,
) -> Response {
    let client = Client {
        id: Str::from(context.client_id()),
        host: Str::from(context.client_host()),
    };
    broker.groups.ask(group_id, client, request).await
}

/// The error code of a result.
pub(super) fn code<T>(result: &Result<T, GroupError>) -> i16 {
    result.as_ref().err().map_or(NONE, |error| error.code())
}

/// The error code of an error that may not be there.
pub(super) fn code_of(error: Option<GroupError>) -> i16 {
    error.map_or(NONE, GroupError::code)
}

/// A topic that a request names: by its id from the version that has ids on, else by its name. What
/// the request does not say is taken from the metadata.
pub(super) fn resolve(
    image: &MetadataImage,
    name: &Str,
    id: Uuid,
    by_id: bool,
) -> Result<TopicName, ErrorCode> {
    if by_id {
        let name = image.topic_name(id).ok_or(ErrorCode::UnknownTopicId)?;
        return Ok(TopicName {
            name: name.clone(),
            id,
        });
    }
    let id = image
        .topic_id(name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicName {
        name: name.clone(),
        id,
    })
}
