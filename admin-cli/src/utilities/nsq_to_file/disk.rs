//! The world of a running process: its disk and its log.
//!
//! Knows: how files are opened, and which folders are synced with them: one that a file was made in
//! must keep its name over a loss of power, or the file's own sync was for nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};

use startup::log::LogLevel;

use super::path;
use super::world::{Opened, Opening, World};

/// Who may use folders that are made, before the process's mask (NSQ behaviour).
const FOLDER_MODE: u32 = 0o770;

/// The disk.
#[derive(Debug)]
pub(super) struct Disk;

impl World for Disk {
    type File = File;

    fn make_folder(&mut self, path: &str) -> Result<(), (String, io::Error)> {
        let refused = |error| (path.to_owned(), error);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(refused(io::Error::from_raw_os_error(NOT_A_FOLDER))),
            Err(_) => {}
        }
        let (above, _) = path::split(path.trim_end_matches('/'));
        match above.trim_end_matches('/') {
            "" => {}
            parent => self.make_folder(parent)?,
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Ok(()) => sync_folder(above).map_err(refused),
            // Another topic may make it at the same moment.
            Err(_) if fs::metadata(path).is_ok_and(|found| found.is_dir()) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    fn exists(&mut self, path: &str) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a recorder has a thread that may wait")]
    fn open(&mut self, path: &str, opening: Opening) -> io::Result<Opened<File>> {
        let mut options = OpenOptions::new();
        match opening {
            Opening::New => options.write(true).create_new(true),
            Opening::Append => options.append(true).create(true),
        };
        let file = options.open(path)?;
        let bytes = file.metadata()?.len();
        if bytes == 0 {
            sync_folder(path::split(path).0)?;
        }
        // One that may not be read is taken for whole.
        let is_torn = 0 < bytes && ends_torn(path, bytes).unwrap_or(false);
        Ok(Opened { file, bytes, is_torn })
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(from, to)?;
        sync_folder(path::split(to).0)
    }

    #[expect(clippy::disallowed_methods, reason = "a recorder has a thread that may wait")]
    fn remove(&mut self, path: &str) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn say(&mut self, level: LogLevel, text: &str) {
        say(level, text);
    }
}

/// ENOTDIR.
const NOT_A_FOLDER: i32 = rustix::io::Errno::NOTDIR.raw_os_error();

/// A line of the log.
pub(super) fn say(level: LogLevel, text: &str) {
    match level {
        LogLevel::Debug => tracing::debug!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!("{text}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a recorder has a thread that may wait")]
fn ends_torn(path: &str, bytes: u64) -> io::Result<bool> {
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, bytes - 1)?;
    Ok(last != *b"\n")
}

/// Makes the names in a folder survive a loss of power, as far as the system lets us: a folder may be
/// written to and not read, and some file systems do not sync folders.
#[expect(clippy::disallowed_methods, reason = "a recorder has a thread that may wait")]
fn sync_folder(path: &str) -> io::Result<()> {
    let Ok(folder) = File::open(if path.is_empty() { "." } else { path }) else { return Ok(()) };
    match folder.sync_all() {
        Err(error)
            if [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported]
                .contains(&error.kind()) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, String) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn folders_are_made_as_deep_as_they_are_named() {
        let (_folder, path) = folder();
        let deep = format!("{path}/a/b/");
        Disk.make_folder(&deep).unwrap();
        Disk.make_folder(&deep).unwrap();
        let mode = fs::metadata(&deep).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !FOLDER_MODE, 0);
        assert_eq!(mode & 0o700, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let (_folder, path) = folder();
        Disk.open(&format!("{path}/file"), Opening::New).unwrap();
        let (named, error) = Disk.make_folder(&format!("{path}/file/a/b/")).unwrap_err();
        assert_eq!(named, format!("{path}/file"));
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_new_file_must_not_be_there_and_another_may() {
        let (_folder, path) = folder();
        let path = format!("{path}/file");
        let mut opened = Disk.open(&path, Opening::New).unwrap();
        assert_eq!((opened.bytes, opened.is_torn), (0, false));
        Disk.write(&mut opened.file, b"line\nto").unwrap();
        Disk.sync(&mut opened.file).unwrap();
        let kind = Disk.open(&path, Opening::New).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::AlreadyExists);
        let mut opened = Disk.open(&path, Opening::Append).unwrap();
        assert_eq!((opened.bytes, opened.is_torn), (7, true));
        Disk.write(&mut opened.file, b"\n").unwrap();
        let opened = Disk.open(&path, Opening::Append).unwrap();
        assert_eq!((opened.bytes, opened.is_torn), (8, false));
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nto\n");
    }

    #[test]
    fn a_file_gets_another_name_only_where_that_is_free() {
        let (_folder, path) = folder();
        let [from, to] = ["from", "to"].map(|name| format!("{path}/{name}"));
        Disk.open(&from, Opening::New).unwrap();
        assert!(!Disk.exists(&to).unwrap());
        Disk.link(&from, &to).unwrap();
        assert!(Disk.exists(&to).unwrap());
        assert_eq!(Disk.link(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        Disk.remove(&from).unwrap();
        assert!(!Disk.exists(&from).unwrap());
        Disk.exists(&format!("{to}/below")).unwrap_err();
    }
}
