//! `ottla produce`: each line of standard input becomes a record.

use std::{
    io::{self, BufRead},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use ottla_client::producer::{Acks, Compression, Delivery, Producer, Record, SendError};
use tokio::sync::{mpsc, oneshot};

use super::tool::{self, Cluster, Failure};

/// Writes the lines of standard input to a topic, one record a line.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic.
    topic: String,
    #[command(flatten)]
    cluster: Cluster,
    /// What divides a line into key and value; without it lines are values.
    #[arg(long, short, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// All to this partition.
    #[arg(long, short)]
    partition: Option<i32>,
    /// A header for every record, as key=value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    header: Vec<String>,
    /// What must have happened before a record counts as written.
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArg,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    compression: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AcksArg {
    /// Every in-sync replica has it.
    All,
    /// The leader has it.
    #[value(name = "1")]
    Leader,
    /// It was sent.
    #[value(name = "0")]
    None,
}

/// Deliveries that may be open before the oldest is waited for.
const OPEN_MAX: usize = 100_000;

/// How long a line may be without an answer before somebody who looks on is told.
const SLOW: Duration = Duration::from_secs(10);

/// Runs the command.
pub(crate) fn run(args: ProduceArgs) -> ExitCode {
    tool::run(|io| async move {
        let compression: Compression = args.compression.parse().map_err(|_| {
            Failure::new(format!("there is no compression `{}`", args.compression))
                .hint("use none, gzip, snappy, lz4 or zstd")
        })?;
        let acks = match args.acks {
            AcksArg::All => Acks::All,
            AcksArg::Leader => Acks::Leader,
            AcksArg::None => Acks::None,
        };
        let mut template = Record::to(args.topic.as_str());
        template.partition = args.partition;
        for header in &args.header {
            let wrong = || Failure::new(format!("`{header}` is not key=value"));
            let (key, value) = header.split_once('=').ok_or_else(wrong)?;
            template = template.header(key, value.to_owned());
        }
        // A wrong address is better told now than with the first record.
        let admin = ottla_client::admin::Admin::new(io.clone(), [&args.cluster.bootstrap_server])?;
        admin.describe_cluster().await?;
        admin.close().await;
        let producer = Producer::builder(io.clone(), [&args.cluster.bootstrap_server])
            .acks(acks)
            .compression(compression)
            .batch_size(128 << 10)
            .build()?;
        let separator = args.key_separator.as_deref().map(str::as_bytes);
        let sent = lines(&io, &producer, &template, separator).await;
        producer.close().await;
        sent
    })
}

async fn lines<I: ottla_io::Io>(
    io: &I,
    producer: &Producer<I>,
    template: &Record,
    separator: Option<&[u8]>,
) -> Result<(), Failure> {
    let bar = tool::progress("written");
    let (open, deliveries) = mpsc::channel(OPEN_MAX);
    let (tell, settled) = oneshot::channel();
    let task = settle(io.clone(), producer.clone(), deliveries, tell);
    io.spawn_detached("produce-settle", Box::pin(task));
    let queued = queue_lines(producer, template, separator, &bar, open).await;
    // Whatever ended the reading: what was read before is sent, and its failure told first.
    producer.flush().await;
    // The task ends the process if it cannot say that all went well.
    let _ = settled.await;
    bar.finish();
    queued
}

/// Waits for the deliveries, in the order of their lines. The first failure is told at once and ends
/// the process, because the main thread may be blocked in a read of standard input that never
/// returns.
async fn settle<I: ottla_io::Io>(
    io: I,
    producer: Producer<I>,
    mut deliveries: mpsc::Receiver<Delivery>,
    done: oneshot::Sender<()>,
) {
    let mut line: u64 = 0;
    while let Some(mut delivery) = deliveries.recv().await {
        line += 1;
        let settled = match io.timeout(SLOW, &mut delivery).await {
            Some(settled) => settled,
            None => {
                tool::tell(&Failure::new(format!(
                    "line {line} has no answer after {} s; it is tried again",
                    SLOW.as_secs()
                )));
                delivery.await
            }
        };
        if let Err(error) = settled {
            tool::tell(&failed(line, &error));
            // What was read before is sent all the same.
            producer.flush().await;
            std::process::exit(1);
        }
    }
    // Nobody waits for it if reading has failed for good.
    let _ = done.send(());
}

async fn queue_lines<I: ottla_io::Io>(
    producer: &Producer<I>,
    template: &Record,
    separator: Option<&[u8]>,
    bar: &indicatif::ProgressBar,
    open: mpsc::Sender<Delivery>,
) -> Result<(), Failure> {
    // The producer's task runs on other threads, so this one may block on its input.
    let mut input = io::BufReader::with_capacity(256 << 10, io::stdin().lock());
    let mut line = Vec::new();
    let mut number: u64 = 0;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let mut record = template.clone();
        match separator {
            None => record.value = Some(line.clone().into()),
            Some(separator) => {
                let at = line.windows(separator.len()).position(|w| w == separator);
                let at =
                    at.ok_or_else(|| Failure::new(format!("line {number} has no key separator")))?;
                record.key = Some(line[..at].to_vec().into());
                record.value = Some(line[at + separator.len()..].to_vec().into());
            }
        }
        let queued = producer.queue(record).await;
        let delivery = queued.map_err(|e| failed(number, &e))?;
        // Its receiver lives until the process ends.
        let _ = open.send(delivery).await;
        bar.inc(1);
    }
}

fn failed(line: u64, error: &SendError) -> Failure {
    // The error itself says whether the line may be written all the same.
    let failure = Failure::new(format!("line {line} was not acknowledged: {error}"));
    if line == 1 {
        return failure.hint("lines after it may be written");
    }
    failure.hint("the lines before it are written; those after it may be")
}
