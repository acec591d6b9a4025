//! What readers of a log hold and get: cursors, runs of frames, plans of what to read from disk.
//!
//! Does not know: how a log finds them.

use super::block::Naming;
use super::index::Entry;
use super::segment::SegmentName;
use crate::message::{Sequence, Timestamp};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// A reader's place in a log. Stays right whatever the log keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) next: Sequence,
    /// Where `next` is in its block, if a run ended there.
    pub(super) hint: Option<Hint>,
}

/// Saves counting frames from the start of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The block, by its first sequence. No two blocks of a log have the same.
    pub(super) block: Sequence,
    /// The place in its payload.
    pub(super) offset: u32,
}

impl Cursor {
    /// A cursor that reads `next` first.
    pub fn at(next: Sequence) -> Self {
        Self { next, hint: None }
    }

    /// The message it reads next.
    pub fn next(&self) -> Sequence {
        self.next
    }
}

/// How much to read at once. At least one message is read, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// At most so many messages.
    pub messages: u32,
    /// At most so many bytes of frames.
    pub bytes: usize,
}

/// Messages to be sent as they lie in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whole frames as the next delivery sends them, one behind the other.
    pub bytes: Bytes,
    /// How the messages are named.
    pub naming: Naming,
    /// The first message's sequence; the others follow without a gap.
    pub first: Sequence,
    /// How many, at least 1.
    pub count: u32,
}

/// What a cursor meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Messages; the cursor stands behind them.
    Run(Run),
    /// The message must wait for its time; the cursor stands behind it.
    Deferred {
        /// The message.
        sequence: Sequence,
        /// When it is due.
        due: Timestamp,
    },
    /// There are no such messages; the cursor stands behind the gap.
    Gap {
        /// How many sequences were stepped over.
        count: u64,
    },
    /// The message must be read from disk first; the cursor did not move.
    NotInMemory(ReadPlan),
    /// There is nothing more.
    End,
}

/// One message, sought by its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its frame as a first delivery sends it, and how it is named.
    Frame(Bytes, Naming),
    /// It must be read from disk first.
    NotInMemory(ReadPlan),
    /// There is no such message, or none any more.
    Gone,
}

/// What must be read from disk before a reader can go on.
///
/// The bytes are to be given to [`super::Log::loaded`]. A read that the disk refuses is to be told
/// with [`super::Log::unreadable`], or readers ask for it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// The file.
    pub segment: SegmentName,
    /// Where to start, in bytes.
    pub offset: u64,
    /// How many bytes; may be none. The file has as many: fewer mean that it was cut.
    pub bytes: usize,
    /// Which of the segment's files it is about: one may be replaced by a shorter one.
    pub(super) generation: u32,
    /// The message it is for.
    pub(super) wanted: Sequence,
    pub(super) start: Entry,
}

/// Bytes of a segment that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub segment: SegmentName,
    /// Where the damage starts, in bytes.
    pub offset: u64,
    /// How many bytes were skipped; zero when the file lacks messages that it should have.
    pub bytes: u64,
    /// The messages that are lost. They are a gap now.
    pub missing: Range<Sequence>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, bytes, missing } = self;
        let messages = missing.end - missing.start;
        write!(f, "{segment} is damaged at {offset}: {bytes} bytes, {messages} messages lost")
    }
}

/// What a read from disk brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// How many messages are in memory now that were not before.
    pub messages: u64,
    /// Damage that was found; each is reported once.
    pub damage: Vec<Damage>,
}
