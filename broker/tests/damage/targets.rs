//! Everything that reads bytes which somebody else may have changed: a function that takes any bytes
//! and must not panic, inputs to start from, and a way to make checksums right again, so that what
//! is behind them is tried too.

use crate::disk::{ALL, Disk, Message, ids, written};
use broker::channel::{Locality, Outgoing, Room, Terms};
use broker::clock::{Now, Tick};
use broker::import::marker::Marker;
use broker::import::metadata::Metadata;
use broker::import::plan::Plan;
use broker::import::records::{Item, RECORD_HEADER_BYTES, Records};
use broker::keys::ConnectionKey;
use broker::log::block::{Block, Deferral, Layout, Naming, Place};
use broker::log::checkpoint::{Decoded, RECORDS_START, TopicCheckpoint};
use broker::log::{
    Cursor, Found, Kept, Log, LogOptions, Reading, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName,
};
use broker::message::{Sequence, Timestamp};
use broker::topic::catalogue::Catalogue;
use broker::topic::{Rules, Topic};
use bytes::{Bytes, BytesMut};
use protocol::conversation::Conversation;
use protocol::decoder::{Decoded as Command, Decoder};
use protocol::http::body::BodyReader;
use protocol::http::request::parse_head;
use protocol::limits::Limits;
use protocol::name::{ChannelName, TopicName};
use std::num::NonZeroU64;
use std::time::Duration;

/// See the head of this file.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    pub(crate) seal: Option<fn(&mut Vec<u8>)>,
}

pub(crate) const TARGETS: [Target; 8] = [
    Target { name: "block", run: read_block, seeds: blocks, seal: Some(seal_block) },
    Target { name: "segments", run: read_segments, seeds: segments, seal: Some(seal_segments) },
    Target {
        name: "checkpoint",
        run: read_checkpoint,
        seeds: checkpoints,
        seal: Some(seal_records),
    },
    Target { name: "list", run: read_list, seeds: lists, seal: None },
    Target { name: "queue", run: read_queue, seeds: queues, seal: None },
    Target { name: "import", run: read_import, seeds: imports, seal: None },
    Target { name: "commands", run: read_commands, seeds: commands, seal: None },
    Target { name: "http", run: read_http, seeds: requests, seal: None },
];

/// More steps than any reader of these inputs needs.
const STEPS_MAX: usize = 100_000;
const OPTIONS: LogOptions = LogOptions { segment_bytes_max: 400, ephemeral: false };
const PLACE_OFFSET: u64 = 64;

