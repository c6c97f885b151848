//! Listeners: accepting connections, within their bounds, and ending them all.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ottla_core::{marks, time::Instant};
use ottla_io::{Io, Listener, Net, Stream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::{
    ListenerSettings,
    connection::{Closed, Connection},
    memory::RequestMemory,
    room::{Entry, Room, max_connections_per_ip},
    warnings::Warnings,
};
use crate::{
    broker::{Broker, StartError},
    context::ConnectionInfo,
};

/// How long to wait after the operating system refused a connection for want of descriptors or
/// memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the same listener is silent about connections that it cannot accept.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

type ListenerOf<I> = <<I as Io>::Net as Net>::Listener;
type StreamOf<I> = <<I as Io>::Net as Net>::Stream;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are taken.
    Serving,
    /// What is under way is answered.
    Draining,
    /// Connections end at once.
    Ended,
}

/// The listeners that run, and their connections.
pub(crate) struct Network {
    addresses: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
    /// Ends once every task of the network has dropped its sender.
    tasks_ended: mpsc::Receiver<()>,
}

/// What the listeners of a broker share.
struct Shared<I: Io> {
    broker: Arc<Broker<I>>,
    memory: RequestMemory,
    warnings: Warnings,
    next_id: AtomicU64,
    room: Arc<Room>,
    per_ip: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection's place among those of its address.
struct Place<I: Io> {
    shared: Arc<Shared<I>>,
    ip: IpAddr,
    _room: Entry,
}

impl Network {
    /// Binds every listener, and only then accepts on them.
    pub(crate) async fn start<I: Io>(broker: &Arc<Broker<I>>) -> Result<Self, StartError> {
        let settings = &broker.settings.net;
        let mut bound = Vec::new();
        for listener in &settings.listeners {
            bound.push((
                Arc::clone(&listener.name),
                bind(&broker.io, listener).await?,
            ));
        }
        let (phase, watched) = watch::channel(Phase::Serving);
        let (task_alive, tasks_ended) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            broker: Arc::clone(broker),
            memory: RequestMemory::new(),
            warnings: Warnings::default(),
            next_id: AtomicU64::new(0),
            room: Room::following(broker),
            per_ip: Mutex::new(BTreeMap::new()),
        });
        let mut addresses = Vec::new();
        for (name, (listener, address)) in bound {
            info!(listener = &*name, %address, "listening");
            addresses.push(address);
            let accepting = accept(
                Arc::clone(&shared),
                name,
                listener,
                watched.clone(),
                task_alive.clone(),
            );
            broker.io.spawn_detached("listener", Box::pin(accepting));
        }
        Ok(Self {
            addresses,
            phase,
            tasks_ended,
        })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, lets what is under way be answered for a while, and ends all connections.
    pub(crate) async fn shutdown<I: Io>(mut self, broker: &Arc<Broker<I>>) {
        let grace = broker.settings.net.shutdown_grace;
        self.phase.send_replace(Phase::Draining);
        if broker
            .io
            .timeout(grace, self.tasks_ended.recv())
            .await
            .is_none()
        {
            info!("requests are still under way: their connections are closed");
            self.phase.send_replace(Phase::Ended);
            // They end without waiting for anything; the bound is for a broken backend.
            let _ = broker.io.timeout(grace, self.tasks_ended.recv()).await;
        }
    }
}

