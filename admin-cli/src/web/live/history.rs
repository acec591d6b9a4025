//! What a cluster counted, round after round: sums over its nsqds, rates, series.
//!
//! Knows: how counters of several nsqds become one row, that a rate needs the same nsqd in two rounds
//! in a row, and how much is kept. Does not know: the clock (moments are arguments), or who asks.

use std::collections::{HashMap, VecDeque};

use protocol::json::null_as_default;
use serde::{Deserialize, Serialize};

use super::POINTS_MAX;
use crate::address::Address;

/// How many topics and channels have a series.
pub(super) const SERIES_MAX: usize = 20_000;

/// For how many rounds something that is gone keeps its series: it may only be a slow nsqd.
const ROUNDS_MISSED_MAX: u64 = 30;

/// Stands in a series for nothing known.
const UNKNOWN: u32 = u32::MAX;

/// What an nsqd tells, as far as it is counted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    #[serde(deserialize_with = "null_as_default")]
    topics: Vec<ToldTopic>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToldTopic {
    topic_name: String,
    depth: i64,
    backend_depth: i64,
    message_count: u64,
    paused: bool,
    #[serde(deserialize_with = "null_as_default")]
    channels: Vec<ToldChannel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToldChannel {
    channel_name: String,
    depth: i64,
    backend_depth: i64,
    in_flight_count: i64,
    deferred_count: i64,
    requeue_count: u64,
    timeout_count: u64,
    message_count: u64,
    client_count: u64,
    paused: bool,
}

/// Sums over the nsqds of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// How many nsqds have it.
    pub(super) nodes: u64,
    pub(super) depth: i64,
    pub(super) backend_depth: i64,
    pub(super) in_flight: i64,
    pub(super) deferred: i64,
    pub(super) requeued: u64,
    pub(super) timed_out: u64,
    pub(super) messages: u64,
    pub(super) clients: u64,
    pub(super) paused: bool,
    /// Messages that came, and that went, since the round before, at nsqds that were there in both.
    came: u64,
    went: u64,
    /// Whether any was.
    has_before: bool,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.nodes += other.nodes;
        self.depth += other.depth;
        self.backend_depth += other.backend_depth;
        self.in_flight += other.in_flight;
        self.deferred += other.deferred;
        self.requeued += other.requeued;
        self.timed_out += other.timed_out;
        self.messages += other.messages;
        self.clients += other.clients;
        self.paused |= other.paused;
        self.came += other.came;
        self.went += other.went;
        self.has_before |= other.has_before;
    }
}

/// Something that is counted at nsqds.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The last round in which anybody told of it.
    seen: u64,
    pub(super) now: Counts,
    /// The sum of the round that is under way.
    next: Counts,
    /// What each nsqd said last.
    before: Vec<Before>,
    series: Option<Series>,
}

/// What an nsqd said: messages ever, and messages held.
#[derive(Clone, Copy, Debug)]
struct Before {
    node: u32,
    round: u64,
    messages: u64,
    held: i64,
}

/// Depth, and messages that came, round after round; the last is the last round's.
#[derive(Debug, Default)]
struct Series(VecDeque<Point>);

#[derive(Clone, Copy, Debug)]
struct Point {
    depth: u32,
    came: u32,
}

impl Series {
    fn push(&mut self, point: Point) {
        let points = self.0.len();
        if points == POINTS_MAX {
            self.0.pop_front();
        } else if points == self.0.capacity() {
            // Doubled, but never beyond what is needed.
            self.0.reserve_exact(points.max(4).min(POINTS_MAX - points));
        }
        self.0.push_back(point);
    }
}

impl Counted {
    /// Takes what one nsqd says in a round, and returns it with what came and went since the one before.
    fn take(&mut self, node: u32, round: u64, mut said: Counts) -> Counts {
        let held = said.depth + said.in_flight + said.deferred;
        let now = Before { node, round, messages: said.messages, held };
        match self.before.iter_mut().find(|before| before.node == node) {
            None => self.before.push(now),
            Some(before) => {
                // One that was not there in between, or has started anew, begins anew.
                if before.round + 1 == round && before.messages <= now.messages {
                    let came = now.messages - before.messages;
                    let stayed = now.held - before.held;
                    let went = i64::try_from(came).unwrap_or(i64::MAX).saturating_sub(stayed);
                    said.came = came;
                    said.went = u64::try_from(went).unwrap_or(0);
                    said.has_before = true;
                }
                *before = now;
            }
        }
        self.note(round, &said);
        said
    }

