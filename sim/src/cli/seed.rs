//! `seed`: the inside of fuzz, shrink and `replay --twice`, a fresh process for each run.

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    path::PathBuf,
};

use super::{Done, Misuse, Status, report::Report, source, twice};
use crate::{run, scenario::Scenario};

/// What to run.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The seed.
    seed: u64,
    /// A scenario file, `-` for standard input; without it the seed draws one.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Prints every event instead, with the hash up to it.
    #[arg(long)]
    events: bool,
}

pub(super) fn seed(arguments: &Arguments) -> Done {
    let seed = arguments.seed;
    let scenario = match &arguments.file {
        None => Scenario::drawn(seed),
        Some(file) if file.as_os_str() == "-" => {
            let mut text = String::new();
            let read = stdin().read_to_string(&mut text);
            read.map_err(|error| Misuse::of("standard input", error))?;
            let story = source::from_text(&text, Some(seed));
            story
                .map_err(|error| Misuse::of("standard input", error))?
                .scenario
        }
        Some(file) => source::from_file(file, Some(seed))?.scenario,
    };
    let outcome = run::run(&scenario, seed, arguments.events);
    let lines = match arguments.events {
        true => twice::lines(&outcome),
        false => Report::of(&outcome).to_json(),
    };
    // Whoever asked has gone where this fails.
    let _ = stdout().write_all(lines.as_bytes());
    Ok(Status::Passed)
}
