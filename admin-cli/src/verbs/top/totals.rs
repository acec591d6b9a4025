//! What the brokers of a cluster count together, and how fast it changes.
//!
//! Knows: how two answers of one broker make rates, and how brokers are added up. Time comes in as an
//! argument. Does not know: who is asked, or what is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::stats::{ChannelStats, ClientStats, Stats, TopicStats};

/// What a topic or a channel counts, at one broker or at several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Messages that wait. May be below zero for a moment, as in NSQ.
    pub(super) depth: i64,
    pub(super) in_flight: i64,
    pub(super) deferred: i64,
    pub(super) requeued: i64,
    pub(super) timed_out: i64,
    /// Messages that came in since the broker started.
    pub(super) messages: i64,
    pub(super) clients: i64,
    /// At any of the brokers.
    pub(super) paused: bool,
    /// `None` until a broker has answered twice.
    pub(super) rates: Option<Rates>,
}

/// Messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// That came in.
    pub(super) came: f64,
    /// That left for good: finished, or thrown away.
    pub(super) left: f64,
}

impl Rates {
    fn add(&mut self, other: Self) {
        self.came += other.came;
        self.left += other.left;
    }
}

/// Adds up rates of which some may not be known yet.
pub(super) fn sum_of(rates: impl IntoIterator<Item = Option<Rates>>) -> Option<Rates> {
    rates.into_iter().flatten().reduce(|mut sum, rates| {
        sum.add(rates);
        sum
    })
}

impl Counts {
    fn of_topic(topic: &TopicStats) -> Self {
        Self {
            depth: topic.depth,
            messages: signed(topic.message_count),
            paused: topic.paused,
            ..Self::default()
        }
    }

    fn of_channel(channel: &ChannelStats) -> Self {
        Self {
            depth: channel.depth,
            in_flight: signed(channel.in_flight_count),
            deferred: signed(channel.deferred_count),
            requeued: signed(channel.requeue_count),
            timed_out: signed(channel.timeout_count),
            messages: signed(channel.message_count),
            clients: signed(channel.client_count),
            paused: channel.paused,
            rates: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.depth += other.depth;
        self.in_flight += other.in_flight;
        self.deferred += other.deferred;
        self.requeued += other.requeued;
        self.timed_out += other.timed_out;
        self.messages += other.messages;
        self.clients += other.clients;
        self.paused |= other.paused;
        self.rates = sum_of([self.rates, other.rates]);
    }

    /// Messages that have left: neither waiting nor in flight nor deferred.
    fn left(&self) -> i64 {
        self.messages - self.depth - self.in_flight - self.deferred
    }

    /// How fast these counts came out of `earlier`, which are so many seconds old. Where fewer
    /// messages came than earlier, the topic or channel was made anew, and all of it is new.
    fn since(&self, earlier: Option<&Self>, seconds: f64) -> Rates {
        let earlier = earlier.filter(|earlier| earlier.messages <= self.messages);
        let (came, left) = earlier.map_or((0, 0), |earlier| (earlier.messages, earlier.left()));
        Rates {
            came: per_second(self.messages - came, seconds),
            left: per_second((self.left() - left).max(0), seconds),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
fn per_second(messages: i64, seconds: f64) -> f64 {
    messages as f64 / seconds
}

/// A topic with its channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Topic {
    /// Of the topic itself. Its rate of leaving is that of its channels together.
    pub(super) counts: Counts,
    pub(super) channels: BTreeMap<String, Counts>,
}

impl Topic {
    /// Messages that wait anywhere in it: not yet copied to channels, or in a channel.
    pub(super) fn backlog(&self) -> i64 {
        self.counts.depth + self.channels.values().map(|channel| channel.depth).sum::<i64>()
    }

    pub(super) fn clients(&self) -> i64 {
        self.channels.values().map(|channel| channel.clients).sum()
    }

    fn of(stats: TopicStats) -> (String, Self) {
        let counts = Counts::of_topic(&stats);
        let channels = stats.channels.into_iter().map(|channel| {
            let counts = Counts::of_channel(&channel);
            (channel.channel_name, counts)
        });
        (stats.topic_name, Self { counts, channels: channels.collect() })
    }
}

/// Topics by name, of one broker or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) topics: BTreeMap<String, Topic>,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        for (name, topic) in &other.topics {
            let sum = self.topics.entry(name.clone()).or_default();
            sum.counts.add(&topic.counts);
            for (name, counts) in &topic.channels {
                sum.channels.entry(name.clone()).or_default().add(counts);
            }
        }
    }

