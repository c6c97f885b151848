//! The client's consumer and producer against a broker on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails with the place of what went wrong"
)]

use std::{collections::BTreeSet, future::Future, io::ErrorKind, time::Duration};

use ottla::{Broker, BrokerSettings, config::BrokerConfig};
use ottla_client::{
    ClientConfig, TopicPartition,
    admin::{Admin, NewTopic},
    consumer::{Assignor, AutoOffsetReset, Consumer, ConsumerConfig},
    producer::{Producer, Record},
};
use ottla_io::{
    Clock, Io, Listener, Net, Spawn,
    real::{self, RealIo},
};
use tokio::io::AsyncReadExt;

const PATIENCE: Duration = Duration::from_secs(60);

fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(RealIo, String) -> F) {
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
        test(io, address).await;
        running.shutdown().await;
    })
    .unwrap();
}

fn consumer(io: &RealIo, address: &str) -> Consumer<RealIo> {
    let mut config = ConsumerConfig {
        group_id: Some("g".into()),
        assignors: vec![Assignor::CooperativeSticky],
        auto_offset_reset: AutoOffsetReset::Earliest,
        ..ConsumerConfig::default()
    };
    config.client.metadata_max_age = Duration::from_millis(100);
    Consumer::new(io.clone(), [address], config).unwrap()
}

async fn create(io: &RealIo, address: &str, topic: NewTopic) {
    let admin = Admin::new(io.clone(), [address]).unwrap();
    admin.create_topic(topic).await.unwrap();
    admin.close().await;
}

async fn produce(io: &RealIo, address: &str, topic: &str) {
    let producer = Producer::builder(io.clone(), [address]).build().unwrap();
    let mut record = Record::to(topic);
    record.value = Some("x".into());
    producer.queue(record).await.unwrap().await.unwrap();
    producer.close().await;
}

/// The topic of the next record.
async fn next(io: &RealIo, consumer: &mut Consumer<RealIo>) -> String {
    let deadline = io.now().monotonic.after(PATIENCE);
    while io.now().monotonic < deadline {
        let records = consumer.poll(Duration::from_millis(100)).await.unwrap();
        if let Some(record) = records.first() {
            return record.topic.to_string();
        }
    }
    panic!("no record comes");
}

#[test]
fn a_connection_without_an_answer_in_time_is_reset_so_that_nothing_of_it_comes_late() {
    real::run(|io| async move {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = io.net().listen(any).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = ClientConfig {
            connect_timeout: Duration::from_millis(50),
            ..ClientConfig::default()
        };
        let producer = Producer::builder(io.clone(), [&address]).client(client);
        let producer = producer.build().unwrap();
        let sending = io.spawn("send", async move {
            let _ = producer.queue(Record::to("t").value("x")).await;
        });
        let (mut silent, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let end = io.timeout(PATIENCE, silent.read_to_end(&mut request)).await;
        let end = end.expect("the connection ends").unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        assert!(!request.is_empty(), "the client had asked for versions");
        sending.abort();
    })
    .unwrap();
}

#[test]
fn closing_a_consumer_that_was_assigned_a_partition_commits_for_its_group() {
    with_broker(|io, address| async move {
        create(&io, &address, NewTopic::new("t", 1, 1)).await;
        produce(&io, &address, "t").await;
        let partition = TopicPartition::new("t", 0);
        let mut reader = consumer(&io, &address);
        reader.assign([partition.clone()]);
        next(&io, &mut reader).await;
        reader.close().await.unwrap();
        let other = consumer(&io, &address);
        let committed = other
            .committed(std::slice::from_ref(&partition))
            .await
            .unwrap();
        assert_eq!(committed[&partition].offset, 1);
        other.close().await.unwrap();
    });
}

#[test]
fn a_cooperative_member_that_subscribes_again_after_it_unsubscribed_reads_on() {
    with_broker(|io, address| async move {
        create(&io, &address, NewTopic::new("t", 1, 1)).await;
        produce(&io, &address, "t").await;
        let mut reader = consumer(&io, &address);
        reader.subscribe(["t"]).unwrap();
        next(&io, &mut reader).await;
        reader.unsubscribe();
        reader.subscribe(["t"]).unwrap();
        produce(&io, &address, "t").await;
        next(&io, &mut reader).await;
        reader.close().await.unwrap();
    });
}

#[test]
fn topics_that_fit_are_read_also_if_they_are_made_later() {
    with_broker(|io, address| async move {
        for topic in ["a1", "b1"] {
            create(&io, &address, NewTopic::new(topic, 1, 1)).await;
            produce(&io, &address, topic).await;
        }
        let mut reader = consumer(&io, &address);
        reader
            .subscribe_matching(|topic| topic.starts_with('a'))
            .unwrap();
        assert_eq!(next(&io, &mut reader).await, "a1");
        create(&io, &address, NewTopic::new("a2", 1, 1)).await;
        produce(&io, &address, "a2").await;
        assert_eq!(next(&io, &mut reader).await, "a2");
        let topics: BTreeSet<_> = reader.assignment().into_iter().map(|p| p.topic).collect();
        assert_eq!(topics, ["a1".into(), "a2".into()].into());
        reader.close().await.unwrap();
    });
}

#[test]
fn a_batch_that_is_too_large_for_its_topic_is_split_and_keeps_its_order() {
    with_broker(|io, address| async move {
        let small = NewTopic::new("t", 1, 1).config("max.message.bytes", "300");
        create(&io, &address, small).await;
        let producer = Producer::builder(io.clone(), [&address])
            .linger(Duration::from_millis(50))
            .build()
            .unwrap();
        let mut deliveries = Vec::new();
        for _ in 0..100 {
            let mut record = Record::to("t");
            record.value = Some(vec![b'x'; 50].into());
            deliveries.push(producer.queue(record).await.unwrap());
        }
        producer.flush().await;
        for (delivery, offset) in deliveries.into_iter().zip(0..) {
            assert_eq!(delivery.await.unwrap().offset, offset);
        }
        producer.close().await;
    });
}
