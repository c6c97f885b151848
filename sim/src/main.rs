//! The `ottla-sim` binary.

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    ottla_sim::cli::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("ottla-sim was built without its world; run it with: cargo sim --help");
    std::process::ExitCode::from(2)
}
