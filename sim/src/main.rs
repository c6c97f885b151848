//! The `ottla-sim` binary.

/// As in the broker: a tenth of a run's time went into the system's allocator and its page faults.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    ottla_sim::cli::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("ottla-sim was built without its world; run it with: cargo sim --help");
    std::process::ExitCode::from(2)
}