    /// Adds to the sum of a round.
    fn note(&mut self, round: u64, said: &Counts) {
        self.seen = round;
        self.next.add(said);
    }

    /// Ends a round. `depth` is what its series shows.
    fn end_round(&mut self, round: u64, depth: i64) {
        let is_seen = self.seen == round;
        self.now = std::mem::take(&mut self.next);
        self.before.retain(|before| before.round == round);
        let point = if is_seen {
            let bounded =
                |number: u64| u32::try_from(number).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1);
            Point {
                depth: bounded(u64::try_from(depth).unwrap_or(0)),
                came: if self.now.has_before { bounded(self.now.came) } else { UNKNOWN },
            }
        } else {
            Point { depth: UNKNOWN, came: UNKNOWN }
        };
        if let Some(series) = &mut self.series {
            series.push(point);
        }
    }

    /// Whether any nsqd told of it in the last round.
    fn is_there(&self) -> bool {
        0 < self.now.nodes
    }
}

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The topic itself; its series shows the backlog.
    pub(super) counted: Counted,
    channels: HashMap<Box<str>, Counted>,
}

impl Topic {
    /// What waits in the topic and its channels.
    pub(super) fn backlog(&self) -> i64 {
        self.counted.now.depth
            + self.channels.values().map(|channel| channel.now.depth).sum::<i64>()
    }

    /// All of its channels together.
    pub(super) fn channels_now(&self) -> Counts {
        let mut sum = Counts::default();
        self.channels.values().for_each(|channel| sum.add(&channel.now));
        sum
    }

    /// Its channels in the last round.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&str, &Counted)> {
        let there = self.channels.iter().filter(|(_, channel)| channel.is_there());
        there.map(|(name, channel)| (&**name, channel))
    }

    /// A channel of the last round.
    pub(super) fn channel(&self, name: &str) -> Option<&Counted> {
        self.channels.get(name).filter(|channel| channel.is_there())
    }
}

/// One nsqd.
#[derive(Debug, Default)]
pub(super) struct Nsqd {
    number: u32,
    pub(super) hostname: String,
    pub(super) version: String,
    /// All of its topics and channels together.
    pub(super) counted: Counted,
    pub(super) topics: u64,
    pub(super) channels: u64,
    /// Why it did not answer in the last round.
    pub(super) error: Option<String>,
}

/// A series as it is shown: a value, or nothing known, for each moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Curves {
    pub(super) depth: Vec<Option<u32>>,
    /// In messages a second.
    pub(super) rate: Vec<Option<f64>>,
}

/// A daemon that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) address: Address,
    pub(super) reason: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The moments of rounds in milliseconds since 1970; the last is the last round's.
    times: VecDeque<i64>,
    /// The number of the round that is under way, or else of the last one.
    round: u64,
    topics: HashMap<Box<str>, Topic>,
    nodes: HashMap<Address, Nsqd>,
    pub(super) all: Counted,
    /// Who did not answer in the last round.
    pub(super) failures: Vec<Failed>,
    next_node: u32,
    series: usize,
    /// When the round that is under way began.
    began: i64,
}

impl History {
    /// Begins a round at `now`, in milliseconds since 1970.
    pub(super) fn begin_round(&mut self, now: i64) {
        self.round += 1;
        self.began = now;
    }

