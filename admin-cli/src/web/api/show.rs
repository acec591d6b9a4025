//! What is shown: topics, channels, nsqds, counters.
//!
//! Does not know: how a request came, or how an answer leaves.

use std::collections::{BTreeMap, BTreeSet};

use protocol::http::response::{Response, Status};
use serde::Serialize;

use super::{Warnings, json, refused};
use crate::address::Address;
use crate::cluster::{Asked, Cluster, Node, Sources, StatsFilter};
use crate::web::query;
use crate::web::view::{self, ChannelView, NodeTopics, NodeView, TopicView};

/// `GET /api/topics`, and with `inactive=true` those that nobody produces.
pub(in crate::web) async fn topics(
    cluster: &Cluster,
    raw_query: &str,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Topics {
        topics: Option<Vec<String>>,
        message: String,
    }
    #[derive(Serialize)]
    struct Inactive {
        topics: BTreeMap<String, Option<Vec<String>>>,
        message: String,
    }
    let arguments = query::parse(raw_query).map_err(|words| refused(Status::BadRequest, &words))?;
    let mut warnings = Warnings::default();
    if arguments.get("inactive") == Some("true") {
        let mut inactive = match cluster.sources() {
            Sources::Lookups(_) => cluster.inactive_topics().await,
            // There are none, but who is dead is said.
            Sources::Brokers(_) => {
                cluster.topics().await.map(|topics| topics.map(|_| BTreeMap::new()))
            }
        };
        if let Ok(answer) = &mut inactive {
            // Each is asked several times, and its first failure says enough.
            let mut named = BTreeSet::new();
            answer.failures.retain(|failure| named.insert(failure.address.clone()));
        }
        let inactive = warnings.take(inactive, "get topics")?;
        let some = |channels: Vec<String>| (!channels.is_empty()).then_some(channels);
        let topics = inactive.into_iter().map(|(topic, channels)| (topic, some(channels)));
        return Ok(json(&Inactive { topics: topics.collect(), message: warnings.message() }));
    }
    let topics = warnings.take(cluster.topics().await, "get topics")?;
    let topics = (!topics.is_empty()).then_some(topics);
    Ok(json(&Topics { topics, message: warnings.message() }))
}

/// `GET /api/topics/:topic`.
pub(in crate::web) async fn topic(
    cluster: &Cluster,
    topic: &str,
    now: i64,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Topic {
        #[serde(flatten)]
        topic: TopicView,
        message: String,
    }
    let mut warnings = Warnings::default();
    let nodes = warnings.take(cluster.producers(topic).await, "get topic producers")?;
    let told = statistics(cluster, &nodes, &StatsFilter::of_topic(topic), now).await;
    let mut found = warnings.take(told, "get topic metadata")?;
    found.retain(|found| found.topic_name == topic);
    Ok(json(&Topic { topic: TopicView::sum(topic, found), message: warnings.message() }))
}

/// `GET /api/topics/:topic/:channel`.
pub(in crate::web) async fn channel(
    cluster: &Cluster,
    topic: &str,
    channel: &str,
    now: i64,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Channel {
        #[serde(flatten)]
        channel: ChannelView,
        message: String,
    }
    #[derive(Serialize)]
    struct Unseen {
        message: String,
    }
    let mut warnings = Warnings::default();
    let nodes = warnings.take(cluster.producers(topic).await, "get topic producers")?;
    let filter =
        StatsFilter { channel: Some(channel), with_clients: true, ..StatsFilter::of_topic(topic) };
    let told = statistics(cluster, &nodes, &filter, now).await;
    let mut found = warnings.take(told, "get channel metadata")?;
    found.retain(|found| found.topic_name == topic);
    let message = warnings.message();
    match view::channel_of(topic, channel, &found) {
        Some(channel) => Ok(json(&Channel { channel, message })),
        None if message.is_empty() => Err(refused(Status::NotFound, "CHANNEL_NOT_FOUND")),
        // Who did not answer may have it.
        None => Ok(json(&Unseen { message })),
    }
}

