//! What a client is told when it may not have what it asked for.
//!
//! Knows: every error text of the V2 protocol, once, and whether it closes the connection. Texts are
//! part of the protocol: clients and scripts compare them. Does not know: when each one is due.

use std::fmt;

use crate::command::Verb;
use crate::message_id::MessageId;
use crate::quoted::quoted;

/// The first word of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// `E_INVALID`: not a command, or not now, or not with these parameters.
    Invalid,
    /// `E_BAD_PROTOCOL`: the first four bytes are not those of V2.
    BadProtocol,
    /// `E_BAD_BODY`: the body of IDENTIFY, AUTH or MPUB.
    BadBody,
    /// `E_BAD_TOPIC`
    BadTopic,
    /// `E_BAD_CHANNEL`
    BadChannel,
    /// `E_BAD_MESSAGE`: the body of PUB or DPUB, or one body of MPUB.
    BadMessage,
    /// `E_FIN_FAILED`; the conversation goes on.
    FinFailed,
    /// `E_REQ_FAILED`; the conversation goes on.
    ReqFailed,
    /// `E_TOUCH_FAILED`; the conversation goes on.
    TouchFailed,
    /// `E_PUB_FAILED`
    PubFailed,
    /// `E_MPUB_FAILED`
    MpubFailed,
    /// `E_DPUB_FAILED`
    DpubFailed,
    /// `E_SUB_FAILED`
    SubFailed,
    /// `E_IDENTIFY_FAILED`
    IdentifyFailed,
    /// `E_AUTH_FIRST`
    AuthFirst,
    /// `E_AUTH_FAILED`
    AuthFailed,
    /// `E_AUTH_DISABLED`
    AuthDisabled,
    /// `E_AUTH_ERROR`
    AuthError,
    /// `E_UNAUTHORIZED`
    Unauthorized,
}

impl Code {
    /// The word as it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "E_INVALID",
            Self::BadProtocol => "E_BAD_PROTOCOL",
            Self::BadBody => "E_BAD_BODY",
            Self::BadTopic => "E_BAD_TOPIC",
            Self::BadChannel => "E_BAD_CHANNEL",
            Self::BadMessage => "E_BAD_MESSAGE",
            Self::FinFailed => "E_FIN_FAILED",
            Self::ReqFailed => "E_REQ_FAILED",
            Self::TouchFailed => "E_TOUCH_FAILED",
            Self::PubFailed => "E_PUB_FAILED",
            Self::MpubFailed => "E_MPUB_FAILED",
            Self::DpubFailed => "E_DPUB_FAILED",
            Self::SubFailed => "E_SUB_FAILED",
            Self::IdentifyFailed => "E_IDENTIFY_FAILED",
            Self::AuthFirst => "E_AUTH_FIRST",
            Self::AuthFailed => "E_AUTH_FAILED",
            Self::AuthDisabled => "E_AUTH_DISABLED",
            Self::AuthError => "E_AUTH_ERROR",
            Self::Unauthorized => "E_UNAUTHORIZED",
        }
    }

    /// Whether the connection ends once the client has been told.
    pub fn closes_connection(self) -> bool {
        !matches!(self, Self::FinFailed | Self::ReqFailed | Self::TouchFailed)
    }
}

/// Why a message that a client names is not its to finish, requeue or touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// It was never delivered, or was finished, requeued, or timed out since.
    NotInFlight,
    /// It is in flight with another client.
    NotOwner,
    /// The channel is being deleted. Of REQ alone.
    Exiting,
    /// It is waiting for its delay already. Of REQ alone.
    AlreadyDeferred,
}

impl MessageFault {
    fn text(self) -> &'static str {
        match self {
            Self::NotInFlight => "ID not in flight",
            Self::NotOwner => "client does not own message",
            Self::Exiting => "exiting",
            Self::AlreadyDeferred => "ID already deferred",
        }
    }
}

/// One refusal: on the wire `CODE`, or `CODE reason`.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The first word.
    pub code: Code,
    /// What follows, without the space between; empty when nothing does. Bytes, since some reasons
    /// repeat what the client sent.
    pub reason: Vec<u8>,
}

