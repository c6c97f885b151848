//! A log with its directory, and a plain list of what should be in it.

use alloc::{string::ToString as _, vec, vec::Vec};

use bytes::Bytes;

use super::{TestBatch, disk::Disk};
use crate::{
    batch::{self, BatchHeader, Batches, Origin},
    log::{
        Append, AppendError, Appended, Effect, FileName, Log, LogConfig, Producers, Recovered,
        Recovery, RecoveryError, RecoveryInput, Request, Start, Step, TruncationStep, index,
        read::{self, Trimmed},
        recovery::replay,
    },
    time::Timestamp,
};

pub(super) struct Fixture {
    pub(super) log: Log,
    pub(super) disk: Disk,
    pub(super) pending: Vec<Effect>,
    pub(super) now: Timestamp,
    /// The batches that should be in the log, as they should lie there.
    pub(super) model: Vec<Bytes>,
    /// Batches that retention took; they still count for producers.
    pub(super) gone: Vec<Bytes>,
    /// What the last opening read.
    pub(super) reads: Vec<Request>,
}

pub(super) fn small_config() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        snapshot_interval_bytes: 200,
        index_interval_bytes: 150,
        segment_index_bytes: 80,
        timestamp_after_max_ms: i64::MAX,
        ..LogConfig::default()
    }
}

pub(super) fn header(bytes: &[u8]) -> BatchHeader {
    batch::read_header(bytes).unwrap()
}

