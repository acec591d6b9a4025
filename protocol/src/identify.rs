//! What a client and a broker agree on at IDENTIFY.
//!
//! Knows: how the JSON body is read, which values are in range, and what is answered. Does not know:
//! how TLS and compression are put into effect.

use std::time::Duration;

use crate::limits::Limits;
use crate::refusal::Refusal;

/// What a client asks for. The numbers are as they came, in milliseconds, bytes or percent: 0 asks
/// for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentifyRequest {
    /// How the client calls itself; empty when it did not say.
    pub client_id: String,
    /// The machine it runs on; empty when it did not say.
    pub hostname: String,
    /// The program it is; empty when it did not say.
    pub user_agent: String,
    /// Whether it reads a JSON answer. If not, it gets `OK`, and neither TLS nor compression.
    pub feature_negotiation: bool,
    /// In milliseconds; -1 for none.
    pub heartbeat_interval: i64,
    /// In bytes; -1 for none.
    pub output_buffer_size: i64,
    /// In milliseconds; -1 for none.
    pub output_buffer_timeout: i64,
    /// Whether it wants TLS.
    pub tls_v1: bool,
    /// Whether it wants snappy.
    pub snappy: bool,
    /// Whether it wants deflate.
    pub deflate: bool,
    /// Counts when deflate is wanted, and when positive.
    pub deflate_level: i64,
    /// The share of messages it wants, in percent; 0 for all.
    pub sample_rate: i32,
    /// In milliseconds.
    pub message_timeout: i64,
    /// Where it runs; empty when it did not say.
    pub topology_region: String,
    /// Where in its region it runs; empty when it did not say.
    pub topology_zone: String,
}

impl IdentifyRequest {
    /// The request that a body spells.
    ///
    /// # Errors
    /// The refusal for a body that cannot be decoded.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        todo!("{}", body.len())
    }
}

/// What a server has to offer, the same to every client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The version of NSQ that it speaks as, such as `1.3.0`.
    pub version: String,
    /// Whether it can do TLS.
    pub tls: bool,
    /// Whether it can do snappy.
    pub snappy: bool,
    /// Whether it can do deflate.
    pub deflate: bool,
    /// The highest level of deflate, 1 to 9.
    pub max_deflate_level: u32,
    /// Whether it wants AUTH.
    pub auth_required: bool,
    /// Where it runs.
    pub topology_region: String,
    /// Where in its region it runs.
    pub topology_zone: String,
}

/// What holds for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the client calls itself.
    pub client_id: String,
    /// The machine it runs on.
    pub hostname: String,
    /// The program it is.
    pub user_agent: String,
    /// How often it is sent a heartbeat; `None` for never.
    pub heartbeat_interval: Option<Duration>,
    /// The size of its output buffer; 1 when everything is to be sent at once.
    pub output_buffer_bytes: usize,
    /// How long messages may wait in the output buffer; `None` when no timer empties it.
    pub output_buffer_timeout: Option<Duration>,
    /// The share of messages it gets, in percent, 0 to 99; 0 for all.
    pub sample_rate: u8,
    /// How long a message stays in flight with it.
    pub message_timeout: Duration,
    /// Where it runs.
    pub topology_region: String,
    /// Where in its region it runs.
    pub topology_zone: String,
    /// Whether it reads JSON answers.
    pub feature_negotiation: bool,
}

impl Settings {
    /// What holds for a client that has not said IDENTIFY. `remote_ip` is its address without the
    /// port, empty on a unix socket.
    pub fn default_for(remote_ip: &str, limits: &Limits) -> Self {
        Self {
            client_id: remote_ip.to_owned(),
            hostname: remote_ip.to_owned(),
            user_agent: String::new(),
            heartbeat_interval: Some(limits.heartbeat_interval),
            output_buffer_bytes: limits.default_output_buffer_bytes,
            output_buffer_timeout: Some(limits.default_output_buffer_timeout),
            sample_rate: 0,
            message_timeout: limits.message_timeout,
            topology_region: String::new(),
            topology_zone: String::new(),
            feature_negotiation: false,
        }
    }
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The data of the response frame: JSON, or `OK` without feature negotiation.
    pub body: Vec<u8>,
    /// Whether TLS comes next.
    pub tls: bool,
    /// Whether snappy comes next, after TLS.
    pub snappy: bool,
    /// The level of the deflate that comes next, after TLS; `None` for no deflate.
    pub deflate_level: Option<u32>,
}

/// What holds after IDENTIFY, and what is answered.
///
/// # Errors
/// The refusal for the first value that is out of its range, or for two compressions at once.
pub fn negotiate(
    request: IdentifyRequest,
    limits: &Limits,
    offer: &Offer,
) -> Result<(Settings, Answer), Refusal> {
    todo!("{request:?} {limits:?} {offer:?}")
}
