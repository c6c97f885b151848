//! The network side: listeners, connections, frames, and what keeps them bounded.

mod connection;
mod frame;
mod listener;
mod memory;
mod warnings;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use ottla_core::limits::FRAME_BYTES_MAX;

pub(crate) use self::listener::Network;

/// The network's part of the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSettings {
    /// `listeners`.
    pub listeners: Vec<ListenerSettings>,
    /// `socket.request.max.bytes`; at most [`FRAME_BYTES_MAX`].
    pub socket_request_max_bytes: usize,
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    /// How long a clean shutdown waits for requests under way.
    pub shutdown_grace: Duration,
}

/// One of `listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name.
    pub name: Arc<str>,
    /// The host to bind; empty for all interfaces.
    pub host: String,
    /// The port to bind; 0 picks a free one.
    pub port: u16,
}

impl Default for NetSettings {
    /// Kafka's defaults, with one plaintext listener on the loopback interface.
    fn default() -> Self {
        Self {
            listeners: vec![ListenerSettings {
                name: "PLAINTEXT".into(),
                host: "127.0.0.1".into(),
                port: 9092,
            }],
            socket_request_max_bytes: (100 << 20).min(FRAME_BYTES_MAX),
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
            connections_max_idle: Duration::from_secs(600),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
