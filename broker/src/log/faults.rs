//! What the disk refuses in a test: which operation, with which error, how often.
//!
//! Knows nothing of files; [`super::storage_ring`] asks it before it does something.

use rustix::io::Errno;
use std::cell::RefCell;
use std::io;

/// What can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Appending a block; half of it is written all the same.
    Write,
    /// Bringing a segment to the disk itself.
    Sync,
    /// Reading from a segment.
    Read,
    /// Reading a small piece of a segment.
    Salvage,
    /// Replacing the checkpoint.
    Checkpoint,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Faults {
    planned: RefCell<Vec<(Operation, Errno, usize)>>,
}

impl Faults {
    /// Refuses the next `times` of `operation`.
    pub fn refuse(&self, operation: Operation, error: Errno, times: usize) {
        self.planned.borrow_mut().push((operation, error, times));
    }

    /// Refuses nothing any more.
    pub fn clear(&self) {
        self.planned.borrow_mut().clear();
    }

    /// The error of the operation that is about to happen, if it is refused.
    pub fn next(&self, operation: Operation) -> Option<io::Error> {
        let mut planned = self.planned.borrow_mut();
        let (_, error, times) =
            planned.iter_mut().find(|(planned, _, times)| *planned == operation && 0 < *times)?;
        *times -= 1;
        Some((*error).into())
    }
}
