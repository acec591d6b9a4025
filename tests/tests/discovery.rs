//! Brokers and `nsqlookupd`: what is registered, what is found, and that either may be the real one.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::http::{self, Answer};
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::port::Port;
use tests::programs::{Maker, only_ours, real, under_test};

/// A broker looks after a lost directory every 15 seconds.
const RECONNECTED: Duration = Duration::from_secs(60);

fn becomes(lookup: &LookupServer, target: &str, expected: &Value) {
    let mut last = None;
    eventually(SOON, &format!("{target} is {expected}"), || {
        let answer = lookup.get(target).json();
        let same = answer == *expected;
        last = Some(answer);
        same.then_some(())
    });
}

fn producers(answer: &Answer) -> Vec<u64> {
    let list = answer.json()["producers"].clone();
    let list = list.as_array().expect("a list").clone();
    list.iter().map(|producer| producer["tcp_port"].as_u64().expect("a port")).collect()
}

fn check_registrations(broker_of: Maker, lookup_of: Maker) {
    let lookup = LookupServer::of(lookup_of);
    let broker = Broker::of(broker_of, &[&lookup.flag()]);
    let ports = [u64::from(broker.tcp.port())];

    eventually(SOON, "the broker is a node", || {
        (producers(&lookup.get("/nodes")) == ports).then_some(())
    });
    becomes(&lookup, "/topics", &json!({"topics": []}));
    assert_eq!(lookup.get("/lookup?topic=t").status, 404);

    broker.client().publish("t", b"m");
    becomes(&lookup, "/topics", &json!({"topics": ["t"]}));
    let consumer = broker.subscribed("t", "c");
    becomes(&lookup, "/channels?topic=t", &json!({"channels": ["c"]}));
    let found = lookup.get("/lookup?topic=t");
    assert_eq!(found.status, 200);
    assert_eq!(found.header("X-Nsq-Content-Type"), Some("nsq; version=1.0"));
    assert_eq!(producers(&found), ports);
    let producer = &found.json()["producers"][0];
    assert_eq!(producer["broadcast_address"], "127.0.0.1");
    assert_eq!(producer["http_port"], broker.http.port());
    assert_eq!(producer["version"], "1.3.0");
    let nodes = lookup.get("/nodes").json();
    assert_eq!(nodes["producers"][0]["topics"], json!(["t"]));
    assert_eq!(nodes["producers"][0]["tombstones"], json!([false]));

    drop(consumer);
    broker.order("/channel/delete?topic=t&channel=c");
    eventually(SOON, "the channel has no producer", || {
        let keys = lookup.get("/debug").json();
        keys.get("channel:t:c").is_none().then_some(())
    });
    broker.order("/topic/delete?topic=t");
    eventually(SOON, "the topic has no producer", || {
        producers(&lookup.get("/lookup?topic=t")).is_empty().then_some(())
    });
    // NSQ keeps the name of what was once registered.
    assert_eq!(lookup.get("/topics").json(), json!({"topics": ["t"]}));

    drop(broker);
    eventually(SOON, "the broker is no node", || {
        producers(&lookup.get("/nodes")).is_empty().then_some(())
    });
}

#[test]
fn topics_and_channels_are_registered_as_they_come_and_go() {
    check_registrations(under_test(), under_test());
}

#[test]
fn a_real_broker_registers_at_the_directory_under_test() {
    if real("nsqd").is_some() {
        check_registrations(Maker::Real, under_test());
    }
}

#[test]
fn the_broker_under_test_registers_at_a_real_directory() {
    if real("nsqlookupd").is_some() {
        check_registrations(under_test(), Maker::Real);
    }
}

#[test]
fn real_and_our_brokers_are_found_side_by_side() {
    if real("nsqd").is_none() {
        return;
    }
    let lookup = LookupServer::start();
    let brokers = [Maker::Real, under_test()].map(|maker| Broker::of(maker, &[&lookup.flag()]));
    for broker in &brokers {
        broker.client().publish("t", b"m");
    }
    let mut expected = brokers.each_ref().map(|broker| u64::from(broker.tcp.port())).to_vec();
    expected.sort_unstable();
    eventually(SOON, "both are found", || {
        let answer = lookup.get("/lookup?topic=t");
        if answer.status != 200 {
            return None;
        }
        let mut found = producers(&answer);
        found.sort_unstable();
        (found == expected).then_some(())
    });
}

