//! The nsqds of a cluster, and what is done with one of them.
//!
//! Rules (NSQ behaviour): an nsqd is who it says it is, by its broadcast address and ports, whoever
//! told of it; one that several nsqlookupds know is one nsqd; it is out of date when another has a
//! newer version.
//!
//! Does not know: what an nsqd counts ([`stats`](super::stats)).

use std::collections::HashMap;

use protocol::lookup::{Nodes, Producer};
use protocol::stats::Info;
use serde::{Deserialize, Serialize};

use super::answer::{Asked, Daemon, Failure, gather};
use super::topic::TopicNames;
use super::version::Version;
use super::{Changed, Cluster, Sources, query};
use crate::address::Address;

/// An nsqd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where it is asked: the address that the user gave, or else the one that it broadcasts.
    pub(crate) address: Address,
    /// Who it says it is. `remote_address` is empty where no nsqlookupd was asked.
    pub(crate) producer: Producer,
    /// The nsqlookupds that know it, and where its connection to each comes from.
    pub(crate) seen_by: Vec<Sighting>,
    /// By name. Empty where only one topic was asked for.
    pub(crate) topics: Vec<NodeTopic>,
    /// Whether another nsqd has a newer version, as far as nsqlookupds know.
    pub(crate) is_out_of_date: bool,
}

/// That an nsqlookupd knows an nsqd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) lookup: Address,
    /// Where the nsqd's connection comes from; empty when the nsqlookupd does not say.
    pub(crate) remote_address: String,
}

/// A topic of an nsqd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeTopic {
    pub(crate) topic: String,
    /// Whether an nsqlookupd hides the nsqd from consumers of this topic for now.
    pub(crate) is_tombstoned: bool,
}

impl Node {
    /// Its HTTP address as it broadcasts it: by this NSQ's tools name an nsqd.
    pub(crate) fn http_address(&self) -> Address {
        Address::of(&self.producer.broadcast_address, self.producer.http_port)
    }

    /// Its TCP address as it broadcasts it.
    pub(crate) fn tcp_address(&self) -> Address {
        Address::of(&self.producer.broadcast_address, self.producer.tcp_port)
    }

    /// As an nsqlookupd tells of it.
    pub(super) fn of_producer(producer: Producer) -> Self {
        Self {
            address: Address::of(&producer.broadcast_address, producer.http_port),
            producer,
            seen_by: Vec::new(),
            topics: Vec::new(),
            is_out_of_date: false,
        }
    }

    /// As it tells of itself. Versions before 1.0 do not say where they are: there it is taken from
    /// the address (NSQ behaviour).
    pub(super) fn of_info(address: Address, info: Info) -> Self {
        let mut producer = Producer {
            hostname: info.hostname,
            broadcast_address: info.broadcast_address,
            // One that listens on a Unix socket says -1; it cannot be reached.
            tcp_port: u16::try_from(info.tcp_port).unwrap_or(0),
            http_port: u16::try_from(info.http_port).unwrap_or(0),
            version: info.version,
            topology_zone: info.topology_zone,
            topology_region: info.topology_region,
            ..Producer::default()
        };
        if producer.broadcast_address.is_empty() {
            address.host_without_brackets().clone_into(&mut producer.broadcast_address);
            producer.http_port = address.port();
        }
        if producer.hostname.is_empty() {
            address.host_without_brackets().clone_into(&mut producer.hostname);
        }
        Self { address, ..Self::of_producer(producer) }
    }
}

/// How far a drain has come: what an nsqd that ends once it is empty still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Drain {
    /// Whether publishes are refused.
    pub(crate) draining: bool,
    /// Messages that are left, once for each channel that owes them.
    pub(crate) messages: u64,
    /// Topics that have some, by name.
    pub(crate) topics: Vec<DrainTopic>,
}

/// A topic that is not empty yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DrainTopic {
    pub(crate) topic_name: String,
    pub(crate) messages: u64,
}

impl Cluster {
    /// All nsqds with their topics, by host name: those that nsqlookupds know, or those that the user
    /// named.
    pub(crate) async fn nodes(&self) -> Asked<Vec<Node>> {
        let mut answer = match self.sources() {
            Sources::Lookups(lookups) => {
                let answers = self.http().get_all::<Nodes>(lookups, "/nodes").await;
                gather(Daemon::Nsqlookupd, answers)?.map(merge)
            }
            Sources::Brokers(brokers) => {
                let work = |http: super::Http, address: Address| async move {
                    let info = http.get::<Info>(&address, "/info").await?;
                    let names = http.get::<TopicNames>(&address, TopicNames::PATH).await?;
                    let mut node = Node::of_info(address, info);
                    node.topics = names.topics().map(NodeTopic::of_name).collect();
                    Ok(node)
                };
                let answers = self.http().all(brokers, work).await;
                gather(Daemon::Nsqd, answers)?.map(|nodes| nodes.into_iter().map(|n| n.1).collect())
            }
        };
        answer.value.sort_by(|one, other| {
            let key = |node: &'_ Node| (node.producer.hostname.clone(), node.http_address());
            key(one).cmp(&key(other))
        });
        Ok(answer)
    }

