//! In tests: what was changed on the disk, and what was asked to be on it for certain, in order.
//!
//! A test records on its own thread; work that it has done on the executor's blocking thread is
//! recorded too. A change that goes through the ring begins and ends, and others may come between.
//!
//! Knows: files by number, whatever they are called. Does not know: what a loss of power leaves.

#![expect(clippy::disallowed_types, reason = "the executor's blocking thread writes on it, too")]

use crate::descriptor;
use glommio::io::BufferedFile;
use rustix::fs::fstat;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

thread_local! {
    static HERE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// A file on a tape; never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(pub usize);

/// A change on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeNumber(pub usize);

/// What was done to a file or a folder.
#[derive(Clone, Debug)]
pub enum Change {
    /// A file was opened that is made if it is not there.
    Create {
        /// Where.
        path: PathBuf,
        /// It was not there.
        is_new: bool,
        /// What is there is cut off.
        empties: bool,
    },
    /// A folder was made.
    CreateFolder(PathBuf),
    /// Bytes were written.
    Write {
        /// To which file.
        file: FileNumber,
        /// Where in it.
        offset: u64,
        /// Which.
        bytes: Vec<u8>,
    },
    /// A file was cut off.
    Resize {
        /// Which.
        file: FileNumber,
        /// Its length since.
        length: u64,
    },
    /// A file or folder has another name.
    Rename {
        /// Its name before.
        from: PathBuf,
        /// Its name since; in the same folder.
        to: PathBuf,
    },
    /// A file or folder is gone.
    Remove(PathBuf),
    /// What was written to a file is on the disk itself.
    Sync(FileNumber),
    /// So are the names in a folder.
    SyncFolder(PathBuf),
}

/// What stands on a tape.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change began: it may be on the disk from now on.
    Begun(ChangeNumber, Change),
    /// It was done. The file, if it made one.
    Done(ChangeNumber, Option<FileNumber>),
    /// It was refused; of a write a part may have been done.
    Refused(ChangeNumber),
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Tape(Arc<Mutex<Reel>>);

/// What a tape holds.
#[derive(Debug, Default)]
pub struct Reel {
    events: Vec<Event>,
    changes: usize,
    files: usize,
    /// The files by inode. A new file may have the inode of one that is gone.
    by_inode: HashMap<u64, FileNumber>,
    /// Changes of content or names that have begun and not ended.
    open: BTreeMap<ChangeNumber, Change>,
}

/// A change that has begun, if anything is recorded.
#[derive(Debug)]
pub struct Begun(Option<(Tape, ChangeNumber, Change)>);

impl Change {
    /// A file is about to be opened, and made if it is not there.
    pub fn create(path: &Path, empties: bool) -> Self {
        Self::Create { path: path.to_owned(), is_new: !path.exists(), empties }
    }

    /// A file or folder is about to get another name.
    pub fn rename(from: &Path, to: &Path) -> Self {
        Self::Rename { from: from.to_owned(), to: to.to_owned() }
    }

    /// A file or folder is about to go.
    pub fn remove(path: &Path) -> Self {
        Self::Remove(path.to_owned())
    }

    /// A folder is about to be made.
    pub fn create_folder(path: &Path) -> Self {
        Self::CreateFolder(path.to_owned())
    }

    /// A folder is about to be synced.
    pub fn sync_folder(path: &Path) -> Self {
        Self::SyncFolder(path.to_owned())
    }

    fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::SyncFolder(_))
    }
}

impl Reel {
    fn end(&mut self, number: ChangeNumber, change: &Change, is_done: bool) {
        if !is_done {
            self.events.push(Event::Refused(number));
            return;
        }
        let mut file = None;
        if let Change::Create { path, is_new, .. } = change {
            let inode = path.metadata().unwrap().ino();
            if *is_new {
                self.by_inode.remove(&inode);
            }
            file = Some(self.file_of(inode));
        }
        self.events.push(Event::Done(number, file));
    }

    fn file(&mut self, file: impl AsFd) -> FileNumber {
        self.file_of(fstat(file).unwrap().st_ino)
    }

