//! What happens when a connection has ended.

use super::Shard;
use super::state::{Job, State};
use crate::keys::ConnectionKey;
use crate::routing::placement::ShardId;
use crate::routing::request::Request;

/// The core that accepts connections, keeps the list of topics and speaks to nsqlookupd.
pub const FIRST: ShardId = ShardId(0);

impl Shard {
    /// Removes a connection that has ended. Its messages in flight wait for their timeout (NSQ
    /// behaviour).
    pub fn leave(&self, key: ConnectionKey) {
        self.stop_consuming(key);
        let mut state = self.state.borrow_mut();
        state.followed.left(key);
        let Some(connection) = state.connections.remove(key) else { return };
        tracing::info!("PROTOCOL(V2): [{}] exiting ioloop", connection.session.peer);
        state.report_load();
    }

    /// Takes a connection out of its channel.
    pub fn stop_consuming(&self, key: ConnectionKey) {
        let mut state = self.state.borrow_mut();
        let Some(connection) = state.connections.get_mut(key) else { return };
        let Some(subscription) = connection.subscription.take() else { return };
        let Some(hosted) = state.topics.get_mut(subscription.topic) else { return };
        let topic = hosted.topic.name();
        let channel = hosted.topic.channel_mut(subscription.channel);
        channel.unsubscribe(subscription.subscriber);
        if channel.name().is_ephemeral() && channel.subscriber_count() == 0 {
            let channel = channel.name();
            state.jobs.push(Job::RemoveUnused(topic, channel));
        } else {
            // Another consumer may have waited in line behind it.
            state.queue_to_deliver(subscription.topic);
        }
        drop(state);
        self.turn.wake();
    }
}

impl State {
    /// Tells the core that accepts how many connections this one has.
    pub fn report_load(&mut self) {
        let connections = self.connections.len() + self.http_connections;
        if self.here == FIRST {
            self.loads[0] = connections;
        } else {
            self.outboxes.push(FIRST, Request::Load { connections });
        }
    }
}
