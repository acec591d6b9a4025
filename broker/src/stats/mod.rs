//! What one core has, in the words of `/stats`.
//!
//! Reads the core's state and changes nothing. [`crate::shard`] gathers it in steps, and puts the
//! parts of all cores together.

pub mod measures;
pub mod statsd;

use crate::channel::latency::Sum;
use crate::channel::{Channel, Subscriber};
use crate::clock::Now;
use crate::config::Latencies;
use crate::connection::Connection;
use crate::connection::layers::Layers;
use crate::keys::{ConnectionKey, SubscriberKey, TopicKey};
use crate::log::losses::Losses;
use crate::shard::state::State;
use crate::topic::Topic;
use measures::Measures;
use protocol::name::{ChannelName, TopicName};
use protocol::stats::{
    ChannelStats, ClientStats, Filter, LogStats, MemoryStats, Percentile, Percentiles,
    PublishCount, Stats, TopicStats,
};

/// One topic, and its consumers that are still to be listed.
#[derive(Debug)]
pub struct Unlisted {
    /// The topic; its channels list no clients yet.
    pub stats: TopicStats,
    /// The consumers of each channel, in the order of the channels; none if they are not wanted.
    pub consumers: Vec<(ChannelName, Vec<SubscriberKey>)>,
}

impl State {
    /// The topics of this core that were asked for.
    pub fn wanted_topics(&self, filter: &Filter) -> Vec<TopicKey> {
        match &filter.topic {
            None => self.topics.iter().map(|(key, _)| key).collect(),
            Some(name) => {
                let name = TopicName::parse(name.as_bytes()).ok();
                name.and_then(|name| self.topics.key_of(name)).into_iter().collect()
            }
        }
    }

    /// What this core has beside topics and clients.
    pub fn stats(&self, filter: &Filter) -> Stats {
        Stats {
            version: crate::config::NSQ_VERSION.to_string(),
            health: self.health(),
            start_time: self.config.started_at,
            topics: None,
            memory: filter.include_mem.then(|| self.memory_stats()),
            producers: None,
        }
    }

    /// A publish was answered, and its answer sent, at this moment.
    pub fn note_publish(&mut self, now: Now) {
        if let Some(took) = self.followed.sent(now.tick) {
            self.measures.publish.note(took);
        }
    }

    /// How long things took on this core, and how many are connected to it.
    pub fn measures(&self) -> Measures {
        Measures {
            tcp_connections: self.connections.len() as u64,
            http_connections: self.http_connections as u64,
            ..self.measures.clone()
        }
    }

    /// A topic that is still there, as far as it was asked for.
    pub fn topic_stats(&self, key: TopicKey, filter: &Filter, now: Now) -> Option<Unlisted> {
        let hosted = self.topics.get(key).filter(|hosted| !hosted.leaving)?;
        let topic = &hosted.topic;
        let wanted = |channel: &&Channel| {
            filter.channel.as_deref().is_none_or(|wanted| wanted == channel.name().as_str())
        };
        let consumers_of = |channel: &Channel| {
            (channel.name(), channel.subscribers().map(|(key, _)| key).collect())
        };
        let channels = topic.channels().filter(wanted);
        let consumers = if filter.include_clients {
            topic.channels().filter(wanted).map(consumers_of).collect()
        } else {
            Vec::new()
        };
        let stats = TopicStats {
            topic_name: topic.name().to_string(),
            channels: channels
                .map(|channel| self.channel_stats(topic, channel, filter, now))
                .collect(),
            depth: signed(topic.depth()),
            backend_depth: signed(topic.backend_depth()),
            message_count: topic.message_count(),
            message_bytes: topic.message_bytes(),
            paused: topic.is_paused(),
            e2e_processing_latency: self.percentiles(topic.channels(), now),
            log: (!topic.log().is_ephemeral()).then(|| log_stats(topic, hosted.losses)),
        };
        Some(Unlisted { stats, consumers })
    }

