//! An NSQ client: one connection, and what a consumer and a producer do with it.
//!
//! Does not know: where brokers are, and what becomes of messages.

pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod producer;
