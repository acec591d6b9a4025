//! Messages ahead of a channel's cursor that it will not read in order: deferred ones (they come by
//! their time), those dropped because an ephemeral channel was full, those emptied from the topic,
//! and sequences that no message has, because a write failed.
//!
//! Lives in its channel. Its size is the number of separate runs of such messages.

use crate::message::Sequence;
use std::collections::VecDeque;
use std::ops::Range;

/// Ranges of sequences, in order, apart from each other.
#[derive(Debug, Default)]
pub struct Skips {
    /// Invariant: in order, not empty, not touching each other.
    ranges: VecDeque<Range<Sequence>>,
    /// Invariant: the sum of their lengths.
    total: u64,
}

impl Skips {
    /// How many messages are skipped.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Where the first range starts.
    pub fn first(&self) -> Option<Sequence> {
        self.ranges.front().map(|range| range.start)
    }

    /// All ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<Sequence>> {
        self.ranges.iter()
    }

    /// Adds a range. What it shares with ranges that are there counts once.
    pub fn push(&mut self, range: Range<Sequence>) {
        if range.end <= range.start {
            return;
        }
        // Almost always at the end: messages come in order.
        let from = self.ranges.partition_point(|there| there.end < range.start);
        let to = self.ranges.partition_point(|there| there.start <= range.end);
        let mut merged = range;
        for there in self.ranges.range(from..to) {
            self.total -= there.end - there.start;
            merged = merged.start.min(there.start)..merged.end.max(there.end);
        }
        self.total += merged.end - merged.start;
        if from + 1 == to {
            self.ranges[from] = merged;
        } else {
            self.ranges.drain(from..to);
            self.ranges.insert(from, merged);
        }
    }

    /// Takes the range that starts at `cursor`, and says where it ends.
    pub fn take_at(&mut self, cursor: Sequence) -> Option<Sequence> {
        if cursor < self.first()? {
            return None;
        }
        let range = self.ranges.pop_front().expect("there is a first one");
        self.total -= range.end - range.start;
        Some(range.end)
    }

    /// Forgets everything below `start`.
    pub fn forget_below(&mut self, start: Sequence) {
        while let Some(range) = self.ranges.front_mut().filter(|range| range.start < start) {
            let end = range.end.min(start);
            self.total -= end - range.start;
            range.start = end;
            if range.end <= range.start {
                self.ranges.pop_front();
            }
        }
    }

    /// Where one stands behind the first `count` messages from `start` on that are not skipped.
    pub fn behind(&self, start: Sequence, count: u64) -> Sequence {
        let mut at = start;
        let mut left = count;
        for range in self.ranges.iter().filter(|range| start < range.end) {
            let run = range.start.max(at) - at;
            if left <= run {
                break;
            }
            left -= run;
            at = range.end;
        }
        at + left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_behaves_like_a_set(pushes in prop::collection::vec((0_u64..60, 0_u64..8), 0..30)) {
            let mut skips = Skips::default();
            let mut model = BTreeSet::new();
            for (start, length) in pushes {
                skips.push(Sequence(start)..Sequence(start + length));
                model.extend(start..start + length);
                prop_assert_eq!(skips.len(), model.len() as u64);
                let all: Vec<u64> =
                    skips.iter().flat_map(|range| range.start.0..range.end.0).collect();
                prop_assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            }
            for start in 0..70 {
                let kept = (start..).filter(|sequence| !model.contains(sequence));
                for (count, sequence) in (1..10).zip(kept) {
                    let behind = skips.behind(Sequence(start), count);
                    prop_assert_eq!(behind, Sequence(sequence + 1));
                }
            }
            let mut later = Skips::default();
            skips.iter().for_each(|range| later.push(range.clone()));
            later.forget_below(Sequence(30));
            let all: Vec<u64> = later.iter().flat_map(|range| range.start.0..range.end.0).collect();
            prop_assert_eq!(later.len(), all.len() as u64);
            prop_assert_eq!(all, model.range(30..).copied().collect::<Vec<_>>());
            for sequence in 0..70 {
                let covered = skips.iter().any(|range| range.contains(&Sequence(sequence)));
                prop_assert_eq!(covered, model.contains(&sequence));
            }
        }
    }
}
