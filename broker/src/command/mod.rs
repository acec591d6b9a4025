//! What each command of a client does.
//!
//! The decoder has proved that a command is well formed and legal in the client's state; here it
//! takes effect on this core, or is sent on its way to the core that owns the topic. Nothing here
//! waits: what must is a [`Step`] that the connection's reader takes.

pub mod authorize;
pub mod consume;
pub mod identify;
pub mod publish;
pub mod subscribe;

pub use identify::Upgrade;
pub use subscribe::{Subscribed, subscribe};

use crate::clock::Now;
use crate::connection::Reply;
use crate::keys::ConnectionKey;
use crate::routing::placement::ShardId;
use crate::shard::state::State;
use protocol::command::Command;
use protocol::conversation::Phase;
use protocol::decoder::{DecodeError, Decoded, Decoder, check_magic};
use protocol::name::{ChannelName, TopicName};
use protocol::refusal::Refusal;
use protocol::request::MAGIC;

/// How a connection goes on after some of its commands were executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// With more bytes.
    ReadOn,
    /// With the rest of these bytes, when there is room for its answers or publishes.
    Wait {
        /// The core whose outbox is full, if that is why.
        outbox: Option<ShardId>,
    },
    /// On another core, with the rest of these bytes.
    Move(ShardId),
    /// With the rest of these bytes, when an authorization server has answered.
    Authorize(authorize::Reason),
    /// With TLS or compression, which begin behind the answer that agrees to them.
    Upgrade(Upgrade),
    /// With a subscription, which may have to wait for a new channel to be kept.
    Subscribe(TopicName, ChannelName),
    /// Not at all.
    End,
}

/// Executes the commands at the head of `input`, and says how many bytes they were.
pub fn execute(
    state: &mut State,
    key: ConnectionKey,
    decoder: &mut Decoder,
    input: &[u8],
    now: Now,
) -> (usize, Step) {
    let mut consumed = 0;
    loop {
        if state.config.auth.is_some()
            && let Some(step) =
                authorize::obstacle_to_batch(state, key, decoder, &input[consumed..], now)
        {
            return (consumed_at(step, consumed, input), step);
        }
        let Some(connection) = state.connections.get_mut(key) else { return (consumed, Step::End) };
        if connection.life != crate::connection::Life::Open {
            return (input.len(), Step::End);
        }
        if connection.must_wait() {
            return (consumed, Step::Wait { outbox: None });
        }
        let rest = &input[consumed..];
        if !connection.session.introduced {
            match check_magic(rest) {
                None => return (consumed, Step::ReadOn),
                Some(Ok(())) => {
                    let peer = connection.session.peer;
                    tracing::info!("CLIENT({peer}): desired protocol magic '  V2'");
                    connection.session.introduced = true;
                    consumed += MAGIC.len();
                }
                Some(Err(refusal)) => return (input.len(), refuse(state, key, refusal)),
            }
            continue;
        }
        let conversation = connection.session.conversation;
        let (command, length) = match decoder.decode(rest, conversation) {
            Ok(Decoded::NeedMore { .. }) => return (consumed, Step::ReadOn),
            Ok(Decoded::Command { command, consumed: length }) => (command, length),
            Err(DecodeError::LineTooLong) => {
                // What was answered before is said; this is not (NSQ behaviour).
                connection.answer(Reply::End);
                state.queue_to_send(key);
                return (input.len(), Step::End);
            }
            Err(DecodeError::Refused(refusal)) => {
                return (input.len(), refuse(state, key, refusal));
            }
        };
        connection.session.heartbeat.heard(now.tick);
        if let Some(step) = authorize::obstacle(state, key, &command, now) {
            return (consumed_at(step, consumed, input), step);
        }
        match command {
            Command::Finish(id) => consume::finish(state, key, id, now),
            Command::Publish { .. }
            | Command::PublishMany { .. }
            | Command::PublishDeferred { .. } => {
                match publish::publish(state, key, &command, now) {
                    Step::ReadOn => {}
                    step => return (consumed, step),
                }
            }
            Command::Ready(count) => consume::ready(state, key, count),
            Command::Requeue { id, delay } => consume::requeue(state, key, id, delay, now),
            Command::Touch(id) => consume::touch(state, key, id, now),
            Command::Nop => {}
            Command::Identify(body) => match identify::identify(state, key, body, now) {
                Step::ReadOn => {}
                step => return (consumed + length, step),
            },
            Command::Auth(secret) => match authorize::auth(state, key, secret) {
                Step::End => return (input.len(), Step::End),
                step => return (consumed + length, step),
            },
            Command::Subscribe { topic, channel } => {
                let owner = state.placement.owner_of(topic);
                if owner != state.here {
                    return (consumed, Step::Move(owner));
                }
                return (consumed + length, Step::Subscribe(topic, channel));
            }
            Command::StartClose => {
                let connection = &mut state.connections[key];
                connection.session.conversation.phase = Phase::Closing;
                connection.answer(Reply::Response(b"CLOSE_WAIT".to_vec()));
                consume::stop(state, key);
                state.queue_to_send(key);
            }
        }
        consumed += length;
    }
}

/// How much of the input is done with when a command was not executed for want of a permission.
fn consumed_at(step: Step, consumed: usize, input: &[u8]) -> usize {
    if step == Step::End { input.len() } else { consumed }
}

/// Refuses a command, and says so in the log; the connection ends if the refusal is fatal.
fn refuse(state: &mut State, key: ConnectionKey, refusal: Refusal) -> Step {
    let step = if refusal.closes_connection() { Step::End } else { Step::ReadOn };
    if let Some(connection) = state.connections.get_mut(key) {
        tracing::error!("[{}] - {}", connection.session.peer, refusal.text());
        connection.answer(Reply::Refused(refusal));
        state.queue_to_send(key);
    }
    step
}
