//! Which files of a folder are disk queues, and whose.
//!
//! ```text
//! <topic>.diskqueue.meta.dat             <topic>:<channel>.diskqueue.meta.dat
//! <topic>.diskqueue.000000.dat ...       <topic>:<channel>.diskqueue.000000.dat ...
//! ```
//!
//! The number has six digits, or more when it is that large (NSQ behaviour). Names of topics and
//! channels have no colon. Knows: names of files. Does not know: what is in them.

use super::marker::MARKER_SUFFIX;
use protocol::name::{ChannelName, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whose messages a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueOwner {
    /// One channel's: the topic has handed them over.
    Channel(ChannelName),
    /// The topic's: every channel gets them. Newer than what the channels have.
    Topic,
}

/// The files of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFiles {
    /// The name of its metadata file, if there is one.
    pub metadata: Option<String>,
    /// Its data files' names, by their number.
    pub data: BTreeMap<u64, String>,
}

impl QueueFiles {
    /// All its files, the metadata last: while they are set aside one by one, nothing can be taken
    /// for a queue whose metadata are lost.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.data.values().chain(&self.metadata)
    }
}

/// What was found of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its queues: channels first, as their messages are older than the topic's.
    pub queues: BTreeMap<QueueOwner, QueueFiles>,
    /// Whether an import was begun, and not ended.
    pub has_marker: bool,
}

impl Found {
    /// The channels that have a queue.
    pub fn channels(&self) -> impl Iterator<Item = ChannelName> {
        self.queues.keys().filter_map(|owner| match owner {
            QueueOwner::Channel(channel) => Some(*channel),
            QueueOwner::Topic => None,
        })
    }
}

/// What was found in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By topic.
    pub topics: BTreeMap<TopicName, Found>,
    /// Names of queues that no topic or channel can have that is kept on disk; they stay as they
    /// are.
    pub foreign: BTreeSet<String>,
}

/// Finds the queues among the names of a folder's files.
pub fn find(file_names: impl Iterator<Item = String>) -> Findings {
    let mut findings = Findings::default();
    for file_name in file_names {
        if let Some(topic) = file_name.strip_suffix(MARKER_SUFFIX) {
            if let Ok(topic) = TopicName::parse(topic.as_bytes()) {
                findings.topics.entry(topic).or_default().has_marker = true;
            }
            continue;
        }
        let Some((queue, part)) = split(&file_name) else { continue };
        let Some((topic, owner)) = owner_of(queue) else {
            findings.foreign.insert(queue.to_string());
            continue;
        };
        let files = findings.topics.entry(topic).or_default().queues.entry(owner).or_default();
        match part {
            Part::Metadata => files.metadata = Some(file_name),
            Part::Data(number) => {
                files.data.insert(number, file_name);
            }
        }
    }
    findings
}

enum Part {
    Metadata,
    Data(u64),
}

/// The queue's name, and which of its files it is.
fn split(file_name: &str) -> Option<(&str, Part)> {
    let (queue, part) = file_name.strip_suffix(".dat")?.rsplit_once(".diskqueue.")?;
    if part == "meta" {
        return Some((queue, Part::Metadata));
    }
    let number = part.parse().ok()?;
    (format!("{number:06}") == part).then_some((queue, Part::Data(number)))
}

/// `None` for what has no place on disk: illegal and ephemeral names.
fn owner_of(queue: &str) -> Option<(TopicName, QueueOwner)> {
    let (topic, channel) = match queue.split_once(':') {
        None => (queue, None),
        Some((topic, channel)) => (topic, Some(channel)),
    };
    let topic = TopicName::parse(topic.as_bytes()).ok().filter(|topic| !topic.is_ephemeral())?;
    let Some(channel) = channel else { return Some((topic, QueueOwner::Topic)) };
    let channel = ChannelName::parse(channel.as_bytes()).ok()?;
    (!channel.is_ephemeral()).then_some((topic, QueueOwner::Channel(channel)))
}

/// The name of the queue of `topic` that belongs to `owner`, as NSQ calls it.
pub fn queue_name(topic: TopicName, owner: QueueOwner) -> impl fmt::Display {
    match owner {
        QueueOwner::Topic => topic.to_string(),
        QueueOwner::Channel(channel) => format!("{topic}:{channel}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_known_by_its_files_names_and_nothing_else_is_taken_for_one() {
        let names = [
            "a.diskqueue.meta.dat",
            "a.diskqueue.000000.dat",
            "a.diskqueue.1234567.dat",
            "a:c.diskqueue.meta.dat",
            "a:c.diskqueue.000007.dat",
            "b.c:d.e.diskqueue.000001.dat",
            "x.import",
            // None of these is a file of a queue.
            "a.diskqueue.7.dat",
            "a.diskqueue.0000007.dat",
            "a.diskqueue.000001.dat.bad",
            "a.diskqueue.000001.dat.imported",
            "a.diskqueue.meta.dat.123.tmp",
            "a.topic",
            "nsqd.dat",
            // And these are queues of nobody.
            "a b.diskqueue.meta.dat",
            "a:b:c.diskqueue.000000.dat",
            "t#ephemeral.diskqueue.meta.dat",
            "a:c#ephemeral.diskqueue.000000.dat",
        ];
        let findings = find(names.into_iter().map(str::to_string));
        let topic = |name: &str| TopicName::parse(name.as_bytes()).unwrap();
        let channel =
            |name: &str| QueueOwner::Channel(ChannelName::parse(name.as_bytes()).unwrap());
        let shown = |name: &str| -> Vec<_> {
            let queues = &findings.topics[&topic(name)].queues;
            queues
                .iter()
                .map(|(owner, files)| {
                    let numbers: Vec<_> = files.data.keys().copied().collect();
                    (*owner, numbers, files.metadata.is_some())
                })
                .collect()
        };
        assert_eq!(
            shown("a"),
            [(channel("c"), vec![7], true), (QueueOwner::Topic, vec![0, 1_234_567], true)]
        );
        assert_eq!(shown("b.c"), [(channel("d.e"), vec![1], false)]);
        assert!(findings.topics[&topic("x")].has_marker && shown("x").is_empty());
        assert_eq!(findings.topics.len(), 3);
        let foreign: Vec<_> = findings.foreign.iter().map(String::as_str).collect();
        assert_eq!(foreign, ["a b", "a:b:c", "a:c#ephemeral", "t#ephemeral"]);
    }
}
