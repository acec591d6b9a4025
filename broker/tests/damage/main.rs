//! What becomes of a topic's files when their bytes are not what was written.
//!
//! [`sweeps`] damages a small log in every way that can be counted and says exactly what must be
//! lost; [`fuzzing`] gives everything that reads bytes what nobody thought of. Both work on files
//! in memory ([`disk`]).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod disk;
mod fuzzing;
mod mutation;
mod random;
mod seeds;
mod sweeps;
mod targets;
