//! `run`: one scenario file, once.

use std::path::PathBuf;

use super::{Done, Status, report, source};
use crate::run;

/// Which file and seed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The scenario.
    file: PathBuf,
    /// The seed that everything left open is drawn from; else the one that the file names, or 1.
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Done {
    let story = source::from_file(&arguments.file, arguments.seed)?;
    let outcome = run::run(&story.scenario, story.seed, false);
    let passed = report::print(&outcome);
    if !passed {
        println!("again, with a timeline: cargo sim replay {}", story.words);
        println!("the smallest that fails: cargo sim shrink {}", story.words);
    }
    Ok(Status::passed(passed))
}