#[test]
fn a_new_topic_gets_the_channels_that_the_directory_knows() {
    let lookup = LookupServer::start();
    for topic in ["t", "u"] {
        for channel in ["known", "passing%23ephemeral"] {
            let target = format!("/channel/create?topic={topic}&channel={channel}");
            assert_eq!(lookup.post(&target).status, 200);
        }
    }
    let broker = Broker::with(&[&lookup.flag()]);
    is_node_of(&broker, &lookup);
    broker.client().publish("t", b"m");
    broker.count_becomes("t", "known", "depth", 1);
    assert!(broker.channel("t", "passing#ephemeral").is_none());
    // Who makes a topic himself finds them there when he is answered.
    broker.order("/topic/create?topic=u");
    assert!(broker.channel("u", "known").is_some());
    assert!(broker.channel("u", "passing#ephemeral").is_none());
    becomes(&lookup, "/channels?topic=u", &json!({"channels": ["known", "passing#ephemeral"]}));
}

#[test]
fn a_new_topic_gets_the_channels_of_all_directories_that_answer() {
    let lookups = [LookupServer::start(), LookupServer::start()];
    for (lookup, channel) in lookups.iter().zip(["one", "two"]) {
        for channel in [channel, "both"] {
            let target = format!("/channel/create?topic=t&channel={channel}");
            assert_eq!(lookup.post(&target).status, 200);
        }
    }
    let nobody = Port::any();
    let gone = format!("--lookupd-tcp-address={}", nobody.address);
    let known = lookups.each_ref().map(LookupServer::flag);
    let broker = Broker::with(&[&gone, &known[0], &known[1]]);
    lookups.iter().for_each(|lookup| is_node_of(&broker, lookup));
    broker.order("/topic/create?topic=t");
    let topic = broker.topic("t").expect("it was made");
    let names: Vec<_> = topic["channels"].as_array().expect("a list").iter().collect();
    let names: Vec<_> = names.iter().map(|channel| &channel["channel_name"]).collect();
    assert_eq!(names, ["both", "one", "two"]);
    for (lookup, others) in lookups.iter().zip(["two", "one"]) {
        // What was learnt of the one is told to the other.
        eventually(SOON, "both know all channels", || {
            lookup.get("/channels?topic=t").text().contains(others).then_some(())
        });
    }
}

#[test]
fn directories_come_and_go_while_the_broker_runs() {
    let lookups = [LookupServer::start(), LookupServer::start()];
    // So many names that each of two shards has one.
    let topics: Vec<_> = (0..8).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        let target = format!("/channel/create?topic={topic}&channel=known");
        assert_eq!(lookups[0].post(&target).status, 200);
    }
    let broker = Broker::with(&["--shards=2"][usize::from(under_test() == Maker::Real)..]);
    let tell = |told: &[&LookupServer]| {
        let list = json!(told.iter().map(|lookup| lookup.tcp.to_string()).collect::<Vec<_>>());
        let target = "/config/nsqlookupd_tcp_addresses";
        let answer = http::request(broker.http, "PUT", target, list.to_string().as_bytes());
        assert_eq!((answer.status, answer.json()), (200, list));
    };
    let knows_broker = |lookup: &LookupServer| !producers(&lookup.get("/nodes")).is_empty();
    tell(&[&lookups[0]]);
    is_node_of(&broker, &lookups[0]);
    for topic in &topics {
        broker.order(&format!("/topic/create?topic={topic}"));
        assert!(broker.channel(topic, "known").is_some(), "{topic}");
    }
    tell(&[&lookups[1], &lookups[0]]);
    becomes(&lookups[1], "/channels?topic=t0", &json!({"channels": ["known"]}));
    assert!(knows_broker(&lookups[0]), "who stays on the list stays connected");
    tell(&[&lookups[1]]);
    eventually(SOON, "who is off the list is left", || (!knows_broker(&lookups[0])).then_some(()));
    assert!(knows_broker(&lookups[1]));
    tell(&[]);
    eventually(SOON, "both are left", || (!knows_broker(&lookups[1])).then_some(()));
    broker.order("/topic/create?topic=alone");
    assert_eq!(broker.topic("alone").expect("it was made")["channels"], json!([]));
}

#[test]
fn a_directory_that_does_not_answer_holds_a_new_topic_up_for_so_long_only() {
    // Its TCP side answers, its HTTP side accepts, as the system does, and is silent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let directory = half_a_directory(silent.local_addr().expect("it has an address").port());
    let flag = format!("--lookupd-tcp-address={directory}");
    let mut broker = Broker::with(&[&flag, "--http-client-request-timeout=1s"]);
    broker.process.logged(&format!("LOOKUPD({directory}): peer info "));
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(1);
    broker.client().publish("t", b"m");
    assert_eq!(consumer.message().text(), "m");
    broker
        .process
        .logged("WARNING: failed to query nsqlookupd for channels to pre-create for topic t - ");
    drop(silent);
}

