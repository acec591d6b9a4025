//! What a recorder asks of the world: files, and lines of the log.
//!
//! There are two worlds: the disk, and one in the memory of tests that writes down what it is asked.

use std::io;

use startup::log::LogLevel;

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It must not be there, and is made.
    New,
    /// It may be there; what is written stands behind what it holds.
    Append,
}

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Opened<File> {
    pub(super) file: File,
    /// How many bytes it holds.
    pub(super) bytes: u64,
    /// Whether it ends in the middle of a line, as when a process was killed or a disk full.
    pub(super) is_torn: bool,
}

/// See the head of this file. All of it waits until it is done.
pub(super) trait World {
    type File;

    /// Makes a folder and those above it, where they are missing.
    ///
    /// # Errors
    /// The folder that cannot be made, and why.
    fn make_folder(&mut self, path: &str) -> Result<(), (String, io::Error)>;

    /// Whether there is anything at a path.
    fn exists(&mut self, path: &str) -> io::Result<bool>;

    fn open(&mut self, path: &str, opening: Opening) -> io::Result<Opened<Self::File>>;

    /// Writes all of it at the end of a file.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;

    /// When this returns, what was written survives a loss of power.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    fn link(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a name away from a file.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    fn say(&mut self, level: LogLevel, text: &str);
}
