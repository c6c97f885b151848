//! What the client commands share: where the cluster is, how errors and tables are shown.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Args;
use ottla_client::{BrokerError, ConnectError, ErrorCode, RequestError, admin::AdminError};
use ottla_io::real::{self, RealIo};

/// Which cluster to talk to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Cluster {
    /// Brokers to connect to first, as host:port, separated by commas.
    #[arg(
        long,
        alias = "bootstrap",
        default_value = "127.0.0.1:9092",
        global = true
    )]
    pub(crate) bootstrap_server: String,
}

/// Why a command failed: one line, and perhaps one that says what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            ConnectError::Refused { .. } | ConnectError::TimedOut { .. } => {
                failure.hint("is the broker running? start one with `ottla server`")
            }
            ConnectError::NotKafka { .. } => {
                failure.hint("is --bootstrap-server the address of a plaintext Kafka listener?")
            }
            _ => failure.hint("name a broker with --bootstrap-server HOST:PORT"),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Connect(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        let failure = Self::new(error.to_string());
        match error.code {
            ErrorCode::UnknownTopicOrPartition => {
                failure.hint("`ottla topic list` shows the topics, `ottla topic create` makes one")
            }
            ErrorCode::NonEmptyGroup => failure.hint("stop the group's members first"),
            ErrorCode::GroupIdNotFound => failure.hint("`ottla group list` shows the groups"),
            _ => failure,
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Request(error) => error.into(),
            AdminError::Broker(error) => error.into(),
            missing @ AdminError::Missing { .. } => Self::new(missing.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs a command to its exit status. A reader of our output that went away is no failure.
pub(crate) fn run<P, F>(program: P) -> ExitCode
where
    P: FnOnce(RealIo) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    exit(match real::run(program) {
        Ok(done) => done,
        Err(error) => Err(error.into()),
    })
}

/// What a command ended with, as the status that the shell sees; a failure is told first.
pub(crate) fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error what went wrong.
pub(crate) fn tell(failure: &Failure) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to be told if this fails.
    let _ = writeln!(stderr, "ottla: {}", failure.what);
    if let Some(hint) = &failure.hint {
        let hint = hint.replace("`ottla ", &format!("`{} ", program_name()));
        let _ = writeln!(stderr, "  {hint}");
    }
}

/// How this program was called, so that the commands it names can be typed as they stand.
pub(crate) fn program_name() -> String {
    let first = std::env::args_os().next();
    first.map_or("ottla".to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

/// An error about something that the command line named.
pub(crate) fn named(what: &str, error: AdminError) -> Failure {
    match error {
        AdminError::Broker(mut error) => {
            let said = error.message.unwrap_or_default();
            let colon = if said.is_empty() { "" } else { ": " };
            error.message = Some(format!("{what}{colon}{said}"));
            error.into()
        }
        other => other.into(),
    }
}

/// Whether writing failed because nobody reads any more (`ottla consume ... | head`).
pub(crate) fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Whether nobody reads standard output any more. A program that waits for records would not find
/// out by writing.
pub(crate) fn reader_is_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    // Asked for nothing, the system tells of errors and hang-ups only.
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().intersects(gone)
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if !is_broken_pipe(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints JSON for programs.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Prints rows under headings, in columns as wide as they need to be.
pub(crate) fn print_table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let headings: Vec<String> = headings.iter().map(|h| (*h).to_owned()).collect();
    let mut text = line(&headings);
    rows.iter().for_each(|row| text.push_str(&line(row)));
    print(&text)
}

/// A counter on standard error while it is a terminal, unless the terminal shows the records too:
/// those that are read, or those that somebody types.
pub(crate) fn progress(what: &'static str) -> indicatif::ProgressBar {
    let shared = match what {
        "read" => io::stdout().is_terminal(),
        _ => io::stdin().is_terminal(),
    };
    if !io::stderr().is_terminal() || shared {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(what);
    let style = "{spinner} {human_pos} records {msg} ({per_sec})";
    bar.set_style(
        indicatif::ProgressStyle::with_template(style).unwrap_or_else(|_| {
            // The template is a constant that a run with a terminal shows to be right.
            indicatif::ProgressStyle::default_spinner()
        }),
    );
    bar
}
