//! Walks over the bytes of a segment, from block to block, and steps over what is damaged.
//!
//! Is fed with one chunk after the other, and can stop and go on at any place ([`Entry`]). After
//! damage it looks for the next place where a block is valid.
//!
//! Does not know: where bytes come from, who wants the blocks.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::block::{BLOCK_MAGIC, BlockError, Layout, Place};
use super::index::Entry;
use super::segment::SegmentName;
use crate::limits::READ_BYTES;
use crate::message::Sequence;
use std::ops::Range;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Scanner {
    base: u64,
    segment: SegmentName,
    /// Where the file ends, or what is known of it.
    end: u64,
    /// The segment has no message from here on.
    bound: Sequence,
    /// Where it stands.
    at: Entry,
    /// The end of the last byte in the lost part that is not zero, as far as this scanner saw it.
    lost_content_end: u64,
}

/// What a scanner met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A valid block.
    Block {
        /// Where it starts in the file.
        offset: u64,
        /// What it says.
        layout: Layout,
        /// Messages that should stand before it and do not.
        missing: Range<Sequence>,
        /// How many bytes just before it are no block.
        lost: u64,
    },
    /// The chunk has no more whole block; the next is to start at [`Scanner::place`].
    More,
    /// The segment is at its end.
    End {
        /// How many bytes at the end are no block.
        lost: u64,
        /// How many of them come before the zeros, if any, at the very end.
        content: u64,
    },
}

impl Scanner {
    /// A scanner that starts at `at` of a file of `end` bytes, whose messages all lie below
    /// `bound`.
    pub(super) fn new(
        base: u64,
        segment: SegmentName,
        at: Entry,
        end: u64,
        bound: Sequence,
    ) -> Self {
        Self { base, segment, end, bound, at, lost_content_end: at.offset }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Entry {
        self.at
    }

    /// What it must read next: offset and length; `None` at the end.
    pub(super) fn next_read(&self) -> Option<(u64, u64)> {
        let left = self.end.checked_sub(self.at.offset).filter(|&left| 0 < left)?;
        Some((self.at.offset, self.at.needs.max(READ_BYTES as u64).min(left)))
    }

    /// The file turned out to be shorter.
    pub(super) fn cut(&mut self, end: u64) {
        self.end = self.end.min(end);
    }

    /// Goes on in `data`, a chunk of the file that starts at `data_offset`.
    pub(super) fn step(&mut self, data_offset: u64, data: &[u8]) -> Step {
        loop {
            if self.end <= self.at.offset {
                return self.finish();
            }
            let Some(rest) = self
                .at
                .offset
                .checked_sub(data_offset)
                .and_then(|skip| data.get(usize::try_from(skip).ok()?..))
                .filter(|rest| !rest.is_empty())
            else {
                return Step::More;
            };
            match self.decode(rest) {
                Ok(layout) => return self.take(layout),
                Err(BlockError::Torn { needs }) if self.at.offset + needs <= self.end => {
                    self.at.needs = needs;
                    return Step::More;
                }
                Err(BlockError::Torn { .. } | BlockError::Corrupt | BlockError::NotABlock) => {
                    self.seek(rest);
                }
            }
        }
    }

    /// The block at the start of `rest`, where the scanner stands.
    fn decode(&self, rest: &[u8]) -> Result<Layout, BlockError> {
        let offset = self.at.offset;
        let place = Place { base: self.base, segment: self.segment, offset };
        let layout = Layout::decode(rest, place)?;
        let fits = self.at.sequence <= layout.first && layout.end() <= self.bound;
        if fits { Ok(layout) } else { Err(BlockError::Corrupt) }
    }

    fn take(&mut self, layout: Layout) -> Step {
        let Entry { sequence, offset, lost, .. } = self.at;
        self.at = Entry::block(layout.end(), offset + layout.block_bytes(), 0);
        self.lost_content_end = self.at.offset;
        Step::Block { offset, missing: sequence..layout.first, layout, lost }
    }

    /// Moves to the next byte of `rest`, behind its first, at which a block may start, or to the
    /// end of it.
    fn seek(&mut self, rest: &[u8]) {
        let skipped = next_magic(rest).unwrap_or(rest.len());
        let lost = rest.get(..skipped).unwrap_or(rest);
        if let Some(last) = lost.iter().rposition(|&byte| byte != 0) {
            self.lost_content_end = self.at.offset + last as u64 + 1;
        }
        self.at.offset += skipped as u64;
        self.at.lost += skipped as u64;
        self.at.needs = 0;
    }

    fn finish(&mut self) -> Step {
        let lost = self.at.lost;
        let lost_start = self.at.offset - lost;
        Step::End { lost, content: self.lost_content_end.saturating_sub(lost_start) }
    }
}

/// Where a block may start in `bytes`, behind the first; a block's first bytes may be all there is.
fn next_magic(bytes: &[u8]) -> Option<usize> {
    let [first, ..] = BLOCK_MAGIC;
    let mut from = 1;
    loop {
        let rest = bytes.get(from..)?;
        let at = from + rest.iter().position(|&byte| byte == first)?;
        let compared = (bytes.len() - at).min(BLOCK_MAGIC.len());
        if bytes.get(at..at + compared) == BLOCK_MAGIC.get(..compared) {
            return Some(at);
        }
        from = at + 1;
    }
}
