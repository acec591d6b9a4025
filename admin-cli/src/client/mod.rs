//! An NSQ client as go-nsq is one: what a consumer and a producer do, and what users see of it.
//!
//! Does not know: which utility uses it, and what becomes of messages.
//!
//! Everything here runs on one thread, inside a `tokio::task::LocalSet`, so values are shared by
//! `Rc` and nothing is locked. It is made to cost little: what one read brings is handed over as one
//! batch, bodies are slices of what was read, and answers are gathered into one write.
//!
//! | Where do I look for | |
//! |---|---|
//! | `--consumer-opt`, `--producer-opt` | [`options`] |
//! | consuming a topic and channel at many brokers | [`consumer`] |
//! | a message and its answers | [`message`] |
//! | how many messages each connection may have in flight, backing off | [`ready`] |
//! | whom nsqlookupds name | [`discovery`] |
//! | publishing | [`producer`] |
//! | the first words of a connection, and its frames | [`connection`] |
//! | TLS and compression | [`layers`], [`tls`] |
//! | lines on standard error | [`log`] |

pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod dial;
mod discovery;
mod layers;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod producer;
pub(crate) mod random;
mod ready;
pub(crate) mod tls;
