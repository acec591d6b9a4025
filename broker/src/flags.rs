//! The broker's flags, with nsqd's names and defaults, and what they mean.
//!
//! Knows: the command line. [`crate::config`] is what comes out.

#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "a flag's documentation is its usage text, in NSQ's words"
)]

use crate::config::{Acknowledge, Config, OnFull, Quota, SyncPace};
use clap::{ArgAction, Parser};
use protocol::identify::Offer;
use protocol::limits::Limits;
use startup::log::LogLevel;
use startup::{duration, flags, hostname, node_id};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "nsqd")]
pub struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub version: bool,
    /// path to config file
    #[arg(long, default_value = "")]
    pub config: String,
    /// set log verbosity: debug, info, warn, error, or fatal
    #[arg(long, default_value = "info")]
    pub log_level: LogLevel,
    /// log message prefix
    #[arg(long, default_value = "[nsqd] ")]
    pub log_prefix: String,
    /// [deprecated] has no effect, use --log-level
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub verbose: bool,
    /// [deprecated] has no effect, use --node-id
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub worker_id: bool,

    /// cores that serve, each with its own topics (default: one per core it may run on)
    #[arg(long, value_parser = flags::integer::<u16>, default_value = "0")]
    pub shards: u16,
    /// bytes of messages held in memory, over all shards
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "134217728")]
    pub memory_bytes: i64,
    /// how long an idle shard looks for new work before it sleeps
    #[arg(long, value_parser = duration::parse, default_value = "0s")]
    pub spin: Duration,
    /// say what the data path holds and what of it is damaged, change nothing, and exit with 0 (nothing), 1 (something) or 2 (it cannot be read)
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub check_data: bool,

    /// unique part for message IDs, (int) in range [0,1024) (default is hash of hostname)
    #[arg(long = "node-id", value_parser = flags::integer::<i64>)]
    pub id: Option<i64>,
    /// <addr>:<port> to listen on for TCP clients
    #[arg(long, default_value = "0.0.0.0:4150")]
    pub tcp_address: String,
    /// <addr>:<port> to listen on for HTTP clients
    #[arg(long, default_value = "0.0.0.0:4151")]
    pub http_address: String,
    /// address that will be registered with lookupd (default to the OS hostname)
    #[arg(long, default_value = "")]
    pub broadcast_address: String,
    /// TCP port that will be registered with lookupd (defaults to the TCP port that this nsqd is listening on)
    #[arg(long, value_parser = flags::integer::<u16>, default_value = "0")]
    pub broadcast_tcp_port: u16,
    /// HTTP port that will be registered with lookupd (defaults to the HTTP port that this nsqd is listening on)
    #[arg(long, value_parser = flags::integer::<u16>, default_value = "0")]
    pub broadcast_http_port: u16,
    /// lookupd TCP address (may be given multiple times)
    #[arg(long = "lookupd-tcp-address")]
    pub nsqlookupd_tcp_addresses: Vec<String>,

    /// path to store disk-backed messages
    #[arg(long, default_value = "")]
    pub data_path: String,
    /// messages that may wait in an ephemeral topic or channel
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "10000")]
    pub mem_queue_size: i64,
    /// number of bytes per log file before rolling
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "67108864")]
    pub max_bytes_per_file: i64,

    /// bytes that the log of one topic may take (default: no bound)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "0")]
    pub max_topic_bytes: i64,
    /// bytes that the logs of all topics together may take (default: no bound)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "0")]
    pub max_data_bytes: i64,
    /// what gives way when such a bound is reached: reject (publishers) or drop-oldest (messages)
    #[arg(long, value_parser = on_full, default_value = "reject")]
    pub on_full: OnFull,

    /// when a publish is answered: buffered (taken in), written (handed to the system) or synced (on the disk) (default written)
    #[arg(long, value_parser = acknowledge)]
    pub acknowledge: Option<Acknowledge>,
    /// messages of a topic after which its log is synced; 1 means --acknowledge=synced (default 2500)
    #[arg(long, value_parser = flags::integer::<i64>)]
    pub sync_every: Option<i64>,
    /// time after which written messages are synced
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    pub sync_timeout: Duration,

    /// default duration to wait before auto-requeing a message
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    pub msg_timeout: Duration,
    /// maximum duration before a message will timeout
    #[arg(long, value_parser = duration::parse, default_value = "15m0s")]
    pub max_msg_timeout: Duration,
    /// maximum size of a single message in bytes
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "1048576")]
    pub max_msg_size: i64,
    /// maximum requeuing timeout for a message
    #[arg(long, value_parser = duration::parse, default_value = "1h0m0s")]
    pub max_req_timeout: Duration,
    /// maximum size of a single command body
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "5242880")]
    pub max_body_size: i64,

    /// maximum client configurable duration of time between client heartbeats
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    pub max_heartbeat_interval: Duration,
    /// maximum RDY count for a client
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "2500")]
    pub max_rdy_count: i64,
    /// maximum client configurable size (in bytes) for a client output buffer
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "65536")]
    pub max_output_buffer_size: i64,
    /// maximum client configurable duration of time between flushing to a client
    #[arg(long, value_parser = duration::parse, default_value = "30s")]
    pub max_output_buffer_timeout: Duration,
    /// minimum client configurable duration of time between flushing to a client
    #[arg(long, value_parser = duration::parse, default_value = "25ms")]
    pub min_output_buffer_timeout: Duration,
    /// default duration of time between flushing data to clients
    #[arg(long, value_parser = duration::parse, default_value = "250ms")]
    pub output_buffer_timeout: Duration,
    /// enable deflate feature negotiation (client compression); not offered yet
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    pub deflate: bool,
    /// max deflate compression level a client can negotiate (> values == > nsqd CPU usage)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "6")]
    pub max_deflate_level: i64,
    /// enable snappy feature negotiation (client compression); not offered yet
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    pub snappy: bool,
    /// maximum channel consumer connection count per nsqd instance (default 0, i.e., unlimited)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "0")]
    pub max_channel_consumers: i64,
}

