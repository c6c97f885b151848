//! Reads a topic as a member of a group, from its beginning, until nothing comes for five seconds:
//! `cargo run -p ottla-client --example consume -- 127.0.0.1:9092 TOPIC GROUP`.

use std::{error::Error, time::Duration};

use ottla_client::consumer::{AutoOffsetReset, Consumer, ConsumerConfig};
use ottla_io::real;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    let group = args.next().unwrap_or_else(|| "example".to_owned());
    real::run(|io| async move {
        let config = ConsumerConfig {
            group_id: Some(group.into()),
            auto_offset_reset: AutoOffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(io, [bootstrap], config)?;
        consumer.subscribe([topic.as_str()])?;
        let mut count = 0;
        loop {
            let records = consumer.poll(Duration::from_secs(5)).await?;
            let Some(last) = records.last() else { break };
            count += records.len();
            eprintln!(
                "{count} records, the last one at {}-{}",
                last.partition, last.offset
            );
        }
        consumer.close().await?;
        Ok::<(), Box<dyn Error>>(())
    })?
}
