//! The clients that make the load, and what they say of it.
//!
//! librdkafka's `rdkafka_performance` is built once from the sources that come with the crate
//! `rdkafka-sys` ([`Librdkafka::install`]); Kafka's latency tool comes with its jars. Nobody here wrote
//! either.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use super::rows::Load;
use crate::{
    interop::Place,
    process::{Failure, cargo, root, run},
};

/// The topic of every load.
pub(super) const TOPIC: &str = "bench";

/// `rdkafka_performance`.
#[derive(Debug)]
pub(super) struct Librdkafka {
    program: PathBuf,
}

/// Whom it talks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Against<'a> {
    /// A broker.
    Broker(&'a str),
    /// The one in the client's own process, which keeps nothing: how fast the client is by itself.
    Mock,
}

impl Librdkafka {
    /// Builds it, if that was not done before.
    pub(super) fn install() -> Result<Self, Failure> {
        let place = root().join("target").join("bench");
        let failed = |error| Failure::Start(place.display().to_string(), error);
        fs::create_dir_all(&place).map_err(failed)?;
        let program = place.join("rdkafka_performance");
        if program.exists() {
            return Ok(Self { program });
        }
        let vendored = place.join("sources");
        run(cargo()
            .args(["vendor", "--quiet", "--locked", "--manifest-path"])
            .arg(root().join("xtask/bench/librdkafka/Cargo.toml"))
            .arg(&vendored)
            .stdout(Stdio::null()))?;
        let sources = vendored.join("rdkafka-sys").join("librdkafka");
        let without = ["ssl", "gssapi", "curl", "zstd"].map(|what| format!("--disable-{what}"));
        let quietly = |command: &mut Command| run(command.stdout(Stdio::null()));
        quietly(
            Command::new("./configure")
                .current_dir(&sources)
                .args(without),
        )?;
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        for (folder, what) in [("src", "librdkafka.a"), ("examples", "rdkafka_performance")] {
            let mut make = Command::new("make");
            make.current_dir(&sources).args(["-C", folder, what]);
            quietly(make.arg(format!("-j{jobs}")))?;
        }
        fs::copy(sources.join("examples/rdkafka_performance"), &program).map_err(failed)?;
        Ok(Self { program })
    }

    /// Writes so many records as fast as it can; gives the rate, in records a second.
    pub(super) fn produce(
        &self,
        against: Against<'_>,
        load: &Load,
        records: u64,
    ) -> Result<f64, Failure> {
        let mut command = self.command(&["-P"], against);
        command.args(["-a", load.acks, "-s", &load.bytes.to_string()]);
        if load.partitions == 1 {
            command.args(["-p", "0"]);
        } else {
            // Every record goes where chance says: without this all that is written within 10 ms does.
            command.args(["-X", "sticky.partitioning.linger.ms=0"]);
        }
        self.rate(command.args(["-c", &records.to_string()]), records)
    }

    /// Reads so many records of partition 0 from its start.
    pub(super) fn read(&self, address: &str, records: u64) -> Result<f64, Failure> {
        let mut command = self.command(&["-C"], Against::Broker(address));
        command.args(["-p", "0", "-o", "beginning"]);
        self.rate(command.args(["-c", &records.to_string()]), records)
    }

    /// Reads so many records of all partitions as the one member of a group.
    pub(super) fn read_as_group(&self, address: &str, records: u64) -> Result<f64, Failure> {
        let mut command = self.command(&["-G", "bench"], Against::Broker(address));
        command.args(["-X", "auto.offset.reset=earliest"]);
        self.rate(command.args(["-c", &records.to_string()]), records)
    }

    fn command(&self, mode: &[&str], against: Against<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(mode).args(["-t", TOPIC]);
        match against {
            Against::Broker(address) => command.args(["-b", address]),
            Against::Mock => command.args(["-X", "test.mock.num.brokers=1"]),
        };
        command
    }

