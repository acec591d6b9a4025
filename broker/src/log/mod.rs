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

pub mod block;
pub mod checkpoint;
mod compaction;
#[cfg(test)]
pub mod faults;
mod fields;
mod gaps;
mod index;
pub mod losses;
mod page;
mod reading;
pub mod recovery;
mod scan;
mod segment;
pub mod storage_ring;
#[cfg(test)]
mod tests;

pub use compaction::{Compacted, Compaction};
pub use gaps::Gaps;
pub use reading::{Cursor, Damage, Found, LoadReport, ReadPlan, Reading, Run, RunLimit};
pub use segment::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};

use crate::limits::{READ_BYTES, SEGMENT_BYTES_MAX};
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use block::{Block, Layout, Naming, Place, frame_bytes};
use bytes::Bytes;
use index::{Entry, Index};
use page::OpenBlock;
use protocol::frame::{MESSAGE_FRAME_OVERHEAD, message_frame_header};
use protocol::message_id::MessageId;
use reading::Hint;
use recovery::RecoveredSegment;
use scan::{Scanner, Step};
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

/// A message that was named elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptMessage<'a> {
    /// When it was published.
    pub timestamp: Timestamp,
    /// What its next delivery carries: one more than it was delivered.
    pub attempts: u16,
    /// How clients name it.
    pub id: MessageId,
    /// What was published.
    pub body: &'a [u8],
}

/// A block to be written. Give it back with [`Log::written`] or [`Log::abandon`].
#[derive(Debug)]
pub struct Write {
    /// The file.
    pub segment: SegmentName,
    /// What is to be written at the start of the file before the block. The file may not exist yet,
    /// or have been written to by a write that failed.
    pub starts_segment: Option<[u8; SEGMENT_HEADER_BYTES]>,
    /// Where the block goes, in bytes from the start of the file.
    pub offset: u64,
    /// The block.
    pub bytes: Bytes,
    layout: Layout,
}

impl Write {
    /// The messages of the block.
    pub fn messages(&self) -> Range<Sequence> {
        self.layout.first..self.layout.end()
    }

    /// The bytes of their bodies.
    pub fn body_bytes(&self) -> u64 {
        let overhead = MESSAGE_FRAME_OVERHEAD as u64 * u64::from(self.layout.count);
        u64::from(self.layout.payload_bytes) - overhead
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
}

#[derive(Debug)]
struct Pending {
    messages: Range<Sequence>,
    segment: SegmentName,
    end_offset: u64,
    /// Where the messages of the segment ended before.
    sequence_before: Sequence,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Unknown,
    Written(Block),
    Abandoned,
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
    /// See [`SegmentHeader::kept_end`].
    kept_end: Option<Sequence>,
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
                    kept_end: None,
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
                kept_end: segment.kept_end,
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

    // --- appending ---

    /// Lays a message into the open block. With `due` it waits until then.
    ///
    /// It is visible after [`Self::seal`] and [`Self::written`].
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        due: Option<Timestamp>,
        body: &[u8],
    ) -> Sequence {
        debug_assert!(self.open.naming() == Naming::Counted, "a block has one naming");
        let sequence = self.next;
        if self.open.count() == 0 {
            self.opened = timestamp;
        }
        let id = self.ids.id(sequence);
        let frame_header = message_frame_header(body.len(), timestamp.0, 1, id);
        self.open.push(&frame_header, body, due);
        self.next = sequence.next();
        sequence
    }

    /// Lays messages into the open block, and says which they are.
    pub fn append_many<'a>(
        &mut self,
        timestamp: Timestamp,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Range<Sequence> {
        let first = self.next;
        for body in bodies {
            self.append(timestamp, None, body);
        }
        first..self.next
    }

    /// Lays a message into the open block that keeps its id. `now` is the present time.
    ///
    /// # Panics
    /// When the open block has messages that are named otherwise.
    pub fn append_kept(&mut self, message: &KeptMessage<'_>, now: Timestamp) -> Sequence {
        if self.open.count() == 0 {
            self.opened = now;
            self.open.set_naming(Naming::Kept);
        }
        assert!(self.open.naming() == Naming::Kept, "a block has one naming");
        let KeptMessage { timestamp, attempts, id, body } = *message;
        let sequence = self.next;
        let frame_header = message_frame_header(body.len(), timestamp.0, attempts, id);
        self.open.push(&frame_header, body, None);
        self.next = sequence.next();
        sequence
    }

