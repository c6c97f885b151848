//! A broker of the binary, in a process of its own, killed when it is dropped.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

/// A started broker.
pub(crate) struct Process {
    child: Child,
    /// Kept, so that the broker may write to it.
    stdout: BufReader<ChildStdout>,
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    env::var_os("OTTLA_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_ottla").into(), PathBuf::from)
}

/// A port that nobody has, below those that the system gives to connecting clients: a client that
/// tries again and again while the broker is down could else be given the broker's own.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 997).unwrap() * 10;
    loop {
        let port = 21_700 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The command that runs a broker; its standard error goes to a file beside the data directory.
pub(crate) fn command(data: &Path, port: u16, overrides: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments(data, port, overrides));
    piped(&mut command, data);
    command
}

/// What the binary is called with.
pub(crate) fn arguments(data: &Path, port: u16, overrides: &[&str]) -> Vec<String> {
    let mut all = vec![
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", data.display()),
    ];
    all.extend(overrides.iter().map(|&text| text.to_owned()));
    let mut words = vec!["server".to_owned()];
    for one in all {
        words.extend(["--override".to_owned(), one]);
    }
    words
}

/// Where the broker's standard error goes.
pub(crate) fn errors_of(data: &Path) -> PathBuf {
    data.with_extension("err")
}

/// Standard output to us, standard error (appended) to [`errors_of`] the data directory.
pub(crate) fn piped(command: &mut Command, data: &Path) {
    let errors = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(errors_of(data))
        .unwrap();
    command
        .env("RUST_LOG", "warn")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
}

impl Process {
    /// Starts it and waits until it says that it listens.
    pub(crate) fn start(data: &Path, port: u16, overrides: &[&str]) -> Self {
        Self::of(command(data, port, overrides).spawn().unwrap(), data, port)
    }

    /// A broker that was started in another way.
    pub(crate) fn of(child: Child, data: &Path, port: u16) -> Self {
        let mut starting = Self::unready(child, data, port);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            if starting.stdout.read_line(&mut line).unwrap() == 0 {
                let status = starting.child.wait().unwrap();
                let errors = starting.errors();
                panic!("the broker did not start ({status}): {errors}");
            }
        }
        starting
    }

    /// One that is still starting.
    pub(crate) fn unready(mut child: Child, data: &Path, port: u16) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let data = data.to_owned();
        Self {
            child,
            stdout,
            port,
            data,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: none of its threads runs a line of it any more, though one may still be in a system
    /// call that cannot be interrupted.
    pub(crate) fn freeze(&self) {
        let pid = self.pid().to_string();
        assert!(signalled(&["-STOP", &pid]));
        while self.threads().iter().any(|state| !"TD".contains(*state)) {
            std::thread::yield_now();
        }
    }

    /// The state of each thread, as `ps` shows it.
    fn threads(&self) -> Vec<char> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let states = tasks.filter_map(|task| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.chars().next()
        });
        states.collect()
    }

    /// SIGTERM, and the status with which it ends.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        assert!(signalled(&[&self.pid().to_string()]));
        self.child.wait().unwrap()
    }

    /// Its lines on standard error up to now.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(errors_of(&self.data)).unwrap()
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }
}

fn signalled(arguments: &[&str]) -> bool {
    Command::new("kill")
        .args(arguments)
        .status()
        .unwrap()
        .success()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a broker that is expected to refuse to start: its status and what it says.
pub(crate) fn refused(data: &Path, overrides: &[&str]) -> (ExitStatus, String) {
    let mut command = Command::new(binary());
    command.args(arguments(data, free_port(), overrides));
    command
        .env("RUST_LOG", "warn")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    (child.wait().unwrap(), told)
}
