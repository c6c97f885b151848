//! Tagged fields (KIP-482): optional fields behind a struct, each with its number and its length,
//! so that a reader can keep those it does not know and pass them on.

use alloc::vec::Vec;

use bytes::Bytes;

use super::encoder::TagStart;
use super::{DecodeError, Decoder, EncodeError, Encoder};

/// A tagged field that is not in the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTaggedField {
    /// Its number.
    pub tag: u32,
    /// Its value.
    pub data: Bytes,
}

impl Decoder {
    /// How many tagged fields follow.
    pub fn tag_count(&mut self) -> Result<usize, DecodeError> {
        let at = self.position();
        let count = self.uvarint()? as usize;
        let remaining = self.remaining();
        // A number and a length, one byte each at the least.
        if count > remaining / 2 {
            return Err(DecodeError::ArrayTooLong {
                at,
                count,
                min_size: 2,
                remaining,
            });
        }
        Ok(count)
    }

    /// Enters a tagged field: its number, and the bound for [`Decoder::end_tag`].
    pub fn begin_tag(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.uvarint()?;
        let length = self.uvarint()? as usize;
        Ok((tag, self.enter(length)?))
    }

    /// Leaves a tagged field, of which all must have been read.
    pub fn end_tag(&mut self, end: usize) -> Result<(), DecodeError> {
        self.leave(end)
    }

    /// Keeps the tagged field that was entered as it is.
    pub fn unknown_tag(
        &mut self,
        tag: u32,
        end: usize,
        fields: &mut Vec<RawTaggedField>,
    ) -> Result<(), DecodeError> {
        self.charge(size_of::<RawTaggedField>())?;
        let data = self.rest();
        fields.push(RawTaggedField { tag, data });
        self.leave(end)
    }

    /// The tagged fields of a struct that has none of its own.
    pub fn unknown_tags(&mut self, fields: &mut Vec<RawTaggedField>) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count()? {
            let (tag, end) = self.begin_tag()?;
            self.unknown_tag(tag, end, fields)?;
        }
        Ok(())
    }
}

/// The tagged fields of one struct that are still to be written.
#[derive(Debug)]
pub struct RestOfTags<'a> {
    fields: &'a [RawTaggedField],
    previous: Option<u32>,
}

impl Encoder {
    /// Begins the tagged fields of a struct: `known` ones, and those kept.
    pub fn begin_tags<'a>(
        &mut self,
        known: usize,
        fields: &'a [RawTaggedField],
    ) -> Result<RestOfTags<'a>, EncodeError> {
        self.uvarint((known + fields.len()) as u32);
        Ok(RestOfTags {
            fields,
            previous: None,
        })
    }

    /// Begins a known field, behind all kept ones of smaller numbers.
    pub fn begin_tag(
        &mut self,
        tag: u32,
        rest: &mut RestOfTags<'_>,
    ) -> Result<TagStart, EncodeError> {
        self.tags_below(rest, |next| next < tag)?;
        in_order(rest, tag)?;
        self.uvarint(tag);
        Ok(self.start())
    }

    /// Ends a known field: its length goes before it.
    pub fn end_tag(&mut self, start: TagStart) -> Result<(), EncodeError> {
        self.insert_length(start);
        Ok(())
    }

    /// Writes the kept fields that are left.
    pub fn rest_of_tags(&mut self, mut rest: RestOfTags<'_>) -> Result<(), EncodeError> {
        self.tags_below(&mut rest, |_| true)
    }

    /// The tagged fields of a struct that has none of its own.
    pub fn unknown_tags(&mut self, fields: &[RawTaggedField]) -> Result<(), EncodeError> {
        let rest = self.begin_tags(0, fields)?;
        self.rest_of_tags(rest)
    }

    fn tags_below(
        &mut self,
        rest: &mut RestOfTags<'_>,
        below: impl Fn(u32) -> bool,
    ) -> Result<(), EncodeError> {
        while let [field, others @ ..] = rest.fields {
            if !below(field.tag) {
                break;
            }
            in_order(rest, field.tag)?;
            rest.fields = others;
            self.uvarint(field.tag);
            self.length_of_tag(field.data.len())?;
            self.put_bytes(&field.data);
        }
        Ok(())
    }

    fn length_of_tag(&mut self, length: usize) -> Result<(), EncodeError> {
        let short = u32::try_from(length).map_err(|_| EncodeError::TooLong {
            field: "unknown_tagged_fields",
            length,
            max: u32::MAX as usize,
        })?;
        self.uvarint(short);
        Ok(())
    }
}

/// Refuses a tag that does not come behind the one before it.
fn in_order(rest: &mut RestOfTags<'_>, tag: u32) -> Result<(), EncodeError> {
    if let Some(previous) = rest.previous.filter(|&previous| previous >= tag) {
        return Err(EncodeError::TagOrder { tag, previous });
    }
    rest.previous = Some(tag);
    Ok(())
}
