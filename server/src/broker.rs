//! The broker: everything that a node holds, put together.
//!
//! [`Broker::start`] opens what is on disk, in the order in which one part needs the other, and only
//! then listens; [`RunningBroker::shutdown`] takes the same steps backwards. Handlers get the
//! [`Broker`] and find all they need in it.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use ottla_io::Io;

use ottla_wire::Str;

use crate::{
    coordinator::Groups,
    handlers::fetch::FetchSessions,
    metadata::{self, Metadata},
    metrics::Metrics,
    net::{Network, ResponseMemory},
    settings::BrokerSettings,
    storage::{OpenError, Storage},
};

/// What a node holds.
pub struct Broker<I: Io> {
    /// The world.
    pub io: I,
    /// What it was told.
    pub settings: BrokerSettings,
    /// The log directories and the partitions in them.
    pub storage: Storage<I>,
    /// The cluster's metadata, and its controller.
    pub metadata: Metadata<I>,
    /// The groups that this node coordinates.
    pub groups: Groups<I>,
    /// What readers asked for before.
    pub fetch_sessions: FetchSessions,
    /// What answers to fetches may hold.
    pub(crate) response_memory: ResponseMemory,
    /// What is counted.
    pub metrics: Metrics,
}

/// A broker that accepts connections.
pub struct RunningBroker<I: Io> {
    broker: Arc<Broker<I>>,
    network: Network,
}

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log directories cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The metadata cannot be loaded or its quorum not be taken up.
    #[error(transparent)]
    Metadata(#[from] metadata::StartError),
    /// A listener's host name says nothing.
    #[error("listener {listener}: the host {host} cannot be resolved: {source}")]
    Resolve {
        /// The listener's name.
        listener: Arc<str>,
        /// The host name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// A listener cannot be bound.
    #[error("listener {listener}: {}", bind_reason(.address, .source))]
    Listen {
        /// The listener's name.
        listener: Arc<str>,
        /// Its address.
        address: SocketAddr,
        /// What the network said.
        source: io::Error,
    },
}

fn bind_reason(address: &SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is taken by another process"),
        _ => format!("{address} cannot be listened on: {source}"),
    }
}

impl<I: Io> Broker<I> {
    /// Opens the log directories and listens.
    ///
    /// # Errors
    /// When a log directory cannot be used or a listener cannot be bound. Nothing is left running.
    pub async fn start(io: I, settings: BrokerSettings) -> Result<RunningBroker<I>, StartError> {
        let storage = Storage::open(io.clone(), settings.storage.clone()).await?;
        let metadata = settings.metadata.clone();
        let metadata = match Metadata::start(io.clone(), metadata, storage.clone()).await {
            Ok(metadata) => metadata,
            Err(error) => {
                storage.shutdown().await;
                return Err(error.into());
            }
        };
        let groups = Groups::new(io.clone(), storage.clone(), settings.groups.clone());
        let followed_by = groups.clone();
        metadata.follow(move |image, delta| followed_by.publish(image, delta));
        let fetch_sessions = FetchSessions::new(
            settings.fetch_session_slots,
            settings.fetch_session_idle_min,
        );
        let broker = Arc::new(Self {
            io,
            settings,
            storage,
            metadata,
            groups,
            fetch_sessions,
            response_memory: ResponseMemory::new(),
            metrics: Metrics::new(),
        });
        match broker.listen().await {
            Ok(network) => Ok(RunningBroker { broker, network }),
            Err(error) => {
                broker.groups.shutdown();
                broker.storage.shutdown().await;
                Err(error)
            }
        }
    }

    /// Listens. Where an advertised port was left to the system, clients are told the one it chose.
    async fn listen(self: &Arc<Self>) -> Result<Network, StartError> {
        let network = Network::start(self).await?;
        let mut endpoints = self.settings.metadata.endpoints.clone();
        if endpoints.iter().all(|endpoint| endpoint.port != 0) {
            return Ok(network);
        }
        let bound = self.settings.net.listeners.iter().zip(network.addresses());
        for (listener, address) in bound {
            let name = Str::from(&*listener.name);
            for endpoint in endpoints
                .iter_mut()
                .filter(|e| e.listener == name && e.port == 0)
            {
                endpoint.port = address.port();
            }
        }
        match self.metadata.advertise(endpoints).await {
            Ok(()) => Ok(network),
            Err(error) => {
                network.shutdown(self).await;
                Err(metadata::StartError::Refused(error).into())
            }
        }
    }
}

impl<I: Io> RunningBroker<I> {
    /// What it holds.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker<I>> {
        &self.broker
    }

    /// The bound addresses, in the order of the configured listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.network.addresses()
    }

    /// Completes, with the reason, when the node cannot go on: its metadata can no longer be changed.
    /// It must then be shut down, and recovers when it starts again.
    pub fn failed(&self) -> impl Future<Output = Arc<str>> + Send + use<I> {
        let mut failed = self.broker.metadata.failed();
        async move {
            let failed = failed.wait_for(Option::is_some).await;
            let reason = failed.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                // Nobody is left who could fail.
                None => std::future::pending().await,
            }
        }
    }

    /// Stops: no more connections, the requests under way end (within a bound), and everything is
    /// written and marked as cleanly shut down.
    pub async fn shutdown(self) {
        // Members that wait for a rebalance are told to look elsewhere, or they would hold this up.
        self.broker.groups.shutdown();
        self.network.shutdown(&self.broker).await;
        self.broker.groups.shutdown();
        let metadata = &self.broker.metadata;
        let epoch = metadata
            .image()
            .broker(metadata.node_id())
            .map_or(-1, |b| b.epoch);
        self.broker.storage.shutdown_as(epoch).await;
    }
}
