//! `ottla produce`: each line of standard input becomes a record.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use ottla_client::producer::{Acks, Compression, Delivery, Producer, Record, SendError};

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
        let producer = Producer::builder(io, [&args.cluster.bootstrap_server])
            .acks(acks)
            .compression(compression)
            .batch_size(128 << 10)
            .build()?;
        let separator = args.key_separator.as_deref().map(str::as_bytes);
        let sent = lines(&producer, &template, separator).await;
        producer.close().await;
        sent
    })
}

async fn lines<I: ottla_io::Io>(
    producer: &Producer<I>,
    template: &Record,
    separator: Option<&[u8]>,
) -> Result<(), Failure> {
    let bar = tool::progress("written");
    let mut open = Open::default();
    let queued = queue_lines(producer, template, separator, &bar, &mut open).await;
    // Whatever ended the reading: what was read before is sent, and its failure told first.
    producer.flush().await;
    while !open.deliveries.is_empty() {
        open.settle_oldest().await?;
    }
    bar.finish();
    queued
}

/// Lines that are queued and not yet known to be written, in their order.
#[derive(Default)]
struct Open {
    deliveries: VecDeque<Delivery>,
    settled: u64,
}

impl Open {
    async fn settle_oldest(&mut self) -> Result<(), Failure> {
        let Some(oldest) = self.deliveries.pop_front() else {
            return Ok(());
        };
        self.settled += 1;
        oldest.await.map_err(|e| failed(self.settled, &e))?;
        Ok(())
    }
}

async fn queue_lines<I: ottla_io::Io>(
    producer: &Producer<I>,
    template: &Record,
    separator: Option<&[u8]>,
    bar: &indicatif::ProgressBar,
    open: &mut Open,
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
        open.deliveries
            .push_back(queued.map_err(|e| failed(number, &e))?);
        if open.deliveries.len() > OPEN_MAX {
            open.settle_oldest().await?;
        }
        bar.inc(1);
    }
}

fn failed(line: u64, error: &SendError) -> Failure {
    // The error itself says whether the line may be written all the same.
    Failure::new(format!("line {line} was not acknowledged: {error}"))
        .hint("the lines before it are written; those after it may be")
}
