//! The bounds, each with its reason, in one place.
//!
//! A limit here is one that a peer, a file or a long run could otherwise push without end. What an
//! operator may set (segment size, retention, ...) is configuration: it and its permitted range are
//! in the tables of [`crate::config`]. The relations between limits are asserted when the crate is
//! compiled.

/// Bytes of a record batch's header, up to and including its record count.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes of a batch before the part that its length field counts: base offset and length.
pub const BATCH_OVERHEAD_BYTES: usize = 12;

/// The largest segment: positions in an offset index are `i32`.
pub const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;

/// The smallest segment, Kafka's own minimum for `segment.bytes` before 4.1: small enough for tests,
/// large enough that a batch of one record fits.
pub const SEGMENT_BYTES_MIN: u32 = 14;

/// Offsets in one segment: index entries hold an offset as `i32` relative to the segment's base.
pub const SEGMENT_OFFSETS_MAX: i64 = i32::MAX as i64;

/// Bytes of an entry of an offset index.
pub const OFFSET_INDEX_ENTRY_BYTES: usize = 8;

/// Bytes of an entry of a time index.
pub const TIME_INDEX_ENTRY_BYTES: usize = 12;

/// Bytes of an entry of a transaction index.
pub const TXN_INDEX_ENTRY_BYTES: usize = 34;

/// The smallest index file that a segment can work with: one entry, and the one that a time index
/// keeps for the roll.
pub const INDEX_BYTES_MIN: u32 = 24;

/// Batches remembered for each producer. Clients keep at most five requests in flight
/// (`max.in.flight.requests.per.connection` with idempotence), so a repeat is among the last five.
pub const PRODUCER_BATCHES_KEPT: usize = 5;

/// Requests in flight that a client with idempotence may have.
pub const PRODUCER_REQUESTS_IN_FLIGHT_MAX: usize = 5;

/// Producers remembered for each partition. An entry takes about 200 bytes, so a partition's share
/// is bounded by about 13 MB; past it those that wrote longest ago are forgotten, which Kafka's
/// protocol allows (a producer unknown to the partition may start with any sequence number).
pub const PRODUCERS_PER_PARTITION_MAX: usize = 65_536;

/// Producers forgotten at once when the limit is met, so that finding the oldest is paid once for
/// many appends.
pub const PRODUCERS_EVICTED_AT_ONCE: usize = PRODUCERS_PER_PARTITION_MAX / 8;

/// Bytes of a producer's entry in a snapshot file.
pub const PRODUCER_SNAPSHOT_ENTRY_BYTES: usize = 46;

/// Bytes of a snapshot file that are read into memory; a larger one is taken for damaged.
/// Kafka has no bound on producers, so this leaves room for fourteen times ours.
pub const PRODUCER_SNAPSHOT_BYTES_MAX: u64 = 44 << 20;

/// Bytes of log between two snapshots of the producers within a segment. Recovery after a crash reads
/// from the newest one below the recovery point on: this much more at most than is not durable. Each
/// costs four syncs, so it is large enough that they do not show beside the writes. A topic of small
/// segments has four in each.
pub const SNAPSHOT_INTERVAL_BYTES: u64 = 64 << 20;

/// Bytes of an index file that recovery reads to begin within a segment; past it the segment is read
/// whole. A segment of 2 GiB with an entry every 2 KiB has 12 MiB of time index.
pub const INDEX_FILE_BYTES_MAX: u64 = 16 << 20;

/// Files of partitions that are kept open, at most and at least; in between it is half of what the
/// process may have open, so that connections fit too. A partition that is written to uses three, so
/// this serves 20,000 of them; with fewer than the least, a fetch opens a file more often than not.
pub const OPEN_FILES_MAX: usize = 65_536;

/// See [`OPEN_FILES_MAX`].
pub const OPEN_FILES_MIN: usize = 512;

/// Bytes read at once by recovery and other scans of a log. Large enough that the disk streams,
/// small enough that parallel recovery of many partitions stays within memory.
pub const SCAN_CHUNK_BYTES: usize = 1 << 20;

/// The largest batch that a scan of a log believes in: the length field is an `i32`, but a batch
/// comes in a request, and Kafka takes none above `socket.request.max.bytes` (100 MiB by default), so
/// that a larger length is taken for damage.
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// Bytes of a checkpoint file that are read. A line is at most about 300 bytes (a topic of 249
/// characters), so this is room for more than 200,000 partitions.
pub const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// Batches whose exact position a log remembers at its end, so that a reader that keeps up starts
/// at its batch without scanning the stretch between two index entries. 24 bytes each.
pub const RECENT_BATCHES_MAX: usize = 64;

