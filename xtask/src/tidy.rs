//! `cargo xtask tidy`, also a test: what neither the compiler nor clippy can hold.
//!
//! Each rule is a function from a file to findings, with its reason beside it. The ratchet for long
//! files names what is over the bound and why; an entry that is no longer needed is a finding too, so
//! the list only shrinks.

use std::{collections::BTreeSet, fs, path::Path};

use crate::process::{Failure, root};

/// Files that may be longer than [`LINES_MAX`], each with its reason.
const LONG_FILES: &[(&str, &str)] = &[(
    "core/src/controller/tests.rs",
    "mostly tables: every row of every error of the admin requests",
)];

/// Where std may be named in core: the codecs that a feature switches on, for which no crate does
/// without it.
const STD_IN_CORE: [&str; 1] = ["core/wire/src/records/compression.rs"];

/// Where a wait in real time is what is meant.
const SLEEPS: [&str; 1] = ["sim/src/cli/child.rs"];

/// A file that does not fit in the head is split.
const LINES_MAX: usize = 650;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "corpus", "ottla-data"];

struct File {
    path: String,
    text: String,
}

struct Finding {
    path: String,
    line: usize,
    what: String,
}

/// Prints the findings; any is a failure.
pub(crate) fn run() -> Result<(), Failure> {
    let findings = check(&root());
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = findings
        .iter()
        .map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.what))
        .collect();
    Err(Failure::Found(format!(
        "the tree is not tidy\n{}",
        lines.join("\n")
    )))
}

fn check(root: &Path) -> Vec<Finding> {
    let mut files = Vec::new();
    collect(root, "", &mut files);
    let mut findings = Vec::new();
    for file in &files {
        if !file.path.ends_with("xtask/src/tidy.rs") {
            by_line(file, &mut findings);
        }
        select_is_biased(file, &mut findings);
        scenario_has_a_header(file, &mut findings);
        file_fits_in_the_head(file, &mut findings);
    }
    no_dead_source(&files, &mut findings);
    findings
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        if entry.path().is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(&entry.path(), &path, files);
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}

/// Words that must not stand in a line, and why.
fn by_line(file: &File, findings: &mut Vec<Finding>) {
    let is_rust = file.path.ends_with(".rs");
    let in_core = file.path.starts_with("core/src") || file.path.starts_with("core/wire/src");
    for (at, line) in file.text.lines().enumerate() {
        let mut find = |what: &str| {
            findings.push(Finding {
                path: file.path.clone(),
                line: at + 1,
                what: what.to_owned(),
            });
        };
        if in_core
            && line.trim_start().starts_with("extern crate std")
            && !file.path.contains("/tests/")
            && !STD_IN_CORE.contains(&file.path.as_str())
        {
            find("core is no_std, so that the compiler keeps clocks, files and threads out");
        }
        if is_rust
            && ["FIXME", "HACK", "todo!(", "unimplemented!("]
                .iter()
                .any(|word| line.contains(word))
        {
            find("unfinished work: finish it, or open an issue and say what is missing");
        }
        if is_rust && line.contains("thread::sleep") && !SLEEPS.contains(&file.path.as_str()) {
            find("a sleep is a race: wait for what should happen, or use virtual time");
        }
        if ["/home/", "/root/"]
            .iter()
            .any(|place| line.contains(place))
            && is_rust
        {
            find("a path of somebody's machine");
        }
    }
}

/// A `select!` that is not biased draws its order from randomness that no seed controls.
fn select_is_biased(file: &File, findings: &mut Vec<Finding>) {
    if !file.path.ends_with(".rs") || file.path.ends_with("xtask/src/tidy.rs") {
        return;
    }
    let lines: Vec<_> = file.text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let Some((_, rest)) = code.split_once("select!") else {
            continue;
        };
        let rest = rest.trim_start().trim_start_matches(['{', '(']).trim();
        let next = lines[at + 1..]
            .iter()
            .map(|line| line.trim())
            .find(|line| !line.is_empty() && !line.starts_with("//"));
        let first = if rest.is_empty() {
            next.unwrap_or_default()
        } else {
            rest
        };
        if !first.starts_with("biased;") {
            let what = "a select! whose first word is not `biased;` does not replay".to_owned();
            findings.push(Finding {
                path: file.path.clone(),
                line: at + 1,
                what,
            });
        }
    }
}

