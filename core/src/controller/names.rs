//! What a topic may be called.

use alloc::string::String;

use crate::limits::TOPIC_NAME_LENGTH_MAX;

/// Why a topic may not be called that. The words are those that Kafka's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// It has no characters.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// It means a directory.
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    /// It is too long.
    #[error(
        "Topic name is invalid: the length of '{0}' is longer than the max allowed length \
         {TOPIC_NAME_LENGTH_MAX}"
    )]
    TooLong(String),
    /// It has a character that is not allowed.
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII \
         alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
}

/// Whether a topic may be called `name`.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err(InvalidTopicName::Empty)
    } else if name == "." || name == ".." {
        Err(InvalidTopicName::Dots(name.into()))
    } else if name.encode_utf16().count() > TOPIC_NAME_LENGTH_MAX {
        Err(InvalidTopicName::TooLong(name.into()))
    } else if !name.bytes().all(legal) {
        Err(InvalidTopicName::Characters(name.into()))
    } else {
        Ok(())
    }
}

/// Whether a name has one of the two characters that metrics cannot tell apart.
pub(super) fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The name with `.` as `_`.
pub(super) fn unified(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether the topic is the brokers' own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}
