//! `admin-cli node`: lists nsqds, hides one from the consumers of a topic, and drains one.
//!
//! Knows: what is shown of an nsqd, and what is asked first. Who is told what is in
//! [`crate::cluster`].

use std::time::Duration;

use clap::{ArgAction, Parser};
use serde::Serialize;
use startup::flags;
use tokio::time::sleep;

use super::cluster_flags::{ClusterFlags, DestroyFlags, ListFlags, nobody, silence};
use super::columns::{Side, Table, counted, number};
use super::outcome::{self, FailureReport, Name, show, show_change};
use super::overview::Overview;
use super::{command_line, consent, losses};
use crate::address::Address;
use crate::cluster::{Cluster, Drain, Node, Sources, StatsFilter};
use crate::terminal::{Ending, note};

/// How often a drain is looked after.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// All nsqds.
#[derive(Debug, PartialEq, Serialize)]
struct Report {
    nodes: Vec<NodeReport>,
    failed: Vec<FailureReport>,
}

/// What is shown of one nsqd.
#[derive(Debug, PartialEq, Serialize)]
struct NodeReport {
    /// Its HTTP address as it broadcasts it.
    node: String,
    hostname: String,
    tcp_port: u16,
    version: String,
    /// Whether another has a newer version.
    out_of_date: bool,
    topics: usize,
    /// Topics of which it is hidden from consumers for now.
    tombstoned: Vec<String>,
    /// The nsqlookupds that know it; `None` where none was asked.
    nsqlookupds: Option<Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    region: String,
}

impl NodeReport {
    fn new(node: &Node, is_looked_up: bool) -> Self {
        let tombstoned = node.topics.iter().filter(|topic| topic.is_tombstoned);
        let lookups = node.seen_by.iter().map(|seen| seen.lookup.to_string());
        Self {
            node: node.http_address().to_string(),
            hostname: node.producer.hostname.clone(),
            tcp_port: node.producer.tcp_port,
            version: node.producer.version.clone(),
            out_of_date: node.is_out_of_date,
            topics: node.topics.len(),
            tombstoned: tombstoned.map(|topic| topic.topic.clone()).collect(),
            nsqlookupds: is_looked_up.then(|| lookups.collect()),
            zone: node.producer.topology_zone.clone(),
            region: node.producer.topology_region.clone(),
        }
    }

    /// `lookups` is how many nsqlookupds there are.
    fn cells(&self, lookups: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.out_of_date {
            remarks.push("older than others".to_owned());
        }
        if let Some(known) = self.nsqlookupds.as_ref().filter(|known| known.len() != lookups) {
            remarks.push(format!("known to {} of {lookups} nsqlookupds", known.len()));
        }
        if !self.tombstoned.is_empty() {
            remarks.push(format!("hidden from {}", self.tombstoned.join(", ")));
        }
        vec![
            self.node.clone(),
            self.tcp_port.to_string(),
            self.hostname.clone(),
            self.version.clone(),
            number(i128::try_from(self.topics).expect("what is in memory can be counted")),
            remarks.join("; "),
        ]
    }
}

/// `node list`
pub(crate) async fn list(flags: ListFlags, names: Vec<String>) -> Result<(), Ending> {
    command_line::no_names(&names)?;
    let cluster = flags.cluster.cluster()?;
    let nodes = match cluster.nodes().await {
        Ok(nodes) => nodes,
        Err(silent) => return Err(silence(cluster.sources(), &silent.failures)),
    };
    let is_looked_up = matches!(cluster.sources(), Sources::Lookups(_));
    let report = Report {
        nodes: nodes.value.iter().map(|node| NodeReport::new(node, is_looked_up)).collect(),
        failed: FailureReport::list(&nodes.failures),
    };
    let lookups = cluster.lookups().len();
    show(flags.json, &report, || render(&report, lookups)).await?;
    if report.nodes.is_empty() && !flags.json {
        note("nsqlookupd knows no nsqd: start one with --lookupd-tcp-address");
    }
    outcome::end(&nodes.failures)
}

fn render(report: &Report, lookups: usize) -> String {
    if report.nodes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("node", Side::Left),
        ("tcp port", Side::Right),
        ("host name", Side::Left),
        ("version", Side::Left),
        ("topics", Side::Right),
        ("", Side::Left),
    ]);
    for node in &report.nodes {
        table.push(node.cells(lookups));
    }
    table.render()
}

/// `node tombstone`
pub(crate) async fn tombstone(flags: DestroyFlags, names: Vec<String>) -> Result<(), Ending> {
    let [node, topic] = names.as_slice() else {
        return Err(Ending::Misuse("name the nsqd and the topic: NODE TOPIC".to_owned()));
    };
    let node = command_line::node(node)?;
    let [topic] = command_line::topics(std::slice::from_ref(topic))?[..] else {
        unreachable!("one name is one topic")
    };
    let topic = topic.as_str();
    let cluster = flags.cluster.directory()?;
    if !flags.yes {
        let overview = at_node(&cluster, &node, StatsFilter::of_topic(topic)).await?;
        let sums = overview.sums().topics.unwrap_or_default();
        let Some(found) = sums.first() else {
            return Err(Ending::Failed(format!("{node} does not have the topic {topic}")));
        };
        let done = format!(
            "{node} is hidden from the consumers of {topic}, and the topic is deleted there"
        );
        let text = losses::text(&done, &losses::of_topic(found), &overview);
        consent::require(false, &text, &format!("Tombstone {topic} at {node}?"))?;
    }
    match cluster.tombstone(topic, &node).await {
        Ok(answer) => {
            let name = Name { topic, channel: None };
            show_change(flags.json, name, "tombstoned", answer).await
        }
        Err(silent) => Err(nobody(cluster.sources(), &silent)),
    }
}

