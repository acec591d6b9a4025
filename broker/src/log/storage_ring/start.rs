//! A folder that was there before is opened: what is in it is sorted, recovered, and told of.
//!
//! Knows: in which order its files are read, and where those go that cannot be used. Does not know:
//! what is in them; [`crate::log::recovery`] does.

use super::TopicFolder;
use super::findings::Findings;
use super::names::{
    CHECKPOINT, COMPACTED_SUFFIX, NEW_SUFFIX, PREPARED_PREFIX, folder_of, free_name,
};
use crate::disk::{blocking, create_folder, head_of, names_in, remove_file, rename, ring};
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::recovery::{Cut, Recovered, Recovery, SegmentFile, SetAside};
use crate::log::segment::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use crate::log::{Log, LogOptions};
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use glommio::io::OpenOptions;
use protocol::name::TopicName;
use std::io;
use std::path::Path;

/// What was found in a folder when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// The folder.
    pub folder: TopicFolder,
    /// Its log.
    pub log: Log,
    /// Its checkpoint, if there is a valid one.
    pub checkpoint: Option<TopicCheckpoint>,
    /// Deferred messages that the checkpoint does not know, in order.
    pub deferred: Vec<(Sequence, Timestamp)>,
    /// What an operator should be told.
    pub findings: Findings,
}

impl TopicFolder {
    /// The folder of a topic that was there before, made if it is not, with all that is in it.
    /// `ids` names the node; its base counts only when no segment has one.
    ///
    /// # Errors
    /// When the disk refuses something other than reading a segment.
    pub async fn open(
        data_path: &Path,
        topic: TopicName,
        ids: IdSpace,
        options: LogOptions,
    ) -> io::Result<Opened> {
        let path = folder_of(data_path, topic);
        let wanted = path.clone();
        let there = blocking(move || look_into(&wanted)).await?;
        let folder = Self::at(path);
        {
            // Whoever made them may have been killed before they were synced.
            let mut files = folder.files.borrow_mut();
            (files.is_folder_unsynced, files.is_parent_unsynced) = (true, true);
        }
        let mut findings = Findings::default();
        let found =
            if there.has_checkpoint { folder.read_checkpoint(&mut findings).await? } else { None };
        let known = found.as_ref().map_or(Sequence(0), |found| found.checkpoint.end);
        let files = folder.sort(there.segments, &mut findings).await?;
        let recovered = folder.scan(files, known, &mut findings).await?;
        if let Some(found) = found.as_ref().filter(|found| found.is_latest) {
            let taken =
                recovered.absent.iter().filter_map(|absent| absent.taken(&found.checkpoint));
            findings.taken = taken.collect();
        }
        let ids = recovered.base.map_or(ids, |base| ids.with_base(base));
        let mut log = Log::recover(recovered.segments, ids, options);
        findings.not_there = log.end()..known;
        log.skip_to(known);
        if let Some(cut) = recovered.cut {
            folder.cut_off(cut).await?;
        }
        folder.rest();
        folder.files.borrow_mut().found = log.segments().collect();
        findings.cut = recovered.cut;
        findings.damage = recovered.damage;
        let mut deferred = recovered.deferred;
        deferred.retain(|&(sequence, _)| known <= sequence);
        let checkpoint = found.map(|found| found.checkpoint);
        Ok(Opened { folder, log, checkpoint, deferred, findings })
    }

