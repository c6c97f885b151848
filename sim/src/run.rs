//! One run: a scenario and a seed become a history and a verdict.
//!
//! The broker starts, topics are made, the workload goes on while faults come and go; then every
//! fault is healed, the workload is told to end and has a stated time for it, and the logs and
//! commits are read with nothing else going on. Last, the broker loses power (some stop or kill it
//! first), and what was read must be there again. The checkers judge what was recorded.

mod clients;
mod faults;
mod reading;
mod stage;

use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
    time::Duration,
};

use madsim::runtime::Runtime;
use ottla_core::marks;

use self::stage::Stage;
use crate::{
    app::Main,
    check::{self, History, Violation},
    event::{NodeId, Recorder, Recording, What, Work},
    hash::EventHash,
    scenario::Scenario,
    timeline,
    world::World,
};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash over all events.
    pub hash: String,
    /// How many events there were.
    pub events: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Records acknowledged and read.
    pub acknowledged: u64,
    /// Records read by consumers.
    pub read: u64,
    /// How often each mark was reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// All events as text, if they were kept.
    pub timeline: Vec<String>,
    /// Beside each of them what its text does not say.
    pub trace: Vec<Traced>,
    /// All events, if they were kept: what a picture is drawn from.
    pub recording: Option<Recording>,
}

/// What two runs of one seed are compared by, event for event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The hash over all events up to this one.
    pub hash: String,
    /// Every field of the event, and its cause by name.
    pub more: String,
}

/// The stack of a run: the world and every future in it are polled on it.
const STACK_BYTES: usize = 64 << 20;

/// Runs a scenario with a seed, in this process: one seed is one fresh process, or madsim does not
/// replay.
///
/// It has a thread of its own, too: madsim seeds what standard maps hash with a thread at a time, and
/// can do so only where nothing has made one yet.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64, keep_all: bool) -> Outcome {
    run_with(scenario, BTreeMap::new(), seed, keep_all)
}

/// Runs a scenario with processes of an application, by the names of their nodes.
pub(crate) fn run_with(
    scenario: &Scenario,
    processes: BTreeMap<String, Main>,
    seed: u64,
    keep_all: bool,
) -> Outcome {
    let scenario = scenario.clone();
    let thread = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || run_here(&scenario, processes, seed, keep_all));
    match thread.map(thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) => panic!("no thread for the run: {error}"),
    }
}

fn run_here(
    scenario: &Scenario,
    processes: BTreeMap<String, Main>,
    seed: u64,
    keep_all: bool,
) -> Outcome {
    let mut recorder = None;
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    let finished = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new(seed, keep_all);
            recorder = Some(world.recorder().clone());
            let hash = std::hash::RandomState::new().hash_one(0);
            world
                .recorder()
                .record(NodeId::WORLD, What::RunStarted { hash });
            let stage = Stage::new(world, scenario.clone(), processes);
            stage.play().await;
        });
    }));
    let Some(recorder) = recorder else {
        unreachable!("the recorder is made before anything else");
    };
    let panicked = finished.err().map(|panic| panic_text(&*panic));
    judge(&recorder, scenario, seed, panicked)
}

fn judge(recorder: &Recorder, scenario: &Scenario, seed: u64, panicked: Option<String>) -> Outcome {
    let mut recording = recorder.lock();
    let history = History::new(recording.work());
    let mut violations = check::check(&history);
    if let Some(text) = panicked {
        violations.push(Violation::new("panic", text));
    }
    let count =
        |wanted: fn(&Work) -> bool| recording.work().filter(|work| wanted(work)).count() as u64;
    let acknowledged = count(|work| matches!(work, Work::Acknowledged { .. }));
    if acknowledged < scenario.expect.acknowledged_min {
        let wanted = scenario.expect.acknowledged_min;
        let detail = format!("{acknowledged} records were acknowledged, expected are {wanted}");
        violations.push(Violation::new("expect", detail));
    }
    for event in recording.kept() {
        if let What::Violation(detail) = &event.what {
            violations.push(Violation::new("run", detail.as_str()));
        }
    }
    let lines = |kept: bool| match kept {
        true => recording
            .kept()
            .iter()
            .map(|event| timeline::line(&recording, event))
            .collect(),
        false => Vec::new(),
    };
    Outcome {
        seed,
        hash: recording.hash().to_string(),
        events: recording.count(),
        virtual_time: Duration::from_nanos(recording.last_at()),
        faults: recording.faults().clone(),
        acknowledged,
        read: count(|work| matches!(work, Work::Read { .. })),
        marks: reached(),
        violations,
        timeline: lines(recording.keeps_all()),
        trace: match recording.keeps_all() {
            true => traced(&recording),
            false => Vec::new(),
        },
        // Nobody records any more.
        recording: recording
            .keeps_all()
            .then(|| std::mem::take(&mut *recording)),
    }
}

fn traced(recording: &Recording) -> Vec<Traced> {
    let mut hash = EventHash::default();
    let events = recording.kept().iter().map(|event| {
        hash.add(event);
        let cause = recording.cause(event.cause);
        Traced {
            hash: hash.to_string(),
            more: format!("by {cause}: {:?}", event.what),
        }
    });
    events.collect()
}

/// What this process has reached: a process runs one seed.
fn reached() -> BTreeMap<&'static str, u64> {
    let all = marks::ALL.iter();
    all.map(|mark| (mark.name, u64::from(mark.count())))
        .collect()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "?".to_owned())
}
