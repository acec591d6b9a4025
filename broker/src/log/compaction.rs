//! Writes a segment anew without the messages that nobody needs any more.
//!
//! What stays keeps its sequence, and so its id: the new file is a segment like any other, whose
//! blocks leave out more. A few messages that wait for hours so do not keep the gigabytes that came
//! with them.
//!
//! Sans I/O: asks for the old file piece by piece, and says what to append to the new one. Does not
//! know: who needs which message, files.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::Closed;
use super::block::{BLOCK_HEADER_BYTES, Block, Deferral, Layout, Place};
use super::index::{Entry, Index};
use super::scan::{Scanner, Step};
use super::segment::{BLOCKS_START, Kept, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use crate::limits::READ_BYTES;
use crate::message::Sequence;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;

/// See the head of this file.
#[derive(Debug)]
pub struct Compaction {
    base: u64,
    segment: SegmentName,
    scanner: Scanner,
    /// In order, apart. What lies before the scanner was taken out.
    needed: std::iter::Peekable<std::vec::IntoIter<Range<Sequence>>>,
    /// How many that were, each as often as a channel needs it.
    needed_count: u64,
    /// The old file's, when it was read.
    header: Option<SegmentHeader>,
    file_bytes: u64,
    is_done: bool,
    /// How long the new file is so far.
    bytes: u64,
    /// One past the last message of the new file.
    end: Sequence,
    index: Index,
}

/// A new file for a segment. To be given to [`super::Log::replaced`] when it has taken the old one's
/// place.
#[derive(Debug)]
pub struct Compacted {
    pub(super) segment: SegmentName,
    pub(super) bytes: u64,
    pub(super) kept: Kept,
    pub(super) index: Index,
}

impl Compacted {
    /// Which segment it is.
    pub fn segment(&self) -> SegmentName {
        self.segment
    }

    /// How long the new file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The old file is damaged: it stays as it is, and readers step over the damage and report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the segment is damaged")
    }
}

impl std::error::Error for Unfit {}

impl Compaction {
    pub(super) fn new(
        base: u64,
        closed: &Closed,
        needed: Vec<Range<Sequence>>,
        needed_count: u64,
    ) -> Self {
        let Closed { name: segment, bytes: file_bytes, .. } = *closed;
        let end = closed.messages.end;
        let bound = closed.kept.map_or(end, |kept| kept.end.min(end));
        let start = Entry::block(segment.first(), BLOCKS_START, 0);
        Self {
            base,
            segment,
            scanner: Scanner::new(base, segment, start, file_bytes, bound),
            needed: needed.into_iter().peekable(),
            needed_count,
            header: None,
            file_bytes,
            is_done: false,
            bytes: BLOCKS_START,
            end: segment.first(),
            index: Index::new(segment),
        }
    }

    /// Which segment it is about.
    pub fn segment(&self) -> SegmentName {
        self.segment
    }

    /// What must be read of the old file next, offset and length; `None` at its end, or when
    /// nothing behind is needed.
    pub fn next_read(&self) -> Option<(u64, usize)> {
        let (offset, bytes) = match self.header {
            None => (0, self.file_bytes.min(READ_BYTES as u64)),
            Some(_) if self.is_done => return None,
            Some(_) => self.scanner.next_read()?,
        };
        Some((offset, usize::try_from(bytes).expect("a block fits in memory")))
    }

