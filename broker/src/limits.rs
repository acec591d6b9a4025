//! Every bound of the broker that no flag sets, with its reason.

/// Bytes one read of a socket takes at most; one buffer per core, not per connection.
///
/// Holds two MPUBs of 200 messages of 200 bytes with room to spare, and stays in the processor's
/// second-level cache.
pub const READ_BYTES_MAX: usize = 128 << 10;

/// Requests one core may have on their way to another before its senders wait, in batches.
pub const MAILBOX_BATCHES_MAX: usize = 128;

/// The same in bytes: beyond it they stay with their sender, where [`OUTBOX_BYTES_MAX`] bounds them.
pub const MAILBOX_BYTES_MAX: usize = 8 << 20;

/// Mails that have arrived and are kept, empty, for those that leave; one has twice this many on its way
/// when both cores are busy. Larger ones go back to the heap, which is little to what they carried.
pub const MAILS_KEPT: usize = 8;

/// Bytes that a kept mail may hold.
pub const MAIL_BYTES_KEPT: usize = 256 << 10;

/// Bytes of publishes a core gathers for another before it stops reading the sockets they come from.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Bytes a new topic takes in while its folder is being opened; then it refuses publishes. Opening
/// takes a millisecond, unless the disk hangs.
pub const UNOPENED_BYTES_MAX: usize = 64 << 20;

/// Bytes of an old disk queue that are read, and handed to a core, together.
pub const IMPORT_BATCH_BYTES: usize = 1 << 20;

/// How long a changed topic waits for its checkpoint: what was finished in this time can come again
/// after a crash.
pub const CHECKPOINT_MILLISECONDS: u64 = 500;

/// Bytes of an authorization server's answer; one that grants a hundred things has ten thousand.
pub const AUTH_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Messages that somebody who only looks is shown at most.
pub const PEEK_MESSAGES_MAX: usize = 100;

/// Bytes of bodies that somebody who only looks is shown at most, in all.
pub const PEEK_BODY_BYTES_MAX: usize = 1 << 20;

/// How long a refused client may take to close its end.
pub const LINGER_MILLISECONDS: u64 = 1_000;

/// How long a client may take for the handshake of TLS (NSQ behaviour).
pub const HANDSHAKE_MILLISECONDS: u64 = 5_000;

/// How long a round of syncs waits for publishers that are likely to come: no longer than a few
/// syncs take, and only when the rounds before had many.
pub const SYNC_GATHER_MILLISECONDS: u64 = 1;

// --- the log ---

/// How long a topic's files stay open after it was used: opening one again costs as much as some
/// appends, and thousands of quiet topics must not hold thousands of files. They are looked at once
/// in this time, so it may be twice as long.
pub const FILES_REST_AFTER_SECONDS: u64 = 10;

/// A core's topics that are busy at once have their files open as long as they are no more than
/// this; beyond it the one that came first closes its own.
pub const OPEN_TOPICS_MAX: usize = 4_096;

/// Files that a busy topic may hold for a moment: the segment that is written to, the next one, one
/// that is read, one that is synced. The limit of open files is shared out by it, one half for
/// topics, one half for clients.
pub const FILES_PER_TOPIC: usize = 4;

/// Threads of a core for what the ring cannot do or begins too late: names in folders, and the syncs
/// that publishers wait for. They sleep unless there is such work.
pub const BLOCKING_THREADS: usize = 4;

/// Topics a core recovers at once, and checkpoints it writes at once: while one waits for the disk
/// the next goes on, and a thousand do not wait for one another's memory.
pub const TOPICS_ABREAST: usize = 32;
/// The least time from the start of a sync that nobody waits for to the next one's. Every message
/// goes through the log, not only what overflows memory as in nsqd, so a count of 2,500 messages
/// alone would mean a thousand syncs a second under load.
pub const SYNC_PAUSE_MILLISECONDS: u64 = 100;

/// How often a read of the log that the disk refused is tried, in all, before its messages count as
/// lost. With the pauses between, two seconds: a path to a disk that comes back has come back.
pub const READ_TRIES: u32 = 4;

/// The pause before the second try; each one after is three times as long.
pub const READ_PAUSE_MILLISECONDS: u64 = 150;

/// How long a topic waits before it tries again to make its folder, and a core to write the list of
/// topics, when the disk refused.
pub const TRY_AGAIN_MILLISECONDS: u64 = 1_000;

/// The longest pause between two tries whether a log can be synced again that could not be; the
/// first is [`TRY_AGAIN_MILLISECONDS`], and each is twice as long as the one before.
pub const PROOF_PAUSE_MAX_SECONDS: u64 = 60;

/// The pause after a topic's found files were synced, before the next topic's are; four times as
/// long as that took, if that is more. Five thousand topics at rest take a core two minutes, and half
/// a percent of its time.
pub const FOUND_PAUSE_MILLISECONDS: u64 = 20;

/// An open block larger than this is written at once. At a gigabyte per second a write of this
/// size holds the core for a millisecond.
pub const BLOCK_BYTES_TARGET: usize = 1 << 20;

/// A topic's first page of memory: small, so that thousands of quiet topics cost little.
pub const PAGE_BYTES_MIN: usize = 4 << 10;

/// A busy topic's page: several blocks share one allocation, and it stays in the core's cache.
pub const PAGE_BYTES_MAX: usize = 256 << 10;

/// What is read at once from disk: a reader far behind moves at the disk's speed, and one old
/// message does not fetch much that nobody wants.
pub const READ_BYTES: usize = 256 << 10;

/// The distance of the places in a segment that are remembered. A read starts at most this much
/// (and a block) too early, and a full segment costs 1,600 entries of memory.
pub const INDEX_SPACING_BYTES: u64 = 64 << 10;

/// A segment larger than this is followed by a new one (`--max-bytes-per-file` as NSQ has it).
pub const SEGMENT_BYTES_MAX: u64 = 100 << 20;

/// Every so many messages of a block their place is remembered, so that one message in a large
/// block is found in so many steps at most, for an eighth of a byte each.
pub const MARK_SPACING_MESSAGES: u32 = 32;

const _: () = {
    assert!(PAGE_BYTES_MIN <= PAGE_BYTES_MAX);
    assert!(INDEX_SPACING_BYTES <= READ_BYTES as u64, "a read reaches the place it is made for");
    assert!(BLOCK_BYTES_TARGET as u64 <= SEGMENT_BYTES_MAX, "a segment holds several blocks");
};
