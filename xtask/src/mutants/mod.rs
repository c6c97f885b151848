//! `cargo xtask mutants`: bugs planted one at a time, to see that the simulator finds them.
//!
//! A mutant is a small TOML file (`file`, [`file::Mutant`]): a piece of a source file's text, what
//! breaks it, and the invariant that should catch it. Each is applied to a copy of the tree
//! (`tree`), built and fuzzed within a budget of seeds, and its failure is shrunk (`trial`). What
//! came of it is printed and, with `--write`, kept in `docs/mutants.md` (`table`). A mutant that
//! survives is a hole in the checks or in the workloads: the command fails.

#![allow(
    clippy::print_stdout,
    reason = "what became of the mutants is the command's output"
)]

mod file;
mod table;
mod tree;
mod trial;

use std::{fs, path::PathBuf};

use self::{file::Mutant, table::Table, tree::Tree, trial::Fuzz};
use crate::process::{Failure, root};

const USAGE: &str = "\
usage: cargo xtask mutants [OPTION...] [NAME...]

Plants each mutant in a copy of the tree (target/mutants), builds it, fuzzes it until a check fails,
and shrinks the failure. Fails if one survives, does not apply or does not build.

  NAME...        only these (file names without .toml)
  --dir DIR      the folder they are in (mutants/)
  --list         prints their names and sentences, and applies none
  --seeds N      fuzzes each with so many seeds at most, whatever its file says (200)
  --jobs N       seeds at a time (all cores)
  --no-shrink    does not shrink what was found
  --keep         leaves each one's simulator as target/mutants/kept/NAME, to look into it
  --write        keeps the table in docs/mutants.md; rows of mutants that are not run stay
";

/// Where the table is kept.
const TABLE: &str = "docs/mutants.md";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    dir: Option<PathBuf>,
    names: Vec<String>,
    list: bool,
    write: bool,
    fuzz: Fuzz,
}

/// Runs `cargo xtask mutants ARGUMENTS`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let options = parse(arguments)?;
    let dir = options
        .dir
        .clone()
        .unwrap_or_else(|| root().join("mutants"));
    let mutants = selected(file::read_all(&dir)?, &options.names)?;
    if options.list {
        let longest = mutants.iter().map(|mutant| mutant.name.len()).max();
        for mutant in &mutants {
            let width = longest.unwrap_or(0);
            println!("{:width$}  {}", mutant.name, mutant.says);
        }
        return Ok(());
    }
    try_all(mutants, &options)
}

/// The table that is kept, without the rows of mutants that are no longer shipped.
fn kept_table(options: &Options) -> Result<Table, Failure> {
    let mut table = match fs::read_to_string(root().join(TABLE)) {
        Ok(text) if options.write => Table::parse(&text),
        _ => Table::default(),
    };
    if options.dir.is_none() {
        table.keep_only(&file::read_all(&root().join("mutants"))?);
    }
    Ok(table)
}

/// Tries one after the other. A table that is to be kept is written after each, so that a long run
/// may be interrupted.
fn try_all(mut mutants: Vec<Mutant>, options: &Options) -> Result<(), Failure> {
    // Those of one crate follow one another: fewer crates are built anew.
    mutants.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    let kept = root().join(TABLE);
    let mut table = kept_table(options)?;
    let tree = Tree::open()?;
    let mut bad = Vec::new();
    for (at, mutant) in mutants.iter().enumerate() {
        println!("[{}/{}] {}", at + 1, mutants.len(), mutant.name);
        let verdict = trial::try_one(&tree, mutant, &options.fuzz)?;
        println!("    {verdict}");
        if !verdict.is_caught() {
            bad.push(mutant.name.clone());
        }
        table.set(mutant, &verdict);
        if options.write {
            let text = table.page();
            fs::write(&kept, text).map_err(|error| Failure::Start(TABLE.into(), error))?;
        }
    }
    println!("\n{}", table.text());
    match bad.len() {
        0 => Ok(()),
        count => Err(Failure::Found(format!(
            "{count} of {} mutants were not caught: {}",
            mutants.len(),
            bad.join(", ")
        ))),
    }
}

/// The mutants of these names, or all.
fn selected(all: Vec<Mutant>, names: &[String]) -> Result<Vec<Mutant>, Failure> {
    for name in names {
        if !all.iter().any(|mutant| mutant.name == *name) {
            return Err(Failure::Found(format!(
                "there is no mutant {name}; --list names those there are"
            )));
        }
    }
    let wanted = |mutant: &Mutant| names.is_empty() || names.contains(&mutant.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(Failure::Usage(USAGE));
        let number = |text: &String| text.parse().map_err(|_| Failure::Usage(USAGE));
        match argument.as_str() {
            "--dir" => options.dir = Some(PathBuf::from(value()?)),
            "--list" => options.list = true,
            "--write" => options.write = true,
            "--no-shrink" => options.fuzz.no_shrink = true,
            "--keep" => options.fuzz.keep = true,
            "--seeds" => options.fuzz.seeds = Some(value().and_then(number)?),
            "--jobs" => options.fuzz.jobs = Some(value().and_then(number)?),
            name if !name.starts_with('-') => options.names.push(name.to_owned()),
            _ => return Err(Failure::Usage(USAGE)),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_names_are_told_apart() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--seeds 7 a --dir /x --write b")).expect("it is right");
        assert_eq!(options.names, ["a", "b"]);
        assert_eq!(options.fuzz.seeds, Some(7));
        assert_eq!(options.dir, Some(PathBuf::from("/x")));
        assert!(options.write && !options.list);
        for wrong in ["--seeds", "--seeds many", "--what"] {
            assert!(matches!(parse(&words(wrong)), Err(Failure::Usage(_))));
        }
    }
}
