//! Sends a few records: `cargo run -p ottla-client --example produce -- 127.0.0.1:9092 TOPIC [N]`.

use std::error::Error;

use ottla_client::producer::{Producer, Record};
use ottla_io::real;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    let count: u64 = args.next().map_or(Ok(10), |n| n.parse())?;
    real::run(|io| async move {
        let producer = Producer::builder(io, [bootstrap]).build()?;
        // Queued one after the other: the order is theirs. What became of each is asked later.
        let mut deliveries = Vec::new();
        for n in 0..count {
            let record = Record::to(topic.as_str())
                .key(format!("key-{}", n % 3))
                .value(n.to_string());
            deliveries.push(producer.queue(record.header("source", "example")).await?);
        }
        let mut last = None;
        for delivery in deliveries {
            last = Some(delivery.await?);
        }
        eprintln!("{count} records acknowledged, the last one as {last:?}");
        producer.close().await;
        Ok::<(), Box<dyn Error>>(())
    })?
}