    fn file_of(&mut self, inode: u64) -> FileNumber {
        let files = &mut self.files;
        *self.by_inode.entry(inode).or_insert_with(|| {
            *files += 1;
            FileNumber(*files)
        })
    }

    /// Bytes are about to be written.
    pub fn write(&mut self, file: &BufferedFile, offset: u64, bytes: &[u8]) -> Change {
        let file = self.file(descriptor::borrow(file));
        Change::Write { file, offset, bytes: bytes.to_vec() }
    }

    /// A file is about to be cut off.
    pub fn resize(&mut self, file: &BufferedFile, length: u64) -> Change {
        Change::Resize { file: self.file(descriptor::borrow(file)), length }
    }

    /// A file is about to be synced.
    pub fn sync(&mut self, file: &BufferedFile) -> Change {
        self.sync_of(descriptor::borrow(file))
    }

    /// The same of a file that no ring knows.
    pub fn sync_of(&mut self, file: impl AsFd) -> Change {
        Change::Sync(self.file(file))
    }

    /// Bytes are about to be written to a file that no ring knows.
    pub fn write_of(&mut self, file: impl AsFd, offset: u64, bytes: &[u8]) -> Change {
        Change::Write { file: self.file(file), offset, bytes: bytes.to_vec() }
    }
}

impl Tape {
    /// Records what this thread does from now on, until [`Self::stop`].
    pub fn start(&self) {
        HERE.set(Some(self.clone()));
    }

    /// Nothing is recorded on this thread any more.
    pub fn stop() {
        HERE.set(None);
    }

    /// How many events there are.
    pub fn position(&self) -> usize {
        self.reel(|reel| reel.events.len())
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.reel(|reel| reel.events.clone())
    }

    /// Whether no change of content or names is under way.
    pub fn is_quiet(&self) -> bool {
        self.reel(|reel| reel.open.is_empty())
    }

    /// The executor is gone that made the changes: those that were under way were done or not, as
    /// the names show.
    pub fn settle(&self) {
        self.reel(|reel| {
            for (number, change) in std::mem::take(&mut reel.open) {
                let is_done = match &change {
                    Change::Create { path, .. } | Change::CreateFolder(path) => path.exists(),
                    Change::Rename { from: path, .. } | Change::Remove(path) => !path.exists(),
                    _ => true,
                };
                reel.end(number, &change, is_done);
            }
        });
    }

    /// The number of a file that is there.
    pub fn number_of(&self, path: &Path) -> FileNumber {
        let inode = path.metadata().unwrap().ino();
        self.reel(|reel| reel.file_of(inode))
    }

    fn reel<T>(&self, look: impl FnOnce(&mut Reel) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

/// What this thread records on, if it does.
pub fn here() -> Option<Tape> {
    HERE.with_borrow(Clone::clone)
}

/// Does something of which `tape` is to have the changes.
pub fn recorded<T>(tape: Option<Tape>, work: impl FnOnce() -> T) -> T {
    let before = HERE.replace(tape);
    let done = work();
    HERE.set(before);
    done
}

/// A change begins.
pub fn begin(change: impl FnOnce(&mut Reel) -> Change) -> Begun {
    Begun(here().map(|tape| {
        let (number, change) = tape.reel(|reel| {
            let change = change(reel);
            reel.changes += 1;
            let number = ChangeNumber(reel.changes);
            if !change.is_sync() {
                reel.open.insert(number, change.clone());
            }
            reel.events.push(Event::Begun(number, change.clone()));
            (number, change)
        });
        (tape, number, change)
    }))
}

/// A change ended.
pub fn end(begun: Begun, is_done: bool) {
    let Some((tape, number, change)) = begun.0 else { return };
    tape.reel(|reel| {
        reel.open.remove(&number);
        reel.end(number, &change, is_done);
    });
}

/// A disk takes its time to sync, so that there is a before and an after to be told apart: up to
/// two milliseconds.
pub async fn take_time(begun: &Begun) {
    if let Some((_, ChangeNumber(number), _)) = &begun.0 {
        let spread = u32::try_from(*number).unwrap_or(u32::MAX).wrapping_mul(0x9e37_79b9) >> 16;
        glommio::timer::sleep(Duration::from_micros(u64::from(spread % 2_000))).await;
    }
}
