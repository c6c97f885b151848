//! The `ottla` binary: the broker on the real backend, and the tools.

mod cli;

use std::process::ExitCode;

/// Record batches are many buffers of all sizes, freed by other threads than took them: general
/// allocators differ by twofold on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