    /// Takes what an nsqd says in the round that is under way.
    pub(super) fn take(&mut self, address: &Address, hostname: &str, version: &str, told: Told) {
        let round = self.round;
        let node = self.node(address);
        hostname.clone_into(&mut node.hostname);
        version.clone_into(&mut node.version);
        node.error = None;
        let number = node.number;
        let mut whole = Counts { nodes: 1, ..Counts::default() };
        let (mut topics, mut channels) = (0, 0);
        for told in told.topics {
            let series = &mut self.series;
            let topic = find(&mut self.topics, &told.topic_name, |topic: &mut Topic| {
                topic.counted.series = new_series(series);
            });
            topics += 1;
            let of_topic = Counts {
                nodes: 1,
                depth: told.depth,
                backend_depth: told.backend_depth,
                messages: told.message_count,
                paused: told.paused,
                ..Counts::default()
            };
            let said = topic.counted.take(number, round, of_topic);
            whole.came += said.came;
            whole.has_before |= said.has_before;
            whole.depth += told.depth;
            whole.messages += told.message_count;
            for told in told.channels {
                let channel =
                    find(&mut topic.channels, &told.channel_name, |channel: &mut Counted| {
                        channel.series = new_series(series);
                    });
                channels += 1;
                let of_channel = Counts {
                    nodes: 1,
                    depth: told.depth,
                    backend_depth: told.backend_depth,
                    in_flight: told.in_flight_count,
                    deferred: told.deferred_count,
                    requeued: told.requeue_count,
                    timed_out: told.timeout_count,
                    messages: told.message_count,
                    clients: told.client_count,
                    paused: told.paused,
                    ..Counts::default()
                };
                whole.went += channel.take(number, round, of_channel).went;
                whole.depth += told.depth;
                whole.in_flight += told.in_flight_count;
                whole.deferred += told.deferred_count;
                whole.clients += told.client_count;
            }
        }
        let node = self.node(address);
        (node.topics, node.channels) = (topics, channels);
        node.counted.note(round, &whole);
        self.all.note(round, &whole);
    }

    /// Notes who does not answer in the round that is under way. `is_node` tells an nsqd from an
    /// nsqlookupd.
    pub(super) fn miss(&mut self, failed: Failed, is_node: bool) {
        if is_node {
            let node = self.node(&failed.address);
            node.error = Some(failed.reason);
            (node.topics, node.channels) = (0, 0);
        }
    }

    /// Ends the round. `failures` are all that failed in it, and `known` the nsqds that there are.
    pub(super) fn end_round(&mut self, failures: Vec<Failed>, known: &[Address]) {
        let round = self.round;
        for topic in self.topics.values_mut() {
            for channel in topic.channels.values_mut() {
                let depth = channel.next.depth;
                channel.end_round(round, depth);
            }
            let channels: i64 = topic.channels.values().map(|channel| channel.now.depth).sum();
            let backlog = topic.counted.next.depth + channels;
            topic.counted.end_round(round, backlog);
        }
        for node in self.nodes.values_mut() {
            let depth = node.counted.next.depth;
            node.counted.end_round(round, depth);
        }
        let depth = self.all.next.depth;
        self.all.series.get_or_insert_default();
        self.all.end_round(round, depth);
        self.forget(known);
        if self.times.len() == POINTS_MAX {
            self.times.pop_front();
        }
        self.times.push_back(self.began);
        self.failures = failures;
    }

    /// Drops what has been gone for a while.
    fn forget(&mut self, known: &[Address]) {
        let (round, mut dropped) = (self.round, 0);
        let mut stays = |counted: &Counted| {
            let stays = round <= counted.seen + ROUNDS_MISSED_MAX;
            dropped += usize::from(!stays && counted.series.is_some());
            stays
        };
        self.topics.retain(|_, topic| {
            topic.channels.retain(|_, channel| stays(channel));
            stays(&topic.counted) || !topic.channels.is_empty()
        });
        self.series = self.series.saturating_sub(dropped);
        self.nodes.retain(|address, node| {
            known.contains(address) || round <= node.counted.seen + ROUNDS_MISSED_MAX
        });
        if self.nodes.is_empty() {
            self.next_node = 0;
        }
    }

    fn node(&mut self, address: &Address) -> &mut Nsqd {
        let next = &mut self.next_node;
        find_owned(&mut self.nodes, address, |node: &mut Nsqd| {
            node.number = *next;
            node.counted.series = Some(Series::default());
            *next += 1;
        })
    }

    /// When the last round was, in milliseconds since 1970.
    pub(super) fn at(&self) -> i64 {
        self.times.back().copied().unwrap_or_default()
    }

