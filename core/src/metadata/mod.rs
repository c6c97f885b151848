//! The cluster's metadata as a value: what the records of `__cluster_metadata` add up to (KIP-500).
//!
//! [`MetadataImage`] is that value. It only ever changes by replaying a record onto it, in place
//! ([`MetadataImage::replay`]), so a change costs what it touches and not what the cluster holds.
//! A replay says in a [`MetadataDelta`] what it changed, so that a broker can open, delete and
//! reconfigure exactly those partitions; and it gives back an [`Undo`], so that the controller can
//! apply records before they are committed and take them back if they never are.
//!
//! [`MetadataImage::to_records`] is the way back: the shortest list of records that makes the same
//! image, which is what a snapshot holds (KIP-630). Kinds of records that this broker does not act
//! on (ACLs, SCRAM credentials, quotas, delegation tokens) are kept as they are, so that a
//! directory that came from Apache Kafka loses nothing here.

mod brokers;
mod delta;
pub mod features;
mod image;
mod kept;
mod replay;
mod snapshot;
mod topics;
mod transaction;

#[cfg(test)]
mod tests;

pub use brokers::{BrokerRegistration, Endpoint, SupportedVersions};
pub use delta::{MetadataDelta, TopicChange};
pub use image::{ConfigMap, ConfigResource, MetadataImage, ResourceType};
pub use replay::{ReplayError, Undo};
pub use snapshot::record_version;
pub use topics::{PartitionImage, TopicImage};
pub use transaction::TransactionBuffer;
