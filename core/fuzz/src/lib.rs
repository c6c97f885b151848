//! What the fuzz targets do with their bytes. Apart from them, so that a plain test of ottla-wire
//! (`tests/corpus.rs`) replays the corpora with a stable compiler.
//!
//! Each function panics where something that must hold does not: that what was read can be written,
//! and that reading it again gives the same bytes.

use bytes::Bytes;
use ottla_wire::messages::{ApiKey, RequestBody, ResponseBody};
use ottla_wire::metadata::MetadataRecord;
use ottla_wire::records::{self, ControlRecord, RecordIter};
use ottla_wire::{Decoder, EncodeError, Encoder, group, share, transaction};

/// The most that a compressed batch may give.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// A target's name, and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("request", request),
    ("response", response),
    ("record_batch", record_batch),
    ("metadata_record", metadata_record),
    ("coordinator_record", coordinator_record),
];

/// Which API and version two bytes choose, and the frame behind them.
fn api_of(data: &[u8]) -> Option<(ApiKey, i16, Bytes)> {
    let [api, version, frame @ ..] = data else {
        return None;
    };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    Some((api, i16::from(*version), Bytes::copy_from_slice(frame)))
}

/// `data`: an API, a version, and the body of a request.
pub fn request(data: &[u8]) {
    let Some((api, version, frame)) = api_of(data) else {
        return;
    };
    let read = |frame| RequestBody::decode(api, version, &mut Decoder::new(frame));
    if let Ok(body) = read(frame) {
        stable(
            &body,
            |body, e| body.encode(e, version),
            |bytes| read(bytes).ok(),
        );
    }
}

/// `data`: an API, a version, and the body of a response.
pub fn response(data: &[u8]) {
    let Some((api, version, frame)) = api_of(data) else {
        return;
    };
    let read = |frame| ResponseBody::decode(api, version, &mut Decoder::new(frame));
    if let Ok(body) = read(frame) {
        stable(
            &body,
            |body, e| body.encode(e, version),
            |bytes| read(bytes).ok(),
        );
    }
}

/// `data`: the value of a record in the metadata log.
pub fn metadata_record(data: &[u8]) {
    if let Ok((record, version)) = MetadataRecord::decode(Bytes::copy_from_slice(data)) {
        let read = |bytes| MetadataRecord::decode(bytes).ok().map(|(record, _)| record);
        stable(&record, |record, e| record.encode(e, version), read);
    }
}

/// `data`: a byte for the type, then the key or the value of a coordinator's record.
pub fn coordinator_record(data: &[u8]) {
    let Some((record_type, body)) = data.split_first() else {
        return;
    };
    macro_rules! of {
        ($($module:ident),*) => {$({
            if let Ok(key) = $module::CoordinatorKey::decode(Bytes::copy_from_slice(body)) {
                let bytes = key.to_bytes().expect("a key that was read can be written");
                assert_eq!(bytes, body);
            }
            let record_type = i16::from(*record_type);
            let read = |bytes| $module::CoordinatorValue::decode(record_type, bytes).ok();
            if let Some((value, version)) = read(Bytes::copy_from_slice(body)) {
                if let Ok(bytes) = value.to_bytes(version) {
                    let (again, _) = read(bytes.clone()).expect("what was written can be read");
                    assert_eq!(again.to_bytes(version), Ok(bytes));
                }
            }
        })*};
    }
    of!(group, transaction, share);
}

/// `data`: some record batches.
pub fn record_batch(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut covered = 0;
    for batch in records::batches(bytes) {
        let Ok(batch) = batch else {
            break;
        };
        covered += batch.size();
        // A fuzzer seldom hits a checksum, so what follows does not wait for one.
        let _ = (batch.validate(), batch.validate_produced());
        let _ = batch.stamped(77, 3);
        let Ok(payload) = batch.records(DECOMPRESSED_MAX) else {
            continue;
        };
        for record in RecordIter::new(batch.header(), &payload) {
            let Ok(record) = record else {
                break;
            };
            assert_eq!(record.headers.iter().count(), record.headers.len());
            if let (Some(key), Some(value)) = record.shared(&payload) {
                let _ = ControlRecord::decode(&key, value);
            }
        }
    }
    assert!(covered <= data.len());
}

/// Writes a value, reads it again and writes that: the bytes must be the same. Only the order of
/// unknown tagged fields may keep a value that was read from being written.
fn stable<T>(
    value: &T,
    write: impl Fn(&T, &mut Encoder) -> Result<(), EncodeError>,
    read: impl Fn(Bytes) -> Option<T>,
) {
    let bytes = |value: &T| {
        let mut e = Encoder::new();
        write(value, &mut e).map(|()| e.finish().into_bytes())
    };
    match bytes(value) {
        Ok(once) => {
            let again = read(once.clone()).expect("what was written can be read");
            assert_eq!(bytes(&again), Ok(once));
        }
        Err(EncodeError::TagOrder { .. }) => {}
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
}
