//! Which brokers have a topic, and what they count.
//!
//! Knows: the HTTP requests to nsqlookupd and nsqd, and that some of them fail while others succeed.
//! Does not know: what is done with the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use protocol::lookup::Lookup;
use protocol::name::TopicName;
use protocol::stats::Stats;
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::address::Address;
use crate::terminal::Ending;

/// How long to wait for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the connection is there.
    pub(crate) connect: Duration,
    /// Until the whole answer is there.
    pub(crate) request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), request: Duration::from_secs(5) }
    }
}

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
}

/// The largest answer that is read. The statistics of a broker with 10,000 channels are a tenth.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A process that did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) address: Address,
    /// Why, behind the words "does not answer: ".
    pub(crate) reason: String,
}

/// A broker as nsqlookupd knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Broker {
    pub(crate) http: Address,
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

/// The statistics of all brokers at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// What each broker told about the topic that was asked for.
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

/// The processes of a cluster, asked over HTTP.
pub(crate) struct Cluster {
    http: Http,
    sources: Sources,
    /// Brokers found earlier: they are asked while a discovery daemon is down.
    known: BTreeSet<Address>,
}

impl Cluster {
    pub(crate) fn new(sources: Sources, patience: Patience) -> Result<Self, Ending> {
        Ok(Self { http: Http::new(patience)?, sources, known: BTreeSet::new() })
    }

    /// What every broker counts for `topic`. Clients are not listed, only counted.
    pub(crate) async fn read(&mut self, topic: TopicName) -> Reading {
        let mut reading = Reading::default();
        let addresses = match &self.sources {
            Sources::Brokers(addresses) => addresses.iter().cloned().collect(),
            Sources::Lookups(lookups) => {
                let discovery = self.http.discover(lookups, topic).await;
                reading.lookup_answered = discovery.failures.len() < lookups.len();
                let found = discovery.brokers.into_iter().map(|broker| broker.http);
                if discovery.failures.is_empty() {
                    self.known = found.collect();
                } else {
                    self.known.extend(found);
                }
                reading.failures = discovery.failures;
                self.known.clone()
            }
        };
        let path = format!("/stats?format=json&topic={}", in_query(topic));
        let path = format!("{path}&include_clients=false&include_mem=false");
        for (address, answer) in self.http.get_all::<Stats>(&addresses, &path).await {
            match answer {
                Ok(Some(stats)) => {
                    reading.brokers.insert(address, stats);
                }
                Ok(None) => {
                    let reason = "it has no /stats".to_owned();
                    reading.failures.push(Failure { address, reason });
                }
                Err(reason) => reading.failures.push(Failure { address, reason }),
            }
        }
        reading
    }
}

/// A name in a query: `#` is the only legal byte of a name that means something there.
fn in_query(topic: TopicName) -> String {
    topic.as_str().replace('#', "%23")
}

/// HTTP with limits.
#[derive(Clone)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new(patience: Patience) -> Result<Self, Ending> {
        Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(patience.connect)
            .timeout(patience.request)
            .user_agent(concat!("admin-cli/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(|error| Ending::Failed(format!("cannot make HTTP requests: {error}")))
    }

    /// The brokers that have `topic`, as any of `lookups` knows them.
    pub(crate) async fn discover(&self, lookups: &[Address], topic: TopicName) -> Discovery {
        let mut discovery = Discovery::default();
        let addresses = lookups.iter().cloned().collect();
        let path = format!("/lookup?topic={}", in_query(topic));
        for (address, answer) in self.get_all::<Lookup>(&addresses, &path).await {
            match answer {
                Ok(answer) => {
                    let lookup = answer.unwrap_or_default();
                    discovery.has_channels |= !lookup.channels.is_empty();
                    discovery.brokers.extend(lookup.producers.iter().map(|producer| Broker {
                        http: Address::of(&producer.broadcast_address, producer.http_port),
                        tcp: Address::of(&producer.broadcast_address, producer.tcp_port),
                    }));
                }
                Err(reason) => discovery.failures.push(Failure { address, reason }),
            }
        }
        discovery
    }

    /// Asks all at once; the answers are sorted by address.
    async fn get_all<T: DeserializeOwned + Send + 'static>(
        &self,
        addresses: &BTreeSet<Address>,
        path_and_query: &str,
    ) -> BTreeMap<Address, Result<Option<T>, String>> {
        let mut requests = JoinSet::new();
        for address in addresses {
            let (http, address) = (self.clone(), address.clone());
            let path_and_query = path_and_query.to_owned();
            requests.spawn(async move {
                let answer = http.get(&address, &path_and_query).await;
                (address, answer)
            });
        }
        requests.join_all().await.into_iter().collect()
    }

    /// One answer; `None` for 404, by which both kinds of process say that a topic does not exist.
    async fn get<T: DeserializeOwned>(
        &self,
        address: &Address,
        path_and_query: &str,
    ) -> Result<Option<T>, String> {
        let url = format!("http://{address}{path_and_query}");
        let mut response = self.0.get(url).send().await.map_err(|error| root_cause(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
            if ANSWER_BYTES_MAX < body.len() + chunk.len() {
                return Err(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("its answer is not what it should be: {error}")),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("it says {status}")),
        }
    }
}

/// What lies under the layers of an HTTP error: those above only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
