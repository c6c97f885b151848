//! `replay`: a run once more, with every event as text, or as a picture.

use tracing_subscriber::EnvFilter;

use super::{
    Done, Misuse, Status, report,
    source::{Source, Story},
    twice,
};
use crate::{picture::PictureOptions, run};

/// What to replay, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Runs it in two processes instead, and names the first event that differs.
    #[arg(long)]
    twice: bool,
    #[command(flatten)]
    picture: PictureOptions,
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
    told(&story, &arguments.picture).map(Status::passed)
}

fn told(story: &Story, picture: &PictureOptions) -> Result<bool, Misuse> {
    let outcome = run::run(&story.scenario, story.seed, true);
    let again = format!("cargo sim replay {}", story.words);
    let lines = picture.lines(&outcome, &again).map_err(Misuse)?;
    lines.iter().for_each(|line| println!("{line}"));
    let passed = report::print(&outcome);
    if !passed {
        println!("the smallest that fails: cargo sim shrink {}", story.words);
    }
    Ok(passed)
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
