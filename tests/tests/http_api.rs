//! The broker's HTTP side: routes, statuses, headers and bodies. All of it is NSQ behaviour that
//! scripts, dashboards and health checks rely on.

use tests::broker::Broker;
use tests::client::{Client, Message, counted, sized};
use tests::http::{self, Answer};
use tests::programs::{Maker, under_test};

/// A request and what must come back: method, target, body, status, body of the answer.
type Exchange<'a> = (&'a str, &'a str, &'a [u8], u16, &'a str);

fn check(broker: &Broker, exchanges: &[Exchange<'_>]) {
    for &(method, target, body, status, expected) in exchanges {
        let answer = http::request(broker.http, method, target, body);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, expected),
            "{method} {target}"
        );
    }
}

fn bodies(broker: &Broker, topic: &str, count: usize) -> Vec<String> {
    let mut client = broker.subscribed(topic, "reader");
    client.ready(100);
    let mut texts: Vec<_> = client.messages(count).iter().map(Message::text).collect();
    texts.sort();
    client.silence(std::time::Duration::from_millis(300));
    texts
}

const NSQ_CONTENT_TYPE: Option<&str> = Some("nsq; version=1.0");

#[test]
fn ping_says_ok_in_plain_text() {
    let broker = Broker::start();
    let answer = broker.get("/ping");
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("X-Nsq-Content-Type"), None);
}

