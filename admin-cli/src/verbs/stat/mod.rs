//! `admin-cli stat`: the counters of a topic and its channels, live.
//!
//! Knows: how two readings make rates, and what one table or one line of JSON says. How a table looks
//! is in [`table`], who is asked in [`crate::cluster`].

mod table;

use std::time::Duration;

use clap::{ArgAction, Parser};
use jiff::{Timestamp, Zoned};
use protocol::json::to_go_json;
use protocol::name::{ChannelName, TopicName};
use protocol::stats::{ChannelStats, Stats, TopicStats, merge};
use serde::Serialize;
use startup::{duration, flags};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster_flags::{ClusterFlags, silence};
use super::command_line;
use super::outcome::FailureReport;
use crate::cluster::{Reading, Sources, StatsFilter, Watch};
use crate::terminal::{Ending, Interrupt, Output, visible};

/// The flags of `admin-cli stat`.
#[derive(Debug, Parser)]
#[command(name = "admin-cli stat")]
pub(crate) struct Flags {
    /// topic to watch
    #[arg(long, value_parser = command_line::topic)]
    topic: Option<TopicName>,
    /// channel to show; without it all channels of the topic
    #[arg(long, value_parser = command_line::channel)]
    channel: Option<ChannelName>,
    /// duration between two tables
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    interval: Duration,
    /// number of tables before it ends (0 = do not end)
    #[arg(long, value_parser = flags::integer::<u64>, default_value = "0")]
    count: u64,
    /// show one table, without rates, and end
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    once: bool,
    /// write one line of JSON instead of a table
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    json: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Shows tables until there were enough, or the user stops it.
pub(crate) async fn run(flags: Flags) -> Result<(), Ending> {
    let Some(topic) = flags.topic else {
        return Err(Ending::Misuse("--topic is required".to_owned()));
    };
    if flags.interval.is_zero() {
        return Err(Ending::Misuse("--interval should be positive".to_owned()));
    }
    let cluster = flags.cluster.cluster()?;
    let mut interrupt = Interrupt::listen()?;
    let sources = cluster.sources().clone();
    let mut cluster = Watch::new(cluster);
    tokio::select! {
        outcome = watch(&flags, topic, &sources, &mut cluster) => outcome,
        () = interrupt.wait() => Ok(()),
    }
}

async fn watch(
    flags: &Flags,
    topic: TopicName,
    sources: &Sources,
    cluster: &mut Watch,
) -> Result<(), Ending> {
    let count = if flags.once { 1 } else { flags.count };
    let mut output = Output::open();
    let mut ticks = interval(flags.interval);
    // A slow broker makes intervals longer; it is not asked more often afterwards to make up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut previous: Option<Sample> = None;
    let mut shown = 0;
    loop {
        ticks.tick().await;
        let reading = cluster.read(&StatsFilter::of_topic(topic.as_str())).await;
        let is_last = shown + 1 == count;
        // Once something has answered, silence may pass: it is shown, and watched. But who counts
        // tables learns from the exit code whether the last one says anything.
        if !reading.is_answered() && (previous.is_none() || is_last) {
            return Err(silence(sources, &reading.failures));
        }
        let current = Sample { at: Instant::now(), reading };
        let report =
            Report::new(Timestamp::now(), topic, flags.channel, previous.as_ref(), &current);
        let text = if flags.json {
            format!("{}\n", to_go_json(&report))
        } else {
            let clock = Zoned::now().strftime("%H:%M:%S").to_string();
            let gap = if shown == 0 { "" } else { "\n" };
            format!("{gap}{}", visible(&table::render(&report, &clock)))
        };
        output.write(text.as_bytes()).await?;
        shown += 1;
        if shown == count {
            return Ok(());
        }
        previous = Some(current);
    }
}

/// What was read at one moment.
struct Sample {
    at: Instant,
    reading: Reading,
}

/// What one table or one line of JSON says. Counters are summed over the brokers that answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// When it was read, in UTC.
    pub(crate) time: String,
    pub(crate) topic: String,
    /// The HTTP addresses of the brokers that answered.
    pub(crate) brokers: Vec<String>,
    /// The processes that did not.
    pub(crate) failed: Vec<FailureReport>,
    /// Whether any broker has the topic; `None` when nobody answered.
    pub(crate) exists: Option<bool>,
    /// The channel that was asked for and is on no broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing_channel: Option<String>,
    /// Messages that wait to be copied to a channel.
    pub(crate) depth: i64,
    pub(crate) backend_depth: i64,
    /// Messages published.
    pub(crate) messages: u64,
    pub(crate) message_bytes: u64,
    /// Messages published.
    pub(crate) in_per_second: Option<f64>,
    /// Messages copied to the channels.
    pub(crate) out_per_second: Option<f64>,
    pub(crate) paused: bool,
    pub(crate) channels: Vec<ChannelReport>,
}

