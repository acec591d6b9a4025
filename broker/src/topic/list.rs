//! The list of all topics as the first core keeps it, and who waits for it to be on disk.
//!
//! Changes that come while the file is being written share the next writing, so that thousands of
//! topics created at once cost a few writes.

use super::catalogue::{Catalogue, Change};
use std::task::Waker;

/// See the head of this file. Pure: the writing is done by a task of the core.
#[derive(Debug, Default)]
pub struct List {
    /// The list as it is now.
    pub catalogue: Catalogue,
    /// Counts changes.
    version: u64,
    /// The version that is on disk, or could not be put there.
    written: u64,
    /// Why the last writing failed, if it did.
    failure: Option<String>,
    writing: bool,
    waiting: Vec<Waker>,
}

/// A version of the list that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

impl List {
    /// A list that is on disk as it is.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, ..Self::default() }
    }

    /// Takes note of a change, and says which version has it; true when it was none.
    pub fn apply(&mut self, change: Change) -> (Version, bool) {
        let changed = self.catalogue.apply(change);
        self.version += u64::from(changed);
        (Version(self.version), changed)
    }

    /// Has the next writing happen even if nothing changed.
    pub fn touch(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    /// Whether a writing should start now; it must end with [`Self::written`]. One that failed is to
    /// be done again.
    pub fn start_writing(&mut self) -> Option<Version> {
        if self.writing || (self.written == self.version && self.failure.is_none()) {
            return None;
        }
        self.writing = true;
        Some(Version(self.version))
    }

    /// A writing ended.
    pub fn written(&mut self, version: Version, result: Result<(), String>) {
        self.writing = false;
        self.written = version.0;
        self.failure = result.err();
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// Why the last writing failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether there are changes that no writing has tried to put on disk.
    pub fn is_behind(&self) -> bool {
        self.written < self.version
    }

    /// Whether `version` is on disk; `None` while it is not known, and then `waker` is kept.
    pub fn outcome(&mut self, version: Version, waker: &Waker) -> Option<Result<(), String>> {
        if version.0 <= self.written {
            return Some(self.failure.clone().map_or(Ok(()), Err));
        }
        self.waiting.push(waker.clone());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::name::TopicName;

    #[test]
    fn changes_that_come_while_it_is_written_share_the_next_writing() {
        let topic = |name: &str| Change::Topic {
            topic: TopicName::parse(name.as_bytes()).unwrap(),
            paused: false,
        };
        let mut list = List::default();
        assert_eq!(list.start_writing(), None);
        let (a, _) = list.apply(topic("a"));
        assert_eq!(list.start_writing(), Some(a));
        let (b, _) = list.apply(topic("b"));
        let (c, changed) = list.apply(topic("c"));
        assert!(changed && a < b && b < c);
        assert_eq!(list.start_writing(), None);
        list.written(a, Ok(()));
        assert_eq!(list.outcome(a, Waker::noop()), Some(Ok(())));
        assert_eq!(list.outcome(b, Waker::noop()), None);
        assert_eq!(list.start_writing(), Some(c));
        list.written(c, Err("disk full".into()));
        assert_eq!(list.outcome(b, Waker::noop()), Some(Err("disk full".into())));
        assert_eq!((list.failure(), list.is_behind()), (Some("disk full"), false));
        assert_eq!(list.start_writing(), Some(c), "what failed is to be done again");
        list.written(c, Ok(()));
        assert_eq!(list.start_writing(), None);
        assert_eq!(list.failure(), None);
    }
}
