//! How records that are not requests say what they are.
//!
//! A metadata record is `uvarint 1, uvarint type, uvarint version, body` (KIP-631). The key of a
//! coordinator's record begins with its type in two bytes, and its body is always in version 0; the
//! value begins with its version, and the key tells what it is.

use bytes::Bytes;

use crate::metadata::MetadataRecord;
use crate::{DecodeError, Decoder, EncodeError, Encoder};

/// The only version of the frame of a metadata record.
pub const METADATA_FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a record that takes all of `bytes`, and gives the version that it was in.
    pub fn decode(bytes: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut d = Decoder::new(bytes);
        let got = d.uvarint()?;
        if got != METADATA_FRAME_VERSION {
            return Err(DecodeError::FrameVersion {
                expected: METADATA_FRAME_VERSION,
                got,
            });
        }
        let api_key = short(&mut d)?;
        let version = short(&mut d)?;
        let record = Self::read_body(&mut d, api_key, version)?;
        d.finish()?;
        Ok((record, version))
    }

    /// Writes the record in `version`, with its frame.
    pub fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        e.uvarint(METADATA_FRAME_VERSION);
        e.uvarint(u32::from(self.api_key() as u16));
        e.uvarint(u32::from(version as u16));
        self.write_body(e, version)
    }

    /// Writes the record into bytes of its own.
    pub fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut e = Encoder::new();
        self.encode(&mut e, version)?;
        Ok(e.finish().into_bytes())
    }
}

fn short(d: &mut Decoder) -> Result<i16, DecodeError> {
    let at = d.position();
    i16::try_from(d.uvarint()?).map_err(|_| DecodeError::Varint { at })
}

macro_rules! coordinator {
    ($($module:ident),*) => {$(
        impl crate::$module::CoordinatorKey {
            /// Reads a record's key that takes all of `bytes`.
            pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
                let mut d = Decoder::new(bytes);
                let record_type = d.i16()?;
                let key = Self::read_body(&mut d, record_type, 0)?;
                d.finish()?;
                Ok(key)
            }

            /// Writes the key into bytes of its own.
            pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
                let mut e = Encoder::new();
                e.i16(self.record_type());
                self.write_body(&mut e, 0)?;
                Ok(e.finish().into_bytes())
            }
        }

        impl crate::$module::CoordinatorValue {
            /// Reads the value of a record whose key is of `record_type`, and gives its version.
            pub fn decode(record_type: i16, bytes: Bytes) -> Result<(Self, i16), DecodeError> {
                let mut d = Decoder::new(bytes);
                let version = d.i16()?;
                let value = Self::read_body(&mut d, record_type, version)?;
                d.finish()?;
                Ok((value, version))
            }

            /// Writes the value in `version` into bytes of its own.
            pub fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
                let mut e = Encoder::new();
                e.i16(version);
                self.write_body(&mut e, version)?;
                Ok(e.finish().into_bytes())
            }
        }
    )*};
}
coordinator!(group, transaction, share);
