//! Every message in every version comes back as it went, whole and unshortened.

use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::arbitrary::{Arbitrary, Gen};
use crate::codec::Message;
use crate::{DecodeError, EncodeError, Encoder};

/// How many values of each message are tried in each version.
const CASES: u32 = 24;

fn check<M: Message + Arbitrary + PartialEq + core::fmt::Debug>() {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    for version in M::MIN_VERSION..=M::MAX_VERSION {
        let bytes = proptest::collection::vec(any::<u8>(), 0..400);
        let outcome = runner.run(&bytes, |bytes| comes_back::<M>(&bytes, version));
        if let Err(error) = outcome {
            panic!("{} version {version}: {error}", M::NAME);
        }
    }
}

fn comes_back<M: Message + Arbitrary + PartialEq + core::fmt::Debug>(
    drawn: &[u8],
    version: i16,
) -> Result<(), TestCaseError> {
    let message = M::arbitrary(&mut Gen(drawn), version);
    let mut e = Encoder::new();
    message
        .encode(&mut e, version)
        .map_err(|e| TestCaseError::fail(alloc::format!("{e}: {message:?}")))?;
    let len = e.len();
    let bytes = e.finish().into_bytes();
    prop_assert_eq!(bytes.len(), len);
    let back = M::decode_exact(bytes.clone(), version);
    prop_assert_eq!(back.as_ref(), Ok(&message));
    // No proper beginning of it is a message, and neither is it with a byte behind.
    if len > 0 {
        prop_assert!(M::decode_exact(bytes.slice(..len - 1), version).is_err());
    }
    let mut longer = Vec::from(bytes);
    longer.push(0);
    let trailing = DecodeError::Trailing {
        at: len,
        remaining: 1,
    };
    prop_assert_eq!(M::decode_exact(longer.into(), version), Err(trailing));
    Ok(())
}

/// A value of the newest version, written in an older one: either that is refused, because something
/// is set that would be lost, or what comes back is all that this version has.
fn older_versions_refuse_or_keep<M: Message + Arbitrary + PartialEq + core::fmt::Debug>() {
    for seed in 0..200 {
        let message = M::arbitrary(&mut Gen(&super::noise(seed, 300)), M::MAX_VERSION);
        for version in M::MIN_VERSION..M::MAX_VERSION {
            match message.to_bytes(version) {
                Ok(bytes) => {
                    let back = M::decode_exact(bytes.clone(), version).unwrap();
                    assert_eq!(back.to_bytes(version), Ok(bytes));
                }
                Err(EncodeError::Lacks { .. } | EncodeError::Null { .. }) => {}
                Err(error) => panic!("{} {version}: {error}", M::NAME),
            }
        }
    }
}

#[test]
fn a_value_of_the_newest_version_is_refused_or_kept_by_older_ones() {
    macro_rules! check_older {
        ($message:ty) => {
            older_versions_refuse_or_keep::<$message>()
        };
    }
    crate::messages::each!(check_older);
    crate::metadata::each!(check_older);
    crate::transaction::each!(check_older);
}

macro_rules! check_one {
    ($message:ty) => {
        check::<$message>()
    };
}

#[test]
fn every_message_in_every_version_comes_back() {
    crate::messages::each!(check_one);
}

#[test]
fn every_metadata_record_in_every_version_comes_back() {
    crate::metadata::each!(check_one);
}

#[test]
fn every_coordinator_record_in_every_version_comes_back() {
    crate::group::each!(check_one);
    crate::transaction::each!(check_one);
    crate::share::each!(check_one);
}

#[test]
fn every_other_record_in_every_version_comes_back() {
    crate::storage::each!(check_one);
    crate::raft::each!(check_one);
}
