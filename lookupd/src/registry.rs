//! Who produces which topic, and which channels a topic has: all that nsqlookupd knows.
//!
//! Knows: registrations, tombstones, who has been silent for too long. Does not know: sockets,
//! bytes, or what time it is; every question that depends on time brings it along.
//!
//! Rules (NSQ behaviour): a producer is one connection. Topics and channels are kept apart: a topic
//! can go while its channels stay. A name stays after its last producer has gone, so that it can
//! still be listed; only an ephemeral one goes, and only when its last producer says so, not when it
//! vanishes. A tombstone hides a producer of one topic from those who look for it, for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::time::Duration;

use protocol::discovery::ProducerIdentity;
use protocol::lookup::{Lookup, Producer};
use protocol::name::{ChannelName, TopicName};
use serde::Serialize;

use crate::nodes::NodeList;

/// A moment on two clocks: the steady one decides, the other is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the program started. Does not jump when somebody sets the clock.
    pub(crate) since_start: Duration,
    /// Since 1970, in nanoseconds.
    pub(crate) unix_nanoseconds: i64,
}

impl Moment {
    fn since(self, earlier: Self) -> Duration {
        self.since_start.saturating_sub(earlier.since_start)
    }
}

/// One connection that has introduced itself. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProducerId(pub(crate) u64);

/// What a producer can be registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Being connected at all.
    Client,
    /// A topic.
    Topic(TopicName),
    /// A channel of a topic.
    Channel(TopicName, ChannelName),
}

impl fmt::Display for Key {
    /// As NSQ's log lines show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("category:client key: subkey:"),
            Self::Topic(topic) => write!(f, "category:topic key:{topic} subkey:"),
            Self::Channel(topic, channel) => {
                write!(f, "category:channel key:{topic} subkey:{channel}")
            }
        }
    }
}

/// How long things count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// A producer that has been silent for longer is not shown.
    pub(crate) inactive_producer_timeout: Duration,
    /// A tombstone hides for so long.
    pub(crate) tombstone_lifetime: Duration,
}

/// What a ping tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ping {
    /// How long the producer was silent.
    pub(crate) silent: Duration,
    /// Whether it was hidden for that, and is shown again.
    pub(crate) is_back: bool,
}

/// How much is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Names of topics.
    pub(crate) topics: usize,
    /// Names of channels, over all topics.
    pub(crate) channels: usize,
    /// Producers that are shown.
    pub(crate) active: usize,
    /// Producers that have been silent for too long.
    pub(crate) inactive: usize,
    /// Topics of producers: each topic once for each of its producers.
    pub(crate) registrations: usize,
}

/// What is swept in one step of [`Registry::sweep`]: well under a millisecond with five channels a
/// topic, so that nobody's question waits for long.
const TOPICS_PER_STEP: usize = 256;

/// Topics of producers that one step of [`Registry::add_topics`] looks at, and no more than one topic's
/// besides: well under a millisecond.
const PAIRS_PER_STEP: usize = 8_192;

/// The registrations. One per process, in memory only.
///
/// Sized for hundreds of producers with ten thousand topics each: a lookup touches one topic and its
/// producers. What touches everything is rare (`/debug`), or done in steps (`/nodes`, a producer that
/// leaves).
#[derive(Debug)]
pub(crate) struct Registry {
    lifetimes: Lifetimes,
    clients: BTreeMap<ProducerId, Client>,
    /// A producer that is not among the clients has left, and is still to be swept out: it counts
    /// for nobody.
    topics: BTreeMap<TopicName, BTreeMap<ProducerId, Tombstone>>,
    /// Invariants: no inner map is empty; a producer of a channel is one of its topic.
    channels: BTreeMap<TopicName, BTreeMap<ChannelName, BTreeSet<ProducerId>>>,
}

/// When a producer of a topic was hidden, if it ever was.
type Tombstone = Option<Moment>;

#[derive(Debug)]
struct Client {
    producer: Producer,
    last_update: Moment,
}

