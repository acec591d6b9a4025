//! `nsqd --check-data`: says what a data path holds and what of it is damaged, and changes nothing.
//!
//! It reads with the same code as a start does, but whole segments instead of their ends, a piece at
//! a time. It takes no lock and writes nothing, so that it works on a read-only folder and beside a
//! running broker; then it may call the last moments' writes torn.
//!
//! Knows: files, and how to wait for them. Does not know: shards, the ring, how to mend anything.

mod report;

pub use report::{Finding, Metadata, TopicReport, Totals};

use crate::disk::{head_of, read_up_to};
use crate::import::queues;
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::recovery::{Absent, Recovery, SegmentFile, SetAside};
use crate::log::storage_ring::{
    CHECKPOINT, COMPACTED_SUFFIX, FOLDER_SUFFIX, NEW_SUFFIX, PREPARED_PREFIX, REMOVED_SUFFIX,
    SET_ASIDE,
};
use crate::log::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use crate::message::Sequence;
use crate::topic::catalogue::Catalogue;
use protocol::name::TopicName;
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Files of a running broker come and go: a topic is looked at so many times at most.
const LOOKS_MAX: u32 = 5;

/// Checks a data path and writes what it finds to `out`, a line for each topic and one for each
/// finding; true when nothing is damaged.
///
/// # Errors
/// When the folder cannot be listed, or `out` takes no more.
pub fn check(data_path: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let names = list(data_path)?;
    if is_in_use(data_path) {
        writeln!(
            out,
            "a broker is running on {}: its last writes may look torn",
            data_path.display()
        )?;
    }
    let (metadata, listed) = look_at_metadata(&data_path.join("nsqd.dat"));
    write!(out, "{metadata}")?;
    let mut totals = Totals::default();
    totals.add_metadata(&metadata);
    for finding in old_queues(&names).into_iter().chain(odd_folders(&names)) {
        totals.add_finding(&finding);
        writeln!(out, "{finding}")?;
    }
    let there = names.iter().filter_map(|name| topic_of(name.strip_suffix(FOLDER_SUFFIX)?));
    let there: BTreeSet<TopicName> = there.collect();
    for topic in &there {
        let report = look_at_topic(data_path, *topic);
        totals.add(&report);
        write!(out, "{report}")?;
    }
    for topic in listed.topics.keys().filter(|topic| !there.contains(topic)) {
        writeln!(out, "{topic}: listed in nsqd.dat, and without a log")?;
    }
    writeln!(out, "{}: {totals}", data_path.display())?;
    Ok(!totals.is_damaged())
}

fn topic_of(name: &str) -> Option<TopicName> {
    TopicName::parse(name.as_bytes()).ok()
}

/// The names in a folder, in order; those that are no text are shown as far as they are.
#[expect(clippy::disallowed_methods, reason = "no core serves")]
fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Whether a broker holds the data path. It is asked for with a lock that many may share and that is
/// given back at once.
#[expect(clippy::disallowed_methods, reason = "no core serves")]
fn is_in_use(data_path: &Path) -> bool {
    let Ok(folder) = File::open(data_path) else { return false };
    let asked = flock(&folder, FlockOperation::NonBlockingLockShared);
    asked == Err(rustix::io::Errno::WOULDBLOCK)
}

#[expect(clippy::disallowed_methods, reason = "no core serves")]
fn look_at_metadata(path: &Path) -> (Metadata, Catalogue) {
    let nothing = Catalogue::default();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return (Metadata::Missing, nothing),
        Err(error) => return (Metadata::Unusable(error.to_string()), nothing),
    };
    match Catalogue::from_file(&bytes) {
        Ok((catalogue, oddities)) => {
            let channels = catalogue.topics.values().map(|listed| listed.channels.len()).sum();
            let topics = catalogue.topics.len();
            (Metadata::Good { topics, channels, oddities }, catalogue)
        }
        Err(error) => (Metadata::Unusable(error.to_string()), nothing),
    }
}

/// What NSQ's nsqd left, or an import that was cut short.
fn old_queues(names: &[String]) -> Vec<Finding> {
    let found = queues::find(names.iter().cloned());
    let taken_in = found.topics.keys().map(|topic| {
        Finding::note(format!("the disk queue of {topic} is taken in at the next start"))
    });
    let foreign = found.foreign.iter().map(|queue| {
        Finding::note(format!("the disk queue {queue} is not used: nothing of that name is kept"))
    });
    taken_in.chain(foreign).collect()
}

/// Folders of topics that are none any more.
fn odd_folders(names: &[String]) -> impl Iterator<Item = Finding> + '_ {
    names.iter().filter_map(|name| {
        let without = |suffix| name.strip_suffix(suffix)?.strip_suffix(FOLDER_SUFFIX);
        if without(REMOVED_SUFFIX).is_some() {
            return Some(Finding::note(format!(
                "{name} was being deleted: the next start removes it"
            )));
        }
        let is_aside = name.ends_with(SET_ASIDE) && name.contains(&format!("{FOLDER_SUFFIX}."));
        is_aside.then(|| Finding::note(format!("{name} is not used: it was set aside")))
    })
}

fn look_at_topic(data_path: &Path, topic: TopicName) -> TopicReport {
    let folder = data_path.join(format!("{topic}{FOLDER_SUFFIX}"));
    for _ in 1..LOOKS_MAX {
        let mut report = TopicReport::new(topic);
        match look_into(&folder, &mut report) {
            Ok(()) => return report,
            // A broker renamed or deleted it in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                report.findings.push(Finding::damage(format!("it cannot be read: {error}")));
                return report;
            }
        }
    }
    let mut report = TopicReport::new(topic);
    if let Err(error) = look_into(&folder, &mut report) {
        report.findings.push(Finding::damage(format!("it cannot be read: {error}")));
    }
    report
}

