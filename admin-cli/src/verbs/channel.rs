//! `admin-cli channel`: lists channels, creates, deletes, empties, pauses and unpauses them.
//!
//! Knows: what is shown of a channel, and what is asked before one is destroyed. Who is told what is
//! in [`crate::cluster`].

use protocol::name::{ChannelName, TopicName};
use protocol::stats::{ChannelStats, TopicStats};
use serde::Serialize;

use super::cluster_flags::{ChangeFlags, DestroyFlags, ListFlags, nobody};
use super::columns::{Side, Table, number};
use super::outcome::{self, FailureReport, Name, show, show_change, worse};
use super::overview::Overview;
use super::{command_line, consent, losses};
use crate::cluster::{Change, Cluster};
use crate::terminal::{Ending, note};

/// The channels of all topics, or of those that are named.
#[derive(Debug, PartialEq, Serialize)]
struct Report {
    channels: Vec<ChannelReport>,
    failed: Vec<FailureReport>,
}

/// What is shown of one channel, summed over its nsqds.
#[derive(Debug, PartialEq, Serialize)]
struct ChannelReport {
    topic: String,
    channel: String,
    /// Messages that wait for a consumer.
    depth: i64,
    in_flight: u64,
    deferred: u64,
    requeued: u64,
    timed_out: u64,
    /// Messages that came into the channel.
    messages: u64,
    clients: u64,
    paused: bool,
}

impl ChannelReport {
    fn new(topic: &str, channel: &ChannelStats) -> Self {
        Self {
            topic: topic.to_owned(),
            channel: channel.channel_name.clone(),
            depth: channel.depth,
            in_flight: channel.in_flight_count,
            deferred: channel.deferred_count,
            requeued: channel.requeue_count,
            timed_out: channel.timeout_count,
            messages: channel.message_count,
            clients: channel.client_count,
            paused: channel.paused,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}/{}", self.topic, self.channel),
            number(self.depth),
            number(self.in_flight),
            number(self.deferred),
            number(self.requeued),
            number(self.timed_out),
            number(self.messages),
            number(self.clients),
            if self.paused { "paused".to_owned() } else { String::new() },
        ]
    }
}

/// `channel list`
pub(crate) async fn list(flags: ListFlags, names: Vec<String>) -> Result<(), Ending> {
    let wanted = command_line::topics(&names)?;
    let cluster = flags.cluster.cluster()?;
    let overview = Overview::read(&cluster).await?;
    let sums = overview.sums().topics.unwrap_or_default();
    let is_wanted = |topic: &&TopicStats| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == topic.topic_name)
    };
    let channels: Vec<ChannelReport> = sums
        .iter()
        .filter(is_wanted)
        .flat_map(|topic| {
            let channels = topic.channels.iter();
            channels.map(|channel| ChannelReport::new(&topic.topic_name, channel))
        })
        .collect();
    let report = Report { channels, failed: FailureReport::list(&overview.failures) };
    show(flags.json, &report, || render(&report)).await?;
    if report.channels.is_empty() && !flags.json {
        note(
            "there is no such channel yet: one begins with its first consumer (admin-cli tail), or \
             with admin-cli channel create TOPIC/CHANNEL",
        );
    }
    outcome::end(&overview.failures)
}

fn render(report: &Report) -> String {
    if report.channels.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("channel", Side::Left),
        ("depth", Side::Right),
        ("in flight", Side::Right),
        ("deferred", Side::Right),
        ("requeued", Side::Right),
        ("timed out", Side::Right),
        ("messages", Side::Right),
        ("clients", Side::Right),
        ("", Side::Left),
    ]);
    for channel in &report.channels {
        table.push(channel.cells());
    }
    table.render()
}

