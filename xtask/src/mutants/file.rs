//! A mutant's file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::process::Failure;

/// Seeds that a mutant is fuzzed with if nothing else is said.
pub(super) const SEEDS: u64 = 200;

/// A mutant as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutant {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub(super) name: String,
    /// Which bug it is, in one sentence.
    pub(super) says: String,
    /// The source file, from the root of the tree.
    pub(super) file: String,
    /// A piece of its text that is there exactly once.
    pub(super) find: String,
    /// What stands there instead.
    pub(super) replace: String,
    /// The invariants of which one should catch it.
    pub(super) invariant: Invariants,
    /// A scenario that should fail, from the root of the tree or beside this file: run before the
    /// fuzzing.
    pub(super) scenario: Option<PathBuf>,
    /// The scenario is run with seed 1 and on up to this one, until it fails.
    #[serde(default = "scenario_seeds")]
    pub(super) scenario_seeds: u64,
    /// At most so many seeds.
    #[serde(default = "seeds")]
    pub(super) seeds: u64,
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Invariants {
    One(String),
    Several(Vec<String>),
}

impl Invariants {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

fn seeds() -> u64 {
    SEEDS
}

fn scenario_seeds() -> u64 {
    1
}

impl Mutant {
    /// Reads a file's text. The error names line, key and what was expected.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut mutant: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        name.clone_into(&mut mutant.name);
        if mutant.find.is_empty() || mutant.find == mutant.replace {
            return Err("`find` must be some text, and `replace` another".to_owned());
        }
        Ok(mutant)
    }

    /// The source with the mutant in it.
    pub(super) fn apply(&self, source: &str) -> Result<String, String> {
        match source.matches(&self.find).count() {
            1 => Ok(source.replacen(&self.find, &self.replace, 1)),
            count => Err(format!(
                "mutant {}: its `find` is {count} times in {}, expected once: bring it up to date \
                 with the source",
                self.name, self.file
            )),
        }
    }
}

/// The mutants of a folder, by name.
pub(super) fn read_all(dir: &Path) -> Result<Vec<Mutant>, Failure> {
    let failed = |error| Failure::Start(dir.display().to_string(), error);
    let mut mutants = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut mutant = Mutant::parse(&name, &text)
            .map_err(|error| Failure::Found(format!("{}: {error}", path.display())))?;
        let beside = mutant.scenario.as_ref().map(|scenario| dir.join(scenario));
        mutant.scenario = beside.filter(|path| path.exists()).or(mutant.scenario);
        mutants.push(mutant);
    }
    if mutants.is_empty() {
        return Err(Failure::Found(format!(
            "{} holds no mutant: expected are files that end in .toml",
            dir.display()
        )));
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::root;

    #[test]
    fn every_shipped_mutant_applies_to_the_source_and_names_what_catches_it() {
        let mutants = read_all(&root().join("mutants")).expect("they are right");
        assert!(mutants.len() >= 40, "{} are shipped", mutants.len());
        for mutant in mutants {
            let name = &mutant.name;
            let source = fs::read_to_string(root().join(&mutant.file));
            let source = source.unwrap_or_else(|error| panic!("{name}: {}: {error}", mutant.file));
            if let Err(error) = mutant.apply(&source) {
                panic!("{error}");
            }
            if let Some(scenario) = &mutant.scenario {
                assert!(root().join(scenario).exists(), "{name}: no {scenario:?}");
            }
            let check = root().join("sim/src/check");
            for invariant in mutant.invariant.names() {
                let known = ["panic", "run", "expect", "process"].contains(&invariant.as_str())
                    || check.join(format!("{invariant}.rs")).exists();
                assert!(known, "{name}: there is no invariant {invariant}");
            }
        }
    }

    const TEXT: &str = "\
says = 'One.'
file = 'a.rs'
find = '''
    one();
'''
replace = ''
invariant = ['lost_write', 'stuck_operation']
";

    #[test]
    fn a_text_that_is_not_there_once_is_refused_with_how_often_it_is() {
        let mutant = Mutant::parse("m", TEXT).expect("it is right");
        assert_eq!(mutant.seeds, SEEDS);
        assert_eq!(mutant.invariant.names().len(), 2);
        assert_eq!(mutant.apply("{\n    one();\n}\n"), Ok("{\n}\n".into()));
        for (source, times) in [("", "0 times"), ("    one();\n    one();\n", "2 times")] {
            let error = mutant.apply(source).expect_err("it is not there once");
            assert!(error.contains(times) && error.contains("a.rs"), "{error}");
        }
    }

    #[test]
    fn a_wrong_file_is_refused_with_line_and_key() {
        let error = Mutant::parse("m", &format!("{TEXT}seed = 3\n"));
        let error = error.expect_err("there is no such key");
        assert!(
            error.contains("line 8") && error.contains("seed"),
            "{error}"
        );
        let error = Mutant::parse("m", &TEXT.replace("find", "look")).expect_err("no find");
        assert!(error.contains("look"), "{error}");
    }
}
