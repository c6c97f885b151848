//! AlterConfigs (33), IncrementalAlterConfigs (44), ListConfigResources (74) and UpdateFeatures (57).

use std::sync::Arc;

use ottla_core::{
    controller::{Request, Response},
    metadata::ResourceType,
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
        UpdateFeaturesRequest, UpdateFeaturesResponse, alter_configs_response,
        incremental_alter_configs_response, list_config_resources_response::ConfigResource,
    },
};

use super::topics_admin::refusal;
use crate::{broker::Broker, context::RequestContext};

/// Answers AlterConfigs.
pub async fn alter_configs<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let asked: Vec<(i8, Str)> = request
        .resources
        .iter()
        .map(|r| (r.resource_type, r.resource_name.clone()))
        .collect();
    let (error_code, words) = match broker.metadata.submit(Request::AlterConfigs(request)).await {
        Ok(Response::AlterConfigs(response)) => return response,
        outcome => refusal(&outcome),
    };
    let refused =
        |(resource_type, resource_name)| alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message: words.clone(),
            resource_type,
            resource_name,
            ..Default::default()
        };
    AlterConfigsResponse {
        responses: asked.into_iter().map(refused).collect(),
        ..Default::default()
    }
}

/// Answers IncrementalAlterConfigs.
pub async fn incremental_alter_configs<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked: Vec<(i8, Str)> = request
        .resources
        .iter()
        .map(|r| (r.resource_type, r.resource_name.clone()))
        .collect();
    let outcome = broker
        .metadata
        .submit(Request::IncrementalAlterConfigs(request))
        .await;
    let (error_code, words) = match outcome {
        Ok(Response::IncrementalAlterConfigs(response)) => return response,
        outcome => refusal(&outcome),
    };
    let refused = |(resource_type, resource_name)| {
        incremental_alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message: words.clone(),
            resource_type,
            resource_name,
            ..Default::default()
        }
    };
    IncrementalAlterConfigsResponse {
        responses: asked.into_iter().map(refused).collect(),
        ..Default::default()
    }
}

/// Answers UpdateFeatures.
pub async fn update_features<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let request = Request::UpdateFeatures {
        request,
        version: context.api_version,
    };
    match broker.metadata.submit(request).await {
        Ok(Response::UpdateFeatures(response)) => response,
        outcome => {
            let (error_code, error_message) = refusal(&outcome);
            UpdateFeaturesResponse {
                error_code,
                error_message,
                ..Default::default()
            }
        }
    }
}

/// Answers ListConfigResources: version 0 knows client metrics subscriptions only.
pub async fn list_config_resources<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let all = [
        ResourceType::Topic,
        ResourceType::Broker,
        ResourceType::BrokerLogger,
        ResourceType::ClientMetrics,
        ResourceType::Group,
    ];
    let mut wanted = Vec::new();
    match (context.api_version, request.resource_types.as_slice()) {
        (0, _) => wanted.push(ResourceType::ClientMetrics),
        (_, []) => wanted.extend(all),
        (_, numbers) => {
            for number in numbers {
                let Some(kind) = ResourceType::from_number(*number) else {
                    return ListConfigResourcesResponse {
                        error_code: ErrorCode::UnsupportedVersion as i16,
                        ..Default::default()
                    };
                };
                wanted.push(kind);
            }
        }
    }
    let image = broker.metadata.image();
    let mut found: Vec<(ResourceType, Str)> = Vec::new();
    for kind in wanted {
        match kind {
            ResourceType::Topic => found.extend(image.topics().map(|t| (kind, t.name.clone()))),
            ResourceType::Broker | ResourceType::BrokerLogger => {
                found.extend(image.brokers().map(|b| (kind, Str::from(b.id.to_string()))));
            }
            ResourceType::ClientMetrics | ResourceType::Group => {
                let named = image
                    .configured()
                    .filter(|(resource, _)| resource.kind == kind);
                found.extend(named.map(|(resource, _)| (kind, resource.name.clone())));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    ListConfigResourcesResponse {
        config_resources: found
            .into_iter()
            .map(|(kind, resource_name)| ConfigResource {
                resource_name,
                resource_type: kind as i8,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
