//! `cargo xtask test`: every test of the workspace, every scenario, then the simulator's bounded run.

#![allow(
    clippy::print_stdout,
    reason = "the scenarios' names are the command's output"
)]

use std::{
    fs,
    process::{Command, Stdio},
};

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
    let found = "commits_before_sending";
    // What it says of its bug would look like a failure of ours.
    let failed = |error| Failure::Start(found.into(), error);
    let mut example = sim::example(found);
    example.args(["--seeds", "40"]).stdout(Stdio::null());
    if example.status().map_err(failed)?.success() {
        let text = format!("{found} has a bug, and the simulator did not find it");
        return Err(Failure::Found(text));
    }
    println!("-- {found}: its bug is found");
    println!("-- commits_after_sending");
    process::run(sim::example("commits_after_sending").args(["--seeds", "40"]))
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
