//! A topic's folder: carries out what the log asks for, on the core that owns the topic.
//!
//! ```text
//! <data path>/<topic>.topic/
//!   00000000000000000000.log   segments, named by their first sequence
//!   next-0.log                 the next segment, opened ahead of time
//!   checkpoint                 where the channels are
//!   *.compact                  a segment that is being written anew
//!   *.set-aside                files that could not be used
//! ```
//!
//! An append is a `pwrite` on the core itself: 0.3 microseconds for 512 bytes, where the way through
//! the ring takes 5 to 7. Its length is bounded by that of a block. It can wait when the kernel
//! holds back writers because too many pages are dirty. Everything else goes through the ring or
//! the executor's blocking thread, and a new segment's file is opened before it is needed, so that no
//! append waits for the file system's journal.
//!
//! A folder holds no file open that was not used lately: see [`TopicFolder::rest_if_idle`]. An append
//! that finds its file closed opens it on the spot.
//!
//! Knows: files. Does not know: what is in them, and what to do when the disk fails.

use super::checkpoint::{CheckpointError, Decoded, Record, TopicCheckpoint};
#[cfg(test)]
use super::faults::{Faults, Operation};
use super::losses::Losses;
use super::reading::{Damage, ReadPlan};
use super::recovery::{Cut, Recovered, Recovery, SegmentFile, SetAside};
use super::segment::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use super::{Compacted, Compaction, Log, LogOptions, Write};
use crate::descriptor;
use crate::disk::{blocking, first_free, head_of, names_in, sync_parent, with_suffix};
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use glommio::io::{BufferedFile, OpenOptions, ReadResult};
use glommio::sync::Semaphore;
use protocol::name::TopicName;
use rustix::fs::{Mode, OFlags};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, io};

/// So much is appended to the shortest checkpoint before it is written anew.
const CHECKPOINT_SLACK_BYTES: u64 = 64 << 10;

/// A topic's checkpoint, in its folder.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// How the names of files and folders end that are not used.
pub(crate) const SET_ASIDE: &str = "set-aside";
/// How the name of a topic's folder ends.
pub(crate) const FOLDER_SUFFIX: &str = ".topic";
/// What comes behind it while the folder is being deleted.
pub(crate) const REMOVED_SUFFIX: &str = ".removed";
/// How the name of a file ends that will replace another.
pub(crate) const NEW_SUFFIX: &str = ".new";
/// How the name of a segment ends while it is written anew.
pub(crate) const COMPACTED_SUFFIX: &str = ".compact";
/// How the names of segments start that have not got their own yet.
pub(crate) const PREPARED_PREFIX: &str = "next-";

/// What is read at once where the disk refuses to read more: a page, so that a bad sector costs the
/// blocks in it and no others.
const SALVAGED_BYTES: usize = 4 << 10;

/// See the head of this file. One for each topic that is not ephemeral.
///
/// Appends run one after another, since they do not wait; reads, checkpoints and deletions may run
/// beside them and beside each other.
pub struct TopicFolder {
    path: PathBuf,
    files: RefCell<Files>,
    /// Held while a record of the checkpoint is made and written, so that they stand in order.
    checkpoint_turn: Semaphore,
    /// How far the checkpoint's file goes; `None` when the next record must be a whole one.
    checkpoint: Cell<Option<CheckpointFile>>,
    /// Held while a segment is renamed, so that it is tried once.
    naming_turn: Semaphore,
    /// Held while the log is synced: who comes second must not find that nothing is left to do.
    sync_turn: Semaphore,
    is_preparing: Cell<bool>,
    /// The folder is gone, and one of the same name may belong to another topic: nothing is made,
    /// replaced or deleted by name any more.
    is_removed: Cell<bool>,
    /// How many segments were replaced: a file opened meanwhile may be the one before.
    replaced_count: Cell<u64>,
    /// Whether the log was near its next segment when that was asked last.
    nears_next: Cell<bool>,
    /// Whether a file was used since [`Self::rest_if_idle`] looked last.
    is_used: Cell<bool>,
    #[cfg(test)]
    faults: Faults,
}

#[derive(Clone, Copy)]
struct CheckpointFile {
    /// Where the next record goes.
    bytes: u64,
    /// Where the first one, which says everything, ended.
    whole_bytes: u64,
}

#[derive(Default)]
struct Files {
    /// The segment that is written to, and its file while that is open.
    active: Option<(SegmentName, Option<Rc<BufferedFile>>)>,
    /// The name that the next one's file has until it is one, and the file while that is open.
    prepared: Option<(String, Option<Rc<BufferedFile>>)>,
    prepared_count: u64,
    /// A segment that still has the name it was prepared under.
    misnamed: Option<(SegmentName, String)>,
    /// The segment that was read last.
    recent: Option<(SegmentName, Rc<BufferedFile>)>,
    /// Segments with blocks that were not synced, and their files while those are open: only the
    /// descriptor that wrote is sure to be told of a write-back that failed.
    unsynced: BTreeMap<SegmentName, Option<Rc<BufferedFile>>>,
    /// Those of them that the sync that runs has yet to come to.
    to_sync: BTreeMap<SegmentName, Option<Rc<BufferedFile>>>,
    /// Whether files were made since the folder was synced.
    is_folder_unsynced: bool,
    /// Whether the folder was made since the one it is in was synced.
    is_parent_unsynced: bool,
}

impl Files {
    /// The file of a segment that is not written to any more is not what its name stands for. It may
    /// still count as the one that is written to, while the next one's cannot be opened.
    fn forget(&mut self, segment: SegmentName) {
        self.active.take_if(|(name, _)| *name == segment);
        self.recent.take_if(|(name, _)| *name == segment);
    }
}

impl fmt::Debug for TopicFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicFolder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why blocks are not known to be on the disk itself.
#[derive(Debug)]
pub enum SyncError {
    /// Something that is needed first could not be had; they can be synced another time.
    NotTried(io::Error),
    /// The disk failed. What became of them is not known, and another try would prove nothing: the
    /// kernel may have dropped the pages, and then has nothing left to fail with.
    Failed(io::Error),
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTried(error) | Self::Failed(error) => write!(f, "sync: {error}"),
        }
    }
}

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

/// What was not as it should be in a folder.
#[derive(Debug, Default)]
pub struct Findings {
    /// Files that are not used, and why. They have a new name; empty ones were deleted.
    pub set_aside: Vec<(String, SetAside)>,
    /// The torn end that was cut off the last segment.
    pub cut: Option<Cut>,
    /// Damage in what was read at the start.
    pub damage: Vec<Damage>,
    /// Why the checkpoint is not used, or not all of it.
    pub checkpoint: Option<CheckpointError>,
    /// What the disk refused to read.
    pub unreadable: Vec<(SegmentName, io::Error)>,
    /// Messages that the checkpoint knows, and that the log ends before.
    pub not_there: Range<Sequence>,
}

