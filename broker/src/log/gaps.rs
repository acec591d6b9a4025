//! Sequences that no message has: their write failed, their bytes were damaged, or nobody needed
//! them any more.
//!
//! Readers step over them. Does not know: which of the three it was.

use crate::message::Sequence;
use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of sequences, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Start to end. Invariant: no range is empty, touches or overlaps another.
    ranges: BTreeMap<Sequence, Sequence>,
}

impl Gaps {
    /// Where the gap ends that `sequence` is in.
    pub fn end_at(&self, sequence: Sequence) -> Option<Sequence> {
        let (_, &end) = self.ranges.range(..=sequence).next_back()?;
        (sequence < end).then_some(end)
    }

    /// Where the gap starts that `sequence` is in.
    pub fn start_at(&self, sequence: Sequence) -> Option<Sequence> {
        let (&start, &end) = self.ranges.range(..=sequence).next_back()?;
        (sequence < end).then_some(start)
    }

    /// Those parts of `range` that are gaps, in order.
    pub fn within(&self, range: &Range<Sequence>) -> Vec<Range<Sequence>> {
        if range.end <= range.start {
            return Vec::new();
        }
        let first = self.end_at(range.start).map(|end| range.start..end.min(range.end));
        let later = self.ranges.range(range.start.next()..range.end);
        let later = later.map(|(&start, &end)| start..end.min(range.end));
        first.into_iter().chain(later).collect()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<Sequence>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// Adds a range. What it shares with gaps that are there counts once.
    pub fn add(&mut self, range: Range<Sequence>) {
        if range.end <= range.start {
            return;
        }
        let mut merged = range;
        while let Some((&start, &end)) = self.ranges.range(..=merged.end).next_back()
            && merged.start <= end
        {
            self.ranges.remove(&start);
            merged = merged.start.min(start)..merged.end.max(end);
        }
        self.ranges.insert(merged.start, merged.end);
    }

    /// Forgets everything below `start`.
    pub fn forget_below(&mut self, start: Sequence) {
        while let Some(first) = self.ranges.first_entry()
            && *first.key() < start
        {
            let end = first.remove();
            if start < end {
                self.ranges.insert(start, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(ranges: &[(u64, u64)]) -> Gaps {
        let mut gaps = Gaps::default();
        for &(start, end) in ranges {
            gaps.add(Sequence(start)..Sequence(end));
        }
        gaps
    }

    #[track_caller]
    fn check(gaps: &Gaps, expected: &[(u64, u64)]) {
        let there: Vec<_> = gaps.ranges.iter().map(|(start, end)| (start.0, end.0)).collect();
        assert_eq!(there, expected);
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        check(&gaps(&[(5, 7), (1, 2)]), &[(1, 2), (5, 7)]);
        check(&gaps(&[(1, 3), (3, 5)]), &[(1, 5)]);
        check(&gaps(&[(3, 5), (1, 3)]), &[(1, 5)]);
        check(&gaps(&[(1, 2), (4, 5), (8, 9), (2, 8)]), &[(1, 9)]);
        check(&gaps(&[(1, 9), (3, 4)]), &[(1, 9)]);
        check(&gaps(&[(3, 3)]), &[]);
    }

    #[test]
    fn a_gap_starts_behind_a_message_and_ends_before_the_next() {
        let gaps = gaps(&[(3, 5)]);
        let ends = [2, 3, 4, 5].map(|sequence| gaps.end_at(Sequence(sequence)));
        assert_eq!(ends, [None, Some(Sequence(5)), Some(Sequence(5)), None]);
        let starts = [2, 3, 4, 5].map(|sequence| gaps.start_at(Sequence(sequence)));
        assert_eq!(starts, [None, Some(Sequence(3)), Some(Sequence(3)), None]);
    }

    #[test]
    fn parts_of_gaps_count_as_far_as_they_are_within() {
        let gaps = gaps(&[(1, 4), (6, 7), (9, 12)]);
        let within = |start, end| -> Vec<_> {
            let parts = gaps.within(&(Sequence(start)..Sequence(end)));
            parts.into_iter().map(|part| (part.start.0, part.end.0)).collect()
        };
        assert_eq!(within(0, 20), [(1, 4), (6, 7), (9, 12)]);
        assert_eq!(within(2, 10), [(2, 4), (6, 7), (9, 10)]);
        assert_eq!(within(2, 3), [(2, 3)]);
        assert_eq!(within(4, 6), []);
        assert_eq!(within(1, 1), []);
    }

    #[test]
    fn what_lies_below_the_start_is_forgotten() {
        let mut gaps = gaps(&[(1, 2), (4, 8), (9, 10)]);
        gaps.forget_below(Sequence(6));
        check(&gaps, &[(6, 8), (9, 10)]);
    }
}
