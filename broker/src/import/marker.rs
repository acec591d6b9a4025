//! The file that says how far an import came: `<data path>/<topic>.import`.
//!
//! ```text
//! <CRC-32 of the rest, 8 hexadecimal digits>\n
//! {"version":1,"first_segment":7,"end":null,"files":[["t.diskqueue.000000.dat",99],...]}
//! ```
//!
//! It is written and synced before the first message is, and replaced when the log has all of them
//! and is synced:
//!
//! | marker | checkpoint | what a start does |
//! |---|---|---|
//! | `end` is null | | deletes the segments from `first_segment` on, and imports again |
//! | `end` is there | does not reach it, nor does the log go on behind it | the same |
//! | `end` is there | reaches it, or the log goes on | sets the files aside, deletes the marker |
//!
//! So the checkpoint, which says whose the messages are, decides; and no message is served before.

#![expect(clippy::disallowed_methods, reason = "runs where a thread may wait for the disk")]

use crate::disk::{
    first_free, names_in, remove_file, rename, sync, sync_parent, with_suffix, write_synced,
};
use crate::log::storage_ring::SET_ASIDE;
use crate::message::Sequence;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// How the file's name ends.
pub const MARKER_SUFFIX: &str = ".import";

/// How the names of files end that were taken in.
pub const IMPORTED: &str = "imported";

const VERSION: u32 = 1;

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Segments with this name, or a later one, were begun by the import.
    pub first_segment: Sequence,
    /// Where the log ends with all that was imported; `None` while it has not.
    pub end: Option<Sequence>,
    /// The files that are imported, and how long they were, in bytes. In the order in which they
    /// are set aside.
    pub files: Vec<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    first_segment: u64,
    end: Option<u64>,
    files: Vec<(String, u64)>,
}

impl Marker {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let content = Content {
            version: VERSION,
            first_segment: self.first_segment.0,
            end: self.end.map(|end| end.0),
            files: self.files.clone(),
        };
        let content = serde_json::to_vec(&content).expect("names and numbers are JSON");
        let mut bytes = format!("{:08x}\n", crc32fast::hash(&content)).into_bytes();
        bytes.extend_from_slice(&content);
        bytes
    }

    /// Reads the whole file; `None` when it is not what was written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (check, content) = bytes.split_at_checked(9)?;
        let expected = format!("{:08x}\n", crc32fast::hash(content));
        let content: Content = serde_json::from_slice(content).ok()?;
        let is_known = check == expected.as_bytes() && content.version == VERSION;
        is_known.then_some(Self {
            first_segment: Sequence(content.first_segment),
            end: content.end.map(Sequence),
            files: content.files,
        })
    }

    /// Reads the marker at `path`. One that is damaged is set aside and counts as none: that the
    /// messages come twice is better than that they do not come.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let marker = Self::decode(&bytes);
        if marker.is_none() {
            rename(path, &free_name(path, SET_ASIDE))?;
        }
        Ok(marker)
    }

    /// Puts the marker at `path`, in the place of an older one; it survives a power cut.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("import.new");
        write_synced(&new, &self.encode())?;
        rename(&new, path)?;
        sync_parent(path)
    }

    /// Sets the files aside that were imported. What is not there was set aside before. A file that
    /// grew since belongs to a broker that went on with it, and stays with the rest of its queue.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_files_aside(&self, data_path: &Path) -> io::Result<()> {
        let queue_of = |name: &str| name.rsplit_once(".diskqueue.").map(|(it, _)| it.to_string());
        let mut changed = None;
        for (name, bytes) in &self.files {
            let path = data_path.join(name);
            let length = match std::fs::metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?.len(),
            };
            if changed.is_some() && changed == queue_of(name) {
                continue;
            }
            if length == *bytes {
                set_aside(&path)?;
            } else {
                changed = queue_of(name);
            }
        }
        sync(data_path)
    }
}

/// Deletes the marker at `path`, if it is there.
///
/// # Errors
/// When the disk refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_parent(path),
    }
}

/// Deletes the files of a folder, if there is one, whose names are meant; also after a power cut.
///
/// # Errors
/// When the disk refuses.
pub fn remove_files(folder: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<()> {
    let names = match names_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names.iter().filter(|name| is_meant(name)) {
        remove_file(&folder.join(name))?;
    }
    sync(folder)
}

/// Gives a file that was imported another name.
fn set_aside(path: &Path) -> io::Result<()> {
    rename(path, &free_name(path, IMPORTED))
}

/// A name with this ending that nothing has.
fn free_name(path: &Path, ending: &str) -> PathBuf {
    let plain = std::iter::once(format!(".{ending}"));
    let numbered = (1..).map(|number| format!(".{number}.{ending}"));
    first_free(plain.chain(numbered).map(|suffix| with_suffix(path, &suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(end: Option<u64>, files: &[(&str, u64)]) -> Marker {
        let files = files.iter().map(|&(name, bytes)| (name.to_string(), bytes)).collect();
        Marker { first_segment: Sequence(7), end: end.map(Sequence), files }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names = names_in(folder).unwrap();
        names.sort();
        names
    }

    #[test]
    fn the_bytes_are_a_check_and_json() {
        let marker = marker(Some(20), &[("t.diskqueue.000000.dat", 99)]);
        let bytes = marker.encode();
        let content =
            br#"{"version":1,"first_segment":7,"end":20,"files":[["t.diskqueue.000000.dat",99]]}"#;
        assert_eq!(bytes[9..], content[..]);
        assert_eq!(Marker::decode(&bytes), Some(marker));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let bytes = marker(None, &[("t.diskqueue.meta.dat", 20)]).encode();
        for cut in 0..bytes.len() {
            assert_eq!(Marker::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Marker::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_marker_is_replaced_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b.import");
        assert_eq!(Marker::read(&path).unwrap(), None);
        for marker in [marker(None, &[]), marker(Some(9), &[("x", 1)])] {
            marker.write(&path).unwrap();
            assert_eq!(Marker::read(&path).unwrap(), Some(marker));
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_damaged_marker_is_none_and_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.import");
        std::fs::write(&path, "12345678\n{}").unwrap();
        assert_eq!(Marker::read(&path).unwrap(), None);
        assert_eq!(names(folder.path()), ["t.import.set-aside"]);
    }

    #[test]
    fn files_are_set_aside_once_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(folder.path().join(name), "four").unwrap();
        put("a.dat");
        put("b.dat");
        put("b.dat.imported");
        let marker = marker(Some(9), &[("a.dat", 4), ("gone.dat", 4), ("b.dat", 4)]);
        marker.set_files_aside(folder.path()).unwrap();
        let expected = ["a.dat.imported", "b.dat.1.imported", "b.dat.imported"];
        assert_eq!(names(folder.path()), expected);
        marker.set_files_aside(folder.path()).unwrap();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_file_that_grew_stays_with_the_rest_of_its_queue() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a.diskqueue.0", "a.diskqueue.1", "a.diskqueue.meta", "b.diskqueue.0"];
        for (name, text) in files.into_iter().zip(["four", "longer", "four", "four"]) {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let marker = marker(Some(9), &files.map(|name| (name, 4)));
        marker.set_files_aside(folder.path()).unwrap();
        let expected = [
            "a.diskqueue.0.imported",
            "a.diskqueue.1",
            "a.diskqueue.meta",
            "b.diskqueue.0.imported",
        ];
        assert_eq!(names(folder.path()), expected);
    }
}
