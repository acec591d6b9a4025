//! The list of all topics and channels of the broker, and `nsqd.dat`, in which NSQ keeps it.
//!
//! Knows: names and pauses. Does not know: messages, files, who owns what. Lives on the first core,
//! which the others tell of every [`Change`]; the same list is what nsqlookupd is told.
//!
//! `nsqd.dat` (NSQ behaviour), compact JSON, ephemeral names left out:
//!
//! ```text
//! {"topics":[{"name":"a","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}
//! ```

use protocol::name::{ChannelName, TopicName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that happened to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic is there, paused or not.
    Topic {
        /// Its name.
        topic: TopicName,
        /// Whether it is paused.
        paused: bool,
    },
    /// A topic is gone, with its channels.
    TopicGone {
        /// Its name.
        topic: TopicName,
    },
    /// A channel is there, paused or not.
    Channel {
        /// The topic's name.
        topic: TopicName,
        /// Its name.
        channel: ChannelName,
        /// Whether it is paused.
        paused: bool,
    },
    /// A channel is gone.
    ChannelGone {
        /// The topic's name.
        topic: TopicName,
        /// Its name.
        channel: ChannelName,
    },
}

/// One topic of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Whether it is paused.
    pub paused: bool,
    /// Its channels, and whether they are paused.
    pub channels: BTreeMap<ChannelName, bool>,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// All topics, ephemeral ones too.
    pub topics: BTreeMap<TopicName, Listed>,
}

/// What was odd about a `nsqd.dat`, in the words of NSQ's warning.
pub type Oddity = String;

impl Catalogue {
    /// Takes note; true when something became different.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Topic { topic, paused } => {
                let listed = self.topics.get(&topic).map(|listed| listed.paused);
                self.topics.entry(topic).or_default().paused = paused;
                listed != Some(paused)
            }
            Change::TopicGone { topic } => self.topics.remove(&topic).is_some(),
            Change::Channel { topic, channel, paused } => {
                let channels = &mut self.topics.entry(topic).or_default().channels;
                channels.insert(channel, paused) != Some(paused)
            }
            Change::ChannelGone { topic, channel } => self
                .topics
                .get_mut(&topic)
                .is_some_and(|listed| listed.channels.remove(&channel).is_some()),
        }
    }

    /// The bytes of `nsqd.dat`.
    pub fn to_file(&self, version: &str) -> Vec<u8> {
        let topics: Vec<_> = self
            .topics
            .iter()
            .filter(|(name, _)| !name.is_ephemeral())
            .map(|(name, listed)| TopicInFile {
                name: name.to_string(),
                paused: listed.paused,
                channels: none_if_empty(
                    listed
                        .channels
                        .iter()
                        .filter(|(name, _)| !name.is_ephemeral())
                        .map(|(name, &paused)| ChannelInFile { name: name.to_string(), paused })
                        .collect(),
                ),
            })
            .collect();
        let file = File { topics: none_if_empty(topics), version: version.to_string() };
        serde_json::to_vec(&file).expect("names and flags are JSON")
    }

    /// The list that a `nsqd.dat` holds, ours or NSQ's. Illegal names are left out and reported.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn from_file(bytes: &[u8]) -> Result<(Self, Vec<Oddity>), serde_json::Error> {
        let file: File = serde_json::from_slice(bytes)?;
        let mut catalogue = Self::default();
        let mut oddities = Vec::new();
        for topic in file.topics.unwrap_or_default() {
            let Ok(name) = TopicName::parse(topic.name.as_bytes()) else {
                oddities.push(format!("skipping creation of invalid topic {}", topic.name));
                continue;
            };
            let listed = catalogue.topics.entry(name).or_default();
            listed.paused = topic.paused;
            for channel in topic.channels.unwrap_or_default() {
                match ChannelName::parse(channel.name.as_bytes()) {
                    Ok(name) => {
                        listed.channels.insert(name, channel.paused);
                    }
                    Err(_) => oddities
                        .push(format!("skipping creation of invalid channel {}", channel.name)),
                }
            }
        }
        Ok((catalogue, oddities))
    }
}

fn none_if_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    topics: Option<Vec<TopicInFile>>,
    #[serde(default)]
    version: String,
}

#[derive(Serialize, Deserialize)]
struct TopicInFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    channels: Option<Vec<ChannelInFile>>,
}

#[derive(Serialize, Deserialize)]
struct ChannelInFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    paused: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn the_file_is_the_one_nsq_writes() {
        let mut catalogue = Catalogue::default();
        assert_eq!(catalogue.to_file("1.3.0"), br#"{"topics":null,"version":"1.3.0"}"#);
        for change in [
            Change::Topic { topic: topic("a"), paused: false },
            Change::Channel { topic: topic("b"), channel: channel("c"), paused: true },
            Change::Channel { topic: topic("b"), channel: channel("e#ephemeral"), paused: false },
            Change::Topic { topic: topic("t#ephemeral"), paused: false },
        ] {
            assert!(catalogue.apply(change));
            assert!(!catalogue.apply(change), "the second time nothing changes");
        }
        let file = catalogue.to_file("1.3.0");
        let expected: &[u8] = br#"{"topics":[{"name":"a","paused":false,"channels":null},{"name":"b","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}"#;
        assert_eq!(file, expected);
        let (read, oddities) = Catalogue::from_file(&file).unwrap();
        assert_eq!(read.to_file("1.3.0"), expected);
        assert!(oddities.is_empty());
    }

    #[test]
    fn unknown_keys_are_ignored_missing_ones_default_and_illegal_names_are_reported() {
        let (read, oddities) = Catalogue::from_file(
            br#"{"topics":[{"name":"a","x":1},{"name":"b*"},{"name":"c","channels":[{"name":"?"}]}]}"#,
        )
        .unwrap();
        assert_eq!(read.topics.keys().copied().collect::<Vec<_>>(), [topic("a"), topic("c")]);
        assert_eq!(
            oddities,
            ["skipping creation of invalid topic b*", "skipping creation of invalid channel ?"]
        );
        assert!(Catalogue::from_file(b"").is_err());
    }

    #[test]
    fn a_topic_goes_with_its_channels() {
        let mut catalogue = Catalogue::default();
        catalogue.apply(Change::Channel { topic: topic("t"), channel: channel("c"), paused: true });
        assert!(catalogue.apply(Change::TopicGone { topic: topic("t") }));
        assert!(!catalogue.apply(Change::ChannelGone { topic: topic("t"), channel: channel("c") }));
        assert_eq!(catalogue, Catalogue::default());
    }
}
