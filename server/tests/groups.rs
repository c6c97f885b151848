//! Consumers of ours in one group, against a broker on loopback: they divide the partitions, and
//! when one dies without a word the others take its part over and miss nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails with the place of what went wrong"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a member that dies without a word needs a runtime of its own"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    thread,
    time::Duration,
};

use ottla::{Broker, BrokerSettings, config::BrokerConfig};
use ottla_client::{
    IsolationLevel, OffsetSpec, TopicPartition,
    admin::{Admin, NewTopic},
    consumer::{Assignor, AutoOffsetReset, Consumer, ConsumerConfig},
    producer::{Producer, Record},
};
use ottla_io::{
    Clock,
    real::{self, RealIo},
};
use tokio::sync::oneshot;

const TOPIC: &str = "shared";
const PARTITIONS: i32 = 6;
const GROUP: &str = "readers";
const PATIENCE: Duration = Duration::from_secs(60);
/// One round of polls is no longer than this.
const ROUND: Duration = Duration::from_millis(50);

fn config(assignor: Assignor) -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some(GROUP.into()),
        assignors: vec![assignor],
        // The shortest that the broker takes.
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        auto_offset_reset: AutoOffsetReset::Earliest,
        ..ConsumerConfig::default()
    }
}

/// What a member has read, by the numbers in the records.
type Read = BTreeMap<u32, usize>;

async fn poll(consumer: &mut Consumer<RealIo>, read: &mut Read) {
    for record in consumer.poll(ROUND).await.unwrap() {
        let number = u32::from_be_bytes(record.value.unwrap()[..].try_into().unwrap());
        *read.entry(number).or_default() += 1;
    }
}

/// Polls all until `done`.
async fn poll_until(
    io: &RealIo,
    members: &mut [Consumer<RealIo>],
    read: &mut Read,
    mut done: impl FnMut(&[Consumer<RealIo>], &Read) -> bool,
) {
    let deadline = io.now().monotonic.after(PATIENCE);
    while !done(members, read) {
        assert!(io.now().monotonic < deadline, "{members:?}");
        for member in &mut *members {
            poll(member, read).await;
        }
    }
}

fn shares(members: &[Consumer<RealIo>]) -> Vec<usize> {
    members.iter().map(|m| m.assignment().len()).collect()
}

/// Puts the next hundred numbers in every partition.
async fn produce(io: &RealIo, address: &str, from: u32) -> u32 {
    let producer = Producer::builder(io.clone(), [address]).build().unwrap();
    let end = from + 100 * PARTITIONS as u32;
    for number in from..end {
        let record = Record::to(TOPIC)
            .partition(number as i32 % PARTITIONS)
            .value(number.to_be_bytes().to_vec());
        drop(producer.queue(record).await.unwrap());
    }
    producer.close().await;
    end
}

/// A member with a runtime of its own, which ends without leaving the group.
struct Mortal {
    assigned: mpsc::Receiver<usize>,
    die: oneshot::Sender<()>,
    thread: thread::JoinHandle<Read>,
}

fn mortal(address: String, assignor: Assignor) -> Mortal {
    let (tell, assigned) = mpsc::channel();
    let (die, mut dies) = oneshot::channel();
    let live = move |io: RealIo| async move {
        let mut consumer = Consumer::new(io, [&address], config(assignor)).unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let mut read = Read::new();
        while dies.try_recv().is_err() {
            poll(&mut consumer, &mut read).await;
            // Nobody listens any more once the test failed.
            let _ = tell.send(consumer.assignment().len());
        }
        // Dropped, it would say goodbye.
        std::mem::forget(consumer);
        read
    };
    let thread = thread::spawn(move || real::run(live).unwrap());
    Mortal {
        assigned,
        die,
        thread,
    }
}

async fn three_members_of_which_one_dies(io: RealIo, address: String, assignor: Assignor) {
    let admin = Admin::new(io.clone(), [&address]).unwrap();
    let topic = NewTopic::new(TOPIC, PARTITIONS, 1);
    admin.create_topic(topic).await.unwrap();
    let first_end = produce(&io, &address, 0).await;

    let mut members = Vec::new();
    for _ in 0..2 {
        let mut member = Consumer::new(io.clone(), [&address], config(assignor)).unwrap();
        member.subscribe([TOPIC]).unwrap();
        members.push(member);
    }
    let mut read = Read::new();
    poll_until(&io, &mut members, &mut read, |m, _| shares(m) == [3, 3]).await;
    let third = mortal(address.clone(), assignor);
    let mut thirds = 0;
    poll_until(&io, &mut members, &mut read, |m, _| {
        thirds = third.assigned.try_iter().last().unwrap_or(thirds);
        shares(m) == [2, 2] && thirds == 2
    })
    .await;
    let before: Vec<BTreeSet<TopicPartition>> = members.iter().map(Consumer::assignment).collect();

    third.die.send(()).unwrap();
    let thirds_read = third.thread.join().unwrap();
    let end = produce(&io, &address, first_end).await;
    poll_until(&io, &mut members, &mut read, |m, read| {
        shares(m) == [3, 3] && (first_end..end).all(|n| read.contains_key(&n))
    })
    .await;
    let missing = (0..end).find(|n| !read.contains_key(n) && !thirds_read.contains_key(n));
    assert_eq!(missing, None);
    let after: Vec<BTreeSet<TopicPartition>> = members.iter().map(Consumer::assignment).collect();
    assert!(after[0].is_disjoint(&after[1]), "{after:?}");
    if assignor == Assignor::CooperativeSticky {
        for (before, after) in before.iter().zip(&after) {
            assert!(before.is_subset(after), "{before:?} {after:?}");
        }
        // Nobody died between a poll and its commit but the third, so nobody else repeats.
        let twice = read.iter().find(|(_, times)| **times > 1);
        assert_eq!(twice, None);
    }

    for member in members {
        member.close().await.unwrap();
    }
    let described = admin.describe_group(GROUP).await.unwrap();
    assert_eq!((&*described.state, described.members.len()), ("Empty", 0));
    let committed = admin.list_group_offsets(GROUP, None).await.unwrap();
    let latest: BTreeMap<_, _> = (0..PARTITIONS)
        .map(|p| (TopicPartition::new(TOPIC, p), OffsetSpec::Latest))
        .collect();
    let ends = admin
        .list_offsets(&latest, IsolationLevel::ReadUncommitted)
        .await;
    for (partition, end) in ends {
        let committed = committed.get(&partition).map(|c| c.offset);
        assert_eq!(committed, Some(end.unwrap().offset), "{partition}");
    }
    admin.close().await;
}

fn with_broker(assignor: Assignor) {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", folder.path().display()),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    let settings = BrokerSettings::new(&BrokerConfig::single_node(&settings).unwrap());
    real::run(|io| async move {
        let running = Broker::start(io.clone(), settings).await.unwrap();
        let address = running.addresses()[0].to_string();
        three_members_of_which_one_dies(io, address, assignor).await;
        running.shutdown().await;
    })
    .unwrap();
}

#[test]
fn the_part_of_a_dead_member_is_taken_over_with_the_range_assignor() {
    with_broker(Assignor::Range);
}

#[test]
fn the_part_of_a_dead_member_is_taken_over_and_nothing_else_moves_with_cooperative_sticky() {
    with_broker(Assignor::CooperativeSticky);
}
