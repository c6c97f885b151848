//! The fixture: a disk with a page cache, and a partition driven on it as the storage drives it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::ToString,
    vec,
};

use ottla_wire::records::{BatchBuilder, batches_in};
use proptest::prelude::*;

use super::super::*;
use crate::log::{
    FileName, Listed, LogConfig, Recovery, RecoveryInput, Request, Step, TruncationStep,
};

const NODE: i32 = 1;

#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    cached: Vec<u8>,
    durable: Option<Vec<u8>>,
    /// After a failed sync: bytes that no later sync makes durable, unless they are written again.
    poisoned: Option<(usize, usize)>,
}

/// Files with a page cache.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<FileName, Contents>,
}

impl Disk {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Create(name) => {
                self.files.insert(name, Contents::default());
            }
            Effect::Write { file, at, pieces } => {
                let bytes = pieces.concat();
                let contents = self.files.entry(file).or_default();
                let (from, to) = (at as usize, at as usize + bytes.len());
                contents.cached.resize(contents.cached.len().max(to), 0);
                contents.cached[from..to].copy_from_slice(&bytes);
                contents.poisoned = match contents.poisoned {
                    Some((start, end)) if from <= start => {
                        (to < end).then_some((to.max(start), end))
                    }
                    other => other,
                };
            }
            Effect::Sync(name) => self.sync(name),
            Effect::SyncDir => {}
            Effect::Truncate { file, len } | Effect::Recut { file, len } => {
                if let Some(contents) = self.files.get_mut(&file) {
                    let len = len as usize;
                    contents.cached.truncate(len);
                    contents.poisoned = contents
                        .poisoned
                        .filter(|(start, _)| *start < len)
                        .map(|(start, end)| (start, end.min(len)));
                }
            }
            Effect::Replace { file, contents } => {
                let bytes = contents.to_vec();
                let contents = Contents {
                    durable: Some(bytes.clone()),
                    cached: bytes,
                    poisoned: None,
                };
                self.files.insert(file, contents);
            }
            Effect::Delete(names) => {
                for name in names {
                    self.files.remove(&name);
                }
            }
            Effect::Remove(names) => {
                self.files
                    .retain(|name, _| !names.contains(&name.to_string()));
            }
            Effect::Unmark { .. } => unreachable!("nothing is compacted here"),
        }
    }

    fn sync(&mut self, name: FileName) {
        if let Some(contents) = self.files.get_mut(&name) {
            let mut durable = contents.cached.clone();
            if let Some((start, end)) = contents.poisoned {
                durable[start..end].fill(0);
            }
            contents.durable = Some(durable);
        }
    }

    fn fail_sync(&mut self, name: FileName) {
        if let Some(contents) = self.files.get_mut(&name) {
            let durable = contents.durable.as_ref().map_or(0, Vec::len);
            let end = contents.cached.len();
            contents.poisoned = (durable < end).then_some((durable, end));
        }
    }

    /// Power is lost: each file keeps what was synced, and `torn` bytes of what follows.
    fn lose_power(&mut self, torn: usize) {
        for contents in self.files.values_mut() {
            let mut left = contents.durable.clone().unwrap_or_default();
            let more = contents.cached.len().min(left.len() + torn);
            if more > left.len() && contents.poisoned.is_none() {
                left.extend_from_slice(&contents.cached[left.len()..more]);
            }
            *contents = Contents {
                cached: left.clone(),
                durable: Some(left),
                poisoned: None,
            };
        }
    }

    fn read(&self, request: Request) -> Bytes {
        let bytes = self
            .files
            .get(&request.file)
            .map_or(&[][..], |contents| &contents.cached);
        let from = bytes.len().min(request.at as usize);
        Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + request.len)])
    }

    /// Offset and value of every record that is on the disk for good.
    fn durable_records(&self) -> BTreeMap<i64, i64> {
        let logs = self
            .files
            .iter()
            .filter(|(name, _)| matches!(name, FileName::Log(_)));
        records(logs.filter_map(|(_, contents)| contents.durable.as_deref()))
    }

    fn cached_records(&self) -> BTreeMap<i64, i64> {
        let logs = self
            .files
            .iter()
            .filter(|(name, _)| matches!(name, FileName::Log(_)));
        records(logs.map(|(_, contents)| contents.cached.as_slice()))
    }
}