#[test]
fn ours_lets_no_publisher_wait_for_a_directory_that_does_not_answer() {
    if !only_ours("the real nsqd answers when it knows the channels") {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let directory = half_a_directory(silent.local_addr().expect("it has an address").port());
    let flag = format!("--lookupd-tcp-address={directory}");
    // Longer than the test waits for anything.
    let mut broker = Broker::with(&[&flag, "--http-client-request-timeout=10m"]);
    broker.process.logged(&format!("LOOKUPD({directory}): peer info "));
    broker.client().publish("t", b"m");
    assert_eq!(broker.topic_count("t", "depth"), 1);
}

#[test]
fn without_a_directory_that_can_be_asked_a_new_topic_begins_at_once() {
    let nobody = Port::any();
    let mut broker = Broker::with(&[&format!("--lookupd-tcp-address={}", nobody.address)]);
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(1);
    broker.client().publish("t", b"m");
    assert_eq!(consumer.message().text(), "m");
    broker
        .process
        .logged("ERROR: no available nsqlookupd to query for channels to pre-create for topic t");
}

#[test]
fn a_broker_says_again_and_again_that_it_lives() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    is_node_of(&broker, &lookup);
    let said_at = || lookup.get("/debug").json()["client::"][0]["last_update"].as_i64();
    let first = said_at().expect("it has introduced itself");
    let second =
        eventually(RECONNECTED, "it says so again", || said_at().filter(|&at| at != first));
    let seconds = Duration::from_nanos((second - first).unsigned_abs()).as_secs_f64();
    // The real one counts from its own start rather than from the introduction, and whichever was
    // held up, the second may be early by that.
    assert!(10.0 < seconds, "{seconds} s between two signs of life");
}

fn is_node_of(broker: &Broker, lookup: &LookupServer) {
    eventually(SOON, "the broker is a node", || {
        (producers(&lookup.get("/nodes")) == [u64::from(broker.tcp.port())]).then_some(())
    });
}

/// The TCP side of a directory that says OK to everything; for one broker.
fn half_a_directory(http_port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut lines = BufReader::new(stream.try_clone()?);
        lines.read_exact(&mut [0; 4])?;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return io::Result::Ok(());
            }
            let answer = if line == "IDENTIFY\n" {
                let mut size = [0; 4];
                lines.read_exact(&mut size)?;
                let size = usize::try_from(u32::from_be_bytes(size)).expect("a size fits");
                lines.read_exact(&mut vec![0; size])?;
                let told = json!({"broadcast_address": "127.0.0.1", "http_port": http_port,
                    "tcp_port": address.port(), "hostname": "h", "version": "1.3.0"});
                told.to_string()
            } else {
                "OK".to_owned()
            };
            stream.write_all(&tests::client::sized(answer.as_bytes()))?;
        }
    });
    address
}

#[test]
fn a_tombstone_hides_a_producer_from_lookups_alone() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.client().publish("t", b"m");
    becomes(&lookup, "/topics", &json!({"topics": ["t"]}));
    let node = format!("127.0.0.1:{}", broker.http.port());
    assert_eq!(lookup.post(&format!("/topic/tombstone?topic=t&node={node}")).status, 200);
    assert_eq!(producers(&lookup.get("/lookup?topic=t")), [0_u64; 0]);
    let nodes = lookup.get("/nodes").json();
    assert_eq!(nodes["producers"][0]["tombstones"], json!([true]));
}

