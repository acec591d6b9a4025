//! What a broker must still know after it was killed: its topics and channels, which of them are
//! paused, and how many messages wait in each. A model of NSQ's rules that fits on a page.
//!
//! Knows what orders do. Does not know when they are carried out, nor consumers: nothing is ever
//! taken out of a channel but by emptying it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::dice::Dice;

/// All topics of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    topics: BTreeMap<String, Topic>,
}

/// A topic. Its own messages are those that no channel was given: it has none, or it is paused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Topic {
    paused: bool,
    depth: u64,
    channels: BTreeMap<String, Channel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Channel {
    paused: bool,
    depth: u64,
}

/// What an operator or a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// An administrative POST about a topic.
    OfTopic(TopicVerb, String),
    /// An administrative POST about a channel.
    OfChannel(ChannelVerb, String, String),
    /// SUB, which creates what is not there.
    Subscribe(String, String),
    /// So many messages in one MPUB, which creates a topic that is not there.
    Publish(String, u64),
}

/// What an administrative POST does to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicVerb {
    /// `/topic/create`
    Create,
    /// `/topic/delete`
    Delete,
    /// `/topic/empty`
    Empty,
    /// `/topic/pause`
    Pause,
    /// `/topic/unpause`
    Unpause,
}

/// What an administrative POST does to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelVerb {
    /// `/channel/create`
    Create,
    /// `/channel/delete`
    Delete,
    /// `/channel/empty`
    Empty,
    /// `/channel/pause`
    Pause,
    /// `/channel/unpause`
    Unpause,
}

impl fmt::Display for TopicVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for ChannelVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Order {
    /// Some order about one of few names, so that they meet.
    pub fn by_chance(dice: &mut Dice) -> Self {
        use ChannelVerb as C;
        use TopicVerb as T;
        let topic = (*dice.pick(&["a", "b", "c"])).to_owned();
        let channel = (*dice.pick(&["x", "y", "z"])).to_owned();
        match dice.within(0..100) {
            0..25 => Self::Publish(topic, dice.within(1..20)),
            25..35 => Self::Subscribe(topic, channel),
            35..60 => {
                let verbs = [T::Create, T::Create, T::Pause, T::Unpause, T::Empty, T::Delete];
                Self::OfTopic(*dice.pick(&verbs), topic)
            }
            _ => {
                let verbs = [C::Create, C::Create, C::Pause, C::Unpause, C::Empty, C::Delete];
                Self::OfChannel(*dice.pick(&verbs), topic, channel)
            }
        }
    }

    /// What the broker may have done already when it is killed while it carries this out: SUB and
    /// MPUB first create what is not there.
    #[must_use]
    pub fn first_step(&self) -> Option<Self> {
        match self {
            Self::Subscribe(topic, _) | Self::Publish(topic, _) => {
                Some(Self::OfTopic(TopicVerb::Create, topic.clone()))
            }
            Self::OfTopic(..) | Self::OfChannel(..) => None,
        }
    }

    /// The target of the POST, if it is one.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        match self {
            Self::OfTopic(verb, topic) => Some(format!("/topic/{verb}?topic={topic}")),
            Self::OfChannel(verb, topic, channel) => {
                Some(format!("/channel/{verb}?topic={topic}&channel={channel}"))
            }
            Self::Subscribe(..) | Self::Publish(..) => None,
        }
    }
}

impl Register {
    /// What `/stats` shows.
    #[must_use]
    pub fn of_stats(stats: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let channel = |channel: &Value| {
            let paused = channel["paused"] == true;
            let depth = channel["depth"].as_u64().unwrap_or_default();
            (name(&channel["channel_name"]), Channel { paused, depth })
        };
        let topic = |topic: &Value| {
            let paused = topic["paused"] == true;
            let depth = topic["depth"].as_u64().unwrap_or_default();
            let channels = list(&topic["channels"]).iter().map(channel).collect();
            (name(&topic["topic_name"]), Topic { paused, depth, channels })
        };
        Self { topics: list(&stats["topics"]).iter().map(topic).collect() }
    }

