//! `/metrics`: what all cores count and measure, as Prometheus reads it.
//!
//! Topics, channels and clients have the names and labels that `nsq_exporter` gives them, so that
//! its dashboards go on; what begins with `nsqd_` is ours. NSQ has no such route.
//!
//! Clients are many, and shown only when they are asked for (`include_clients=true`).

use super::Refused;
use super::incoming::Incoming;
use crate::routing::request::{Answer, Question};
use crate::shard::Shard;
use crate::shard::breath::breathe;
use crate::stats::measures::{Histogram, Measures};
use protocol::exposition::{CONTENT_TYPE, Text};
use protocol::http::response::Response;
use protocol::stats::{ChannelStats, ClientStats, Filter, Percentiles, Stats, TopicStats, merge};
use std::rc::Rc;

/// One figure of each topic, channel or client.
struct Figure<T> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// `None`: this one has no such figure.
    value: fn(&T) -> Option<f64>,
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
) -> Figure<T> {
    Figure { name, kind: "gauge", help, value }
}

const fn counter<T>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
) -> Figure<T> {
    Figure { name, kind: "counter", help, value }
}

const TOPIC: [Figure<TopicStats>; 8] = [
    gauge("nsq_topic_channel_count", "Channels.", |topic| {
        Some(number(topic.channels.len() as u64))
    }),
    gauge("nsq_topic_depth", "Messages that wait for a channel.", |topic| {
        Some(signed(topic.depth))
    }),
    gauge("nsq_topic_backend_depth", "How many of them are on disk only.", |topic| {
        Some(signed(topic.backend_depth))
    }),
    counter("nsq_topic_message_count", "Messages published.", |topic| {
        Some(number(topic.message_count))
    }),
    counter("nsq_topic_message_bytes", "Bytes of their bodies.", |topic| {
        Some(number(topic.message_bytes))
    }),
    gauge("nsq_topic_log_bytes", "Bytes of the log on disk.", |topic| {
        Some(number(topic.log?.bytes))
    }),
    gauge("nsq_topic_e2e_latency_99_percentile", "From publish to FIN, in nanoseconds.", |topic| {
        percentile(&topic.e2e_processing_latency, 0.99)
    }),
    gauge("nsq_topic_e2e_latency_95_percentile", "From publish to FIN, in nanoseconds.", |topic| {
        percentile(&topic.e2e_processing_latency, 0.95)
    }),
];

const CHANNEL: [Figure<ChannelStats>; 11] = [
    gauge("nsq_channel_client_count", "Consumers.", |channel| Some(number(channel.client_count))),
    gauge("nsq_channel_depth", "Messages that wait for a consumer.", |channel| {
        Some(signed(channel.depth))
    }),
    gauge("nsq_channel_backend_depth", "How many of them are on disk only.", |channel| {
        Some(signed(channel.backend_depth))
    }),
    counter("nsq_channel_message_count", "Messages that came into the channel.", |channel| {
        Some(number(channel.message_count))
    }),
    gauge("nsq_channel_in_flight_count", "Messages that a consumer holds.", |channel| {
        Some(number(channel.in_flight_count))
    }),
    gauge("nsq_channel_deferred_count", "Messages that wait for their time.", |channel| {
        Some(number(channel.deferred_count))
    }),
    counter("nsq_channel_requeue_count", "Messages that consumers gave back.", |channel| {
        Some(number(channel.requeue_count))
    }),
    counter("nsq_channel_timeout_count", "Messages that consumers held too long.", |channel| {
        Some(number(channel.timeout_count))
    }),
    gauge(
        "nsq_channel_log_bytes",
        "Bytes of the topic's log that stay because of the channel.",
        |channel| Some(number(channel.log_bytes?)),
    ),
    gauge("nsq_channel_e2e_latency_99p", "From publish to FIN, in nanoseconds.", |channel| {
        percentile(&channel.e2e_processing_latency, 0.99)
    }),
    gauge("nsq_channel_e2e_latency_95p", "From publish to FIN, in nanoseconds.", |channel| {
        percentile(&channel.e2e_processing_latency, 0.95)
    }),
];