impl Findings {
    /// The same in numbers.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses {
            torn_bytes: self.cut.map_or(0, |cut| cut.bytes),
            files_not_used: self.set_aside.len() as u64,
            ..Losses::default()
        };
        self.damage.iter().for_each(|damage| losses.add(damage));
        losses
    }

    /// A sentence for each.
    pub fn lines(&self) -> Vec<String> {
        let set_aside =
            self.set_aside.iter().map(|(name, why)| format!("{name} is not used: {why}"));
        let cut = self.cut.iter().filter(|cut| 0 < cut.bytes).map(|cut| {
            format!("{} ended within a block: {} bytes were cut off", cut.segment, cut.bytes)
        });
        let damage = self.damage.iter().map(Damage::to_string);
        let checkpoint = self.checkpoint.iter().map(|why| match why {
            CheckpointError::Cut(_) => format!("{why}: what it said is not used"),
            _ => format!("the checkpoint is not used: {why}"),
        });
        let unreadable =
            self.unreadable.iter().map(|(name, error)| format!("{name} cannot be read: {error}"));
        let Range { start, end } = self.not_there;
        let not_there = (start < end).then(|| {
            format!(
                "the checkpoint knows {} messages more than the log has (from {} on): they were \
                 refused, or a power cut or somebody took them",
                end - start,
                start.0
            )
        });
        let lines = set_aside.chain(cut).chain(damage).chain(checkpoint).chain(unreadable);
        lines.chain(not_there).collect()
    }
}

/// Bytes that were read.
#[derive(Debug)]
pub enum Data {
    /// As one read brought them.
    Whole(ReadResult),
    /// Put together from several.
    Joined(Vec<u8>),
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// The topics that have a folder in a data path, in no order.
#[derive(Debug, Default)]
pub struct Folders {
    /// Those that are there.
    pub topics: Vec<TopicName>,
    /// Those whose deletion was cut short by a crash.
    pub removed: Vec<TopicName>,
}

impl Folders {
    /// Those among the names in a data path.
    pub fn among<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut folders = Self::default();
        for name in names {
            let there = name.strip_suffix(FOLDER_SUFFIX);
            let removed = name.strip_suffix(REMOVED_SUFFIX);
            let removed = removed.and_then(|name| name.strip_suffix(FOLDER_SUFFIX));
            let topic = |name: &str| TopicName::parse(name.as_bytes()).ok();
            folders.topics.extend(there.and_then(topic));
            folders.removed.extend(removed.and_then(topic));
        }
        folders
    }
}

/// Ends the deletion of a topic's folder that a crash cut short.
///
/// # Errors
/// When the disk refuses.
pub async fn end_removal(data_path: &Path, topic: TopicName) -> io::Result<()> {
    let path = folder_of(data_path, topic);
    blocking(move || remove_leftovers(&path)).await
}

/// Deletes a topic's folder that could not be opened, if there is one. After a crash in the middle it
/// is gone, too.
///
/// # Errors
/// When the disk refuses.
pub async fn remove_unopened(data_path: &Path, topic: TopicName) -> io::Result<()> {
    let path = folder_of(data_path, topic);
    blocking(move || remove_whole(&path)).await
}

/// Replaces a file so that it is always either the old or the new one, also after a power cut.
/// Replacements of one file must follow one another.
///
/// # Errors
/// When the disk refuses; the old file is untouched then.
pub async fn replace_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    replace(path, bytes, Durability::Synced).await
}