    /// The topics of the last round.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        let there = self.topics.iter().filter(|(_, topic)| topic.counted.is_there());
        there.map(|(name, topic)| (&**name, topic))
    }

    /// A topic of the last round.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name).filter(|topic| topic.counted.is_there())
    }

    /// The nsqds, also those that do not answer.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Address, &Nsqd)> {
        self.nodes.iter()
    }

    /// The moments of the last `points` rounds.
    pub(super) fn times(&self, points: usize) -> Vec<i64> {
        let skipped = self.times.len().saturating_sub(points);
        self.times.iter().skip(skipped).copied().collect()
    }

    /// Messages a second in the last round; `None` without one before.
    pub(super) fn rates(&self, counts: &Counts) -> Option<(f64, f64)> {
        let seconds = self.seconds_before(self.times.len().checked_sub(1)?)?;
        let rate = |number: u64| rounded(as_float(number) / seconds);
        counts.has_before.then(|| (rate(counts.came), rate(counts.went)))
    }

    /// The last `points` depths and rates of something, one for each of [`Self::times`]; `None` when it
    /// has no series.
    pub(super) fn series(&self, counted: &Counted, points: usize) -> Option<Curves> {
        let series = counted.series.as_ref()?;
        let rounds = self.times.len();
        let points = points.min(rounds);
        let mut curves = Curves::default();
        for place in rounds - points..rounds {
            // The last of a series is the last round's.
            let behind = rounds - place;
            let point = series.0.len().checked_sub(behind).and_then(|at| series.0.get(at));
            let known = |number: u32| (number != UNKNOWN).then_some(number);
            curves.depth.push(point.and_then(|point| known(point.depth)));
            curves.rate.push(point.and_then(|point| {
                Some(rounded(f64::from(known(point.came)?) / self.seconds_before(place)?))
            }));
        }
        Some(curves)
    }

    /// How long before the round at `place` the one before it was.
    fn seconds_before(&self, place: usize) -> Option<f64> {
        let (now, before) = (self.times.get(place)?, self.times.get(place.checked_sub(1)?)?);
        let milliseconds = u32::try_from(now - before).ok()?.max(1);
        Some(f64::from(milliseconds) / 1000.0)
    }
}

/// Finds a name, or makes it.
fn find<'a, T: Default>(
    all: &'a mut HashMap<Box<str>, T>,
    name: &str,
    made: impl FnOnce(&mut T),
) -> &'a mut T {
    // A name is copied only when it is new.
    if !all.contains_key(name) {
        made(all.entry(name.into()).or_default());
    }
    all.get_mut(name).expect("it is there by now")
}

fn find_owned<'a, T: Default>(
    all: &'a mut HashMap<Address, T>,
    address: &Address,
    made: impl FnOnce(&mut T),
) -> &'a mut T {
    all.entry(address.clone()).or_insert_with(|| {
        let mut new = T::default();
        made(&mut new);
        new
    })
}

