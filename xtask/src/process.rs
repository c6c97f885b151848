//! Starting other programs, and what can go wrong with that.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The words of the call are off.
    Usage(&'static str),
    /// A program could not be started.
    Start(String, std::io::Error),
    /// A program ended with a status that is not 0.
    Status(String, Option<i32>),
    /// A check found something.
    Found(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text.trim_end()),
            Self::Start(program, error) => write!(f, "xtask: cannot start {program}: {error}"),
            Self::Status(program, Some(status)) => {
                write!(f, "xtask: {program} ended with status {status}")
            }
            Self::Status(program, None) => write!(f, "xtask: {program} was ended by a signal"),
            Self::Found(text) => write!(f, "xtask: {text}"),
        }
    }
}

impl Failure {
    /// 2 for a wrong call, 1 for all else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if matches!(self, Self::Usage(_)) { 2 } else { 1 })
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end, its output on ours.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let program = words.join(" ");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Status(program, status.code())),
        Err(error) => Err(Failure::Start(program, error)),
    }
}
