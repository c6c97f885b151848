//! [`Str`], the string of the generated messages.

use alloc::string::String;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use core::str::Utf8Error;

use bytes::Bytes;

/// An immutable UTF-8 string that shares the bytes it was decoded from.
///
/// Decoding a message copies no string: each `Str` is a counted slice of the frame. The other side
/// of that is that a `Str` keeps its whole frame alive, so one that is stored for long (a topic's
/// name in the metadata, a group's id) is to be [detached](Str::detach) first.
#[derive(Clone, Default)]
pub struct Str(Bytes);

impl Str {
    /// The empty string; allocates nothing.
    pub const fn new() -> Self {
        Str(Bytes::new())
    }

    /// A string that lives as long as the program; allocates nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Str(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that must be UTF-8; copies nothing.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        core::str::from_utf8(&bytes)?;
        Ok(Str(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: every way to make a `Str` takes a `str` or checks the bytes, and `Bytes` never change.
        unsafe { core::str::from_utf8_unchecked(&self.0) }
    }

    /// The same text in memory of its own, so that keeping it does not keep the frame.
    #[must_use]
    pub fn detach(&self) -> Self {
        Str(Bytes::copy_from_slice(&self.0))
    }

    /// The text as bytes that share the string's memory.
    pub fn as_bytes_shared(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Str(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Self {
        Str::from(text.as_str())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Str(Bytes::from(text.into_bytes()))
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        String::from(text.as_str())
    }
}

impl From<Str> for Bytes {
    fn from(text: Str) -> Self {
        text.0
    }
}

// Like `str`, so that a map keyed by `Str` can be asked with a `&str`. UTF-8 orders as its bytes do.
impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;

    #[test]
    fn a_map_keyed_by_str_answers_a_plain_str() {
        let map = BTreeMap::from([(Str::from_static("orders"), 1)]);
        assert_eq!(map.get("orders"), Some(&1));
    }

    #[test]
    fn detached_text_leaves_its_frame() {
        let frame = Bytes::from_static(b"a frame with a name");
        let name = Str::from_utf8(frame.slice(15..)).unwrap();
        let kept = name.detach();
        assert_eq!(kept, "name");
        assert_ne!(kept.as_ptr(), name.as_ptr());
        assert_eq!(format!("{kept} {kept:?}"), "name \"name\"");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused() {
        assert!(Str::from_utf8(Bytes::from_static(&[0xff])).is_err());
    }
}
