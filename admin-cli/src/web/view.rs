//! Topics, channels, clients and nsqds as nsqadmin's JSON shows them.
//!
//! Rule (NSQ behaviour): the order of keys; what is `null`, `[]` or left out; that sums have the node
//! `*` and hold what they are the sum of; how percentiles of several nsqds become one. The same types
//! read what an nsqd answers to `/stats`, where most of the keys have the same names.
//!
//! Different from NSQ on purpose: a channel of a topic holds all its nodes when there are several
//! (in NSQ, the first is overwritten by the sum), and the `min` of merged percentiles is the smallest.
//!
//! Does not know: who was asked, or what failed.

use std::collections::{BTreeMap, HashMap};

use protocol::json::null_as_default;
use serde::{Deserialize, Serialize};

use crate::cluster::Node;

/// The body of an nsqd's `/stats`, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeTopics {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) topics: Vec<TopicView>,
}

/// One topic, of one nsqd or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TopicView {
    /// The nsqd's HTTP address, or `*`.
    #[serde(skip_deserializing)]
    node: String,
    #[serde(skip_deserializing)]
    hostname: String,
    pub(super) topic_name: String,
    depth: i64,
    #[serde(skip_deserializing)]
    memory_depth: i64,
    backend_depth: i64,
    pub(super) message_count: i64,
    /// Deliveries by place, together.
    #[serde(skip_deserializing)]
    delivery_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    zone_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    region_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    global_msg_count: i64,
    /// What it is the sum of.
    #[serde(skip_deserializing)]
    nodes: Option<Vec<Self>>,
    pub(super) channels: Option<Vec<ChannelView>>,
    paused: bool,
    #[serde(deserialize_with = "null_as_default")]
    e2e_processing_latency: Latency,
}

/// One channel, of one nsqd or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ChannelView {
    #[serde(skip_deserializing)]
    pub(super) node: String,
    #[serde(skip_deserializing)]
    hostname: String,
    #[serde(skip_deserializing)]
    topic_name: String,
    pub(super) channel_name: String,
    depth: i64,
    #[serde(skip_deserializing)]
    memory_depth: i64,
    backend_depth: i64,
    in_flight_count: i64,
    deferred_count: i64,
    requeue_count: i64,
    timeout_count: i64,
    pub(super) message_count: i64,
    #[serde(skip_deserializing, skip_serializing_if = "is_zero")]
    delivery_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    zone_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    region_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    global_msg_count: i64,
    client_count: i64,
    #[serde(skip_deserializing)]
    nodes: Option<Vec<Self>>,
    pub(super) clients: Option<Vec<ClientView>>,
    paused: bool,
    #[serde(deserialize_with = "null_as_default")]
    e2e_processing_latency: Latency,
}

/// One client of a channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ClientView {
    #[serde(skip_deserializing)]
    node: String,
    remote_address: String,
    version: String,
    client_id: String,
    hostname: String,
    user_agent: String,
    connect_ts: i64,
    /// For how long, in nanoseconds, to the second.
    #[serde(skip_deserializing)]
    connected: i64,
    in_flight_count: i64,
    ready_count: i64,
    finish_count: i64,
    requeue_count: i64,
    message_count: i64,
    sample_rate: i64,
    deflate: bool,
    snappy: bool,
    authed: bool,
    auth_identity: String,
    auth_identity_url: String,
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    node_topology_region: String,
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    node_topology_zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_region: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_zone: String,
    tls: bool,
    tls_cipher_suite: String,
    tls_version: String,
    tls_negotiated_protocol: String,
    tls_negotiated_protocol_is_mutual: bool,
}

/// How long messages took from publish to FIN.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Latency {
    count: u64,
    /// Each with its numbers by name.
    percentiles: Option<Vec<BTreeMap<&'static str, f64>>>,
    topic: String,
    channel: String,
    host: String,
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = protocol::stats::Percentiles::deserialize(deserializer)?;
        #[expect(clippy::cast_precision_loss, reason = "it is shown as Go shows a float")]
        let count = told.count as f64;
        let percentiles = told.percentiles.map(|percentiles| {
            let numbers = |point: &protocol::stats::Percentile| {
                let value = point.value;
                BTreeMap::from([
                    ("quantile", point.quantile),
                    ("value", value),
                    ("min", value),
                    ("max", value),
                    ("average", value),
                    ("count", count),
                ])
            };
            percentiles.iter().map(numbers).collect()
        });
        Ok(Self { count: told.count, percentiles, ..Self::default() })
    }
}