fn place() -> Place {
    Place { base: ids().base(), segment: SegmentName(Sequence(0)), offset: PLACE_OFFSET }
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn small_log() -> Disk {
    let message = |body: &[u8], due| Message { body: body.to_vec(), due };
    let blocks = [
        vec![message(b"zero", None), message(b"one", Some(9)), message(b"two", None)],
        vec![message(&[b'x'; 300], None)],
        vec![message(b"", Some(-1)), message(b"five", None)],
    ];
    written(ids(), &blocks, OPTIONS).0
}

// --- a block ---

fn blocks() -> Vec<Vec<u8>> {
    let disk = small_log();
    let first = disk.files.values().next().unwrap();
    vec![first[SEGMENT_HEADER_BYTES..].to_vec()]
}

fn read_block(bytes: &[u8]) {
    let Ok(layout) = Layout::decode(bytes, place()) else { return };
    let length = usize::try_from(layout.block_bytes()).unwrap();
    let block = Block { bytes: Bytes::copy_from_slice(&bytes[..length]), layout };
    let frames = (0..block.layout.count).map(|index| block.frame(index).len());
    assert_eq!(frames.sum::<usize>(), block.payload().len(), "frames fill the payload");
    for deferral in &block.layout.deferred {
        assert!(deferral.index < block.layout.count);
    }
}

/// The block that the fields of the header say, as far as one can have them.
fn sealed(bytes: &[u8], place: Place) -> Vec<u8> {
    const HEADER_BYTES: usize = 32;
    let rest = bytes.len() - HEADER_BYTES;
    let trailer = usize::try_from(number(bytes, 28, 4)).unwrap().min(rest) / 12 * 12;
    let (content, trailer) = bytes.split_at(bytes.len() - trailer);
    let deferral = |bytes: &[u8]| Deferral {
        index: u32::try_from(number(bytes, 0, 4)).unwrap(),
        due: Timestamp(number(bytes, 4, 8).cast_signed()),
    };
    let layout = Layout {
        naming: if bytes[9] == 1 { Naming::Kept } else { Naming::Counted },
        first: Sequence(number(bytes, 16, 8)),
        count: u32::try_from(number(bytes, 12, 4)).unwrap(),
        payload_bytes: u32::try_from(content.len() - HEADER_BYTES).unwrap(),
        deferred: trailer.chunks_exact(12).map(deferral).collect(),
        marks: Box::default(),
    };
    let mut block = BytesMut::from(content);
    layout.encode(&mut block, place);
    block.to_vec()
}

fn seal_block(bytes: &mut Vec<u8>) {
    if 32 <= bytes.len() {
        *bytes = sealed(bytes, place());
    }
}

// --- files of a log ---

/// Files behind one another, each with its length before it.
fn segments() -> Vec<Vec<u8>> {
    let disk = small_log();
    let one =
        |bytes: &Vec<u8>| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let all: Vec<u8> = disk.files.values().flat_map(one).collect();
    let first = one(disk.files.values().next().unwrap());
    vec![all, first]
}

fn unpacked(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    while 4 <= bytes.len() {
        let length = usize::try_from(number(bytes, 0, 4)).unwrap().min(bytes.len() - 4);
        files.push(bytes[4..4 + length].to_vec());
        bytes = &bytes[4 + length..];
    }
    files
}

fn name_of(file: &[u8]) -> SegmentName {
    SegmentName(Sequence(if file.len() < 32 { 0 } else { number(file, 24, 8) }))
}

fn read_segments(bytes: &[u8]) {
    let mut disk = Disk::default();
    for file in unpacked(bytes) {
        disk.files.insert(name_of(&file).to_string(), file);
    }
    for known in [0, 3, 6] {
        let (mut log, outcome) = disk.recover(Sequence(known), OPTIONS);
        let mut damage = outcome.damage;
        let start = log.start();
        let mut cursor = Cursor::at(start);
        let (mut messages, mut missing) = (0, 0);
        for step in 0.. {
            assert!(step < STEPS_MAX, "reading leads nowhere");
            match log.read(&mut cursor, ALL) {
                Reading::Run(run) => messages += u64::from(run.count),
                Reading::Deferred { sequence, .. } => {
                    messages += 1;
                    let is_there = matches!(log.frame(sequence), Found::Frame(..));
                    assert!(is_there, "it was met just now");
                }
                Reading::Gap { count } => missing += count,
                Reading::NotInMemory(plan) => {
                    damage.extend(log.loaded(&plan, disk.read(&plan)).damage);
                }
                Reading::End => break,
            }
        }
        assert_eq!(messages + missing, log.end() - start, "each sequence is met once");
        append_and_read(&mut log, &mut disk.clone());
    }
}

/// What was found goes on.
fn append_and_read(log: &mut Log, disk: &mut Disk) {
    let next = log.append(Timestamp(1), None, b"new");
    let write = log.seal().unwrap();
    disk.write(&write);
    log.written(write);
    assert!(matches!(log.frame(next), Found::Frame(..)));
}

fn seal_segments(bytes: &mut Vec<u8>) {
    let files = unpacked(bytes);
    bytes.clear();
    for mut file in files {
        seal_segment(&mut file);
        bytes.extend_from_slice(&u32::try_from(file.len()).unwrap().to_be_bytes());
        bytes.append(&mut file);
    }
}

fn seal_segment(file: &mut Vec<u8>) {
    if file.len() < SEGMENT_HEADER_BYTES {
        return;
    }
    let header = SegmentHeader {
        base: ids().base(),
        first: Sequence(number(file, 24, 8)),
        created: Timestamp(number(file, 32, 8).cast_signed()),
        previous: SegmentName(Sequence(number(file, 40, 8))),
        kept: Some(Kept {
            end: Sequence(number(file, 48, 8)),
            needed: NonZeroU64::new(number(file, 56, 8)),
        })
        .filter(|kept| 0 < kept.end.0),
    };
    file[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
    let mut at = SEGMENT_HEADER_BYTES;
    while at + 32 <= file.len() {
        let length = 32 + number(file, at + 24, 4) + number(file, at + 28, 4);
        let end = file.len().min(at + usize::try_from(length).unwrap());
        let place = Place { base: ids().base(), segment: name_of(file), offset: at as u64 };
        let block = sealed(&file[at..end], place);
        file.splice(at..end, block);
        at = end;
    }
}

// --- a checkpoint ---

fn now() -> Now {
    Now { tick: Tick(1), wall: Timestamp(20) }
}

fn rules() -> Rules {
    Rules {
        ephemeral_depth_max: 4,
        message_timeout_max: Duration::from_secs(60),
        latency_window: None,
    }
}

/// A topic over the small log, as `checkpoint` describes it.
fn topic_with(checkpoint: &TopicCheckpoint) -> (Topic, Disk) {
    let disk = small_log();
    let (log, outcome) = disk.recover(checkpoint.end, OPTIONS);
    let deferred = outcome.deferred.into_iter().filter(|&(it, _)| checkpoint.end <= it);
    let channels = [b"c".as_slice(), b"listed"].map(|name| ChannelName::parse(name).unwrap());
    let name = TopicName::parse(b"t").unwrap();
    let topic =
        Topic::restore(name, log, rules(), checkpoint, deferred, channels.into_iter(), now());
    (topic, disk)
}

/// A file of a whole record and three later ones.
fn checkpoints() -> Vec<Vec<u8>> {
    let (mut topic, disk) = topic_with(&TopicCheckpoint::default());
    let mut file = topic.record(true, now()).start_file();
    let mut files = vec![file.clone()];
    let key = topic.channel_key(ChannelName::parse(b"c").unwrap()).unwrap();
    let client = topic.channel_mut(key).subscribe(Terms {
        connection: ConnectionKey::default(),
        message_timeout: Duration::from_secs(1),
        sample_rate: 0,
        locality: Locality::default(),
    });
    for round in 0..3 {
        topic.channel_mut(key).set_ready_count(client, 2 + round);
        deliver(&mut topic, &disk);
        let channel = topic.channel_mut(key);
        let delay = Duration::from_nanos(round * 100);
        channel.requeue(client, Sequence(round), delay, now()).ok();
        channel.finish(client, Sequence(round + 1), now().tick).ok();
        file.extend_from_slice(&topic.record(false, now()).at(file.len() as u64));
        files.push(file.clone());
    }
    files
}

fn deliver(topic: &mut Topic, disk: &Disk) -> u64 {
    let mut messages = 0;
    for step in 0.. {
        assert!(step < STEPS_MAX, "delivering leads nowhere");
        let plans = topic.deliver(now(), &mut |_, outgoing| {
            messages += match outgoing {
                Outgoing::Fresh { count, .. } => u64::from(count),
                Outgoing::Again { .. } => 1,
            };
            Room::Left
        });
        if plans.is_empty() {
            break;
        }
        for plan in plans {
            topic.log_mut().loaded(&plan, disk.read(&plan));
        }
    }
    messages
}

/// Writes anew what is hardly needed; the log reads what there is from then on.
fn tidy(topic: &mut Topic, disk: &Disk) {
    let waste = topic.find_waste();
    for segment in waste.compact {
        let Some(mut compaction) = topic.compaction(segment) else { continue };
        while let Some((offset, bytes)) = compaction.next_read() {
            let file = &disk.files[&segment.to_string()];
            let rest = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            if compaction.feed(offset, &rest[..bytes.min(rest.len())]).is_err() {
                break;
            }
        }
        drop(compaction.finish());
    }
}

fn read_checkpoint(bytes: &[u8]) {
    let Ok(Decoded { checkpoint, bytes: used, cut }) = TopicCheckpoint::decode(bytes) else {
        return;
    };
    assert!(used <= bytes.len() as u64);
    assert_eq!(cut.is_none(), used == bytes.len() as u64);
    let (mut topic, disk) = topic_with(&checkpoint);
    let keys: Vec<_> = topic.channels().map(|channel| channel.name()).collect();
    for name in keys {
        let key = topic.channel_key(name).unwrap();
        let channel = topic.channel_mut(key);
        channel.set_paused(false);
        let client = channel.subscribe(Terms {
            connection: ConnectionKey::default(),
            message_timeout: Duration::from_secs(1),
            sample_rate: 0,
            locality: Locality::default(),
        });
        channel.set_ready_count(client, 100);
    }
    topic.set_paused(false, now());
    deliver(&mut topic, &disk);
    let far = Now { tick: Tick(u64::MAX), wall: Timestamp(i64::MAX) };
    topic.pass_time(far.tick);
    deliver(&mut topic, &disk);
    tidy(&mut topic, &disk);
    deliver(&mut topic, &disk);
    let kept = topic.record(true, now()).start_file();
    assert!(TopicCheckpoint::decode(&kept).is_ok_and(|decoded| decoded.cut.is_none()));
}

/// Makes lengths and checksums of all records right.
#[expect(clippy::ptr_arg, reason = "other seals change the length")]
fn seal_records(bytes: &mut Vec<u8>) {
    let mut at = usize::try_from(RECORDS_START).unwrap();
    while at + 8 <= bytes.len() {
        let content = at + 8;
        let length = usize::try_from(number(bytes, at, 4)).unwrap().min(bytes.len() - content);
        bytes[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        let mut hasher = crc32fast::Hasher::new_with_initial(u32::try_from(at).unwrap());
        hasher.update(&bytes[content..content + length]);
        bytes[at + 4..content].copy_from_slice(&hasher.finalize().to_be_bytes());
        at = content + length;
    }
}

// --- nsqd.dat ---

fn lists() -> Vec<Vec<u8>> {
    vec![
        br#"{"topics":[{"name":"a","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}"#.to_vec(),
        br#"{"version":"1.2.1","topics":null}"#.to_vec(),
    ]
}

fn read_list(bytes: &[u8]) {
    let Ok((catalogue, _)) = Catalogue::from_file(bytes) else { return };
    let file = catalogue.to_file("1.3.0");
    let (again, oddities) = Catalogue::from_file(&file).expect("we wrote it");
    assert!(oddities.is_empty());
    // Ephemeral names are not kept.
    let again_file = again.to_file("1.3.0");
    assert_eq!(again_file, file);
}

// --- what NSQ left ---

/// Records of a disk queue as NSQ writes them.
fn queues() -> Vec<Vec<u8>> {
    let record = |number: u64, body: &[u8]| {
        let length = u32::try_from(26 + body.len()).unwrap();
        let time = 1_700_000_000_000_000_000 + number;
        let id = format!("{number:016x}");
        [&length.to_be_bytes()[..], &time.to_be_bytes(), &[0, 1], id.as_bytes(), body].concat()
    };
    let bodies = [&b"a"[..], b"", &[b'x'; 300], b"\0\0\0\x1e", b"last"];
    vec![(0..).zip(bodies).flat_map(|(number, body)| record(number, body)).collect()]
}

/// Every byte belongs to one record, or to damage, in order.
fn read_queue(bytes: &[u8]) {
    for said in [bytes.len() as u64, bytes.len() as u64 + 40] {
        let mut records = Records::between(0, said);
        let mut source = bytes;
        let mut at = 0;
        for step in 0.. {
            assert!(step < STEPS_MAX, "reading leads nowhere");
            match records.next(&mut source).unwrap() {
                Item::Record(record) => at += RECORD_HEADER_BYTES + record.body.len() as u64,
                Item::Damage { offset, bytes } => {
                    assert_eq!(offset, at);
                    assert!(0 < bytes, "it goes on");
                    at += bytes;
                }
                Item::End => break,
            }
            assert_eq!(records.offset(), at);
        }
        assert_eq!(at, said);
    }
}

fn imports() -> Vec<Vec<u8>> {
    let marker = Marker {
        first_segment: Sequence(7),
        end: Some(Sequence(9)),
        files: vec![("t.diskqueue.000000.dat".to_owned(), 99)],
    };
    vec![b"4\n0,33\n2,0\n".to_vec(), marker.encode()]
}

fn read_import(bytes: &[u8]) {
    if let Some(metadata) = Metadata::parse(bytes) {
        assert!(metadata.read <= metadata.write);
        drop(Plan::of(Some(metadata), &[(0, 50), (2, 90)].into()));
    }
    if let Some(marker) = Marker::decode(bytes) {
        assert_eq!(Marker::decode(&marker.encode()), Some(marker));
    }
}

// --- what clients send ---

fn limits() -> Limits {
    Limits { max_message_bytes: 100, max_body_bytes: 300, ..Limits::default() }
}

fn commands() -> Vec<Vec<u8>> {
    vec![
        b"IDENTIFY\n\0\0\0\x02{}SUB t c\nRDY 5\nFIN 0123456789abcdef\nNOP\nCLS\n".to_vec(),
        b"PUB t\n\0\0\0\x03abcDPUB t 100\n\0\0\0\x01xREQ 0123456789abcdef 5\n".to_vec(),
        b"MPUB t\n\0\0\0\x12\0\0\0\x03\0\0\0\x01a\0\0\0\x01b\0\0\0\0TOUCH 0123456789abcdef\n"
            .to_vec(),
        b"AUTH\n\0\0\0\x06secretNOP\n".to_vec(),
    ]
}

/// What a connection understands of `pieces` of a stream.
fn understood<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::new(limits());
    let mut unread = Vec::new();
    let mut told = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match decoder.decode(&unread, Conversation::fresh()) {
                Ok(Command::Command { command, consumed }) => {
                    assert!(0 < consumed && consumed <= unread.len());
                    told.push(format!("{command:?}"));
                    unread.drain(..consumed);
                }
                Ok(Command::NeedMore { at_least }) => {
                    assert!(unread.len() < at_least, "it asks for more than there is");
                    break;
                }
                Err(error) => {
                    told.push(format!("{error:?}"));
                    return told;
                }
            }
        }
    }
    decoder.refuse_truncated(&unread);
    told
}

