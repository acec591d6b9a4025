//! How the broker was started, as it is meant: checked, with every default filled in.
//!
//! Must not hold anything that changes while it runs. Every core has a copy.

use protocol::identify::Offer;
use protocol::limits::Limits;
use rustls::{ClientConfig, ServerConfig};
use serde::Serialize;
use serde_json::{Map, Value};
use startup::flags::{self, InvalidValue};
use startup::listen::Address;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The version of NSQ whose behaviour this broker has, as clients and tools compare it.
pub const NSQ_VERSION: &str = startup::version::NSQ_VERSION;

/// What must have happened before a publisher is told `OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// Its messages were taken in; they are written at the end of the turn.
    Buffered,
    /// The kernel has them: they survive the end of the process, however it comes.
    Written,
    /// The disk has them: they survive the loss of power.
    Synced,
}

/// How long messages that nobody waits for may be written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPace {
    /// Messages of a topic, 1 or more.
    pub messages: u64,
    /// After the first one; more than nothing.
    pub after: Duration,
}

/// What logs may take on disk. Checkpoints, and messages that are finished, are never held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of one topic's log, if bounded.
    pub topic_bytes: Option<u64>,
    /// Bytes of all topics' logs, if bounded.
    pub data_bytes: Option<u64>,
    /// What gives way.
    pub on_full: OnFull,
}

/// What gives way when a quota is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Publishers: they are refused until there is room.
    #[default]
    Reject,
    /// The oldest messages, whoever still needs them.
    DropOldest,
}

/// Where clients must use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRequired {
    /// Nowhere.
    #[default]
    No,
    /// On the TCP port; plain HTTP stays open (`tcp-https`).
    ExceptHttp,
    /// Everywhere.
    Everywhere,
}

impl TlsRequired {
    /// NSQ's number for it, as `/config/tls_required` shows it.
    pub fn number(self) -> u8 {
        match self {
            Self::No => 0,
            Self::ExceptHttp => 1,
            Self::Everywhere => 2,
        }
    }
}

impl FromStr for TlsRequired {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let text = text.to_ascii_lowercase();
        if text == "tcp-https" {
            return Ok(Self::ExceptHttp);
        }
        Ok(if flags::boolean(&text)? { Self::Everywhere } else { Self::No })
    }
}

/// The oldest version of TLS that clients may use. Below 1.2 there is none here: the older names
/// are taken, and mean 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMinVersion {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsMinVersion {
    /// The version's number in the TLS protocol, as `/config/tls_min_version` shows it.
    pub fn number(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

impl FromStr for TlsMinVersion {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.to_ascii_lowercase().as_str() {
            // No name means the default (NSQ behaviour).
            "" | "tls1.0" => Ok(Self::Tls10),
            "tls1.1" => Ok(Self::Tls11),
            "tls1.2" => Ok(Self::Tls12),
            "tls1.3" => Ok(Self::Tls13),
            _ => Err(InvalidValue("not one of tls1.0, tls1.1, tls1.2, tls1.3")),
        }
    }
}

/// What is pushed to a statsd daemon, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statsd {
    /// The daemon, `host:port` over UDP; nothing is pushed without one.
    pub address: Option<String>,
    /// Between two pushes; more than nothing.
    pub interval: Duration,
    /// What every name begins with. Until the ports are known it may have a place for them.
    pub prefix: String,
    /// Whether figures of memory are pushed, too.
    pub memory: bool,
    /// Bytes of a datagram that are not exceeded by more than one line.
    pub datagram_bytes_max: usize,
    /// Whether ephemeral topics and channels are left out.
    pub without_ephemeral: bool,
}

/// The times from publish to FIN that are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    /// The shares of messages whose time is shown, in the order in which they are shown: each above
    /// 0, and up to 1.
    pub quantiles: Vec<f64>,
    /// How far back they look; more than nothing.
    pub window: Duration,
}

/// How authorization servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// With the question behind the address.
    Get,
    /// With the question as a body.
    Post,
}