    /// Has the next block start a segment, and says from which name on segments are new.
    ///
    /// # Panics
    /// When messages were appended since the last block was written.
    pub fn start_new_segment(&mut self) -> SegmentName {
        self.close_segment();
        let name = self.segments.back().map_or(SegmentName(self.next), Segment::next_name);
        // A block of the new segment must not lie below its name.
        self.skip_to(name.first());
        name
    }

    /// The bytes of the open block. The caller seals when they are more than
    /// [`crate::limits::BLOCK_BYTES_TARGET`], and at the end of its turn.
    pub fn open_bytes(&self) -> usize {
        self.open.bytes()
    }

    /// Closes the open block; it is to be written. `None` when there is no message in it.
    ///
    /// Several blocks may be on their way at once; they become visible in order. An ephemeral log
    /// never has anything to write: its block is visible at once, and the answer is `None`.
    pub fn seal(&mut self) -> Option<Write> {
        let count = self.open.count();
        if count == 0 {
            return None;
        }
        let first = Sequence(self.next.0 - u64::from(count));
        if self.options.ephemeral {
            let (layout, bytes) = self.open.close(first, None);
            self.end = layout.end();
            self.keep(Block { layout, bytes });
            return None;
        }
        let bytes_max = self.options.segment_bytes_max;
        let block_bytes = self.open.closed_bytes();
        let has_room =
            self.segments.back().is_some_and(|segment| segment.has_room(block_bytes, bytes_max));
        if !has_room {
            self.add_segment(first, self.opened);
        }
        let segment = self.segments.back_mut().expect("there is one with room");
        let offset = segment.next_offset;
        let place = Place { base: self.ids.base(), segment: segment.name, offset };
        let (layout, bytes) = self.open.close(first, Some(place));
        segment.next_offset = offset + layout.block_bytes();
        let sequence_before = std::mem::replace(&mut segment.next_sequence, layout.end());
        self.pending.push_back(Pending {
            messages: first..layout.end(),
            segment: segment.name,
            end_offset: segment.next_offset,
            sequence_before,
            outcome: Outcome::Unknown,
        });
        let starts_segment = segment.unwritten_header;
        Some(Write { segment: segment.name, starts_segment, offset, bytes, layout })
    }

    /// Adds a segment for messages from `first` on.
    fn add_segment(&mut self, first: Sequence, created: Timestamp) -> SegmentHeader {
        // It starts where the one before ends, so that a gap between them is no damage.
        let before = self.segments.back();
        let name = before.map_or(SegmentName(first), Segment::next_name);
        let header = SegmentHeader {
            base: self.ids.base(),
            first: name.first(),
            created,
            previous: before.map_or(name, |before| before.name),
            kept_end: None,
        };
        self.segments.push_back(Segment::new(header));
        header
    }

    /// Has another segment follow the last one, which can go then like those before it. What to
    /// write at the start of the new one's file, so that it stands for the log's end; the next block
    /// does so in any case. `None` when the last one is empty, or written to just now.
    pub fn end_segment(&mut self, now: Timestamp) -> Option<SegmentHeader> {
        let last = self.segments.back().filter(|last| BLOCKS_START < last.written_bytes);
        let may_end = last.is_some() && self.pending.is_empty();
        may_end.then(|| self.add_segment(self.end, now))
    }

    /// The messages that the last segment may hold.
    pub fn last_segment(&self) -> Option<Range<Sequence>> {
        self.segments.back().map(|last| last.name.first()..self.end)
    }

    /// The block was written. It is visible as soon as those before it are.
    pub fn written(&mut self, write: Write) {
        let Write { segment, starts_segment, layout, bytes, .. } = write;
        if starts_segment.is_some()
            && let Some(segment) = self.segment_mut(segment)
        {
            segment.unwritten_header = None;
        }
        self.settle(layout.first, Outcome::Written(Block { layout, bytes }));
    }

    /// The block could not be written: its messages never existed, and their sequences are a gap.
    pub fn abandon(&mut self, write: Write) {
        let Write { segment, offset, layout, bytes, .. } = write;
        drop(bytes);
        let last = self.pending.back().filter(|last| last.messages.start == layout.first);
        if let Some(next_sequence) = last.map(|last| last.sequence_before)
            && let Some(segment) = self.segment_mut(segment)
        {
            segment.next_offset = offset;
            segment.next_sequence = next_sequence;
        }
        self.settle(layout.first, Outcome::Abandoned);
    }

