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

/// What must have happened before a publisher is told `OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Publishers: they are refused until there is room.
    #[default]
    Reject,
    /// The oldest messages, whoever still needs them.
    DropOldest,
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
