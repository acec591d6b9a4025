//! Statistics again and again.
//!
//! Knows: that a broker which was found earlier is asked while an nsqlookupd is down. Does not know:
//! when it is time to ask again.

use std::collections::{BTreeMap, BTreeSet};

use protocol::stats::Stats;

use super::answer::{Failure, Silence};
use super::stats::StatsFilter;
use super::{Cluster, Sources};
use crate::address::Address;

/// The statistics of all brokers at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// What each broker told.
    pub(crate) brokers: BTreeMap<Address, Stats>,
    /// Who failed, discovery daemons included.
    pub(crate) failures: Vec<Failure>,
    /// Whether a discovery daemon answered, when they were asked.
    pub(crate) lookup_answered: bool,
}

impl Reading {
    /// Whether at least one process answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.lookup_answered || !self.brokers.is_empty()
    }
}

/// A cluster that is asked again and again.
pub(crate) struct Watch {
    cluster: Cluster,
    /// Brokers found earlier: they are asked while a discovery daemon is down.
    known: BTreeSet<Address>,
}

impl Watch {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, known: BTreeSet::new() }
    }

    /// What every broker counts now. Where nsqlookupds are asked, these are all that have the topic of
    /// `filter`, or all that are known when it names none.
    pub(crate) async fn read(&mut self, filter: &StatsFilter<'_>) -> Reading {
        let mut reading = Reading::default();
        let addresses = match self.cluster.sources() {
            Sources::Brokers(addresses) => addresses.clone(),
            Sources::Lookups(_) => {
                let found = match filter.topic {
                    Some(topic) => self.cluster.producers(topic).await,
                    None => self.cluster.nodes().await,
                };
                let (nodes, failures) = match found {
                    Ok(answer) => (answer.value, answer.failures),
                    Err(Silence { failures, .. }) => (Vec::new(), failures),
                };
                // An nsqlookupd that does not know the topic has answered.
                let is_partial = failures.iter().any(|failure| !failure.is_not_found());
                reading.lookup_answered = !nodes.is_empty()
                    || failures.len() < self.cluster.lookups().len()
                    || failures.iter().any(Failure::is_not_found);
                reading.failures =
                    failures.into_iter().filter(|failure| !failure.is_not_found()).collect();
                if !is_partial {
                    self.known.clear();
                }
                self.known.extend(nodes.into_iter().map(|node| node.address));
                self.known.iter().cloned().collect()
            }
        };
        match self.cluster.stats(&addresses, filter).await {
            Ok(answer) => {
                reading.brokers =
                    answer.value.into_iter().map(|node| (node.node, node.stats)).collect();
                reading.failures.extend(answer.failures);
            }
            Err(silence) => reading.failures.extend(silence.failures),
        }
        reading
    }
}
