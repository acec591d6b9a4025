//! Finds out what a topic's segments hold, when the broker starts.
//!
//! Sans I/O, like the log itself:
//!
//! 1. [`SegmentFile::inspect`] every file of the folder by its name and first bytes; what is no
//!    segment is set aside.
//! 2. [`Recovery::new`], then [`Recovery::feed`] what [`Recovery::next_read`] asks for, until it asks
//!    for nothing. The last segment is read whole, because its end may be torn; of the others only
//!    those with messages that the checkpoint does not know. The rest is read when somebody wants it.
//! 3. [`Recovery::finish`], and [`super::Log::recover`] from what it found.
//!
//! A torn end is what a crash leaves: it is cut, and said how long it was. Damage before the end is
//! skipped from block to block, counted and reported; what it held is never delivered. Nothing on
//! disk keeps the broker from starting.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::checkpoint::TopicCheckpoint;
use super::index::{Entry, Index};
use super::reading::{Damage, ReadPlan};
use super::scan::{Scanner, Step};
use super::segment::{BLOCKS_START, HeaderError, Kept, SegmentHeader, SegmentName};
use crate::message::{Sequence, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A file that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its name.
    pub name: SegmentName,
    /// The base of the message ids in it.
    pub base: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The segment that came before it when it was started.
    pub previous: SegmentName,
    /// See [`SegmentHeader::kept`].
    pub kept: Option<Kept>,
    /// When it was started.
    pub created: Timestamp,
}

/// Why a file is not used. It should be kept under another name, except when it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// It is not named like a segment.
    Name,
    /// It does not start like one.
    Header(HeaderError),
    /// It was renamed: its header has this name.
    Renamed(SegmentName),
    /// It belongs to another topic, or to an earlier one of this name.
    OtherTopic,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the file is not named like a segment"),
            Self::Header(error) => error.fmt(f),
            Self::Renamed(name) => write!(f, "the file was once {name}"),
            Self::OtherTopic => f.write_str("the segment belongs to another topic"),
        }
    }
}

impl std::error::Error for SetAside {}

impl SegmentFile {
    /// Looks at a file of `bytes` bytes by its name and its first bytes, of which
    /// [`super::SEGMENT_HEADER_BYTES`] are enough.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn inspect(file_name: &str, bytes: u64, head: &[u8]) -> Result<Self, SetAside> {
        let name = SegmentName::parse(file_name).ok_or(SetAside::Name)?;
        let header = SegmentHeader::decode(head).map_err(SetAside::Header)?;
        if header.first != name.first() {
            return Err(SetAside::Renamed(SegmentName(header.first)));
        }
        let SegmentHeader { base, previous, kept, created, .. } = header;
        Ok(Self { name, base, bytes, previous, kept, created })
    }
}

/// One segment as the log will know it.
#[derive(Clone, Debug)]
pub struct RecoveredSegment {
    pub(super) name: SegmentName,
    pub(super) previous: SegmentName,
    pub(super) kept: Option<Kept>,
    pub(super) created: Timestamp,
    /// Where it ends, a torn end left out.
    pub(super) bytes: u64,
    /// One past its last message.
    pub(super) end: Sequence,
    /// Whether all of it could be read, so that blocks may be added.
    pub(super) is_whole: bool,
    pub(super) index: Index,
    pub(super) missing: Vec<Range<Sequence>>,
}

impl RecoveredSegment {
    /// How many messages it has that can be read.
    pub fn messages(&self) -> u64 {
        let missing = self.missing.iter().map(|missing| missing.end - missing.start).sum();
        (self.end - self.name.first()).saturating_sub(missing)
    }

    /// One past its last message.
    pub fn end(&self) -> Sequence {
        self.end
    }
}

/// The end of the last segment, which is to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub segment: SegmentName,
    /// How long it is to be, in bytes.
    pub at: u64,
    /// How many bytes go, not counting zeros that were only reserved.
    pub bytes: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// For [`super::Log::recover`], oldest first.
    pub segments: Vec<RecoveredSegment>,
    /// The base of the topic's message ids; `None` when there is no segment.
    pub base: Option<u64>,
    /// Deferred messages that the checkpoint may not know, in order: those of the segments that
    /// were read. Some may be older than the checkpoint.
    pub deferred: Vec<(Sequence, Timestamp)>,
    /// What to cut off the last segment, so that it ends with a block.
    pub cut: Option<Cut>,
    /// Damage in what was read.
    pub damage: Vec<Damage>,
    /// Where segments are gone: most of them because nobody needed them.
    pub absent: Vec<Absent>,
}

/// Messages whose segments were there once and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The segment that comes behind.
    pub before: SegmentName,
    /// The messages that are known to have been in them. When several are gone in one place, those of
    /// the older ones are not known.
    pub messages: Range<Sequence>,
}

