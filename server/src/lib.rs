//! The broker: wiring between sockets, the machines of `ottla-core`, and a backend of `ottla-io`.
//!
//! What must hold across crashes and peers is decided in `ottla-core`, not here. [`net`] turns bytes
//! into frames, [`dispatch`] frames into typed requests and back, [`handlers`] ask [`storage`] and
//! the other drivers, and [`broker`] puts them together. The binary (`main.rs`) adds the command line and the real backend; the simulator
//! starts the same [`broker::Broker`] on its own.

pub mod broker;
pub mod config;
pub mod context;
pub mod coordinator;
pub mod dispatch;
pub mod handlers;
pub mod loggers;
pub mod metadata;
pub mod metrics;
pub mod net;
pub mod settings;
pub mod storage;

pub use broker::{Broker, RunningBroker, StartError};
pub use context::RequestContext;
pub use loggers::Loggers;
pub use settings::BrokerSettings;
