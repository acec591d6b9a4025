//! AUTH, and whether a client may do what it asks for.
//!
//! Nothing here happens unless authorization servers are configured. The servers are asked by
//! [`crate::shard::Shard::authorize`]; the rule is [`crate::connection::authorization`]'s.

use super::Step;
use crate::clock::Now;
use crate::connection::authorization::Verdict;
use crate::connection::{Life, Reply};
use crate::keys::ConnectionKey;
use crate::shard::state::State;
use protocol::authorization::{Grants, Secret};
use protocol::command::{Command, Verb};
use protocol::decoder::Decoder;
use protocol::name::{ChannelName, TopicName};
use protocol::refusal::Refusal;

/// Why a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client said AUTH, and waits for the answer.
    Asked,
    /// What it was granted is past its time.
    Expired,
}

/// AUTH: keeps what the client says about itself; a server is to be asked about it.
pub fn auth(state: &mut State, key: ConnectionKey, secret: &[u8]) -> Step {
    let authorization = &mut state.connections[key].session.authorization;
    if authorization.has_any() {
        return super::refuse(state, key, Refusal::auth_already_set());
    }
    if state.config.auth.is_none() {
        return super::refuse(state, key, Refusal::auth_disabled());
    }
    authorization.introduce(Secret::new(secret));
    Step::Authorize(Reason::Asked)
}

/// What keeps a command from being executed now: a refusal, or a server that must be asked first.
pub fn obstacle(
    state: &mut State,
    key: ConnectionKey,
    command: &Command<'_>,
    now: Now,
) -> Option<Step> {
    state.config.auth.as_ref()?;
    match *command {
        Command::Subscribe { topic, channel } => {
            obstacle_to(state, key, Verb::Subscribe, topic, Some(channel), now)
        }
        Command::Publish { topic, .. }
        | Command::PublishMany { topic, .. }
        | Command::PublishDeferred { topic, .. } => {
            obstacle_to(state, key, command.verb(), topic, None, now)
        }
        _ => None,
    }
}

/// As [`obstacle`], for an MPUB of which perhaps only the line is there: the client learns that it
/// may not before it has sent everything (NSQ behaviour).
pub fn obstacle_to_batch(
    state: &mut State,
    key: ConnectionKey,
    decoder: &Decoder,
    input: &[u8],
    now: Now,
) -> Option<Step> {
    let connection = state.connections.get(key)?;
    if connection.life != Life::Open || !connection.session.introduced {
        return None;
    }
    let topic = decoder.batch_topic(input, connection.session.conversation)?;
    obstacle_to(state, key, Verb::PublishMany, topic, None, now)
}

fn obstacle_to(
    state: &mut State,
    key: ConnectionKey,
    verb: Verb,
    topic: TopicName,
    channel: Option<ChannelName>,
    now: Now,
) -> Option<Step> {
    let authorization = &mut state.connections[key].session.authorization;
    let verdict = match channel {
        Some(channel) => authorization.may_subscribe(topic, channel, now.tick),
        None => authorization.may_publish(topic, now.tick),
    };
    let refusal = match verdict {
        Verdict::Granted => return None,
        Verdict::Expired => return Some(Step::Authorize(Reason::Expired)),
        Verdict::Unknown => Refusal::auth_first(verb),
        Verdict::Denied => {
            let channel = channel.as_ref().map_or("", ChannelName::as_str);
            Refusal::unauthorized(verb, topic.as_str(), channel)
        }
    };
    Some(super::refuse(state, key, refusal))
}

/// A server has answered, or none has.
pub fn answered(
    state: &mut State,
    key: ConnectionKey,
    reason: Reason,
    outcome: Result<Grants, String>,
    now: Now,
) {
    let Some(connection) = state.connections.get_mut(key) else { return };
    let grants = match outcome {
        Ok(grants) => grants,
        Err(failure) => {
            tracing::warn!("PROTOCOL(V2): [{}] AUTH failed {failure}", connection.session.peer);
            super::refuse(state, key, Refusal::auth_failed());
            return;
        }
    };
    let answer = grants.answer();
    let authorization = &mut connection.session.authorization;
    authorization.grant(grants, now.tick);
    match reason {
        Reason::Expired => {}
        Reason::Asked if authorization.has_any() => {
            connection.answer(Reply::Response(answer));
            state.queue_to_send(key);
        }
        Reason::Asked => {
            super::refuse(state, key, Refusal::no_authorizations());
        }
    }
}
