//! A segment is written anew beside the old one, and takes its place.
//!
//! Knows: how the one file becomes the other. Does not know: which messages are needed.

use super::TopicFolder;
use super::file::read_at;
use super::names::COMPACTED_SUFFIX;
use crate::disk::{ring, with_suffix};
use crate::log::segment::SegmentName;
use crate::log::{Compacted, Compaction};
use glommio::io::BufferedFile;
use std::io;
use std::path::Path;

impl TopicFolder {
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
            drop(ring::remove(&new).await);
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
        let to = ring::create(new).await?;
        let copied = async {
            while let Some((offset, bytes)) = compaction.next_read() {
                let data = read_at(&from, offset, bytes).await?;
                let fed = compaction.feed(offset, &data);
                let (offset, bytes) =
                    fed.map_err(|unfit| io::Error::new(io::ErrorKind::InvalidData, unfit))?;
                ring::write(&to, bytes, offset).await?;
            }
            let Some((header, compacted)) = compaction.finish() else { return Ok(None) };
            ring::write(&to, header.to_vec(), 0).await?;
            ring::sync(&to).await?;
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
        ring::rename(&with_suffix(&path, COMPACTED_SUFFIX), &path).await?;
        self.replaced_count.set(self.replaced_count.get() + 1);
        let mut files = self.files.borrow_mut();
        files.forget(segment);
        files.is_folder_unsynced = true;
        Ok(())
    }
}
