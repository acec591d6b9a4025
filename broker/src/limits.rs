//! Sizes that bound memory, latency and disk use, with their reasons.

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
/// (and a block) too early, and a full segment costs about a thousand entries of memory.
pub const INDEX_SPACING_BYTES: u64 = 64 << 10;

/// A segment larger than this is followed by a new one.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Every so many messages of a block their place is remembered, so that one message in a large
/// block is found in so many steps at most, for an eighth of a byte each.
pub const MARK_SPACING_MESSAGES: u32 = 32;

const _: () = {
    assert!(PAGE_BYTES_MIN <= PAGE_BYTES_MAX);
    assert!(INDEX_SPACING_BYTES <= READ_BYTES as u64, "a read reaches the place it is made for");
    assert!(BLOCK_BYTES_TARGET as u64 <= SEGMENT_BYTES_MAX, "a segment holds several blocks");
};
