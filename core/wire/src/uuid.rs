//! [`Uuid`], as Kafka writes it.

use core::fmt::{self, Write};
use core::str::FromStr;

/// A 128-bit identifier: of a topic, a directory, a cluster, a member.
///
/// Kafka's text form is the URL-safe base64 of the sixteen bytes without padding: 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a Kafka UUID: expected 22 characters of URL-safe base64, got {length} (first wrong one at {at})"
)]
pub struct ParseUuidError {
    /// How long the text is, in bytes.
    pub length: usize,
    /// Where the first character that does not belong lies; `length` if all do.
    pub at: usize,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// No identifier.
    pub const ZERO: Uuid = Uuid::from_parts(0, 0);
    /// Reserved.
    pub const ONE: Uuid = Uuid::from_parts(0, 1);
    /// The topic `__cluster_metadata`.
    pub const METADATA_TOPIC: Uuid = Uuid::ONE;
    /// A replica directory of a broker from before KIP-858.
    pub const MIGRATING_DIR: Uuid = Uuid::ZERO;
    /// A replica directory that is not assigned yet (KIP-858).
    pub const UNASSIGNED_DIR: Uuid = Uuid::ONE;
    /// A replica directory that is lost (KIP-858).
    pub const LOST_DIR: Uuid = Uuid::from_parts(0, 2);

    /// From the two halves in which Kafka's own code holds it.
    pub const fn from_parts(high: u64, low: u64) -> Self {
        Uuid((((high as u128) << 64) | low as u128).to_be_bytes())
    }

    /// The sixteen bytes as one number, most significant first.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// A random (version 4) UUID from sixteen random bytes.
    ///
    /// Kafka never uses one whose text starts with `-`, as tools would take that for an option;
    /// neither does this: such a byte has its top bit cleared.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] &= 0x7f;
        }
        Uuid(bytes)
    }

    /// Whether this is [`Uuid::ZERO`].
    pub const fn is_zero(self) -> bool {
        self.as_u128() == 0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.as_u128();
        // 21 characters of six bits, then one of the last two.
        for i in 0..21 {
            f.write_char(char::from(ALPHABET[(bits >> (122 - 6 * i)) as usize & 63]))?;
        }
        f.write_char(char::from(ALPHABET[(bits << 4) as usize & 63]))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let length = text.len();
        let mut bits: u128 = 0;
        for (at, c) in text.bytes().enumerate() {
            let six = ALPHABET
                .iter()
                .position(|&a| a == c)
                .ok_or(ParseUuidError { length, at })? as u128;
            bits = match at {
                0..21 => bits << 6 | six,
                // The last character carries two bits.
                21 if six & 15 == 0 => bits << 2 | six >> 4,
                at => return Err(ParseUuidError { length, at }),
            };
        }
        if length != 22 {
            return Err(ParseUuidError { length, at: length });
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_is_kafkas() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::ONE));
        let some = Uuid([0xfb, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(some.to_string().parse(), Ok(some));
    }

    #[test]
    fn wrong_text_is_refused_where_it_is_wrong() {
        assert_eq!(
            "AAAA".parse::<Uuid>(),
            Err(ParseUuidError { length: 4, at: 4 })
        );
        assert_eq!(
            "AAAAAAAAAAAAAAAAAAAAAB".parse::<Uuid>(),
            Err(ParseUuidError { length: 22, at: 21 })
        );
        assert_eq!(
            "AAA+AAAAAAAAAAAAAAAAAA".parse::<Uuid>(),
            Err(ParseUuidError { length: 22, at: 3 })
        );
        assert_eq!(
            "AAAAAAAAAAAAAAAAAAAAAQA".parse::<Uuid>(),
            Err(ParseUuidError { length: 23, at: 22 })
        );
    }

    #[test]
    fn a_random_uuid_never_starts_with_a_dash() {
        for first in 0..=255 {
            assert!(!Uuid::from_random([first; 16]).to_string().starts_with('-'));
        }
    }
}
