//! Changing the finalized levels of features (KIP-584, KIP-1022).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ottla_wire::messages::update_features_response::UpdatableFeatureResult;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_wire::metadata::{ConfigRecord, FeatureLevelRecord, MetadataRecord};
use ottla_wire::{ErrorCode, Str};

use super::request::{ApiError, Response};
use super::{Controller, Decision};
use crate::metadata::features::{self, Feature};
use crate::metadata::{ConfigResource, ResourceType, SupportedVersions};

/// The key that stands at cluster level wherever eligible leader replicas are kept.
pub(super) const MIN_ISR: &str = "min.insync.replicas";

/// How a level may move. The numbers are those of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
    Unknown,
}

/// The levels of `metadata.version` that brought new records: going below one could lose some.
const LEVELS_WITH_NEW_RECORDS: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

impl Controller {
    pub(super) fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
        version: i16,
    ) -> Decision {
        let mut records = Vec::new();
        for update in &request.feature_updates {
            let how = match (version, update.upgrade_type, update.allow_downgrade) {
                (0, _, true) => UpgradeType::SafeDowngrade,
                (0, _, false) | (_, 1, _) => UpgradeType::Upgrade,
                (_, 2, _) => UpgradeType::SafeDowngrade,
                (_, 3, _) => UpgradeType::UnsafeDowngrade,
                _ => UpgradeType::Unknown,
            };
            match self.update_feature(&update.feature, update.max_version_level, how) {
                Ok(new) => records.extend(new),
                Err(error) => {
                    let words = error.message.unwrap_or_default();
                    let response = UpdateFeaturesResponse {
                        error_code: error.code as i16,
                        error_message: Some(Str::from(format!(
                            "The update failed for all features since the following feature had \
                             an error: {words}"
                        ))),
                        ..Default::default()
                    };
                    return Decision {
                        records: Vec::new(),
                        response: Response::UpdateFeatures(response),
                    };
                }
            }
        }
        if request.validate_only {
            records.clear();
        }
        // Version 2 speaks of all features at once.
        let named = request.feature_updates.iter().filter(|_| version < 2);
        let response = UpdateFeaturesResponse {
            results: named
                .map(|update| UpdatableFeatureResult {
                    feature: update.feature.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        Decision {
            records,
            response: Response::UpdateFeatures(response),
        }
    }

    fn update_feature(
        &self,
        name: &str,
        level: i16,
        how: UpgradeType,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let refuse = |why: &str| {
            Err(ApiError::new(
                ErrorCode::InvalidUpdateVersion,
                format!("Invalid update version {level} for feature {name}. {why}"),
            ))
        };
        if how == UpgradeType::Unknown {
            return refuse("The controller does not support the given upgrade type.");
        }
        if level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        if let Some(why) = self.reason_not_supported(name, level) {
            return refuse(&why);
        }
        let current = match name {
            features::METADATA_VERSION => self.image.metadata_version(),
            name => self.image.feature(name),
        };
        if level < current && how == UpgradeType::Upgrade {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade.",
            );
        }
        if level > current && how != UpgradeType::Upgrade {
            return refuse("Can't downgrade to a newer version.");
        }
        match name {
            features::METADATA_VERSION => check_metadata_version(current, level, how)?,
            features::KRAFT_VERSION => {
                return refuse("The version of the quorum cannot be changed while it runs.");
            }
            features::ELR_VERSION if level > 0 && self.image.metadata_version() < 23 => {
                return refuse(&format!(
                    "{name} could not be set to {level} because it depends on metadata.version \
                     level 23"
                ));
            }
            _ => {}
        }
        let record = FeatureLevelRecord {
            name: name.into(),
            feature_level: level,
            ..Default::default()
        };
        let mut records = Vec::from([record.into()]);
        if name == features::ELR_VERSION && level > 0 {
            records.extend(self.min_isr_record());
        }
        Ok(records)
    }

    /// With eligible leader replicas, the cluster's `min.insync.replicas` is in the log and not in
    /// each broker's file, so that all agree on it.
    pub(super) fn min_isr_record(&self) -> Option<MetadataRecord> {
        let resource = ConfigResource::broker_default();
        if self.image.config(&resource, MIN_ISR).is_some() {
            return None;
        }
        let value = self.settings.file.get(MIN_ISR).map_or("1", String::as_str);
        let record = ConfigRecord {
            resource_type: ResourceType::Broker as i8,
            name: Str::from_static(MIN_ISR),
            value: Some(value.into()),
            ..Default::default()
        };
        Some(record.into())
    }

    fn reason_not_supported(&self, name: &str, level: i16) -> Option<String> {
        let own = features::find(name).map(|feature: &Feature| feature.supported);
        let node = self.settings.node_id;
        let here = reason(level, &format!("Local controller {node}"), own);
        let brokers = || {
            let mut brokers = self.image.brokers();
            brokers.find_map(|broker| {
                let versions = broker.features.get(name).copied();
                reason(level, &format!("Broker {}", broker.id), versions)
            })
        };
        here.or_else(brokers)
    }
}

fn reason(level: i16, who: &str, versions: Option<SupportedVersions>) -> Option<String> {
    match versions {
        Some(SupportedVersions { max: 0, .. }) | None if level != 0 => {
            Some(format!("{who} does not support this feature."))
        }
        Some(SupportedVersions { min, max }) if !(min..=max).contains(&level) => {
            let range = if min == max {
                min.to_string()
            } else {
                format!("{min}-{max}")
            };
            Some(format!("{who} only supports versions {range}"))
        }
        _ => None,
    }
}

fn check_metadata_version(current: i16, level: i16, how: UpgradeType) -> Result<(), ApiError> {
    let loses = LEVELS_WITH_NEW_RECORDS
        .iter()
        .any(|l| (level + 1..=current).contains(l));
    let why = match how {
        _ if !loses => return Ok(()),
        UpgradeType::UnsafeDowngrade => {
            "Unsafe metadata downgrade is not supported in this version."
        }
        _ => {
            "Refusing to perform the requested downgrade because it might delete metadata \
             information."
        }
    };
    Err(ApiError::new(
        ErrorCode::InvalidUpdateVersion,
        format!("Invalid metadata.version {level}. {why}"),
    ))
}