#[test]
fn answers_carry_nsqs_headers() {
    let broker = Broker::start();
    let published = broker.post("/pub?topic=t", b"m");
    assert_eq!(published.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(published.header("X-Nsq-Content-Type"), NSQ_CONTENT_TYPE);
    let info = broker.get("/info");
    assert_eq!(info.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(info.header("X-Nsq-Content-Type"), NSQ_CONTENT_TYPE);
    assert!(info.header("Date").is_some());
    let created = broker.post("/topic/create?topic=t", b"");
    assert_eq!(created.header("Content-Type"), None);
    assert_eq!(created.header("Content-Length"), Some("0"));
    let missing = broker.get("/nothing");
    assert_eq!(missing.header("X-Nsq-Content-Type"), NSQ_CONTENT_TYPE);
    assert_eq!(missing.header("Content-Type"), Some("application/json; charset=utf-8"));
}

#[test]
fn a_long_answer_says_its_length_and_comes_in_chunks_in_nsq() {
    let broker = Broker::start();
    for number in 0..10 {
        broker.order(&format!("/topic/create?topic={number:050}"));
    }
    let answer = broker.get("/stats?format=json");
    assert!(2_048 < answer.body.len(), "{}", answer.text());
    let (length, encoding) = match under_test() {
        Maker::Ours => (Some(answer.body.len().to_string()), None),
        Maker::Real => (None, Some("chunked")),
    };
    assert_eq!(answer.header("Content-Length"), length.as_deref());
    assert_eq!(answer.header("Transfer-Encoding"), encoding);
}

#[test]
fn info_names_version_and_real_ports() {
    let broker = Broker::start();
    let info = broker.get("/info").json();
    assert_eq!(info["version"], "1.3.0");
    assert_eq!(info["broadcast_address"], "127.0.0.1");
    assert_eq!(info["tcp_port"], broker.tcp.port());
    assert_eq!(info["http_port"], broker.http.port());
    assert!(info["start_time"].is_u64());
    assert!(info["hostname"].is_string());
}

#[test]
fn publishing_one_message() {
    let broker = Broker::with(&["--max-msg-size=100"]);
    check(
        &broker,
        &[
            ("POST", "/pub?topic=t", b"m 1", 200, "OK"),
            ("POST", "/pub?topic=t&defer=0", b"m 2", 200, "OK"),
            ("POST", "/pub?topic=t", b"line\nline", 200, "OK"),
            ("POST", "/pub?topic=t", b"", 400, r#"{"message":"MSG_EMPTY"}"#),
            ("POST", "/pub?topic=t", &[b'x'; 101], 413, r#"{"message":"MSG_TOO_BIG"}"#),
            ("POST", "/pub", b"m", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
            ("POST", "/pub?topic=x*", b"m", 400, r#"{"message":"INVALID_TOPIC"}"#),
            ("POST", "/pub?topic=", b"m", 400, r#"{"message":"INVALID_TOPIC"}"#),
            ("POST", "/pub?topic=%zz", b"m", 400, r#"{"message":"INVALID_REQUEST"}"#),
            ("POST", "/pub?topic=t&defer=x", b"m", 400, r#"{"message":"INVALID_DEFER"}"#),
            ("POST", "/pub?topic=t&defer=-1", b"m", 400, r#"{"message":"INVALID_DEFER"}"#),
            ("POST", "/pub?topic=t&defer=3600001", b"m", 400, r#"{"message":"INVALID_DEFER"}"#),
            ("GET", "/pub?topic=t", b"", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
            ("POST", "/put?topic=t", b"m", 404, r#"{"message":"NOT_FOUND"}"#),
        ],
    );
    assert_eq!(bodies(&broker, "t", 3), ["line\nline", "m 1", "m 2"]);
}

#[test]
fn a_deferred_publish_waits_in_the_channel() {
    let broker = Broker::start();
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let asked = std::time::Instant::now();
    assert_eq!(broker.post("/pub?topic=t&defer=5000", b"later").text(), "OK");
    broker.count_becomes("t", "c", "deferred_count", 1);
    assert_eq!(client.message().text(), "later");
    assert!(std::time::Duration::from_secs(5) <= asked.elapsed());
}

#[test]
fn publishing_lines_skips_empty_ones_and_keeps_carriage_returns() {
    let broker = Broker::with(&["--max-msg-size=10", "--max-body-size=50"]);
    check(
        &broker,
        &[
            ("POST", "/mpub?topic=t", b"a\n\nb\r\nc", 200, "OK"),
            ("POST", "/mpub?topic=t&binary=false", b"d\n", 200, "OK"),
            ("POST", "/mpub?topic=t&binary=0", b"e\n", 200, "OK"),
            ("POST", "/mpub?topic=t", b"", 200, "OK"),
            ("POST", "/mpub?topic=t", b"\n\n", 200, "OK"),
            ("POST", "/mpub?topic=t", b"no\n12345678901\n", 413, r#"{"message":"MSG_TOO_BIG"}"#),
            ("POST", "/mpub?topic=t", &[b'\n'; 51], 413, r#"{"message":"BODY_TOO_BIG"}"#),
            ("POST", "/mpub", b"a", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
            ("POST", "/mpub?topic=x*", b"a", 400, r#"{"message":"INVALID_TOPIC"}"#),
            ("GET", "/mpub?topic=t", b"", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
        ],
    );
    assert_eq!(bodies(&broker, "t", 5), ["a", "b\r", "c", "d", "e"]);
}

#[test]
fn publishing_binary_batches() {
    let broker = Broker::start();
    let two = counted(&["x\ny", "z"]);
    let zero = 0_u32.to_be_bytes();
    let empty = [&1_u32.to_be_bytes()[..], &sized(b"")].concat();
    let cut = &two[..two.len() - 1];
    check(
        &broker,
        &[
            ("POST", "/mpub?topic=t&binary=true", &two, 200, "OK"),
            ("POST", "/mpub?topic=t&binary=1", &counted(&["one"]), 200, "OK"),
            ("POST", "/mpub?topic=t&binary=", &counted(&["bare"]), 200, "OK"),
            ("POST", "/mpub?topic=t&binary=yes", &counted(&["word"]), 200, "OK"),
            ("POST", "/mpub?topic=t&binary=true", &zero, 413, r#"{"message":"BAD_BODY"}"#),
            ("POST", "/mpub?topic=t&binary=true", b"", 413, r#"{"message":"BAD_BODY"}"#),
            ("POST", "/mpub?topic=t&binary=true", &empty, 413, r#"{"message":"BAD_MESSAGE"}"#),
            ("POST", "/mpub?topic=t&binary=true", cut, 413, r#"{"message":"BAD_MESSAGE"}"#),
        ],
    );
    assert_eq!(bodies(&broker, "t", 5), ["bare", "one", "word", "x\ny", "z"]);
}

#[test]
fn a_binary_batch_in_chunks_is_bounded_and_is_not_in_nsq() {
    let broker = Broker::with(&["--max-msg-size=40", "--max-body-size=50"]);
    let send = |target: &str, body: &[u8]| {
        let mut request = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for chunk in body.chunks(20) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let answer = http::answer(&http::exchange(broker.http, &request));
        (answer.status, answer.text())
    };
    let ok = (200, "OK".to_owned());
    let too_big = (413, r#"{"message":"BODY_TOO_BIG"}"#.to_owned());
    let fits = counted(&["0123456789", "0123456789", "0123456789"]);
    let beyond = counted(&["0123456789", "0123456789", "0123456789", "0"]);
    assert_eq!((fits.len(), beyond.len()), (46, 51));
    assert_eq!(send("/mpub?topic=t&binary=true", &fits), ok);
    assert_eq!(send("/mpub?topic=t", &[b'\n'; 51]), too_big, "lines are bounded by both");
    let expected = match under_test() {
        Maker::Ours => too_big,
        Maker::Real => ok,
    };
    assert_eq!(send("/mpub?topic=t&binary=true", &beyond), expected);
}

#[test]
fn topics_are_made_emptied_paused_and_deleted() {
    let broker = Broker::start();
    let missing = r#"{"message":"MISSING_ARG_TOPIC"}"#;
    let unknown = r#"{"message":"TOPIC_NOT_FOUND"}"#;
    let invalid = r#"{"message":"INVALID_TOPIC"}"#;
    check(
        &broker,
        &[
            ("POST", "/topic/create?topic=t", b"", 200, ""),
            ("POST", "/topic/create?topic=t", b"", 200, ""),
            ("POST", "/topic/create", b"", 400, missing),
            ("POST", "/topic/create?topic=x*", b"", 400, invalid),
            ("POST", "/topic/empty?topic=t", b"", 200, ""),
            ("POST", "/topic/empty", b"", 400, missing),
            ("POST", "/topic/empty?topic=x*", b"", 400, invalid),
            ("POST", "/topic/empty?topic=none", b"", 404, unknown),
            ("POST", "/topic/pause?topic=t", b"", 200, ""),
            ("POST", "/topic/unpause?topic=t", b"", 200, ""),
            ("POST", "/topic/pause", b"", 400, missing),
            ("POST", "/topic/unpause", b"", 400, missing),
            ("POST", "/topic/pause?topic=none", b"", 404, unknown),
            ("POST", "/topic/unpause?topic=none", b"", 404, unknown),
            ("POST", "/topic/delete?topic=t", b"", 200, ""),
            ("POST", "/topic/delete?topic=t", b"", 404, unknown),
            ("POST", "/topic/delete", b"", 400, missing),
            ("POST", "/topic/delete?topic=x*", b"", 404, unknown),
        ],
    );
}

#[test]
fn channels_are_made_emptied_paused_and_deleted() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    check(
        &broker,
        &[
            ("POST", "/channel/create?topic=t&channel=c", b"", 200, ""),
            ("POST", "/channel/create?topic=t&channel=c", b"", 200, ""),
        ],
    );
    for verb in ["create", "delete", "empty", "pause", "unpause"] {
        let with = |rest: &str| format!("/channel/{verb}{rest}");
        check(
            &broker,
            &[
                ("POST", &with("?channel=c"), b"", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
                (
                    "POST",
                    &with("?topic=x*&channel=c"),
                    b"",
                    400,
                    r#"{"message":"INVALID_ARG_TOPIC"}"#,
                ),
                ("POST", &with("?topic=t"), b"", 400, r#"{"message":"MISSING_ARG_CHANNEL"}"#),
                (
                    "POST",
                    &with("?topic=t&channel=x*"),
                    b"",
                    400,
                    r#"{"message":"INVALID_ARG_CHANNEL"}"#,
                ),
                (
                    "POST",
                    &with("?topic=none&channel=c"),
                    b"",
                    404,
                    r#"{"message":"TOPIC_NOT_FOUND"}"#,
                ),
                (
                    "GET",
                    &with("?topic=t&channel=c"),
                    b"",
                    405,
                    r#"{"message":"METHOD_NOT_ALLOWED"}"#,
                ),
            ],
        );
        if verb != "create" {
            let target = with("?topic=t&channel=none");
            check(&broker, &[("POST", &target, b"", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#)]);
        }
    }
    assert!(broker.topic("none").is_none());
    check(
        &broker,
        &[
            ("POST", "/channel/pause?topic=t&channel=c", b"", 200, ""),
            ("POST", "/channel/unpause?topic=t&channel=c", b"", 200, ""),
            ("POST", "/channel/empty?topic=t&channel=c", b"", 200, ""),
            ("POST", "/channel/delete?topic=t&channel=c", b"", 200, ""),
        ],
    );
    assert!(broker.channel("t", "c").is_none());
}

#[test]
fn unknown_paths_and_wrong_methods_are_refused() {
    let broker = Broker::start();
    for target in ["/nothing", "/", "/create_topic?topic=t", "/mput?topic=t", "/config/"] {
        let answer = broker.get(target);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, r#"{"message":"NOT_FOUND"}"#),
            "{target}"
        );
    }
    let answer = broker.post("/ping", b"");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("Allow"), Some("GET, OPTIONS"));
    assert_eq!(http::request(broker.http, "DELETE", "/pub", b"").status, 405);
    let options = http::request(broker.http, "OPTIONS", "/pub", b"");
    assert_eq!((options.status, options.header("Allow")), (200, Some("OPTIONS, POST")));
    assert_eq!(options.body, b"");
}

#[test]
fn other_spellings_of_a_path_redirect() {
    let broker = Broker::start();
    let answer = broker.get("/ping/");
    assert_eq!((answer.status, answer.header("Location")), (301, Some("/ping")));
    let answer = broker.get("/STATS?format=json");
    assert_eq!((answer.status, answer.header("Location")), (301, Some("/stats?format=json")));
    let answer = broker.post("/pub/?topic=t", b"m");
    assert_eq!((answer.status, answer.header("Location")), (307, Some("/pub?topic=t")));
}

#[test]
fn settings_can_be_read_and_two_of_them_changed() {
    let broker = Broker::start();
    check(
        &broker,
        &[
            ("GET", "/config/log_level", b"", 200, "2"),
            ("GET", "/config/nsqlookupd_tcp_addresses", b"", 200, "[]"),
            ("GET", "/config/mem_queue_size", b"", 200, "10000"),
            ("GET", "/config/msg_timeout", b"", 200, "60000000000"),
            ("GET", "/config/nothing", b"", 400, r#"{"message":"INVALID_OPTION"}"#),
            ("PUT", "/config/log_level", b"debug", 200, "1"),
            ("GET", "/config/log_level", b"", 200, "1"),
            ("PUT", "/config/log_level", b"loud", 400, r#"{"message":"INVALID_VALUE"}"#),
            ("PUT", "/config/log_level", b"", 413, r#"{"message":"INVALID_VALUE"}"#),
            ("PUT", "/config/mem_queue_size", b"1", 400, r#"{"message":"INVALID_OPTION"}"#),
        ],
    );
}

/// The keys of an object, in the order of the text.
fn keys(value: &serde_json::Value) -> Vec<&str> {
    // NSQ says these since its release of 1.3.0; elsewhere the order is the same.
    let later = ["global_msg_count", "region_local_msg_count", "zone_local_msg_count"];
    let topology = ["topology_zone", "topology_region"];
    let object = value.as_object().expect("an object");
    object
        .keys()
        .map(String::as_str)
        .filter(|key| !later.contains(key) && !topology.contains(key))
        .collect()
}

#[test]
fn stats_have_nsqs_keys_in_nsqs_order() {
    let broker = Broker::start();
    let fresh = broker.get("/stats?format=json").text();
    assert!(fresh.starts_with(r#"{"version":"1.3.0","health":"OK","start_time":"#), "{fresh}");
    assert!(fresh.contains(r#","topics":[],"memory":{"heap_objects":"#), "{fresh}");
    assert!(fresh.ends_with(r#""producers":null}"#), "{fresh}");

    let mut producer = broker.client();
    producer.identify(r#"{"client_id":"prod","hostname":"ph","user_agent":"prodlib/1"}"#);
    producer.publish_many("top", &["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
    let mut consumer = broker.client();
    consumer.identify(r#"{"client_id":"cons","hostname":"chost","user_agent":"conslib/2"}"#);
    consumer.subscribe("top", "ch");
    consumer.ready(2);
    consumer.messages(2);
    broker.count_becomes("top", "ch", "in_flight_count", 2);

    let stats = broker.get("/stats?format=json").json();
    assert_eq!(keys(&stats), ["version", "health", "start_time", "topics", "memory", "producers"]);
    let topic = &stats["topics"][0];
    let mut topic_keys = vec![
        "topic_name",
        "channels",
        "depth",
        "backend_depth",
        "message_count",
        "message_bytes",
        "paused",
        "e2e_processing_latency",
    ];
    if under_test() == Maker::Ours {
        topic_keys.push("log");
    }
    assert_eq!(keys(topic), topic_keys);
    let channel = &topic["channels"][0];
    let mut channel_keys = vec![
        "channel_name",
        "depth",
        "backend_depth",
        "in_flight_count",
        "deferred_count",
        "message_count",
        "requeue_count",
        "timeout_count",
        "client_count",
        "clients",
        "paused",
        "e2e_processing_latency",
    ];
    if under_test() == Maker::Ours {
        channel_keys.push("log_bytes");
    }
    assert_eq!(keys(channel), channel_keys);
    let client_keys = [
        "client_id",
        "hostname",
        "version",
        "remote_address",
        "state",
        "ready_count",
        "in_flight_count",
        "message_count",
        "finish_count",
        "requeue_count",
        "connect_ts",
        "sample_rate",
        "deflate",
        "snappy",
        "user_agent",
        "tls",
        "tls_cipher_suite",
        "tls_version",
        "tls_negotiated_protocol",
        "tls_negotiated_protocol_is_mutual",
    ];
    let client = &channel["clients"][0];
    assert_eq!(keys(client), client_keys);
    let memory_keys = [
        "heap_objects",
        "heap_idle_bytes",
        "heap_in_use_bytes",
        "heap_released_bytes",
        "gc_pause_usec_100",
        "gc_pause_usec_99",
        "gc_pause_usec_95",
        "next_gc_bytes",
        "gc_total_runs",
    ];
    assert_eq!(keys(&stats["memory"]), memory_keys);

    assert_eq!((&topic["message_count"], &topic["message_bytes"]), (&10.into(), &20.into()));
    assert_eq!((&channel["depth"], &channel["in_flight_count"]), (&8.into(), &2.into()));
    let shown = ["client_id", "hostname", "version", "user_agent"].map(|key| client[key].clone());
    assert_eq!(shown, ["cons", "chost", "V2", "conslib/2"]);
    let counts = ["state", "ready_count", "in_flight_count", "message_count", "finish_count"];
    assert_eq!(counts.map(|key| client[key].clone()), [3, 2, 2, 2, 0]);
    let producer = &stats["producers"][0];
    assert_eq!(producer["client_id"], "prod");
    assert_eq!(producer["pub_counts"].to_string(), r#"[{"topic":"top","count":10}]"#);
}

#[test]
fn stats_show_all_topics_that_a_producer_publishes_to_and_one_of_them_in_nsq() {
    let broker = Broker::start();
    let mut producer = broker.client();
    producer.publish("a", b"1");
    producer.publish_many("b", &["1", "2"]);
    let counts = |target: &str| {
        let stats = broker.get(target).json();
        stats["producers"][0]["pub_counts"].to_string()
    };
    let (a, b) = (r#"{"topic":"a","count":1}"#, r#"{"topic":"b","count":2}"#);
    assert_eq!(counts("/stats?format=json&topic=b"), format!("[{b}]"));
    let all = counts("/stats?format=json");
    match under_test() {
        Maker::Ours => assert_eq!(all, format!("[{a},{b}]")),
        Maker::Real => assert!([format!("[{a}]"), format!("[{b}]")].contains(&all), "{all}"),
    }
}

#[test]
fn stats_can_be_narrowed() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=a");
    broker.order("/topic/create?topic=b");
    broker.order("/channel/create?topic=b&channel=c");
    let _client = broker.subscribed("b", "c");
    let names = |answer: &Answer| {
        let list = answer.json()["topics"].clone();
        let list = list.as_array().expect("a list").clone();
        list.iter()
            .map(|topic| topic["topic_name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&broker.get("/stats?format=json")), ["a", "b"]);
    assert_eq!(names(&broker.get("/stats?format=json&topic=b")), ["b"]);
    assert_eq!(names(&broker.get("/stats?format=json&channel=c")), ["b"]);
    assert!(broker.get("/stats?format=json&topic=none").json()["topics"].is_null());
    assert_eq!(
        broker.get("/stats?format=json&topic=a&channel=c").json()["topics"].to_string(),
        "[]"
    );
    let lean = broker.get("/stats?format=json&include_clients=false&include_mem=false").json();
    assert!(lean.get("memory").is_none());
    let channel = &lean["topics"][1]["channels"][0];
    assert!(channel["clients"].is_null() && lean["producers"].is_null());
    assert_eq!(channel["client_count"], 1);
}

#[test]
fn stats_as_text_have_nsqs_lines() {
    let broker = Broker::start();
    assert!(broker.get("/stats").text().contains("\nTopics: None\n"));
    broker.client().publish_many("top", &["0", "1", "2"]);
    let mut client = broker.subscribed("top", "ch");
    client.ready(1);
    client.message();
    broker.count_becomes("top", "ch", "in_flight_count", 1);
    broker.order("/channel/pause?topic=top&channel=ch");
    let text = broker.get("/stats").text();
    assert!(text.starts_with("nsqd v1.3.0 (built w/"), "{text}");
    let topic = "\n   [top            ] depth: 0     be-depth: 0     msgs: 3        e2e%: ";
    assert!(text.contains(topic), "{text}");
    let channel = concat!(
        "\n   *P [ch                       ] depth: 2     be-depth: 0     inflt: 1    def: 0    ",
        "re-q: 0     timeout: 0     msgs: 3        e2e%: "
    );
    assert!(text.contains(channel), "{text}");
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let broker = Broker::start();
    let request = |close: &str| {
        format!("POST /pub?topic=t HTTP/1.1\r\nHost: x\r\n{close}Content-Length: 1\r\n\r\nm")
    };
    let both = [request(""), request("Connection: close\r\n")].concat();
    let bytes = http::exchange(broker.http, both.as_bytes());
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{text}");
    assert_eq!(broker.topic_count("t", "message_count"), 2);
}

#[test]
fn chunked_bodies_are_put_together() {
    let broker = Broker::start();
    let head = "POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let body = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = http::answer(&http::exchange(broker.http, format!("{head}{body}").as_bytes()));
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
    assert_eq!(bodies(&broker, "t", 1), ["abcde"]);
}

#[test]
fn a_body_announced_too_large_is_refused_before_it_is_sent() {
    let broker = Broker::start();
    let head = "POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n";
    let answer = http::answer(&http::exchange(broker.http, head.as_bytes()));
    assert_eq!(answer.status, 413);
    assert_eq!(answer.text(), r#"{"message":"MSG_TOO_BIG"}"#);
    assert_eq!(answer.header("Connection"), Some("close"));
}

#[test]
fn what_is_no_http_is_refused_in_plain_text() {
    let broker = Broker::start();
    let refused = concat!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n",
        "Connection: close\r\n\r\n400 Bad Request"
    );
    for sent in [&b"  V2IDENTIFY\n\0\0\0\x02{}"[..], b"garbage\r\n\r\n", b"\0\x01\x02\r\n\r\n"] {
        let mut bytes = sent.to_vec();
        bytes.extend_from_slice(b"\r\n\r\n");
        let answer = http::exchange(broker.http, &bytes);
        assert_eq!(String::from_utf8_lossy(&answer), refused);
    }
    assert_eq!(broker.get("/ping").status, 200);
}

#[test]
fn publishing_over_http_reaches_consumers_over_tcp() {
    let broker = Broker::start();
    let mut client = Client::subscribed(broker.tcp, "t", "c");
    client.ready(1);
    assert_eq!(broker.post("/pub?topic=t", b"over http").status, 200);
    let message = client.message();
    assert_eq!((message.text().as_str(), message.attempts), ("over http", 1));
}