/// Messages that were still needed, and whose segments are gone: somebody took them away, or the file
/// system lost them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Where.
    pub absent: Absent,
    /// How many of the messages a channel, or the topic itself, was still to deliver.
    pub messages: u64,
}

impl Absent {
    /// What of it `checkpoint` still needs, if anything. No segment is deleted before a checkpoint is
    /// kept that needs none of it, so what a checkpoint needs was not deleted by the broker.
    pub fn taken(&self, checkpoint: &TopicCheckpoint) -> Option<Taken> {
        let messages = checkpoint.count_needed(&self.messages);
        (0 < messages).then(|| Taken { absent: self.clone(), messages })
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { absent: Absent { before, .. }, messages } = self;
        write!(f, "a segment before {before} is missing: {messages} messages lost")
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Recovery {
    base: u64,
    /// Segments not finished yet, oldest first.
    files: std::vec::IntoIter<SegmentFile>,
    scan_from: Sequence,
    scan: Option<Scan>,
    recovered: Recovered,
}

/// The topic that most of the files belong to, by bytes if as many belong to another: one file that
/// came from elsewhere must not put a whole log aside.
fn base_of_most(files: &[SegmentFile]) -> Option<u64> {
    let mut sizes = BTreeMap::<u64, (usize, u64)>::new();
    for file in files {
        let (count, bytes) = sizes.entry(file.base).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(file.bytes);
    }
    sizes.into_iter().max_by_key(|&(_, size)| size).map(|(base, _)| base)
}

#[derive(Debug)]
struct Scan {
    segment: RecoveredSegment,
    scanner: Scanner,
    /// The segment behind it; `None` for the last one.
    next: Option<SegmentFile>,
    /// Whether the disk refused to read some of it.
    is_partly_unreadable: bool,
}

impl Recovery {
    /// Starts with the files that can be used, in any order, and names those among them that belong
    /// to another topic. `scan_from` is where the checkpoint's knowledge ends, or zero.
    pub fn new(
        mut files: Vec<SegmentFile>,
        scan_from: Sequence,
    ) -> (Self, Vec<(SegmentName, SetAside)>) {
        files.sort_unstable_by_key(|file| file.name);
        let base = base_of_most(&files);
        let (ours, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| Some(file.base) == base);
        let others = others.iter().map(|file| (file.name, SetAside::OtherTopic)).collect();
        let mut recovery = Self {
            base: base.unwrap_or(0),
            files: ours.into_iter(),
            scan_from,
            scan: None,
            recovered: Recovered { base, ..Recovered::default() },
        };
        // Where nothing was before the first segment, messages may have been refused.
        let first = recovery.files.as_slice().first();
        if let Some(first) = first.filter(|first| first.previous != first.name) {
            let (before, messages) = (first.name, Sequence(0)..first.name.first());
            recovery.note_absent(before, messages);
        }
        recovery.next_segment();
        (recovery, others)
    }

    /// What must be read next; `None` when all is known.
    pub fn next_read(&self) -> Option<ReadPlan> {
        let scanner = &self.scan.as_ref()?.scanner;
        let (offset, bytes) = scanner.next_read()?;
        let start = scanner.place();
        Some(ReadPlan {
            segment: self.scan.as_ref()?.segment.name,
            offset,
            bytes: usize::try_from(bytes).expect("a block fits in memory"),
            generation: 0,
            wanted: start.sequence,
            start,
        })
    }

    /// Takes what was read by `plan`. Shorter data means that the file ends there.
    ///
    /// # Panics
    /// When the plan is not the one that was asked for last.
    pub fn feed(&mut self, plan: &ReadPlan, data: &[u8]) {
        let scan = self.scan.as_mut().expect("a plan was asked for");
        if data.len() < plan.bytes {
            scan.scanner.cut(plan.offset + data.len() as u64);
        }
        loop {
            match scan.scanner.step(plan.offset, data) {
                Step::Block { offset, layout, missing, lost } => {
                    let entry = Entry::block(layout.first, offset, layout.block_bytes());
                    scan.segment.index.add(entry);
                    let deferred = layout.deferred.iter();
                    self.recovered.deferred.extend(
                        deferred.map(|deferral| {
                            (layout.first + u64::from(deferral.index), deferral.due)
                        }),
                    );
                    if 0 < lost {
                        self.recovered.damage.push(Damage {
                            segment: scan.segment.name,
                            offset: offset - lost,
                            bytes: lost,
                            missing: missing.clone(),
                        });
                    }
                    if missing.start < missing.end {
                        scan.segment.missing.push(missing);
                    }
                }
                Step::More => return,
                Step::End { lost, content } => {
                    self.end_scan(lost, content);
                    return;
                }
            }
        }
    }

    /// The disk refused to read what `plan` says. It counts as damaged; the file is not cut and not
    /// written to any more, since it may be readable another time.
    pub fn unreadable(&mut self, plan: &ReadPlan) {
        if let Some(scan) = &mut self.scan {
            scan.is_partly_unreadable = true;
        }
        self.feed(plan, &vec![0; plan.bytes]);
    }

    /// Hands out what was found so far, for those who need not keep it; [`Self::finish`] has the
    /// rest.
    pub fn take_found(&mut self) -> Recovered {
        let rest = Recovered { base: self.recovered.base, ..Recovered::default() };
        std::mem::replace(&mut self.recovered, rest)
    }

    /// What was found.
    ///
    /// # Panics
    /// When [`Self::next_read`] still asks for something.
    pub fn finish(self) -> Recovered {
        assert!(self.scan.is_none(), "all that was asked for must be fed");
        self.recovered
    }

    /// Goes on with the next segment that must be read, over those that need not.
    fn next_segment(&mut self) {
        while let Some(file) = self.files.next() {
            let next_file = self.files.as_slice().first().copied();
            let next = next_file.map(|next| next.name.first());
            let mut segment = RecoveredSegment {
                name: file.name,
                previous: file.previous,
                kept: file.kept,
                created: file.created,
                bytes: file.bytes,
                end: next.unwrap_or(file.name.first()),
                is_whole: true,
                index: Index::new(file.name),
                missing: Vec::new(),
            };
            let is_known = next.is_some_and(|next| next <= self.scan_from);
            if is_known {
                self.note_between(&mut segment, next_file);
                self.recovered.segments.push(segment);
                continue;
            }
            let start = Entry::block(file.name.first(), BLOCKS_START, 0);
            let bound = next.unwrap_or(Sequence(u64::MAX));
            let bound = file.kept.map_or(bound, |kept| kept.end.min(bound));
            let scanner = Scanner::new(self.base, file.name, start, file.bytes, bound);
            self.scan =
                Some(Scan { segment, scanner, next: next_file, is_partly_unreadable: false });
            if file.bytes <= BLOCKS_START {
                self.end_scan(0, 0);
            }
            return;
        }
    }

    /// Notes which messages were between a segment whose end is not known and `next`: those of the
    /// one that came before `next` when it was started, at least.
    fn note_between(&mut self, segment: &mut RecoveredSegment, next: Option<SegmentFile>) {
        let Some(next) = next.filter(|next| next.previous != segment.name) else { return };
        let end = segment.kept.map_or(segment.name.first().next(), |kept| kept.end);
        let messages = end.max(next.previous.first())..next.name.first();
        if messages.start < messages.end {
            segment.missing.push(messages.clone());
        }
        self.note_absent(next.name, messages);
    }

    fn note_absent(&mut self, before: SegmentName, messages: Range<Sequence>) {
        if messages.start < messages.end {
            self.recovered.absent.push(Absent { before, messages });
        }
    }

    fn end_scan(&mut self, lost: u64, content: u64) {
        let Scan { mut segment, scanner, next, is_partly_unreadable } =
            self.scan.take().expect("it is ended once");
        let is_last = next.is_none();
        let Entry { sequence, offset, .. } = scanner.place();
        segment.is_whole = !is_partly_unreadable;
        let mut damage = Damage {
            segment: segment.name,
            offset: offset - lost,
            bytes: lost,
            missing: sequence..sequence,
        };
        if let Some(Kept { end: kept_end, .. }) = segment.kept {
            if is_last {
                segment.end = kept_end.max(segment.name.first().next());
            }
            damage.missing.end = kept_end.min(segment.end).max(sequence);
        } else if !is_last {
            damage.missing.end = segment.end;
        } else if segment.is_whole {
            segment.end = sequence;
            segment.bytes = offset - lost;
            if 0 < lost {
                let cut = Cut { segment: segment.name, at: segment.bytes, bytes: content };
                self.recovered.cut = Some(cut);
            }
            damage.bytes = 0;
        } else {
            // The next segment must have another name than this one.
            segment.end = sequence.max(segment.name.first().next());
            damage.missing.end = segment.end;
        }
        let is_missing = damage.missing.start < damage.missing.end;
        if is_missing {
            segment.missing.push(damage.missing.clone());
        }
        let is_followed = next.is_none_or(|next| next.previous == segment.name);
        let is_followed = is_followed || segment.kept.is_some();
        let is_damaged = is_missing && (is_followed || 0 < damage.bytes);
        if segment.kept.is_some() {
            self.note_between(&mut segment, next);
        } else if let Some(next) = next.filter(|_| !is_damaged) {
            self.note_absent(next.name, damage.missing.clone());
        }
        if is_damaged || (is_partly_unreadable && 0 < damage.bytes) {
            self.recovered.damage.push(damage);
        }
        self.recovered.segments.push(segment);
        self.next_segment();
    }
}
