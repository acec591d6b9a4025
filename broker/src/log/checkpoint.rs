//! What a topic must remember over a restart besides its messages: where its channels are.
//!
//! A [`TopicCheckpoint`] is what is remembered. It is kept as a file of [`Record`]s, each of which
//! says what changed since the one before, so that a million deferred messages are not written
//! again with every message that is finished; the first one, and now and then a new file, says
//! everything.
//!
//! ```text
//!  0  8 B  magic
//!  8  u32  version
//! 12  u32  zero
//! 16       records, one behind the other:
//!            u32  length of the content
//!            u32  CRC-32 of the content, started with the record's offset in the file
//!            content:
//!              u8   whether it says everything, 0 or 1
//!              u64  end
//!              u64  released
//!              u8   paused, 0 or 1
//!              list of unclaimed: u64 sequence, i64 due
//!              list of channels:
//!                u8   length of the name, and the name
//!                u8   whether it says everything of the channel, 0 or 1
//!                u8   paused, 0 or 1
//!                u64  cursor
//!                list of runs: u64 first sequence, u32 count
//!                list of events: u8 kind, u64 sequence, and
//!                  0 finished: nothing
//!                  1 waits:    u16 attempts
//!                  2 deferred: u16 attempts, i64 due
//!                  3 skipped:  u64 end
//! ```
//!
//! All numbers are big-endian; a list is a u32 count and so many items. Times are in nanoseconds
//! since 1970. A record that was not written whole, and all behind it, is not used.
//!
//! Knows: this layout, both ways, and what the records come to. Does not know: files. A checkpoint
//! that is older than the log costs deliveries that are made again, never a message.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::fields::Fields;
use super::gaps::Gaps;
use crate::message::{Sequence, Timestamp};
use protocol::name::ChannelName;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

const MAGIC: [u8; 8] = *b"\x89NSQckp\n";
const VERSION: u32 = 2;

/// Where the first record starts.
pub const RECORDS_START: u64 = 16;

/// Bytes of a record before its content.
const RECORD_HEADER_BYTES: usize = 8;

/// More messages of one record are never told of as runs: a forged count must not cost memory. What
/// goes beyond is told of one by one.
const RUN_MESSAGES_MAX: u64 = 1 << 20;

/// A topic without its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicCheckpoint {
    /// The log's end: of later messages nothing is known here.
    pub end: Sequence,
    /// Messages before this were handed to channels, or dropped.
    pub released: Sequence,
    /// Whether the topic is paused.
    pub paused: bool,
    /// Deferred messages not handed to channels yet.
    pub unclaimed: BTreeMap<Sequence, Timestamp>,
    /// Its channels.
    pub channels: BTreeMap<ChannelName, ChannelCheckpoint>,
}

/// A channel without its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelCheckpoint {
    /// Whether it is paused.
    pub paused: bool,
    /// The next message to deliver for the first time.
    pub cursor: Sequence,
    /// Messages from the cursor on that are not delivered in order; some of them may be outstanding.
    pub skips: Gaps,
    /// Messages before the cursor, or among the skipped ones, that were not finished.
    pub outstanding: BTreeMap<Sequence, Outstanding>,
}

/// A message that was taken from the log's order and is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// How many times it was delivered.
    pub attempts: u16,
    /// When it may be delivered again; at once when `None`.
    pub due: Option<Timestamp>,
}

/// What changed in a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Nothing of what was known before is true any more.
    pub is_whole: bool,
    /// See [`TopicCheckpoint::end`].
    pub end: Sequence,
    /// See [`TopicCheckpoint::released`].
    pub released: Sequence,
    /// See [`TopicCheckpoint::paused`].
    pub paused: bool,
    /// Deferred messages from the last record's end to this one's that are not handed over.
    pub unclaimed: Vec<(Sequence, Timestamp)>,
    /// The channels that changed.
    pub channels: Vec<ChannelRecord>,
}

/// What changed in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelRecord {
    /// Its name.
    pub name: ChannelName,
    /// Nothing of what was known of it before is true any more: it is new, or was emptied.
    pub is_whole: bool,
    /// See [`ChannelCheckpoint::paused`].
    pub paused: bool,
    /// See [`ChannelCheckpoint::cursor`].
    pub cursor: Sequence,
    /// Messages that were delivered once, not finished, and are told of nowhere else.
    pub runs: Vec<Range<Sequence>>,
    /// What happened to others, in order.
    pub events: Vec<Event>,
}

