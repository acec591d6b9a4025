//! What nsqd and nsqlookupd say to each other over TCP: nsqlookupd's protocol V1, both sides.
//!
//! Knows: the bytes of commands and answers, every error text, and what is bounded. Does not know:
//! sockets, registrations, time.
//!
//! ```text
//! nsqd        "  V1"  then commands:
//!             IDENTIFY LF  [int32 size] [JSON]
//!             REGISTER topic [channel] LF        UNREGISTER topic [channel] LF        PING LF
//! nsqlookupd  [int32 length] [data]              one for each command, in their order
//! ```
//!
//! Integers are big-endian. An answer has no type: an error is data like `E_INVALID client must
//! IDENTIFY`, and always the last thing before the connection closes. A line may end in CR LF, and
//! blanks around it do not count; blanks inside it each separate two parameters.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::to_go_json;
use crate::name::{ChannelName, TopicName};

/// The first four bytes of a connection.
pub const MAGIC: [u8; 4] = *b"  V1";

/// The longest command line, line feed included. NSQ has no limit; a line with two names of 64
/// bytes stays far below.
pub const LINE_BYTES_MAX: usize = 16 << 10;

/// The largest IDENTIFY body. NSQ has no limit; an ordinary body has about 150 bytes.
pub const IDENTIFY_BYTES_MAX: usize = 1 << 20;

/// The largest answer that a client of nsqlookupd needs to take: nsqd's default `max-body-size`.
pub const ANSWER_BYTES_MAX: usize = 5 << 20;

/// The answer to every command but IDENTIFY.
pub const OK: &[u8] = b"OK";

/// How an nsqd introduces itself: the body of IDENTIFY. Keys are in the order of the alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProducerIdentity {
    /// The address that clients reach it at. Required.
    pub broadcast_address: String,
    /// What it calls its machine.
    pub hostname: String,
    /// The port of its HTTP interface. Required.
    pub http_port: u16,
    /// The port of its TCP protocol. Required.
    pub tcp_port: u16,
    /// Where it runs.
    pub topology_region: String,
    /// Where it runs, within its region.
    pub topology_zone: String,
    /// Its version of NSQ. Required.
    pub version: String,
}

impl ProducerIdentity {
    /// Reads a body by the rules of NSQ's decoder: keys in any case, unknown ones skipped, `null`
    /// the same as no value, no conversion between types.
    ///
    /// # Errors
    /// The refusal for a body that cannot be decoded, or lacks a required field.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let text = String::from_utf8_lossy(body);
        let object: Option<Map<String, Value>> =
            serde_json::from_str(&text).map_err(|_| Refusal::UndecodableBody)?;
        let mut identity = Self::default();
        for (key, value) in object.unwrap_or_default() {
            match key.to_ascii_lowercase().as_str() {
                "broadcast_address" => take_text(&mut identity.broadcast_address, value)?,
                "hostname" => take_text(&mut identity.hostname, value)?,
                "http_port" => take_port(&mut identity.http_port, &value)?,
                "tcp_port" => take_port(&mut identity.tcp_port, &value)?,
                "topology_region" => take_text(&mut identity.topology_region, value)?,
                "topology_zone" => take_text(&mut identity.topology_zone, value)?,
                "version" => take_text(&mut identity.version, value)?,
                _ => {}
            }
        }
        let complete = !identity.broadcast_address.is_empty()
            && identity.http_port != 0
            && identity.tcp_port != 0
            && !identity.version.is_empty();
        if complete { Ok(identity) } else { Err(Refusal::MissingFields) }
    }
}

fn take_text(place: &mut String, value: Value) -> Result<(), Refusal> {
    match value {
        Value::Null => {}
        Value::String(text) => *place = text,
        _ => return Err(Refusal::UndecodableBody),
    }
    Ok(())
}

/// A number that is no port is as good as none.
fn take_port(place: &mut u16, value: &Value) -> Result<(), Refusal> {
    if !value.is_null() {
        let number = value.as_i64().ok_or(Refusal::UndecodableBody)?;
        *place = u16::try_from(number).unwrap_or(0);
    }
    Ok(())
}

/// How an nsqlookupd introduces itself: the answer to IDENTIFY. Keys are in the order of the
/// alphabet. A reader takes missing keys for empty ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupdIdentity {
    /// The address that its HTTP interface is reached at.
    pub broadcast_address: String,
    /// What it calls its machine.
    pub hostname: String,
    /// The port of its HTTP interface.
    pub http_port: u16,
    /// The port of this protocol.
    pub tcp_port: u16,
    /// Its version of NSQ.
    pub version: String,
}

