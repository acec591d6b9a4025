//! What a client and a broker agree on at IDENTIFY.
//!
//! Knows: how the JSON body is read, which values are in range, and what is answered. Does not know:
//! how TLS and compression are put into effect.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::json::to_go_json;
use crate::limits::{
    HEARTBEAT_INTERVAL_MIN, Limits, MESSAGE_TIMEOUT_MIN, OUTPUT_BUFFER_BYTES_MIN, SAMPLE_RATE_MAX,
};
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
    /// The request that a body spells, by the rules of Go's decoder, which NSQ uses: keys in any
    /// case, unknown ones skipped, `null` the same as no value, the last of two values taken, types
    /// as they are with no conversion, `null` in place of the object, and bytes that are not UTF-8
    /// replaced inside strings. Two things Go takes are refused here: half a surrogate pair in a
    /// string, and the integer `-0`.
    ///
    /// # Errors
    /// The refusal for a body that cannot be decoded.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if JSON_DEPTH_MAX < depth_of(body) {
            return Err(Refusal::identify_unparsable());
        }
        let text = text_of(body);
        let mut json = serde_json::Deserializer::from_str(&text);
        json.deserialize_any(BodyVisitor)
            .and_then(|request| json.end().map(|()| request))
            .map_err(|_| Refusal::identify_unparsable())
    }
}

/// How many arrays and objects may stand inside each other (NSQ behaviour).
const JSON_DEPTH_MAX: usize = 10_000;

/// How many arrays and objects stand inside each other at most, strings apart.
fn depth_of(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
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
    // The order is NSQ's: of two bad values, it names the one that it sees first.
    let heartbeat_interval = match request.heartbeat_interval {
        -1 => None,
        0 => Some(limits.heartbeat_interval),
        asked => Some(
            in_range(asked, HEARTBEAT_INTERVAL_MIN, limits.max_heartbeat_interval)
                .ok_or_else(|| Refusal::heartbeat_interval_out_of_range(asked))?,
        ),
    };
    let mut output_buffer_timeout = match request.output_buffer_timeout {
        -1 => None,
        0 => Some(limits.default_output_buffer_timeout),
        asked => Some(
            in_range(asked, limits.min_output_buffer_timeout, limits.max_output_buffer_timeout)
                .ok_or_else(|| Refusal::output_buffer_timeout_out_of_range(asked))?,
        ),
    };
    let output_buffer_bytes = match request.output_buffer_size {
        -1 => {
            output_buffer_timeout = None;
            1
        }
        0 => limits.default_output_buffer_bytes,
        asked => usize::try_from(asked)
            .ok()
            .filter(|bytes| {
                OUTPUT_BUFFER_BYTES_MIN <= *bytes && *bytes <= limits.max_output_buffer_bytes
            })
            .ok_or_else(|| Refusal::output_buffer_size_out_of_range(asked))?,
    };
    let sample_rate = u8::try_from(request.sample_rate)
        .ok()
        .filter(|percent| *percent <= SAMPLE_RATE_MAX)
        .ok_or_else(|| Refusal::sample_rate_out_of_range(request.sample_rate.into()))?;
    let message_timeout = match request.message_timeout {
        0 => limits.message_timeout,
        asked => in_range(asked, MESSAGE_TIMEOUT_MIN, limits.max_message_timeout)
            .ok_or_else(|| Refusal::message_timeout_out_of_range(asked))?,
    };
    let upgrades = Upgrades::agree(&request, offer)?;
    let settings = Settings {
        client_id: request.client_id,
        hostname: request.hostname,
        user_agent: request.user_agent,
        heartbeat_interval,
        output_buffer_bytes,
        output_buffer_timeout,
        sample_rate,
        message_timeout,
        topology_region: request.topology_region,
        topology_zone: request.topology_zone,
        feature_negotiation: request.feature_negotiation,
    };
    let answer = Answer {
        body: answer_body(&settings, limits, offer, &upgrades),
        tls: upgrades.tls,
        snappy: upgrades.snappy,
        deflate_level: upgrades.deflate.then_some(upgrades.deflate_level),
    };
    Ok((settings, answer))
}

/// The level of deflate when a client names none.
const DEFLATE_LEVEL_DEFAULT: u32 = 6;

/// What both sides want of TLS and compression.
struct Upgrades {
    tls: bool,
    snappy: bool,
    deflate: bool,
    /// The level in the answer, which is given without deflate too.
    deflate_level: u32,
}

