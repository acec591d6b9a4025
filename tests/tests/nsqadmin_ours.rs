//! What our nsqadmin does otherwise than NSQ's on purpose, beside NSQ's where that shows it, and what
//! it shows live.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tests::broker::Broker;
use tests::client::sized;
use tests::lookup_server::LookupServer;
use tests::nsqadmin::Nsqadmin;
use tests::patience::{SOON, eventually};
use tests::programs::Maker;
use tests::sink::Sink;
use tests::web_server::{Reaction, WebServer};

fn by_lookup(lookup: &LookupServer) -> Vec<String> {
    vec![format!("--lookupd-http-address={}", lookup.http)]
}

fn by_nsqd(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("--nsqd-http-address={address}")).collect()
}

fn ours(flags: &[String]) -> Nsqadmin {
    Nsqadmin::of(Maker::Ours, flags).expect("ours is built")
}

fn registered(lookup: &LookupServer, topic: &str, count: usize) {
    eventually(SOON, "the nsqds are registered", || {
        let found = lookup.get(&format!("/lookup?topic={topic}")).json();
        (found["producers"].as_array()?.len() == count).then_some(())
    });
}

/// The entry of a list whose `key` is `value`.
fn entry<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry[key] == value));
    found.unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

#[test]
fn a_channel_that_is_not_there_is_not_found_and_an_empty_answer_in_nsq() {
    let lookup = LookupServer::of(Maker::Ours);
    let broker = Broker::of(Maker::Ours, &[&lookup.flag()]);
    broker.order("/topic/create?topic=t");
    registered(&lookup, "t", 1);
    let Some([real, ours]) = Nsqadmin::both(&by_lookup(&lookup)) else { return };
    let answers = [real, ours].map(|admin| {
        let answer = admin.ask("GET", "/api/topics/t/none", "", "");
        (answer.status, answer.json())
    });
    assert_eq!(answers[0], (200, json!({"message": ""})));
    assert_eq!(answers[1], (404, json!({"message": "CHANNEL_NOT_FOUND"})));
}

#[test]
fn each_nsqd_keeps_its_own_numbers_and_the_first_shows_the_sum_in_nsq() {
    let lookup = LookupServer::of(Maker::Ours);
    let brokers = [1, 2].map(|_| Broker::of(Maker::Ours, &[&lookup.flag()]));
    for (broker, bodies) in brokers.iter().zip([&["a"][..], &["b", "c"]]) {
        broker.client().publish_many("t", bodies);
        broker.order("/channel/create?topic=t&channel=c");
        broker.count_becomes("t", "c", "depth", i64::try_from(bodies.len()).expect("a few"));
    }
    registered(&lookup, "t", 2);
    let Some(admins) = Nsqadmin::both(&by_lookup(&lookup)) else { return };
    let shown = admins.map(|admin| {
        let topic = admin.get("/api/topics/t");
        let depth = |node: &Value| node["channels"][0]["depth"].as_i64().expect("a number");
        let nodes = topic["nodes"].as_array().expect("a list");
        let mut own: Vec<i64> = nodes.iter().map(depth).collect();
        own.sort_unstable();
        let channel = &topic["channels"][0];
        assert_eq!((&channel["depth"], &channel["node"]), (&json!(3), &json!("*")));
        (own, channel["nodes"].as_array().expect("a list").len())
    });
    assert!(shown[0].0.contains(&3) && shown[0].1 == 1, "{:?}", shown[0]);
    assert_eq!(shown[1], (vec![1, 2], 2));
}

