//! `cargo xtask bench`: Ottla beside other brokers in one run, on the user's own machine.
//!
//! Each pair runs the same load on every broker, the order turned round each time (A B, B A, ...):
//! what else the machine does then weighs on all alike. The loads come from clients that nobody here
//! wrote ([`clients`]); each broker has its own defaults, which for Ottla means synced before
//! acknowledged. Wall time on a shared machine is noisy, so ratios count and single figures do not:
//! what CI holds is counted, not timed.
//!
//! The rows are in [`rows`], how a broker is watched in [`usage`], the table in [`report`].

#![allow(clippy::print_stdout, reason = "the table is the command's output")]

mod clients;
mod contenders;
mod machine;
mod report;
mod rows;
mod run;
mod usage;

use std::{fs, path::PathBuf};

use self::{
    contenders::Contender,
    report::Report,
    rows::{ROWS, Row},
    run::Bench,
};
use crate::process::{Failure, root};

const USAGE: &str = "\
usage: cargo xtask bench [OPTION...]

Runs the same loads on Ottla and on other brokers in turn, and prints a table.

  --against LIST  kafka (Apache Kafka, fetched from Maven Central), klite (the program that KLITE
                  names, or the one on PATH), both with a comma between them, or nobody (kafka)
  --rows LIST     only these, with commas between them
  --pairs N       how often each load runs on each broker (5)
  --scale F       loads of F times the size: 0.1 for a quick look (1)
  --json FILE     writes every figure of every run
  --write         keeps the table in docs/benchmarks/side-by-side.md
  --list          prints the rows
";

/// Where the table is kept.
const KEPT: &str = "docs/benchmarks/side-by-side.md";

#[derive(Debug, PartialEq)]
struct Options {
    against: Vec<Contender>,
    rows: Vec<&'static Row>,
    pairs: usize,
    scale: f64,
    json: Option<PathBuf>,
    write: bool,
    list: bool,
}

/// Runs `cargo xtask bench ARGUMENTS`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let options = parse(arguments)?;
    if options.list {
        for row in options.rows {
            println!("{:18} {}", row.id, row.name);
        }
        return Ok(());
    }
    let contenders: Vec<_> = [Contender::Ottla]
        .into_iter()
        .chain(options.against)
        .collect();
    let bench = Bench::prepare(&contenders, options.scale)?;
    let mut report = Report::new(machine::describe(), arguments, options.pairs);
    for row in options.rows {
        println!("{}: {}", row.id, row.name);
        let measured = bench.measure(row, options.pairs)?;
        print!("{}", measured.lines());
        report.add(measured);
        if options.write {
            kept(KEPT, &report.page())?;
        }
    }
    println!("\n{}", report.table());
    if let Some(file) = options.json {
        let failed = |error| Failure::Start(file.display().to_string(), error);
        fs::write(&file, report.json()).map_err(failed)?;
    }
    Ok(())
}

fn kept(file: &str, page: &str) -> Result<(), Failure> {
    fs::write(root().join(file), page).map_err(|error| Failure::Start(file.into(), error))
}

fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        against: vec![Contender::Kafka],
        rows: ROWS.iter().collect(),
        pairs: 5,
        scale: 1.0,
        json: None,
        write: false,
        list: false,
    };
    let wrong = || Failure::Usage(USAGE);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(wrong);
        match argument.as_str() {
            "--against" => {
                let names = value()?.split(',').filter(|name| *name != "nobody");
                let named = names.map(|name| Contender::named(name).ok_or_else(wrong));
                options.against = named.collect::<Result<_, _>>()?;
            }
            "--rows" => {
                let named = value()?.split(',').map(|id| rows::of(id).ok_or_else(wrong));
                options.rows = named.collect::<Result<_, _>>()?;
            }
            "--pairs" => {
                options.pairs = value()?.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
            }
            "--scale" => {
                let scale = value()?
                    .parse()
                    .ok()
                    .filter(|f: &f64| f.is_finite() && *f > 0.0);
                options.scale = scale.ok_or_else(wrong)?;
            }
            "--json" => options.json = Some(PathBuf::from(value()?)),
            "--write" => options.write = true,
            "--list" => options.list = true,
            _ => return Err(wrong()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_rows_run_against_kafka_unless_something_else_is_said() {
        let options = parse(&[]).expect("nothing is right");
        assert_eq!(options.against, [Contender::Kafka]);
        assert_eq!(options.rows.len(), ROWS.len());
        let said = "--against klite,kafka --rows produce-1k,start --pairs 2 --scale 0.5 --json f";
        let options = parse(&words(said)).expect("it is right");
        assert_eq!(options.against, [Contender::Klite, Contender::Kafka]);
        let ids: Vec<_> = options.rows.iter().map(|row| row.id).collect();
        assert_eq!(ids, ["produce-1k", "start"]);
        assert_eq!((options.pairs, options.scale), (2, 0.5));
        let options = parse(&words("--against nobody")).expect("it is right");
        assert_eq!(options.against, []);
    }

    #[test]
    fn what_is_unknown_or_senseless_is_refused_with_the_usage() {
        for wrong in [
            "--rows none",
            "--against redpanda",
            "--pairs 0",
            "--scale -1",
            "--scale nan",
            "--json",
            "5",
        ] {
            let refused = parse(&words(wrong));
            assert!(matches!(refused, Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
