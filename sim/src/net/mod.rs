//! A network of the simulated world.
//!
//! madsim's own TCP never pushes back, never resets, and refuses a connection through a cut link at
//! once; this one behaves as TCP on Linux does where a broker can tell. A connection is two pipes
//! ([`pipe`]) with a bounded window, so a reader that stops reading stops its writer. Bytes take the
//! link's latency, arrive in any split, and wait while the link is cut in their direction; so do
//! ends of file and resets. A connection through a cut, or to a host without power, is tried again
//! as SYNs are and times out after about two minutes; to a live host without a listener it is
//! refused. A process that is killed closes its connections as the kernel would (a reset where bytes
//! were left unread); a node that loses power says nothing, and what is sent to it later is answered
//! by a reset once it is back. A node can also lose its connections without a word; they are
//! half-open then: the peer believes in them until it sends and is answered by a reset. What else can be
//! wrong with a [`link`] is set from outside: cuts, delays, a narrow bandwidth, a firewall.
//!
//! Every host has an address of its own and a loopback.

mod connect;
mod link;
mod pipe;
mod state;
mod stream;

use std::{
    io::{Error, ErrorKind, Result},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_io::Net;

use self::state::NetState;
pub use self::{
    connect::SimListener,
    link::{Connects, Delay, Link, LinkState, Spread},
    stream::SimStream,
};
use crate::{
    clock::SimClock,
    event::{NodeId, Recorder, What},
    process::Process,
    random::SimRandom,
};

/// The one network of a world.
#[derive(Clone)]
pub struct Network {
    clock: SimClock,
    recorder: Recorder,
    state: Arc<Mutex<NetState>>,
}

impl Network {
    /// A network without hosts.
    #[must_use]
    pub fn new(random: SimRandom, recorder: Recorder) -> Self {
        let state = Arc::new(Mutex::new(NetState::new(random)));
        Self {
            clock: SimClock::current(),
            recorder,
            state,
        }
    }

    /// Adds a host with a name; gives its address.
    #[must_use]
    pub fn add_host(&self, node: NodeId, name: &str) -> IpAddr {
        self.lock().add_host(node, name)
    }

    /// The network as `process` sees it.
    #[must_use]
    pub fn attach(&self, process: Process) -> SimNet {
        SimNet {
            network: self.clone(),
            process,
        }
    }

    /// Changes the link in one direction. Bytes on their way through a cut wait until it is healed.
    pub fn set_link(&self, link: Link, state: LinkState) {
        let wakers = self.lock().set_link(link, state);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// How a link is.
    #[must_use]
    pub fn link(&self, link: Link) -> LinkState {
        self.lock().link(link)
    }

    /// Resets every connection between two nodes, in the middle of whatever is on its way.
    pub fn reset_between(&self, one: NodeId, other: NodeId) -> usize {
        let (count, wakers) = self.lock().reset_between(one, other);
        wakers.into_iter().for_each(std::task::Waker::wake);
        count
    }

    /// Whether bytes are on their way to somebody who may still read them.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// A node loses its connections to all others without a word: they are half-open.
    pub fn sever(&self, node: NodeId) -> usize {
        let (count, wakers) = self.lock().sever(node);
        wakers.into_iter().for_each(std::task::Waker::wake);
        count
    }

    /// A process has ended: the kernel closes its connections and listeners.
    pub fn process_ended(&self, process: &Process) {
        let now = self.clock.now();
        let wakers = self.lock().process_ended(process, now);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// A node has lost power: nobody hears of it.
    pub fn power_lost(&self, node: NodeId) {
        self.lock().power_lost(node);
    }

    /// A node has power: it answers what belongs to its past with resets.
    pub fn power_restored(&self, node: NodeId) {
        let now = self.clock.now();
        let wakers = self.lock().power_restored(node, now);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, NetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network")
    }
}

/// The network as one process sees it.
#[derive(Clone, Debug)]
pub struct SimNet {
    network: Network,
    process: Process,
}

impl SimNet {
    fn record(&self, what: What) {
        self.network.recorder.record(self.process.node(), what);
    }
}

impl Net for SimNet {
    type Listener = SimListener;
    type Stream = SimStream;

    async fn listen(&self, address: SocketAddr) -> Result<SimListener> {
        self.process.only_alive().await;
        let address = self.network.lock().listen(&self.process, address)?;
        Ok(SimListener::new(self.clone(), address))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        self.process.only_alive().await;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if host == "localhost" {
            return Ok(vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)]);
        }
        match self.network.lock().address_of(host) {
            Some(address) => Ok(vec![SocketAddr::new(address, port)]),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("no host is named {host}"),
            )),
        }
    }

    async fn connect(&self, to: SocketAddr) -> Result<SimStream> {
        self.process.only_alive().await;
        self.record(What::Connecting(to));
        let connected = connect::connect(self, to).await;
        self.process.only_alive().await;
        match &connected {
            Ok(stream) => self.record(What::Connected {
                connection: stream.connection(),
            }),
            Err(error) => self.record(What::ConnectFailed(error.to_string())),
        }
        connected
    }
}

#[cfg(test)]
mod tests;
