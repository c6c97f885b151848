//! `fuzz`: many seeds, each in a fresh process, on all cores.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Done, Misuse, Status,
    cause::DETERMINISM,
    child::Job,
    junit::{self, Case},
    parse::{self, Shard},
    progress::Progress,
    report::{self, Broken, Report},
    totals::Totals,
    twice,
};
use crate::scenario::Scenario;

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many seeds, those of all shards together.
    #[arg(long, required_unless_present = "time")]
    seeds: Option<u64>,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Begins no seed after this time: 90s, 10m, 2h.
    #[arg(long, value_parser = parse::time)]
    time: Option<Duration>,
    /// Runs one part of the seeds, for instance the third of eight; see `marks` for the reports.
    #[arg(long, value_name = "N/M")]
    shard: Option<Shard>,
    /// How many at once; all cores by default.
    #[arg(long)]
    jobs: Option<usize>,
    /// Runs every seed twice, or one in so many, and fails where the histories differ.
    #[arg(long, num_args = 0..=1, default_missing_value = "1", value_name = "ONE IN")]
    twice: Option<u64>,
    /// Goes on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Prints how often each mark was reached.
    #[arg(long)]
    marks: bool,
    /// Writes what came of it as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Writes each seed's result as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Where the scenario of each failure goes.
    #[arg(long, default_value = "target/sim-failures", value_name = "DIR")]
    failures: PathBuf,
}

/// What the workers share.
struct Fuzz<'a> {
    arguments: &'a Arguments,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    next: u64,
    totals: Totals,
    cases: Vec<Case>,
    /// A file that could not be written: a failure to be told, not a reason to stop.
    troubles: Vec<String>,
    progress: Progress,
}

pub(super) fn fuzz(arguments: &Arguments) -> Done {
    // Better now than after hours.
    for file in [&arguments.report, &arguments.junit].into_iter().flatten() {
        fs::write(file, "").map_err(|error| Misuse::of(file.display(), error))?;
    }
    let fuzz = Fuzz {
        arguments,
        begun: Instant::now(),
        state: Mutex::new(State {
            next: 0,
            totals: Totals {
                shard: arguments.shard.map(|shard| shard.to_string()),
                ..Totals::default()
            },
            cases: Vec::new(),
            troubles: Vec::new(),
            progress: Progress::new(of_this_shard(arguments)),
        }),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..arguments.jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| fuzz.work());
        }
    });
    fuzz.conclude()
}

/// How many seeds fall to this shard, if their number is given.
fn of_this_shard(arguments: &Arguments) -> Option<u64> {
    let shard = arguments.shard.unwrap_or(Shard { number: 1, of: 1 });
    let seeds = arguments.seeds?;
    Some(seeds.saturating_sub(shard.number - 1).div_ceil(shard.of))
}

impl Fuzz<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((nth, seed)) = self.next() {
            let begun = Instant::now();
            let twice = self.arguments.twice.is_some_and(|of| nth % of.max(1) == 0);
            let report = one(seed, twice);
            self.take(seed, &report, begun.elapsed());
        }
    }

    /// The next seed, and its place among those of this shard.
    fn next(&self) -> Option<(u64, u64)> {
        let mut state = self.lock();
        let over = of_this_shard(self.arguments).is_some_and(|seeds| state.next >= seeds)
            || self
                .arguments
                .time
                .is_some_and(|time| self.begun.elapsed() >= time)
            || (state.totals.failed > 0 && !self.arguments.keep_going);
        if over {
            return None;
        }
        state.next += 1;
        let nth = state.next - 1;
        let shard = self.arguments.shard.unwrap_or(Shard { number: 1, of: 1 });
        Some((nth, shard.seed(self.arguments.from, nth)?))
    }

    fn take(&self, seed: u64, report: &Report, took: Duration) {
        let mut state = self.lock();
        let new = state.totals.add(seed, report);
        if let Some(first) = report.violations.first() {
            state.progress.print(&tell(seed, report));
            if new {
                match leave_scenario(&self.arguments.failures, seed, first) {
                    Ok(file) => {
                        if let Some(cause) = state.totals.causes.last_mut() {
                            cause.file = Some(file);
                        }
                    }
                    Err(trouble) => state.troubles.push(trouble),
                }
            }
        }
        if self.arguments.junit.is_some() {
            let violations = report.violations.clone();
            state.cases.push(Case {
                seed,
                took,
                violations,
            });
        }
        let State {
            progress, totals, ..
        } = &mut *state;
        totals.seconds = self.begun.elapsed().as_secs_f64();
        progress.show(totals.runs(), || words(totals));
    }

    fn conclude(self) -> Done {
        let mut state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.progress.end();
        let totals = &mut state.totals;
        totals.seconds = self.begun.elapsed().as_secs_f64();
        totals.sort();
        totals.print();
        if self.arguments.marks {
            totals.print_marks();
        }
        // A shard proves nothing about marks: `marks` judges all of them.
        let judged = totals.judges_marks() && self.arguments.shard.is_none();
        let all_reached = totals.print_unreached(judged);
        tell_causes(totals);
        write_files(
            self.arguments,
            totals,
            &state.cases,
            judged,
            &mut state.troubles,
        );
        for trouble in &state.troubles {
            eprintln!("{trouble}");
        }
        println!("{} passed, {} failed", totals.passed, totals.failed);
        let passed = totals.failed == 0 && all_reached && state.troubles.is_empty();
        Ok(Status::passed(passed))
    }
}

