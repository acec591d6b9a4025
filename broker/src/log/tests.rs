//! The log against a disk in memory: what was published comes back, or is counted as lost.

use super::recovery::{Recovered, Recovery, SegmentFile};
use super::*;
use block::{Layout, Naming, Place};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::{Frame, decode_frame};
use protocol::message_id::MessageId;

const IDS: fn() -> IdSpace = || IdSpace::new(5, 0x0012_3456_789a_bcde);

/// Files in memory, and what the tests do to them.
#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<SegmentName, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, write: &Write) {
        let file = self.files.entry(write.segment).or_default();
        if let Some(header) = write.starts_segment {
            put(file, 0, &header);
        }
        put(file, write.offset, &write.bytes);
    }

    fn read(&self, plan: &ReadPlan) -> &[u8] {
        let file = &self.files[&plan.segment];
        let offset = usize::try_from(plan.offset).unwrap();
        let rest = file.get(offset..).unwrap_or_default();
        &rest[..plan.bytes.min(rest.len())]
    }

    fn recover(&self, options: LogOptions, scan_from: Sequence) -> (Log, Recovered) {
        let files = self.files.iter().filter_map(|(name, bytes)| {
            SegmentFile::inspect(&name.to_string(), bytes.len() as u64, bytes).ok()
        });
        let (mut recovery, _) = Recovery::new(files.collect(), scan_from);
        while let Some(plan) = recovery.next_read() {
            recovery.feed(&plan, self.read(&plan));
        }
        let recovered = recovery.finish();
        let ids = recovered.base.map_or(IDS(), |base| IDS().with_base(base));
        (Log::recover(recovered.segments.clone(), ids, options), recovered)
    }
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    file.resize(file.len().max(offset + bytes.len()), 0);
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn options(segment_bytes_max: u64) -> LogOptions {
    LogOptions { segment_bytes_max, ephemeral: false }
}

/// What a message was published with.
#[derive(Clone, Debug, PartialEq)]
struct Published {
    body: Vec<u8>,
    due: Option<i64>,
}

fn body(text: &str) -> Published {
    Published { body: text.as_bytes().to_vec(), due: None }
}

fn append(log: &mut Log, published: &Published) -> Sequence {
    let timestamp = Timestamp(i64::try_from(log.next_sequence().0).unwrap());
    log.append(timestamp, published.due.map(Timestamp), &published.body)
}

/// Seals and writes.
fn commit(log: &mut Log, disk: &mut Disk) {
    if let Some(write) = log.seal() {
        let place = Place { base: IDS().base(), segment: write.segment, offset: write.offset };
        assert_eq!(Layout::decode(&write.bytes, place).as_ref(), Ok(&write.layout));
        disk.write(&write);
        log.written(write);
    }
}

/// A log with one block for each of `blocks`.
fn log_of(blocks: &[&[Published]], options: LogOptions) -> (Log, Disk) {
    let mut log = Log::create(IDS(), options);
    let mut disk = Disk::default();
    for messages in blocks {
        for message in *messages {
            append(&mut log, message);
        }
        commit(&mut log, &mut disk);
    }
    (log, disk)
}

/// The body of a frame, all else being what a first delivery of `sequence` must have.
#[track_caller]
fn body_of(frame: &[u8], sequence: Sequence) -> Vec<u8> {
    let (frame, bytes) = decode_frame(frame, 1 << 30).unwrap().unwrap();
    let Frame::Message(message) = frame else { panic!("{frame:?} is no message") };
    assert_eq!(bytes, 34 + message.body.len());
    assert_eq!(message.timestamp, i64::try_from(sequence.0).unwrap());
    assert_eq!(message.attempts, 1);
    assert_eq!(message.id, IDS().id(sequence));
    message.body.to_vec()
}

/// What a reader got.
#[derive(Debug, Default, PartialEq)]
struct Got {
    messages: BTreeMap<u64, Published>,
    missing: u64,
    damaged: u64,
}

impl Got {
    /// Takes in what a cursor met; false at the end.
    fn take(&mut self, reading: Reading, log: &mut Log, disk: &Disk) -> bool {
        match reading {
            Reading::Run(Run { bytes, first, count, .. }) => {
                let mut rest = &bytes[..];
                for offset in 0..u64::from(count) {
                    let body = body_of(rest, first + offset);
                    rest = &rest[34 + body.len()..];
                    self.messages.insert(first.0 + offset, Published { body, due: None });
                }
                assert!(rest.is_empty(), "a run is whole frames");
            }
            Reading::Deferred { sequence, due } => {
                let body = body_of(&frame(log, disk, sequence).unwrap(), sequence);
                self.messages.insert(sequence.0, Published { body, due: Some(due.0) });
            }
            Reading::Gap { count } => self.missing += count,
            Reading::NotInMemory(plan) => {
                let report = log.loaded(&plan, disk.read(&plan));
                self.damaged += report
                    .damage
                    .iter()
                    .map(|damage| damage.missing.end - damage.missing.start)
                    .sum::<u64>();
            }
            Reading::End => return false,
        }
        true
    }
}

/// One message, loaded if need be.
fn frame(log: &mut Log, disk: &Disk, sequence: Sequence) -> Option<Bytes> {
    for _ in 0..1_000 {
        match log.frame(sequence) {
            Found::Frame(frame, _) => return Some(frame),
            Found::NotInMemory(plan) => drop(log.loaded(&plan, disk.read(&plan))),
            Found::Gone => return None,
        }
    }
    panic!("loading leads nowhere");
}

/// Everything from `from` on.
fn read_from(log: &mut Log, disk: &Disk, from: Sequence, limit: RunLimit) -> Got {
    let mut got = Got::default();
    let mut cursor = Cursor::at(from);
    for _ in 0..100_000 {
        let before = cursor.next();
        let reading = log.read(&mut cursor, limit);
        if let Reading::Run(run) = &reading {
            assert!(run.count <= limit.messages);
            assert!(run.bytes.len() <= limit.bytes || run.count == 1);
            assert_eq!(cursor.next() - before, u64::from(run.count));
        }
        if !got.take(reading, log, disk) {
            return got;
        }
    }
    panic!("reading leads nowhere");
}

const ALL: RunLimit = RunLimit { messages: u32::MAX, bytes: usize::MAX };

fn numbered(messages: &[Published]) -> BTreeMap<u64, Published> {
    (0..).zip(messages.iter().cloned()).collect()
}

// --- one thing at a time ---

