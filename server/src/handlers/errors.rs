//! What the storage says, as Kafka's error codes.

use ottla_core::{
    batch::BatchError,
    log::{self, ProducerError},
};
use ottla_wire::ErrorCode;

use crate::storage::{AppendError, QueryError, ReadError};

/// The code of an append that was refused or not acknowledged.
pub(super) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::NotLeader { .. } | AppendError::Closed => ErrorCode::NotLeaderOrFollower,
        AppendError::WrongLeaderEpoch { expected, current } if expected > current => {
            ErrorCode::UnknownLeaderEpoch
        }
        AppendError::WrongLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        AppendError::Gone => ErrorCode::UnknownTopicOrPartition,
        AppendError::Storage | AppendError::Full => ErrorCode::KafkaStorageError,
        AppendError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        AppendError::Batch(error) => of_batch(error),
        AppendError::Log(error) => of_log(error),
    }
}

fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::Torn { .. } | BatchError::Length { .. } | BatchError::Crc { .. } => {
            ErrorCode::CorruptMessage
        }
        BatchError::AppendTime => ErrorCode::InvalidTimestamp,
        BatchError::Magic { .. } => ErrorCode::UnsupportedForMessageFormat,
        BatchError::Compression { .. } => ErrorCode::UnsupportedCompressionType,
        _ => ErrorCode::InvalidRecord,
    }
}

fn of_log(error: &log::AppendError) -> ErrorCode {
    match error {
        log::AppendError::Producer(error) => of_producer(error),
        log::AppendError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        log::AppendError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
        log::AppendError::OffsetNotRising { .. } | log::AppendError::OffsetsExhausted { .. } => {
            ErrorCode::UnknownServerError
        }
    }
}

/// The code of a question that was refused.
pub(super) fn of_query(error: &QueryError) -> ErrorCode {
    match error {
        QueryError::NotLeader { .. } => ErrorCode::NotLeaderOrFollower,
        QueryError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        QueryError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        QueryError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        QueryError::Offline => ErrorCode::KafkaStorageError,
        QueryError::Gone => ErrorCode::UnknownTopicOrPartition,
        QueryError::Corrupt { .. } => ErrorCode::CorruptMessage,
    }
}

/// The code of a read that failed.
pub(super) fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Query(error) => of_query(error),
        ReadError::Io(_) => ErrorCode::KafkaStorageError,
        ReadError::Damaged(_) => ErrorCode::CorruptMessage,
    }
}

fn of_producer(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
        ProducerError::TransactionCoordinatorFenced { .. } => {
            ErrorCode::TransactionCoordinatorFenced
        }
    }
}
