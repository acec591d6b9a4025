//! Topics: which there are, who has them, and what is done with them.
//!
//! Rules (NSQ behaviour): who produces a topic is found before anything is changed; nsqlookupds are
//! told before nsqds; a topic that is created is created at nsqlookupds alone, as an nsqd makes it at
//! the first message.

use std::collections::{BTreeMap, BTreeSet};

use protocol::json::null_as_default;
use protocol::lookup::{Lookup, Nodes, Topics};
use protocol::stats::Info;
use serde::Deserialize;

use super::answer::{Answer, Asked, Daemon, Failure, gather};
use super::node::Node;
use super::{Changed, Cluster, Http, Sources, query};
use crate::address::Address;

/// What is done with a topic or a channel that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It goes, with all that it holds.
    Delete,
    /// What it holds goes.
    Empty,
    Pause,
    Unpause,
}

impl Change {
    /// The last word of its path.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Empty => "empty",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }

    /// What is said of it afterwards.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Empty => "emptied",
            Self::Pause => "paused",
            Self::Unpause => "unpaused",
        }
    }

    /// What is asked before, in front of a name.
    pub(crate) fn imperative(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Empty => "Empty",
            Self::Pause => "Pause",
            Self::Unpause => "Unpause",
        }
    }
}

/// The names out of an nsqd's statistics; all else is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopicNames {
    #[serde(deserialize_with = "null_as_default")]
    topics: Vec<TopicName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopicName {
    topic_name: String,
}

impl TopicNames {
    /// What is asked for them.
    pub(super) const PATH: &'static str = "/stats?format=json&include_clients=false";

    pub(super) fn topics(self) -> impl Iterator<Item = String> {
        self.topics.into_iter().map(|topic| topic.topic_name)
    }
}

impl Cluster {
    /// The names of all topics, sorted: those that nsqlookupds know, without a producer too, or those
    /// of the nsqds.
    pub(crate) async fn topics(&self) -> Asked<Vec<String>> {
        let answer = match self.sources() {
            Sources::Lookups(lookups) => {
                let answers = self.http().get_all::<Topics>(lookups, "/topics").await;
                gather(Daemon::Nsqlookupd, answers)?.map(|answers| {
                    sorted(answers.into_iter().flat_map(|(_, topics)| topics.topics))
                })
            }
            Sources::Brokers(brokers) => {
                let answers = self.http().get_all::<TopicNames>(brokers, TopicNames::PATH).await;
                gather(Daemon::Nsqd, answers)?.map(|answers| {
                    sorted(answers.into_iter().flat_map(|(_, names)| names.topics()))
                })
            }
        };
        Ok(answer)
    }

    /// Topics that nsqlookupds know and no nsqd produces, each with its channels; none where nsqds are
    /// asked. A producer that is tombstoned does not count. An nsqlookupd that does not answer is not asked
    /// for the channels of each topic: that would take as many times what one question may take.
    pub(crate) async fn inactive_topics(&self) -> Asked<BTreeMap<String, Vec<String>>> {
        let Sources::Lookups(lookups) = self.sources() else { return Ok(Answer::default()) };
        let known = self.topics().await?;
        let nodes = self.http().get_all::<Nodes>(lookups, "/nodes").await;
        let nodes = gather(Daemon::Nsqlookupd, nodes)?;
        let mut active = BTreeSet::new();
        for node in nodes.value.into_iter().flat_map(|(_, nodes)| nodes.producers) {
            let tombstones = node.tombstones.into_iter().chain(std::iter::repeat(false));
            let topics = node.topics.into_iter().zip(tombstones);
            active.extend(topics.filter(|(_, tombstoned)| !tombstoned).map(|(topic, _)| topic));
        }
        let mut failures = known.failures;
        failures.extend(nodes.failures);
        let is_silent = |lookup: &&Address| {
            failures.iter().any(|failure| failure.address == **lookup && failure.status.is_none())
        };
        let (silent, mut answering): (Vec<_>, Vec<_>) = lookups.iter().partition(is_silent);
        if answering.is_empty() {
            answering = silent;
        }
        let answering: Vec<Address> = answering.into_iter().cloned().collect();
        let mut inactive = BTreeMap::new();
        for topic in known.value.into_iter().filter(|topic| !active.contains(topic)) {
            let channels = self.channels_known_to(&answering, &topic).await?;
            failures.extend(channels.failures);
            inactive.insert(topic, channels.value);
        }
        Ok(Answer { value: inactive, failures })
    }

