//! What NSQ's connections are compressed with, on both sides: snappy's frames and raw deflate.
//!
//! Knows bytes: what came is opened, what is to be sent is sealed. Does not know: the socket, TLS,
//! what was agreed, what plain bytes mean.

pub mod deflate;
pub mod snappy;

/// What came cannot be opened, and nothing behind it either: the connection is to be closed. It
/// holds the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);
