//! Durations in scenario files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A duration, written as `250ms` or `5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Reads `250ms` or `5s`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parse = |number: &str, unit: u64| {
            let number = number.parse::<u64>().ok()?;
            Some(Self(Duration::from_millis(number.checked_mul(unit)?)))
        };
        match text.strip_suffix("ms") {
            Some(number) => parse(number, 1),
            None => text
                .strip_suffix('s')
                .and_then(|number| parse(number, 1000)),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a duration such as \"250ms\" or \"5s\", got \"{text}\""
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}