fn new_series(count: &mut usize) -> Option<Series> {
    let has_room = *count < SERIES_MAX;
    *count += usize::from(has_room);
    has_room.then(Series::default)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with one digit")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// With one digit behind the point.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn told(topic: &str, messages: u64, channel: &str, depth: i64, in_flight: i64) -> Told {
        let text = format!(
            r#"{{"topics":[{{"topic_name":"{topic}","message_count":{messages},"channels":[
                {{"channel_name":"{channel}","message_count":{messages},"depth":{depth},
                "in_flight_count":{in_flight},"client_count":2}}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    /// A round, two seconds after the one before.
    fn round(history: &mut History, nodes: &[(&str, Option<Told>)]) {
        let known: Vec<Address> = nodes.iter().map(|(node, _)| address(node)).collect();
        history.begin_round(i64::try_from(history.round).unwrap() * 2000);
        let mut failures = Vec::new();
        for (node, told) in nodes {
            match told {
                Some(Told { topics }) => {
                    let topics = topics.iter().map(copy).collect();
                    history.take(&address(node), "host", "1.3.0", Told { topics });
                }
                None => {
                    let failed = Failed { address: address(node), reason: "gone".into() };
                    history.miss(failed.clone(), true);
                    failures.push(failed);
                }
            }
        }
        history.end_round(failures, &known);
    }

    fn copy(topic: &ToldTopic) -> ToldTopic {
        ToldTopic {
            topic_name: topic.topic_name.clone(),
            message_count: topic.message_count,
            channels: topic
                .channels
                .iter()
                .map(|channel| ToldChannel {
                    channel_name: channel.channel_name.clone(),
                    ..*channel
                })
                .collect(),
            ..*topic
        }
    }

    fn channel<'a>(history: &'a History, topic: &str, channel: &str) -> &'a Counted {
        &history.topic(topic).unwrap().channels[channel]
    }

    #[test]
    fn rates_are_what_came_and_went_between_two_rounds_at_all_nodes() {
        let mut history = History::default();
        let first = |depth| Some(told("t", 100, "c", depth, 10));
        round(&mut history, &[("a:1", first(50)), ("b:1", first(0))]);
        assert_eq!(history.rates(&channel(&history, "t", "c").now), None);
        // a: 40 came, 30 of which stay; b: 20 came, and all went.
        let a = Some(told("t", 140, "c", 80, 10));
        let b = Some(told("t", 120, "c", 0, 10));
        round(&mut history, &[("a:1", a), ("b:1", b)]);
        let counted = channel(&history, "t", "c");
        assert_eq!(history.rates(&counted.now), Some((30.0, 15.0)));
        assert_eq!((counted.now.depth, counted.now.in_flight, counted.now.clients), (80, 20, 4));
        let Curves { depth, rate } = history.series(counted, 10).unwrap();
        assert_eq!((depth, rate), (vec![Some(50), Some(80)], vec![None, Some(30.0)]));
        assert_eq!(history.times(10), [0, 2000]);
        assert_eq!(history.topic("t").unwrap().backlog(), 80);
    }

    #[test]
    fn a_node_that_was_away_or_has_started_anew_makes_no_rate() {
        let mut history = History::default();
        let at = |messages| Some(told("t", messages, "c", 0, 0));
        round(&mut history, &[("a:1", at(10)), ("b:1", at(1000))]);
        round(&mut history, &[("a:1", at(14)), ("b:1", None)]);
        assert_eq!(history.rates(&channel(&history, "t", "c").now), Some((2.0, 2.0)));
        assert_eq!(history.failures[0].reason, "gone");
        let error = |history: &History| {
            history.nodes().find(|(node, _)| node.as_str() == "b:1").unwrap().1.error.clone()
        };
        assert_eq!(error(&history).as_deref(), Some("gone"));
        round(&mut history, &[("a:1", at(18)), ("b:1", at(5000))]);
        assert_eq!(history.rates(&channel(&history, "t", "c").now), Some((2.0, 2.0)));
        assert_eq!(error(&history), None);
        round(&mut history, &[("a:1", at(2)), ("b:1", at(5006))]);
        assert_eq!(history.rates(&channel(&history, "t", "c").now), Some((3.0, 3.0)));
    }

    #[test]
    fn what_is_gone_is_not_shown_and_is_forgotten_after_a_while() {
        let mut history = History::default();
        let node = |name: &str| ("a:1", Some(told(name, 1, "c", 5, 0)));
        round(&mut history, &[node("t")]);
        round(&mut history, &[node("u")]);
        let names = |history: &History| {
            history.topics().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&history), ["u"]);
        assert!(history.topic("t").is_none());
        round(&mut history, &[node("t")]);
        let curves = history.series(channel(&history, "t", "c"), 3).unwrap();
        assert_eq!(curves.depth, [Some(5), None, Some(5)]);
        for _ in 0..=ROUNDS_MISSED_MAX {
            round(&mut history, &[node("u")]);
        }
        assert!(!history.topics.contains_key("t"));
        assert_eq!(history.series, 2);
    }

    #[test]
    fn so_many_rounds_are_kept_and_no_more() {
        let mut history = History::default();
        for number in 0..u64::try_from(POINTS_MAX).unwrap() + 5 {
            round(&mut history, &[("a:1", Some(told("t", number, "c", 1, 0)))]);
        }
        assert_eq!(history.times(usize::MAX).len(), POINTS_MAX);
        let Curves { depth, rate } = history.series(&history.all, usize::MAX).unwrap();
        assert_eq!((depth.len(), rate.len()), (POINTS_MAX, POINTS_MAX));
        assert_eq!(rate[POINTS_MAX - 1], Some(0.5));
        assert_eq!(history.times(1), [(i64::try_from(POINTS_MAX).unwrap() + 4) * 2000]);
        // As the documentation says, in bytes: of a series, and of a channel beside it.
        let counted = channel(&history, "t", "c");
        let series = counted.series.as_ref().unwrap();
        assert_eq!(series.0.capacity() * size_of::<Point>(), 2400);
        assert!(size_of::<Counted>() <= 256 && size_of::<Before>() <= 32);
    }
}
