//! Arbitrary values of every message, drawn from bytes that a property test hands in.
//!
//! Drawing from bytes, and from zeros when they run out, lets proptest shrink a message: fewer and
//! smaller bytes make fewer elements and smaller numbers.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{RawTaggedField, Str, Uuid};

/// A value in which only fields of one version differ from their defaults.
pub(crate) trait Arbitrary: Sized {
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self;
}

pub(crate) struct Gen<'a>(pub(crate) &'a [u8]);

impl Gen<'_> {
    fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let n = N.min(self.0.len());
        let (head, tail) = self.0.split_at(n);
        bytes[N - n..].copy_from_slice(head);
        self.0 = tail;
        bytes
    }

    fn up_to(&mut self, max: u8) -> usize {
        let [byte] = self.draw();
        usize::from(byte % (max + 1))
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.up_to(1) == 1
    }
    pub(crate) fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.draw())
    }
    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.draw())
    }
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.draw())
    }
    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.draw())
    }
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.draw())
    }
    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.draw())
    }
    pub(crate) fn f64(&mut self) -> f64 {
        f64::from(self.i32()) / 8.0
    }
    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid(self.draw())
    }

    pub(crate) fn str(&mut self) -> Str {
        const LETTERS: [char; 8] = ['a', 'B', '3', '-', '_', 'ü', '漢', '🦦'];
        let len = self.up_to(20);
        (0..len)
            .map(|_| LETTERS[self.up_to(7)])
            .collect::<String>()
            .into()
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        // Long enough at times to be shared, and for lengths of two bytes.
        let len = match self.up_to(8) {
            8 => 1000 + self.up_to(200),
            7 => 100 + self.up_to(100),
            n => n,
        };
        let [fill] = self.draw();
        Bytes::from(alloc::vec![fill; len])
    }

    pub(crate) fn array<T: Arbitrary>(&mut self, version: i16) -> Vec<T> {
        (0..self.up_to(3))
            .map(|_| T::arbitrary(self, version))
            .collect()
    }

    pub(crate) fn tags(&mut self, first: u32) -> Vec<RawTaggedField> {
        let count = self.up_to(2) as u32;
        (0..count)
            .map(|i| RawTaggedField {
                tag: first + i * 100,
                data: self.bytes(),
            })
            .collect()
    }
}

macro_rules! simple {
    ($($type:ty: $method:ident),*) => {$(
        impl Arbitrary for $type {
            fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
                g.$method()
            }
        }
    )*};
}
simple!(i8: i8, i16: i16, i32: i32, i64: i64, Uuid: uuid, Str: str);