#[test]
fn a_block_goes_out_behind_its_segments_header_and_becomes_visible_when_written() {
    let mut log = Log::create(IDS(), LogOptions::default());
    append(&mut log, &body("a"));
    append(&mut log, &body("bc"));
    assert_eq!(log.open_bytes(), 32 + 35 + 36);
    let write = log.seal().unwrap();
    let header = SegmentHeader::decode(&write.starts_segment.unwrap()).unwrap();
    let previous = SegmentName(Sequence(0));
    let expected = SegmentHeader {
        base: IDS().base(),
        first: Sequence(0),
        created: Timestamp(0),
        previous,
        kept: None,
    };
    assert_eq!(header, expected);
    assert_eq!((write.segment, write.offset), (SegmentName(Sequence(0)), 64));
    assert_eq!(write.bytes.len(), 32 + 35 + 36);
    assert_eq!((log.end(), log.next_sequence()), (Sequence(0), Sequence(2)));
    assert_eq!(log.read(&mut Cursor::at(Sequence(0)), ALL), Reading::End);
    log.written(write);
    assert_eq!(log.end(), Sequence(2));
    append(&mut log, &body("d"));
    let write = log.seal().unwrap();
    assert_eq!((write.starts_segment, write.offset), (None, 64 + 103));
    assert_eq!(log.seal().map(|write| write.offset), None);
}

#[test]
fn blocks_become_visible_in_order() {
    let mut log = Log::create(IDS(), LogOptions::default());
    let writes = ["a", "b", "c"].map(|text| {
        append(&mut log, &body(text));
        log.seal().unwrap()
    });
    let [first, second, third] = writes;
    log.written(second);
    assert_eq!(log.end(), Sequence(0));
    log.abandon(third);
    assert_eq!(log.end(), Sequence(0));
    log.written(first);
    assert_eq!(log.end(), Sequence(3));
    let mut cursor = Cursor::at(Sequence(2));
    assert_eq!(log.read(&mut cursor, ALL), Reading::Gap { count: 1 });
}

#[test]
fn a_failed_write_leaves_a_gap_and_is_written_over() {
    let (mut log, mut disk) = log_of(&[&[body("a")]], options(1 << 20));
    append(&mut log, &body("lost and longer"));
    let write = log.seal().unwrap();
    let offset = write.offset;
    put(disk.files.get_mut(&write.segment).unwrap(), offset, &write.bytes[..50]);
    log.abandon(write);
    assert_eq!((log.end(), log.next_sequence()), (Sequence(2), Sequence(2)));
    append(&mut log, &body("b"));
    let write = log.seal().unwrap();
    assert_eq!(write.offset, offset);
    disk.write(&write);
    log.written(write);
    let expected = BTreeMap::from([(0, body("a")), (2, body("b"))]);
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got, Got { messages: expected.clone(), missing: 1, damaged: 0 });
    let (mut log, recovered) = disk.recover(options(1 << 20), Sequence(0));
    assert!(recovered.damage.is_empty());
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got, Got { messages: expected, missing: 1, damaged: 0 });
}

#[test]
fn a_segments_header_is_brought_along_until_one_write_succeeded() {
    let mut log = Log::create(IDS(), LogOptions::default());
    let mut disk = Disk::default();
    append(&mut log, &body("a"));
    let first = log.seal().unwrap();
    append(&mut log, &body("b"));
    let second = log.seal().unwrap();
    assert!(first.starts_segment.is_some());
    assert_eq!(second.starts_segment, first.starts_segment);
    log.abandon(first);
    disk.write(&second);
    log.written(second);
    append(&mut log, &body("c"));
    let third = log.seal().unwrap();
    assert_eq!((third.starts_segment, third.segment), (None, SegmentName(Sequence(0))));
    disk.write(&third);
    let (mut log, recovered) = disk.recover(LogOptions::default(), Sequence(0));
    // The hole of the first write is all that recovery sees of it.
    assert_eq!(recovered.damage[0].missing, Sequence(0)..Sequence(1));
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got.messages, BTreeMap::from([(1, body("b")), (2, body("c"))]));
}

#[test]
fn a_run_stops_before_a_deferred_message() {
    let deferred = Published { body: b"later".to_vec(), due: Some(77) };
    let messages = [body("a"), body("b"), deferred, body("c")];
    let (mut log, _) = log_of(&[&messages], options(1 << 20));
    let mut cursor = Cursor::at(Sequence(0));
    let Reading::Run(run) = log.read(&mut cursor, ALL) else { panic!("a run comes first") };
    assert_eq!((run.first, run.count, run.bytes.len()), (Sequence(0), 2, 70));
    let expected = Reading::Deferred { sequence: Sequence(2), due: Timestamp(77) };
    assert_eq!(log.read(&mut cursor, ALL), expected);
    let Reading::Run(run) = log.read(&mut cursor, ALL) else { panic!("a run comes last") };
    assert_eq!((run.first, run.count), (Sequence(3), 1));
    assert_eq!(log.read(&mut cursor, ALL), Reading::End);
}

#[test]
fn every_message_of_a_large_block_is_found_from_anywhere() {
    let messages: Vec<_> =
        (0..200).map(|length| Published { body: vec![b'x'; length], due: None }).collect();
    let (mut log, disk) = log_of(&[&messages], options(1 << 20));
    for (sequence, message) in numbered(&messages) {
        let sequence = Sequence(sequence);
        let found = frame(&mut log, &disk, sequence).unwrap();
        assert_eq!(body_of(&found, sequence), message.body);
        let mut cursor = Cursor::at(sequence);
        for _ in 0..2 {
            let before = cursor.next();
            let mut got = Got::default();
            got.take(log.read(&mut cursor, RunLimit { messages: 2, bytes: 300 }), &mut log, &disk);
            assert!(cursor.next() == log.end() || got.messages.contains_key(&before.0));
        }
    }
}

#[test]
fn a_full_segment_is_followed_by_one_named_after_its_first_message() {
    let (log, disk) = log_of(&[&[body("a")], &[body("b")], &[body("c")]], options(64 + 2 * 67));
    let names: Vec<_> = log.segments().map(|name| name.first().0).collect();
    assert_eq!(names, [0, 2]);
    assert_eq!(disk.files[&SegmentName(Sequence(0))].len(), 64 + 2 * 67);
    assert_eq!(log.disk_bytes(), 2 * 64 + 3 * 67);
    assert!(log.nears_next_segment());
}

