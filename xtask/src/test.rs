//! `cargo xtask test`: every test of the workspace, every scenario, then the simulator's bounded run.

#![allow(
    clippy::print_stdout,
    reason = "the scenarios' names are the command's output"
)]

use std::{fs, process::Command};

use crate::{
    process::{self, Failure, cargo, root},
    sim,
};

const USAGE: &str = "usage: cargo xtask test [--seeds N] [--no-sim]";

/// Seeds of an ordinary run: a few minutes on two cores.
const SEEDS: u32 = 200;

/// One seed in so many is run twice, in two folders and environments: the same history both times.
const TWICE: &str = "20";

/// Runs every story that is shipped, in a process of its own.
fn scenarios() -> Result<(), Failure> {
    let simulator = sim::build()?;
    let folder = root().join("scenarios");
    let failed = |error| Failure::Start(folder.display().to_string(), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            files.push(path);
        }
    }
    files.sort();
    for file in &files {
        println!("-- {}", file.display());
        process::run(Command::new(&simulator).arg("run").arg(file))?;
    }
    println!("{} passed, 0 failed", files.len());
    Ok(())
}

/// Runs the example applications in the simulated world: the one with a bug is found, the other is not.
fn applications() -> Result<(), Failure> {
    let example = |name: &str| {
        let words = ["example", name, "--seeds", "40"].map(str::to_owned);
        sim::run(&words)
    };
    println!("-- commits_before_sending, which must fail");
    if example("commits_before_sending").is_ok() {
        let text = "commits_before_sending has a bug, and the simulator did not find it";
        return Err(Failure::Found(text.into()));
    }
    println!("-- commits_after_sending");
    example("commits_after_sending")
}

/// Runs the tests, then the simulator.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut seeds = SEEDS;
    let mut sim = true;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--no-sim" => sim = false,
            "--seeds" => {
                let given = arguments.next().and_then(|text| text.parse().ok());
                seeds = given.ok_or(Failure::Usage(USAGE))?;
            }
            _ => return Err(Failure::Usage(USAGE)),
        }
    }
    process::run(cargo().args(["test", "--workspace"]))?;
    if sim {
        sim::run(&["test".to_owned()])?;
        scenarios()?;
        applications()?;
        let seeds = seeds.to_string();
        let fuzz = ["fuzz", "--seeds", &seeds, "--twice", TWICE];
        sim::run(&fuzz.map(str::to_owned))?;
    }
    Ok(())
}
