//! Files in memory, a log written to them, and everything that can be got out of them again.

use broker::log::block::Place;
use broker::log::recovery::{Cut, Recovery, SegmentFile, SetAside};
use broker::log::{
    Cursor, Damage, Found, Log, LogOptions, ReadPlan, Reading, Run, RunLimit, Write,
};
use broker::message::{Sequence, Timestamp};
use broker::message_id::IdSpace;
use bytes::Bytes;
use protocol::frame::{Frame, decode_frame};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// More steps than any reader of these logs needs.
const STEPS_MAX: usize = 100_000;

pub(crate) const ALL: RunLimit = RunLimit { messages: u32::MAX, bytes: usize::MAX };

pub(crate) fn ids() -> IdSpace {
    IdSpace::new(5, 0x0012_3456_789a_bcde)
}

/// What a message was published with.
#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) body: Vec<u8>,
    pub(crate) due: Option<i64>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.body);
        write!(f, "{:.20} ({} bytes, due {:?})", text, self.body.len(), self.due)
    }
}

/// Where a block was written, and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) bytes: Range<usize>,
    pub(crate) messages: Range<u64>,
}

/// Files by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// All that was found, told and read.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What readers get, by sequence.
    pub(crate) messages: BTreeMap<u64, Message>,
    /// Sequences that readers step over.
    pub(crate) missing: u64,
    /// Where the log starts and, as found on disk, ends.
    pub(crate) found: Range<u64>,
    /// Deferred messages in what was read.
    pub(crate) deferred: Vec<(Sequence, Timestamp)>,
    pub(crate) set_aside: Vec<(String, SetAside)>,
    pub(crate) cut: Option<Cut>,
    /// Damage, found at the start or when it was read.
    pub(crate) damage: Vec<Damage>,
}

impl Disk {
    pub(crate) fn write(&mut self, write: &Write) {
        let file = self.files.entry(write.segment.to_string()).or_default();
        if let Some(header) = write.starts_segment {
            put(file, 0, &header);
        }
        put(file, write.offset, &write.bytes);
    }

    pub(crate) fn read(&self, plan: &ReadPlan) -> &[u8] {
        let file = &self.files[&plan.segment.to_string()];
        let offset = usize::try_from(plan.offset).unwrap();
        let rest = file.get(offset..).unwrap_or_default();
        &rest[..plan.bytes.min(rest.len())]
    }

    /// Recovers, with a checkpoint that knows everything below `known`.
    pub(crate) fn recover(&self, known: Sequence, options: LogOptions) -> (Log, Outcome) {
        let mut outcome = Outcome::default();
        let mut files = Vec::new();
        for (name, bytes) in &self.files {
            match SegmentFile::inspect(name, bytes.len() as u64, bytes) {
                Ok(file) => files.push(file),
                Err(why) => outcome.set_aside.push((name.clone(), why)),
            }
        }
        let (mut recovery, others) = Recovery::new(files, known);
        outcome.set_aside.extend(others.iter().map(|(name, why)| (name.to_string(), *why)));
        for _ in 0..STEPS_MAX {
            let Some(plan) = recovery.next_read() else { break };
            recovery.feed(&plan, self.read(&plan));
        }
        let recovered = recovery.finish();
        outcome.cut = recovered.cut;
        outcome.damage = recovered.damage;
        outcome.deferred = recovered.deferred;
        let ids = recovered.base.map_or(ids(), |base| ids().with_base(base));
        let mut log = Log::recover(recovered.segments, ids, options);
        outcome.found = log.start().0..log.end().0;
        log.skip_to(known);
        (log, outcome)
    }