/// What became of a message that is not simply the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was finished, or is lost.
    Finished(Sequence),
    /// It waits for another delivery, or is held by a client.
    Waits(Sequence, Outstanding),
    /// The channel never gets these.
    Skipped(Range<Sequence>),
}

impl Decoded {
    /// Whether it is the last that was written of `bytes`, the file, as far as can be seen: nothing
    /// of it is damaged.
    pub fn is_latest(&self, bytes: &[u8]) -> bool {
        self.cut.is_none() || self.is_torn(bytes)
    }

    /// Whether what is not used of `bytes`, the file, is what a write leaves that was cut short: the
    /// last record lacks its end, or there are only zeros.
    pub fn is_torn(&self, bytes: &[u8]) -> bool {
        let valid = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let rest = bytes.get(valid..).unwrap_or_default();
        let content = rest.get(RECORD_HEADER_BYTES..).unwrap_or_default().len() as u64;
        let lacks_its_end = Fields(rest).u32().is_none_or(|length| content < u64::from(length));
        lacks_its_end || rest.iter().all(|&byte| byte == 0)
    }
}

/// Why some bytes are no checkpoint, or not to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// They were not written by this program, or hardly any of them are there.
    Foreign,
    /// They were written by another version.
    Version(u32),
    /// Not even the first record is what was written.
    Damaged,
    /// The records from this offset on are not used: they are not all that was written, or not
    /// what was written.
    Cut(u64),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("the file is not a checkpoint"),
            Self::Version(version) => write!(f, "the checkpoint's version {version} is unknown"),
            Self::Damaged => f.write_str("the checkpoint is damaged"),
            Self::Cut(offset) => write!(f, "the checkpoint is damaged or torn from {offset} on"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What its valid records come to.
    pub checkpoint: TopicCheckpoint,
    /// Where they end.
    pub bytes: u64,
    /// Why they end before the file does, if so.
    pub cut: Option<CheckpointError>,
}

impl TopicCheckpoint {
    /// Reads the whole file.
    ///
    /// # Errors
    /// A [`CheckpointError`] when there is not one valid record.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, CheckpointError> {
        let mut fields = Fields(bytes);
        if fields.chunk() != Some(MAGIC) {
            return Err(CheckpointError::Foreign);
        }
        match fields.u32() {
            Some(VERSION) => {}
            Some(version) => return Err(CheckpointError::Version(version)),
            None => return Err(CheckpointError::Damaged),
        }
        if fields.u32() != Some(0) {
            return Err(CheckpointError::Damaged);
        }
        let mut checkpoint = Self::default();
        let mut offset = RECORDS_START;
        while !fields.0.is_empty() {
            let is_first = offset == RECORDS_START;
            let before = fields.0.len();
            match Record::decode(&mut fields, offset) {
                Some(record) if record.is_whole || !is_first => checkpoint.apply(record),
                _ => break,
            }
            offset += (before - fields.0.len()) as u64;
        }
        if offset == RECORDS_START {
            return Err(CheckpointError::Damaged);
        }
        let is_cut = offset < bytes.len() as u64;
        let cut = is_cut.then_some(CheckpointError::Cut(offset));
        Ok(Decoded { checkpoint, bytes: offset, cut })
    }

    /// How many of the messages of `range` wait in the topic or in one of its channels, or are to be
    /// delivered again. All behind [`Self::released`] do, those of which nothing is known included.
    pub fn count_needed(&self, range: &Range<Sequence>) -> u64 {
        if range.end <= range.start {
            return 0;
        }
        let mut needed = Gaps::default();
        let mut add = |part: Range<Sequence>| {
            needed.add(part.start.max(range.start)..part.end.min(range.end));
        };
        add(self.released..range.end);
        for channel in self.channels.values() {
            let mut start = channel.cursor;
            for skip in channel.skips.within(&(start..self.released)) {
                add(start..skip.start);
                start = skip.end;
            }
            add(start..self.released);
            let outstanding = channel.outstanding.range(range.clone());
            outstanding.for_each(|(&sequence, _)| add(sequence..sequence.next()));
        }
        needed.iter().map(|part| part.end - part.start).sum()
    }

    /// Takes note of what changed.
    pub fn apply(&mut self, record: Record) {
        let Record { is_whole, end, released, paused, unclaimed, channels } = record;
        if is_whole {
            *self = Self::default();
        }
        (self.end, self.released, self.paused) = (end, released, paused);
        self.unclaimed = self.unclaimed.split_off(&released);
        self.unclaimed.extend(unclaimed);
        for channel in channels {
            self.channels.entry(channel.name).or_default().apply(channel);
        }
    }
}

