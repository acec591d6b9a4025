//! What the log, the import and the check of a data path have to do with files where a thread may
//! wait: on an executor's blocking thread, or before any core serves.
//!
//! Knows: names, and bytes as they come. Does not know: what they mean.

#![expect(clippy::disallowed_methods, reason = "runs where a thread may wait for the disk")]

pub mod ring;
#[cfg(test)]
pub mod tape;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
#[cfg(test)]
use tape::Change;

/// Has something done on the executor's blocking thread.
///
/// # Errors
/// Those of `work`.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    #[cfg(test)]
    let work = {
        let tape = tape::here();
        move || tape::recorded(tape, work)
    };
    glommio::executor().spawn_blocking(work).await
}

/// The names in a folder, in no order; those that are no text are left out, since none of ours, and
/// none of a queue of NSQ's, is so.
///
/// # Errors
/// When it cannot be listed.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

/// The path with something behind its last name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The first of endless names that nothing has.
pub fn first_free(mut names: impl Iterator<Item = PathBuf>) -> PathBuf {
    names.find(|name| !name.exists()).expect("a folder cannot have so many files")
}

/// Makes a file with these bytes, which are on the disk itself then; its name may not be.
///
/// # Errors
/// When the disk refuses.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::create(path, true));
    let created = File::create(path);
    #[cfg(test)]
    tape::end(change, created.is_ok());
    let mut file = created?;
    #[cfg(test)]
    let change = tape::begin(|tape| tape.write_of(&file, 0, bytes));
    let written = file.write_all(bytes);
    #[cfg(test)]
    tape::end(change, written.is_ok());
    written?;
    #[cfg(test)]
    let change = tape::begin(|tape| tape.sync_of(&file));
    let synced = file.sync_all();
    #[cfg(test)]
    tape::end(change, synced.is_ok());
    synced
}

/// Makes a folder, unless it is there.
///
/// # Errors
/// When the disk refuses.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    #[cfg(test)]
    let change = tape::begin(|_| Change::create_folder(path));
    let created = std::fs::create_dir(path);
    #[cfg(test)]
    tape::end(change, created.is_ok());
    created
}

/// Gives a file or a folder another name, and takes that from the file that has it.
///
/// # Errors
/// When the disk refuses.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::rename(from, to));
    let renamed = std::fs::rename(from, to);
    #[cfg(test)]
    tape::end(change, renamed.is_ok());
    renamed
}

/// Deletes a file.
///
/// # Errors
/// When the disk refuses.
pub fn remove_file(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::remove(path));
    let removed = std::fs::remove_file(path);
    #[cfg(test)]
    tape::end(change, removed.is_ok());
    removed
}

/// Deletes an empty folder.
///
/// # Errors
/// When the disk refuses, or there is something in it.
pub fn remove_empty_folder(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::remove(path));
    let removed = std::fs::remove_dir(path);
    #[cfg(test)]
    tape::end(change, removed.is_ok());
    removed
}

/// Deletes a folder with the files in it, if it is there.
///
/// # Errors
/// When the disk refuses.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    // One after the other in a test, so that it has each of them.
    #[cfg(test)]
    for entry in path.read_dir().into_iter().flatten().flatten() {
        drop(remove_file(&entry.path()));
    }
    #[cfg(test)]
    let change = tape::begin(|_| Change::remove(path));
    let removed = std::fs::remove_dir_all(path);
    #[cfg(test)]
    tape::end(change, removed.is_ok());
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings a folder's list of files to the disk itself.
///
/// # Errors
/// When the disk refuses.
pub fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    let change = tape::begin(|_| Change::sync_folder(folder));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(test)]
    tape::end(change, synced.is_ok());
    synced
}

/// Brings the list of files of the folder that `path` is in to the disk itself.
///
/// # Errors
/// When the disk refuses.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

/// A file's length, and its first bytes: `bytes` of them, or fewer if it is shorter.
///
/// # Errors
/// When it cannot be opened; that it cannot be read is a part of the answer.
pub fn head_of(path: &Path, bytes: usize) -> io::Result<(u64, io::Result<Vec<u8>>)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::with_capacity(bytes);
    let read = Read::by_ref(&mut file).take(bytes as u64).read_to_end(&mut head);
    Ok((length, read.map(|_| head)))
}

/// Fills `buffer` from `offset` of a file on; how much of it, less only at the file's end.
///
/// # Errors
/// When the disk refuses.
pub fn read_up_to(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
