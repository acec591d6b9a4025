//! What a request to `GET /stats` leaves away.

use super::{ChannelStats, ClientStats, Stats};

/// How a request narrows the body. The default asks for everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only this topic. An empty name in a request means `None`.
    pub topic: Option<String>,
    /// Only this channel, of whichever topics have it. An empty name in a request means `None`.
    pub channel: Option<String>,
    /// Whether consumers and producers are listed.
    pub include_clients: bool,
    /// Whether `memory` is there.
    pub include_mem: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { topic: None, channel: None, include_clients: true, include_mem: true }
    }
}

impl Filter {
    /// Leaves away what was not asked for, as NSQ does:
    ///
    /// - a topic that does not exist makes `topics` and `producers` null, while a channel that no
    ///   topic has leaves an empty list of topics and all producers;
    /// - without clients, every `clients` and `producers` is null, and the counts stay;
    /// - with a topic, a client's `pub_counts` show only that topic. The client itself stays.
    ///
    /// An empty list of producers becomes null, even when nothing was left away.
    pub fn apply(&self, stats: &mut Stats) {
        if let Some(topic) = &self.topic {
            keep_topic(stats, topic);
        }
        for topic in stats.topics.iter_mut().flatten() {
            if let Some(channel) = &self.channel {
                topic.channels.retain(|found| found.channel_name == *channel);
            }
        }
        if self.channel.is_some()
            && let Some(topics) = &mut stats.topics
        {
            topics.retain(|topic| !topic.channels.is_empty());
        }
        if !self.include_clients {
            channels_of(stats).for_each(|channel| channel.clients = None);
            stats.producers = None;
        }
        if !self.include_mem {
            stats.memory = None;
        }
        stats.producers.take_if(|producers| producers.is_empty());
    }
}

fn keep_topic(stats: &mut Stats, name: &str) {
    if let Some(topics) = &mut stats.topics {
        topics.retain(|topic| topic.topic_name == name);
    }
    if stats.topics.as_ref().is_none_or(Vec::is_empty) {
        stats.topics = None;
        stats.producers = None;
    }
    for client in channels_of(stats).filter_map(|channel| channel.clients.as_mut()).flatten() {
        keep_publish_count(client, name);
    }
    for client in stats.producers.iter_mut().flatten() {
        keep_publish_count(client, name);
    }
}

fn channels_of(stats: &mut Stats) -> impl Iterator<Item = &mut ChannelStats> {
    stats.topics.iter_mut().flatten().flat_map(|topic| &mut topic.channels)
}

fn keep_publish_count(client: &mut ClientStats, topic: &str) {
    client.pub_counts.retain(|published| published.topic == topic);
}
