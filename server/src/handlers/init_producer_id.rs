//! InitProducerId (22): a producer's identity (KIP-98).
//!
//! Ids come from the controller in blocks, each durable before the first of it is given, so no id is
//! ever given twice. Transactional producers are refused: there is no transaction coordinator.

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};

use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code as i16,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if let Some(id) = &request.transactional_id {
        return refused(match id.is_empty() {
            true => ErrorCode::InvalidRequest,
            // Retriable for Kafka's clients, and true: no coordinator is to be had.
            false => ErrorCode::CoordinatorNotAvailable,
        });
    }
    // An idempotent producer has no epoch to bump at the broker: it gets a new id instead.
    match broker.metadata.next_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(error) => {
            tracing::warn!(
                client = context.client_id(),
                ?error,
                "no producer id is to be had"
            );
            // As Kafka tells that it has no block of ids at hand: every client tries again. With
            // "no coordinator" some would look for one, and there is none for them.
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}