async fn bind<I: Io>(
    io: &I,
    settings: &ListenerSettings,
) -> Result<(ListenerOf<I>, SocketAddr), StartError> {
    let resolve_failed = |source| StartError::Resolve {
        listener: Arc::clone(&settings.name),
        host: settings.host.clone(),
        source,
    };
    let listen_failed = |address, source| StartError::Listen {
        listener: Arc::clone(&settings.name),
        address,
        source,
    };
    let address = if settings.host.is_empty() {
        // On Linux this takes IPv4 connections as well.
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), settings.port);
        match io.net().listen(any).await {
            Ok(listener) => {
                let bound = listener.local_addr();
                return Ok((
                    listener,
                    bound.map_err(|source| listen_failed(any, source))?,
                ));
            }
            Err(source)
                if matches!(
                    source.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Err(listen_failed(any, source));
            }
            // A system without IPv6.
            Err(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), settings.port),
        }
    } else {
        let found = io.net().resolve(&settings.host, settings.port).await;
        let found = found.map_err(resolve_failed)?;
        // A name like localhost means IPv4 first, as Java prefers it.
        let v4 = found.iter().find(|address| address.is_ipv4());
        *v4.or(found.first())
            .ok_or_else(|| resolve_failed(io::ErrorKind::NotFound.into()))?
    };
    let failed = |source| listen_failed(address, source);
    let listener = io.net().listen(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Accepts connections until the broker shuts down.
async fn accept<I: Io>(
    shared: Arc<Shared<I>>,
    name: Arc<str>,
    listener: ListenerOf<I>,
    mut phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
) {
    let mut failed_at = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
            accepted = shared.accept_one(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer, room)) => {
                let Some(place) = shared.place(peer.ip(), room) else {
                    continue;
                };
                let info = Arc::new(ConnectionInfo {
                    id: shared.next_id.fetch_add(1, Ordering::Relaxed),
                    listener: Arc::clone(&name),
                    peer,
                    local: stream.local_addr().unwrap_or(peer),
                    client_software: OnceLock::new(),
                });
                let serving = serve(place, info, stream, phase.clone(), alive.clone());
                shared
                    .broker
                    .io
                    .spawn_detached("connection", Box::pin(serving));
            }
            Err(error) => {
                // The same one follows many times a second while descriptors are short.
                let now = shared.broker.io.now().monotonic;
                if failed_at.is_none_or(|at: Instant| now.since(at) >= ACCEPT_WARNING_INTERVAL) {
                    failed_at = Some(now);
                    warn!(listener = &*name, %error, "a connection cannot be accepted");
                }
                shared.broker.io.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl<I: Io> Shared<I> {
    /// The next connection; until there is room for it no other is accepted on this listener.
    async fn accept_one(
        &self,
        listener: &ListenerOf<I>,
    ) -> io::Result<(StreamOf<I>, SocketAddr, Entry)> {
        let (stream, peer) = listener.accept().await?;
        // A listener to which nobody comes takes no place from the others.
        let room = Arc::clone(&self.room).enter().await;
        let room = room.map_err(io::Error::other)?;
        Ok((stream, peer, room))
    }

    /// A place for a connection from `ip`, unless it has too many.
    fn place(self: &Arc<Self>, ip: IpAddr, room: Entry) -> Option<Place<I>> {
        let ip = ip.to_canonical();
        let metadata = &self.broker.metadata;
        let max = metadata.with_broker_layers(|_, layers| max_connections_per_ip(layers, ip));
        {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = per_ip.entry(ip).or_default();
            if *count < max {
                *count += 1;
                self.broker.metrics.connections.open.inc();
                self.broker.metrics.connections.accepted.inc();
                return Some(Place {
                    shared: Arc::clone(self),
                    ip,
                    _room: room,
                });
            }
            if *count == 0 {
                per_ip.remove(&ip);
            }
        }
        self.broker.metrics.connections.refused.inc();
        self.warn(
            ip,
            &format_args!("it has {max} connections already (max.connections.per.ip)"),
        );
        None
    }

    /// Warns about a source, unless it was warned about a moment ago.
    fn warn(&self, source: IpAddr, reason: &dyn std::fmt::Display) {
        match self.warnings.admit(source, self.broker.io.now().monotonic) {
            Some(0) => warn!(%source, "connection closed: {reason}"),
            Some(left_out) => {
                warn!(%source, left_out, "connection closed: {reason}");
            }
            None => debug!(%source, "connection closed: {reason}"),
        }
    }
}

impl<I: Io> Drop for Place<I> {
    fn drop(&mut self) {
        self.shared.broker.metrics.connections.open.dec();
        let mut per_ip = self
            .shared
            .per_ip
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}

/// Runs a connection to its end. A panic in a handler unwinds through here: it ends this connection
/// and gives its place back, and nothing else.
async fn serve<I: Io>(
    place: Place<I>,
    info: Arc<ConnectionInfo>,
    stream: StreamOf<I>,
    mut phase: watch::Receiver<Phase>,
    _alive: mpsc::Sender<()>,
) {
    let shared = &place.shared;
    let broker = Arc::clone(&shared.broker);
    let mut connection = Connection::new(broker, Arc::clone(&info), shared.memory.clone(), stream);
    let closed = loop {
        tokio::select! {
            biased;
            changed = phase.changed() => {
                let now = changed.map_or(Phase::Ended, |()| *phase.borrow_and_update());
                match now {
                    Phase::Serving => {}
                    Phase::Draining => connection.drain(),
                    Phase::Ended => break Closed::ShutDown,
                }
            }
            closed = poll_fn(|cx| connection.poll(cx)) => break closed,
        }
    };
    match &closed {
        Closed::Idle => marks::CONNECTION_IDLE.reach(),
        Closed::Stalled { .. } => marks::CONNECTION_STALLED.reach(),
        Closed::Frame(_) => marks::FRAME_REFUSED.reach(),
        Closed::Request(_) => marks::REQUEST_REFUSED.reach(),
        _ => {}
    }
    if closed.is_misbehaviour() {
        shared.broker.metrics.connections.misbehaved.inc();
        shared.warn(info.peer.ip().to_canonical(), &closed);
    } else {
        debug!(connection = info.id, peer = %info.peer, "connection closed: {closed}");
    }
}