impl Fixture {
    pub(super) fn new(config: LogConfig) -> Self {
        let (mut disk, mut out, now) = (Disk::default(), Vec::new(), Timestamp(1_000_000));
        let log = Log::create(config, 0, now, 7, &mut out);
        out.iter().for_each(|effect| disk.perform(effect));
        Self {
            log,
            disk,
            pending: Vec::new(),
            now,
            model: Vec::new(),
            gone: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Appends as leader of `epoch`, and as it should lie in the log into the model.
    pub(super) fn append(
        &mut self,
        batch: TestBatch,
        epoch: i32,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let bytes = TestBatch {
            base: 0,
            epoch: -1,
            ..batch
        }
        .build();
        let batches = match origin {
            Origin::Client => Batches::from_client(bytes, usize::MAX),
            origin => Batches::from_node(bytes, origin, usize::MAX),
        };
        let how = Append::Leader { epoch };
        let appended = self
            .log
            .append(self.now, &batches.unwrap(), how, &mut self.pending)?;
        if !appended.duplicate {
            self.model.push(
                TestBatch {
                    base: appended.base_offset,
                    epoch,
                    ..batch
                }
                .build(),
            );
        }
        Ok(appended)
    }

    pub(super) fn write(&mut self) {
        for effect in self.pending.drain(..) {
            self.disk.perform(&effect);
        }
        self.log.written(self.log.log_end());
    }

    pub(super) fn sync(&mut self) {
        self.disk.perform(&Effect::Sync(self.log.active_file()));
    }

    pub(super) fn recover(
        &mut self,
        recovery_point: i64,
        log_start: i64,
        clean: bool,
    ) -> Result<Recovered, RecoveryError> {
        let mut recovery = Recovery::new(RecoveryInput {
            config: self.log.config().clone(),
            files: self.disk.list(),
            recovery_point,
            log_start,
            clean,
            now: self.now,
            seed: 7,
        });
        self.reads.clear();
        let mut read = None;
        loop {
            let mut out = Vec::new();
            let step = recovery.step(read.take(), &mut out);
            out.iter().for_each(|effect| self.disk.perform(effect));
            match step? {
                Step::Read(request) => {
                    self.reads.push(request);
                    read = Some(self.disk.read(&request));
                }
                Step::Done(recovered) => return Ok(*recovered),
            }
        }
    }

    pub(super) fn truncate(&mut self, offset: i64) {
        let Some(mut truncation) = self.log.truncate_to(offset, self.now) else {
            return;
        };
        let mut read = None;
        loop {
            let mut out = Vec::new();
            let step = truncation
                .step(&mut self.log, read.take(), &mut out)
                .unwrap();
            out.iter().for_each(|effect| self.disk.perform(effect));
            match step {
                TruncationStep::Read(request) => read = Some(self.disk.read(&request)),
                TruncationStep::Done => break,
            }
        }
        self.model
            .retain(|batch| header(batch).last_offset() < offset);
        self.gone
            .retain(|batch| header(batch).last_offset() < offset);
    }

    pub(super) fn mapped(&self, start: Start) -> u64 {
        match start {
            Start::At(position) => position,
            Start::Lookup { index, len, .. } => {
                start.resolve(&self.disk.bytes(&index.to_string())[..len as usize])
            }
        }
    }

    /// Reads as a driver does, one batch at least.
    pub(super) fn read(&self, from: i64, upto: i64, max_bytes: usize) -> Bytes {
        let mut from_plan = from;
        loop {
            let Some(plan) = self
                .log
                .plan_read(from_plan, upto, max_bytes, true)
                .unwrap()
            else {
                return Bytes::new();
            };
            let mut position = self.mapped(plan.start);
            let mut len = plan.read_len(position, 0).max(1);
            let file = self.disk.bytes(&FileName::Log(plan.segment).to_string());
            loop {
                let end = file.len().min(position as usize + len);
                let bytes = Bytes::copy_from_slice(&file[position as usize..end]);
                match read::trim(&bytes, position, &plan).unwrap() {
                    Trimmed::Batches { bytes, .. } => return bytes,
                    Trimmed::More { at, len: more } => (position, len) = (at, more),
                    Trimmed::End => break,
                }
            }
            let Some(next) = plan.next_segment else {
                return Bytes::new();
            };
            from_plan = next;
        }
    }

    /// The producers as a replay of all batches gives them.
    pub(super) fn replayed(&self) -> Producers {
        let (mut producers, mut undo) = (Producers::default(), Vec::new());
        for batch in self.gone.iter().chain(&self.model) {
            replay(&mut producers, &header(batch), batch, &mut undo);
        }
        producers
    }

    /// What must hold of a log whose effects are all performed.
    pub(super) fn check(&self) {
        let end = self.model.last().map_or(self.log.log_start(), |batch| {
            header(batch).last_offset() + 1
        });
        assert!(self.log.log_end() >= end);
        let size: u64 = self.log.segments().map(|segment| segment.size()).sum();
        assert_eq!(self.log.size(), size);
        let mut lying = Vec::new();
        for segment in self.log.segments() {
            let [log, offsets, times, _] = segment
                .files()
                .map(|file| self.disk.bytes(&file.to_string()));
            assert_eq!(log.len() as u64, segment.size());
            let starts: Vec<_> = crate::batch::Split::new(log).map(Result::unwrap).collect();
            // What `kafka-dump-log --index-sanity-check` asks.
            let mut last = -1;
            for entry in index::offset::entries(offsets, segment.base_offset()) {
                let (_, found, _) = starts
                    .iter()
                    .find(|(at, _, _)| *at as u32 == entry.position)
                    .unwrap();
                assert_eq!(found.last_offset(), entry.offset);
                assert!(entry.offset > last);
                last = entry.offset;
            }
            let mut last = (-1, -1);
            for entry in index::time::entries(times, segment.base_offset()) {
                let (_, found, _) = starts
                    .iter()
                    .find(|(_, found, _)| found.last_offset() == entry.offset)
                    .unwrap();
                assert_eq!(found.max_timestamp, entry.timestamp);
                let before = starts
                    .iter()
                    .take_while(|(_, found, _)| found.last_offset() <= entry.offset);
                assert_eq!(
                    before.map(|(_, found, _)| found.max_timestamp).max(),
                    Some(entry.timestamp)
                );
                assert!((entry.timestamp, entry.offset) > last && entry.offset > last.1);
                last = (entry.timestamp, entry.offset);
            }
            let largest = starts
                .iter()
                .map(|(_, found, _)| found.max_timestamp)
                .max()
                .unwrap_or(-1);
            assert_eq!(segment.largest_timestamp(), largest);
            lying.push(Bytes::copy_from_slice(log));
        }
        assert_eq!(
            lying.concat(),
            self.model.concat(),
            "the log is not what the model says"
        );
        assert_eq!(view(self.log.producers()), view(&self.replayed()));
        let readable = |batch: &&Bytes| header(batch).last_offset() >= self.log.log_start();
        for batch in self.model.iter().filter(readable) {
            let found = header(batch);
            assert_eq!(
                self.log
                    .epochs()
                    .epoch_for_offset(found.base_offset.max(self.log.log_start())),
                Some(found.partition_leader_epoch)
            );
        }
        let expected = crate::log::checkpoint::format_epochs(self.log.epochs().entries());
        let file = self.disk.bytes("leader-epoch-checkpoint");
        assert!(file == expected || (file.is_empty() && self.log.epochs().entries().is_empty()));
    }

    pub(super) fn check_reads(&self, from: i64, max_bytes: usize) {
        let end = self.log.log_end();
        let from = from.clamp(self.log.log_start(), end);
        let wanted: Vec<_> = self
            .model
            .iter()
            .filter(|batch| header(batch).last_offset() >= from)
            .collect();
        let mut expected = vec![];
        for batch in wanted {
            if !expected.is_empty() && expected.len() + batch.len() > max_bytes {
                break;
            }
            expected.extend_from_slice(batch);
        }
        let got = self.read(from, end, max_bytes);
        // A read may end before `max_bytes`, with its segment or with the bytes that were read.
        assert!(expected.starts_with(&got), "from {from}");
        assert_eq!(got.is_empty(), expected.is_empty());
    }
}

/// Id, epoch, last sequence number, coordinator's epoch, last offset, and where a transaction is open.
type View = (i64, i16, i32, i32, Option<i64>, Option<i64>);

/// What a snapshot keeps of producers.
pub(super) fn view(producers: &Producers) -> Vec<View> {
    let view = |(id, entry): (i64, &crate::log::ProducerEntry)| {
        let offset = entry.last_batch().map(|batch| batch.last_offset);
        let open = entry.current_txn_first_offset;
        (
            id,
            entry.producer_epoch,
            entry.last_sequence(),
            entry.coordinator_epoch,
            offset,
            open,
        )
    };
    producers.iter().map(view).collect()
}