#[test]
fn whoever_wants_to_know_is_told_of_all_orders_before_it_ends() {
    let lookup = LookupServer::of(Maker::Ours);
    let endpoint = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = endpoint.local_addr().expect("it has an address");
    let flags = [
        format!("--notification-http-endpoint=http://{address}/told"),
        // Longer than the test waits for anything.
        "--http-client-request-timeout=1m".to_owned(),
    ];
    let mut admin = ours(&[&by_lookup(&lookup)[..], &flags].concat());
    let told = |topic: &str| {
        let (mut stream, _) = endpoint.accept().expect("it is told");
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains(&format!(r#""topic":"{topic}""#)) {
            let mut piece = [0; 4096];
            let bytes = stream.read(&mut piece).expect("it goes on");
            assert!(0 < bytes, "{}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&piece[..bytes]);
        }
        stream
    };
    for topic in ["first", "second"] {
        let body = json!({"topic": topic}).to_string();
        assert_eq!(admin.ask("POST", "/api/topics", "", &body).status, 200);
    }
    let mut stream = told("first");
    admin.process.signal(rustix::process::Signal::TERM);
    admin.process.logged("HTTP: closing ");
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).expect("it reads");
    drop(stream);
    told("second").write_all(answer).expect("it reads");
    assert_eq!(admin.process.ended_within(SOON).code(), Some(0));
}

#[test]
fn an_endpoint_that_nobody_serves_is_only_logged_and_ends_nsqs_process() {
    let lookup = LookupServer::of(Maker::Ours);
    let endpoint = "--notification-http-endpoint=http://127.0.0.1:1/".to_owned();
    let flags = [&by_lookup(&lookup)[..], &[endpoint]].concat();
    let Some([mut real, mut ours]) = Nsqadmin::both(&flags) else { return };
    for admin in [&real, &ours] {
        let answer = admin.ask("POST", "/api/topics", "", r#"{"topic":"t"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(real.process.ended_within(SOON).code(), Some(2));
    ours.process.logged("ERROR: failed to POST notification - ");
    assert_eq!(ours.get("/api/topics")["topics"], json!(["t"]));
}

#[test]
fn a_directory_that_does_not_answer_is_not_asked_again_for_each_inactive_topic() {
    let lookup = LookupServer::of(Maker::Ours);
    for topic in 0..20 {
        assert_eq!(
            lookup.post(&format!("/channel/create?topic=t{topic:02}&channel=c")).status,
            200
        );
    }
    let silent = WebServer::start(|_, _| Reaction::SaysAndCloses(String::new()));
    let flag = format!("--lookupd-http-address={}", silent.address);
    let admin = ours(&[&by_lookup(&lookup)[..], &[flag]].concat());
    let shown = admin.get("/api/topics?inactive=true");
    assert_eq!(shown["topics"].as_object().map(serde_json::Map::len), Some(20));
    assert_eq!(shown["topics"]["t07"], json!(["c"]));
    let message = shown["message"].as_str().expect("a text");
    assert!(message.contains(&silent.address.to_string()), "{message}");
    let asked = silent.requests();
    let asked: Vec<_> = asked.iter().map(|request| request.target().to_owned()).collect();
    assert!(!asked.iter().any(|target| target.starts_with("/channels")), "{asked:?}");
}

#[test]
fn topics_and_channels_are_made_at_nsqds_where_there_is_no_nsqlookupd() {
    let brokers = [Maker::Ours, Maker::Ours].map(|maker| Broker::of(maker, &[]));
    let admin = ours(&by_nsqd(&[brokers[0].http, brokers[1].http]));
    for body in [r#"{"topic":"t"}"#, r#"{"topic":"u","channel":"c"}"#] {
        let answer = admin.ask("POST", "/api/topics", "", body);
        assert_eq!((answer.status, answer.json()), (200, json!({"message": ""})));
    }
    for broker in &brokers {
        assert!(broker.topic("t").is_some() && broker.channel("u", "c").is_some());
    }
}

#[test]
fn orders_from_a_page_of_another_site_are_refused_and_those_of_scripts_are_not() {
    let lookup = LookupServer::of(Maker::Ours);
    let admin = ours(&by_lookup(&lookup));
    for (headers, status) in [
        ("", 200),
        ("Origin: http://nsqadmin.test\r\n", 200),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Origin: http://proxy\r\nX-Requested-With: nsqadmin\r\n", 200),
        ("Origin: http://elsewhere\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://nsqadmin.test\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ] {
        for (method, target, body) in [
            ("POST", "/api/topics", r#"{"topic":"t"}"#),
            ("DELETE", "/api/topics/t", ""),
            ("PUT", "/config/log_level", "info"),
        ] {
            let answer = admin.ask(method, target, headers, body);
            assert_eq!(answer.status, status, "{method} {target} {headers}: {}", answer.text());
        }
        assert_eq!(admin.ask("GET", "/api/topics", headers, "").status, 200, "{headers}");
    }
}

#[test]
fn a_browser_is_told_to_load_nothing_from_elsewhere_and_to_guess_nothing() {
    let lookup = LookupServer::of(Maker::Ours);
    let flags = [&by_lookup(&lookup)[..], &["--graphite-url=http://graphite:8080".to_owned()]];
    let admin = ours(&flags.concat());
    let page = admin.ask("GET", "/topics/t", "", "");
    let policy = page.header("Content-Security-Policy").expect("there is one");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(policy.contains("img-src 'self' data: http://graphite:8080;"), "{policy}");
    for target in ["/", "/api/topics", "/nope", "/ping"] {
        let answer = admin.ask("GET", target, "", "");
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "SAMEORIGIN"),
            ("Referrer-Policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
    }
    // Every file that the page names is there, and known again.
    let text = page.text();
    let named: BTreeSet<&str> =
        text.split('"').filter(|part| part.starts_with("/static/")).collect();
    assert!(!named.is_empty(), "{text}");
    for file in named {
        let answer = admin.ask("GET", file, "", "");
        assert_eq!(answer.status, 200, "{file}");
        let etag = answer.header("Etag").expect("it has a tag");
        let again = admin.ask("GET", file, &format!("If-None-Match: {etag}\r\n"), "");
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
    }
}

#[test]
fn rates_and_histories_are_shown_without_a_graphite() {
    for maker in [Maker::Real, Maker::Ours] {
        let lookup = LookupServer::of(maker);
        let broker = Broker::of(maker, &[&lookup.flag()]);
        broker.client().publish_many("t", &["a", "b"]);
        broker.order("/channel/create?topic=t&channel=c");
        broker.order("/topic/create?topic=other");
        registered(&lookup, "other", 1);
        let admin = ours(&by_lookup(&lookup));
        let first = admin.get("/api/live/topics");
        assert_eq!(first["rows"].as_array().map(Vec::len), Some(2), "{first}");
        assert_eq!(first["rows"][0]["topic"], "other");

        let mut publisher = broker.client();
        let mut published = 2;
        let row = eventually(SOON, "a rate is seen", || {
            publisher.publish_many("t", &["x"; 10]);
            published += 10;
            let shown = admin.get("/api/live/topics?sort=backlog&order=desc&points=300");
            let row = shown["rows"][0].clone();
            assert_eq!(row["topic"], "t", "{shown}");
            let times = shown["times"].as_array().expect("a list").len();
            for curve in ["depth", "rate"] {
                assert_eq!(row["series"][curve].as_array().map(Vec::len), Some(times), "{shown}");
            }
            (0.0 < row["rate"].as_f64()?).then_some(row)
        });
        assert_eq!(row["channels"], 1);
        eventually(SOON, "all is counted", || {
            let shown = admin.get("/api/live/topics/t/c");
            (shown["channel"]["depth"] == published).then_some(())
        });
        let summary = admin.get("/api/live/summary");
        assert_eq!(
            [&summary["nodes"], &summary["failed_nodes"], &summary["topics"], &summary["channels"]],
            [&json!(1), &json!(0), &json!(2), &json!(1)]
        );
        assert_eq!(summary["depth"], published);
        let topic = admin.get("/api/live/topics/t?points=0");
        assert_eq!(topic["topic"]["backlog"], published);
        assert_eq!(topic["channels"][0]["channel"], "c");
        assert!(topic["topic"]["series"].is_null(), "{topic}");
        let node = &admin.get("/api/live/nodes")["rows"][0];
        assert_eq!(node["node"], broker.http.to_string());
        assert_eq!(admin.ask("GET", "/api/live/topics/none", "", "").status, 404);
        assert_eq!(admin.ask("GET", "/api/live/topics/t/none", "", "").status, 404);
        for (query, code) in [
            ("sort=none", "INVALID_ARG_SORT"),
            ("order=up", "INVALID_ARG_ORDER"),
            ("limit=x", "INVALID_ARG_LIMIT"),
            ("offset=-1", "INVALID_ARG_OFFSET"),
            ("points=x", "INVALID_ARG_POINTS"),
            ("unread=x", "INVALID_ARG_UNREAD"),
        ] {
            let answer = admin.ask("GET", &format!("/api/live/channels?{query}"), "", "");
            assert_eq!((answer.status, answer.json()), (400, json!({"message": code})), "{query}");
        }
    }
}

#[test]
fn a_node_that_hangs_is_named_and_holds_up_neither_orders_nor_what_others_show() {
    // It takes connections, and never answers.
    let hung = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let hung_address = hung.local_addr().expect("it has an address");
    let broker = Broker::of(Maker::Ours, &[]);
    broker.client().publish_many("t", &["a"]);
    let patience = "--http-client-request-timeout=5s".to_owned();
    let flags = [&by_nsqd(&[broker.http, hung_address])[..], &[patience]].concat();
    let admin = Arc::new(ours(&flags));
    // Some who wait for the one that hangs.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let admin = Arc::clone(&admin);
            thread::spawn(move || admin.ask("GET", "/api/nodes", "", ""))
        })
        .collect();
    assert_eq!(admin.ask("GET", "/ping", "", "").text(), "OK");
    assert_eq!(admin.ask("GET", "/", "", "").status, 200);
    let shown = admin.get("/api/live/topics");
    assert_eq!(shown["rows"][0]["topic"], "t");
    assert_eq!(shown["failures"][0]["address"], hung_address.to_string());
    assert_eq!(shown["failures"][0]["reason"], "no answer in time");
    let nodes = admin.get("/api/live/nodes")["rows"].clone();
    assert_eq!(entry(&nodes, "node", &hung_address.to_string())["error"], "no answer in time");
    assert_eq!(entry(&nodes, "node", &broker.http.to_string())["error"], Value::Null);
    for waiting in waiting {
        let answer = waiting.join().expect("it does not panic");
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 200 && message.starts_with("WARNING: "), "{}", answer.text());
    }
}

#[test]
fn however_many_wait_for_an_nsqd_that_hangs_another_is_shown_at_once() {
    let lookup = LookupServer::of(Maker::Ours);
    let broker = Broker::of(Maker::Ours, &[&lookup.flag()]);
    broker.order("/topic/create?topic=good");
    registered(&lookup, "good", 1);
    let hung = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = hung.local_addr().expect("it has an address").port();
    let mut registration = TcpStream::connect(lookup.tcp).expect("the directory accepts");
    let identity = format!(
        r#"{{"broadcast_address":"127.0.0.1","hostname":"h","http_port":{port},"tcp_port":2,"version":"1"}}"#
    );
    let lines = [b"  V1IDENTIFY\n", &sized(identity.as_bytes())[..], b"REGISTER bad c\n"].concat();
    registration.write_all(&lines).expect("the directory reads");
    registered(&lookup, "bad", 1);

    // Longer than the test waits for anything.
    let patience = "--http-client-request-timeout=10m".to_owned();
    let admin = Arc::new(ours(&[&by_lookup(&lookup)[..], &[patience]].concat()));
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(admin.http).expect("it accepts");
            let request = b"GET /api/topics/bad HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).expect("it reads");
            stream
        })
        .collect();
    // One of them has come to the nsqd.
    let (_asked, _) = hung.accept().expect("it is asked");
    for _ in 0..3 {
        assert_eq!(admin.get("/api/topics/good")["topic_name"], "good");
    }
    for mut stream in waiting {
        stream.set_nonblocking(true).expect("it can be");
        let read = stream.read(&mut [0]);
        assert!(read.is_err(), "nobody was answered for the one that hangs: {read:?}");
    }
}