impl TopicFolder {
    /// The folder of a new topic. One that is there already, with messages, is kept under another
    /// name: it belongs to a topic that nobody knows any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn create(data_path: &Path, topic: TopicName) -> io::Result<Self> {
        let path = folder_of(data_path, topic);
        let wanted = path.clone();
        blocking(move || {
            remove_leftovers(&wanted)?;
            if wanted.exists() && std::fs::remove_dir(&wanted).is_err() {
                rename(&wanted, &free_name(&wanted))?;
            }
            std::fs::create_dir(&wanted)
        })
        .await?;
        let folder = Self::at(path);
        folder.files.borrow_mut().is_parent_unsynced = true;
        Ok(folder)
    }

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
        let checkpoint =
            if there.has_checkpoint { folder.read_checkpoint(&mut findings).await? } else { None };
        let known = checkpoint.as_ref().map_or(Sequence(0), |checkpoint| checkpoint.end);
        let files = folder.sort(there.segments, &mut findings).await?;
        let recovered = folder.scan(files, known, &mut findings).await?;
        let ids = recovered.base.map_or(ids, |base| ids.with_base(base));
        let mut log = Log::recover(recovered.segments, ids, options);
        findings.not_there = log.end()..known;
        log.skip_to(known);
        if let Some(cut) = recovered.cut {
            folder.cut_off(cut).await?;
        }
        folder.rest();
        findings.cut = recovered.cut;
        findings.damage = recovered.damage;
        let mut deferred = recovered.deferred;
        deferred.retain(|&(sequence, _)| known <= sequence);
        Ok(Opened { folder, log, checkpoint, deferred, findings })
    }

    fn at(path: PathBuf) -> Self {
        Self {
            path,
            files: RefCell::default(),
            checkpoint_turn: Semaphore::new(1),
            checkpoint: Cell::new(None),
            naming_turn: Semaphore::new(1),
            sync_turn: Semaphore::new(1),
            is_preparing: Cell::new(false),
            is_removed: Cell::new(false),
            replaced_count: Cell::new(0),
            nears_next: Cell::new(true),
            is_used: Cell::new(false),
            #[cfg(test)]
            faults: Faults::default(),
        }
    }

    /// What the disk is to refuse.
    #[cfg(test)]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    // --- appending ---

    /// Appends a block, at once.
    ///
    /// # Errors
    /// When the disk refuses. The file may have some of the bytes then; the log writes over them.
    pub fn write(&self, write: &Write) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        let file = self.file_to_write(&mut files, write.segment)?;
        if let Err(error) = self.write_block(&file, write) {
            // What is there of it would look like damage when the next block goes to another file.
            let end = if write.starts_segment.is_some() { 0 } else { write.offset };
            rustix::fs::ftruncate(descriptor::borrow(&file), end).ok();
            return Err(error);
        }
        files.unsynced.entry(write.segment).or_insert(Some(file));
        Ok(())
    }

    /// Makes the file of a segment that has no block yet.
    ///
    /// # Errors
    /// When the disk refuses. The first block makes it then.
    pub fn write_header(&self, header: &SegmentHeader) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        let file = self.file_to_write(&mut files, SegmentName(header.first))?;
        write_all(&file, &header.encode(), 0).inspect_err(|_| {
            rustix::fs::ftruncate(descriptor::borrow(&file), 0).ok();
        })
    }

    /// The file of the segment that is written to, which may be a new one.
    fn file_to_write(
        &self,
        files: &mut Files,
        segment: SegmentName,
    ) -> io::Result<Rc<BufferedFile>> {
        self.is_used.set(true);
        let is_active = files.active.as_ref().is_some_and(|(name, _)| *name == segment);
        if !is_active {
            self.start_segment(files, segment)?;
        }
        if let Some((name, None)) = files.active {
            files.active = Some((name, Some(self.open_again(files, name)?)));
        }
        let (_, file) = files.active.as_ref().expect("it was started just now");
        Ok(file.clone().expect("it was opened just now"))
    }

    fn write_block(&self, file: &BufferedFile, write: &Write) -> io::Result<()> {
        if let Some(header) = &write.starts_segment {
            write_all(file, header, 0)?;
        }
        #[cfg(test)]
        if let Some(error) = self.faults.next(Operation::Write) {
            write_all(file, &write.bytes[..write.bytes.len() / 2], write.offset)?;
            return Err(error);
        }
        write_all(file, &write.bytes, write.offset)
    }

    /// Takes the file that was prepared; opens one on the spot when none was.
    fn start_segment(&self, files: &mut Files, name: SegmentName) -> io::Result<()> {
        let file = match files.prepared.take() {
            Some((prepared_name, file)) => {
                files.misnamed = Some((name, prepared_name));
                file
            }
            None => Some(Rc::new(descriptor::adopt_file(rustix::fs::open(
                self.path_of(name),
                OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )?))),
        };
        files.active = Some((name, file));
        files.is_folder_unsynced = true;
        Ok(())
    }

    /// Opens the segment that is written to once more. The kernel still knows a file that was in use
    /// a while ago, so this seldom waits for the disk.
    fn open_again(&self, files: &Files, name: SegmentName) -> io::Result<Rc<BufferedFile>> {
        let open = |path| rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let file = match open(self.current_path_of(files, name)) {
            // It got its proper name meanwhile.
            Err(rustix::io::Errno::NOENT) => open(self.path_of(name)),
            opened => opened,
        };
        Ok(Rc::new(descriptor::adopt_file(file?)))
    }

    /// Closes its files, unless one was used since this was called last; whether none is open now.
    pub fn rest_if_idle(&self) -> bool {
        let is_idle = !self.is_used.replace(false);
        if is_idle {
            self.rest();
        }
        is_idle
    }

    /// Closes its files; the next write, read or sync opens again what it needs. The kernel keeps an
    /// error of a write-back that nobody was told of with the file, as long as it keeps the file in
    /// memory; so this is for topics that were synced meanwhile, or where files run out.
    pub fn rest(&self) {
        let mut files = self.files.borrow_mut();
        files.unsynced.values_mut().for_each(|file| *file = None);
        if let Some((_, file)) = &mut files.active {
            *file = None;
        }
        if let Some((_, file)) = &mut files.prepared {
            *file = None;
        }
        files.recent = None;
    }

    /// Whether [`Self::prepare`] has something to do.
    pub fn wants_segment(&self, log: &Log) -> bool {
        let files = self.files.borrow();
        self.nears_next.set(log.nears_next_segment());
        let wants_file = files.prepared.is_none() && self.nears_next.get();
        !self.is_preparing.get() && (files.misnamed.is_some() || wants_file)
    }

    /// Has the next segment's file ready, if [`Self::wants_segment`] found it near, and gives the
    /// present one its name.
    ///
    /// # Errors
    /// When the disk refuses. Appends go on; the one that needs a new file tries to open it.
    pub async fn prepare(&self) -> io::Result<()> {
        if self.is_removed.get() || self.is_preparing.replace(true) {
            return Ok(());
        }
        let prepared = self.prepare_alone().await;
        self.is_preparing.set(false);
        prepared
    }

    async fn prepare_alone(&self) -> io::Result<()> {
        self.name_properly().await?;
        let name = {
            let mut files = self.files.borrow_mut();
            // A quiet topic should not hold a second file.
            if files.prepared.is_some() || !self.nears_next.get() {
                return Ok(());
            }
            files.prepared_count += 1;
            format!("{PREPARED_PREFIX}{}.log", files.prepared_count)
        };
        let file = create_for_append(&self.path.join(&name)).await?;
        self.is_used.set(true);
        self.files.borrow_mut().prepared = Some((name, Some(file)));
        Ok(())
    }

    /// Renames the segment that still has the name it was prepared under.
    async fn name_properly(&self) -> io::Result<()> {
        let _turn = self.naming_turn.acquire_permit(1).await?;
        let Some((segment, prepared_name)) = self.files.borrow().misnamed.clone() else {
            return Ok(());
        };
        glommio::io::rename(self.path.join(prepared_name), self.path_of(segment)).await?;
        self.files.borrow_mut().misnamed.take_if(|(name, _)| *name == segment);
        Ok(())
    }

    /// Brings all that was appended before this call to the disk itself, the names of new files
    /// included.
    ///
    /// # Errors
    /// See [`SyncError`]. After [`SyncError::Failed`] no more blocks should go to the segment that
    /// is written to ([`Log::close_segment`]).
    pub async fn sync(&self) -> Result<(), SyncError> {
        let _turn = self
            .sync_turn
            .acquire_permit(1)
            .await
            .map_err(|error| SyncError::NotTried(error.into()))?;
        let (is_folder_unsynced, is_parent_unsynced) = {
            let mut files = self.files.borrow_mut();
            files.to_sync = std::mem::take(&mut files.unsynced);
            (
                std::mem::take(&mut files.is_folder_unsynced),
                std::mem::take(&mut files.is_parent_unsynced),
            )
        };
        loop {
            let next = self.files.borrow_mut().to_sync.pop_first();
            let Some((name, file)) = next else { break };
            let Err(error) = self.sync_segment(name, file).await else { continue };
            let mut files = self.files.borrow_mut();
            let mut segments = std::mem::take(&mut files.to_sync);
            match error {
                // What was written to it meanwhile may be lost with the rest.
                SyncError::Failed(_) => drop(files.unsynced.remove(&name)),
                SyncError::NotTried(_) => drop(segments.insert(name, None)),
            }
            for (name, file) in segments {
                files.unsynced.entry(name).or_insert(file);
            }
            files.is_folder_unsynced |= is_folder_unsynced;
            files.is_parent_unsynced |= is_parent_unsynced;
            return Err(error);
        }
        if self.is_removed.get() {
            return Ok(());
        }
        // A file is found by the name it was prepared under too, so only that it has one matters.
        if is_folder_unsynced && let Err(error) = sync_folder(&self.path).await {
            let mut files = self.files.borrow_mut();
            files.is_folder_unsynced = true;
            files.is_parent_unsynced |= is_parent_unsynced;
            return Err(error);
        }
        if is_parent_unsynced
            && let Some(parent) = self.path.parent()
            && let Err(error) = sync_folder(parent).await
        {
            self.files.borrow_mut().is_parent_unsynced = true;
            return Err(error);
        }
        Ok(())
    }

    async fn sync_segment(
        &self,
        name: SegmentName,
        file: Option<Rc<BufferedFile>>,
    ) -> Result<(), SyncError> {
        #[cfg(test)]
        if let Some(error) = self.faults.next(Operation::Sync) {
            // It takes its time to fail.
            glommio::timer::sleep(std::time::Duration::from_millis(50)).await;
            return Err(SyncError::Failed(error));
        }
        let file = match file {
            Some(file) => file,
            None => {
                let files = self.files.borrow();
                match self.open_again(&files, name) {
                    // Somebody took it away, with what was in it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(SyncError::Failed(error));
                    }
                    opened => opened.map_err(SyncError::NotTried)?,
                }
            }
        };
        file.fdatasync().await.map_err(|error| SyncError::Failed(plain(error)))
    }

    // --- reading ---

    /// Reads what a plan says. Fewer bytes mean that the file ends there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn read(&self, plan: &ReadPlan) -> io::Result<Data> {
        if plan.bytes == 0 {
            return Ok(Data::Joined(Vec::new()));
        }
        let file = self.file_of(plan.segment).await?;
        #[cfg(test)]
        if let Some(error) = self.faults.next(Operation::Read) {
            return Err(error);
        }
        read_at(&file, plan.offset, plan.bytes).await
    }

    /// Reads what a plan says as far as the disk gives it, in small pieces; zeros stand for those
    /// that it refuses. For what [`Self::read`] could not read.
    ///
    /// # Errors
    /// When not even the file can be opened.
    pub async fn salvage(&self, plan: &ReadPlan) -> io::Result<Vec<u8>> {
        let file = self.file_of(plan.segment).await?;
        let mut saved = Vec::with_capacity(plan.bytes);
        while saved.len() < plan.bytes {
            let bytes = SALVAGED_BYTES.min(plan.bytes - saved.len());
            #[cfg(test)]
            let is_refused = self.faults.next(Operation::Salvage).is_some();
            #[cfg(not(test))]
            let is_refused = false;
            match read_at(&file, plan.offset + saved.len() as u64, bytes).await {
                Ok(piece) if !is_refused => {
                    saved.extend_from_slice(&piece);
                    if piece.len() < bytes {
                        break;
                    }
                }
                // No block has zeros for a header or for a checksum, so these count as damage.
                _ => saved.resize(saved.len() + bytes, 0),
            }
        }
        Ok(saved)
    }

    /// The segment's file, for reading.
    async fn file_of(&self, segment: SegmentName) -> io::Result<Rc<BufferedFile>> {
        self.is_used.set(true);
        let path = {
            let files = self.files.borrow();
            if let Some((name, Some(file))) = &files.active
                && *name == segment
            {
                return Ok(file.clone());
            }
            if let Some((name, file)) = &files.recent
                && *name == segment
            {
                return Ok(file.clone());
            }
            self.current_path_of(&files, segment)
        };
        let replaced_count = self.replaced_count.get();
        let opened = BufferedFile::open(path).await;
        let file = match opened.map_err(plain) {
            // It got its proper name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                BufferedFile::open(self.path_of(segment)).await.map_err(plain)?
            }
            opened => opened?,
        };
        let file = Rc::new(file);
        if self.replaced_count.get() == replaced_count {
            self.files.borrow_mut().recent = Some((segment, file.clone()));
        }
        Ok(file)
    }

    fn path_of(&self, segment: SegmentName) -> PathBuf {
        self.path.join(segment.to_string())
    }

    fn current_path_of(&self, files: &Files, segment: SegmentName) -> PathBuf {
        match &files.misnamed {
            Some((name, prepared_name)) if *name == segment => self.path.join(prepared_name),
            _ => self.path_of(segment),
        }
    }

    // --- the rest ---

    /// Whether the next record should tell everything: there is none yet, the last one failed, or
    /// those behind the whole one have grown longer than it.
    fn wants_whole_record(&self) -> bool {
        self.checkpoint.get().is_none_or(|CheckpointFile { bytes, whole_bytes }| {
            2 * whole_bytes + CHECKPOINT_SLACK_BYTES < bytes
        })
    }

    /// Adds a record to the checkpoint; a whole one replaces all before. `record` makes it when those
    /// before it are written, and is told whether it must be a whole one; it may find that there is
    /// nothing to write any more.
    ///
    /// A record that was made earlier could be overtaken: a semaphore's permit goes to whoever asks
    /// first once it is free, not to who waits longest.
    ///
    /// It is not synced: a power cut may take it, and then messages are delivered again.
    ///
    /// # Errors
    /// When the disk refuses, or refused the record before and this one is no whole one.
    pub async fn write_checkpoint(
        &self,
        record: impl FnOnce(bool) -> Option<Record>,
    ) -> io::Result<()> {
        let _turn = self.checkpoint_turn.acquire_permit(1).await?;
        if self.is_removed.get() {
            return Ok(());
        }
        let Some(record) = record(self.wants_whole_record()) else { return Ok(()) };
        #[cfg(test)]
        if let Some(error) = self.faults.next(Operation::Checkpoint) {
            self.checkpoint.set(None);
            return Err(error);
        }
        let before = self.checkpoint.take();
        let path = self.path.join(CHECKPOINT);
        let after = if record.is_whole {
            let bytes = record.start_file();
            let whole_bytes = bytes.len() as u64;
            replace(&path, bytes, Durability::Written).await?;
            CheckpointFile { bytes: whole_bytes, whole_bytes }
        } else {
            let there = before
                .ok_or_else(|| io::Error::other("the record before it could not be written"))?;
            let bytes = record.at(there.bytes);
            let end = there.bytes + bytes.len() as u64;
            append(&path, bytes, there.bytes).await?;
            CheckpointFile { bytes: end, ..there }
        };
        self.checkpoint.set(Some(after));
        Ok(())
    }

    /// Deletes a segment that the log gave up.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn delete(&self, segment: SegmentName) -> io::Result<()> {
        if self.is_removed.get() {
            return Ok(());
        }
        self.name_properly().await?;
        {
            let mut files = self.files.borrow_mut();
            files.unsynced.remove(&segment);
            files.to_sync.remove(&segment);
            files.forget(segment);
        }
        match glommio::io::remove(self.path_of(segment)).await.map_err(plain) {
            // The disk refused the first block, and with it the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Writes a segment anew beside the old one, and brings it to the disk itself. `None` when
    /// nothing of it is needed. To be followed by [`Self::replace_segment`].
    ///
    /// # Errors
    /// When the disk refuses; [`io::ErrorKind::InvalidData`] when the old file is damaged.
    pub async fn write_anew(&self, compaction: Compaction) -> io::Result<Option<Compacted>> {
        if self.is_removed.get() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let new = with_suffix(&self.path_of(compaction.segment()), COMPACTED_SUFFIX);
        let written = self.copy_needed(compaction, &new).await;
        if !matches!(written, Ok(Some(_))) {
            // The space may be what is lacking. What cannot be removed goes at the next start.
            drop(glommio::io::remove(&new).await);
        }
        written
    }

    async fn copy_needed(
        &self,
        mut compaction: Compaction,
        new: &Path,
    ) -> io::Result<Option<Compacted>> {
        self.name_properly().await?;
        let from = BufferedFile::open(self.path_of(compaction.segment())).await?;
        let to = BufferedFile::create(new).await?;
        let copied = async {
            while let Some((offset, bytes)) = compaction.next_read() {
                let data = read_at(&from, offset, bytes).await?;
                let fed = compaction.feed(offset, &data);
                let (offset, bytes) =
                    fed.map_err(|unfit| io::Error::new(io::ErrorKind::InvalidData, unfit))?;
                write_whole(&to, bytes, offset).await?;
            }
            let Some((header, compacted)) = compaction.finish() else { return Ok(None) };
            write_whole(&to, header.to_vec(), 0).await?;
            to.fdatasync().await?;
            Ok(Some(compacted))
        };
        let copied = copied.await;
        from.close().await?;
        to.close().await?;
        copied
    }

    /// Puts the segment that was written anew in the place of the old one.
    ///
    /// # Errors
    /// When the disk refuses; the old one stays.
    pub async fn replace_segment(&self, segment: SegmentName) -> io::Result<()> {
        let _turn = self.checkpoint_turn.acquire_permit(1).await?;
        if self.is_removed.get() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = self.path_of(segment);
        glommio::io::rename(with_suffix(&path, COMPACTED_SUFFIX), &path).await?;
        self.replaced_count.set(self.replaced_count.get() + 1);
        let mut files = self.files.borrow_mut();
        files.forget(segment);
        files.is_folder_unsynced = true;
        Ok(())
    }

    /// Deletes the topic's folder. After a crash in the middle it is gone, too.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove(&self) -> io::Result<()> {
        self.is_removed.set(true);
        let _turn = self.checkpoint_turn.acquire_permit(1).await?;
        let path = self.path.clone();
        blocking(move || remove_whole(&path)).await
    }

    // --- the start ---

    async fn read_checkpoint(
        &self,
        findings: &mut Findings,
    ) -> io::Result<Option<TopicCheckpoint>> {
        let file =
            match BufferedFile::open(self.path.join(CHECKPOINT)).await.map_err(io::Error::from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
        let bytes = usize::try_from(file.file_size().await?).map_err(io::Error::other)?;
        let data =
            if bytes == 0 { Data::Joined(Vec::new()) } else { read_at(&file, 0, bytes).await? };
        file.close().await?;
        match TopicCheckpoint::decode(&data) {
            Ok(Decoded { checkpoint, cut, .. }) => {
                findings.checkpoint = cut;
                Ok(Some(checkpoint))
            }
            Err(error) => {
                findings.checkpoint = Some(error);
                self.set_aside(CHECKPOINT).await?;
                Ok(None)
            }
        }
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
                glommio::io::remove(&path).await?;
                continue;
            }
            let name = self.name_found(name, &head).await?;
            match SegmentFile::inspect(&name, bytes, &head) {
                Ok(file) => files.push(file),
                Err(SetAside::Header(HeaderError::Empty)) => glommio::io::remove(&path).await?,
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
        glommio::io::rename(self.path.join(&name), self.path.join(&proper)).await?;
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
        let truncated = file.truncate(cut.at).await;
        file.close().await?;
        Ok(truncated?)
    }

    async fn set_aside(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        blocking(move || rename(&path, &free_name(&path))).await
    }
}

