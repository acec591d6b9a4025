//! What a shard and a topic's folder do for one topic, on the simulated disk: the same operations in
//! the same order, with nothing to wait for.
//!
//! Decides nothing about messages: that is the broker's own code.

use crate::storage::{Fault, File, Result, Storage};
use broker::clock::Now;
use broker::log::checkpoint::{Decoded, Record, TopicCheckpoint};
use broker::log::recovery::{Recovered, Recovery, SegmentFile, SetAside, Taken};
use broker::log::{
    Compacted, Compaction, Damage, HeaderError, Log, LogOptions, ReadPlan, SEGMENT_HEADER_BYTES,
    SegmentHeader, SegmentName, Write,
};
use broker::message::Sequence;
use broker::message_id::IdSpace;
use broker::topic::catalogue::{Catalogue, Change, Listed};
use broker::topic::retention::Waste;
use broker::topic::{Rules, Topic};
use protocol::name::{ChannelName, TopicName};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Small, so that segments come and go.
const SEGMENT_BYTES_MAX: u64 = 700;
/// Small, so that the checkpoint is often written anew.
const CHECKPOINT_SLACK_BYTES: u64 = 300;
/// How long a client may keep a message with TOUCH.
pub(crate) const TIMEOUT_MAX: u64 = 150;

const FOLDER: &str = "topic";
const CHECKPOINT: &str = "topic/checkpoint";
const COMPACTED_SUFFIX: &str = ".compact";
const PREPARED_PREFIX: &str = "next-";
const LIST_FOLDER: &str = "data";
const LIST: &str = "data/nsqd.dat";

pub(crate) fn topic_name() -> TopicName {
    TopicName::parse(b"t").unwrap()
}

pub(crate) fn channel_name(name: &str) -> ChannelName {
    ChannelName::parse(name.as_bytes()).unwrap()
}

/// A process with one topic.
pub(crate) struct Shell {
    pub(crate) topic: Topic,
    list: Catalogue,
    active: Option<(SegmentName, File)>,
    prepared: Option<(String, File)>,
    prepared_count: u32,
    /// A segment that still has the name it was prepared under.
    misnamed: Option<(SegmentName, String)>,
    unsynced: BTreeMap<SegmentName, File>,
    is_folder_unsynced: bool,
    /// Where the next record of the checkpoint goes, and where its first one ended.
    checkpoint: Option<(u64, u64)>,
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) checkpoint: Option<TopicCheckpoint>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) set_aside: Vec<(String, SetAside)>,
    /// Needed messages whose segments are gone.
    pub(crate) taken: Vec<Taken>,
    /// The channels in `nsqd.dat`.
    pub(crate) listed: Listed,
}

/// What became of the open block.
#[derive(Debug)]
pub(crate) enum Committed {
    /// There was none.
    Nothing,
    /// Its messages never existed.
    Refused,
    /// Its messages are visible.
    Written(Range<Sequence>, SegmentName),
}

/// What became of what was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    All,
    /// Nothing is known of this segment's unsynced blocks; those of later ones wait.
    Failed(SegmentName),
    /// The names are not there yet.
    NamesFailed,
}

