//! Blocks come from the disk, as a plan of the log says.
//!
//! Knows: files and offsets. Does not know: what is in them, and who needs it.

use super::TopicFolder;
use super::file::read_at;
use crate::disk::ring::plain;
#[cfg(test)]
use crate::log::faults::Operation;
use crate::log::reading::ReadPlan;
use crate::log::segment::SegmentName;
use glommio::io::{BufferedFile, ReadResult};
use std::io;
use std::ops::Deref;
use std::rc::Rc;

/// What is read at once where the disk refuses to read more: a page, so that a bad sector costs the
/// blocks in it and no others.
const SALVAGED_BYTES: usize = 4 << 10;

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

impl TopicFolder {
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
}
