//! The small text files of a log directory, in Kafka's formats.
//!
//! Checkpoints are a version line (`0`), a line with the number of entries, and a line each:
//! `topic partition offset` for offsets, `epoch offset` for leader epochs. `partition.metadata` and
//! `meta.properties` are `key: value` and `key=value` lines; `.kafka_cleanshutdown` is a JSON object.
//! Parsing is strict: these files are replaced atomically, so what does not parse is damage, and an error
//! names the line.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt::Write as _, str::FromStr};

use bytes::Bytes;

use super::epochs::EpochEntry;

/// What is wrong with a file, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// It is missing.
    #[error("missing")]
    Missing,
    /// There should be no such line.
    #[error("more lines than the {expected} counted")]
    Extra {
        /// The count.
        expected: usize,
    },
    /// Another version.
    #[error("version {got:?}, expected {expected}")]
    Version {
        /// The version this code knows.
        expected: u32,
        /// The line.
        got: String,
    },
    /// Not so many words.
    #[error("{got} words, expected {expected}")]
    Words {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A word that should be a number (not below zero).
    #[error("{0:?} is no number that may stand here")]
    Number(String),
    /// A line without a key, or a key that may not stand here.
    #[error("{0:?} is no key and value")]
    Key(String),
    /// A key that must be there is not.
    #[error("key {0:?} is missing")]
    MissingKey(&'static str),
}

fn err<T>(line: usize, reason: Reason) -> Result<T, ParseError> {
    Err(ParseError { line, reason })
}

fn text(bytes: &[u8]) -> Result<&str, ParseError> {
    core::str::from_utf8(bytes).or_else(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        err(line, Reason::Utf8)
    })
}

fn number<T: FromStr>(line: usize, word: &str) -> Result<T, ParseError> {
    // Kafka writes plain decimals; a sign or blanks are damage.
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse()
        .ok()
        .filter(|_| digits)
        .map_or_else(|| err(line, Reason::Number(word.to_string())), Ok)
}

/// The lines of a checkpoint after its two head lines, with their numbers.
fn checkpoint_lines(bytes: &[u8]) -> Result<Vec<(usize, &str)>, ParseError> {
    let mut lines = text(bytes)?
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line));
    match lines.next() {
        Some((_, "0")) => {}
        Some((line, got)) => {
            return err(
                line,
                Reason::Version {
                    expected: 0,
                    got: got.to_string(),
                },
            );
        }
        None => return err(1, Reason::Missing),
    }
    let Some((at, count)) = lines.next() else {
        return err(2, Reason::Missing);
    };
    let count: usize = number(at, count)?;
    let lines: Vec<_> = lines.collect();
    if lines.len() < count {
        return err(3 + lines.len(), Reason::Missing);
    }
    match lines.get(count) {
        Some(&(line, _)) => err(line, Reason::Extra { expected: count }),
        None => Ok(lines),
    }
}

fn words<const N: usize>(at: usize, line: &str) -> Result<[&str; N], ParseError> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let got = words.len();
    words
        .try_into()
        .or_else(|_| err(at, Reason::Words { expected: N, got }))
}

/// Offsets of partitions, by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Reads a `*-offset-checkpoint`.
///
/// # Errors
/// Names the first line that is wrong.
pub fn parse_offsets(bytes: &[u8]) -> Result<Offsets, ParseError> {
    let mut offsets = Offsets::new();
    for (at, line) in checkpoint_lines(bytes)? {
        let [topic, partition, offset] = words(at, line)?;
        offsets.insert(
            (topic.to_string(), number(at, partition)?),
            number(at, offset)?,
        );
    }
    Ok(offsets)
}

/// Writes a `*-offset-checkpoint`.
pub fn format_offsets<'a>(offsets: impl ExactSizeIterator<Item = (&'a str, i32, i64)>) -> Bytes {
    let mut out = format!("0\n{}\n", offsets.len());
    for (topic, partition, offset) in offsets {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{topic} {partition} {offset}");
    }
    out.into()
}

/// Reads a `leader-epoch-checkpoint`.
///
/// # Errors
/// Names the first line that is wrong.
pub fn parse_epochs(bytes: &[u8]) -> Result<Vec<EpochEntry>, ParseError> {
    checkpoint_lines(bytes)?
        .into_iter()
        .map(|(at, line)| {
            let [epoch, start_offset] = words(at, line)?;
            Ok(EpochEntry {
                epoch: number(at, epoch)?,
                start_offset: number(at, start_offset)?,
            })
        })
        .collect()
}

