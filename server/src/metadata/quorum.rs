//! The quorum of this node alone: its voters, and `quorum-state`, where Kafka keeps what a member
//! promised (KIP-595, KIP-853).
//!
//! A leader's epoch is used only once it is in that file and the file is durable: two starts never
//! lead under the same epoch, whatever the crash between them.

use std::{io, path::Path};

use bytes::Bytes;
use ottla_io::Disk;
use ottla_wire::{
    Str, Uuid,
    raft::{
        KRaftVersionRecord, LeaderChangeMessage, VotersRecord, leader_change_message, voters_record,
    },
    records::ControlRecord,
};
use serde::{Deserialize, Serialize};

/// The file's name in the metadata partition's folder.
pub const QUORUM_STATE: &str = "quorum-state";

/// `quorum-state`, as Kafka writes it: version 0 for a static quorum, 1 for a dynamic one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumState {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    leader_id: i32,
    /// The epoch of the leader, or of the vote.
    pub leader_epoch: i32,
    voted_id: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    voted_directory_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_voters: Option<Vec<StaticVoter>>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StaticVoter {
    voter_id: i32,
}

impl QuorumState {
    /// This node leads in `epoch`.
    #[must_use]
    pub fn leading(node_id: i32, epoch: i32, is_dynamic: bool) -> Self {
        Self {
            cluster_id: (!is_dynamic).then(String::new),
            leader_id: node_id,
            leader_epoch: epoch,
            voted_id: -1,
            voted_directory_id: is_dynamic.then(|| Uuid::ZERO.to_string()),
            applied_offset: (!is_dynamic).then_some(0),
            current_voters: (!is_dynamic).then(|| vec![StaticVoter { voter_id: node_id }]),
            data_version: i16::from(is_dynamic),
        }
    }

    /// The voters that a static quorum's file names.
    pub fn voters(&self) -> impl Iterator<Item = i32> {
        self.current_voters
            .iter()
            .flatten()
            .map(|voter| voter.voter_id)
    }

    /// Reads the file; `None` if it is not there.
    pub async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Self>> {
        match disk.read(path).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the file in place, durably.
    pub async fn write<D: Disk>(&self, disk: &D, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        disk.replace(path, Bytes::from(bytes)).await
    }
}

/// Where the controller of this node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerEndpoint {
    /// The listener's name.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The voters of a dynamic quorum that is this node.
#[must_use]
pub(super) fn voters_of_one(
    node_id: i32,
    directory: Uuid,
    endpoint: &ControllerEndpoint,
) -> VotersRecord {
    VotersRecord {
        voters: vec![voters_record::Voter {
            voter_id: node_id,
            voter_directory_id: directory,
            endpoints: vec![voters_record::Endpoint {
                name: Str::from(&endpoint.name),
                host: Str::from(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            }],
            kraft_version_feature: voters_record::KRaftVersionFeature {
                min_supported_version: 0,
                max_supported_version: 1,
                ..Default::default()
            },
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The records that say what kind of quorum this is, for a snapshot or the log's beginning; none
/// for a static one.
#[must_use]
pub(super) fn quorum_records(voters: Option<&VotersRecord>) -> Vec<ControlRecord> {
    let Some(voters) = voters else {
        return Vec::new();
    };
    let version = KRaftVersionRecord {
        kraft_version: 1,
        ..Default::default()
    };
    vec![
        ControlRecord::KRaftVersion(version),
        ControlRecord::KRaftVoters(voters.clone()),
    ]
}

/// The record with which a leader's epoch begins.
#[must_use]
pub(super) fn leader_change(node_id: i32) -> ControlRecord {
    let voter = leader_change_message::Voter {
        voter_id: node_id,
        ..Default::default()
    };
    ControlRecord::LeaderChange(LeaderChangeMessage {
        leader_id: node_id,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_state_of_a_dynamic_quorum_is_kafkas_byte_for_byte() {
        let text = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        let state = QuorumState::leading(1, 1, true);
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        assert_eq!(serde_json::from_str::<QuorumState>(text).unwrap(), state);
    }

    #[test]
    fn quorum_state_of_a_static_quorum_is_read_with_its_voters() {
        let text = r#"{"clusterId":"","leaderId":1,"leaderEpoch":7,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        let state: QuorumState = serde_json::from_str(text).unwrap();
        assert_eq!(state, QuorumState::leading(1, 7, false));
        assert_eq!(state.voters().collect::<Vec<_>>(), [1]);
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
    }
}
