//! The log of one topic: its messages in order, in memory and on disk.
//!
//! Sans I/O: the log hands out descriptions of writes, reads and deletions, and is told what became
//! of them. [`storage_ring`] carries them out. Lives on the core that owns the topic, one in each.
//!
//! A message's way:
//!
//! ```text
//! append ──► open block ── seal ──► being written ── written ──► visible to readers
//!                                        └───────── abandon ──► a gap
//! visible ── evict ──► on disk only ── loaded ──► visible ...
//!         └─ release_below, retain ──► gone
//! ```
//!
//! A message whose write failed never existed: its sequence is a gap over which readers step, and is
//! not used again while the process lives. The bytes of the failed write are overwritten by the
//! next block.
//!
//! Knows: where every message is. Does not know: channels, files, the clock.

mod append;
pub mod block;
pub mod checkpoint;
mod compaction;
#[cfg(test)]
pub mod faults;
mod fields;
mod gaps;
mod index;
pub mod losses;
mod newest;
mod page;
mod reading;
pub mod recovery;
mod release;
mod scan;
mod segment;
pub mod storage_ring;
#[cfg(test)]
mod tests;

pub use append::{KeptMessage, Write};
pub use compaction::{Compacted, Compaction};
pub use gaps::Gaps;
pub use newest::{Glimpse, Newest};
pub use reading::{Cursor, Damage, Found, LoadReport, ReadPlan, Reading, Run, RunLimit};
pub use segment::{HeaderError, Kept, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};

use crate::limits::SEGMENT_BYTES_MAX;
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use append::Pending;
use block::Block;
use index::Index;
use page::OpenBlock;
use recovery::RecoveredSegment;
use segment::BLOCKS_START;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// How a log behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment larger than this is followed by a new one. One block may be larger.
    pub segment_bytes_max: u64,
    /// Memory only: no writes are ever produced, and a sealed block is visible at once.
    pub ephemeral: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX, ephemeral: false }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Log {
    ids: IdSpace,
    options: LogOptions,
    open: OpenBlock,
    /// When the first message of the open block was published.
    opened: Timestamp,
    /// Blocks that were handed out to be written, in order.
    pending: VecDeque<Pending>,
    /// Visible blocks in memory, by their first sequence.
    blocks: BTreeMap<Sequence, Block>,
    /// The same blocks in the order in which they came into memory. May name some that went.
    arrivals: VecDeque<Sequence>,
    /// Invariant: what `blocks` hold, in bytes.
    block_bytes: usize,
    /// In order; the last is written to. Invariant: every visible sequence is in a block, in a gap,
    /// or in a segment; in an ephemeral log there is no segment.
    segments: VecDeque<Segment>,
    gaps: Gaps,
    /// The oldest message retained. Invariant: `start <= end <= next`.
    start: Sequence,
    /// Visible blocks from here on were never dropped from memory.
    memory_start: Sequence,
    /// One past the last visible message.
    end: Sequence,
    /// One past the last message in the open block.
    next: Sequence,
}

/// A segment to which nothing is added any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name.
    pub name: SegmentName,
    /// All that may be in it. Those of later segments that were deleted are among them, and are gaps.
    pub messages: Range<Sequence>,
    /// How long its file is.
    pub bytes: u64,
    /// What was kept of it when it was written anew, if it was.
    pub kept: Option<Kept>,
}

#[derive(Debug)]
struct Segment {
    name: SegmentName,
    /// What came before it when it was started.
    previous: SegmentName,
    /// Where the next block goes.
    next_offset: u64,
    /// One past the last message in it.
    next_sequence: Sequence,
    /// Up to here all that should be there was written.
    written_bytes: u64,
    /// Its header, until a write that brings it along has succeeded.
    unwritten_header: Option<[u8; SEGMENT_HEADER_BYTES]>,
    /// Whether blocks may be added.
    is_open: bool,
    /// See [`SegmentHeader::kept`].
    kept: Option<Kept>,
    /// Which of its files the index is about.
    generation: u32,
    /// Its file is being replaced: nobody knows which one a read finds.
    is_replacing: bool,
    index: Index,
}

impl Log {
    /// The empty log of a new topic.
    pub fn create(ids: IdSpace, options: LogOptions) -> Self {
        Self {
            ids,
            options,
            open: OpenBlock::new(),
            opened: Timestamp(0),
            pending: VecDeque::new(),
            blocks: BTreeMap::new(),
            arrivals: VecDeque::new(),
            block_bytes: 0,
            segments: VecDeque::new(),
            gaps: Gaps::default(),
            start: Sequence(0),
            memory_start: Sequence(0),
            end: Sequence(0),
            next: Sequence(0),
        }
    }

    /// The log that [`recovery`] found on disk. `ids` must have the base that it found.
    ///
    /// Sequences start again behind the last block found; see [`Self::skip_to`].
    pub fn recover(segments: Vec<RecoveredSegment>, ids: IdSpace, options: LogOptions) -> Self {
        let mut log = Self::create(ids, options);
        log.start = segments.first().map_or(Sequence(0), |segment| segment.name.first());
        log.end = segments.last().map_or(Sequence(0), |segment| segment.end);
        log.next = log.end;
        log.memory_start = log.end;
        for segment in segments {
            for missing in segment.missing {
                log.gaps.add(missing);
            }
            // Whoever wrote it may have failed to sync it, and the kernel tells that once: nothing is
            // added to what is there. An empty one is written again from its start.
            let is_empty = segment.bytes <= BLOCKS_START && segment.is_whole;
            let unwritten_header = is_empty.then(|| {
                let header = SegmentHeader {
                    base: ids.base(),
                    first: segment.name.first(),
                    created: segment.created,
                    previous: segment.previous,
                    kept: None,
                };
                header.encode()
            });
            log.segments.push_back(Segment {
                name: segment.name,
                previous: segment.previous,
                next_offset: segment.bytes,
                next_sequence: segment.end,
                written_bytes: segment.bytes,
                unwritten_header,
                is_open: unwritten_header.is_some(),
                kept: segment.kept,
                generation: 0,
                is_replacing: false,
                index: segment.index,
            });
        }
        log.advance_start();
        log
    }

