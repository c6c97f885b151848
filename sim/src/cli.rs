//! The command line: run, fuzz, replay, shrink, marks, list.
//!
//! Exit status: 0 for passed, 1 for failed, 2 for misuse.

#![expect(
    clippy::print_stdout,
    reason = "the command line talks on standard output"
)]

mod cause;
mod child;
mod fuzz;
mod junit;
mod list;
mod marks;
mod parse;
mod progress;
mod replay;
mod report;
mod run;
mod seed;
mod shrink;
mod source;
mod totals;
mod twice;
mod verdicts;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the broker and its clients in a simulated world: one seed, one history.
#[derive(Debug, Parser)]
#[command(name = "ottla-sim", bin_name = "cargo sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario file.
    Run(run::Arguments),
    /// Runs scenarios drawn from seeds, each in a fresh process.
    Fuzz(fuzz::Arguments),
    /// Runs again what a seed or a file says, and prints every event.
    Replay(replay::Arguments),
    /// Makes of a failure the smallest scenario that still breaks the same invariant.
    Shrink(shrink::Arguments),
    /// Adds up the reports of several fuzz runs and names the marks that none reached.
    Marks(marks::Arguments),
    /// Lists the scenarios, each with its first line.
    List(list::Arguments),
    /// Runs one seed and prints what came of it as JSON: what fuzz and shrink start.
    #[command(hide = true)]
    Seed(seed::Arguments),
}

/// Runs the command line and gives the exit status: 0 for passed, 1 for failed, 2 for misuse.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Shrink(arguments) => shrink::shrink(&arguments),
        Command::Marks(arguments) => marks::marks(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Seed(arguments) => seed::seed(&arguments),
    };
    match done {
        Ok(status) => ExitCode::from(status as u8),
        Err(Misuse(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Passed = 0,
    Failed = 1,
}

impl Status {
    fn passed(passed: bool) -> Self {
        match passed {
            true => Self::Passed,
            false => Self::Failed,
        }
    }
}

/// What was asked for cannot be done, in one line that says what to do.
#[derive(Debug)]
struct Misuse(String);

impl Misuse {
    fn of(place: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self(format!("{place}: {error}"))
    }
}

type Done = Result<Status, Misuse>;