const CLIENT: [Figure<ClientStats>; 8] = [
    gauge("nsq_client_state", "3: subscribed, 4: closing.", |client| Some(f64::from(client.state))),
    counter("nsq_client_finish_count", "Messages finished.", |client| {
        Some(number(client.finish_count))
    }),
    counter("nsq_client_message_count", "Messages sent to it.", |client| {
        Some(number(client.message_count))
    }),
    gauge("nsq_client_ready_count", "Messages that it may hold at once.", |client| {
        Some(signed(client.ready_count))
    }),
    gauge("nsq_client_in_flight_count", "Messages that it holds.", |client| {
        Some(signed(client.in_flight_count))
    }),
    counter("nsq_client_requeue_count", "Messages given back.", |client| {
        Some(number(client.requeue_count))
    }),
    gauge("nsq_client_connect_ts", "When it connected, in seconds since 1970.", |client| {
        Some(signed(client.connect_ts))
    }),
    gauge(
        "nsq_client_sample_rate",
        "The share of messages it wants, in percent; 0 for all.",
        |client| Some(f64::from(client.sample_rate)),
    ),
];

/// Everything, or with clients more than everything.
pub(super) async fn metrics(incoming: &mut Incoming<'_>) -> Result<Response, Refused> {
    let shard = incoming.shard;
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let include_clients = matches!(query.get("include_clients"), Some("true" | "1"));
    let filter = Filter { include_clients, ..Filter::default() };
    let parts = shard.gather(&filter).await;
    let memory = parts.iter().filter_map(|part| part.memory.as_ref());
    let memory = memory.map(|memory| memory.heap_in_use_bytes).sum();
    let stats = merge(parts);
    let measures = measures(shard).await;
    let mut text = Text::default();
    push_broker(&mut text, &stats, &measures, memory, is_draining(shard));
    // One name of ten thousand topics takes some milliseconds; the clients of this core have their
    // turn between two names.
    for figure in &TOPIC {
        push_topics(&mut text, figure, &stats);
        breathe().await;
    }
    for figure in &CHANNEL {
        push_channels(&mut text, figure, &stats);
        breathe().await;
    }
    if include_clients {
        for figure in &CLIENT {
            push_clients(&mut text, figure, &stats);
            breathe().await;
        }
    }
    Ok(Response::with_content_type(CONTENT_TYPE, text.into_string()))
}

fn is_draining(shard: &Shard) -> bool {
    shard.state.borrow().draining
}

/// What all cores measured.
async fn measures(shard: &Rc<Shard>) -> Measures {
    let placement = shard.state.borrow().placement;
    let mut sum = Measures::default();
    for core in placement.all() {
        match shard.ask(core, Question::Measures).await {
            Answer::Measures(part) => sum.add(&part),
            other => unreachable!("a question for measures is not answered with {other:?}"),
        }
    }
    sum
}

fn push_broker(
    text: &mut Text,
    stats: &Stats,
    measures: &Measures,
    memory: u64,
    is_draining: bool,
) {
    let (nsq, ours) = (startup::version::NSQ_VERSION, startup::version::RINGNSQ_VERSION);
    text.head("nsqd_info", "gauge", "Which program this is.");
    text.sample("nsqd_info", &[("version", &nsq), ("ringnsq", &ours)], 1);
    for (name, help, value) in [
        (
            "nsqd_healthy",
            "1 when the disk takes what it is given.",
            u64::from(stats.health == "OK"),
        ),
        (
            "nsqd_draining",
            "1 when publishes are refused until nothing is left.",
            is_draining.into(),
        ),
        ("nsqd_tcp_connections", "Connections of clients.", measures.tcp_connections),
        ("nsqd_http_connections", "HTTP connections.", measures.http_connections),
        ("nsqd_message_memory_bytes", "Bytes of messages held in memory.", memory),
    ] {
        text.head(name, "gauge", help);
        text.sample(name, &[], value);
    }
    for (name, help, histogram) in [
        (
            "nsqd_publish_duration_seconds",
            "From a publish over TCP to its OK being sent; of each core one at a time.",
            &measures.publish,
        ),
        (
            "nsqd_delivery_duration_seconds",
            "From a publish to the first delivery; the oldest of those handed over together.",
            &measures.delivery,
        ),
        ("nsqd_sync_duration_seconds", "A sync of a topic's log.", &measures.sync),
    ] {
        push_histogram(text, name, help, histogram);
    }
    let name = "process_start_time_seconds";
    text.head(name, "gauge", "When the process began, since 1970.");
    text.sample(name, &[], stats.start_time);
    if let Some(bytes) = startup::debug::resident_bytes() {
        let name = "process_resident_memory_bytes";
        text.head(name, "gauge", "Memory in RAM.");
        text.sample(name, &[], bytes);
    }
}