#[test]
fn a_block_larger_than_a_segment_gets_one_of_its_own() {
    let large = Published { body: vec![7; 5_000], due: None };
    let (mut log, disk) =
        log_of(&[&[body("a")], std::slice::from_ref(&large), &[body("b")]], options(1_000));
    assert_eq!(log.segments().count(), 3);
    log.evict(usize::MAX);
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got.messages, numbered(&[body("a"), large, body("b")]));
}

#[test]
fn what_nobody_needs_goes_from_memory_and_disk() {
    let blocks: [&[Published]; 4] = [&[body("a")], &[body("b")], &[body("c")], &[body("d")]];
    let (mut log, _) = log_of(&blocks, options(1));
    assert_eq!(log.release_below(Sequence(0)), []);
    let before = log.memory_bytes();
    assert_eq!(log.release_below(Sequence(2)), [0, 1].map(|first| SegmentName(Sequence(first))));
    assert_eq!(before - log.memory_bytes(), 2 * 67);
    assert_eq!(log.start(), Sequence(2));
    assert_eq!(log.frame(Sequence(1)), Found::Gone);
    let mut cursor = Cursor::at(Sequence(0));
    assert_eq!(log.read(&mut cursor, ALL), Reading::Gap { count: 2 });
    // The last segment stays, for the next block.
    assert_eq!(log.release_below(Sequence(9)), [SegmentName(Sequence(2))]);
    assert_eq!((log.start(), log.end()), (Sequence(4), Sequence(4)));
}

#[test]
fn an_old_message_keeps_its_own_segment_alone() {
    let blocks: [&[Published]; 4] = [&[body("a")], &[body("b")], &[body("c")], &[body("d")]];
    let (mut log, mut disk) = log_of(&blocks, options(1));
    let dead = log.retain(|range| range.contains(&Sequence(0)));
    assert_eq!(dead, [1, 2].map(|first| SegmentName(Sequence(first))));
    for name in dead {
        disk.files.remove(&name);
    }
    let expected = BTreeMap::from([(0, body("a")), (3, body("d"))]);
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got, Got { messages: expected.clone(), missing: 2, damaged: 0 });
    for scan_from in [0, 4] {
        let (mut log, recovered) = disk.recover(options(1), Sequence(scan_from));
        assert!(recovered.damage.is_empty(), "what was deleted is not damaged");
        let got = read_from(&mut log, &disk, Sequence(0), ALL);
        assert_eq!(got, Got { messages: expected.clone(), missing: 2, damaged: 0 });
    }
}

#[test]
fn an_ephemeral_log_writes_nothing_and_can_drop_its_middle() {
    let ephemeral = LogOptions { ephemeral: true, ..LogOptions::default() };
    let (mut log, disk) = log_of(&[&[body("a")], &[body("b")], &[body("c")]], ephemeral);
    assert!(disk.files.is_empty());
    assert_eq!(log.end(), Sequence(3));
    assert_eq!(log.evict(usize::MAX), 0);
    assert_eq!(log.retain(|range| !range.contains(&Sequence(1))), []);
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got.messages, BTreeMap::from([(0, body("a")), (2, body("c"))]));
    assert_eq!(got.missing, 1);
    log.retain(|range| range.contains(&Sequence(2)));
    assert_eq!(log.start(), Sequence(2));
    assert_eq!(log.release_below(Sequence(3)), []);
    assert_eq!(log.memory_bytes(), log.open.memory_bytes());
}

#[test]
fn sequences_that_a_checkpoint_knows_are_not_used_again() {
    let (_, disk) = log_of(&[&[body("a")]], options(1 << 20));
    let (mut log, _) = disk.recover(options(1 << 20), Sequence(0));
    log.skip_to(Sequence(5));
    assert_eq!((log.next_sequence(), log.end()), (Sequence(5), Sequence(5)));
    assert_eq!(append(&mut log, &body("b")), Sequence(5));
    let mut disk = disk;
    commit(&mut log, &mut disk);
    for mut log in [log, disk.recover(options(1 << 20), Sequence(0)).0] {
        let got = read_from(&mut log, &disk, Sequence(0), ALL);
        assert_eq!(got.messages, BTreeMap::from([(0, body("a")), (5, body("b"))]));
        assert_eq!(got.missing, 4);
    }
}

#[test]
fn recovery_names_deferred_messages_and_reads_only_what_it_must() {
    let deferred = |due| Published { body: b"later".to_vec(), due: Some(due) };
    let blocks: [&[Published]; 3] = [&[deferred(1)], &[body("a"), deferred(2)], &[deferred(3)]];
    let (_, disk) = log_of(&blocks, options(1));
    let deferred_after = |scan_from| {
        let (_, recovered) = disk.recover(options(1), Sequence(scan_from));
        recovered.deferred.iter().map(|&(sequence, due)| (sequence.0, due.0)).collect::<Vec<_>>()
    };
    assert_eq!(deferred_after(0), [(0, 1), (2, 2), (3, 3)]);
    assert_eq!(deferred_after(1), [(2, 2), (3, 3)]);
    assert_eq!(deferred_after(2), [(2, 2), (3, 3)]);
    assert_eq!(deferred_after(4), [(3, 3)]);
}

#[test]
fn files_that_are_no_segments_are_named_with_the_reason() {
    let (_, disk) = log_of(&[&[body("a")]], options(1));
    let head = &disk.files[&SegmentName(Sequence(0))];
    let name = SegmentName(Sequence(0)).to_string();
    let why = |name: &str, head: &[u8]| SegmentFile::inspect(name, 100, head).unwrap_err();
    use recovery::SetAside;
    assert_eq!(why("readme.log", head), SetAside::Name);
    assert_eq!(why(&name, b""), SetAside::Header(HeaderError::Empty));
    assert_eq!(why(&name, &head[..63]), SetAside::Header(HeaderError::Short));
    assert_eq!(why(&name, b"#!/bin/sh\n"), SetAside::Header(HeaderError::Foreign));
    let other = SegmentName(Sequence(1)).to_string();
    assert_eq!(why(&other, head), SetAside::Renamed(SegmentName(Sequence(0))));

    let file = |first, base| {
        let name = SegmentName(Sequence(first));
        SegmentFile { name, base, bytes: 64, previous: name, kept: None, created: Timestamp(0) }
    };
    let (recovery, others) = Recovery::new(vec![file(0, 7), file(9, 8)], Sequence(0));
    assert_eq!(others, [(SegmentName(Sequence(0)), SetAside::OtherTopic)]);
    assert_eq!(recovery.finish().base, Some(8));
}

