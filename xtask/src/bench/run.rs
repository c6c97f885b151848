//! Runs one row: every broker in turn, each time from nothing.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{
    clients::{Against, Librdkafka, TOPIC, end_to_end},
    contenders::{Contender, klite},
    report::{Column, Measured, Sample},
    rows::{Load, Reading, Row, Work, scaled},
    usage::{Usage, peak_mib, resident_mib},
};
use crate::{
    broker::Broker,
    interop::Place,
    process::{Failure, cargo, run},
};

/// How long a broker that has started is left alone before its memory is looked at.
const SETTLES_SECONDS: &str = "5";

/// What a run needs.
#[derive(Debug)]
pub(super) struct Bench {
    place: Place,
    librdkafka: Librdkafka,
    contenders: Vec<Contender>,
    scale: f64,
}

impl Bench {
    /// Installs and builds everything.
    pub(super) fn prepare(contenders: &[Contender], scale: f64) -> Result<Self, Failure> {
        if contenders.contains(&Contender::Klite) {
            klite()?;
        }
        let place = Place::new()?;
        place.install(&["java"])?;
        let librdkafka = Librdkafka::install()?;
        run(cargo().args(["build", "--release", "--package", "ottla"]))?;
        Ok(Self {
            place,
            librdkafka,
            contenders: contenders.to_vec(),
            scale,
        })
    }

    /// Runs a row on all, so many times.
    pub(super) fn measure(&self, row: &'static Row, pairs: usize) -> Result<Measured, Failure> {
        let mut columns: Vec<_> = self.contenders.iter().map(|c| Column::new(*c)).collect();
        if let Work::Read(_, Reading::Cold) = row.work
            && let Err(error) = drop_page_cache()
        {
            return Ok(Measured::skipped(
                row,
                format!("the page cache stays: {error}"),
            ));
        }
        for pair in 0..pairs {
            let mut turn: Vec<_> = columns.iter_mut().collect();
            if pair % 2 == 1 {
                turn.reverse();
            }
            for column in turn {
                column.samples.push(self.sample(row, column.contender)?);
            }
        }
        let alone = match &row.work {
            Work::Produce(load) => Some(self.client_alone(load)?),
            _ => None,
        };
        Ok(Measured::new(row, columns, alone, row.moved(self.scale)))
    }

    /// The client against the broker in its own process. That one has few partitions, which is as fast.
    fn client_alone(&self, load: &Load) -> Result<f64, Failure> {
        let records = scaled(load.records, self.scale);
        self.librdkafka.produce(Against::Mock, load, records)
    }

    fn sample(&self, row: &Row, contender: Contender) -> Result<Sample, Failure> {
        let partitions = row.partitions();
        let broker = contender.start(&self.place, partitions)?;
        match &row.work {
            Work::Start => Ok(Sample::of(broker.started_in().as_secs_f64() * 1e3, &broker)),
            Work::Idle => {
                run(Command::new("sleep").arg(SETTLES_SECONDS))?;
                Ok(Sample::of(resident_mib(broker.pid()), &broker))
            }
            Work::EndToEnd { bytes, records } => {
                self.make_topic(contender, &broker, partitions)?;
                let records = scaled(*records, self.scale);
                let took = end_to_end(&self.place, &broker.address, *bytes, records)?;
                let mut sample = Sample::of(took.mean, &broker);
                sample.also = vec![("p50", took.p50), ("p99", took.p99), ("p99.9", took.p999)];
                Ok(sample)
            }
            Work::Produce(load) => {
                self.make_topic(contender, &broker, partitions)?;
                self.write(load, &broker, scaled(load.records / 10, self.scale))?;
                let records = scaled(load.records, self.scale);
                watched(&broker, |broker| self.write(load, broker, records))
            }
            Work::Read(load, reading) => {
                self.make_topic(contender, &broker, partitions)?;
                let records = scaled(load.records, self.scale);
                self.write(load, &broker, records)?;
                let broker = match reading {
                    Reading::Cold => {
                        let broker = broker.start_again(&self.place)?;
                        drop_page_cache().map_err(|e| Failure::Start("drop_caches".into(), e))?;
                        broker
                    }
                    Reading::Warm | Reading::Group => broker,
                };
                watched(&broker, |broker| match reading {
                    Reading::Warm | Reading::Cold => self.librdkafka.read(&broker.address, records),
                    Reading::Group => self.librdkafka.read_as_group(&broker.address, records),
                })
            }
        }
    }

    fn write(&self, load: &Load, broker: &Broker, records: u64) -> Result<f64, Failure> {
        let against = Against::Broker(&broker.address);
        self.librdkafka.produce(against, load, records)
    }

    fn make_topic(
        &self,
        contender: Contender,
        broker: &Broker,
        partitions: u32,
    ) -> Result<(), Failure> {
        if contender.makes_topics_itself() {
            return Ok(());
        }
        run(Command::new(self.place.kafka())
            .args(["topics", "--bootstrap-server", &broker.address, "--create"])
            .args(["--topic", TOPIC, "--partitions", &partitions.to_string()])
            .stdout(Stdio::null()))
    }
}

/// Does something with a broker, and takes down what it used meanwhile.
fn watched(
    broker: &Broker,
    work: impl FnOnce(&Broker) -> Result<f64, Failure>,
) -> Result<Sample, Failure> {
    let before = Usage::of(broker.pid());
    let figure = work(broker)?;
    let mut sample = Sample::of(figure, broker);
    sample.used = Usage::of(broker.pid()).since(before);
    Ok(sample)
}

/// Takes everything out of the page cache, as root alone may.
fn drop_page_cache() -> std::io::Result<()> {
    run(&mut Command::new("sync")).map_err(|failure| std::io::Error::other(failure.to_string()))?;
    fs::write("/proc/sys/vm/drop_caches", "3")
}

impl Sample {
    /// A figure, and what the broker used in all.
    fn of(figure: f64, broker: &Broker) -> Self {
        Self {
            figure,
            also: Vec::new(),
            used: Usage::of(broker.pid()),
            peak_mib: peak_mib(broker.pid()),
        }
    }
}