/// Index entries of the active segment kept in memory although they are written: a reader that far
/// behind (at `index.interval.bytes` of 4 KiB: 32 MiB) looks them up in the file instead.
pub const INDEX_TAIL_ENTRIES_MAX: usize = 8192;

/// Bytes that a partition takes before they are written; further appends wait in order. Enough that a
/// disk always has its next write at hand, little enough that undoing them is quick.
pub const PARTITION_UNWRITTEN_BYTES_MAX: usize = 32 << 20;

/// Bytes of the batch that one decision of the controller makes: it counts as a whole or not at all.
/// Kafka's own limit for a batch of the metadata log, and its smallest `metadata.log.segment.bytes`,
/// so that a batch fits whatever segment is configured.
pub const METADATA_BATCH_BYTES_MAX: usize = 8 << 20;

/// What a record takes in a batch beside its value: its length, attributes, deltas, and the lengths
/// of key, value and headers, each as long as it can be.
pub const METADATA_RECORD_OVERHEAD_BYTES: usize = 32;

const _: () = {
    // A batch header must fit into the smallest read of a scan, and a scan must make progress.
    assert!(SCAN_CHUNK_BYTES > BATCH_HEADER_BYTES);
    // A repeat can be recognised as long as its batch is remembered.
    assert!(PRODUCER_BATCHES_KEPT >= PRODUCER_REQUESTS_IN_FLIGHT_MAX);
    // A snapshot of all producers we may hold can be read back (two bytes of version, four of CRC,
    // four of the count).
    assert!(
        (PRODUCERS_PER_PARTITION_MAX * PRODUCER_SNAPSHOT_ENTRY_BYTES + 10) as u64
            <= PRODUCER_SNAPSHOT_BYTES_MAX
    );
    // Eviction makes room and leaves most.
    assert!(
        PRODUCERS_EVICTED_AT_ONCE > 0
            && PRODUCERS_EVICTED_AT_ONCE < PRODUCERS_PER_PARTITION_MAX / 2
    );
    // Positions of a segment fit an index entry; so do the batches in it.
    assert!(
        SEGMENT_BYTES_MAX as i64 <= i32::MAX as i64
            && BATCH_BYTES_MAX as i64 <= SEGMENT_BYTES_MAX as i64
    );
    assert!(INDEX_BYTES_MIN as usize >= 2 * TIME_INDEX_ENTRY_BYTES);
    assert!(INDEX_BYTES_MIN as usize >= OFFSET_INDEX_ENTRY_BYTES);
};

/// The largest number of topics that a member's subscription is read for. A subscription with more
/// is treated as unreadable: its offsets are then kept, which is safe. 100,000 names are about what
/// fits the default request size.
pub const GROUP_SUBSCRIBED_TOPICS_MAX: usize = 100_000;

/// The size that a `__consumer_offsets` partition's log may always reach before the live state is
/// written anew. Loading 8 MiB takes well under a second, so rewriting a smaller log gains nothing.
pub const GROUP_LOG_REWRITE_BYTES_MIN: usize = 8 << 20;

/// How many times larger than the live state the log may grow. Each rewrite writes the live state
/// once for at least this many times its size of ordinary appends: a write amplification of at most
/// a quarter, for a load that reads at most five times what it keeps.
pub const GROUP_LOG_REWRITE_RATIO: usize = 4;

/// The size of one append of a rewrite, of tombstones, and of what the driver gathers into one
/// batch, less where the `max.message.bytes` of the offsets topic is less (Kafka's default is 1 MiB).
pub const GROUP_APPEND_BYTES_MAX: usize = 512 << 10;

const _: () = assert!(GROUP_APPEND_BYTES_MAX < 1 << 20);
const _: () = assert!(GROUP_APPEND_BYTES_MAX < GROUP_LOG_REWRITE_BYTES_MIN);

/// The longest string that a record of a group holds: its length is an `i16`.
pub const GROUP_STRING_BYTES_MAX: usize = i16::MAX as usize;

/// How many protocols (assignors) a member may offer. Clients have a handful; each is compared with
/// those of all other members at every rebalance.
pub const GROUP_PROTOCOLS_MAX: usize = 256;