    fn rate(&self, command: &mut Command, records: u64) -> Result<f64, Failure> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::Start("rdkafka_performance".into(), error))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        rate_of(&said, records).ok_or_else(|| {
            let more = String::from_utf8_lossy(&output.stderr);
            Failure::Found(format!("rdkafka_performance said {said:?} {more:?}"))
        })
    }
}

/// The rate in the last line that tells one, if all records went through:
/// `% 10 messages produced (1000 bytes), 10 delivered (offset 9, 0 failed) in 5ms: 2000 msgs/s and ...` or
/// `% 10 messages (1000 bytes) consumed in 5ms: 2000 msgs/s (0.20 MB/s), ...`. A reader may be given more
/// than it asked for.
fn rate_of(said: &str, records: u64) -> Option<f64> {
    let line = said.lines().rfind(|line| line.contains(" msgs/s"))?;
    let all = if line.contains(" produced ") {
        line.contains(&format!(" {records} delivered ")) && line.contains(", 0 failed)")
    } else {
        let read = line.strip_prefix("% ")?.split(' ').next()?;
        read.parse::<u64>().ok()? >= records
    };
    let rate = line.split(" msgs/s").next()?.rsplit(' ').next()?;
    rate.parse().ok().filter(|_| all)
}

/// What Kafka's latency tool measured, in ms: the mean, and the percentiles, which it tells in whole ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EndToEnd {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

/// Runs Kafka's latency tool: each record is written with acks=all and read before the next.
pub(super) fn end_to_end(
    place: &Place,
    address: &str,
    bytes: u32,
    records: u64,
) -> Result<EndToEnd, Failure> {
    let output = Command::new(place.kafka())
        .args(["class", "org.apache.kafka.tools.EndToEndLatency"])
        .args(["--bootstrap-server", address, "--topic", TOPIC])
        .args(["--producer-acks", "all"])
        .args(["--num-records", &records.to_string()])
        .args(["--record-size", &bytes.to_string()])
        .output()
        .map_err(|error| Failure::Start("EndToEndLatency".into(), error))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    end_to_end_of(&said).ok_or_else(|| {
        let more = String::from_utf8_lossy(&output.stderr);
        Failure::Found(format!("Kafka's latency tool said {said:?} {more:?}"))
    })
}

/// From `Avg latency: 0.5 ms` and `Percentiles: 50th = 0, 99th = 1, 99.9th = 5`.
fn end_to_end_of(said: &str) -> Option<EndToEnd> {
    let number = |before: &str| {
        let rest = said.split_once(before)?.1.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].parse().ok()
    };
    Some(EndToEnd {
        mean: number("Avg latency:")?,
        p50: number("50th =")?,
        p99: number("99th =")?,
        p999: number("99.9th =")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_only_when_every_record_went_through() {
        let produced = "% Sending 10 messages of size 100 bytes\n% 10 messages produced (1000 bytes), 10 delivered (offset 9, 0 failed) in 5ms: 2000 msgs/s and 0.20 MB/s, 0 produce failures\n";
        assert_eq!(rate_of(produced, 10), Some(2000.0));
        assert_eq!(rate_of(produced, 11), None);
        let failed = produced.replace(
            "10 delivered (offset 9, 0 failed)",
            "9 delivered (offset 9, 1 failed)",
        );
        assert_eq!(rate_of(&failed, 10), None);
        let read =
            "% 12 messages (1200 bytes) consumed in 5ms: 2400 msgs/s (0.24 MB/s), 0 messages ";
        assert_eq!(rate_of(read, 10), Some(2400.0));
        assert_eq!(rate_of(read, 13), None);
        assert_eq!(rate_of("% Waiting", 1), None);
    }

    #[test]
    fn latencies_are_read_from_what_the_tool_says() {
        let said = "0\t12.5\nAvg latency: 0.5120 ms\nPercentiles: 50th = 0, 99th = 1, 99.9th = 5\n";
        let wanted = EndToEnd {
            mean: 0.512,
            p50: 0.0,
            p99: 1.0,
            p999: 5.0,
        };
        assert_eq!(end_to_end_of(said), Some(wanted));
        assert_eq!(end_to_end_of("Avg latency: 1 ms"), None);
    }
}
