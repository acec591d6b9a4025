//! One body out of several: of the cores of one broker, or of the brokers of one cluster.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{ChannelStats, ClientStats, Percentiles, Stats, TopicStats};

/// Puts the topics and producers of `parts` together, topics and channels sorted by name.
///
/// A topic or channel that stands in several parts is added up: counters are summed, clients are
/// listed one part after the other, and it is paused when it is paused in one part. So a core may
/// tell only the clients it serves, with counters of zero, of a channel that another core counts.
///
/// Percentiles cannot be added; of each quantile the greatest value is taken, which the whole does
/// not exceed.
///
/// Version, start time and memory are those of the first part. So is the health, unless another part
/// is the first to say something other than `OK`; a part may leave it empty. `topics` is always a list; `producers` is `None` when there are none.
pub fn merge(parts: impl IntoIterator<Item = Stats>) -> Stats {
    let mut whole: Option<Stats> = None;
    let mut topics = BTreeMap::new();
    let mut producers = Vec::new();
    for mut part in parts {
        for topic in part.topics.take().into_iter().flatten() {
            add_topic(&mut topics, topic);
        }
        producers.extend(part.producers.take().into_iter().flatten());
        match &mut whole {
            None => whole = Some(part),
            Some(whole) if is_ill(&part) && !is_ill(whole) => whole.health = part.health,
            Some(_) => {}
        }
    }
    Stats {
        topics: Some(topics.into_values().map(SummedTopic::into_stats).collect()),
        producers: Some(producers).filter(|producers| !producers.is_empty()),
        ..whole.unwrap_or_default()
    }
}

/// Whether a part says that something is wrong, rather than nothing or `OK`.
fn is_ill(part: &Stats) -> bool {
    !matches!(part.health.as_str(), "" | "OK")
}

/// A topic while it is added up: its channels stand beside it, by name.
struct SummedTopic {
    /// Invariant: has no channels.
    topic: TopicStats,
    channels: BTreeMap<String, ChannelStats>,
}

impl SummedTopic {
    fn into_stats(self) -> TopicStats {
        TopicStats { channels: self.channels.into_values().collect(), ..self.topic }
    }
}

fn add_topic(topics: &mut BTreeMap<String, SummedTopic>, mut topic: TopicStats) {
    let channels = std::mem::take(&mut topic.channels);
    let sum = match topics.entry(topic.topic_name.clone()) {
        Entry::Vacant(place) => place.insert(SummedTopic { topic, channels: BTreeMap::new() }),
        Entry::Occupied(place) => {
            let sum = place.into_mut();
            let total = &mut sum.topic;
            total.depth += topic.depth;
            total.backend_depth += topic.backend_depth;
            total.message_count += topic.message_count;
            total.message_bytes += topic.message_bytes;
            total.paused |= topic.paused;
            add_percentiles(&mut total.e2e_processing_latency, topic.e2e_processing_latency);
            sum
        }
    };
    for channel in channels {
        add_channel(&mut sum.channels, channel);
    }
}

fn add_channel(channels: &mut BTreeMap<String, ChannelStats>, channel: ChannelStats) {
    match channels.entry(channel.channel_name.clone()) {
        Entry::Vacant(place) => {
            place.insert(channel);
        }
        Entry::Occupied(place) => {
            let total = place.into_mut();
            total.depth += channel.depth;
            total.backend_depth += channel.backend_depth;
            total.in_flight_count += channel.in_flight_count;
            total.deferred_count += channel.deferred_count;
            total.message_count += channel.message_count;
            total.zone_local_msg_count += channel.zone_local_msg_count;
            total.region_local_msg_count += channel.region_local_msg_count;
            total.global_msg_count += channel.global_msg_count;
            total.requeue_count += channel.requeue_count;
            total.timeout_count += channel.timeout_count;
            total.client_count += channel.client_count;
            total.paused |= channel.paused;
            add_clients(&mut total.clients, channel.clients);
            add_percentiles(&mut total.e2e_processing_latency, channel.e2e_processing_latency);
        }
    }
}

/// The clients stay `None` only when no part lists them.
fn add_clients(total: &mut Option<Vec<ClientStats>>, clients: Option<Vec<ClientStats>>) {
    if let Some(clients) = clients {
        total.get_or_insert_default().extend(clients);
    }
}

fn add_percentiles(total: &mut Percentiles, part: Percentiles) {
    total.count += part.count;
    let Some(points) = part.percentiles else { return };
    let total = total.percentiles.get_or_insert_default();
    for point in points {
        match total.iter_mut().find(|known| known.quantile == point.quantile) {
            Some(known) => known.value = known.value.max(point.value),
            None => total.push(point),
        }
    }
}