/// Bytes of metadata that a member may offer, all its protocols together: they stay in memory as long
/// as the member. A subscription to [`GROUP_SUBSCRIBED_TOPICS_MAX`] topics takes about 10 MB, ten
/// times what a record may be by default.
pub const GROUP_MEMBER_METADATA_BYTES_MAX: usize = 16 << 20;

/// The longest part of a member id that a client chooses (its client id or its static id), in
/// bytes. A record's strings take at most 32,767 bytes, and the random part needs 37 of them.
pub const GROUP_MEMBER_ID_PREFIX_MAX: usize = 32_000;

const _: () = assert!(GROUP_MEMBER_ID_PREFIX_MAX + 37 <= GROUP_STRING_BYTES_MAX);

/// How long a new member's JoinGroup may wait. It cannot send heartbeats yet and its connection may
/// be gone, so it needs an end: Kafka's five minutes.
pub const GROUP_NEW_MEMBER_JOIN_TIMEOUT: core::time::Duration =
    core::time::Duration::from_secs(5 * 60);

/// How much of a `__consumer_offsets` partition is read at once when it is loaded: large enough that
/// the disk's own time counts and not the number of reads, small enough that fifty partitions loaded
/// at once stay within memory.
pub const GROUP_LOAD_READ_BYTES: usize = 1 << 20;

/// The largest batch, decompressed, that is loaded from a `__consumer_offsets` partition. Kafka's
/// own come from at most one request, whose default limit is 100 MiB.
pub const GROUP_LOAD_BATCH_BYTES_MAX: usize = 128 << 20;

/// How long a shard whose log was lost waits before it loads it again: the partition needs a moment
/// to be opened anew, and a disk that stays broken must not be asked in a tight loop.
pub const GROUP_RELOAD_DELAY: core::time::Duration = core::time::Duration::from_secs(1);

/// The most records that one request to the controller may make: they must fit one batch, which counts
/// as a whole or not at all.
pub const RECORDS_PER_METADATA_REQUEST_MAX: usize = 10_000;

/// Characters (UTF-16 units) of a topic's name, as at Kafka: a folder's name is at most 255 bytes, and
/// a partition's number and the suffix of a deletion must fit behind it.
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Requests that may wait for the controller: those of administrators and for blocks of producer ids.
/// More wait in their connections.
pub const CONTROLLER_REQUESTS_WAITING_MAX: usize = 256;

/// Published changes of the metadata that a follower may lag behind before it must look at the whole
/// image.
pub const METADATA_DELTAS_WAITING_MAX: usize = 1024;

/// How long a sender that is in the middle of a large frame may be silent. Its part of the memory for
/// requests is held for it meanwhile.
pub const FRAME_SILENCE_MAX: core::time::Duration = core::time::Duration::from_secs(30);

/// How long a reader may leave its answers unread while others wait for the memory that they take.
pub const ANSWER_UNREAD_MAX: core::time::Duration = core::time::Duration::from_secs(30);

/// How long a node waits before it tries again to open a partition that could not be opened, at
/// first and at most (it doubles): soon enough that a disk with room again is noticed, seldom enough
/// that a disk that stays broken is left alone.
pub const PARTITION_REOPEN_DELAY_MIN: core::time::Duration = core::time::Duration::from_secs(1);
/// See [`PARTITION_REOPEN_DELAY_MIN`].
pub const PARTITION_REOPEN_DELAY_MAX: core::time::Duration = core::time::Duration::from_secs(60);

/// Requests of one connection that are answered at once. Java's producer pipelines five, franz-go
/// more; beyond this the connection is not read.
pub const REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: usize = 64;

/// Bytes of answers that wait to be sent to one connection before another request of it is taken.
/// One answer may be larger (a fetch of 50 MiB): then it is the only one.
pub const RESPONSE_BYTES_WAITING_MAX: usize = 1 << 20;

/// Bytes of all requests that are being answered or are half received. Beyond this connections are
/// not read. Kafka's `queued.max.request.bytes`, which is unbounded there.
pub const REQUEST_BYTES_MAX: usize = 512 << 20;

/// What a frame may take before it is counted against [`REQUEST_BYTES_MAX`], and the first size of
/// its buffer: most requests are smaller.
pub const FRAME_BYTES_AT_ONCE: usize = 16 << 10;

/// How much a frame's buffer grows at once, and what it is charged for, as a multiple of the bytes that
/// have arrived: a sender that announces much and sends little costs at most this many times what it
/// sent. One that has completed a frame is trusted with as much for the next.
pub const FRAME_GROWTH: usize = 4;

