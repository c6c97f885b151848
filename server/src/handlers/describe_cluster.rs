//! DescribeCluster (60): the cluster's id and its brokers (KIP-700, KIP-1073).

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
};

use super::operations;
use crate::{broker::Broker, context::RequestContext};

/// Brokers, in `EndpointType`; 2 is controllers, which have a listener of their own.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (code, words) = match request.endpoint_type {
        BROKERS => return describe(broker, context, &request),
        CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
             CONTROLLER"
                .to_owned(),
        ),
        other => (
            ErrorCode::UnsupportedEndpointType,
            format!("Unsupported endpoint type {other}"),
        ),
    };
    let code = if context.api_version == 0 {
        ErrorCode::InvalidRequest
    } else {
        code
    };
    DescribeClusterResponse {
        error_code: code as i16,
        error_message: Some(Str::from(words)),
        ..Default::default()
    }
}

fn describe<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = broker.metadata.image();
    let shown = image
        .brokers()
        .filter(|b| !b.fenced || request.include_fenced_brokers);
    let brokers = shown.filter_map(|registered| {
        let endpoint = registered.endpoint(&context.connection.listener)?;
        Some(DescribeClusterBroker {
            broker_id: registered.id,
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            rack: registered.rack.clone(),
            is_fenced: registered.fenced && context.api_version >= 2,
            ..Default::default()
        })
    });
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.metadata.cluster_id().clone(),
        controller_id: broker.metadata.node_id(),
        brokers: brokers.collect(),
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    response
}
