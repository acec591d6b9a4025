//! Asks the brokers, each by itself, so that one that is slow holds up no other.
//!
//! Knows: how often, and that a broker which was found is asked until every discovery daemon answers
//! without it. Does not know: what the answers mean.
//!
//! Bounds: one question at a time to each process, [`NEWS_MAX`] answers that nobody has taken yet.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::model::{ChannelPath, News};
use crate::address::Address;
use crate::cluster::{Answer, Cluster, Failure, Silence, Sources, StatsFilter};

/// How many answers may wait to be taken.
const NEWS_MAX: usize = 256;
/// How often discovery daemons are asked who there is.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// Asks until its news are dropped.
pub(super) fn start(
    cluster: Cluster,
    interval: Duration,
    open: watch::Receiver<Option<ChannelPath>>,
) -> mpsc::Receiver<News> {
    let (news, receiver) = mpsc::channel(NEWS_MAX);
    let brokers = Brokers { cluster, interval, start: Instant::now(), open, news };
    tokio::spawn(brokers.run());
    receiver
}

#[derive(Clone)]
struct Brokers {
    cluster: Cluster,
    interval: Duration,
    /// The moment that times are counted from.
    start: Instant,
    /// The channel whose consumers are wanted.
    open: watch::Receiver<Option<ChannelPath>>,
    news: mpsc::Sender<News>,
}

impl Brokers {
    /// Keeps a task for each broker that there is.
    async fn run(self) {
        if let Sources::Brokers(addresses) = self.cluster.sources() {
            for address in addresses.clone() {
                tokio::spawn(self.clone().ask(address));
            }
            return;
        }
        let mut tasks: HashMap<Address, AbortHandle> = HashMap::new();
        loop {
            let begun = Instant::now();
            let (found, failures) = match self.cluster.nodes().await {
                Ok(Answer { value, failures }) => (Some(value), failures),
                Err(Silence { failures, .. }) => (None, failures),
            };
            let found = found.map(|nodes| {
                let mut found: BTreeSet<Address> =
                    nodes.into_iter().map(|node| node.address).collect();
                if !failures.is_empty() {
                    found.extend(tasks.keys().cloned());
                }
                found
            });
            if let Some(found) = &found {
                tasks.retain(|node, task| {
                    let stays = found.contains(node);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
            }
            let nodes = found.clone().into_iter().flatten();
            if self.news.send(News::Nodes { found, failures }).await.is_err() {
                return;
            }
            for node in nodes {
                let task = || tokio::spawn(self.clone().ask(node.clone())).abort_handle();
                tasks.entry(node.clone()).or_insert_with(task);
            }
            sleep_until(begun + DISCOVERY_INTERVAL.max(self.interval)).await;
        }
    }

    /// Asks one broker again and again.
    async fn ask(mut self, node: Address) {
        loop {
            let begun = Instant::now();
            let answer = self.stats(&node, &StatsFilter::default()).await;
            let counted = News::Counted { node: node.clone(), at: self.start.elapsed(), answer };
            if self.news.send(counted).await.is_err() {
                return;
            }
            loop {
                self.ask_for_clients(&node).await;
                tokio::select! {
                    () = sleep_until(begun + self.interval) => break,
                    // The user who opens a channel does not wait for the next round.
                    changed = self.open.changed() => if changed.is_err() {
                        return;
                    },
                }
            }
        }
    }

    async fn ask_for_clients(&mut self, node: &Address) {
        let Some(of) = self.open.borrow_and_update().clone() else { return };
        let filter = StatsFilter {
            topic: Some(&of.topic),
            channel: Some(&of.channel),
            with_clients: true,
            with_memory: false,
        };
        // Whoever does not answer this did not answer the question before, or will not the next.
        let Ok(stats) = self.stats(node, &filter).await else { return };
        let topics = stats.topics.into_iter().flatten();
        let topic = topics.filter(|topic| topic.topic_name == of.topic);
        let channels = topic.flat_map(|topic| topic.channels);
        let channel = channels.filter(|channel| channel.channel_name == of.channel);
        let clients = channel.flat_map(|channel| channel.clients.unwrap_or_default()).collect();
        let at = self.start.elapsed();
        // Nobody listens when the program ends, and the next question will find out.
        drop(self.news.send(News::Clients { node: node.clone(), at, of, clients }).await);
    }

    async fn stats(
        &self,
        node: &Address,
        filter: &StatsFilter<'_>,
    ) -> Result<protocol::stats::Stats, Failure> {
        match self.cluster.stats(std::slice::from_ref(node), filter).await {
            Ok(mut answer) => Ok(answer.value.pop().expect("one was asked, and answered").stats),
            Err(mut silence) => Err(silence.failures.pop().expect("one was asked, and failed")),
        }
    }
}
