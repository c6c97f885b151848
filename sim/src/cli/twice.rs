//! `replay --twice`: one seed in two processes, event for event.
//!
//! Each process prints its events, and with each the hash over all up to it. So an event that differs
//! in what its words do not show (the bytes of a write, say) is found, too.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
};

use super::{Done, Misuse, Status, child::Job, source::Story};
use crate::run::Outcome;

/// Events told before the first that differs.
const BEFORE: usize = 12;

/// What `seed --events` prints: a line an event.
pub(super) fn lines(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (line, traced) in outcome.timeline.iter().zip(&outcome.trace) {
        // Writing to a string cannot fail. A line of words is one line.
        let line = line.replace('\n', " ");
        let _ = writeln!(text, "{}\t{line}\t{}", traced.hash, traced.more);
    }
    text
}

/// Where two histories part.
#[derive(Debug, PartialEq, Eq)]
struct Parting {
    /// The number of the event, counted from 1.
    event: u64,
    before: Vec<String>,
    /// The event in the one and in the other; none where that one has ended.
    versions: [Option<String>; 2],
}

/// Compares two histories; gives their length if they are the same.
fn compare(one: impl Read, other: impl Read) -> std::io::Result<Result<u64, Parting>> {
    let (mut one, mut other) = (BufReader::new(one).lines(), BufReader::new(other).lines());
    let mut before = VecDeque::new();
    let mut event = 0;
    loop {
        let versions = [one.next().transpose()?, other.next().transpose()?];
        if versions == [None, None] {
            return Ok(Ok(event));
        }
        event += 1;
        if versions[0] != versions[1] {
            let before = before
                .into_iter()
                .map(|line: String| words(&line))
                .collect();
            let versions = versions.map(|version| version.map(|line| everything(&line)));
            return Ok(Err(Parting {
                event,
                before,
                versions,
            }));
        }
        let [Some(line), _] = versions else { continue };
        if before.len() == BEFORE {
            before.pop_front();
        }
        before.push_back(line);
    }
}

fn words(line: &str) -> String {
    line.split('\t').nth(1).unwrap_or(line).to_owned()
}

fn everything(line: &str) -> String {
    let mut parts = line.split('\t').skip(1);
    let (words, more) = (parts.next(), parts.next());
    format!(
        "{}\n       {}",
        words.unwrap_or(line),
        more.unwrap_or_default()
    )
}

/// Runs a story twice, the second time in another folder and environment.
pub(super) fn replay(story: &Story) -> Done {
    match differs(story.seed, Some(story.scenario.to_toml())).map_err(Misuse)? {
        Ok(events) => {
            println!("seed {}: {events} events, the same both times", story.seed);
            println!("passed");
            Ok(Status::Passed)
        }
        Err(told) => {
            println!("{told}");
            println!(
                "VIOLATION determinism: seed {} gave two histories",
                story.seed
            );
            println!("FAILED");
            Ok(Status::Failed)
        }
    }
}

/// Runs a seed twice: how many events it has, or in words where its two histories part.
pub(super) fn differs(seed: u64, scenario: Option<String>) -> Result<Result<u64, String>, String> {
    let start = |elsewhere| {
        let scenario = scenario.clone();
        let job = Job {
            seed,
            scenario,
            elsewhere,
        };
        let mut child = job
            .start(&["--events"])
            .map_err(|error| error.to_string())?;
        // Its last words would fill the pipe if nobody read them.
        child.stderr = None;
        let output = child.stdout.take().ok_or("no standard output")?;
        Ok::<_, String>((child, output))
    };
    let ((mut one, first), (mut other, second)) = (start(false)?, start(true)?);
    let compared = compare(first, second);
    for child in [&mut one, &mut other] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let compared = compared.map_err(|error| error.to_string())?;
    if compared == Ok(0) {
        return Err(format!("seed {seed}: neither process told an event"));
    }
    Ok(compared.map_err(|parting| tell(&parting)))
}

fn tell(parting: &Parting) -> String {
    let mut text = String::new();
    for line in &parting.before {
        let _ = writeln!(text, "       {line}");
    }
    for (name, version) in ["first", "second"].iter().zip(&parting.versions) {
        let version = version.as_deref().unwrap_or("(its history ends here)");
        let _ = writeln!(text, "{name:<6} {version}");
    }
    let event = parting.event;
    let _ = write!(text, "event {event} is the first that differs");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_equal_histories_have_no_parting() {
        let text = "a\tx\t1\nb\ty\t2\n";
        assert_eq!(compare(text.as_bytes(), text.as_bytes()).unwrap(), Ok(2));
    }

    #[test]
    fn the_first_event_that_differs_is_told_in_both_versions_with_what_was_before() {
        let (one, other) = ("a\tx\t1\nb\ty\t2\nc\tz\t3\n", "a\tx\t1\nd\ty\t7\nc\tz\t3\n");
        let parting = compare(one.as_bytes(), other.as_bytes()).unwrap();
        let parting = parting.unwrap_err();
        assert_eq!(
            (parting.event, &parting.before[..]),
            (2, &["x".to_owned()][..])
        );
        let told = tell(&parting);
        assert!(
            told.contains("first  y\n       2") && told.contains("second y\n       7"),
            "{told}"
        );
    }

    #[test]
    fn a_history_that_ends_early_parts_where_it_ends() {
        let parting = compare("a\tx\t1\n".as_bytes(), "a\tx\t1\nb\ty\t2\n".as_bytes());
        let parting = parting.unwrap().unwrap_err();
        assert_eq!((parting.event, parting.versions[0].as_deref()), (2, None));
    }
}
