//! `cargo xtask bench`: Ottla and Apache Kafka side by side in one run, on the user's own machine.
//!
//! Each pair runs the same load on both, the order turned round every time (A B, B A, ...), with
//! Kafka's own `producer-perf`; each broker has its own defaults, which for Ottla means synced
//! before acknowledged. The table gives medians and the spread; wall time on a shared machine is
//! noisy, so ratios count and single figures do not.

#![allow(clippy::print_stdout, reason = "the table is the command's output")]

use std::{fs, process::Command};

use crate::{
    interop::{Broker, Place},
    process::{Failure, cargo, run},
};

const USAGE: &str = "usage: cargo xtask bench [--pairs N]";

struct Row {
    name: &'static str,
    partitions: u32,
    record_bytes: u32,
    records: u32,
    acks: &'static str,
}

const ROWS: [Row; 2] = [
    Row {
        name: "100 B, acks=1, 1 partition",
        partitions: 1,
        record_bytes: 100,
        records: 5_000_000,
        acks: "1",
    },
    Row {
        name: "1 KiB, acks=all, 16 partitions",
        partitions: 16,
        record_bytes: 1024,
        records: 1_000_000,
        acks: "all",
    },
];

/// One load on one broker.
#[derive(Clone, Copy)]
struct Sample {
    records_a_second: f64,
    broker_cpu_seconds: f64,
    broker_peak_mib: f64,
}

/// Runs the rows and prints the table.
pub(crate) fn bench(arguments: &[String]) -> Result<(), Failure> {
    let pairs = match arguments {
        [] => 5,
        [flag, number] if flag == "--pairs" => number.parse().map_err(|_| Failure::Usage(USAGE))?,
        _ => return Err(Failure::Usage(USAGE)),
    };
    let place = Place::new()?;
    place.install(&["java"])?;
    run(cargo().args(["build", "--release", "--package", "ottla"]))?;
    println!("| row | broker | records/s (min..max) | CPU s/GB | peak MiB |");
    println!("| --- | --- | --- | --- | --- |");
    for row in &ROWS {
        let mut samples = [Vec::new(), Vec::new()];
        for pair in 0..pairs {
            for turn in 0..2 {
                let which = (pair + turn) % 2;
                samples[which].push(sample(&place, row, which == 0)?);
            }
        }
        for (which, name) in ["Ottla", "Apache Kafka"].iter().enumerate() {
            print_row(row, name, &samples[which]);
        }
        let ratio = median(&samples[0], |s| s.records_a_second)
            / median(&samples[1], |s| s.records_a_second);
        println!("| {} | ratio | {ratio:.2} | | |", row.name);
    }
    Ok(())
}

fn print_row(row: &Row, name: &str, samples: &[Sample]) {
    let rate = |s: &Sample| s.records_a_second;
    let (min, max) = samples
        .iter()
        .map(rate)
        .fold((f64::MAX, 0.0f64), |(a, b), r| (a.min(r), b.max(r)));
    let gigabytes = f64::from(row.records) * f64::from(row.record_bytes) / 1e9;
    println!(
        "| {} | {name} | {:.0} ({min:.0}..{max:.0}) | {:.2} | {:.0} |",
        row.name,
        median(samples, rate),
        median(samples, |s| s.broker_cpu_seconds) / gigabytes,
        median(samples, |s| s.broker_peak_mib),
    );
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn sample(place: &Place, row: &Row, ottla: bool) -> Result<Sample, Failure> {
    let broker = if ottla {
        Broker::start(place)?
    } else {
        Broker::start_kafka(place)?
    };
    let kafka = place.kafka();
    let topic = "bench";
    run(Command::new(&kafka)
        .args([
            "topics",
            "--bootstrap-server",
            &broker.address,
            "--create",
            "--topic",
            topic,
        ])
        .args(["--partitions", &row.partitions.to_string()])
        .stdout(std::process::Stdio::null()))?;
    let load = |records: u32| {
        Command::new(&kafka)
            .args(["producer-perf", "--topic", topic, "--throughput", "-1"])
            .args([
                "--num-records",
                &records.to_string(),
                "--record-size",
                &row.record_bytes.to_string(),
            ])
            .args([
                "--producer-props",
                &format!("bootstrap.servers={}", broker.address),
            ])
            .args([
                &format!("acks={}", row.acks),
                "linger.ms=5",
                "batch.size=131072",
            ])
            .env("KAFKA_OPTS", "-Xmx512m")
            .output()
            .map_err(|error| Failure::Start("producer-perf".into(), error))
    };
    load(row.records / 10)?;
    let before = cpu_seconds(broker.pid());
    let output = load(row.records)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text
        .lines()
        .rfind(|line| line.contains("records/sec"))
        .unwrap_or_default();
    let rate = last
        .split(", ")
        .nth(1)
        .and_then(|part| part.split(' ').next()?.parse().ok());
    let records_a_second =
        rate.ok_or_else(|| Failure::Found(format!("producer-perf said {text:?}")))?;
    let sample = Sample {
        records_a_second,
        broker_cpu_seconds: cpu_seconds(broker.pid()) - before,
        broker_peak_mib: peak_mib(broker.pid()),
    };
    Ok(sample)
}

/// User and system time of a process so far (proc(5), in hundredths of a second).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or_default()
        / 1024.0
}
