//! Frames from strangers: none makes the decoder panic, and none makes it allocate more than its
//! length justifies. An allocator that counts stands in for the machine's memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use ottla_wire::codec::{ALLOCATION_FACTOR, ALLOCATION_FLOOR};
use ottla_wire::messages::{ApiKey, RequestBody, ResponseBody};
use ottla_wire::metadata::MetadataRecord;
use ottla_wire::{DecodeError, Decoder, Encoder, Message, group, share, transaction};

/// Counts what one thread allocates in all, freed again or not.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get() + layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get() + size));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated_by<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let outcome = run();
    (outcome, ALLOCATED.get() - before)
}

/// SplitMix64: the same bytes on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    /// Bytes of which many are small, so that lengths and counts are often plausible.
    fn frame(&mut self, len: usize) -> Bytes {
        let byte = |n: u64| if n & 0x300 == 0 { n as u8 } else { n as u8 & 3 };
        (0..len).map(|_| byte(self.next())).collect()
    }
}

/// Everything that reads a stranger's bytes as a request or a response.
fn read_both(api: ApiKey, version: i16, frame: &Bytes) {
    let allowed = frame.len() * ALLOCATION_FACTOR + ALLOCATION_FLOOR;
    let (_, request) = allocated_by(|| {
        RequestBody::decode(api, version, &mut Decoder::new(frame.clone())).is_ok()
    });
    let (_, response) = allocated_by(|| {
        ResponseBody::decode(api, version, &mut Decoder::new(frame.clone())).is_ok()
    });
    assert!(
        request <= allowed && response <= allowed,
        "{api} {version}: {request}, {response}: {frame:02x?}"
    );
}

#[test]
fn random_frames_never_panic_any_api_in_any_version() {
    let mut noise = Noise(1);
    for &api in ApiKey::ALL {
        for version in api.valid_versions() {
            for round in 0..150 {
                let frame = noise.frame(round);
                read_both(api, version, &frame);
            }
        }
    }
}

#[test]
fn frames_of_one_byte_repeated_never_panic_any_api() {
    for &api in ApiKey::ALL {
        for version in api.valid_versions() {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff] {
                read_both(api, version, &Bytes::from(vec![byte; 300]));
            }
        }
    }
}

#[test]
fn random_records_never_panic() {
    let mut noise = Noise(2);
    for round in 0..20_000 {
        let mut frame = noise.frame(round % 80).to_vec();
        if let [first, second, third, ..] = &mut frame[..] {
            (*first, *second, *third) = (1, (round % 30) as u8, (round % 3) as u8);
        }
        let _ = MetadataRecord::decode(frame.into());
        let key = noise.frame(round % 60);
        let _ = (
            group::CoordinatorKey::decode(key.clone()),
            transaction::CoordinatorKey::decode(key.clone()),
        );
        let _ = share::CoordinatorKey::decode(key.clone());
        for record_type in 0..25 {
            let _ = group::CoordinatorValue::decode(record_type, key.clone());
        }
        let _ = (
            transaction::CoordinatorValue::decode(0, key.clone()),
            share::CoordinatorValue::decode(0, key),
        );
    }
}

/// The frame that makes another codec ask for 154 GB: two billion topics, and nothing behind them.
#[test]
fn a_metadata_frame_that_claims_two_billion_topics_is_refused_before_any_memory_is_asked_for() {
    let frame = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);
    let (outcome, allocated) = allocated_by(|| {
        RequestBody::decode(ApiKey::Metadata, 1, &mut Decoder::new(frame)).map(drop)
    });
    let too_long = DecodeError::ArrayTooLong {
        at: 4,
        count: 0x7fff_ffff,
        min_size: 2,
        remaining: 3,
    };
    assert_eq!(outcome, Err(too_long));
    assert_eq!(allocated, 0);
}

/// Two bytes of the wire become a struct of many more: the budget bounds that.
#[test]
fn a_long_array_of_empty_structs_meets_the_budget() {
    let topics = 4 << 20;
    let mut e = Encoder::new();
    e.uvarint(topics + 1);
    // An empty name and no tagged fields, over and over.
    e.put_slice(&[1, 0].repeat(topics as usize));
    e.put_slice(&[0; 20]);
    let frame = e.finish().into_bytes();
    let (outcome, allocated) = allocated_by(|| {
        RequestBody::decode(ApiKey::DescribeTopicPartitions, 0, &mut Decoder::new(frame)).map(drop)
    });
    assert!(
        matches!(outcome, Err(DecodeError::TooLarge { .. })),
        "{outcome:?}"
    );
    assert_eq!(allocated, 0);
}

#[test]
fn what_is_not_there_is_an_error_and_names_its_place() {
    use ottla_wire::messages::{HeartbeatRequest, RequestHeader, ResponseHeader};
    let decode = |bytes: &'static [u8]| {
        HeartbeatRequest::decode_exact(Bytes::from_static(bytes), 0).map(drop)
    };
    let short = |at, needed, remaining| {
        Err(DecodeError::Short {
            at,
            needed,
            remaining,
        })
    };
    assert_eq!(decode(&[0]), short(0, 2, 1));
    assert_eq!(decode(&[0, 5, b'a']), short(2, 5, 1));
    assert_eq!(decode(&[0xff, 0xff]), Err(DecodeError::Null { at: 2 }));
    assert_eq!(
        decode(&[0xff, 0xfe]),
        Err(DecodeError::NegativeLength { at: 0, length: -2 })
    );
    assert!(matches!(
        decode(&[0, 1, 0xff]),
        Err(DecodeError::Utf8 { at: 2, .. })
    ));
    let unknown = RequestHeader::decode_exact(Bytes::new(), 3);
    let versions = DecodeError::UnsupportedVersion {
        message: "RequestHeader",
        version: 3,
        min: 1,
        max: 2,
    };
    assert_eq!(unknown, Err(versions));
    // A tagged field that claims one byte more than there is, then a varint without an end.
    let header = |bytes: &'static [u8]| ResponseHeader::decode_exact(Bytes::from_static(bytes), 1);
    assert_eq!(header(&[0, 0, 0, 1, 1, 9, 2, 7]).map(drop), short(7, 2, 1));
    assert_eq!(
        header(&[0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80]).map(drop),
        Err(DecodeError::Varint { at: 4 })
    );
    assert_eq!(
        header(&[0, 0, 0, 1, 1, 9, 1, 7])
            .unwrap()
            .unknown_tagged_fields[0]
            .data,
        &[7][..]
    );
}

#[test]
fn a_compact_string_may_be_as_long_as_a_plain_one_and_no_longer() {
    let decode = |length: usize| {
        let mut encoder = Encoder::new();
        encoder.uvarint(u32::try_from(length + 1).unwrap());
        let mut bytes = encoder.finish().into_bytes().to_vec();
        bytes.resize(bytes.len() + length, b'x');
        let mut decoder = Decoder::new(Bytes::from(bytes));
        decoder.str(true).map(|text| text.len())
    };
    let max = i16::MAX as usize;
    assert_eq!(decode(max), Ok(max));
    let length = max + 1;
    assert_eq!(
        decode(length),
        Err(DecodeError::StringTooLong { at: 3, length, max })
    );
    assert!(matches!(
        decode(1 << 20),
        Err(DecodeError::StringTooLong { .. })
    ));
}