/// Offset and value (the batch's timestamp) of the records in some log files.
fn records<'a>(logs: impl Iterator<Item = &'a [u8]>) -> BTreeMap<i64, i64> {
    logs.flat_map(|log| batches_in(log).map_while(Result::ok).collect::<Vec<_>>())
        .take_while(|batch| batch.check_crc().is_ok())
        .map(|batch| (batch.base_offset(), batch.header().max_timestamp))
        .collect()
}

/// A partition, its disk, and what its clients know.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) partition: Partition,
    pub(super) config: PartitionConfig,
    /// Asked for and not begun.
    pub(super) queue: VecDeque<(EffectId, Effect)>,
    /// The running sync: what the files had when it began.
    pub(super) syncing: Option<(EffectId, Vec<(FileName, Contents)>)>,
    pub(super) checkpointed: i64,
    pub(super) next: u64,
    pub(super) epoch: i32,
    pub(super) open: BTreeSet<Ticket>,
    pub(super) values: BTreeMap<Ticket, i64>,
    pub(super) acknowledged: BTreeMap<i64, i64>,
    /// The same of acks = 1: what a failed sync or a loss of power may take.
    pub(super) leader_values: BTreeMap<Ticket, i64>,
    pub(super) written: BTreeMap<i64, i64>,
    pub(super) settled: i64,
    pub(super) reopen: Option<i64>,
    pub(super) now: Now,
}

fn config(flush: FlushPolicy) -> PartitionConfig {
    PartitionConfig {
        log: LogConfig {
            segment_bytes: 300,
            index_interval_bytes: 1,
            retention_ms: None,
            timestamp_after_max_ms: i64::MAX,
            ..LogConfig::default()
        },
        flush,
        unwritten_bytes_max: 250,
        ..PartitionConfig::default()
    }
}

