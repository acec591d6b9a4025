//! NSQ's nsqadmin and ours beside each other over the same cluster: the same requests get the same
//! answers. What is different on purpose is in `nsqadmin_ours`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use flate2::read::{DeflateDecoder, GzDecoder};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::sized;
use tests::http::{self, Answer};
use tests::layers::Certificates;
use tests::lookup_server::LookupServer;
use tests::nsqadmin::Nsqadmin;
use tests::patience::{SOON, eventually};
use tests::process::run;
use tests::programs::{Maker, real};
use tests::sink::Sink;

/// An address at which nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// Which lists have no order of their own: with several nsqds, NSQ shows them as they answered.
const UNORDERED: [&str; 6] =
    ["nodes", "channels", "clients", "topics", "remote_addresses", "percentiles"];

/// What both must say the same, out of a value: without what only later versions of NSQ show, without
/// times, and without the order of what has none.
fn comparable(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(comparable),
        Value::Object(object) => {
            // Shown since the release of 1.3.0, and by ours.
            object.retain(|key, _| !key.ends_with("_msg_count") && !key.contains("topology_"));
            let is_node = object.contains_key("remote_addresses");
            for (key, value) in object.iter_mut() {
                comparable(value);
                if key == "connected" {
                    *value = json!("TIME");
                }
                if key == "remote_address" && is_node {
                    *value = json!("as the first nsqlookupd that answers has it");
                }
                if let (true, Value::Array(list)) = (UNORDERED.contains(&key.as_str()), &mut *value)
                {
                    list.sort_by_key(ToString::to_string);
                }
                if let (true, Value::String(message)) = (key == "message", &mut *value) {
                    *message = sorted(message);
                }
            }
        }
        _ => {}
    }
}

/// A message with its failures in one order: NSQ has them as they came. Ours asks nsqds for less.
fn sorted(message: &str) -> String {
    let message = ["&include_clients=false", "&include_mem=false"]
        .iter()
        .fold(message.to_owned(), |message, less| message.replace(less, ""))
        // NSQ has two clocks for the same time, and names both when both have run out.
        .replace(" (Client.Timeout exceeded while awaiting headers)", "")
        .replace("net/http: timeout awaiting response headers", "context deadline exceeded")
        .replace("net/http: request canceled", "context deadline exceeded");
    let starts = ["Get \"", "Post \"", "got response", "; "];
    let start = starts.iter().filter_map(|start| message.find(start)).min();
    let (label, failures) = message.split_at(start.unwrap_or(message.len()));
    let mut failures: Vec<_> = failures.split('\n').flat_map(|line| line.split("; ")).collect();
    failures.sort_unstable();
    format!("{label}{}", failures.join("\n"))
}

/// An answer as both must give it.
fn shown(answer: &Answer) -> String {
    let mut shown = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        match name.as_str() {
            // NSQ sends longer answers in chunks, and what keeps browsers safe is ours alone.
            "Date"
            | "Content-Length"
            | "Transfer-Encoding"
            | "Content-Security-Policy"
            | "Referrer-Policy"
            | "X-Content-Type-Options"
            | "X-Frame-Options"
            | "Cache-Control" => {}
            _ => writeln!(shown, "{name}: {value}").expect("it has room"),
        }
    }
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut value) => {
            comparable(&mut value);
            value.to_string()
        }
        Err(_) => answer.text(),
    };
    shown + &body
}

/// What the two said differently; all of it is told at the end.
#[derive(Default)]
struct Differences {
    told: String,
    compared: usize,
}

impl Differences {
    fn compare(&mut self, what: &str, [real, ours]: [String; 2]) {
        self.compared += 1;
        if real != ours {
            // What is the same at both ends only hides the rest.
            let same = real.bytes().zip(ours.bytes()).take_while(|(one, other)| one == other);
            let start = same.count().saturating_sub(60);
            let [real, ours] =
                [real, ours].map(|text| text.chars().skip(start).take(400).collect::<String>());
            write!(self.told, "\n{what}\n  NSQ:  {real:?}\n  ours: {ours:?}").expect("it has room");
        }
    }

    /// The same request to both.
    fn ask(&mut self, state: &str, admins: &[Nsqadmin; 2], request: [&str; 4]) {
        let [method, target, headers, body] = request;
        // At the same time, as both may have to wait for somebody who hangs.
        let answers = thread::scope(|scope| {
            let ask = |admin| move || shown(&Nsqadmin::ask(admin, method, target, headers, body));
            let asked = admins.each_ref().map(|admin| scope.spawn(ask(admin)));
            asked.map(|asked| asked.join().expect("an answer comes"))
        });
        self.compare(&format!("{state}: {method} {target} {headers:?} {body:?}"), answers);
    }

    fn get(&mut self, state: &str, admins: &[Nsqadmin; 2], targets: &[&str]) {
        for target in targets {
            self.ask(state, admins, ["GET", target, "", ""]);
        }
    }

    fn none(self) {
        assert!(0 < self.compared, "nothing was compared");
        assert!(self.told.is_empty(), "{}", self.told);
    }
}

fn lookups(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("--lookupd-http-address={address}")).collect()
}

fn nsqds(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("--nsqd-http-address={address}")).collect()
}