impl Refusal {
    /// The text for people. What is not UTF-8 is shown as U+FFFD; the wire has
    /// [`Refusal::push_text`].
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        self.push_text(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Appends the text as it stands in an error frame.
    pub fn push_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.code.word().as_bytes());
        if !self.reason.is_empty() {
            out.push(b' ');
            out.extend_from_slice(&self.reason);
        }
    }

    /// Whether the connection ends once the client has been told.
    pub fn closes_connection(&self) -> bool {
        self.code.closes_connection()
    }

    // Any command.

    /// The first four bytes are not those of V2.
    pub fn bad_protocol() -> Self {
        Self::new(Code::BadProtocol, "")
    }

    /// No command begins with `word`.
    pub fn unknown_command(word: &[u8]) -> Self {
        Self::repeating(Code::Invalid, "invalid command ", word, "")
    }

    /// TLS is required, and `word` is not IDENTIFY.
    pub fn tls_required(word: &[u8]) -> Self {
        Self::repeating(Code::Invalid, "cannot ", word, " in current state (TLS required)")
    }

    /// The conversation is not in a phase in which `verb` is legal.
    pub fn wrong_state(verb: Verb) -> Self {
        Self::new(Code::Invalid, format!("cannot {verb} in current state"))
    }

    /// The line of `verb` is too short.
    pub fn insufficient_parameters(verb: Verb) -> Self {
        let parameters = match verb {
            Verb::Finish | Verb::Requeue | Verb::Touch => "params",
            _ => "parameters",
        };
        Self::new(Code::Invalid, format!("{verb} insufficient number of {parameters}"))
    }

    // Bodies.

    /// The input ends before the size of the body does.
    pub fn body_size_unreadable(verb: Verb) -> Self {
        let what = body_in_words(verb);
        Self::new(body_code(verb), format!("{verb} failed to read {what} size"))
    }

    /// The input ends before the body does. Of MPUB: before one of its messages does.
    pub fn body_unreadable(verb: Verb) -> Self {
        match verb {
            Verb::PublishMany => Self::new(Code::BadMessage, "MPUB failed to read message body"),
            _ => {
                let what = body_in_words(verb);
                Self::new(body_code(verb), format!("{verb} failed to read {what}"))
            }
        }
    }

    /// The body of `verb` is to have so many bytes, which is not positive.
    pub fn invalid_body_size(verb: Verb, size: i32) -> Self {
        let what = body_in_words(verb);
        Self::new(body_code(verb), format!("{verb} invalid {what} size {size}"))
    }

    /// The body of IDENTIFY, AUTH or MPUB has more bytes than one may have.
    pub fn body_too_big(verb: Verb, size: usize, max: usize) -> Self {
        Self::new(Code::BadBody, format!("{verb} body too big {size} > {max}"))
    }

    /// A message of PUB, MPUB or DPUB has more bytes than one may have.
    pub fn message_too_big(verb: Verb, size: usize, max: usize) -> Self {
        Self::new(Code::BadMessage, format!("{verb} message too big {size} > {max}"))
    }

    /// The input of MPUB ends before the number of its messages does.
    pub fn message_count_unreadable() -> Self {
        Self::new(Code::BadBody, "MPUB failed to read message count")
    }

    /// MPUB announces so many messages: none, less than none, or more than a body can hold.
    pub fn invalid_message_count(count: i32) -> Self {
        Self::new(Code::BadBody, format!("MPUB invalid message count {count}"))
    }

    /// The input of MPUB ends before the size of a message does; the first has the index 0.
    pub fn message_size_unreadable(index: usize) -> Self {
        Self::new(Code::BadMessage, format!("MPUB failed to read message({index}) body size"))
    }

    /// A message of MPUB is to have so many bytes, which is not positive; the first has the index 0.
    pub fn invalid_message_size(index: usize, size: i32) -> Self {
        Self::new(Code::BadMessage, format!("MPUB invalid message({index}) body size {size}"))
    }

    // IDENTIFY.

    /// The body is not JSON, or a value in it is of the wrong type.
    pub fn identify_unparsable() -> Self {
        Self::new(Code::BadBody, "IDENTIFY failed to decode JSON body")
    }

    /// The heartbeat interval, in milliseconds, is out of its range.
    pub fn heartbeat_interval_out_of_range(milliseconds: i64) -> Self {
        Self::out_of_range("heartbeat interval", milliseconds)
    }

    /// The output buffer timeout, in milliseconds, is out of its range.
    pub fn output_buffer_timeout_out_of_range(milliseconds: i64) -> Self {
        Self::out_of_range("output buffer timeout", milliseconds)
    }

    /// The size of the output buffer, in bytes, is out of its range.
    pub fn output_buffer_size_out_of_range(bytes: i64) -> Self {
        Self::out_of_range("output buffer size", bytes)
    }

    /// The sample rate, in percent, is out of its range.
    pub fn sample_rate_out_of_range(percent: i64) -> Self {
        Self::out_of_range("sample rate", percent)
    }

    /// The message timeout, in milliseconds, is out of its range.
    pub fn message_timeout_out_of_range(milliseconds: i64) -> Self {
        Self::out_of_range("msg timeout", milliseconds)
    }

    /// Two compressions were asked for, and both are to be had.
    pub fn two_compressions() -> Self {
        let reason = "cannot enable both deflate and snappy compression";
        Self::new(Code::IdentifyFailed, reason)
    }

    /// What was agreed at IDENTIFY could not be put into effect.
    pub fn identify_failed(reason: &str) -> Self {
        Self::new(Code::IdentifyFailed, format!("IDENTIFY failed {reason}"))
    }

    // AUTH, and what needs it.

    /// AUTH takes no parameter.
    pub fn auth_has_parameters() -> Self {
        Self::new(Code::Invalid, "AUTH invalid number of parameters")
    }

    /// The client is authorized already.
    pub fn auth_already_set() -> Self {
        Self::new(Code::Invalid, "AUTH already set")
    }

    /// No authorization server is configured.
    pub fn auth_disabled() -> Self {
        Self::new(Code::AuthDisabled, "AUTH disabled")
    }

    /// The authorization server gave no usable answer. Why is not the client's business.
    pub fn auth_failed() -> Self {
        Self::new(Code::AuthFailed, "AUTH failed")
    }

    /// The authorization server knows the client, and grants nothing.
    pub fn no_authorizations() -> Self {
        Self::new(Code::Unauthorized, "AUTH no authorizations found")
    }

    /// The answer to AUTH could not be given.
    pub fn auth_error(reason: &str) -> Self {
        Self::new(Code::AuthError, format!("AUTH error {reason}"))
    }

    /// AUTH must come before `verb`.
    pub fn auth_first(verb: Verb) -> Self {
        Self::new(Code::AuthFirst, format!("AUTH required before {verb}"))
    }

    /// The client's authorizations do not cover `verb` here; a publish has the empty channel.
    pub fn unauthorized(verb: Verb, topic: &str, channel: &str) -> Self {
        let mut reason = format!("AUTH failed for {verb} on ");
        reason.push_str(&quoted(topic.as_bytes()));
        reason.push(' ');
        reason.push_str(&quoted(channel.as_bytes()));
        Self::new(Code::Unauthorized, reason)
    }

    // Names.

    /// These bytes are not the name of a topic.
    pub fn bad_topic(verb: Verb, name: &[u8]) -> Self {
        // NSQ puts the code of MPUB into its reason as well, so the wire has it twice.
        let twice = if verb == Verb::PublishMany { "E_BAD_TOPIC " } else { "" };
        let name = quoted(name);
        Self::new(Code::BadTopic, format!("{twice}{verb} topic name {name} is not valid"))
    }

    /// These bytes are not the name of a channel.
    pub fn bad_channel(name: &[u8]) -> Self {
        Self::new(Code::BadChannel, format!("SUB channel name {} is not valid", quoted(name)))
    }

    // SUB and RDY.

    /// SUB needs heartbeats, and this client has none.
    pub fn heartbeats_disabled() -> Self {
        Self::new(Code::Invalid, "cannot SUB with heartbeats disabled")
    }

    /// The channel has as many consumers as it may have.
    pub fn consumer_limit(topic: &str, channel: &str, limit: u64) -> Self {
        let reason = format!("SUB failed consumers for {topic}:{channel} exceeds limit of {limit}");
        Self::new(Code::SubFailed, reason)
    }

    /// SUB failed for another reason; `exiting` when the channel is being deleted.
    pub fn subscribe_failed(reason: &str) -> Self {
        Self::new(Code::SubFailed, format!("SUB failed {reason}"))
    }

    /// The ephemeral topic or channel was deleted while it was being subscribed to.
    pub fn subscribed_to_deleted() -> Self {
        Self::subscribe_failed("to deleted topic/channel")
    }

    /// The count of RDY is not all digits.
    pub fn ready_count_unparsable(count: &[u8]) -> Self {
        Self::repeating(Code::Invalid, "RDY could not parse count ", count, "")
    }

    /// The count of RDY is greater than it may be, or so great that it reads as a negative number.
    pub fn ready_count_out_of_range(count: i64, max: u64) -> Self {
        Self::new(Code::Invalid, format!("RDY count {count} out of range 0-{max}"))
    }

    // FIN, REQ, TOUCH.

    /// The id of FIN, REQ or TOUCH does not have sixteen bytes.
    pub fn invalid_message_id() -> Self {
        Self::new(Code::Invalid, "invalid message ID")
    }

    /// The delay of REQ or DPUB is not all digits.
    pub fn delay_unparsable(verb: Verb, delay: &[u8]) -> Self {
        let before = match verb {
            Verb::Requeue => "REQ could not parse timeout ",
            _ => "DPUB could not parse timeout ",
        };
        Self::repeating(Code::Invalid, before, delay, "")
    }

    /// FIN, as `id` is not the client's to finish.
    pub fn finish_failed(id: MessageId, fault: MessageFault) -> Self {
        Self::message_failed(Code::FinFailed, "FIN ", id, fault)
    }

    /// REQ, as `id` is not the client's to give back.
    pub fn requeue_failed(id: MessageId, fault: MessageFault) -> Self {
        Self::message_failed(Code::ReqFailed, "REQ ", id, fault)
    }

    /// TOUCH, as `id` is not the client's to keep longer.
    pub fn touch_failed(id: MessageId, fault: MessageFault) -> Self {
        Self::message_failed(Code::TouchFailed, "TOUCH ", id, fault)
    }

    // PUB, MPUB, DPUB.

    /// The delay of DPUB is longer than one may be; both in milliseconds.
    pub fn delay_out_of_range(milliseconds: u64, max: u128) -> Self {
        Self::new(Code::Invalid, format!("DPUB timeout {milliseconds} out of range 0-{max}"))
    }

    /// PUB failed; `exiting` when the topic is being deleted, else what the disk said.
    pub fn publish_failed(reason: &str) -> Self {
        Self::new(Code::PubFailed, format!("PUB failed {reason}"))
    }

    /// MPUB failed; the reason is as that of [`Refusal::publish_failed`].
    pub fn publish_many_failed(reason: &str) -> Self {
        Self::new(Code::MpubFailed, format!("MPUB failed {reason}"))
    }

    /// DPUB failed; the reason is as that of [`Refusal::publish_failed`].
    pub fn publish_deferred_failed(reason: &str) -> Self {
        Self::new(Code::DpubFailed, format!("DPUB failed {reason}"))
    }

    fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into().into_bytes() }
    }

    /// A reason that repeats what the client sent, byte by byte.
    fn repeating(code: Code, before: &str, sent: &[u8], after: &str) -> Self {
        Self { code, reason: [before.as_bytes(), sent, after.as_bytes()].concat() }
    }

    fn out_of_range(setting: &str, value: i64) -> Self {
        Self::new(Code::BadBody, format!("IDENTIFY {setting} ({value}) is invalid"))
    }

    fn message_failed(code: Code, before: &str, id: MessageId, fault: MessageFault) -> Self {
        Self::repeating(code, before, &id.0, &format!(" failed {}", fault.text()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({:?})", self.text())
    }
}

impl std::error::Error for Refusal {}

/// The code for a bad body of `verb`.
fn body_code(verb: Verb) -> Code {
    match verb {
        Verb::Publish | Verb::PublishDeferred => Code::BadMessage,
        _ => Code::BadBody,
    }
}

/// What the texts call the body of `verb`.
fn body_in_words(verb: Verb) -> &'static str {
    match verb {
        Verb::Publish | Verb::PublishDeferred => "message body",
        _ => "body",
    }
}