    /// Messages that wait anywhere.
    pub(super) fn backlog(&self) -> i64 {
        self.topics.values().map(Topic::backlog).sum()
    }

    pub(super) fn channels(&self) -> usize {
        self.topics.values().map(|topic| topic.channels.len()).sum()
    }

    pub(super) fn clients(&self) -> i64 {
        self.topics.values().map(Topic::clients).sum()
    }

    pub(super) fn rates(&self) -> Option<Rates> {
        sum_of(self.topics.values().map(|topic| topic.counts.rates))
    }
}

/// The answer of one broker.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    at: Duration,
    pub(super) start_time: i64,
    pub(super) version: String,
    pub(super) health: String,
    pub(super) totals: Totals,
}

impl Measured {
    /// What a broker told at `at`, with rates when it has told before since it started.
    pub(super) fn new(previous: Option<&Self>, at: Duration, stats: Stats) -> Self {
        let mut measured = Self {
            at,
            start_time: stats.start_time,
            version: stats.version,
            health: stats.health,
            totals: Totals { topics: stats.topics.into_iter().flatten().map(Topic::of).collect() },
        };
        // A broker that was started in between counts anew; its backlog did not come just now.
        let previous = previous.filter(|previous| previous.start_time == measured.start_time);
        let seconds = previous.map(|previous| at.saturating_sub(previous.at).as_secs_f64());
        if let (Some(previous), Some(seconds)) = (previous, seconds)
            && 0.0 < seconds
        {
            measured.totals.rate(&previous.totals, seconds);
        }
        measured
    }
}

impl Totals {
    fn rate(&mut self, previous: &Self, seconds: f64) {
        for (name, topic) in &mut self.topics {
            let before = previous.topics.get(name);
            for (name, channel) in &mut topic.channels {
                let before = before.and_then(|topic| topic.channels.get(name));
                channel.rates = Some(channel.since(before, seconds));
            }
            let came = topic.counts.since(before.map(|topic| &topic.counts), seconds).came;
            let left = sum_of(topic.channels.values().map(|channel| channel.rates));
            let left = left.map_or(0.0, |rates| rates.left);
            topic.counts.rates = Some(Rates { came, left });
        }
    }
}

/// The consumers of one channel at one broker, by the address they come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    at: Duration,
    pub(super) clients: BTreeMap<String, Client>,
}

/// One consumer.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) stats: ClientStats,
    /// Messages sent to it, and finished by it. `None` until it was seen twice.
    pub(super) rates: Option<Rates>,
}

impl Clients {
    /// Those that a broker told of at `at`, with rates for those it has told of before.
    pub(super) fn new(previous: Option<&Self>, at: Duration, clients: Vec<ClientStats>) -> Self {
        let seconds = previous.map(|previous| at.saturating_sub(previous.at).as_secs_f64());
        let clients = clients.into_iter().map(|stats| {
            let before = previous.and_then(|previous| previous.clients.get(&stats.remote_address));
            let before =
                before.map(|before| &before.stats).filter(|old| old.connect_ts == stats.connect_ts);
            let rates = before.zip(seconds).filter(|(_, seconds)| 0.0 < *seconds);
            let rates = rates.map(|(before, seconds)| Rates {
                came: growth(before.message_count, stats.message_count, seconds),
                left: growth(before.finish_count, stats.finish_count, seconds),
            });
            (stats.remote_address.clone(), Client { stats, rates })
        });
        Self { at, clients: clients.collect() }
    }
}