    /// What every nsqlookupd says of a topic; 404 from one that does not know it.
    pub(crate) async fn lookup(&self, topic: &str) -> Vec<(Address, Result<Lookup, Failure>)> {
        let path = format!("/lookup?{}", query(&[("topic", topic)]));
        self.http().get_all(self.lookups(), &path).await
    }

    /// The nsqds that produce a topic. Where nsqlookupds are asked, a topic that none of them knows is
    /// silence with 404s; where nsqds are asked, it is an empty list.
    pub(crate) async fn producers(&self, topic: &str) -> Asked<Vec<Node>> {
        match self.sources() {
            Sources::Lookups(_) => {
                Ok(gather(Daemon::Nsqlookupd, self.lookup(topic).await)?.map(|answers| {
                    let mut seen = BTreeSet::new();
                    let producers = answers.into_iter().flat_map(|(_, lookup)| lookup.producers);
                    let nodes = producers.map(Node::of_producer);
                    nodes.filter(|node| seen.insert(node.http_address())).collect()
                }))
            }
            Sources::Brokers(brokers) => {
                let query = query(&[("topic", topic)]);
                let path = format!("/stats?format=json&{query}&include_clients=false");
                let topic = topic.to_owned();
                let work = |http: Http, address: Address| {
                    let (path, topic) = (path.clone(), topic.clone());
                    async move {
                        let names = http.get::<TopicNames>(&address, &path).await?;
                        if !names.topics().any(|name| name == topic) {
                            return Ok(None);
                        }
                        let info = http.get::<Info>(&address, "/info").await?;
                        Ok(Some(Node::of_info(address, info)))
                    }
                };
                let answers = self.http().all(brokers, work).await;
                Ok(gather(Daemon::Nsqd, answers)?
                    .map(|nodes| nodes.into_iter().filter_map(|(_, node)| node).collect()))
            }
        }
    }

    /// Makes a topic known: to every nsqlookupd, or else to every nsqd.
    pub(crate) async fn create_topic(&self, topic: &str) -> Answer<Changed> {
        let mut answer = Answer::<Changed>::default();
        let path = format!("/topic/create?{}", query(&[("topic", topic)]));
        let addresses = self.sources().addresses();
        let outcomes = self.http().post_all(addresses, &path).await;
        match self.sources() {
            Sources::Lookups(_) => answer.value.note_lookups(outcomes, &mut answer.failures),
            Sources::Brokers(_) => answer.value.note_brokers(outcomes, &mut answer.failures),
        }
        answer
    }

    /// Changes a topic at every nsqd that produces it; one that is deleted is deleted at nsqlookupds
    /// before. Only when nobody can say who produces it, nothing is changed.
    pub(crate) async fn change_topic(&self, topic: &str, change: Change) -> Asked<Changed> {
        let query = query(&[("topic", topic)]);
        let path = format!("/topic/{}?{query}", change.word());
        self.change(topic, &path, change).await
    }

    /// Has `path` done where the topic is.
    pub(super) async fn change(&self, topic: &str, path: &str, change: Change) -> Asked<Changed> {
        let producers = self.producers(topic).await?;
        let mut changed = Changed::default();
        let mut failures = producers.failures;
        if change == Change::Delete {
            let outcomes = self.http().post_all(self.lookups(), path).await;
            changed.note_lookups(outcomes, &mut failures);
        }
        let brokers: Vec<Address> = producers.value.into_iter().map(|node| node.address).collect();
        changed.note_brokers(self.http().post_all(&brokers, path).await, &mut failures);
        Ok(Answer { value: changed, failures })
    }
}

/// Names in their order, each once.
pub(super) fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_out_of_statistics_and_null_is_none() {
        let names = |text: &str| -> Vec<String> {
            serde_json::from_str::<TopicNames>(text).unwrap().topics().collect()
        };
        let two =
            r#"{"health":"OK","topics":[{"topic_name":"b","channels":[]},{"topic_name":"a"}]}"#;
        assert_eq!(names(two), ["b", "a"]);
        for none in [r#"{"topics":null}"#, "{}", r#"{"topics":[]}"#] {
            assert_eq!(names(none), [""; 0], "{none}");
        }
        assert_eq!(sorted(["b".to_owned(), "a".into(), "b".into()].into_iter()), ["a", "b"]);
    }
}
