//! What a client can ask of a broker.
//!
//! Knows: the verbs, and each command with its parameters already checked. Does not know: how the
//! bytes arrive ([`crate::decoder`]) or are written ([`crate::request`]), nor what is legal when
//! ([`crate::conversation`]).

#![warn(clippy::indexing_slicing)]

use std::fmt;
use std::time::Duration;

use crate::message_id::MessageId;
use crate::name::{ChannelName, TopicName};

/// The first word of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `IDENTIFY`
    Identify,
    /// `AUTH`
    Auth,
    /// `SUB`
    Subscribe,
    /// `RDY`
    Ready,
    /// `FIN`
    Finish,
    /// `REQ`
    Requeue,
    /// `TOUCH`
    Touch,
    /// `PUB`
    Publish,
    /// `MPUB`
    PublishMany,
    /// `DPUB`
    PublishDeferred,
    /// `CLS`
    StartClose,
    /// `NOP`
    Nop,
}

impl Verb {
    /// The word as it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identify => "IDENTIFY",
            Self::Auth => "AUTH",
            Self::Subscribe => "SUB",
            Self::Ready => "RDY",
            Self::Finish => "FIN",
            Self::Requeue => "REQ",
            Self::Touch => "TOUCH",
            Self::Publish => "PUB",
            Self::PublishMany => "MPUB",
            Self::PublishDeferred => "DPUB",
            Self::StartClose => "CLS",
            Self::Nop => "NOP",
        }
    }

    /// The verb that `word` spells, exactly and in upper case; `None` for any other word.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"FIN" => Self::Finish,
            b"PUB" => Self::Publish,
            b"MPUB" => Self::PublishMany,
            b"RDY" => Self::Ready,
            b"REQ" => Self::Requeue,
            b"TOUCH" => Self::Touch,
            b"DPUB" => Self::PublishDeferred,
            b"NOP" => Self::Nop,
            b"SUB" => Self::Subscribe,
            b"CLS" => Self::StartClose,
            b"IDENTIFY" => Self::Identify,
            b"AUTH" => Self::Auth,
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One command, whole and well-formed. Bodies borrow the input they were decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `IDENTIFY`: a JSON body of 1 to `max_body_bytes`, not yet parsed
    /// ([`crate::identify::IdentifyRequest::parse`]).
    Identify(&'a [u8]),
    /// `AUTH`: a secret of 1 to `max_body_bytes`. Whether it is asked for at all is not checked.
    Auth(&'a [u8]),
    /// `SUB topic channel`.
    Subscribe {
        /// The topic, which is created when missing.
        topic: TopicName,
        /// The channel, which is created when missing.
        channel: ChannelName,
    },
    /// `RDY count`: 0 to `max_ready_count`; 1 when the client left the count out.
    Ready(u64),
    /// `FIN id`.
    Finish(MessageId),
    /// `REQ id milliseconds`.
    Requeue {
        /// The message to be given back.
        id: MessageId,
        /// After how long: 0 to `max_requeue_delay`, already clamped.
        delay: Duration,
    },
    /// `TOUCH id`.
    Touch(MessageId),
    /// `PUB topic`.
    Publish {
        /// The topic, which is created when missing.
        topic: TopicName,
        /// 1 to `max_message_bytes`.
        body: &'a [u8],
    },
    /// `MPUB topic`.
    PublishMany {
        /// The topic, which is created when missing.
        topic: TopicName,
        /// At least one message, each of 1 to `max_message_bytes`.
        bodies: Bodies<'a>,
    },
    /// `DPUB topic milliseconds`.
    PublishDeferred {
        /// The topic, which is created when missing.
        topic: TopicName,
        /// After how long it may be delivered: 0 to `max_requeue_delay`.
        delay: Duration,
        /// 1 to `max_message_bytes`.
        body: &'a [u8],
    },
    /// `CLS`.
    StartClose,
    /// `NOP`, and also RDY on a closing conversation, which NSQ ignores whatever its count says.
    Nop,
}

impl Command<'_> {
    /// The command's first word. Of a RDY that was ignored it is `NOP`.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Identify(_) => Verb::Identify,
            Self::Auth(_) => Verb::Auth,
            Self::Subscribe { .. } => Verb::Subscribe,
            Self::Ready(_) => Verb::Ready,
            Self::Finish(_) => Verb::Finish,
            Self::Requeue { .. } => Verb::Requeue,
            Self::Touch(_) => Verb::Touch,
            Self::Publish { .. } => Verb::Publish,
            Self::PublishMany { .. } => Verb::PublishMany,
            Self::PublishDeferred { .. } => Verb::PublishDeferred,
            Self::StartClose => Verb::StartClose,
            Self::Nop => Verb::Nop,
        }
    }
}

/// The messages of one batch as they lie on the wire: a region of bytes that is `count` times
/// (`int32` size, so many bytes), back to back, with nothing before, between or behind.
///
/// Copying it copies a pointer. To send a batch to another core, copy [`Bodies::region`] there and
/// rebuild it with [`Bodies::from_region`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bodies<'a> {
    /// Invariant: holds exactly `count` sized bodies.
    region: &'a [u8],
    count: usize,
}

impl<'a> Bodies<'a> {
    /// The batch that `region` holds. Trusted: the caller has both values from [`Bodies::region`]
    /// and [`Bodies::len`] of a batch that was checked, or laid the region out itself.
    pub fn from_region(region: &'a [u8], count: usize) -> Self {
        let bodies = Self { region, count };
        debug_assert_eq!(bodies.iter().count(), count);
        debug_assert_eq!(bodies.iter().map(|body| body.len() + 4).sum::<usize>(), region.len());
        bodies
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no message. Never of a decoded command.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of all bodies together, their sizes not counted.
    pub fn total_bytes(&self) -> usize {
        self.region.len() - 4 * self.count
    }

    /// Sizes and bodies as they came.
    pub fn region(&self) -> &'a [u8] {
        self.region
    }

    /// The bodies, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.region;
        std::iter::from_fn(move || {
            let (size, behind) = rest.split_first_chunk()?;
            let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
            let (body, behind) = behind.split_at_checked(size)?;
            rest = behind;
            Some(body)
        })
    }
}

impl fmt::Debug for Bodies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bodies({} messages, {} bytes)", self.count, self.total_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_its_bodies_in_order_and_survives_a_copy_of_its_region() {
        let region = [&[0, 0, 0, 3][..], b"abc", &[0, 0, 0, 2], b"de"].concat();
        let bodies = Bodies::from_region(&region, 2);
        assert_eq!(bodies.iter().collect::<Vec<_>>(), [&b"abc"[..], b"de"]);
        assert_eq!((bodies.len(), bodies.total_bytes()), (2, 5));
        let copy = bodies.region().to_vec();
        assert_eq!(Bodies::from_region(&copy, bodies.len()), bodies);
    }

    #[test]
    fn a_word_is_a_verb_only_in_upper_case_and_whole() {
        for word in ["FIN", "PUB", "MPUB", "RDY", "REQ", "TOUCH", "DPUB", "NOP", "SUB", "CLS"] {
            assert_eq!(Verb::parse(word.as_bytes()).map(Verb::word), Some(word));
        }
        for word in ["IDENTIFY", "AUTH"] {
            assert_eq!(Verb::parse(word.as_bytes()).map(Verb::word), Some(word));
        }
        for word in ["", "fin", "Pub", "FINX", "PU", "PING"] {
            assert_eq!(Verb::parse(word.as_bytes()), None);
        }
    }
}
