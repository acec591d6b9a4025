//! The file in which a topic's checkpoint stands: a record that says everything, and records of what
//! changed behind it.
//!
//! Knows: how far the file goes, and when it is written anew. Does not know: what a record says.

use super::TopicFolder;
use super::file::{Durability, append, read_at, replace};
use super::findings::Findings;
use super::names::CHECKPOINT;
use super::read::Data;
use super::sync::{SyncError, sync_folder};
use crate::disk::ring::{self, plain};
use crate::log::checkpoint::{Decoded, Record, TopicCheckpoint};
#[cfg(test)]
use crate::log::faults::Operation;
use glommio::io::BufferedFile;
use std::io;

/// So much is appended to the shortest checkpoint before it is written anew.
const CHECKPOINT_SLACK_BYTES: u64 = 64 << 10;

#[derive(Clone, Copy)]
pub(super) struct CheckpointFile {
    /// Where the next record goes.
    bytes: u64,
    /// Where the first one, which says everything, ended.
    whole_bytes: u64,
}

/// A checkpoint that was there at the start.
pub(super) struct Found {
    pub(super) checkpoint: TopicCheckpoint,
    /// Nothing says that there was a later one.
    pub(super) is_latest: bool,
}

impl TopicFolder {
    /// Whether the next record should tell everything: there is none yet, the last one failed, or
    /// those behind the whole one have grown longer than it.
    pub(super) fn wants_whole_record(&self) -> bool {
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

    /// Brings the checkpoint to the disk itself, so that a power cut does not bring back one from
    /// before it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sync_checkpoint(&self) -> io::Result<()> {
        let _turn = self.checkpoint_turn.acquire_permit(1).await?;
        if self.is_removed.get() {
            return Ok(());
        }
        let file = BufferedFile::open(self.path.join(CHECKPOINT)).await.map_err(plain)?;
        let synced = ring::sync(&file).await;
        file.close().await?;
        synced?;
        sync_folder(&self.path).await.map_err(|error| match error {
            SyncError::NotTried(error) | SyncError::Failed(error) => error,
        })
    }

    pub(super) async fn read_checkpoint(
        &self,
        findings: &mut Findings,
    ) -> io::Result<Option<Found>> {
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
            Ok(decoded) => {
                let is_latest = decoded.is_latest(&data);
                let Decoded { checkpoint, cut, .. } = decoded;
                findings.checkpoint = cut;
                Ok(Some(Found { checkpoint, is_latest }))
            }
            Err(error) => {
                findings.checkpoint = Some(error);
                self.set_aside(CHECKPOINT).await?;
                Ok(None)
            }
        }
    }
}
