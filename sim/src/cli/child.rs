//! One run in a fresh process.
//!
//! A thread that has run one seed hashes and draws differently from a new process (getrandom,
//! the order of standard sets: docs/adr/0006), so every run gets a process of its own, and what
//! fails here fails again alone.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::report::Report;

/// Longer than any seed takes; one that runs on is caught in a loop in which time stands still.
const RUN_MAX: Duration = Duration::from_secs(120);

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) seed: u64,
    /// The text of a scenario file; without it the seed draws one.
    pub(super) scenario: Option<String>,
    /// Whether to run in another folder and environment, which must change nothing.
    pub(super) elsewhere: bool,
}

impl Job {
    /// The scenario that the seed draws.
    pub(super) fn drawn(seed: u64) -> Self {
        Self {
            seed,
            scenario: None,
            elsewhere: false,
        }
    }

    /// Starts it; what it prints can be read from its standard output.
    pub(super) fn start(&self, more: &[&str]) -> std::io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["seed", &self.seed.to_string()]).args(more);
        if self.elsewhere {
            let longer = "x".repeat(4096);
            command.current_dir(std::env::temp_dir());
            command.env_clear().env("OTTLA_SIM_ELSEWHERE", longer);
        }
        if self.scenario.is_some() {
            command.args(["--file", "-"]).stdin(Stdio::piped());
        } else {
            command.stdin(Stdio::null());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), &self.scenario) {
            // A child that ends before it has read everything says why by its status.
            let _ = stdin.write_all(text.as_bytes());
        }
        Ok(child)
    }

    /// Runs it and gives its report: none if it was told to stop.
    pub(super) fn run(&self, stop: impl Fn() -> bool) -> Option<Report> {
        let lost = |error: std::io::Error| Report::none("lost_process", error.to_string());
        let mut child = match self.start(&[]) {
            Ok(child) => child,
            Err(error) => return Some(lost(error)),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (output, errors) = (read(stdout), read(stderr));
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Some(lost(error)),
            }
            let over = begun.elapsed() > RUN_MAX;
            if over || stop() {
                // It may have ended in this very moment.
                let _ = child.kill();
                let _ = child.wait();
                let detail = || format!("the process was still running after {RUN_MAX:?}");
                return over.then(|| Report::none("endless_run", detail()));
            }
            thread::sleep(LOOK);
        };
        let text = output.join().unwrap_or_default();
        let report = text.lines().next_back();
        let report = report.and_then(|line| serde_json::from_str(line).ok());
        Some(report.unwrap_or_else(|| {
            let words = errors.join().unwrap_or_default();
            Report::none("lost_process", last_words(status, &words))
        }))
    }
}

fn read(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came before an error is all there is.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn last_words(status: ExitStatus, words: &str) -> String {
    let mut last: Vec<&str> = words.lines().rev().take(3).collect();
    last.reverse();
    format!(
        "the process ended without a report ({status}): {}",
        last.join(" | ")
    )
}
