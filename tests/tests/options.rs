//! `/config` and `/debug`: what operators and scripts ask a running broker, beside the real one.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tests::broker::Broker;
use tests::http::{Answer, request};
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, only_ours, real, under_test};

/// The broker under test, and beside it the real one.
fn pair(flags: &[&str]) -> Option<[Broker; 2]> {
    real("nsqd")?;
    Some([Broker::of(under_test(), flags), Broker::of(Maker::Real, flags)])
}

/// What scripts see of an answer.
fn seen(answer: &Answer) -> (u16, Option<String>, Option<String>, String) {
    let header = |name| answer.header(name).map(str::to_owned);
    (answer.status, header("Content-Type"), header("X-Nsq-Content-Type"), answer.text())
}

/// Keys of options that every nsqd has and whose values do not depend on the ports and the folder.
const KEYS: [&str; 53] = [
    "id",
    "log_level",
    "log_prefix",
    "tcp_address",
    "http_address",
    "https_address",
    "auth_http_addresses",
    "broadcast_address",
    "nsqlookupd_tcp_addresses",
    "http_client_connect_timeout",
    "http_client_request_timeout",
    "mem_queue_size",
    "max_bytes_per_file",
    "sync_every",
    "sync_timeout",
    "queue_scan_worker_pool_max",
    "queue_scan_selection_count",
    "msg_timeout",
    "max_msg_timeout",
    "max_msg_size",
    "max_req_timeout",
    "max_body_size",
    "max_heartbeat_interval",
    "max_rdy_count",
    "max_output_buffer_size",
    "max_output_buffer_timeout",
    "min_output_buffer_timeout",
    "output_buffer_timeout",
    "max_channel_consumers",
    "statsd_address",
    "statsd_interval",
    "statsd_mem_stats",
    "statsd_udp_packet_size",
    "statsd_exclude_ephemeral",
    "e2e_processing_latency_percentiles",
    "e2e_processing_latency_window_time",
    "tls_cert",
    "tls_key",
    "tls_client_auth_policy",
    "tls_root_ca_file",
    "tls_required",
    "tls_min_version",
    "deflate",
    "max_deflate_level",
    "snappy",
    // None of these is an option with a key.
    "node_id",
    "lookupd_tcp_address",
    "e2e_processing_latency_percentile",
    "version",
    "config",
    "verbose",
    "worker_id",
    "queue_scan_interval",
];

#[test]
fn every_option_is_shown_as_by_the_real_nsqd() {
    let flags = ["--e2e-processing-latency-percentile=0.5,1.0", "--msg-timeout=1500ms"];
    let Some([tried, real]) = pair(&flags) else { return };
    for key in KEYS {
        let target = format!("/config/{key}");
        assert_eq!(seen(&tried.get(&target)), seen(&real.get(&target)), "{key}");
    }
}

#[test]
fn ports_and_prefixes_are_shown_as_they_became() {
    let broker = Broker::with(&["--statsd-prefix=a.%s.b"]);
    let shown = |key: &str| broker.get(&format!("/config/{key}")).text();
    assert_eq!(shown("broadcast_tcp_port"), broker.tcp.port().to_string());
    assert_eq!(shown("broadcast_http_port"), broker.http.port().to_string());
    assert_eq!(shown("statsd_prefix"), format!("a.127_0_0_1_{}.b.", broker.http.port()));
    assert_eq!(shown("data_path"), broker.folder().display().to_string());
    let told = Broker::with(&["--broadcast-tcp-port=5", "--broadcast-http-port=6"]);
    assert_eq!(told.get("/config/broadcast_tcp_port").text(), "5");
    assert_eq!(told.get("/config/broadcast_http_port").text(), "6");
}

