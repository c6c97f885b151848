//! ApiVersions (18): what this broker speaks, and the features of its cluster (KIP-35, KIP-511, KIP-584).

use std::sync::Arc;

use ottla_core::metadata::features::{FINALIZED, KRAFT, find};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{FinalizedFeatureKey, SupportedFeatureKey},
    },
};

use crate::{
    broker::Broker,
    context::{ClientSoftware, RequestContext},
    dispatch,
};

/// Answers a request in a version that this broker speaks.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.api_version >= 3 {
        if !is_software_text(&request.client_software_name)
            || !is_software_text(&request.client_software_version)
        {
            return ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest as i16,
                ..Default::default()
            };
        }
        // A client that tells twice is believed the first time.
        let _ = context.connection.client_software.set(ClientSoftware {
            name: request.client_software_name.as_str().to_owned(),
            version: request.client_software_version.as_str().to_owned(),
        });
    }
    // Older clients cannot read a feature whose lowest level is 0 (KAFKA-17492).
    let supported = FINALIZED
        .iter()
        .chain([&KRAFT])
        .filter(|feature| feature.is_served)
        .filter(|feature| context.api_version >= 4 || feature.supported.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: Str::from_static(feature.name),
            min_version: feature.supported.min,
            max_version: feature.supported.max,
            ..Default::default()
        });
    let epoch = broker.metadata.applied_offset();
    let image = broker.metadata.image();
    let in_log = image
        .features()
        .iter()
        .map(|(name, &level)| (name.clone(), level));
    // A quorum whose voters are in its log runs the version that has them there (KIP-853).
    let quorum = broker.metadata.voters().map(|_| KRAFT.supported.max);
    let quorum = quorum.map(|level| (Str::from_static(KRAFT.name), level));
    let is_served = |name: &str| find(name).is_some_and(|feature| feature.is_served);
    let finalized = in_log
        .chain(quorum)
        .filter(|(name, level)| *level != 0 && is_served(name));
    ApiVersionsResponse {
        api_keys: dispatch::advertised(),
        supported_features: supported.collect(),
        finalized_features_epoch: epoch,
        finalized_features: finalized
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// The answer, in version 0, to a version that this broker does not speak: the versions of this
/// API alone, for the client to try again.
#[must_use]
pub fn unsupported_version() -> ApiVersionsResponse {
    let mut api_keys = dispatch::advertised();
    api_keys.retain(|api| api.api_key == ApiKey::ApiVersions.code());
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion as i16,
        api_keys,
        ..Default::default()
    }
}

/// Letters and digits, with dots and dashes between them (KIP-511).
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_text_is_what_kip_511_allows() {
        for good in ["a", "librdkafka", "apache-kafka-java", "2.15.0", "x-.y"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a/b", "é"] {
            assert!(!is_software_text(bad), "{bad}");
        }
    }
}
