//! The statistics against what real brokers answered. `captures/` holds answers of nsqd 1.3.0 to
//! requests that came one right after the other, while nothing happened between them.

use std::time::Duration;

use super::text::{Heading, duration, render};
use super::*;
use crate::json::to_go_json;

macro_rules! capture {
    ($file:literal) => {
        include_str!(concat!("captures/", $file))
    };
}

/// An answer of nsqd at its latest revision, which tells the topology of clients as well.
const LATEST: &str = r#"{"version":"1.3.0","health":"OK","start_time":1795352238,"topics":[{"topic_name":"top","channels":[{"channel_name":"ch","depth":8,"backend_depth":0,"in_flight_count":2,"deferred_count":0,"message_count":10,"global_msg_count":2,"requeue_count":0,"timeout_count":0,"client_count":1,"clients":[{"client_id":"cons","hostname":"chost","version":"V2","remote_address":"127.0.0.1:60682","state":3,"ready_count":2,"in_flight_count":2,"message_count":2,"finish_count":0,"requeue_count":0,"connect_ts":1795352239,"sample_rate":0,"deflate":false,"snappy":false,"user_agent":"conslib/2","topology_zone":"","topology_region":"","tls":false,"tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"","tls_negotiated_protocol_is_mutual":false}],"paused":false,"e2e_processing_latency":{"count":0,"percentiles":[{"quantile":1,"value":0},{"quantile":0.99,"value":0},{"quantile":0.95,"value":0},{"quantile":0.5,"value":0}]}}],"depth":0,"backend_depth":0,"message_count":10,"message_bytes":20,"paused":false,"e2e_processing_latency":{"count":0,"percentiles":[{"quantile":1,"value":0},{"quantile":0.99,"value":0},{"quantile":0.95,"value":0},{"quantile":0.5,"value":0}]}}],"memory":{"heap_objects":2292,"heap_idle_bytes":6324224,"heap_in_use_bytes":1605632,"heap_released_bytes":6324224,"gc_pause_usec_100":0,"gc_pause_usec_99":0,"gc_pause_usec_95":0,"next_gc_bytes":4194304,"gc_total_runs":0},"producers":[{"client_id":"prod","hostname":"ph","version":"V2","remote_address":"127.0.0.1:60668","state":0,"ready_count":0,"in_flight_count":0,"message_count":0,"finish_count":0,"requeue_count":0,"connect_ts":1795352239,"sample_rate":0,"deflate":false,"snappy":false,"user_agent":"prodlib/1","topology_zone":"","topology_region":"","pub_counts":[{"topic":"top","count":10}],"tls":false,"tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"","tls_negotiated_protocol_is_mutual":false}]}"#;

fn parse(body: &str) -> Stats {
    serde_json::from_str(body).unwrap()
}

#[test]
fn answers_of_nsqd_are_written_back_byte_for_byte() {
    for body in [
        LATEST,
        capture!("empty.json"),
        capture!("unknown_topic.json"),
        capture!("without_clients.json"),
    ] {
        assert_eq!(to_go_json(&parse(body)), body);
    }
    // The release does not tell the topology of clients; every other byte is the same.
    for body in [capture!("everything.json"), capture!("other_topic.json")] {
        let written = to_go_json(&parse(body));
        assert_eq!(written.replace(r#""topology_zone":"","topology_region":"","#, ""), body);
    }
}

#[test]
fn keys_that_say_nothing_are_left_out_and_the_others_keep_their_place() {
    let client = ClientStats {
        zone_local_msg_count: 1,
        region_local_msg_count: 2,
        global_msg_count: 3,
        authed: true,
        auth_identity: "ident".into(),
        auth_identity_url: "http://id".into(),
        pub_counts: vec![PublishCount { topic: "t".into(), count: 4 }],
        ..ClientStats::default()
    };
    let full = to_go_json(&client);
    for part in [
        r#""message_count":0,"zone_local_msg_count":1,"region_local_msg_count":2,"global_msg_count":3,"finish_count":0"#,
        r#""user_agent":"","authed":true,"auth_identity":"ident","auth_identity_url":"http://id","topology_zone":"""#,
        r#""topology_region":"","pub_counts":[{"topic":"t","count":4}],"tls":false"#,
    ] {
        assert!(full.contains(part), "{part} in {full}");
    }
    let empty = to_go_json(&ClientStats::default());
    for key in ["_msg_count", "auth", "pub_counts"] {
        assert!(!empty.contains(key), "{key} in {empty}");
    }
}

#[test]
fn an_answer_with_missing_unknown_and_null_keys_is_read() {
    let stats = parse(
        r#"{"version":"9","weather":[1],"topics":[{"topic_name":"t","channels":null,
            "e2e_processing_latency":null},{"channels":[{"channel_name":"c","clients":
            [{"client_id":"x","pub_counts":null,"in_flight_count":-2}]}]}]}"#,
    );
    let topics = stats.topics.unwrap();
    assert_eq!(topics[0], TopicStats { topic_name: "t".into(), ..TopicStats::default() });
    let client = &topics[1].channels[0].clients.as_ref().unwrap()[0];
    assert_eq!((client.client_id.as_str(), client.in_flight_count), ("x", -2));
    assert_eq!((stats.producers, stats.start_time), (None, 0));
}

