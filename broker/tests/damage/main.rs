//! What becomes of a topic's files when their bytes are not what was written.
//!
//! [`sweeps`] damages a small log in every way that can be counted and says exactly what must be
//! lost. It works on files in memory ([`disk`]).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod disk;
mod random;
mod sweeps;
