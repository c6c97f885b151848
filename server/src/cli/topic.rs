//! `ottla topic`: create, list, describe, alter and delete.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ottla_client::{
    Str, Topic,
    admin::{Admin, ConfigAlteration, ConfigEntry, ConfigResource, ConfigSource, NewTopic},
};
use ottla_io::real::RealIo;
use serde_json::json;

use super::tool::{self, Cluster, Failure};

/// Manages topics.
#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Creates a topic.
    Create {
        /// Its name.
        topic: String,
        /// How many partitions; the broker's num.partitions if not given.
        #[arg(long, short)]
        partitions: Option<i32>,
        /// How many replicas of each; the broker's default.replication.factor if not given.
        #[arg(long, short)]
        replication_factor: Option<i16>,
        /// A configuration entry, as key=value; may be repeated.
        #[arg(long, short, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// It is no error if the topic is there already.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Lists topics.
    List {
        /// Kafka's own as well.
        #[arg(long)]
        internal: bool,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows a topic's partitions and the configuration that differs from the default.
    Describe {
        /// Its name.
        topic: String,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Changes a topic's configuration or adds partitions.
    Alter {
        /// Its name.
        topic: String,
        /// The new number of partitions; it can only grow.
        #[arg(long, short)]
        partitions: Option<i32>,
        /// Sets an entry, as key=value; may be repeated.
        #[arg(long, short, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// Takes an entry back to its default; may be repeated.
        #[arg(long, value_name = "KEY")]
        delete_config: Vec<String>,
    },
    /// Deletes topics with all their records.
    Delete {
        /// Their names.
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: TopicArgs) -> ExitCode {
    tool::run(|io| async move {
        let admin = Admin::new(io, [&args.cluster.bootstrap_server])?;
        match args.command {
            TopicCommand::Create {
                topic,
                partitions,
                replication_factor,
                config,
                if_not_exists,
            } => {
                let factor = replication_factor.unwrap_or(-1);
                let mut new = NewTopic::new(topic.as_str(), partitions.unwrap_or(-1), factor);
                for entry in &config {
                    let (key, value) = key_value(entry)?;
                    new = new.config(key, value);
                }
                create(&admin, new, if_not_exists).await
            }
            TopicCommand::List { internal, json } => list(&admin, internal, json).await,
            TopicCommand::Describe { topic, json } => describe(&admin, &topic, json).await,
            TopicCommand::Alter {
                topic,
                partitions,
                config,
                delete_config,
            } => alter(&admin, &topic, partitions, &config, &delete_config).await,
            TopicCommand::Delete { topics } => {
                for topic in topics {
                    admin
                        .delete_topic(topic.as_str())
                        .await
                        .map_err(|e| named(&topic, e))?;
                    tool::print(&format!("deleted {topic}\n"))?;
                }
                Ok(())
            }
        }
    })
}

fn key_value(entry: &str) -> Result<(&str, &str), Failure> {
    let wrong = || Failure::new(format!("`{entry}` is not key=value"));
    entry.split_once('=').ok_or_else(wrong)
}

fn named(topic: &str, error: ottla_client::admin::AdminError) -> Failure {
    tool::named(&format!("topic {topic}"), error)
}

async fn create(admin: &Admin<RealIo>, new: NewTopic, if_not_exists: bool) -> Result<(), Failure> {
    use ottla_client::{ErrorCode, admin::AdminError};
    let name = new.name.clone();
    match admin.create_topic(new).await {
        Ok(created) if created.partitions > 0 => tool::print(&format!(
            "created {name}: {} partition{}, replication factor {}\n",
            created.partitions,
            if created.partitions == 1 { "" } else { "s" },
            created.replication_factor
        )),
        Ok(_) => tool::print(&format!("created {name}\n")),
        Err(AdminError::Broker(e)) if if_not_exists && e.code == ErrorCode::TopicAlreadyExists => {
            tool::print(&format!("{name} is there already\n"))
        }
        Err(error) => Err(named(&name, error)),
    }
}

async fn list(admin: &Admin<RealIo>, internal: bool, json: bool) -> Result<(), Failure> {
    let topics = admin.list_topics().await?;
    let topics: Vec<&Topic> = topics
        .iter()
        .filter(|t| internal || !t.is_internal)
        .collect();
    if json {
        let one = |t: &&Topic| {
            json!({"name": t.name.as_str(), "id": t.id.to_string(), "internal": t.is_internal,
                   "partitions": t.partitions.len()})
        };
        return tool::print_json(&topics.iter().map(one).collect());
    }
    let replicas = |t: &Topic| t.partitions.first().map_or(0, |p| p.replicas.len());
    let row = |t: &&Topic| {
        vec![
            t.name.to_string(),
            t.partitions.len().to_string(),
            replicas(t).to_string(),
        ]
    };
    let rows: Vec<_> = topics.iter().map(row).collect();
    tool::print_table(&["TOPIC", "PARTITIONS", "REPLICAS"], &rows)
}

async fn describe(admin: &Admin<RealIo>, name: &str, json: bool) -> Result<(), Failure> {
    let topic = admin
        .describe_topic(name)
        .await
        .map_err(|e| named(name, e))?;
    let configs = admin
        .describe_configs(&ConfigResource::topic(name), None)
        .await?;
    let set: Vec<&ConfigEntry> = configs
        .iter()
        .filter(|c| !matches!(c.source, ConfigSource::Default))
        .collect();
    let value = |c: &ConfigEntry| c.value.as_ref().map(Str::to_string);
    if json {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|p| {
                json!({"partition": p.index, "leader": p.leader, "leaderEpoch": p.leader_epoch,
                       "replicas": p.replicas, "isr": p.isr, "offline": p.offline})
            })
            .collect();
        let configs: serde_json::Map<String, serde_json::Value> = set
            .iter()
            .map(|c| (c.name.to_string(), json!(value(c))))
            .collect();
        return tool::print_json(&json!({"name": name, "id": topic.id.to_string(),
            "internal": topic.is_internal, "partitions": partitions, "configs": configs}));
    }
    let configs: String = set
        .iter()
        .map(|c| format!("  {}={}", c.name, value(c).unwrap_or_default()))
        .collect();
    tool::print(&format!("{name}  id {}{configs}\n", topic.id))?;
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| {
            let leader = p.leader.map_or("none".to_owned(), |l| l.to_string());
            vec![p.index.to_string(), leader, ids(&p.replicas), ids(&p.isr)]
        })
        .collect();
    tool::print_table(&["PARTITION", "LEADER", "REPLICAS", "IN SYNC"], &rows)
}

async fn alter(
    admin: &Admin<RealIo>,
    topic: &str,
    partitions: Option<i32>,
    set: &[String],
    delete: &[String],
) -> Result<(), Failure> {
    let mut alterations = Vec::new();
    for entry in set {
        let (key, value) = key_value(entry)?;
        alterations.push(ConfigAlteration::set(key, value));
    }
    alterations.extend(
        delete
            .iter()
            .map(|key| ConfigAlteration::delete(key.as_str())),
    );
    if alterations.is_empty() && partitions.is_none() {
        return Err(Failure::new("nothing to change")
            .hint("give --partitions N, --config KEY=VALUE or --delete-config KEY"));
    }
    if !alterations.is_empty() {
        let resource = ConfigResource::topic(topic);
        let altered = admin.alter_configs(&resource, &alterations, false).await;
        altered.map_err(|e| named(topic, e))?;
    }
    if let Some(total) = partitions {
        let grown = admin.create_partitions(topic, total, None).await;
        grown.map_err(|e| named(topic, e))?;
    }
    tool::print(&format!("altered {topic}\n"))
}