    /// The segments that can be used; sets the others aside.
    async fn sort(
        &self,
        segments: Vec<FileSeen>,
        findings: &mut Findings,
    ) -> io::Result<Vec<SegmentFile>> {
        let mut files = Vec::new();
        for FileSeen { name, bytes, head } in segments {
            let path = self.path.join(&name);
            let head = match head {
                Ok(head) => head,
                Err(error) => {
                    // What cannot be read may be another time; nothing is written to it.
                    if let Some(segment) = SegmentName::parse(&name) {
                        findings.unreadable.push((segment, error));
                    }
                    self.set_aside(&name).await?;
                    continue;
                }
            };
            if name.starts_with(PREPARED_PREFIX) && head.len() < SEGMENT_HEADER_BYTES {
                // No block was written behind it.
                ring::remove(&path).await?;
                continue;
            }
            let name = self.name_found(name, &head).await?;
            match SegmentFile::inspect(&name, bytes, &head) {
                Ok(file) => files.push(file),
                Err(SetAside::Header(HeaderError::Empty)) => ring::remove(&path).await?,
                Err(why) => {
                    self.set_aside(&name).await?;
                    findings.set_aside.push((name, why));
                }
            }
        }
        Ok(files)
    }

    /// Gives a segment its name that the broker had no time to name.
    async fn name_found(&self, name: String, head: &[u8]) -> io::Result<String> {
        let Ok(header) = SegmentHeader::decode(head) else { return Ok(name) };
        let proper = SegmentName(header.first).to_string();
        if !name.starts_with(PREPARED_PREFIX) || self.path.join(&proper).exists() {
            return Ok(name);
        }
        ring::rename(&self.path.join(&name), &self.path.join(&proper)).await?;
        Ok(proper)
    }

    async fn scan(
        &self,
        files: Vec<SegmentFile>,
        known: Sequence,
        findings: &mut Findings,
    ) -> io::Result<Recovered> {
        let (mut recovery, others) = Recovery::new(files, known);
        for (name, why) in others {
            self.set_aside(&name.to_string()).await?;
            findings.set_aside.push((name.to_string(), why));
        }
        while let Some(plan) = recovery.next_read() {
            match self.read(&plan).await {
                Ok(data) => recovery.feed(&plan, &data),
                Err(error) => {
                    findings.unreadable.push((plan.segment, error));
                    recovery.unreadable(&plan);
                }
            }
        }
        Ok(recovery.finish())
    }

    /// Cuts off the torn end of the last segment, so that it is told of once.
    async fn cut_off(&self, cut: Cut) -> io::Result<()> {
        let path = self.path_of(cut.segment);
        let file = OpenOptions::new().write(true).buffered_open(&path).await?;
        let truncated = ring::truncate(&file, cut.at).await;
        file.close().await?;
        truncated
    }

    pub(super) async fn set_aside(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        blocking(move || rename(&path, &free_name(&path))).await
    }
}

// --- on the executor's blocking thread ---

/// What a topic's folder has.
struct Contents {
    has_checkpoint: bool,
    /// Every file that may be a segment.
    segments: Vec<FileSeen>,
}

/// A file as it looks from outside.
struct FileSeen {
    name: String,
    bytes: u64,
    /// Its first bytes, as many as a segment's header has if it is so long.
    head: io::Result<Vec<u8>>,
}

/// Makes the folder, if it is not there, and says what it has. All at once: at a start with
/// thousands of topics each way to the blocking thread and back counts.
fn look_into(folder: &Path) -> io::Result<Contents> {
    create_folder(folder)?;
    let names = names_in(folder)?;
    let has_checkpoint = names.iter().any(|name| name == CHECKPOINT);
    let unfinished = format!("{CHECKPOINT}{NEW_SUFFIX}");
    if names.contains(&unfinished) {
        // A power cut could bring its old bytes back under the name of the next one.
        remove_file(&folder.join(unfinished))?;
    }
    // They did not take their places before the broker ended.
    for name in names.iter().filter(|name| name.ends_with(COMPACTED_SUFFIX)) {
        remove_file(&folder.join(name))?;
    }
    let segments = names.into_iter().filter(|name| name.ends_with(".log")).map(|name| {
        let (bytes, head) = head_of(&folder.join(&name), SEGMENT_HEADER_BYTES)?;
        Ok(FileSeen { name, bytes, head })
    });
    Ok(Contents { has_checkpoint, segments: segments.collect::<io::Result<_>>()? })
}
