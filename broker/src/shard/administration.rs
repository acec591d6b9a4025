//! What operators, and ephemeral names that nobody uses any more, do to topics of this core.
//!
//! The change to the core's state happens at once; what it takes to keep it over a restart is
//! returned, and carried out by a task ([`super::jobs`]) before anybody is told of success.

use super::state::State;
use crate::clock::Now;
use crate::keys::{ConnectionKey, TopicKey};
use crate::routing::request::{Action, Answer};
use crate::topic::catalogue::Change;
use protocol::name::{ChannelName, TopicName};

/// What an action did, and what must follow before it is answered.
#[derive(Debug)]
pub struct Applied {
    /// The answer, if what follows succeeds.
    pub answer: Answer,
    /// The topic whose checkpoint must be written.
    pub checkpoint: Option<TopicKey>,
    /// The topic whose folder must be removed.
    pub remove: Option<TopicKey>,
    /// What the first core must note.
    pub change: Option<Change>,
}

impl Applied {
    fn nothing(answer: Answer) -> Self {
        Self { answer, checkpoint: None, remove: None, change: None }
    }

    fn done(checkpoint: TopicKey, change: Option<Change>) -> Self {
        Self { answer: Answer::Done, checkpoint: Some(checkpoint), remove: None, change }
    }
}

impl State {
    /// Applies an action to a topic of this core.
    pub fn administer(&mut self, topic: TopicName, action: Action, now: Now) -> Applied {
        if action == Action::CreateTopic {
            let key = self.topic_or_create(topic);
            let paused = self.topics[key].topic.is_paused();
            return Applied::done(key, Some(Change::Topic { topic, paused }));
        }
        let Some(key) = self.topics.key_of(topic).filter(|&key| !self.topics[key].leaving) else {
            return Applied::nothing(Answer::TopicNotFound);
        };
        match action {
            Action::CreateTopic => unreachable!("handled above"),
            Action::DeleteTopic => self.delete_topic(key, topic),
            Action::EmptyTopic => {
                self.topics[key].topic.empty();
                Applied::done(key, None)
            }
            Action::PauseTopic(paused) => {
                self.topics[key].topic.set_paused(paused, now);
                self.queue_to_deliver(key);
                Applied::done(key, Some(Change::Topic { topic, paused }))
            }
            Action::CreateChannel(channel) => {
                let (there, is_new) = self.topics[key].topic.create_channel(channel, now);
                if is_new {
                    tracing::info!("TOPIC({topic}): new channel({channel})");
                }
                let paused = self.topics[key].topic.channel(there).is_paused();
                Applied::done(key, Some(Change::Channel { topic, channel, paused }))
            }
            Action::DeleteChannel(channel) => self.delete_channel(key, topic, channel),
            Action::EmptyChannel(channel) => {
                self.on_channel(key, channel, None, |channel| channel.empty())
            }
            Action::PauseChannel(channel, paused) => {
                let change = Change::Channel { topic, channel, paused };
                self.on_channel(key, channel, Some(change), |channel| channel.set_paused(paused))
            }
        }
    }

    fn on_channel(
        &mut self,
        key: TopicKey,
        name: ChannelName,
        change: Option<Change>,
        act: impl FnOnce(&mut crate::channel::Channel),
    ) -> Applied {
        let topic = &mut self.topics[key].topic;
        let Some(channel) = topic.channel_key(name) else {
            return Applied::nothing(Answer::ChannelNotFound);
        };
        act(topic.channel_mut(channel));
        self.queue_to_deliver(key);
        Applied::done(key, change)
    }

    fn delete_topic(&mut self, key: TopicKey, topic: TopicName) -> Applied {
        let hosted = &mut self.topics[key];
        // Until its folder is gone the name stays taken: publishes are refused rather than written
        // to a folder that is being removed (NSQ refuses them with the same word).
        hosted.leaving = true;
        let connections = hosted.topic.connections();
        tracing::info!("TOPIC({topic}): deleting");
        self.close_all(&connections);
        Applied {
            answer: Answer::Done,
            checkpoint: None,
            remove: Some(key),
            change: Some(Change::TopicGone { topic }),
        }
    }

    fn delete_channel(&mut self, key: TopicKey, topic: TopicName, channel: ChannelName) -> Applied {
        let Some(connections) = self.topics[key].topic.delete_channel(channel) else {
            return Applied::nothing(Answer::ChannelNotFound);
        };
        tracing::info!("CHANNEL({channel}): deleting");
        self.close_all(&connections);
        let is_last = self.topics[key].topic.channels().next().is_none();
        if topic.is_ephemeral() && is_last {
            return self.delete_topic(key, topic);
        }
        Applied::done(key, Some(Change::ChannelGone { topic, channel }))
    }

    /// Closes consumers whose channel is gone; they see the end of the stream (NSQ behaviour).
    fn close_all(&mut self, connections: &[ConnectionKey]) {
        for &key in connections {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.subscription = None;
                connection.die();
            }
        }
    }
}