/// Writes a `leader-epoch-checkpoint`.
#[must_use]
pub fn format_epochs(epochs: &[EpochEntry]) -> Bytes {
    let mut out = format!("0\n{}\n", epochs.len());
    for EpochEntry {
        epoch,
        start_offset,
    } in epochs
    {
        let _ = writeln!(out, "{epoch} {start_offset}");
    }
    out.into()
}

/// Reads a `partition.metadata`: the topic's id, in Kafka's base64 form.
///
/// # Errors
/// Names the line that is wrong.
pub fn parse_partition_metadata(bytes: &[u8]) -> Result<String, ParseError> {
    let text = text(bytes)?;
    let mut id = None;
    let mut version = false;
    for (at, line) in text.lines().enumerate() {
        match line.split_once(": ") {
            Some(("version", "0")) => version = true,
            Some(("version", got)) => {
                return err(
                    at + 1,
                    Reason::Version {
                        expected: 0,
                        got: got.to_string(),
                    },
                );
            }
            Some(("topic_id", value)) if !value.is_empty() => id = Some(value.to_string()),
            _ => return err(at + 1, Reason::Key(line.to_string())),
        }
    }
    let end = text.lines().count() + 1;
    if !version {
        return err(end, Reason::MissingKey("version"));
    }
    id.map_or_else(|| err(end, Reason::MissingKey("topic_id")), Ok)
}

/// Writes a `partition.metadata`.
#[must_use]
pub fn format_partition_metadata(topic_id: &str) -> Bytes {
    format!("version: 0\ntopic_id: {topic_id}").into()
}

/// A log directory's `meta.properties` (version 1).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MetaProperties {
    /// The cluster.
    pub cluster_id: String,
    /// The node whose directory it is.
    pub node_id: i32,
    /// The directory's own id; directories of before KIP-858 have none.
    pub directory_id: Option<String>,
}

/// Reads a `meta.properties`. Keys that are not known are let pass, as Kafka does.
///
/// # Errors
/// Names the line that is wrong.
pub fn parse_meta_properties(bytes: &[u8]) -> Result<MetaProperties, ParseError> {
    let text = text(bytes)?;
    let mut found = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return err(at + 1, Reason::Key(line.to_string()));
        };
        found.insert(key.trim(), (at + 1, value.trim()));
    }
    let end = text.lines().count() + 1;
    let get = |key: &'static str| {
        found
            .get(key)
            .copied()
            .map_or_else(|| err(end, Reason::MissingKey(key)), Ok)
    };
    match get("version")? {
        (_, "1") => {}
        (at, got) => {
            return err(
                at,
                Reason::Version {
                    expected: 1,
                    got: got.to_string(),
                },
            );
        }
    }
    let (at, node_id) = get("node.id")?;
    Ok(MetaProperties {
        cluster_id: get("cluster.id")?.1.to_string(),
        node_id: number(at, node_id)?,
        directory_id: found.get("directory.id").map(|(_, id)| (*id).to_string()),
    })
}

/// Writes a `meta.properties`.
#[must_use]
pub fn format_meta_properties(meta: &MetaProperties) -> Bytes {
    let mut out = String::from("#\n");
    let _ = writeln!(out, "cluster.id={}", meta.cluster_id);
    if let Some(id) = &meta.directory_id {
        let _ = writeln!(out, "directory.id={id}");
    }
    let _ = writeln!(out, "node.id={}\nversion=1", meta.node_id);
    out.into()
}

