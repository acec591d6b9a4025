//! One file: opened, read, written, replaced, renamed; and what the system said about it.
//!
//! Knows: bytes. Does not know: what they mean, and which file of a folder it is.

use super::names::NEW_SUFFIX;
use super::read::Data;
use super::sync::{SyncError, sync_folder};
use crate::descriptor;
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
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o644);
    let file = options.buffered_open(path).await.map_err(plain)?;
    let descriptor = rustix::io::fcntl_dupfd_cloexec(descriptor::borrow(&file), 0)?;
    file.close().await?;
    Ok(Rc::new(descriptor::adopt_file(descriptor)))
}

pub(super) fn write_all(file: &BufferedFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
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
    let written = write_whole(&file, bytes, offset).await;
    file.close().await?;
    written
}

pub(super) async fn write_whole(
    file: &BufferedFile,
    bytes: Vec<u8>,
    offset: u64,
) -> io::Result<()> {
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

pub(super) async fn replace(path: &Path, bytes: Vec<u8>, durability: Durability) -> io::Result<()> {
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

/// What the system said, and no more: the ring's own words name the call and the path, which
/// clients should not be told, and hide the number.
pub(super) fn plain(error: glommio::GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on the executor's blocking thread")]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
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
