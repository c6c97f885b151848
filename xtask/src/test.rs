//! `cargo xtask test`: every test of the workspace, then the simulator's bounded run.

use crate::{
    process::{self, Failure, cargo},
    sim,
};

const USAGE: &str = "usage: cargo xtask test [--seeds N] [--no-sim]";

/// Seeds of an ordinary run: a few minutes on two cores.
const SEEDS: u32 = 200;

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
        sim::run(&["fuzz".to_owned(), "--seeds".to_owned(), seeds.to_string()])?;
    }
    Ok(())
}
