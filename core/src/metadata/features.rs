//! The features of Kafka 4.3 and the levels that this broker can run (KIP-584, KIP-1022).

use super::brokers::SupportedVersions;

/// The feature that decides which records, and which versions of them, are written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of the quorum itself (KIP-853). Never in a feature record: a control record holds it.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// The new group protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// Share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// Streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";
/// Transactions with server-side defence (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// The lowest `metadata.version` that Kafka 4 starts on: 3.3-IV3.
pub const METADATA_VERSION_MIN: i16 = 7;
/// The `metadata.version` of Kafka 4.3: 4.3-IV0.
pub const METADATA_VERSION_LATEST: i16 = 30;

/// A feature that this broker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The levels that can be run.
    pub supported: SupportedVersions,
    /// The level that a new cluster of 4.3 starts with.
    pub default_level: i16,
    /// Whether the APIs that it stands for are served, so that clients may be told of it. The levels
    /// of the others are kept in the log, where Kafka's own nodes want them.
    pub is_served: bool,
}

impl Feature {
    const fn not_served(mut self) -> Self {
        self.is_served = false;
        self
    }
}

const fn feature(name: &'static str, min: i16, max: i16) -> Feature {
    Feature {
        name,
        supported: SupportedVersions { min, max },
        default_level: max,
        is_served: true,
    }
}

/// The features whose levels the metadata log holds, in the order in which Kafka's formatter
/// writes them.
pub const FINALIZED: [Feature; 6] = [
    feature(
        METADATA_VERSION,
        METADATA_VERSION_MIN,
        METADATA_VERSION_LATEST,
    ),
    feature(ELR_VERSION, 0, 1),
    feature(GROUP_VERSION, 0, 1).not_served(),
    feature(SHARE_VERSION, 0, 1).not_served(),
    feature(STREAMS_VERSION, 0, 1).not_served(),
    feature(TRANSACTION_VERSION, 0, 2).not_served(),
];

/// The quorum's own feature, which registrations list beside [`FINALIZED`].
pub const KRAFT: Feature = feature(KRAFT_VERSION, 0, 1);

/// Looks a feature up by name, the quorum's own among them.
#[must_use]
pub fn find(name: &str) -> Option<&'static Feature> {
    static KRAFT_FEATURE: Feature = KRAFT;
    static FEATURES: [Feature; 6] = FINALIZED;
    FEATURES
        .iter()
        .chain([&KRAFT_FEATURE])
        .find(|f| f.name == name)
}