    /// Those of the consumers that are still there.
    pub fn consumer_stats(
        &self,
        topic: TopicKey,
        channel: ChannelName,
        consumers: &[SubscriberKey],
    ) -> Vec<ClientStats> {
        let Some(hosted) = self.topics.get(topic) else { return Vec::new() };
        let Some(channel) = hosted.topic.channel_key(channel) else { return Vec::new() };
        let channel = hosted.topic.channel(channel);
        consumers
            .iter()
            .filter_map(|&key| {
                let subscriber = channel.subscriber(key)?;
                let connection = self.connections.get(subscriber.terms.connection)?;
                Some(client_stats(connection, Some(subscriber)))
            })
            .collect()
    }

    /// The clients that have published.
    pub fn producers(&self) -> Vec<ConnectionKey> {
        let publishes = |connection: &Connection| !connection.session.published.is_empty();
        let producers = self.connections.iter().filter(|(_, connection)| publishes(connection));
        producers.map(|(key, _)| key).collect()
    }

    /// Those of the clients that are still there, as producers.
    pub fn producer_stats(&self, producers: &[ConnectionKey]) -> Vec<ClientStats> {
        let connections = producers.iter().filter_map(|&key| self.connections.get(key));
        connections.map(|connection| client_stats(connection, None)).collect()
    }

    /// How long messages of these channels took, if that is measured.
    fn percentiles<'a>(
        &self,
        channels: impl Iterator<Item = &'a Channel>,
        now: Now,
    ) -> Percentiles {
        let Some(Latencies { quantiles, .. }) = &self.config.latencies else {
            return Percentiles::default();
        };
        let mut latencies = channels.filter_map(Channel::latency).peekable();
        if latencies.peek().is_none() {
            // A topic without channels has no times, not even of zero messages (NSQ behaviour).
            return Percentiles::default();
        }
        let mut sum = Sum::default();
        latencies.for_each(|latency| latency.add_to(&mut sum, now.tick));
        #[expect(clippy::cast_precision_loss, reason = "below 2^53, as far as it is exact at all")]
        let value = |quantile| sum.nanoseconds_of(quantile) as f64;
        let points =
            quantiles.iter().map(|&quantile| Percentile { quantile, value: value(quantile) });
        Percentiles { count: sum.count(), percentiles: Some(points.collect()) }
    }

    /// The messages that this core holds in memory; nothing else is counted.
    fn memory_stats(&self) -> MemoryStats {
        let topics = self.topics.iter();
        let bytes: usize = topics.map(|(_, hosted)| hosted.topic.log().memory_bytes()).sum();
        MemoryStats { heap_in_use_bytes: bytes as u64, ..MemoryStats::default() }
    }

    /// `OK`, or `NOK` with what the disk said to the first topic that it refused something, or to
    /// the list of topics.
    pub fn health(&self) -> String {
        let of_topics = self.topics.iter().find_map(|(_, hosted)| hosted.troubles.reason());
        let reason = of_topics.or_else(|| self.list.failure());
        reason.map_or_else(|| "OK".to_string(), |reason| format!("NOK - {reason}"))
    }

    fn channel_stats(
        &self,
        topic: &Topic,
        channel: &Channel,
        filter: &Filter,
        now: Now,
    ) -> ChannelStats {
        let counts = channel.counts();
        ChannelStats {
            channel_name: channel.name().to_string(),
            depth: signed(channel.depth()),
            backend_depth: signed(topic.channel_backend_depth(channel)),
            in_flight_count: channel.in_flight_count(),
            deferred_count: channel.deferred_count(),
            message_count: counts.messages,
            zone_local_msg_count: counts.delivered_to_zone,
            region_local_msg_count: counts.delivered_to_region,
            // Without topology-aware consumption every delivery counts as global (NSQ behaviour).
            global_msg_count: counts.delivered
                - counts.delivered_to_zone
                - counts.delivered_to_region,
            requeue_count: counts.requeued,
            timeout_count: counts.timed_out,
            client_count: channel.subscriber_count() as u64,
            clients: filter.include_clients.then(Vec::new),
            paused: channel.is_paused(),
            e2e_processing_latency: self.percentiles(std::iter::once(channel), now),
            log_bytes: (!topic.log().is_ephemeral()).then(|| channel.disk_bytes(topic.log())),
        }
    }
}