    /// Makes the next message's sequence at least `next`; those left out are a gap.
    ///
    /// For the start: a checkpoint may know messages that a power cut took from the log. Their
    /// sequences must not name others.
    ///
    /// # Panics
    /// When messages were appended since the last block was written.
    pub fn skip_to(&mut self, next: Sequence) {
        assert!(self.next == self.end, "messages must not be left out among those being written");
        if self.next < next {
            self.gaps.add(self.next..next);
            self.next = next;
            self.end = next;
            self.advance_start();
        }
    }

    /// How the topic's messages are named.
    pub fn ids(&self) -> IdSpace {
        self.ids
    }

    /// Whether it is in memory only.
    pub fn is_ephemeral(&self) -> bool {
        self.options.ephemeral
    }

    /// One past the last visible message.
    pub fn end(&self) -> Sequence {
        self.end
    }

    /// Those parts of `range` that no message has, or none any more, as far as is known; in order.
    pub fn gaps_within(&self, range: &Range<Sequence>) -> Vec<Range<Sequence>> {
        let mut gaps = self.gaps.within(&(range.start.max(self.start)..range.end));
        if range.start < self.start {
            gaps.insert(0, range.start..range.end.min(self.start));
        }
        gaps
    }

    /// What the next message will be called.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// The oldest message retained.
    pub fn start(&self) -> Sequence {
        self.start
    }

    /// From here to the end every message is in memory, and most before are on disk only.
    pub fn memory_start(&self) -> Sequence {
        self.memory_start.max(self.start)
    }

    /// The segment that the next block may go to, if there is one.
    pub fn active_segment(&self) -> Option<SegmentName> {
        self.segments.back().filter(|segment| segment.is_open).map(|segment| segment.name)
    }

    /// Whether the next segment should be made ready: the present one is half full, or there is
    /// none.
    pub fn nears_next_segment(&self) -> bool {
        let has_room = self.segments.back().is_some_and(|segment| {
            segment.is_open && segment.next_offset < self.options.segment_bytes_max / 2
        });
        !self.options.ephemeral && !has_room
    }

    /// Memory held by blocks and by the open page, in bytes. A page goes when the last of its blocks
    /// went and the last client's buffer that shares it; so this is close, not exact.
    pub fn memory_bytes(&self) -> usize {
        self.block_bytes + self.open.memory_bytes()
    }

    /// A segment larger than this is followed by a new one.
    pub fn segment_bytes_max(&self) -> u64 {
        self.options.segment_bytes_max
    }

    /// Bytes on disk, in all segments.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.written_bytes).sum()
    }

    /// Bytes on disk that hold the messages from `from` on, or from a known place before it, and
    /// each of `others`: those of whole files, since none goes while one of its messages is needed.
    pub fn disk_bytes_for(&self, from: Sequence, others: impl Iterator<Item = Sequence>) -> u64 {
        let holder_of = |sequence: Sequence| {
            self.segments.partition_point(|segment| segment.name.first() <= sequence).checked_sub(1)
        };
        let holder = if from < self.end { holder_of(from) } else { None };
        let mut is_held = vec![false; self.segments.len()];
        for other in others {
            if let Some(held) = holder_of(other).and_then(|at| is_held.get_mut(at)) {
                *held = true;
            }
        }
        let bytes = self.segments.iter().enumerate().map(|(at, segment)| match holder {
            _ if is_held[at] => segment.written_bytes,
            Some(holder) if holder < at => segment.written_bytes,
            Some(holder) if holder == at => {
                let offset = segment.index.find(from).offset;
                // With the first block goes the header.
                let offset = if offset <= BLOCKS_START { 0 } else { offset };
                segment.written_bytes.saturating_sub(offset)
            }
            _ => 0,
        });
        bytes.sum()
    }

    /// The segments on disk, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentName> + '_ {
        self.segments.iter().map(|segment| segment.name)
    }

    /// Steps over a gap at the start.
    fn advance_start(&mut self) {
        if let Some(end) = self.gaps.end_at(self.start) {
            self.start = end;
        }
        self.gaps.forget_below(self.start);
    }

    fn segment_mut(&mut self, name: SegmentName) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&name, |segment| segment.name).ok()?;
        self.segments.get_mut(at)
    }
}

impl Segment {
    fn new(header: SegmentHeader) -> Self {
        let name = SegmentName(header.first);
        Self {
            name,
            previous: header.previous,
            next_offset: BLOCKS_START,
            next_sequence: name.first(),
            written_bytes: BLOCKS_START,
            unwritten_header: Some(header.encode()),
            is_open: true,
            kept: None,
            generation: 0,
            is_replacing: false,
            index: Index::new(name),
        }
    }

    /// What the segment after it is called.
    fn next_name(&self) -> SegmentName {
        SegmentName(self.next_sequence.max(self.name.first().next()))
    }

    fn has_room(&self, bytes: u64, bytes_max: u64) -> bool {
        let is_empty = self.next_offset <= BLOCKS_START;
        self.is_open && (is_empty || self.next_offset + bytes <= bytes_max)
    }
}
