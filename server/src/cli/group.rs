//! `ottla group`: list, describe, reset-offsets and delete.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Args, Subcommand};
use ottla_client::{
    IsolationLevel, OffsetAndMetadata, OffsetSpec, TopicPartition,
    admin::{Admin, GroupDescription},
};
use ottla_io::real::RealIo;
use serde_json::json;

use super::tool::{self, Cluster, Failure};

/// Manages consumer groups.
#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Lists groups.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows a group's members, offsets and lag.
    Describe {
        /// Its id.
        group: String,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Moves the committed offsets of a topic, for a group without members.
    ResetOffsets(ResetArgs),
    /// Deletes groups without members, with their offsets.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
struct ResetArgs {
    /// Its id.
    group: String,
    /// The topic.
    #[arg(long, short)]
    topic: String,
    /// Only this partition.
    #[arg(long, short)]
    partition: Option<i32>,
    #[command(flatten)]
    to: To,
    /// Only show what would be committed.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record.
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record.
    #[arg(long)]
    to_latest: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// To the first record of this time or later, in milliseconds since the Unix epoch.
    #[arg(long, value_name = "MILLISECONDS")]
    to_timestamp: Option<i64>,
}

/// Runs the command.
pub(crate) fn run(args: GroupArgs) -> ExitCode {
    tool::run(|io| async move {
        let admin = Admin::new(io, [&args.cluster.bootstrap_server])?;
        match args.command {
            GroupCommand::List { json } => list(&admin, json).await,
            GroupCommand::Describe { group, json } => describe(&admin, &group, json).await,
            GroupCommand::ResetOffsets(reset) => reset_offsets(&admin, reset).await,
            GroupCommand::Delete { groups } => {
                for group in groups {
                    let deleted = admin.delete_group(group.as_str()).await;
                    deleted.map_err(|e| tool::named(&format!("group {group}"), e))?;
                    tool::print(&format!("deleted {group}\n"))?;
                }
                Ok(())
            }
        }
    })
}

async fn list(admin: &Admin<RealIo>, json: bool) -> Result<(), Failure> {
    let groups = admin.list_groups().await?;
    if json {
        let one = |g: &ottla_client::admin::GroupListing| {
            json!({"group": g.group_id.as_str(), "state": g.state.as_str(),
                   "type": g.group_type.as_str(), "protocolType": g.protocol_type.as_str(),
                   "coordinator": g.coordinator})
        };
        return tool::print_json(&groups.iter().map(one).collect());
    }
    let row = |g: &ottla_client::admin::GroupListing| {
        vec![
            g.group_id.to_string(),
            g.state.to_string(),
            g.group_type.to_string(),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    tool::print_table(&["GROUP", "STATE", "TYPE"], &rows)
}

/// A partition that a group has an offset for, or a member reads.
struct Line {
    partition: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    member: Option<String>,
}

async fn lines(admin: &Admin<RealIo>, described: &GroupDescription) -> Result<Vec<Line>, Failure> {
    let committed = admin
        .list_group_offsets(described.group_id.clone(), None)
        .await?;
    let mut readers = BTreeMap::new();
    for member in &described.members {
        let reader = format!(
            "{} ({})",
            member.member_id,
            member.host.trim_start_matches('/')
        );
        readers.extend(
            member
                .assignment
                .iter()
                .map(|p| (p.clone(), reader.clone())),
        );
    }
    let all = committed
        .keys()
        .chain(readers.keys())
        .map(|p| (p.clone(), OffsetSpec::Latest));
    let wanted: BTreeMap<_, _> = all.collect();
    let ends = admin
        .list_offsets(&wanted, IsolationLevel::ReadUncommitted)
        .await;
    let line = |partition: TopicPartition| Line {
        committed: committed.get(&partition).map(|c| c.offset),
        end: ends
            .get(&partition)
            .and_then(|e| e.as_ref().ok())
            .map(|e| e.offset),
        member: readers.get(&partition).cloned(),
        partition,
    };
    Ok(wanted.into_keys().map(line).collect())
}

async fn describe(admin: &Admin<RealIo>, group: &str, json: bool) -> Result<(), Failure> {
    let described = admin.describe_group(group).await?;
    let lines = lines(admin, &described).await?;
    if described.state == "Dead" && lines.is_empty() {
        return Err(Failure::new(format!("there is no group {group}"))
            .hint("`ottla group list` shows the groups"));
    }
    let lag = |l: &Line| Some((l.end? - l.committed?).max(0));
    if json {
        let one = |l: &Line| {
            json!({"topic": l.partition.topic.as_str(), "partition": l.partition.partition,
                   "committed": l.committed, "end": l.end, "lag": lag(l), "member": l.member})
        };
        let partitions: Vec<_> = lines.iter().map(one).collect();
        return tool::print_json(&json!({"group": group, "state": described.state.as_str(),
            "assignor": described.protocol.as_str(), "coordinator": described.coordinator,
            "members": described.members.len(), "partitions": partitions}));
    }
    tool::print(&format!(
        "{group}  {}{}  members {}  coordinator {}\n",
        described.state,
        if described.protocol.is_empty() {
            String::new()
        } else {
            format!("  {}", described.protocol)
        },
        described.members.len(),
        described.coordinator
    ))?;
    let number = |n: Option<i64>| n.map_or("-".to_owned(), |n| n.to_string());
    let row = |l: &Line| {
        vec![
            l.partition.topic.to_string(),
            l.partition.partition.to_string(),
            number(l.committed),
            number(l.end),
            number(lag(l)),
            l.member.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    tool::print_table(
        &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"],
        &rows,
    )
}

async fn reset_offsets(admin: &Admin<RealIo>, args: ResetArgs) -> Result<(), Failure> {
    let topic = admin
        .describe_topic(args.topic.as_str())
        .await
        .map_err(|e| tool::named(&format!("topic {}", args.topic), e))?;
    let partitions = topic.partitions.iter().map(|p| p.index);
    let partitions = partitions.filter(|p| args.partition.is_none_or(|only| only == *p));
    let partitions = partitions.map(|p| TopicPartition::new(args.topic.as_str(), p));
    let partitions: Vec<TopicPartition> = partitions.collect();
    let offsets = targets(admin, &partitions, &args.to).await?;
    if offsets.is_empty() {
        return Err(Failure::new(format!(
            "topic {} has no such partition",
            args.topic
        )));
    }
    if !args.dry_run {
        for (p, answer) in admin
            .alter_group_offsets(args.group.as_str(), &offsets)
            .await?
        {
            answer.map_err(|error| {
                Failure::new(format!("{p}: {error}"))
                    .hint("offsets can be moved only while the group has no members")
            })?;
        }
    }
    let row = |(p, o): (&TopicPartition, &OffsetAndMetadata)| {
        vec![
            p.topic.to_string(),
            p.partition.to_string(),
            o.offset.to_string(),
        ]
    };
    let rows: Vec<_> = offsets.iter().map(row).collect();
    tool::print_table(&["TOPIC", "PARTITION", "OFFSET"], &rows)
}

/// Where each partition's committed offset is to go: never before the first record, nor further
/// behind the last than the next one.
async fn targets(
    admin: &Admin<RealIo>,
    partitions: &[TopicPartition],
    to: &To,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Failure> {
    let earliest = offsets_at(admin, partitions, OffsetSpec::Earliest).await?;
    let latest = offsets_at(admin, partitions, OffsetSpec::Latest).await?;
    let at_time = match to.to_timestamp {
        Some(time) => offsets_at(admin, partitions, OffsetSpec::AtTimestamp(time)).await?,
        None => BTreeMap::new(),
    };
    let mut targets = BTreeMap::new();
    for partition in partitions {
        let known = |found: &BTreeMap<TopicPartition, i64>| {
            let unknown = || Failure::new(format!("{partition}: its offsets are not known"));
            found.get(partition).copied().ok_or_else(unknown)
        };
        let (first, end) = (known(&earliest)?, known(&latest)?);
        let target = if let Some(offset) = to.to_offset {
            let possible = offset.clamp(first, end.max(first));
            if possible != offset {
                tool::tell(&Failure::new(format!(
                    "{partition} has offsets {first} to {end}: {possible} is taken for {offset}"
                )));
            }
            possible
        } else if to.to_timestamp.is_some() {
            // Where no record is as late as that: behind the last one.
            at_time
                .get(partition)
                .copied()
                .filter(|o| *o >= 0)
                .unwrap_or(end)
        } else if to.to_earliest {
            first
        } else {
            end
        };
        targets.insert(partition.clone(), OffsetAndMetadata::new(target));
    }
    Ok(targets)
}

async fn offsets_at(
    admin: &Admin<RealIo>,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let wanted = partitions.iter().map(|p| (p.clone(), spec)).collect();
    let found = admin
        .list_offsets(&wanted, IsolationLevel::ReadUncommitted)
        .await;
    found
        .into_iter()
        .map(|(p, found)| match found {
            Ok(found) => Ok((p, found.offset)),
            Err(error) => Err(Failure::new(format!("{p}: {error}"))),
        })
        .collect()
}