impl Registry {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            lifetimes,
            clients: BTreeMap::new(),
            topics: BTreeMap::new(),
            channels: BTreeMap::new(),
        }
    }

    /// A connection from `remote_address` has introduced itself.
    pub(crate) fn identify(
        &mut self,
        id: ProducerId,
        remote_address: String,
        identity: ProducerIdentity,
        now: Moment,
    ) {
        let producer = Producer {
            remote_address,
            hostname: identity.hostname,
            broadcast_address: identity.broadcast_address,
            tcp_port: identity.tcp_port,
            http_port: identity.http_port,
            version: identity.version,
            topology_zone: identity.topology_zone,
            topology_region: identity.topology_region,
        };
        self.clients.insert(id, Client { producer, last_update: now });
    }

    /// A producer is alive; `None` before it has introduced itself.
    pub(crate) fn ping(&mut self, id: ProducerId, now: Moment) -> Option<Ping> {
        let client = self.clients.get_mut(&id)?;
        let silent = now.since(client.last_update);
        client.last_update = now;
        Some(Ping { silent, is_back: self.lifetimes.inactive_producer_timeout < silent })
    }

    /// Registers a producer for a topic and, if named, one of its channels. Returns what is new.
    pub(crate) fn register(
        &mut self,
        id: ProducerId,
        topic: TopicName,
        channel: Option<ChannelName>,
    ) -> Vec<Key> {
        let mut added = Vec::new();
        if let Some(channel) = channel {
            let producers = self.channels.entry(topic).or_default().entry(channel).or_default();
            if producers.insert(id) {
                added.push(Key::Channel(topic, channel));
            }
        }
        let producers = self.topics.entry(topic).or_default();
        // Registering again leaves a tombstone standing.
        producers.entry(id).or_insert_with(|| {
            added.push(Key::Topic(topic));
            None
        });
        added
    }

    /// A producer no longer has a channel, or, if none is named, a topic with all its channels.
    /// Returns what it was registered for.
    pub(crate) fn unregister(
        &mut self,
        id: ProducerId,
        topic: TopicName,
        channel: Option<ChannelName>,
    ) -> Vec<Key> {
        let mut removed = Vec::new();
        if let Some(channel) = channel {
            if let Some(producers) = self.channel_mut(topic, channel) {
                if producers.remove(&id) {
                    removed.push(Key::Channel(topic, channel));
                }
                if producers.is_empty() && channel.is_ephemeral() {
                    self.delete_channel(topic, channel);
                }
            }
            return removed;
        }
        for (channel, producers) in self.channels.get_mut(&topic).into_iter().flatten() {
            if producers.remove(&id) {
                removed.push(Key::Channel(topic, *channel));
            }
        }
        if let Some(producers) = self.topics.get_mut(&topic) {
            if producers.remove(&id).is_some() {
                removed.push(Key::Topic(topic));
            }
            if producers.is_empty() && topic.is_ephemeral() {
                self.topics.remove(&topic);
            }
        }
        removed
    }

    /// A connection has gone, and is no producer from now on; tells whether it was one. Then its
    /// registrations are to be swept out with [`Self::sweep`].
    pub(crate) fn leave(&mut self, id: ProducerId) -> bool {
        self.clients.remove(&id).is_some()
    }

    /// Sweeps out what a producer that left was registered for, some topics at a time. Names stay,
    /// ephemeral ones too.
    ///
    /// Goes on behind `after`, `None` at the start. Returns what the producer was registered for, and
    /// behind what to go on; `None` when everything is swept.
    pub(crate) fn sweep(
        &mut self,
        id: ProducerId,
        after: Option<TopicName>,
    ) -> (Vec<Key>, Option<TopicName>) {
        let mut removed = Vec::new();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let topics = self.topics.range_mut((start, Bound::Unbounded));
        for (count, (topic, producers)) in topics.enumerate() {
            if count == TOPICS_PER_STEP {
                return (removed, last);
            }
            last = Some(*topic);
            if producers.remove(&id).is_none() {
                continue;
            }
            removed.push(Key::Topic(*topic));
            for (channel, producers) in self.channels.get_mut(topic).into_iter().flatten() {
                if producers.remove(&id) {
                    removed.push(Key::Channel(*topic, *channel));
                }
            }
        }
        (removed, None)
    }

    /// A topic by that name is to be listed from now on.
    pub(crate) fn create_topic(&mut self, topic: TopicName) {
        self.topics.entry(topic).or_default();
    }

    /// A channel by that name, and its topic, are to be listed from now on.
    pub(crate) fn create_channel(&mut self, topic: TopicName, channel: ChannelName) {
        self.channels.entry(topic).or_default().entry(channel).or_default();
        self.create_topic(topic);
    }

    /// Forgets a topic with all its channels and registrations. The producers are not told: they
    /// are found again when they register again. Returns what is gone.
    pub(crate) fn delete_topic(&mut self, topic: TopicName) -> Vec<Key> {
        let channels = self.channels.remove(&topic).unwrap_or_default();
        let mut removed: Vec<Key> =
            channels.into_keys().map(|channel| Key::Channel(topic, channel)).collect();
        if self.topics.remove(&topic).is_some() {
            removed.push(Key::Topic(topic));
        }
        removed
    }

    /// Forgets a channel with its registrations; tells whether there was one.
    pub(crate) fn delete_channel(&mut self, topic: TopicName, channel: ChannelName) -> bool {
        let Some(channels) = self.channels.get_mut(&topic) else { return false };
        let was_there = channels.remove(&channel).is_some();
        if channels.is_empty() {
            self.channels.remove(&topic);
        }
        was_there
    }

    /// Hides from a topic every producer whose `broadcast_address:http_port` is `node`.
    pub(crate) fn tombstone(&mut self, topic: TopicName, node: &str, now: Moment) {
        for (id, tombstone) in self.topics.get_mut(&topic).into_iter().flatten() {
            let is_meant = self.clients.get(id).is_some_and(|Client { producer, .. }| {
                format!("{}:{}", producer.broadcast_address, producer.http_port) == node
            });
            if is_meant {
                *tombstone = Some(now);
            }
        }
    }

    /// All topics.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.topics.keys().map(ToString::to_string).collect()
    }

    /// All channels of a topic.
    pub(crate) fn channels(&self, topic: TopicName) -> Vec<String> {
        self.channels
            .get(&topic)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(ToString::to_string)
            .collect()
    }

    /// Who produces a topic now, and its channels; `None` for an unknown topic.
    pub(crate) fn lookup(&self, topic: TopicName, now: Moment) -> Option<Lookup> {
        let producers = self
            .topics
            .get(&topic)?
            .iter()
            .filter(|(_, tombstone)| !self.hides(**tombstone, now))
            .filter_map(|(id, _)| self.clients.get(id))
            .filter(|client| self.is_active(client, now))
            .map(|client| client.producer.clone())
            .collect();
        Some(Lookup { channels: self.channels(topic), producers })
    }

    /// How long the answer for a topic stays as it is if nobody does anything: until a producer has
    /// been silent for too long, or a tombstone has stood for long enough. `None`: for ever.
    pub(crate) fn lookup_holds_for(&self, topic: TopicName, now: Moment) -> Option<Duration> {
        let producers = self.topics.get(&topic)?.iter();
        let ends = producers.filter_map(|(id, tombstone)| {
            let client = self.clients.get(id).filter(|client| self.is_active(client, now))?;
            let left = |set: Moment, lifetime: Duration| lifetime.saturating_sub(now.since(set));
            let until_silent = left(client.last_update, self.lifetimes.inactive_producer_timeout);
            Some(match tombstone {
                Some(set) if self.hides(*tombstone, now) => {
                    until_silent.min(left(*set, self.lifetimes.tombstone_lifetime))
                }
                _ => until_silent,
            })
        });
        ends.min()
    }

    /// How much is known.
    pub(crate) fn counts(&self, now: Moment) -> Counts {
        let active = self.clients.values().filter(|client| self.is_active(client, now)).count();
        Counts {
            topics: self.topics.len(),
            channels: self.channels.values().map(BTreeMap::len).sum(),
            active,
            inactive: self.clients.len() - active,
            registrations: self.topics.values().map(BTreeMap::len).sum(),
        }
    }

    /// All active producers, tombstoned or not, to be filled with their topics by
    /// [`Self::add_topics`].
    pub(crate) fn nodes(&self, now: Moment) -> NodeList {
        let active = self.clients.iter().filter(|(_, client)| self.is_active(client, now));
        NodeList::of(now, active.map(|(id, client)| (*id, &client.producer)))
    }

    /// Adds the next topics to the list, as many as one step may look at; false when there are no
    /// more.
    pub(crate) fn add_topics(&self, list: &mut NodeList) -> bool {
        let start = list.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = 0;
        for (topic, producers) in self.topics.range((start, Bound::Unbounded)) {
            if PAIRS_PER_STEP <= looked_at {
                return true;
            }
            for (id, tombstone) in producers {
                list.add(*id, *topic, self.hides(*tombstone, list.now));
            }
            looked_at += 1 + producers.len();
            list.after = Some(*topic);
        }
        false
    }

    /// Everything, by `category:key:subkey`; names without a producer are left out.
    pub(crate) fn dump(&self) -> BTreeMap<String, Vec<DumpedProducer>> {
        let mut dump: BTreeMap<String, Vec<DumpedProducer>> = BTreeMap::new();
        let mut add = |key: String, id: &ProducerId, tombstone: Tombstone| {
            if let Some(client) = self.clients.get(id) {
                dump.entry(key).or_default().push(DumpedProducer::new(client, tombstone));
            }
        };
        for id in self.clients.keys() {
            add("client::".to_owned(), id, None);
        }
        for (topic, producers) in &self.topics {
            for (id, tombstone) in producers {
                add(format!("topic:{topic}:"), id, *tombstone);
            }
        }
        for (topic, channels) in &self.channels {
            for (channel, producers) in channels {
                for id in producers {
                    add(format!("channel:{topic}:{channel}"), id, None);
                }
            }
        }
        dump
    }

    fn channel_mut(
        &mut self,
        topic: TopicName,
        channel: ChannelName,
    ) -> Option<&mut BTreeSet<ProducerId>> {
        self.channels.get_mut(&topic)?.get_mut(&channel)
    }

    fn is_active(&self, client: &Client, now: Moment) -> bool {
        now.since(client.last_update) <= self.lifetimes.inactive_producer_timeout
    }

    fn hides(&self, tombstone: Tombstone, now: Moment) -> bool {
        tombstone.is_some_and(|set| now.since(set) < self.lifetimes.tombstone_lifetime)
    }
}

