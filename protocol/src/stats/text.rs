//! The text form of `GET /stats`, for people with a terminal and for scripts that take it apart.
//!
//! Knows: every blank of it. Does not know: the clock and the time zone, which come in as arguments.

use std::fmt::Write;
use std::time::Duration;

use super::{ChannelStats, ClientStats, LogStats, MemoryStats, Percentiles, Stats, TopicStats};

/// What the text tells beside the statistics.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// The line that `--version` prints, such as `nsqd v1.3.0 (built w/go1.27.3)`.
    pub version_line: &'a str,
    /// When the process started, in RFC 3339 with the local zone: `2026-11-22T12:57:18Z`.
    pub start_time: &'a str,
    /// For how long it has been running.
    pub uptime: Duration,
    /// The present, in seconds since 1970: from it follows for how long a client is connected.
    pub now: i64,
}

/// The whole text. `memory` that is `None` is left out.
pub fn render(stats: &Stats, heading: Heading<'_>) -> String {
    let mut whole = opening(stats, heading);
    stats.topics.iter().flatten().for_each(|found| whole.push_str(&topic(found, heading.now)));
    whole.push_str(&opening_of_producers(stats));
    let producers = stats.producers.iter().flatten();
    producers.for_each(|client| whole.push_str(&producer(client, heading.now)));
    whole
}

/// Everything before the first topic.
pub(super) fn opening(stats: &Stats, heading: Heading<'_>) -> String {
    let Heading { version_line, start_time, uptime, now: _ } = heading;
    let mut out = Text(String::new());
    out.line(format_args!("{version_line}"));
    out.line(format_args!("start_time {start_time}"));
    out.line(format_args!("uptime {}", duration(uptime)));
    out.line(format_args!("\nHealth: {}", stats.health));
    if let Some(memory) = &stats.memory {
        render_memory(&mut out, memory);
    }
    let has_topics = stats.topics.as_ref().is_some_and(|topics| !topics.is_empty());
    // Each topic begins with a line feed of its own, so here is none, unless there are no topics.
    out.part(if has_topics { "\nTopics:" } else { "\nTopics: None\n" });
    out.0
}

/// One topic with all it has.
pub(super) fn topic(topic: &TopicStats, now: i64) -> String {
    let mut out = Text(String::new());
    render_topic(&mut out, topic, now);
    out.0
}

/// What stands between topics and producers.
pub(super) fn opening_of_producers(stats: &Stats) -> String {
    let has_producers = stats.producers.as_ref().is_some_and(|producers| !producers.is_empty());
    let opening = if has_producers { "\nProducers:\n" } else { "\nProducers: None\n" };
    opening.to_owned()
}

/// One producer.
pub(super) fn producer(client: &ClientStats, now: i64) -> String {
    format!("   {}\n", client_line(client, now))
}

/// The text as far as it is written.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes what it is given");
    }

    fn part(&mut self, part: &str) {
        self.0.push_str(part);
    }
}

fn render_memory(out: &mut Text, memory: &MemoryStats) {
    out.line(format_args!("\nMemory:"));
    for (label, value) in [
        ("heap_objects", memory.heap_objects),
        ("heap_idle_bytes", memory.heap_idle_bytes),
        ("heap_in_use_bytes", memory.heap_in_use_bytes),
        ("heap_released_bytes", memory.heap_released_bytes),
        ("gc_pause_usec_100", memory.gc_pause_usec_100),
        ("gc_pause_usec_99", memory.gc_pause_usec_99),
        ("gc_pause_usec_95", memory.gc_pause_usec_95),
        ("next_gc_bytes", memory.next_gc_bytes),
        ("gc_total_runs", memory.gc_total_runs),
    ] {
        out.line(format_args!("   {label:<25}\t{value}"));
    }
}

