//! The project's own commands, run as `cargo xtask COMMAND` (an alias in `.cargo/config.toml`).
//!
//! Each command is a module. They are plain Rust and start ordinary tools, so that a newcomer needs
//! nothing but Rust and a C compiler for `test`, and CI runs what a developer runs.

use std::{env, process::ExitCode};

mod bench;
mod broker;
mod check;
mod interop;
mod mutants;
mod process;
mod sim;
mod test;
mod tidy;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test      every test, the simulator's bounded run included
            --seeds N     how many seeds the simulator runs (200)
            --no-sim      leave the simulator out
  bench     Ottla and Apache Kafka side by side
            [--against kafka,klite] [--rows ROW,...] [--pairs N] [--json FILE] [--write] [--list]
  check     formatting, clippy and docs, warnings denied
  interop   a release build driven by real clients and Apache Kafka's tools
  mutants   planted bugs, one at a time: which check finds each, and how soon
            [--dir DIR] [--list] [--seeds N] [--write] [NAME...]
  tidy      what neither the compiler nor clippy can hold
  sim ...   the simulator: the same as `cargo sim ...`
";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_str() {
        "test" => test::run(&rest),
        "bench" => bench::run(&rest),
        "check" => check::run(),
        "interop" => interop::interop(&rest),
        "mutants" => mutants::run(&rest),
        "tidy" => tidy::run(),
        "sim" => sim::run(&rest),
        _ => Err(process::Failure::Usage(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
