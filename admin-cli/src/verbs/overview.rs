//! All that a cluster counts at one moment, for the verbs that list it.
//!
//! Knows: whom to ask, and that nsqlookupd names topics that no nsqd has. Does not know: what is
//! shown of it.

use protocol::stats::{Stats, merge};

use super::cluster_flags::{nobody, silence};
use crate::address::Address;
use crate::cluster::{Cluster, Failure, NodeStats, Sources, StatsFilter};
use crate::terminal::Ending;

/// What the processes said that answered.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// The topics that nsqlookupds know; empty where nsqds are asked.
    pub(crate) known: Vec<String>,
    pub(crate) nodes: Vec<NodeStats>,
    pub(crate) failures: Vec<Failure>,
}

impl Overview {
    /// Asks everybody.
    pub(crate) async fn read(cluster: &Cluster) -> Result<Self, Ending> {
        let mut overview = Self::default();
        let addresses = match cluster.sources() {
            Sources::Brokers(addresses) => addresses.clone(),
            Sources::Lookups(_) => {
                let ended = |silent| nobody(cluster.sources(), &silent);
                let (topics, nodes) = tokio::join!(cluster.topics(), cluster.nodes());
                let (topics, nodes) = (topics.map_err(ended)?, nodes.map_err(ended)?);
                overview.known = topics.value;
                // Whoever fails to tell of topics and of nodes is named once.
                overview.failures = nodes.failures;
                for failure in topics.failures {
                    if !overview.failures.iter().any(|known| known.address == failure.address) {
                        overview.failures.push(failure);
                    }
                }
                nodes.value.into_iter().map(|node| node.address).collect()
            }
        };
        overview.count(cluster, &addresses, &StatsFilter::default()).await;
        if let (Sources::Brokers(_), true) = (cluster.sources(), overview.nodes.is_empty()) {
            return Err(silence(cluster.sources(), &overview.failures));
        }
        Ok(overview)
    }

    /// Asks those that have one topic.
    ///
    /// # Errors
    /// When nobody can say who has it, or nobody has it.
    pub(crate) async fn of_topic(cluster: &Cluster, topic: &str) -> Result<Self, Ending> {
        let missing = || Ending::Failed(format!("the topic {topic} does not exist"));
        let producers = match cluster.producers(topic).await {
            Ok(producers) => producers,
            Err(silent) if silent.is_not_found() => return Err(missing()),
            Err(silent) => return Err(nobody(cluster.sources(), &silent)),
        };
        if let (Sources::Brokers(_), true) = (cluster.sources(), producers.value.is_empty()) {
            return Err(missing());
        }
        let mut overview = Self { failures: producers.failures, ..Self::default() };
        overview.failures.retain(|failure| !failure.is_not_found());
        let nodes: Vec<Address> = producers.value.into_iter().map(|node| node.address).collect();
        overview.count(cluster, &nodes, &StatsFilter::of_topic(topic)).await;
        Ok(overview)
    }

    async fn count(&mut self, cluster: &Cluster, nodes: &[Address], filter: &StatsFilter<'_>) {
        match cluster.stats(nodes, filter).await {
            Ok(answer) => {
                self.nodes = answer.value;
                self.failures.extend(answer.failures);
            }
            Err(silent) => self.failures.extend(silent.failures),
        }
    }

    /// How many nsqds have a topic.
    pub(crate) fn nodes_with(&self, topic: &str) -> usize {
        let has =
            |stats: &Stats| stats.topics.iter().flatten().any(|found| found.topic_name == topic);
        self.nodes.iter().filter(|node| has(&node.stats)).count()
    }

    /// The sums over all nsqds, by name.
    pub(crate) fn sums(&self) -> Stats {
        merge(self.nodes.iter().map(|node| node.stats.clone()))
    }
}