/// What one nsqd holds.
async fn at_node(
    cluster: &Cluster,
    node: &Address,
    filter: StatsFilter<'_>,
) -> Result<Overview, Ending> {
    match cluster.stats(std::slice::from_ref(node), &filter).await {
        Ok(answer) => Ok(Overview { nodes: answer.value, ..Overview::default() }),
        Err(silent) => Err(silence(&Sources::Brokers(vec![node.clone()]), &silent.failures)),
    }
}

/// The flags of `admin-cli node drain`.
#[derive(Debug, Parser)]
#[command(name = "admin-cli")]
pub(crate) struct DrainFlags {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// write lines of JSON instead of sentences
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    json: bool,
    /// go ahead without asking
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    yes: bool,
    /// show what is left until the nsqd has ended
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
    wait: bool,
}

/// How far a drain has come, in JSON.
#[derive(Debug, Serialize)]
struct DrainReport<'a> {
    node: &'a str,
    /// Whether it has ended.
    ended: bool,
    /// Messages that are left, once for each channel that owes them.
    messages: u64,
}

/// `node drain`
pub(crate) async fn drain(flags: DrainFlags, names: Vec<String>) -> Result<(), Ending> {
    let [node] = names.as_slice() else {
        return Err(Ending::Misuse("name one nsqd by its HTTP address: NODE".to_owned()));
    };
    let node = command_line::node(node)?;
    let cluster = flags.cluster.cluster()?;
    if !flags.yes {
        let overview = at_node(&cluster, &node, StatsFilter::default()).await?;
        let topics = overview.sums().topics.unwrap_or_default();
        let held: Vec<String> = topics.iter().flat_map(losses::of_topic).collect();
        let held: String = held.iter().map(|line| format!("  {line}\n")).collect();
        let text = format!(
            "{node} takes nothing new, delivers what it holds, and ends; it holds\n{}",
            if held.is_empty() { "  nothing\n" } else { &held }
        );
        consent::require(false, &text, &format!("Drain {node}?"))?;
    }
    let mut left = match cluster.drain(&node).await {
        Ok(left) => left,
        Err(failure) if failure.is_not_found() => {
            return Err(Ending::Failed(format!("{node} cannot drain: it is NSQ's own nsqd")));
        }
        Err(failure) => return Err(Ending::Failed(failure.to_string())),
    };
    let mut shown = None;
    loop {
        if shown != Some(left.messages) {
            tell(&flags, &node, Some(&left)).await?;
            shown = Some(left.messages);
        }
        if !flags.wait {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
        match cluster.drain_progress(&node).await {
            Ok(progress) => left = progress,
            Err(failure) if failure.nobody_listens() => return tell(&flags, &node, None).await,
            Err(failure) if failure.status.is_some() => {
                return Err(Ending::Failed(failure.to_string()));
            }
            // It is busy, or just about to end.
            Err(_) => {}
        }
    }
}

/// Shows what is left; nothing but the end when it has ended.
async fn tell(flags: &DrainFlags, node: &Address, left: Option<&Drain>) -> Result<(), Ending> {
    let messages = left.map(|left| left.messages).unwrap_or_default();
    let report = DrainReport { node: node.as_str(), ended: left.is_none(), messages };
    show(flags.json, &report, || match left {
        Some(_) => format!("{node} drains, {} left\n", counted(messages, "message")),
        None => format!("{node} has ended\n"),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node: &str, nsqlookupds: Option<&[&str]>) -> NodeReport {
        NodeReport {
            node: node.into(),
            hostname: "h".into(),
            tcp_port: 4150,
            version: "1.3.0".into(),
            out_of_date: false,
            topics: 2,
            tombstoned: Vec::new(),
            nsqlookupds: nsqlookupds
                .map(|addresses| addresses.iter().map(|address| (*address).to_owned()).collect()),
            zone: String::new(),
            region: String::new(),
        }
    }

    #[test]
    fn a_table_says_what_is_odd_about_an_nsqd() {
        let odd = NodeReport {
            out_of_date: true,
            tombstoned: vec!["a".into(), "b".into()],
            ..report("10.0.0.2:4151", Some(&["l:1"]))
        };
        let nodes = vec![report("10.0.0.1:4151", Some(&["l:1", "l:2"])), odd];
        let expected = "\
NODE           TCP PORT  HOST NAME  VERSION  TOPICS
10.0.0.1:4151      4150  h          1.3.0         2
10.0.0.2:4151      4150  h          1.3.0         2  older than others; known to 1 of 2 nsqlookupds; hidden from a, b
";
        assert_eq!(render(&Report { nodes, failed: Vec::new() }, 2), expected);
        let alone = Report { nodes: vec![report("n:1", None)], failed: Vec::new() };
        assert!(!render(&alone, 0).contains("known to"));
    }
}