#[test]
fn a_filter_leaves_what_nsqd_left() {
    let topic = |name: &str| Filter { topic: Some(name.into()), ..Filter::default() };
    let channel = |name: &str| Filter { channel: Some(name.into()), ..Filter::default() };
    let everything = Filter::default();
    for (filter, answer) in [
        (everything.clone(), capture!("everything.json")),
        (topic("alone"), capture!("other_topic.json")),
        (topic("nope"), capture!("unknown_topic.json")),
        (channel("ch"), capture!("one_channel.json")),
        (channel("nope"), capture!("unknown_channel.json")),
        (Filter { include_clients: false, ..everything }, capture!("without_clients.json")),
    ] {
        let mut stats = parse(capture!("everything.json"));
        filter.apply(&mut stats);
        assert_eq!(stats, parse(answer), "{filter:?}");
    }
}

#[test]
fn memory_goes_when_it_is_not_asked_for_and_empty_producers_are_null() {
    let mut stats = parse(LATEST);
    stats.producers = Some(Vec::new());
    Filter::default().apply(&mut stats);
    assert!(stats.memory.is_some());
    assert_eq!(stats.producers, None);
    Filter { include_mem: false, ..Filter::default() }.apply(&mut stats);
    assert!(!to_go_json(&stats).contains("memory"));
}

#[test]
fn with_a_topic_and_a_channel_both_must_fit() {
    let filter =
        Filter { topic: Some("alone".into()), channel: Some("ch".into()), ..Filter::default() };
    let mut stats = parse(capture!("everything.json"));
    filter.apply(&mut stats);
    assert_eq!(stats.topics, Some(Vec::new()));
    assert!(stats.producers.is_some());
}

#[test]
fn the_text_is_that_of_nsqd_to_the_byte() {
    let uptime = |nanoseconds| Duration::new(2, nanoseconds);
    for (body, uptime, text) in [
        (capture!("with_memory.json"), uptime(316_008_902), capture!("with_memory.txt")),
        (capture!("everything.json"), uptime(317_754_739), capture!("everything.txt")),
        (capture!("other_topic.json"), uptime(324_003_329), capture!("other_topic.txt")),
        (capture!("unknown_topic.json"), uptime(320_887_692), capture!("unknown_topic.txt")),
    ] {
        let heading = Heading {
            version_line: "nsqd v1.3.0 (built w/go1.26.8)",
            start_time: "2026-11-22T16:10:11Z",
            uptime,
            now: 1_795_363_813,
        };
        assert_eq!(render(&parse(body), heading), text);
    }
}

#[test]
fn the_text_of_a_client_on_a_unix_socket_has_no_port_and_several_topics_are_joined() {
    let published = |topic: &str, count| PublishCount { topic: topic.into(), count };
    let client = |remote_address: &str| ClientStats {
        hostname: "h".into(),
        version: "V2".into(),
        remote_address: remote_address.into(),
        user_agent: "u".into(),
        pub_counts: vec![published("a", 3), published("b", 4)],
        ..ClientStats::default()
    };
    let producers = ["@", "[::1]:7", "::1", ""].map(client);
    let stats = Stats { producers: Some(producers.to_vec()), ..Stats::default() };
    let heading =
        Heading { version_line: "v", start_time: "s", uptime: Duration::ZERO, now: 3_725 };
    let text = render(&stats, heading);
    let names: Vec<&str> = text.lines().filter(|line| line.starts_with("   [V2")).collect();
    let rest = "] msgs: 7        topics: a=3,b=4 connected: 1h2m5s";
    let line = |name: &str| format!("   [V2 {name:<21}{rest}");
    assert_eq!(names, [line("h: u"), line("h:7 u"), line("h: u"), line("h: u")]);
}