    /// No more blocks go to the segment that is written to; the next one starts another. For a file
    /// that could not be synced: what is added to it might be lost with the rest.
    pub fn close_segment(&mut self) {
        if let Some(segment) = self.segments.back_mut() {
            segment.is_open = false;
        }
    }

    fn settle(&mut self, first: Sequence, outcome: Outcome) {
        let pending = self.pending.iter_mut().find(|pending| pending.messages.start == first);
        let pending = pending.expect("a write is given back once, to the log it came from");
        pending.outcome = outcome;
        while let Some(pending) = self.pending.pop_front() {
            match pending.outcome {
                Outcome::Unknown => {
                    self.pending.push_front(pending);
                    break;
                }
                Outcome::Abandoned => self.gaps.add(pending.messages.clone()),
                Outcome::Written(block) => {
                    let bytes = block.layout.block_bytes();
                    let offset = pending.end_offset - bytes;
                    let first = pending.messages.start;
                    if let Some(segment) = self.segment_mut(pending.segment) {
                        segment.written_bytes = pending.end_offset;
                        segment.index.add(Entry::block(first, offset, bytes));
                    }
                    self.keep(block);
                }
            }
            self.end = pending.messages.end;
        }
        self.advance_start();
    }

    // --- what there is ---

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

    // --- reading ---

    /// What the cursor meets, which then stands behind it. A run ends with its block, or before a
    /// deferred message.
    pub fn read(&mut self, cursor: &mut Cursor, limit: RunLimit) -> Reading {
        if let Some(block) = self.block_at(cursor.next) {
            return read_block(block, cursor, limit);
        }
        match self.missing_at(cursor.next) {
            Missing::OnDisk(plan) => Reading::NotInMemory(plan),
            Missing::Gap { end } => {
                let count = end - cursor.next;
                *cursor = Cursor::at(end);
                Reading::Gap { count }
            }
            Missing::NotYet => Reading::End,
        }
    }

    /// One message, for another delivery.
    pub fn frame(&mut self, sequence: Sequence) -> Found {
        if let Some(block) = self.block_at(sequence) {
            let frame = block.frame(block.layout.index_of(sequence));
            return Found::Frame(frame, block.layout.naming);
        }
        match self.missing_at(sequence) {
            Missing::OnDisk(plan) => Found::NotInMemory(plan),
            Missing::Gap { .. } | Missing::NotYet => Found::Gone,
        }
    }

    fn block_at(&self, sequence: Sequence) -> Option<&Block> {
        let (_, block) = self.blocks.range(..=sequence).next_back()?;
        (sequence < block.layout.end()).then_some(block)
    }

    /// Why `sequence` is not in memory.
    fn missing_at(&mut self, sequence: Sequence) -> Missing {
        if self.end <= sequence {
            return Missing::NotYet;
        }
        if sequence < self.start {
            return Missing::Gap { end: self.start };
        }
        if let Some(end) = self.gaps.end_at(sequence) {
            return Missing::Gap { end };
        }
        let after = self.segments.partition_point(|segment| segment.name.first() <= sequence);
        let bound = self.bound(after);
        let Some(segment) = after.checked_sub(1).map(|at| &self.segments[at]) else {
            self.gaps.add(sequence..bound);
            return Missing::Gap { end: bound };
        };
        if segment.kept_end.is_some_and(|end| end <= sequence) {
            self.gaps.add(sequence..bound);
            return Missing::Gap { end: bound };
        }
        let start = segment.index.find(sequence);
        // When nothing is left, the file lacks what it should have: reading nothing says so.
        let left = segment.written_bytes.saturating_sub(start.offset);
        let bytes = start.needs.max(READ_BYTES as u64).min(left);
        Missing::OnDisk(ReadPlan {
            segment: segment.name,
            offset: start.offset,
            bytes: usize::try_from(bytes).expect("a block fits in memory"),
            generation: segment.generation,
            wanted: sequence,
            start,
        })
    }

    /// Where the messages of the segment before the one at `next_segment` end.
    fn bound(&self, next_segment: usize) -> Sequence {
        self.segments.get(next_segment).map_or(self.end, |next| next.name.first().min(self.end))
    }

