//! `cargo sim`: builds the simulator with madsim's cfg and runs it.
//!
//! madsim swaps its executor in by `--cfg madsim`, which is global to a build. A `--config
//! build.rustflags` is ignored in silence when the user has RUSTFLAGS set, and a relative target
//! directory moves with the working directory; so both are set here: the user's flags are kept and
//! the cfg is added, and everything goes to `<root>/target/sim`, which no other build touches.
//!
//! `cargo sim test`, `clippy` and `example NAME` run the crate's tests, lints and examples the same
//! way. Everything else goes to the `ottla-sim` binary as it is (`run`, `fuzz`, `replay`, `shrink`, ...).

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
};

use crate::process::{self as programs, Failure, root};

/// Runs `cargo sim ARGUMENTS`. A simulator that fails has said why: its status becomes ours.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.first().map(String::as_str) {
        Some("test") => {
            let mut cargo = cargo("test");
            cargo.args(["--package", "ottla-sim"]).args(&arguments[1..]);
            programs::run(&mut cargo)
        }
        Some("example") => {
            let name = arguments.get(1).ok_or(Failure::Usage(
                "usage: cargo sim example NAME [ARGUMENT...]",
            ))?;
            programs::run(example(name).args(&arguments[2..]))
        }
        Some("clippy") => {
            let mut cargo = cargo("clippy");
            cargo.args(["--package", "ottla-sim", "--all-targets", "--no-deps"]);
            cargo.args(&arguments[1..]).args(["--", "-D", "warnings"]);
            programs::run(&mut cargo)
        }
        _ => {
            let mut simulator = Command::new(build()?);
            let status = simulator.args(arguments).status();
            match status
                .map_err(|error| Failure::Start("ottla-sim".into(), error))?
                .code()
            {
                Some(0) => Ok(()),
                Some(code) => process::exit(code),
                None => Err(Failure::Status("ottla-sim".into(), None)),
            }
        }
    }
}

/// A command that builds an example application and runs it; its arguments are to be added.
pub(crate) fn example(name: &str) -> Command {
    let mut cargo = cargo("run");
    cargo.args(["--quiet", "--package", "ottla-sim", "--example", name, "--"]);
    cargo
}

/// Builds the simulator and gives the path of its executable.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let output = build_command(&root(), &root().join("target").join("sim"))
        .spawn()
        .and_then(Child::wait_with_output)
        .map_err(|error| Failure::Start("cargo build".into(), error))?;
    if !output.status.success() {
        return Err(Failure::Status("cargo build".into(), output.status.code()));
    }
    executable(&output)
}

/// What builds the simulator of the tree at `root` into `target`: its standard output is for
/// [`executable`].
pub(crate) fn build_command(root: &Path, target: &Path) -> Command {
    let mut cargo = cargo_of("build", root, target);
    cargo
        .args(["--quiet", "--package", "ottla-sim", "--bin", "ottla-sim"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    cargo
}

/// The path of the executable that a build made.
pub(crate) fn executable(output: &Output) -> Result<PathBuf, Failure> {
    // The executable is taken from cargo's own messages, so that a build.target set by the user
    // (which adds a folder) does not matter.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ottla-sim")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| Failure::Found("cargo built no ottla-sim executable".into()))
}

/// A cargo command that builds with madsim's cfg into the simulator's own target directory.
pub(crate) fn cargo(command: &str) -> Command {
    cargo_of(command, &root(), &root().join("target").join("sim"))
}

/// The same for the tree at `root`, into `target`.
fn cargo_of(command: &str, root: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .arg(command)
        .args([
            "--profile",
            "sim",
            "--features",
            "ottla-sim/world",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    let (name, flags) = rustflags(
        env::var_os("CARGO_ENCODED_RUSTFLAGS"),
        env::var_os("RUSTFLAGS"),
    );
    cargo.env(name, flags);
    cargo
}

/// The variable to set, and the user's own flags with the cfg added. Cargo looks at the encoded
/// form first, so that is the one to extend where it is set.
fn rustflags(encoded: Option<OsString>, plain: Option<OsString>) -> (&'static str, OsString) {
    let join = |flags: Option<OsString>, separator: &str| {
        let mut flags = flags.filter(|flags| !flags.is_empty()).unwrap_or_default();
        for word in ["--cfg", "madsim"] {
            if !flags.is_empty() {
                flags.push(OsStr::new(separator));
            }
            flags.push(word);
        }
        flags
    };
    match encoded {
        Some(encoded) => ("CARGO_ENCODED_RUSTFLAGS", join(Some(encoded), "\u{1f}")),
        None => ("RUSTFLAGS", join(plain, " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_user_are_kept_in_either_form() {
        assert_eq!(rustflags(None, None), ("RUSTFLAGS", "--cfg madsim".into()));
        assert_eq!(
            rustflags(None, Some("-C target-cpu=native".into())),
            ("RUSTFLAGS", "-C target-cpu=native --cfg madsim".into())
        );
        assert_eq!(
            rustflags(Some("-Cdebuginfo=1".into()), Some("ignored".into())),
            (
                "CARGO_ENCODED_RUSTFLAGS",
                "-Cdebuginfo=1\u{1f}--cfg\u{1f}madsim".into()
            )
        );
    }
}