/// What a [`Report`] says of one channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ChannelReport {
    pub(crate) channel: String,
    /// Messages that wait for a consumer.
    pub(crate) depth: i64,
    pub(crate) backend_depth: i64,
    pub(crate) in_flight: u64,
    pub(crate) deferred: u64,
    pub(crate) requeued: u64,
    pub(crate) timed_out: u64,
    /// Messages that came into the channel.
    pub(crate) messages: u64,
    /// Messages that came into the channel. `None` when no broker has answered twice.
    pub(crate) in_per_second: Option<f64>,
    /// Messages that left the channel for good: finished, or thrown away.
    pub(crate) out_per_second: Option<f64>,
    pub(crate) clients: u64,
    pub(crate) paused: bool,
}

impl Report {
    fn new(
        now: Timestamp,
        topic: TopicName,
        channel: Option<ChannelName>,
        previous: Option<&Sample>,
        current: &Sample,
    ) -> Self {
        let reading = &current.reading;
        let whole = merge(reading.brokers.values().cloned());
        let found = find_topic(&whole, topic.as_str()).cloned();
        let exists = reading.is_answered().then_some(found.is_some());
        let total = found.unwrap_or_default();
        let channels: Vec<ChannelReport> = total
            .channels
            .iter()
            .filter(|found| channel.is_none_or(|channel| found.channel_name == channel.as_str()))
            .map(|found| {
                let rates = Rates::between(previous, current, |broker| {
                    Flow::of_channel(broker, topic.as_str(), &found.channel_name)
                });
                ChannelReport::new(found, rates)
            })
            .collect();
        let missing_channel =
            channel.filter(|_| channels.is_empty()).map(|channel| channel.as_str().to_owned());
        let rates =
            Rates::between(previous, current, |broker| Flow::of_topic(broker, topic.as_str()));
        Self {
            time: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            topic: topic.as_str().to_owned(),
            brokers: reading.brokers.keys().map(ToString::to_string).collect(),
            failed: FailureReport::list(&reading.failures),
            exists,
            missing_channel,
            depth: total.depth,
            backend_depth: total.backend_depth,
            messages: total.message_count,
            message_bytes: total.message_bytes,
            in_per_second: rates.came,
            out_per_second: rates.left,
            paused: total.paused,
            channels,
        }
    }
}

impl ChannelReport {
    fn new(total: &ChannelStats, rates: Rates) -> Self {
        Self {
            channel: total.channel_name.clone(),
            depth: total.depth,
            backend_depth: total.backend_depth,
            in_flight: total.in_flight_count,
            deferred: total.deferred_count,
            requeued: total.requeue_count,
            timed_out: total.timeout_count,
            messages: total.message_count,
            in_per_second: rates.came,
            out_per_second: rates.left,
            clients: total.client_count,
            paused: total.paused,
        }
    }
}

fn find_topic<'a>(stats: &'a Stats, name: &str) -> Option<&'a TopicStats> {
    stats.topics.iter().flatten().find(|topic| topic.topic_name == name)
}

/// How many messages came and how many left, counted from some moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    came: i64,
    left: i64,
}

impl Flow {
    /// Of the topic itself: what left is copied to its channels. Nothing when it does not exist.
    fn of_topic(broker: &Stats, topic: &str) -> Self {
        let Some(topic) = find_topic(broker, topic) else { return Self::default() };
        Self::new(topic.message_count, topic.depth)
    }

    /// Of a channel: what left is neither waiting nor with a consumer nor deferred. Nothing when it
    /// does not exist.
    fn of_channel(broker: &Stats, topic: &str, channel: &str) -> Self {
        let channels = find_topic(broker, topic).map(|topic| topic.channels.as_slice());
        let channel =
            channels.unwrap_or_default().iter().find(|found| found.channel_name == channel);
        let Some(channel) = channel else { return Self::default() };
        let held = channel.in_flight_count + channel.deferred_count;
        Self::new(channel.message_count, channel.depth + signed(held))
    }

