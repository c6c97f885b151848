//! The log files on the disks of a run: which batches a write, a sync or a cut concerned.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_wire::records::{RecordIter, batches};

use crate::{
    event::{Contents, Left, NodeId, RecordId, Survival, TopicPartition},
    workload::payload,
};

/// A batch that was written to a log file.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) partition: Arc<str>,
    /// Where it lies in its file.
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) base: i64,
    pub(super) last: i64,
    pub(super) epoch: i32,
    /// The workload's records in it, by offset.
    pub(super) records: Vec<(i64, RecordId)>,
    durable: bool,
}

/// A file of a partition's log.
#[derive(Debug)]
struct LogFile {
    path: String,
    partition: Arc<str>,
    /// What is in it, in order of place.
    batches: Vec<usize>,
}

/// All log files of all nodes.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<(NodeId, u64), LogFile>,
    batches: Vec<Batch>,
}

/// The partition that a path lies in, if it is one of a log: the folder's name.
pub(super) fn partition_of(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    let folder = folder.rsplit_once('/').map_or(folder, |(_, folder)| folder);
    let (topic, number) = folder.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (name.ends_with(".log") && is_number && !topic.is_empty()).then_some(folder)
}

/// A segment by its first offset, which is its file's name.
pub(super) fn segment(path: &str) -> String {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let offset = name.split('.').next().and_then(|name| name.parse().ok());
    offset.map_or(name.to_owned(), |offset: u64| format!("segment {offset}"))
}

impl Files {
    pub(super) fn batch(&self, number: usize) -> &Batch {
        &self.batches[number]
    }

    /// A file was opened; gives the partition whose log it is part of.
    pub(super) fn opened(&mut self, node: NodeId, inode: u64, path: &str) -> Option<Arc<str>> {
        let partition = partition_of(path)?;
        let file = self.files.entry((node, inode)).or_insert_with(|| LogFile {
            path: String::new(),
            partition: partition.into(),
            batches: Vec::new(),
        });
        if file.path != path {
            *file = LogFile {
                path: path.to_owned(),
                partition: partition.into(),
                batches: Vec::new(),
            };
        }
        Some(Arc::clone(&file.partition))
    }

    /// The partition of a file and its segment in words, if it is part of a log.
    pub(super) fn place(&self, node: NodeId, inode: u64) -> Option<(Arc<str>, String)> {
        let file = self.files.get(&(node, inode))?;
        Some((Arc::clone(&file.partition), segment(&file.path)))
    }

    /// Bytes were written; gives the batches in them.
    pub(super) fn written(
        &mut self,
        node: NodeId,
        inode: u64,
        at: u64,
        bytes: &Bytes,
    ) -> Vec<usize> {
        let Some(file) = self.files.get_mut(&(node, inode)) else {
            return Vec::new();
        };
        let end = at + bytes.len() as u64;
        let all = &self.batches;
        file.batches
            .retain(|number| all[*number].end <= at || all[*number].at >= end);
        let first = self.batches.len();
        // What is no batch, or cut off, ends the list.
        for view in batches(bytes.clone()).map_while(Result::ok) {
            let begins = at + view.position() as u64;
            self.batches.push(Batch {
                partition: Arc::clone(&file.partition),
                at: begins,
                end: begins + view.size() as u64,
                base: view.base_offset(),
                last: view.last_offset(),
                epoch: view.header().partition_leader_epoch,
                records: records(&view, &file.partition),
                durable: false,
            });
        }
        let numbers: Vec<usize> = (first..self.batches.len()).collect();
        file.batches.extend(&numbers);
        let all = &self.batches;
        file.batches.sort_by_key(|number| all[*number].at);
        numbers
    }

    /// A sync made the file durable up to `len`; gives the batches that were not durable before.
    pub(super) fn synced(&mut self, node: NodeId, inode: u64, len: u64) -> Vec<usize> {
        let Some(file) = self.files.get(&(node, inode)) else {
            return Vec::new();
        };
        let mut synced = Vec::new();
        // From the end: whatever lies before a durable batch was synced with it or before.
        for number in file.batches.iter().rev() {
            let batch = &mut self.batches[*number];
            if batch.durable {
                break;
            }
            if batch.end <= len {
                batch.durable = true;
                synced.push(*number);
            }
        }
        synced.reverse();
        synced
    }

    /// A file was cut to `len`; gives the batches that are not whole any more.
    pub(super) fn truncated(&mut self, node: NodeId, inode: u64, len: u64) -> Vec<usize> {
        let Some(file) = self.files.get_mut(&(node, inode)) else {
            return Vec::new();
        };
        let all = &self.batches;
        let kept = file
            .batches
            .partition_point(|number| all[*number].end <= len);
        file.batches.split_off(kept)
    }

