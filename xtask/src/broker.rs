//! Brokers that the checks and the benchmark start: a release build of Ottla, Apache Kafka, and klite
//! where somebody has it.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    interop::Place,
    process::{Failure, root, run},
};

/// Longer than a broker takes to start on a busy machine of two cores.
const START_MAX: Duration = Duration::from_secs(60);

/// A broker in a directory of its own; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// Its directory.
    pub(crate) data: PathBuf,
    started_in: Duration,
    /// What starts it again as it was.
    command: Rc<dyn Fn() -> Command>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} at {}", self.child.id(), self.address)
    }
}

impl Broker {
    /// Ottla, as `cargo build --release` left it, with its defaults.
    pub(crate) fn start(place: &Place) -> Result<Self, Failure> {
        let failed = |error| Failure::Start("ottla".into(), error);
        let data = ground(place, "data").map_err(failed)?;
        let address = address().map_err(failed)?;
        let listeners = format!("listeners=PLAINTEXT://{address}");
        let dirs = format!("log.dirs={}", data.display());
        Self::spawn(place, address, data.clone(), move || {
            let mut command = Command::new(root().join("target/release/ottla"));
            command.arg("server");
            command.args(["--override", &listeners, "--override", &dirs]);
            command
        })
    }

    /// Apache Kafka with its defaults.
    pub(crate) fn start_kafka(place: &Place) -> Result<Self, Failure> {
        let failed = |error| Failure::Start("kafka".into(), error);
        let data = ground(place, "kafka-data").map_err(failed)?;
        let (address, controller) = (address().map_err(failed)?, address().map_err(failed)?);
        let file = place.installed().join("kafka.properties");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             controller.quorum.bootstrap.servers={controller}\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n",
            data.display()
        );
        fs::write(&file, properties).map_err(failed)?;
        let id = "MkU3OEVBNTcwNTJENDM2Qk";
        run(Command::new(place.kafka())
            .args(["storage", "format", "--standalone", "-t", id, "-c"])
            .arg(&file)
            .stdout(Stdio::null()))?;
        let script = place.kafka();
        Self::spawn(place, address, data.clone(), move || {
            let mut command = Command::new(&script);
            command.args(["class", "kafka.Kafka"]).arg(&file).env(
                "KAFKA_OPTS",
                "-Xmx1G -Xms1G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20",
            );
            command
        })
    }

    /// klite, the program at `binary`, with its defaults but for the partitions of the topics that it
    /// makes when they are written to.
    pub(crate) fn start_klite(
        place: &Place,
        binary: &Path,
        partitions: u32,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::Start("klite".into(), error);
        let data = ground(place, "klite-data").map_err(failed)?;
        let address = address().map_err(failed)?;
        let (binary, listen) = (binary.to_owned(), address.clone());
        Self::spawn(place, address, data.clone(), move || {
            let mut command = Command::new(&binary);
            command.arg("--data-dir").arg(&data);
            command.args(["--listen", &listen]);
            command.args(["--default-partitions", &partitions.to_string()]);
            command
        })
    }

    /// Stops it as it should be, and starts it on what it leaves.
    pub(crate) fn start_again(mut self, place: &Place) -> Result<Self, Failure> {
        self.end().map_err(Failure::Found)?;
        let command = Rc::clone(&self.command);
        Self::spawn(place, self.address.clone(), self.data.clone(), move || {
            command()
        })
    }

    fn spawn(
        place: &Place,
        address: String,
        data: PathBuf,
        command: impl Fn() -> Command + 'static,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::Start("the broker".into(), error);
        let log = fs::File::create(place.installed().join("broker.err")).map_err(failed)?;
        let begun = Instant::now();
        let child = command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut broker = Self {
            child,
            address,
            data,
            started_in: Duration::ZERO,
            command: Rc::new(command),
        };
        while !answers(&broker.address).unwrap_or(false) {
            let ended = broker.child.try_wait().is_ok_and(|status| status.is_some());
            if begun.elapsed() > START_MAX || ended {
                return Err(Failure::Found(
                    "the broker does not answer: see target/interop/broker.err".into(),
                ));
            }
            std::thread::yield_now();
        }
        broker.started_in = begun.elapsed();
        Ok(broker)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From its start to its first answer.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// SIGTERM, and the status it ends with.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let status = self.end()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("ended with {status}")),
        }
    }

    fn end(&mut self) -> Result<ExitStatus, String> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").arg(&pid).status();
        if !told.is_ok_and(|status| status.success()) {
            return Err("it was gone already".into());
        }
        self.child.wait().map_err(|error| error.to_string())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty directory.
fn ground(place: &Place, name: &str) -> io::Result<PathBuf> {
    let data = place.installed().join(name);
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    Ok(data)
}

/// A free address.
fn address() -> io::Result<String> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!("127.0.0.1:{port}"))
}

/// Whether the broker answers ApiVersions: a port may be open long before anybody serves it.
fn answers(address: &str) -> io::Result<bool> {
    /// Length, ApiVersions, version 0, correlation id 7, no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&REQUEST)?;
    // Length, correlation id, error code.
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
}