    /// Takes what was read from disk by `plan`, keeps its whole blocks for readers, and reports
    /// damage; damaged messages are a gap from now on.
    ///
    /// `data` shorter than planned means that the file ends there.
    pub fn loaded(&mut self, plan: &ReadPlan, data: &[u8]) -> LoadReport {
        let mut report = LoadReport::default();
        let Ok(at) = self.segments.binary_search_by_key(&plan.segment, |segment| segment.name)
        else {
            // It was released meanwhile.
            return report;
        };
        let segment = &self.segments[at];
        if segment.is_replacing || segment.generation != plan.generation {
            // The bytes may be those of another file. Whoever wants them asks again.
            return report;
        }
        let mut bound = self.bound(at + 1);
        let next = self.segments.get(at + 1);
        let mut is_followed = next.is_none_or(|next| next.previous == plan.segment);
        if let Some(end) = segment.kept_end {
            bound = bound.min(end);
            is_followed = true;
        }
        let mut file_end = self.segments[at].written_bytes;
        if data.len() < plan.bytes {
            file_end = file_end.min(plan.offset + data.len() as u64);
        }
        let mut scanner = Scanner::new(self.ids.base(), plan.segment, plan.start, file_end, bound);
        let mut found = Vec::new();
        loop {
            match scanner.step(plan.offset, data) {
                Step::Block { offset, layout, missing, lost } => {
                    let entry = Entry::block(layout.first, offset, layout.block_bytes());
                    if lost == 0 {
                        self.segments[at].index.add(entry);
                        self.gaps.add(missing);
                    } else {
                        self.segments[at].index.put(entry);
                        self.note_damage(plan.segment, offset, lost, missing, &mut report);
                    }
                    if plan.wanted < layout.end() {
                        found.push((offset, layout));
                    }
                }
                Step::More => {
                    self.segments[at].index.put(scanner.place());
                    break;
                }
                Step::End { lost, .. } => {
                    let Entry { sequence, offset, .. } = scanner.place();
                    let missing = sequence..bound;
                    if is_followed || 0 < lost {
                        self.note_damage(plan.segment, offset, lost, missing, &mut report);
                    } else {
                        // The segments between this one and the next were deleted.
                        self.gaps.add(missing);
                    }
                    break;
                }
            }
        }
        self.keep_loaded(plan.offset, data, found, &mut report);
        self.advance_start();
        report
    }

    /// The disk refused to read what `plan` says. Those messages are a gap from now on.
    pub fn unreadable(&mut self, plan: &ReadPlan) -> LoadReport {
        // No block has zeros for a header, so that they count as damage.
        self.loaded(plan, &vec![0; plan.bytes])
    }

    fn note_damage(
        &mut self,
        segment: SegmentName,
        offset: u64,
        lost: u64,
        missing: Range<Sequence>,
        report: &mut LoadReport,
    ) {
        // Gaps below the start are forgotten; nobody asks for those messages.
        let from = missing.start.max(self.start);
        let known_end = self.gaps.end_at(from).unwrap_or(from);
        let is_news = known_end < missing.end;
        if is_news {
            self.gaps.add(missing.clone());
            report.damage.push(Damage { segment, offset: offset - lost, bytes: lost, missing });
        }
    }

    /// Keeps those of the blocks `found` in `data` that are not in memory.
    fn keep_loaded(
        &mut self,
        data_offset: u64,
        data: &[u8],
        mut found: Vec<(u64, Layout)>,
        report: &mut LoadReport,
    ) {
        found.retain(|(_, layout)| {
            self.start < layout.end() && !self.blocks.contains_key(&layout.first)
        });
        let (Some((start, _)), Some((last, layout))) = (found.first(), found.last()) else {
            return;
        };
        let (start, end) = (*start, last + layout.block_bytes());
        let between = |from: u64, to: u64| {
            usize::try_from(to - from).expect("the blocks were found in the data")
        };
        let hull = between(data_offset, start)..between(data_offset, end);
        let page = Bytes::copy_from_slice(&data[hull]);
        for (offset, layout) in found {
            let (from, to) =
                (between(start, offset), between(start, offset + layout.block_bytes()));
            report.messages += u64::from(layout.count);
            self.keep(Block { layout, bytes: page.slice(from..to) });
        }
    }