#[test]
fn a_segment_with_nothing_but_its_header_is_written_from_its_start() {
    let (_, mut disk) = log_of(&[&[body("a")]], options(1 << 20));
    disk.files.get_mut(&SegmentName(Sequence(0))).unwrap().truncate(64);
    let (mut log, recovered) = disk.recover(options(1 << 20), Sequence(0));
    assert_eq!(recovered.cut, None);
    append(&mut log, &body("b"));
    let write = log.seal().unwrap();
    let header = write.starts_segment.map(|header| header.to_vec());
    assert_eq!(header.as_deref(), Some(&disk.files[&SegmentName(Sequence(0))][..]));
    assert_eq!((write.segment, write.offset), (SegmentName(Sequence(0)), 64));
}

#[test]
fn nothing_is_added_to_what_another_process_wrote() {
    // It may have failed to bring some of it to the disk, and the kernel tells that once.
    let (_, disk) = log_of(&[&[body("a")]], options(1 << 20));
    let (mut log, _) = disk.recover(options(1 << 20), Sequence(0));
    append(&mut log, &body("b"));
    let write = log.seal().unwrap();
    assert_eq!((write.segment, write.offset), (SegmentName(Sequence(1)), 64));
}

#[test]
fn zeros_that_were_only_reserved_are_the_end_of_the_log() {
    let (_, mut disk) = log_of(&[&[body("a")]], options(1 << 20));
    let file = disk.files.get_mut(&SegmentName(Sequence(0))).unwrap();
    let length = file.len() as u64;
    file.resize(1 << 20, 0);
    let (log, recovered) = disk.recover(options(1 << 20), Sequence(0));
    assert_eq!(log.end(), Sequence(1));
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.at, cut.bytes), (length, 0));
}

#[test]
fn an_unreadable_end_is_not_cut_and_not_written_to() {
    let (_, disk) = log_of(&[&[body("a")]], options(1 << 20));
    let file = &disk.files[&SegmentName(Sequence(0))];
    let found = SegmentFile::inspect("00000000000000000000.log", file.len() as u64, file);
    let (mut recovery, _) = Recovery::new(vec![found.unwrap()], Sequence(0));
    let plan = recovery.next_read().unwrap();
    recovery.unreadable(&plan);
    let recovered = recovery.finish();
    assert_eq!(recovered.cut, None);
    let mut log = Log::recover(recovered.segments, IDS(), options(1 << 20));
    assert_eq!(log.active_segment(), None);
    append(&mut log, &body("b"));
    assert_eq!(log.seal().unwrap().segment, SegmentName(Sequence(1)));
}

#[test]
fn what_the_disk_refuses_to_read_becomes_a_gap() {
    let (mut log, _) = log_of(&[&[body("a"), body("b")]], options(1 << 20));
    log.evict(usize::MAX);
    let mut cursor = Cursor::at(Sequence(0));
    let Reading::NotInMemory(plan) = log.read(&mut cursor, ALL) else { panic!("it was evicted") };
    assert_eq!(log.unreadable(&plan).damage[0].missing, Sequence(0)..Sequence(2));
    assert_eq!(log.read(&mut cursor, ALL), Reading::Gap { count: 2 });
}

#[test]
fn what_was_read_for_a_released_segment_is_dropped() {
    let (mut log, disk) = log_of(&[&[body("a")], &[body("b")]], options(1));
    log.evict(usize::MAX);
    let Found::NotInMemory(plan) = log.frame(Sequence(0)) else { panic!("it was evicted") };
    log.release_below(Sequence(1));
    assert_eq!(log.loaded(&plan, disk.read(&plan)), LoadReport::default());
}

// --- much at once ---

/// Blocks of the sizes that make reads from disk interesting: smaller and larger than a chunk.
fn large_blocks() -> Vec<Vec<Published>> {
    let sizes = [300, 700_000, 10, 40_000, 40_000, 600_000, 5, 90_000, 1_200_000, 1, 70_000];
    (0..)
        .zip(sizes)
        .map(|(number, size)| {
            let of = |bytes: usize| Published { body: vec![number; bytes], due: None };
            vec![of(size / 2), of(size - size / 2)]
        })
        .collect()
}

#[test]
fn blocks_larger_than_a_chunk_are_read_whole() {
    let blocks = large_blocks();
    let slices: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
    let (mut log, disk) = log_of(&slices, options(64 << 20));
    assert_eq!(log.segments().count(), 1);
    let expected = numbered(&blocks.concat());
    for _ in 0..2 {
        log.evict(usize::MAX);
        assert_eq!(log.memory_start(), log.end());
        let got = read_from(&mut log, &disk, Sequence(0), ALL);
        assert_eq!(got, Got { messages: expected.clone(), missing: 0, damaged: 0 });
    }
    // Nothing is known of a segment that is found, but its start.
    let (mut log, _) = disk.recover(options(64 << 20), Sequence(0));
    for sequence in [21, 9, 2, 16] {
        let body =
            body_of(&frame(&mut log, &disk, Sequence(sequence)).unwrap(), Sequence(sequence));
        assert!(body == expected[&sequence].body);
        log.evict(usize::MAX);
    }
}

#[test]
fn readers_of_different_places_do_not_hold_each_other_up() {
    let blocks = large_blocks();
    let slices: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
    let (_, mut disk) = log_of(&slices, options(1 << 40));
    let file = disk.files.get_mut(&SegmentName(Sequence(0))).unwrap();
    file[1_000..1_200].fill(0xee);
    file[2_000_000..2_000_100].fill(0xee);
    let (mut log, recovered) = disk.recover(options(1 << 40), Sequence(0));

    let lost: u64 =
        recovered.damage.iter().map(|damage| damage.missing.end - damage.missing.start).sum();
    assert_eq!(lost, 4);
    // An index without damage in it, so that each reader finds it for itself.
    log.segments[0].index = Index::new(SegmentName(Sequence(0)));
    log.gaps = Gaps::default();
    let mut readers =
        [(Got::default(), Cursor::at(Sequence(0))), (Got::default(), Cursor::at(Sequence(12)))];
    let mut running = [true, true];
    for _ in 0..1_000 {
        for ((got, cursor), running) in readers.iter_mut().zip(&mut running) {
            if !*running {
                continue;
            }
            let reading = log.read(cursor, RunLimit { messages: 1, bytes: 1 });
            let was_loading = matches!(reading, Reading::NotInMemory(_));
            *running = got.take(reading, &mut log, &disk);
            if !was_loading {
                log.evict(usize::MAX);
            }
        }
        if running == [false, false] {
            break;
        }
    }
    assert_eq!(running, [false, false]);
    let [(first, _), (second, _)] = readers;
    assert_eq!((first.messages.len(), first.missing), (18, 4));
    assert_eq!((second.messages.len(), second.missing), (8, 2));
}

