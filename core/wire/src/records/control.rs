//! Control records: what brokers tell each other and clients within a log.
//!
//! A control record's key is a version and a type, two bytes each. The markers that end a
//! transaction (KIP-98) have a version before their value; the records of KRaft (KIP-595, KIP-630,
//! KIP-853) have it as their first field instead. A reader skips types that it does not know.

use bytes::{Bytes, BytesMut};

use super::{BatchBuilder, BuildError};
use crate::raft::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use crate::transaction::EndTxnMarker;
use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The types of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ControlRecordType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// A leader of the metadata quorum begins its epoch.
    LeaderChange = 2,
    /// The first record of a snapshot.
    SnapshotHeader = 3,
    /// The last record of a snapshot.
    SnapshotFooter = 4,
    /// The version of KRaft from here on.
    KRaftVersion = 5,
    /// The voters from here on.
    KRaftVoters = 6,
}

impl ControlRecordType {
    const ALL: [ControlRecordType; 7] = [
        ControlRecordType::Abort,
        ControlRecordType::Commit,
        ControlRecordType::LeaderChange,
        ControlRecordType::SnapshotHeader,
        ControlRecordType::SnapshotFooter,
        ControlRecordType::KRaftVersion,
        ControlRecordType::KRaftVoters,
    ];

    /// The type of this number; `None` is one to skip.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Reads the type from a control record's key: `Ok(None)` is one to skip.
    pub fn of_key(key: &[u8]) -> Result<Option<Self>, ControlError> {
        let [v1, v2, t1, t2, ..] = *key else {
            return Err(ControlError::ShortKey { length: key.len() });
        };
        let version = i16::from_be_bytes([v1, v2]);
        if version < 0 {
            return Err(ControlError::KeyVersion { version });
        }
        Ok(Self::from_code(i16::from_be_bytes([t1, t2])))
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; 4] {
        let [t1, t2] = (self as i16).to_be_bytes();
        [0, 0, t1, t2]
    }
}

/// Why a control record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The record has no key, or one too short for a version and a type.
    #[error("the key of a control record has {length} bytes, at least 4 are needed")]
    ShortKey {
        /// How long it is.
        length: usize,
    },
    /// The version of the key is negative.
    #[error("the key of a control record has the version {version}")]
    KeyVersion {
        /// What it says.
        version: i16,
    },
    /// The value cannot be read.
    #[error("the value of a control record: {0}")]
    Value(#[from] DecodeError),
}

/// A control record of a known type.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// A transaction was aborted.
    Abort(EndTxnMarker),
    /// A transaction was committed.
    Commit(EndTxnMarker),
    /// A leader of the metadata quorum begins its epoch.
    LeaderChange(LeaderChangeMessage),
    /// The first record of a snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// The last record of a snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// The version of KRaft from here on.
    KRaftVersion(KRaftVersionRecord),
    /// The voters from here on.
    KRaftVoters(VotersRecord),
}

impl ControlRecord {
    /// Which type this is of.
    pub fn record_type(&self) -> ControlRecordType {
        match self {
            ControlRecord::Abort(_) => ControlRecordType::Abort,
            ControlRecord::Commit(_) => ControlRecordType::Commit,
            ControlRecord::LeaderChange(_) => ControlRecordType::LeaderChange,
            ControlRecord::SnapshotHeader(_) => ControlRecordType::SnapshotHeader,
            ControlRecord::SnapshotFooter(_) => ControlRecordType::SnapshotFooter,
            ControlRecord::KRaftVersion(_) => ControlRecordType::KRaftVersion,
            ControlRecord::KRaftVoters(_) => ControlRecordType::KRaftVoters,
        }
    }

    /// Reads the key and the value of a record in a control batch: `Ok(None)` is one to skip.
    pub fn decode(key: &[u8], value: Bytes) -> Result<Option<Self>, ControlError> {
        let Some(record_type) = ControlRecordType::of_key(key)? else {
            return Ok(None);
        };
        let version = value
            .first_chunk()
            .map_or(0, |&two| i16::from_be_bytes(two));
        let mut d = Decoder::new(value);
        // Newer versions only add at the end, so a value is read as the newest that is known here,
        // and what is left of it is not looked at.
        Ok(Some(match record_type {
            ControlRecordType::Abort => ControlRecord::Abort(marker(&mut d)?),
            ControlRecordType::Commit => ControlRecord::Commit(marker(&mut d)?),
            ControlRecordType::LeaderChange => ControlRecord::LeaderChange(body(&mut d, version)?),
            ControlRecordType::SnapshotHeader => {
                ControlRecord::SnapshotHeader(body(&mut d, version)?)
            }
            ControlRecordType::SnapshotFooter => {
                ControlRecord::SnapshotFooter(body(&mut d, version)?)
            }
            ControlRecordType::KRaftVersion => ControlRecord::KRaftVersion(body(&mut d, version)?),
            ControlRecordType::KRaftVoters => ControlRecord::KRaftVoters(body(&mut d, version)?),
        }))
    }

    /// The value of the record, in the version that it names itself.
    pub fn value(&self) -> Result<Bytes, EncodeError> {
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => {
                let mut e = Encoder::with_buffer(BytesMut::with_capacity(6));
                e.i16(EndTxnMarker::MAX_VERSION);
                marker.encode(&mut e, EndTxnMarker::MAX_VERSION)?;
                Ok(e.finish().into_bytes())
            }
            ControlRecord::LeaderChange(m) => m.to_bytes(m.version),
            ControlRecord::SnapshotHeader(m) => m.to_bytes(m.version),
            ControlRecord::SnapshotFooter(m) => m.to_bytes(m.version),
            ControlRecord::KRaftVersion(m) => m.to_bytes(m.version),
            ControlRecord::KRaftVoters(m) => m.to_bytes(m.version),
        }
    }
}

fn marker(d: &mut Decoder) -> Result<EndTxnMarker, DecodeError> {
    let version = d.i16()?;
    EndTxnMarker::decode(d, version.min(EndTxnMarker::MAX_VERSION))
}

fn body<M: Message>(d: &mut Decoder, version: i16) -> Result<M, DecodeError> {
    M::decode(d, version.min(M::MAX_VERSION))
}

impl BatchBuilder {
    /// Adds a control record, and makes the batch a control batch.
    pub fn push_control(
        &mut self,
        timestamp: i64,
        record: &ControlRecord,
    ) -> Result<(), ControlBuildError> {
        let value = record.value()?;
        self.push(timestamp, Some(&record.record_type().key()), Some(&value))?;
        self.make_control();
        Ok(())
    }
}

/// Why a control record does not go into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlBuildError {
    /// Its value cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It does not fit into the batch.
    #[error(transparent)]
    Build(#[from] BuildError),
}
