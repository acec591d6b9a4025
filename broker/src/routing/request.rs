//! What one core may ask another: the closed list.
//!
//! Rules: a request carries owned values and is handled without waiting, for another core or for
//! the disk. What cannot be answered at once is left with the task that will know, so a mailbox
//! always drains and two full ones can never wait for each other. Mailboxes are bounded
//! ([`crate::limits`]); a full one makes the sender wait, and nothing is ever dropped.

use crate::connection::answers::AnswerPlace;
use crate::connection::handoff::Traveller;
use crate::http;
use crate::keys::ConnectionKey;
use crate::log::Glimpse;
use crate::routing::outbox::Within;
use crate::stats::measures::Measures;
use crate::topic::catalogue::Change;
use protocol::command::Verb;
use protocol::name::{ChannelName, TopicName};
use protocol::stats::{Filter, Stats};
use std::net::TcpStream;
use std::time::Duration;

/// What travels from core to core.
#[derive(Debug)]
pub enum Request {
    /// From the core that a publisher is connected to, to the owner of the topic. Answered with
    /// `Published` when the messages are kept as the acknowledgement policy says.
    Publish(Publish<Within>),
    /// The answer, back to where the publisher was connected.
    Published {
        /// Who waits for it.
        waiter: Waiter,
        /// Whether the messages are kept.
        result: Result<(), PublishError>,
    },
    /// A connection arrives, with everything it is: from where it was to the owner of its topic.
    /// Not answered.
    Arrive(Box<Traveller>),
    /// Serve this HTTP connection from now on. Not answered.
    ArriveByHttp(Box<http::handoff::Traveller>),
    /// A new connection, from the core that accepts to the one with the fewest. Not answered.
    Accept {
        /// The socket.
        stream: TcpStream,
        /// The port it came in by.
        door: Door,
    },
    /// How many connections a core has now, to the core that accepts. Not answered.
    Load {
        /// How many.
        connections: usize,
    },
    /// How many bytes the logs of a core take now, to all others. Not answered.
    Usage {
        /// How many.
        bytes: u64,
    },
    /// Whether there are nsqlookupds to ask about new topics, from the core that speaks to them to all
    /// others. Not answered.
    HasLookupds(bool),
    /// Something about topics, rare. Answered with `Answer` by a task of its own.
    Ask {
        /// What the asking core calls it.
        call: CallKey,
        /// What is asked.
        question: Question,
    },
    /// The answer to `Ask`.
    Answer {
        /// What the asking core calls it.
        call: CallKey,
        /// The answer.
        answer: Answer,
    },
    /// Stop: from the core that got the signal to all. Not answered.
    Stop,
}

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// NSQ's TCP protocol.
    Tcp,
    /// HTTP.
    Http,
    /// HTTP inside TLS.
    Https,
}

/// Messages on their way to the owner of their topic.
#[derive(Debug)]
pub struct Publish<R> {
    /// Who waits for the answer.
    pub waiter: Waiter,
    /// Where to.
    pub topic: TopicName,
    /// Deliver only after this long.
    pub delay: Option<Duration>,
    /// The messages.
    pub batch: Batch<R>,
}

/// One or more bodies.
#[derive(Debug)]
pub struct Batch<R> {
    /// How many bodies; `None`: `region` is one body as it is.
    pub count: Option<usize>,
    /// The bodies, each behind its length as in MPUB: their bytes, or where those are.
    pub region: R,
}

/// Who waits for a publish.
#[derive(Clone, Copy, Debug)]
pub enum Waiter {
    /// A client, with a place in its answers.
    Client {
        /// Its connection, on the core that asked.
        connection: ConnectionKey,
        /// The place.
        place: AnswerPlace,
        /// Which word it used: an error names it.
        verb: Verb,
    },
    /// A task, such as an HTTP request.
    Task(CallKey),
}

slotmap::new_key_type! {
    /// A task of the asking core that waits for an answer.
    pub struct CallKey;
}

/// Why messages were not kept. The text is what the client and the operator see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The topic or the broker is going away.
    Exiting,
    /// The broker takes nothing new.
    Draining,
    /// The log could not be written.
    Log(String),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exiting => f.write_str("exiting"),
            Self::Draining => f.write_str("draining"),
            Self::Log(reason) => f.write_str(reason),
        }
    }
}

/// What can be asked about topics.
#[derive(Clone, Debug)]
pub enum Question {
    /// From any core to the owner of the topic.
    Administer {
        /// Which topic.
        topic: TopicName,
        /// What to do with it.
        action: Action,
    },
    /// From any core to the owner of the topic: its newest messages, which stay as they are.
    Peek {
        /// Which topic.
        topic: TopicName,
        /// How many messages at most.
        count: usize,
    },
    /// From the owner of a topic to the core that keeps the list of all topics; answered when the
    /// list is on disk.
    Note(Change),
    /// From the owner of a new topic to the core that speaks to nsqlookupd: where it is known which
    /// channels a topic has on other brokers.
    LookupAddresses,
    /// From any core to every core: what it has. A filter keeps the answer small.
    Stats(Filter),
    /// From any core to every core: how long things took.
    Measures,
    /// From any core to the first: take nothing new, and end when all is delivered; and from the
    /// first to the others. Answered when publishes are refused.
    Drain,
    /// From any core to every core: which topics have messages left.
    Left,
    /// From any core to the first: which nsqlookupds are told, after these have taken the place of
    /// those before if any are given.
    Lookupds(Option<Vec<String>>),
}

/// What an operator can do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make it, unless it exists.
    CreateTopic,
    /// Remove it with all it has.
    DeleteTopic,
    /// Drop what waits in it.
    EmptyTopic,
    /// Hold messages back from its channels, or let them go.
    PauseTopic(bool),
    /// Make a channel, unless it exists.
    CreateChannel(ChannelName),
    /// Remove a channel with all it has.
    DeleteChannel(ChannelName),
    /// Drop all a channel has.
    EmptyChannel(ChannelName),
    /// Hold a channel's messages back from its consumers, or let them go.
    PauseChannel(ChannelName, bool),
}

/// What comes back.
#[derive(Debug)]
pub enum Answer {
    /// It is done, and stays so after a restart.
    Done,
    /// There is no such topic.
    TopicNotFound,
    /// There is no such channel.
    ChannelNotFound,
    /// It could not be kept.
    Failed(String),
    /// Answer to `Peek`: the newest last.
    Peeked(Vec<Glimpse>),
    /// Answer to a publish by a task.
    Published(Result<(), PublishError>),
    /// Answer to `LookupAddresses`: `host:port` of each nsqlookupd's HTTP side.
    LookupAddresses(Vec<String>),
    /// Answer to `Stats`.
    Stats(Box<Stats>),
    /// Answer to `Measures`.
    Measures(Box<Measures>),
    /// Answer to `Left`: how many messages each has.
    Left(Vec<(TopicName, u64)>),
    /// Answer to `Lookupds`.
    Lookupds(Vec<String>),
}
