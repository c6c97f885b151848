//! One mutant: built, fuzzed, its failure shrunk.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use super::{file::Mutant, tree::Tree};
use crate::{process::Failure, sim};

/// What stands for an invariant where the simulator's process ended without a word, or ran on.
const PROCESS: &str = "process";

/// A scenario that takes longer is caught in a loop in which time stands still.
const RUN_SECONDS_MAX: u32 = 300;

/// Shrinking that takes longer stops with the smallest so far.
const SHRINK_SECONDS_MAX: u32 = 60;

/// How to look for a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fuzz {
    /// At most so many seeds, whatever the mutants' files say.
    pub(super) seeds: Option<u64>,
    /// Seeds at a time; all cores if nothing is said.
    pub(super) jobs: Option<u64>,
    /// Leaves what was found as it is.
    pub(super) no_shrink: bool,
    /// Leaves the mutants' simulators.
    pub(super) keep: bool,
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It does not fit the source: why.
    NotApplied(String),
    /// It does not build: what the compiler says first.
    NotBuilt(String),
    /// No check failed.
    Survived { seeds: u64, seconds: u64 },
    /// A check failed.
    Caught(Catch),
}

/// How a mutant was caught.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Catch {
    /// The invariants that did not hold, in the order of the report.
    pub(super) invariants: Vec<String>,
    /// Whether one of them is what the mutant's file names.
    pub(super) expected: bool,
    /// The scenario that failed, if it was not a seed of the fuzzing.
    pub(super) scenario: Option<String>,
    /// The seed that failed.
    pub(super) seed: u64,
    /// How many seeds that took.
    pub(super) seeds: u64,
    /// And how many seconds.
    pub(super) seconds: u64,
    /// Faults that are left when it is shrunk, if the simulator can do that.
    pub(super) faults: Option<u64>,
}