impl LookupdIdentity {
    /// The answer's data.
    pub fn to_json(&self) -> String {
        to_go_json(self)
    }
}

/// What a nsqd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Who it is. Once, before the others but PING.
    Identify(ProducerIdentity),
    /// It produces this topic and, if named, has this channel.
    Register(TopicName, Option<ChannelName>),
    /// It no longer has this channel, or, if none is named, this topic.
    Unregister(TopicName, Option<ChannelName>),
    /// It is alive.
    Ping,
}

impl Command {
    /// Appends the command's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut line = |words: &[&[u8]]| {
            out.extend_from_slice(&words.join(&b' '));
            out.push(b'\n');
        };
        match self {
            Self::Identify(identity) => {
                line(&[b"IDENTIFY"]);
                encode_answer(out, to_go_json(identity).as_bytes());
            }
            Self::Register(topic, None) => line(&[b"REGISTER", topic.as_bytes()]),
            Self::Register(topic, Some(channel)) => {
                line(&[b"REGISTER", topic.as_bytes(), channel.as_bytes()]);
            }
            Self::Unregister(topic, None) => line(&[b"UNREGISTER", topic.as_bytes()]),
            Self::Unregister(topic, Some(channel)) => {
                line(&[b"UNREGISTER", topic.as_bytes(), channel.as_bytes()]);
            }
            Self::Ping => line(&[b"PING"]),
        }
    }
}

/// How far a connection has come. Which error a bad command gets depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before IDENTIFY.
    Fresh,
    /// After IDENTIFY.
    Identified,
}

