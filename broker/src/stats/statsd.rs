//! What is pushed to a statsd daemon: the lines, and how they are packed into datagrams.
//!
//! Rules (NSQ behaviour): counters are told as what came since the last push, all else as it is;
//! topics and their channels come by name, the memory last; a datagram ends at the end of a line.
//!
//! Does not know: sockets, the clock, or who counts.

use crate::config;
use protocol::stats::{ChannelStats, MemoryStats, Percentiles, Stats, TopicStats};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What names of ephemeral topics and channels end with.
const EPHEMERAL: &str = "#ephemeral";

/// Makes one push after another. What it remembers grows with the topics and channels there are.
#[derive(Debug)]
pub struct Pushes {
    settings: config::Statsd,
    /// As of the last push, by name.
    topics: BTreeMap<String, TopicCounters>,
    /// As of the last push.
    gc_runs: u64,
}

#[derive(Debug, Default)]
struct TopicCounters {
    messages: u64,
    bytes: u64,
    channels: BTreeMap<String, ChannelCounters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ChannelCounters {
    messages: u64,
    requeued: u64,
    timed_out: u64,
}

impl Pushes {
    /// Nothing was pushed yet, so the first push tells everything since the start.
    pub fn new(settings: config::Statsd) -> Self {
        Self { settings, topics: BTreeMap::new(), gc_runs: 0 }
    }

    /// The datagrams that tell `stats`, whose topics and channels are sorted by name.
    pub fn datagrams(&mut self, stats: &Stats) -> Vec<String> {
        let mut lines = Lines {
            prefix: &self.settings.prefix,
            bytes_max: self.settings.datagram_bytes_max,
            datagrams: Vec::new(),
            line: String::new(),
        };
        let is_left_out = |name: &str| self.settings.without_ephemeral && name.ends_with(EPHEMERAL);
        let mut topics = BTreeMap::new();
        for topic in stats.topics.iter().flatten() {
            if is_left_out(&topic.topic_name) {
                continue;
            }
            let last = self.topics.remove(&topic.topic_name).unwrap_or_default();
            let mut counters = lines.topic(topic, &last);
            for channel in &topic.channels {
                if is_left_out(&channel.channel_name) {
                    continue;
                }
                let name = channel.channel_name.clone();
                let last = last.channels.get(&name).copied().unwrap_or_default();
                counters.channels.insert(name, lines.channel(&topic.topic_name, channel, last));
            }
            topics.insert(topic.topic_name.clone(), counters);
        }
        self.topics = topics;
        if self.settings.memory
            && let Some(memory) = &stats.memory
        {
            lines.memory(memory, self.gc_runs);
            self.gc_runs = memory.gc_total_runs;
        }
        lines.datagrams
    }
}

/// Lines on their way into datagrams.
struct Lines<'a> {
    prefix: &'a str,
    bytes_max: usize,
    datagrams: Vec<String>,
    /// The line that is being written: its memory is used again.
    line: String,
}