/// `channel create`
pub(crate) async fn create(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let channels = command_line::some_channels(&names)?;
    let cluster = flags.cluster.cluster()?;
    let mut outcome = Ok(());
    for (topic, channel) in &channels {
        let name = Name { topic: topic.as_str(), channel: Some(channel.as_str()) };
        let created = match cluster.create_channel(topic.as_str(), channel.as_str()).await {
            Ok(answer) => show_change(flags.json, name, "created", answer).await,
            Err(silent) => Err(nobody(cluster.sources(), &silent)),
        };
        outcome = worse(outcome, created);
    }
    outcome
}

/// `channel pause`
pub(crate) async fn pause(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let channels = command_line::some_channels(&names)?;
    change_all(&flags.cluster.cluster()?, flags.json, &channels, Change::Pause).await
}

/// `channel unpause`
pub(crate) async fn unpause(flags: ChangeFlags, names: Vec<String>) -> Result<(), Ending> {
    let channels = command_line::some_channels(&names)?;
    change_all(&flags.cluster.cluster()?, flags.json, &channels, Change::Unpause).await
}

/// `channel delete`
pub(crate) async fn delete(flags: DestroyFlags, names: Vec<String>) -> Result<(), Ending> {
    destroy(&flags, &names, Change::Delete, losses::of_channel).await
}

/// `channel empty`
pub(crate) async fn empty(flags: DestroyFlags, names: Vec<String>) -> Result<(), Ending> {
    let lost = |topic: &str, channel: &ChannelStats| {
        losses::of_messages(topic, channel).into_iter().collect()
    };
    destroy(&flags, &names, Change::Empty, lost).await
}

async fn destroy(
    flags: &DestroyFlags,
    names: &[String],
    change: Change,
    lost: fn(&str, &ChannelStats) -> Vec<String>,
) -> Result<(), Ending> {
    let channels = command_line::some_channels(names)?;
    let cluster = flags.cluster.cluster()?;
    if !flags.yes {
        for (topic, channel) in &channels {
            let overview = Overview::of_topic(&cluster, topic.as_str()).await?;
            let sums = overview.sums().topics.unwrap_or_default();
            let found = sums
                .iter()
                .flat_map(|topic| &topic.channels)
                .find(|found| found.channel_name == channel.as_str());
            let name = Name { topic: topic.as_str(), channel: Some(channel.as_str()) };
            // One that only nsqlookupd knows, or a node that does not answer, holds nothing known.
            if found.is_none() && overview.failures.is_empty() && cluster.lookups().is_empty() {
                return Err(missing(name));
            }
            let lines = found.map(|found| lost(topic.as_str(), found)).unwrap_or_default();
            let done = format!("{name} is {}", change.done());
            let question = format!("{} {name}?", change.imperative());
            consent::require(false, &losses::text(&done, &lines, &overview), &question)?;
        }
    }
    change_all(&cluster, flags.json, &channels, change).await
}

fn missing(name: Name<'_>) -> Ending {
    Ending::Failed(format!("the channel {name} does not exist"))
}

async fn change_all(
    cluster: &Cluster,
    is_json: bool,
    channels: &[(TopicName, ChannelName)],
    change: Change,
) -> Result<(), Ending> {
    let mut outcome = Ok(());
    for (topic, channel) in channels {
        let name = Name { topic: topic.as_str(), channel: Some(channel.as_str()) };
        let asked = cluster.change_channel(topic.as_str(), channel.as_str(), change).await;
        let changed = match asked {
            Ok(answer) => show_change(is_json, name, change.done(), answer).await,
            Err(silent) if silent.is_not_found() => Err(missing(name)),
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
    fn a_table_names_channels_by_their_topics() {
        let channel = ChannelStats {
            channel_name: "email".into(),
            depth: 1_204,
            in_flight_count: 2,
            client_count: 1,
            paused: true,
            ..ChannelStats::default()
        };
        let channels = vec![ChannelReport::new("orders", &channel)];
        let expected = "\
CHANNEL       DEPTH  IN FLIGHT  DEFERRED  REQUEUED  TIMED OUT  MESSAGES  CLIENTS
orders/email  1,204          2         0         0          0         0        1  paused
";
        assert_eq!(render(&Report { channels, failed: Vec::new() }), expected);
    }
}