/// Fills the report.
///
/// # Errors
/// When the folder cannot be listed, or a file vanished since it was.
fn look_into(folder: &Path, report: &mut TopicReport) -> io::Result<()> {
    let names = list(folder)?;
    // Before the segments: what it knows, they must have.
    let known = look_at_checkpoint(folder, &names, report)?;
    let mut segments = Segments { folder, paths: BTreeMap::new(), open: None };
    let mut files = Vec::new();
    for name in names.iter().filter(|name| *name != CHECKPOINT) {
        if !name.ends_with(".log") {
            report.findings.push(Finding::note(if name.ends_with(SET_ASIDE) {
                format!("{name} is not used: it was set aside")
            } else if name.ends_with(NEW_SUFFIX) || name.ends_with(COMPACTED_SUFFIX) {
                format!("{name} is not used: it was not finished")
            } else {
                format!("{name} is not used: {}", SetAside::Name)
            }));
            continue;
        }
        let seen = head_of(&folder.join(name), SEGMENT_HEADER_BYTES);
        let (bytes, head) = match seen.and_then(|(bytes, head)| Ok((bytes, head?))) {
            Ok(seen) => seen,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => {
                report.findings.push(Finding::damage(format!("{name} cannot be read: {error}")));
                continue;
            }
        };
        let is_prepared = name.starts_with(PREPARED_PREFIX);
        let proper = match SegmentHeader::decode(&head) {
            Ok(header) if is_prepared => SegmentName(header.first).to_string(),
            _ => name.clone(),
        };
        let proper = if names.contains(&proper) { name.clone() } else { proper };
        match SegmentFile::inspect(&proper, bytes, &head) {
            Ok(file) => {
                segments.paths.insert(file.name, name.clone());
                files.push(file);
            }
            // One that was opened ahead of time, or not written to before the end.
            Err(_) if head.is_empty() => {}
            Err(why) => {
                let is_ours = is_prepared || SegmentName::parse(name).is_some();
                let text = format!("{name} is not used: {why}");
                report.findings.push(Finding { is_damage: is_ours, text });
            }
        }
    }
    report.segments = files.len();
    report.bytes = files.iter().map(|file| file.bytes).sum();
    let (end, absent) = read_all(files, &mut segments, report)?;
    if let Some(Known { checkpoint, is_latest }) = &known {
        report.compare_with(checkpoint, end);
        if *is_latest {
            report.look_for_taken(checkpoint, &absent);
        }
    }
    Ok(())
}

/// What a topic's checkpoint says.
struct Known {
    checkpoint: TopicCheckpoint,
    /// Nothing says that there was a later one.
    is_latest: bool,
}

#[expect(clippy::disallowed_methods, reason = "no core serves")]
fn look_at_checkpoint(
    folder: &Path,
    names: &[String],
    report: &mut TopicReport,
) -> io::Result<Option<Known>> {
    if !names.iter().any(|name| name == CHECKPOINT) {
        return Ok(None);
    }
    let bytes = match std::fs::read(folder.join(CHECKPOINT)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        Err(error) => {
            report.findings.push(Finding::damage(format!("{CHECKPOINT} cannot be read: {error}")));
            return Ok(None);
        }
    };
    match TopicCheckpoint::decode(&bytes) {
        Ok(decoded) => {
            let is_latest = decoded.is_latest(&bytes);
            report.findings.extend(decoded.cut.map(|why| Finding {
                is_damage: !is_latest,
                text: format!("{why}: what it said is not used"),
            }));
            Ok(Some(Known { checkpoint: decoded.checkpoint, is_latest }))
        }
        Err(why) => {
            report.findings.push(Finding::damage(format!("{CHECKPOINT} is not used: {why}")));
            Ok(None)
        }
    }
}

/// Reads all segments; where the log ends, and where segments are gone.
fn read_all(
    files: Vec<SegmentFile>,
    segments: &mut Segments<'_>,
    report: &mut TopicReport,
) -> io::Result<(Sequence, Vec<Absent>)> {
    let (mut recovery, others) = Recovery::new(files, Sequence(0));
    for (name, why) in others {
        report.segments -= 1;
        report.findings.push(Finding::note(format!("{name} is not used: {why}")));
    }
    let mut buffer = Vec::new();
    let mut end = Sequence(0);
    let mut absent = Vec::new();
    while let Some(plan) = recovery.next_read() {
        buffer.resize(plan.bytes, 0);
        match segments.read(plan.segment, plan.offset, &mut buffer) {
            Ok(bytes) => recovery.feed(&plan, &buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => {
                let text = format!("{} cannot be read: {error}", plan.segment);
                report.findings.push(Finding::damage(text));
                recovery.unreadable(&plan);
            }
        }
        // A backlog of any size is checked in little memory.
        let found = recovery.take_found();
        report.take(&found, &mut end);
        absent.extend(found.absent);
    }
    let found = recovery.finish();
    report.take(&found, &mut end);
    absent.extend(found.absent);
    Ok((end, absent))
}

/// The segments of one topic.
struct Segments<'a> {
    folder: &'a Path,
    /// What their files are called.
    paths: BTreeMap<SegmentName, String>,
    /// The one that is read.
    open: Option<(SegmentName, File)>,
}

impl Segments<'_> {
    /// Fills `buffer` from `offset` on; how much of it.
    #[expect(clippy::disallowed_methods, reason = "no core serves")]
    fn read(&mut self, name: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != name) {
            let path = self.folder.join(&self.paths[&name]);
            self.open = Some((name, File::open(path)?));
        }
        let (_, file) = self.open.as_ref().expect("it was opened just now");
        read_up_to(file, offset, buffer)
    }
}
