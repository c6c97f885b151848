//! Events as lines of text: time, node, what happened.

use std::fmt::{self, Write as _};

use crate::event::{Event, Recording, What, Work};

/// One line an event: virtual seconds, the node's name, what happened.
#[must_use]
pub fn line(recording: &Recording, event: &Event) -> String {
    let mut line = String::new();
    let (seconds, nanos) = (event.at / 1_000_000_000, event.at % 1_000_000_000);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{seconds:>5}.{nanos:09} {:<12} {}",
        recording.name(event.node),
        event.what
    );
    line
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunStarted { hash } => write!(f, "run started ({hash:016x})"),
            Self::ProcessStarted(number) => write!(f, "process {number} starts"),
            Self::ProcessReady => write!(f, "ready"),
            Self::ProcessFailed(error) => write!(f, "process failed: {error}"),
            Self::ProcessStopping => write!(f, "stopping"),
            Self::ProcessStopped => write!(f, "stopped"),
            Self::ProcessKilled => write!(f, "KILLED"),
            Self::PowerLost { kept, lost, torn } => {
                write!(
                    f,
                    "POWER LOST (unsynced: {kept} kept, {lost} lost, {torn} torn)"
                )
            }
            Self::Fault(fault) => write!(f, "FAULT {fault}"),
            Self::DiskName { operation, path } => write!(f, "{operation} {path}"),
            Self::DiskWrite { inode, at, len, .. } => write!(f, "write i{inode} {at}+{len}"),
            Self::DiskRead { inode, at, len, .. } => write!(f, "read i{inode} {at}+{len}"),
            Self::DiskTruncate { inode, len } => write!(f, "truncate i{inode} to {len}"),
            Self::DiskSync { inode, len } => write!(f, "synced i{inode} to {len}"),
            Self::DiskError { operation, error } => write!(f, "DISK ERROR {operation}: {error}"),
            Self::Connecting(to) => write!(f, "connect to {to}"),
            Self::Connected { connection } => write!(f, "c{connection} connected"),
            Self::ConnectFailed(error) => write!(f, "connect failed: {error}"),
            Self::Sent {
                connection, len, ..
            } => write!(f, "c{connection} sent {len}"),
            Self::Received { connection, len } => write!(f, "c{connection} received {len}"),
            Self::Ended { connection, how } => write!(f, "c{connection} {how}"),
            Self::Work(work) => work.fmt(f),
            Self::Violation(text) => write!(f, "VIOLATION {text}"),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProducerBegan { producer, promise } => {
                write!(f, "producer {producer} begins ({promise:?})")
            }
            Self::Retained { topic, ms, bytes } => {
                write!(f, "{topic} keeps records for {ms:?} ms, {bytes:?} bytes")
            }
            Self::ClocksWrong => write!(f, "a wall clock is wrong"),
            Self::UnsyncedLost => write!(f, "what is not synced may be gone"),
            Self::DeletionAsked { partition, before } => {
                write!(f, "delete the records of {partition} before {before}")
            }
            Self::Deleted {
                partition,
                log_start,
            } => write!(f, "deleted: {partition} starts at {log_start}"),
            Self::TimeAsked { partition, time } => {
                write!(f, "asks for the first of {partition} at or behind {time}")
            }
            Self::TimeFound {
                partition,
                time,
                offset,
                timestamp,
                ..
            } => write!(
                f,
                "first of {partition} at or behind {time}: {offset} ({timestamp})"
            ),
            Self::Sent {
                record, partition, ..
            } => write!(f, "send {record} to {partition}"),
            Self::Acknowledged {
                record,
                partition,
                offset,
            } => match offset {
                Some(offset) => write!(f, "acknowledged {record} in {partition} at {offset}"),
                None => write!(f, "acknowledged {record} in {partition}"),
            },
            Self::GaveUp {
                record,
                partition,
                error,
            } => {
                write!(f, "gave up {record} to {partition}: {error}")
            }
            Self::Read {
                consumer,
                partition,
                offset,
                contents,
            } => {
                write!(
                    f,
                    "consumer {consumer} reads {contents} in {partition} at {offset}"
                )
            }
            Self::Positioned {
                consumer,
                partition,
                offset,
            } => {
                write!(
                    f,
                    "consumer {consumer} positioned in {partition} at {offset}"
                )
            }
            Self::Assigned {
                group,
                consumer,
                generation,
                partitions,
            } => {
                write!(f, "consumer {consumer} of {group} holds in {generation}:")?;
                partitions.iter().try_for_each(|one| write!(f, " {one}"))
            }
            Self::Took {
                group,
                consumer,
                partitions,
            } => {
                write!(f, "consumer {consumer} of {group} is given:")?;
                partitions.iter().try_for_each(|one| write!(f, " {one}"))
            }
            Self::Gave {
                group,
                consumer,
                partitions,
                lost,
            } => {
                let how = if *lost { "has lost" } else { "lets go" };
                write!(f, "consumer {consumer} of {group} {how}:")?;
                partitions.iter().try_for_each(|one| write!(f, " {one}"))
            }
            Self::CommitSent {
                group,
                consumer,
                commit,
                partition,
                offset,
            } => {
                write!(
                    f,
                    "consumer {consumer} commits for {group}: {partition} at {offset} ({commit})"
                )
            }
            Self::CommitAcknowledged { commit } => write!(f, "commit {commit} acknowledged"),
            Self::CommitFailed { commit, error } => write!(f, "commit {commit} failed: {error}"),
            Self::FinalStart {
                partition, offset, ..
            } => write!(f, "final start of {partition}: {offset}"),
            Self::FinalSize { partition, bytes } => {
                write!(f, "final size of {partition}: {bytes}")
            }
            Self::Resumed {
                group,
                consumer,
                partition,
                offset,
            } => write!(
                f,
                "consumer {consumer} of {group} resumes {partition} at {offset}"
            ),
            Self::AgainStart { partition, offset } => {
                write!(f, "again start of {partition}: {offset}")
            }
            Self::Final {
                partition,
                offset,
                contents,
                ..
            } => {
                write!(f, "final {partition} at {offset}: {contents}")
            }
            Self::CommitAsked {
                group,
                consumer,
                partition,
            } => {
                write!(
                    f,
                    "consumer {consumer} asks what {group} has committed of {partition}"
                )
            }
            Self::CommitFound {
                group,
                consumer: _,
                partition,
                offset,
            } => {
                write!(f, "found committed for {group}: {partition} at {offset}")
            }
            Self::FinalEnd { partition, offset } => write!(f, "final end of {partition}: {offset}"),
            Self::Again {
                partition,
                offset,
                contents,
            } => {
                write!(f, "again {partition} at {offset}: {contents}")
            }
            Self::AgainEnd { partition, offset } => write!(f, "again end of {partition}: {offset}"),
            Self::Stuck(text) => write!(f, "STUCK {text}"),
            Self::Damaged { what } => write!(f, "DAMAGED {what}"),
            Self::Quiet(true) => write!(f, "quiet times begin"),
            Self::Quiet(false) => write!(f, "quiet times end"),
            Self::Answered { expected, got } => {
                write!(f, "request {expected} was to be answered, {got} was")
            }
            Self::Unwanted {
                partition,
                wanted,
                got,
            } => write!(
                f,
                "{partition} was wanted from {wanted} on, what came first ends at {got}"
            ),
            Self::NewsAsked { consumer } => write!(f, "consumer {consumer} asks for news"),
            Self::NewsKnown {
                consumer,
                partition,
                high_watermark,
                log_start,
                now: _,
            } => write!(
                f,
                "consumer {consumer} knows {partition} to begin at {log_start} and to be readable up to {high_watermark}"
            ),
            Self::LogCut => write!(f, "a recovery has cut a log"),
            Self::DamageTold { partition, how } => match partition {
                Some(partition) => write!(f, "damage in {partition} told of: {how}"),
                None => write!(f, "damage told of: {how}"),
            },
        }
    }
}
