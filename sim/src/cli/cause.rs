//! Failures that have the same cause, told together.

use serde::{Deserialize, Serialize};

use super::report::Broken;

/// What two different histories of one seed break.
pub(super) const DETERMINISM: &str = "determinism";

/// Seeds that a cause names; a broken build may have thousands.
const SEEDS_TOLD: usize = 12;

/// A cause: an invariant and the shape of what shows it, with the seeds that it made fail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Cause {
    pub(super) invariant: String,
    /// What shows it, in the first of the seeds.
    pub(super) detail: String,
    pub(super) seeds: Vec<u64>,
    /// The scenario file of the first of the seeds, where one was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
}

/// Adds a failure to its cause; true if it is the first of a new one.
pub(super) fn add(causes: &mut Vec<Cause>, seed: u64, broken: &Broken) -> bool {
    let same = causes.iter_mut().find(|cause| {
        cause.invariant == broken.invariant
            && shape(&cause.detail) == shape(first_line(&broken.detail))
    });
    match same {
        Some(cause) => {
            cause.seeds.push(seed);
            false
        }
        None => {
            causes.push(Cause {
                invariant: broken.invariant.clone(),
                detail: first_line(&broken.detail).to_owned(),
                seeds: vec![seed],
                file: None,
            });
            true
        }
    }
}

fn first_line(detail: &str) -> &str {
    detail.lines().next().unwrap_or_default()
}

/// A detail without its numbers, which every seed has others of.
fn shape(detail: &str) -> String {
    let mut shape = String::new();
    let mut rest = detail.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter.is_ascii_digit() {
            while rest.next_if(char::is_ascii_hexdigit).is_some() {}
            if !shape.ends_with('#') {
                shape.push('#');
            }
        } else {
            shape.push(letter);
        }
    }
    shape
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told: Vec<String> = self
            .seeds
            .iter()
            .take(SEEDS_TOLD)
            .map(u64::to_string)
            .collect();
        let more = match self.seeds.len().saturating_sub(SEEDS_TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (invariant, detail) = (&self.invariant, &self.detail);
        let plural = if self.seeds.len() > 1 {
            "seeds"
        } else {
            "seed"
        };
        writeln!(f, "{invariant}: {detail}")?;
        writeln!(f, "  {plural} {}{more}", told.join(", "))?;
        if let (Some(file), Some(seed)) = (&self.file, self.seeds.first()) {
            writeln!(f, "  scenario: {file} (seed {seed})")?;
            // Two histories of one seed break no invariant that a run of its own could show.
            match self.invariant == DETERMINISM {
                true => write!(f, "  replay:   cargo sim replay {file} --twice")?,
                false => {
                    writeln!(f, "  replay:   cargo sim replay {file}")?;
                    write!(f, "  shrink:   cargo sim shrink {file}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_differ_in_their_numbers_only_are_one_cause() {
        let broken = |invariant: &str, detail: &str| Broken {
            invariant: invariant.to_owned(),
            detail: detail.to_owned(),
        };
        let mut causes = Vec::new();
        let one = broken("lost_write", "p1001#7 in events-0 at 12 is lost");
        let other = broken("lost_write", "p2001#31 in events-3 at 9 is lost");
        assert!(add(&mut causes, 3, &one));
        assert!(!add(&mut causes, 5, &other));
        assert!(add(&mut causes, 6, &broken("vanished_read", &one.detail)));
        assert!(add(&mut causes, 7, &broken("lost_write", "and others")));
        let seeds: Vec<_> = causes.iter().map(|cause| cause.seeds.clone()).collect();
        assert_eq!(seeds, [vec![3, 5], vec![6], vec![7]]);
    }
}