impl Flags {
    /// The folder of all data.
    pub fn data_path(&self) -> PathBuf {
        PathBuf::from(if self.data_path.is_empty() { "." } else { &self.data_path })
    }

    /// What the flags mean on a machine with `processors` cores to run on.
    ///
    /// # Errors
    /// A sentence that names the flag and what it allows.
    pub fn into_config(self, processors: usize, started_at: i64) -> Result<Config, String> {
        let hostname = hostname::hostname();
        let shards = match self.shards {
            0 => u16::try_from(processors.max(1)).unwrap_or(u16::MAX),
            shards => shards,
        };
        let node_id = match self.id {
            None => node_id::default_node_id(&hostname),
            Some(id) => u16::try_from(id)
                .ok()
                .filter(|&id| id < node_id::NODE_ID_LIMIT)
                .ok_or("--node-id must be [0,1024)")?,
        };
        let max_deflate_level = u32::try_from(self.max_deflate_level)
            .ok()
            .filter(|level| (1..=9).contains(level))
            .ok_or("--max-deflate-level must be [1,9]")?;
        let (acknowledge, sync_pace) =
            promise(self.acknowledge, self.sync_every, self.sync_timeout)?;
        let quota = Quota {
            topic_bytes: bound(self.max_topic_bytes, "--max-topic-bytes")?,
            data_bytes: bound(self.max_data_bytes, "--max-data-bytes")?,
            on_full: self.on_full,
        };
        let memory_bytes = positive(self.memory_bytes, "--memory-bytes")?;
        let limits = Limits {
            max_message_bytes: positive(self.max_msg_size, "--max-msg-size")?,
            max_body_bytes: positive(self.max_body_size, "--max-body-size")?,
            max_ready_count: u64::try_from(self.max_rdy_count)
                .map_err(|_| "--max-rdy-count must be 0 or more")?,
            max_requeue_delay: self.max_req_timeout,
            message_timeout: self.msg_timeout,
            max_message_timeout: self.max_msg_timeout,
            max_heartbeat_interval: self.max_heartbeat_interval,
            max_output_buffer_bytes: positive(
                self.max_output_buffer_size,
                "--max-output-buffer-size",
            )?,
            default_output_buffer_timeout: self.output_buffer_timeout,
            min_output_buffer_timeout: self.min_output_buffer_timeout,
            max_output_buffer_timeout: self.max_output_buffer_timeout,
            ..Limits::default()
        };
        Ok(Config {
            data_path: self.data_path(),
            shards,
            node_id,
            limits,
            offer: Offer {
                version: crate::config::NSQ_VERSION.to_string(),
                tls: false,
                snappy: false,
                deflate: false,
                max_deflate_level,
                auth_required: false,
                topology_region: String::new(),
                topology_zone: String::new(),
            },
            mem_queue_size: u64::try_from(self.mem_queue_size)
                .map_err(|_| "--mem-queue-size must be 0 or more")?,
            max_channel_consumers: u64::try_from(self.max_channel_consumers)
                .map_err(|_| "--max-channel-consumers must be 0 or more")?,
            memory_bytes_per_shard: memory_bytes / usize::from(shards),
            acknowledge,
            sync_pace,
            segment_bytes_max: quota.segment_bytes_max(u64::from(shards)).min(positive(
                self.max_bytes_per_file,
                "--max-bytes-per-file",
            )?
                as u64),
            quota,
            open_topics_per_shard: crate::limits::OPEN_TOPICS_MAX,
            broadcast_address: if self.broadcast_address.is_empty() {
                hostname.clone()
            } else {
                self.broadcast_address
            },
            hostname,
            broadcast_tcp_port: Some(self.broadcast_tcp_port).filter(|&port| port != 0),
            broadcast_http_port: Some(self.broadcast_http_port).filter(|&port| port != 0),
            tcp_address: address(&self.tcp_address, "--tcp-address")?,
            http_address: match self.http_address.as_str() {
                "" => None,
                text => Some(address(text, "--http-address")?),
            },
            lookupd_addresses: self.nsqlookupd_tcp_addresses,
            started_at,
            spin: self.spin,
        })
    }
}