fn producers(lookup: &LookupServer, topic: &str, count: usize) {
    eventually(SOON, "the nsqds are registered", || {
        let found = lookup.get(&format!("/lookup?topic={topic}"));
        let found = found.json()["producers"].as_array().map(Vec::len);
        (found == Some(count)).then_some(())
    });
}

/// Everything that is only looked at.
const VIEWS: [&str; 12] = [
    "/api/topics",
    "/api/topics?inactive=true",
    "/api/topics?inactive=false",
    "/api/topics/t",
    "/api/topics/unknown",
    "/api/topics/with%20blank",
    "/api/topics/t/c",
    "/api/topics/unknown/c",
    "/api/nodes",
    "/api/nodes/unknown",
    "/api/nodes/127.0.0.1:1",
    "/api/counter",
];

#[test]
fn what_is_shown_is_the_same_in_every_state() {
    if real("nsqadmin").is_none() {
        return;
    }
    let mut differences = Differences::default();
    for maker in [Maker::Real, Maker::Ours] {
        let lookup = LookupServer::of(maker);
        let Some(by_lookup) = Nsqadmin::both(&lookups(&[lookup.http])) else { return };
        differences.get(&format!("{maker:?}: no nsqd"), &by_lookup, &VIEWS);

        let latency = [
            "--e2e-processing-latency-percentile=1.0,0.99",
            "--e2e-processing-latency-window-time=10m0s",
        ];
        let flag = lookup.flag();
        let mut broker = Broker::of(maker, &[&flag, latency[0], latency[1]]);
        let direct = Nsqadmin::both(&nsqds(&[broker.http])).expect("it was there before");
        let node = format!("/api/nodes/{}", broker.http);
        let mut everywhere = |state: &str| {
            for (way, admins) in [("lookupd", &by_lookup), ("nsqd", &direct)] {
                let state = format!("{maker:?}: {state}, by {way}");
                for view in VIEWS {
                    // A channel that is not there is different on purpose.
                    if !(view == "/api/topics/t/c" && state.contains("without a channel")) {
                        differences.get(&state, admins, &[view]);
                    }
                }
                differences.get(&state, admins, &[&node]);
            }
        };
        eventually(SOON, "the nsqd is registered", || {
            lookup.get("/nodes").text().contains("tcp_port").then_some(())
        });
        everywhere("no topic");

        broker.client().publish_many("t", &["one", "two", "three"]);
        producers(&lookup, "t", 1);
        everywhere("a topic without a channel");

        broker.order("/channel/create?topic=t&channel=c");
        broker.count_becomes("t", "c", "depth", 3);
        broker.order("/channel/create?topic=t&channel=e%23ephemeral");
        everywhere("messages");

        let mut client = broker.subscribed("t", "c");
        client.ready(2);
        let message = client.message();
        client.message();
        broker.count_becomes("t", "c", "in_flight_count", 2);
        everywhere("a consumer");
        client.finish(&message);
        broker.count_becomes("t", "c", "depth", 0);
        everywhere("a message finished");

        broker.order("/channel/pause?topic=t&channel=c");
        broker.order("/topic/pause?topic=t");
        everywhere("paused");

        let node_name = format!("127.0.0.1:{}", broker.http.port());
        assert_eq!(lookup.post(&format!("/topic/tombstone?topic=t&node={node_name}")).status, 200);
        assert_eq!(lookup.post("/topic/create?topic=inactive").status, 200);
        assert_eq!(lookup.post("/channel/create?topic=inactive2&channel=x").status, 200);
        everywhere("tombstoned");

        drop(client);
        broker.process.kill();
        eventually(SOON, "the registration is gone", || {
            lookup.get("/nodes").text().contains("[]").then_some(())
        });
        everywhere("the nsqd is dead");
    }
    differences.none();
}

