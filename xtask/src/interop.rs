//! `cargo xtask interop`: a release build driven by clients and tools that nobody here wrote.
//!
//! Everything is installed by package name with the ordinary clients (apt-get, pip, npm, go, mvn),
//! into `target/interop/`. Each suite is a program under `xtask/interop/` that takes the broker's
//! address and prints `ok NAME` or `FAILED NAME: why` a check; the same programs run against Apache
//! Kafka with `--against ADDRESS`, which is how they were made. The suites that start and stop brokers
//! of their own (`kafka-dir`, `kills`) take the binary instead, and have nothing to do there; `wire`
//! and `picture` need no broker.

#![allow(
    clippy::print_stdout,
    reason = "the checks' lines are the command's output"
)]

mod picture;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    broker::Broker,
    process::{Failure, cargo, root, run},
};

const USAGE: &str = "usage: cargo xtask interop [--against ADDRESS] [SUITE...]
suites: python, franz, sarama, js, java, tools, wire, kafka-dir, kills, picture";

const SUITES: [&str; 10] = [
    "python", "franz", "sarama", "js", "java", "tools", WIRE, KAFKA_DIR, KILLS, PICTURE,
];

/// Pages of the simulator in a browser.
const PICTURE: &str = "picture";

/// The message tables against Kafka's schemas, and the codecs against Kafka's own classes.
const WIRE: &str = "wire";

/// Data directories that Ottla and Apache Kafka take from each other.
const KAFKA_DIR: &str = "kafka-dir";
/// The broker killed in the middle of load, and without room on its disk.
const KILLS: &str = "kills";

/// Installs, builds, starts a broker and runs the suites.
pub(crate) fn interop(arguments: &[String]) -> Result<(), Failure> {
    let (against, suites) = parse(arguments)?;
    let place = Place::new()?;
    place.install(&suites)?;
    let mut tally = Tally::default();
    let (own, suites): (Vec<_>, Vec<_>) = suites
        .into_iter()
        .partition(|suite| [WIRE, KAFKA_DIR, KILLS, PICTURE].contains(suite));
    if own.contains(&WIRE) {
        place.wire(&mut tally)?;
    }
    if own.contains(&PICTURE) {
        place.picture(&mut tally)?;
    }
    let needs_broker = !suites.is_empty() || own.contains(&KAFKA_DIR) || own.contains(&KILLS);
    match against {
        Some(address) => place.run_suites(&suites, &address, None, &mut tally)?,
        None if !needs_broker => {}
        None => {
            run(cargo().args(["build", "--release", "--package", "ottla"]))?;
            if !suites.is_empty() {
                let broker = Broker::start(&place)?;
                let data = broker.data.clone();
                place.run_suites(&suites, &broker.address, Some(&data), &mut tally)?;
                tally.count("the_broker_stops_cleanly_when_told", broker.stop());
            }
            let binary = root().join("target/release/ottla");
            if own.contains(&KAFKA_DIR) {
                let (binary, folder) = (binary.to_string_lossy(), place.installed.join(KAFKA_DIR));
                place.run_suites(&[KAFKA_DIR], &binary, Some(&folder), &mut tally)?;
            }
            if own.contains(&KILLS) {
                kills(&binary, &mut tally);
            }
        }
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 {
        Ok(())
    } else {
        Err(Failure::Found("interop found differences".into()))
    }
}

/// How often the broker is killed: under four minutes on two cores.
const KILL_COUNT: &str = "100";

/// The tests of the broker as a process (`server/tests/process`) that are worth the release build.
fn kills(binary: &Path, tally: &mut Tally) {
    println!("-- {KILLS}");
    let checks = [
        (
            "a_hundred_kills_lose_and_duplicate_nothing",
            "kills_under_load_lose_and_duplicate_nothing",
        ),
        (
            "full_disk_refuses_produce_serves_reads_and_goes_on_when_there_is_room",
            "full_disk_refuses_produce_serves_reads_and_goes_on_when_there_is_room",
        ),
    ];
    for (name, test) in checks {
        let output = cargo()
            .args(["test", "--package", "ottla", "--test", "process", test])
            .args(["--", "--nocapture"])
            .env("OTTLA_BINARY", binary)
            .env("OTTLA_KILLS", KILL_COUNT)
            .output();
        let outcome = match output {
            Err(error) => Err(error.to_string()),
            Ok(output) => {
                let told = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                if let Some(line) = told.lines().find(|line| line.starts_with("skipped")) {
                    println!("{name} {line}");
                    continue;
                }
                // A filter that fits no test succeeds as well.
                if output.status.success() && told.contains("1 passed") {
                    Ok(())
                } else {
                    Err(format!("{told}{errors}"))
                }
            }
        };
        tally.count(name, outcome);
    }
}

fn parse(arguments: &[String]) -> Result<(Option<String>, Vec<&'static str>), Failure> {
    let mut against = None;
    let mut suites = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--against" {
            against = Some(arguments.next().ok_or(Failure::Usage(USAGE))?.clone());
        } else {
            let known = SUITES.iter().find(|suite| *suite == argument);
            suites.push(*known.ok_or(Failure::Usage(USAGE))?);
        }
    }
    if suites.is_empty() {
        suites = SUITES.to_vec();
    }
    Ok((against, suites))
}

/// A program's own word: whether it succeeded, and what it said if it did not.
fn judged(output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Err(text(&output.stdout) + &text(&output.stderr))
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn count(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok {name}");
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED {name}: {why}");
            }
        }
    }
}

/// Where the clients are and where they are installed.
#[derive(Debug)]
pub(crate) struct Place {
    sources: PathBuf,
    installed: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Result<Self, Failure> {
        let installed = root().join("target/interop");
        fs::create_dir_all(&installed)
            .map_err(|error| Failure::Start(installed.display().to_string(), error))?;
        Ok(Self {
            sources: root().join("xtask/interop"),
            installed,
        })
    }

