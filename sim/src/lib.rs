//! Ottla's simulated world: the whole broker and its clients on one thread, on a disk and a network
//! that fail, where one seed gives one history.
//!
//! madsim gives the executor, the clock and the seed; its file and TCP models are too kind
//! (docs/adr/0006-simulated-world.md), so the disk (`disk`) and the network (`net`) are our own. `io` joins
//! them to a backend of `ottla-io`, which the broker and the client take as they take the real one.
//! `world` starts, kills and restarts nodes; `scenario` says what happens in a run;
//! `workload` produces and consumes; every event goes to `event::Recorder`, and `check` judges
//! what came of it.
//!
//! madsim replaces parts of the C library by `--cfg madsim`, so the crate is built by `cargo sim`
//! only (see xtask), with the `world` feature; without it there is nothing here.

#[cfg(all(feature = "world", not(madsim)))]
compile_error!(
    "ottla-sim is built with madsim's cfg only: run it with `cargo sim` (for instance `cargo sim list`)"
);

#[cfg(madsim)]
pub mod app;
#[cfg(madsim)]
pub mod cause;
#[cfg(madsim)]
pub mod check;
#[cfg(madsim)]
pub mod cli;
#[cfg(madsim)]
pub mod clock;
#[cfg(madsim)]
pub mod disk;
#[cfg(madsim)]
pub mod event;
#[cfg(madsim)]
pub mod hash;
#[cfg(madsim)]
pub mod io;
#[cfg(madsim)]
pub mod net;
#[cfg(madsim)]
pub mod picture;
#[cfg(madsim)]
pub mod process;
#[cfg(madsim)]
pub mod random;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
pub mod scenario;
#[cfg(madsim)]
pub mod server;
#[cfg(madsim)]
pub mod shrink;
#[cfg(madsim)]
pub mod timeline;
#[cfg(madsim)]
pub mod wall;
#[cfg(madsim)]
pub mod workload;
#[cfg(madsim)]
pub mod world;
