//! Arrays and nested structs.

use alloc::vec::Vec;

use super::{DecodeError, Decoder, EncodeError, Encoder};
use crate::{Str, Uuid};

/// What the generator emits for each struct, nested ones included.
pub trait Struct: Sized {
    /// The struct's name at Kafka.
    const STRUCT_NAME: &'static str;
    /// The first version, and from there on the fewest bytes that the struct takes in each.
    const MIN_SIZES: (i16, &'static [u16]);
    /// Reads the struct in a version that the message has.
    fn read(d: &mut Decoder, version: i16) -> Result<Self, DecodeError>;
    /// Writes the struct in a version that the message has.
    fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// What an array may hold.
pub trait Element: Sized {
    /// The fewest bytes that one takes; never less than one.
    fn min_size(flex: bool, version: i16) -> usize;
    /// Reads one.
    fn read(d: &mut Decoder, flex: bool, version: i16) -> Result<Self, DecodeError>;
    /// Writes one.
    fn write(
        &self,
        e: &mut Encoder,
        flex: bool,
        version: i16,
        at: &'static str,
    ) -> Result<(), EncodeError>;
}

impl<T: Struct> Element for T {
    fn min_size(_flex: bool, version: i16) -> usize {
        let (first, sizes) = T::MIN_SIZES;
        let index = usize::try_from(version - first).unwrap_or_default();
        sizes.get(index).map_or(1, |&size| usize::from(size).max(1))
    }
    fn read(d: &mut Decoder, _flex: bool, version: i16) -> Result<Self, DecodeError> {
        Struct::read(d, version)
    }
    fn write(
        &self,
        e: &mut Encoder,
        _flex: bool,
        version: i16,
        _at: &'static str,
    ) -> Result<(), EncodeError> {
        Struct::write(self, e, version)
    }
}

impl Element for Str {
    fn min_size(flex: bool, _version: i16) -> usize {
        if flex { 1 } else { 2 }
    }
    fn read(d: &mut Decoder, flex: bool, _version: i16) -> Result<Self, DecodeError> {
        d.str(flex)
    }
    fn write(
        &self,
        e: &mut Encoder,
        flex: bool,
        _version: i16,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        e.str(flex, self, at)
    }
}

macro_rules! fixed_elements {
    ($($type:ty: $method:ident, $size:literal;)*) => {$(
        impl Element for $type {
            fn min_size(_flex: bool, _version: i16) -> usize {
                $size
            }
            fn read(d: &mut Decoder, _flex: bool, _version: i16) -> Result<Self, DecodeError> {
                d.$method()
            }
            fn write(
                &self,
                e: &mut Encoder,
                _flex: bool,
                _version: i16,
                _at: &'static str,
            ) -> Result<(), EncodeError> {
                e.$method(*self);
                Ok(())
            }
        }
    )*};
}

fixed_elements! {
    i8: i8, 1;
    i16: i16, 2;
    i32: i32, 4;
    i64: i64, 8;
    Uuid: uuid, 16;
}

impl Decoder {
    /// An array that must be there.
    pub fn array<T: Element>(&mut self, flex: bool, version: i16) -> Result<Vec<T>, DecodeError> {
        Ok(self.opt_array(flex, false, version)?.unwrap_or_default())
    }

    /// An array, or null where that is allowed.
    pub fn opt_array<T: Element>(
        &mut self,
        flex: bool,
        nullable: bool,
        version: i16,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flex, false)? else {
            self.null(nullable)?;
            return Ok(None);
        };
        let (at, min_size, remaining) = (
            self.position(),
            T::min_size(flex, version),
            self.remaining(),
        );
        if count > remaining / min_size {
            return Err(DecodeError::ArrayTooLong {
                at,
                count,
                min_size,
                remaining,
            });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, flex, version)?);
        }
        Ok(Some(elements))
    }

    /// A struct behind a byte that is negative for null, where that is allowed.
    pub fn opt_struct<T: Struct>(
        &mut self,
        nullable: bool,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if nullable && self.i8()? < 0 {
            return Ok(None);
        }
        T::read(self, version).map(Some)
    }

    /// A struct in a tagged field: there the byte is zero for null.
    pub fn opt_tagged_struct<T: Struct>(
        &mut self,
        nullable: bool,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if nullable && self.uvarint()? == 0 {
            return Ok(None);
        }
        T::read(self, version).map(Some)
    }
}

impl Encoder {
    /// An array that must be there.
    pub fn array<T: Element>(
        &mut self,
        flex: bool,
        elements: &[T],
        version: i16,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        self.length(flex, false, elements.len(), at)?;
        elements
            .iter()
            .try_for_each(|element| element.write(self, flex, version, at))
    }

    /// An array, or null where that is allowed.
    pub fn opt_array<T: Element>(
        &mut self,
        flex: bool,
        nullable: bool,
        elements: Option<&[T]>,
        version: i16,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        match elements {
            Some(elements) => self.array(flex, elements, version, at),
            None => self.null(flex, false, nullable, at),
        }
    }

    /// A struct behind the byte 1, or `null_marker` where null is allowed.
    pub fn opt_struct<T: Struct>(
        &mut self,
        nullable: bool,
        null_marker: i8,
        one: Option<&T>,
        version: i16,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        match one {
            Some(one) => {
                if nullable {
                    self.i8(1);
                }
                one.write(self, version)
            }
            None if nullable => {
                self.i8(null_marker);
                Ok(())
            }
            None => Err(EncodeError::Null { field: at }),
        }
    }
}
