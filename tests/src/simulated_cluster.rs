//! A hundred nsqds with ten thousand channels, and the nsqlookupd that knows them, which are none: they
//! answer over HTTP as such a cluster would.
//!
//! Knows the bodies of NSQ's `/stats`, `/info`, `/nodes`, `/topics`, `/channels` and `/lookup`. Nothing
//! moves in it, so every figure is known beforehand.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::scripted_http::ScriptedHttp;

/// Nsqds.
pub const NODES: usize = 100;
/// Topics, each of them on two nsqds.
pub const TOPICS: usize = 500;
/// Channels of each topic.
pub const CHANNELS: usize = 20;
/// Messages that each channel had on each nsqd.
const MESSAGES: usize = 100;

/// See the head of this file. It listens until the test's process ends.
#[derive(Debug)]
pub struct SimulatedCluster {
    lookup: ScriptedHttp,
    nodes: Vec<ScriptedHttp>,
}

impl SimulatedCluster {
    /// Starts all of it.
    ///
    /// # Panics
    /// When there are no more ports.
    #[must_use]
    pub fn start() -> Self {
        let nodes: Vec<_> = (0..NODES).map(node).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
        let lookup = ScriptedHttp::start(move |request, _| ("200 OK", lookup(&addresses, request)));
        Self { lookup, nodes }
    }

    /// Where the nsqlookupd is asked.
    #[must_use]
    pub fn lookup(&self) -> SocketAddr {
        self.lookup.address
    }

    /// Where the nsqds are asked.
    #[must_use]
    pub fn nodes(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }
}

fn topic_name(topic: usize) -> String {
    format!("topic-{topic:03}")
}

/// The topics of a node: each is on the node of its number and on the next.
fn topics_of(node: usize) -> impl Iterator<Item = usize> {
    (0..TOPICS).filter(move |topic| topic % NODES == node || (topic + 1) % NODES == node)
}

/// The argument `name` of a request's target.
fn argument<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.split(['?', '&']).skip(1).find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn node(number: usize) -> ScriptedHttp {
    // What is asked for again and again is made once: it is nsqadmin that is looked at.
    let everything = statistics(topics_of(number)).to_string();
    ScriptedHttp::start(move |request, _| {
        let body = if request.contains("/info") {
            json!({"version": "1.3.0", "broadcast_address": "127.0.0.1",
                "hostname": format!("node-{number:02}"), "tcp_port": 4150, "http_port": 4151,
                "start_time": 1_700_000_000})
            .to_string()
        } else {
            match argument(request, "topic") {
                None => everything.clone(),
                Some(name) => {
                    let topics = topics_of(number).filter(|&topic| name == topic_name(topic));
                    statistics(topics).to_string()
                }
            }
        };
        ("200 OK", body)
    })
}

fn statistics(topics: impl Iterator<Item = usize>) -> Value {
    json!({"version": "1.3.0", "health": "OK", "start_time": 1_700_000_000,
        "topics": topics.map(topic).collect::<Vec<_>>(), "memory": {}, "producers": null})
}

fn topic(number: usize) -> Value {
    let latency = json!({"count": 0, "percentiles": null});
    let channels = (0..CHANNELS).map(|channel| {
        json!({"channel_name": format!("channel-{channel:02}"), "depth": (number * channel) % 700,
            "backend_depth": 0, "in_flight_count": 3, "deferred_count": 0, "message_count": MESSAGES,
            "requeue_count": 0, "timeout_count": 0, "client_count": usize::from(channel % 9 != 8),
            "clients": null, "paused": channel == 13, "e2e_processing_latency": latency})
    });
    json!({"topic_name": topic_name(number), "channels": channels.collect::<Vec<_>>(), "depth": 0,
        "backend_depth": 0, "message_count": MESSAGES, "message_bytes": 0, "paused": false,
        "e2e_processing_latency": latency})
}

/// Producers are told apart by their TCP ports, and nobody connects to them.
fn producer(address: SocketAddr, number: usize) -> Value {
    json!({"remote_address": format!("127.0.0.1:{}", 10_000 + number),
        "hostname": format!("node-{number:02}"), "broadcast_address": "127.0.0.1", "tcp_port": address.port(),
        "http_port": address.port(), "version": "1.3.0"})
}

fn lookup(nodes: &[SocketAddr], request: &str) -> String {
    let all = nodes.iter().enumerate();
    let channels: Vec<_> = (0..CHANNELS).map(|channel| format!("channel-{channel:02}")).collect();
    let body = if request.contains("/nodes") {
        let producers = all.map(|(number, &address)| {
            let topics: Vec<_> = topics_of(number).map(topic_name).collect();
            let mut producer = producer(address, number);
            producer["tombstones"] = json!(vec![false; topics.len()]);
            producer["topics"] = json!(topics);
            producer
        });
        json!({"producers": producers.collect::<Vec<_>>()})
    } else if request.contains("/topics") {
        json!({"topics": (0..TOPICS).map(topic_name).collect::<Vec<_>>()})
    } else if request.contains("/channels") {
        json!({"channels": channels})
    } else {
        let wanted = argument(request, "topic").unwrap_or_default();
        let has = |node: usize| topics_of(node).any(|topic| topic_name(topic) == wanted);
        let producers = all.filter(|&(number, _)| has(number));
        let producers = producers.map(|(number, &address)| producer(address, number));
        json!({"channels": channels, "producers": producers.collect::<Vec<_>>()})
    };
    body.to_string()
}