impl Lines<'_> {
    fn topic(&mut self, topic: &TopicStats, last: &TopicCounters) -> TopicCounters {
        let place = format!("topic.{}.", topic.topic_name);
        self.count(&place, "message_count", topic.message_count, last.messages);
        self.count(&place, "message_bytes", topic.message_bytes, last.bytes);
        self.gauge(&place, "depth", topic.depth);
        self.gauge(&place, "backend_depth", topic.backend_depth);
        self.percentiles(&place, &topic.e2e_processing_latency);
        TopicCounters {
            messages: topic.message_count,
            bytes: topic.message_bytes,
            channels: BTreeMap::new(),
        }
    }

    fn channel(
        &mut self,
        topic: &str,
        channel: &ChannelStats,
        last: ChannelCounters,
    ) -> ChannelCounters {
        let place = format!("topic.{topic}.channel.{}.", channel.channel_name);
        self.count(&place, "message_count", channel.message_count, last.messages);
        self.gauge(&place, "depth", channel.depth);
        self.gauge(&place, "backend_depth", channel.backend_depth);
        self.gauge(&place, "in_flight_count", channel.in_flight_count);
        self.gauge(&place, "deferred_count", channel.deferred_count);
        self.count(&place, "requeue_count", channel.requeue_count, last.requeued);
        self.count(&place, "timeout_count", channel.timeout_count, last.timed_out);
        self.gauge(&place, "clients", channel.client_count);
        self.percentiles(&place, &channel.e2e_processing_latency);
        ChannelCounters {
            messages: channel.message_count,
            requeued: channel.requeue_count,
            timed_out: channel.timeout_count,
        }
    }

    fn percentiles(&mut self, place: &str, latencies: &Percentiles) {
        for point in latencies.percentiles.iter().flatten() {
            let name = format!("e2e_processing_latency_{:.0}", point.quantile * 100.0);
            // Whole nanoseconds.
            self.gauge(place, &name, format_args!("{:.0}", point.value));
        }
    }

    fn memory(&mut self, memory: &MemoryStats, last_runs: u64) {
        for (name, value) in [
            ("heap_objects", memory.heap_objects),
            ("heap_idle_bytes", memory.heap_idle_bytes),
            ("heap_in_use_bytes", memory.heap_in_use_bytes),
            ("heap_released_bytes", memory.heap_released_bytes),
            ("gc_pause_usec_100", memory.gc_pause_usec_100),
            ("gc_pause_usec_99", memory.gc_pause_usec_99),
            ("gc_pause_usec_95", memory.gc_pause_usec_95),
            ("next_gc_bytes", memory.next_gc_bytes),
        ] {
            self.gauge("mem.", name, value);
        }
        self.count("mem.", "gc_runs", memory.gc_total_runs, last_runs);
    }

    /// A topic or channel that was made anew counts from nothing again, so its count may be lower.
    fn count(&mut self, place: &str, name: &str, count: u64, last: u64) {
        let more = i128::from(count) - i128::from(last);
        self.line(place, name, format_args!("{more}|c"));
    }

    fn gauge(&mut self, place: &str, name: &str, value: impl std::fmt::Display) {
        self.line(place, name, format_args!("{value}|g"));
    }

    fn line(&mut self, place: &str, name: &str, value: std::fmt::Arguments<'_>) {
        self.line.clear();
        writeln!(self.line, "{}{place}{name}:{value}", self.prefix)
            .expect("a string takes everything");
        match self.datagrams.last_mut() {
            Some(last) if last.len() + self.line.len() <= self.bytes_max => {
                last.push_str(&self.line);
            }
            _ => self.datagrams.push(self.line.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::stats::Percentile;
    use std::time::Duration;

    fn settings() -> config::Statsd {
        config::Statsd {
            address: None,
            interval: Duration::from_secs(60),
            prefix: "p.".to_string(),
            memory: false,
            datagram_bytes_max: 508,
            without_ephemeral: false,
        }
    }

    fn topic(name: &str, messages: u64, channels: &[(&str, u64)]) -> TopicStats {
        let channels = channels.iter().map(|&(name, messages)| ChannelStats {
            channel_name: name.to_string(),
            depth: 7,
            in_flight_count: 2,
            client_count: 1,
            message_count: messages,
            requeue_count: 1,
            ..ChannelStats::default()
        });
        TopicStats {
            topic_name: name.to_string(),
            depth: 3,
            message_count: messages,
            message_bytes: 10 * messages,
            channels: channels.collect(),
            ..TopicStats::default()
        }
    }

    fn stats(topics: Vec<TopicStats>) -> Stats {
        Stats { topics: Some(topics), memory: Some(MemoryStats::default()), ..Stats::default() }
    }

    fn pushed(pushes: &mut Pushes, topics: Vec<TopicStats>) -> Vec<String> {
        let datagrams = pushes.datagrams(&stats(topics)).concat();
        datagrams.lines().map(str::to_owned).collect()
    }

    #[test]
    fn counters_are_told_as_what_is_new_and_gauges_as_they_are() {
        let mut pushes = Pushes::new(settings());
        let first = pushed(&mut pushes, vec![topic("t", 5, &[("c", 4)])]);
        assert_eq!(
            first,
            [
                "p.topic.t.message_count:5|c",
                "p.topic.t.message_bytes:50|c",
                "p.topic.t.depth:3|g",
                "p.topic.t.backend_depth:0|g",
                "p.topic.t.channel.c.message_count:4|c",
                "p.topic.t.channel.c.depth:7|g",
                "p.topic.t.channel.c.backend_depth:0|g",
                "p.topic.t.channel.c.in_flight_count:2|g",
                "p.topic.t.channel.c.deferred_count:0|g",
                "p.topic.t.channel.c.requeue_count:1|c",
                "p.topic.t.channel.c.timeout_count:0|c",
                "p.topic.t.channel.c.clients:1|g",
            ]
        );
        let second = pushed(&mut pushes, vec![topic("t", 9, &[("c", 4), ("d", 2)])]);
        let counters: Vec<_> = second.iter().filter(|line| line.ends_with("|c")).collect();
        assert_eq!(
            counters,
            [
                "p.topic.t.message_count:4|c",
                "p.topic.t.message_bytes:40|c",
                "p.topic.t.channel.c.message_count:0|c",
                "p.topic.t.channel.c.requeue_count:0|c",
                "p.topic.t.channel.c.timeout_count:0|c",
                "p.topic.t.channel.d.message_count:2|c",
                "p.topic.t.channel.d.requeue_count:1|c",
                "p.topic.t.channel.d.timeout_count:0|c",
            ]
        );
        // Gone, and there again.
        assert!(pushed(&mut pushes, Vec::new()).is_empty());
        let again = pushed(&mut pushes, vec![topic("t", 2, &[])]);
        assert_eq!(again[0], "p.topic.t.message_count:2|c");
    }

    #[test]
    fn memory_and_ephemeral_names_are_told_unless_they_are_not_wanted() {
        let topics = || vec![topic("e#ephemeral", 1, &[]), topic("t", 1, &[("c#ephemeral", 1)])];
        let mut all = Pushes::new(config::Statsd { memory: true, ..settings() });
        let lines = pushed(&mut all, topics());
        assert_eq!(lines.len(), 4 + 4 + 8 + 9);
        assert_eq!(lines[0], "p.topic.e#ephemeral.message_count:1|c");
        assert_eq!(lines[16], "p.mem.heap_objects:0|g");
        assert_eq!(lines[24], "p.mem.gc_runs:0|c");
        let mut few = Pushes::new(config::Statsd { without_ephemeral: true, ..settings() });
        let lines = pushed(&mut few, topics());
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.starts_with("p.topic.t.")), "{lines:?}");
    }

    #[test]
    fn percentiles_are_named_by_their_share() {
        let point = |quantile, value| Percentile { quantile, value };
        let points = vec![point(1.0, 5e9), point(0.955, 1_234.0), point(0.5, 0.0)];
        let mut topic = topic("t", 0, &[]);
        topic.e2e_processing_latency = Percentiles { count: 3, percentiles: Some(points) };
        let lines = pushed(&mut Pushes::new(settings()), vec![topic]);
        assert_eq!(
            lines[4..],
            [
                "p.topic.t.e2e_processing_latency_100:5000000000|g",
                "p.topic.t.e2e_processing_latency_96:1234|g",
                "p.topic.t.e2e_processing_latency_50:0|g",
            ]
        );
    }

    #[test]
    fn datagrams_end_with_a_line_and_are_no_larger_than_allowed() {
        for bytes_max in [1, 64, 508, 100_000] {
            let settings = config::Statsd { datagram_bytes_max: bytes_max, ..settings() };
            let topics = (0..20).map(|number| topic(&format!("t{number:02}"), 1, &[])).collect();
            let datagrams = Pushes::new(settings).datagrams(&stats(topics));
            assert_eq!(
                datagrams.iter().map(|datagram| datagram.lines().count()).sum::<usize>(),
                80
            );
            for datagram in &datagrams {
                assert!(datagram.ends_with('\n'));
                let lines = datagram.lines().count();
                assert!(datagram.len() <= bytes_max || lines == 1, "{bytes_max}: {datagram}");
            }
            for pair in datagrams.windows(2) {
                let first = pair[1].find('\n').expect("it ends with a line") + 1;
                assert!(bytes_max < pair[0].len() + first, "{pair:?} would fit into one");
            }
        }
    }
}