/// What nsqlookupd refuses with. The connection closes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first four bytes are not [`MAGIC`].
    BadProtocol,
    /// Not a command, by its first word.
    UnknownCommand(String),
    /// A line longer than [`LINE_BYTES_MAX`]. NSQ has no such text, because it has no such limit.
    LineTooLong,
    /// REGISTER or UNREGISTER before IDENTIFY.
    NotIdentified,
    /// IDENTIFY for the second time.
    IdentifiedAlready,
    /// The size of the body is missing, not positive, or above [`IDENTIFY_BYTES_MAX`].
    BadBodySize,
    /// The body ends before its size.
    ShortBody,
    /// The body is not JSON, or a value has the wrong type.
    UndecodableBody,
    /// A required field is missing, empty or 0.
    MissingFields,
    /// No topic; the word is the command's.
    MissingTopic(&'static str),
    /// An illegal topic name, behind the command's word.
    BadTopic(&'static str, String),
    /// An illegal channel name, behind the command's word.
    BadChannel(&'static str, String),
}

impl fmt::Display for Refusal {
    /// The answer's data, word by word as NSQ gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadProtocol => f.write_str("E_BAD_PROTOCOL"),
            Self::UnknownCommand(word) => write!(f, "E_INVALID invalid command {word}"),
            Self::LineTooLong => f.write_str("E_INVALID command line is too long"),
            Self::NotIdentified => f.write_str("E_INVALID client must IDENTIFY"),
            Self::IdentifiedAlready => f.write_str("E_INVALID cannot IDENTIFY again"),
            Self::BadBodySize => f.write_str("E_BAD_BODY IDENTIFY failed to read body size"),
            Self::ShortBody => f.write_str("E_BAD_BODY IDENTIFY failed to read body"),
            Self::UndecodableBody => f.write_str("E_BAD_BODY IDENTIFY failed to decode JSON body"),
            Self::MissingFields => f.write_str("E_BAD_BODY IDENTIFY missing fields"),
            Self::MissingTopic(verb) => {
                write!(f, "E_INVALID {verb} insufficient number of params")
            }
            Self::BadTopic(verb, name) => {
                write!(f, "E_BAD_TOPIC {verb} topic name '{name}' is not valid")
            }
            Self::BadChannel(verb, name) => {
                write!(f, "E_BAD_CHANNEL {verb} channel name '{name}' is not valid")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads the command at the start of `input`, and tells how many bytes it takes up. `None` means
/// that it is not complete yet.
///
/// # Errors
/// [`Refusal`] as soon as it is certain; it answers the command, and the connection closes.
pub fn decode_command(input: &[u8], stage: Stage) -> Result<Option<(Command, usize)>, Refusal> {
    let Some(end) = input.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n') else {
        let too_long = LINE_BYTES_MAX <= input.len();
        return if too_long { Err(Refusal::LineTooLong) } else { Ok(None) };
    };
    let (line, rest) = input.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim().split(' ');
    let command = match (words.next().unwrap_or_default(), stage) {
        ("PING", _) => Command::Ping,
        ("IDENTIFY", Stage::Identified) => return Err(Refusal::IdentifiedAlready),
        ("IDENTIFY", Stage::Fresh) => {
            let Some(body) = identify_body(rest)? else { return Ok(None) };
            let identity = ProducerIdentity::parse(body)?;
            return Ok(Some((Command::Identify(identity), end + 1 + 4 + body.len())));
        }
        ("REGISTER" | "UNREGISTER", Stage::Fresh) => return Err(Refusal::NotIdentified),
        ("REGISTER", Stage::Identified) => {
            let (topic, channel) = topic_and_channel("REGISTER", words)?;
            Command::Register(topic, channel)
        }
        ("UNREGISTER", Stage::Identified) => {
            let (topic, channel) = topic_and_channel("UNREGISTER", words)?;
            Command::Unregister(topic, channel)
        }
        (word, _) => return Err(Refusal::UnknownCommand(word.to_owned())),
    };
    Ok(Some((command, end + 1)))
}

/// What is still answered when the client has nothing more to say, and left `input` unfinished: an
/// IDENTIFY without its whole body is an error, half a line is not.
pub fn refusal_at_end(input: &[u8], stage: Stage) -> Option<Refusal> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let body_began = stage == Stage::Fresh && input.get(..end)?.trim_ascii() == b"IDENTIFY";
    let body_bytes = input.len() - end - 1;
    match (body_began, body_bytes) {
        (false, _) => None,
        (true, 0..4) => Some(Refusal::BadBodySize),
        (true, _) => Some(Refusal::ShortBody),
    }
}

/// The body behind its size; `None` when it is not complete yet.
fn identify_body(input: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let Some((size, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| Refusal::BadBodySize)?;
    if size == 0 || IDENTIFY_BYTES_MAX < size {
        return Err(Refusal::BadBodySize);
    }
    Ok(rest.get(..size))
}

/// The parameters of REGISTER and UNREGISTER; an empty channel is no channel.
fn topic_and_channel<'a>(
    verb: &'static str,
    mut words: impl Iterator<Item = &'a str>,
) -> Result<(TopicName, Option<ChannelName>), Refusal> {
    let topic = words.next().ok_or(Refusal::MissingTopic(verb))?;
    let channel = words.next().filter(|channel| !channel.is_empty());
    let topic = TopicName::parse(topic.as_bytes())
        .map_err(|_| Refusal::BadTopic(verb, topic.to_owned()))?;
    let channel = match channel {
        None => None,
        Some(name) => Some(
            ChannelName::parse(name.as_bytes())
                .map_err(|_| Refusal::BadChannel(verb, name.to_owned()))?,
        ),
    };
    Ok((topic, channel))
}

/// Appends an answer to `out`: its length, then its data.
///
/// # Panics
/// When the data is 2 GiB or more.
pub fn encode_answer(out: &mut Vec<u8>, data: &[u8]) {
    let length = i32::try_from(data.len()).expect("answers are small");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
}

/// An answer's length is negative or above [`ANSWER_BYTES_MAX`]: the other side is no nsqlookupd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAnswerLength(pub i32);

impl fmt::Display for BadAnswerLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer of {} bytes", self.0)
    }
}

impl std::error::Error for BadAnswerLength {}

