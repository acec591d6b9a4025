//! Which brokers have a topic, for those who connect to them.
//!
//! Knows: that an nsqlookupd which does not know a topic has answered nevertheless. Does not know:
//! who connects, or when it is time to ask again.

use std::collections::BTreeSet;

use protocol::lookup::Lookup;
use protocol::name::TopicName;

use super::answer::Failure;
use super::{Http, query};
use crate::address::Address;

/// A broker as nsqlookupd knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Broker {
    pub(crate) tcp: Address,
}

/// What the discovery daemons said.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) brokers: BTreeSet<Broker>,
    /// Whether the topic has a channel at any broker, as far as those know that answered.
    pub(crate) has_channels: bool,
    pub(crate) failures: Vec<Failure>,
}

impl Http {
    /// The brokers that have `topic`, as any of `lookups` knows them.
    pub(crate) async fn discover(&self, lookups: &[Address], topic: TopicName) -> Discovery {
        let mut discovery = Discovery::default();
        let query = query(&[("topic", topic.as_str())]);
        for (_, answer) in self.get_all::<Lookup>(lookups, &format!("/lookup?{query}")).await {
            match answer {
                Ok(lookup) => {
                    discovery.has_channels |= !lookup.channels.is_empty();
                    discovery.brokers.extend(lookup.producers.iter().map(|producer| Broker {
                        tcp: Address::of(&producer.broadcast_address, producer.tcp_port),
                    }));
                }
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => discovery.failures.push(failure),
            }
        }
        discovery
    }
}
