//! A reader of partitions of its own that commits what it has read for a group.
//!
//! It reads with the raw client and commits as an admin does, so it sees what the broker shows and
//! nothing that a client's own retries could hide. It begins where the group's commit is, so a
//! commit that went back or was lost is met while the run goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ottla_client::{Client, OffsetAndMetadata, TopicPartition as ClientPartition, admin::Admin};
use ottla_io::Clock;
use tokio::sync::watch;

use super::{producer::impatient, raw::RawClient};
use crate::{
    event::{Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// What a consumer is told.
#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    /// Its number; each life of a node has one of its own.
    pub number: u32,
    /// Its group.
    pub group: Arc<str>,
    /// Where the broker is.
    pub bootstrap: String,
    /// What it reads.
    pub partitions: Vec<TopicPartition>,
}

/// An admin that notices a fault within virtual seconds; `None` where the address is wrong.
#[must_use]
pub fn admin(io: SimIo, bootstrap: &str) -> Option<Admin<SimIo>> {
    let client = Client::new(io, [bootstrap], impatient("admin")).ok()?;
    Some(Admin::with_client(client))
}

/// The offset that a group has committed for a partition; -1 for none.
pub async fn committed(
    admin: &Admin<SimIo>,
    group: &str,
    partition: &TopicPartition,
) -> Result<i64, String> {
    let wanted = client_partition(partition);
    let found = admin
        .list_group_offsets(group, Some(std::slice::from_ref(&wanted)))
        .await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.get(&wanted).map_or(-1, |committed| committed.offset))
}

/// Reads and commits until told to stop.
pub async fn consume(
    io: SimIo,
    recorder: Recorder,
    plan: ConsumerPlan,
    mut random: SimRandom,
    mut stop: watch::Receiver<bool>,
) {
    if plan.partitions.is_empty() {
        // More readers than partitions. The sender lives as long as the stage.
        let _ = stop.wait_for(|stop| *stop).await;
        return;
    }
    let node = io.process().node();
    let Some(admin) = admin(io.clone(), &plan.bootstrap) else {
        return;
    };
    let mut raw = RawClient::new(io.clone(), plan.bootstrap.clone());
    let mut positions = BTreeMap::new();
    let mut commits = 0;
    while !*stop.borrow() {
        for partition in &plan.partitions {
            let Some(position) = positions.get(partition).copied() else {
                match committed(&admin, &plan.group, partition).await {
                    Ok(offset) => {
                        let group = Arc::clone(&plan.group);
                        let (at, partition) = (offset.max(0), partition.clone());
                        recorder.work(
                            node,
                            Work::CommitFound {
                                group,
                                consumer: plan.number,
                                partition: partition.clone(),
                                offset,
                            },
                        );
                        let consumer = plan.number;
                        let positioned = Work::Positioned {
                            consumer,
                            partition: partition.clone(),
                            offset: at,
                        };
                        recorder.work(node, positioned);
                        positions.insert(partition, at);
                    }
                    Err(_) => io.sleep(Duration::from_millis(200)).await,
                }
                continue;
            };
            let wait = Duration::from_millis(random.pick(&[0, 20, 200]));
            let Ok(page) = raw.fetch(partition, position, wait).await else {
                io.sleep(random.micros(10_000..=200_000)).await;
                continue;
            };
            for fetched in page.records {
                recorder.work(
                    node,
                    Work::Read {
                        consumer: plan.number,
                        partition: partition.clone(),
                        offset: fetched.offset,
                        contents: fetched.contents,
                    },
                );
            }
            if let Some(how) = page.damage {
                let partition = Some(partition.clone());
                recorder.work(node, Work::DamageTold { partition, how });
                io.sleep(Duration::from_millis(200)).await;
            }
            positions.insert(partition.clone(), page.next_offset);
            if page.next_offset > position && random.chance(1, 3) {
                commits += 1;
                let commit = (u64::from(plan.number) << 32) | commits;
                send_commit(
                    &admin,
                    &recorder,
                    node,
                    &plan,
                    commit,
                    partition,
                    page.next_offset,
                )
                .await;
            }
        }
    }
}

async fn send_commit(
    admin: &Admin<SimIo>,
    recorder: &Recorder,
    node: crate::event::NodeId,
    plan: &ConsumerPlan,
    commit: u64,
    partition: &TopicPartition,
    offset: i64,
) {
    let group = Arc::clone(&plan.group);
    recorder.work(
        node,
        Work::CommitSent {
            group,
            consumer: plan.number,
            commit,
            partition: partition.clone(),
            offset,
        },
    );
    let wanted = client_partition(partition);
    let offsets = BTreeMap::from([(wanted.clone(), OffsetAndMetadata::new(offset))]);
    let error = match admin.alter_group_offsets(&*plan.group, &offsets).await {
        Ok(answers) => match answers.get(&wanted) {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("no answer for the partition".to_owned()),
        },
        Err(error) => Some(error.to_string()),
    };
    recorder.work(
        node,
        match error {
            None => Work::CommitAcknowledged { commit },
            Some(error) => Work::CommitFailed { commit, error },
        },
    );
}

fn client_partition(partition: &TopicPartition) -> ClientPartition {
    ClientPartition::new(&*partition.topic, partition.partition)
}
