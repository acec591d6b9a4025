//! What one core has, in the words of `/stats`.
//!
//! Reads the core's state and changes nothing. The parts of all cores are put together by
//! [`protocol::stats::merge`].

pub mod measures;

use crate::channel::{Channel, Subscriber};
use crate::clock::Now;
use crate::connection::Connection;
use crate::connection::layers::Layers;
use crate::log::losses::Losses;
use crate::shard::state::State;
use crate::shard::topics::Hosted;
use crate::topic::Topic;
use measures::Measures;
use protocol::stats::{
    ChannelStats, ClientStats, Filter, LogStats, MemoryStats, Percentiles, PublishCount, Stats,
    TopicStats,
};

impl State {
    /// What this core has of what was asked for.
    pub fn stats(&self, filter: &Filter) -> Stats {
        let topics = self
            .topics
            .iter()
            .filter(|(_, hosted)| !hosted.leaving)
            .map(|(_, hosted)| hosted)
            .filter(|hosted| is_wanted(filter.topic.as_deref(), hosted.topic.name().as_str()))
            .map(|hosted| self.topic_stats(hosted, filter))
            .collect();
        let producers = if filter.include_clients {
            let publishers = self.connections.values().filter(|c| !c.session.published.is_empty());
            Some(publishers.map(|connection| client_stats(connection, None)).collect())
        } else {
            None
        };
        Stats {
            version: crate::config::NSQ_VERSION.to_string(),
            health: self.health(),
            start_time: self.config.started_at,
            topics: Some(topics),
            memory: filter.include_mem.then(|| self.memory_stats()),
            producers,
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

    fn topic_stats(&self, hosted: &Hosted, filter: &Filter) -> TopicStats {
        let topic = &hosted.topic;
        TopicStats {
            topic_name: topic.name().to_string(),
            channels: topic
                .channels()
                .filter(|channel| is_wanted(filter.channel.as_deref(), channel.name().as_str()))
                .map(|channel| self.channel_stats(topic, channel, filter))
                .collect(),
            depth: signed(topic.depth()),
            backend_depth: signed(topic.backend_depth()),
            message_count: topic.message_count(),
            message_bytes: topic.message_bytes(),
            paused: topic.is_paused(),
            e2e_processing_latency: Percentiles::default(),
            log: (!topic.log().is_ephemeral()).then(|| log_stats(topic, hosted.losses)),
        }
    }

    fn channel_stats(&self, topic: &Topic, channel: &Channel, filter: &Filter) -> ChannelStats {
        let counts = channel.counts();
        ChannelStats {
            channel_name: channel.name().to_string(),
            depth: signed(channel.depth()),
            backend_depth: signed(topic.channel_backend_depth(channel)),
            in_flight_count: channel.in_flight_count(),
            deferred_count: channel.deferred_count(),
            message_count: counts.messages,
            zone_local_msg_count: 0,
            region_local_msg_count: 0,
            // Without topology-aware consumption every delivery counts as global (NSQ behaviour).
            global_msg_count: counts.delivered,
            requeue_count: counts.requeued,
            timeout_count: counts.timed_out,
            client_count: channel.subscriber_count() as u64,
            clients: filter.include_clients.then(|| {
                channel
                    .subscribers()
                    .filter_map(|(_, subscriber)| {
                        let connection = self.connections.get(subscriber.terms.connection)?;
                        Some(client_stats(connection, Some(subscriber)))
                    })
                    .collect()
            }),
            paused: channel.is_paused(),
            e2e_processing_latency: Percentiles::default(),
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

fn is_wanted(wanted: Option<&str>, name: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
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
