//! `admin-cli topic`: lists topics, creates, deletes, empties, pauses and unpauses them.
//!
//! Knows: what is shown of a topic, and what is asked before one is destroyed. Who is told what is in
//! [`crate::cluster`].

use std::collections::BTreeMap;

use protocol::name::TopicName;
use protocol::stats::TopicStats;
use serde::Serialize;

use super::cluster_flags::{ChangeFlags, DestroyFlags, ListFlags, nobody};
use super::columns::{Side, Table, counted, number};
use super::outcome::{self, FailureReport, Name, show, show_change, worse};
use super::overview::Overview;
use super::{command_line, consent, losses};
use crate::cluster::{Change, Cluster};
use crate::terminal::{Ending, note};

/// All topics, or those that are named.
#[derive(Debug, PartialEq, Serialize)]
struct Report {
    topics: Vec<TopicReport>,
    failed: Vec<FailureReport>,
}

/// What is shown of one topic, summed over its nsqds.
#[derive(Debug, PartialEq, Serialize)]
struct TopicReport {
    topic: String,
    /// How many nsqds have it.
    nsqds: usize,
    channels: usize,
    /// Messages that no channel has yet.
    depth: i64,
    /// Messages that wait in its channels.
    channel_depth: i64,
    /// Messages published.
    messages: u64,
    paused: bool,
}

impl TopicReport {
    fn new(topic: &TopicStats, nsqds: usize) -> Self {
        Self {
            topic: topic.topic_name.clone(),
            nsqds,
            channels: topic.channels.len(),
            depth: topic.depth,
            channel_depth: topic.channels.iter().map(|channel| channel.depth).sum(),
            messages: topic.message_count,
            paused: topic.paused,
        }
    }

    fn cells(&self) -> Vec<String> {
        let remark = match (self.nsqds, self.paused) {
            (0, _) => "no nsqd has it",
            (_, true) => "paused",
            _ => "",
        };
        vec![
            self.topic.clone(),
            self.nsqds.to_string(),
            self.channels.to_string(),
            number(self.depth),
            number(self.channel_depth),
            number(self.messages),
            remark.to_owned(),
        ]
    }
}

/// `topic list`
pub(crate) async fn list(flags: ListFlags, names: Vec<String>) -> Result<(), Ending> {
    let wanted = command_line::topics(&names)?;
    let cluster = flags.cluster.cluster()?;
    let overview = Overview::read(&cluster).await?;
    let sums = overview.sums().topics.unwrap_or_default();
    // Nobody's topics first, so that those that are counted take their places.
    let mut topics: BTreeMap<&str, TopicReport> = overview
        .known
        .iter()
        .map(|topic| {
            let nobodys = TopicStats { topic_name: topic.clone(), ..TopicStats::default() };
            (topic.as_str(), TopicReport::new(&nobodys, 0))
        })
        .collect();
    for topic in &sums {
        let nsqds = overview.nodes_with(&topic.topic_name);
        topics.insert(&topic.topic_name, TopicReport::new(topic, nsqds));
    }
    let is_wanted = |topic: &TopicReport| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == topic.topic)
    };
    let topics: Vec<TopicReport> = topics.into_values().filter(is_wanted).collect();
    let report = Report { topics, failed: FailureReport::list(&overview.failures) };
    show(flags.json, &report, || render(&report)).await?;
    if report.topics.is_empty() && !flags.json {
        note(if wanted.is_empty() {
            "there is no topic yet: one begins with its first message (admin-cli pub --topic=NAME), \
             or with admin-cli topic create NAME"
        } else {
            "there is no such topic: admin-cli topic list shows all"
        });
    }
    outcome::end(&overview.failures)
}

fn render(report: &Report) -> String {
    if report.topics.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("topic", Side::Left),
        ("nsqds", Side::Right),
        ("channels", Side::Right),
        ("depth", Side::Right),
        ("in channels", Side::Right),
        ("messages", Side::Right),
        ("", Side::Left),
    ]);
    for topic in &report.topics {
        table.push(topic.cells());
    }
    table.render()
}

