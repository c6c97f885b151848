//! `shrink`: the smallest scenario that still breaks the same invariant.
//!
//! `crate::shrink` says what to try; here it is run, in fresh processes on all cores. Of a batch the
//! first candidate that fails counts, whichever process ends first: what comes after it is stopped, what
//! comes before it is waited for. So the result depends on neither the number of cores nor their load.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Done, Misuse, Status,
    child::Job,
    fuzz::comment,
    parse,
    progress::Progress,
    report::{Broken, Report},
    source::{Source, Story},
    verdicts::Verdicts,
};
use crate::{
    scenario::Scenario,
    shrink::{MORE_SEEDS, Shrinker},
};

/// What to shrink, and how far.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// The file that gets the result; a file of verdicts lies beside it. By default shrunk-SEED.toml.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The invariant to keep broken; by default the first that is.
    #[arg(long)]
    invariant: Option<String>,
    /// Other seeds that a candidate is tried with before it is given up.
    #[arg(long, default_value_t = MORE_SEEDS)]
    more_seeds: u64,
    /// Stops after this time with the smallest so far: 90s, 10m. The same command goes on from there.
    #[arg(long, value_parser = parse::time)]
    time: Option<Duration>,
    /// How many runs at once; all cores by default.
    #[arg(long)]
    jobs: Option<usize>,
}

struct Shrinking<'a> {
    arguments: &'a Arguments,
    begun: Instant,
    story: &'a Story,
    invariant: String,
    out: PathBuf,
    verdicts: Verdicts,
    runs: u64,
    progress: Progress,
}

pub(super) fn shrink(arguments: &Arguments) -> Done {
    let story = arguments.source.story()?;
    let first = run(&story.scenario, story.seed);
    let broken = target(arguments, &story, &first)?;
    println!("{}: {broken}", story.words);
    let start = explicit(&story, &broken.invariant, &first);
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| format!("shrunk-{}.toml", story.seed).into());
    let mut state = out.clone().into_os_string();
    state.push(".verdicts");
    let verdicts = Verdicts::open(
        Path::new(&state),
        &seeded(&start, story.seed),
        &broken.invariant,
    );
    let mut shrinking = Shrinking {
        arguments,
        begun: Instant::now(),
        story: &story,
        invariant: broken.invariant,
        out,
        verdicts: verdicts.map_err(|error| Misuse::of(state.display(), error))?,
        runs: 0,
        progress: Progress::new(None),
    };
    if shrinking.verdicts.len() > 0 {
        let known = shrinking.verdicts.len();
        println!("goes on from {known} verdicts of {}", state.display());
    }
    let mut shrinker = Shrinker::new(&start, story.seed, arguments.more_seeds);
    println!("from {}", size(shrinker.best()));
    let finished = shrinking.go(&mut shrinker)?;
    shrinking.conclude(shrinker.best(), finished)
}

/// The violation to keep.
fn target(arguments: &Arguments, story: &Story, first: &Report) -> Result<Broken, Misuse> {
    let words = &story.words;
    let mut violations = first.violations.iter();
    match &arguments.invariant {
        None => violations.next().cloned().ok_or_else(|| {
            Misuse(format!(
                "{words} breaks no invariant: there is nothing to shrink"
            ))
        }),
        Some(wanted) => violations
            .find(|broken| broken.invariant == *wanted)
            .cloned()
            .ok_or_else(|| {
                let broken = first.violations.iter();
                let broken: Vec<_> = broken.map(|broken| broken.invariant.as_str()).collect();
                Misuse(format!(
                    "{words} does not break {wanted}; it breaks: {}",
                    broken.join(", ")
                ))
            }),
    }
}

/// The story with its chaos written out as faults at given times, which replays the same history.
fn explicit(story: &Story, invariant: &str, first: &Report) -> Scenario {
    if story.scenario.chaos.is_none() {
        return story.scenario.clone();
    }
    let explicit = story.scenario.with_drawn_faults(story.seed);
    let report = run(&explicit, story.seed);
    if report.hash != first.hash {
        println!("with its faults written out it is another history");
    }
    match report.breaks(invariant) {
        true => explicit,
        false => story.scenario.clone(),
    }
}

fn run(scenario: &Scenario, seed: u64) -> Report {
    let job = Job {
        seed,
        scenario: Some(scenario.to_toml()),
        elsewhere: false,
    };
    job.run(|| false).unwrap_or_default()
}

fn seeded(scenario: &Scenario, seed: u64) -> String {
    let seed = Some(seed);
    let scenario = scenario.clone();
    Scenario { seed, ..scenario }.to_toml()
}