    /// A name went away; gives the batches in what it named.
    pub(super) fn removed(&mut self, node: NodeId, path: &str) -> Vec<usize> {
        let is_below = |file: &LogFile| {
            file.path == path
                || file
                    .path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let files = self.files.iter_mut().filter(|((on, _), _)| *on == node);
        files
            .filter(|(_, file)| is_below(file))
            .flat_map(|(_, file)| std::mem::take(&mut file.batches))
            .collect()
    }

    /// The node lost power; gives what was left of each batch that was not durable.
    pub(super) fn survived(&mut self, node: NodeId, survivals: &[Survival]) -> Vec<(usize, Left)> {
        let left: BTreeMap<(u64, u64), Left> = survivals
            .iter()
            .map(|one| ((one.inode, one.at), one.left))
            .collect();
        let mut fates = Vec::new();
        let files = self.files.iter_mut().filter(|((on, _), _)| *on == node);
        for ((_, inode), file) in files {
            let mut fate = None;
            let all = &mut self.batches;
            file.batches.retain(|number| {
                let batch = &mut all[*number];
                // The batches of one write have its fate; they lie one behind the other.
                fate = left.get(&(*inode, batch.at)).copied().or(fate);
                if batch.durable {
                    return true;
                }
                let left = fate.unwrap_or(Left::Nothing);
                fates.push((*number, left));
                batch.durable = left == Left::All;
                left != Left::Nothing
            });
        }
        fates
    }
}

fn records(view: &ottla_wire::records::BatchView, partition: &str) -> Vec<(i64, RecordId)> {
    let Some(partition) = topic_partition(partition) else {
        return Vec::new();
    };
    let Ok(body) = view.records(64 << 20) else {
        return Vec::new();
    };
    let records = RecordIter::new(view.header(), &body).map_while(Result::ok);
    records
        .filter_map(
            |record| match payload::decode(record.value.unwrap_or_default(), &partition) {
                Contents::Whole(id) => Some((record.offset, id)),
                Contents::Changed { .. } => None,
            },
        )
        .collect()
}

fn topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    Some(TopicPartition {
        topic: topic.into(),
        partition: number.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::batch, *};

    const NODE: NodeId = NodeId(1);
    const LOG: &str = "/data/t-0/00000000000000000000.log";

    fn with_batches(offsets: &[i64]) -> (Files, Vec<u64>) {
        let mut files = Files::default();
        files.opened(NODE, 5, LOG);
        let mut at = 0;
        let mut ends = Vec::new();
        for offset in offsets {
            let bytes = batch(*offset, 3, &[*offset as u64]);
            assert_eq!(files.written(NODE, 5, at, &bytes).len(), 1);
            at += bytes.len() as u64;
            ends.push(at);
        }
        (files, ends)
    }

    #[test]
    fn a_path_of_a_log_says_its_partition_and_no_other_does() {
        assert_eq!(partition_of(LOG), Some("t-0"));
        assert_eq!(partition_of("/data/a-b-12/0.log"), Some("a-b-12"));
        assert_eq!(partition_of("/data/t-0/0.index"), None);
        assert_eq!(partition_of("/data/t-0.abc-delete/0.log"), None);
        assert_eq!(partition_of("/data/0.log"), None);
    }

    #[test]
    fn a_write_says_which_offsets_and_records_it_holds() {
        let (files, ends) = with_batches(&[7]);
        let batch = files.batch(0);
        assert_eq!((batch.base, batch.last, batch.epoch), (7, 7, 3));
        assert_eq!((batch.at, batch.end), (0, ends[0]));
        let record = RecordId {
            producer: 1,
            sequence: 7,
        };
        assert_eq!(batch.records, [(7, record)]);
    }

    #[test]
    fn a_sync_covers_what_lies_below_the_durable_length_and_was_not_durable_before() {
        let (mut files, ends) = with_batches(&[0, 1, 2]);
        assert_eq!(files.synced(NODE, 5, ends[1]), [0, 1]);
        assert_eq!(files.synced(NODE, 5, ends[2]), [2]);
        assert!(files.synced(NODE, 5, ends[2]).is_empty());
    }

    #[test]
    fn a_cut_takes_what_is_not_whole_below_it_and_a_removal_all() {
        let (mut files, ends) = with_batches(&[0, 1, 2]);
        assert_eq!(files.truncated(NODE, 5, ends[2] - 1), [2]);
        assert_eq!(files.removed(NODE, "/data/t-0"), [0, 1]);
        assert!(files.removed(NODE, LOG).is_empty());
    }

    #[test]
    fn after_a_loss_of_power_each_unsynced_batch_is_what_is_left_of_its_write() {
        let (mut files, ends) = with_batches(&[0, 1, 2]);
        files.synced(NODE, 5, ends[0]);
        let survival = |at, left| Survival { inode: 5, at, left };
        let left = files.survived(
            NODE,
            &[survival(ends[0], Left::All), survival(ends[1], Left::Some)],
        );
        assert_eq!(left, [(1, Left::All), (2, Left::Some)]);
        assert!(
            files
                .survived(NODE, &[])
                .iter()
                .all(|(batch, _)| *batch == 2)
        );
    }
}
