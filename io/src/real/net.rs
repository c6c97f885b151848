//! TCP.

use std::{
    io::{IoSlice, Result},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
};

use crate::net::{Listener, Net, Stream};

/// Connections that the kernel holds for us before they are accepted.
const BACKLOG: u32 = 1024;

/// Descriptors that connections leave for files and for connections of our own.
const DESCRIPTORS_KEPT: usize = 256;

/// Connections that are accepted however few descriptors there are.
const CONNECTIONS_MIN: usize = 64;

/// The operating system's TCP.
#[derive(Clone, Copy, Debug)]
pub struct RealNet;

/// A listening socket.
#[derive(Debug)]
pub struct RealListener(TcpListener);

/// A TCP connection, Nagle's delay off.
#[derive(Debug)]
pub struct RealStream(TcpStream);

impl Net for RealNet {
    type Listener = RealListener;
    type Stream = RealStream;

    async fn listen(&self, address: SocketAddr) -> Result<RealListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(RealListener(socket.listen(BACKLOG)?))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, to: SocketAddr) -> Result<RealStream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(RealStream(stream))
    }

    fn room(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        limit
            .saturating_sub(open + DESCRIPTORS_KEPT)
            .max(CONNECTIONS_MIN)
    }
}

impl Listener for RealListener {
    type Stream = RealStream;

    async fn accept(&self) -> Result<(RealStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        // It fails only if the peer is gone already, which the first read will say.
        let _ = stream.set_nodelay(true);
        Ok((RealStream(stream), peer))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Stream for RealStream {
    fn peer_addr(&self) -> Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }

    fn reset(self) {
        // Closing a socket that lingers for no time sends RST. If the option is refused, dropping
        // it still closes the connection.
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, Some(std::time::Duration::ZERO));
    }
}

impl AsyncRead for RealStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
