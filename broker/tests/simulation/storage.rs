//! A disk: files as they were written, and as they would be found after a power cut.
//!
//! A write goes to sectors of 512 bytes, each of which is on the disk itself only when its file was
//! synced; a name is when its folder was. A process that is killed leaves all that was written, and
//! of the write in progress any part. A power cut leaves of each unsynced sector the old or the new
//! bytes, and of each unsynced name what was or what is. A sync that fails forgets: its sectors are
//! not tried again.
//!
//! Knows nothing of what is in the files.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};

const SECTOR_BYTES: usize = 512;

/// Why something was not done, or only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is gone.
    Killed,
    /// The disk refuses.
    Refused,
    /// There is no such file.
    NotFound,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// An open file; stays so whatever becomes of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File(usize);

/// How often the disk refuses, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
    pub(crate) reads: u64,
    /// Creating, renaming, deleting.
    pub(crate) names: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that the next sync will take.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, File),
    Rename(String, String),
    Remove(String),
}

/// See the head of this file. Names are paths; what stands before the last `/` is the folder.
pub(crate) struct Storage {
    contents: Vec<Content>,
    names: BTreeMap<String, File>,
    synced_names: BTreeMap<String, File>,
    /// What happened to names since their folders were synced, in order.
    name_changes: Vec<NameChange>,
    random: Random,
    pub(crate) refusals: Refusals,
    /// The process is killed when so many more changes were begun.
    changes_left: Option<u32>,
}

