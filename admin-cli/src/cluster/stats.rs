//! What nsqds count.
//!
//! Knows: how statistics are asked for, and narrowed. What they hold is [`protocol::stats`]; who
//! needs less of them reads them as a type of his own, which costs less the more it passes over.

use protocol::stats::Stats;
use serde::de::DeserializeOwned;

use super::answer::{Asked, Daemon, gather};
use super::{Cluster, query};
use crate::address::Address;

/// What is asked of statistics. The default is all topics and channels, without clients and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatsFilter<'a> {
    /// Only this topic.
    pub(crate) topic: Option<&'a str>,
    /// Only this channel.
    pub(crate) channel: Option<&'a str>,
    /// Whether clients are listed, not only counted.
    pub(crate) with_clients: bool,
    /// Whether the process's memory is shown; the real nsqd stands still for a moment to count it.
    pub(crate) with_memory: bool,
}

impl<'a> StatsFilter<'a> {
    /// One topic, without clients and memory.
    pub(crate) fn of_topic(topic: &'a str) -> Self {
        Self { topic: Some(topic), ..Self::default() }
    }

    fn path(&self) -> String {
        let mut path = "/stats?format=json".to_owned();
        for (name, value) in [("topic", self.topic), ("channel", self.channel)] {
            if let Some(value) = value {
                path.push('&');
                path.push_str(&query(&[(name, value)]));
            }
        }
        for (name, wanted) in
            [("include_clients", self.with_clients), ("include_mem", self.with_memory)]
        {
            if !wanted {
                path.push_str(&format!("&{name}=false"));
            }
        }
        path
    }
}

/// What one nsqd counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeStats<T = Stats> {
    /// The address it was asked at.
    pub(crate) node: Address,
    pub(crate) stats: T,
}

impl Cluster {
    /// The statistics of these nsqds, in the same order.
    pub(crate) async fn stats(
        &self,
        nodes: &[Address],
        filter: &StatsFilter<'_>,
    ) -> Asked<Vec<NodeStats>> {
        self.stats_as(nodes, filter).await
    }

    /// The statistics of these nsqds as a type of one's own.
    pub(crate) async fn stats_as<T: DeserializeOwned + Send + 'static>(
        &self,
        nodes: &[Address],
        filter: &StatsFilter<'_>,
    ) -> Asked<Vec<NodeStats<T>>> {
        let answers = self.http().get_all::<T>(nodes, &filter.path()).await;
        Ok(gather(Daemon::Nsqd, answers)?.map(|answers| {
            answers.into_iter().map(|(node, stats)| NodeStats { node, stats }).collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_query() {
        let all = StatsFilter { with_clients: true, with_memory: true, ..StatsFilter::default() };
        let ephemeral = StatsFilter { channel: Some("c"), ..StatsFilter::of_topic("t#ephemeral") };
        for (filter, path) in [
            (all, "/stats?format=json"),
            (StatsFilter::default(), "/stats?format=json&include_clients=false&include_mem=false"),
            (
                ephemeral,
                "/stats?format=json&topic=t%23ephemeral&channel=c&include_clients=false\
                 &include_mem=false",
            ),
        ] {
            assert_eq!(filter.path(), path);
        }
    }
}
