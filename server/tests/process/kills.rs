//! SIGKILL, or a loss of power, in the middle of load, again and again.
//!
//! Idempotent producers write numbered records to a few partitions while a member of a group reads
//! and commits. The broker goes down after a drawn number of acknowledgements (now and then while it
//! is still starting), and is started on the same data and port. In the end every acknowledged record is
//! there once, in its producer's order; every other one at most once; what the reader saw is what
//! lies there; no committed offset went back; and topics are made and deleted as acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ottla_client::{
    Backoff, ClientConfig, OffsetSpec, Str, TopicPartition,
    admin::{Admin, NewTopic},
    consumer::{AutoOffsetReset, Consumer, ConsumerConfig},
    producer::{Delivery, Producer, ProducerConfig, Record},
};
use ottla_io::{
    Clock, Spawn,
    real::{self, RealIo},
};
use tokio::sync::mpsc;

use crate::{
    broker::{Process, command, free_port},
    power_loss::Disk,
};

const TOPIC: &str = "killed";
const GROUP: &str = "readers";
const PARTITIONS: i32 = 4;
const PRODUCERS: u64 = 3;
/// Records of one producer without an answer.
const WINDOW: usize = 200;
/// Kills of an ordinary run.
const KILLS: u64 = 8;

/// A killed broker's members are to be back soon.
const OVERRIDES: &[&str] = &["group.initial.rebalance.delay.ms=0"];

/// What one producer was told of the records that it sent.
#[derive(Default)]
struct Told {
    sent: u64,
    /// Of each acknowledged record: its number, its partition and its offset (-1 if not told).
    acknowledged: Vec<(u64, i32, i64)>,
}