impl Shrinking<'_> {
    /// Shrinks until nothing smaller is left, or the time is over (then false).
    fn go(&mut self, shrinker: &mut Shrinker) -> Result<bool, Misuse> {
        loop {
            let before = size(shrinker.best());
            let Some(batch) = shrinker.candidates() else {
                return Ok(true);
            };
            let batch: Vec<String> = batch.iter().map(Scenario::to_toml).collect();
            let pass = shrinker.pass();
            let Some(first) = self.first_that_breaks(pass, &before, &batch)? else {
                return Ok(false);
            };
            shrinker.take(first);
            if first.is_some() {
                let (runs, best) = (self.runs, size(shrinker.best()));
                self.progress.print(&format!("{pass}, {runs} runs: {best}"));
                self.write(shrinker.best(), "the smallest so far")?;
            }
        }
    }

    /// The first candidate of a batch that breaks the invariant; nothing if the time is over before
    /// that is known.
    fn first_that_breaks(
        &mut self,
        pass: &str,
        best: &str,
        batch: &[String],
    ) -> Result<Option<Option<usize>>, Misuse> {
        let known: Vec<Option<bool>> = batch.iter().map(|one| self.verdicts.get(one)).collect();
        let (next, first) = (AtomicUsize::new(0), AtomicUsize::new(batch.len()));
        let over = || {
            let limit = self.arguments.time;
            limit.is_some_and(|limit| self.begun.elapsed() > limit)
        };
        let learnt = Mutex::new(Vec::new());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::SeqCst);
                let stop = || first.load(Ordering::SeqCst) < index || over();
                if index >= batch.len() || stop() {
                    return;
                }
                let breaks = match known[index] {
                    Some(breaks) => breaks,
                    None => match self.breaks(&batch[index], stop) {
                        None => return,
                        Some(breaks) => {
                            let mut learnt = learnt
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner);
                            learnt.push((index, breaks));
                            breaks
                        }
                    },
                };
                if breaks {
                    first.fetch_min(index, Ordering::SeqCst);
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..self.arguments.jobs.unwrap_or(cores).max(1) {
                scope.spawn(work);
            }
        });
        let is_over = over();
        let learnt = learnt
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.runs += learnt.len() as u64;
        for (index, breaks) in learnt {
            let put = self.verdicts.put(&batch[index], breaks);
            put.map_err(|error| Misuse::of("the file of verdicts", error))?;
        }
        self.progress.show(self.runs, || {
            format!("{pass}, {} candidates\n{best}", batch.len())
        });
        let first = first.into_inner();
        // Of those before the first that breaks all must be known.
        let all_known = batch[..first]
            .iter()
            .all(|one| self.verdicts.get(one).is_some());
        if is_over && !all_known {
            return Ok(None);
        }
        Ok(Some((first < batch.len()).then_some(first)))
    }

    /// Whether a candidate breaks the invariant; none if it was stopped.
    fn breaks(&self, scenario: &str, stop: impl Fn() -> bool) -> Option<bool> {
        let parsed = Scenario::from_toml(scenario).ok();
        let job = Job {
            seed: parsed.and_then(|scenario| scenario.seed).unwrap_or(1),
            scenario: Some(scenario.to_owned()),
            elsewhere: false,
        };
        Some(job.run(stop)?.breaks(&self.invariant))
    }

    fn conclude(self, best: &Scenario, finished: bool) -> Done {
        self.progress.end();
        let report = run(best, best.seed.unwrap_or(1));
        let mut violations = report.violations.iter();
        let broken = violations.find(|broken| broken.invariant == self.invariant);
        let Some(broken) = broken else {
            println!("the smallest scenario does not fail again: replay it with --twice");
            return Ok(Status::Failed);
        };
        self.write(best, &broken.detail)?;
        println!("VIOLATION {broken}");
        let (out, runs) = (self.out.display(), self.runs);
        let took = self.begun.elapsed().as_secs_f64();
        println!("to   {} in {runs} runs, {took:.0} s: {out}", size(best));
        if !finished {
            println!("the time is over; the same command goes on from here");
        }
        println!("again: cargo sim replay {out}");
        Ok(Status::Passed)
    }

    fn write(&self, best: &Scenario, detail: &str) -> Result<(), Misuse> {
        let (invariant, words, out) = (&self.invariant, &self.story.words, self.out.display());
        let text = format!(
            "{}# Shrunk from {words}. Again: cargo sim replay {out}\n{}",
            comment(&format!("{invariant}: {detail}")),
            best.to_toml()
        );
        fs::write(&self.out, text).map_err(|error| Misuse::of(out, error))
    }
}

/// How large a scenario is, in words.
fn size(scenario: &Scenario) -> String {
    let lines = scenario
        .to_toml()
        .lines()
        .filter(|line| line.contains('='))
        .count();
    let faults = match scenario.faults.len() {
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    format!(
        "{faults}, {} nodes, {} ms, {lines} settings, seed {}",
        scenario.node_names().len(),
        scenario.workload.duration.0.as_millis(),
        scenario
            .seed
            .map_or("given".to_owned(), |seed| seed.to_string()),
    )
}
