//! Fuzzing: many seeds, each in a fresh process.
//!
//! A thread that has run one seed hashes and draws differently from a new process (getrandom,
//! the order of standard sets: docs/adr/0006), so every seed gets a process of its own, and what
//! fails here fails again alone.

use std::{
    collections::BTreeMap,
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::run::Outcome;

/// Longer than any seed takes; one that runs on is caught in a loop in which time stands still.
const SEED_MAX: Duration = Duration::from_secs(120);

/// What to fuzz.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seeds: u64,
    pub(super) from: u64,
    pub(super) jobs: Option<usize>,
    pub(super) twice: bool,
    pub(super) keep_going: bool,
}

/// What a child process tells of its seed.
#[derive(Debug, Deserialize, Serialize)]
struct Report {
    hash: String,
    events: u64,
    virtual_ms: u64,
    acknowledged: u64,
    read: u64,
    faults: BTreeMap<String, u64>,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Totals {
    next: u64,
    passed: u64,
    failed: u64,
    events: u64,
    virtual_ms: u64,
    acknowledged: u64,
    read: u64,
    faults: BTreeMap<String, u64>,
}

pub(super) fn to_json(outcome: &Outcome) -> String {
    let faults = outcome
        .faults
        .iter()
        .map(|(kind, count)| ((*kind).to_owned(), *count));
    let report = Report {
        hash: outcome.hash.clone(),
        events: outcome.events,
        virtual_ms: u64::try_from(outcome.virtual_time.as_millis()).unwrap_or(u64::MAX),
        acknowledged: outcome.acknowledged,
        read: outcome.read,
        faults: faults.collect(),
        violations: outcome.violations.iter().map(ToString::to_string).collect(),
    };
    serde_json::to_string(&report).unwrap_or_default()
}

pub(super) fn run(plan: &Plan) -> ExitCode {
    let begun = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..plan.jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| work(plan, &totals));
        }
    });
    let totals = totals
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    summarize(&totals, begun.elapsed());
    ExitCode::from(u8::from(totals.failed > 0))
}

fn work(plan: &Plan, totals: &Mutex<Totals>) {
    let locked = || {
        totals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    loop {
        let seed = {
            let mut totals = locked();
            let over = totals.next >= plan.seeds || (totals.failed > 0 && !plan.keep_going);
            if over {
                return;
            }
            totals.next += 1;
            plan.from + totals.next - 1
        };
        let (report, faults) = one(seed, plan.twice);
        let mut totals = locked();
        if let Some(report) = report {
            totals.events += report.events;
            totals.virtual_ms += report.virtual_ms;
            totals.acknowledged += report.acknowledged;
            totals.read += report.read;
            for (kind, count) in report.faults {
                *totals.faults.entry(kind).or_default() += count;
            }
        }
        if faults.is_empty() {
            totals.passed += 1;
        } else {
            totals.failed += 1;
            println!("seed {seed} FAILED");
            for fault in faults {
                println!("  VIOLATION {fault}");
            }
            println!("  again, with a timeline: cargo sim replay --seed {seed}");
        }
    }
}

/// One seed, once or twice, each time in a new process.
fn one(seed: u64, twice: bool) -> (Option<Report>, Vec<String>) {
    let first = match child(seed) {
        Ok(report) => report,
        Err(error) => return (None, vec![error]),
    };
    let mut faults = first.violations.clone();
    if twice {
        match child(seed) {
            Ok(second) if second.hash == first.hash => {}
            Ok(second) => faults.push(format!(
                "determinism: the same seed gave {} ({} events) and {} ({} events)",
                first.hash, first.events, second.hash, second.events
            )),
            Err(error) => faults.push(error),
        }
    }
    (Some(first), faults)
}

fn child(seed: u64) -> Result<Report, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["seed", &seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // Its report is one line and fits into the pipe, so it can be waited for first.
    let begun = Instant::now();
    while child
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        if begun.elapsed() > SEED_MAX {
            // It may have ended in this very moment.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("the process was still running after {SEED_MAX:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .next_back()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = error.lines().rev().take(3).collect();
            format!(
                "the process ended without a report ({}): {}",
                output.status,
                last.join(" | ")
            )
        })
}

fn summarize(totals: &Totals, took: Duration) {
    let seconds = totals.virtual_ms as f64 / 1000.0;
    println!(
        "{} seeds in {:.0} s ({:.1} a second): {:.2} virtual hours, {} events, {} records acknowledged, {} read",
        totals.passed + totals.failed,
        took.as_secs_f64(),
        (totals.passed + totals.failed) as f64 / took.as_secs_f64().max(0.001),
        seconds / 3600.0,
        totals.events,
        totals.acknowledged,
        totals.read,
    );
    let faults = totals
        .faults
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"));
    println!("faults: {}", faults.collect::<Vec<_>>().join(", "));
    println!("{} passed, {} failed", totals.passed, totals.failed);
}
