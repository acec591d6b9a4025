//! What operators have here and not in NSQ: figures for Prometheus, probes, a drain, long delays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tests::broker::Broker;
use tests::client::with_body;
use tests::http;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, only_ours};

fn is_ours() -> bool {
    only_ours("NSQ has nothing like it")
}

/// A sample: its name, and its labels as they are written.
type Sample = (String, String);

/// The text of `/metrics`, taken apart by the rules of Prometheus' format.
struct Exposition {
    /// By family.
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<Sample, f64>,
}

impl Exposition {
    fn parse(text: &str) -> Self {
        let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line ends too");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a help has words");
                assert!(!words.is_empty(), "{line}");
                family = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type is a word");
                assert_eq!(name, family, "the type follows its help");
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                let before = kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} stands in one place");
            } else {
                let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a value"));
                let (labels, value) = match rest.strip_prefix('{') {
                    Some(rest) => rest.rsplit_once("} ").expect("labels end"),
                    None => ("", rest.trim_start()),
                };
                let of_family = name.strip_prefix(&family).expect("samples follow their head");
                let is_histogram = kinds[&family] == "histogram";
                let endings: &[&str] =
                    if is_histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(endings.contains(&of_family), "{line}");
                let value = value.parse().expect("a value is a number");
                let before = samples.insert((name.to_owned(), labels.to_owned()), value);
                assert_eq!(before, None, "{line} is there twice");
            }
        }
        Self { kinds, samples }
    }

    fn value(&self, name: &str, labels: &str) -> f64 {
        let sample = (name.to_owned(), labels.to_owned());
        *self.samples.get(&sample).unwrap_or_else(|| panic!("no {name}{{{labels}}}"))
    }

    /// How many a histogram has, which must add up.
    fn count(&self, name: &str) -> f64 {
        let bucket = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|((name, _), _)| *name == bucket)
            .map(|((_, labels), count)| {
                let bound = labels.strip_prefix("le=\"").and_then(|rest| rest.strip_suffix('"'));
                let bound = bound.expect("a bucket has a bound");
                (
                    if bound == "+Inf" {
                        f64::INFINITY
                    } else {
                        bound.parse().expect("a bound is a number")
                    },
                    *count,
                )
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {buckets:?}");
        let count = self.value(&format!("{name}_count"), "");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
        let sum = self.value(&format!("{name}_sum"), "");
        assert!(0.0 <= sum && (0.0 < sum || count == 0.0), "{name}: {sum}");
        count
    }
}

fn metrics(broker: &Broker, target: &str) -> Exposition {
    let answer = broker.get(target);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("Content-Type"), Some(expected));
    Exposition::parse(&answer.text())
}

