//! What shrinking has learnt, kept in a file, so that an interrupted one goes on where it stopped.
//!
//! The shrinker gives the same candidates for the same verdicts; so a verdict for each candidate is all
//! that has to be kept. The first line says what they are verdicts of: the scenario, the invariant and
//! the program. Where that is another, they say nothing and are dropped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::Hasher as _,
    io::{self, Write as _},
    path::Path,
};

use crate::{hash::EventHash, hash::digest};

/// The verdicts known so far, and the file that gets the next ones.
#[derive(Debug)]
pub(super) struct Verdicts {
    known: BTreeMap<String, bool>,
    file: File,
}

impl Verdicts {
    /// Opens the verdicts of this scenario, invariant and program.
    pub(super) fn open(path: &Path, scenario: &str, invariant: &str) -> io::Result<Self> {
        let program = digest(&[&fs::read(std::env::current_exe()?)?]);
        Self::open_for(
            path,
            &format!("shrink {program:016x} {invariant} {}", name(scenario)),
        )
    }

    fn open_for(path: &Path, header: &str) -> io::Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.split_inclusive('\n');
        let mut kept = format!("{header}\n");
        let mut known = BTreeMap::new();
        if lines.next() == Some(kept.as_str()) {
            // The last line may have been cut off.
            for line in lines.filter(|line| line.ends_with('\n')) {
                if let Some((name, verdict)) = line.trim_end().split_once(' ') {
                    known.insert(name.to_owned(), verdict == "breaks");
                    kept.push_str(line);
                }
            }
        }
        let mut file = File::create(path)?;
        file.write_all(kept.as_bytes())?;
        Ok(Self { known, file })
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, scenario: &str) -> Option<bool> {
        self.known.get(&name(scenario)).copied()
    }

    pub(super) fn put(&mut self, scenario: &str, breaks: bool) -> io::Result<()> {
        let name = name(scenario);
        let verdict = if breaks { "breaks" } else { "holds" };
        writeln!(self.file, "{name} {verdict}")?;
        self.known.insert(name, breaks);
        Ok(())
    }
}

fn name(scenario: &str) -> String {
    let mut hash = EventHash::default();
    hash.write(scenario.as_bytes());
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("ottla-sim-{name}-{}", std::process::id()))
    }

    #[test]
    fn verdicts_are_known_again_after_an_interruption_in_mid_line() {
        let path = place("verdicts-torn");
        let mut verdicts = Verdicts::open_for(&path, "a").unwrap();
        verdicts.put("one", true).unwrap();
        verdicts.put("two", false).unwrap();
        drop(verdicts);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 2]).unwrap();
        let verdicts = Verdicts::open_for(&path, "a").unwrap();
        assert_eq!(
            (verdicts.get("one"), verdicts.get("two")),
            (Some(true), None)
        );
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn verdicts_of_another_scenario_or_program_are_dropped() {
        let path = place("verdicts-other");
        Verdicts::open_for(&path, "a")
            .unwrap()
            .put("one", true)
            .unwrap();
        let verdicts = Verdicts::open_for(&path, "b").unwrap();
        assert_eq!((verdicts.get("one"), verdicts.len()), (None, 0));
        fs::remove_file(path).unwrap();
    }
}