impl Storage {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            contents: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            name_changes: Vec::new(),
            random: Random::new(seed),
            refusals: Refusals::default(),
            changes_left: None,
        }
    }

    /// Has the process killed in the middle of a later change.
    pub(crate) fn kill_after(&mut self, changes: u32) {
        self.changes_left = Some(changes);
    }

    /// A new process: nothing is going to kill it yet.
    pub(crate) fn revive(&mut self) {
        self.changes_left = None;
    }

    fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.random.number() % 1_000 < in_a_thousand
    }

    /// Begins a change: whether it is the one in which the process is killed.
    fn begin(&mut self) -> Result<bool> {
        match &mut self.changes_left {
            None => Ok(false),
            Some(0) => Err(Fault::Killed),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
        }
    }

    /// Begins a change of a name, which is done as one, or not.
    fn begin_name(&mut self) -> Result<()> {
        let is_last = self.begin()?;
        if is_last && self.chance(500) {
            return Err(Fault::Killed);
        }
        if self.chance(self.refusals.names) { Err(Fault::Refused) } else { Ok(()) }
    }

    // --- contents ---

    /// Writes all of it, or refuses, and then any part may have been written.
    pub(crate) fn write(&mut self, file: File, offset: u64, bytes: &[u8]) -> Result<()> {
        let is_killed = self.begin()?;
        let is_refused = self.chance(self.refusals.writes);
        let length =
            if is_killed || is_refused { self.random.below(bytes.len() + 1) } else { bytes.len() };
        let start = usize::try_from(offset).unwrap();
        let content = &mut self.contents[file.0];
        let before = content.written.len();
        let end = start + length;
        if 0 < length {
            content.written.resize(before.max(end), 0);
            content.written[start..end].copy_from_slice(&bytes[..length]);
            content.dirty.extend(start.min(before) / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
        }
        match (is_killed, is_refused) {
            (true, _) => Err(Fault::Killed),
            (_, true) => Err(Fault::Refused),
            _ => Ok(()),
        }
    }

    /// Makes a file shorter. It takes no room, and is not refused.
    pub(crate) fn truncate(&mut self, file: File, length: u64) -> Result<()> {
        if self.begin()? && self.chance(500) {
            return Err(Fault::Killed);
        }
        self.contents[file.0].truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    /// `fdatasync`.
    pub(crate) fn sync(&mut self, file: File) -> Result<()> {
        let is_killed = self.begin()?;
        let is_refused = self.chance(self.refusals.syncs);
        let Self { contents, random, .. } = self;
        let content = &mut contents[file.0];
        let is_whole = !is_killed && !is_refused;
        for sector in std::mem::take(&mut content.dirty) {
            if is_whole || random.below(2) == 0 {
                content.bring(sector);
            } else if is_killed {
                content.dirty.insert(sector);
            }
        }
        if is_whole {
            content.synced.resize(content.written.len(), 0);
            return Ok(());
        }
        Err(if is_killed { Fault::Killed } else { Fault::Refused })
    }

    /// Fewer bytes mean that the file ends.
    pub(crate) fn read(&mut self, file: File, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        if self.changes_left == Some(0) {
            return Err(Fault::Killed);
        }
        if self.chance(self.refusals.reads) {
            return Err(Fault::Refused);
        }
        let rest = self.contents[file.0].written.get(usize::try_from(offset).unwrap()..);
        let rest = rest.unwrap_or_default();
        Ok(rest[..bytes.min(rest.len())].to_vec())
    }

    pub(crate) fn length(&self, file: File) -> usize {
        self.contents[file.0].written.len()
    }

    // --- names ---

    /// Makes a file, or empties the one that is there.
    pub(crate) fn create(&mut self, name: &str) -> Result<File> {
        self.begin_name()?;
        if let Some(&file) = self.names.get(name) {
            self.contents[file.0].truncate(0);
            return Ok(file);
        }
        let file = File(self.contents.len());
        self.contents.push(Content::default());
        self.names.insert(name.to_owned(), file);
        self.name_changes.push(NameChange::Create(name.to_owned(), file));
        Ok(file)
    }

    pub(crate) fn open(&self, name: &str) -> Result<File> {
        self.names.get(name).copied().ok_or(Fault::NotFound)
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.begin_name()?;
        let file = self.names.remove(from).ok_or(Fault::NotFound)?;
        self.names.insert(to.to_owned(), file);
        self.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.begin_name()?;
        self.names.remove(name).ok_or(Fault::NotFound)?;
        self.name_changes.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    /// The names in a folder, without it.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let names = self.names.keys().filter_map(|name| name.strip_prefix(folder));
        names.map(|name| name.trim_start_matches('/').to_owned()).collect()
    }

    /// `fsync` of a folder.
    pub(crate) fn sync_folder(&mut self, folder: &str) -> Result<()> {
        let is_killed = self.begin()?;
        if is_killed {
            return Err(Fault::Killed);
        }
        if self.chance(self.refusals.syncs) {
            return Err(Fault::Refused);
        }
        let is_in = |name: &String| name.rsplit_once('/').is_some_and(|(its, _)| its == folder);
        let (done, left) = std::mem::take(&mut self.name_changes)
            .into_iter()
            .partition(|change| is_in(change.name()));
        self.name_changes = left;
        for change in &done {
            change.apply(&mut self.synced_names);
        }
        Ok(())
    }

    // --- the end of power ---

    /// What is found afterwards.
    pub(crate) fn cut_power(&mut self) {
        let Self { contents, random, .. } = self;
        // Sometimes all of it is lost, or nothing.
        let kept = *random.choose(&[0, 300, 500, 900, 1_000]);
        for content in contents {
            let mut found = content.synced.clone();
            let lengths = [content.synced.len(), content.written.len()];
            let shortest = lengths[0].min(lengths[1]);
            let between = shortest + random.below(lengths[0].abs_diff(lengths[1]) + 1);
            found.resize(*random.choose(&[lengths[0], lengths[1], between]), 0);
            for &sector in &content.dirty {
                if random.number() % 1_000 < kept {
                    let end = if random.below(16) == 0 {
                        random.below(SECTOR_BYTES)
                    } else {
                        SECTOR_BYTES
                    };
                    copy_sector(&content.written, &mut found, sector, end);
                }
            }
            *content = Content { written: found.clone(), synced: found, dirty: BTreeSet::new() };
        }
        let kept = *random.choose(&[0, 500, 1_000]);
        // What happened to one name happened in order; other names know nothing of it.
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.name_changes) {
            let is_possible = change.names().all(|name| !lost.contains(name));
            if is_possible && self.random.number() % 1_000 < kept {
                change.apply(&mut self.synced_names);
            } else {
                lost.extend(change.names().cloned());
            }
        }
        self.names = self.synced_names.clone();
    }
}

impl Content {
    fn truncate(&mut self, length: usize) {
        self.dirty.extend(length / SECTOR_BYTES..=self.written.len() / SECTOR_BYTES);
        self.written.truncate(length);
    }

    fn bring(&mut self, sector: usize) {
        let length = self.written.len().min((sector + 1) * SECTOR_BYTES);
        self.synced.resize(self.synced.len().max(length), 0);
        copy_sector(&self.written, &mut self.synced, sector, SECTOR_BYTES);
    }
}

impl NameChange {
    fn name(&self) -> &String {
        match self {
            Self::Create(name, _) | Self::Rename(_, name) | Self::Remove(name) => name,
        }
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        let from = if let Self::Rename(from, _) = self { Some(from) } else { None };
        from.into_iter().chain([self.name()])
    }

    fn apply(&self, names: &mut BTreeMap<String, File>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

/// Copies the first `bytes` of a sector, as far as both have it.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize, bytes: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + bytes).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}
