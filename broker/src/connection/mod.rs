//! One client's connection: what it agreed, what it is owed, what it has not been sent yet.
//!
//! Lives on one core at a time. It starts on the core with the fewest connections and moves, with
//! everything it is, to the core that owns its topic ([`handoff`]).
//!
//! | Where do I look for | |
//! |---|---|
//! | reading and cutting commands | [`reader`] |
//! | which sockets have something to say | [`readiness`] |
//! | consumers that say much in small pieces | [`listening`] |
//! | the order of answers | [`answers`] |
//! | what a client may do | [`authorization`] |
//! | what waits to be sent | [`output`] |
//! | TLS, snappy, deflate | [`layers`]; how they begin: [`upgrade`] |
//! | heartbeats and giving up on a peer | [`heartbeat`] |
//! | the socket itself | [`socket`] |

pub mod answers;
pub mod authorization;
pub mod handoff;
pub mod handshakes;
pub mod heartbeat;
pub mod layers;
pub mod listening;
pub mod output;
pub mod peer;
pub mod reader;
pub mod readiness;
pub mod socket;
mod upgrade;

use crate::clock::Tick;
use crate::keys::{ChannelKey, SubscriberKey, TopicKey};
use crate::rings::Rings;
use crate::routing::placement::Following;
use answers::Answers;
use authorization::Authorization;
use heartbeat::Heartbeat;
use layers::Layers;
use output::Output;
use peer::Peer;
use protocol::conversation::Conversation;
use protocol::frame;
use protocol::identify::Settings;
use protocol::name::TopicName;
use protocol::refusal::Refusal;
use socket::{Sent, Socket};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Messages are handed to a connection until this many bytes wait to be sent on it; then its
/// channel chooses others. A frame is never cut, so the largest message comes on top.
const OUTPUT_BYTES_FULL: usize = 256 << 10;
/// When so few wait, it can take messages again.
const OUTPUT_BYTES_LOW: usize = 64 << 10;
/// A client that does not read its answers is not read from beyond this many unsent bytes.
const OUTPUT_BYTES_DEAF: usize = 1 << 20;
/// So many publishes of one connection may wait for other cores.
const ANSWERS_WAITING_MAX: usize = 4_096;

/// What a connection is, wherever it is: this is what moves.
#[derive(Debug)]
pub struct Session {
    /// Where the client is.
    pub peer: Peer,
    /// What it agreed.
    pub settings: Settings,
    /// What it may say now.
    pub conversation: Conversation,
    /// What it may do, where that is asked for.
    pub authorization: Authorization,
    /// Whether it said its magic.
    pub introduced: bool,
    /// Whether it said IDENTIFY.
    pub identified: bool,
    /// Seconds since the Unix epoch.
    pub connected_at: i64,
    /// Messages it published, by topic.
    pub published: BTreeMap<TopicName, u64>,
    /// Where it publishes to.
    pub following: Following,
    /// When the next heartbeat is due, and when it is given up.
    pub heartbeat: Heartbeat,
}

/// What a connection reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic, on this core.
    pub topic: TopicKey,
    /// Its channel.
    pub channel: ChannelKey,
    /// Who it is there.
    pub subscriber: SubscriberKey,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is served.
    Open,
    /// Nothing more is read as a command; what waits is sent, then the client is told the end.
    Ending,
    /// All was sent; what the client still sends is thrown away until it closes, or until this
    /// tick: closing with unread input would destroy the last frame on its way.
    Lingering(Tick),
    /// It is broken, or its time is up.
    Dead,
}

/// A connection on this core.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub socket: Rc<Socket>,
    /// What it is.
    pub session: Session,
    /// What it is owed.
    pub answers: Answers<Reply>,
    /// What it was not sent yet.
    pub output: Output,
    /// TLS and compression, if they were agreed.
    pub layers: Option<Box<Layers>>,
    /// A layer is being agreed: no heartbeat may come between the words about it.
    pub is_upgrading: bool,
    /// What it reads from.
    pub subscription: Option<Subscription>,
    /// How far it is from its end.
    pub life: Life,
    /// Since when the peer takes no bytes.
    pub blocked_since: Option<Tick>,
    /// It is in the list of those to be sent at the end of the turn.
    pub queued_to_send: bool,
    /// Its channel was told that it is full.
    pub congested: bool,
    /// When its alarms ring.
    pub rings: Rings,
    /// Its reader, waiting for room.
    pub reader: Option<Waker>,
}

/// An answer to a command.
#[derive(Debug)]
pub enum Reply {
    /// `OK`.
    Ok,
    /// Another response.
    Response(Vec<u8>),
    /// A refusal; may close the connection.
    Refused(Refusal),
    /// Nothing: the connection closes without a word.
    End,
}