/// What the reader saw and committed.
#[derive(Default)]
struct Read {
    seen: BTreeMap<(i32, i64), Bytes>,
    committed: BTreeMap<i32, i64>,
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number_from(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn client(id: String) -> ClientConfig {
    let quick = Backoff {
        initial: Duration::from_millis(10),
        max: Duration::from_millis(100),
    };
    ClientConfig {
        client_id: id,
        retry_backoff: quick,
        reconnect_backoff: quick,
        ..ClientConfig::default()
    }
}

/// Sends numbered records until told to stop; each acknowledgement is counted on `acknowledged`.
async fn produce(
    io: RealIo,
    address: String,
    name: u64,
    stop: Arc<AtomicBool>,
    acknowledged: mpsc::UnboundedSender<()>,
) -> Told {
    let config = ProducerConfig {
        client: client(format!("producer-{name}")),
        linger: Duration::from_millis(1),
        batch_size: 2 << 10,
        ..ProducerConfig::default()
    };
    let producer = Producer::builder(io, [address])
        .config(config)
        .build()
        .unwrap();
    let mut told = Told::default();
    let mut window: VecDeque<(u64, Delivery)> = VecDeque::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if !stopping && window.len() < WINDOW {
            let number = told.sent;
            let partition = i32::try_from(number % PARTITIONS.unsigned_abs() as u64).unwrap();
            let record = Record::to(TOPIC)
                .partition(partition)
                .value(format!("{name}/{number}"));
            match producer.queue(record).await {
                Ok(delivery) => {
                    window.push_back((number, delivery));
                    told.sent += 1;
                    continue;
                }
                Err(error) => assert!(!error.may_be_written, "{error}"),
            }
        }
        let Some((number, delivery)) = window.pop_front() else {
            if stopping {
                break;
            }
            continue;
        };
        // A record that is not acknowledged may be there once or not at all.
        if let Ok(at) = delivery.await {
            told.acknowledged
                .push((number, at.partition.partition, at.offset));
            let _ = acknowledged.send(());
        }
    }
    producer.close().await;
    told
}

/// Reads and commits as the member of a group until told to stop; each commit is counted on `commits`.
async fn consume(
    io: RealIo,
    address: String,
    stop: Arc<AtomicBool>,
    read: Arc<Mutex<Read>>,
    commits: mpsc::UnboundedSender<()>,
) {
    let config = ConsumerConfig {
        client: client("reader".to_owned()),
        group_id: Some(GROUP.into()),
        auto_commit: false,
        auto_offset_reset: AutoOffsetReset::Earliest,
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(300),
        fetch_max_wait: Duration::from_millis(50),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(io, [address], config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // What fails while the broker is down is tried again.
        let Ok(records) = consumer.poll(Duration::from_millis(50)).await else {
            continue;
        };
        let mut next = BTreeMap::new();
        for record in records {
            let value = record.value.unwrap();
            let place = (record.partition, record.offset);
            next.insert(record.partition, record.offset + 1);
            if let Some(before) = read.lock().unwrap().seen.insert(place, value.clone()) {
                assert_eq!(before, value, "the record at {place:?} has changed");
            }
        }
        if !next.is_empty() && consumer.commit().await.is_ok() {
            let committed = &mut read.lock().unwrap().committed;
            for (partition, offset) in next {
                let most = committed.entry(partition).or_default();
                *most = offset.max(*most);
            }
            let _ = commits.send(());
        }
    }
    let _ = consumer.close().await;
}

/// No committed offset is behind one that was acknowledged, or seen here before.
async fn commits_are_kept(
    admin: &Admin<RealIo>,
    read: &Mutex<Read>,
    seen: &mut BTreeMap<i32, i64>,
) {
    for (partition, offset) in read.lock().unwrap().committed.clone() {
        let most = seen.entry(partition).or_default();
        *most = offset.max(*most);
    }
    let now = admin.list_group_offsets(GROUP, None).await.unwrap();
    for (partition, least) in seen {
        let name = TopicPartition::new(TOPIC, *partition);
        let offset = now.get(&name).map_or(-1, |committed| committed.offset);
        assert!(
            offset >= *least,
            "the commit for {name} went back from {least} to {offset}"
        );
        *least = offset;
    }
}

/// All records of the topic, by partition, in order; the offsets have no gap.
async fn all_records(io: &RealIo, address: &str) -> BTreeMap<i32, Vec<Bytes>> {
    let config = ConsumerConfig {
        auto_commit: false,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(io.clone(), [address], config).unwrap();
    let mut all = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let name = TopicPartition::new(TOPIC, partition);
        let spec = BTreeMap::from([(name.clone(), OffsetSpec::Latest)]);
        let ends = consumer.list_offsets(&spec).await;
        let end = ends[&name].as_ref().unwrap().offset;
        consumer.assign([name.clone()]);
        consumer.seek(&name, 0).unwrap();
        let mut records: Vec<Bytes> = Vec::new();
        while i64::try_from(records.len()).unwrap() < end {
            for record in consumer.poll(Duration::from_secs(5)).await.unwrap() {
                assert_eq!(
                    record.offset,
                    i64::try_from(records.len()).unwrap(),
                    "{name} has a gap"
                );
                records.push(record.value.unwrap());
            }
        }
        all.insert(partition, records);
    }
    consumer.close().await.unwrap();
    all
}

/// Compares what lies in the log with what was promised.
fn check(all: &BTreeMap<i32, Vec<Bytes>>, told: &[Told], read: &Read) {
    // Where each record lies; strictly rising numbers are both the order and the uniqueness.
    let mut places: BTreeMap<(u64, u64), (i32, i64)> = BTreeMap::new();
    for (partition, records) in all {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, value) in (0..).zip(records) {
            let text = std::str::from_utf8(value).unwrap();
            let (producer, number) = text.split_once('/').unwrap();
            let (producer, number) = (producer.parse().unwrap(), number.parse().unwrap());
            let before = last.insert(producer, number);
            assert!(
                before.is_none_or(|before| before < number),
                "{TOPIC}-{partition} at {offset}: producer {producer}'s record {number} is behind {before:?}"
            );
            places.insert((producer, number), (*partition, offset));
        }
    }
    for (producer, told) in (0..).zip(told) {
        for (number, partition, offset) in &told.acknowledged {
            let (at_partition, at_offset) = places.get(&(producer, *number)).unwrap_or_else(|| {
                panic!("producer {producer}'s acknowledged record {number} ({TOPIC}-{partition} at {offset}) is lost")
            });
            assert_eq!(partition, at_partition);
            assert!(
                *offset == -1 || offset == at_offset,
                "told {offset}, lies at {at_offset}"
            );
        }
    }
    for ((partition, offset), value) in &read.seen {
        let there = all[partition].get(usize::try_from(*offset).unwrap());
        assert_eq!(
            there,
            Some(value),
            "what was read of {TOPIC}-{partition} at {offset} is not there"
        );
    }
}

/// Makes a topic and deletes the one that was made before it: what is acknowledged stays so.
async fn change_topics(admin: &Admin<RealIo>, kill: u64, topics: &mut BTreeSet<Str>) {
    if let Some(before) = topics
        .iter()
        .find(|name| name.starts_with("made-"))
        .cloned()
    {
        admin.delete_topic(before.clone()).await.unwrap();
        topics.remove(&before);
    }
    let name = Str::from(format!("made-{kill}").as_str());
    admin
        .create_topic(NewTopic::new(name.clone(), 2, 1))
        .await
        .unwrap();
    topics.insert(name);
}

/// Where the broker runs, and how it goes down.
pub(crate) enum Ground {
    /// On a disk that stays: the kernel keeps what was written.
    Kept,
    /// On a disk that loses its power with it.
    Powered(Disk),
}

impl Ground {
    fn command(&self, data: &Path, port: u16) -> Command {
        match self {
            Self::Kept => command(data, port, OVERRIDES),
            Self::Powered(disk) => disk.command(data, port, OVERRIDES),
        }
    }

    fn start(&self, data: &Path, port: u16) -> Process {
        Process::of(self.command(data, port).spawn().unwrap(), data, port)
    }

