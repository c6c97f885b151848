//! `marks`: the reports of several fuzz runs added up, and the marks judged over all of them.

use std::path::PathBuf;

use super::{
    Done, Status,
    totals::{SEEDS_FOR_MARKS, Totals},
};

/// Which reports.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What `fuzz --report FILE` wrote, one of each shard.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
}

pub(super) fn marks(arguments: &Arguments) -> Done {
    let mut totals = Totals::default();
    for file in &arguments.reports {
        totals.merge(&Totals::from_file(file)?);
    }
    totals.sort();
    totals.print();
    totals.print_marks();
    for cause in &totals.causes {
        println!("{cause}");
    }
    if !totals.judges_marks() {
        println!("fewer than {SEEDS_FOR_MARKS} seeds: an unreached mark is no failure yet");
    }
    let all_reached = totals.print_unreached(totals.judges_marks());
    println!("{} passed, {} failed", totals.passed, totals.failed);
    Ok(Status::passed(all_reached && totals.failed == 0))
}
