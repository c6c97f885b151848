//! Brokers as they registered themselves.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_wire::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use ottla_wire::metadata::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};
use ottla_wire::{Str, Uuid};

/// Where a broker is reached under one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: Str,
    /// The advertised host.
    pub host: Str,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedVersions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

/// One broker's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its node id.
    pub id: i32,
    /// The epoch of this registration: the offset of its record.
    pub epoch: i64,
    /// Tells this run of the process from others.
    pub incarnation: Uuid,
    /// Where it is reached, in the order registered.
    pub endpoints: Vec<Endpoint>,
    /// What it can run.
    pub features: BTreeMap<Str, SupportedVersions>,
    /// Its rack, if it said one.
    pub rack: Option<Str>,
    /// Whether it is kept away from clients (not yet caught up, or lost).
    pub fenced: bool,
    /// Whether it is shutting down.
    pub in_controlled_shutdown: bool,
    /// Its log directories that work, sorted.
    pub log_dirs: Vec<Uuid>,
    /// Its log directories that take no new partitions; `None` before it said so (KIP-1066).
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// Where it is reached under `listener`.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.listener == *listener)
    }

    /// Whether it may lead and be given partitions.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub(super) fn from_record(record: &RegisterBrokerRecord) -> Self {
        let mut log_dirs = record.log_dirs.clone();
        log_dirs.sort_unstable();
        Self {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|e| Endpoint {
                    listener: e.name.detach(),
                    host: e.host.detach(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    let versions = SupportedVersions {
                        min: f.min_supported_version,
                        max: f.max_supported_version,
                    };
                    (f.name.detach(), versions)
                })
                .collect(),
            rack: record.rack.as_ref().map(Str::detach),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs,
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        }
    }

    pub(super) fn merge(&mut self, change: &BrokerRegistrationChangeRecord) {
        match change.fenced {
            FENCED => self.fenced = true,
            UNFENCED => self.fenced = false,
            _ => {}
        }
        if change.in_controlled_shutdown == 1 {
            self.in_controlled_shutdown = true;
        }
        if !change.log_dirs.is_empty() {
            self.log_dirs = change.log_dirs.clone();
            self.log_dirs.sort_unstable();
        }
        if let Some(cordoned) = &change.cordoned_log_dirs {
            self.cordoned_log_dirs = Some(cordoned.clone());
        }
    }

    /// The record that makes this registration.
    #[must_use]
    pub fn to_record(&self) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch,
            end_points: self
                .endpoints
                .iter()
                .map(|e| BrokerEndpoint {
                    name: e.listener.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, versions)| BrokerFeature {
                    name: name.clone(),
                    min_supported_version: versions.min,
                    max_supported_version: versions.max,
                    ..Default::default()
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            cordoned_log_dirs: self.cordoned_log_dirs.clone(),
            ..Default::default()
        }
    }
}

/// The values of `BrokerRegistrationChangeRecord.fenced`.
const FENCED: i8 = 1;
const UNFENCED: i8 = -1;
