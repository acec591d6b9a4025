//! Other brokers that do the nearest same work: what they are started with, and what is said to them.
//!
//! Knows which there are. What each of them understands is in the file with its name.

mod nats;
mod redis;

use std::net::SocketAddr;
use std::path::Path;

use crate::load::consumers::Consumed;

/// A broker of another kind, of which one stream stands for a topic and its only channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// NATS with JetStream: a stream in files, and a durable consumer from which is pulled.
    Nats,
    /// Redis: a stream, and a group that reads it.
    Redis,
}

impl Peer {
    /// What the program is called.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Redis => "redis-server",
        }
    }

    /// With what it is started to listen there and keep everything in this folder. `settings` are of
    /// its own kind: lines of JetStream's block, flags of Redis.
    pub(crate) fn arguments(
        self,
        address: SocketAddr,
        data: &Path,
        settings: &[String],
    ) -> Vec<String> {
        match self {
            Self::Nats => nats::arguments(address, data, settings),
            Self::Redis => redis::arguments(address, data, settings),
        }
    }

    /// Makes the stream.
    pub(crate) fn make_stream(self, broker: SocketAddr) {
        match self {
            Self::Nats => nats::make_stream(broker),
            // It is there with its first message.
            Self::Redis => {}
        }
    }

    /// Makes what stands for the channel.
    pub(crate) fn make_channel(self, broker: SocketAddr) {
        match self {
            Self::Nats => nats::make_consumer(broker),
            Self::Redis => redis::make_group(broker),
        }
    }

    /// What a connection says first.
    pub(crate) fn greeting(self, connection: usize) -> Vec<u8> {
        match self {
            Self::Nats => nats::greeting(connection),
            Self::Redis => Vec::new(),
        }
    }

    /// What a connection says to publish a message.
    pub(crate) fn publish(self, connection: usize, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Nats => nats::publish(connection, body),
            Self::Redis => redis::publish(body),
        }
    }

    /// Whether what comes first says that a message was stored, and how long it is; `None` while it
    /// is not whole.
    ///
    /// # Panics
    /// When it says that a message was refused.
    pub(crate) fn answer(self, bytes: &[u8]) -> Option<(bool, usize)> {
        match self {
            Self::Nats => nats::answer(bytes),
            Self::Redis => redis::answer(bytes),
        }
    }

    /// Takes so many messages by so many consumers, each with `ready` of them under way at most, and
    /// acknowledges each by itself.
    pub(crate) fn consume(
        self,
        broker: SocketAddr,
        consumers: usize,
        ready: u32,
        messages: u64,
    ) -> Consumed {
        match self {
            Self::Nats => nats::consume(broker, consumers, ready, messages),
            Self::Redis => redis::consume(broker, consumers, ready, messages),
        }
    }
}
