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
//! Appends run on the core itself ([`append`]). Everything else goes through the ring or the
//! executor's blocking thread, and a new segment's file is opened before it is needed, so that no
//! append waits for the file system's journal. A folder holds no file open that was not used lately:
//! see [`TopicFolder::rest_if_idle`].
//!
//! Knows: which folder it is, and who has to wait for whom. Does not know: what is in its files, and
//! what to do when the disk fails.

mod append;
mod checkpoint_file;
mod compact;
mod file;
mod findings;
mod names;
mod open_files;
mod read;
mod remove;
mod start;
mod sync;
#[cfg(test)]
mod tests;

#[cfg(test)]
use super::faults::Faults;
use crate::disk::{blocking, create_folder, remove_empty_folder, rename};
use checkpoint_file::CheckpointFile;
use glommio::sync::Semaphore;
use names::{folder_of, free_name};
use open_files::Files;
use protocol::name::TopicName;
use remove::remove_leftovers;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::{fmt, io};

pub use file::{is_shortage, replace_file};
pub use findings::Findings;
pub use names::Folders;
pub(crate) use names::{
    CHECKPOINT, COMPACTED_SUFFIX, FOLDER_SUFFIX, NEW_SUFFIX, PREPARED_PREFIX, REMOVED_SUFFIX,
    SET_ASIDE,
};
pub use read::Data;
pub use remove::{end_removal, remove_unopened};
pub use start::Opened;
pub use sync::{SyncError, Way};

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

impl fmt::Debug for TopicFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicFolder").field("path", &self.path).finish_non_exhaustive()
    }
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
            if wanted.exists() && remove_empty_folder(&wanted).is_err() {
                rename(&wanted, &free_name(&wanted))?;
            }
            create_folder(&wanted)
        })
        .await?;
        let folder = Self::at(path);
        folder.files.borrow_mut().is_parent_unsynced = true;
        Ok(folder)
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
}
