//! What a network holds: hosts, listeners, connections and links.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{ErrorKind, Result},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    task::Waker,
};

use super::{
    link::{Connects, Link, LinkState},
    pipe::Pipe,
};
use crate::{event::NodeId, process::Process, random::SimRandom};

/// Connections that a listener holds before they are accepted.
const BACKLOG: usize = 128;
/// Where ports that the kernel chooses begin, as on Linux.
const EPHEMERAL_PORT_MIN: u16 = 32_768;
/// After a cut is healed or power returns, TCP notices when it next sends again.
const RETRANSMISSION_MICROS: RangeInclusive<u64> = 200_000..=3_000_000;

pub(super) struct NetState {
    pub(super) random: SimRandom,
    hosts: BTreeMap<NodeId, Host>,
    names: BTreeMap<String, NodeId>,
    listeners: BTreeMap<(NodeId, u16), Listening>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) links: BTreeMap<Link, LinkState>,
    /// Until when a narrow link carries what was handed to it.
    pub(super) busy_until: BTreeMap<Link, u64>,
    next_connection: u64,
}

struct Host {
    address: IpAddr,
    powered: bool,
    next_port: u16,
}

struct Listening {
    process: Process,
    waiting: VecDeque<u64>,
    waker: Option<Waker>,
}

/// A connection: end 0 asked for it, end 1 accepted it.
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// `pipes[n]` carries what end n sends.
    pub(super) pipes: [Pipe; 2],
}

pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    /// The process that holds it; nobody's before it is accepted and after it is dropped.
    pub(super) process: Option<Process>,
    pub(super) dropped: bool,
    /// Its host has lost the connection and said nothing: the process that holds it meets a reset.
    pub(super) severed: bool,
}

/// What a connection attempt met.
pub(super) enum Attempt {
    /// Number and address of the asking end.
    Connected(u64, SocketAddr),
    /// The host answered with a reset.
    Refused,
    /// Nobody answered.
    Silence,
}

impl NetState {
    pub(super) fn new(random: SimRandom) -> Self {
        Self {
            random,
            hosts: BTreeMap::new(),
            names: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            next_connection: 1,
        }
    }

    pub(super) fn add_host(&mut self, node: NodeId, name: &str) -> IpAddr {
        let [high, low] = node.0.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
        let host = Host {
            address,
            powered: true,
            next_port: EPHEMERAL_PORT_MIN,
        };
        self.hosts.insert(node, host);
        self.names.insert(name.to_owned(), node);
        address
    }

    pub(super) fn address_of(&self, name: &str) -> Option<IpAddr> {
        Some(self.hosts.get(self.names.get(name)?)?.address)
    }

    pub(super) fn listen(&mut self, process: &Process, address: SocketAddr) -> Result<SocketAddr> {
        let node = process.node();
        let port = match address.port() {
            0 => self.free_port(node),
            port => port,
        };
        let own = self.hosts.get(&node).map(|host| host.address);
        let ip = address.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || Some(ip) == own) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        if self.listeners.contains_key(&(node, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let listening = Listening {
            process: process.clone(),
            waiting: VecDeque::new(),
            waker: None,
        };
        self.listeners.insert((node, port), listening);
        Ok(SocketAddr::new(ip, port))
    }

    pub(super) fn stop_listening(&mut self, node: NodeId, port: u16, now: u64) {
        if let Some(listening) = self.listeners.remove(&(node, port)) {
            for connection in listening.waiting {
                self.close_end(connection, 1, now, true);
            }
        }
    }

    /// The next connection that waits at a listener; without one, `waker` is told of the next.
    pub(super) fn accept(&mut self, node: NodeId, port: u16, waker: &Waker) -> Option<u64> {
        let listening = self.listeners.get_mut(&(node, port))?;
        let accepted = listening.waiting.pop_front();
        if accepted.is_none() {
            listening.waker = Some(waker.clone());
        }
        accepted
    }

    fn free_port(&mut self, node: NodeId) -> u16 {
        let Some(host) = self.hosts.get_mut(&node) else {
            return EPHEMERAL_PORT_MIN;
        };
        loop {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_PORT_MIN);
            if !self.listeners.contains_key(&(node, port)) {
                return port;
            }
        }
    }

