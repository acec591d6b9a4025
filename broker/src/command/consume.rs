//! RDY, FIN, REQ, TOUCH and CLS: a consumer and its messages, on the core that owns its topic.

use crate::channel::{Channel, NotYours};
use crate::clock::Now;
use crate::connection::Subscription;
use crate::keys::{ConnectionKey, SubscriberKey};
use crate::message::Sequence;
use crate::shard::state::State;
use protocol::message_id::MessageId;
use protocol::refusal::{MessageFault, Refusal};
use std::time::Duration;

/// RDY: the window of messages that may be in flight to the client.
pub fn ready(state: &mut State, key: ConnectionKey, count: u64) {
    let Some(connection) = state.connections.get(key) else { return };
    let Some(subscription) = connection.subscription else { return };
    // A client that is closing may still say RDY; it has no effect (NSQ behaviour).
    if connection.session.conversation.phase == protocol::conversation::Phase::Closing {
        return;
    }
    set_ready_count(state, subscription, count);
}

/// CLS: no more messages.
pub fn stop(state: &mut State, key: ConnectionKey) {
    if let Some(subscription) = state.connections[key].subscription {
        set_ready_count(state, subscription, 0);
    }
}

fn set_ready_count(state: &mut State, subscription: Subscription, count: u64) {
    let channel = state.topics[subscription.topic].topic.channel_mut(subscription.channel);
    channel.set_ready_count(subscription.subscriber, count);
    state.queue_to_deliver(subscription.topic);
}

/// FIN: the message is done.
pub fn finish(state: &mut State, key: ConnectionKey, id: MessageId, now: Now) {
    on_message(state, key, id, Refusal::finish_failed, |channel, subscriber, sequence| {
        channel.finish(subscriber, sequence, now.tick)
    });
}

/// REQ: the message goes back to the queue, at once or after a delay.
pub fn requeue(state: &mut State, key: ConnectionKey, id: MessageId, delay: Duration, now: Now) {
    on_message(state, key, id, Refusal::requeue_failed, |channel, subscriber, sequence| {
        channel.requeue(subscriber, sequence, delay, now)
    });
}

/// TOUCH: the client needs longer.
pub fn touch(state: &mut State, key: ConnectionKey, id: MessageId, now: Now) {
    let timeout = state.connections[key].session.settings.message_timeout;
    let total_max = state.config.limits.max_message_timeout;
    on_message(state, key, id, Refusal::touch_failed, |channel, subscriber, sequence| {
        channel.touch(subscriber, sequence, timeout, total_max, now.tick)
    });
}

/// Finds the message and its channel, and refuses what `act` refuses; that closes nothing.
fn on_message(
    state: &mut State,
    key: ConnectionKey,
    id: MessageId,
    refusal: fn(MessageId, MessageFault) -> Refusal,
    act: impl FnOnce(&mut Channel, SubscriberKey, Sequence) -> Result<(), NotYours>,
) {
    let Some(connection) = state.connections.get(key) else { return };
    let Some(subscription) = connection.subscription else { return };
    let topic = &mut state.topics[subscription.topic].topic;
    let ids = topic.log().ids();
    let channel = topic.channel_mut(subscription.channel);
    let subscriber = subscription.subscriber;
    let result = match channel.sequence_of(subscriber, ids, id) {
        None => Err(NotYours::NotInFlight),
        Some(sequence) => act(channel, subscriber, sequence),
    };
    match result {
        Ok(()) => state.queue_to_deliver(subscription.topic),
        Err(reason) => {
            let fault = match reason {
                NotYours::NotInFlight => MessageFault::NotInFlight,
                NotYours::OtherClient => MessageFault::NotOwner,
            };
            super::refuse(state, key, refusal(id, fault));
        }
    }
}
