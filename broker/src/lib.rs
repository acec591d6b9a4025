//! The broker: nsqd's place, on a core per shard.
//!
//! From the top; a module names what stands below it or on its own line. The exceptions are few:
//!
//! - `http`, `lookup`, `command`, `stats` and `connection::reader` work on what a core owns, which
//!   is [`shard`]'s.
//! - `connection::reader` has commands executed, which are `command`'s.
//! - [`routing::request`] names what travels of a connection: the connection itself when it moves,
//!   and whose answer waits.
//!
//! ```text
//! main, flags, preflight    the command line, and what must be so before a core starts
//! check_data                what a data path holds, without touching it
//! shard                     one core: what it owns, starts and stops, in which order
//! http, lookup              what operators and nsqlookupd are told
//! command, stats            one verb a file; what a core has, in the words of /stats
//! connection                one client's socket
//! routing                   which core, and the way there
//! import                    what NSQ left in the data path
//! topic                     one topic; the list of all
//! channel                   who gets what next, and who still owes an answer
//! log                       messages on disk
//! message, message_id, keys, clock, rings, limits, config, descriptor, disk
//! ```
//!
//! A core shares nothing with another: they send each other [`routing::request::Request`]s.

pub mod channel;
pub mod check_data;
pub mod clock;
pub mod command;
pub mod config;
pub mod connection;
pub mod descriptor;
pub mod disk;
pub mod flags;
pub mod http;
pub mod import;
pub mod keys;
pub mod limits;
pub mod log;
pub mod lookup;
pub mod message;
pub mod message_id;
pub mod preflight;
pub mod pulse;
pub mod rings;
pub mod routing;
pub mod shard;
pub mod stats;
pub mod tls;
pub mod topic;