impl Latency {
    /// Averages are weighted by the number of messages.
    fn add(&mut self, other: &Self) {
        self.host = "*".to_owned();
        self.count += other.count;
        for point in other.percentiles.iter().flatten() {
            let of = |name: &str| point.get(name).copied().unwrap_or_default();
            let own = self.percentiles.get_or_insert_default();
            let same = own.iter().position(|known| known.get("quantile") == point.get("quantile"));
            let place = same.unwrap_or_else(|| {
                own.push(BTreeMap::from([("quantile", of("quantile")), ("min", of("min"))]));
                own.len() - 1
            });
            let sum = &mut own[place];
            let had = |sum: &BTreeMap<&str, f64>, name| sum.get(name).copied().unwrap_or_default();
            sum.insert("max", of("max").max(had(sum, "max")));
            sum.insert("min", of("min").min(had(sum, "min")));
            let count = had(sum, "count") + of("count");
            sum.insert("count", count);
            let average = had(sum, "average");
            let weighted = if count == 0.0 {
                0.0
            } else {
                average + (of("average") - average) * of("count") / count
            };
            sum.insert("average", weighted);
        }
    }
}

impl TopicView {
    /// Writes down where it was found.
    fn found_at(&mut self, node: &Node, now: i64) {
        self.node = node.http_address().to_string();
        self.hostname.clone_from(&node.producer.hostname);
        self.memory_depth = self.depth - self.backend_depth;
        self.delivery_msg_count =
            self.zone_local_msg_count + self.region_local_msg_count + self.global_msg_count;
        let (address, topic) = (&self.node, &self.topic_name);
        for channel in self.channels.iter_mut().flatten() {
            channel.node.clone_from(address);
            channel.hostname.clone_from(&node.producer.hostname);
            channel.topic_name.clone_from(topic);
            channel.memory_depth = channel.depth - channel.backend_depth;
            channel.delivery_msg_count = channel.zone_local_msg_count
                + channel.region_local_msg_count
                + channel.global_msg_count;
            for client in channel.clients.iter_mut().flatten() {
                client.node.clone_from(address);
                client.node_topology_region.clone_from(&node.producer.topology_region);
                client.node_topology_zone.clone_from(&node.producer.topology_zone);
                client.connected =
                    now.saturating_sub(client.connect_ts).saturating_mul(1_000_000_000);
            }
        }
    }

    /// The sum over nsqds, which it holds.
    pub(super) fn sum(topic: &str, nodes: Vec<Self>) -> Self {
        let mut sum = Self { topic_name: topic.to_owned(), ..Self::default() };
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut channels: Vec<ChannelView> = Vec::new();
        for node in &nodes {
            sum.node = "*".to_owned();
            sum.depth += node.depth;
            sum.memory_depth += node.memory_depth;
            sum.backend_depth += node.backend_depth;
            sum.message_count += node.message_count;
            sum.delivery_msg_count += node.delivery_msg_count;
            sum.zone_local_msg_count += node.zone_local_msg_count;
            sum.region_local_msg_count += node.region_local_msg_count;
            sum.global_msg_count += node.global_msg_count;
            sum.paused |= node.paused;
            topic.clone_into(&mut sum.e2e_processing_latency.topic);
            sum.e2e_processing_latency.add(&node.e2e_processing_latency);
            for channel in node.channels.iter().flatten() {
                match places.get(channel.channel_name.as_str()) {
                    // The only one stays as it is (NSQ behaviour).
                    None => {
                        places.insert(&channel.channel_name, channels.len());
                        channels.push(channel.clone());
                    }
                    Some(&place) => {
                        let known = &mut channels[place];
                        if known.nodes.is_none() {
                            known.nodes = Some(vec![known.clone()]);
                        }
                        known.add(channel);
                    }
                }
            }
        }
        sum.channels = (!channels.is_empty()).then_some(channels);
        sum.nodes = (!nodes.is_empty()).then_some(nodes);
        sum
    }
}

impl ChannelView {
    /// The sum over nsqds, which it holds, with the clients of all.
    fn sum(topic: &str, channel: &str, nodes: &[&Self]) -> Self {
        let mut sum = Self {
            topic_name: topic.to_owned(),
            channel_name: channel.to_owned(),
            e2e_processing_latency: Latency {
                topic: topic.to_owned(),
                channel: channel.to_owned(),
                ..Latency::default()
            },
            ..Self::default()
        };
        nodes.iter().for_each(|node| sum.add(node));
        sum
    }

