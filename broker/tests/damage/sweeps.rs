//! A small log, damaged in every way that can be counted: what is not damaged comes back as it was,
//! what is damaged is named in exactly the right sequences, and nothing else is lost.

use crate::disk::{Disk, Message, Outcome, Written, append_block, ids, written};
use crate::random::Random;
use broker::log::recovery::SetAside;
use broker::log::{HeaderError, LogOptions, SegmentName};
use broker::message::Sequence;
use broker::message_id::IdSpace;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const HEADER_BYTES: usize = 64;
const SECTOR_BYTES: usize = 512;
const OPTIONS: LogOptions = LogOptions { segment_bytes_max: 400, ephemeral: false };

fn plain(body: &str) -> Message {
    Message { body: body.as_bytes().to_vec(), due: None }
}

fn later(body: &str, due: i64) -> Message {
    Message { due: Some(due), ..plain(body) }
}

/// Plain and deferred messages, an empty one, and one larger than a segment.
fn blocks() -> Vec<Vec<Message>> {
    vec![
        vec![plain("zero"), plain("one")],
        vec![plain("two"), later("three", 9), plain("four")],
        vec![plain("")],
        vec![plain(&"large ".repeat(120))],
        vec![later("seven", -5)],
        vec![plain("eight"), later("nine", i64::MAX), later("ten", 7)],
        vec![plain("eleven")],
        vec![plain("twelve"), plain("thirteen")],
    ]
}

/// The log as it was written.
struct Original {
    messages: BTreeMap<u64, Message>,
    disk: Disk,
    places: Vec<Written>,
}

impl Original {
    fn new() -> Self {
        let blocks = blocks();
        let (disk, places) = written(ids(), &blocks, OPTIONS);
        assert!(4 <= disk.files.len(), "the log must have a middle");
        let messages = (0..).zip(blocks.into_iter().flatten()).collect();
        Self { messages, disk, places }
    }

    fn end(&self) -> u64 {
        self.messages.len() as u64
    }

    fn last_file(&self) -> &str {
        self.disk.files.last_key_value().expect("there are files").0
    }

    /// What is lost when just these files of the log are used, and in them just the blocks that are
    /// as they were, at their places.
    fn lost(&self, damaged: &Disk) -> BTreeSet<u64> {
        let is_whole = |place: &Written| {
            let (Some(was), Some(is)) =
                (self.disk.files.get(&place.file), damaged.files.get(&place.file))
            else {
                return false;
            };
            is.get(..HEADER_BYTES) == was.get(..HEADER_BYTES)
                && is.get(place.bytes.clone()) == was.get(place.bytes.clone())
        };
        let lost = self.places.iter().filter(|place| !is_whole(place));
        lost.flat_map(|place| place.messages.clone()).collect()
    }

    /// The messages in files of which not even the start is as it was, or which are gone.
    fn in_unused_files(&self, damaged: &Disk) -> BTreeSet<u64> {
        let is_unused = |place: &&Written| {
            let is = damaged.files.get(&place.file).and_then(|bytes| bytes.get(..HEADER_BYTES));
            is != self.disk.files[&place.file].get(..HEADER_BYTES)
        };
        let unused = self.places.iter().filter(is_unused);
        unused.flat_map(|place| place.messages.clone()).collect()
    }

    /// Recovers `damaged` by a checkpoint that knows nothing, and by one that knows all.
    #[track_caller]
    fn check(&self, damaged: &Disk) -> [Outcome; 2] {
        [0, self.end()].map(|known| self.check_with(damaged, known))
    }

    #[track_caller]
    fn check_with(&self, damaged: &Disk, known: u64) -> Outcome {
        let outcome = damaged.read_back(Sequence(known), OPTIONS);
        let lost = self.lost(damaged);
        let kept = self.messages.iter().filter(|(sequence, _)| !lost.contains(sequence));
        assert!(outcome.messages.iter().eq(kept), "{lost:?} should be lost: {outcome:?}");

        // What is lost is named: by its sequences, or as the end of the log, or as a file.
        let reported = outcome.reported();
        let named: BTreeSet<_> = reported.iter().copied().collect();
        assert_eq!(named.len(), reported.len(), "nothing is reported twice: {outcome:?}");
        assert!(named.is_subset(&lost), "{named:?} is reported, {lost:?} is lost");
        let unused = self.in_unused_files(damaged);
        let end = outcome.found.end;
        for sequence in lost.difference(&named) {
            let is_told = unused.contains(sequence) || end <= *sequence;
            assert!(is_told, "{sequence} went in silence: {outcome:?}");
        }
        let is_end_whole = |bytes: &Vec<u8>| {
            let ends = self.places.iter().map(|place| place.bytes.end);
            ends.chain([HEADER_BYTES]).any(|end| end == bytes.len())
        };
        let last = damaged.files.get(self.last_file());
        if lost.iter().any(|sequence| end <= *sequence) {
            let is_cut = outcome.cut.is_some();
            let is_shorter = last.is_none_or(is_end_whole);
            let is_set_aside = outcome.set_aside.iter().any(|(name, _)| name == self.last_file());
            assert!(is_cut || is_shorter || is_set_aside, "the end went in silence: {outcome:?}");
        }
        outcome
    }

