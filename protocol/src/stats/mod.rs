//! The body of `GET /stats`: what a broker counts, per topic, channel and client.
//!
//! Knows: the order of keys, which of them are left out or null, how a request narrows the body, and
//! how the parts of one body are put together. Does not know: who counts, or when.
//!
//! The same types read what another broker answers, an older nsqd included: a key that is missing
//! reads as zero, empty or `None`, one that is unknown is passed over.
//!
//! | Where do I look for | |
//! |---|---|
//! | what a request leaves away | [`Filter`] |
//! | one body out of several | [`merge()`] |
//! | the text form | [`text`] |
//! | either form in pieces | [`pieces`] |
//! | the body of `GET /info` | [`Info`] |

mod filter;
mod info;
mod merge;
pub mod pieces;
pub mod text;

#[cfg(test)]
mod tests;

pub use filter::Filter;
pub use info::Info;
pub use merge::merge;

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;

/// All that one broker tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// The version of NSQ that the broker speaks as, such as `1.3.0`.
    pub version: String,
    /// `OK`, or `NOK - ` and what the disk said last.
    pub health: String,
    /// When the process started, in seconds since 1970.
    pub start_time: i64,
    /// By name. `None` (`null`) when the topic that was asked for does not exist.
    pub topics: Option<Vec<TopicStats>>,
    /// The key is left out when it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Clients that have published since they connected, in no order. `None` (`null`) when there are
    /// none, or when they were not asked for; never an empty list.
    pub producers: Option<Vec<ClientStats>>,
}

/// One topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicStats {
    /// Its name.
    pub topic_name: String,
    /// By name; `[]` when there are none.
    #[serde(deserialize_with = "null_as_default")]
    pub channels: Vec<ChannelStats>,
    /// Messages that wait to be copied to a channel. Signed, as nsqd lets it go below zero for a
    /// moment.
    pub depth: i64,
    /// How many of them wait on disk.
    pub backend_depth: i64,
    /// Messages published since the process started.
    pub message_count: u64,
    /// Their bodies together, in bytes.
    pub message_bytes: u64,
    /// Whether messages stay in the topic instead of going to its channels.
    pub paused: bool,
    /// From publish to FIN, over all channels.
    #[serde(deserialize_with = "null_as_default")]
    pub e2e_processing_latency: Percentiles,
    /// Its messages on disk. nsqd has no such key; it is left out when it is `None`, as for ephemeral
    /// topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStats>,
}

/// The log of one topic: what it takes on disk, and what was lost of it since the process started,
/// the start included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogStats {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files.
    pub segments: u64,
    /// Bytes that were cut off its end at the start: a write that a crash cut short.
    pub torn_bytes: u64,
    /// Places at which it is not what was written.
    pub damaged_places: u64,
    /// How many bytes that are.
    pub damaged_bytes: u64,
    /// Messages that were lost with them.
    pub damaged_messages: u64,
    /// Files in the topic's folder that could not be used at the start.
    pub files_not_used: u64,
}