#[test]
fn latencies_are_shown_in_the_unit_they_exceed() {
    let value = |value| Percentile { quantile: 0.5, value };
    let points = [0.0, 1_000.0, 1_000.1, 1_550_000.0, 1e9, 61.25e9].map(value).to_vec();
    let latency = Percentiles { count: 1, percentiles: Some(points) };
    let topic = TopicStats { e2e_processing_latency: latency, ..TopicStats::default() };
    let stats = Stats { topics: Some(vec![topic]), ..Stats::default() };
    let heading = Heading { version_line: "", start_time: "", uptime: Duration::ZERO, now: 0 };
    let text = render(&stats, heading);
    assert!(text.contains("e2e%: 0.0ns, 1000.0ns, 1.0us, 1.6ms, 1000.0ms, 61.2s\n"), "{text}");
}

#[test]
fn durations_are_spelled_as_go_spells_them() {
    for (nanoseconds, text) in [
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (1_000, "1µs"),
        (1_500, "1.5µs"),
        (512_345_000, "512.345ms"),
        (1_000_000_000, "1s"),
        (1_205_244_366, "1.205244366s"),
        (60_000_000_000, "1m0s"),
        (61_500_000_000, "1m1.5s"),
        (3_600_000_000_000, "1h0m0s"),
        (90_061_000_000_001, "25h1m1.000000001s"),
    ] {
        assert_eq!(duration(Duration::from_nanos(nanoseconds)), text);
    }
}

#[test]
fn parts_of_one_broker_make_the_whole_it_would_have_told_alone() {
    let whole = parse(capture!("everything.json"));
    let mut counters = parse(capture!("everything.json"));
    let mut clients = Stats { topics: Some(Vec::new()), ..Stats::default() };
    // One core counts, another serves the consumer, a third the producer and the topic `alone`.
    let third = Stats {
        topics: Some(vec![counters.topics.as_mut().unwrap().remove(0)]),
        producers: counters.producers.take(),
        ..Stats::default()
    };
    let counted = &mut counters.topics.as_mut().unwrap()[0];
    let consumer = ChannelStats {
        channel_name: "ch".into(),
        client_count: std::mem::take(&mut counted.channels[0].client_count),
        clients: counted.channels[0].clients.take(),
        ..ChannelStats::default()
    };
    clients.topics.as_mut().unwrap().push(TopicStats {
        topic_name: "top".into(),
        channels: vec![consumer],
        ..TopicStats::default()
    });
    counted.channels.reverse();
    assert_eq!(merge([counters, clients, third]), whole);
}

#[test]
fn a_cluster_is_the_sum_of_its_brokers() {
    let mut ill = parse(LATEST);
    ill.health = "NOK - disk full".into();
    let point = |value| Percentile { quantile: 0.5, value };
    let latency = |value| Percentiles { count: 2, percentiles: Some(vec![point(value)]) };
    let mut well = parse(LATEST);
    ill.topics.as_mut().unwrap()[0].e2e_processing_latency = latency(7.0);
    well.topics.as_mut().unwrap()[0].e2e_processing_latency = latency(9.0);
    ill.topics.as_mut().unwrap()[0].channels[0].paused = true;
    let sum = merge([well, ill, parse(capture!("empty.json"))]);
    let topic = &sum.topics.as_ref().unwrap()[0];
    let channel = &topic.channels[0];
    assert_eq!(sum.health, "NOK - disk full");
    assert_eq!((topic.message_count, topic.message_bytes), (20, 40));
    assert_eq!((channel.depth, channel.in_flight_count, channel.global_msg_count), (16, 4, 4));
    assert_eq!((channel.client_count, channel.clients.as_ref().unwrap().len()), (2, 2));
    assert!(channel.paused && !topic.paused);
    let whole = Percentiles { count: 4, percentiles: Some(vec![point(9.0)]) };
    assert_eq!(topic.e2e_processing_latency, whole);
    assert_eq!(sum.producers.unwrap().len(), 2);
}

#[test]
fn nothing_at_all_is_a_body_without_topics() {
    let nothing = merge([]);
    assert_eq!((nothing.topics, nothing.producers), (Some(Vec::new()), None));
}
