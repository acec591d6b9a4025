//! One file: opened, read, replaced; and what the system said about it.
//!
//! Knows: bytes. Does not know: what they mean, and which file of a folder it is.

use super::names::NEW_SUFFIX;
use super::read::Data;
use super::sync::{SyncError, sync_folder};
use crate::descriptor;
use crate::disk::ring::{self, plain};
use crate::disk::with_suffix;
use glommio::io::{BufferedFile, OpenOptions};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// Replaces a file so that it is always either the old or the new one, also after a power cut.
/// Replacements of one file must follow one another.
///
/// # Errors
/// When the disk refuses; the old file is untouched then.
pub async fn replace_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    replace(path, bytes, Durability::Synced).await
}

/// Whether a replaced file must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Written,
    Synced,
}

/// Makes a file through the ring, and keeps a descriptor of it alone: a file that remembers its path
/// costs much more memory.
pub(super) async fn create_for_append(path: &Path) -> io::Result<Rc<BufferedFile>> {
    let file = ring::create(path).await?;
    let descriptor = rustix::io::fcntl_dupfd_cloexec(descriptor::borrow(&file), 0)?;
    file.close().await?;
    Ok(Rc::new(descriptor::adopt_file(descriptor)))
}

/// So many bytes from `offset` on, fewer at the end of the file.
pub(super) async fn read_at(file: &BufferedFile, offset: u64, bytes: usize) -> io::Result<Data> {
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
pub(super) async fn append(path: &Path, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).buffered_open(path).await.map_err(plain)?;
    let written = ring::write(&file, bytes, offset).await;
    file.close().await?;
    written
}

pub(super) async fn replace(path: &Path, bytes: Vec<u8>, durability: Durability) -> io::Result<()> {
    let new = with_suffix(path, NEW_SUFFIX);
    let file = ring::create(&new).await?;
    if let Err(error) = ring::write(&file, bytes, 0).await {
        file.close().await?;
        return Err(error);
    }
    if durability == Durability::Synced {
        ring::sync(&file).await?;
    }
    file.close().await?;
    ring::rename(&new, path).await?;
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
