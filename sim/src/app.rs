//! An application of yours in the simulated world.
//!
//! A [`Simulation`] is a broker, topics, faults, and processes that you write against
//! `ottla-client` and the traits of `ottla-io`, as you would for production. Each process has a node of
//! its own, is killed and loses power like any other, and is started again. What must hold is yours
//! to say: keep what the outside world saw (payments made, mails sent) in a value that the processes
//! share, and judge it at the end.
//!
//! ```ignore
//! fn simulation(seed: u64) -> Outcome {
//!     let paid = Arc::new(Mutex::new(BTreeSet::new()));
//!     let book = Arc::clone(&paid);
//!     Simulation::new()
//!         .topic("orders", 2)
//!         .process("cashier", move |at| cashier(at, Arc::clone(&book)))
//!         .chaos(&[FaultKind::Kill, FaultKind::PowerLoss], Duration::from_secs(2))
//!         .run(seed, move || if paid.lock().unwrap().len() == 10 { Ok(()) } else { Err("...".into()) })
//! }
//!
//! fn main() -> ExitCode {
//!     app::main(simulation)
//! }
//! ```
//!
//! One seed is one process (docs/adr/0006): [`main`] gives `--seed N` for one and `--seeds N` for
//! many, each in a process of its own, and prints the first that fails. In the repository such a
//! program is an example of this crate: `cargo sim example NAME --seeds 100`. Whoever depends on the
//! crate builds with `RUSTFLAGS="--cfg madsim"` and its feature `world`.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    future::Future,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::{
    check::Violation,
    run,
    scenario::{Chaos, Cluster, Expect, Scenario, Span, Topic, Workload},
};
pub use crate::{io::SimIo, run::Outcome, scenario::FaultKind};

/// What a process of an application runs.
pub(crate) type Main = Arc<dyn Fn(Place) -> BoxFuture<'static, ()> + Send + Sync>;

/// How long processes have for what is left once the faults are over.
const SETTLE: Duration = Duration::from_secs(60);

/// Where a process runs.
#[derive(Debug)]
pub struct Place {
    /// Clock, disk, network, tasks and randomness.
    pub io: SimIo,
    /// Where the broker is, for a client's `bootstrap.servers`.
    pub bootstrap: String,
    pub(crate) settling: watch::Receiver<bool>,
    pub(crate) over: watch::Receiver<bool>,
}

impl Place {
    /// Whether the faults are over: nothing new is to be begun, what is there is to be done.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        *self.settling.borrow()
    }

    /// Whether the process is to end. It may end before, too.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

/// A run to be: a broker, topics, processes and faults.
pub struct Simulation {
    scenario: Scenario,
    processes: BTreeMap<String, Main>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("scenario", &self.scenario)
            .finish_non_exhaustive()
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulation {
    /// A broker without topics, for 20 virtual seconds, without faults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scenario: Scenario {
                seed: None,
                cluster: Cluster::default(),
                topics: Vec::new(),
                workload: Workload::nobody(Span(Duration::from_secs(20))),
                faults: Vec::new(),
                chaos: None,
                expect: Expect {
                    acknowledged_min: 0,
                    ..Expect::default()
                },
                applications: Vec::new(),
            },
            processes: BTreeMap::new(),
        }
    }

    /// A topic, made before the processes start.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: i32) -> Self {
        self.scenario.topics.push(Topic {
            name: name.to_owned(),
            partitions,
            config: BTreeMap::new(),
        });
        self
    }

    /// A setting of the broker, by Kafka's name.
    #[must_use]
    pub fn broker_config(mut self, key: &str, value: &str) -> Self {
        let config = &mut self.scenario.cluster.config;
        config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A process on a node of its own, which has this name. It begins again after each of its faults.
    #[must_use]
    pub fn process<F>(
        mut self,
        name: &str,
        main: impl Fn(Place) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.scenario.applications.push(name.to_owned());
        let main: Main = Arc::new(move |place| main(place).boxed());
        self.processes.insert(name.to_owned(), main);
        self
    }

    /// How long faults come and go; processes have a virtual minute more for what is left then.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.scenario.workload.duration = Span(duration);
        self
    }

    /// Faults of these kinds, one about every `every`, on the broker and on the processes' nodes.
    #[must_use]
    pub fn chaos(mut self, kinds: &[FaultKind], every: Duration) -> Self {
        self.scenario.chaos = Some(Chaos {
            kinds: kinds.to_vec(),
            every: Span(every),
        });
        self
    }

    /// Runs it with a seed, and judges at the end: the error is what does not hold.
    ///
    /// To be called once in a process; [`main`] sees to that.
    #[must_use]
    pub fn run(self, seed: u64, check: impl FnOnce() -> Result<(), String>) -> Outcome {
        let mut outcome = run::run_with(&self.scenario, self.processes, seed, false);
        if let Err(detail) = check() {
            let violation = Violation::new("application", detail);
            outcome.violations.push(violation);
        }
        outcome
    }

    pub(crate) const fn settle() -> Duration {
        SETTLE
    }
}

/// The command line of an application's simulation: `--seed N`, or `--seeds N [--from M]`.
#[expect(clippy::print_stdout, reason = "it is a command line")]
pub fn main(simulation: impl FnOnce(u64) -> Outcome) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    match (number("--seed"), number("--seeds")) {
        (Some(seed), None) => {
            // The broker's own words, if they are asked for: RUST_LOG says which.
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .without_time()
                .init();
            let outcome = simulation(seed);
            print!("{}", told(&outcome));
            ExitCode::from(u8::from(!outcome.violations.is_empty()))
        }
        (None, Some(seeds)) => {
            let from = number("--from").unwrap_or(1);
            let failed = (from..from + seeds).find(|seed| !passes(*seed));
            let Some(seed) = failed else {
                println!("{seeds} passed, 0 failed");
                return ExitCode::SUCCESS;
            };
            println!("again: --seed {seed}");
            println!("{} passed, 1 failed", seed - from);
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: --seed N | --seeds N [--from M]");
            ExitCode::from(2)
        }
    }
}

/// Runs one seed in a process of its own, which says what fails.
fn passes(seed: u64) -> bool {
    let child = env::current_exe().and_then(|program| {
        let mut child = Command::new(program);
        child.args(["--seed", &seed.to_string()]).output()
    });
    match child {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            print_all(&output.stdout, &output.stderr);
            false
        }
        Err(error) => {
            print_all(b"", error.to_string().as_bytes());
            false
        }
    }
}

#[expect(clippy::print_stdout, reason = "it is a command line")]
fn print_all(out: &[u8], error: &[u8]) {
    print!("{}", String::from_utf8_lossy(out));
    eprint!("{}", String::from_utf8_lossy(error));
}

fn told(outcome: &Outcome) -> String {
    let mut text = String::new();
    let seconds = outcome.virtual_time.as_secs_f64();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "seed {}: {} events in {seconds:.1} virtual seconds",
        outcome.seed, outcome.events
    );
    let faults = outcome.faults.iter();
    let faults: Vec<String> = faults
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !faults.is_empty() {
        let _ = writeln!(text, "faults: {}", faults.join(", "));
    }
    for violation in &outcome.violations {
        let _ = writeln!(text, "VIOLATION {violation}");
    }
    let passed = outcome.violations.is_empty();
    let _ = writeln!(text, "{}", if passed { "passed" } else { "FAILED" });
    let _ = writeln!(text, "hash {}", outcome.hash);
    text
}
