//! The command line: what `ottla` alone and its subcommands do.

pub(crate) mod server;

mod metrics_http;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::server::ServerArgs;

/// Apache Kafka, rebuilt in Rust. Without a command: a single node on 127.0.0.1:9092.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, max_term_width = 100)]
struct Ottla {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a broker.
    Server(ServerArgs),
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    match Ottla::parse().command {
        None => server::run(&ServerArgs::default()),
        Some(Command::Server(args)) => server::run(&args),
    }
}
