//! The command line: what `ottla` alone and its subcommands do.

pub(crate) mod server;

mod consume;
mod group;
mod metrics_http;
mod produce;
mod tool;
mod topic;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
    /// Manages topics.
    Topic(topic::TopicArgs),
    /// Writes the lines of standard input to a topic.
    Produce(produce::ProduceArgs),
    /// Writes a topic's records to standard output.
    Consume(consume::ConsumeArgs),
    /// Manages consumer groups.
    Group(group::GroupArgs),
    /// Writes a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    match Ottla::parse().command {
        None => server::run(&ServerArgs::default()),
        Some(Command::Server(args)) => server::run(&args),
        Some(Command::Topic(args)) => topic::run(args),
        Some(Command::Produce(args)) => produce::run(args),
        Some(Command::Consume(args)) => consume::run(args),
        Some(Command::Group(args)) => group::run(args),
        Some(Command::Completions { shell }) => {
            let mut command = Ottla::command();
            // Collected first: the generator panics when nobody reads what it writes.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "ottla", &mut script);
            tool::exit(tool::print_bytes(&script))
        }
    }
}