impl Shell {
    /// Starts, with whatever is on the disk.
    pub(crate) fn open(storage: &mut Storage, ids: IdSpace, now: Now) -> Result<(Self, Opened)> {
        let list = match read_whole(storage, LIST) {
            Err(Fault::NotFound) => Catalogue::default(),
            bytes => Catalogue::from_file(&bytes?).expect("nsqd.dat is never torn").0,
        };
        let checkpoint = match read_whole(storage, CHECKPOINT) {
            Err(Fault::NotFound) => None,
            bytes => match TopicCheckpoint::decode(&bytes?) {
                Ok(Decoded { checkpoint, .. }) => Some(checkpoint),
                Err(_) => {
                    set_aside(storage, "checkpoint")?;
                    None
                }
            },
        };
        let known = checkpoint.as_ref().map_or(Sequence(0), |checkpoint| checkpoint.end);
        for name in storage.list(FOLDER) {
            if name.ends_with(COMPACTED_SUFFIX) {
                storage.remove(&format!("{FOLDER}/{name}"))?;
            }
        }
        let unfinished = format!("{CHECKPOINT}.new");
        if storage.open(&unfinished).is_ok() {
            storage.remove(&unfinished)?;
        }
        let mut aside = Vec::new();
        let files = look(storage, &mut aside)?;
        let recovered = scan(storage, files, known, &mut aside)?;
        let taken = checkpoint.iter().flat_map(|checkpoint| {
            recovered.absent.iter().filter_map(|absent| absent.taken(checkpoint))
        });
        let taken = taken.collect();
        let ids = recovered.base.map_or(ids, |base| ids.with_base(base));
        let options = LogOptions { segment_bytes_max: SEGMENT_BYTES_MAX, ephemeral: false };
        let mut log = Log::recover(recovered.segments, ids, options);
        log.skip_to(known);
        if let Some(cut) = recovered.cut {
            let file = storage.open(&path_of(cut.segment))?;
            storage.truncate(file, cut.at)?;
        }
        let mut deferred = recovered.deferred;
        deferred.retain(|&(sequence, _)| known <= sequence);
        let rules = Rules {
            ephemeral_depth_max: 4,
            message_timeout_max: Duration::from_millis(TIMEOUT_MAX),
            latency_window: None,
        };
        let listed = list.topics.get(&topic_name()).cloned().unwrap_or_default();
        // A crash may have come between the two; the list decides.
        let mut described = checkpoint.clone().unwrap_or_default();
        described.paused = listed.paused;
        let mut topic = Topic::restore(
            topic_name(),
            log,
            rules,
            &described,
            deferred.into_iter(),
            listed.channels.keys().copied(),
            now,
        );
        topic.set_paused(listed.paused, now);
        for (&channel, &paused) in &listed.channels {
            if let Some(key) = topic.channel_key(channel) {
                topic.channel_mut(key).set_paused(paused);
            }
        }
        let mut shell = Self {
            topic,
            list,
            active: None,
            prepared: None,
            prepared_count: 0,
            misnamed: None,
            unsynced: BTreeMap::new(),
            // The process before may have ended before it synced the names it made.
            is_folder_unsynced: true,
            checkpoint: None,
        };
        shell.note_all(storage)?;
        let opened =
            Opened { checkpoint, damage: recovered.damage, set_aside: aside, taken, listed };
        Ok((shell, opened))
    }

    // --- appending ---

    /// Writes the open block.
    pub(crate) fn commit(&mut self, storage: &mut Storage, now: Now) -> Result<Committed> {
        let Some(write) = self.topic.seal(now) else { return Ok(Committed::Nothing) };
        let (messages, segment) = (write.messages(), write.segment);
        match self.write(storage, &write) {
            Ok(()) => {
                self.topic.written(write, now);
                Ok(Committed::Written(messages, segment))
            }
            Err(Fault::Killed) => Err(Fault::Killed),
            Err(_) => {
                self.topic.abandon(write, now);
                Ok(Committed::Refused)
            }
        }
    }

    fn write(&mut self, storage: &mut Storage, write: &Write) -> Result<()> {
        let file = match self.active {
            Some((name, file)) if name == write.segment => file,
            _ => self.start_segment(storage, write.segment)?,
        };
        if let Err(fault) = write_block(storage, file, write) {
            // What is there of it goes, unless that is refused too.
            let end = if write.starts_segment.is_some() { 0 } else { write.offset };
            return Err(storage.truncate(file, end).err().unwrap_or(fault));
        }
        self.unsynced.insert(write.segment, file);
        Ok(())
    }

    fn start_segment(&mut self, storage: &mut Storage, name: SegmentName) -> Result<File> {
        let file = match self.prepared.take() {
            Some((prepared_name, file)) => {
                self.misnamed = Some((name, prepared_name));
                file
            }
            None => {
                let path = path_of(name);
                match storage.open(&path) {
                    Err(Fault::NotFound) => storage.create(&path)?,
                    opened => opened?,
                }
            }
        };
        self.active = Some((name, file));
        self.is_folder_unsynced = true;
        Ok(file)
    }

    /// Has the next segment's file ready, and gives the present one its name.
    pub(crate) fn prepare(&mut self, storage: &mut Storage) -> Result<()> {
        self.name_properly(storage)?;
        if self.prepared.is_some() || !self.topic.log().nears_next_segment() {
            return Ok(());
        }
        self.prepared_count += 1;
        let name = format!("{PREPARED_PREFIX}{}.log", self.prepared_count);
        self.prepared = Some((name.clone(), storage.create(&format!("{FOLDER}/{name}"))?));
        Ok(())
    }

    fn name_properly(&mut self, storage: &mut Storage) -> Result<()> {
        let Some((segment, prepared_name)) = self.misnamed.clone() else { return Ok(()) };
        storage.rename(&format!("{FOLDER}/{prepared_name}"), &path_of(segment))?;
        self.misnamed = None;
        Ok(())
    }