/// Whether a replaced file must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Written,
    Synced,
}

fn folder_of(data_path: &Path, topic: TopicName) -> PathBuf {
    data_path.join(format!("{}{FOLDER_SUFFIX}", topic.as_str()))
}

/// Makes a file through the ring, and keeps a descriptor of it alone: a file that remembers its path
/// costs much more memory.
async fn create_for_append(path: &Path) -> io::Result<Rc<BufferedFile>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o644);
    let file = options.buffered_open(path).await.map_err(plain)?;
    let descriptor = rustix::io::fcntl_dupfd_cloexec(descriptor::borrow(&file), 0)?;
    file.close().await?;
    Ok(Rc::new(descriptor::adopt_file(descriptor)))
}

fn write_all(file: &BufferedFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(descriptor::borrow(file), bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// So many bytes from `offset` on, fewer at the end of the file.
async fn read_at(file: &BufferedFile, offset: u64, bytes: usize) -> io::Result<Data> {
    let whole = file.read_at(offset, bytes).await.map_err(plain)?;
    if whole.len() == bytes || whole.is_empty() {
        return Ok(Data::Whole(whole));
    }
    let mut joined = whole.to_vec();
    while joined.len() < bytes {
        let more = file
            .read_at(offset + joined.len() as u64, bytes - joined.len())
            .await
            .map_err(plain)?;
        if more.is_empty() {
            break;
        }
        joined.extend_from_slice(&more);
    }
    Ok(Data::Joined(joined))
}

/// Writes at the end of a file that is there.
async fn append(path: &Path, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).buffered_open(path).await.map_err(plain)?;
    let written = write_whole(&file, bytes, offset).await;
    file.close().await?;
    written
}

async fn write_whole(file: &BufferedFile, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
    let length = bytes.len();
    if length == 0 {
        return Ok(());
    }
    let written = file.write_at(bytes, offset).await.map_err(plain)?;
    if written < length {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk is full"));
    }
    Ok(())
}

async fn replace(path: &Path, bytes: Vec<u8>, durability: Durability) -> io::Result<()> {
    let new = with_suffix(path, NEW_SUFFIX);
    let file = BufferedFile::create(&new).await.map_err(plain)?;
    if let Err(error) = write_whole(&file, bytes, 0).await {
        file.close().await?;
        return Err(error);
    }
    if durability == Durability::Synced {
        file.fdatasync().await.map_err(plain)?;
    }
    file.close().await?;
    glommio::io::rename(&new, path).await.map_err(plain)?;
    if durability == Durability::Synced
        && let Some(parent) = path.parent()
    {
        sync_folder(parent).await.map_err(|error| match error {
            SyncError::NotTried(error) | SyncError::Failed(error) => error,
        })?;
    }
    Ok(())
}

/// Whether the process or the system has too little of something for now: it says nothing about
/// what is on the disk.
pub fn is_shortage(error: &io::Error) -> bool {
    let shortages = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOMEM,
        rustix::io::Errno::AGAIN,
        rustix::io::Errno::INTR,
    ];
    rustix::io::Errno::from_io_error(error).is_some_and(|error| shortages.contains(&error))
}

