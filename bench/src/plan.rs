//! What to measure, and with what.

use std::path::PathBuf;
use std::time::Duration;

use crate::contender::Programs;
use crate::layers::Secrets;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rounds of each contender.
    pub(crate) rounds: usize,
    /// Of each measurement that has no end of its own.
    pub(crate) time: Duration,
    /// Messages of a large backlog.
    pub(crate) backlog: u64,
    /// Of the machine.
    pub(crate) cores: usize,
    /// For brokers and clients that speak through TLS.
    pub(crate) secrets: Secrets,
    pub(crate) programs: Programs,
    /// Folder for the brokers' data.
    pub(crate) data: PathBuf,
}
