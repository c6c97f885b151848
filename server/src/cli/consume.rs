//! `ottla consume`: writes records to standard output, their bytes as they are.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use ottla_client::{
    OffsetSpec, TopicPartition,
    consumer::{AutoOffsetReset, Consumer, ConsumerConfig, ConsumerError, ConsumerRecord},
};
use ottla_io::real::RealIo;
use serde_json::json;

use super::tool::{self, Cluster, Failure};

/// Writes a topic's records to standard output, one a line, until stopped.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic.
    topic: String,
    #[command(flatten)]
    cluster: Cluster,
    /// From the first record on, not only new ones. With --group: where the group has no offset yet.
    #[arg(long)]
    from_beginning: bool,
    /// As a member of this group, whose offsets are committed.
    #[arg(long, short)]
    group: Option<String>,
    /// Stop after so many records.
    #[arg(long, short = 'n')]
    max_messages: Option<u64>,
    /// Only this partition.
    #[arg(long, short, conflicts_with = "group")]
    partition: Option<i32>,
    /// From this offset on; needs --partition.
    #[arg(long, short, requires = "partition", conflicts_with = "from_beginning")]
    offset: Option<i64>,
    /// Stop when the ends are reached that the partitions have now.
    #[arg(long, short = 'e', conflicts_with = "group")]
    exit: bool,
    /// The key and a tab before each value.
    #[arg(long)]
    print_key: bool,
    /// The headers and a tab before that.
    #[arg(long)]
    print_headers: bool,
    /// The timestamp and a tab before that.
    #[arg(long)]
    timestamp: bool,
    /// Each record as a line of JSON; bytes that are not UTF-8 are replaced.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: ConsumeArgs) -> ExitCode {
    tool::run(|io| async move {
        let admin = ottla_client::admin::Admin::new(io.clone(), [&args.cluster.bootstrap_server])?;
        let topic = admin.describe_topic(args.topic.as_str()).await;
        admin.close().await;
        let topic = topic.map_err(|e| tool::named(&format!("topic {}", args.topic), e))?;
        let reset = if args.offset.is_some() {
            // An offset that is not there is told, not replaced by another.
            AutoOffsetReset::None
        } else if args.from_beginning {
            AutoOffsetReset::Earliest
        } else {
            AutoOffsetReset::Latest
        };
        let mut config = ConsumerConfig {
            group_id: args.group.as_deref().map(Into::into),
            auto_offset_reset: reset,
            max_poll_records: 10_000,
            ..ConsumerConfig::default()
        };
        config.client.allow_auto_create_topics = false;
        // From here on there are offsets to commit and a group to leave.
        let mut termination = io.termination()?;
        let mut consumer = Consumer::new(io.clone(), [&args.cluster.bootstrap_server], config)?;
        if args.group.is_some() {
            consumer.subscribe([args.topic.as_str()]).map_err(failure)?;
        } else {
            let all = topic.partitions.iter().map(|p| p.index);
            let wanted = all.filter(|p| args.partition.is_none_or(|only| only == *p));
            let wanted: Vec<_> = wanted
                .map(|p| TopicPartition::new(args.topic.as_str(), p))
                .collect();
            if wanted.is_empty() {
                return Err(Failure::new(format!(
                    "topic {} has no partition {}, only 0 to {}",
                    args.topic,
                    args.partition.unwrap_or_default(),
                    topic.partitions.len().saturating_sub(1)
                )));
            }
            consumer.assign(wanted.clone());
            if let (Some(offset), [only]) = (args.offset, &wanted[..]) {
                consumer.seek(only, offset).map_err(failure)?;
            }
        }
        let read = tokio::select! {
            biased;
            () = termination.asked() => Ok(()),
            read = read(&mut consumer, &args) => read,
        };
        let closed = consumer.close().await.map_err(failure);
        read.and(closed)
    })
}

fn failure(error: ConsumerError) -> Failure {
    Failure::new(error.to_string())
}

async fn read(consumer: &mut Consumer<RealIo>, args: &ConsumeArgs) -> Result<(), Failure> {
    let bar = tool::progress("read");
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    let mut ends = BTreeMap::new();
    if args.exit {
        let wanted = consumer
            .assignment()
            .into_iter()
            .map(|p| (p, OffsetSpec::Latest))
            .collect();
        for (partition, end) in consumer.list_offsets(&wanted).await {
            let end = end.map_err(|e| Failure::new(format!("{partition}: {e}")))?;
            ends.insert(partition, end.offset);
        }
    }
    // Where the last poll began.
    let mut begun = BTreeMap::new();
    while left > 0 {
        if tool::reader_is_gone() {
            return rewind(consumer, &begun);
        }
        if args.exit {
            let reached = |(p, end): (&TopicPartition, &i64)| {
                consumer
                    .position(p)
                    .ok()
                    .flatten()
                    .is_some_and(|position| position >= *end)
            };
            if ends.iter().all(reached) {
                break;
            }
        }
        let records = consumer
            .poll(Duration::from_secs(1))
            .await
            .map_err(failure)?;
        begun.clear();
        for record in &records {
            begun
                .entry(record.topic_partition())
                .or_insert(record.offset);
        }
        let take = records
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match write(&records[..take], args) {
            Ok(()) => {}
            Err(error) if tool::is_broken_pipe(&error) => return rewind(consumer, &begun),
            Err(error) => return Err(error.into()),
        }
        if take < records.len() {
            // What was not written was not read.
            for skipped in records[take..].iter().rev() {
                consumer
                    .seek(&skipped.topic_partition(), skipped.offset)
                    .map_err(failure)?;
            }
        }
        left -= take as u64;
        bar.inc(take as u64);
    }
    bar.finish();
    Ok(())
}

/// How much of the last poll was read by a reader that went away, only the reader knows: the group
/// reads it again.
fn rewind(
    consumer: &mut Consumer<RealIo>,
    begun: &BTreeMap<TopicPartition, i64>,
) -> Result<(), Failure> {
    for (partition, offset) in begun {
        // A partition that was revoked meanwhile is for others to read.
        match consumer.seek(partition, *offset) {
            Ok(()) | Err(ConsumerError::NotAssigned(_)) => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Ok(())
}

/// Writes a poll's records in one go, so that a slow reader slows the polling down.
fn write(records: &[ConsumerRecord], args: &ConsumeArgs) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
    for record in records {
        if args.json {
            writeln!(out, "{}", as_json(record))?;
            continue;
        }
        if args.timestamp {
            write!(out, "{}\t", record.timestamp)?;
        }
        if args.print_headers {
            for (i, header) in record.headers.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                write!(out, "{comma}{}:", header.key)?;
                out.write_all(header.value.as_deref().unwrap_or(b"null"))?;
            }
            out.write_all(b"\t")?;
        }
        if args.print_key {
            out.write_all(record.key.as_deref().unwrap_or(b"null"))?;
            out.write_all(b"\t")?;
        }
        out.write_all(record.value.as_deref().unwrap_or(b"null"))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn as_json(record: &ConsumerRecord) -> serde_json::Value {
    let text = |bytes: &Option<_>| {
        bytes
            .as_ref()
            .map(|b: &bytes::Bytes| String::from_utf8_lossy(b).into_owned())
    };
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|h| json!([h.key.as_str(), text(&h.value)]))
        .collect();
    json!({"topic": record.topic.as_str(), "partition": record.partition, "offset": record.offset,
           "timestamp": record.timestamp, "key": text(&record.key), "value": text(&record.value),
           "headers": headers})
}