    fn node_at(&self, from: NodeId, address: IpAddr) -> Option<NodeId> {
        if address.is_loopback() || address.is_unspecified() {
            return Some(from);
        }
        self.hosts
            .iter()
            .find(|(_, host)| host.address == address)
            .map(|(node, _)| *node)
    }

    /// One SYN and what it met.
    pub(super) fn attempt(&mut self, process: &Process, to: SocketAddr) -> Attempt {
        let from = process.node();
        let Some(target) = self.node_at(from, to.ip()) else {
            return Attempt::Silence;
        };
        let there = Link { from, to: target };
        let back = Link {
            from: target,
            to: from,
        };
        let powered = self.hosts.get(&target).is_some_and(|host| host.powered);
        if !powered || self.is_cut(there) || self.is_cut(back) {
            return Attempt::Silence;
        }
        match self.link(there).connects {
            Connects::Served => {}
            Connects::Refused => return Attempt::Refused,
            Connects::Dropped => return Attempt::Silence,
        }
        match self.listeners.get(&(target, to.port())) {
            None => return Attempt::Refused,
            Some(listening) if listening.waiting.len() >= BACKLOG => return Attempt::Silence,
            Some(_) => {}
        }
        let number = self.next_connection;
        self.next_connection += 1;
        let own = match target == from {
            true => to.ip(),
            false => self.hosts.get(&from).map_or(to.ip(), |host| host.address),
        };
        let local = SocketAddr::new(own, self.free_port(from));
        let end = |node, address, process| End {
            node,
            address,
            process,
            dropped: false,
            severed: false,
        };
        let connection = Connection {
            ends: [
                end(from, local, Some(process.clone())),
                end(target, to, None),
            ],
            pipes: [Pipe::default(), Pipe::default()],
        };
        self.connections.insert(number, connection);
        if let Some(listening) = self.listeners.get_mut(&(target, to.port())) {
            listening.waiting.push_back(number);
            if let Some(waker) = listening.waker.take() {
                waker.wake();
            }
        }
        Attempt::Connected(number, local)
    }

    pub(super) fn set_link(&mut self, link: Link, state: LinkState) -> Vec<Waker> {
        if self.links.insert(link, state).unwrap_or_default() == state {
            return Vec::new();
        }
        if state.bytes_per_second.is_none() {
            self.busy_until.remove(&link);
        }
        self.wakers_of(|from, to| from == link.from && to == link.to)
    }

    /// Wakes the readers that a direction leads to, so that they look again.
    fn wakers_of(&mut self, concerns: impl Fn(NodeId, NodeId) -> bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for connection in self.connections.values_mut() {
            for end in 0..2 {
                if concerns(connection.ends[end].node, connection.ends[1 - end].node) {
                    wakers.extend(connection.pipes[end].wakers());
                }
            }
        }
        wakers
    }

    /// Bytes that waited at a cut, or at a node without power, are sent again a while later.
    pub(super) fn retransmission(&mut self, now: u64) -> u64 {
        now + self.random.within(RETRANSMISSION_MICROS) * 1_000
    }

    pub(super) fn is_busy(&self) -> bool {
        let pipes = self.connections.values().flat_map(|one| &one.pipes);
        let mut pipes = pipes.filter(|pipe| !pipe.reader_gone);
        pipes.any(Pipe::unread)
    }

    pub(super) fn reset_between(&mut self, one: NodeId, other: NodeId) -> (usize, Vec<Waker>) {
        let mut count = 0;
        let mut wakers = Vec::new();
        for connection in self.connections.values_mut() {
            let nodes = [connection.ends[0].node, connection.ends[1].node];
            if nodes != [one, other] && nodes != [other, one] {
                continue;
            }
            count += 1;
            for pipe in &mut connection.pipes {
                pipe.push_reset(0, true);
                wakers.extend(pipe.wakers());
            }
        }
        (count, wakers)
    }

    /// A host loses all its connections without a word, as one does whose address moves or whose
    /// network driver starts anew: its own process meets a reset, the peers believe that they are
    /// connected until they send.
    pub(super) fn sever(&mut self, node: NodeId) -> (usize, Vec<Waker>) {
        let mut count = 0;
        let mut wakers = Vec::new();
        for connection in self.connections.values_mut() {
            let nodes = [connection.ends[0].node, connection.ends[1].node];
            let Some(end) = (0..2).find(|end| nodes[*end] == node) else {
                continue;
            };
            if nodes[1 - end] == node || connection.ends[end].dropped {
                continue;
            }
            count += 1;
            connection.ends[end].dropped = true;
            connection.ends[end].severed = true;
            connection.pipes[end].vanish();
            connection.pipes[1 - end].reader_gone = true;
            wakers.extend(connection.pipes[end].writer.take());
            wakers.extend(connection.pipes[1 - end].wakers());
        }
        self.forget_dead();
        (count, wakers)
    }