#[test]
fn several_nsqds_and_nsqlookupds_are_shown_as_one_cluster_and_who_is_dead_is_named() {
    if real("nsqadmin").is_none() {
        return;
    }
    let mut differences = Differences::default();
    let live = [LookupServer::of(Maker::Real), LookupServer::of(Maker::Ours)];
    let flags = live.each_ref().map(LookupServer::flag);
    let brokers =
        [Maker::Real, Maker::Ours].map(|maker| Broker::of(maker, &[&flags[0], &flags[1]]));
    for broker in &brokers {
        // Who makes a topic is answered when the broker has asked which channels it has elsewhere; a
        // publisher may be answered before.
        broker.order("/topic/create?topic=t");
        broker.client().publish_many("t", &["a", "b"]);
    }
    // Now that the topic is at both, a channel comes to one of them alone.
    for (broker, channel) in brokers.iter().zip(["left", "right"]) {
        broker.order(&format!("/channel/create?topic=t&channel={channel}"));
        broker.count_becomes("t", channel, "depth", 2);
    }
    for lookup in &live {
        producers(lookup, "t", 2);
        eventually(SOON, "both channels are registered", || {
            let channels = lookup.get("/channels?topic=t").text();
            (channels.contains("left") && channels.contains("right")).then_some(())
        });
    }
    // One that has gone without a word is listed until its connection breaks.
    let mut gone = TcpStream::connect(live[0].tcp).expect("the directory accepts");
    let identity = br#"{"broadcast_address":"127.0.0.1","hostname":"gone","http_port":1,"tcp_port":2,"version":"1.2.0"}"#;
    let registration = [b"  V1IDENTIFY\n", &sized(identity)[..], b"REGISTER gone c\n"].concat();
    gone.write_all(&registration).expect("the directory reads");
    producers(&live[0], "gone", 1);
    let nobody: SocketAddr = NOBODY.parse().expect("it is an address");
    let clusters = [
        ("two of each", lookups(&[live[0].http, live[1].http])),
        ("one nsqlookupd is dead", lookups(&[live[0].http, nobody])),
        ("all nsqlookupds are dead", lookups(&[nobody, "127.0.0.1:2".parse().expect("too")])),
        ("two nsqds", nsqds(&[brokers[0].http, brokers[1].http])),
        ("one nsqd is dead", nsqds(&[brokers[0].http, nobody])),
        ("all nsqds are dead", nsqds(&[nobody])),
    ];
    let nodes = brokers.each_ref().map(|broker| format!("/api/nodes/{}", broker.http));
    for (state, flags) in &clusters {
        let admins = Nsqadmin::both(flags).expect("it was there before");
        // Each channel is at one nsqd: sums over several are different on purpose.
        differences.get(state, &admins, &["/api/topics", "/api/topics?inactive=true"]);
        differences.get(state, &admins, &["/api/topics/t", "/api/topics/t/left"]);
        differences.get(state, &admins, &["/api/topics/t/right", "/api/nodes", "/api/counter"]);
        differences.get(state, &admins, &[&nodes[0], &nodes[1], "/api/nodes/127.0.0.1:1"]);
        differences.get(state, &admins, &["/api/topics/gone", "/api/topics/gone/c"]);
        differences.ask(state, &admins, ["POST", "/api/topics/gone", "", r#"{"action":"pause"}"#]);
    }

    brokers[1].process.signal(Signal::STOP);
    let impatient = "--http-client-request-timeout=3s".to_owned();
    for (state, flags) in [&clusters[0], &clusters[3]] {
        let flags = [&flags[..], std::slice::from_ref(&impatient)].concat();
        let admins = Nsqadmin::both(&flags).expect("it was there before");
        let state = format!("{state}, one of which hangs");
        differences.get(&state, &admins, &["/api/topics/t", "/api/topics/t/left", "/api/counter"]);
        differences.get(&state, &admins, &[&nodes[0], &nodes[1], "/api/nodes"]);
    }
    brokers[1].process.signal(Signal::CONT);
    differences.none();
}

#[test]
fn orders_are_carried_out_and_answered_alike() {
    if real("nsqadmin").is_none() {
        return;
    }
    let mut differences = Differences::default();
    for maker in [Maker::Real, Maker::Ours] {
        let lookup = LookupServer::of(maker);
        let broker = Broker::of(maker, &[&lookup.flag()]);
        for (way, flags) in [("lookupd", lookups(&[lookup.http])), ("nsqd", nsqds(&[broker.http]))]
        {
            let Some(admins) = Nsqadmin::both(&flags) else { return };
            let names = ["real", "ours"].map(|name| format!("{name}-{way}"));
            let masked = |text: String, name: &str| text.replace(name, "NAME");
            for name in &names {
                broker.client().publish_many(name, &["a", "b"]);
                broker.order(&format!("/channel/create?topic={name}&channel=c"));
                broker.count_becomes(name, "c", "depth", 2);
                producers(&lookup, name, 1);
            }
            let node = format!("/api/nodes/{}", broker.http);
            let orders: [[&str; 3]; 17] = [
                ["POST", "/api/topics/NAME", r#"{"action":"pause"}"#],
                ["POST", "/api/topics/NAME", r#"{"action":"unpause"}"#],
                ["POST", "/api/topics/NAME/c", r#"{"action":"pause"}"#],
                ["POST", "/api/topics/NAME/c", r#"{"action":"unpause"} "#],
                ["POST", "/api/topics/NAME/none", r#"{"action":"pause"}"#],
                ["POST", "/api/topics/NAME/c", r#"{"action":"empty"}"#],
                ["POST", "/api/topics/NAME", r#"{"ACTION":"empty"}"#],
                ["POST", "/api/topics/none", r#"{"action":"pause"}"#],
                ["POST", "/api/topics/none/c", r#"{"action":"empty"}"#],
                ["POST", "/api/topics/NAME/c", r#"{"action":"explode"}"#],
                ["DELETE", "/api/topics/NAME/none", ""],
                ["DELETE", "/api/topics/NAME/c", ""],
                ["DELETE", "/api/topics/none", ""],
                ["DELETE", "/api/topics/none/c", "{}"],
                ["DELETE", &node, r#"{"topic":"none"}"#],
                ["DELETE", "/api/nodes/127.0.0.1:1", r#"{"topic":"NAME"}"#],
                ["DELETE", "/api/topics/NAME", ""],
            ];
            for [method, target, body] in orders {
                let answers = [0, 1].map(|side| {
                    let (target, body) =
                        (target.replace("NAME", &names[side]), body.replace("NAME", &names[side]));
                    let answer = admins[side].ask(method, &target, "", &body);
                    let state = broker.topic(&names[side]).map(|topic| topic.to_string());
                    masked(format!("{} {state:?}", shown(&answer)), &names[side])
                });
                differences
                    .compare(&format!("{maker:?} by {way}: {method} {target} {body}"), answers);
            }
            if way == "nsqd" {
                continue;
            }
            // Without an nsqlookupd NSQ makes nothing, and says so in half of the cases.
            for body in [
                r#"{"topic":"NAME-made"}"#,
                r#"{"topic":"NAME-both","channel":"c#ephemeral"}"#,
                r#"{"topic":"NAME","channel":"d"}"#,
            ] {
                let answers = [0, 1].map(|side| {
                    let body = body.replace("NAME", &names[side]);
                    let answer = admins[side].ask("POST", "/api/topics", "", &body);
                    masked(shown(&answer), &names[side])
                });
                differences.compare(&format!("{maker:?}: POST /api/topics {body}"), answers);
            }
            let made = names.each_ref().map(|name| {
                let topics = lookup.get("/topics").json();
                let topics = topics["topics"].as_array().expect("a list").clone();
                let mut topics: Vec<_> = topics
                    .iter()
                    .filter_map(|topic| topic.as_str()?.strip_prefix(name.as_str()))
                    .map(str::to_owned)
                    .collect();
                topics.sort();
                topics.join(" ")
            });
            assert_eq!(made[0], " -both -made");
            differences.compare("what was made", made);
            for name in &names {
                broker.order(&format!("/topic/create?topic={name}"));
                producers(&lookup, name, 1);
            }
            let hidden = [0, 1].map(|side| {
                let body = format!(r#"{{"topic":"{}"}}"#, names[side]);
                let answer = admins[side].ask("DELETE", &node, "", &body);
                assert!(broker.topic(&names[side]).is_none(), "it is deleted there");
                shown(&answer)
            });
            differences.compare("an nsqd is hidden", hidden);
        }
    }
    differences.none();
}

#[test]
fn what_makes_no_sense_is_refused_alike() {
    let Some(real) = real("nsqadmin") else { return };
    drop(real);
    let lookup = LookupServer::of(Maker::Ours);
    let mut differences = Differences::default();
    let flags = lookups(&[lookup.http]);
    let based = [&flags[..], &["--base-path=admin//x/".to_owned()]].concat();
    let (Some(admins), Some(based)) = (Nsqadmin::both(&flags), Nsqadmin::both(&based)) else {
        return;
    };
    for body in [
        "",
        " ",
        "zz",
        "null",
        "[]",
        "5",
        "\"text\"",
        "true",
        "{",
        "{}",
        "{t",
        r#"{"topic""#,
        r#"{"topic"x"#,
        r#"{"topic":"t"x"#,
        r#"{"topic":5}"#,
        r#"{"topic":true,"channel":1}"#,
        r#"{"topic":["t"]}"#,
        r#"{"topic":{}}"#,
        r#"{"topic":null}"#,
        r#"{"topic":"a b"}"#,
        r#"{"topic":"t#ephemera"}"#,
        r#"{"topic":"t","channel":"a b"}"#,
        r#"{"topic":"t","channel":5}"#,
        r#"{"topic":"\q"}"#,
        r#"{"topic":"\u12x4"}"#,
        "{\"topic\":\"\u{1}\"}",
        r#"{"a":[1 2]}"#,
        r#"{"a":-x}"#,
        r#"{"a":1.}"#,
        r#"{"a":1e}"#,
        r#"{"a":trux}"#,
        r#"{"a":nulL}"#,
        "'",
        "é",
        "\u{b}",
        r#"{"action":5}"#,
    ] {
        for (method, target) in [
            ("POST", "/api/topics"),
            ("POST", "/api/topics/t"),
            ("POST", "/api/topics/t/c"),
            ("DELETE", "/api/nodes/127.0.0.1:1"),
        ] {
            differences.ask("bodies", &admins, [method, target, "", body]);
        }
    }
    let zip = "Accept-Encoding: br, gzip\r\n";
    for (method, target, headers) in [
        ("GET", "/ping", ""),
        ("GET", "/static/none.js", ""),
        ("GET", "/fonts/none.woff", ""),
        ("GET", "/static/", ""),
        ("GET", "/nope", ""),
        ("GET", "/render", ""),
        ("GET", "/api/topics/", ""),
        ("GET", "/API/Topics", ""),
        ("GET", "//api/./topics", ""),
        ("POST", "/api/topics/", ""),
        ("POST", "/api/counter", ""),
        ("PUT", "/api/topics", ""),
        ("PATCH", "/api/topics/t", ""),
        ("HEAD", "/", ""),
        ("HEAD", "/api/topics", ""),
        ("OPTIONS", "/api/topics", ""),
        ("OPTIONS", "/api/topics/t/c", ""),
        ("OPTIONS", "/config/x", ""),
        ("OPTIONS", "*", ""),
        ("GET", "/api/topics?a=%zz", ""),
        ("GET", "/api/topics?a=1;b=2", ""),
        ("GET", "/api/graphite", ""),
        ("GET", "/api/graphite?metric=depth", ""),
        ("GET", "/api/graphite?metric=rate", ""),
        ("GET", "/api/graphite?a=%zz", ""),
        ("GET", "/api/topics/t%2Fc", ""),
        ("GET", "/api/topics/a/b/c", ""),
        ("DELETE", "/api/topics", ""),
        ("GET", "/ping", zip),
        ("GET", "/nope", zip),
        ("OPTIONS", "/ping", zip),
        ("GET", "/api/topics", zip),
        ("GET", "/api/topics", "Accept-Encoding: deflate;q=1, deflate\r\n"),
        ("GET", "/api/topics", "Accept-Encoding: gzip;q=0\r\n"),
        ("GET", "/API/topics", zip),
    ] {
        let answers = admins.each_ref().map(|admin| {
            let mut answer = match method {
                // The length of what was not sent stands there.
                "HEAD" => {
                    let bytes = admin.exchange(method, target, headers, "");
                    let head = String::from_utf8_lossy(&bytes).replace("Content-Length", "Length");
                    http::answer(head.as_bytes())
                }
                _ => admin.ask(method, target, headers, ""),
            };
            let mut plain = Vec::new();
            let unpacked = match answer.header("Content-Encoding") {
                Some("gzip") => GzDecoder::new(&answer.body[..]).read_to_end(&mut plain),
                Some("deflate") => DeflateDecoder::new(&answer.body[..]).read_to_end(&mut plain),
                _ => {
                    plain.clone_from(&answer.body);
                    Ok(0)
                }
            };
            unpacked.expect("it is what it says");
            answer.body = plain;
            shown(&answer)
        });
        differences.compare(&format!("{method} {target} {headers}"), answers);
    }
    differences.get(
        "below a path",
        &based,
        &[
            "/",
            "/admin",
            "/admin/x/",
            "/admin/x/ping",
            "/api/topics",
            "/admin/x/api/topics",
            "/admin/x/api/topics/",
            "/admin/x/config/base_path",
            "/ADMIN/x/ping",
        ],
    );
    for page in
        ["/", "/topics", "/topics/t", "/topics/t/c", "/nodes", "/nodes/n", "/counter", "/lookup"]
    {
        for (admins, prefix) in [(&admins, ""), (&based, "/admin/x")] {
            let target = format!("{prefix}{page}");
            let target = if page == "/" && !prefix.is_empty() { prefix } else { &target };
            let kinds = admins.each_ref().map(|admin| {
                let answer = admin.ask("GET", target, "", "");
                let kind = answer.header("Content-Type").unwrap_or_default().to_owned();
                format!("{} {kind} {}", answer.status, answer.text().contains("<!doctype html>"))
            });
            differences.compare(&format!("the page at {target}"), kinds);
        }
    }
    differences.none();
}

#[test]
fn only_administrators_change_anything_where_some_are_named() {
    let lookup = LookupServer::of(Maker::Ours);
    let mut differences = Differences::default();
    let flags = lookups(&[lookup.http]);
    let users = ["--admin-user=ann", "--admin-user=bob"].map(str::to_owned);
    let other_header = ["--admin-user=ann", "--acl-http-header=X-Who"].map(str::to_owned);
    for (flags, headers) in [
        (
            [&flags[..], &users].concat(),
            [
                "",
                "X-Forwarded-User: ann\r\n",
                "x-forwarded-user: bob\r\n",
                "X-Forwarded-User: eve\r\n",
            ],
        ),
        (
            [&flags[..], &other_header].concat(),
            ["X-Who: ann\r\n", "X-Forwarded-User: ann\r\n", "X-Who:\r\n", "X-Who: Ann\r\n"],
        ),
    ] {
        let Some(admins) = Nsqadmin::both(&flags) else { return };
        for header in headers {
            for (method, target, body) in [
                ("POST", "/api/topics", r#"{"topic":"t"}"#),
                ("POST", "/api/topics/t", r#"{"action":"pause"}"#),
                ("POST", "/api/topics/t/c", "zz"),
                ("DELETE", "/api/topics/t", ""),
                ("DELETE", "/api/topics/t/c", ""),
                ("DELETE", "/api/nodes/127.0.0.1:1", ""),
                ("GET", "/api/topics", ""),
                ("PUT", "/config/log_level", "debug"),
            ] {
                let answers = admins.each_ref().map(|admin| {
                    assert_eq!(lookup.post("/channel/create?topic=t&channel=c").status, 200);
                    shown(&admin.ask(method, target, header, body))
                });
                differences.compare(&format!("{header:?} {method} {target} {body}"), answers);
            }
        }
    }
    differences.none();
}

#[test]
fn options_are_shown_and_changed_alike() {
    let lookup = LookupServer::of(Maker::Ours);
    let mut differences = Differences::default();
    let plain = lookups(&[lookup.http]);
    let open = [&plain[..], &["--allow-config-from-cidr=".to_owned()]].concat();
    let closed = [&plain[..], &["--allow-config-from-cidr=10.0.0.0/8".to_owned()]].concat();
    for (state, flags) in [("local", plain), ("open", open), ("closed", closed)] {
        let Some(admins) = Nsqadmin::both(&flags) else { return };
        for option in [
            "log_level",
            "log_prefix",
            "base_path",
            "dev_static_dir",
            "graphite_url",
            "proxy_graphite",
            "statsd_prefix",
            "statsd_counter_format",
            "statsd_gauge_format",
            "statsd_interval",
            "nsqlookupd_http_addresses",
            "nsqd_http_addresses",
            "http_client_connect_timeout",
            "http_client_request_timeout",
            "http_client_tls_insecure_skip_verify",
            "http_client_tls_root_ca_file",
            "http_client_tls_cert",
            "http_client_tls_key",
            "allow_config_from_cidr",
            "notification_http_endpoint",
            "acl_http_header",
            "admin_users",
            "verbose",
            "config",
            "version",
            "log-level",
            "none",
        ] {
            differences.get(state, &admins, &[&format!("/config/{option}")]);
        }
        for (option, value) in [
            ("log_level", "debug"),
            ("log_level", "FATAL"),
            ("log_level", "2"),
            ("log_level", ""),
            ("log_prefix", "x"),
            ("none", "x"),
            ("none", ""),
            ("nsqlookupd_http_addresses", "["),
            ("nsqlookupd_http_addresses", "[1]"),
            ("nsqlookupd_http_addresses", r#""127.0.0.1:1""#),
            ("nsqlookupd_http_addresses", r#"["127.0.0.1:1","127.0.0.1:2"]"#),
            ("nsqlookupd_http_addresses", "[]"),
        ] {
            let target = format!("/config/{option}");
            differences.ask(state, &admins, ["PUT", &target, "", value]);
            differences.ask(state, &admins, ["GET", &target, "", ""]);
        }
        differences.get("after the change", &admins, &["/api/topics", "/api/nodes"]);
        let large = "x".repeat((1 << 20) + 1);
        differences.ask(state, &admins, ["PUT", "/config/log_level", "", &large]);
    }
    differences.none();
}

#[test]
fn whoever_wants_to_know_is_told_of_orders_alike() {
    let lookup = LookupServer::of(Maker::Ours);
    let broker = Broker::of(Maker::Ours, &[&lookup.flag()]);
    let sinks = [Sink::start(), Sink::start()];
    let mut differences = Differences::default();
    let [real, ours] = [(Maker::Real, &sinks[0]), (Maker::Ours, &sinks[1])].map(|(maker, sink)| {
        let endpoint = format!("--notification-http-endpoint=http://{}/put?topic=x", sink.address);
        Nsqadmin::of(maker, &[&lookups(&[lookup.http])[..], &[endpoint]].concat())
    });
    let (Some(real), Some(ours)) = (real, ours) else { return };
    let node = format!("/api/nodes/{}", broker.http);
    let who = "Authorization: Basic Ym9iOnNlY3JldA==\r\nUser-Agent: UA\r\nX-Scheme: https\r\n";
    let orders: [([&str; 4], usize); 15] = [
        (["POST", "/api/topics", who, r#"{"topic":"t"}"#], 1),
        (["POST", "/api/topics?a=b%20c", "", r#"{"topic":"t","channel":"c"}"#], 2),
        (["POST", "/api/topics/t", who, r#"{"action":"pause"}"#], 1),
        (["POST", "/api/topics/t", "", r#"{"action":"unpause"}"#], 1),
        (["POST", "/api/topics/t", "", r#"{"action":"empty"}"#], 1),
        (["POST", "/api/topics/t/c", "", r#"{"action":"pause"}"#], 1),
        (["POST", "/api/topics/t/c", "", r#"{"action":"unpause"}"#], 1),
        (["POST", "/api/topics/t/c%23ephemeral", "", r#"{"action":"empty"}"#], 1),
        // Tried in vain, and told nevertheless.
        (["POST", "/api/topics/none/c", "", r#"{"action":"empty"}"#], 1),
        (["POST", "/api/topics/none/c", "", r#"{"action":"explode"}"#], 0),
        (["DELETE", "/api/topics/none", "", ""], 0),
        (["DELETE", "/api/topics/t/c", "", ""], 1),
        (["DELETE", &node, "", r#"{"topic":"t"}"#], 1),
        (["DELETE", "/api/topics/t", "Authorization: Basic !\r\n", ""], 1),
        (["POST", "/api/topics", "", "zz"], 0),
    ];
    let mut expected = 0;
    for ([method, target, headers, body], told) in orders {
        let answers = [&real, &ours].map(|admin| {
            broker.order("/topic/create?topic=t");
            broker.order("/channel/create?topic=t&channel=c");
            producers(&lookup, "t", 1);
            shown(&admin.ask(method, target, headers, body))
        });
        differences.compare(&format!("{method} {target} {body}"), answers);
        let requests = sinks.each_ref().map(|sink| {
            let mut requests = sink.take(told);
            for request in &mut requests {
                let mut body: Value = serde_json::from_str(&request.body).expect("it is JSON");
                let is_address = |key: &str| {
                    body[key].as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok())
                };
                assert!(is_address("remote_ip") && body["timestamp"].is_i64(), "{body}");
                body["remote_ip"] = json!("ADDRESS");
                body["timestamp"] = json!(0);
                request.body = body.to_string();
            }
            requests.sort();
            format!("{requests:?}")
        });
        assert_eq!(requests[0].matches("Asked").count(), told, "{}", requests[0]);
        differences.compare(&format!("what is told of {method} {target} {body}"), requests);
        expected += told;
    }
    assert_eq!(expected, 13);
    for sink in &sinks {
        assert!(sink.is_empty(), "nothing else was told");
    }
    differences.none();
}

#[test]
fn graphite_is_asked_and_passed_on_alike() {
    let lookup = LookupServer::of(Maker::Ours);
    let mut differences = Differences::default();
    let answers = [
        r#"[{"target":"x","datapoints":[[123.456,1],[5,2]]}]"#,
        r#"[{"target":"x","datapoints":[[-1,1]]}]"#,
        r#"[{"target":"x","datapoints":[[0,1]]}]"#,
        "no",
    ];
    for answer in answers {
        let sink = Sink::answering(answer);
        let flags = [
            format!("--graphite-url=http://ann:word@{}", sink.address),
            "--proxy-graphite".to_owned(),
            "--statsd-interval=10s".to_owned(),
        ];
        let Some(admins) = Nsqadmin::both(&[&lookups(&[lookup.http])[..], &flags].concat()) else {
            return;
        };
        for target in ["/api/graphite?metric=rate&target=a*(b,c)%26%20d", "/render?target=a%20b&x"]
        {
            differences.ask(answer, &admins, ["GET", target, "", ""]);
            let asked = sink.take(2).into_iter().map(|asked| {
                let who = asked.head.iter().find(|line| line.starts_with("authorization: "));
                format!("{} {who:?}", asked.line)
            });
            let asked: Vec<_> = asked.collect();
            differences.compare(target, [asked[0].clone(), asked[1].clone()]);
        }
        drop(sink);
    }
    differences.none();
}

#[test]
fn nsqds_that_want_tls_are_asked_with_certificates_as_the_flags_say() {
    let certificates = Certificates::new();
    let flag = |flag: &str, file: &str| format!("--{flag}={}", certificates.file(file).display());
    let trusted = [flag("http-client-tls-root-ca-file", "ca.pem")];
    let trusts_all = ["--http-client-tls-insecure-skip-verify".to_owned()];
    let known = [
        flag("http-client-tls-root-ca-file", "ca.pem"),
        flag("http-client-tls-cert", "client.pem"),
        flag("http-client-tls-key", "client.key"),
    ];
    let mut differences = Differences::default();
    for maker in [Maker::Real, Maker::Ours] {
        for (policy, ways, status) in [
            ("--tls-required=true", [(&trusted[..], 200), (&trusts_all[..], 200)], 502),
            ("--tls-client-auth-policy=require-verify", [(&known, 200), (&trusted, 502)], 502),
        ] {
            let mut broker_flags = certificates.flags();
            broker_flags.push(policy.to_owned());
            broker_flags.push(flag("tls-root-ca-file", "ca.pem"));
            let broker_flags: Vec<_> = broker_flags.iter().map(String::as_str).collect();
            let broker = Broker::of(maker, &broker_flags);
            for (flags, expected) in ways.into_iter().chain([(&[][..], status)]) {
                let flags = [&nsqds(&[broker.http])[..], flags].concat();
                let Some(admins) = Nsqadmin::both(&flags) else { return };
                let state = format!("{maker:?} {policy} {flags:?}");
                if expected == 200 {
                    // Only ours makes a topic at an nsqd.
                    let made = admins[1].ask("POST", "/api/topics", "", r#"{"topic":"t"}"#);
                    assert_eq!(made.json()["message"], "", "{state}");
                    for body in [r#"{"action":"pause"}"#, r#"{"action":"unpause"}"#] {
                        differences.ask(&state, &admins, ["POST", "/api/topics/t", "", body]);
                        differences.get(&state, &admins, &["/api/topics/t", "/api/nodes"]);
                    }
                }
                let statuses = admins.each_ref().map(|admin| {
                    let answer = admin.ask("GET", "/api/topics", "", "");
                    assert_eq!(answer.status, expected, "{state}: {}", answer.text());
                    answer.status.to_string()
                });
                differences.compare(&state, statuses);
            }
        }
    }
    differences.none();
}

#[test]
fn what_keeps_it_from_starting_is_told_alike() {
    let Some(_) = real("nsqadmin") else { return };
    let mut differences = Differences::default();
    let folder = TempDir::new().expect("the temporary folder can be written");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    let text = file("text", "no certificate");
    let level = file("level.cfg", "log_level = \"loud\"");
    let both = file(
        "both.cfg",
        "nsqlookupd_http_addresses = [\"127.0.0.1:4161\"]\nnsqd_http_addresses = \"127.0.0.1:4151\"",
    );
    let nsqd = "--nsqd-http-address=127.0.0.1:4151";
    let root = format!("--http-client-tls-root-ca-file={text}");
    let config = |path: &str| format!("--config={path}");
    let (level, both, none) = (config(&level), config(&both), config("/does/not/exist"));
    let cases: [&[&str]; 18] = [
        &[],
        &[nsqd, "--lookupd-http-address=127.0.0.1:4161"],
        &[nsqd, "--http-client-tls-cert=/none"],
        &[nsqd, "--http-client-tls-key=/none"],
        &[nsqd, "--http-client-tls-key=/none", "--http-client-tls-cert=/none"],
        &[nsqd, "--http-client-tls-root-ca-file=/none"],
        &[nsqd, &root],
        &["--lookupd-http-address=foo"],
        &["--nsqd-http-address=foo"],
        &["--nsqd-http-address=::1:80"],
        &["--nsqd-http-address=127.0.0.1:99999"],
        &[nsqd, "--allow-config-from-cidr=x"],
        &[nsqd, "--allow-config-from-cidr=127.0.0.1/99"],
        &[nsqd, "--proxy-graphite", "--graphite-url=:8080"],
        &[&none],
        &[&both],
        &[nsqd, "--http-address=127.0.0.1"],
        &[&level, nsqd],
    ];
    for flags in cases {
        let ended = [Maker::Real, Maker::Ours].map(|maker| {
            let mut command = Nsqadmin::command(maker).expect("it was there before");
            let ended = run(command.args(["--http-address=127.0.0.1:0"]).args(flags), b"", SOON);
            // Without the date, and without the version that comes before some errors.
            let lines = ended.log.lines().filter(|line| !line.contains("INFO: nsqadmin v1.3.0"));
            let lines: Vec<_> = lines.map(without_date).collect();
            format!("{:?} {}", ended.status.code(), lines.join("\n"))
        });
        if flags.first() == Some(&level.as_str()) {
            // NSQ says it in words of its own, see `startup/src/config_file.rs`.
            assert!(ended[1].starts_with("Some(1) [nsqadmin] FATAL: "), "{}", ended[1]);
            continue;
        }
        differences.compare(&format!("{flags:?}"), ended);
    }
    for flags in [&["--help"][..], &["-h"], &["--none"], &["--statsd-interval=x", nsqd]] {
        let ended = [Maker::Real, Maker::Ours].map(|maker| {
            let mut command = Nsqadmin::command(maker).expect("it was there before");
            let ended = run(command.args(flags), b"", SOON);
            format!("{:?} {}", ended.status.code(), ended.log)
        });
        differences.compare(&format!("{flags:?}"), ended);
    }
    differences.none();
}

/// A log line without its date and time.
fn without_date(line: &str) -> String {
    let Some((prefix, rest)) = line.split_once("] ") else { return line.to_owned() };
    let words: Vec<_> = rest.splitn(3, ' ').collect();
    match words[..] {
        [date, time, text] if date.contains('/') && time.contains(':') => {
            format!("{prefix}] {text}")
        }
        _ => line.to_owned(),
    }
}

#[test]
fn it_logs_and_ends_alike() {
    let lookup = LookupServer::of(Maker::Ours);
    let folder = TempDir::new().expect("the temporary folder can be written");
    let path = folder.path().join("nsqadmin.cfg");
    let text = format!(
        "log_prefix = \"[x] \"\nbase_path = \"/a\"\nhttp_address = \"{NOBODY}\"\n\
         nsqlookupd_http_addresses = [\"{}\"]\nadmin_users = \"ann,bob\"\nnone = 5\n",
        lookup.http
    );
    fs::write(&path, text).expect("it can be written");
    let flags = [format!("--config={}", path.display()), "--base-path=/b".to_owned()];
    let Some(admins) = Nsqadmin::both(&flags) else { return };
    let mut differences = Differences::default();
    for target in ["/b/ping", "/b/api/topics", "/b/none?x=y", "/b/config/admin_users", "/a/ping"] {
        differences.get("from a file", &admins, &[target]);
    }
    differences.ask("from a file", &admins, ["OPTIONS", "/b/ping", "", ""]);
    differences.ask("from a file", &admins, ["POST", "/b/api/topics", "", "{}"]);
    let logs = admins.map(|mut admin| {
        let status = admin.process.terminate();
        assert_eq!(admin.process.whole_output(), [""; 0], "it says everything in its log");
        let log = admin.process.log();
        let lines = log.lines().filter(|line| !line.contains("INFO: CI: ")).map(|line| {
            let line = without_date(line);
            let line = line.split(" (").next().unwrap_or_default().to_owned();
            line.replace(&admin.http.to_string(), "ADDRESS")
        });
        let lines: Vec<_> = lines.collect();
        format!("{status:?}\n{}", lines.join("\n"))
    });
    assert_eq!(logs[0].lines().count(), 10, "{}", logs[0]);
    differences.compare("the log", logs);
    differences.none();

    for signal in [Signal::QUIT, Signal::HUP, Signal::INT] {
        let ends = Nsqadmin::both(&lookups(&[lookup.http])).expect("it was there before");
        let ends = ends.map(|mut admin| {
            admin.process.signal(signal);
            admin.process.ended_within(SOON)
        });
        assert_eq!(ends[0], ends[1], "{signal:?}");
    }
}

#[test]
fn it_says_which_version_it_stands_for() {
    let versions = [Maker::Real, Maker::Ours].map(|maker| {
        let mut command: Command = Nsqadmin::command(maker)?;
        let ended = run(command.arg("--version"), b"", SOON);
        assert_eq!(ended.status.code(), Some(0));
        Some(ended.output.join("\n"))
    });
    let [Some(real), Some(ours)] = versions else { return };
    let name = |line: &str| line.split(" (built w/").next().map(str::to_owned);
    assert_eq!(name(&real), name(&ours));
    assert!(ours.contains(" (built w/ringnsq"), "{ours}");
}