/// `GET /api/nodes`.
pub(in crate::web) async fn nodes(cluster: &Cluster) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Nodes {
        nodes: Option<Vec<NodeView>>,
        message: String,
    }
    let mut warnings = Warnings::default();
    let nodes = warnings.take(cluster.nodes().await, "get nodes")?;
    let nodes: Vec<_> = nodes.into_iter().map(NodeView::from).collect();
    let nodes = (!nodes.is_empty()).then_some(nodes);
    Ok(json(&Nodes { nodes, message: warnings.message() }))
}

/// `GET /api/nodes/:node`; `name` is the HTTP address that the nsqd broadcasts.
pub(in crate::web) async fn node(
    cluster: &Cluster,
    name: &str,
    now: i64,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Shown {
        node: String,
        topics: Option<Vec<TopicView>>,
        total_messages: i64,
        total_clients: usize,
        message: String,
    }
    let mut warnings = Warnings::default();
    let nodes = warnings.take(cluster.nodes().await, "get producers")?;
    let node: Vec<Node> =
        nodes.into_iter().filter(|node| node.http_address().as_str() == name).take(1).collect();
    if node.is_empty() {
        return Err(refused(Status::NotFound, "NODE_NOT_FOUND"));
    }
    let filter = StatsFilter { with_clients: true, ..StatsFilter::default() };
    let told = statistics(cluster, &node, &filter, now).await;
    let topics = warnings.take(told, "get nsqd stats")?;
    let channels = topics.iter().flat_map(|topic| topic.channels.iter().flatten());
    let total_clients = channels.map(|channel| channel.clients.iter().flatten().count()).sum();
    let total_messages = topics.iter().map(|topic| topic.message_count).sum();
    Ok(json(&Shown {
        node: name.to_owned(),
        topics: (!topics.is_empty()).then_some(topics),
        total_messages,
        total_clients,
        message: warnings.message(),
    }))
}

/// `GET /api/counter`: what every channel of every nsqd has had.
pub(in crate::web) async fn counter(cluster: &Cluster, now: i64) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Counter {
        node: String,
        topic_name: String,
        channel_name: String,
        message_count: i64,
    }
    #[derive(Serialize)]
    struct Counters {
        stats: BTreeMap<String, Counter>,
        message: String,
    }
    let mut warnings = Warnings::default();
    let nodes = warnings.take(cluster.nodes().await, "get counter producer list")?;
    let told = statistics(cluster, &nodes, &StatsFilter::default(), now).await;
    let topics = warnings.take(told, "get nsqd stats")?;
    let mut stats: BTreeMap<String, Counter> = BTreeMap::new();
    for topic in topics {
        for channel in topic.channels.into_iter().flatten() {
            let (topic, name, node) = (&topic.topic_name, channel.channel_name, channel.node);
            let counter = stats.entry(format!("{topic}:{name}:{node}")).or_insert_with(|| {
                Counter { node, topic_name: topic.clone(), channel_name: name, message_count: 0 }
            });
            counter.message_count += channel.message_count;
        }
    }
    Ok(json(&Counters { stats, message: warnings.message() }))
}

/// What these nsqds count; `now` is in seconds since 1970.
async fn statistics(
    cluster: &Cluster,
    nodes: &[Node],
    filter: &StatsFilter<'_>,
    now: i64,
) -> Asked<Vec<TopicView>> {
    let addresses: Vec<Address> = nodes.iter().map(|node| node.address.clone()).collect();
    let told = cluster.stats_as::<NodeTopics>(&addresses, filter).await?;
    Ok(told.map(|told| {
        let found = told.into_iter().filter_map(|told| {
            let node = nodes.iter().find(|node| node.address == told.node)?;
            Some((node, told.stats))
        });
        view::topics_of(found.collect(), now)
    }))
}