    pub(super) fn process_ended(&mut self, process: &Process, now: u64) -> Vec<Waker> {
        let node = process.node();
        let ports: Vec<u16> = self
            .listeners
            .iter()
            .filter(|((at, _), listening)| {
                *at == node && listening.process.number() == process.number()
            })
            .map(|((_, port), _)| *port)
            .collect();
        for port in ports {
            self.stop_listening(node, port, now);
        }
        for (connection, end) in self.ends_of(process) {
            let random_reset = self.random.chance(1, 2);
            self.close_end(connection, end, now, random_reset);
        }
        self.wakers_of(|from, to| from == node || to == node)
    }

    fn ends_of(&self, process: &Process) -> Vec<(u64, usize)> {
        let mut ends = Vec::new();
        for (number, connection) in &self.connections {
            for (index, end) in connection.ends.iter().enumerate() {
                if end.node == process.node() && !end.dropped {
                    ends.push((*number, index));
                }
            }
        }
        ends
    }

    pub(super) fn power_lost(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.powered = false;
        }
        self.listeners.retain(|(at, _), _| *at != node);
        for connection in self.connections.values_mut() {
            for end in 0..2 {
                if connection.ends[end].node == node {
                    connection.ends[end].dropped = true;
                    connection.ends[end].process = None;
                    // Its bytes on the wire still arrive; what comes to it is never answered.
                    connection.pipes[1 - end].reader_gone = true;
                }
            }
        }
        self.forget_dead();
    }

    pub(super) fn power_restored(&mut self, node: NodeId, now: u64) -> Vec<Waker> {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.powered = true;
        }
        let waiting: Vec<(u64, usize)> = self
            .connections
            .iter()
            .flat_map(|(number, connection)| {
                (0..2)
                    .filter(|end| {
                        connection.ends[*end].node == node
                            && connection.ends[*end].dropped
                            && connection.pipes[1 - end].unread()
                    })
                    .map(|end| (*number, end))
            })
            .collect();
        for (number, end) in waiting {
            let arrives = self.retransmission(now);
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.pipes[end].push_reset(arrives, true);
                connection.pipes[1 - end].reset = true;
            }
        }
        self.wakers_of(|_, to| to == node)
    }

    pub(super) fn is_powered(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.powered)
    }

    /// Closes both halves as dropping a socket does: a reset if something was left unread (or if
    /// `reset` is asked for), else an end of file.
    pub(super) fn close_end(&mut self, number: u64, end: usize, now: u64, reset: bool) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if std::mem::replace(&mut connection.ends[end].dropped, true) {
            return;
        }
        connection.ends[end].process = None;
        let link = Link {
            from: connection.ends[end].node,
            to: connection.ends[1 - end].node,
        };
        // What a cut has held up is still with the sender, who drops it.
        let unsent = reset && self.is_cut(link);
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let unread = connection.pipes[1 - end].unread();
        connection.pipes[1 - end].reader_gone = true;
        let arrives = now + self.latency(link);
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let pipe = &mut connection.pipes[end];
        if reset || unread {
            if unsent {
                pipe.vanish();
            }
            pipe.push_reset(arrives, false);
        } else if !pipe.closed {
            pipe.push_end(arrives);
        }
        let wakers: Vec<Waker> = connection.pipes.iter_mut().flat_map(Pipe::wakers).collect();
        wakers.into_iter().for_each(Waker::wake);
        self.forget_dead_one(number);
    }

    fn forget_dead_one(&mut self, number: u64) {
        if self
            .connections
            .get(&number)
            .is_some_and(|c| c.ends[0].dropped && c.ends[1].dropped)
        {
            self.connections.remove(&number);
        }
    }

    fn forget_dead(&mut self) {
        self.connections
            .retain(|_, c| !(c.ends[0].dropped && c.ends[1].dropped));
    }
}