fn push_histogram(text: &mut Text, name: &str, help: &str, histogram: &Histogram) {
    let sum = histogram.sum().as_secs_f64();
    text.histogram(name, help, histogram.classes(), histogram.beyond(), sum);
}

/// The head of a figure, unless nothing has it.
fn push_head<T>(text: &mut Text, figure: &Figure<T>, is_there: &mut bool) {
    if !std::mem::replace(is_there, true) {
        text.head(figure.name, figure.kind, figure.help);
    }
}

fn push_topics(text: &mut Text, figure: &Figure<TopicStats>, stats: &Stats) {
    let mut is_there = false;
    for topic in stats.topics.iter().flatten() {
        if let Some(value) = (figure.value)(topic) {
            push_head(text, figure, &mut is_there);
            let labels: [(&str, &dyn std::fmt::Display); 3] =
                [("type", &"topic"), ("topic", &topic.topic_name), ("paused", &topic.paused)];
            text.sample(figure.name, &labels, value);
        }
    }
}

fn push_channels(text: &mut Text, figure: &Figure<ChannelStats>, stats: &Stats) {
    let mut is_there = false;
    for topic in stats.topics.iter().flatten() {
        for channel in &topic.channels {
            if let Some(value) = (figure.value)(channel) {
                push_head(text, figure, &mut is_there);
                let labels: [(&str, &dyn std::fmt::Display); 4] = [
                    ("type", &"channel"),
                    ("topic", &topic.topic_name),
                    ("channel", &channel.channel_name),
                    ("paused", &channel.paused),
                ];
                text.sample(figure.name, &labels, value);
            }
        }
    }
}

fn push_clients(text: &mut Text, figure: &Figure<ClientStats>, stats: &Stats) {
    let mut is_there = false;
    for topic in stats.topics.iter().flatten() {
        for channel in &topic.channels {
            for client in channel.clients.iter().flatten() {
                let Some(value) = (figure.value)(client) else { continue };
                push_head(text, figure, &mut is_there);
                let labels: [(&str, &dyn std::fmt::Display); 9] = [
                    ("topic", &topic.topic_name),
                    ("channel", &channel.channel_name),
                    ("deflate", &client.deflate),
                    ("snappy", &client.snappy),
                    ("tls", &client.tls),
                    ("client_id", &client.client_id),
                    ("hostname", &client.hostname),
                    ("version", &client.version),
                    ("remote_address", &client.remote_address),
                ];
                text.sample(figure.name, &labels, value);
            }
        }
    }
}

/// As Prometheus keeps it.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn signed(value: i64) -> f64 {
    value as f64
}

/// The time of a share of messages, if it is among those that are measured.
fn percentile(percentiles: &Percentiles, quantile: f64) -> Option<f64> {
    let all = percentiles.percentiles.as_ref()?;
    let of_share = all.iter().find(|one| (one.quantile - quantile).abs() < 1e-9)?;
    Some(of_share.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::stats::Percentile;

    #[test]
    fn a_figure_that_nothing_has_is_left_out_and_one_that_some_have_has_one_head() {
        let latency = |quantile| Percentiles {
            count: 1,
            percentiles: Some(vec![Percentile { quantile, value: 1.5e9 }]),
        };
        let topic = |name: &str, latencies| TopicStats {
            topic_name: name.to_owned(),
            depth: 3,
            e2e_processing_latency: latencies,
            ..TopicStats::default()
        };
        let topics = vec![topic("a", latency(0.95)), topic("b", Percentiles::default())];
        let stats = Stats { topics: Some(topics), ..Stats::default() };
        let text = |name: &str| {
            let figure = TOPIC.iter().find(|figure| figure.name == name).unwrap();
            let mut text = Text::default();
            push_topics(&mut text, figure, &stats);
            text.into_string()
        };
        assert_eq!(text("nsq_topic_e2e_latency_99_percentile"), "");
        assert_eq!(
            text("nsq_topic_e2e_latency_95_percentile"),
            "# HELP nsq_topic_e2e_latency_95_percentile From publish to FIN, in nanoseconds.\n\
             # TYPE nsq_topic_e2e_latency_95_percentile gauge\n\
             nsq_topic_e2e_latency_95_percentile{type=\"topic\",topic=\"a\",paused=\"false\"} \
             1500000000\n"
        );
        assert!(text("nsq_topic_depth").ends_with("topic=\"b\",paused=\"false\"} 3\n"));
    }
}
