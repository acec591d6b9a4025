//! One heavy test at a time, over all test programs that run at once. Knows one lock file.

use std::env;
use std::fs::{File, TryLockError};
use std::time::Duration;

use crate::patience::eventually;

/// A heavy test's turn on the machine; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for the turn.
    ///
    /// # Panics
    /// When others keep the machine busy for more than 20 minutes.
    #[must_use]
    pub fn take() -> Self {
        let path = env::temp_dir().join("ringnsq-heavy-test.lock");
        let lock = File::create(path).expect("the temporary folder can be written");
        eventually(Duration::from_secs(1200), "the other heavy tests end", || {
            match lock.try_lock() {
                Ok(()) => Some(()),
                Err(TryLockError::WouldBlock) => None,
                Err(TryLockError::Error(error)) => panic!("cannot lock: {error}"),
            }
        });
        Self { _lock: lock }
    }
}
