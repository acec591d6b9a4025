//! The broker's flags, with nsqd's names and defaults, and what they mean.
//!
//! Knows: the command line. [`crate::config`] is what comes out.

#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "a flag's documentation is its usage text, in NSQ's words"
)]

use crate::config::{
    Acknowledge, AuthMethod, AuthServers, Config, Latencies, OnFull, Quota, Statsd, SyncPace,
    TlsMinVersion, TlsRequired,
};
use crate::tls::TlsSettings;
use clap::{ArgAction, Parser};
use protocol::identify::Offer;
use protocol::limits::Limits;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use startup::listen::{self, Address};
use startup::log::LogLevel;
use startup::{duration, flags, hostname, node_id};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

/// The command line. A field's name is its flag's key, in a file and in `/config`, where it is shown
/// as it is serialized here.
#[derive(Debug, Parser, Serialize)]
#[command(name = "nsqd")]
pub struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    #[serde(skip)]
    pub version: bool,
    /// path to config file
    #[arg(long, default_value = "")]
    #[serde(skip)]
    pub config: String,
    /// set log verbosity: debug, info, warn, error, or fatal
    #[arg(long, default_value = "INFO")]
    #[serde(serialize_with = "number_of_level")]
    pub log_level: LogLevel,
    /// log message prefix
    #[arg(long, default_value = "[nsqd] ")]
    pub log_prefix: String,
    /// [deprecated] has no effect, use --log-level
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    #[serde(skip)]
    pub verbose: bool,
    /// [deprecated] has no effect, use --node-id
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    #[serde(skip)]
    pub worker_id: bool,

    /// cores that serve, each with its own topics (default: one per core it may run on)
    #[arg(long, value_parser = flags::integer::<u16>, default_value = "0")]
    pub shards: u16,
    /// bytes of messages held in memory, over all shards
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "134217728")]
    pub memory_bytes: i64,
    /// how long a shard looks at most for a client that goes on at once, before it sleeps; 0s: it never looks
    #[arg(long, value_parser = duration::parse, default_value = "200us")]
    #[serde(serialize_with = "nanoseconds")]
    pub spin: Duration,
    /// say what the data path holds and what of it is damaged, change nothing, and exit with 0 (nothing), 1 (something) or 2 (it cannot be read)
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    #[serde(skip)]
    pub check_data: bool,

    /// unique part for message IDs, (int) in range [0,1024) (default is hash of hostname)
    #[arg(long = "node-id", value_parser = flags::integer::<i64>, default_value = own_node_id())]
    pub id: i64,
    /// <addr>:<port> or path of a unix socket to listen on for TCP clients
    #[arg(long, default_value = "0.0.0.0:4150")]
    pub tcp_address: String,
    /// <addr>:<port> or path of a unix socket to listen on for HTTP clients; empty for none
    #[arg(long, default_value = "0.0.0.0:4151")]
    pub http_address: String,
    /// <addr>:<port> to listen on for HTTPS clients, with --tls-cert and --tls-key; empty for none
    #[arg(long, default_value = "0.0.0.0:4152")]
    pub https_address: String,
    /// <addr>:<port> or a full url of an auth server (may be given multiple times)
    #[arg(long = "auth-http-address")]
    pub auth_http_addresses: Vec<String>,
    /// how auth servers are asked: get or post
    #[arg(long, default_value = "get")]
    pub auth_http_request_method: String,
    /// address that will be registered with lookupd (default to the OS hostname)
    #[arg(long, default_value = hostname::hostname())]
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
    /// how long connecting to an auth server or to a lookupd's HTTP port may take
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    #[serde(serialize_with = "nanoseconds")]
    pub http_client_connect_timeout: Duration,
    /// how long a request to an auth server or to a lookupd's HTTP port may take
    #[arg(long, value_parser = duration::parse, default_value = "5s")]
    #[serde(serialize_with = "nanoseconds")]
    pub http_client_request_timeout: Duration,
    /// the region this nsqd is in: consumers of the same region are preferred
    #[arg(long, default_value = "")]
    pub topology_region: String,
    /// the zone this nsqd is in: consumers of the same zone are preferred
    #[arg(long, default_value = "")]
    pub topology_zone: String,
    /// switch an experiment on: topology-aware-consumption (may be given multiple times)
    #[arg(long)]
    pub enable_experiment: Vec<String>,

    /// path to store disk-backed messages
    #[arg(long, default_value = "")]
    pub data_path: String,
    /// messages that may wait in an ephemeral topic or channel
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "10000")]
    pub mem_queue_size: i64,
    /// number of bytes per log file before rolling
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "104857600")]
    pub max_bytes_per_file: i64,

    /// has no effect here: timeouts are looked at when they are due
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "4")]
    pub queue_scan_worker_pool_max: i64,
    /// has no effect here: timeouts are looked at when they are due
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "20")]
    pub queue_scan_selection_count: i64,

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
    #[serde(serialize_with = "acknowledge_or_default")]
    pub acknowledge: Option<Acknowledge>,
    /// messages of a topic after which its log is synced; 1 means --acknowledge=synced (default 2500)
    #[arg(long, value_parser = flags::integer::<i64>)]
    #[serde(serialize_with = "sync_every_or_default")]
    pub sync_every: Option<i64>,
    /// time after which written messages are synced
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    #[serde(serialize_with = "nanoseconds")]
    pub sync_timeout: Duration,

    /// default duration to wait before auto-requeing a message
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub msg_timeout: Duration,
    /// maximum duration before a message will timeout
    #[arg(long, value_parser = duration::parse, default_value = "15m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub max_msg_timeout: Duration,
    /// maximum size of a single message in bytes
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "1048576")]
    pub max_msg_size: i64,
    /// maximum requeuing timeout for a message
    #[arg(long, value_parser = duration::parse, default_value = "1h0m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub max_req_timeout: Duration,
    /// maximum size of a single command body
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "5242880")]
    pub max_body_size: i64,

    /// maximum client configurable duration of time between client heartbeats
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub max_heartbeat_interval: Duration,
    /// maximum RDY count for a client
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "2500")]
    pub max_rdy_count: i64,
    /// maximum client configurable size (in bytes) for a client output buffer
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "65536")]
    pub max_output_buffer_size: i64,
    /// maximum client configurable duration of time between flushing to a client
    #[arg(long, value_parser = duration::parse, default_value = "30s")]
    #[serde(serialize_with = "nanoseconds")]
    pub max_output_buffer_timeout: Duration,
    /// minimum client configurable duration of time between flushing to a client
    #[arg(long, value_parser = duration::parse, default_value = "25ms")]
    #[serde(serialize_with = "nanoseconds")]
    pub min_output_buffer_timeout: Duration,
    /// default duration of time between flushing data to clients
    #[arg(long, value_parser = duration::parse, default_value = "250ms")]
    #[serde(serialize_with = "nanoseconds")]
    pub output_buffer_timeout: Duration,
    /// enable deflate feature negotiation (client compression)
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    pub deflate: bool,
    /// max deflate compression level a client can negotiate (> values == > nsqd CPU usage)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "6")]
    pub max_deflate_level: i64,
    /// enable snappy feature negotiation (client compression)
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    pub snappy: bool,
    /// maximum channel consumer connection count per nsqd instance (default 0, i.e., unlimited)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "0")]
    pub max_channel_consumers: i64,

    /// UDP <addr>:<port> of a statsd daemon to push statistics to
    #[arg(long, default_value = "")]
    pub statsd_address: String,
    /// duration between two pushes to statsd
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub statsd_interval: Duration,
    /// whether memory statistics are pushed to statsd, too
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    pub statsd_mem_stats: bool,
    /// what every name pushed to statsd begins with (%s stands for this nsqd's address)
    #[arg(long, default_value = "nsq.%s")]
    pub statsd_prefix: String,
    /// bytes of a datagram to statsd
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "508")]
    pub statsd_udp_packet_size: i64,
    /// push nothing about ephemeral topics and channels to statsd
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub statsd_exclude_ephemeral: bool,

    /// share of messages (0, 1.0] whose time from publish to FIN is shown (may be given multiple times or comma separated '1.0,0.99,0.95', default none)
    #[arg(long = "e2e-processing-latency-percentile", value_delimiter = ',')]
    #[serde(serialize_with = "numbers")]
    pub e2e_processing_latency_percentiles: Vec<String>,
    /// how far back that looks
    #[arg(long, value_parser = duration::parse, default_value = "10m0s")]
    #[serde(serialize_with = "nanoseconds")]
    pub e2e_processing_latency_window_time: Duration,

    /// path to certificate file
    #[arg(long, default_value = "")]
    pub tls_cert: String,
    /// path to key file
    #[arg(long, default_value = "")]
    pub tls_key: String,
    /// client certificate auth policy ('require' or 'require-verify')
    #[arg(long, default_value = "")]
    pub tls_client_auth_policy: String,
    /// path to certificate authority file
    #[arg(long, default_value = "")]
    pub tls_root_ca_file: String,
    /// require TLS for client connections (true, false, tcp-https)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    #[serde(serialize_with = "number_of_requirement")]
    pub tls_required: TlsRequired,
    /// minimum TLS version acceptable ('tls1.2' or 'tls1.3'; 'tls1.0' and 'tls1.1' mean 'tls1.2')
    #[arg(long, default_value = "tls1.0")]
    #[serde(serialize_with = "number_of_version")]
    pub tls_min_version: TlsMinVersion,
}