#[test]
fn options_are_set_and_refused_as_by_the_real_nsqd() {
    let Some([tried, real]) = pair(&["--max-msg-size=64"]) else { return };
    let large = format!("[\"{}\"]", "x".repeat(64));
    for (key, value) in [
        ("log_level", "WARN"),
        ("log_level", "loud"),
        ("log_level", " info"),
        ("log_level", ""),
        ("nsqlookupd_tcp_addresses", r#"["127.0.0.1:1","127.0.0.1:2"]"#),
        ("nsqlookupd_tcp_addresses", r#"["127.0.0.1:2"]"#),
        ("nsqlookupd_tcp_addresses", "[]"),
        ("nsqlookupd_tcp_addresses", "[1]"),
        ("nsqlookupd_tcp_addresses", "127.0.0.1:1"),
        ("nsqlookupd_tcp_addresses", large.as_str()),
        ("snappy", "false"),
        ("msg_timeout", "1s"),
        ("nothing", "1"),
    ] {
        let target = format!("/config/{key}");
        let put = |broker: &Broker| seen(&request(broker.http, "PUT", &target, value.as_bytes()));
        assert_eq!(put(&tried), put(&real), "{key} {value}");
        assert_eq!(seen(&tried.get(&target)), seen(&real.get(&target)), "{key} after {value}");
    }
}

#[test]
fn a_new_level_of_the_log_holds_at_once() {
    let broker = Broker::start();
    let put = |level: &str| {
        let answer = request(broker.http, "PUT", "/config/log_level", level.as_bytes());
        assert_eq!(answer.status, 200, "{level}");
    };
    put("error");
    broker.order("/topic/create?topic=quiet");
    put("info");
    broker.order("/topic/create?topic=loud");
    eventually(SOON, "the log tells of the topic", || {
        broker.process.log().contains("TOPIC(loud): created").then_some(())
    });
    assert!(!broker.process.log().contains("TOPIC(quiet): created"), "{}", broker.process.log());
}

#[test]
fn a_new_list_of_nsqlookupds_is_connected_to_and_the_old_ones_are_left() {
    let [old, new] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let address = |listener: &TcpListener| listener.local_addr().expect("it listens").to_string();
    let broker = Broker::with(&[&format!("--lookupd-tcp-address={}", address(&old))]);
    let accept = |listener: &TcpListener| {
        listener.set_nonblocking(true).expect("a socket need not block");
        eventually(SOON, "the broker comes", || listener.accept().ok()).0
    };
    let left = accept(&old);
    let list = format!("[\"{}\"]", address(&new));
    let put = request(broker.http, "PUT", "/config/nsqlookupd_tcp_addresses", list.as_bytes());
    assert_eq!((put.status, put.text()), (200, list));
    drop(accept(&new));
    // The connection to the old one ends: after what was on its way comes the end of the stream.
    left.set_nonblocking(false).expect("a socket can block");
    left.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit can be set");
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut &left, &mut rest).expect("the broker closes");
    assert!(rest.starts_with(b"  V1"), "{rest:?}");
}

#[test]
fn pages_of_the_runtime_have_the_statuses_and_headers_of_the_real_nsqd() {
    let Some([tried, real]) = pair(&[]) else { return };
    for (method, target) in [
        ("GET", "/debug/pprof/"),
        ("GET", "/debug/pprof"),
        ("GET", "/debug/pprof/cmdline"),
        ("GET", "/debug/pprof/symbol"),
        ("POST", "/debug/pprof/symbol"),
        ("GET", "/debug/pprof/heap?debug=1"),
        ("GET", "/debug/pprof/goroutine?debug=1"),
        ("GET", "/debug/pprof/block?debug=1"),
        ("GET", "/debug/pprof/threadcreate?debug=1"),
        ("GET", "/debug/pprof/mutex"),
        ("POST", "/debug/pprof/heap"),
        ("GET", "/debug/freememory"),
        ("PUT", "/debug/setblockrate"),
        ("PUT", "/debug/setblockrate?rate=x"),
        ("PUT", "/debug/setblockrate?rate=99999999999999999999"),
    ] {
        let ask = |broker: &Broker| {
            let answer = request(broker.http, method, target, b"");
            let names = ["Content-Type", "X-Content-Type-Options", "Allow", "Location"];
            let headers = names.map(|name| answer.header(name).map(str::to_owned));
            // What is refused, is refused in the same words; the pages have their own.
            let text = (answer.status != 200).then(|| answer.text());
            (answer.status, headers, text)
        };
        assert_eq!(ask(&tried), ask(&real), "{method} {target}");
    }
    let line = tried.get("/debug/pprof/cmdline").text();
    assert!(line.contains("\0--broadcast-address=127.0.0.1\0"), "{line}");
    assert_eq!(tried.get("/debug/pprof/symbol").text(), real.get("/debug/pprof/symbol").text());
}

#[test]
fn ours_says_how_to_profile_it_and_has_nothing_to_collect() {
    if !only_ours("the real nsqd takes a profile of itself, and fails after the other two") {
        return;
    }
    let broker = Broker::start();
    let profile = broker.get("/debug/pprof/profile?seconds=1");
    assert_eq!(profile.status, 501);
    assert!(profile.text().contains(&format!("--pid={}", broker.process.id())));
    for (method, target) in [("POST", "/debug/freememory"), ("PUT", "/debug/setblockrate?rate=1")] {
        let answer = request(broker.http, method, target, b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{target}");
    }
    let heap = broker.get("/debug/pprof/heap?debug=1").text();
    assert!(heap.starts_with("heap profile: ") && heap.contains("VmRSS"), "{heap}");
}

#[test]
fn the_real_nsqd_fails_after_it_has_freed_memory() {
    if real("nsqd").is_none() {
        return;
    }
    let broker = Broker::of(Maker::Real, &[]);
    for (method, target) in [("POST", "/debug/freememory"), ("PUT", "/debug/setblockrate?rate=1")] {
        let answer = request(broker.http, method, target, b"");
        let body: Value = answer.json();
        assert_eq!((answer.status, &body["message"]), (500, &"INTERNAL_ERROR".into()), "{target}");
    }
}