    fn add(&mut self, other: &Self) {
        self.node = "*".to_owned();
        self.depth += other.depth;
        self.memory_depth += other.memory_depth;
        self.backend_depth += other.backend_depth;
        self.in_flight_count += other.in_flight_count;
        self.deferred_count += other.deferred_count;
        self.requeue_count += other.requeue_count;
        self.timeout_count += other.timeout_count;
        self.message_count += other.message_count;
        self.delivery_msg_count += other.delivery_msg_count;
        self.zone_local_msg_count += other.zone_local_msg_count;
        self.region_local_msg_count += other.region_local_msg_count;
        self.global_msg_count += other.global_msg_count;
        self.client_count += other.client_count;
        self.paused |= other.paused;
        self.nodes.get_or_insert_default().push(other.clone());
        self.e2e_processing_latency.add(&other.e2e_processing_latency);
        let clients = other.clients.iter().flatten().cloned();
        if other.clients.as_ref().is_some_and(|clients| !clients.is_empty()) {
            self.clients.get_or_insert_default().extend(clients);
        }
    }
}

impl ClientView {
    /// By node, then those that are nearer to it first.
    fn place(&self) -> impl Ord + use<> {
        let same_region = self.topology_region == self.node_topology_region;
        let same_zone = self.topology_zone == self.node_topology_zone;
        (
            self.node.clone(),
            !(same_region && same_zone),
            !same_region,
            self.topology_region.clone(),
            self.topology_zone.clone(),
            self.hostname.clone(),
            self.remote_address.clone(),
        )
    }
}

/// What each of several nsqds told, with where it was found, by host name.
pub(super) fn topics_of(found: Vec<(&Node, NodeTopics)>, now: i64) -> Vec<TopicView> {
    let mut topics = Vec::new();
    for (node, told) in found {
        for mut topic in told.topics {
            topic.found_at(node, now);
            topics.push(topic);
        }
    }
    topics.sort_by(|one, other| (&one.hostname, &one.node).cmp(&(&other.hostname, &other.node)));
    topics
}

/// One channel out of its topic at several nsqds; `None` when none has it.
pub(super) fn channel_of(topic: &str, channel: &str, topics: &[TopicView]) -> Option<ChannelView> {
    let channels = topics.iter().flat_map(|topic| topic.channels.iter().flatten());
    let nodes: Vec<_> = channels.filter(|found| found.channel_name == channel).collect();
    if nodes.is_empty() {
        return None;
    }
    let mut sum = ChannelView::sum(topic, channel, &nodes);
    if let Some(clients) = &mut sum.clients {
        clients.sort_by_cached_key(ClientView::place);
    }
    Some(sum)
}

/// One nsqd.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct NodeView {
    remote_addresses: Option<Vec<String>>,
    remote_address: String,
    hostname: String,
    broadcast_address: String,
    tcp_port: u16,
    http_port: u16,
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_region: String,
    topics: Option<Vec<NodeTopicView>>,
    out_of_date: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct NodeTopicView {
    topic: String,
    tombstoned: bool,
}