impl LogStats {
    /// Whether anything was torn, damaged or not used.
    pub fn has_losses(&self) -> bool {
        let Self { torn_bytes, damaged_places, files_not_used, .. } = *self;
        0 < torn_bytes || 0 < damaged_places || 0 < files_not_used
    }
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelStats {
    /// Its name.
    pub channel_name: String,
    /// Messages that wait for a consumer; what is in flight or deferred is not counted. Signed, as
    /// nsqd lets it go below zero for a moment.
    pub depth: i64,
    /// How many of them wait on disk.
    pub backend_depth: i64,
    /// Messages delivered, and neither finished, requeued nor timed out.
    pub in_flight_count: u64,
    /// Messages that wait for their time to come.
    pub deferred_count: u64,
    /// Messages that came into the channel since the process started.
    pub message_count: u64,
    /// Deliveries to a consumer in the broker's own zone. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub zone_local_msg_count: u64,
    /// Deliveries to a consumer in another zone of the broker's region. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub region_local_msg_count: u64,
    /// Deliveries to any other consumer. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub global_msg_count: u64,
    /// Messages given back by REQ since the process started.
    pub requeue_count: u64,
    /// Messages that timed out in flight since the process started.
    pub timeout_count: u64,
    /// How many consumers are subscribed, whether or not they are listed.
    pub client_count: u64,
    /// The consumers, in no order. `None` (`null`) when they were not asked for.
    pub clients: Option<Vec<ClientStats>>,
    /// Whether consumers get nothing.
    pub paused: bool,
    /// From publish to FIN.
    #[serde(deserialize_with = "null_as_default")]
    pub e2e_processing_latency: Percentiles,
    /// Bytes of the topic's log that cannot go because of this channel: from the oldest message that
    /// waits or is in flight to the end, and files with older ones that are deferred or requeued.
    /// Other channels may need the same bytes. nsqd has no such key; it is left out
    /// when it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}

/// One connection of a client. Counters are since it connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientStats {
    /// How it called itself at IDENTIFY.
    pub client_id: String,
    /// The machine it said it runs on.
    pub hostname: String,
    /// The protocol it speaks: `V2`.
    pub version: String,
    /// Its address, `host:port`.
    pub remote_address: String,
    /// 0 fresh, 3 subscribed, 4 closing: [`crate::conversation::Phase::number`].
    pub state: u8,
    /// How many messages may be in flight to it at once. Signed, as is NSQ's own.
    pub ready_count: i64,
    /// How many are. Signed, as nsqd lets it go below zero.
    pub in_flight_count: i64,
    /// Messages sent to it.
    pub message_count: u64,
    /// Of these, those sent within the broker's zone. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub zone_local_msg_count: u64,
    /// Of these, those sent to another zone of the broker's region. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub region_local_msg_count: u64,
    /// All others. Left out when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub global_msg_count: u64,
    /// Messages it finished.
    pub finish_count: u64,
    /// Messages it gave back.
    pub requeue_count: u64,
    /// When it connected, in seconds since 1970.
    pub connect_ts: i64,
    /// The share of messages it wants, in percent; 0 for all.
    pub sample_rate: u8,
    /// Whether the connection is compressed with deflate.
    pub deflate: bool,
    /// Whether the connection is compressed with snappy.
    pub snappy: bool,
    /// The program it said it is.
    pub user_agent: String,
    /// Whether AUTH gave it any permission. Left out when not.
    #[serde(skip_serializing_if = "is_false")]
    pub authed: bool,
    /// Who the authorization server says it is. Left out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_identity: String,
    /// Where to read more about who it is. Left out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_identity_url: String,
    /// Where in its region it said it runs.
    pub topology_zone: String,
    /// Where it said it runs.
    pub topology_region: String,
    /// What it published, by topic. Left out when empty. nsqd shows one topic and forgets the others;
    /// we list them all, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub pub_counts: Vec<PublishCount>,
    /// Whether the connection is encrypted. The keys below are empty when not.
    pub tls: bool,
    /// Such as `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    pub tls_cipher_suite: String,
    /// `TLS1.0` to `TLS1.3`.
    pub tls_version: String,
    /// What ALPN agreed on.
    pub tls_negotiated_protocol: String,
    /// Whether both sides named it; true of every connection with TLS.
    pub tls_negotiated_protocol_is_mutual: bool,
}

/// How much one client published to one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishCount {
    /// The topic's name.
    pub topic: String,
    /// Messages published since the client connected.
    pub count: u64,
}

/// What the process holds in memory. The names are those of Go's runtime; a broker without a garbage
/// collector leaves its pauses at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// Objects that live.
    pub heap_objects: u64,
    /// Bytes held and not in use.
    pub heap_idle_bytes: u64,
    /// Bytes in use.
    pub heap_in_use_bytes: u64,
    /// Bytes given back to the system.
    pub heap_released_bytes: u64,
    /// The longest pause for garbage collection, in microseconds.
    pub gc_pause_usec_100: u64,
    /// The 99th percentile of pauses, in microseconds.
    pub gc_pause_usec_99: u64,
    /// The 95th percentile of pauses, in microseconds.
    pub gc_pause_usec_95: u64,
    /// The size of the heap at which garbage is collected next, in bytes.
    pub next_gc_bytes: u64,
    /// How many times garbage was collected.
    pub gc_total_runs: u64,
}

/// How long messages took from publish to FIN.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    /// How many messages were measured.
    pub count: u64,
    /// In the order in which the broker was told them; `None` (`null`) when nothing is measured.
    pub percentiles: Option<Vec<Percentile>>,
}

/// One point of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentile {
    /// The share of messages that took at most `value`: above 0, up to 1.
    pub quantile: f64,
    /// In nanoseconds; 0 when no message was measured.
    pub value: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}
