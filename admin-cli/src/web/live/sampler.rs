//! Asks every nsqd for its counters again and again while somebody looks.
//!
//! Knows: when it is time, and whom to ask. What is made of the answers is [`history`](super::history).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::history::{Failed, Told};
use super::{FORGOTTEN_AFTER, INTERVAL, WATCHED_FOR};
use crate::address::Address;
use crate::cluster::{Asked, Cluster, Failure, Node, Silence, Sources, StatsFilter};
use crate::web::Admin;

/// How often it is asked which nsqds there are.
const NODES_FOR: Duration = Duration::from_secs(10);

/// The pause behind a round that took as long or longer.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Rates need two rounds: the second comes this soon.
const SECOND_ROUND_AFTER: Duration = Duration::from_secs(1);

/// Samples for ever.
pub(in crate::web) async fn run(admin: Rc<Admin>) {
    let mut nodes = Nodes::default();
    let mut rounds = 0_u64;
    loop {
        let live = &admin.live;
        let since = live.looked_at.get().map(|looked_at| looked_at.elapsed());
        if since.is_none_or(|since| WATCHED_FOR < since) {
            rounds = 0;
            let patience = since.map(|since| FORGOTTEN_AFTER.saturating_sub(since));
            match patience {
                None => live.looked.notified().await,
                Some(patience) => {
                    if timeout(patience, live.looked.notified()).await.is_err() {
                        live.forget();
                    }
                }
            }
            continue;
        }
        let start = Instant::now();
        round(&admin, &mut nodes).await;
        live.end_round();
        rounds += 1;
        let pause = if rounds == 1 { SECOND_ROUND_AFTER } else { INTERVAL };
        // A round that takes long may be a load on the cluster: there is a pause behind it, too.
        let took = start.elapsed();
        sleep(pause.saturating_sub(took).max(took.min(PAUSE_MIN))).await;
    }
}

/// The nsqds, by where they are asked.
#[derive(Default)]
struct Nodes {
    asked_at: Option<Instant>,
    sources: Option<Sources>,
    known: BTreeMap<Address, Node>,
    /// Who did not say which nsqds there are.
    failures: Vec<Failed>,
}

impl Nodes {
    /// Asks who there is, if it is time.
    async fn refresh(&mut self, cluster: &Cluster) {
        let is_same = self.sources.as_ref() == Some(cluster.sources());
        if is_same && self.asked_at.is_some_and(|asked_at| asked_at.elapsed() < NODES_FOR) {
            return;
        }
        if !is_same {
            self.known.clear();
        }
        self.sources = Some(cluster.sources().clone());
        self.asked_at = Some(Instant::now());
        let asked = cluster.nodes().await;
        let is_lookup = matches!(cluster.sources(), Sources::Lookups(_));
        let (found, failures) = split(asked);
        if failures.is_empty() {
            self.known.clear();
        }
        self.known.extend(found.into_iter().map(|node| (node.address.clone(), node)));
        // An nsqd that does not answer is asked for its counters all the same, and fails then.
        self.failures = if is_lookup { failures } else { Vec::new() };
    }

    /// The name by which an nsqd is shown.
    fn shown(&self, address: &Address) -> Address {
        self.known.get(address).map_or_else(|| address.clone(), Node::http_address)
    }
}

async fn round(admin: &Admin, nodes: &mut Nodes) {
    let cluster = admin.sampled_cluster();
    let history = &admin.live.history;
    let filter = StatsFilter::default();
    let (addresses, told) = match cluster.sources() {
        // Whom to ask is known: one that hangs is waited for once.
        Sources::Brokers(addresses) => {
            history.borrow_mut().begin_round(jiff::Timestamp::now().as_millisecond());
            let told = cluster.stats_as::<Told>(addresses, &filter);
            let ((), told) = tokio::join!(nodes.refresh(&cluster), told);
            (addresses.clone(), told)
        }
        Sources::Lookups(_) => {
            nodes.refresh(&cluster).await;
            history.borrow_mut().begin_round(jiff::Timestamp::now().as_millisecond());
            let addresses: Vec<Address> = nodes.known.keys().cloned().collect();
            let told = cluster.stats_as::<Told>(&addresses, &filter).await;
            (addresses, told)
        }
    };
    let (told, failures) = split(told);
    for told in told {
        let (hostname, version) = nodes.known.get(&told.node).map_or(("", ""), |node| {
            (node.producer.hostname.as_str(), node.producer.version.as_str())
        });
        let shown = nodes.shown(&told.node);
        history.borrow_mut().take(&shown, hostname, version, told.stats);
        // Ten thousand channels take a while: let others have their turn.
        tokio::task::yield_now().await;
    }
    let mut all = nodes.failures.clone();
    for failed in failures {
        let failed = Failed { address: nodes.shown(&failed.address), ..failed };
        history.borrow_mut().miss(failed.clone(), true);
        all.push(failed);
    }
    let known: Vec<Address> = addresses.iter().map(|address| nodes.shown(address)).collect();
    history.borrow_mut().end_round(all, &known);
}

/// What was answered, and who failed.
fn split<T>(asked: Asked<Vec<T>>) -> (Vec<T>, Vec<Failed>) {
    let (value, failures) = match asked {
        Ok(answer) => (answer.value, answer.failures),
        Err(Silence { failures, .. }) => (Vec::new(), failures),
    };
    let failed = |failure: Failure| Failed { address: failure.address, reason: failure.reason };
    (value, failures.into_iter().map(failed).collect())
}