#[test]
fn messages_are_peeked_at_where_the_nsqd_can_show_them() {
    let messages = r#"{"messages":[
        {"id":"1","timestamp":5,"attempts":1,"body":"YQ=="},
        {"id":"2","timestamp":7,"attempts":0,"deferred_until":9,"body":"Yg=="}]}"#;
    // One that shows messages, and has the topic as far as the other questions are concerned.
    let told = |target: &str| match target {
        "/info" => {
            r#"{"version":"1.3.0","broadcast_address":"127.0.0.1","http_port":4}"#.to_owned()
        }
        target if target.starts_with("/stats") => r#"{"topics":[{"topic_name":"t"}]}"#.to_owned(),
        target => {
            assert_eq!(target, "/topic/peek?topic=t&n=3");
            messages.to_owned()
        }
    };
    let showing = simulated(told);
    let real = Broker::of(Maker::Real, &[]);
    real.client().publish_many("t", &["a"]);

    let brokers = [Maker::Ours, Maker::Ours].map(|maker| Broker::of(maker, &[]));
    for (broker, bodies) in brokers.iter().zip([["1", "2"], ["3", "4"]]) {
        broker.client().publish_many("t", &bodies);
    }
    let admin = ours(&by_nsqd(&[brokers[0].http, brokers[1].http]));
    let shown = admin.get("/api/live/peek/t?n=3");
    let bodies: Vec<_> = shown["messages"].as_array().expect("a list").iter().collect();
    let bodies: Vec<_> = bodies.iter().map(|message| message["body"].clone()).collect();
    assert_eq!(json!(bodies), json!(["Mg==", "Mw==", "NA=="]), "{shown}");
    assert_eq!(shown["nodes"][0]["messages"], 2);
    assert_eq!(brokers[0].topic_count("t", "depth"), 2, "they are only looked at");

    let admin = ours(&by_nsqd(&[showing, real.http]));
    let shown = admin.get("/api/live/peek/t?n=3");
    assert_eq!(
        shown,
        json!({
            "topic": "t",
            "messages": [
                {"node": "127.0.0.1:4", "id": "1", "timestamp": 5, "attempts": 1, "body": "YQ=="},
                {"node": "127.0.0.1:4", "id": "2", "timestamp": 7, "attempts": 0,
                 "deferred_until": 9, "body": "Yg=="},
            ],
            "is_cut": false,
            "nodes": [
                {"node": "127.0.0.1:4", "messages": 2, "error": null},
                {"node": real.http.to_string(), "messages": 0,
                 "error": "this nsqd cannot show messages"},
            ],
        })
    );
    for query in ["n=0", "n=101", "n=x"] {
        let answer = admin.ask("GET", &format!("/api/live/peek/t?{query}"), "", "");
        assert_eq!((answer.status, answer.json()), (400, json!({"message": "INVALID_ARG_N"})));
    }
    let flags = [&by_nsqd(&[showing])[..], &["--admin-user=ann".to_owned()]].concat();
    let guarded = ours(&flags);
    assert_eq!(guarded.ask("GET", "/api/live/peek/t?n=3", "", "").status, 403);
    let ann = "X-Forwarded-User: ann\r\n";
    assert_eq!(guarded.ask("GET", "/api/live/peek/t?n=3", ann, "").status, 200);
}

