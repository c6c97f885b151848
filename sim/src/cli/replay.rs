//! `replay`: a run once more, with every event as text.

use tracing_subscriber::EnvFilter;

use super::{
    Done, Status, report,
    source::{Source, Story},
    twice,
};
use crate::run;

/// What to replay, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Runs it in two processes instead, and names the first event that differs.
    #[arg(long)]
    twice: bool,
}

pub(super) fn replay(arguments: &Arguments) -> Done {
    let story = arguments.source.story()?;
    if arguments.twice {
        return twice::replay(&story);
    }
    log_to_standard_error();
    if arguments.source.file.is_none() {
        println!("# seed {} draws this scenario", story.seed);
        println!("{}", story.scenario.to_toml());
    }
    Ok(Status::passed(told(&story)))
}

fn told(story: &Story) -> bool {
    let outcome = run::run(&story.scenario, story.seed, true);
    for line in &outcome.timeline {
        println!("{line}");
    }
    let passed = report::print(&outcome);
    if !passed {
        println!("the smallest that fails: cargo sim shrink {}", story.words);
    }
    passed
}

/// The broker's own words go beside the timeline: RUST_LOG says which.
fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
