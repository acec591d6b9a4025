//! What one nsqlookupd has to be told, in order.
//!
//! Knows: the list of topics and channels, and how nsqlookupd forgets one. Does not know:
//! connections, time. Pure.
//!
//! Rules (NSQ behaviour): a registered channel registers its topic too, so a topic is told by itself
//! only when it has no channels. Of a topic that goes, each channel is unregistered by itself before
//! it: only so does nsqlookupd forget the name of an ephemeral one.

use crate::topic::catalogue::{Catalogue, Change};
use protocol::discovery::Command;
use protocol::name::{ChannelName, TopicName};
use std::collections::VecDeque;

/// So many commands may wait beyond those that a connection starts with. An nsqlookupd that falls
/// behind further is told everything anew, which is then less.
pub(super) const CHANGES_WAITING_MAX: usize = 10_000;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// What it was not told yet. `None`: it knows nothing, and has to be told everything.
    waiting: Option<VecDeque<Command>>,
    /// So many may wait.
    waiting_max: usize,
}

impl Registration {
    /// Tells everything: a connection has just begun.
    pub(super) fn start(&mut self, catalogue: &Catalogue) {
        let waiting: VecDeque<_> = everything(catalogue).collect();
        self.waiting_max = waiting.len() + CHANGES_WAITING_MAX;
        self.waiting = Some(waiting);
    }

    /// Tells nothing more: the connection has ended, and the next one starts with everything.
    pub(super) fn stop(&mut self) {
        self.waiting = None;
    }

    /// Tells a change that `before` is about to undergo.
    pub(super) fn changing(&mut self, before: &Catalogue, change: Change) {
        let Some(waiting) = &mut self.waiting else { return };
        push_change(waiting, before, change);
        if self.waiting_max < waiting.len() {
            self.waiting = None;
        }
    }

    /// Takes the next commands, at most `count`. `None` when it has to be told everything, on a new
    /// connection.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<Command>> {
        let waiting = self.waiting.as_mut()?;
        let count = count.min(waiting.len());
        Some(waiting.drain(..count).collect())
    }
}

fn everything(catalogue: &Catalogue) -> impl Iterator<Item = Command> {
    catalogue.topics.iter().flat_map(|(&topic, listed)| {
        let alone = listed.channels.is_empty().then_some(Command::Register(topic, None));
        let channels = listed.channels.keys();
        alone.into_iter().chain(channels.map(move |&name| Command::Register(topic, Some(name))))
    })
}

