//! NSQ's protocols as values: what a client, a broker and a discovery daemon say to each other.
//!
//! Bytes become values here and values become bytes; nothing in this crate opens a socket, reads a
//! clock or knows a runtime. Incomplete input is `None`, never an error, so that every split of a
//! byte stream can be tested.
//!
//! | Where do I look for | |
//! |---|---|
//! | a legal topic or channel name | [`name`] |
//! | what a client may say, and when | [`command`], [`decoder`], [`conversation`] |
//! | what a client is refused with, and whether that closes the connection | [`refusal`] |
//! | what the broker sends | [`frame`] |
//! | what is agreed at IDENTIFY | [`identify`] |
//! | what an authorization server is asked, and grants | [`authorization`] |
//! | how a client writes its commands | [`request`] |
//! | what nsqd tells nsqlookupd | [`discovery`] |
//! | what compresses a connection | [`compression`] |
//! | HTTP heads, bodies and answers, as NSQ's server gives them; requests of ours | [`http`] |
//! | the bodies of `/stats` and of nsqlookupd's answers | [`stats`], [`lookup`] |
//! | the text that Prometheus reads | [`exposition`] |
//! | bytes as text | [`base64`] |
//! | JSON with Go's escapes, text in Go's quotes | [`json`], [`quoted`] |

pub mod authorization;
pub mod base64;
pub mod command;
pub mod compression;
pub mod conversation;
pub mod decoder;
pub mod discovery;
pub mod exposition;
pub mod frame;
pub mod http;
pub mod identify;
pub mod json;
pub mod limits;
pub mod lookup;
pub mod message_id;
pub mod name;
pub mod quoted;
pub mod refusal;
pub mod request;
pub mod stats;