/// Those who know what clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthServers {
    /// Where they are: `host:port`, or a whole address; at least one.
    pub addresses: Vec<String>,
    /// How they are asked.
    pub method: AuthMethod,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of `nsqd.dat` and of the topics' logs.
    pub data_path: PathBuf,
    /// How many cores serve.
    pub shards: u16,
    /// The node's part of message ids, 0 to 1023.
    pub node_id: u16,
    /// What clients may ask for.
    pub limits: Limits,
    /// What clients are offered at IDENTIFY.
    pub offer: Offer,
    /// Whether consumers that are near go before others.
    pub is_topology_aware: bool,
    /// Messages that may wait in an ephemeral topic or channel.
    pub mem_queue_size: u64,
    /// Consumers a channel may have; 0: any number.
    pub max_channel_consumers: u64,
    /// Bytes of messages a core may hold in memory beyond what is being sent.
    pub memory_bytes_per_shard: usize,
    /// When a publish is answered.
    pub acknowledge: Acknowledge,
    /// When a log that no publisher waits for is synced.
    pub sync_pace: SyncPace,
    /// Bytes of one file of a topic's log.
    pub segment_bytes_max: u64,
    /// What logs may take on disk.
    pub quota: Quota,
    /// Topics of a core that may have files open at once.
    pub open_topics_per_shard: usize,
    /// The machine's name.
    pub hostname: String,
    /// Where clients are told to connect to.
    pub broadcast_address: String,
    /// The ports clients are told, if not the real ones.
    pub broadcast_tcp_port: Option<u16>,
    /// The ports clients are told, if not the real ones.
    pub broadcast_http_port: Option<u16>,
    /// Where it listens for clients.
    pub tcp_address: Address,
    /// Where it listens for HTTP, if it does.
    pub http_address: Option<Address>,
    /// Where it listens for HTTPS, if it has a certificate.
    pub https_address: Option<Address>,
    /// What clients that want TLS are shown and asked for, if there is TLS. Never changed, so that
    /// all cores may hold the same.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whom we believe when we ask over TLS; `None`: nobody.
    pub client_tls: Option<Arc<ClientConfig>>,
    /// Who has to use TLS.
    pub tls_required: TlsRequired,
    /// Who is asked what clients may do; `None` when they may do everything.
    pub auth: Option<AuthServers>,
    /// How long an HTTP request of ours may take until there is a connection.
    pub http_client_connect_timeout: Duration,
    /// How long an HTTP request of ours may take in all.
    pub http_client_request_timeout: Duration,
    /// The nsqlookupds to register with, `host:port`.
    pub lookupd_addresses: Vec<String>,
    /// Seconds since the Unix epoch at which the process started.
    pub started_at: i64,
    /// How long a core looks at most for a client that goes on at once, before it sleeps.
    pub spin: Duration,
    /// What is pushed to a statsd daemon.
    pub statsd: Statsd,
    /// The times from publish to FIN that are measured, if any.
    pub latencies: Option<Latencies>,
    /// What `/config` shows, by key: everything that does not change while it runs.
    pub options: Map<String, Value>,
}

impl Config {
    /// Tells options whose default is where the broker really listens, once that is known.
    pub fn fill_in_ports(&mut self) {
        let http_port = self.http_address.as_ref().map_or(0, Address::port);
        let ports = [
            ("broadcast_tcp_port", self.broadcast_tcp_port.unwrap_or(self.tcp_address.port())),
            ("broadcast_http_port", self.broadcast_http_port.unwrap_or(http_port)),
        ];
        for (key, port) in ports {
            self.options.insert(key.to_string(), port.into());
        }
        let [_, (_, http_port)] = ports;
        self.statsd.prefix = resolved(&self.statsd.prefix, &self.broadcast_address, http_port);
        self.options.insert("statsd_prefix".to_string(), self.statsd.prefix.clone().into());
    }
}

/// A prefix with the broker's address in its place, and a dot behind it (NSQ behaviour). None stays
/// none.
fn resolved(prefix: &str, host: &str, port: u16) -> String {
    if prefix.is_empty() {
        return String::new();
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let place = format!("{host}:{port}").replace(['.', ':'], "_");
    let prefix = prefix.replace("%s", &place);
    if prefix.ends_with('.') { prefix } else { format!("{prefix}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_the_brokers_address_and_ends_in_a_dot() {
        for (prefix, host, expected) in [
            ("nsq.%s", "127.0.0.1", "nsq.127_0_0_1_4151."),
            ("%s.%s.", "vm.example", "vm_example_4151.vm_example_4151."),
            ("plain", "vm", "plain."),
            ("%s", "::1", "[__1]_4151."),
            ("", "vm", ""),
        ] {
            assert_eq!(resolved(prefix, host, 4151), expected);
        }
    }
}
