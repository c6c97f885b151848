//! Codecs for Apache Kafka 4.3: wire messages, metadata records, coordinator records and record batches.
//!
//! The message types are generated when this crate is built, from one compact table for each
//! message (`schema/`, described in its README): Kafka has one schema language for all of them, and
//! so has this crate. Each message is a plain struct with a [`codec::Message`] implementation:
//!
//! ```
//! use ottla_wire::Message;
//! use ottla_wire::messages::{MetadataRequest, metadata_request::MetadataRequestTopic};
//!
//! let request = MetadataRequest {
//!     topics: Some(vec![MetadataRequestTopic { name: Some("orders".into()), ..Default::default() }]),
//!     ..Default::default()
//! };
//! let bytes = request.to_bytes(12)?;
//! assert_eq!(MetadataRequest::decode_exact(bytes, 12).unwrap(), request);
//! # Ok::<(), ottla_wire::EncodeError>(())
//! ```
//!
//! Reading copies nothing ([`Str`] and `Bytes` are slices of the frame) and trusts nothing (see
//! [`Decoder`]); writing yields [`Pieces`], among them the payload as it was handed in.
#![no_std]

extern crate alloc;

mod api_key;
#[cfg(test)]
mod arbitrary;
pub mod codec;
mod error_code;
mod framing;
pub mod records;
mod str;
#[cfg(test)]
mod tests;
mod uuid;

pub use api_key::UnknownApiKey;
pub use codec::{
    ApiRequest, ApiResponse, DecodeError, Decoder, EncodeError, Encoder, Message, Pieces,
    RawTaggedField,
};
pub use error_code::ErrorCode;
pub use framing::METADATA_FRAME_VERSION;
pub use str::Str;
pub use uuid::{ParseUuidError, Uuid};

/// Declares a module of generated messages.
macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unused_imports,
            unused_variables,
            unused_parens,
            unused_mut,
            clippy::all,
            reason = "generated: the names are Kafka's and its protocol guide explains them; \
                      the other lints are about handwriting"
        )]
        pub mod $module {
            #[allow(unused_imports)]
            use crate::{api_key::{ApiInfo, UnknownApiKey}, codec::prelude::*};
            include!(concat!(env!("OUT_DIR"), "/", $file));
        }
    };
}

generated!(
    /// Requests, responses and their headers.
    messages, "rpc.rs"
);
generated!(
    /// The records of the metadata log, `__cluster_metadata`.
    metadata, "metadata.rs"
);
generated!(
    /// The records of `__consumer_offsets`, and what classic consumers tell each other.
    group, "group.rs"
);
generated!(
    /// The records of `__transaction_state`, and the markers that end a transaction.
    transaction, "transaction.rs"
);
generated!(
    /// The records of `__share_group_state`.
    share, "share.rs"
);
generated!(
    /// What lies beside the log: the snapshots of producers' state, and remote segments' records.
    storage, "storage.rs"
);
generated!(
    /// What KRaft itself keeps: the quorum's state and its control records.
    raft, "raft.rs"
);