impl World {
    pub(super) fn new(flush: FlushPolicy) -> Self {
        let (mut disk, config) = (Disk::default(), config(flush));
        let mut effects = Vec::new();
        let now = Now::default();
        let log = Log::create(config.log.clone(), 0, now.wall, 0, &mut effects);
        effects.into_iter().for_each(|effect| disk.perform(effect));
        for contents in disk.files.values_mut() {
            contents.durable = Some(Vec::new());
        }
        let mut world = Self {
            partition: Partition::open(NODE, log, config.clone(), 0),
            disk,
            config,
            queue: VecDeque::new(),
            syncing: None,
            checkpointed: 0,
            next: 1,
            epoch: 0,
            open: BTreeSet::new(),
            values: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            leader_values: BTreeMap::new(),
            written: BTreeMap::new(),
            settled: 0,
            reopen: None,
            now,
        };
        world.step(Input::Lead {
            epoch: 0,
            members: vec![],
        });
        world
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.partition.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Effect { id, effect } => self.queue.push_back((id, effect)),
                Output::Reopen { cut_to } => {
                    self.queue.clear();
                    self.reopen = Some(cut_to);
                }
                Output::Reply { to, answer } => {
                    assert!(self.open.remove(&to), "AnsweredOnce: {to:?} {answer:?}");
                    let value = self.values.remove(&to);
                    let leader_value = self.leader_values.remove(&to);
                    if let Answer::Appended(Ok(appended)) = answer {
                        let at = appended.base_offset;
                        self.acknowledged.extend(value.map(|value| (at, value)));
                        self.written.extend(leader_value.map(|value| (at, value)));
                    }
                }
            }
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.open.insert(ticket);
        ticket
    }

    pub(super) fn append(&mut self, acks: Acks) {
        let from = self.ticket();
        let value = from.0 as i64;
        let mut builder = BatchBuilder::new();
        builder
            .push(value, None, Some(format!("value {value}").as_bytes()))
            .unwrap();
        match acks {
            Acks::All => _ = self.values.insert(from, value),
            Acks::Leader => _ = self.leader_values.insert(from, value),
            Acks::None => {}
        }
        let options = AppendOptions {
            acks,
            origin: Origin::Client,
            expected_leader_epoch: None,
        };
        self.step(Input::Append {
            from,
            records: builder.build(),
            options,
        });
    }

    /// One turn of the driver. `fault` befalls the next change.
    pub(super) fn change(&mut self, fault: Option<bool>) {
        while let Some((_, Effect::Sync(_) | Effect::SyncDir)) = self.queue.front() {
            if self.syncing.is_some() {
                return;
            }
            self.begin_sync();
        }
        let waits = !matches!(self.queue.front(), Some((_, Effect::Write { .. })));
        if waits && self.syncing.is_some() {
            return;
        }
        let Some((through, effect)) = self.queue.pop_front() else {
            return;
        };
        match fault {
            None => {
                self.disk.perform(effect);
                self.step(Input::Changed { through });
            }
            Some(full) => {
                if let Effect::Write { file, at, pieces } = effect {
                    // A part may have been written.
                    let bytes = pieces.concat();
                    let part = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
                    self.disk.perform(Effect::Write {
                        file,
                        at,
                        pieces: vec![part],
                    });
                }
                self.end_sync(true);
                self.queue.clear();
                if self.reopen.is_none() {
                    self.step(Input::ChangeFailed { full });
                }
            }
        }
    }

    /// Takes the syncs at the front of the queue, as many as there are.
    pub(super) fn begin_sync(&mut self) {
        let mut begun = Vec::new();
        let mut last = EffectId(0);
        while let Some((_, Effect::Sync(_) | Effect::SyncDir)) = self.queue.front() {
            let Some((id, effect)) = self.queue.pop_front() else {
                break;
            };
            last = id;
            if let Effect::Sync(name) = effect
                && let Some(contents) = self.disk.files.get(&name)
            {
                begun.push((name, contents.clone()));
            }
        }
        self.syncing = Some((last, begun));
    }

    pub(super) fn end_sync(&mut self, works: bool) {
        let Some((through, begun)) = self.syncing.take() else {
            return;
        };
        for (name, before) in begun {
            if !works {
                self.disk.fail_sync(name);
                continue;
            }
            // Only what was there when it began is certain.
            let mut only = Disk {
                files: BTreeMap::from([(name, before)]),
            };
            only.sync(name);
            if let (Some(now), Some(then)) =
                (self.disk.files.get_mut(&name), only.files.remove(&name))
            {
                now.durable = then.durable;
            }
        }
        if works {
            self.step(Input::Synced { through });
        } else {
            self.queue.clear();
            self.written.clear();
            self.step(Input::SyncFailed);
        }
    }

    fn open(&mut self, recovery_point: i64, cut_to: Option<i64>) {
        let listed = self.disk.files.iter().map(|(name, contents)| Listed {
            name: name.to_string(),
            len: contents.cached.len() as u64,
        });
        let mut recovery = Recovery::new(RecoveryInput {
            config: self.config.log.clone(),
            files: listed.collect(),
            recovery_point,
            log_start: 0,
            clean: false,
            now: Now::default().wall,
            seed: 0,
        });
        let (mut effects, mut read) = (Vec::new(), None);
        let mut log = loop {
            let step = recovery.step(read.take(), &mut effects).unwrap();
            effects
                .drain(..)
                .for_each(|effect| self.disk.perform(effect));
            match step {
                Step::Read(request) => read = Some(self.disk.read(request)),
                Step::Done(recovered) => break recovered.log,
            }
        };
        let cut = cut_to.and_then(|offset| log.truncate_to(offset, Now::default().wall));
        if let Some(mut cut) = cut {
            let mut read = None;
            loop {
                let step = cut.step(&mut log, read.take(), &mut effects).unwrap();
                effects
                    .drain(..)
                    .for_each(|effect| self.disk.perform(effect));
                match step {
                    TruncationStep::Read(request) => read = Some(self.disk.read(request)),
                    TruncationStep::Done => break,
                }
            }
        }
        let high_watermark = self.partition.offsets().high_watermark;
        let config = self.config.clone();
        self.partition = Partition::open(NODE, log, config, high_watermark);
        self.reopen = None;
        self.epoch += 1;
        self.step(Input::Lead {
            epoch: self.epoch,
            members: vec![],
        });
    }

    fn crash(&mut self, torn: usize) {
        self.disk.lose_power(torn);
        self.queue.clear();
        self.syncing = None;
        self.open.clear();
        self.values.clear();
        self.leader_values.clear();
        self.written.clear();
        if self.config.flush != FlushPolicy::Synced {
            let point = self.checkpointed;
            self.acknowledged.retain(|offset, _| *offset < point);
            self.settled = 0;
        }
        self.open(self.checkpointed, None);
    }

    pub(super) fn run_until_idle(&mut self) {
        while !self.queue.is_empty() || self.syncing.is_some() {
            self.change(None);
            self.end_sync(true);
        }
    }

    pub(super) fn check(&mut self) {
        if let Some(cut_to) = self.reopen {
            let point = self.partition.recovery_point();
            self.syncing = None;
            self.open(point, Some(cut_to));
        }
        let settled = self.partition.offsets().high_watermark;
        assert!(
            settled >= self.settled,
            "the high watermark went back to {settled}"
        );
        self.settled = settled;
        if self.config.flush == FlushPolicy::Synced {
            let durable = self.disk.durable_records();
            for offset in 0..settled {
                assert!(
                    durable.contains_key(&offset),
                    "DurableHighWatermark: {offset} of {settled}"
                );
            }
        }
        let there = self.disk.cached_records();
        for (offset, value) in self.acknowledged.iter().chain(&self.written) {
            assert_eq!(
                there.get(offset),
                Some(value),
                "AcknowledgedStays: offset {offset}"
            );
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Append(Acks),
    Change,
    EndSync,
    DiskFull,
    WriteFails,
    SyncFails,
    Checkpoint,
    PowerLoss(usize),
    Wait(i64),
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Append(Acks::All)),
        2 => Just(Action::Append(Acks::Leader)),
        1 => Just(Action::Append(Acks::None)),
        12 => Just(Action::Change),
        6 => Just(Action::EndSync),
        1 => Just(Action::DiskFull),
        1 => Just(Action::WriteFails),
        1 => Just(Action::SyncFails),
        1 => Just(Action::Checkpoint),
        1 => (0..200_usize).prop_map(Action::PowerLoss),
        1 => (0..40_i64).prop_map(Action::Wait),
    ]
}

impl World {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Append(acks) => self.append(acks),
            Action::Change => self.change(None),
            Action::EndSync => self.end_sync(true),
            Action::DiskFull => self.change(Some(true)),
            Action::WriteFails => self.change(Some(false)),
            Action::SyncFails => self.end_sync(false),
            Action::Checkpoint => self.checkpointed = self.partition.recovery_point(),
            Action::PowerLoss(torn) => self.crash(torn),
            Action::Wait(beyond) => {
                let from = self.ticket();
                self.step(Input::Await {
                    from,
                    beyond,
                    isolation: Isolation::ReadUncommitted,
                });
            }
        }
    }
}

impl World {
    pub(super) fn begin_sync_if_any(&mut self) {
        if let Some((_, Effect::Sync(_) | Effect::SyncDir)) = self.queue.front() {
            self.begin_sync();
        }
    }
}