/// `topic create`
pub(crate) async fn create(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let topics = command_line::some_topics(&names)?;
    let cluster = flags.cluster.cluster()?;
    let mut outcome = Ok(());
    for topic in topics {
        let topic = topic.as_str();
        let answer = cluster.create_topic(topic).await;
        let name = Name { topic, channel: None };
        let created = show_change(flags.json, name, "created", answer).await;
        outcome = worse(outcome, created);
    }
    outcome
}

/// `topic pause`
pub(crate) async fn pause(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let topics = command_line::some_topics(&names)?;
    change_all(&flags.cluster.cluster()?, flags.json, &topics, Change::Pause).await
}

/// `topic unpause`
pub(crate) async fn unpause(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let topics = command_line::some_topics(&names)?;
    change_all(&flags.cluster.cluster()?, flags.json, &topics, Change::Unpause).await
}

/// `topic delete`
pub(crate) async fn delete(flags: DestroyFlags, names: Vec<String>) -> Result<(), Ending> {
    destroy(&flags, &names, Change::Delete, losses::of_topic).await
}

/// `topic empty`
pub(crate) async fn empty(flags: DestroyFlags, names: Vec<String>) -> Result<(), Ending> {
    destroy(&flags, &names, Change::Empty, losses::of_topic_itself).await
}

async fn destroy(
    flags: &DestroyFlags,
    names: &[String],
    change: Change,
    lost: fn(&TopicStats) -> Vec<String>,
) -> Result<(), Ending> {
    let topics = command_line::some_topics(names)?;
    let cluster = flags.cluster.cluster()?;
    if !flags.yes {
        for topic in &topics {
            let topic = topic.as_str();
            let overview = Overview::of_topic(&cluster, topic).await?;
            let sums = overview.sums().topics.unwrap_or_default();
            let lines = sums.first().map(lost).unwrap_or_default();
            let nsqds = counted(count(overview.nodes.len()), "nsqd");
            let done = format!("{topic} is {} at {nsqds}", change.done());
            let question = format!("{} {topic}?", change.imperative());
            consent::require(false, &losses::text(&done, &lines, &overview), &question)?;
        }
    }
    change_all(&cluster, flags.json, &topics, change).await
}

fn count(count: usize) -> i128 {
    i128::try_from(count).expect("what is in memory can be counted")
}

async fn change_all(
    cluster: &Cluster,
    is_json: bool,
    topics: &[TopicName],
    change: Change,
) -> Result<(), Ending> {
    let mut outcome = Ok(());
    for topic in topics {
        let topic = topic.as_str();
        let changed = match cluster.change_topic(topic, change).await {
            Ok(answer) => {
                let name = Name { topic, channel: None };
                show_change(is_json, name, change.done(), answer).await
            }
            Err(silent) if silent.is_not_found() => {
                Err(Ending::Failed(format!("the topic {topic} does not exist")))
            }
            Err(silent) => Err(nobody(cluster.sources(), &silent)),
        };
        outcome = worse(outcome, changed);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_which_topics_are_paused_or_nobodys() {
        let counted = TopicStats {
            topic_name: "orders".into(),
            depth: 1_204,
            message_count: 5_000,
            paused: true,
            ..TopicStats::default()
        };
        let nobodys = TopicStats { topic_name: "old".into(), ..TopicStats::default() };
        let topics = vec![TopicReport::new(&nobodys, 0), TopicReport::new(&counted, 2)];
        let expected = "\
TOPIC   NSQDS  CHANNELS  DEPTH  IN CHANNELS  MESSAGES
old         0         0      0            0         0  no nsqd has it
orders      2         0  1,204            0     5,000  paused
";
        assert_eq!(render(&Report { topics, failed: Vec::new() }), expected);
        assert_eq!(render(&Report { topics: Vec::new(), failed: Vec::new() }), "");
    }
}