/// However a stream is cut, the same is understood.
fn read_commands(bytes: &[u8]) {
    let whole = understood(std::iter::once(bytes));
    assert_eq!(understood(bytes.chunks(1)), whole);
    assert_eq!(understood(bytes.chunks(7)), whole);
}

fn requests() -> Vec<Vec<u8>> {
    vec![
        b"POST /pub?topic=a&defer=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n".to_vec(),
        b"POST /mpub?topic=a&binary=true HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n0\r\nA: b\r\n\r\n".to_vec(),
        b"GET /stats?format=json&topic=%61%zz HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n".to_vec(),
    ]
}

fn read_http(bytes: &[u8]) {
    let Ok(Some((head, length))) = parse_head(bytes) else { return };
    assert!(length <= bytes.len());
    drop(head.query());
    let bodies = [bytes.len() + 1, 1, 5].map(|size| {
        let mut reader = BodyReader::new(head.body, 1_000)?;
        let mut taken = 0;
        for piece in bytes[length..].chunks(size) {
            let of_this = reader.feed(piece)?;
            assert!(of_this == piece.len() || reader.is_complete());
            taken += of_this;
            if reader.is_complete() {
                break;
            }
        }
        Ok::<_, protocol::http::body::BodyError>((
            taken,
            reader.is_complete(),
            reader.into_content(),
        ))
    });
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}