/// What the system said, and no more: the ring's own words name the call and the path, which
/// clients should not be told, and hide the number.
fn plain(error: glommio::GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
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
#[expect(clippy::disallowed_methods, reason = "runs on the executor's blocking thread")]
fn look_into(folder: &Path) -> io::Result<Contents> {
    std::fs::create_dir_all(folder)?;
    let names = names_in(folder)?;
    let has_checkpoint = names.iter().any(|name| name == CHECKPOINT);
    let unfinished = format!("{CHECKPOINT}{NEW_SUFFIX}");
    if names.contains(&unfinished) {
        // A power cut could bring its old bytes back under the name of the next one.
        std::fs::remove_file(folder.join(unfinished))?;
    }
    // They did not take their places before the broker ended.
    for name in names.iter().filter(|name| name.ends_with(COMPACTED_SUFFIX)) {
        std::fs::remove_file(folder.join(name))?;
    }
    let segments = names.into_iter().filter(|name| name.ends_with(".log")).map(|name| {
        let (bytes, head) = head_of(&folder.join(&name), SEGMENT_HEADER_BYTES)?;
        Ok(FileSeen { name, bytes, head })
    });
    Ok(Contents { has_checkpoint, segments: segments.collect::<io::Result<_>>()? })
}

/// Brings the names in a folder to the disk itself. Not `fdatasync`, which the ring has: a file
/// system may think that names are not a folder's data.
async fn sync_folder(path: &Path) -> Result<(), SyncError> {
    let path = path.to_owned();
    let synced = blocking(move || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(rustix::fs::fsync(folder).map_err(io::Error::from))
    });
    synced.await.map_err(SyncError::NotTried)?.map_err(SyncError::Failed)
}

