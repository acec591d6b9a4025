//! What was appended is brought to the disk itself.
//!
//! Knows: which files and folders that takes, and what a failure says about them. Does not know: who
//! waits for it, and what becomes of a log whose disk failed.

use super::TopicFolder;
use crate::disk::ring::{self, plain};
#[cfg(test)]
use crate::log::faults::Operation;
use crate::log::segment::SegmentName;
use glommio::io::BufferedFile;
use std::path::Path;
use std::rc::Rc;
use std::{fmt, io};

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

/// Which way a sync takes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On a blocking thread of the core: it begins at once, while the core does something else.
    Thread,
    /// Through the ring: it begins when the core has nothing else to do, beside any number of others.
    Ring,
}

impl TopicFolder {
    /// Brings all that was appended before this call to the disk itself, the names of new files
    /// included.
    ///
    /// # Errors
    /// See [`SyncError`]. After [`SyncError::Failed`] no more blocks should go to the segment that
    /// is written to ([`crate::log::Log::close_segment`]).
    pub async fn sync(&self, way: Way) -> Result<(), SyncError> {
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
            let Err(error) = self.sync_segment(name, file, way).await else { continue };
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

    /// Brings to the disk itself what was found when the folder was opened, the names included:
    /// another process wrote it, and may have been killed before it synced it. Nothing is added to
    /// those files, so that this says nothing of what is appended, and the other way round. Whether
    /// there was anything to do.
    ///
    /// # Errors
    /// See [`SyncError`]. After [`SyncError::NotTried`] it goes on where it was another time.
    pub async fn sync_found(&self) -> Result<bool, SyncError> {
        if self.files.borrow().found.is_empty() {
            return Ok(false);
        }
        loop {
            let next = self.files.borrow().found.last().copied();
            let Some(name) = next.filter(|_| !self.is_removed.get()) else { break };
            match BufferedFile::open(self.path_of(name)).await.map_err(plain) {
                // Nobody needed it any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(SyncError::NotTried(error)),
                Ok(file) => {
                    #[cfg(test)]
                    let synced = match self.faults.next(Operation::Sync) {
                        Some(error) => Err(error),
                        None => ring::sync(&file).await,
                    };
                    #[cfg(not(test))]
                    let synced = ring::sync(&file).await;
                    drop(file.close().await);
                    if let Err(error) = synced {
                        self.files.borrow_mut().found.clear();
                        return Err(SyncError::Failed(error));
                    }
                }
            }
            self.files.borrow_mut().found.pop();
        }
        if !self.is_removed.get() {
            sync_folder(&self.path).await?;
        }
        Ok(true)
    }

    async fn sync_segment(
        &self,
        name: SegmentName,
        file: Option<Rc<BufferedFile>>,
        way: Way,
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
        let synced = match way {
            Way::Thread => ring::sync_on_thread(&file).await,
            Way::Ring => ring::sync(&file).await,
        };
        synced.map_err(SyncError::Failed)
    }
}

/// Brings the names in a folder to the disk itself.
pub(super) async fn sync_folder(path: &Path) -> Result<(), SyncError> {
    ring::sync_folder(path).await.map_err(SyncError::NotTried)?.map_err(SyncError::Failed)
}