/// Flags of nsqd's that change nothing here, and why. Each is said once at the start, if it is set.
pub const WITHOUT_EFFECT: [(&str, &str); 2] = [
    ("queue-scan-worker-pool-max", "timeouts are looked at when they are due, by every shard"),
    ("queue-scan-selection-count", "timeouts are looked at when they are due, by every shard"),
];

/// The node id that this machine has when none is given, as a flag's text.
fn own_node_id() -> String {
    node_id::default_node_id(&hostname::hostname()).to_string()
}

// --- how `/config` shows what is neither text nor number (NSQ behaviour) ---

fn nanoseconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(crate::clock::nanoseconds(*duration))
}

fn number_of_level<S: Serializer>(level: &LogLevel, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(level.number())
}

fn number_of_requirement<S: Serializer>(tls: &TlsRequired, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(tls.number())
}

fn number_of_version<S: Serializer>(version: &TlsMinVersion, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(version.number())
}

fn numbers<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
    // What is no number ends the start.
    to.collect_seq(texts.iter().filter_map(|text| text.parse::<f64>().ok()))
}

fn sync_every_or_default<S: Serializer>(every: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(every.unwrap_or(SYNC_EVERY))
}

fn acknowledge_or_default<S: Serializer>(
    acknowledge: &Option<Acknowledge>,
    to: S,
) -> Result<S::Ok, S::Error> {
    acknowledge.unwrap_or(Acknowledge::Written).serialize(to)
}