    fn new(came: u64, held: i64) -> Self {
        let came = signed(came);
        Self { came, left: came - held }
    }

    /// What was added since `earlier`. When fewer came than earlier, the topic or channel was deleted
    /// and created again, so that all of it is new.
    fn since(self, earlier: Self) -> Self {
        let earlier = if self.came < earlier.came { Self::default() } else { earlier };
        Self { came: self.came - earlier.came, left: (self.left - earlier.left).max(0) }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Messages per second, over all brokers that answered twice since they started. `None` when there
/// is no such broker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    came: Option<f64>,
    left: Option<f64>,
}

impl Rates {
    fn between(previous: Option<&Sample>, current: &Sample, flow: impl Fn(&Stats) -> Flow) -> Self {
        let Some(previous) = previous else { return Self::default() };
        let seconds = current.at.duration_since(previous.at).as_secs_f64();
        let mut sum: Option<Flow> = None;
        for (address, broker) in &current.reading.brokers {
            let Some(before) = previous.reading.brokers.get(address) else { continue };
            // A broker that was started in between counts anew; its backlog did not come just now.
            if before.start_time != broker.start_time {
                continue;
            }
            let added = flow(broker).since(flow(before));
            let sum = sum.get_or_insert_default();
            sum.came += added.came;
            sum.left += added.left;
        }
        let per_second = |messages: i64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
            let rate = messages as f64 / seconds;
            rate.is_finite().then_some((rate * 10.0).round() / 10.0)
        };
        Self {
            came: sum.and_then(|sum| per_second(sum.came)),
            left: sum.and_then(|sum| per_second(sum.left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Failure;

    /// A broker that has the topic `test` with so many messages and so many of them waiting, and
    /// perhaps the channel `c`.
    fn broker(start_time: i64, messages: u64, depth: i64, channel: Option<ChannelStats>) -> Stats {
        let topic = TopicStats {
            topic_name: "test".into(),
            channels: channel.into_iter().collect(),
            depth,
            message_count: messages,
            ..TopicStats::default()
        };
        Stats { start_time, topics: Some(vec![topic]), ..Stats::default() }
    }

    fn channel(messages: u64, depth: i64, in_flight: u64, deferred: u64) -> ChannelStats {
        ChannelStats {
            channel_name: "c".into(),
            depth,
            in_flight_count: in_flight,
            deferred_count: deferred,
            message_count: messages,
            client_count: 1,
            ..ChannelStats::default()
        }
    }

    fn sample(at: Instant, brokers: &[(&str, Stats)]) -> Sample {
        let brokers = brokers
            .iter()
            .map(|(address, stats)| (address.parse().unwrap(), stats.clone()))
            .collect();
        Sample { at, reading: Reading { brokers, ..Reading::default() } }
    }

    fn report(name: Option<&str>, previous: Option<&Sample>, current: &Sample) -> Report {
        let topic = TopicName::parse(b"test").unwrap();
        let channel = name.map(|name| ChannelName::parse(name.as_bytes()).unwrap());
        Report::new(Timestamp::UNIX_EPOCH, topic, channel, previous, current)
    }

    /// Rates of the topic and of the channel `c`, when these were the readings, two seconds apart.
    fn rates(before: &[(&str, Stats)], after: &[(&str, Stats)]) -> [(Option<f64>, Option<f64>); 2] {
        let start = Instant::now();
        let before = sample(start, before);
        let after = sample(start + Duration::from_secs(2), after);
        let report = report(None, Some(&before), &after);
        let channel = &report.channels[0];
        [
            (report.in_per_second, report.out_per_second),
            (channel.in_per_second, channel.out_per_second),
        ]
    }

    #[test]
    fn rates_follow_from_two_readings() {
        let before = [("a:1", broker(7, 100, 10, Some(channel(90, 50, 5, 1))))];
        // The topic: 40 came, and all but the one message more that waits went on. The channel: 39
        // came, 20 more wait or are held, so 19 are gone.
        let after = [("a:1", broker(7, 140, 11, Some(channel(129, 60, 10, 6))))];
        assert_eq!(rates(&before, &after), [(Some(20.0), Some(19.5)), (Some(19.5), Some(9.5))]);
    }

    #[test]
    fn a_channel_that_is_filled_back_by_requeues_has_no_negative_rate() {
        let before = [("a:1", broker(7, 10, 0, Some(channel(10, 2, 0, 0))))];
        let after = [("a:1", broker(7, 10, 0, Some(channel(10, 5, 0, 0))))];
        assert_eq!(rates(&before, &after)[1], (Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_channel_that_is_new_or_was_created_again_counts_from_zero() {
        let new = channel(8, 2, 0, 0);
        for earlier in [None, Some(channel(5_000, 0, 0, 0))] {
            let before = [("a:1", broker(7, 10, 0, earlier))];
            let after = [("a:1", broker(7, 10, 0, Some(new.clone())))];
            assert_eq!(rates(&before, &after)[1], (Some(4.0), Some(3.0)));
        }
    }

    #[test]
    fn only_brokers_that_answered_twice_since_they_started_have_a_rate() {
        let at = |messages| broker(7, messages, 0, Some(channel(messages, 0, 0, 0)));
        let restarted = broker(8, 1_000, 0, Some(channel(1_000, 0, 0, 0)));
        let before = [("a:1", at(10)), ("b:1", at(10)), ("gone:1", at(10))];
        let after = [("a:1", at(16)), ("b:1", restarted.clone()), ("new:1", at(500))];
        assert_eq!(rates(&before, &after)[0], (Some(3.0), Some(3.0)));
        assert_eq!(rates(&before, &[("b:1", restarted)])[0], (None, None));
    }

    #[test]
    fn counters_are_summed_over_brokers_and_failures_are_named() {
        let mut current = sample(
            Instant::now(),
            &[
                ("a:1", broker(1, 10, 1, Some(channel(9, 3, 2, 1)))),
                ("b:1", broker(2, 20, 2, Some(channel(18, 4, 0, 0)))),
                ("empty:1", Stats::default()),
            ],
        );
        current.reading.failures.push(Failure::told(&"c:1".parse().unwrap(), "no answer in time"));
        let report = report(None, None, &current);
        assert_eq!(report.brokers, ["a:1", "b:1", "empty:1"]);
        assert_eq!((report.exists, report.messages, report.depth), (Some(true), 30, 3));
        assert_eq!((report.in_per_second, report.out_per_second), (None, None));
        let channel = &report.channels[0];
        assert_eq!((channel.messages, channel.depth, channel.in_flight), (27, 7, 2));
        assert_eq!((channel.deferred, channel.clients), (1, 2));
        let failed = FailureReport { address: "c:1".into(), error: "no answer in time".into() };
        assert_eq!(report.failed, [failed]);
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let nobody = sample(Instant::now(), &[]);
        assert_eq!(report(None, None, &nobody).exists, None);
        let elsewhere = sample(Instant::now(), &[("a:1", Stats::default())]);
        assert_eq!(report(None, None, &elsewhere).exists, Some(false));
        let here = [("a:1", broker(1, 10, 1, Some(channel(9, 3, 2, 1))))];
        let here = sample(Instant::now(), &here);
        assert_eq!(report(Some("c"), None, &here).missing_channel, None);
        let other = report(Some("d"), None, &here);
        assert_eq!((other.missing_channel.as_deref(), other.channels.len()), (Some("d"), 0));
    }

    #[test]
    fn json_is_one_object_with_null_for_what_is_not_known() {
        let here = [("a:1", broker(1, 10, 1, Some(channel(9, 3, 2, 1))))];
        let json = to_go_json(&report(None, None, &sample(Instant::now(), &here)));
        assert_eq!(
            json,
            r#"{"time":"1970-01-01T00:00:00Z","topic":"test","brokers":["a:1"],"failed":[],"exists":true,"depth":1,"backend_depth":0,"messages":10,"message_bytes":0,"in_per_second":null,"out_per_second":null,"paused":false,"channels":[{"channel":"c","depth":3,"backend_depth":0,"in_flight":2,"deferred":1,"requeued":0,"timed_out":0,"messages":9,"in_per_second":null,"out_per_second":null,"clients":1,"paused":false}]}"#
        );
    }
}
