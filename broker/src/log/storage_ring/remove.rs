//! Segments and whole folders are deleted, so that what is gone stays gone.
//!
//! Knows: names, and what a deletion that was cut short leaves. Does not know: why nobody needs them.

use super::TopicFolder;
use super::names::{REMOVED_SUFFIX, folder_of};
use crate::disk::{blocking, remove_folder, rename, ring, sync_parent, with_suffix};
use crate::log::segment::SegmentName;
use protocol::name::TopicName;
use std::io;
use std::path::Path;

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

impl TopicFolder {
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
        match ring::remove(&self.path_of(segment)).await {
            // The disk refused the first block, and with it the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
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
pub(super) fn remove_leftovers(folder: &Path) -> io::Result<()> {
    remove_folder(&with_suffix(folder, REMOVED_SUFFIX))
}