impl ChannelCheckpoint {
    fn apply(&mut self, record: ChannelRecord) {
        let ChannelRecord { is_whole, paused, cursor, runs, events, .. } = record;
        if is_whole {
            *self = Self::default();
        }
        (self.paused, self.cursor) = (paused, cursor);
        for sequence in runs.into_iter().flat_map(|run| run.start.0..run.end.0) {
            self.outstanding.insert(Sequence(sequence), Outstanding { attempts: 1, due: None });
        }
        for event in events {
            match event {
                Event::Finished(sequence) => {
                    self.outstanding.remove(&sequence);
                    self.skip(sequence..sequence.next());
                }
                Event::Waits(sequence, outstanding) => {
                    self.outstanding.insert(sequence, outstanding);
                    self.skip(sequence..sequence.next());
                }
                Event::Skipped(range) => self.skip(range),
            }
        }
        self.skips.forget_below(cursor);
    }

    /// What something happened to is not the cursor's to deliver.
    fn skip(&mut self, range: Range<Sequence>) {
        self.skips.add(range.start.max(self.cursor)..range.end);
    }
}

impl Record {
    /// The bytes of a new file that starts with this record, which is whole.
    pub fn start_file(&self) -> Vec<u8> {
        debug_assert!(self.is_whole, "nothing is known before it");
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        self.push(&mut out, RECORDS_START);
        out
    }

    /// The bytes of this record at `offset` of a file.
    pub fn at(&self, offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.push(&mut out, offset);
        out
    }

    fn push(&self, out: &mut Vec<u8>, offset: u64) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        out.push(self.is_whole.into());
        push_sequence(out, self.end);
        push_sequence(out, self.released);
        out.push(self.paused.into());
        push_list(out, &self.unclaimed, |out, &(sequence, due)| {
            push_sequence(out, sequence);
            out.extend_from_slice(&due.0.to_be_bytes());
        });
        push_list(out, &self.channels, |out, channel| channel.push(out));
        let (_, record) = out.split_at_mut(start);
        let (header, content) = record.split_at_mut(RECORD_HEADER_BYTES);
        let (length, check) = header.split_at_mut(4);
        let bytes = u32::try_from(content.len()).expect("more would not fit in memory");
        length.copy_from_slice(&bytes.to_be_bytes());
        check.copy_from_slice(&content_check(offset, content).to_be_bytes());
    }

    /// Takes the record at `offset`; `None` when there is no valid one.
    fn decode(fields: &mut Fields<'_>, offset: u64) -> Option<Self> {
        let mut rest = *fields;
        let bytes = rest.u32()?;
        let check = rest.u32()?;
        let content = rest.slice(usize::try_from(bytes).ok()?)?;
        if check != content_check(offset, content) {
            return None;
        }
        let mut content = Fields(content);
        let record = Self::take(&mut content).filter(|_| content.0.is_empty())?;
        *fields = rest;
        Some(record)
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            is_whole: take_bool(fields)?,
            end: fields.sequence()?,
            released: fields.sequence()?,
            paused: take_bool(fields)?,
            unclaimed: take_list(fields, |fields| {
                Some((fields.sequence()?, Timestamp(fields.i64()?)))
            })?,
            channels: take_list(fields, ChannelRecord::take)?,
        })
    }
}

impl ChannelRecord {
    fn push(&self, out: &mut Vec<u8>) {
        let name = self.name.as_bytes();
        out.push(u8::try_from(name.len()).expect("a name is at most 64 bytes long"));
        out.extend_from_slice(name);
        out.push(self.is_whole.into());
        out.push(self.paused.into());
        push_sequence(out, self.cursor);
        push_list(out, &self.runs, |out, run| {
            push_sequence(out, run.start);
            let count = u32::try_from(run.end - run.start).expect("a run is bounded");
            out.extend_from_slice(&count.to_be_bytes());
        });
        push_list(out, &self.events, |out, event| event.push(out));
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let name_bytes = fields.u8()?;
        let name = ChannelName::parse(fields.slice(name_bytes.into())?).ok()?;
        let (is_whole, paused) = (take_bool(fields)?, take_bool(fields)?);
        let cursor = fields.sequence()?;
        let mut messages = 0;
        let runs = take_list(fields, |fields| {
            let first = fields.sequence()?;
            let count = u64::from(fields.u32()?);
            messages += count;
            (messages <= RUN_MESSAGES_MAX).then_some(first..first + count)
        })?;
        let events = take_list(fields, Event::take)?;
        Some(Self { name, is_whole, paused, cursor, runs, events })
    }

