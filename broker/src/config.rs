//! How the broker was started, as it is meant: checked, with every default filled in.
//!
//! Must not hold anything that changes while it runs. Every core has a copy.

use protocol::identify::Offer;
use protocol::limits::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The version of NSQ whose behaviour this broker has, as clients and tools compare it.
pub const NSQ_VERSION: &str = startup::version::NSQ_VERSION;

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
    /// Messages that may wait in an ephemeral topic or channel.
    pub mem_queue_size: u64,
    /// Consumers a channel may have; 0: any number.
    pub max_channel_consumers: u64,
    /// Bytes of messages a core may hold in memory beyond what is being sent.
    pub memory_bytes_per_shard: usize,
    /// Bytes of one file of a topic's log.
    pub segment_bytes_max: u64,
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
    pub tcp_address: SocketAddr,
    /// Where it listens for HTTP, if it does.
    pub http_address: Option<SocketAddr>,
    /// The nsqlookupds to register with, `host:port`.
    pub lookupd_addresses: Vec<String>,
    /// Seconds since the Unix epoch at which the process started.
    pub started_at: i64,
    /// How long a core looks for new work before it sleeps: waking costs more than that.
    pub spin: Duration,
}
