//! Which parts of a topic's log can go.
//!
//! A segment that nobody needs is deleted, wherever it lies. One of which most is not needed any
//! more is written anew with the rest ([`crate::log::Compaction`]), so that a few messages that wait
//! for hours do not keep what came with them: the files are at most twice as long as what is needed,
//! the segments that are written to and that were closed last left out.
//!
//! Knows: who needs what. Does not know: files.

use super::Topic;
use crate::channel::messages_in;
use crate::log::{Closed, Compaction, SegmentName};
use crate::message::{Sequence, shared};
use std::ops::Range;

/// Segments shorter than this part of a full one (4 KiB by default) are not worth writing anew: a
/// file takes as much anyway.
const SHORT_SEGMENTS_PER_FULL: u64 = 16 << 10;

/// What can go.
#[derive(Debug, Default)]
pub struct Waste {
    /// Segments that nobody needs; the log has given them up.
    pub delete: Vec<SegmentName>,
    /// Segments to write anew, the oldest first. See [`Topic::compaction`].
    pub compact: Vec<SegmentName>,
}

/// How many messages of one segment are needed.
#[derive(Clone, Copy, Debug, Default)]
struct Needed {
    /// By the channel that needs most; at least so many are needed.
    most: u64,
    /// By all channels together; one counts as often as it is needed.
    sum: u64,
}

impl Topic {
    /// Finds what can go. Looks at every message that is deferred, requeued or in flight.
    pub fn find_waste(&mut self) -> Waste {
        let closed: Vec<_> = self.log.closed_segments().collect();
        let is_there = |name| closed.binary_search_by_key(&name, |closed| closed.name).is_ok();
        self.unfit.retain(|&name| is_there(name));
        let Some(last) = closed.last() else { return Waste::default() };
        let mut bounds: Vec<_> = closed.iter().map(|closed| closed.messages.start).collect();
        bounds.push(last.messages.end);
        let needed = self.count_needed(&bounds);
        let unneeded: Vec<_> = closed
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| needed.sum == 0)
            .map(|(closed, _)| closed.messages.start)
            .collect();
        let delete = self.log.retain(|messages| unneeded.binary_search(&messages.start).is_err());
        let compact = closed.iter().zip(&needed);
        let compact = compact.filter(|(closed, needed)| self.is_mostly_waste(closed, **needed));
        Waste { delete, compact: compact.map(|(closed, _)| closed.name).collect() }
    }

    fn is_mostly_waste(&self, closed: &Closed, needed: Needed) -> bool {
        if self.unfit.contains(&closed.name) {
            return false;
        }
        let (there, needed) = match closed.kept.and_then(|kept| kept.needed) {
            // What several channels needed may overlap in part, and overlap less by now: only the
            // same count says whether less would be there.
            Some(kept) => (kept.get(), needed.sum),
            None => {
                let range = &closed.messages;
                // Segments behind it that were deleted are gaps.
                let gone = messages_in(&self.log.gaps_within(range));
                ((range.end - range.start).saturating_sub(gone), needed.most)
            }
        };
        let short_bytes = self.log.segment_bytes_max() / SHORT_SEGMENTS_PER_FULL;
        0 < needed && 2 * needed < there && short_bytes < closed.bytes
    }

    /// Writes a segment anew, with what is needed of it now; `None` when it is gone.
    pub fn compaction(&self, segment: SegmentName) -> Option<Compaction> {
        let closed = self.log.closed_segments().find(|closed| closed.name == segment)?;
        let needed = std::iter::once(self.released..self.log.end())
            .chain(self.channels.iter().flat_map(|(_, channel)| channel.needed()))
            .filter_map(|range| shared(&range, &closed.messages))
            .collect::<Vec<_>>();
        let count = messages_in(&needed);
        self.log.compaction(segment, merged(needed), count)
    }

    /// Gives up the oldest segment, whoever needs it; which files go, and how many messages they
    /// had that somebody may have needed. `None` when there is only the one that is written to.
    ///
    /// Messages of it that a client holds can still be finished; when they time out they are gone.
    pub fn drop_oldest(&mut self) -> Option<(Vec<SegmentName>, u64)> {
        let range = self.log.closed_segments().next()?.messages;
        let messages = (range.end - range.start) - messages_in(&self.log.gaps_within(&range));
        self.give_up_below(range.end);
        Some((self.log.release_below(range.end), messages))
    }

    /// A segment that was to be written anew cannot be; it is not tried again before the next start.
    pub fn leave_as_it_is(&mut self, segment: SegmentName) {
        self.unfit.insert(segment);
    }

    /// How many messages are looked at to find what can go.
    pub fn outstanding(&self) -> u64 {
        self.channels.iter().map(|(_, channel)| channel.outstanding()).sum()
    }

    /// How many messages from one of `bounds`, which rise, to the next are needed.
    fn count_needed(&self, bounds: &[Sequence]) -> Vec<Needed> {
        let segments = bounds.len().saturating_sub(1);
        let mut needed = vec![Needed::default(); segments];
        let mut counts = vec![0; segments];
        add_to_counts(bounds, &mut counts, &(self.released..self.log.end()));
        take_counts(&mut counts, &mut needed);
        for (_, channel) in &self.channels {
            channel.needed().for_each(|range| add_to_counts(bounds, &mut counts, &range));
            take_counts(&mut counts, &mut needed);
        }
        needed
    }
}

/// Adds to each count what `range` shares with its part of `bounds`.
fn add_to_counts(bounds: &[Sequence], counts: &mut [u64], range: &Range<Sequence>) {
    let mut at = bounds.partition_point(|&bound| bound <= range.start).saturating_sub(1);
    while let (Some(count), Some(&start), Some(&end)) =
        (counts.get_mut(at), bounds.get(at), bounds.get(at + 1))
        && start < range.end
    {
        if let Some(shared) = shared(&(start..end), range) {
            *count += shared.end - shared.start;
        }
        at += 1;
    }
}

fn take_counts(counts: &mut [u64], needed: &mut [Needed]) {
    for (count, needed) in counts.iter_mut().zip(needed) {
        needed.most = needed.most.max(*count);
        needed.sum += std::mem::take(count);
    }
}

/// The same messages as ranges in order and apart.
fn merged(mut ranges: Vec<Range<Sequence>>) -> Vec<Range<Sequence>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<Sequence>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}
