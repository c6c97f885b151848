//! The rows of the table: what is done, how much of it, and what is wanted.

/// One row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// How it is chosen with `--rows`.
    pub(super) id: &'static str,
    /// What it says in the table.
    pub(super) name: &'static str,
    pub(super) work: Work,
    /// What is wanted of Ottla.
    pub(super) target: &'static str,
}

/// What a broker is made to do.
#[derive(Debug, PartialEq)]
pub(super) enum Work {
    /// librdkafka writes as fast as it can.
    Produce(Load),
    /// The same is written first, and read as fast as librdkafka can; that counts.
    Read(Load, Reading),
    /// Kafka's latency tool: one record at a time, acks=all, to its consumer.
    EndToEnd { bytes: u32, records: u64 },
    /// From nothing to the first answer, on an empty directory.
    Start,
    /// Memory some seconds after that.
    Idle,
}

/// Records to be written.
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    pub(super) partitions: u32,
    pub(super) bytes: u32,
    pub(super) records: u64,
    /// As librdkafka takes it: -1 is all.
    pub(super) acks: &'static str,
}

/// How they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Partition 0, out of the page cache.
    Warm,
    /// Partition 0, by a broker that was started anew, with nothing of it in the page cache.
    Cold,
    /// All partitions, by the one member of a group.
    Group,
}

/// What a row's figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    RecordsASecond,
    Milliseconds,
    Mebibytes,
}

impl Unit {
    /// As it stands in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RecordsASecond => "records/s",
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
        }
    }

    /// How many times better than `other` a figure is.
    pub(super) fn times_better(self, own: f64, other: f64) -> f64 {
        match self {
            Self::RecordsASecond => own / other,
            Self::Milliseconds | Self::Mebibytes => other / own,
        }
    }
}

impl Row {
    pub(super) fn unit(&self) -> Unit {
        match self.work {
            Work::Produce(_) | Work::Read(..) => Unit::RecordsASecond,
            Work::EndToEnd { .. } | Work::Start => Unit::Milliseconds,
            Work::Idle => Unit::Mebibytes,
        }
    }

    /// How many partitions its topic has.
    pub(super) fn partitions(&self) -> u32 {
        match &self.work {
            Work::Produce(load) | Work::Read(load, _) => load.partitions,
            Work::EndToEnd { .. } | Work::Start | Work::Idle => 1,
        }
    }

    /// Bytes of records that go to or from the broker while it is watched; none where that says
    /// nothing.
    pub(super) fn moved(&self, scale: f64) -> Option<f64> {
        match &self.work {
            Work::Produce(load) | Work::Read(load, _) => {
                Some(scaled(load.records, scale) as f64 * f64::from(load.bytes))
            }
            _ => None,
        }
    }
}

/// So many records of a load that is `scale` times its size.
pub(super) fn scaled(records: u64, scale: f64) -> u64 {
    ((records as f64 * scale) as u64).max(1)
}

/// The row of this name.
pub(super) fn of(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == id)
}

/// Small records to one partition.
const SMALL: Load = Load {
    partitions: 1,
    bytes: 100,
    records: 8_000_000,
    acks: "1",
};

/// Records of 1 KiB to 16 partitions, acknowledged by all.
const LARGER: Load = Load {
    partitions: 16,
    bytes: 1024,
    records: 1_500_000,
    acks: "-1",
};

/// All of them, as they run.
pub(super) const ROWS: [Row; 10] = [
    Row {
        id: "produce-100",
        name: "write 100 B, acks=1, 1 partition",
        work: Work::Produce(SMALL),
        target: "90 % of the client alone; CPU 1/5 of Kafka's",
    },
    Row {
        id: "produce-1k",
        name: "write 1 KiB, acks=all, 16 partitions",
        work: Work::Produce(LARGER),
        target: "3x Kafka, 2x klite; CPU 1/5 of Kafka's",
    },
    Row {
        id: "produce-1000p",
        name: "write 100 B, acks=1, 1,000 partitions",
        work: Work::Produce(Load {
            partitions: 1000,
            records: 4_000_000,
            ..SMALL
        }),
        target: "4.5x Kafka; CPU 1/5 of Kafka's",
    },
    Row {
        id: "produce-10000p",
        name: "write 100 B, acks=1, 10,000 partitions",
        work: Work::Produce(Load {
            partitions: 10_000,
            records: 4_000_000,
            ..SMALL
        }),
        target: "at most 30 % less than with 1 partition",
    },
    Row {
        id: "read-100-warm",
        name: "read 100 B, 1 partition, from the page cache",
        work: Work::Read(SMALL, Reading::Warm),
        target: "1.5x Kafka where the client allows; CPU 1/2",
    },
    Row {
        id: "read-1k-cold",
        name: "read 1 KiB, 1 partition, from the device",
        work: Work::Read(
            Load {
                partitions: 1,
                acks: "1",
                ..LARGER
            },
            Reading::Cold,
        ),
        target: "within 20 % of the device; CPU 1/2",
    },
    Row {
        id: "read-1k-group",
        name: "a group's member reads 1 KiB from 16 partitions",
        work: Work::Read(LARGER, Reading::Group),
        target: "1.5x Kafka where the client allows; CPU 1/2",
    },
    Row {
        id: "end-to-end",
        name: "one record of 100 B at a time, acks=all, to its consumer: mean",
        work: Work::EndToEnd {
            bytes: 100,
            records: 5_000,
        },
        target: "p50 0.3 ms; p99 and p99.9 1/3 of Kafka's",
    },
    Row {
        id: "start",
        name: "start on an empty directory, to the first answer",
        work: Work::Start,
        target: "50 ms",
    },
    Row {
        id: "idle",
        name: "memory 5 s after that",
        work: Work::Idle,
        target: "10 MiB",
    },
];
