//! Where a story comes from: a file, or a seed that draws it.

use std::path::{Path, PathBuf};

use super::Misuse;
use crate::scenario::Scenario;

/// The seed of a file that names none.
const SEED: u64 = 1;

/// The arguments that name a story.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The scenario; without it the seed draws one.
    pub(super) file: Option<PathBuf>,
    /// The seed; where there is a file, the one that it names or 1 if this is left out.
    #[arg(long, required_unless_present = "file")]
    pub(super) seed: Option<u64>,
}

/// A scenario and the seed to run it with.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    /// The words of a command line that name it.
    pub(super) words: String,
}

impl Source {
    pub(super) fn story(&self) -> Result<Story, Misuse> {
        match &self.file {
            Some(file) => from_file(file, self.seed),
            None => {
                let seed = self.seed.unwrap_or(SEED);
                Ok(Story {
                    scenario: Scenario::drawn(seed),
                    seed,
                    words: format!("--seed {seed}"),
                })
            }
        }
    }
}

/// The story of a file.
pub(super) fn from_file(file: &Path, seed: Option<u64>) -> Result<Story, Misuse> {
    let place = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| Misuse::of(&place, error))?;
    let mut story = from_text(&text, seed).map_err(|error| Misuse::of(&place, error))?;
    story.words = match story.scenario.seed {
        Some(own) if own == story.seed => place.to_string(),
        _ => format!("{place} --seed {}", story.seed),
    };
    Ok(story)
}

/// The story of a file's text.
pub(super) fn from_text(text: &str, seed: Option<u64>) -> Result<Story, String> {
    let scenario = Scenario::from_toml(text).map_err(|error| one_line(&error.to_string()))?;
    let seed = seed.or(scenario.seed).unwrap_or(SEED);
    Ok(Story {
        scenario,
        seed,
        words: String::new(),
    })
}

/// The parser's picture of a mistake (where, the line, a marker, what was expected) as one line.
fn one_line(picture: &str) -> String {
    let lines = picture.lines().map(|line| match line.split_once('|') {
        Some((number, rest)) if number.trim().chars().all(|one| one.is_ascii_digit()) => {
            rest.trim()
        }
        _ => line.trim(),
    });
    let telling = |line: &&str| !line.trim_matches('^').is_empty();
    lines.filter(telling).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_gets_one_line_with_place_key_and_what_was_expected() {
        let base = "[[topics]]\nname='t'\npartitions=1\n[workload]\nproducers=1\nconsumers=1\n";
        let text = format!("{base}duration = \"5 minutes\"\n");
        let error = from_text(&text, None).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in ["line 7", "duration = \"5 minutes\"", "expected a duration"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_runs_with_the_seed_given_else_its_own_else_one() {
        let base = "[[topics]]\nname='t'\npartitions=1\n\
                    [workload]\nproducers=1\nconsumers=1\nduration='1s'\n";
        let own = format!("seed = 7\n{base}");
        let seed = |text: &str, given| from_text(text, given).unwrap().seed;
        assert_eq!((seed(base, None), seed(&own, None)), (1, 7));
        assert_eq!((seed(base, Some(3)), seed(&own, Some(3))), (3, 3));
    }
}