    /// Hides an nsqd from consumers of a topic at every nsqlookupd, and then deletes the topic there.
    /// `node` is its HTTP address as it broadcasts it.
    pub(crate) async fn tombstone(&self, topic: &str, node: &Address) -> Asked<Changed> {
        let mut changed = Changed::default();
        let mut failures = Vec::new();
        let path =
            format!("/topic/tombstone?{}", query(&[("topic", topic), ("node", node.as_str())]));
        changed.note_lookups(self.http().post_all(self.lookups(), &path).await, &mut failures);
        // Who does not tell of itself is not asked to delete anything either (NSQ behaviour).
        let brokers = std::slice::from_ref(node);
        gather(Daemon::Nsqd, self.http().get_all::<Info>(brokers, "/info").await)?;
        let path = format!("/topic/delete?{}", query(&[("topic", topic)]));
        changed.note_brokers(self.http().post_all(brokers, &path).await, &mut failures);
        Ok(super::Answer { value: changed, failures })
    }

    /// Has one nsqd of ours take nothing new, deliver what it holds, and end. The real nsqd knows no
    /// such thing and refuses with 404.
    pub(crate) async fn drain(&self, node: &Address) -> Result<Drain, Failure> {
        self.http().post_for(node, "/drain").await
    }

    /// How far a drain has come, without starting one.
    pub(crate) async fn drain_progress(&self, node: &Address) -> Result<Drain, Failure> {
        self.http().get(node, "/drain").await
    }
}

impl NodeTopic {
    fn of_name(topic: String) -> Self {
        Self { topic, is_tombstoned: false }
    }
}

/// One nsqd out of what several nsqlookupds say of it. The first that tells of it is believed.
fn merge(answers: Vec<(Address, Nodes)>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut places: HashMap<Address, usize> = HashMap::new();
    for (lookup, answer) in answers {
        for found in answer.producers {
            let remote_address = found.producer.remote_address.clone();
            let mut node = Node::of_producer(found.producer);
            let place = *places.entry(node.tcp_address()).or_insert_with(|| {
                // An older nsqlookupd says nothing of tombstones.
                let tombstones = found.tombstones.into_iter().chain(std::iter::repeat(false));
                node.topics = found
                    .topics
                    .into_iter()
                    .zip(tombstones)
                    .map(|(topic, is_tombstoned)| NodeTopic { topic, is_tombstoned })
                    .collect();
                node.topics.sort_unstable();
                nodes.push(node);
                nodes.len() - 1
            });
            nodes[place].seen_by.push(Sighting { lookup: lookup.clone(), remote_address });
        }
    }
    let versions: Vec<Version> =
        nodes.iter().map(|node| Version::of(&node.producer.version)).collect();
    let newest = versions.iter().max().cloned();
    for (node, version) in nodes.iter_mut().zip(&versions) {
        node.is_out_of_date = newest.as_ref().is_some_and(|newest| version < newest);
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::lookup::Node as Told;

    fn told(hostname: &str, tcp_port: u16, version: &str, topics: &[(&str, bool)]) -> Told {
        Told {
            producer: Producer {
                remote_address: format!("10.0.0.1:5{tcp_port}"),
                hostname: hostname.into(),
                broadcast_address: hostname.into(),
                tcp_port,
                http_port: tcp_port + 1,
                version: version.into(),
                ..Producer::default()
            },
            topics: topics.iter().map(|(topic, _)| (*topic).to_owned()).collect(),
            tombstones: topics.iter().map(|(_, tombstoned)| *tombstoned).collect(),
        }
    }

    #[test]
    fn an_nsqd_that_two_nsqlookupds_know_is_one_and_the_first_is_believed() {
        let answers = vec![
            (
                "l1:1".parse().unwrap(),
                Nodes {
                    producers: vec![
                        told("b", 1, "1.3.0", &[("z", false), ("a", true)]),
                        told("a", 1, "1.2.1", &[]),
                    ],
                },
            ),
            (
                "l2:1".parse().unwrap(),
                Nodes { producers: vec![told("b", 1, "1.3.0", &[]), told("b", 2, "none", &[])] },
            ),
        ];
        let nodes = merge(answers);
        let shown: Vec<_> = nodes
            .iter()
            .map(|node| {
                let seen: Vec<_> =
                    node.seen_by.iter().map(|seen| seen.lookup.to_string()).collect();
                (node.tcp_address().to_string(), seen.join(" "), node.is_out_of_date)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("b:1".to_owned(), "l1:1 l2:1".to_owned(), false),
                ("a:1".to_owned(), "l1:1".to_owned(), true),
                ("b:2".to_owned(), "l2:1".to_owned(), true),
            ]
        );
        let topics: Vec<_> = nodes[0]
            .topics
            .iter()
            .map(|topic| (topic.topic.as_str(), topic.is_tombstoned))
            .collect();
        assert_eq!(topics, [("a", true), ("z", false)]);
    }

    #[test]
    fn a_missing_tombstone_is_none() {
        let mut old = told("a", 1, "0.2.0", &[("t", true)]);
        old.tombstones.clear();
        let nodes = merge(vec![("l:1".parse().unwrap(), Nodes { producers: vec![old] })]);
        assert!(!nodes[0].topics[0].is_tombstoned);
    }

    #[test]
    fn an_nsqd_that_does_not_say_where_it_is_is_where_it_was_asked() {
        let node = Node::of_info("[::1]:4151".parse().unwrap(), Info::default());
        assert_eq!(node.http_address().as_str(), "[::1]:4151");
        assert_eq!(node.producer.hostname, "::1");
    }
}
