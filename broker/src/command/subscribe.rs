//! SUB: a connection becomes a consumer of one channel, on the core that owns the topic.

use crate::channel::{Locality, Terms};
use crate::clock::Now;
use crate::connection::Subscription;
use crate::keys::ConnectionKey;
use crate::shard::state::State;
use protocol::conversation::Phase;
use protocol::name::{ChannelName, TopicName};
use protocol::refusal::Refusal;

/// What became of a SUB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// It is a consumer of a channel that was there.
    ToKnown,
    /// It is a consumer of a new channel, which is to be kept before the client is answered.
    ToNew,
    /// It was refused.
    Refused,
}

/// Subscribes, without answering. The topic lives on this core.
pub fn subscribe(
    state: &mut State,
    key: ConnectionKey,
    topic: TopicName,
    channel: ChannelName,
    now: Now,
) -> Subscribed {
    let topic_key = state.topic_or_create(topic);
    let consumers_max = state.config.max_channel_consumers;
    let hosted = &mut state.topics[topic_key];
    let Some(connection) = state.connections.get_mut(key) else { return Subscribed::Refused };
    if hosted.leaving || state.stopping {
        return refuse(state, key, Refusal::subscribe_failed("exiting"));
    }
    let (channel_key, is_new) = hosted.topic.create_channel(channel, now);
    let there = hosted.topic.channel_mut(channel_key);
    if consumers_max != 0 && consumers_max <= there.subscriber_count() as u64 {
        let refusal = Refusal::consumer_limit(topic.as_str(), channel.as_str(), consumers_max);
        return refuse(state, key, refusal);
    }
    let locality = if state.config.is_topology_aware && connection.session.identified {
        Locality::of(&connection.session.settings, &state.config.offer)
    } else {
        Locality::default()
    };
    let subscriber = there.subscribe(Terms {
        connection: key,
        message_timeout: connection.session.settings.message_timeout,
        sample_rate: connection.session.settings.sample_rate,
        locality,
    });
    connection.subscription =
        Some(Subscription { topic: topic_key, channel: channel_key, subscriber });
    connection.session.conversation.phase = Phase::Subscribed;
    if is_new {
        tracing::info!("TOPIC({topic}): new channel({channel})");
        state.queue_to_deliver(topic_key);
        Subscribed::ToNew
    } else {
        Subscribed::ToKnown
    }
}

fn refuse(state: &mut State, key: ConnectionKey, refusal: Refusal) -> Subscribed {
    super::refuse(state, key, refusal);
    Subscribed::Refused
}