    fn keep(&mut self, block: Block) {
        let first = block.layout.first;
        self.block_bytes += block.bytes.len();
        self.arrivals.push_back(first);
        self.blocks.insert(first, block);
        if 2 * self.blocks.len() + 64 < self.arrivals.len() {
            let blocks = &self.blocks;
            self.arrivals.retain(|first| blocks.contains_key(first));
        }
    }

    // --- letting go ---

    /// Nobody needs a message below `needed` any more. Drops what is wholly below from memory, and
    /// names the segments to delete; the one that is written to stays.
    pub fn release_below(&mut self, needed: Sequence) -> Vec<SegmentName> {
        self.start = self.start.max(needed.min(self.end));
        self.advance_start();
        self.drop_blocks_below(self.start);
        let mut dead = Vec::new();
        while let Some(next) = self.segments.get(1)
            && next.name.first() <= self.start
        {
            dead.extend(self.segments.pop_front().map(|segment| segment.name));
        }
        dead
    }

    /// Drops from memory what is wholly below `recent` and on disk.
    pub fn unload_below(&mut self, recent: Sequence) {
        if !self.options.ephemeral {
            self.drop_blocks_below(recent);
        }
    }

    fn drop_blocks_below(&mut self, sequence: Sequence) {
        while let Some(entry) = self.blocks.first_entry()
            && entry.get().layout.end() <= sequence
        {
            let block = entry.remove();
            self.block_bytes -= block.bytes.len();
            self.memory_start = self.memory_start.max(block.layout.end());
        }
        while let Some(first) = self.arrivals.front()
            && !self.blocks.contains_key(first)
        {
            self.arrivals.pop_front();
        }
    }

    /// Drops what nobody needs, also from the middle: old messages that wait long do not keep all
    /// that came after them. Asks `is_needed` for every block of an ephemeral log, and for every
    /// segment of another but the one that is written to. Names the segments to delete.
    pub fn retain(
        &mut self,
        mut is_needed: impl FnMut(&Range<Sequence>) -> bool,
    ) -> Vec<SegmentName> {
        let mut dropped = Vec::new();
        if self.options.ephemeral {
            let blocks = self.blocks.values().map(|block| block.layout.first..block.layout.end());
            dropped.extend(blocks.filter(|range| !is_needed(range)));
        }
        let mut dead = Vec::new();
        for Closed { name, messages, .. } in self.closed_segments() {
            if !is_needed(&messages) {
                dead.push(name);
                dropped.push(messages);
            }
        }
        self.segments.retain(|segment| dead.binary_search(&segment.name).is_err());
        for range in dropped {
            self.drop_blocks_in(&range);
            self.gaps.add(range);
        }
        self.advance_start();
        dead
    }

