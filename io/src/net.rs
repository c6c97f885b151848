//! The network: listeners, connections and streams.

use std::{future::Future, io::Result, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

/// A node's network.
pub trait Net: Clone + Send + Sync + 'static {
    /// What [`Net::listen`] gives.
    type Listener: Listener<Stream = Self::Stream>;
    /// A connection.
    type Stream: Stream;

    /// Binds `address` (port 0 picks a free one) and listens on it.
    fn listen(&self, address: SocketAddr) -> impl Future<Output = Result<Self::Listener>> + Send;

    /// The addresses of a host name, or of an address written as text.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = Result<Vec<SocketAddr>>> + Send;

    /// Connects to a listener. Without an answer this waits as long as the backend does: callers
    /// set a time-out of their own.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = Result<Self::Stream>> + Send;

    /// How many connections there is room for now, leaving some for files that are opened later.
    fn room(&self) -> usize {
        usize::MAX
    }
}

/// A bound, listening address.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: Stream;

    /// The next connection and its peer's address.
    fn accept(&self) -> impl Future<Output = Result<(Self::Stream, SocketAddr)>> + Send;

    /// The address that is bound.
    fn local_addr(&self) -> Result<SocketAddr>;
}

/// A connection: an ordered stream of bytes each way.
///
/// `poll_shutdown` closes the sending half only: the peer reads end of file, and may go on sending.
/// Dropping the stream closes both halves; a peer that then sends gets a reset. Writes push back
/// when the peer does not read.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The other end's address.
    fn peer_addr(&self) -> Result<SocketAddr>;

    /// This end's address.
    fn local_addr(&self) -> Result<SocketAddr>;

    /// Ends the connection at once, dropping what was not sent: the peer sees a reset.
    fn reset(self);
}
