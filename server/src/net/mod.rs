//! The network side: listeners, connections, frames, and what keeps them bounded.

mod answers;
mod connection;
mod frame;
mod listener;
mod memory;
mod room;
mod warnings;

use std::{sync::Arc, time::Duration};

use ottla_core::limits::FRAME_BYTES_MAX;

pub(crate) use self::{
    answers::{ResponseMemory, Room},
    listener::Network,
};

/// The network's part of the broker's configuration. How many connections there may be can be changed
/// at any time and is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSettings {
    /// `listeners`.
    pub listeners: Vec<ListenerSettings>,
    /// `socket.request.max.bytes`; at most [`FRAME_BYTES_MAX`].
    pub socket_request_max_bytes: usize,
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
            connections_max_idle: Duration::from_secs(600),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