    /// Carries an order out. False when what it is about is not there.
    pub fn apply(&mut self, order: &Order) -> bool {
        match order {
            Order::Publish(topic, count) => {
                self.topics.entry(topic.clone()).or_default().gather(*count);
                true
            }
            Order::Subscribe(topic, channel) => {
                self.topics.entry(topic.clone()).or_default().create(channel);
                true
            }
            Order::OfTopic(TopicVerb::Create, topic) => {
                self.topics.entry(topic.clone()).or_default();
                true
            }
            Order::OfTopic(TopicVerb::Delete, topic) => self.topics.remove(topic).is_some(),
            Order::OfTopic(verb, topic) => {
                self.topics.get_mut(topic).map(|topic| topic.apply(*verb)).is_some()
            }
            Order::OfChannel(verb, topic, channel) => {
                self.topics.get_mut(topic).is_some_and(|topic| topic.apply_to(channel, *verb))
            }
        }
    }
}

impl Topic {
    fn gather(&mut self, count: u64) {
        self.depth += count;
        self.hand_out();
    }

    /// Every channel gets what the topic has, unless it is paused.
    fn hand_out(&mut self) {
        if self.paused || self.channels.is_empty() {
            return;
        }
        for channel in self.channels.values_mut() {
            channel.depth += self.depth;
        }
        self.depth = 0;
    }

    fn create(&mut self, channel: &str) {
        self.channels.entry(channel.to_owned()).or_default();
        self.hand_out();
    }

    fn apply(&mut self, verb: TopicVerb) {
        match verb {
            TopicVerb::Empty => self.depth = 0,
            TopicVerb::Pause => self.paused = true,
            TopicVerb::Unpause => {
                self.paused = false;
                self.hand_out();
            }
            TopicVerb::Create | TopicVerb::Delete => unreachable!("these are about the register"),
        }
    }

    fn apply_to(&mut self, name: &str, verb: ChannelVerb) -> bool {
        match verb {
            ChannelVerb::Create => {
                self.create(name);
                true
            }
            ChannelVerb::Delete => self.channels.remove(name).is_some(),
            ChannelVerb::Empty | ChannelVerb::Pause | ChannelVerb::Unpause => {
                let Some(channel) = self.channels.get_mut(name) else { return false };
                match verb {
                    ChannelVerb::Empty => channel.depth = 0,
                    _ => channel.paused = verb == ChannelVerb::Pause,
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_wait_in_the_topic_until_a_channel_may_have_them() {
        let mut register = Register::default();
        let [topic, channel] = ["a", "x"].map(str::to_owned);
        assert!(!register.apply(&Order::OfTopic(TopicVerb::Pause, topic.clone())));
        let orders = [
            Order::Publish(topic.clone(), 2),
            Order::OfTopic(TopicVerb::Pause, topic.clone()),
            Order::Subscribe(topic.clone(), channel.clone()),
            Order::Publish(topic.clone(), 1),
            Order::OfChannel(ChannelVerb::Pause, topic.clone(), channel.clone()),
        ];
        assert!(orders.iter().all(|order| register.apply(order)));
        let expected = |topic_depth: u64, paused: bool, depth: u64| {
            Register::of_stats(&json!({"topics": [{
                "topic_name": "a", "paused": paused, "depth": topic_depth,
                "channels": [{"channel_name": "x", "paused": true, "depth": depth}],
            }]}))
        };
        assert_eq!(register, expected(3, true, 0));
        register.apply(&Order::OfTopic(TopicVerb::Unpause, topic.clone()));
        assert_eq!(register, expected(0, false, 3));
        register.apply(&Order::OfChannel(ChannelVerb::Empty, topic.clone(), channel));
        assert_eq!(register, expected(0, false, 0));
        register.apply(&Order::OfTopic(TopicVerb::Delete, topic));
        assert_eq!(register, Register::default());
    }
}