/// One seed, once or twice, each time in a new process.
fn one(seed: u64, twice: bool) -> Report {
    let first = Job::drawn(seed).run(|| false);
    let mut report = first.unwrap_or_else(|| Report::none("lost_process", String::new()));
    if !twice {
        return report;
    }
    let elsewhere = Job {
        elsewhere: true,
        ..Job::drawn(seed)
    };
    let second = elsewhere.run(|| false).unwrap_or_default();
    if second != report {
        let (one, other) = ((&report.hash, report.events), (&second.hash, second.events));
        let mut detail = format!(
            "the same seed gave {} ({} events) and {} ({} events)",
            one.0, one.1, other.0, other.1
        );
        if let Ok(Err(told)) = twice::differs(seed, None) {
            detail = format!("{detail}\n{told}");
        }
        let invariant = DETERMINISM.to_owned();
        report.violations.insert(0, Broken { invariant, detail });
    }
    report
}

fn tell(seed: u64, report: &Report) -> String {
    let mut lines = vec![format!("seed {seed} FAILED")];
    let violations = report.violations.iter();
    lines.extend(violations.map(|broken| format!("  VIOLATION {broken}")));
    let twice = match report.breaks(DETERMINISM) {
        true => " --twice",
        false => "",
    };
    lines.push(format!(
        "  again, with a timeline: cargo sim replay --seed {seed}{twice}"
    ));
    lines.join("\n")
}

fn words(totals: &Totals) -> String {
    let all = ottla_core::marks::ALL.len();
    format!(
        "{:.1} seeds a second, {:.2} virtual hours, {} failed, {} of {all} marks\n{}",
        totals.runs() as f64 / totals.seconds.max(0.001),
        totals.virtual_ms as f64 / 3_600_000.0,
        totals.failed,
        all - totals.unreached().len(),
        report::counts(totals.faults.iter()),
    )
}

fn tell_causes(totals: &Totals) {
    if totals.causes.is_empty() {
        return;
    }
    println!(
        "{} seeds failed, of {} causes:",
        totals.failed,
        totals.causes.len()
    );
    for cause in &totals.causes {
        println!("{cause}");
    }
}

/// Writes the scenario that a seed draws as a file that runs alone.
fn leave_scenario(folder: &Path, seed: u64, broken: &Broken) -> Result<String, String> {
    let file = folder.join(format!("seed-{seed}.toml"));
    let scenario = Scenario {
        seed: Some(seed),
        ..Scenario::drawn(seed).with_drawn_faults(seed)
    };
    let text = format!(
        "{}# Drawn from seed {seed} by fuzz; shrink makes it smaller.\n{}",
        comment(&broken.to_string()),
        scenario.to_toml()
    );
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(&file, text)
    };
    write().map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file.display().to_string())
}

/// A text as comments of a file.
pub(super) fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

fn write_files(
    arguments: &Arguments,
    totals: &Totals,
    cases: &[Case],
    judged: bool,
    troubles: &mut Vec<String>,
) {
    let mut write = |file: &Option<PathBuf>, text: &dyn Fn() -> String| {
        if let Some(file) = file
            && let Err(error) = fs::write(file, text())
        {
            troubles.push(format!("{}: {error}", file.display()));
        }
    };
    write(&arguments.report, &|| totals.to_json());
    write(&arguments.junit, &|| {
        let unreached = totals.unreached().into_iter().filter(|_| judged);
        let unreached: Vec<String> = unreached
            .map(|(name, says)| format!("the mark {name} was not reached: {says}"))
            .collect();
        junit::text(cases, &unreached)
    });
}