/// Reads the answer at the start of `input`: its data, and how many bytes it takes up. `None` means
/// that it is not complete yet.
///
/// # Errors
/// [`BadAnswerLength`] as soon as the length is read.
pub fn decode_answer(input: &[u8]) -> Result<Option<(&[u8], usize)>, BadAnswerLength> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let bytes = usize::try_from(length).map_err(|_| BadAnswerLength(length))?;
    if ANSWER_BYTES_MAX < bytes {
        return Err(BadAnswerLength(length));
    }
    Ok(rest.get(..bytes).map(|data| (data, 4 + bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDENTITY: &str = r#"{"broadcast_address":"127.0.0.1","hostname":"vm","http_port":24151,"tcp_port":24150,"topology_region":"","topology_zone":"","version":"1.3.0"}"#;

    fn identity() -> ProducerIdentity {
        ProducerIdentity {
            broadcast_address: "127.0.0.1".into(),
            hostname: "vm".into(),
            http_port: 24151,
            tcp_port: 24150,
            version: "1.3.0".into(),
            ..ProducerIdentity::default()
        }
    }

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn identify(body: &str) -> Vec<u8> {
        let mut input = b"IDENTIFY\n".to_vec();
        encode_answer(&mut input, body.as_bytes());
        input
    }

    #[test]
    fn commands_have_nsqds_bytes_and_are_read_back_at_every_split() {
        let mut identify_bytes = b"IDENTIFY\n\x00\x00\x00\x8e".to_vec();
        identify_bytes.extend_from_slice(IDENTITY.as_bytes());
        for (command, bytes, stage) in [
            (Command::Identify(identity()), &identify_bytes[..], Stage::Fresh),
            (Command::Ping, b"PING\n", Stage::Fresh),
            (Command::Ping, b"PING\n", Stage::Identified),
            (Command::Register(topic("t"), None), b"REGISTER t\n", Stage::Identified),
            (
                Command::Register(topic("t"), Some(channel("c#ephemeral"))),
                b"REGISTER t c#ephemeral\n",
                Stage::Identified,
            ),
            (Command::Unregister(topic("t"), None), b"UNREGISTER t\n", Stage::Identified),
            (
                Command::Unregister(topic("t"), Some(channel("c"))),
                b"UNREGISTER t c\n",
                Stage::Identified,
            ),
        ] {
            let mut encoded = Vec::new();
            command.encode(&mut encoded);
            assert_eq!(encoded, bytes);
            for end in 0..bytes.len() {
                assert_eq!(decode_command(&bytes[..end], stage), Ok(None), "{command:?} {end}");
            }
            encoded.extend_from_slice(b"more");
            assert_eq!(decode_command(&encoded, stage), Ok(Some((command, bytes.len()))));
        }
    }

    #[test]
    fn a_line_may_end_in_crlf_and_have_blanks_around_it() {
        for line in ["  PING \r\n", "PING\r\n", "PING ignored\n"] {
            let decoded = decode_command(line.as_bytes(), Stage::Fresh);
            assert_eq!(decoded, Ok(Some((Command::Ping, line.len()))), "{line:?}");
        }
        // Two blanks enclose an empty channel, which is none.
        let decoded = decode_command(b"REGISTER t  c\n", Stage::Identified);
        assert_eq!(decoded, Ok(Some((Command::Register(topic("t"), None), 14))));
    }

    #[test]
    fn refusals_have_nsqlookupds_words() {
        use Stage::{Fresh, Identified};
        let body_of_size = |size: &[u8]| [b"IDENTIFY\n", size].concat();
        for (input, stage, text) in [
            (b"FOO bar\n".to_vec(), Fresh, "E_INVALID invalid command FOO"),
            (b"\n".to_vec(), Fresh, "E_INVALID invalid command "),
            (b"ping\n".to_vec(), Fresh, "E_INVALID invalid command ping"),
            (b"REGISTER t\n".to_vec(), Fresh, "E_INVALID client must IDENTIFY"),
            (b"UNREGISTER\n".to_vec(), Fresh, "E_INVALID client must IDENTIFY"),
            (b"IDENTIFY\n".to_vec(), Identified, "E_INVALID cannot IDENTIFY again"),
            (
                b"REGISTER\n".to_vec(),
                Identified,
                "E_INVALID REGISTER insufficient number of params",
            ),
            (
                b"UNREGISTER \n".to_vec(),
                Identified,
                "E_INVALID UNREGISTER insufficient number of params",
            ),
            (
                b"REGISTER bad*\n".to_vec(),
                Identified,
                "E_BAD_TOPIC REGISTER topic name 'bad*' is not valid",
            ),
            (
                b"REGISTER  t\n".to_vec(),
                Identified,
                "E_BAD_TOPIC REGISTER topic name '' is not valid",
            ),
            (
                b"UNREGISTER t bad*\n".to_vec(),
                Identified,
                "E_BAD_CHANNEL UNREGISTER channel name 'bad*' is not valid",
            ),
            (
                body_of_size(&[0xff, 0xff, 0xff, 0xff]),
                Fresh,
                "E_BAD_BODY IDENTIFY failed to read body size",
            ),
            (body_of_size(&[0; 4]), Fresh, "E_BAD_BODY IDENTIFY failed to read body size"),
            (body_of_size(&[0, 0x10, 0, 1]), Fresh, "E_BAD_BODY IDENTIFY failed to read body size"),
            (identify("[]"), Fresh, "E_BAD_BODY IDENTIFY failed to decode JSON body"),
            (
                identify(r#"{"tcp_port":"4150"}"#),
                Fresh,
                "E_BAD_BODY IDENTIFY failed to decode JSON body",
            ),
            (
                identify(r#"{"tcp_port":1.5}"#),
                Fresh,
                "E_BAD_BODY IDENTIFY failed to decode JSON body",
            ),
            (
                identify(
                    r#"{"broadcast_address":"b","http_port":4151,"tcp_port":65536,"version":"1"}"#,
                ),
                Fresh,
                "E_BAD_BODY IDENTIFY missing fields",
            ),
            (identify("{}"), Fresh, "E_BAD_BODY IDENTIFY missing fields"),
            (identify("null"), Fresh, "E_BAD_BODY IDENTIFY missing fields"),
            (
                identify(&IDENTITY.replace("24151", "0")),
                Fresh,
                "E_BAD_BODY IDENTIFY missing fields",
            ),
        ] {
            let refusal = decode_command(&input, stage).unwrap_err();
            assert_eq!(refusal.to_string(), text);
        }
        assert_eq!(Refusal::BadProtocol.to_string(), "E_BAD_PROTOCOL");
    }

    #[test]
    fn an_identity_is_read_with_keys_in_any_case_and_unknown_ones_skipped() {
        let body = IDENTITY
            .replace("http_port", "HTTP_Port")
            .replace('{', r#"{"remote_address":5,"hostname":"x","#)
            .replace(r#""topology_zone":"""#, r#""topology_zone":null"#);
        assert_eq!(ProducerIdentity::parse(body.as_bytes()), Ok(identity()));
    }

    #[test]
    fn an_endless_line_is_refused_at_its_limit() {
        let mut line = vec![b'P'; LINE_BYTES_MAX - 1];
        assert_eq!(decode_command(&line, Stage::Fresh), Ok(None));
        line.push(b'P');
        assert_eq!(decode_command(&line, Stage::Fresh), Err(Refusal::LineTooLong));
    }

    #[test]
    fn an_end_inside_identify_is_refused_and_an_end_inside_a_line_is_not() {
        for (input, stage, refusal) in [
            (&b""[..], Stage::Fresh, None),
            (b"REGIS", Stage::Identified, None),
            (b"IDENTIFY", Stage::Fresh, None),
            (b"IDENTIFY\n", Stage::Fresh, Some(Refusal::BadBodySize)),
            (b"IDENTIFY\n\0\0\0", Stage::Fresh, Some(Refusal::BadBodySize)),
            (b"IDENTIFY\n\0\0\0\x05{", Stage::Fresh, Some(Refusal::ShortBody)),
        ] {
            assert_eq!(refusal_at_end(input, stage), refusal, "{input:?}");
        }
    }

    #[test]
    fn answers_are_a_length_and_data_without_a_type() {
        let mut out = Vec::new();
        encode_answer(&mut out, OK);
        assert_eq!(out, b"\x00\x00\x00\x02OK");
        encode_answer(&mut out, Refusal::BadProtocol.to_string().as_bytes());
        assert_eq!(out[6..], *b"\x00\x00\x00\x0eE_BAD_PROTOCOL");

        for end in 0..6 {
            assert_eq!(decode_answer(&out[..end]), Ok(None));
        }
        assert_eq!(decode_answer(&out), Ok(Some((OK, 6))));
        assert_eq!(decode_answer(b"\xff\xff\xff\xff"), Err(BadAnswerLength(-1)));
        assert_eq!(decode_answer(b"\x00\x50\x00\x01"), Err(BadAnswerLength(5_242_881)));
    }

    #[test]
    fn the_answer_to_identify_has_its_keys_in_the_order_of_the_alphabet() {
        let answer = LookupdIdentity {
            broadcast_address: "127.0.0.1".into(),
            hostname: "vm".into(),
            http_port: 24161,
            tcp_port: 24160,
            version: "1.3.0".into(),
        };
        let json = r#"{"broadcast_address":"127.0.0.1","hostname":"vm","http_port":24161,"tcp_port":24160,"version":"1.3.0"}"#;
        assert_eq!(answer.to_json(), json);
        assert_eq!(serde_json::from_str::<LookupdIdentity>(json).unwrap(), answer);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_waits_and_never_takes_more_than_there_is(
            input in prop::collection::vec(any::<u8>(), 0..200),
            identified in any::<bool>(),
        ) {
            let stage = if identified { Stage::Identified } else { Stage::Fresh };
            if let Ok(Some((_, taken))) = decode_command(&input, stage) {
                prop_assert!(taken <= input.len());
            }
        }
    }
}
