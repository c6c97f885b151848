//! CreateTopics (19), DeleteTopics (20) and CreatePartitions (37): the controller decides; what is
//! left here is to tell every topic when it refuses the request as a whole.

use std::sync::Arc;

use ottla_core::controller::{AnswerError, Request, Response};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_response::CreatableTopicResult, delete_topics_response::DeletableTopicResult,
    },
};

use crate::{broker::Broker, context::RequestContext};

/// Answers CreateTopics.
pub async fn create_topics<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<Str> = request.topics.iter().map(|t| t.name.clone()).collect();
    let (error_code, words) = match broker.metadata.submit(Request::CreateTopics(request)).await {
        Ok(Response::CreateTopics(response)) => return response,
        outcome => refusal(&outcome),
    };
    let refused = |name| CreatableTopicResult {
        name,
        error_code,
        error_message: words.clone(),
        ..Default::default()
    };
    CreateTopicsResponse {
        topics: names.into_iter().map(refused).collect(),
        ..Default::default()
    }
}

/// Answers DeleteTopics.
pub async fn delete_topics<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let named = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), Default::default()));
    let stated = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id));
    let asked: Vec<_> = named.chain(stated).collect();
    let (error_code, words) = if broker.metadata.broker_flag("delete.topic.enable") {
        match broker.metadata.submit(Request::DeleteTopics(request)).await {
            Ok(Response::DeleteTopics(response)) => return response,
            outcome => refusal(&outcome),
        }
    } else if context.api_version < 3 {
        // These versions do not know the code.
        let words = "Topic deletion is disabled.";
        (
            ErrorCode::InvalidRequest as i16,
            Some(Str::from_static(words)),
        )
    } else {
        let words = "Topic deletion is disabled.";
        (
            ErrorCode::TopicDeletionDisabled as i16,
            Some(Str::from_static(words)),
        )
    };
    let refused = |(name, topic_id)| DeletableTopicResult {
        name,
        topic_id,
        error_code,
        error_message: words.clone(),
        ..Default::default()
    };
    DeleteTopicsResponse {
        responses: asked.into_iter().map(refused).collect(),
        ..Default::default()
    }
}

/// Answers CreatePartitions.
pub async fn create_partitions<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<Str> = request.topics.iter().map(|t| t.name.clone()).collect();
    let outcome = broker
        .metadata
        .submit(Request::CreatePartitions(request))
        .await;
    let (error_code, words) = match outcome {
        Ok(Response::CreatePartitions(response)) => return response,
        outcome => refusal(&outcome),
    };
    let refused = |name| CreatePartitionsTopicResult {
        name,
        error_code,
        error_message: words.clone(),
        ..Default::default()
    };
    CreatePartitionsResponse {
        results: names.into_iter().map(refused).collect(),
        ..Default::default()
    }
}

/// The fields of an answer for a request that was refused as a whole. An answer of another kind is
/// a fault of ours.
pub(super) fn refusal(outcome: &Result<Response, AnswerError>) -> (i16, Option<Str>) {
    match outcome {
        Err(error) => (error.code as i16, Some(Str::from_static(error.message))),
        Ok(_) => (ErrorCode::UnknownServerError as i16, None),
    }
}
