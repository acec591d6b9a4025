//! Messages are added to a log: laid into the open block, sealed, written or given up.
//!
//! Knows: which segment and place a block gets, and what becomes of it. Does not know: files, and
//! who waits for an answer.

use super::block::{Block, Layout, Naming, Place};
use super::index::Entry;
use super::segment::{BLOCKS_START, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use super::{Log, Segment};
use crate::message::{Sequence, Timestamp};
use bytes::Bytes;
use protocol::frame::{MESSAGE_FRAME_OVERHEAD, message_frame_header};
use protocol::message_id::MessageId;
use std::ops::Range;

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
    pub(super) layout: Layout,
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

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) messages: Range<Sequence>,
    pub(super) segment: SegmentName,
    pub(super) end_offset: u64,
    /// Where the messages of the segment ended before.
    pub(super) sequence_before: Sequence,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Unknown,
    Written(Block),
    Abandoned,
}

impl Log {
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
        if let Some(last) = self.segments.back_mut() {
            last.is_open = false;
        }
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
            kept: None,
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
    /// that could not be synced: what is added to it might be lost with the rest. One without blocks
    /// has nothing to lose, and its header comes again with the first; were it left empty, the next
    /// start would miss it.
    pub fn close_segment(&mut self) {
        let last = self.segments.back_mut();
        if let Some(segment) = last.filter(|segment| BLOCKS_START < segment.next_offset) {
            segment.is_open = false;
        }
    }

    /// The header of the segment that is to have the next block and has none yet; after
    /// [`Self::close_segment`] that is a new one. Whoever writes it sees whether the disk takes what
    /// it is given. `None` when blocks were written since: those show it.
    pub fn empty_segment(&mut self, now: Timestamp) -> Option<SegmentHeader> {
        if !self.pending.is_empty() {
            return None;
        }
        match self.segments.back() {
            Some(last) if last.is_open => SegmentHeader::decode(&last.unwritten_header?).ok(),
            _ => Some(self.add_segment(self.end, now)),
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
}