/// The largest `socket.request.max.bytes`: one such frame must fit into the memory for requests.
pub const FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX / 2;

/// Partitions of one fetch session. About 250 bytes each; a reader of more names them all in every
/// request, as before there were sessions.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 50_000;

/// Partitions of all fetch sessions together: about 100 MB.
pub const FETCH_SESSIONS_PARTITIONS_MAX: usize = 400_000;

const _: () = assert!(FETCH_SESSION_PARTITIONS_MAX <= FETCH_SESSIONS_PARTITIONS_MAX);

/// The largest batch, opened, in which an offset is looked up by time. One that swells more is answered
/// by its header alone.
pub const LOOKUP_BATCH_BYTES_MAX: usize = 64 << 20;

/// Sources of bad bytes that are remembered so as not to be warned about again at once.
pub const WARNED_SOURCES_MAX: usize = 1024;

/// Steps that a connection takes before it lets other tasks run.
pub const CONNECTION_STEPS_PER_TURN: usize = 64;

/// Pieces of answers that one system call sends.
pub const WRITE_PIECES_PER_CALL: usize = 64;

/// Of [`REQUEST_BYTES_MAX`], what is kept for requests that are counted only once they are whole
/// ([`FRAME_BYTES_AT_ONCE`] at most): no sender can hold it by falling silent.
pub const SMALL_REQUEST_BYTES_MAX: usize = REQUEST_BYTES_MAX / 8;

/// The largest request that is not counted with the large ones: twice a producer's `max.request.size`.
pub const MODERATE_FRAME_BYTES: usize = 2 << 20;

/// Of [`REQUEST_BYTES_MAX`], what is kept for requests up to [`MODERATE_FRAME_BYTES`], so that few
/// senders who announce large frames and fall silent do not keep ordinary producers waiting.
pub const MODERATE_REQUEST_BYTES_MAX: usize = REQUEST_BYTES_MAX / 4;

/// Of [`MODERATE_REQUEST_BYTES_MAX`], what only a frame that gets all it still needs is given, so that
/// frames that are half here never wait for one another. Large ones keep [`FRAME_BYTES_MAX`] so.
pub const MODERATE_FINISHING_BYTES_MAX: usize = MODERATE_REQUEST_BYTES_MAX / 4;

/// How much larger a request is once it is read, where it is fields and not records: about what a list
/// of partitions needs.
pub const DECODED_GROWTH: usize = 8;

/// The bytes a second that the sender of a large frame must reach, beside half a minute that it may be
/// silent: a slow line does, one that drips to hold the memory does not.
pub const FRAME_BYTES_PER_SECOND_MIN: usize = 256 << 10;

/// Bytes of records in answers to fetches that are not sent yet, of all connections together. As
/// much as requests may hold: sixty consumers that catch up with 8 MiB a fetch.
pub const RESPONSE_BYTES_MAX: usize = 512 << 20;

/// The largest answer to a fetch when there is no room for what it wants, and what is small enough
/// for the part of [`RESPONSE_BYTES_MAX`] that large answers leave alone.
pub const RESPONSE_BYTES_SMALL: usize = 1 << 20;

/// Of [`RESPONSE_BYTES_MAX`], what is kept for small answers, so that readers of much who do not read
/// on leave something for others.
pub const SMALL_RESPONSE_BYTES_MAX: usize = RESPONSE_BYTES_MAX / 4;

const _: () = assert!(MODERATE_FRAME_BYTES * DECODED_GROWTH <= MODERATE_FINISHING_BYTES_MAX);
const _: () = assert!(RESPONSE_BYTES_SMALL <= SMALL_RESPONSE_BYTES_MAX);
// A counter of kibibytes must not overflow a semaphore's request.
const _: () = assert!(RESPONSE_BYTES_MAX / 1024 < u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_AT_ONCE < MODERATE_FRAME_BYTES);
const _: () = assert!(MODERATE_FRAME_BYTES < FRAME_BYTES_MAX);
// The largest frame must fit into what is left for large ones.
const _: () = assert!(
    SMALL_REQUEST_BYTES_MAX + MODERATE_REQUEST_BYTES_MAX + FRAME_BYTES_MAX < REQUEST_BYTES_MAX
);
// A counter of kibibytes must not overflow a semaphore's request.
const _: () = assert!(REQUEST_BYTES_MAX / 1024 < u32::MAX as usize);

/// Connections of all listeners together, whatever `max.connections` says: a semaphore's bound.
pub const CONNECTIONS_MAX: usize = 1 << 24;
