use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::records::{BatchBuilder, BatchView};

use super::*;

fn batch(times: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for &time in times {
        builder.push(time, Some(b"key"), Some(b"value")).unwrap();
    }
    builder.build().to_vec()
}

/// The batch with other bytes at `at`, its checksum made good.
fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn taken(batch: Vec<u8>) -> Result<Batches, BatchError> {
    Batches::from_client(Bytes::from(batch), usize::MAX)
}

#[test]
fn a_client_s_batch_whose_records_are_not_those_announced_is_refused() {
    let good = batch(&[1, 2, 3]);
    assert!(taken(good.clone()).is_ok());
    let five = with(good.clone(), 23, &4_i32.to_be_bytes());
    let five = with(five, 57, &5_i32.to_be_bytes());
    let two = with(good.clone(), 23, &1_i32.to_be_bytes());
    let two = with(two, 57, &2_i32.to_be_bytes());
    let garbage = with(good.clone(), BATCH_HEADER_BYTES, &[0xff; 12]);
    // The second record says that it is the first.
    let record = usize::from(good[BATCH_HEADER_BYTES] / 2) + 1;
    let repeated = with(good.clone(), BATCH_HEADER_BYTES + record + 3, &[0]);
    for bad in [five, two, garbage, repeated] {
        assert!(matches!(taken(bad), Err(BatchError::Records(_))));
    }
}

#[test]
fn a_client_s_batch_that_claims_an_offset_or_the_time_of_its_append_is_refused() {
    let good = batch(&[1, 2, 3]);
    let moved = with(good.clone(), 0, &7_i64.to_be_bytes());
    assert_eq!(taken(moved), Err(BatchError::BaseOffset { got: 7 }));
    let stamped = with(good, 21, &8_i16.to_be_bytes());
    assert_eq!(taken(stamped), Err(BatchError::AppendTime));
}

#[test]
fn a_false_largest_timestamp_of_a_client_is_put_right() {
    let good = batch(&[5, 9, 2]);
    let taken_as_it_is = taken(good.clone()).unwrap();
    assert_eq!(taken_as_it_is.bytes(), &good);
    assert_eq!(taken_as_it_is.times(), Some((Timestamp(2), Timestamp(9))));
    let mended = taken(with(good.clone(), 35, &i64::MAX.to_be_bytes())).unwrap();
    assert_eq!(mended.bytes(), &good);
    // Records without a timestamp have no part in it.
    let none = taken(batch(&[-1, -1])).unwrap();
    assert_eq!(none.times(), Some((Timestamp::NONE, Timestamp::NONE)));
    let view = BatchView::new(none.bytes()).unwrap();
    assert_eq!(view.header().max_timestamp, -1);
}