/// An nsqd that only answers HTTP, with what `told` says of a target.
fn simulated(told: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let told = Arc::new(told);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            thread::spawn(move || drop(serve(stream, &*told)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, told: &dyn Fn(&str) -> String) -> std::io::Result<()> {
    let mut input = Vec::new();
    loop {
        while !input.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 4096];
            let bytes = stream.read(&mut piece)?;
            if bytes == 0 {
                return Ok(());
            }
            input.extend_from_slice(&piece[..bytes]);
        }
        let head = String::from_utf8_lossy(&input).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let body = told(target);
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")?;
        input.clear();
    }
}

#[test]
fn a_hundred_nsqds_with_ten_thousand_channels_are_shown_page_by_page() {
    let nodes: Vec<SocketAddr> = (0..100)
        .map(|node| {
            let channels: Vec<_> = (0..100)
                .map(|channel| {
                    json!({"channel_name": format!("c{channel:03}"), "depth": node * 100 + channel,
                           "message_count": 1_000_000, "client_count": 3})
                })
                .collect();
            let topic = json!({"topic_name": format!("t{node:03}"), "channels": channels});
            let stats = json!({"topics": [topic]}).to_string();
            simulated(move |target| match target {
                "/info" => format!(
                    r#"{{"version":"1.3.0","broadcast_address":"127.0.0.1","http_port":{}}}"#,
                    1000 + node
                ),
                _ => stats.clone(),
            })
        })
        .collect();
    // A busy machine may need long for so much.
    let patience = ["connect", "request"].map(|what| format!("--http-client-{what}-timeout=1m"));
    let admin = ours(&[&by_nsqd(&nodes)[..], &patience].concat());
    let query = "sort=depth&order=desc&limit=20&offset=10";
    let answer = admin.ask("GET", &format!("/api/live/channels?{query}"), "", "");
    let shown = answer.json();
    assert_eq!([&shown["total"], &shown["matching"]], [&json!(10_000), &json!(10_000)]);
    let depths: Vec<_> = shown["rows"].as_array().expect("a list").iter().collect();
    let depths: Vec<_> = depths.iter().filter_map(|row| row["depth"].as_i64()).collect();
    assert_eq!(depths, (9970..9990).rev().collect::<Vec<_>>());
    assert!(answer.body.len() < 20 * 600, "{} bytes for 20 rows", answer.body.len());
    let found = admin.get("/api/live/channels?search=T042&limit=1");
    assert_eq!([&found["total"], &found["matching"]], [&json!(10_000), &json!(100)]);
    assert_eq!(found["rows"][0]["channel"], "c000");
    let found = admin.get("/api/live/channels?search=t042/C07");
    assert_eq!(found["matching"], 10);
    assert_eq!(found["rows"][0]["channel"], "c070");
    let summary = admin.get("/api/live/summary");
    assert_eq!([&summary["nodes"], &summary["clients"]], [&json!(100), &json!(30_000)]);
    let counter = admin.get("/api/counter");
    assert_eq!(counter["stats"].as_object().map(serde_json::Map::len), Some(10_000));
    assert_eq!(admin.get("/api/topics")["topics"].as_array().map(Vec::len), Some(100));
}