fn push_change(waiting: &mut VecDeque<Command>, before: &Catalogue, change: Change) {
    let has = |topic: TopicName, channel: ChannelName| {
        before.topics.get(&topic).is_some_and(|listed| listed.channels.contains_key(&channel))
    };
    match change {
        // What is there already was paused, or is told again.
        Change::Topic { topic, .. } if before.topics.contains_key(&topic) => {}
        Change::Channel { topic, channel, .. } if has(topic, channel) => {}
        Change::Topic { topic, .. } => waiting.push_back(Command::Register(topic, None)),
        Change::Channel { topic, channel, .. } => {
            waiting.push_back(Command::Register(topic, Some(channel)));
        }
        Change::TopicGone { topic } => {
            let Some(listed) = before.topics.get(&topic) else { return };
            let channels = listed.channels.keys();
            waiting.extend(channels.map(|&name| Command::Unregister(topic, Some(name))));
            waiting.push_back(Command::Unregister(topic, None));
        }
        Change::ChannelGone { topic, channel } => {
            if has(topic, channel) {
                waiting.push_back(Command::Unregister(topic, Some(channel)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn topic_is(name: &str, paused: bool) -> Change {
        Change::Topic { topic: topic(name), paused }
    }

    fn channel_is(of: &str, name: &str, paused: bool) -> Change {
        Change::Channel { topic: topic(of), channel: channel(name), paused }
    }

    fn channel_gone(of: &str, name: &str) -> Change {
        Change::ChannelGone { topic: topic(of), channel: channel(name) }
    }

    fn topic_gone(name: &str) -> Change {
        Change::TopicGone { topic: topic(name) }
    }

    /// A list, and what an nsqlookupd is told of it.
    #[derive(Default)]
    struct Told {
        catalogue: Catalogue,
        registration: Registration,
    }

    impl Told {
        fn change(&mut self, change: Change) {
            self.registration.changing(&self.catalogue, change);
            self.catalogue.apply(change);
        }

        fn take(&mut self, count: usize) -> Option<Vec<String>> {
            Some(self.registration.take(count)?.iter().map(words).collect())
        }
    }

    #[test]
    fn a_connection_starts_with_every_channel_and_every_topic_without_one() {
        let mut told = Told::default();
        told.change(topic_is("b", true));
        told.change(channel_is("a", "y#ephemeral", false));
        told.change(channel_is("a", "x", true));
        assert_eq!(told.take(9), None, "before there is a connection");
        told.registration.start(&told.catalogue);
        assert_eq!(told.take(2).unwrap(), ["REGISTER a x", "REGISTER a y#ephemeral"]);
        assert_eq!(told.take(2).unwrap(), ["REGISTER b"]);
        assert!(told.take(2).unwrap().is_empty());
    }

    #[test]
    fn what_comes_and_goes_is_told_and_pauses_are_not() {
        let mut told = Told::default();
        told.registration.start(&told.catalogue);
        for (change, words) in [
            (topic_is("t", false), &["REGISTER t"][..]),
            (topic_is("t", true), &[]),
            (channel_is("t", "c", false), &["REGISTER t c"]),
            (channel_is("t", "c", true), &[]),
            (channel_is("t", "d#ephemeral", false), &["REGISTER t d#ephemeral"]),
            (channel_gone("t", "c"), &["UNREGISTER t c"]),
            (channel_gone("t", "c"), &[]),
            (channel_is("t", "c", false), &["REGISTER t c"]),
            (topic_gone("t"), &["UNREGISTER t c", "UNREGISTER t d#ephemeral", "UNREGISTER t"]),
            (topic_gone("t"), &[]),
        ] {
            told.change(change);
            assert_eq!(told.take(9).unwrap(), words, "{change:?}");
        }
    }

    #[test]
    fn one_that_falls_too_far_behind_is_told_everything_anew() {
        let mut told = Told::default();
        told.change(topic_is("known", false));
        told.registration.start(&told.catalogue);
        let changes = CHANGES_WAITING_MAX / 2;
        for _ in 0..changes {
            told.change(topic_is("t", false));
            told.change(topic_gone("t"));
        }
        told.change(topic_is("u", false));
        assert_eq!(told.take(1), None, "it waits for a new connection");
        told.change(topic_is("v", false));
        told.registration.start(&told.catalogue);
        assert_eq!(told.take(9).unwrap(), ["REGISTER known", "REGISTER u", "REGISTER v"]);
    }

    /// What nsqlookupd knows of one broker: its topics, and its channels with their topics.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Directory {
        topics: BTreeSet<TopicName>,
        channels: BTreeSet<(TopicName, ChannelName)>,
    }

    impl Directory {
        fn of(catalogue: &Catalogue) -> Self {
            let channels = catalogue.topics.iter().flat_map(|(&topic, listed)| {
                listed.channels.keys().map(move |&channel| (topic, channel))
            });
            Self {
                topics: catalogue.topics.keys().copied().collect(),
                channels: channels.collect(),
            }
        }

        fn hear(&mut self, command: Command) {
            match command {
                Command::Register(topic, channel) => {
                    self.topics.insert(topic);
                    self.channels.extend(channel.map(|channel| (topic, channel)));
                }
                Command::Unregister(topic, Some(channel)) => {
                    self.channels.remove(&(topic, channel));
                }
                Command::Unregister(topic, None) => {
                    self.topics.remove(&topic);
                    self.channels.retain(|&(of, _)| of != topic);
                }
                other => panic!("a registration does not say {other:?}"),
            }
        }
    }

    /// What can happen to a list and the connection to an nsqlookupd.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Change(Change),
        Take(usize),
        Reconnect,
    }

    fn event() -> impl Strategy<Value = Event> {
        let names = || prop::sample::select(vec!["a", "b", "c#ephemeral"]);
        prop_oneof![
            (names(), any::<bool>()).prop_map(|(name, on)| Event::Change(topic_is(name, on))),
            names().prop_map(|name| Event::Change(topic_gone(name))),
            (names(), names(), any::<bool>())
                .prop_map(|(of, name, on)| Event::Change(channel_is(of, name, on))),
            (names(), names()).prop_map(|(of, name)| Event::Change(channel_gone(of, name))),
            (0_usize..4).prop_map(Event::Take),
            Just(Event::Reconnect),
        ]
    }

    proptest! {
        #[test]
        fn in_the_end_the_directory_knows_what_is_there(
            events in prop::collection::vec(event(), 0..80),
        ) {
            let mut told = Told::default();
            let mut directory = Directory::default();
            for event in events {
                match event {
                    Event::Change(change) => told.change(change),
                    Event::Take(count) => {
                        let commands = told.registration.take(count).unwrap_or_default();
                        commands.into_iter().for_each(|command| directory.hear(command));
                    }
                    Event::Reconnect => {
                        // It forgets a broker whose connection has ended.
                        directory = Directory::default();
                        told.registration.stop();
                        told.registration.start(&told.catalogue);
                    }
                }
            }
            match told.registration.take(usize::MAX) {
                Some(commands) => commands.into_iter().for_each(|command| directory.hear(command)),
                None => {
                    directory = Directory::default();
                    told.registration.start(&told.catalogue);
                    let commands = told.registration.take(usize::MAX).unwrap();
                    commands.into_iter().for_each(|command| directory.hear(command));
                }
            }
            prop_assert_eq!(directory, Directory::of(&told.catalogue));
        }
    }
}