    /// Says that these messages, in order, were delivered once and are not finished.
    pub fn tell_delivered(&mut self, sequences: impl Iterator<Item = Sequence>) {
        for (told, sequence) in (0..).zip(sequences) {
            match self.runs.last_mut().filter(|run| run.end == sequence) {
                _ if RUN_MESSAGES_MAX <= told => {
                    let outstanding = Outstanding { attempts: 1, due: None };
                    self.events.push(Event::Waits(sequence, outstanding));
                }
                Some(run) => run.end = sequence.next(),
                None => self.runs.push(sequence..sequence.next()),
            }
        }
    }
}

impl Event {
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Finished(sequence) => {
                out.push(0);
                push_sequence(out, *sequence);
            }
            Self::Waits(sequence, Outstanding { attempts, due }) => {
                out.push(if due.is_none() { 1 } else { 2 });
                push_sequence(out, *sequence);
                out.extend_from_slice(&attempts.to_be_bytes());
                if let Some(due) = due {
                    out.extend_from_slice(&due.0.to_be_bytes());
                }
            }
            Self::Skipped(range) => {
                out.push(3);
                push_sequence(out, range.start);
                push_sequence(out, range.end);
            }
        }
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let kind = fields.u8()?;
        // One more is the place behind it.
        let sequence = fields.sequence()?;
        Some(match kind {
            0 => Self::Finished(sequence),
            1 => Self::Waits(sequence, Outstanding { attempts: fields.u16()?, due: None }),
            2 => {
                let attempts = fields.u16()?;
                let due = Some(Timestamp(fields.i64()?));
                Self::Waits(sequence, Outstanding { attempts, due })
            }
            3 => Self::Skipped(sequence..fields.sequence()?),
            _ => return None,
        })
    }
}

/// The check of a record's content, which is valid only at its place.
fn content_check(offset: u64, content: &[u8]) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let start = offset as u32 ^ (offset >> 32) as u32;
    let mut hasher = crc32fast::Hasher::new_with_initial(start);
    hasher.update(content);
    hasher.finalize()
}

fn push_sequence(out: &mut Vec<u8>, sequence: Sequence) {
    out.extend_from_slice(&sequence.0.to_be_bytes());
}

