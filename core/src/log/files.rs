//! The files of a partition's directory, by Kafka's names.
//!
//! Names are parsed and written here and nowhere else. A segment's files are named for its base
//! offset in twenty digits, so that names sort as offsets do; a producer snapshot for the offset up
//! to which it holds. `.cleaned`, `.swap` and `.deleted` are Kafka's marks for the steps of a
//! segment's replacement (see `LogLoader`).

use alloc::{format, string::String};
use core::fmt;

/// A file in a partition's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// Record batches of the segment that starts here.
    Log(i64),
    /// Offset to position, sparse.
    OffsetIndex(i64),
    /// Timestamp to offset, sparse.
    TimeIndex(i64),
    /// Aborted transactions. Made when the first one is written.
    TxnIndex(i64),
    /// Producers as they stood before this offset.
    ProducerSnapshot(i64),
    /// Which leader epoch began where.
    LeaderEpochCheckpoint,
    /// The topic's id.
    PartitionMetadata,
}

/// A mark at the end of a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// To be deleted.
    Deleted,
    /// The output of a cleaning that is not complete.
    Cleaned,
    /// The output of a complete cleaning, about to take the place of what it replaces.
    Swap,
}

impl FileName {
    /// The segment it belongs to, by base offset; for a snapshot its offset.
    #[must_use]
    pub fn base_offset(self) -> Option<i64> {
        match self {
            Self::Log(base)
            | Self::OffsetIndex(base)
            | Self::TimeIndex(base)
            | Self::TxnIndex(base)
            | Self::ProducerSnapshot(base) => Some(base),
            Self::LeaderEpochCheckpoint | Self::PartitionMetadata => None,
        }
    }

    /// Reads a name; none if it is not one of a partition's files. A mark is given beside it.
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, Option<Mark>)> {
        let (name, mark) = [
            (".deleted", Mark::Deleted),
            (".cleaned", Mark::Cleaned),
            (".swap", Mark::Swap),
        ]
        .into_iter()
        .find_map(|(suffix, mark)| Some((name.strip_suffix(suffix)?, Some(mark))))
        .unwrap_or((name, None));
        let file = match name {
            "leader-epoch-checkpoint" => Self::LeaderEpochCheckpoint,
            "partition.metadata" => Self::PartitionMetadata,
            _ => {
                let (digits, suffix) = name.split_once('.')?;
                if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                    return None;
                }
                let base = digits.parse().ok()?;
                match suffix {
                    "log" => Self::Log(base),
                    "index" => Self::OffsetIndex(base),
                    "timeindex" => Self::TimeIndex(base),
                    "txnindex" => Self::TxnIndex(base),
                    "snapshot" => Self::ProducerSnapshot(base),
                    _ => return None,
                }
            }
        };
        Some((file, mark))
    }

    /// The name with a mark.
    #[must_use]
    pub fn marked(self, mark: Mark) -> String {
        format!("{self}{mark}")
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(base) => write!(f, "{base:020}.log"),
            Self::OffsetIndex(base) => write!(f, "{base:020}.index"),
            Self::TimeIndex(base) => write!(f, "{base:020}.timeindex"),
            Self::TxnIndex(base) => write!(f, "{base:020}.txnindex"),
            Self::ProducerSnapshot(offset) => write!(f, "{offset:020}.snapshot"),
            Self::LeaderEpochCheckpoint => f.write_str("leader-epoch-checkpoint"),
            Self::PartitionMetadata => f.write_str("partition.metadata"),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_kafkas_and_parse_back() {
        let names = [
            (FileName::Log(0), "00000000000000000000.log"),
            (FileName::OffsetIndex(42), "00000000000000000042.index"),
            (
                FileName::TimeIndex(i64::MAX),
                "09223372036854775807.timeindex",
            ),
            (FileName::TxnIndex(7), "00000000000000000007.txnindex"),
            (
                FileName::ProducerSnapshot(10),
                "00000000000000000010.snapshot",
            ),
            (FileName::LeaderEpochCheckpoint, "leader-epoch-checkpoint"),
            (FileName::PartitionMetadata, "partition.metadata"),
        ];
        for (file, name) in names {
            assert_eq!(file.to_string(), name);
            assert_eq!(FileName::parse(name), Some((file, None)));
            for mark in [Mark::Deleted, Mark::Cleaned, Mark::Swap] {
                assert_eq!(
                    FileName::parse(&file.marked(mark)),
                    Some((file, Some(mark)))
                );
            }
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in [
            "0.log",
            "00000000000000000000",
            "+0000000000000000001.log",
            "00000000000000000000-0000000003.checkpoint",
            "99999999999999999999.log",
            "00000000000000000000.log.tmp",
            "quorum-state",
            ".lock",
            "",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