/// A story without its header does not say what must hold.
fn scenario_has_a_header(file: &File, findings: &mut Vec<Finding>) {
    if file.path.starts_with("scenarios/")
        && file.path.ends_with(".toml")
        && !file.text.starts_with("# ")
    {
        findings.push(Finding {
            path: file.path.clone(),
            line: 1,
            what: "a scenario starts with a comment: what happens, what must hold, its source"
                .to_owned(),
        });
    }
}

fn file_fits_in_the_head(file: &File, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    let what = match (file.path.ends_with(".rs") && lines > LINES_MAX, listed) {
        (true, false) => {
            format!("{lines} lines: split it (at most {LINES_MAX}), or give a reason in tidy.rs")
        }
        (false, true) => "no longer long: take it off the list in tidy.rs".to_owned(),
        _ => return,
    };
    findings.push(Finding {
        path: file.path.clone(),
        line: lines,
        what,
    });
}

/// A `.rs` file that no `mod` names is dead.
fn no_dead_source(files: &[File], findings: &mut Vec<Finding>) {
    let named: BTreeSet<String> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(|file| file.text.lines().filter_map(module_of))
        .collect();
    for file in files
        .iter()
        .filter(|file| file.path.contains("/src/") && file.path.ends_with(".rs"))
    {
        let stem = Path::new(&file.path)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let parent = Path::new(&file.path)
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let name = if stem == "mod" {
            parent.to_string_lossy().into_owned()
        } else {
            stem
        };
        let is_root = ["main", "lib"].contains(&name.as_str()) || file.path.contains("/bin/");
        if !is_root && !named.contains(&name) {
            findings.push(Finding {
                path: file.path.clone(),
                line: 1,
                what: "no mod names this file: it is dead".to_owned(),
            });
        }
    }
}

fn module_of(line: &str) -> Option<String> {
    let line = line.trim();
    let rest = line
        .split_once("mod ")
        .filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?;
    rest.1.split([';', ' ', '{']).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        if let Err(failure) = run() {
            panic!("{failure}");
        }
    }

    fn findings(path: &str, text: &str) -> usize {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let mut findings = Vec::new();
        by_line(&file, &mut findings);
        select_is_biased(&file, &mut findings);
        scenario_has_a_header(&file, &mut findings);
        file_fits_in_the_head(&file, &mut findings);
        findings.len()
    }

    #[test]
    fn std_in_core_is_found() {
        assert_eq!(findings("core/src/lib.rs", "extern crate std;"), 1);
        assert_eq!(findings("server/src/lib.rs", "extern crate std;"), 0);
    }

    #[test]
    fn a_select_without_biased_is_found() {
        assert_eq!(
            findings("server/src/a.rs", "select! {\n  x = y => {}\n}"),
            1
        );
        assert_eq!(
            findings(
                "server/src/a.rs",
                "select! {\n  // why\n  biased;\n  x = y => {}\n}"
            ),
            0
        );
        assert_eq!(
            findings("server/src/a.rs", "select! { biased; x = y => {} }"),
            0
        );
    }

    #[test]
    fn unfinished_work_and_sleeps_are_found() {
        assert_eq!(
            findings(
                "server/src/a.rs",
                "todo!()\n// FIXME\nstd::thread::sleep(x)"
            ),
            3
        );
    }

    #[test]
    fn a_scenario_without_a_header_is_found() {
        assert_eq!(findings("scenarios/a.toml", "x = 1"), 1);
        assert_eq!(findings("scenarios/a.toml", "# What happens\nx = 1"), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        assert_eq!(findings("core/src/a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    }

    #[test]
    fn a_file_that_no_module_names_is_found() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let mut found = Vec::new();
        let files = [
            file("core/src/lib.rs", "pub mod a;\nmod b;"),
            file("core/src/a.rs", ""),
            file("core/src/b/mod.rs", ""),
            file("core/src/c.rs", ""),
        ];
        no_dead_source(&files, &mut found);
        assert_eq!(
            found
                .iter()
                .map(|found| found.path.as_str())
                .collect::<Vec<_>>(),
            ["core/src/c.rs"]
        );
    }
}
