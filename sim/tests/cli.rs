//! The command line of the simulator, as CI and its users call it.

#![cfg(madsim)]
#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

/// Kafka's own policy loses what was acknowledged, which is a failure to be had without a bug.
const LOSSY: &str = "\
# Power losses under Kafka's own flush policy.
seed = 5
[cluster.config]
\"log.flush.interval.messages\" = \"9223372036854775807\"
[[topics]]
name = \"events\"
partitions = 2
[workload]
producers = 2
consumers = 1
duration = \"4s\"
[chaos]
kinds = [\"power-loss\", \"cut\"]
every = \"500ms\"
";

/// A folder of a test's own, which goes when the test passes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("ottla-sim-cli-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn sim(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = sim(self, arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn sim(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ottla-sim"))
        .args(arguments)
        .current_dir(&folder.0)
        .output()
        .unwrap()
}

fn hash(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("hash "))
        .unwrap()
}

#[test]
fn faults_that_chaos_drew_replay_the_same_history_when_they_are_written_out() {
    let folder = Folder::new("explicit");
    let out = folder.0.join("out.toml").display().to_string();
    let file = folder.file("lossy.toml", LOSSY);
    // Stopped before it has tried anything, shrink has only written the faults out.
    let (status, text) = folder.sim(&["shrink", &file, "--out", &out, "--time", "0s"]);
    assert_eq!(status, Some(0), "{text}");
    let (drawn, written) = (folder.sim(&["run", &file]), folder.sim(&["run", &out]));
    assert!(!fs::read_to_string(&out).unwrap().contains("chaos"));
    assert_eq!(hash(&drawn.1), hash(&written.1), "{}{}", drawn.1, written.1);
}

#[test]
fn a_failure_is_shrunk_to_one_fault_and_again_from_its_verdicts_alone() {
    let folder = Folder::new("shrink");
    let file = folder.file("lossy.toml", LOSSY);
    let words = ["shrink", &file, "--more-seeds", "1"];
    let (status, first) = folder.sim(&words);
    assert_eq!(status, Some(0), "{first}");
    let small = fs::read_to_string(folder.0.join("shrunk-5.toml")).unwrap();
    assert_eq!(small.matches("[[faults]]").count(), 1, "{small}");
    let (status, again) = folder.sim(&["run", "shrunk-5.toml"]);
    assert_eq!(status, Some(1), "{again}");
    assert!(again.contains("VIOLATION lost_write"), "{again}");
    let (_, second) = folder.sim(&words);
    assert!(second.contains(" in 0 runs"), "{second}");
    assert_eq!(
        fs::read_to_string(folder.0.join("shrunk-5.toml")).unwrap(),
        small
    );
}

#[test]
fn two_processes_in_other_folders_and_environments_give_one_history() {
    let folder = Folder::new("twice");
    let (status, text) = folder.sim(&["replay", "--seed", "7", "--twice"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("the same both times"), "{text}");
}

#[test]
fn shards_run_all_seeds_between_them_and_their_reports_add_up() {
    let folder = Folder::new("shards");
    for shard in ["1", "2"] {
        let (shard, report) = (format!("{shard}/2"), format!("{shard}.json"));
        let words = ["fuzz", "--seeds", "3", "--shard", &shard, "--twice", "2"];
        let files = ["--report", &report, "--junit", "results.xml"];
        let (status, text) = folder.sim(&[&words[..], &files[..]].concat());
        assert_eq!(status, Some(0), "{text}");
    }
    let junit = fs::read_to_string(folder.0.join("results.xml")).unwrap();
    assert!(junit.contains("seed 2\"") && junit.contains("tests=\"1\""));
    let (status, text) = folder.sim(&["marks", "1.json", "2.json"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("3 seeds in") && text.contains("3 passed, 0 failed"));
}

#[test]
fn a_wrong_argument_or_file_is_misuse_and_gets_one_line() {
    let folder = Folder::new("misuse");
    let wrong = folder.file("wrong.toml", &LOSSY.replace("producers", "producer"));
    let calm = folder.file("calm.toml", LOSSY.split("[chaos]").next().unwrap_or(""));
    let report = folder.file("report.json", "{");
    for (words, part) in [
        (&["run", &wrong][..], "unknown field `producer`"),
        (&["run", "nothing.toml"], "nothing.toml: No such file"),
        (&["replay", &wrong, "--twice"], "unknown field"),
        (&["shrink", &wrong], "unknown field"),
        (
            &["shrink", &calm, "--invariant", "double_owner"],
            "does not break double_owner",
        ),
        (&["list", "--dir", "nowhere"], "nowhere: No such file"),
        (&["marks", &report], "not a report"),
        (
            &["fuzz", "--seeds", "1", "--report", "no/where"],
            "no/where: No such file",
        ),
    ] {
        let (status, text) = folder.sim(words);
        assert_eq!(status, Some(2), "{words:?}: {text}");
        assert!(text.contains(part), "{words:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{words:?}: {text}");
    }
}
