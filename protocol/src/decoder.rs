//! Cuts what a client sends into commands.
//!
//! ```text
//! NAME [SP parameter]* LF        a CR before the LF is dropped; every space parts two parameters
//! int32 size, size bytes         after IDENTIFY, AUTH, PUB, DPUB
//! int32 size, int32 count,       after MPUB
//!   count * (int32 size, size bytes)
//! ```
//!
//! Knows: these bytes, their limits, and the order in which NSQ looks at them. Does not know: where
//! input comes from; what is behind a command stays for the next call.

#![warn(clippy::indexing_slicing)]

use std::time::Duration;

use crate::command::{Bodies, Command, Verb};
use crate::conversation::{Conversation, Phase};
use crate::limits::{LINE_BYTES_MAX, Limits};
use crate::message_id::MessageId;
use crate::name::{ChannelName, TopicName};
use crate::refusal::Refusal;
use crate::request::MAGIC;

/// What was found at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole command.
    Command {
        /// The command, which borrows its body from the input.
        command: Command<'a>,
        /// How many bytes of the input it took. The next call begins behind them.
        consumed: usize,
    },
    /// The beginning of a command.
    NeedMore {
        /// How many bytes the input must have, those there now included, before another call can
        /// tell more. At most a line, four bytes, and the larger of the body and message limits.
        at_least: usize,
    },
}

/// Why the input cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The client is told, and the connection closed.
    Refused(Refusal),
    /// The line does not end where it must. NSQ drops such a connection without a frame.
    LineTooLong,
}

impl From<Refusal> for DecodeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether a connection begins as it must, with [`MAGIC`]; `None` until four bytes are there.
pub fn check_magic(input: &[u8]) -> Option<Result<(), Refusal>> {
    let magic = input.first_chunk()?;
    Some(if magic == MAGIC { Ok(()) } else { Err(Refusal::bad_protocol()) })
}

/// Cuts the input of one connection.
///
/// Holds no bytes, only how far the unfinished command at the start of the input was looked at, so
/// that one that arrives in many pieces is looked at once. A decoder made afresh in the middle of a
/// command finds the same; it looks at the pieces again.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    /// How many bytes of the unfinished command are known to come before its line feed.
    searched: usize,
    /// The unfinished MPUB, once its count is known.
    batch: Option<Batch>,
}

/// An MPUB of which some messages were looked at.
///
/// Invariants: `checked <= count`, and `start <= next`, both positions in the input.
#[derive(Clone, Copy, Debug)]
struct Batch {
    topic: TopicName,
    /// Where the first message begins.
    start: usize,
    /// How many messages there are to be.
    count: usize,
    /// How many of them are whole and within their limits.
    checked: usize,
    /// Where the first message begins that is not.
    next: usize,
}

impl Decoder {
    /// A decoder at the start of a conversation, behind the magic.
    pub fn new(limits: Limits) -> Self {
        Self { limits, searched: 0, batch: None }
    }