#[expect(clippy::disallowed_methods, reason = "runs on the executor's blocking thread")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

fn remove_whole(folder: &Path) -> io::Result<()> {
    remove_leftovers(folder)?;
    match rename(folder, &with_suffix(folder, REMOVED_SUFFIX)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => {
            renamed?;
            // Or a power cut brings the topic back.
            sync_parent(folder)?;
            remove_leftovers(folder)
        }
    }
}

/// Deletes what a deletion left that was cut short.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(with_suffix(folder, REMOVED_SUFFIX)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name that nothing has, for what is set aside.
fn free_name(path: &Path) -> PathBuf {
    first_free((0..).map(|number| with_suffix(path, &format!(".{number}.{SET_ASIDE}"))))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]
mod tests {
    use super::*;
    use crate::log::{Cursor, Found, Reading, RunLimit};
    use glommio::{LocalExecutorBuilder, Placement};
    use protocol::frame::MESSAGE_FRAME_OVERHEAD;

    const IDS: fn() -> IdSpace = || IdSpace::new(1, 12_345);
    const OPTIONS: LogOptions = LogOptions { segment_bytes_max: 1_000, ephemeral: false };

    fn topic() -> TopicName {
        TopicName::parse(b"orders").unwrap()
    }

    fn on_a_core<T>(test: impl AsyncFnOnce(PathBuf) -> T) -> T {
        let data_path = tempfile::tempdir().unwrap();
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .make()
            .expect("io_uring must be allowed here");
        executor.run(test(data_path.path().to_owned()))
    }

    fn record(end: u64, is_whole: bool) -> Record {
        Record { is_whole, end: Sequence(end), ..Record::default() }
    }

    fn append(folder: &TopicFolder, log: &mut Log, bodies: &[&str]) {
        for body in bodies {
            log.append(Timestamp(1), None, body.as_bytes());
        }
        let write = log.seal().unwrap();
        folder.write(&write).unwrap();
        log.written(write);
    }

    /// The bodies of all messages, from disk if they are not in memory.
    async fn read_all(folder: &TopicFolder, log: &mut Log) -> Vec<String> {
        let mut bodies = Vec::new();
        let mut cursor = Cursor::at(log.start());
        loop {
            match log.read(&mut cursor, RunLimit { messages: 1, bytes: 0 }) {
                Reading::Run(run) => {
                    let body = &run.bytes[MESSAGE_FRAME_OVERHEAD..];
                    bodies.push(String::from_utf8(body.to_vec()).unwrap());
                }
                Reading::NotInMemory(plan) => {
                    let data = folder.read(&plan).await.unwrap();
                    assert!(log.loaded(&plan, &data).damage.is_empty());
                }
                Reading::Deferred { .. } | Reading::Gap { .. } => panic!("there is none"),
                Reading::End => return bodies,
            }
        }
    }

    fn folders_in(data_path: &Path) -> Folders {
        Folders::among(names_in(data_path).unwrap().iter().map(String::as_str))
    }

    fn files_of(data_path: &Path) -> Vec<String> {
        let mut names = names_in(&data_path.join("orders.topic")).unwrap();
        names.sort();
        names
    }

    async fn open(data_path: &Path) -> Opened {
        TopicFolder::open(data_path, topic(), IdSpace::new(1, 999), OPTIONS).await.unwrap()
    }

    #[test]
    fn a_removed_folder_writes_nothing_into_the_one_that_took_its_place() {
        on_a_core(async |data_path| {
            let removed = TopicFolder::create(&data_path, topic()).await.unwrap();
            assert!(removed.wants_segment(&Log::create(IDS(), OPTIONS)));
            removed.remove().await.unwrap();
            let successor = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            append(&successor, &mut log, &["kept"]);
            removed.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
            removed.prepare().await.unwrap();
            removed.delete(log.segments().next().unwrap()).await.unwrap();
            assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
        });
    }

    #[test]
    fn what_was_written_is_there_when_the_folder_is_opened_again() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            assert!(folder.wants_segment(&log));
            folder.prepare().await.unwrap();
            append(&folder, &mut log, &["a", "b"]);
            folder.sync().await.unwrap();
            append(&folder, &mut log, &[&"c".repeat(2_000)]);
            append(&folder, &mut log, &["d"]);
            let expected = ["a", "b", &"c".repeat(2_000), "d"];
            log.evict(usize::MAX);
            assert_eq!(read_all(&folder, &mut log).await, expected);
            drop(folder);

