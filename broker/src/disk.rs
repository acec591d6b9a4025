//! What the log, the import and the check of a data path have to do with files where a thread may
//! wait: on an executor's blocking thread, or before any core serves.
//!
//! Knows: names, and bytes as they come. Does not know: what they mean.

#![expect(clippy::disallowed_methods, reason = "runs where a thread may wait for the disk")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Has something done on the executor's blocking thread.
///
/// # Errors
/// Those of `work`.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
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

/// Brings a file's content, or a folder's list of files, to the disk itself.
///
/// # Errors
/// When the disk refuses.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
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
    let read = file.by_ref().take(bytes as u64).read_to_end(&mut head);
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