fn take_bool(fields: &mut Fields<'_>) -> Option<bool> {
    match fields.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// A count, then so many items.
fn push_list<T>(out: &mut Vec<u8>, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    let count = u32::try_from(items.len()).expect("more would not fit in memory");
    out.extend_from_slice(&count.to_be_bytes());
    for item in items {
        push(out, item);
    }
}

fn take_list<T>(
    fields: &mut Fields<'_>,
    mut take: impl FnMut(&mut Fields<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    // The count is not trusted with an allocation: the check may be forged.
    let count = fields.u32()?;
    (0..count).map(|_| take(fields)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text.as_bytes()).unwrap()
    }

    fn waits(sequence: u64, attempts: u16, due: Option<i64>) -> Event {
        Event::Waits(Sequence(sequence), Outstanding { attempts, due: due.map(Timestamp) })
    }

    fn golden() -> Record {
        Record {
            is_whole: true,
            end: Sequence(12),
            released: Sequence(11),
            paused: true,
            unclaimed: vec![(Sequence(11), Timestamp(-1))],
            channels: vec![ChannelRecord {
                name: name("ch"),
                is_whole: true,
                paused: false,
                cursor: Sequence(5),
                runs: vec![Sequence(1)..Sequence(3)],
                events: vec![
                    waits(3, 258, None),
                    waits(6, 0, Some(10)),
                    Event::Skipped(Sequence(8)..Sequence(9)),
                    Event::Finished(Sequence(9)),
                ],
            }],
        }
    }

    fn later() -> Record {
        Record {
            is_whole: false,
            end: Sequence(14),
            released: Sequence(14),
            paused: false,
            unclaimed: Vec::new(),
            channels: vec![ChannelRecord {
                name: name("ch"),
                is_whole: false,
                paused: true,
                cursor: Sequence(7),
                runs: vec![Sequence(5)..Sequence(6)],
                events: vec![Event::Finished(Sequence(1)), waits(3, 259, None)],
            }],
        }
    }

    #[test]
    fn a_number_that_no_message_can_have_is_damage() {
        let file = |end, released, cursor| {
            let channel = ChannelRecord {
                name: ChannelName::parse(b"c").unwrap(),
                is_whole: true,
                paused: false,
                cursor,
                runs: Vec::new(),
                events: Vec::new(),
            };
            let channels = vec![channel];
            Record { is_whole: true, end, released, channels, ..Record::default() }.start_file()
        };
        let (last, beyond) = (Sequence::END, Sequence::END + 1);
        assert!(TopicCheckpoint::decode(&file(last, last, last)).is_ok());
        for wrong in [file(beyond, last, last), file(last, beyond, last), file(last, last, beyond)]
        {
            assert_eq!(TopicCheckpoint::decode(&wrong), Err(CheckpointError::Damaged));
        }
    }

    #[test]
    fn what_waits_is_owed_or_is_not_known_is_needed() {
        let mut checkpoint = TopicCheckpoint::default();
        checkpoint.apply(golden());
        let count = |start, end| checkpoint.count_needed(&(Sequence(start)..Sequence(end)));
        // 1, 2, 3 and 6 are owed, 5, 7 and 10 are yet to come, 11 waits in the topic.
        assert_eq!(count(0, 12), 8);
        assert_eq!([count(0, 1), count(4, 7), count(8, 10), count(5, 5)], [0, 2, 0, 0]);
        assert_eq!(count(11, 20), 9);
        assert_eq!(TopicCheckpoint::default().count_needed(&(Sequence(3)..Sequence(5))), 2);
    }

    /// A file of both.
    fn file() -> Vec<u8> {
        let mut bytes = golden().start_file();
        let more = later().at(bytes.len() as u64);
        bytes.extend_from_slice(&more);
        bytes
    }

    fn come_to(records: &[Record]) -> TopicCheckpoint {
        let mut checkpoint = TopicCheckpoint::default();
        records.iter().cloned().for_each(|record| checkpoint.apply(record));
        checkpoint
    }

    #[test]
    fn the_bytes_are_the_fields_in_order() {
        let bytes = golden().start_file();
        let expected: &[&[u8]] = &[
            b"\x89NSQckp\n\0\0\0\x02\0\0\0\0",
            b"\0\0\0\x83",
            &bytes[20..24],
            b"\x01\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x0b\x01",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x0b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x01\x02ch\x01\0\0\0\0\0\0\0\0\x05",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x02",
            b"\0\0\0\x04",
            b"\x01\0\0\0\0\0\0\0\x03\x01\x02",
            b"\x02\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\x0a",
            b"\x03\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x09",
            b"\0\0\0\0\0\0\0\0\x09",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn later_records_change_what_the_first_said() {
        let Decoded { checkpoint, bytes, cut } = TopicCheckpoint::decode(&file()).unwrap();
        assert_eq!((bytes, cut), (file().len() as u64, None));
        assert_eq!((checkpoint.end, checkpoint.released), (Sequence(14), Sequence(14)));
        assert!(!checkpoint.paused && checkpoint.unclaimed.is_empty());
        let channel = &checkpoint.channels[&name("ch")];
        assert_eq!((channel.paused, channel.cursor), (true, Sequence(7)));
        let outstanding: Vec<_> = channel
            .outstanding
            .iter()
            .map(|(sequence, there)| (sequence.0, there.attempts, there.due.map(|due| due.0)))
            .collect();
        assert_eq!(outstanding, [(2, 1, None), (3, 259, None), (5, 1, None), (6, 0, Some(10))]);
        let skips: Vec<_> = channel.skips.iter().map(|skip| (skip.start.0, skip.end.0)).collect();
        assert_eq!(skips, [(8, 10)]);
    }

    #[test]
    fn a_cut_file_is_used_as_far_as_its_records_are_whole() {
        let bytes = file();
        let first = golden().start_file().len();
        for cut in 0..bytes.len() {
            let decoded = TopicCheckpoint::decode(&bytes[..cut]);
            if cut < first {
                assert!(decoded.is_err(), "cut at {cut}");
                continue;
            }
            let decoded = decoded.unwrap();
            assert_eq!(decoded.checkpoint, come_to(&[golden()]), "cut at {cut}");
            let expected = (first < cut).then_some(CheckpointError::Cut(first as u64));
            assert_eq!((decoded.bytes, decoded.cut), (first as u64, expected), "cut at {cut}");
            assert!(decoded.is_torn(&bytes[..cut]), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = file();
        let first = golden().start_file().len();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = TopicCheckpoint::decode(&flipped);
            if bit / 8 < first {
                assert!(decoded.is_err(), "bit {bit}");
            } else {
                let decoded = decoded.unwrap();
                assert_eq!(decoded.checkpoint, come_to(&[golden()]), "bit {bit}");
                let is_length = bit / 8 < first + 4;
                assert!(is_length || !decoded.is_torn(&flipped), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_is_valid_only_at_its_place() {
        let mut bytes = golden().start_file();
        let more = later().at(bytes.len() as u64 + 1);
        bytes.extend_from_slice(&more);
        assert!(TopicCheckpoint::decode(&bytes).unwrap().cut.is_some());
        let alone = [&bytes[..16], &later().at(16)].concat();
        assert_eq!(TopicCheckpoint::decode(&alone), Err(CheckpointError::Damaged));
    }

    #[test]
    fn counts_that_cannot_be_cost_no_memory() {
        let forged = |at: usize, value: [u8; 4]| {
            let mut bytes = golden().start_file();
            bytes[at..at + 4].copy_from_slice(&value);
            let check = content_check(16, &bytes[24..]);
            bytes[20..24].copy_from_slice(&check.to_be_bytes());
            TopicCheckpoint::decode(&bytes)
        };
        // The lists of unclaimed messages and of runs, and the length of a run.
        for at in [42, 79, 91] {
            assert_eq!(forged(at, [0xff; 4]), Err(CheckpointError::Damaged), "at {at}");
        }
        assert!(forged(91, [0, 0, 0, 1]).is_ok());
    }

    fn any_sequence() -> impl Strategy<Value = Sequence> {
        (0..=Sequence::END.0).prop_map(Sequence)
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            any_sequence().prop_map(Event::Finished),
            (any_sequence(), any::<u16>(), any::<Option<i64>>()).prop_map(
                |(sequence, attempts, due)| {
                    Event::Waits(sequence, Outstanding { attempts, due: due.map(Timestamp) })
                }
            ),
            (any_sequence(), any_sequence()).prop_map(|(start, end)| Event::Skipped(start..end)),
        ]
    }

    fn any_channel() -> impl Strategy<Value = ChannelRecord> {
        let run = (0..Sequence::END.0, 1..1_000_u64)
            .prop_map(|(first, count)| Sequence(first)..Sequence(first + count));
        (
            "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?",
            any::<(bool, bool)>(),
            any_sequence(),
            vec(run, 0..5),
            vec(any_event(), 0..5),
        )
            .prop_map(|(text, (is_whole, paused), cursor, runs, events)| ChannelRecord {
                name: name(&text),
                is_whole,
                paused,
                cursor,
                runs,
                events,
            })
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let unclaimed = vec((any_sequence(), any::<i64>().prop_map(Timestamp)), 0..5);
        (
            (any_sequence(), any_sequence()),
            any::<(bool, bool)>(),
            unclaimed,
            vec(any_channel(), 0..5),
        )
            .prop_map(|((end, released), (is_whole, paused), unclaimed, channels)| {
                Record { is_whole, end, released, paused, unclaimed, channels }
            })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(first in any_record(), more in vec(any_record(), 0..4)) {
            let first = Record { is_whole: true, ..first };
            let mut bytes = first.start_file();
            for record in &more {
                let there = bytes.len() as u64;
                bytes.extend_from_slice(&record.at(there));
            }
            let decoded = TopicCheckpoint::decode(&bytes).unwrap();
            prop_assert_eq!(decoded.cut, None);
            let all = [&[first][..], &more].concat();
            prop_assert_eq!(decoded.checkpoint, come_to(&all));
        }
    }
}
