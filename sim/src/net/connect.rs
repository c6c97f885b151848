//! Listening, accepting and connecting.

use std::{
    future::poll_fn,
    io::{ErrorKind, Result},
    net::SocketAddr,
    task::Poll,
    time::Duration,
};

use ottla_io::Listener;

use super::{SimNet, link::Link, state::Attempt, stream::SimStream};
use crate::event::What;

/// When a SYN without an answer is sent again, as Linux does with its six retries; then
/// `TimedOut`.
const SYN_RETRIES_SECONDS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A bound, listening address.
#[derive(Debug)]
pub struct SimListener {
    net: SimNet,
    address: SocketAddr,
}

impl SimListener {
    pub(super) fn new(net: SimNet, address: SocketAddr) -> Self {
        Self { net, address }
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> Result<(SimStream, SocketAddr)> {
        self.net.process.only_alive().await;
        let node = self.net.process.node();
        let number = poll_fn(|cx| {
            let mut state = self.net.network.lock();
            match state.accept(node, self.address.port(), cx.waker()) {
                Some(number) => Poll::Ready(number),
                None => Poll::Pending,
            }
        })
        .await;
        let (local, peer) = {
            let mut state = self.net.network.lock();
            match state.connections.get_mut(&number) {
                Some(connection) => {
                    connection.ends[1].process = Some(self.net.process.clone());
                    (connection.ends[1].address, connection.ends[0].address)
                }
                // Its other end was dropped and forgotten before it was accepted.
                None => return Err(ErrorKind::ConnectionAborted.into()),
            }
        };
        self.net.record(What::Connected { connection: number });
        Ok((
            SimStream::new(self.net.clone(), number, 1, local, peer),
            peer,
        ))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if self.net.process.is_alive() {
            let now = self.net.network.clock.now();
            let node = self.net.process.node();
            self.net
                .network
                .lock()
                .stop_listening(node, self.address.port(), now);
        }
    }
}

pub(super) async fn connect(net: &SimNet, to: SocketAddr) -> Result<SimStream> {
    let clock = &net.network.clock;
    let node = net.process.node();
    for retry in SYN_RETRIES_SECONDS {
        let trip = net.network.lock().latency(Link {
            from: node,
            to: node,
        });
        let attempt = net.network.lock().attempt(&net.process, to);
        match attempt {
            Attempt::Connected(number, local) => {
                // Held before the wait, so that a dropped future closes it.
                let stream = SimStream::new(net.clone(), number, 0, local, to);
                let trip = stream.round_trip().unwrap_or(trip);
                clock.sleep(Duration::from_nanos(trip)).await;
                return Ok(stream);
            }
            Attempt::Refused => {
                clock.sleep(Duration::from_nanos(trip)).await;
                return Err(ErrorKind::ConnectionRefused.into());
            }
            Attempt::Silence => clock.sleep(Duration::from_secs(retry)).await,
        }
    }
    Err(ErrorKind::TimedOut.into())
}