    /// Brings all that was written to the disk itself.
    pub(crate) fn sync(&mut self, storage: &mut Storage) -> Result<Synced> {
        while let Some((name, file)) = self.unsynced.pop_first() {
            match storage.sync(file) {
                Ok(()) => {}
                Err(Fault::Killed) => return Err(Fault::Killed),
                Err(_) => {
                    self.topic.log_mut().close_segment();
                    return Ok(Synced::Failed(name));
                }
            }
        }
        if self.is_folder_unsynced {
            match storage.sync_folder(FOLDER) {
                Ok(()) => {}
                Err(Fault::Killed) => return Err(Fault::Killed),
                Err(_) => return Ok(Synced::NamesFailed),
            }
            self.is_folder_unsynced = false;
        }
        Ok(Synced::All)
    }

    pub(crate) fn read(&self, storage: &mut Storage, plan: &ReadPlan) -> Result<Vec<u8>> {
        let path = match &self.misnamed {
            Some((name, prepared_name)) if *name == plan.segment => {
                format!("{FOLDER}/{prepared_name}")
            }
            _ => path_of(plan.segment),
        };
        let file = storage.open(&path)?;
        storage.read(file, plan.offset, plan.bytes)
    }

    // --- what is kept ---

    /// What the next record says.
    pub(crate) fn record(&mut self, now: Now) -> Record {
        let wants_whole = self
            .checkpoint
            .is_none_or(|(bytes, whole_bytes)| 2 * whole_bytes + CHECKPOINT_SLACK_BYTES < bytes);
        self.topic.record(wants_whole, now)
    }

    /// Adds a record to the checkpoint; a whole one replaces all before.
    pub(crate) fn keep(&mut self, storage: &mut Storage, record: &Record) -> Result<()> {
        let kept = self.try_to_keep(storage, record);
        if kept.is_err() {
            self.topic.record_all();
        }
        kept
    }

    fn try_to_keep(&mut self, storage: &mut Storage, record: &Record) -> Result<()> {
        let before = self.checkpoint.take();
        let after = if record.is_whole {
            let bytes = record.start_file();
            let new = format!("{CHECKPOINT}.new");
            let file = storage.create(&new)?;
            storage.write(file, 0, &bytes)?;
            storage.rename(&new, CHECKPOINT)?;
            (bytes.len() as u64, bytes.len() as u64)
        } else {
            let (end, whole) = before.expect("a record that failed is followed by a whole one");
            let bytes = record.at(end);
            let file = storage.open(CHECKPOINT)?;
            storage.write(file, end, &bytes)?;
            (end + bytes.len() as u64, whole)
        };
        self.checkpoint = Some(after);
        Ok(())
    }

    /// Brings the checkpoint to the disk itself.
    pub(crate) fn sync_checkpoint(&self, storage: &mut Storage) -> Result<()> {
        let file = storage.open(CHECKPOINT)?;
        storage.sync(file)?;
        storage.sync_folder(FOLDER)
    }

