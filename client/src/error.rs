//! What can go wrong between the client and a broker, below the meaning of any one request.

use std::{io, time::Duration};

use ottla_wire::{DecodeError, EncodeError, ErrorCode, messages::ApiKey};

/// Why no connection to a broker could be made. No request was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// An address is not written `host:port`.
    #[error("`{text}` is not an address (expected host:port)")]
    BadAddress {
        /// What was given.
        text: String,
    },
    /// There is no address to connect to.
    #[error("no bootstrap server is given")]
    NoBootstrap,
    /// The host name has no address.
    #[error("cannot connect to {address}: no address is known for this host")]
    Resolve {
        /// Host and port.
        address: String,
        /// What the resolver says; it has no words of its own for a name that does not exist.
        kind: io::ErrorKind,
    },
    /// The operating system says no.
    #[error("cannot connect to {address}: {kind}")]
    Refused {
        /// Host and port.
        address: String,
        /// What it says.
        kind: io::ErrorKind,
    },
    /// No answer in time.
    #[error("cannot connect to {address}: no answer within {timeout:?}")]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// It is connected, but what answers does not speak Kafka's protocol.
    #[error("{address} does not answer as a Kafka broker does")]
    NotKafka {
        /// Host and port.
        address: String,
    },
    /// The node is not in the cluster's metadata.
    #[error("broker {node} is not known")]
    UnknownNode {
        /// Its id.
        node: i32,
    },
}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection; the request was not sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before any byte of the request was written.
    #[error("the connection ended before the request was sent")]
    NotSent,
    /// The connection ended after some of the request was written: it may have been carried out.
    #[error("the connection ended before the response came")]
    Lost,
    /// No response in time; the request may have been carried out.
    #[error("no response to {api:?} within {timeout:?}")]
    TimedOut {
        /// What was asked.
        api: ApiKey,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The broker has no version of the API that this client can use.
    #[error(
        "the broker has {api:?} in versions {theirs_min} to {theirs_max}, needed are {ours_min} to {ours_max}"
    )]
    UnsupportedVersion {
        /// What was to be asked.
        api: ApiKey,
        /// The oldest that this client can use.
        ours_min: i16,
        /// The newest that this client can use.
        ours_max: i16,
        /// The oldest that the broker has.
        theirs_min: i16,
        /// The newest that the broker has; -1 if it does not have the API.
        theirs_max: i16,
    },
    /// The request cannot be written in the version that the broker has.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broker's response cannot be read: the peer misbehaves.
    #[error("the response to {api:?} cannot be read: {error}")]
    BadResponse {
        /// What was asked.
        api: ApiKey,
        /// What is wrong with the bytes.
        error: DecodeError,
    },
}

impl RequestError {
    /// Whether the broker may have carried the request out.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        matches!(
            self,
            Self::Lost | Self::TimedOut { .. } | Self::BadResponse { .. }
        )
    }

    /// Whether the same request may succeed later or on another broker.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(error) => !matches!(
                error,
                ConnectError::BadAddress { .. } | ConnectError::NoBootstrap
            ),
            Self::NotSent | Self::Lost | Self::TimedOut { .. } => true,
            Self::UnsupportedVersion { .. } | Self::Encode(_) | Self::BadResponse { .. } => false,
        }
    }
}

/// A broker's refusal: its code, and its words if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError {
    /// The code.
    pub code: ErrorCode,
    /// What the broker says beside it.
    pub message: Option<String>,
}

impl BrokerError {
    /// A code without words.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }

    /// `Ok` for the code 0, else the code with the broker's words.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        match ErrorCode::from(code) {
            ErrorCode::None => Ok(()),
            code => Err(Self {
                code,
                message: message.filter(|m| !m.is_empty()).map(str::to_owned),
            }),
        }
    }
}

impl std::fmt::Display for BrokerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message} ({})", self.code.name()),
            None => f.write_str(self.code.name()),
        }
    }
}

impl std::error::Error for BrokerError {}
