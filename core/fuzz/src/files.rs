//! What the fuzz targets for files do with their bytes. Apart from `lib.rs`, which knows ottla-wire only;
//! a plain test of ottla-core (`tests/corpus.rs`) replays the corpora.
//!
//! What was read is written and read again, and must be the same.

use ottla_core::config::properties;
use ottla_core::log::{checkpoint, index, snapshot};

/// A target's name, and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 4] = [
    ("properties", properties_file),
    ("checkpoint", checkpoint_file),
    ("index", index_file),
    ("snapshot", snapshot_file),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    for (target, run) in TARGETS {
        if target == name {
            run(data);
        }
    }
}

fn properties_file(data: &[u8]) {
    if let Ok(entries) = properties::parse(data) {
        let again = properties::parse(properties::format(&entries).as_bytes());
        assert_eq!(again, Ok(entries));
    }
}

fn checkpoint_file(data: &[u8]) {
    let _ = checkpoint::parse_offsets(data);
    if let Ok(epochs) = checkpoint::parse_epochs(data) {
        let again = checkpoint::parse_epochs(&checkpoint::format_epochs(&epochs));
        assert_eq!(again, Ok(epochs));
    }
    if let Ok(topic_id) = checkpoint::parse_partition_metadata(data) {
        let file = checkpoint::format_partition_metadata(&topic_id);
        assert_eq!(checkpoint::parse_partition_metadata(&file), Ok(topic_id));
    }
    let _ = checkpoint::parse_meta_properties(data);
    if let Ok(epoch) = checkpoint::parse_clean_shutdown(data) {
        let file = checkpoint::format_clean_shutdown(epoch);
        assert_eq!(checkpoint::parse_clean_shutdown(&file), Ok(epoch));
    }
}

fn index_file(data: &[u8]) {
    for base in [0, 1000, i64::MAX >> 1] {
        for target in [0, base, base + 5, i64::MAX] {
            let _ = index::offset::lookup(data, base, target);
            let _ = index::time::lookup(data, base, target);
        }
        let len = data.len() as u64;
        let _ = index::offset::check_tail(len, data, base);
        let _ = index::time::check_tail(len, data, base);
        let times: Vec<_> = index::time::entries(data, base).collect();
        let whole = data.len() - data.len() % 12;
        assert_eq!(index::time::encode_all(base, &times), &data[..whole]);
        assert_eq!(index::offset::entries(data, base).len(), data.len() / 8);
    }
    if let Ok(aborted) = index::txn::decode_all(data) {
        let again: Vec<u8> = aborted.iter().flat_map(|entry| entry.encode()).collect();
        assert_eq!(again, data);
    }
}

fn snapshot_file(data: &[u8]) {
    if let Ok(producers) = snapshot::parse(data) {
        let file = snapshot::format(producers.iter().map(|(id, entry)| (*id, entry)));
        assert_eq!(snapshot::parse(&file), Ok(producers));
    }
}