    /// After recovery the log takes messages again, and they come back; what was there stays.
    #[track_caller]
    fn check_going_on(&self, damaged: &Disk) {
        let known = Sequence(self.end());
        let (mut log, outcome) = damaged.recover(known, OPTIONS);
        let mut disk = damaged.clone();
        for (name, _) in &outcome.set_aside {
            disk.files.remove(name);
        }
        if let Some(cut) = outcome.cut {
            let file = disk.files.get_mut(&cut.segment.to_string()).unwrap();
            file.truncate(usize::try_from(cut.at).unwrap());
        }
        let before = disk.read_back(Sequence(0), OPTIONS);
        append_block(&mut log, &mut disk, &[plain("new"), later("newer", 3)], &mut Vec::new());
        let mut after = disk.read_back(Sequence(0), OPTIONS);
        let new = [self.end(), self.end() + 1].map(|new| after.messages.remove(&new));
        assert_eq!(new, [Some(plain("new")), Some(later("newer", 3))]);
        assert_eq!(after.messages, before.messages);
        assert_eq!(after.cut, None);
    }
}

/// Every file with every change to it that `changes` makes.
fn each_file(original: &Original, mut changes: impl FnMut(&str, &[u8])) {
    for (name, bytes) in &original.disk.files {
        changes(name, bytes);
    }
}

fn with(original: &Original, name: &str, bytes: Vec<u8>) -> Disk {
    let mut disk = original.disk.clone();
    disk.files.insert(name.to_owned(), bytes);
    disk
}

#[test]
fn an_undamaged_log_comes_back_and_nothing_is_reported() {
    let original = Original::new();
    for outcome in original.check(&original.disk) {
        assert_eq!((outcome.damage, outcome.cut, outcome.set_aside), (vec![], None, vec![]));
    }
    original.check_going_on(&original.disk);
}

#[test]
fn every_truncation_of_every_file_loses_what_was_cut() {
    let original = Original::new();
    each_file(&original, |name, bytes| {
        for length in 0..bytes.len() {
            let damaged = with(&original, name, bytes[..length].to_vec());
            original.check(&damaged);
            original.check_going_on(&damaged);
        }
    });
}

#[test]
fn every_flipped_bit_of_every_file_loses_its_block_and_names_it() {
    let original = Original::new();
    each_file(&original, |name, bytes| {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let damaged = with(&original, name, flipped);
            for outcome in original.check(&damaged) {
                check_one_block(&original, name, bit / 8, &outcome);
            }
        }
    });
}

/// The block in which the byte `at` of the file was changed is reported, with its place; a file
/// whose header was changed is set aside.
#[track_caller]
fn check_one_block(original: &Original, name: &str, at: usize, outcome: &Outcome) {
    let Some(block) =
        original.places.iter().find(|place| place.file == name && place.bytes.contains(&at))
    else {
        let reason = if at < 8 { HeaderError::Foreign } else { HeaderError::Damaged };
        assert_eq!(outcome.set_aside, [(name.to_owned(), SetAside::Header(reason))]);
        return;
    };
    let bytes = (block.bytes.start as u64, block.bytes.len() as u64);
    let is_last = block.messages.end == original.end();
    if is_last {
        let cut = outcome.cut.expect("a damaged end is cut");
        assert_eq!((cut.segment.to_string().as_str(), cut.at, cut.bytes), (name, bytes.0, bytes.1));
        assert_eq!(outcome.damage, []);
    } else {
        assert_eq!((outcome.cut, outcome.damage.len()), (None, 1), "{outcome:?}");
        let damage = &outcome.damage[0];
        assert_eq!(
            (damage.segment.to_string().as_str(), damage.offset, damage.bytes),
            (name, bytes.0, bytes.1)
        );
        assert_eq!(damage.missing.start.0..damage.missing.end.0, block.messages);
    }
}

#[test]
fn two_flipped_bits_anywhere_lose_two_blocks_at_most() {
    let original = Original::new();
    let names: Vec<_> = original.disk.files.keys().cloned().collect();
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let mut damaged = original.disk.clone();
        for _ in 0..2 {
            let file = damaged.files.get_mut(random.choose(&names)).unwrap();
            let at = random.below(file.len());
            file[at] ^= 1 << random.below(8);
        }
        original.check(&damaged);
    }
}

/// The sectors of a file; the last may be short.
fn sectors(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let end = bytes.len();
    (0..end).step_by(SECTOR_BYTES).map(move |start| start..(start + SECTOR_BYTES).min(end))
}