    pub(crate) fn install(&self, suites: &[&str]) -> Result<(), Failure> {
        let wants = |suite: &str| suites.contains(&suite);
        if (wants("tools") || wants(KAFKA_DIR)) && Command::new("kcat").arg("-V").output().is_err()
        {
            run(Command::new("apt-get").args(["update", "-q"]))?;
            run(Command::new("apt-get").args(["install", "-y", "-q", "kcat"]))?;
        }
        if wants("python") && !self.installed.join("venv/ready").exists() {
            let venv = self.installed.join("venv");
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            run(Command::new(venv.join("bin/pip")).args(["install", "-q", "confluent-kafka"]))?;
            fs::write(venv.join("ready"), "").map_err(|e| Failure::Start("venv".into(), e))?;
        }
        if wants("franz") || wants("sarama") {
            let go = self.sources.join("go");
            run(Command::new("go")
                .current_dir(go)
                .args(["build", "-o"])
                .arg(&self.installed)
                .args(["./franz", "./sarama"]))?;
        }
        if wants("js") {
            let js = self.sources.join("js");
            run(Command::new("npm").current_dir(js).args([
                "ci",
                "--silent",
                "--no-audit",
                "--no-fund",
            ]))?;
        }
        if wants(PICTURE) {
            self.install_browser()?;
        }
        if wants("java") || wants("tools") || wants(WIRE) || wants(KAFKA_DIR) {
            run(Command::new(self.sources.join("kafka")).arg("install"))?;
        }
        Ok(())
    }

    /// Where brokers keep their data and clients that were built lie.
    pub(crate) fn installed(&self) -> &Path {
        &self.installed
    }

    /// The script that runs Kafka's tools.
    pub(crate) fn kafka(&self) -> PathBuf {
        self.sources.join("kafka")
    }

    /// The tables and codecs beside what lies in Kafka's jars.
    fn wire(&self, tally: &mut Tally) -> Result<(), Failure> {
        println!("-- {WIRE}");
        let failed = |error| Failure::Start(WIRE.into(), error);
        let told = Command::new(self.kafka()).arg("libs").output();
        let told = told.map_err(failed)?;
        let libs = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        let compared = Command::new("python3")
            .arg(self.sources.join("python/schemas.py"))
            .arg(&libs)
            .arg(root().join("core/wire/schema"))
            .output()
            .map_err(failed)?;
        tally.count("every_field_of_every_message_is_kafkas", judged(&compared));
        let written = cargo()
            .args(["test", "--package", "ottla-wire", "--lib"])
            .args(["kafka_reads_and_writes_the_same_bytes", "--", "--ignored"])
            .env("KAFKA_LIBS", &libs)
            .output()
            .map_err(failed)?;
        // A filter that fits no test succeeds as well.
        let ran = String::from_utf8_lossy(&written.stdout).contains("1 passed");
        let outcome = match judged(&written) {
            Ok(()) if !ran => Err("the test did not run".to_owned()),
            outcome => outcome,
        };
        tally.count("kafkas_classes_read_and_write_the_same_bytes", outcome);
        Ok(())
    }

    fn command(&self, suite: &str, address: &str, data: Option<&Path>) -> Command {
        let mut command = match suite {
            "python" => {
                let mut command = Command::new(self.installed.join("venv/bin/python"));
                command.arg(self.sources.join("python/clients.py"));
                command
            }
            "js" => {
                let mut command = Command::new("node");
                command.arg(self.sources.join("js/clients.js"));
                command
            }
            "java" => {
                let source = self.sources.join("java/Clients.java");
                let mut command = Command::new(self.sources.join("kafka"));
                command
                    .arg("java")
                    .arg(&source)
                    .env("CLIENTS_SOURCE", &source);
                command
            }
            "tools" => {
                let mut command = Command::new("python3");
                command.arg(self.sources.join("python/tools.py"));
                command
            }
            KAFKA_DIR => {
                let mut command = Command::new("python3");
                command.arg(self.sources.join("python/kafka_dir.py"));
                command
            }
            go => Command::new(self.installed.join(go)),
        };
        command.arg(address);
        if let (Some(data), "tools" | KAFKA_DIR) = (data, suite) {
            command.arg(data);
        }
        command
    }

    fn run_suites(
        &self,
        suites: &[&str],
        address: &str,
        data: Option<&Path>,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        for suite in suites {
            println!("-- {suite}");
            self.watch(suite, self.command(suite, address, data), tally)?;
        }
        Ok(())
    }

    /// Runs a suite's program, and counts its lines.
    fn watch(&self, suite: &str, mut program: Command, tally: &mut Tally) -> Result<(), Failure> {
        let failed = |error| Failure::Start(suite.to_owned(), error);
        let log = self.installed.join(format!("{suite}.err"));
        let errors =
            fs::File::create(&log).map_err(|e| Failure::Start(log.display().to_string(), e))?;
        let mut child = program
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        let (mut checks, before) = (0, tally.failed);
        let lines = child.stdout.take().ok_or(Failure::Usage(USAGE))?;
        for line in BufReader::new(lines).lines() {
            let line = line.map_err(failed)?;
            println!("{line}");
            checks += u32::from(line.starts_with("ok ") || line.starts_with("FAILED "));
            tally.passed += u32::from(line.starts_with("ok "));
            tally.failed += u32::from(line.starts_with("FAILED "));
        }
        let ended = child.wait().is_ok_and(|status| status.success());
        if checks == 0 || (!ended && tally.failed == before) {
            tally.count(
                suite,
                Err(format!("the suite itself failed: see {}", log.display())),
            );
        }
        Ok(())
    }
}