    /// Deletes the segments that nobody needs, and writes anew those that are hardly needed.
    pub(crate) fn tidy(&mut self, storage: &mut Storage, waste: Waste) -> Result<()> {
        for segment in waste.delete {
            // It has no file yet, or it stays, and the next process finds that nobody needs it.
            if let Err(Fault::Killed) = self.delete(storage, segment) {
                return Err(Fault::Killed);
            }
        }
        for segment in waste.compact {
            let Some(compaction) = self.topic.compaction(segment) else { continue };
            let compacted = match write_anew(storage, compaction) {
                Ok(Some(compacted)) => compacted,
                Ok(None) => {
                    self.topic.leave_as_it_is(segment);
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            self.topic.log_mut().replacing(segment);
            let path = path_of(segment);
            match storage.rename(&format!("{path}{COMPACTED_SUFFIX}"), &path) {
                Ok(()) => assert!(self.topic.log_mut().replaced(compacted)),
                Err(fault) => {
                    self.topic.log_mut().not_replaced(segment);
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, storage: &mut Storage, segment: SegmentName) -> Result<()> {
        self.name_properly(storage)?;
        self.unsynced.remove(&segment);
        storage.remove(&path_of(segment))
    }

    /// Notes a change in the list of all topics.
    pub(crate) fn note(&mut self, storage: &mut Storage, change: Change) -> Result<()> {
        if self.list.apply(change) { self.write_list(storage) } else { Ok(()) }
    }

    /// Everything that was found is in the list.
    fn note_all(&mut self, storage: &mut Storage) -> Result<()> {
        let topic = self.topic.name();
        self.list.apply(Change::Topic { topic, paused: self.topic.is_paused() });
        for channel in self.topic.channels() {
            let (channel, paused) = (channel.name(), channel.is_paused());
            self.list.apply(Change::Channel { topic, channel, paused });
        }
        self.write_list(storage)
    }

    fn write_list(&self, storage: &mut Storage) -> Result<()> {
        let new = format!("{LIST}.new");
        let file = storage.create(&new)?;
        storage.write(file, 0, &self.list.to_file("1.3.0"))?;
        storage.sync(file)?;
        storage.rename(&new, LIST)?;
        storage.sync_folder(LIST_FOLDER)
    }
}

fn write_block(storage: &mut Storage, file: File, write: &Write) -> Result<()> {
    if let Some(header) = &write.starts_segment {
        storage.write(file, 0, header)?;
    }
    storage.write(file, write.offset, &write.bytes)
}

/// A damaged segment is not written anew.
fn write_anew(storage: &mut Storage, mut compaction: Compaction) -> Result<Option<Compacted>> {
    let path = path_of(compaction.segment());
    let from = storage.open(&path)?;
    let to = storage.create(&format!("{path}{COMPACTED_SUFFIX}"))?;
    while let Some((offset, bytes)) = compaction.next_read() {
        let data = storage.read(from, offset, bytes)?;
        let Ok((offset, bytes)) = compaction.feed(offset, &data) else { return Ok(None) };
        storage.write(to, offset, &bytes)?;
    }
    let Some((header, compacted)) = compaction.finish() else { return Ok(None) };
    storage.write(to, 0, &header)?;
    storage.sync(to)?;
    Ok(Some(compacted))
}

fn path_of(segment: SegmentName) -> String {
    format!("{FOLDER}/{segment}")
}

fn read_whole(storage: &mut Storage, name: &str) -> Result<Vec<u8>> {
    let file = storage.open(name)?;
    storage.read(file, 0, storage.length(file))
}

fn set_aside(storage: &mut Storage, name: &str) -> Result<()> {
    let path = format!("{FOLDER}/{name}");
    let free = (0..).map(|number| format!("{path}.{number}.set-aside"));
    let free = free.into_iter().find(|name| storage.open(name).is_err()).unwrap();
    storage.rename(&path, &free)
}

/// The segments that can be used; sets the others aside.
fn look(storage: &mut Storage, aside: &mut Vec<(String, SetAside)>) -> Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for name in storage.list(FOLDER) {
        if !name.ends_with(".log") {
            continue;
        }
        let path = format!("{FOLDER}/{name}");
        let file = storage.open(&path)?;
        let head = storage.read(file, 0, SEGMENT_HEADER_BYTES)?;
        if name.starts_with(PREPARED_PREFIX) && head.len() < SEGMENT_HEADER_BYTES {
            storage.remove(&path)?;
            continue;
        }
        let name = name_found(storage, name, &head)?;
        match SegmentFile::inspect(&name, storage.length(file) as u64, &head) {
            Ok(file) => files.push(file),
            Err(SetAside::Header(HeaderError::Empty)) => storage.remove(&path)?,
            Err(why) => {
                set_aside(storage, &name)?;
                aside.push((name, why));
            }
        }
    }
    Ok(files)
}

/// Gives a segment its name that the process had no time to name.
fn name_found(storage: &mut Storage, name: String, head: &[u8]) -> Result<String> {
    let Ok(header) = SegmentHeader::decode(head) else { return Ok(name) };
    let proper = SegmentName(header.first);
    let is_taken = storage.open(&path_of(proper)).is_ok();
    if !name.starts_with(PREPARED_PREFIX) || is_taken {
        return Ok(name);
    }
    storage.rename(&format!("{FOLDER}/{name}"), &path_of(proper))?;
    Ok(proper.to_string())
}

fn scan(
    storage: &mut Storage,
    files: Vec<SegmentFile>,
    known: Sequence,
    aside: &mut Vec<(String, SetAside)>,
) -> Result<Recovered> {
    let (mut recovery, others) = Recovery::new(files, known);
    for (name, why) in others {
        set_aside(storage, &name.to_string())?;
        aside.push((name.to_string(), why));
    }
    while let Some(plan) = recovery.next_read() {
        let file = storage.open(&path_of(plan.segment))?;
        let bytes = storage.read(file, plan.offset, plan.bytes)?;
        recovery.feed(&plan, &bytes);
    }
    Ok(recovery.finish())
}