fn log_stats(topic: &Topic, losses: Losses) -> LogStats {
    let log = topic.log();
    LogStats {
        bytes: log.disk_bytes(),
        segments: log.segments().count() as u64,
        torn_bytes: losses.torn_bytes,
        damaged_places: losses.places,
        damaged_bytes: losses.bytes,
        damaged_messages: losses.messages,
        files_not_used: losses.files_not_used,
    }
}

fn client_stats(connection: &Connection, subscriber: Option<&Subscriber>) -> ClientStats {
    let session = &connection.session;
    let settings = &session.settings;
    let grants = session.authorization.grants();
    let layers = connection.layers.as_deref();
    let tls = layers.and_then(Layers::tls_facts);
    ClientStats {
        client_id: settings.client_id.clone(),
        hostname: settings.hostname.clone(),
        version: "V2".to_string(),
        remote_address: session.peer.to_string(),
        state: session.conversation.phase.number(),
        ready_count: signed(subscriber.map_or(0, |subscriber| subscriber.ready_count)),
        in_flight_count: signed(subscriber.map_or(0, |subscriber| subscriber.in_flight)),
        message_count: subscriber.map_or(0, |subscriber| subscriber.message_count),
        finish_count: subscriber.map_or(0, |subscriber| subscriber.finish_count),
        requeue_count: subscriber.map_or(0, |subscriber| subscriber.requeue_count),
        connect_ts: session.connected_at,
        sample_rate: settings.sample_rate,
        deflate: layers.is_some_and(Layers::has_deflate),
        snappy: layers.is_some_and(Layers::has_snappy),
        user_agent: settings.user_agent.clone(),
        authed: session.authorization.has_any(),
        auth_identity: grants.map_or_else(String::new, |grants| grants.identity.clone()),
        auth_identity_url: grants.map_or_else(String::new, |grants| grants.identity_url.clone()),
        topology_zone: settings.topology_zone.clone(),
        topology_region: settings.topology_region.clone(),
        pub_counts: session
            .published
            .iter()
            .map(|(topic, &count)| PublishCount { topic: topic.to_string(), count })
            .collect(),
        tls: tls.is_some(),
        // Nothing is negotiated inside TLS; Go says that both sides agree on it (NSQ behaviour).
        tls_negotiated_protocol_is_mutual: tls.is_some(),
        tls_version: tls.as_ref().map_or_else(String::new, |tls| tls.version.to_string()),
        tls_cipher_suite: tls.map_or_else(String::new, |tls| tls.cipher_suite),
        ..ClientStats::default()
    }
}

/// JSON numbers of NSQ are signed.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The memory of all cores under the names of Go's runtime, as far as they have a meaning here.
///
/// In use is what the cores hold of messages; it is let go of at the budget, which so takes the
/// place of the size at which garbage would be collected. Nothing is collected, so there is neither
/// a pause nor a run, and objects and idle bytes are the allocator's own affair.
pub fn memory_of(parts: &[Stats], budget_per_shard: usize) -> MemoryStats {
    let held = parts.iter().filter_map(|part| part.memory.as_ref());
    let budget = budget_per_shard.saturating_mul(parts.len());
    MemoryStats {
        heap_in_use_bytes: held.map(|memory| memory.heap_in_use_bytes).sum(),
        next_gc_bytes: u64::try_from(budget).unwrap_or(u64::MAX),
        ..MemoryStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_sum_of_the_cores_and_the_budget_that_of_all() {
        let part = |bytes| Stats {
            memory: Some(MemoryStats { heap_in_use_bytes: bytes, ..MemoryStats::default() }),
            ..Stats::default()
        };
        let sum = memory_of(&[part(7), Stats::default(), part(5)], 100);
        assert_eq!((sum.heap_in_use_bytes, sum.next_gc_bytes), (12, 300));
    }
}