impl From<Node> for NodeView {
    fn from(node: Node) -> Self {
        let seen: Vec<String> = node
            .seen_by
            .iter()
            .map(|seen| {
                let from = &seen.remote_address;
                let from = if from.is_empty() { "N/A" } else { from };
                format!("{}/{from}", seen.lookup)
            })
            .collect();
        let topics: Vec<_> = node
            .topics
            .into_iter()
            .map(|topic| NodeTopicView { topic: topic.topic, tombstoned: topic.is_tombstoned })
            .collect();
        let producer = node.producer;
        Self {
            remote_addresses: (!seen.is_empty()).then_some(seen),
            remote_address: producer.remote_address,
            hostname: producer.hostname,
            broadcast_address: producer.broadcast_address,
            tcp_port: producer.tcp_port,
            http_port: producer.http_port,
            version: producer.version,
            topology_zone: producer.topology_zone,
            topology_region: producer.topology_region,
            topics: (!topics.is_empty()).then_some(topics),
            out_of_date: node.is_out_of_date,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::json::to_go_json;
    use protocol::lookup::Producer;
    use serde_json::{Value, json};

    fn node(port: u16) -> Node {
        let producer = Producer {
            hostname: format!("h{port}"),
            broadcast_address: "10.0.0.1".into(),
            http_port: port,
            topology_region: "r".into(),
            topology_zone: "z".into(),
            ..Producer::default()
        };
        Node {
            address: format!("10.0.0.1:{port}").parse().unwrap(),
            producer,
            seen_by: Vec::new(),
            topics: Vec::new(),
            is_out_of_date: false,
        }
    }

    /// What is found at nsqds that answer with these bodies, in their order.
    fn found(bodies: &[Value]) -> Vec<TopicView> {
        let nodes: Vec<Node> = (1..).take(bodies.len()).map(node).collect();
        let told = nodes.iter().zip(bodies);
        let told = told.map(|(node, body)| (node, serde_json::from_value(body.clone()).unwrap()));
        topics_of(told.collect(), 1000)
    }

    fn shown(value: &impl Serialize) -> Value {
        serde_json::from_str(&to_go_json(value)).unwrap()
    }

    fn with_latency(count: u64, value: f64) -> Value {
        json!({"topics": [{
            "topic_name": "t", "depth": 3, "backend_depth": 1, "message_count": 7,
            "channels": [{"channel_name": "c", "depth": 2, "message_count": 5}],
            "e2e_processing_latency": {
                "count": count, "percentiles": [{"quantile": 0.99, "value": value}]
            },
        }]})
    }

    #[test]
    fn percentiles_of_several_nodes_are_weighted_and_have_the_smallest_and_the_largest() {
        let bodies = [with_latency(1, 100.0), with_latency(3, 20.0), with_latency(0, 50.0)];
        let sum = TopicView::sum("t", found(&bodies));
        assert_eq!(
            shown(&sum)["e2e_processing_latency"],
            json!({
                "count": 4,
                "percentiles": [
                    {"average": 40, "count": 4, "max": 100, "min": 20, "quantile": 0.99}
                ],
                "topic": "t",
                "channel": "",
                "host": "*",
            })
        );
        let nothing = TopicView::sum("t", found(&[with_latency(0, 0.0)]));
        let percentile = &shown(&nothing)["e2e_processing_latency"]["percentiles"][0];
        assert_eq!(percentile["average"], 0);
    }

    #[test]
    fn a_sum_holds_what_it_is_the_sum_of_and_every_node_its_own_numbers() {
        let bodies = [with_latency(1, 1.0), with_latency(1, 1.0)];
        let sum = shown(&TopicView::sum("t", found(&bodies)));
        assert_eq!(
            [&sum["depth"], &sum["memory_depth"], &sum["backend_depth"], &sum["message_count"]],
            [6, 4, 2, 14].map(Value::from).each_ref()
        );
        let channel = &sum["channels"][0];
        assert_eq!((&channel["node"], &channel["depth"]), (&json!("*"), &json!(4)));
        for (place, address) in ["10.0.0.1:1", "10.0.0.1:2"].into_iter().enumerate() {
            assert_eq!(channel["nodes"][place]["node"], address);
            assert_eq!(channel["nodes"][place]["depth"], 2);
            assert_eq!(sum["nodes"][place]["channels"][0]["depth"], 2);
            assert_eq!(sum["nodes"][place]["nodes"], Value::Null);
        }
        // The only one is not a sum.
        let alone = shown(&TopicView::sum("t", found(&bodies[..1])));
        assert_eq!(alone["channels"][0]["node"], "10.0.0.1:1");
        assert_eq!(alone["channels"][0]["nodes"], Value::Null);
        let nobody = shown(&TopicView::sum("t", Vec::new()));
        assert_eq!([&nobody["nodes"], &nobody["channels"]], [&Value::Null, &Value::Null]);
    }

    #[test]
    fn clients_stand_by_node_and_near_ones_first() {
        let client = |name: &str, region: &str, zone: &str| {
            json!({"hostname": name, "topology_region": region, "topology_zone": zone,
                   "connect_ts": 990})
        };
        let at = |clients: Value| {
            let channel = json!({"channel_name": "c", "client_count": 3, "clients": clients});
            json!({"topics": [{"topic_name": "t", "channels": [channel]}]})
        };
        let bodies = [
            at(json!([client("a", "", ""), client("b", "r", "y"), client("c", "r", "z")])),
            at(json!([client("d", "r", "z")])),
            at(json!([])),
        ];
        let channel = shown(&channel_of("t", "c", &found(&bodies)).unwrap());
        let clients = channel["clients"].as_array().unwrap();
        let names: Vec<_> = clients.iter().map(|client| client["hostname"].as_str()).collect();
        assert_eq!(names, ["c", "b", "a", "d"].map(Some));
        assert_eq!(clients[0]["connected"], 10_000_000_000_i64);
        assert_eq!(clients[0]["node_topology_zone"], "z");
        assert!(clients[2].get("topology_zone").is_none(), "what is empty is left out");
        assert_eq!(channel["nodes"][2]["clients"], json!([]));
        assert!(channel_of("t", "none", &found(&bodies)).is_none());
    }
}
