//! What a handler knows about the request beside its body.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use ottla_wire::{Str, messages::ApiKey};

/// One request's circumstances.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Which API it asks for.
    pub api_key: ApiKey,
    /// In which version; its answer is in the same.
    pub api_version: i16,
    /// The number that its answer carries.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
    /// The connection it came over.
    pub connection: Arc<ConnectionInfo>,
}

impl RequestContext {
    /// The client's address, as Kafka shows it (`/127.0.0.1`).
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.connection.peer.ip())
    }

    /// What the client calls itself, or nothing.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Its number, in the order of acceptance over all listeners.
    pub id: u64,
    /// The name of the listener that accepted it (`PLAINTEXT`).
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address of ours that the client used.
    pub local: SocketAddr,
    /// The client library and its version, once its ApiVersions request told (KIP-511).
    pub client_software: OnceLock<ClientSoftware>,
}

/// A client library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSoftware {
    /// Its name (`librdkafka`).
    pub name: String,
    /// Its version.
    pub version: String,
}
