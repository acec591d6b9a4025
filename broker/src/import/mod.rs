//! Takes in what NSQ left in the data path: its disk queues.
//!
//! ```text
//! files ──► queues ──► metadata ──► plan ──► records ──► batches of messages
//!                                                          │ shard/import
//!                            marker ◄──────────────────────┴──► log, checkpoint
//! ```
//!
//! A topic's queues are taken in before anybody is served, each message with the id, the time and
//! the attempts it had, and the files are set aside under another name. What cannot be understood is
//! skipped, counted and said.
//!
//! Knows: the files of a disk queue (NSQ behaviour), and how an import survives a crash. Does not
//! know: topics, logs, cores. What touches files here blocks: it is for a thread that may wait.

pub mod marker;
pub mod metadata;
pub mod plan;
pub mod queues;
pub mod reader;
pub mod records;
