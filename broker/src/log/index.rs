//! Places in one segment from which a read may start.
//!
//! Knows: which place is the best for a message. Does not know: how to read.

use super::segment::{BLOCKS_START, SegmentName};
use crate::limits::INDEX_SPACING_BYTES;
use crate::message::Sequence;

/// A place in a segment where a block starts, or where the search for one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// All blocks before the place have lower sequences, and those behind have none lower.
    pub(super) sequence: Sequence,
    /// In bytes from the start of the file.
    pub(super) offset: u64,
    /// How many bytes must be read from here to see a whole block; zero when that is not known.
    pub(super) needs: u64,
    /// How many bytes before `offset` are no valid block, and were not reported yet.
    pub(super) lost: u64,
}

impl Entry {
    /// A place where a block starts, or should.
    pub(super) fn block(sequence: Sequence, offset: u64, needs: u64) -> Self {
        Self { sequence, offset, needs, lost: 0 }
    }
}

/// Sparse: some of a segment's places. Grows with the segment when it is written, and with what was
/// read when it is found on disk.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Invariant: not empty; sequences and offsets rise.
    entries: Vec<Entry>,
}

impl Index {
    /// The one place that is known of any segment.
    pub(super) fn new(segment: SegmentName) -> Self {
        Self { entries: vec![Entry::block(segment.first(), BLOCKS_START, 0)] }
    }

    /// The last known place from which `sequence`, which the segment may hold, can be reached.
    pub(super) fn find(&self, sequence: Sequence) -> Entry {
        let after = self.entries.partition_point(|entry| entry.sequence <= sequence);
        self.entries[after.saturating_sub(1)]
    }

    /// Remembers a place, unless one close before it is known.
    pub(super) fn add(&mut self, entry: Entry) {
        if self.find(entry.sequence).offset + INDEX_SPACING_BYTES <= entry.offset {
            self.put(entry);
        }
    }

    /// Remembers a place. Of two places for one sequence the later one stays.
    pub(super) fn put(&mut self, entry: Entry) {
        let at = self.entries.partition_point(|there| there.sequence < entry.sequence);
        match self.entries.get_mut(at) {
            Some(there) if there.sequence == entry.sequence => {
                if there.offset < entry.offset
                    || (there.offset == entry.offset && there.needs < entry.needs)
                {
                    *there = entry;
                }
            }
            _ => self.entries.insert(at, entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sought_from_the_last_place_before_it() {
        let mut index = Index::new(SegmentName(Sequence(100)));
        index.add(Entry::block(Sequence(101), 300, 0));
        index.add(Entry::block(Sequence(200), 70_000, 0));
        let offsets =
            [100, 101, 199, 200, 5_000].map(|message| index.find(Sequence(message)).offset);
        assert_eq!(offsets, [64, 64, 64, 70_000, 70_000]);
    }

    #[test]
    fn a_place_that_must_be_kept_is_kept_however_close_it_is() {
        let mut index = Index::new(SegmentName(Sequence(0)));
        index.put(Entry::block(Sequence(1), 300, 1_000));
        assert_eq!(index.find(Sequence(1)).needs, 1_000);
        index.put(Entry { sequence: Sequence(1), offset: 900, needs: 0, lost: 600 });
        assert_eq!(index.find(Sequence(5)).lost, 600);
        assert_eq!(index.find(Sequence(0)).offset, 64);
    }
}
