//! The differential suite: the same bytes go to the real nsqd and to ours, and the same bytes come
//! back.
//!
//! Knows how a case is written (`tests/conformance/README.md`), how it is run against one broker,
//! and what is masked because no two runs agree on it. What NSQ does stands in the cases alone.

mod bytes;
mod case;
mod dialogue;
mod mask;
mod wire;

pub use case::{Case, Expected, Step, parse, written};
pub use dialogue::{Transcript, run};