#[test]
fn the_directory_refuses_what_nsqs_refuses() {
    let lookup = LookupServer::start();
    let get = |target: &str| {
        let answer = lookup.get(target);
        (answer.status, answer.text())
    };
    let post = |target: &str| {
        let answer = lookup.post(target);
        (answer.status, answer.text())
    };
    let said = |status: u16, code: &str| (status, format!(r#"{{"message":"{code}"}}"#));
    assert_eq!(get("/ping"), (200, "OK".to_owned()));
    assert_eq!(get("/info"), (200, r#"{"version":"1.3.0"}"#.to_owned()));
    assert_eq!(get("/lookup"), said(400, "MISSING_ARG_TOPIC"));
    assert_eq!(get("/lookup?topic=none"), said(404, "TOPIC_NOT_FOUND"));
    assert_eq!(get("/channels"), said(400, "MISSING_ARG_TOPIC"));
    assert_eq!(get("/channels?topic=none"), (200, r#"{"channels":[]}"#.to_owned()));
    assert_eq!(get("/nodes"), (200, r#"{"producers":[]}"#.to_owned()));
    assert_eq!(get("/nothing"), said(404, "NOT_FOUND"));
    assert_eq!(post("/lookup?topic=t"), said(405, "METHOD_NOT_ALLOWED"));
    assert_eq!(post("/topic/create"), said(400, "MISSING_ARG_TOPIC"));
    assert_eq!(post("/topic/create?topic=x*"), said(400, "INVALID_ARG_TOPIC"));
    assert_eq!(post("/topic/create?topic=t"), (200, String::new()));
    assert_eq!(post("/topic/delete?topic=none"), (200, String::new()));
    assert_eq!(post("/channel/create?topic=t"), said(400, "MISSING_ARG_CHANNEL"));
    assert_eq!(post("/channel/create?topic=t&channel=x*"), said(400, "INVALID_ARG_CHANNEL"));
    assert_eq!(post("/channel/delete?topic=t&channel=none"), said(404, "CHANNEL_NOT_FOUND"));
    assert_eq!(post("/topic/tombstone?topic=t"), said(400, "MISSING_ARG_NODE"));
}

/// A connection to the directory's TCP side, byte by byte.
struct Peer(TcpStream);

impl Peer {
    fn connect(lookup: &LookupServer) -> Self {
        let stream = TcpStream::connect_timeout(&lookup.tcp, SOON).expect("the directory accepts");
        stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
        Self(stream)
    }

    /// Sends a command and returns the answer, or `None` when the stream has ended.
    fn ask(&mut self, command: &[u8]) -> Option<String> {
        self.0.write_all(command).expect("the directory reads");
        let mut size = [0; 4];
        self.0.read_exact(&mut size).ok()?;
        let size = usize::try_from(u32::from_be_bytes(size)).expect("a size fits");
        assert!(size < 1 << 20, "an answer of {size} bytes");
        let mut text = vec![0; size];
        self.0.read_exact(&mut text).expect("an answer is whole");
        Some(String::from_utf8(text).expect("an answer is text"))
    }
}

fn identify(json: &str) -> Vec<u8> {
    [b"IDENTIFY\n", tests::client::sized(json.as_bytes()).as_slice()].concat()
}

#[test]
fn the_directory_speaks_nsqs_tcp_protocol() {
    let lookup = LookupServer::start();
    let mut peer = Peer::connect(&lookup);
    assert_eq!(peer.ask(b"  V1PING\n").as_deref(), Some("OK"));
    let told = r#"{"broadcast_address":"b","hostname":"h1","http_port":4151,"tcp_port":4150,"version":"1.3.0"}"#;
    let answer = peer.ask(&identify(told)).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["tcp_port"], lookup.tcp.port());
    assert_eq!(answer["http_port"], lookup.http.port());
    assert_eq!(
        (&answer["broadcast_address"], &answer["version"]),
        (&json!("127.0.0.1"), &json!("1.3.0"))
    );
    assert_eq!(peer.ask(b"REGISTER t c\n").as_deref(), Some("OK"));
    assert_eq!(lookup.get("/channels?topic=t").json(), json!({"channels": ["c"]}));
    assert_eq!(peer.ask(b"UNREGISTER t c\n").as_deref(), Some("OK"));
    assert_eq!(peer.ask(&identify(told)).as_deref(), Some("E_INVALID cannot IDENTIFY again"));
    assert_eq!(peer.ask(b""), None);
}

#[test]
fn the_directory_closes_after_an_error() {
    let lookup = LookupServer::start();
    let cases: [(&[u8], &str); 5] = [
        (b"  V9", "E_BAD_PROTOCOL"),
        (b"  V1FOO\n", "E_INVALID invalid command FOO"),
        (b"  V1REGISTER t\n", "E_INVALID client must IDENTIFY"),
        (b"  V1IDENTIFY\n\0\0\0\x01{", "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        (b"  V1IDENTIFY\n\0\0\0\x02{}", "E_BAD_BODY IDENTIFY missing fields"),
    ];
    for (sent, said) in cases {
        let mut peer = Peer::connect(&lookup);
        assert_eq!(peer.ask(sent).as_deref(), Some(said));
        assert_eq!(peer.ask(b""), None, "{said}");
    }
}

#[test]
fn a_star_is_no_topic_to_delete_and_every_topic_in_nsq() {
    let lookup = LookupServer::start();
    for name in ["t", "u"] {
        assert_eq!(lookup.post(&format!("/topic/create?topic={name}")).status, 200);
    }
    let answer = lookup.post("/topic/delete?topic=*");
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let left = match under_test() {
        Maker::Ours => json!({"topics": ["t", "u"]}),
        Maker::Real => json!({"topics": []}),
    };
    assert_eq!(lookup.get("/topics").json(), left);
}

#[test]
fn an_introduction_beyond_a_mebibyte_is_refused_and_taken_in_nsq() {
    let lookup = LookupServer::start();
    let told = r#"{"broadcast_address":"b","http_port":4151,"tcp_port":4150,"version":"1.3.0"}"#;
    let padded = |size: usize| identify(&format!("{told}{}", " ".repeat(size - told.len())));
    let is_taken = |size: usize| {
        let mut peer = Peer::connect(&lookup);
        assert_eq!(peer.ask(b"  V1PING\n").as_deref(), Some("OK"));
        let answer = peer.ask(&padded(size)).expect("an answer");
        let is_taken = answer.starts_with('{');
        assert!(is_taken || answer == "E_BAD_BODY IDENTIFY failed to read body size", "{answer}");
        is_taken
    };
    assert!(is_taken(1 << 20));
    assert_eq!(is_taken((1 << 20) + 1), under_test() == Maker::Real);
}

#[test]
fn an_introduction_of_a_negative_size_is_refused_and_ends_nsqs_process() {
    let mut lookup = LookupServer::start();
    let mut peer = Peer::connect(&lookup);
    let answer = peer.ask(b"  V1IDENTIFY\n\xff\xff\xff\xff");
    match under_test() {
        Maker::Ours => {
            assert_eq!(answer.as_deref(), Some("E_BAD_BODY IDENTIFY failed to read body size"));
            assert_eq!(peer.ask(b""), None);
            assert_eq!(lookup.get("/ping").text(), "OK");
        }
        Maker::Real => assert_eq!(lookup.process.ended_within(SOON).code(), Some(2)),
    }
}

#[test]
fn an_ordinary_end_of_a_connection_is_no_error_line_and_one_in_nsq() {
    let mut lookup = LookupServer::start();
    // Whatever is logged of the first connection stands before the end of the second.
    for _ in 0..2 {
        let mut peer = Peer::connect(&lookup);
        assert_eq!(peer.ask(b"  V1PING\n").as_deref(), Some("OK"));
        let address = peer.0.local_addr().expect("it has an address");
        drop(peer);
        lookup.process.logged(&format!("[{address}] exiting ioloop"));
    }
    match under_test() {
        Maker::Ours => {
            assert!(!lookup.process.log().contains(" ERROR: "), "{}", lookup.process.log());
        }
        Maker::Real => assert!(lookup.process.logged(" ERROR: client(").ends_with(" - EOF")),
    }
}

#[test]
fn ours_says_no_error_when_a_directory_leaves_in_order() {
    if !only_ours("the real nsqd notices that a directory has left when it next speaks to it") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let mut broker = Broker::with(&[&format!("--lookupd-tcp-address={address}")]);
    // The second time, it stops together with the broker, as Ctrl-C stops all that runs at once.
    for (name, stops_too) in [("first", false), ("second", true)] {
        let (mut stream, _) = listener.accept().expect("the broker comes");
        let mut head = [0; 4 + "IDENTIFY\n".len() + 4];
        stream.read_exact(&mut head).expect("the broker introduces itself");
        let size = u32::from_be_bytes(*head.last_chunk().expect("it ends in a size"));
        let mut told = vec![0; usize::try_from(size).expect("a size fits")];
        stream.read_exact(&mut told).expect("a body is whole");
        let answer = json!({"broadcast_address": name, "http_port": 1, "tcp_port": 2});
        let answer = tests::client::sized(answer.to_string().as_bytes());
        stream.write_all(&answer).expect("the broker reads");
        broker.process.logged(&format!("BroadcastAddress:{name}}}"));
        if stops_too {
            broker.process.signal(Signal::INT);
        }
        drop(stream);
        if !stops_too {
            broker.process.logged(&format!("INFO: LOOKUPD({address}): it has closed"));
        }
    }
    assert_eq!(broker.process.ended_within(SOON).code(), Some(0));
    let log = broker.process.whole_log();
    assert!(!log.contains(" ERROR: "), "{log}");
}

#[test]
fn a_broker_registers_again_after_the_directory_was_gone() {
    let mut lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.client().publish("t", b"m");
    becomes(&lookup, "/topics", &json!({"topics": ["t"]}));
    lookup.restart();
    eventually(RECONNECTED, "the broker has registered again", || {
        let found = lookup.get("/lookup?topic=t");
        (found.status == 200 && producers(&found) == [u64::from(broker.tcp.port())]).then_some(())
    });
    assert_eq!(lookup.get("/topics").json(), json!({"topics": ["t"]}));
}