#[test]
fn a_copy_of_a_log_in_a_message_is_never_taken_for_the_log() {
    let (_, copied) = log_of(&[&[body("a")], &[body("b")], &[body("c")]], options(1 << 20));
    let copy = copied.files[&SegmentName(Sequence(0))].clone();
    let message = Published { body: copy, due: None };
    let (_, mut disk) = log_of(&[&[message], &[body("x")]], options(1 << 20));
    let file = disk.files.get_mut(&SegmentName(Sequence(0))).unwrap();
    file[70] ^= 1;
    let (mut log, recovered) = disk.recover(options(1 << 20), Sequence(0));
    assert_eq!(recovered.damage[0].missing, Sequence(0)..Sequence(1));
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got.messages, BTreeMap::from([(1, body("x"))]));
}

/// A small log of two segments; the second one has three blocks.
fn small() -> (Vec<Published>, Disk) {
    let deferred = Published { body: b"later".to_vec(), due: Some(9) };
    let blocks = [
        vec![body("zero"), body("one")],
        vec![body("two"), deferred],
        vec![body("")],
        vec![body("five"), body("six")],
    ];
    let slices: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
    let (_, mut disk) = log_of(&slices, options(300));
    assert_eq!(disk.files.keys().map(|name| name.first().0).collect::<Vec<_>>(), [0, 4]);
    let names: Vec<_> = disk.files.keys().copied().collect();
    assert!(names.iter().all(|name| 64 < disk.files.get_mut(name).unwrap().len()));
    (blocks.concat(), disk)
}

/// Where the blocks of the small log end, by the first sequence of their segment, and what they
/// hold.
const ENDS: [(u64, usize, Range<u64>); 4] =
    [(0, 64 + 107, 0..2), (0, 64 + 227, 2..4), (4, 64 + 66, 4..5), (4, 64 + 173, 5..7)];

/// After recovery, every message is as it was, or counted.
#[track_caller]
fn check_recovered(original: &[Published], disk: &Disk, scan_from: u64) -> Got {
    let (mut log, recovered) = disk.recover(options(300), Sequence(scan_from));
    let start = log.start();
    let got = read_from(&mut log, disk, start, ALL);
    let expected = numbered(original);
    for (sequence, message) in &got.messages {
        assert_eq!(expected.get(sequence), Some(message));
    }
    assert_eq!(got.messages.len() as u64 + got.missing, log.end() - start);
    let lost = original.len() - got.messages.len();
    let is_reported = got.damaged + recovered.damage.len() as u64 != 0
        || recovered.cut.is_some()
        || disk.files.len() != log.segments().count();
    assert!(lost == 0 || is_reported || log.end().0 < original.len() as u64);
    // The log goes on, and what it gets from now on is kept.
    let mut disk = disk.clone();
    let used: Vec<_> = log.segments().collect();
    disk.files.retain(|name, _| used.contains(name));
    if let Some(cut) = recovered.cut {
        let file = disk.files.get_mut(&cut.segment).unwrap();
        file.truncate(usize::try_from(cut.at).unwrap());
    }
    log.skip_to(Sequence(original.len() as u64));
    let new = append(&mut log, &body("new"));
    commit(&mut log, &mut disk);
    let (mut log, recovered) = disk.recover(options(300), Sequence(0));
    assert_eq!(recovered.cut, None);
    assert_eq!(body_of(&frame(&mut log, &disk, new).unwrap(), new), b"new");
    got
}

#[test]
fn every_truncation_loses_the_end_and_nothing_else() {
    let (original, disk) = small();
    for name in disk.files.keys().copied() {
        let length = disk.files[&name].len();
        for cut in 0..length {
            let mut disk = disk.clone();
            disk.files.get_mut(&name).unwrap().truncate(cut);
            for scan_from in [0, 7] {
                let got = check_recovered(&original, &disk, scan_from);
                let expected = ENDS
                    .iter()
                    .filter(|(segment, end, _)| *segment != name.first().0 || *end <= cut)
                    .flat_map(|(_, _, messages)| messages.clone());
                assert!(got.messages.keys().copied().eq(expected), "cut {name} at {cut}");
            }
        }
        let got = check_recovered(&original, &disk, 0);
        assert_eq!(got, Got { messages: numbered(&original), missing: 0, damaged: 0 });
    }
}

#[test]
fn every_flipped_bit_loses_its_block_at_most() {
    let (original, disk) = small();
    for (name, bytes) in &disk.files {
        for bit in 0..bytes.len() * 8 {
            let mut disk = disk.clone();
            disk.files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            for scan_from in [0, 7] {
                let got = check_recovered(&original, &disk, scan_from);
                let lost = original.len() - got.messages.len();
                let in_header = bit / 8 < 64;
                assert!(in_header || (1..=2).contains(&lost), "bit {bit}: {lost} lost");
            }
        }
    }
}

// --- anything in any order ---

#[derive(Clone, Debug)]
enum Step {
    Append { bytes: usize, due: Option<i64> },
    Commit,
    FailToCommit { written: usize },
    Read { reader: usize, messages: u32, bytes: usize },
    Seek { reader: usize, part: u64 },
    Find { part: u64 },
    Evict { bytes: usize },
    Unload { part: u64 },
    Restart { torn: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![8 => 0..300_usize, 1 => 0..20_000_usize, 1 => 200_000..600_000_usize];
    let due = prop_oneof![6 => Just(None), 1 => any::<i64>().prop_map(Some)];
    let part = 0..100_u64;
    prop_oneof![
        12 => (bytes, due).prop_map(|(bytes, due)| Step::Append { bytes, due }),
        4 => Just(Step::Commit),
        1 => (0..200_usize).prop_map(|written| Step::FailToCommit { written }),
        8 => (0..3_usize, 1..40_u32, 1..100_000_usize)
            .prop_map(|(reader, messages, bytes)| Step::Read { reader, messages, bytes }),
        1 => (0..3_usize, part.clone()).prop_map(|(reader, part)| Step::Seek { reader, part }),
        3 => part.clone().prop_map(|part| Step::Find { part }),
        2 => (0..500_000_usize).prop_map(|bytes| Step::Evict { bytes }),
        1 => part.prop_map(|part| Step::Unload { part }),
        1 => (0..100_usize).prop_map(|torn| Step::Restart { torn }),
    ]
}

/// What the log must give back: nothing for a sequence whose write failed.
struct Model {
    log: Log,
    disk: Disk,
    options: LogOptions,
    messages: Vec<Option<Published>>,
    open: Vec<Published>,
}

impl Model {
    fn new(options: LogOptions) -> Self {
        let log = Log::create(IDS(), options);
        Self { log, disk: Disk::default(), options, messages: Vec::new(), open: Vec::new() }
    }

