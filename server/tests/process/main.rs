//! The broker as a process of its own: killed under load, told to stop, given bad input, started on
//! directories that it must refuse, left without room on its disk, and out of power with it.
//!
//! What the simulator checks on seeds, these tests check on a real kernel. `OTTLA_BINARY` names
//! another binary than the one that was built with the tests (`cargo xtask interop` gives the release
//! build), `OTTLA_KILLS` how often the broker is killed, `OTTLA_SEED` the seed of a run to repeat.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails where something went wrong, and looks at real files, time and sockets"
)]

mod bad_input;
mod bounds;
mod broker;
mod directories;
mod full_disk;
mod kills;
mod power_loss;
mod raw;