/// Reads a `.kafka_cleanshutdown`: the broker's epoch when it stopped, -1 if it is not known.
///
/// # Errors
/// If it is no such JSON object. (The shutdown was clean all the same: the file is there.)
pub fn parse_clean_shutdown(bytes: &[u8]) -> Result<i64, ParseError> {
    let all = text(bytes)?.trim();
    // Kafka before 3.9 left it empty.
    if all.is_empty() {
        return Ok(-1);
    }
    let bad = || ParseError {
        line: 1,
        reason: Reason::Key(all.to_string()),
    };
    let fields = all
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(bad)?;
    let mut epoch = None;
    for field in fields.split(',') {
        let (key, value) = field.split_once(':').ok_or_else(bad)?;
        let value = value.trim();
        match key.trim() {
            "\"version\"" if value == "0" => {}
            "\"version\"" => {
                return err(
                    1,
                    Reason::Version {
                        expected: 0,
                        got: value.to_string(),
                    },
                );
            }
            "\"brokerEpoch\"" => epoch = Some(value.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        }
    }
    epoch.map_or_else(|| err(1, Reason::MissingKey("brokerEpoch")), Ok)
}

/// Writes a `.kafka_cleanshutdown`.
#[must_use]
pub fn format_clean_shutdown(broker_epoch: i64) -> Bytes {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of<T: core::fmt::Debug>(result: Result<T, ParseError>) -> usize {
        result.unwrap_err().line
    }

    #[test]
    fn offsets_survive_the_file() {
        let file = format_offsets([("a", 0, 5), ("my-topic", 12, i64::MAX)].into_iter());
        assert_eq!(file, "0\n2\na 0 5\nmy-topic 12 9223372036854775807\n");
        let offsets = parse_offsets(&file).unwrap();
        assert_eq!(offsets[&("my-topic".into(), 12)], i64::MAX);
        assert_eq!(offsets.len(), 2);
    }

    #[test]
    fn errors_name_the_line() {
        for (file, line) in [
            ("", 1),
            ("1\n0\n", 1),
            ("0\n", 2),
            ("0\n-1\n", 2),
            ("0\n2\na 0 5\n", 4),
            ("0\n1\na 0 5\nb 0 5\n", 4),
            ("0\n2\na 0 5\nb 0\n", 4),
            ("0\n1\na 0 +5\n", 3),
            ("0\n1\na 0 99999999999999999999\n", 3),
        ] {
            assert_eq!(line_of(parse_offsets(file.as_bytes())), line, "{file:?}");
        }
        assert_eq!(line_of(parse_offsets(b"0\n1\na\xff 0 5\n")), 3);
        assert_eq!(line_of(parse_epochs(b"0\n1\n1 2 3\n")), 3);
    }

    #[test]
    fn epochs_survive_the_file() {
        let epochs = [
            EpochEntry {
                epoch: 0,
                start_offset: 0,
            },
            EpochEntry {
                epoch: 3,
                start_offset: 70,
            },
        ];
        let file = format_epochs(&epochs);
        assert_eq!(file, "0\n2\n0 0\n3 70\n");
        assert_eq!(parse_epochs(&file).unwrap(), epochs);
    }

    #[test]
    fn partition_metadata_survives_the_file() {
        let file = format_partition_metadata("mDtNmMYWSOKY5jOjC0zbNg");
        assert_eq!(file, "version: 0\ntopic_id: mDtNmMYWSOKY5jOjC0zbNg");
        assert_eq!(
            parse_partition_metadata(&file).unwrap(),
            "mDtNmMYWSOKY5jOjC0zbNg"
        );
        assert_eq!(
            line_of(parse_partition_metadata(b"version: 1\ntopic_id: x")),
            1
        );
        assert_eq!(line_of(parse_partition_metadata(b"version: 0")), 2);
    }

    #[test]
    fn meta_properties_survive_the_file_and_kafkas_are_read() {
        let meta = MetaProperties {
            cluster_id: "c".into(),
            node_id: 3,
            directory_id: Some("d".into()),
        };
        assert_eq!(
            parse_meta_properties(&format_meta_properties(&meta)).unwrap(),
            meta
        );
        let kafkas =
            b"#\n#Mon Nov 23 18:00:00 UTC 2026\ncluster.id=q\nnode.id=1\nversion=1\nother=7\n";
        let meta = MetaProperties {
            cluster_id: "q".into(),
            node_id: 1,
            directory_id: None,
        };
        assert_eq!(parse_meta_properties(kafkas).unwrap(), meta);
        assert_eq!(
            line_of(parse_meta_properties(b"version=0\nnode.id=1\ncluster.id=q")),
            1
        );
        assert_eq!(
            line_of(parse_meta_properties(b"version=1\nnode.id=x\ncluster.id=q")),
            2
        );
    }

    #[test]
    fn a_clean_shutdown_survives_the_file() {
        assert_eq!(
            format_clean_shutdown(17),
            "{\"version\":0,\"brokerEpoch\":17}"
        );
        assert_eq!(parse_clean_shutdown(&format_clean_shutdown(17)), Ok(17));
        assert_eq!(
            parse_clean_shutdown(b"{ \"brokerEpoch\" : -1, \"version\" : 0 }\n"),
            Ok(-1)
        );
        assert_eq!(parse_clean_shutdown(b""), Ok(-1));
        assert!(parse_clean_shutdown(b"{\"version\":0}").is_err());
    }
}