    fn commit(&mut self) {
        commit(&mut self.log, &mut self.disk);
        self.messages.extend(self.open.drain(..).map(Some));
    }

    fn fail_to_commit(&mut self, written: usize) {
        let Some(write) = self.log.seal() else { return };
        let file = self.disk.files.entry(write.segment).or_default();
        if let Some(header) = write.starts_segment {
            put(file, 0, &header);
        }
        put(file, write.offset, &write.bytes[..written.min(write.bytes.len() - 1)]);
        self.log.abandon(write);
        self.messages.extend(self.open.drain(..).map(|_| None));
    }

    fn restart(&mut self, torn: usize) {
        self.open.clear();
        if let Some(mut last) = self.disk.files.last_entry() {
            // Bytes of a block that was being written.
            last.get_mut().extend((0..torn).map(|byte| u8::try_from(byte).unwrap_or(0) ^ 0x89));
        }
        let (log, recovered) = self.disk.recover(self.options, Sequence(0));
        self.log = log;
        self.log.skip_to(Sequence(self.messages.len() as u64));
        if let Some(cut) = recovered.cut {
            let file = self.disk.files.get_mut(&cut.segment).unwrap();
            file.truncate(usize::try_from(cut.at).unwrap());
        }
        assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
    }

    fn at(&self, part: u64) -> Sequence {
        Sequence(self.messages.len() as u64 * part / 100)
    }