    /// The command at the start of `input`.
    ///
    /// `input` begins with the first byte that no command has consumed: an unfinished command is
    /// offered again, with more bytes behind it. `conversation` is as the commands before have
    /// left it. Allocates nothing unless it refuses.
    ///
    /// # Errors
    /// A [`DecodeError`] as soon as the bytes that prove it are there. Nothing can be decoded after
    /// it.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        conversation: Conversation,
    ) -> Result<Decoded<'a>, DecodeError> {
        let decoded = match self.batch.take() {
            Some(batch) => self.publish_many(input, batch)?,
            None => self.command(input, conversation)?,
        };
        if let Decoded::Command { .. } = decoded {
            self.searched = 0;
        }
        Ok(decoded)
    }

    /// The topic of the MPUB that `input` begins with, when its line is there and legal now. NSQ
    /// asks whether the client may publish there before it reads the messages.
    pub fn batch_topic(&self, input: &[u8], conversation: Conversation) -> Option<TopicName> {
        if let Some(batch) = &self.batch {
            return Some(batch.topic);
        }
        if !input.starts_with(b"MPUB ") || conversation.permits(Verb::PublishMany).is_err() {
            return None;
        }
        let line = input.get(..LINE_BYTES_MAX).unwrap_or(input);
        let line_bytes = line.iter().position(|&byte| byte == b'\n')? + 1;
        let (_, mut parameters) = words(input, line_bytes);
        TopicName::parse(parameters.next()?).ok()
    }

    /// What NSQ tells a client that stops sending in the middle of a body: `input` is all that will
    /// ever come, and [`Decoder::decode`] has just asked for more. `None` when the end came between
    /// two commands or in a line, where NSQ closes in silence.
    pub fn refuse_truncated(&self, input: &[u8]) -> Option<Refusal> {
        if let Some(batch) = self.batch {
            let behind = input.get(batch.next..).unwrap_or_default();
            return Some(match int32(behind, 0) {
                None => Refusal::message_size_unreadable(batch.checked),
                Some(_) => Refusal::body_unreadable(Verb::PublishMany),
            });
        }
        let line_bytes = input.iter().position(|&byte| byte == b'\n')? + 1;
        let verb = Verb::parse(words(input, line_bytes).0)?;
        Some(match int32(input, line_bytes) {
            None => Refusal::body_size_unreadable(verb),
            Some(_) if verb == Verb::PublishMany => Refusal::message_count_unreadable(),
            Some(_) => Refusal::body_unreadable(verb),
        })
    }

    /// The command at the start of `input`, of which no more than the line was looked at before.
    fn command<'a>(
        &mut self,
        input: &'a [u8],
        conversation: Conversation,
    ) -> Result<Decoded<'a>, DecodeError> {
        if let Some(id) = plain_finish(input) {
            conversation.permits(Verb::Finish)?;
            return Ok(whole(Command::Finish(id), FINISH_BYTES));
        }
        let Some(line_bytes) = self.line_bytes(input)? else {
            return Ok(Decoded::NeedMore { at_least: input.len() + 1 });
        };
        let (word, mut parameters) = words(input, line_bytes);
        let Some(verb) = Verb::parse(word) else {
            let refusal = if conversation.tls_missing {
                Refusal::tls_required(word)
            } else {
                Refusal::unknown_command(word)
            };
            return Err(refusal.into());
        };
        conversation.permits(verb)?;

        let max_message_bytes = self.limits.max_message_bytes;
        let too_few = || Refusal::insufficient_parameters(verb);
        let command = match verb {
            Verb::Finish => Command::Finish(message_id(parameters.next().ok_or_else(too_few)?)?),
            Verb::Touch => Command::Touch(message_id(parameters.next().ok_or_else(too_few)?)?),
            Verb::Requeue => {
                let id = parameters.next().ok_or_else(too_few)?;
                let delay = parameters.next().ok_or_else(too_few)?;
                let (id, delay) = (message_id(id)?, self.requeue_delay(delay)?);
                Command::Requeue { id, delay }
            }
            // NSQ does not even read the count by now.
            Verb::Ready if conversation.phase == Phase::Closing => Command::Nop,
            Verb::Ready => Command::Ready(self.ready_count(parameters.next())?),
            Verb::Publish => {
                let topic = topic_name(verb, parameters.next().ok_or_else(too_few)?)?;
                let body = match sized_body(verb, input, line_bytes, max_message_bytes)? {
                    Body::Whole(body) => body,
                    Body::NeedMore { at_least } => return Ok(Decoded::NeedMore { at_least }),
                };
                return Ok(whole(Command::Publish { topic, body }, line_bytes + 4 + body.len()));
            }
            Verb::PublishMany => {
                let topic = topic_name(verb, parameters.next().ok_or_else(too_few)?)?;
                let start = line_bytes + 8;
                return match self.batch_count(input, line_bytes)? {
                    Some(count) => {
                        let batch = Batch { topic, start, count, checked: 0, next: start };
                        self.publish_many(input, batch)
                    }
                    None if input.len() < line_bytes + 4 => {
                        Ok(Decoded::NeedMore { at_least: line_bytes + 4 })
                    }
                    None => Ok(Decoded::NeedMore { at_least: start }),
                };
            }
            Verb::PublishDeferred => {
                let topic = parameters.next().ok_or_else(too_few)?;
                let delay = parameters.next().ok_or_else(too_few)?;
                let (topic, delay) = (topic_name(verb, topic)?, self.publish_delay(delay)?);
                let body = match sized_body(verb, input, line_bytes, max_message_bytes)? {
                    Body::Whole(body) => body,
                    Body::NeedMore { at_least } => return Ok(Decoded::NeedMore { at_least }),
                };
                let command = Command::PublishDeferred { topic, delay, body };
                return Ok(whole(command, line_bytes + 4 + body.len()));
            }
            Verb::Subscribe => {
                let topic = parameters.next().ok_or_else(too_few)?;
                let channel = parameters.next().ok_or_else(too_few)?;
                let topic = topic_name(verb, topic)?;
                let channel =
                    ChannelName::parse(channel).map_err(|_| Refusal::bad_channel(channel))?;
                Command::Subscribe { topic, channel }
            }
            Verb::StartClose => Command::StartClose,
            Verb::Nop => Command::Nop,
            Verb::Identify | Verb::Auth => {
                if verb == Verb::Auth && parameters.next().is_some() {
                    return Err(Refusal::auth_has_parameters().into());
                }
                let body = match sized_body(verb, input, line_bytes, self.limits.max_body_bytes)? {
                    Body::Whole(body) => body,
                    Body::NeedMore { at_least } => return Ok(Decoded::NeedMore { at_least }),
                };
                let command = match verb {
                    Verb::Identify => Command::Identify(body),
                    _ => Command::Auth(body),
                };
                return Ok(whole(command, line_bytes + 4 + body.len()));
            }
        };
        Ok(whole(command, line_bytes))
    }

    /// The length of the first line, line feed included; `None` while it has no end.
    fn line_bytes(&mut self, input: &[u8]) -> Result<Option<usize>, DecodeError> {
        let longest = input.get(..LINE_BYTES_MAX).unwrap_or(input);
        let unsearched = longest.get(self.searched..).unwrap_or_default();
        if let Some(position) = unsearched.iter().position(|&byte| byte == b'\n') {
            self.searched += position;
            return Ok(Some(self.searched + 1));
        }
        if longest.len() == LINE_BYTES_MAX {
            return Err(DecodeError::LineTooLong);
        }
        self.searched = longest.len();
        Ok(None)
    }

    /// The count of RDY; 1 when it is left out.
    fn ready_count(&self, count: Option<&[u8]>) -> Result<u64, Refusal> {
        let Some(digits) = count else { return Ok(1) };
        let max = self.limits.max_ready_count;
        match decimal(digits) {
            None => Err(Refusal::ready_count_unparsable(digits)),
            // NSQ reads the count as signed, so a great one is shown as a negative one.
            Some(count) if max < count || count.cast_signed() < 0 => {
                Err(Refusal::ready_count_out_of_range(count.cast_signed(), max))
            }
            Some(count) => Ok(count),
        }
    }

    /// The delay of REQ: what is out of range is moved to its nearer end.
    fn requeue_delay(&self, delay: &[u8]) -> Result<Duration, Refusal> {
        let unparsable = || Refusal::delay_unparsable(Verb::Requeue, delay);
        let milliseconds = decimal(delay).ok_or_else(unparsable)?;
        let asked = delay_of(milliseconds).unwrap_or(Duration::ZERO);
        Ok(asked.min(self.limits.max_requeue_delay))
    }

    /// The delay of DPUB: what is out of range is refused.
    fn publish_delay(&self, delay: &[u8]) -> Result<Duration, Refusal> {
        let unparsable = || Refusal::delay_unparsable(Verb::PublishDeferred, delay);
        let milliseconds = decimal(delay).ok_or_else(unparsable)?;
        let max = self.limits.max_requeue_delay;
        delay_of(milliseconds)
            .filter(|asked| *asked <= max)
            .ok_or_else(|| Refusal::delay_out_of_range(milliseconds, max.as_millis()))
    }

    /// The number of messages that an MPUB announces; `None` until its two numbers are there.
    fn batch_count(&self, input: &[u8], line_bytes: usize) -> Result<Option<usize>, Refusal> {
        let Some(size) = int32(input, line_bytes) else { return Ok(None) };
        let max = self.limits.max_body_bytes;
        // NSQ holds the size against its limit, and then never looks at it again: one that is too
        // small, with all the messages behind it, publishes them all.
        match usize::try_from(size) {
            Err(_) | Ok(0) => return Err(Refusal::invalid_body_size(Verb::PublishMany, size)),
            Ok(size) if max < size => {
                return Err(Refusal::body_too_big(Verb::PublishMany, size, max));
            }
            Ok(_) => {}
        }
        let Some(count) = int32(input, line_bytes + 4) else { return Ok(None) };
        match usize::try_from(count) {
            Ok(number) if 0 < number && number <= self.limits.max_batch_messages() => {
                Ok(Some(number))
            }
            _ => Err(Refusal::invalid_message_count(count)),
        }
    }

    /// Goes on with an MPUB at the first message that was not checked.
    fn publish_many<'a>(
        &mut self,
        input: &'a [u8],
        mut batch: Batch,
    ) -> Result<Decoded<'a>, DecodeError> {
        if let Some(at_least) = check_messages(input, &mut batch, &self.limits)? {
            self.batch = Some(batch);
            return Ok(Decoded::NeedMore { at_least });
        }
        let region = input.get(batch.start..batch.next).expect("every message was found whole");
        let bodies = Bodies::from_region(region, batch.count);
        Ok(whole(Command::PublishMany { topic: batch.topic, bodies }, batch.next))
    }
}

