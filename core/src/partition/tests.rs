//! One partition on a disk that crashes, fills up and fails, driven as the storage drives it.
//!
//! Invariants, looked at after every step:
//! * `DurableHighWatermark`: what is below the high watermark is on the disk, not only in its cache;
//! * `AcknowledgedStays`: what was acknowledged with acks=all is in the log, at its offset, for ever;
//! * `AnsweredOnce`: no ticket is answered twice, and in the end each is, unless a crash took it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::ToString,
    vec,
};

use ottla_wire::records::{BatchBuilder, batches_in};
use proptest::prelude::*;

use super::*;
use crate::log::{
    FileName, Listed, LogConfig, Recovery, RecoveryInput, Request, Step, TruncationStep,
};

const NODE: i32 = 1;

#[derive(Clone, Debug, Default)]
struct Contents {
    cached: Vec<u8>,
    durable: Option<Vec<u8>>,
    /// After a failed sync: bytes that no later sync makes durable, unless they are written again.
    poisoned: Option<(usize, usize)>,
}

/// Files with a page cache.
#[derive(Debug, Default)]
struct Disk {
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
            Effect::Truncate { file, len } => {
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
struct World {
    disk: Disk,
    partition: Partition,
    config: PartitionConfig,
    /// Asked for and not begun.
    queue: VecDeque<(EffectId, Effect)>,
    /// The running sync: what the files had when it began.
    syncing: Option<(EffectId, Vec<(FileName, Contents)>)>,
    checkpointed: i64,
    next: u64,
    epoch: i32,
    open: BTreeSet<Ticket>,
    values: BTreeMap<Ticket, i64>,
    acknowledged: BTreeMap<i64, i64>,
    settled: i64,
    reopen: bool,
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
    fn new(flush: FlushPolicy) -> Self {
        let (mut disk, config) = (Disk::default(), config(flush));
        let mut effects = Vec::new();
        let now = Now::default();
        let log = Log::create(config.log.clone(), 0, now.wall, 0, &mut effects);
        effects.into_iter().for_each(|effect| disk.perform(effect));
        for contents in disk.files.values_mut() {
            contents.durable = Some(Vec::new());
        }
        let mut world = Self {
            partition: Partition::open(now, NODE, log, config.clone(), 0),
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
            settled: 0,
            reopen: false,
        };
        world.step(Input::Lead {
            epoch: 0,
            members: vec![],
        });
        world
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.partition.step(Now::default(), input, &mut out);
        for output in out {
            match output {
                Output::Effect { id, effect } => self.queue.push_back((id, effect)),
                Output::Reopen => {
                    self.queue.clear();
                    self.reopen = true;
                }
                Output::Reply { to, answer } => {
                    assert!(self.open.remove(&to), "AnsweredOnce: {to:?} {answer:?}");
                    if let Answer::Appended(Ok(appended)) = answer
                        && let Some(value) = self.values.remove(&to)
                    {
                        self.acknowledged.insert(appended.base_offset, value);
                    }
                }
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.open.insert(ticket);
        ticket
    }

    fn append(&mut self, acks: Acks) {
        let from = self.ticket();
        let value = from.0 as i64;
        let mut builder = BatchBuilder::new();
        builder
            .push(value, None, Some(format!("value {value}").as_bytes()))
            .unwrap();
        if acks == Acks::All {
            self.values.insert(from, value);
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
    fn change(&mut self, fault: Option<bool>) {
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
                if !self.reopen {
                    self.step(Input::ChangeFailed { full });
                }
            }
        }
    }

    /// Takes the syncs at the front of the queue, as many as there are.
    fn begin_sync(&mut self) {
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

    fn end_sync(&mut self, works: bool) {
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
            self.step(Input::SyncFailed);
        }
    }

    fn open(&mut self, recovery_point: i64, distrusted: bool) {
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
        if distrusted && let Some(mut cut) = log.truncate_to(recovery_point, Now::default().wall) {
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
        self.partition = Partition::open(Now::default(), NODE, log, config, high_watermark);
        self.reopen = false;
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
        self.open(self.checkpointed, false);
    }

    fn run_until_idle(&mut self) {
        while !self.queue.is_empty() || self.syncing.is_some() {
            self.change(None);
            self.end_sync(true);
        }
    }

    fn check(&mut self) {
        if self.reopen {
            let point = self.partition.recovery_point();
            self.syncing = None;
            self.open(point, true);
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
        for (offset, value) in &self.acknowledged {
            assert_eq!(
                there.get(offset),
                Some(value),
                "AcknowledgedStays: offset {offset}"
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
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

fn action() -> impl Strategy<Value = Action> {
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
    fn act(&mut self, action: Action) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_synced_partition_keeps_what_it_acknowledged(
        actions in proptest::collection::vec(action(), 1..150),
    ) {
        let mut world = World::new(FlushPolicy::Synced);
        for action in actions {
            world.act(action);
            world.check();
        }
        world.run_until_idle();
        world.check();
        world.run_until_idle();
        let end = world.partition.offsets().high_watermark;
        prop_assert_eq!(end, world.partition.log().log_end());
        let from = world.ticket();
        world.step(Input::Close { from });
        world.run_until_idle();
        prop_assert!(world.partition.is_closed());
        prop_assert!(world.open.is_empty(), "not answered: {:?}", world.open);
    }
}

#[test]
fn one_sync_serves_all_that_was_written_while_the_last_one_ran() {
    let mut world = World::new(FlushPolicy::Synced);
    world.config.log.segment_bytes = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    world.append(Acks::All);
    world.change(None);
    world.change(None);
    world.change(None);
    world.begin_sync_if_any();
    assert!(world.syncing.is_some());
    world.config.unwritten_bytes_max = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    for _ in 0..3 {
        world.append(Acks::All);
    }
    while matches!(world.queue.front(), Some((_, Effect::Write { .. }))) {
        world.change(None);
    }
    assert!(world.acknowledged.is_empty());
    world.end_sync(true);
    assert_eq!(world.acknowledged.len(), 1);
    let syncs = world
        .queue
        .iter()
        .filter(|(_, effect)| matches!(effect, Effect::Sync(_)));
    assert_eq!(syncs.count(), 1);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 4);
}

impl World {
    fn begin_sync_if_any(&mut self) {
        if let Some((_, Effect::Sync(_) | Effect::SyncDir)) = self.queue.front() {
            self.begin_sync();
        }
    }
}

#[test]
fn on_a_full_disk_writes_fail_reads_go_on_and_writes_work_again_when_there_is_room() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::All);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 1);
    world.append(Acks::All);
    world.append(Acks::Leader);
    world.change(Some(true));
    assert!(world.open.is_empty(), "all are answered");
    assert_eq!(world.acknowledged.len(), 1);
    assert!(world.partition.is_online());
    let query = FetchQuery {
        offset: 0,
        max_bytes: 100,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    };
    assert!(world.partition.fetch(&query).unwrap().plan.is_some());
    world.run_until_idle();
    world.append(Acks::All);
    world.run_until_idle();
    world.check();
    assert_eq!(
        world.acknowledged.keys().copied().collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn with_kafkas_policy_a_write_counts_at_once_and_is_synced_after_so_many() {
    let mut world = World::new(FlushPolicy::Written {
        messages: Some(3),
        interval: None,
    });
    world.config.log.segment_bytes = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    let no_sync = |world: &World| {
        !world
            .queue
            .iter()
            .any(|(_, e)| matches!(e, Effect::Sync(_)))
    };
    for count in 1..=2 {
        world.append(Acks::All);
        while matches!(
            world.queue.front(),
            Some((_, Effect::Write { .. } | Effect::Replace { .. }))
        ) {
            world.change(None);
        }
        assert_eq!(world.acknowledged.len(), count);
        assert!(no_sync(&world));
    }
    world.append(Acks::All);
    while matches!(world.queue.front(), Some((_, Effect::Write { .. }))) {
        world.change(None);
    }
    assert!(!no_sync(&world));
    world.run_until_idle();
    assert_eq!(world.partition.recovery_point(), 3);
}

#[test]
fn appends_are_fenced_by_role_epoch_and_replicas_in_sync() {
    let mut world = World::new(FlushPolicy::Synced);
    let mut ask = |world: &mut World, options: AppendOptions| {
        let from = world.ticket();
        let mut builder = BatchBuilder::new();
        builder.push(1, None, None).unwrap();
        let mut out = Vec::new();
        let input = Input::Append {
            from,
            records: builder.build(),
            options,
        };
        world.partition.step(Now::default(), input, &mut out);
        world.open.remove(&from);
        out.into_iter().find_map(|output| match output {
            Output::Reply {
                answer: Answer::Appended(result),
                ..
            } => Some(result),
            _ => None,
        })
    };
    let all = AppendOptions {
        acks: Acks::All,
        origin: Origin::Client,
        expected_leader_epoch: None,
    };
    let other = AppendOptions {
        expected_leader_epoch: Some(5),
        ..all
    };
    let wrong = AppendError::WrongLeaderEpoch {
        expected: 5,
        current: 0,
    };
    assert_eq!(ask(&mut world, other), Some(Err(wrong)));
    let needs_two = PartitionConfig {
        min_insync_replicas: 2,
        ..world.config.clone()
    };
    world.step(Input::Configure(Box::new(needs_two)));
    let few = AppendError::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(ask(&mut world, all), Some(Err(few)));
    world.step(Input::Follow {
        epoch: 1,
        leader: 2,
    });
    assert_eq!(
        ask(&mut world, all),
        Some(Err(AppendError::NotLeader { leader_epoch: 1 }))
    );
}

#[test]
fn a_close_waits_for_what_is_in_flight_and_answers_it() {
    let mut world = World::new(FlushPolicy::Synced);
    for _ in 0..4 {
        world.append(Acks::All);
    }
    let from = world.ticket();
    world.step(Input::Close { from });
    world.run_until_idle();
    assert!(world.partition.is_closed());
    assert!(world.open.is_empty());
    assert_eq!(world.acknowledged.len(), 4);
}