#[test]
fn prometheus_reads_what_nsq_exporter_told_it_and_how_long_things_take() {
    if !is_ours() {
        return;
    }
    let broker = Broker::with(&["--shards=2", "--sync-timeout=20ms"]);
    let mut consumer = broker.client();
    consumer.identify(r#"{"client_id":"a\"b","hostname":"h","user_agent":"u"}"#);
    consumer.subscribe("t", "c");
    let mut publisher = broker.client();
    for _ in 0..5 {
        publisher.publish("t", b"four");
    }
    publisher.publish_deferred("t", 3_600_000, b"late");
    publisher.publish("u#ephemeral", b"m");
    broker.order("/channel/create?topic=t&channel=paused");
    broker.order("/channel/pause?topic=t&channel=paused");
    consumer.ready(3);
    let held = consumer.messages(3);
    consumer.requeue(&held[0], 0);
    consumer.finish(&held[1]);
    let held_again = consumer.messages(2);
    assert_eq!(held_again.len(), 2);
    broker.count_becomes("t", "c", "in_flight_count", 3);
    let found = eventually(SOON, "a sync is counted, and of HTTP only who asks is left", || {
        let found = metrics(&broker, "/metrics");
        let is_synced = 1.0 <= found.count("nsqd_sync_duration_seconds");
        (is_synced && found.value("nsqd_http_connections", "") == 1.0).then_some(found)
    });
    let topic = r#"type="topic",topic="t",paused="false""#;
    for (name, value) in [
        ("nsq_topic_channel_count", 2.0),
        ("nsq_topic_depth", 0.0),
        ("nsq_topic_backend_depth", 0.0),
        ("nsq_topic_message_count", 6.0),
        ("nsq_topic_message_bytes", 24.0),
    ] {
        assert_eq!(found.value(name, topic), value, "{name}");
    }
    assert!(0.0 < found.value("nsq_topic_log_bytes", topic));
    let ephemeral = r#"type="topic",topic="u#ephemeral",paused="false""#;
    assert_eq!(found.value("nsq_topic_depth", ephemeral), 1.0);
    let channel = r#"type="channel",topic="t",channel="c",paused="false""#;
    for (name, value) in [
        ("nsq_channel_client_count", 1.0),
        ("nsq_channel_depth", 1.0),
        ("nsq_channel_backend_depth", 0.0),
        ("nsq_channel_message_count", 6.0),
        ("nsq_channel_in_flight_count", 3.0),
        ("nsq_channel_deferred_count", 1.0),
        ("nsq_channel_requeue_count", 1.0),
        ("nsq_channel_timeout_count", 0.0),
    ] {
        assert_eq!(found.value(name, channel), value, "{name}");
    }
    let paused = r#"type="channel",topic="t",channel="paused",paused="true""#;
    assert_eq!(found.value("nsq_channel_depth", paused), 0.0);
    for (name, value) in
        [("nsqd_healthy", 1.0), ("nsqd_draining", 0.0), ("nsqd_tcp_connections", 2.0)]
    {
        assert_eq!(found.value(name, ""), value, "{name}");
    }
    assert!(1e6 < found.value("process_resident_memory_bytes", ""));
    assert!(1e9 < found.value("process_start_time_seconds", ""));
    // Each publish was answered before the next, so each was followed; of the deliveries that
    // follow one another only first ones count.
    let published = found.count("nsqd_publish_duration_seconds");
    assert!((1.0..=7.0).contains(&published), "{published}");
    let delivered = found.count("nsqd_delivery_duration_seconds");
    assert!((1.0..=4.0).contains(&delivered), "{delivered}");
    assert!(found.kinds.keys().all(|name| !name.starts_with("nsq_client_")));
    assert!(found.kinds.keys().all(|name| !name.contains("e2e")));

    let found = metrics(&broker, "/metrics?include_clients=true");
    let clients: BTreeSet<_> = found
        .samples
        .iter()
        .filter(|((name, _), _)| name.starts_with("nsq_client_"))
        .map(|((name, labels), value)| {
            let known = r#"topic="t",channel="c",deflate="false",snappy="false",tls="false",client_id="a\"b",hostname="h",version="V2",remote_address="127.0.0.1:"#;
            assert!(labels.starts_with(known), "{labels}");
            // The time of connecting is any.
            (name.as_str(), if name.ends_with("_ts") { "any".into() } else { value.to_string() })
        })
        .collect();
    let expected = [
        ("connect_ts", "any"),
        ("finish_count", "1"),
        ("in_flight_count", "3"),
        ("message_count", "5"),
        ("ready_count", "3"),
        ("requeue_count", "1"),
        ("sample_rate", "0"),
        ("state", "3"),
    ]
    .map(|(name, value)| (format!("nsq_client_{name}"), value.to_owned()));
    let expected: BTreeSet<_> =
        expected.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(clients, expected);
}

#[test]
fn a_broker_that_drains_refuses_publishes_delivers_the_rest_and_ends() {
    if !is_ours() {
        return;
    }
    let directory = LookupServer::of(Maker::Ours);
    let mut broker = Broker::with(&["--shards=2", &directory.flag()]);
    let mut consumers: Vec<_> =
        ["t", "u", "v"].map(|topic| (topic, broker.subscribed(topic, "c"))).into_iter().collect();
    for topic in ["t", "u", "v"] {
        assert_eq!(broker.post(&format!("/pub?topic={topic}"), b"m").text(), "OK");
    }
    broker.client().publish_deferred("v", 500, b"late");
    let producers = || {
        let found = directory.get("/lookup?topic=t").json();
        found["producers"].as_array().map(Vec::len)
    };
    eventually(SOON, "the directory knows the broker", || (producers() == Some(1)).then_some(()));
    let progress = |answer: http::Answer| {
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let left = |draining: bool, topics: &[(&str, u64)]| {
        let listed: Vec<_> = topics
            .iter()
            .map(|(topic, messages)| json!({"topic_name": topic, "messages": messages}))
            .collect();
        let sum: u64 = topics.iter().map(|(_, messages)| messages).sum();
        json!({"draining": draining, "messages": sum, "topics": listed})
    };
    let all = [("t", 1), ("u", 1), ("v", 2)];
    eventually(SOON, "all messages are counted", || {
        (progress(broker.get("/drain")) == left(false, &all)).then_some(())
    });
    for probe in ["/livez", "/readyz"] {
        let answer = broker.get(probe);
        assert_eq!((answer.status, answer.text().as_str()), (200, "OK"), "{probe}");
    }

    assert_eq!(progress(broker.post("/drain", b"")), left(true, &all));
    assert_eq!(progress(broker.post("/drain", b"")), left(true, &all), "once is enough");
    for (target, body) in [("/pub?topic=t", &b"m"[..]), ("/mpub?topic=u", b"m\nm")] {
        let answer = broker.post(target, body);
        let expected = (503, r#"{"message":"DRAINING"}"#);
        assert_eq!((answer.status, answer.text().as_str()), expected, "{target}");
    }
    for (sent, refused) in [
        (with_body("PUB t", b"m"), "E_PUB_FAILED PUB failed draining"),
        (with_body("DPUB u 10", b"m"), "E_DPUB_FAILED DPUB failed draining"),
        (tests::client::many("new", &["m"]), "E_MPUB_FAILED MPUB failed draining"),
    ] {
        let mut publisher = broker.client();
        publisher.send(&sent);
        assert_eq!(publisher.error(), refused);
        publisher.closed();
    }
    assert!(broker.topic("new").is_none(), "a refused publish makes no topic");
    let ready = broker.get("/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (503, "NOK - draining"));
    assert_eq!(broker.get("/livez").status, 200);
    assert_eq!(metrics(&broker, "/metrics").value("nsqd_draining", ""), 1.0);
    eventually(SOON, "the directory forgets the broker", || (producers() == Some(0)).then_some(()));

    // What is left is delivered; the last message of v only when its time has come.
    for (topic, consumer) in &mut consumers {
        consumer.ready(1);
        for _ in 0..if *topic == "v" { 2 } else { 1 } {
            let message = consumer.message();
            assert!(broker.process.is_running(), "it is in flight");
            consumer.finish(&message);
        }
    }
    let status = broker.process.ended_within(SOON);
    assert_eq!(status.code(), Some(0), "{}", broker.process.log());
    let log = broker.process.whole_log();
    assert!(log.contains("DRAIN: nothing is left"), "{log}");
    broker.start_again();
    assert_eq!(broker.count("v", "c", "depth"), 0);
    assert_eq!(broker.count("v", "c", "deferred_count"), 0);
}

#[test]
fn a_drain_waits_for_what_nobody_takes_and_a_signal_keeps_it() {
    if !is_ours() {
        return;
    }
    let mut broker = Broker::start();
    broker.client().publish("t", b"m");
    broker.order("/drain");
    std::thread::sleep(Duration::from_millis(1_200));
    let progress = broker.get("/drain").json();
    assert_eq!(progress["messages"], 1);
    broker.restart();
    assert_eq!(broker.get("/readyz").status, 200);
    assert_eq!(broker.topic_count("t", "depth"), 1);
}

#[test]
fn delays_of_days_are_taken_by_flag_and_stay_over_a_restart() {
    if !is_ours() {
        return;
    }
    const DAY: u32 = 86_400_000;
    let mut broker = Broker::with(&["--max-req-timeout=240h"]);
    let mut client = broker.subscribed("t", "c");
    client.publish_deferred("t", 2 * DAY, b"in two days");
    let target = format!("/pub?topic=t&defer={}", 10 * DAY);
    assert_eq!(broker.post(&target, b"in ten days").text(), "OK");
    client.publish("t", b"again in three days");
    client.ready(1);
    let message = client.message();
    client.requeue(&message, 3 * DAY);
    broker.count_becomes("t", "c", "deferred_count", 3);
    for end in [Broker::restart, Broker::crash] {
        // What was requeued is written down within a second, or later on a busy machine.
        std::thread::sleep(Duration::from_secs(4));
        end(&mut broker);
        assert_eq!(broker.count("t", "c", "deferred_count"), 3);
        assert_eq!(broker.count("t", "c", "depth"), 0);
    }
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    client.silence(Duration::from_millis(200));
    let mut refused = broker.client();
    refused.send(&with_body(&format!("DPUB t {}", 10 * DAY + 1), b"m"));
    assert_eq!(refused.error(), "E_INVALID DPUB timeout 864000001 out of range 0-864000000");
    let target = format!("/pub?topic=t&defer={}", 10 * DAY + 1);
    assert_eq!(broker.post(&target, b"m").text(), r#"{"message":"INVALID_DEFER"}"#);
}