    /// The segments that are not written to any more, oldest first.
    pub fn closed_segments(&self) -> impl Iterator<Item = Closed> + '_ {
        let nexts = self.segments.iter().skip(1);
        self.segments.iter().zip(nexts).filter_map(|(segment, next)| {
            let messages = segment.name.first()..next.name.first();
            // What is still being written is needed.
            (messages.end <= self.end).then_some(Closed {
                name: segment.name,
                messages,
                bytes: segment.written_bytes,
            })
        })
    }

    /// Writes a closed segment anew, with none but the messages of `needed`, which are ranges in
    /// order and apart. `None` when there is no such segment.
    pub fn compaction(
        &self,
        segment: SegmentName,
        needed: Vec<Range<Sequence>>,
    ) -> Option<Compaction> {
        let closed = self.closed_segments().find(|closed| closed.name == segment)?;
        let at = self.segments.binary_search_by_key(&segment, |segment| segment.name).ok()?;
        let kept_end = self.segments[at].kept_end;
        let bound = kept_end.map_or(closed.messages.end, |end| end.min(closed.messages.end));
        Some(Compaction::new(self.ids.base(), segment, closed.bytes, bound, needed))
    }

    /// A segment's file is about to be replaced. Until [`Self::replaced`] or
    /// [`Self::not_replaced`] nobody knows which of the two a read finds, so none is used.
    pub fn replacing(&mut self, segment: SegmentName) {
        if let Some(segment) = self.segment_mut(segment) {
            segment.is_replacing = true;
        }
    }

    /// A segment's file was replaced; false when the log has given it up meanwhile.
    pub fn replaced(&mut self, compacted: Compacted) -> bool {
        let Compacted { segment: name, bytes, end, index } = compacted;
        let Ok(at) = self.segments.binary_search_by_key(&name, |segment| segment.name) else {
            return false;
        };
        self.drop_blocks_in(&(name.first()..self.bound(at + 1)));
        let segment = &mut self.segments[at];
        segment.next_offset = bytes;
        segment.written_bytes = bytes;
        segment.kept_end = Some(end);
        segment.index = index;
        segment.generation += 1;
        segment.is_replacing = false;
        true
    }

    /// A segment's file was not replaced after all.
    pub fn not_replaced(&mut self, segment: SegmentName) {
        if let Some(segment) = self.segment_mut(segment) {
            segment.is_replacing = false;
        }
    }

    fn drop_blocks_in(&mut self, range: &Range<Sequence>) {
        let firsts: Vec<_> = self.blocks.range(range.clone()).map(|(&first, _)| first).collect();
        for first in firsts {
            if let Some(block) = self.blocks.remove(&first) {
                self.block_bytes -= block.bytes.len();
            }
        }
    }

    /// Drops from memory at least so many bytes of blocks that are on disk, those first that came
    /// into memory first; how many it dropped. Does nothing in an ephemeral log.
    pub fn evict(&mut self, bytes_min: usize) -> usize {
        if self.options.ephemeral {
            return 0;
        }
        let mut dropped = 0;
        while dropped < bytes_min
            && let Some(first) = self.arrivals.pop_front()
        {
            if let Some(block) = self.blocks.remove(&first) {
                self.block_bytes -= block.bytes.len();
                self.memory_start = self.memory_start.max(block.layout.end());
                dropped += block.bytes.len();
            }
        }
        if self.blocks.is_empty() {
            let before = self.open.memory_bytes();
            self.open.shrink();
            dropped += before - self.open.memory_bytes();
        }
        dropped
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
            kept_end: None,
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

/// Why a message is not in memory.
enum Missing {
    /// It was not published, or is not visible yet.
    NotYet,
    /// There are no such messages up to `end`.
    Gap { end: Sequence },
    /// It is on disk.
    OnDisk(ReadPlan),
}

/// Takes from `block` what the cursor, which stands in it, meets there.
fn read_block(block: &Block, cursor: &mut Cursor, limit: RunLimit) -> Reading {
    let layout = &block.layout;
    let payload = block.payload();
    let first = cursor.next;
    let index = layout.index_of(first);
    let from = match cursor.hint {
        Some(hint) if hint.block == layout.first => hint.offset as usize,
        _ => layout.offset_of(payload, index),
    };
    let waiting = layout.deferred.partition_point(|deferral| deferral.index < index);
    let deferral = layout.deferred.get(waiting);
    let stop = deferral.map_or(layout.count, |deferral| deferral.index);
    let (to, count) = if stop == index {
        (from + frame_bytes(payload, from), 1)
    } else {
        measure_run(payload, from, stop - index, stop == layout.count, limit)
    };
    let offset = u32::try_from(to).expect("a payload's length fits in 32 bits");
    *cursor =
        Cursor { next: first + u64::from(count), hint: Some(Hint { block: layout.first, offset }) };
    match deferral {
        Some(deferral) if deferral.index == index => {
            Reading::Deferred { sequence: first, due: deferral.due }
        }
        _ => {
            let bytes = block.frames(from, to);
            Reading::Run(Run { bytes, naming: layout.naming, first, count })
        }
    }
}

/// Where a run ends that starts at `from`, and how many messages it has: of `available` ones, which
/// go to the payload's end if `to_the_end`, as many as the limit allows.
fn measure_run(
    payload: &[u8],
    from: usize,
    available: u32,
    to_the_end: bool,
    limit: RunLimit,
) -> (usize, u32) {
    if to_the_end && available <= limit.messages && payload.len() - from <= limit.bytes {
        return (payload.len(), available);
    }
    let mut to = from + frame_bytes(payload, from);
    let mut count = 1;
    while count < available.min(limit.messages) {
        let next = to + frame_bytes(payload, to);
        if limit.bytes < next - from {
            break;
        }
        to = next;
        count += 1;
    }
    (to, count)
}