impl Verdict {
    pub(super) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotApplied(why) => f.write_str(why),
            Self::NotBuilt(why) => write!(f, "does not build: {why}"),
            Self::Survived { seeds, seconds } => {
                write!(f, "SURVIVED {seeds} seeds ({seconds} s)")
            }
            Self::Caught(catch) => {
                let (invariants, seed) = (catch.invariants.join(", "), catch.seed);
                write!(f, "caught by {invariants}: seed {seed}")?;
                if let Some(scenario) = &catch.scenario {
                    write!(f, " of {scenario}")?;
                }
                write!(f, " ({} s)", catch.seconds)?;
                match catch.faults {
                    Some(faults) => write!(f, ", shrunk to {faults} faults"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Tries one.
pub(super) fn try_one(tree: &Tree, mutant: &Mutant, fuzz: &Fuzz) -> Result<Verdict, Failure> {
    let tried = tree.with(mutant, || match build(tree)? {
        Err(why) => Ok(Verdict::NotBuilt(why)),
        Ok(simulator) => {
            if fuzz.keep {
                keep(tree, &simulator, mutant)?;
            }
            look(tree, &simulator, mutant, fuzz)
        }
    })?;
    tried.unwrap_or_else(|why| Ok(Verdict::NotApplied(why)))
}

/// Builds the simulator of the copy. The inner error is the compiler's first.
fn build(tree: &Tree) -> Result<Result<PathBuf, String>, Failure> {
    let output = sim::build_command(tree.root(), tree.target())
        // A mutant is built in a tenth of the time that level 2 takes, and most need few seeds.
        .env("CARGO_PROFILE_SIM_OPT_LEVEL", "1")
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Failure::Start("cargo build".into(), error))?;
    if output.status.success() {
        return sim::executable(&output).map(Ok);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines().skip_while(|line| !line.starts_with("error"));
    let first = lines.next().unwrap_or("cargo build failed").to_owned();
    let place = lines.next().unwrap_or_default().trim();
    Ok(Err(format!("{first} {place}")))
}

/// Leaves a simulator where it is not built over.
fn keep(tree: &Tree, simulator: &Path, mutant: &Mutant) -> Result<(), Failure> {
    let place = tree.root().with_file_name("kept");
    fs::create_dir_all(&place)
        .and_then(|()| fs::copy(simulator, place.join(&mutant.name)))
        .map(drop)
        .map_err(|error| Failure::Start(place.display().to_string(), error))
}

/// Runs its scenario, then seeds.
fn look(tree: &Tree, simulator: &Path, mutant: &Mutant, fuzz: &Fuzz) -> Result<Verdict, Failure> {
    let begun = Instant::now();
    let mut found = None;
    if let Some(scenario) = &mutant.scenario {
        for seed in 1..=mutant.scenario_seeds {
            let mut run = within(RUN_SECONDS_MAX, tree, simulator);
            run.arg("run").arg(scenario);
            let output = output_of(run.args(["--seed", &seed.to_string()]))?;
            let mut invariants = invariants(&output);
            // A run that ends says at last that it passed, or what failed.
            if invariants.is_empty() && !output.lines().any(|line| line == "passed") {
                invariants.push(PROCESS.to_owned());
            }
            if !invariants.is_empty() {
                found = Some((seed, seed, Some(scenario), invariants));
                break;
            }
        }
    }
    let seeds = fuzz.seeds.unwrap_or(mutant.seeds);
    if found.is_none() {
        let mut fuzzing = command(tree, simulator);
        fuzzing.args(["fuzz", "--seeds", &seeds.to_string()]);
        if let Some(jobs) = fuzz.jobs {
            fuzzing.args(["--jobs", &jobs.to_string()]);
        }
        let failure = first_failure(&output_of(&mut fuzzing)?);
        found = failure.map(|(seed, invariants)| (seed, seed, None, invariants));
    }
    let seconds = begun.elapsed().as_secs();
    let Some((seed, seeds, scenario, invariants)) = found else {
        return Ok(Verdict::Survived { seeds, seconds });
    };
    let wanted = mutant.invariant.names();
    Ok(Verdict::Caught(Catch {
        expected: invariants.iter().any(|name| wanted.contains(name)),
        invariants,
        scenario: scenario.map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        }),
        seed,
        seeds,
        seconds,
        faults: match fuzz.no_shrink {
            true => None,
            false => shrink(tree, simulator, mutant, scenario, seed)?,
        },
    }))
}

/// How many faults are left of the failure, if this simulator can shrink.
fn shrink(
    tree: &Tree,
    simulator: &Path,
    mutant: &Mutant,
    scenario: Option<&PathBuf>,
    seed: u64,
) -> Result<Option<u64>, Failure> {
    let help = command(tree, simulator).args(["shrink", "--help"]).output();
    if !help.is_ok_and(|help| help.status.success()) {
        return Ok(None);
    }
    let place = tree.target().join("shrunk");
    fs::create_dir_all(&place)
        .map_err(|error| Failure::Start(place.display().to_string(), error))?;
    let mut shrinking = command(tree, simulator);
    shrinking.arg("shrink").args(scenario);
    shrinking.args(["--time", &format!("{SHRINK_SECONDS_MAX}s")]);
    shrinking.args(["--seed", &seed.to_string()]);
    shrinking
        .arg("--out")
        .arg(place.join(format!("{}.toml", mutant.name)));
    Ok(faults_left(&output_of(&mut shrinking)?))
}

/// As [`command`], ended when it takes too long.
fn within(seconds: u32, tree: &Tree, simulator: &Path) -> Command {
    let mut command = command(tree, Path::new("timeout"));
    command.arg(seconds.to_string()).arg(simulator);
    command
}

fn command(tree: &Tree, simulator: &Path) -> Command {
    let mut command = Command::new(simulator);
    command.current_dir(tree.root()).stdin(Stdio::null());
    command
}

/// What it prints. A run that fails is what is wanted; a call that is refused is ours to mend.
fn output_of(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Failure::Start("ottla-sim".into(), error))?;
    if output.status.code() == Some(2) {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Found(format!("ottla-sim refuses: {why}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The invariants of the `VIOLATION` lines, each once. What is no invariant, such as a process that
/// ended without a word, is [`PROCESS`].
fn invariants(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix("VIOLATION ") else {
            continue;
        };
        let name = rest.split_once(':').map(|(name, _)| name);
        let name = name.filter(|name| !name.contains(' '));
        let name = name.unwrap_or(PROCESS).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The lowest seed that failed and its invariants: seeds run beside one another, so a higher one may
/// be told of first.
fn first_failure(text: &str) -> Option<(u64, Vec<String>)> {
    let mut failures: BTreeMap<u64, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let failed = line
            .strip_prefix("seed ")
            .and_then(|rest| rest.strip_suffix(" FAILED"))
            .and_then(|seed| seed.parse().ok());
        match (failed, current) {
            (Some(seed), _) => {
                failures.entry(seed).or_default();
                current = Some(seed);
            }
            (None, Some(seed)) if line.starts_with(' ') => {
                let lines = failures.entry(seed).or_default();
                lines.push_str(line);
                lines.push('\n');
            }
            (None, _) => current = None,
        }
    }
    let (seed, lines) = failures.pop_first()?;
    Some((seed, invariants(&lines)))
}

/// From the line of `ottla-sim shrink` that says what it came to: `to   2 faults, 3 nodes, ...`.
fn faults_left(text: &str) -> Option<u64> {
    let mut lines = text.lines().rev();
    let size = lines.find_map(|line| line.strip_prefix("to "))?;
    size.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_seed_that_failed_is_taken_whatever_came_first() {
        let text = "\
seed 9 FAILED
  VIOLATION lost_write: p1#3 was acknowledged
  again, with a timeline: cargo sim replay --seed 9
seed 8 FAILED
  VIOLATION vanished_read: p1#3 was read
  VIOLATION vanished_read: and 7 more
  VIOLATION the process ended without a report: x
10 seeds in 3 s
";
        let invariants = vec!["vanished_read".to_owned(), "process".to_owned()];
        assert_eq!(first_failure(text), Some((8, invariants)));
        assert_eq!(first_failure("10 seeds in 3 s\n"), None);
    }

    #[test]
    fn the_faults_that_are_left_are_found_in_what_shrinking_says() {
        let said = "from 9 faults, 6 nodes, 20000 ms, 40 settings, seed 3\nto   1 fault, 3 nodes, 9000 ms, 12 settings, seed 3 in 40 runs, 8 s: x.toml\n";
        assert_eq!(faults_left(said), Some(1));
        assert_eq!(faults_left("nothing"), None);
    }
}
