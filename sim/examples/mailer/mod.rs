//! A shop that takes orders and a mailer that confirms each by mail, for the two examples: one mailer
//! commits before it has sent, the other after.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ottla_client::{
    ClientConfig,
    consumer::{AutoOffsetReset, Consumer, ConsumerConfig},
    producer::{Producer, Record},
};
use ottla_io::Clock;
use ottla_sim::app::{FaultKind, Outcome, Place, SimIo, Simulation};

/// What the outside world has seen: it forgets nothing when a process dies.
#[derive(Clone, Default)]
pub(crate) struct Book {
    /// Orders that the shop has confirmed to its customers.
    taken: Arc<Mutex<BTreeSet<u64>>>,
    /// Orders whose mail was sent.
    mailed: Arc<Mutex<BTreeSet<u64>>>,
}

/// When the mailer commits.
#[expect(dead_code, reason = "each of the two examples uses one")]
#[derive(Clone, Copy)]
pub(crate) enum Commit {
    /// Once it has the records.
    BeforeSending,
    /// Once their mails are sent.
    AfterSending,
}

pub(crate) fn simulation(seed: u64, commit: Commit) -> Outcome {
    let book = Book::default();
    let (shop, mailer) = (book.clone(), book.clone());
    Simulation::new()
        .topic("orders", 2)
        .process("shop", move |at| take_orders(at, shop.clone()))
        .process("mailer", move |at| send_mails(at, mailer.clone(), commit))
        .chaos(
            &[FaultKind::Kill, FaultKind::PowerLoss, FaultKind::Cut],
            Duration::from_secs(2),
        )
        .run(seed, move || {
            let (taken, mailed) = (lock(&book.taken), lock(&book.mailed));
            let without: Vec<&u64> = taken.difference(&mailed).collect();
            match without.as_slice() {
                [] => Ok(()),
                [first, ..] => Err(format!(
                    "{} of {} orders were never confirmed by mail, the first is {first}",
                    without.len(),
                    taken.len()
                )),
            }
        })
}

/// The shop: an order is taken once the broker has acknowledged it.
async fn take_orders(at: Place, book: Book) {
    let producer = Producer::builder(at.io.clone(), [&at.bootstrap])
        .client(client("shop"))
        .build();
    let Ok(producer) = producer else { return };
    while !at.is_settling() {
        let order = at.io.now().monotonic.0;
        let sent = producer
            .send(Record::to("orders").value(order.to_be_bytes().to_vec()))
            .await;
        if sent.is_ok() {
            lock(&book.taken).insert(order);
        }
        at.io.sleep(Duration::from_millis(20)).await;
    }
    producer.close().await;
}

/// The mailer: reads orders as a group of one and sends a mail for each.
async fn send_mails(at: Place, book: Book, commit: Commit) {
    let config = ConsumerConfig {
        client: client("mailer"),
        group_id: Some("mailers".into()),
        auto_commit: false,
        auto_offset_reset: AutoOffsetReset::Earliest,
        session_timeout: Duration::from_secs(3),
        heartbeat_interval: Duration::from_secs(1),
        // Who waits to join when the broker loses its power hears of it after this only.
        max_poll_interval: Duration::from_secs(5),
        ..ConsumerConfig::default()
    };
    let Ok(mut consumer) = Consumer::new(at.io.clone(), [&at.bootstrap], config) else {
        return;
    };
    if consumer.subscribe(["orders"]).is_err() {
        return;
    }
    while !at.is_over() {
        let Ok(records) = consumer.poll(Duration::from_millis(200)).await else {
            at.io.sleep(Duration::from_millis(200)).await;
            continue;
        };
        if matches!(commit, Commit::BeforeSending) && consumer.commit().await.is_err() {
            continue;
        }
        for record in &records {
            let Some(order) = record.value.as_deref().and_then(|v| v.try_into().ok()) else {
                continue;
            };
            send_mail(&at.io, &book, u64::from_be_bytes(order)).await;
        }
        if matches!(commit, Commit::AfterSending) {
            // What cannot be committed is mailed again: twice is better than never.
            let _ = consumer.commit().await;
        }
    }
    let _ = consumer.close().await;
}

/// It takes a while, in which anything may happen.
async fn send_mail(io: &SimIo, book: &Book, order: u64) {
    io.sleep(Duration::from_millis(5)).await;
    lock(&book.mailed).insert(order);
}

fn client(id: &str) -> ClientConfig {
    ClientConfig {
        client_id: id.to_owned(),
        request_timeout: Duration::from_secs(4),
        connect_timeout: Duration::from_secs(3),
        ..ClientConfig::default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
