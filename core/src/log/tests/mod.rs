//! Fixtures shared by the log's tests.

mod disk;
mod fixture;
mod model;
mod producers;
mod recovery;
mod retention;

use bytes::{BufMut as _, Bytes, BytesMut};

/// A plain batch of `count` records of no particular content.
pub(super) fn batch_of(base: i64, count: i32, timestamp: i64) -> Bytes {
    TestBatch {
        base,
        count,
        timestamp,
        ..TestBatch::default()
    }
    .build()
}

/// A batch in the making.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestBatch {
    pub(super) base: i64,
    pub(super) epoch: i32,
    pub(super) count: i32,
    pub(super) timestamp: i64,
    pub(super) attributes: i16,
    pub(super) producer: (i64, i16, i32),
    /// Filler behind the records, so that sizes differ.
    pub(super) filler: usize,
    /// Whether it ends a transaction, with which coordinator epoch.
    pub(super) marker: Option<(bool, i32)>,
}

impl Default for TestBatch {
    fn default() -> Self {
        Self {
            base: 0,
            epoch: 0,
            count: 1,
            timestamp: 1,
            attributes: 0,
            producer: (-1, -1, -1),
            filler: 10,
            marker: None,
        }
    }
}

impl TestBatch {
    pub(super) fn build(self) -> Bytes {
        let mut body = BytesMut::new();
        let attributes = self.attributes | if self.marker.is_some() { 0x30 } else { 0 };
        body.put_i16(attributes);
        body.put_i32(self.count - 1);
        body.put_i64(self.timestamp);
        body.put_i64(self.timestamp);
        body.put_i64(self.producer.0);
        body.put_i16(self.producer.1);
        body.put_i32(self.producer.2);
        body.put_i32(self.count);
        if let Some((commit, coordinator_epoch)) = self.marker {
            // Length 16 (zigzag 32), attributes, deltas, key of 4, value of 6, no headers.
            body.put_slice(&[32, 0, 0, 0, 8, 0, 0, 0, u8::from(commit), 12, 0, 0]);
            body.put_i32(coordinator_epoch);
            body.put_u8(0);
        } else {
            for at in 0..self.count {
                // A record with null key, and filler as value.
                let mut record = BytesMut::new();
                record.put_slice(&[0, 0]);
                put_varint(&mut record, at);
                put_varint(&mut record, -1);
                put_varint(&mut record, self.filler as i32);
                record.put_bytes(b'x', self.filler);
                record.put_u8(0);
                put_varint(&mut body, record.len() as i32);
                body.put_slice(&record);
            }
        }
        let mut batch = BytesMut::new();
        batch.put_i64(self.base);
        batch.put_i32(9 + body.len() as i32);
        batch.put_i32(self.epoch);
        batch.put_i8(2);
        batch.put_u32(crate::batch::crc32c(&body));
        batch.put_slice(&body);
        batch.freeze()
    }
}

fn put_varint(out: &mut BytesMut, value: i32) {
    let mut zigzag = ((value << 1) ^ (value >> 31)).cast_unsigned();
    while zigzag >= 128 {
        out.put_u8((zigzag & 127) as u8 | 128);
        zigzag >>= 7;
    }
    out.put_u8(zigzag as u8);
}
