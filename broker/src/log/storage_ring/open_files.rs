//! Which files of a topic's folder are open, and which are not known to be on the disk itself.
//!
//! A folder holds no file open that was not used lately; what needs one opens it again.
//!
//! Knows: descriptors, and under which name a segment's file is. Does not know: what is read and
//! written through them.

use super::TopicFolder;
use crate::descriptor;
use crate::log::segment::SegmentName;
use glommio::io::BufferedFile;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Files {
    /// The segment that is written to, and its file while that is open.
    pub(super) active: Option<(SegmentName, Option<Rc<BufferedFile>>)>,
    /// The name that the next one's file has until it is one, and the file while that is open.
    pub(super) prepared: Option<(String, Option<Rc<BufferedFile>>)>,
    pub(super) prepared_count: u64,
    /// A segment that still has the name it was prepared under.
    pub(super) misnamed: Option<(SegmentName, String)>,
    /// The segment that was read last.
    pub(super) recent: Option<(SegmentName, Rc<BufferedFile>)>,
    /// Segments with blocks that were not synced, and their files while those are open: only the
    /// descriptor that wrote is sure to be told of a write-back that failed.
    pub(super) unsynced: BTreeMap<SegmentName, Option<Rc<BufferedFile>>>,
    /// Those of them that the sync that runs has yet to come to.
    pub(super) to_sync: BTreeMap<SegmentName, Option<Rc<BufferedFile>>>,
    /// Segments that another process wrote, which may have been killed before it synced them.
    pub(super) found: Vec<SegmentName>,
    /// Whether files were made since the folder was synced.
    pub(super) is_folder_unsynced: bool,
    /// Whether the folder was made since the one it is in was synced.
    pub(super) is_parent_unsynced: bool,
}

impl Files {
    /// The file of a segment that is not written to any more is not what its name stands for. It may
    /// still count as the one that is written to, while the next one's cannot be opened.
    pub(super) fn forget(&mut self, segment: SegmentName) {
        self.active.take_if(|(name, _)| *name == segment);
        self.recent.take_if(|(name, _)| *name == segment);
    }
}

impl TopicFolder {
    /// Opens the segment that is written to once more. The kernel still knows a file that was in use
    /// a while ago, so this seldom waits for the disk.
    pub(super) fn open_again(
        &self,
        files: &Files,
        name: SegmentName,
    ) -> io::Result<Rc<BufferedFile>> {
        let open = |path| rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let file = match open(self.current_path_of(files, name)) {
            // It got its proper name meanwhile.
            Err(rustix::io::Errno::NOENT) => open(self.path_of(name)),
            opened => opened,
        };
        Ok(Rc::new(descriptor::adopt_file(file?)))
    }

    /// Closes its files, unless one was used since this was called last; whether none is open now.
    pub fn rest_if_idle(&self) -> bool {
        let is_idle = !self.is_used.replace(false);
        if is_idle {
            self.rest();
        }
        is_idle
    }

    /// Closes its files; the next write, read or sync opens again what it needs. The kernel keeps an
    /// error of a write-back that nobody was told of with the file, as long as it keeps the file in
    /// memory; so this is for topics that were synced meanwhile, or where files run out.
    pub fn rest(&self) {
        let mut files = self.files.borrow_mut();
        files.unsynced.values_mut().for_each(|file| *file = None);
        if let Some((_, file)) = &mut files.active {
            *file = None;
        }
        if let Some((_, file)) = &mut files.prepared {
            *file = None;
        }
        files.recent = None;
    }

    pub(super) fn path_of(&self, segment: SegmentName) -> PathBuf {
        self.path.join(segment.to_string())
    }

    pub(super) fn current_path_of(&self, files: &Files, segment: SegmentName) -> PathBuf {
        match &files.misnamed {
            Some((name, prepared_name)) if *name == segment => self.path.join(prepared_name),
            _ => self.path_of(segment),
        }
    }
}