    /// Takes what was read, and says where in the new file to write what.
    ///
    /// # Errors
    /// When the old file is not what was written.
    pub fn feed(&mut self, offset: u64, data: &[u8]) -> Result<(u64, Vec<u8>), Unfit> {
        let planned = self.next_read().map(|(_, bytes)| bytes);
        if planned.is_none_or(|planned| data.len() < planned) {
            return Err(Unfit);
        }
        if self.header.is_none() {
            self.header = Some(SegmentHeader::decode(data).map_err(|_| Unfit)?);
        }
        let there = self.bytes;
        let mut out = Vec::new();
        loop {
            match self.scanner.step(offset, data) {
                Step::Block { lost: 1.., .. } | Step::End { lost: 1.., .. } => return Err(Unfit),
                Step::Block { offset: at, layout, .. } => {
                    let from = usize::try_from(at - offset).map_err(|_| Unfit)?;
                    let rest = data.get(from..).ok_or(Unfit)?;
                    self.keep(&layout, rest, &mut out);
                }
                Step::More => break,
                Step::End { .. } => {
                    self.is_done = true;
                    break;
                }
            }
            if self.needed.peek().is_none() {
                self.is_done = true;
                break;
            }
        }
        Ok((there, out))
    }

    /// Copies what is needed of the block at the start of `bytes`.
    fn keep(&mut self, layout: &Layout, bytes: &[u8], out: &mut Vec<u8>) {
        let mut block = None;
        while let Some(needed) = self.needed.peek().filter(|needed| needed.start < layout.end()) {
            let run = needed.start.max(layout.first)..needed.end.min(layout.end());
            let is_over = needed.end <= layout.end();
            if run.start < run.end {
                let block = block.get_or_insert_with(|| {
                    let bytes = bytes.get(..block_bytes(layout)).unwrap_or(bytes);
                    Block { layout: layout.clone(), bytes: Bytes::copy_from_slice(bytes) }
                });
                self.push(block, &run, out);
            }
            if !is_over {
                return;
            }
            self.needed.next();
        }
    }

    /// Lays a block of these messages into the new file.
    fn push(&mut self, block: &Block, run: &Range<Sequence>, out: &mut Vec<u8>) {
        let Block { layout, .. } = block;
        let (first, behind) = (layout.index_of(run.start), run.end - layout.first);
        let count = u32::try_from(run.end - run.start).expect("a block counts so far");
        let payload = block.payload();
        let from = layout.offset_of(payload, first);
        let to = match u32::try_from(behind).ok().filter(|&behind| behind < layout.count) {
            Some(behind) => layout.offset_of(payload, behind),
            None => payload.len(),
        };
        let deferred = layout.deferred.iter().filter_map(|deferral| {
            let index = deferral.index.checked_sub(first).filter(|&index| index < count)?;
            Some(Deferral { index, due: deferral.due })
        });
        let kept = Layout {
            first: run.start,
            naming: layout.naming,
            count,
            payload_bytes: u32::try_from(to - from).expect("it is part of a payload"),
            deferred: deferred.collect(),
            marks: Box::default(),
        };
        let mut bytes = BytesMut::with_capacity(block_bytes(&kept));
        bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        bytes.extend_from_slice(&block.frames(from, to));
        let place = Place { base: self.base, segment: self.segment, offset: self.bytes };
        kept.encode(&mut bytes, place);
        self.index.add(Entry::block(kept.first, self.bytes, kept.block_bytes()));
        self.bytes += bytes.len() as u64;
        self.end = kept.end();
        out.extend_from_slice(&bytes);
    }

    /// When all was read: the header to be written at the start of the new file, and what the log
    /// must know. `None` when nothing of the segment is needed.
    ///
    /// # Panics
    /// When [`Self::next_read`] still asks for something.
    pub fn finish(self) -> Option<([u8; SEGMENT_HEADER_BYTES], Compacted)> {
        assert!(self.next_read().is_none(), "all that was asked for must be fed");
        let Self { segment, bytes, end, index, header, needed_count, .. } = self;
        if bytes == BLOCKS_START {
            return None;
        }
        let kept = Kept { end, needed: NonZeroU64::new(needed_count) };
        let header = SegmentHeader { kept: Some(kept), ..header? };
        Some((header.encode(), Compacted { segment, bytes, kept, index }))
    }
}

fn block_bytes(layout: &Layout) -> usize {
    usize::try_from(layout.block_bytes()).expect("a block fits in memory")
}