impl Flags {
    /// The folder of all data.
    pub fn data_path(&self) -> PathBuf {
        PathBuf::from(if self.data_path.is_empty() { "." } else { &self.data_path })
    }

    /// Puts percentiles that stood on the command line in order, the highest first. Those of a file
    /// keep theirs (NSQ behaviour).
    pub fn sort_percentiles(&mut self) {
        let number = |text: &String| text.parse::<f64>().unwrap_or(f64::INFINITY);
        self.e2e_processing_latency_percentiles
            .sort_by(|one, other| number(other).total_cmp(&number(one)));
    }

    /// Every flag that has a key, as `/config` shows it.
    pub fn options(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(options)) => options,
            other => unreachable!("flags are text, numbers and lists under names: {other:?}"),
        }
    }

    /// What they say about TLS.
    pub fn tls_settings(&self) -> TlsSettings {
        TlsSettings {
            cert: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            client_auth_policy: self.tls_client_auth_policy.clone(),
            root_ca_file: self.tls_root_ca_file.clone(),
            required: self.tls_required,
            min_version: self.tls_min_version,
        }
    }

    /// What the flags mean, but for the files of TLS, on a machine with `processors` cores to run on.
    ///
    /// # Errors
    /// A sentence that names the flag and what it allows.
    pub fn into_config(self, processors: usize, started_at: i64) -> Result<Config, String> {
        let tls_required = self.tls_settings().required();
        let mut options = self.options();
        options.insert("tls_required".to_string(), tls_required.number().into());
        let data_path = self.data_path();
        let hostname = hostname::hostname();
        let shards = match self.shards {
            0 => u16::try_from(processors.max(1)).unwrap_or(u16::MAX),
            shards => shards,
        };
        let node_id = u16::try_from(self.id)
            .ok()
            .filter(|&id| id < node_id::NODE_ID_LIMIT)
            .ok_or("--node-id must be [0,1024)")?;
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
        let statsd = Statsd {
            address: Some(self.statsd_address).filter(|address| !address.is_empty()),
            interval: self.statsd_interval,
            prefix: self.statsd_prefix,
            memory: self.statsd_mem_stats,
            datagram_bytes_max: positive(self.statsd_udp_packet_size, "--statsd-udp-packet-size")?,
            without_ephemeral: self.statsd_exclude_ephemeral,
        };
        if statsd.address.is_some() && statsd.interval.is_zero() {
            return Err("--statsd-interval must be more than 0".to_string());
        }
        let latencies = latencies(
            &self.e2e_processing_latency_percentiles,
            self.e2e_processing_latency_window_time,
        )?;
        let auth = auth_servers(&self.auth_http_addresses, &self.auth_http_request_method)?;
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
            data_path,
            shards,
            node_id,
            limits,
            offer: Offer {
                version: crate::config::NSQ_VERSION.to_string(),
                tls: false,
                snappy: self.snappy,
                deflate: self.deflate,
                max_deflate_level,
                auth_required: auth.is_some(),
                topology_region: self.topology_region,
                topology_zone: self.topology_zone,
            },
            is_topology_aware: self.enable_experiment.iter().any(|name| name == TOPOLOGY_AWARE),
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
            auth,
            http_client_connect_timeout: self.http_client_connect_timeout,
            http_client_request_timeout: self.http_client_request_timeout,
            https_address: match self.https_address.as_str() {
                "" => None,
                text => Some(address(text, "--https-address")?),
            },
            tls: None,
            client_tls: None,
            tls_required,
            lookupd_addresses: self.nsqlookupd_tcp_addresses,
            started_at,
            spin: self.spin,
            statsd,
            latencies,
            options,
        })
    }
}