/// A registration as `/debug` shows it, its keys in the order of the alphabet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DumpedProducer {
    broadcast_address: String,
    hostname: String,
    http_port: u16,
    id: String,
    last_update: i64,
    tcp_port: u16,
    tombstoned: bool,
    tombstoned_at: i64,
    topology_region: String,
    topology_zone: String,
    version: String,
}

/// What Go makes of a moment that was never set, when it is asked for nanoseconds since 1970.
const NEVER_UNIX_NANOSECONDS: i64 = -6_795_364_578_871_345_152;

impl DumpedProducer {
    fn new(client: &Client, tombstone: Tombstone) -> Self {
        let producer = client.producer.clone();
        Self {
            broadcast_address: producer.broadcast_address,
            hostname: producer.hostname,
            http_port: producer.http_port,
            id: producer.remote_address,
            last_update: client.last_update.unix_nanoseconds,
            tcp_port: producer.tcp_port,
            tombstoned: tombstone.is_some(),
            tombstoned_at: tombstone.map_or(NEVER_UNIX_NANOSECONDS, |set| set.unix_nanoseconds),
            topology_region: producer.topology_region,
            topology_zone: producer.topology_zone,
            version: producer.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::json::to_go_json;
    use protocol::lookup::{Node, Nodes};

    const ANN: ProducerId = ProducerId(1);
    const BOB: ProducerId = ProducerId(2);

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn at(seconds: u64) -> Moment {
        let unix_nanoseconds = i64::try_from(seconds).unwrap() * 1_000_000_000 + 7;
        Moment { since_start: Duration::from_secs(seconds), unix_nanoseconds }
    }

    /// Ann and Bob are connected since second 0, at `ann:4151` and `bob:4151`.
    fn registry() -> Registry {
        let mut registry = Registry::new(Lifetimes {
            inactive_producer_timeout: Duration::from_secs(300),
            tombstone_lifetime: Duration::from_secs(45),
        });
        for (id, name) in [(ANN, "ann"), (BOB, "bob")] {
            let identity = ProducerIdentity {
                broadcast_address: name.to_owned(),
                http_port: 4151,
                tcp_port: 4150,
                version: "1.3.0".to_owned(),
                ..ProducerIdentity::default()
            };
            registry.identify(id, format!("10.0.0.{}:5000", id.0), identity, at(0));
        }
        registry
    }

    /// All nodes with their topics, and how many steps that took.
    fn nodes(registry: &Registry, now: Moment) -> (Vec<Node>, usize) {
        let mut list = registry.nodes(now);
        let mut steps = 1;
        while registry.add_topics(&mut list) {
            steps += 1;
        }
        let body: String = list.into_pieces().collect();
        let nodes: Nodes = serde_json::from_str(&body).unwrap();
        assert_eq!(to_go_json(&nodes), body, "keys and spelling are those of the whole");
        (nodes.producers, steps)
    }

    /// The producers of a topic by name, joined; `unknown` for no such topic.
    fn producers(registry: &Registry, name: &str, now: Moment) -> String {
        let Some(lookup) = registry.lookup(topic(name), now) else { return "unknown".to_owned() };
        let names: Vec<String> =
            lookup.producers.into_iter().map(|producer| producer.broadcast_address).collect();
        names.join(" ")
    }

    #[test]
    fn registering_a_channel_registers_its_topic_too() {
        let mut registry = registry();
        let (t, c) = (topic("t"), channel("c"));
        assert_eq!(registry.register(ANN, t, Some(c)), [Key::Channel(t, c), Key::Topic(t)]);
        assert_eq!(registry.register(ANN, t, Some(c)), []);
        assert_eq!(registry.register(BOB, t, None), [Key::Topic(t)]);
        assert_eq!(registry.topics(), ["t"]);
        assert_eq!(registry.channels(t), ["c"]);
        assert_eq!(producers(&registry, "t", at(0)), "ann bob");
        assert_eq!(producers(&registry, "u", at(0)), "unknown");
    }

    #[test]
    fn names_stay_without_producers_and_ephemeral_ones_go_when_the_last_unregisters() {
        let mut registry = registry();
        for (t, c) in [("t", "c"), ("t", "c#ephemeral"), ("t#ephemeral", "c")] {
            registry.register(ANN, topic(t), Some(channel(c)));
            registry.register(BOB, topic(t), Some(channel(c)));
        }
        for id in [ANN, BOB] {
            assert_eq!(registry.channels(topic("t")), ["c", "c#ephemeral"]);
            for c in ["c", "c#ephemeral"] {
                let removed = registry.unregister(id, topic("t"), Some(channel(c)));
                assert_eq!(removed, [Key::Channel(topic("t"), channel(c))]);
            }
            assert_eq!(
                producers(&registry, "t", at(0)),
                "ann bob",
                "a topic outlives its channels"
            );
        }
        assert_eq!(registry.channels(topic("t")), ["c"]);

        let e = topic("t#ephemeral");
        for (id, left) in [(ANN, "bob"), (BOB, "unknown")] {
            let removed = registry.unregister(id, e, None);
            assert_eq!(removed, [Key::Channel(e, channel("c")), Key::Topic(e)]);
            assert_eq!(producers(&registry, "t#ephemeral", at(0)), left);
        }
        assert_eq!(registry.channels(e), ["c"], "channels are kept apart from their topic");
        registry.unregister(ANN, topic("t"), None);
        registry.unregister(BOB, topic("t"), None);
        assert_eq!(registry.topics(), ["t"]);
        assert_eq!(registry.unregister(ANN, topic("never"), Some(channel("c"))), []);
    }

    #[test]
    fn a_connection_that_ends_leaves_all_names_behind() {
        let mut registry = registry();
        let (t, c) = (topic("t#ephemeral"), channel("c#ephemeral"));
        registry.register(ANN, t, Some(c));
        assert!(registry.leave(ANN));
        assert_eq!(producers(&registry, "t#ephemeral", at(0)), "", "before it is swept out, too");
        assert_eq!(registry.sweep(ANN, None), (vec![Key::Topic(t), Key::Channel(t, c)], None));
        assert_eq!(registry.sweep(ANN, None), (Vec::new(), None));
        assert!(!registry.leave(ANN));
        assert_eq!(registry.topics(), ["t#ephemeral"]);
        assert_eq!(registry.channels(t), ["c#ephemeral"]);
        assert_eq!(producers(&registry, "t#ephemeral", at(0)), "");
    }

    #[test]
    fn a_silent_producer_is_hidden_until_it_pings() {
        let mut registry = registry();
        registry.register(ANN, topic("t"), None);
        assert_eq!(producers(&registry, "t", at(300)), "ann");
        assert_eq!(producers(&registry, "t", at(301)), "");
        assert_eq!(nodes(&registry, at(301)), (Vec::new(), 1));
        assert_eq!(registry.topics(), ["t"]);
        // Registering is no sign of life; a ping is.
        registry.register(ANN, topic("u"), None);
        assert_eq!(producers(&registry, "u", at(301)), "");
        let ping = |seconds, is_back| Some(Ping { silent: Duration::from_secs(seconds), is_back });
        assert_eq!(registry.ping(ANN, at(301)), ping(301, true));
        assert_eq!(producers(&registry, "t", at(601)), "ann");
        assert_eq!(registry.ping(ANN, at(601)), ping(300, false));
        assert_eq!(registry.ping(ProducerId(9), at(0)), None);
    }

    #[test]
    fn a_tombstone_hides_one_producer_of_one_topic_for_its_lifetime() {
        let mut registry = registry();
        for id in [ANN, BOB] {
            registry.register(id, topic("t"), None);
            registry.register(id, topic("u"), None);
        }
        registry.tombstone(topic("t"), "ann:4151", at(10));
        registry.tombstone(topic("t"), "ann:4150", at(10));
        registry.tombstone(topic("v"), "ann:4151", at(10));
        assert_eq!(producers(&registry, "t", at(10)), "bob");
        assert_eq!(producers(&registry, "u", at(10)), "ann bob");
        let node = &nodes(&registry, at(10)).0[0];
        assert_eq!(
            (&*node.producer.broadcast_address, &node.tombstones[..]),
            ("ann", &[true, false][..])
        );
        assert_eq!(node.topics, ["t", "u"]);

        registry.register(ANN, topic("t"), None);
        assert_eq!(producers(&registry, "t", at(54)), "bob", "registering again does not lift it");
        assert_eq!(producers(&registry, "t", at(55)), "ann bob");

        registry.tombstone(topic("t"), "ann:4151", at(60));
        registry.unregister(ANN, topic("t"), None);
        registry.register(ANN, topic("t"), None);
        assert_eq!(producers(&registry, "t", at(60)), "ann bob", "unregistering drops it");
    }

    #[test]
    fn a_producer_with_many_topics_is_swept_out_in_steps_and_others_stay() {
        let mut registry = registry();
        let name = |number: usize| topic(&format!("t{number:04}"));
        let count = 2 * TOPICS_PER_STEP + 1;
        for number in 0..count {
            registry.register(ANN, name(number), Some(channel("c")));
            registry.register(BOB, name(number), Some(channel("c")));
        }
        assert!(registry.leave(ANN));
        let mut after = None;
        let mut steps = Vec::new();
        loop {
            let (removed, next) = registry.sweep(ANN, after);
            steps.push(removed.len());
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(steps, [2 * TOPICS_PER_STEP, 2 * TOPICS_PER_STEP, 2]);
        assert_eq!(producers(&registry, "t0000", at(0)), "bob");
        let counts =
            Counts { topics: count, channels: count, active: 1, inactive: 0, registrations: count };
        assert_eq!(registry.counts(at(300)), counts);
        assert_eq!(registry.counts(at(301)), Counts { active: 0, inactive: 1, ..counts });
    }

    #[test]
    fn nodes_with_many_topics_are_listed_in_steps() {
        let mut registry = registry();
        // A topic with two producers counts for three.
        let count = PAIRS_PER_STEP;
        for number in 0..count {
            for id in [ANN, BOB] {
                registry.register(id, topic(&format!("t{number:05}")), None);
            }
        }
        let (nodes, steps) = nodes(&registry, at(0));
        assert_eq!(steps, 3);
        let expected: Vec<_> = (0..count).map(|number| format!("t{number:05}")).collect();
        for node in nodes {
            assert_eq!(node.topics, expected, "{}", node.producer.broadcast_address);
            assert_eq!(node.tombstones.len(), count);
        }
    }

    #[test]
    fn whoever_comes_or_leaves_while_nodes_are_listed_does_not_spoil_the_list() {
        let mut registry = registry();
        for number in 0..PAIRS_PER_STEP {
            registry.register(ANN, topic(&format!("t{number:05}")), None);
        }
        let mut list = registry.nodes(at(0));
        assert!(registry.add_topics(&mut list));
        registry.leave(ANN);
        let carl = ProducerId(3);
        registry.identify(carl, "c:1".to_owned(), ProducerIdentity::default(), at(0));
        registry.register(carl, topic("u"), None);
        registry.register(BOB, topic("u"), None);
        registry.delete_topic(topic("t05000"));
        while registry.add_topics(&mut list) {}
        let body: String = list.into_pieces().collect();
        let nodes: Nodes = serde_json::from_str(&body).unwrap();
        let [ann, bob] = &nodes.producers[..] else { panic!("{body}") };
        assert_eq!(ann.topics.len(), PAIRS_PER_STEP - 1);
        assert_eq!((&bob.topics[..], &bob.tombstones[..]), (&["u".to_owned()][..], &[false][..]));
    }

    #[test]
    fn it_is_known_when_an_answer_changes_by_itself() {
        let mut registry = registry();
        let t = topic("t");
        let holds_for = |registry: &Registry, seconds| {
            registry.lookup_holds_for(t, at(seconds)).map(|left| left.as_secs())
        };
        assert_eq!(holds_for(&registry, 0), None, "nobody produces it");
        registry.register(ANN, t, None);
        registry.register(BOB, t, None);
        assert_eq!(holds_for(&registry, 0), Some(300));
        registry.ping(ANN, at(100));
        assert_eq!(holds_for(&registry, 250), Some(50), "until Bob is silent for too long");
        assert_eq!(holds_for(&registry, 301), Some(99), "Bob is hidden, then Ann");
        registry.tombstone(t, "ann:4151", at(302));
        assert_eq!(holds_for(&registry, 310), Some(37), "until the tombstone goes");
        assert_eq!(holds_for(&registry, 347), Some(53));
        assert_eq!(holds_for(&registry, 401), None);
    }

    #[test]
    fn topics_and_channels_can_be_made_and_forgotten_without_producers() {
        let mut registry = registry();
        let (t, c) = (topic("t"), channel("c"));
        registry.create_channel(t, c);
        assert_eq!(producers(&registry, "t", at(0)), "");
        assert!(registry.delete_channel(t, c));
        assert!(!registry.delete_channel(t, c));
        assert_eq!(registry.topics(), ["t"]);

        registry.register(ANN, t, Some(c));
        registry.create_topic(t);
        assert_eq!(registry.delete_topic(t), [Key::Channel(t, c), Key::Topic(t)]);
        assert_eq!(registry.delete_topic(t), []);
        assert_eq!(producers(&registry, "t", at(0)), "unknown");
        registry.register(ANN, t, None);
        assert_eq!(producers(&registry, "t", at(0)), "ann", "until the producer registers again");
    }

    #[test]
    fn the_dump_names_every_registration_that_has_a_producer() {
        let mut registry = registry();
        registry.leave(BOB);
        registry.create_topic(topic("nobody"));
        registry.register(ANN, topic("t"), Some(channel("c")));
        registry.tombstone(topic("t"), "ann:4151", at(3));
        let shown = |tombstoned, tombstoned_at: i64| {
            format!(
                r#"[{{"broadcast_address":"ann","hostname":"","http_port":4151,"id":"10.0.0.1:5000","last_update":7,"tcp_port":4150,"tombstoned":{tombstoned},"tombstoned_at":{tombstoned_at},"topology_region":"","topology_zone":"","version":"1.3.0"}}]"#
            )
        };
        let never = shown(false, -6_795_364_578_871_345_152);
        assert_eq!(
            to_go_json(&registry.dump()),
            format!(
                r#"{{"channel:t:c":{never},"client::":{never},"topic:t:":{}}}"#,
                shown(true, 3_000_000_007)
            )
        );
    }

    #[test]
    fn keys_are_shown_as_in_nsqs_log_lines() {
        for (key, shown) in [
            (Key::Client, "category:client key: subkey:"),
            (Key::Topic(topic("t")), "category:topic key:t subkey:"),
            (Key::Channel(topic("t"), channel("c")), "category:channel key:t subkey:c"),
        ] {
            assert_eq!(key.to_string(), shown);
        }
    }
}