#[test]
fn queues_that_nobody_reads_are_found_however_short_they_are() {
    let channels = |count: u64| -> Vec<Value> {
        let read = (0..count).map(|number| (format!("read-{number}"), 1_000 + number, 1, false));
        let others = [
            ("left", 3, 0, false),
            ("lost", 5, 0, false),
            ("empty", 0, 0, false),
            ("off", 9, 0, true),
        ];
        let others =
            others.map(|(name, depth, clients, paused)| (name.to_owned(), depth, clients, paused));
        let told = read.chain(others).map(|(name, depth, clients, paused)| {
            json!({"channel_name": name, "depth": depth, "client_count": clients, "paused": paused})
        });
        told.collect()
    };
    let stats = json!({"topics": [{"topic_name": "t", "channels": channels(300)}]}).to_string();
    let node = simulated(move |target| match target {
        "/info" => {
            r#"{"version":"1.3.0","broadcast_address":"127.0.0.1","http_port":4}"#.to_owned()
        }
        _ => stats.clone(),
    });
    let admin = ours(&by_nsqd(&[node]));
    let found = admin.get("/api/live/channels?unread=true&sort=depth&order=desc");
    assert_eq!([&found["total"], &found["matching"]], [&json!(2), &json!(2)], "{found}");
    let names = [&found["rows"][0]["channel"], &found["rows"][1]["channel"]];
    assert_eq!(names, [&json!("lost"), &json!("left")]);
    assert_eq!(admin.get("/api/live/channels?unread=false")["total"], 304);
}

