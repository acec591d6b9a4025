//! What the files and folders of topics are called.
//!
//! Knows: names. Does not know: what is in what has them.

use crate::disk::{first_free, with_suffix};
use protocol::name::TopicName;
use std::path::{Path, PathBuf};

/// A topic's checkpoint, in its folder.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// How the names of files and folders end that are not used.
pub(crate) const SET_ASIDE: &str = "set-aside";
/// How the name of a topic's folder ends.
pub(crate) const FOLDER_SUFFIX: &str = ".topic";
/// What comes behind it while the folder is being deleted.
pub(crate) const REMOVED_SUFFIX: &str = ".removed";
/// How the name of a file ends that will replace another.
pub(crate) const NEW_SUFFIX: &str = ".new";
/// How the name of a segment ends while it is written anew.
pub(crate) const COMPACTED_SUFFIX: &str = ".compact";
/// How the names of segments start that have not got their own yet.
pub(crate) const PREPARED_PREFIX: &str = "next-";

/// The topics that have a folder in a data path, in no order.
#[derive(Debug, Default)]
pub struct Folders {
    /// Those that are there.
    pub topics: Vec<TopicName>,
    /// Those whose deletion was cut short by a crash.
    pub removed: Vec<TopicName>,
}

impl Folders {
    /// Those among the names in a data path.
    pub fn among<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut folders = Self::default();
        for name in names {
            let there = name.strip_suffix(FOLDER_SUFFIX);
            let removed = name.strip_suffix(REMOVED_SUFFIX);
            let removed = removed.and_then(|name| name.strip_suffix(FOLDER_SUFFIX));
            let topic = |name: &str| TopicName::parse(name.as_bytes()).ok();
            folders.topics.extend(there.and_then(topic));
            folders.removed.extend(removed.and_then(topic));
        }
        folders
    }
}

pub(super) fn folder_of(data_path: &Path, topic: TopicName) -> PathBuf {
    data_path.join(format!("{}{FOLDER_SUFFIX}", topic.as_str()))
}

/// A name that nothing has, for what is set aside.
pub(super) fn free_name(path: &Path) -> PathBuf {
    first_free((0..).map(|number| with_suffix(path, &format!(".{number}.{SET_ASIDE}"))))
}
