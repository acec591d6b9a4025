//! A small disk of its own: a file system in memory that nobody else sees or fills.
//!
//! Knows how to make one without being root: a process in a namespace of its own holds it, and the
//! folder is reached through that process.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::patience::{SOON, eventually};
use crate::process::Process;
use crate::programs::skipped;

/// A disk that holds so many bytes. It is gone when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Keeps the namespace, and with it the file system.
    _holder: Process,
    /// Where it is mounted, for those in the namespace.
    _mount: TempDir,
    path: PathBuf,
}

impl SmallDisk {
    /// An empty disk; `None`, said aloud, where the kernel does not let users have one.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn of(bytes: u64) -> Option<Self> {
        let mount = TempDir::new().expect("the temporary folder can be written");
        let script = r#"mount -t tmpfs -o size="$0" tmpfs "$1" && echo ready && exec sleep 3600"#;
        let mut holder = Process::start(
            Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
                .arg(bytes.to_string())
                .arg(mount.path()),
        );
        let is_ready = eventually(SOON, "a small disk is there or refused", || {
            let is_ready = holder.output().iter().any(|line| line == "ready");
            (is_ready || !holder.is_running()).then_some(is_ready)
        });
        if !is_ready {
            skipped(&format!("no file system of its own for this test: {}", holder.log()));
            return None;
        }
        let inside = mount.path().strip_prefix("/").expect("temporary folders have whole paths");
        let path = PathBuf::from(format!("/proc/{}/root", holder.id())).join(inside);
        Some(Self { _holder: holder, _mount: mount, path })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills what is left of it with a file, and says which.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let path = self.path.join("filler");
        let mut file = fs::File::create(&path).expect("there is room for a name");
        let zeros = [0; 4096];
        while file.write_all(&zeros).is_ok() {}
        path
    }
}