#[test]
fn a_zeroed_sector_loses_the_blocks_in_it() {
    let original = Original::new();
    each_file(&original, |name, bytes| {
        for sector in sectors(bytes) {
            let mut zeroed = bytes.to_vec();
            zeroed[sector].fill(0);
            let damaged = with(&original, name, zeroed);
            original.check(&damaged);
            original.check_going_on(&damaged);
        }
    });
}

#[test]
fn any_zeroed_run_of_bytes_loses_the_blocks_in_it() {
    let original = Original::new();
    each_file(&original, |name, bytes| {
        for start in (0..bytes.len()).step_by(7) {
            for length in [1, 16, 100, 333] {
                let mut zeroed = bytes.to_vec();
                zeroed[start..(start + length).min(bytes.len())].fill(0);
                original.check(&with(&original, name, zeroed));
            }
        }
    });
}

#[test]
fn a_sector_that_was_written_to_another_place_is_not_believed() {
    let original = Original::new();
    let all: Vec<_> = original.disk.files.values().cloned().collect();
    each_file(&original, |name, bytes| {
        for to in sectors(bytes) {
            for from in all.iter().flat_map(|other| sectors(other).map(move |from| &other[from])) {
                let mut copied = bytes.to_vec();
                let length = to.len().min(from.len());
                copied[to.start..to.start + length].copy_from_slice(&from[..length]);
                let damaged = with(&original, name, copied);
                original.check(&damaged);
            }
        }
    });
}

#[test]
fn bytes_behind_the_end_of_a_file_are_no_messages() {
    let original = Original::new();
    let first = original.disk.files.values().next().unwrap().clone();
    let behind =
        [vec![0; 700], vec![0xff; 700], b"\x89NSB".to_vec(), first[HEADER_BYTES..].to_vec()];
    each_file(&original, |name, bytes| {
        for more in &behind {
            let damaged = with(&original, name, [bytes, more].concat());
            original.check(&damaged);
            original.check_going_on(&damaged);
        }
    });
}

#[test]
fn a_missing_file_loses_its_messages_and_no_others() {
    let original = Original::new();
    each_file(&original, |name, _| {
        let mut damaged = original.disk.clone();
        damaged.files.remove(name);
        original.check(&damaged);
        original.check_going_on(&damaged);
    });
}

#[test]
fn an_empty_or_a_zero_filled_file_loses_its_messages_and_no_others() {
    let original = Original::new();
    each_file(&original, |name, bytes| {
        for (zeros, reason) in [
            (0, HeaderError::Empty),
            (bytes.len(), HeaderError::Foreign),
            (9_000, HeaderError::Foreign),
        ] {
            let damaged = with(&original, name, vec![0; zeros]);
            for outcome in original.check(&damaged) {
                assert_eq!(outcome.set_aside, [(name.to_owned(), SetAside::Header(reason))]);
            }
            original.check_going_on(&damaged);
        }
    });
}

#[test]
fn files_that_changed_their_names_are_set_aside() {
    let original = Original::new();
    let names: Vec<_> = original.disk.files.keys().cloned().collect();
    let free = [SegmentName(Sequence(3)).to_string(), SegmentName(Sequence(99)).to_string()];
    for from in &names {
        for to in names.iter().chain(&free).filter(|to| *to != from) {
            let mut damaged = original.disk.clone();
            let moved = damaged.files.remove(from).unwrap();
            if let Some(replaced) = damaged.files.insert(to.clone(), moved) {
                damaged.files.insert(from.clone(), replaced);
            }
            for outcome in original.check(&damaged) {
                let is_set_aside = |name: &String| {
                    let reason = |(there, why): &(String, SetAside)| {
                        there == name && matches!(why, SetAside::Renamed(_))
                    };
                    outcome.set_aside.iter().any(reason)
                };
                assert!(is_set_aside(to), "{outcome:?}");
                assert_eq!(is_set_aside(from), names.contains(to), "{outcome:?}");
            }
            original.check_going_on(&damaged);
        }
    }
}

#[test]
fn a_file_of_another_topic_takes_no_message_away() {
    let original = Original::new();
    // Named below, among and above our own.
    for messages_before in [0, 3, 20] {
        let blocks = vec![
            vec![plain("theirs, and longer than a segment ".repeat(20).as_str())];
            messages_before + 1
        ];
        let (theirs, _) = written(IdSpace::new(5, 77), &blocks, OPTIONS);
        let (name, bytes) = theirs.files.last_key_value().unwrap();
        if original.disk.files.contains_key(name) {
            continue;
        }
        let damaged = with(&original, name, bytes.clone());
        for outcome in original.check(&damaged) {
            assert_eq!(outcome.set_aside, [(name.clone(), SetAside::OtherTopic)]);
        }
        original.check_going_on(&damaged);
    }
}
