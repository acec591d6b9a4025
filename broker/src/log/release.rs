//! A log lets go of messages: from memory those that are on disk, from the disk those that nobody
//! needs.
//!
//! Knows: which blocks and segments go with them. Does not know: who needs what, and files.

use super::segment::SegmentName;
use super::{Closed, Compacted, Compaction, Log};
use crate::message::Sequence;
use std::ops::Range;

impl Log {
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
                kept: segment.kept,
            })
        })
    }

    /// Writes a closed segment anew, with none but the messages of `needed`, which are ranges in
    /// order and apart; `count` of them, each as often as a channel needs it. `None` when there is no
    /// such segment.
    pub fn compaction(
        &self,
        segment: SegmentName,
        needed: Vec<Range<Sequence>>,
        count: u64,
    ) -> Option<Compaction> {
        let closed = self.closed_segments().find(|closed| closed.name == segment)?;
        Some(Compaction::new(self.ids.base(), &closed, needed, count))
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
        let Compacted { segment: name, bytes, kept, index } = compacted;
        let Ok(at) = self.segments.binary_search_by_key(&name, |segment| segment.name) else {
            return false;
        };
        self.drop_blocks_in(&(name.first()..self.bound(at + 1)));
        let segment = &mut self.segments[at];
        segment.next_offset = bytes;
        segment.written_bytes = bytes;
        segment.kept = Some(kept);
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
}