/// The quantiles that these texts name; none means that nothing is measured.
fn latencies(texts: &[String], window: Duration) -> Result<Option<Latencies>, String> {
    if texts.is_empty() {
        return Ok(None);
    }
    let quantiles: Result<Vec<f64>, String> = texts
        .iter()
        .map(|text| {
            let quantile: f64 = text.parse().map_err(|_| format!("Could not parse: {text}"))?;
            if 0.0 < quantile && quantile <= 1.0 {
                Ok(quantile)
            } else {
                Err(format!("invalid E2E processing latency percentile: {quantile}"))
            }
        })
        .collect();
    if window.is_zero() {
        return Err("--e2e-processing-latency-window-time must be more than 0".to_string());
    }
    Ok(Some(Latencies { quantiles: quantiles?, window }))
}

/// The one experiment that there is; other names are passed over (NSQ behaviour).
const TOPOLOGY_AWARE: &str = "topology-aware-consumption";

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

/// Who is asked what clients may do, if anybody. The method is looked at in any case (NSQ
/// behaviour).
fn auth_servers(addresses: &[String], method: &str) -> Result<Option<AuthServers>, String> {
    let method = match method {
        "get" => AuthMethod::Get,
        "post" => AuthMethod::Post,
        _ => return Err("--auth-http-request-method must be post or get".to_string()),
    };
    let servers = AuthServers { addresses: addresses.to_vec(), method };
    Ok((!addresses.is_empty()).then_some(servers))
}

fn positive(value: i64, flag: &str) -> Result<usize, String> {
    usize::try_from(value)
        .ok()
        .filter(|&value| 0 < value)
        .ok_or_else(|| format!("{flag} must be 1 or more, not {value}"))
}

/// `host:port`, `:port` for every address of the machine, or a path.
fn address(text: &str, flag: &str) -> Result<Address, String> {
    if listen::is_path(text) {
        return Ok(Address::Path(PathBuf::from(text)));
    }
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_string() };
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("{flag} ({text}) is not an address and port - {error}"))?;
    let first = addresses.next().ok_or_else(|| format!("{flag} ({text}) names no address"))?;
    Ok(Address::Port(first))
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
    fn every_flag_with_a_key_is_shown_and_none_in_a_form_of_its_own() {
        let flags = Flags::try_parse_from(["nsqd"]).unwrap();
        let options = flags.options();
        let without_key = ["version", "config", "verbose", "worker_id", "check_data", "help"];
        for arg in <Flags as clap::CommandFactory>::command().get_arguments() {
            let key = arg.get_id().as_str();
            assert_eq!(options.contains_key(key), !without_key.contains(&key), "{key}");
        }
        assert!(
            options.values().all(|value| !value.is_object() && !value.is_null()),
            "{options:?}"
        );
        assert_eq!(options["msg_timeout"], 60_000_000_000_u64);
        assert_eq!(options["tls_min_version"], 769);
        assert_eq!(options["sync_every"], 2_500);
        assert_eq!(options["acknowledge"], "written");
        assert_eq!(options["log_level"], 2);
    }

    #[test]
    fn percentiles_are_shares_and_those_of_the_command_line_are_sorted() {
        let quantiles = |arguments: &[&str]| {
            let all = std::iter::once("nsqd").chain(arguments.iter().copied());
            let mut flags = Flags::try_parse_from(all).unwrap();
            flags.sort_percentiles();
            let latencies = flags.into_config(1, 0)?.latencies;
            Ok(latencies.map(|latencies| latencies.quantiles))
        };
        let flag = "--e2e-processing-latency-percentile";
        assert_eq!(quantiles(&[]), Ok(None));
        assert_eq!(
            quantiles(&[&format!("{flag}=0.5,1.0"), &format!("{flag}=0.99")]),
            Ok(Some(vec![1.0, 0.99, 0.5]))
        );
        for (wrong, reason) in [
            ("2", "invalid E2E processing latency percentile: 2"),
            ("0", "invalid E2E processing latency percentile: 0"),
            ("NaN", "invalid E2E processing latency percentile: NaN"),
            ("x", "Could not parse: x"),
        ] {
            let refused: Result<_, String> = quantiles(&[&format!("{flag}={wrong}")]);
            assert_eq!(refused, Err(reason.to_string()));
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