/// Checks the messages of an MPUB, from the first unchecked one to the last that is whole. `None`
/// when that was all of them, else how many bytes of input the next one takes.
fn check_messages(
    input: &[u8],
    batch: &mut Batch,
    limits: &Limits,
) -> Result<Option<usize>, Refusal> {
    let max = limits.max_message_bytes;
    while batch.checked < batch.count {
        let Some(announced) = int32(input, batch.next) else { return Ok(Some(batch.next + 4)) };
        let size = match usize::try_from(announced) {
            Err(_) | Ok(0) => return Err(Refusal::invalid_message_size(batch.checked, announced)),
            Ok(size) if max < size => {
                return Err(Refusal::message_too_big(Verb::PublishMany, size, max));
            }
            Ok(size) => size,
        };
        let end = batch.next + 4 + size;
        // NSQ takes a count and sizes that add up to any number of bytes. Here they are held against
        // the limit that is meant for them, so that a connection's memory has a bound: a client that
        // announces its body truthfully, as all do, never meets this. Each message to come has at
        // least a size and one byte.
        let to_come = 5 * (batch.count - batch.checked - 1);
        let body_bytes = 4 + (end - batch.start) + to_come;
        if limits.max_body_bytes < body_bytes {
            let max = limits.max_body_bytes;
            return Err(Refusal::body_too_big(Verb::PublishMany, body_bytes, max));
        }
        if input.len() < end {
            return Ok(Some(end));
        }
        batch.next = end;
        batch.checked += 1;
    }
    Ok(None)
}