    /// Recovers and reads everything.
    pub(crate) fn read_back(&self, known: Sequence, options: LogOptions) -> Outcome {
        let (mut log, mut outcome) = self.recover(known, options);
        let mut cursor = Cursor::at(log.start());
        for _ in 0..STEPS_MAX {
            match log.read(&mut cursor, ALL) {
                Reading::Run(run) => outcome.take_run(&run, log.ids()),
                Reading::Deferred { sequence, due } => {
                    let frame = self.frame(&mut log, sequence, &mut outcome.damage);
                    if let Some(frame) = frame {
                        let body = body_of(&frame, sequence, log.ids()).to_vec();
                        outcome.messages.insert(sequence.0, Message { body, due: Some(due.0) });
                    }
                }
                Reading::Gap { count } => outcome.missing += count,
                Reading::NotInMemory(plan) => {
                    outcome.damage.extend(log.loaded(&plan, self.read(&plan)).damage);
                }
                Reading::End => {
                    let met = outcome.messages.len() as u64 + outcome.missing;
                    assert_eq!(met, log.end().0 - outcome.found.start, "each sequence is met once");
                    return outcome;
                }
            }
        }
        panic!("reading leads nowhere");
    }

    fn frame(&self, log: &mut Log, sequence: Sequence, damage: &mut Vec<Damage>) -> Option<Bytes> {
        for _ in 0..STEPS_MAX {
            match log.frame(sequence) {
                Found::Frame(frame, _) => return Some(frame),
                Found::NotInMemory(plan) => {
                    damage.extend(log.loaded(&plan, self.read(&plan)).damage);
                }
                Found::Gone => return None,
            }
        }
        panic!("loading leads nowhere");
    }
}

impl Outcome {
    fn take_run(&mut self, run: &Run, ids: IdSpace) {
        let mut rest = &run.bytes[..];
        for offset in 0..u64::from(run.count) {
            let body = body_of(rest, run.first + offset, ids).to_vec();
            rest = &rest[34 + body.len()..];
            self.messages.insert(run.first.0 + offset, Message { body, due: None });
        }
        assert!(rest.is_empty(), "a run is whole frames");
    }

    /// Which sequences were said to be damaged.
    pub(crate) fn reported(&self) -> Vec<u64> {
        let missing = self.damage.iter().flat_map(|it| it.missing.start.0..it.missing.end.0);
        let mut all: Vec<_> = missing.collect();
        all.sort_unstable();
        all
    }
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    file.resize(file.len().max(offset + bytes.len()), 0);
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The body of the frame at the start of `frame`, all else being what a first delivery of
/// `sequence` must have.
fn body_of(frame: &[u8], sequence: Sequence, ids: IdSpace) -> &[u8] {
    let (frame, _) = decode_frame(frame, 1 << 30).unwrap().unwrap();
    let Frame::Message(message) = frame else { panic!("{frame:?} is no message") };
    assert_eq!(message.timestamp, i64::try_from(sequence.0).unwrap());
    assert_eq!(message.attempts, 1);
    assert_eq!(message.id, ids.id(sequence));
    message.body
}

/// A log with one block for each of `blocks`, and where they are.
pub(crate) fn written(
    ids: IdSpace,
    blocks: &[Vec<Message>],
    options: LogOptions,
) -> (Disk, Vec<Written>) {
    let mut log = Log::create(ids, options);
    let mut disk = Disk::default();
    let mut places = Vec::new();
    for block in blocks {
        append_block(&mut log, &mut disk, block, &mut places);
    }
    (disk, places)
}

/// Writes one more block.
pub(crate) fn append_block(
    log: &mut Log,
    disk: &mut Disk,
    block: &[Message],
    places: &mut Vec<Written>,
) {
    for message in block {
        let timestamp = Timestamp(i64::try_from(log.next_sequence().0).unwrap());
        log.append(timestamp, message.due.map(Timestamp), &message.body);
    }
    let write = log.seal().unwrap();
    let place = Place { base: log.ids().base(), segment: write.segment, offset: write.offset };
    assert!(broker::log::block::Layout::decode(&write.bytes, place).is_ok());
    disk.write(&write);
    let start = usize::try_from(write.offset).unwrap();
    places.push(Written {
        file: write.segment.to_string(),
        bytes: start..start + write.bytes.len(),
        messages: write.messages().start.0..write.messages().end.0,
    });
    log.written(write);
}
