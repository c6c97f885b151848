//! What the generated codecs are made of: the primitive types of Kafka's protocol, read from a
//! [`Decoder`] and written to an [`Encoder`], and the traits of a message.
//!
//! A message is *flexible* from some version on (KIP-482): its lengths are then unsigned varints of
//! the length plus one, where null is zero, and every struct ends in tagged fields. Both forms of
//! each primitive lie here, side by side, and nowhere else.

mod array;
mod decoder;
mod encoder;
mod message;
mod tagged;
pub mod varint;

pub use array::{Element, Struct};
pub use decoder::{ALLOCATION_FACTOR, ALLOCATION_FLOOR, DecodeError, Decoder};
pub use encoder::{EncodeError, Encoder, Pieces, SHARE_FROM};
pub use message::{ApiRequest, ApiResponse, Message};
pub use tagged::RawTaggedField;

/// What every generated module sees.
pub(crate) mod prelude {
    pub(crate) use super::encoder::lacks;
    pub(crate) use super::{
        ApiRequest, ApiResponse, DecodeError, Decoder, EncodeError, Encoder, Message,
        RawTaggedField, Struct,
    };
    pub(crate) use crate::messages::ApiKey;
    pub(crate) use crate::{Str, Uuid};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use bytes::Bytes;
}