    fn strike(&self, broker: Process) {
        if let Self::Powered(disk) = self {
            broker.freeze();
            disk.lose_power();
        }
        broker.kill();
        if let Self::Powered(disk) = self {
            disk.come_back();
        }
    }
}

/// Kills while the producers and the reader are at work; gives the last broker.
async fn kill_again_and_again(
    io: &RealIo,
    ground: &Ground,
    mut broker: Process,
    kills: u64,
    draw: &mut Draw,
    acknowledged: &mut mpsc::UnboundedReceiver<()>,
    read: &Mutex<Read>,
) -> Process {
    let (data, port) = (broker.data.clone(), broker.port);
    let admin = Admin::new(io.clone(), [broker.address()]).unwrap();
    let mut commits = BTreeMap::new();
    let mut topics: BTreeSet<Str> = BTreeSet::from([TOPIC.into(), "__consumer_offsets".into()]);
    for kill in 0..kills {
        // Often soon, sometimes late, and sometimes at once.
        let bound = [1, 50, 500, 3_000][usize::try_from(draw.below(4)).unwrap()];
        for _ in 0..draw.below(bound) {
            acknowledged.recv().await.unwrap();
        }
        if draw.below(2) == 0 {
            change_topics(&admin, kill, &mut topics).await;
        }

        ground.strike(broker);
        if draw.below(4) == 0 {
            // In the middle of recovery, too. This is a point in time to fail at, not one to wait for.
            let starting = ground.command(&data, port).spawn().unwrap();
            io.sleep(Duration::from_micros(draw.below(150_000))).await;

            ground.strike(Process::unready(starting, &data, port));
        }
        broker = ground.start(&data, port);
        // Acknowledgements from before the kill say nothing about the load on this broker.
        while acknowledged.try_recv().is_ok() {}
        if kill % 4 == 3 {
            commits_are_kept(&admin, read, &mut commits).await;
        }
    }
    commits_are_kept(&admin, read, &mut commits).await;
    let there = admin.list_topics().await.unwrap();
    let there: BTreeSet<Str> = there.into_iter().map(|topic| topic.name).collect();
    assert_eq!(
        there, topics,
        "the topics are not those that were acknowledged"
    );
    admin.close().await;
    broker
}

#[test]
fn kills_under_load_lose_and_duplicate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    strike_under_load(Ground::Kept, &folder.path().join("data"));
}

/// As often as wanted, with what is promised checked in the end.
pub(crate) fn strike_under_load(ground: Ground, data: &Path) {
    let kills = number_from("OTTLA_KILLS").unwrap_or(KILLS);
    let seed = number_from("OTTLA_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    });
    // Shown when the test fails.
    println!("OTTLA_SEED={seed} OTTLA_KILLS={kills}");
    let broker = ground.start(data, free_port());
    let within = Duration::from_secs(60 + 2 * kills);
    real::run(|io| async move {
        let run = run(io.clone(), ground, broker, kills, Draw(seed));
        io.timeout(within, run).await.expect("the run ends in time");
    })
    .unwrap();
}

async fn run(io: RealIo, ground: Ground, broker: Process, kills: u64, mut draw: Draw) {
    let address = broker.address();
    let admin = Admin::new(io.clone(), [&address]).unwrap();
    admin
        .create_topic(NewTopic::new(TOPIC, PARTITIONS, 1))
        .await
        .unwrap();
    admin.close().await;

    let (counted, mut acknowledged) = mpsc::unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let reader_stop = Arc::new(AtomicBool::new(false));
    let read = Arc::new(Mutex::new(Read::default()));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|name| {
            let work = produce(
                io.clone(),
                address.clone(),
                name,
                Arc::clone(&stop),
                counted.clone(),
            );
            io.spawn("producer", work)
        })
        .collect();
    drop(counted);
    let (committed, mut commits) = mpsc::unbounded_channel();
    let (stopped, shared) = (Arc::clone(&reader_stop), Arc::clone(&read));
    let reading = consume(io.clone(), address.clone(), stopped, shared, committed);
    let reading = io.spawn("reader", reading);
    commits.recv().await.unwrap();

    let broker = kill_again_and_again(
        &io,
        &ground,
        broker,
        kills,
        &mut draw,
        &mut acknowledged,
        &read,
    )
    .await;
    // A last stretch that nobody disturbs.
    for _ in 0..500 {
        acknowledged.recv().await.unwrap();
    }
    // The reader has found its group again, too.
    while commits.try_recv().is_ok() {}
    commits.recv().await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for producer in producers {
        told.push(producer.await.unwrap());
    }
    reader_stop.store(true, Ordering::Relaxed);
    reading.await.unwrap();

    let sent: u64 = told.iter().map(|told| told.sent).sum();
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let all = all_records(&io, &address).await;
    let read = read.lock().unwrap();
    println!(
        "{sent} sent, {acknowledged} acknowledged, {} read and seen again",
        read.seen.len()
    );
    check(&all, &told, &read);
    assert!(!read.committed.is_empty());
    drop(read);
    assert!(broker.terminate().success());
}