fn render_topic(out: &mut Text, topic: &TopicStats, now: i64) {
    let prefix = if topic.paused { "*P " } else { "   " };
    out.line(format_args!(
        "\n{prefix}[{:<15}] depth: {:<5} be-depth: {:<5} msgs: {:<8} e2e%: {}",
        topic.topic_name,
        topic.depth,
        topic.backend_depth,
        topic.message_count,
        latencies(&topic.e2e_processing_latency),
    ));
    if let Some(log) = topic.log.filter(LogStats::has_losses) {
        out.line(format_args!(
            "      log damaged: {} places, {} bytes, {} msgs; torn: {} bytes; files not used: {}",
            log.damaged_places,
            log.damaged_bytes,
            log.damaged_messages,
            log.torn_bytes,
            log.files_not_used,
        ));
    }
    for channel in &topic.channels {
        render_channel(out, channel, now);
    }
}

fn render_channel(out: &mut Text, channel: &ChannelStats, now: i64) {
    let prefix = if channel.paused { "   *P " } else { "      " };
    out.line(format_args!(
        "{prefix}[{:<25}] depth: {:<5} be-depth: {:<5} inflt: {:<4} def: {:<4} re-q: {:<5} \
         timeout: {:<5} msgs: {:<8} e2e%: {}",
        channel.channel_name,
        channel.depth,
        channel.backend_depth,
        channel.in_flight_count,
        channel.deferred_count,
        channel.requeue_count,
        channel.timeout_count,
        channel.message_count,
        latencies(&channel.e2e_processing_latency),
    ));
    for client in channel.clients.iter().flatten() {
        out.line(format_args!("        {}", client_line(client, now)));
    }
}

/// A client that has published shows what, wherever it is listed; any other shows what it consumes.
fn client_line(client: &ClientStats, now: i64) -> String {
    let name =
        format!("{}:{} {}", client.hostname, port(&client.remote_address), client.user_agent);
    let connected =
        duration(Duration::from_secs(u64::try_from(now - client.connect_ts).unwrap_or_default()));
    let version = &client.version;
    if client.pub_counts.is_empty() {
        return format!(
            "[{version} {name:<21}] state: {} inflt: {:<4} rdy: {:<4} fin: {:<8} re-q: {:<8} \
             msgs: {:<8} connected: {connected}",
            client.state,
            client.in_flight_count,
            client.ready_count,
            client.finish_count,
            client.requeue_count,
            client.message_count,
        );
    }
    let total: u64 = client.pub_counts.iter().map(|published| published.count).sum();
    let topics: Vec<String> = client
        .pub_counts
        .iter()
        .map(|published| format!("{}={}", published.topic, published.count))
        .collect();
    let topics = topics.join(",");
    format!("[{version} {name:<21}] msgs: {total:<8} topics: {topics} connected: {connected}")
}

/// The port of `host:port` or `[host]:port`; empty when the address is not like that, as that of a
/// Unix socket.
fn port(address: &str) -> &str {
    let Some((host, port)) = address.rsplit_once(':') else { return "" };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed { "" } else { port }
}

/// The values alone, with a comma and a blank between; empty when nothing is measured.
fn latencies(latencies: &Percentiles) -> String {
    let values: Vec<String> =
        latencies.percentiles.iter().flatten().map(|point| latency(point.value)).collect();
    values.join(", ")
}

/// Nanoseconds in the largest unit of which they are more than one, with one decimal.
fn latency(nanoseconds: f64) -> String {
    for (unit_nanoseconds, unit) in [(1e9, "s"), (1e6, "ms"), (1e3, "us")] {
        if unit_nanoseconds < nanoseconds {
            return format!("{:.1}{unit}", nanoseconds / unit_nanoseconds);
        }
    }
    format!("{nanoseconds:.1}ns")
}

/// A duration in Go's spelling: `0s`, `12.5ms`, `1.205244366s`, `2h0m5s`.
pub(super) fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let below_a_second = [("ns", 1_000, 0), ("µs", 1_000_000, 3), ("ms", 1_000_000_000, 6)];
    for (unit, end, decimals) in below_a_second {
        if 0 < nanoseconds && nanoseconds < end {
            return format!("{}{unit}", decimal(nanoseconds, decimals));
        }
    }
    let minutes = duration.as_secs() / 60;
    let seconds = decimal(nanoseconds % 60_000_000_000, 9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value` with its last `decimals` digits behind a point, without zeros at the end.
fn decimal(value: u128, decimals: usize) -> String {
    let unit = 10_u128.pow(u32::try_from(decimals).expect("at most nine"));
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0decimals$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}
