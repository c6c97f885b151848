//! What [`ApiKey`] says about each API: its name, its versions and its headers.

use core::fmt;
use core::ops::RangeInclusive;

use crate::messages::{API_INFO, ApiKey};

/// A number that is no API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no API with the key {0}")]
pub struct UnknownApiKey(pub i16);

/// A line of the table that is generated from the messages'.
#[derive(Debug)]
pub(crate) struct ApiInfo {
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) request_flexible: i16,
    pub(crate) response_flexible: i16,
    pub(crate) latest_unstable: bool,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
}

impl ApiKey {
    fn info(self) -> &'static ApiInfo {
        // The keys have no gaps: a test below says so.
        &API_INFO[self as usize]
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, as `CreateTopics`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The versions that have a table; empty for the four APIs that Kafka 4 removed. What a broker
    /// advertises may be less, see also [`ApiKey::latest_unstable`].
    pub fn valid_versions(self) -> RangeInclusive<i16> {
        self.info().min..=self.info().max
    }

    /// Whether the newest version is not to be advertised by default, as it may still change.
    pub fn latest_unstable(self) -> bool {
        self.info().latest_unstable
    }

    /// Whether brokers answer it.
    pub fn on_broker(self) -> bool {
        self.info().broker
    }

    /// Whether controllers answer it.
    pub fn on_controller(self) -> bool {
        self.info().controller
    }

    /// The version of the header before a request of `version`.
    pub fn request_header_version(self, version: i16) -> i16 {
        if version >= self.info().request_flexible {
            2
        } else {
            1
        }
    }

    /// The version of the header before a response of `version`. That of `ApiVersions` is always 0:
    /// a client must read it before it knows what the broker speaks.
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && version >= self.info().response_flexible)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_place_in_the_table() {
        assert_eq!(ApiKey::ALL.len(), API_INFO.len());
        for (i, &key) in ApiKey::ALL.iter().enumerate() {
            assert_eq!(key as usize, i);
            assert_eq!(ApiKey::try_from(key.code()), Ok(key));
        }
        assert_eq!(ApiKey::try_from(93), Err(UnknownApiKey(93)));
        assert_eq!(ApiKey::try_from(-1), Err(UnknownApiKey(-1)));
    }

    #[test]
    fn headers_are_flexible_where_the_body_is() {
        assert_eq!(ApiKey::Fetch.request_header_version(11), 1);
        assert_eq!(ApiKey::Fetch.request_header_version(12), 2);
        assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }

    #[test]
    fn removed_apis_have_no_versions() {
        assert!(ApiKey::LeaderAndIsr.valid_versions().is_empty());
        assert_eq!(ApiKey::Produce.valid_versions(), 3..=13);
        assert!(ApiKey::InitProducerId.latest_unstable());
    }
}