/// Messages after which nsqd syncs, unless it is told otherwise (NSQ behaviour).
const SYNC_EVERY: i64 = 2_500;

fn acknowledge(text: &str) -> Result<Acknowledge, flags::InvalidValue> {
    match text {
        "buffered" => Ok(Acknowledge::Buffered),
        "written" => Ok(Acknowledge::Written),
        "synced" => Ok(Acknowledge::Synced),
        _ => Err(flags::InvalidValue("not one of buffered, written, synced")),
    }
}

fn on_full(text: &str) -> Result<OnFull, flags::InvalidValue> {
    match text {
        "reject" => Ok(OnFull::Reject),
        "drop-oldest" => Ok(OnFull::DropOldest),
        _ => Err(flags::InvalidValue("not one of reject, drop-oldest")),
    }
}

/// A bound on bytes of disk; 0 means none.
fn bound(bytes: i64, flag: &str) -> Result<Option<u64>, String> {
    match u64::try_from(bytes) {
        Ok(0) => Ok(None),
        Ok(bytes) if QUOTA_BYTES_MIN <= bytes => Ok(Some(bytes)),
        _ => Err(format!("{flag} must be 0 (no bound) or {QUOTA_BYTES_MIN} or more")),
    }
}

/// Less than this holds not even a few of the largest messages.
const QUOTA_BYTES_MIN: u64 = 16 << 20;

/// What the three flags mean together. nsqd's `--sync-every=1` is the wish to have every message on
/// the disk, so it asks for that here too.
fn promise(
    acknowledge: Option<Acknowledge>,
    sync_every: Option<i64>,
    sync_timeout: Duration,
) -> Result<(Acknowledge, SyncPace), String> {
    let messages = positive(sync_every.unwrap_or(SYNC_EVERY), "--sync-every")? as u64;
    if sync_timeout.is_zero() {
        return Err("--sync-timeout must be more than 0".to_string());
    }
    let acknowledge = match (acknowledge, sync_every) {
        (None, Some(1)) => Acknowledge::Synced,
        (None, _) => Acknowledge::Written,
        (Some(Acknowledge::Synced), Some(every)) if every != 1 => {
            return Err(format!(
                "--acknowledge=synced and --sync-every={every} contradict each other: the one \
                 syncs before every answer; leave one of them out"
            ));
        }
        (Some(Acknowledge::Written | Acknowledge::Buffered), Some(1)) => {
            return Err("--sync-every=1 means --acknowledge=synced, and another was given; leave \
                        one of them out"
                .to_string());
        }
        (Some(given), _) => given,
    };
    Ok((acknowledge, SyncPace { messages, after: sync_timeout }))
}

fn positive(value: i64, flag: &str) -> Result<usize, String> {
    usize::try_from(value)
        .ok()
        .filter(|&value| 0 < value)
        .ok_or_else(|| format!("{flag} must be 1 or more, not {value}"))
}

/// `host:port`, or `:port` for every address of the machine.
fn address(text: &str, flag: &str) -> Result<SocketAddr, String> {
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_string() };
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("{flag} ({text}) is not an address and port - {error}"))?;
    addresses.next().ok_or_else(|| format!("{flag} ({text}) names no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(arguments: &[&str]) -> Result<(Acknowledge, u64, u128), String> {
        let all = std::iter::once("nsqd").chain(arguments.iter().copied());
        let flags = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
        let config = flags.into_config(1, 0)?;
        Ok((config.acknowledge, config.sync_pace.messages, config.sync_pace.after.as_millis()))
    }

    #[test]
    fn what_ok_means_is_one_setting_and_nsqs_flags_are_mapped_on_it() {
        use Acknowledge::{Buffered, Synced, Written};
        let cases: [(&[&str], _); 8] = [
            (&[], (Written, 2_500, 2_000)),
            (&["--acknowledge=written"], (Written, 2_500, 2_000)),
            (&["--acknowledge=synced"], (Synced, 2_500, 2_000)),
            (&["--acknowledge=buffered"], (Buffered, 2_500, 2_000)),
            (&["--sync-every=1"], (Synced, 1, 2_000)),
            (&["--sync-every=1", "--acknowledge=synced"], (Synced, 1, 2_000)),
            (&["--sync-every=2", "--sync-timeout=50ms"], (Written, 2, 50)),
            (&["--sync-every=9", "--acknowledge=buffered"], (Buffered, 9, 2_000)),
        ];
        for (arguments, expected) in cases {
            assert_eq!(promised(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused_with_both_names() {
        for arguments in [
            &["--acknowledge=written", "--sync-every=1"],
            &["--acknowledge=buffered", "--sync-every=1"],
            &["--acknowledge=synced", "--sync-every=2"],
        ] {
            let refused = promised(arguments).unwrap_err();
            assert!(refused.contains("--sync-every"), "{refused}");
            assert!(refused.contains("--acknowledge=synced"), "{refused}");
        }
        for arguments in [
            &["--acknowledge=always"][..],
            &["--sync-every=0"],
            &["--sync-every=-1"],
            &["--sync-timeout=0s"],
        ] {
            assert!(promised(arguments).is_err(), "{arguments:?}");
        }
    }
}
