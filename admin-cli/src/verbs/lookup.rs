//! `admin-cli lookup`: who has a topic, as each nsqlookupd knows it.
//!
//! Knows: that nsqlookupds may know different things. Does not know: what the nsqds themselves say.

use std::collections::{BTreeMap, BTreeSet};

use protocol::lookup::{Lookup, Producer};
use serde::Serialize;

use super::cluster_flags::{ListFlags, silence};
use super::columns::{Side, Table};
use super::command_line;
use super::outcome::{self, FailureReport, show};
use crate::address::Address;
use crate::cluster::{Cluster, Failure};
use crate::terminal::Ending;

/// What is known of one topic.
#[derive(Debug, PartialEq, Serialize)]
struct Report {
    topic: String,
    /// Whether any nsqlookupd knows it.
    exists: bool,
    channels: Vec<String>,
    producers: Vec<ProducerReport>,
    failed: Vec<FailureReport>,
}

/// An nsqd that has the topic.
#[derive(Debug, PartialEq, Serialize)]
struct ProducerReport {
    /// Its HTTP address.
    node: String,
    tcp_address: String,
    hostname: String,
    version: String,
    /// The nsqlookupds that know it for this topic.
    nsqlookupds: Vec<String>,
}

/// `lookup`
pub(crate) async fn run(flags: ListFlags, names: Vec<String>) -> Result<(), Ending> {
    let topics = command_line::some_topics(&names)?;
    let cluster = flags.cluster.directory()?;
    let lookups = cluster.lookups();
    let mut failures: Vec<Failure> = Vec::new();
    let mut missing = Vec::new();
    for topic in topics {
        let (report, failed) = ask(&cluster, topic.as_str()).await;
        if failed.len() == lookups.len() {
            return Err(silence(cluster.sources(), &failed));
        }
        show(flags.json, &report, || render(&report, lookups.len())).await?;
        if !report.exists {
            missing.push(report.topic);
        }
        for failure in failed {
            if !failures.iter().any(|known| known.address == failure.address) {
                failures.push(failure);
            }
        }
    }
    let outcome = outcome::end(&failures);
    if missing.is_empty() {
        return outcome;
    }
    Err(Ending::Failed(format!(
        "no nsqlookupd knows {}: a topic begins with its first message",
        missing.join(", ")
    )))
}

async fn ask(cluster: &Cluster, topic: &str) -> (Report, Vec<Failure>) {
    let mut answers: Vec<(Address, Option<Lookup>)> = Vec::new();
    let mut failures = Vec::new();
    for (address, answer) in cluster.lookup(topic).await {
        match answer {
            Ok(lookup) => answers.push((address, Some(lookup))),
            Err(failure) if failure.is_not_found() => answers.push((address, None)),
            Err(failure) => failures.push(failure),
        }
    }
    let failed = FailureReport::list(&failures);
    (Report { failed, ..merge(topic, answers) }, failures)
}

fn merge(topic: &str, answers: Vec<(Address, Option<Lookup>)>) -> Report {
    let mut channels = BTreeSet::new();
    let mut producers: BTreeMap<Address, ProducerReport> = BTreeMap::new();
    let mut exists = false;
    for (address, answer) in answers {
        let Some(lookup) = answer else { continue };
        exists = true;
        channels.extend(lookup.channels);
        for producer in lookup.producers {
            let http = Address::of(&producer.broadcast_address, producer.http_port);
            let report =
                producers.entry(http).or_insert_with_key(|http| of_producer(http, &producer));
            report.nsqlookupds.push(address.to_string());
        }
    }
    Report {
        topic: topic.to_owned(),
        exists,
        channels: channels.into_iter().collect(),
        producers: producers.into_values().collect(),
        failed: Vec::new(),
    }
}

fn of_producer(http: &Address, producer: &Producer) -> ProducerReport {
    ProducerReport {
        node: http.to_string(),
        tcp_address: Address::of(&producer.broadcast_address, producer.tcp_port).to_string(),
        hostname: producer.hostname.clone(),
        version: producer.version.clone(),
        nsqlookupds: Vec::new(),
    }
}

/// `lookups` is how many nsqlookupds there are.
fn render(report: &Report, lookups: usize) -> String {
    if !report.exists {
        return String::new();
    }
    let channels = match report.channels.as_slice() {
        [] => "no channel".to_owned(),
        [one] => format!("channel {one}"),
        several => format!("channels {}", several.join(", ")),
    };
    let mut text = format!("{}: {channels}\n", report.topic);
    if report.producers.is_empty() {
        text.push_str("no nsqd has it now\n");
        return text;
    }
    let mut table = Table::new(&[
        ("node", Side::Left),
        ("tcp address", Side::Left),
        ("host name", Side::Left),
        ("version", Side::Left),
        ("", Side::Left),
    ]);
    for producer in &report.producers {
        let known = producer.nsqlookupds.len();
        let remark = if known == lookups {
            String::new()
        } else {
            format!("known to {known} of {lookups} nsqlookupds")
        };
        table.push(vec![
            producer.node.clone(),
            producer.tcp_address.clone(),
            producer.hostname.clone(),
            producer.version.clone(),
            remark,
        ]);
    }
    text.push_str(&table.render());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(channels: &[&str], ports: &[u16]) -> Lookup {
        Lookup {
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            producers: ports
                .iter()
                .map(|&port| Producer {
                    hostname: "h".into(),
                    broadcast_address: "10.0.0.1".into(),
                    tcp_port: port,
                    http_port: port + 1,
                    version: "1.3.0".into(),
                    ..Producer::default()
                })
                .collect(),
        }
    }

    #[test]
    fn what_nsqlookupds_know_stands_together_with_who_knows_it() {
        let address = |text: &str| text.parse().unwrap();
        let answers = vec![
            (address("l1:1"), Some(lookup(&["b", "a"], &[4150, 5150]))),
            (address("l2:1"), Some(lookup(&["c"], &[4150]))),
            (address("l3:1"), None),
        ];
        let report = merge("t", answers);
        let expected = "\
t: channels a, b, c
NODE           TCP ADDRESS    HOST NAME  VERSION
10.0.0.1:4151  10.0.0.1:4150  h          1.3.0
10.0.0.1:5151  10.0.0.1:5150  h          1.3.0    known to 1 of 2 nsqlookupds
";
        assert_eq!(render(&report, 2), expected);
        let unknown = merge("t", vec![(address("l:1"), None)]);
        assert!(!unknown.exists && render(&unknown, 1).is_empty());
    }
}
