//! A log is read: what its readers hold and get, and how that is found, in memory or by a plan of
//! what to read from disk.
//!
//! Knows: where in which block a message is, and what damage looks like. Does not know: who reads,
//! and files.

use super::Log;
use super::block::{Block, Layout, Naming, frame_bytes};
use super::index::Entry;
use super::scan::{Scanner, Step};
use super::segment::SegmentName;
use crate::limits::READ_BYTES;
use crate::message::{Sequence, Timestamp};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// A reader's place in a log. Stays right whatever the log keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) next: Sequence,
    /// Where `next` is in its block, if a run ended there.
    pub(super) hint: Option<Hint>,
}

/// Saves counting frames from the start of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The block, by its first sequence. No two blocks of a log have the same.
    pub(super) block: Sequence,
    /// The place in its payload.
    pub(super) offset: u32,
}

impl Cursor {
    /// A cursor that reads `next` first.
    pub fn at(next: Sequence) -> Self {
        Self { next, hint: None }
    }

    /// The message it reads next.
    pub fn next(&self) -> Sequence {
        self.next
    }
}

/// How much to read at once. At least one message is read, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// At most so many messages.
    pub messages: u32,
    /// At most so many bytes of frames.
    pub bytes: usize,
}

/// Messages to be sent as they lie in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whole frames as the next delivery sends them, one behind the other.
    pub bytes: Bytes,
    /// How the messages are named.
    pub naming: Naming,
    /// The first message's sequence; the others follow without a gap.
    pub first: Sequence,
    /// How many, at least 1.
    pub count: u32,
}

/// What a cursor meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Messages; the cursor stands behind them.
    Run(Run),
    /// The message must wait for its time; the cursor stands behind it.
    Deferred {
        /// The message.
        sequence: Sequence,
        /// When it is due.
        due: Timestamp,
    },
    /// There are no such messages; the cursor stands behind the gap.
    Gap {
        /// How many sequences were stepped over.
        count: u64,
    },
    /// The message must be read from disk first; the cursor did not move.
    NotInMemory(ReadPlan),
    /// There is nothing more.
    End,
}

/// One message, sought by its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its frame as a first delivery sends it, and how it is named.
    Frame(Bytes, Naming),
    /// It must be read from disk first.
    NotInMemory(ReadPlan),
    /// There is no such message, or none any more.
    Gone,
}

/// What must be read from disk before a reader can go on.
///
/// The bytes are to be given to [`super::Log::loaded`]. A read that the disk refuses is to be told
/// with [`super::Log::unreadable`], or readers ask for it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// The file.
    pub segment: SegmentName,
    /// Where to start, in bytes.
    pub offset: u64,
    /// How many bytes; may be none. The file has as many: fewer mean that it was cut.
    pub bytes: usize,
    /// Which of the segment's files it is about: one may be replaced by a shorter one.
    pub(super) generation: u32,
    /// The message it is for.
    pub(super) wanted: Sequence,
    pub(super) start: Entry,
}

/// Bytes of a segment that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub segment: SegmentName,
    /// Where the damage starts, in bytes.
    pub offset: u64,
    /// How many bytes were skipped; zero when the file lacks messages that it should have.
    pub bytes: u64,
    /// The messages that are lost. They are a gap now.
    pub missing: Range<Sequence>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, bytes, missing } = self;
        let messages = missing.end - missing.start;
        write!(f, "{segment} is damaged at {offset}: {bytes} bytes, {messages} messages lost")
    }
}

/// What a read from disk brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// How many messages are in memory now that were not before.
    pub messages: u64,
    /// Damage that was found; each is reported once.
    pub damage: Vec<Damage>,
}

impl Log {
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

    pub(super) fn block_at(&self, sequence: Sequence) -> Option<&Block> {
        let (_, block) = self.blocks.range(..=sequence).next_back()?;
        (sequence < block.layout.end()).then_some(block)
    }

    /// Why `sequence` is not in memory.
    pub(super) fn missing_at(&mut self, sequence: Sequence) -> Missing {
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
        if segment.kept.is_some_and(|kept| kept.end <= sequence) {
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
    pub(super) fn bound(&self, next_segment: usize) -> Sequence {
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
        if let Some(kept) = segment.kept {
            bound = bound.min(kept.end);
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
                        // The segments between this one and the next are gone; recovery has said so
                        // if somebody needed them.
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

    pub(super) fn keep(&mut self, block: Block) {
        let first = block.layout.first;
        self.block_bytes += block.bytes.len();
        self.arrivals.push_back(first);
        self.blocks.insert(first, block);
        if 2 * self.blocks.len() + 64 < self.arrivals.len() {
            let blocks = &self.blocks;
            self.arrivals.retain(|first| blocks.contains_key(first));
        }
    }
}

/// Why a message is not in memory.
pub(super) enum Missing {
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
