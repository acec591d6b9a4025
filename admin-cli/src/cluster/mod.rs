//! The nsqds and nsqlookupds of a cluster over HTTP: who there is, what they count, and changing it.
//!
//! Knows: the requests of NSQ's own tools, in their order, and that some of them fail while others
//! succeed: what failed stands beside what was answered ([`Answer`]), and only when nobody answers
//! there is nothing but failures ([`Silence`]). Does not know: what is done with the answers.
//!
//! | Where do I look for | |
//! |---|---|
//! | limits, timeouts, HTTPS | [`http`], [`tls`] |
//! | what failed, in whose words | [`answer`] |
//! | topics, and who produces one | [`topic`] |
//! | channels | [`channel`] |
//! | nsqds, tombstones, draining | [`node`] |
//! | counters | [`stats`], again and again: [`watch`] |
//! | whom a consumer connects to | [`discovery`] |

pub(crate) mod answer;
mod channel;
mod discovery;
mod http;
mod node;
mod stats;
mod tls;
mod topic;
mod version;
mod watch;

pub(crate) use answer::{Answer, Asked, Daemon, Failure, Silence};
pub(crate) use discovery::Discovery;
pub(crate) use http::{Http, Patience, root_cause};
pub(crate) use node::{Drain, Node};
pub(crate) use stats::{NodeStats, StatsFilter};
pub(crate) use tls::{Tls, TlsFiles};
pub(crate) use topic::Change;
pub(crate) use watch::{Reading, Watch};

use protocol::http::url::encode_form;

use crate::address::Address;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// These brokers, by HTTP.
    Brokers(Vec<Address>),
    /// The brokers that these discovery daemons know, by HTTP.
    Lookups(Vec<Address>),
}

impl Sources {
    /// The addresses as the flags gave them.
    pub(crate) fn addresses(&self) -> &[Address] {
        match self {
            Self::Brokers(addresses) | Self::Lookups(addresses) => addresses,
        }
    }

    /// Which daemon listens there.
    pub(crate) fn daemon(&self) -> Daemon {
        match self {
            Self::Brokers(_) => Daemon::Nsqd,
            Self::Lookups(_) => Daemon::Nsqlookupd,
        }
    }
}

/// The processes of a cluster. A clone shares connections and bounds.
#[derive(Clone)]
pub(crate) struct Cluster {
    http: Http,
    sources: Sources,
}

impl Cluster {
    pub(crate) fn new(http: Http, sources: Sources) -> Self {
        Self { http, sources }
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The nsqlookupds; none where nsqds are asked.
    pub(crate) fn lookups(&self) -> &[Address] {
        match &self.sources {
            Sources::Lookups(addresses) => addresses,
            Sources::Brokers(_) => &[],
        }
    }
}

/// Who did what was asked of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) lookups: Vec<Address>,
    pub(crate) brokers: Vec<Address>,
}

impl Changed {
    /// Whether nobody did it.
    pub(crate) fn is_empty(&self) -> bool {
        self.lookups.is_empty() && self.brokers.is_empty()
    }

    fn note_lookups(
        &mut self,
        outcomes: Vec<(Address, Result<(), Failure>)>,
        failures: &mut Vec<Failure>,
    ) {
        note(&mut self.lookups, outcomes, failures);
    }

    fn note_brokers(
        &mut self,
        outcomes: Vec<(Address, Result<(), Failure>)>,
        failures: &mut Vec<Failure>,
    ) {
        note(&mut self.brokers, outcomes, failures);
    }
}

/// Names and values behind a `?`, in this order.
fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|&(name, value)| encode_form([(name, value.as_bytes())])).collect();
    pairs.join("&")
}

fn note(
    done: &mut Vec<Address>,
    outcomes: Vec<(Address, Result<(), Failure>)>,
    failures: &mut Vec<Failure>,
) {
    for (address, outcome) in outcomes {
        match outcome {
            Ok(()) => done.push(address),
            Err(failure) => failures.push(failure),
        }
    }
}