impl Upgrades {
    fn agree(request: &IdentifyRequest, offer: &Offer) -> Result<Self, Refusal> {
        // Without a JSON answer the client would not learn of an upgrade, so there is none.
        let negotiated = request.feature_negotiation;
        let deflate = negotiated && offer.deflate && request.deflate;
        let snappy = negotiated && offer.snappy && request.snappy;
        if deflate && snappy {
            return Err(Refusal::two_compressions());
        }
        let asked = match request.deflate_level {
            level if deflate && 0 < level => u32::try_from(level).unwrap_or(u32::MAX),
            _ => DEFLATE_LEVEL_DEFAULT,
        };
        let tls = negotiated && offer.tls && request.tls_v1;
        Ok(Self { tls, snappy, deflate, deflate_level: asked.min(offer.max_deflate_level) })
    }
}

/// The JSON answer. The order of its keys is part of the protocol.
#[derive(serde::Serialize)]
struct AnswerBody<'a> {
    max_rdy_count: u64,
    version: &'a str,
    max_msg_timeout: u64,
    msg_timeout: u64,
    tls_v1: bool,
    deflate: bool,
    deflate_level: u32,
    max_deflate_level: u32,
    snappy: bool,
    sample_rate: u8,
    auth_required: bool,
    output_buffer_size: usize,
    output_buffer_timeout: u64,
    topology_region: &'a str,
    topology_zone: &'a str,
}

fn answer_body(
    settings: &Settings,
    limits: &Limits,
    offer: &Offer,
    upgrades: &Upgrades,
) -> Vec<u8> {
    if !settings.feature_negotiation {
        return b"OK".to_vec();
    }
    let body = AnswerBody {
        max_rdy_count: limits.max_ready_count,
        version: &offer.version,
        max_msg_timeout: milliseconds(limits.max_message_timeout),
        msg_timeout: milliseconds(settings.message_timeout),
        tls_v1: upgrades.tls,
        deflate: upgrades.deflate,
        deflate_level: upgrades.deflate_level,
        max_deflate_level: offer.max_deflate_level,
        snappy: upgrades.snappy,
        sample_rate: settings.sample_rate,
        auth_required: offer.auth_required,
        output_buffer_size: settings.output_buffer_bytes,
        output_buffer_timeout: settings.output_buffer_timeout.map_or(0, milliseconds),
        topology_region: &offer.topology_region,
        topology_zone: &offer.topology_zone,
    };
    to_go_json(&body).into_bytes()
}

/// So many whole milliseconds.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// So many milliseconds, when they are within the range.
fn in_range(milliseconds: i64, shortest: Duration, longest: Duration) -> Option<Duration> {
    let asked = Duration::from_millis(u64::try_from(milliseconds).ok()?);
    (shortest <= asked && asked <= longest).then_some(asked)
}

/// The body as text, with U+FFFD for every byte that is not UTF-8.
pub(crate) fn text_of(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Reads the object, or the `null` in its place.
struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = IdentifyRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(IdentifyRequest::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut request = IdentifyRequest::default();
        while let Some(key) = map.next_key::<String>()? {
            match folded(&key).as_str() {
                "client_id" => take(&mut request.client_id, map.next_value()?),
                "hostname" => take(&mut request.hostname, map.next_value()?),
                "user_agent" => take(&mut request.user_agent, map.next_value()?),
                "feature_negotiation" => take(&mut request.feature_negotiation, map.next_value()?),
                "heartbeat_interval" => take(&mut request.heartbeat_interval, map.next_value()?),
                "output_buffer_size" => take(&mut request.output_buffer_size, map.next_value()?),
                "output_buffer_timeout" => {
                    take(&mut request.output_buffer_timeout, map.next_value()?);
                }
                "tls_v1" => take(&mut request.tls_v1, map.next_value()?),
                "snappy" => take(&mut request.snappy, map.next_value()?),
                "deflate" => take(&mut request.deflate, map.next_value()?),
                "deflate_level" => take(&mut request.deflate_level, map.next_value()?),
                "sample_rate" => take(&mut request.sample_rate, map.next_value()?),
                "msg_timeout" => take(&mut request.message_timeout, map.next_value()?),
                "topology_region" => take(&mut request.topology_region, map.next_value()?),
                "topology_zone" => take(&mut request.topology_zone, map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(request)
    }
}

/// Puts a value in its place; `null` leaves there what a key before has put.
fn take<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The key as Go compares it: ASCII letters in lower case, and the two letters beyond ASCII that
/// have one of them as their other case.
fn folded(key: &str) -> String {
    key.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            _ => character.to_ascii_lowercase(),
        })
        .collect()
}
