//! The `kafka-protocol` crate reads what we write, and writes the same bytes, in the versions of
//! requests and responses that both have.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};

use super::noise;
use crate::arbitrary::{Arbitrary, Gen};
use crate::codec::Message;
use crate::{ApiRequest, ApiResponse};

/// How many values of each message are tried in each version.
const DRAWN: u64 = 10;

/// What it claims to have but does not (see docs: "Why the wire codec is ours"), and what it has
/// from another version of Kafka.
fn is_skipped(name: &str, version: i16) -> bool {
    matches!(
        (name, version),
        (
            "OffsetCommitRequest"
                | "OffsetCommitResponse"
                | "OffsetFetchRequest"
                | "OffsetFetchResponse",
            10
        ) | ("InitProducerIdRequest" | "InitProducerIdResponse", 6)
    )
}

type Reread = fn(TheirKey, Bytes, i16) -> Result<BytesMut, String>;

fn compare<M: Message + Arbitrary>(
    key: i16,
    reread: Reread,
    compared: &mut usize,
    wrong: &mut Vec<String>,
) {
    let Ok(their_key) = TheirKey::try_from(key) else {
        return;
    };
    let theirs = their_key.valid_versions();
    for version in M::MIN_VERSION.max(theirs.min)..=M::MAX_VERSION.min(theirs.max) {
        if is_skipped(M::NAME, version) {
            continue;
        }
        for seed in 0..DRAWN {
            let drawn = noise(seed * 1000 + version as u64, 500);
            let bytes = M::arbitrary(&mut Gen(&drawn), version)
                .to_bytes(version)
                .unwrap();
            *compared += 1;
            match reread(their_key, bytes.clone(), version) {
                Ok(back) if back == bytes => {}
                outcome => {
                    wrong.push(format!(
                        "{} {version}: {bytes:02x?} became {outcome:02x?}",
                        M::NAME
                    ));
                    break;
                }
            }
        }
    }
}

fn reread_request(key: TheirKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, String> {
    let read = RequestKind::decode(key, &mut bytes, version).map_err(|e| format!("{e}"))?;
    let mut back = BytesMut::new();
    read.encode(&mut back, version)
        .map_err(|e| format!("{e}"))?;
    Ok(back)
}

fn reread_response(key: TheirKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, String> {
    let read = ResponseKind::decode(key, &mut bytes, version).map_err(|e| format!("{e}"))?;
    let mut back = BytesMut::new();
    read.encode(&mut back, version)
        .map_err(|e| format!("{e}"))?;
    Ok(back)
}

/// Compares a request and its response.
fn both<R>(compared: &mut usize, wrong: &mut Vec<String>)
where
    R: ApiRequest + Arbitrary,
    R::Response: Arbitrary,
{
    compare::<R>(R::KEY.code(), reread_request, compared, wrong);
    compare::<R::Response>(
        <R::Response as ApiResponse>::KEY.code(),
        reread_response,
        compared,
        wrong,
    );
}

#[test]
fn another_codec_reads_and_writes_the_same_bytes() {
    let (mut compared, mut wrong) = (0, Vec::new());
    macro_rules! add {
        ($request:ty) => {
            both::<$request>(&mut compared, &mut wrong)
        };
    }
    crate::messages::each_request!(add);
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 2000, "only {compared} were compared");
}
