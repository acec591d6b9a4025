//! What the command line says, and what follows from it.
//!
//! Knows: the flags, their defaults and their help. Does not know: what is done with them.

#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "a flag's documentation is its usage text, in NSQ's words"
)]

use std::time::Duration;

use clap::{ArgAction, Parser};
use startup::log::LogLevel;
use startup::{duration, flags, hostname};

/// The flags of nsqlookupd.
#[derive(Debug, Parser)]
#[command(name = "nsqlookupd")]
pub(crate) struct Flags {
    /// path to config file
    #[arg(long, default_value = "")]
    pub(crate) config: String,

    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) version: bool,

    /// set log verbosity: debug, info, warn, error, or fatal
    #[arg(long, default_value = "INFO")]
    pub(crate) log_level: LogLevel,

    /// log message prefix
    #[arg(long, default_value = "[nsqlookupd] ")]
    pub(crate) log_prefix: String,

    /// [deprecated] has no effect, use --log-level
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) verbose: bool,

    /// <addr>:<port> to listen on for TCP clients
    #[arg(long, default_value = "0.0.0.0:4160")]
    pub(crate) tcp_address: String,

    /// <addr>:<port> to listen on for HTTP clients
    #[arg(long, default_value = "0.0.0.0:4161")]
    pub(crate) http_address: String,

    /// address of this lookupd node, (default to the OS hostname)
    #[arg(long, default_value_t = hostname::hostname())]
    pub(crate) broadcast_address: String,

    /// duration of time a producer will remain in the active list since its last ping
    #[arg(long, value_parser = duration::parse, default_value = "5m0s")]
    pub(crate) inactive_producer_timeout: Duration,

    /// duration of time a producer will remain tombstoned if registration remains
    #[arg(long, value_parser = duration::parse, default_value = "45s")]
    pub(crate) tombstone_lifetime: Duration,
}
