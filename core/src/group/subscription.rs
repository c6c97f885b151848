//! The topics in a consumer's subscription (`ConsumerProtocolSubscription`).
//!
//! The metadata of a member is its assignor's business. The broker looks only at the topics, which
//! every version of the subscription starts with, so that it can tell which offsets are in use
//! (KIP-211, KIP-496). Whatever does not parse is "unknown", never an error.

use alloc::vec::Vec;

use ottla_wire::Str;

use crate::limits::GROUP_SUBSCRIBED_TOPICS_MAX;

/// The topics a member consumes, or `None` if the bytes are not a consumer's subscription.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<Vec<Str>> {
    let mut rest = metadata;
    let version = i16::from_be_bytes(take(&mut rest)?);
    if version < 0 {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
    // Every name takes two bytes at least: no more room is made than the bytes at hand can fill.
    if count > rest.len() / 2 || count > GROUP_SUBSCRIBED_TOPICS_MAX {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let len = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(len)?;
        topics.push(Str::from(core::str::from_utf8(name).ok()?));
        rest = after;
    }
    Some(topics)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_a_subscription_of_any_version() {
        for version in 0..4u8 {
            let bytes = [
                &[0, version, 0, 0, 0, 2, 0, 1][..],
                b"a",
                &[0, 2],
                b"bc",
                &[255; 9],
            ]
            .concat();
            assert_eq!(
                subscribed_topics(&bytes),
                Some(alloc::vec!["a".into(), "bc".into()])
            );
        }
    }

    #[test]
    fn bytes_that_are_no_subscription_say_nothing() {
        for bytes in [
            &b""[..],
            &[0, 0],
            &[0, 0, 127, 255, 255, 255, 0, 0],
            &[255, 255, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 1, 0, 9, 97],
        ] {
            assert_eq!(subscribed_topics(bytes), None);
        }
    }
}
