//! The command line: run, fuzz, replay, list.

#![expect(
    clippy::print_stdout,
    reason = "the command line talks on standard output"
)]

mod fuzz;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    picture::PictureOptions,
    run::{self, Outcome},
    scenario::Scenario,
};

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
    Run {
        /// The scenario.
        file: PathBuf,
        /// The seed that everything left open is drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs scenarios drawn from seeds, each in a fresh process.
    Fuzz {
        /// How many seeds.
        #[arg(long)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at once; all cores by default.
        #[arg(long)]
        jobs: Option<usize>,
        /// Runs each seed twice, and fails where the hashes differ.
        #[arg(long)]
        twice: bool,
        /// Goes on after a failure.
        #[arg(long)]
        keep_going: bool,
    },
    /// Runs again what a seed or a file says, and shows what happened.
    Replay {
        /// The scenario; without it the seed draws one.
        file: Option<PathBuf>,
        /// The seed.
        #[arg(long, required_unless_present = "file")]
        seed: Option<u64>,
        #[command(flatten)]
        picture: PictureOptions,
    },
    /// Lists the scenarios, each with its first line.
    List {
        /// The folder they are in.
        #[arg(long, default_value = "scenarios")]
        dir: PathBuf,
    },
    /// Runs the scenario drawn from a seed and prints what came of it as JSON.
    #[command(hide = true)]
    Seed {
        /// The seed.
        seed: u64,
    },
}

/// Runs the command line and gives the exit status: 0 for passed, 1 for failed, 2 for misuse.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { file, seed } => match read(&file) {
            Ok(scenario) => {
                let outcome = run::run(&scenario, seed, false);
                let again = format!("cargo sim replay {} --seed {seed}", file.display());
                report(&outcome, &again)
            }
            Err(status) => status,
        },
        Command::Replay {
            file,
            seed,
            picture,
        } => {
            let seed = seed.unwrap_or(1);
            // The broker's own words go to standard error, beside the timeline: RUST_LOG says which.
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .without_time()
                .init();
            let scenario = match file.as_deref().map(read) {
                None => Scenario::drawn(seed),
                Some(Ok(scenario)) => scenario,
                Some(Err(status)) => return status,
            };
            if let (None, Ok(text)) = (&file, toml::to_string(&scenario)) {
                println!("# seed {seed} draws this scenario\n{text}");
            }
            let outcome = run::run(&scenario, seed, true);
            let place = file.map_or(String::new(), |file| format!("{} ", file.display()));
            let again = format!("cargo sim replay {place}--seed {seed}");
            match picture.lines(&outcome, &again) {
                Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
                Err(why) => {
                    eprintln!("{why}");
                    return ExitCode::from(2);
                }
            }
            report(&outcome, &again)
        }
        Command::Fuzz {
            seeds,
            from,
            jobs,
            twice,
            keep_going,
        } => fuzz::run(&fuzz::Plan {
            seeds,
            from,
            jobs,
            twice,
            keep_going,
        }),
        Command::List { dir } => list(&dir),
        Command::Seed { seed } => {
            println!(
                "{}",
                fuzz::to_json(&run::run(&Scenario::drawn(seed), seed, false))
            );
            ExitCode::SUCCESS
        }
    }
}

fn read(file: &Path) -> Result<Scenario, ExitCode> {
    let refuse = |error: &dyn std::fmt::Display| {
        eprintln!("{}: {error}", file.display());
        ExitCode::from(2)
    };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(&error))?;
    Scenario::from_toml(&text).map_err(|error| refuse(&error))
}

fn report(outcome: &Outcome, again: &str) -> ExitCode {
    let seconds = outcome.virtual_time.as_secs_f64();
    println!(
        "seed {}: {} events in {seconds:.1} virtual seconds; {} records acknowledged, {} read",
        outcome.seed, outcome.events, outcome.acknowledged, outcome.read
    );
    if !outcome.faults.is_empty() {
        let faults = outcome
            .faults
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"));
        println!("faults: {}", faults.collect::<Vec<_>>().join(", "));
    }
    for violation in &outcome.violations {
        println!("VIOLATION {violation}");
    }
    let passed = outcome.violations.is_empty();
    if !passed {
        println!("again, with a timeline: {again}");
    }
    println!("{}", if passed { "passed" } else { "FAILED" });
    println!("hash {}", outcome.hash);
    ExitCode::from(u8::from(!passed))
}

fn list(dir: &Path) -> ExitCode {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            eprintln!("{}: {error}", dir.display());
            return ExitCode::from(2);
        }
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let first = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches(['#', ' ']);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<26} {first}");
    }
    ExitCode::SUCCESS
}