            let opened = open(&data_path).await;
            assert_eq!(opened.findings.lines(), [""; 0]);
            let (folder, mut log) = (opened.folder, opened.log);
            assert_eq!(log.ids(), IDS());
            assert_eq!(log.end(), Sequence(4));
            append(&folder, &mut log, &["e"]);
            assert_eq!(read_all(&folder, &mut log).await[3..], ["d", "e"]);
            assert_eq!(folders_in(&data_path).topics, [topic()]);
        });
    }

    #[test]
    fn a_folder_at_rest_holds_no_file_and_goes_on_where_it_was() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            assert!(folder.wants_segment(&log));
            folder.prepare().await.unwrap();
            assert!(!folder.rest_if_idle(), "it was used just now");
            assert!(folder.rest_if_idle());
            assert!(folder.files.borrow().prepared.as_ref().unwrap().1.is_none());
            append(&folder, &mut log, &["a"]);
            folder.rest();
            // Its file still has the name it was prepared under.
            append(&folder, &mut log, &["b"]);
            assert_eq!(files_of(&data_path), ["next-1.log"]);
            assert!(folder.wants_segment(&log), "it must be named");
            folder.prepare().await.unwrap();
            folder.rest();
            append(&folder, &mut log, &["c"]);
            log.evict(usize::MAX);
            assert_eq!(read_all(&folder, &mut log).await, ["a", "b", "c"]);
            assert!(!folder.rest_if_idle(), "it was read just now");
            assert!(folder.rest_if_idle());
            assert!(folder.files.borrow().recent.is_none());
            folder.sync().await.unwrap();
            assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
            drop(folder);

            let opened = open(&data_path).await;
            assert!(opened.folder.files.borrow().active.is_none());
            let (folder, mut log) = (opened.folder, opened.log);
            append(&folder, &mut log, &["d"]);
            assert_eq!(read_all(&folder, &mut log).await, ["a", "b", "c", "d"]);
        });
    }

    #[test]
    fn a_deletion_that_was_cut_short_is_ended() {
        on_a_core(async |data_path| {
            let left = data_path.join("orders.topic.removed");
            std::fs::create_dir(&left).unwrap();
            std::fs::write(left.join("00000000000000000000.log"), b"any").unwrap();
            let folders = folders_in(&data_path);
            assert_eq!((&folders.topics[..], &folders.removed[..]), (&[][..], &[topic()][..]));
            end_removal(&data_path, topic()).await.unwrap();
            assert!(!left.exists());
        });
    }

    #[test]
    fn a_segment_that_had_no_time_to_get_its_name_is_found() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            folder.prepare().await.unwrap();
            append(&folder, &mut log, &["a"]);
            assert_eq!(files_of(&data_path), ["next-1.log"]);
            log.evict(usize::MAX);
            assert_eq!(read_all(&folder, &mut log).await, ["a"]);
            drop(folder);

            let opened = open(&data_path).await;
            assert_eq!(opened.log.end(), Sequence(1));
            assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
        });
    }

    #[test]
    fn a_prepared_segment_gets_its_name_and_an_unused_one_goes() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            folder.prepare().await.unwrap();
            append(&folder, &mut log, &[&"x".repeat(700)]);
            assert!(folder.wants_segment(&log));
            folder.prepare().await.unwrap();
            assert_eq!(files_of(&data_path), ["00000000000000000000.log", "next-2.log"]);
            assert!(!folder.wants_segment(&log));
            drop(folder);
            assert_eq!(open(&data_path).await.findings.lines(), [""; 0]);
            assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
        });
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damaged_files_are_set_aside() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            append(&folder, &mut log, &["a"]);
            let torn = rustix::fs::open(
                data_path.join("orders.topic/00000000000000000000.log"),
                OFlags::RDWR,
                Mode::empty(),
            );
            rustix::io::pwrite(torn.unwrap(), b"\x89NSB torn", log.disk_bytes()).unwrap();
            let checkpoint = data_path.join("orders.topic/checkpoint");
            replace_file(&checkpoint, b"no checkpoint".to_vec()).await.unwrap();
            replace_file(
                &data_path.join("orders.topic/00000000000000000007.log"),
                b"no log".to_vec(),
            )
            .await
            .unwrap();
            drop(folder);

            let opened = open(&data_path).await;
            let expected = [
                "00000000000000000007.log is not used: the file is not a segment of a log",
                "00000000000000000000.log ended within a block: 9 bytes were cut off",
                "the checkpoint is not used: the file is not a checkpoint",
            ];
            assert_eq!(opened.findings.lines(), expected);
            let expected = [
                "00000000000000000000.log",
                "00000000000000000007.log.0.set-aside",
                "checkpoint.0.set-aside",
            ];
            assert_eq!(files_of(&data_path), expected);
            let mut log = opened.log;
            append(&opened.folder, &mut log, &["b"]);
            assert_eq!(open(&data_path).await.findings.lines(), [""; 0]);
        });
    }

    #[test]
    fn the_checkpoint_comes_back_and_deferred_messages_after_it_do_too() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            let defer = |log: &mut Log, due| {
                log.append(Timestamp(1), Some(Timestamp(due)), b"later");
                let write = log.seal().unwrap();
                folder.write(&write).unwrap();
                log.written(write);
            };
            defer(&mut log, 70);
            assert!(folder.wants_whole_record());
            folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
            assert!(!folder.wants_whole_record());
            folder.write_checkpoint(|_| Some(record(1, false))).await.unwrap();
            defer(&mut log, 80);
            let opened = open(&data_path).await;
            let mut expected = TopicCheckpoint::default();
            expected.apply(record(0, true));
            expected.apply(record(1, false));
            assert_eq!(opened.checkpoint, Some(expected));
            assert_eq!(opened.deferred, [(Sequence(1), Timestamp(80))]);
            assert!(opened.folder.wants_whole_record(), "what it knows now may be less");
        });
    }

    #[test]
    fn a_checkpoint_that_was_torn_is_used_as_far_as_it_goes() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
            folder.write_checkpoint(|_| Some(record(1, false))).await.unwrap();
            let file = data_path.join("orders.topic/checkpoint");
            let torn = rustix::fs::open(&file, OFlags::RDWR, Mode::empty()).unwrap();
            let bytes = std::fs::metadata(&file).unwrap().len();
            rustix::fs::ftruncate(torn, bytes - 1).unwrap();
            drop(folder);
            let opened = open(&data_path).await;
            assert_eq!(opened.checkpoint.unwrap().end, Sequence(0));
            let lines = opened.findings.lines();
            assert!(lines[0].starts_with("the checkpoint is damaged or torn from"), "{lines:?}");
        });
    }

    #[test]
    fn messages_that_the_checkpoint_knows_and_the_log_has_not_are_told_of() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            append(&folder, &mut log, &["a"]);
            folder.write_checkpoint(|_| Some(record(3, true))).await.unwrap();
            drop(folder);
            let opened = open(&data_path).await;
            assert_eq!(opened.log.next_sequence(), Sequence(3));
            let lines = opened.findings.lines();
            let expected = "the checkpoint knows 2 messages more than the log has (from 1 on)";
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
        });
    }

    #[test]
    fn after_a_record_that_failed_only_a_whole_one_is_taken() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
            let file = data_path.join("orders.topic/checkpoint");
            std::fs::remove_file(&file).unwrap();
            assert!(folder.write_checkpoint(|_| Some(record(1, false))).await.is_err());
            assert!(folder.wants_whole_record());
            assert!(folder.write_checkpoint(|_| Some(record(1, false))).await.is_err());
            folder.write_checkpoint(|_| Some(record(1, true))).await.unwrap();
            folder.write_checkpoint(|_| Some(record(2, false))).await.unwrap();
            drop(folder);
            assert_eq!(open(&data_path).await.checkpoint.unwrap().end, Sequence(2));
        });
    }

    #[test]
    fn records_stand_in_the_order_in_which_they_were_made() {
        on_a_core(async |data_path| {
            let folder = Rc::new(TopicFolder::create(&data_path, topic()).await.unwrap());
            let made = Rc::new(Cell::new(0));
            let next = || {
                let made = made.clone();
                move |is_whole| {
                    made.set(made.get() + 1);
                    Some(record(made.get(), is_whole))
                }
            };
            // The task that waits is overtaken by the one that had the turn before.
            let (others, first, third) = (folder.clone(), next(), next());
            let task = glommio::spawn_local(async move {
                others.write_checkpoint(first).await.unwrap();
                others.write_checkpoint(third).await.unwrap();
            });
            glommio::executor().yield_now().await;
            folder.write_checkpoint(next()).await.unwrap();
            task.await;
            assert_eq!(open(&data_path).await.checkpoint.unwrap().end, Sequence(3));
        });
    }

    #[test]
    fn a_segment_that_nothing_follows_yet_is_read_from_the_file_that_replaced_it() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            let messages = ["a".repeat(300), "b".repeat(300), "c".repeat(300)];
            append(&folder, &mut log, &messages.each_ref().map(String::as_str));
            // The file of the next segment cannot be opened.
            let obstacle = data_path.join("orders.topic/00000000000000000003.log");
            std::fs::create_dir(&obstacle).unwrap();
            log.append(Timestamp(1), None, b"refused");
            let write = log.seal().unwrap();
            folder.write(&write).unwrap_err();
            log.abandon(write);
            std::fs::remove_dir(&obstacle).unwrap();

            let segment = log.closed_segments().next().unwrap().name;
            let compaction = log.compaction(segment, vec![Sequence(1)..Sequence(2)]).unwrap();
            let compacted = folder.write_anew(compaction).await.unwrap().unwrap();
            log.replacing(segment);
            folder.replace_segment(segment).await.unwrap();
            assert!(log.replaced(compacted));
            let Found::NotInMemory(plan) = log.frame(Sequence(1)) else { panic!("it is on disk") };
            let data = folder.read(&plan).await.unwrap();
            assert_eq!(log.loaded(&plan, &data).damage, []);
            let Found::Frame(frame, _) = log.frame(Sequence(1)) else { panic!("it was read") };
            assert_eq!(frame[MESSAGE_FRAME_OVERHEAD..], *messages[1].as_bytes());
        });
    }

    #[test]
    fn a_log_whose_last_segment_went_goes_on_where_it_ended() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            assert_eq!(log.end_segment(Timestamp(1)), None);
            append(&folder, &mut log, &["a", "b"]);
            folder.write_header(&log.end_segment(Timestamp(2)).unwrap()).unwrap();
            assert_eq!(log.end_segment(Timestamp(3)), None, "it is empty");
            for segment in log.release_below(Sequence(2)) {
                folder.delete(segment).await.unwrap();
            }
            folder.write_checkpoint(|_| Some(record(2, true))).await.unwrap();
            folder.sync().await.unwrap();
            assert_eq!(files_of(&data_path), ["00000000000000000002.log", "checkpoint"]);
            append(&folder, &mut log, &["c"]);
            drop(folder);

            let opened = open(&data_path).await;
            assert_eq!(opened.findings.lines(), [""; 0]);
            let (folder, mut log) = (opened.folder, opened.log);
            assert_eq!(read_all(&folder, &mut log).await, ["c"]);
            assert_eq!((log.start(), log.ids()), (Sequence(2), IDS()));
        });
    }

    #[test]
    fn a_segment_that_is_deleted_while_the_log_is_synced_is_no_failure() {
        on_a_core(async |data_path| {
            let folder = Rc::new(TopicFolder::create(&data_path, topic()).await.unwrap());
            let mut log = Log::create(IDS(), OPTIONS);
            for body in ["a", "b", "c"] {
                append(&folder, &mut log, &[&body.repeat(1_000)]);
            }
            folder.rest();
            let syncing = folder.clone();
            let sync = glommio::spawn_local(async move { syncing.sync().await });
            glommio::executor().yield_now().await;
            for segment in log.release_below(Sequence(2)) {
                folder.delete(segment).await.unwrap();
            }
            sync.await.unwrap();
            assert_eq!(files_of(&data_path), ["00000000000000000002.log"]);
        });
    }

    #[test]
    fn deleted_segments_and_removed_folders_are_gone() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            append(&folder, &mut log, &[&"x".repeat(1_000)]);
            append(&folder, &mut log, &["y"]);
            log.evict(usize::MAX);
            let Found::NotInMemory(plan) = log.frame(Sequence(0)) else { panic!("it is on disk") };
            folder.read(&plan).await.unwrap();
            for segment in log.release_below(Sequence(1)) {
                folder.delete(segment).await.unwrap();
            }
            assert_eq!(files_of(&data_path), ["00000000000000000001.log"]);
            folder.remove().await.unwrap();
            assert_eq!(std::fs::read_dir(&data_path).unwrap().count(), 0);
        });
    }

    #[test]
    fn the_folder_of_a_forgotten_topic_is_kept_when_a_new_one_takes_its_name() {
        on_a_core(async |data_path| {
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            let mut log = Log::create(IDS(), OPTIONS);
            append(&folder, &mut log, &["a"]);
            let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
            assert!(files_of(&data_path).is_empty());
            assert!(data_path.join("orders.topic.0.set-aside").exists());
            drop(folder);
        });
    }
}
