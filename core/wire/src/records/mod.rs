//! Record batches, format version 2 (KIP-98): the unit in which records are sent, stored and fetched.
//!
//! A batch is a header of 61 bytes and its records, which may be compressed as a whole. The hot path
//! of a broker touches headers only: [`batches`] splits what a producer or a leader sent, each
//! [`Batch`] answers from its header, and [`stamp`] writes the offset and the leader's epoch into it,
//! which the checksum does not cover. Records are read ([`RecordIter`]) where a topic is compacted,
//! where its compression differs, by a client, and by the machines whose state lies in a log.
//!
//! Nothing here trusts its bytes: each error says where in the input it lies, and a torn end
//! ([`BatchError::TooShort`]) is told from one that is wrong. Batches of format 0 and 1 are
//! recognised and reported as [`BatchError::OldMagic`]; Kafka 4 writes and reads them no more.

mod batch;
mod builder;
#[cfg(feature = "compression")]
pub mod compression;
mod control;
mod header;
mod record;

pub use batch::{
    Batch, BatchError, BatchView, Batches, batches, batches_in, stamp, stamp_timestamp,
};
pub use builder::{BatchBuilder, BuildError};
pub use control::{ControlBuildError, ControlError, ControlRecord, ControlRecordType};
pub use header::{
    Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, NO_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
    UnknownCompression, decrement_sequence, increment_sequence,
};
pub use record::{Headers, Record, RecordError, RecordHeader, RecordIter};

/// CRC-32C (Castagnoli), as Kafka's batches and producer snapshots have it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// [`crc32c`] of pieces, one after the other.
pub fn crc32c_pieces(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize() as u32
}