impl Connection {
    /// A connection over `socket`, open.
    pub fn new(socket: Rc<Socket>, session: Session) -> Self {
        Self {
            socket,
            session,
            answers: Answers::default(),
            output: Output::default(),
            layers: None,
            is_upgrading: false,
            subscription: None,
            life: Life::Open,
            blocked_since: None,
            queued_to_send: false,
            congested: false,
            rings: Rings::default(),
            reader: None,
        }
    }

    /// Gives an answer that is known now.
    pub fn answer(&mut self, reply: Reply) {
        let (output, life) = (&mut self.output, &mut self.life);
        self.answers.give(reply, |reply| emit(output, life, &reply));
    }

    /// Gives the answer of a place that was promised.
    pub fn fulfil(&mut self, place: answers::AnswerPlace, reply: Reply) {
        let (output, life) = (&mut self.output, &mut self.life);
        self.answers.fulfil(place, reply, |reply| emit(output, life, &reply));
    }

    /// Whether messages may be handed to it.
    pub fn is_full(&self) -> bool {
        OUTPUT_BYTES_FULL <= self.output.len()
    }

    /// Whether it has sent enough to take messages again.
    pub fn has_room(&self) -> bool {
        self.output.len() <= OUTPUT_BYTES_LOW
    }

    /// Whether its commands must wait: it does not read its answers, or too many of its publishes
    /// are on their way.
    pub fn must_wait(&self) -> bool {
        OUTPUT_BYTES_DEAF <= self.output.len() || ANSWERS_WAITING_MAX <= self.answers.len()
    }

    /// Whether everything it is owed was sent.
    pub fn is_settled(&self) -> bool {
        self.answers.is_empty() && self.has_sent_all()
    }

    /// Whether nothing waits to be sent.
    pub fn has_sent_all(&self) -> bool {
        self.output.is_empty() && self.layers.as_ref().is_none_or(|layers| layers.is_wire_empty())
    }

    /// Whether there is something that it was not sent and can still be sent.
    pub fn owes_something(&self) -> bool {
        matches!(self.life, Life::Open | Life::Ending) && !self.is_settled()
    }

    /// Sends what it can without waiting.
    pub fn send(&mut self, now: Tick) -> Sent {
        let sent = match &mut self.layers {
            None => self.socket.send(&mut self.output),
            Some(layers) => self.socket.send_sealed(layers, &mut self.output),
        };
        match sent {
            Ok(Sent::All) => {
                self.blocked_since = None;
                Sent::All
            }
            Ok(Sent::Blocked) => {
                self.blocked_since.get_or_insert(now);
                Sent::Blocked
            }
            Err(_) => {
                // The peer is gone; its reader will learn the same.
                self.die();
                Sent::All
            }
        }
    }

    /// Sends some of what waits when the system takes bytes again.
    pub fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layers {
            None => self.socket.poll_send(context, &mut self.output),
            Some(layers) => {
                layers.seal(&mut self.output);
                self.socket.poll_send(context, layers.wire())
            }
        }
    }

    /// What came cannot be understood, and what is to be said of it is on the wire: nothing else is
    /// said any more.
    pub fn break_off(&mut self) {
        self.output = Output::default();
        self.life = Life::Ending;
    }

    /// Tells the peer that nothing more comes.
    pub fn finish_sending(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.say_goodbye();
            // It is a courtesy: whoever takes no bytes now goes without.
            self.socket.send(layers.wire()).ok();
        }
        self.socket.shut_down(std::net::Shutdown::Write);
    }

    /// Ends it at once: its reader finds the end of the stream.
    pub fn die(&mut self) {
        self.life = Life::Dead;
        self.socket.shut_down(std::net::Shutdown::Both);
        self.wake_reader();
    }

    /// Lets its reader look again.
    pub fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn emit(output: &mut Output, life: &mut Life, reply: &Reply) {
    // Behind a fatal refusal nothing is said any more.
    if *life != Life::Open {
        return;
    }
    output.gather(|bytes| match reply {
        Reply::Ok => bytes.extend_from_slice(frame::OK),
        Reply::Response(data) => frame::push_response(bytes, data),
        Reply::Refused(refusal) => {
            let mut text = Vec::new();
            refusal.push_text(&mut text);
            frame::push_error(bytes, &text);
        }
        Reply::End => {}
    });
    let closes = match reply {
        Reply::Ok | Reply::Response(_) => false,
        Reply::Refused(refusal) => refusal.closes_connection(),
        Reply::End => true,
    };
    if closes {
        *life = Life::Ending;
    }
}
