//! Changes of files and folders on a core: those that do not wait, and those that go through the
//! ring. In a test each is recorded.
//!
//! Knows: files and bytes. Does not know: what they mean.

use super::blocking;
#[cfg(test)]
use super::tape::{self, Change};
use crate::descriptor;
use glommio::io::{BufferedFile, OpenOptions};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

// --- at once, on the core itself ---

/// Opens a file for reading and writing, and makes it if it is not there.
///
/// # Errors
/// When the disk refuses.
pub fn open_or_create(path: &Path) -> io::Result<OwnedFd> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::create(path, false));
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644));
    #[cfg(test)]
    tape::end(change, opened.is_ok());
    Ok(opened?)
}

/// Writes all of it.
///
/// # Errors
/// When the disk refuses; a part may have been written.
pub fn write_at_once(file: &BufferedFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        #[cfg(test)]
        let change = tape::begin(|tape| tape.write(file, offset, bytes));
        let written = rustix::io::pwrite(descriptor::borrow(file), bytes, offset);
        #[cfg(test)]
        tape::end(change, written.is_ok());
        match written {
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

/// Cuts a file off.
///
/// # Errors
/// When the disk refuses.
pub fn truncate_at_once(file: &BufferedFile, length: u64) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|tape| tape.resize(file, length));
    let truncated = rustix::fs::ftruncate(descriptor::borrow(file), length);
    #[cfg(test)]
    tape::end(change, truncated.is_ok());
    Ok(truncated?)
}

// --- through the ring ---

/// Makes an empty file, in the place of one that is there.
///
/// # Errors
/// When the disk refuses.
pub async fn create(path: &Path) -> io::Result<BufferedFile> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::create(path, true));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o644);
    let created = options.buffered_open(path).await.map_err(plain);
    #[cfg(test)]
    tape::end(change, created.is_ok());
    created
}

/// Writes all of it.
///
/// # Errors
/// When the disk refuses; a part may have been written.
pub async fn write(file: &BufferedFile, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
    let length = bytes.len();
    if length == 0 {
        return Ok(());
    }
    #[cfg(test)]
    let change = tape::begin(|tape| tape.write(file, offset, &bytes));
    let written = file.write_at(bytes, offset).await.map_err(plain);
    #[cfg(test)]
    tape::end(change, written.is_ok());
    if written? < length {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk is full"));
    }
    Ok(())
}

/// Cuts a file off.
///
/// # Errors
/// When the disk refuses.
pub async fn truncate(file: &BufferedFile, length: u64) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|tape| tape.resize(file, length));
    let truncated = file.truncate(length).await.map_err(plain);
    #[cfg(test)]
    tape::end(change, truncated.is_ok());
    truncated
}

/// Brings what a file holds to the disk itself.
///
/// # Errors
/// When the disk refuses.
pub async fn sync(file: &BufferedFile) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|tape| tape.sync(file));
    #[cfg(test)]
    tape::take_time(&change).await;
    let synced = file.fdatasync().await.map_err(plain);
    #[cfg(test)]
    tape::end(change, synced.is_ok());
    synced
}

/// The same on a blocking thread, where it begins at once, whatever else the core has to do.
///
/// # Errors
/// When the disk refuses.
pub async fn sync_on_thread(file: &BufferedFile) -> io::Result<()> {
    // The same open file under another number, so it is told of the same failures. With no number
    // left the other way does.
    let Ok(same) = descriptor::borrow(file).try_clone_to_owned() else {
        return sync(file).await;
    };
    #[cfg(test)]
    let change = tape::begin(|tape| tape.sync(file));
    #[cfg(test)]
    tape::take_time(&change).await;
    let synced = blocking(move || Ok(rustix::fs::fdatasync(same)?)).await;
    #[cfg(test)]
    tape::end(change, synced.is_ok());
    synced
}

/// Gives a file another name, and takes that from the one that has it.
///
/// # Errors
/// When the disk refuses.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::rename(from, to));
    let renamed = glommio::io::rename(from, to).await.map_err(plain);
    #[cfg(test)]
    tape::end(change, renamed.is_ok());
    renamed
}

/// Deletes a file.
///
/// # Errors
/// When the disk refuses.
pub async fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::remove(path));
    let removed = glommio::io::remove(path).await.map_err(plain);
    #[cfg(test)]
    tape::end(change, removed.is_ok());
    removed
}

/// Brings the names in a folder to the disk itself. Not `fdatasync`, which the ring has: a file
/// system may think that names are not a folder's data.
///
/// # Errors
/// The outer one when nothing was tried, the inner one when the disk failed.
pub async fn sync_folder(path: &Path) -> io::Result<io::Result<()>> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::sync_folder(path));
    #[cfg(test)]
    tape::take_time(&change).await;
    let path = path.to_owned();
    let synced = blocking(move || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(rustix::fs::fsync(folder).map_err(io::Error::from))
    });
    let synced = synced.await;
    #[cfg(test)]
    tape::end(change, matches!(synced, Ok(Ok(()))));
    synced
}

/// What the system said, and no more: the ring's own words name the call and the path, which
/// clients should not be told, and hide the number.
pub fn plain(error: glommio::GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}