#[test]
fn an_order_that_is_nested_too_deeply_is_refused_in_nsqs_words_and_ends_nobody() {
    let lookup = LookupServer::of(Maker::Ours);
    let Some(admins) = Nsqadmin::both(&by_lookup(&lookup)) else { return };
    for order in [r#"{"a":"#.repeat(100_000), format!(r#"{{"topic":{}"#, "[".repeat(100_000))] {
        let answers = admins.each_ref().map(|admin| {
            let answer = admin.ask("POST", "/api/topics", "", &order);
            (answer.status, answer.text())
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0].0, 400);
        assert_eq!(admins[1].ask("GET", "/ping", "", "").text(), "OK");
    }
}

#[test]
fn an_address_that_cannot_be_asked_is_named_when_it_is_asked() {
    for flag in ["--nsqd-http-address=127.0.0.1:http", "--lookupd-http-address=127.0.0.1:http"] {
        let Some(admins) = Nsqadmin::both(&[flag.to_owned()]) else { return };
        for admin in admins {
            let answer = admin.ask("GET", "/api/topics", "", "");
            assert_eq!(answer.status, 502, "{flag}: {}", answer.text());
            assert!(answer.text().contains("127.0.0.1:http"), "{flag}: {}", answer.text());
        }
    }
}

#[test]
fn an_order_that_is_too_large_is_refused() {
    let lookup = LookupServer::of(Maker::Ours);
    let admin = ours(&by_lookup(&lookup));
    let answer = admin.ask("POST", "/api/topics", "", &" ".repeat((1 << 20) + 1));
    assert_eq!((answer.status, answer.json()), (413, json!({"message": "INVALID_BODY"})));
    let largest = format!("{}{}", " ".repeat((1 << 20) - 20), r#"{"topic":"t"}"#);
    assert_eq!(admin.ask("POST", "/api/topics", "", &largest).status, 200);
}

#[test]
fn graphites_silence_is_no_rate_and_no_secret_is_passed_on_or_logged() {
    let lookup = LookupServer::of(Maker::Ours);
    let sink = Sink::answering("[]");
    let graphite = format!("--graphite-url=http://ann:word@{}/sub", sink.address);
    let flags = [graphite, "--proxy-graphite".to_owned(), "--base-path=/admin".to_owned()];
    let admin = ours(&[&by_lookup(&lookup)[..], &flags].concat());
    let rate = admin.get("/admin/api/graphite?metric=rate&target=x");
    assert_eq!(rate, json!({"rate": "N/A"}));
    let who = "Authorization: Basic c2VjcmV0\r\nCookie: secret\r\n";
    assert_eq!(admin.ask("GET", "/admin/render?target=x", who, "").status, 200);
    let asked = sink.take(2);
    assert!(asked[0].line.starts_with("GET /sub/render?format=json&"), "{asked:?}");
    assert_eq!(asked[1].line, "GET /sub/render?target=x HTTP/1.1");
    let ann = ["authorization: Basic YW5uOndvcmQ=".to_owned()];
    assert!(asked.iter().all(|asked| asked.head == ann), "{asked:?}");
    assert!(!admin.process.log().contains("word"), "{}", admin.process.log());
}

#[test]
fn what_a_graphite_answers_keeps_its_type_and_is_no_page_of_nsqadmins() {
    let lookup = LookupServer::of(Maker::Ours);
    let graphite = WebServer::start(|request, _| {
        let (content_type, body) = match request.target() {
            "/render?png" => ("image/png", "\u{89}PNG"),
            "/render?json" => ("application/json", "[]"),
            _ => ("text/html; charset=utf-8", "<script>alert(1)</script>"),
        };
        let length = body.len();
        Reaction::Says(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nSet-Cookie: sessionid=1\r\n\
             Content-Security-Policy: default-src *\r\nCache-Control: max-age=60\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    });
    let flags =
        [format!("--graphite-url=http://{}", graphite.address), "--proxy-graphite".to_owned()];
    let admin = ours(&[&by_lookup(&lookup)[..], &flags].concat());
    for (target, content_type, body) in [
        ("/render?png", "image/png", "\u{89}PNG"),
        ("/render?json", "application/json", "[]"),
        ("/render?html", "text/html; charset=utf-8", "<script>alert(1)</script>"),
    ] {
        let answer = admin.ask("GET", target, "", "");
        assert_eq!((answer.status, answer.text().as_str()), (200, body));
        assert_eq!(answer.header("Content-Type"), Some(content_type));
        assert_eq!(answer.header("Cache-Control"), Some("max-age=60"));
        let policies = answer.headers.iter().filter(|(name, _)| name == "Content-Security-Policy");
        let policies: Vec<_> = policies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            policies,
            ["default-src 'none'; style-src 'unsafe-inline'; sandbox"],
            "{target}"
        );
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Set-Cookie"), None, "a cookie would be nsqadmin's");
    }
}