/// A body that follows a line.
enum Body<'a> {
    Whole(&'a [u8]),
    NeedMore { at_least: usize },
}

/// The body of IDENTIFY, AUTH, PUB or DPUB, whose size stands at `offset`.
fn sized_body(verb: Verb, input: &[u8], offset: usize, max: usize) -> Result<Body<'_>, Refusal> {
    let start = offset + 4;
    let Some(announced) = int32(input, offset) else {
        return Ok(Body::NeedMore { at_least: start });
    };
    let size = match usize::try_from(announced) {
        Err(_) | Ok(0) => return Err(Refusal::invalid_body_size(verb, announced)),
        Ok(size) if max < size => {
            return Err(match verb {
                Verb::Publish | Verb::PublishDeferred => Refusal::message_too_big(verb, size, max),
                _ => Refusal::body_too_big(verb, size, max),
            });
        }
        Ok(size) => size,
    };
    Ok(match input.get(start..start + size) {
        Some(body) => Body::Whole(body),
        None => Body::NeedMore { at_least: start + size },
    })
}

/// How long `FIN`, a space, an id and a line feed are.
const FINISH_BYTES: usize = 4 + MessageId::BYTES + 1;

/// The id of a FIN in the form that all clients write, which is every second command of a consumer.
/// `None` for whatever else the input begins with, a FIN in another form included.
fn plain_finish(input: &[u8]) -> Option<MessageId> {
    let rest = input.strip_prefix(b"FIN ")?;
    let (id, rest) = rest.split_first_chunk::<{ MessageId::BYTES }>()?;
    // A space would end the parameter, a line feed the line; a carriage return at the end is cut.
    (*rest.first()? == b'\n' && id.iter().all(|&byte| b' ' < byte)).then_some(MessageId(*id))
}

fn whole(command: Command<'_>, consumed: usize) -> Decoded<'_> {
    Decoded::Command { command, consumed }
}

/// The first word of a line, and its parameters. Two spaces in a row have an empty one between them.
fn words(input: &[u8], line_bytes: usize) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let line = input.get(..line_bytes).unwrap_or(input);
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|&byte| byte == b' ');
    (words.next().unwrap_or_default(), words)
}

fn topic_name(verb: Verb, name: &[u8]) -> Result<TopicName, Refusal> {
    TopicName::parse(name).map_err(|_| Refusal::bad_topic(verb, name))
}

fn message_id(id: &[u8]) -> Result<MessageId, Refusal> {
    id.try_into().map(MessageId).map_err(|_| Refusal::invalid_message_id())
}

/// The number that decimal digits spell. No digits are 0, and what 64 bits cannot hold wraps, as in
/// NSQ; `None` when there is anything but digits, a sign or a space included.
fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        Some(number.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })
}

/// So many milliseconds as NSQ counts them, in signed 64-bit nanoseconds that wrap; `None` when they
/// come out negative.
fn delay_of(milliseconds: u64) -> Option<Duration> {
    let nanoseconds = milliseconds.wrapping_mul(1_000_000).cast_signed();
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// The big-endian number at `offset`; `None` when it is not all there.
fn int32(input: &[u8], offset: usize) -> Option<i32> {
    input.get(offset..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}
