//! The traits of a whole message.

use bytes::Bytes;

use super::{DecodeError, Decoder, EncodeError, Encoder, Pieces, Struct};
use crate::messages::ApiKey;

/// A message, record or header that has a table of its own.
pub trait Message: Struct {
    /// Kafka's name of it, as `FetchRequest`.
    const NAME: &'static str = Self::STRUCT_NAME;
    /// The oldest version.
    const MIN_VERSION: i16;
    /// The newest version.
    const MAX_VERSION: i16;
    /// The first flexible version (KIP-482); `i16::MAX` where there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads one; what follows it is left.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let (min, max) = (Self::MIN_VERSION, Self::MAX_VERSION);
        if !(min..=max).contains(&version) {
            return Err(DecodeError::UnsupportedVersion {
                message: Self::NAME,
                version,
                min,
                max,
            });
        }
        Self::read(d, version)
    }

    /// Writes one.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let (min, max) = (Self::MIN_VERSION, Self::MAX_VERSION);
        if !(min..=max).contains(&version) {
            return Err(EncodeError::UnsupportedVersion {
                message: Self::NAME,
                version,
                min,
                max,
            });
        }
        self.write(e, version)
    }

    /// Reads one that takes all of `bytes`.
    fn decode_exact(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let message = Self::decode(&mut d, version)?;
        d.finish()?;
        Ok(message)
    }

    /// Writes one into pieces of its own.
    fn to_pieces(&self, version: i16) -> Result<Pieces, EncodeError> {
        let mut e = Encoder::new();
        self.encode(&mut e, version)?;
        Ok(e.finish())
    }

    /// Writes one into bytes of its own.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        Ok(self.to_pieces(version)?.into_bytes())
    }
}

/// The body of a request.
pub trait ApiRequest: Message {
    /// Which API it asks for.
    const KEY: ApiKey;
    /// What answers it.
    type Response: ApiResponse;
}

/// The body of a response.
pub trait ApiResponse: Message {
    /// Which API it answers.
    const KEY: ApiKey;
}