    fn check(&self, got: &Got, cursor: Sequence, from: Sequence) {
        let range = usize::try_from(from.0).unwrap()..usize::try_from(cursor.0).unwrap();
        let expected = (from.0..).zip(&self.messages[range]);
        let expected: BTreeMap<u64, Published> =
            expected.filter_map(|(sequence, message)| Some((sequence, message.clone()?))).collect();
        assert!(got.messages == expected, "from {from:?} to {cursor:?}");
        assert_eq!(got.damaged, 0);
        assert_eq!(got.missing + expected.len() as u64, cursor - from);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_comes_back_in_order_whatever_happens(
        steps in vec(any_step(), 1..120),
        segment_bytes_max in prop_oneof![Just(300_u64), Just(100_000), Just(64 << 20)],
    ) {
        let mut model = Model::new(options(segment_bytes_max));
        let mut readers = [Cursor::at(Sequence(0)); 3];
        for step in steps {
            match step {
                Step::Append { bytes, due } => {
                    let number = model.messages.len() + model.open.len();
                    let body = (0..bytes).map(|at| (number + at * 7).to_le_bytes()[0]).collect();
                    let published = Published { body, due };
                    let sequence = append(&mut model.log, &published);
                    prop_assert_eq!(sequence, Sequence(number as u64));
                    model.open.push(published);
                }
                Step::Commit => model.commit(),
                Step::FailToCommit { written } => model.fail_to_commit(written),
                Step::Read { reader, messages, bytes } => {
                    let from = readers[reader].next();
                    let mut got = Got::default();
                    let limit = RunLimit { messages, bytes };
                    for _ in 0..3 {
                        let reading = model.log.read(&mut readers[reader], limit);
                        got.take(reading, &mut model.log, &model.disk);
                    }
                    model.check(&got, readers[reader].next(), from);
                }
                Step::Seek { reader, part } => readers[reader] = Cursor::at(model.at(part)),
                Step::Find { part } => {
                    let sequence = model.at(part);
                    let found = frame(&mut model.log, &model.disk, sequence);
                    let expected = model.messages.get(usize::try_from(sequence.0).unwrap());
                    let expected = expected.and_then(Option::as_ref);
                    let found = found.map(|frame| body_of(&frame, sequence));
                    prop_assert_eq!(found.as_ref(), expected.map(|published| &published.body));
                }
                Step::Evict { bytes } => drop(model.log.evict(bytes)),
                Step::Unload { part } => model.log.unload_below(model.at(part)),
                Step::Restart { torn } => model.restart(torn),
            }
            prop_assert_eq!(model.log.end(), Sequence(model.messages.len() as u64));
            let in_memory: usize = model.log.blocks.values().map(|block| block.bytes.len()).sum();
            prop_assert_eq!(model.log.block_bytes, in_memory);
        }
        model.commit();
        for limit in [ALL, RunLimit { messages: 5, bytes: 1_000 }] {
            let got = read_from(&mut model.log, &model.disk, Sequence(0), limit);
            model.check(&got, model.log.end(), Sequence(0));
            model.log.evict(usize::MAX);
        }
    }
}

#[test]
fn messages_that_keep_their_ids_come_back_with_them_from_segments_of_their_own() {
    let (mut log, mut disk) = log_of(&[&[body("a")]], options(1 << 20));
    assert_eq!(log.start_new_segment(), SegmentName(Sequence(1)));
    let kept = KeptMessage {
        timestamp: Timestamp(77),
        attempts: 3,
        id: MessageId(*b"0123456789abcdef"),
        body: b"old",
    };
    assert_eq!(log.append_kept(&kept, Timestamp(99)), Sequence(1));
    commit(&mut log, &mut disk);
    append(&mut log, &body("b"));
    commit(&mut log, &mut disk);
    let names: Vec<_> = disk.files.keys().copied().collect();
    assert_eq!(names, [SegmentName(Sequence(0)), SegmentName(Sequence(1))]);

    let (mut log, _) = disk.recover(options(1 << 20), Sequence(0));
    let mut cursor = Cursor::at(Sequence(1));
    let Reading::NotInMemory(plan) = log.read(&mut cursor, ALL) else { panic!("it is on disk") };
    log.loaded(&plan, disk.read(&plan));
    let Reading::Run(run) = log.read(&mut cursor, ALL) else { panic!("it is there") };
    assert_eq!((run.first, run.count, run.naming), (Sequence(1), 1, Naming::Kept));
    let Frame::Message(message) = decode_frame(&run.bytes, 1 << 20).unwrap().unwrap().0 else {
        panic!("it is a message")
    };
    let KeptMessage { timestamp, attempts, id, body } = kept;
    assert_eq!((message.timestamp, message.attempts), (timestamp.0, attempts));
    assert_eq!((message.id, message.body), (id, body));
    let Reading::Run(run) = log.read(&mut cursor, ALL) else { panic!("ours comes next") };
    assert_eq!((run.first, run.naming), (Sequence(2), Naming::Counted));

    // Without the new segments it is as it was.
    disk.files.retain(|name, _| *name < SegmentName(Sequence(1)));
    assert_eq!(disk.recover(options(1 << 20), Sequence(0)).0.end(), Sequence(1));
}

#[test]
fn an_empty_segment_stands_for_the_next_block_until_there_is_one() {
    let mut log = Log::create(IDS(), options(1 << 20));
    let first = log.empty_segment(Timestamp(1)).unwrap();
    assert_eq!(log.empty_segment(Timestamp(2)), Some(first), "it may be written again");
    log.close_segment();
    log.append(Timestamp(3), None, b"a");
    let write = log.seal().unwrap();
    assert_eq!((write.segment.first(), write.starts_segment), (first.first, Some(first.encode())));
    assert_eq!(log.empty_segment(Timestamp(4)), None, "a write is under way");
    log.written(write);
    assert_eq!(log.empty_segment(Timestamp(5)), None, "blocks go to the last one");
    log.close_segment();
    assert_eq!(log.empty_segment(Timestamp(6)).unwrap().first, Sequence(1));
}

#[test]
fn a_new_segment_after_an_empty_one_has_another_name() {
    let mut log = Log::create(IDS(), options(1 << 20));
    assert_eq!(log.start_new_segment(), SegmentName(Sequence(0)));
    append(&mut log, &body("never there"));
    let write = log.seal().unwrap();
    log.abandon(write);
    let name = log.start_new_segment();
    assert_eq!(name, SegmentName(Sequence(1)));
    append(&mut log, &body("a"));
    let write = log.seal().unwrap();
    assert_eq!((write.segment, write.messages().start), (name, Sequence(1)));
}

#[test]
fn where_segments_are_gone_it_is_known_which_messages_they_had() {
    let blocks: [&[Published]; 5] =
        [&[body("a")], &[body("b")], &[body("c")], &[body("d")], &[body("e")]];
    let (_, whole) = log_of(&blocks, options(1));
    let absent = |gone: &[u64], scan_from| -> Vec<_> {
        let mut disk = whole.clone();
        for &first in gone {
            disk.files.remove(&SegmentName(Sequence(first))).unwrap();
        }
        let (log, recovered) = disk.recover(options(1), Sequence(scan_from));
        assert_eq!(recovered.damage, []);
        let absent = recovered.absent.iter();
        let absent: Vec<_> = absent
            .map(|absent| (absent.before.0.0, absent.messages.start.0..absent.messages.end.0))
            .collect();
        for (_, messages) in &absent {
            let messages = Sequence(messages.start)..Sequence(messages.end);
            assert_eq!(log.gaps_within(&messages), std::slice::from_ref(&messages));
        }
        absent
    };
    for scan_from in [0, 5] {
        assert_eq!(absent(&[], scan_from), []);
        assert_eq!(absent(&[0], scan_from), [(1, 0..1)]);
        assert_eq!(absent(&[0, 1, 3], scan_from), [(2, 0..2), (4, 3..4)]);
        assert_eq!(absent(&[4], scan_from), [], "the log ends before");
    }
    // Where a segment ends is seen when it is read; the next one knows one before it.
    assert_eq!(absent(&[1, 2], 0), [(3, 1..3)]);
    assert_eq!(absent(&[1, 2], 5), [(3, 2..3)]);
}

#[test]
fn a_segment_without_blocks_that_could_not_be_synced_takes_the_next_block() {
    let mut log = Log::create(IDS(), options(1 << 20));
    let mut disk = Disk::default();
    append(&mut log, &body("a"));
    commit(&mut log, &mut disk);
    log.end_segment(Timestamp(1)).unwrap();
    log.close_segment();
    append(&mut log, &body("b"));
    let write = log.seal().unwrap();
    assert_eq!((write.segment, write.messages().start), (SegmentName(Sequence(1)), Sequence(1)));
    disk.write(&write);
    log.written(write);
    let (mut log, recovered) = disk.recover(options(1 << 20), Sequence(0));
    assert_eq!((&recovered.damage[..], &recovered.absent[..]), (&[][..], &[][..]));
    let got = read_from(&mut log, &disk, Sequence(0), ALL);
    assert_eq!(got.messages, numbered(&[body("a"), body("b")]));
}

#[test]
fn messages_that_keep_their_ids_keep_them_when_their_segment_is_written_anew() {
    let mut log = Log::create(IDS(), options(1 << 20));
    let mut disk = Disk::default();
    for id in [b"000000000000000a", b"000000000000000b", b"000000000000000c"] {
        let id = MessageId(*id);
        let kept = KeptMessage { timestamp: Timestamp(7), attempts: 4, id, body: b"old" };
        log.append_kept(&kept, Timestamp(0));
    }
    commit(&mut log, &mut disk);
    log.start_new_segment();
    append(&mut log, &body("ours"));
    commit(&mut log, &mut disk);
    let segment = SegmentName(Sequence(0));
    let mut compaction = log.compaction(segment, vec![Sequence(1)..Sequence(2)], 1).unwrap();
    let mut new = vec![0; SEGMENT_HEADER_BYTES];
    while let Some((offset, bytes)) = compaction.next_read() {
        let data = &disk.files[&segment][usize::try_from(offset).unwrap()..][..bytes];
        new.extend_from_slice(&compaction.feed(offset, data).unwrap().1);
    }
    let (header, compacted) = compaction.finish().unwrap();
    new[..SEGMENT_HEADER_BYTES].copy_from_slice(&header);
    disk.files.insert(segment, new);
    log.replacing(segment);
    log.replaced(compacted);

    let Found::NotInMemory(plan) = log.frame(Sequence(1)) else { panic!("it is on disk") };
    log.loaded(&plan, disk.read(&plan));
    let Found::Frame(frame, naming) = log.frame(Sequence(1)) else { panic!("it was needed") };
    let Frame::Message(message) = decode_frame(&frame, 1 << 20).unwrap().unwrap().0 else {
        panic!("it is a message")
    };
    assert_eq!(naming, Naming::Kept);
    assert_eq!((message.id, message.attempts), (MessageId(*b"000000000000000b"), 4));
}

// --- looking at the newest ---

/// Looks back; what is found, as sequence and body, and how many reads that took.
#[track_caller]
fn look_back(log: &mut Log, disk: &Disk, count: usize, room: usize) -> (Vec<(u64, Vec<u8>)>, u32) {
    let mut newest = Newest::of(log, count, room);
    let mut reads = 0;
    while let Some(plan) = log.look_back(&mut newest) {
        log.loaded(&plan, disk.read(&plan));
        reads += 1;
        assert!(reads < 1_000, "looking back leads nowhere");
    }
    let found = newest.into_messages().into_iter().map(|glimpse| {
        let sequence = IDS().sequence_of(glimpse.id).unwrap();
        assert_eq!(glimpse.published.0, i64::try_from(sequence.0).unwrap());
        assert_eq!(glimpse.attempts.0, 1);
        assert!(glimpse.body.len() <= glimpse.size);
        (sequence.0, glimpse.body)
    });
    (found.collect(), reads)
}

fn few(texts: &[(u64, &str)]) -> Vec<(u64, Vec<u8>)> {
    texts.iter().map(|(sequence, text)| (*sequence, text.as_bytes().to_vec())).collect()
}

#[test]
fn the_newest_messages_are_found_in_memory_and_on_disk() {
    let blocks = [&[body("a"), body("b")][..], &[body("c")], &[body("d"), body("e")]];
    let (mut log, disk) = log_of(&blocks, options(64 + 2 * 67));
    let expected = few(&[(2, "c"), (3, "d"), (4, "e")]);
    assert_eq!(look_back(&mut log, &disk, 3, 100), (expected.clone(), 0));
    // Not written yet, and so not there yet.
    append(&mut log, &body("f"));
    assert_eq!(look_back(&mut log, &disk, 3, 100), (expected, 0));

    let (mut log, _) = disk.recover(options(64 + 2 * 67), Sequence(5));
    let all = few(&[(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")]);
    let (found, reads) = look_back(&mut log, &disk, 100, 100);
    assert_eq!(found, all);
    assert!(reads <= 4, "{reads} reads of two segments");
    assert_eq!(look_back(&mut Log::create(IDS(), options(100)), &disk, 3, 100), (vec![], 0));
}

#[test]
fn a_hundred_messages_of_a_block_each_come_in_one_read() {
    let messages: Vec<_> = (0..500).map(|number| body(&format!("{number:03}"))).collect();
    let blocks: Vec<_> = messages.chunks(1).collect();
    let (_, disk) = log_of(&blocks, options(1 << 20));
    let (mut log, _) = disk.recover(options(1 << 20), Sequence(500));
    let (found, reads) = look_back(&mut log, &disk, 100, 1 << 20);
    let numbers: Vec<_> = found.iter().map(|(number, _)| *number).collect();
    assert_eq!((numbers, reads), ((400..500).collect(), 1));
}

#[test]
fn a_look_back_ends_where_there_is_no_room_for_a_body() {
    let blocks = [&[body("aaaa"), body("bb")][..], &[body("c"), body("dddddd")]];
    let (mut log, disk) = log_of(&blocks, options(1 << 20));
    for (room, expected) in [
        (100, &[(0, "aaaa"), (1, "bb"), (2, "c"), (3, "dddddd")][..]),
        (12, &[(1, "bb"), (2, "c"), (3, "dddddd")]),
        (9, &[(1, "bb"), (2, "c"), (3, "dddddd")]),
        (8, &[(2, "c"), (3, "dddddd")]),
        (6, &[(3, "dddddd")]),
        (4, &[(3, "dddd")]),
    ] {
        assert_eq!(look_back(&mut log, &disk, 4, room).0, few(expected), "{room}");
    }
    let mut newest = Newest::of(&log, 1, 4);
    assert_eq!(log.look_back(&mut newest), None);
    let newest = newest.into_messages();
    assert_eq!((newest[0].size, &newest[0].body[..]), (6, &b"dddd"[..]));
}

#[test]
fn a_look_back_shows_when_a_deferred_message_is_due_and_steps_over_gaps() {
    let deferred = Published { body: b"later".to_vec(), due: Some(77) };
    let (mut log, mut disk) = log_of(&[&[body("a"), deferred, body("b")]], options(1 << 20));
    append(&mut log, &body("lost"));
    let write = log.seal().unwrap();
    log.abandon(write);
    append(&mut log, &body("c"));
    commit(&mut log, &mut disk);
    let expected = few(&[(0, "a"), (1, "later"), (2, "b"), (4, "c")]);
    assert_eq!(look_back(&mut log, &disk, 9, 100), (expected.clone(), 0));
    let mut newest = Newest::of(&log, 9, 100);
    log.look_back(&mut newest);
    let dues: Vec<_> = newest.into_messages().into_iter().map(|glimpse| glimpse.due).collect();
    assert_eq!(dues, [None, Some(Timestamp(77)), None, None]);
    let (mut log, _) = disk.recover(options(1 << 20), Sequence(0));
    assert_eq!(look_back(&mut log, &disk, 9, 100).0, expected);
}

#[test]
fn a_look_back_shows_nothing_of_a_damaged_block() {
    let blocks = [&[body("a")][..], &[body("b"), body("c")], &[body("d")]];
    let (_, mut disk) = log_of(&blocks, options(1 << 20));
    let (mut log, _) = disk.recover(options(1 << 20), Sequence(4));
    // The last byte of the second block.
    disk.files.get_mut(&SegmentName(Sequence(0))).unwrap()[64 + 67 + 32 + 70 - 1] ^= 1;
    assert_eq!(look_back(&mut log, &disk, 9, 100).0, few(&[(0, "a"), (3, "d")]));
}

#[test]
fn an_ephemeral_log_is_looked_back_on_as_far_as_it_goes() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ephemeral: true };
    let (mut log, disk) = log_of(&[&[body("a")], &[body("b")], &[body("c")]], options);
    assert!(log.retain(|range| range.start != Sequence(1)).is_empty());
    assert_eq!(look_back(&mut log, &disk, 9, 100), (few(&[(0, "a"), (2, "c")]), 0));
}
