//! PUB, MPUB and DPUB: into the topic when it lives here, else on their way to its owner.

use super::Step;
use crate::clock::Now;
use crate::keys::ConnectionKey;
use crate::limits::OUTBOX_BYTES_MAX;
use crate::routing::request::{Batch, Publish, Waiter};
use crate::shard::state::State;
use protocol::command::Command;
use protocol::name::TopicName;
use std::time::Duration;

/// Publishes, and keeps a place for the answer. Anything but [`Step::ReadOn`] means that the
/// command was not executed and must be offered again.
pub fn publish(state: &mut State, key: ConnectionKey, command: &Command<'_>, now: Now) -> Step {
    let Messages { topic, delay, count } = messages(command);
    let owner = state.placement.owner_of(topic);
    if owner != state.here && OUTBOX_BYTES_MAX <= state.outboxes.bytes(owner) {
        return Step::Wait { outbox: Some(owner) };
    }
    let connection = &mut state.connections[key];
    // A consumer lives where its topic is, whatever it publishes to.
    if connection.subscription.is_none()
        && connection.session.following.published_to(owner, state.here)
    {
        return Step::Move(owner);
    }
    *connection.session.published.entry(topic).or_default() += count;
    let place = connection.answers.promise();
    state.followed.published(key, place, now.tick);
    let waiter = Waiter::Client { connection: key, place, verb: command.verb() };
    if owner == state.here {
        let here = state.here;
        match *command {
            Command::PublishMany { bodies, .. } => {
                state.publish(here, waiter, topic, delay, bodies.iter(), now);
            }
            Command::Publish { body, .. } | Command::PublishDeferred { body, .. } => {
                state.publish(here, waiter, topic, delay, std::iter::once(body), now);
            }
            _ => unreachable!("only publishes come here"),
        }
        return Step::ReadOn;
    }
    let batch = match *command {
        Command::PublishMany { bodies, .. } => {
            Batch { count: Some(bodies.len()), region: bodies.region() }
        }
        Command::Publish { body, .. } | Command::PublishDeferred { body, .. } => {
            Batch { count: None, region: body }
        }
        _ => unreachable!("only publishes come here"),
    };
    state.outboxes.publish(owner, &Publish { waiter, topic, delay, batch });
    Step::ReadOn
}

struct Messages {
    topic: TopicName,
    delay: Option<Duration>,
    count: u64,
}

fn messages(command: &Command<'_>) -> Messages {
    match *command {
        Command::Publish { topic, .. } => Messages { topic, delay: None, count: 1 },
        Command::PublishDeferred { topic, delay, .. } => {
            Messages { topic, delay: Some(delay), count: 1 }
        }
        Command::PublishMany { topic, bodies } => {
            Messages { topic, delay: None, count: bodies.len() as u64 }
        }
        _ => unreachable!("only publishes come here"),
    }
}