fn growth(before: u64, after: u64, seconds: f64) -> f64 {
    per_second(signed(after.saturating_sub(before)), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, messages: u64, depth: i64) -> ChannelStats {
        ChannelStats {
            channel_name: name.into(),
            message_count: messages,
            depth,
            in_flight_count: 2,
            deferred_count: 1,
            client_count: 3,
            ..ChannelStats::default()
        }
    }

    fn stats(start_time: i64, messages: u64, channels: Vec<ChannelStats>) -> Stats {
        let topic = TopicStats {
            topic_name: "t".into(),
            message_count: messages,
            depth: 5,
            channels,
            ..TopicStats::default()
        };
        Stats { start_time, topics: Some(vec![topic]), ..Stats::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_are_per_second_and_of_a_topic_what_left_its_channels() {
        let first = stats(1, 100, vec![channel("a", 90, 10), channel("b", 90, 50)]);
        let then = stats(1, 300, vec![channel("a", 290, 10), channel("b", 290, 250)]);
        let first = Measured::new(None, SECOND, first);
        assert_eq!(first.totals.topics["t"].counts.rates, None);
        let then = Measured::new(Some(&first), 3 * SECOND, then);
        let topic = &then.totals.topics["t"];
        assert_eq!(topic.channels["a"].rates, Some(Rates { came: 100.0, left: 100.0 }));
        assert_eq!(topic.channels["b"].rates, Some(Rates { came: 100.0, left: 0.0 }));
        assert_eq!(topic.counts.rates, Some(Rates { came: 100.0, left: 100.0 }));
        assert_eq!((topic.backlog(), topic.clients()), (265, 6));
    }

    #[test]
    fn a_broker_that_was_restarted_has_no_rates_and_a_channel_made_anew_counts_from_zero() {
        let first = Measured::new(None, SECOND, stats(1, 100, vec![channel("a", 90, 0)]));
        let restarted = Measured::new(Some(&first), 2 * SECOND, stats(2, 150, vec![]));
        assert_eq!(restarted.totals.topics["t"].counts.rates, None);
        let anew = stats(1, 100, vec![channel("a", 10, 0)]);
        let anew = Measured::new(Some(&first), 2 * SECOND, anew);
        let rates = anew.totals.topics["t"].channels["a"].rates;
        assert_eq!(rates, Some(Rates { came: 10.0, left: 7.0 }));
    }

    #[test]
    fn an_answer_in_the_same_moment_makes_no_rate() {
        let first = Measured::new(None, SECOND, stats(1, 100, vec![]));
        let again = Measured::new(Some(&first), SECOND, stats(1, 200, vec![]));
        assert_eq!(again.totals.topics["t"].counts.rates, None);
    }

    #[test]
    fn brokers_are_added_up_and_one_that_has_no_rates_yet_takes_none_away() {
        let first = Measured::new(None, SECOND, stats(1, 100, vec![channel("a", 90, 0)]));
        let known =
            Measured::new(Some(&first), 2 * SECOND, stats(1, 110, vec![channel("a", 99, 4)]));
        let mut paused = channel("a", 7, 1);
        paused.paused = true;
        let new = Measured::new(None, 2 * SECOND, stats(1, 50, vec![paused, channel("b", 1, 0)]));
        let mut totals = Totals::default();
        totals.add(&known.totals);
        totals.add(&new.totals);
        let topic = &totals.topics["t"];
        assert_eq!(
            (topic.counts.messages, topic.counts.depth, topic.counts.paused),
            (160, 10, false)
        );
        let a = &topic.channels["a"];
        assert_eq!((a.depth, a.in_flight, a.clients, a.paused), (5, 4, 6, true));
        assert_eq!(a.rates, Some(Rates { came: 9.0, left: 5.0 }));
        assert_eq!(topic.channels["b"].rates, None);
        assert_eq!((totals.channels(), totals.backlog(), totals.clients()), (2, 15, 9));
    }

    #[test]
    fn a_client_has_rates_when_it_was_seen_before_on_the_same_connection() {
        let client = |connect_ts: i64, sent: u64, finished: u64| ClientStats {
            remote_address: "h:1".into(),
            connect_ts,
            message_count: sent,
            finish_count: finished,
            ..ClientStats::default()
        };
        let first = Clients::new(None, SECOND, vec![client(7, 10, 5)]);
        assert_eq!(first.clients["h:1"].rates, None);
        let then = Clients::new(Some(&first), 3 * SECOND, vec![client(7, 30, 15)]);
        assert_eq!(then.clients["h:1"].rates, Some(Rates { came: 10.0, left: 5.0 }));
        let other = Clients::new(Some(&first), 3 * SECOND, vec![client(8, 30, 15)]);
        assert_eq!(other.clients["h:1"].rates, None);
    }
}
