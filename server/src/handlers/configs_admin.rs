//! AlterConfigs (33), IncrementalAlterConfigs (44), ListConfigResources (74) and UpdateFeatures (57).
//!
//! Loggers are this process's own (KIP-412): what is asked of them is answered here, all else by the
//! controller.

use std::{collections::BTreeSet, sync::Arc};

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
        incremental_alter_configs_request::AlterConfigsResource,
        incremental_alter_configs_response::AlterConfigsResourceResponse as Altered,
        list_config_resources_response::ConfigResource,
    },
};

use tracing::warn;

use super::topics_admin::refusal;
use crate::{broker::Broker, config::acts_on, context::RequestContext};

const BROKER: i8 = ResourceType::Broker as i8;

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
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked: Vec<(i8, Str)> = request
        .resources
        .iter()
        .map(|r| (r.resource_type, r.resource_name.clone()))
        .collect();
    let mut responses = alter_loggers(broker, &mut request);
    let set = broker_keys_set(&request);
    if !request.resources.is_empty() {
        responses.extend(alter_stored(broker, request).await);
    }
    let altered = |name: &Str| {
        let mut ours = responses.iter();
        ours.any(|r| r.resource_type == BROKER && r.resource_name == *name && r.error_code == 0)
    };
    for (name, key) in set {
        if altered(&name) && !acts_on(&key) {
            warn!(%key, "a configuration was changed that has no effect in this version");
        }
    }
    // Answers stand in the order of the questions.
    responses.sort_by_cached_key(|r| {
        let mut all = asked.iter();
        all.position(|(kind, name)| (*kind, name) == (r.resource_type, &r.resource_name))
    });
    IncrementalAlterConfigsResponse {
        responses,
        ..Default::default()
    }
}

/// Takes what is asked of loggers out of the request, and answers it. What is asked twice of one is
/// left to who refuses that.
fn alter_loggers<I: Io>(
    broker: &Broker<I>,
    request: &mut IncrementalAlterConfigsRequest,
) -> Vec<Altered> {
    let of_loggers = |r: &AlterConfigsResource| r.resource_type == ResourceType::BrokerLogger as i8;
    let names: Vec<Str> = {
        let loggers = request.resources.iter().filter(|r| of_loggers(r));
        loggers.map(|r| r.resource_name.clone()).collect()
    };
    let once = |name: &Str| names.iter().filter(|other| *other == name).count() == 1;
    let (ours, others) = std::mem::take(&mut request.resources)
        .into_iter()
        .partition(|r| of_loggers(r) && once(&r.resource_name));
    request.resources = others;
    let ours: Vec<AlterConfigsResource> = ours;
    ours.into_iter()
        .map(|resource| {
            let mut altered = Altered {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                ..Default::default()
            };
            if let Err((code, words)) = alter_loggers_of(broker, &resource, request.validate_only) {
                altered.error_code = code as i16;
                altered.error_message = Some(words.into());
            }
            altered
        })
        .collect()
}

fn alter_loggers_of<I: Io>(
    broker: &Broker<I>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let invalid = |words: String| Err((ErrorCode::InvalidRequest, words));
    let node_id = broker.metadata.node_id();
    let name = &resource.resource_name;
    match name.parse::<i32>() {
        Ok(id) if id == node_id => {}
        Ok(_) => {
            return invalid(format!(
                "Unexpected node id. Expected {node_id}, but received {name}"
            ));
        }
        Err(_) => return invalid(format!("Node id must be an integer, but it is: {name}")),
    }
    let mut seen = BTreeSet::new();
    if !resource
        .configs
        .iter()
        .all(|change| seen.insert(&change.name))
    {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    broker
        .settings
        .loggers
        .alter(&resource.configs, validate_only)
}

/// The keys of brokers that a request sets, each with its resource's name.
fn broker_keys_set(request: &IncrementalAlterConfigsRequest) -> Vec<(Str, Str)> {
    let brokers = request
        .resources
        .iter()
        .filter(|r| r.resource_type == BROKER);
    brokers
        .filter(|_| !request.validate_only)
        .flat_map(|r| {
            let set = r.configs.iter().filter(|c| c.value.is_some());
            set.map(|c| (r.resource_name.clone(), c.name.clone()))
        })
        .collect()
}

/// What the cluster stores is the controller's to alter.
async fn alter_stored<I: Io>(
    broker: &Broker<I>,
    request: IncrementalAlterConfigsRequest,
) -> Vec<Altered> {
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
        Ok(Response::IncrementalAlterConfigs(response)) => return response.responses,
        outcome => refusal(&outcome),
    };
    let refused = |(resource_type, resource_name)| Altered {
        error_code,
        error_message: words.clone(),
        resource_type,
        resource_name,
        ..Default::default()
    };
    asked.into_iter().map(refused).collect()
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
