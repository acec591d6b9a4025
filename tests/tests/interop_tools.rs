//! NSQ's own tools, as published, pointed at the broker and the directory under test.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::Message;
use tests::http;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::{Process, run};
use tests::programs::{Maker, real, under_test};
use tests::turn::Turn;
use tests::words;

const LIMIT: Duration = Duration::from_secs(60);

fn lines_in(folder: &TempDir) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder.path()).expect("the folder is there");
    let mut lines = Vec::new();
    for file in files {
        let content =
            fs::read(file.expect("an entry can be read").path()).expect("a file can be read");
        lines.extend(
            content
                .split(|&byte| byte == b'\n')
                .map(<[u8]>::to_vec)
                .filter(|line| !line.is_empty()),
        );
    }
    lines.sort();
    lines
}

#[test]
fn nsq_to_file_writes_every_message_to_files_and_finishes_it() {
    let (Some(program), Some(lines)) = (real("nsq_to_file"), words::lines()) else { return };
    let _turn = Turn::take();
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.order("/topic/create?topic=t");
    for channel in ["direct", "lookup"] {
        broker.order(&format!("/channel/create?topic=t&channel={channel}"));
    }
    let mut publisher = broker.client();
    for batch in lines.chunks(500) {
        publisher.publish_many("t", batch);
    }
    let ways = [
        ("direct", format!("--nsqd-tcp-address={}", broker.tcp)),
        ("lookup", format!("--lookupd-http-address={}", lookup.http)),
    ];
    for (channel, way) in ways {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let output = format!("--output-dir={}", folder.path().display());
        let channel_flag = format!("--channel={channel}");
        let flags = [
            "--topic=t",
            &channel_flag,
            &way,
            &output,
            "--max-in-flight=2000",
            "--sync-interval=1s",
        ];
        let mut tool = Process::start(Command::new(&program).args(flags));
        eventually(LIMIT, "the channel is read empty", || {
            let found = broker.channel("t", channel)?;
            let keys = ["depth", "in_flight_count", "deferred_count"];
            keys.iter().all(|&key| found[key] == 0).then_some(())
        });
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
        assert!(lines_in(&folder) == lines, "the files are not what was published");
        broker.count_becomes("t", channel, "client_count", 0);
    }
}

#[test]
fn nsq_tail_prints_messages_as_they_come() {
    let Some(program) = real("nsq_tail") else { return };
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let tool = Process::start(Command::new(program).args(["--topic=t", "--print-topic", &address]));
    eventually(SOON, "the tool has subscribed", || {
        let channels = broker.topic("t")?["channels"].clone();
        (channels[0]["client_count"] == 1).then_some(())
    });
    broker.client().publish_many("t", &["one", "two"]);
    let mut printed = eventually(SOON, "both are printed", || {
        let output = tool.output();
        (output.len() == 2).then_some(output)
    });
    printed.sort();
    assert_eq!(printed, ["t | one", "t | two"]);
    drop(tool);
    eventually(SOON, "its ephemeral channel is gone", || {
        let channels = broker.topic("t")?["channels"].clone();
        (channels == json!([])).then_some(())
    });
}

#[test]
fn nsq_stat_prints_the_counters() {
    let Some(program) = real("nsq_stat") else { return };
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    client.message();
    broker.count_becomes("t", "c", "in_flight_count", 1);
    eventually(SOON, "the broker is registered", || {
        lookup.get("/lookup?topic=t").text().contains("tcp_port").then_some(())
    });
    let ways = [
        format!("--nsqd-http-address={}", broker.http),
        format!("--lookupd-http-address={}", lookup.http),
    ];
    for way in ways {
        let flags = ["--topic=t", "--channel=c", "--interval=1s", "--count=1", &way];
        let ended = run(Command::new(&program).args(flags), b"", LIMIT);
        assert!(ended.status.success(), "{}", ended.log);
        let row = ended.output.last().expect("it prints a row");
        let columns: Vec<_> = row.split_whitespace().collect();
        // ingress egress | total mem disk in-flight deferred | requeued timed-out messages clients
        assert_eq!((columns[3], columns[6], columns[7]), ("2", "1", "0"), "{row}");
        assert_eq!(
            (columns[9], columns[10], columns[11], columns[12]),
            ("0", "0", "3", "1"),
            "{row}"
        );
    }
}

#[test]
fn to_nsq_publishes_the_lines_of_its_input() {
    let Some(program) = real("to_nsq") else { return };
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let input = b"first line\nsecond line\n\nthird line\n";
    let ended = run(Command::new(program).args(["--topic=t", &address]), input, LIMIT);
    assert!(ended.status.success(), "{}", ended.log);
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    let mut texts: Vec<_> = client.messages(3).iter().map(Message::text).collect();
    texts.sort();
    assert_eq!(texts, ["first line", "second line", "third line"]);
}

/// An HTTP server that says OK to everything, and keeps what it is asked.
struct Sink {
    address: SocketAddr,
    requests: Receiver<Asked>,
}

/// One request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    line: String,
    content_type: String,
    body: String,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || Self::serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    /// Serves one connection until it ends.
    fn serve(mut stream: TcpStream, asked: &Sender<Asked>) -> io::Result<()> {
        let mut input = BufReader::new(stream.try_clone()?);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if input.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                match line.trim_end() {
                    "" => break,
                    line => head.push(line.to_owned()),
                }
            }
            let value = |name: &str| {
                let found = head.iter().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_default().to_owned()
            };
            let length = value("Content-Length: ").parse().unwrap_or(0);
            let mut body = vec![0; length];
            input.read_exact(&mut body)?;
            let body = String::from_utf8_lossy(&body).into_owned();
            let content_type = value("Content-Type: ");
            let request = Asked { line: head[0].clone(), content_type, body };
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            if asked.send(request).is_err() {
                return Ok(());
            }
        }
    }

    /// The next so many requests, in the order of the alphabet.
    fn take(&self, count: usize) -> Vec<Asked> {
        let next = || self.requests.recv_timeout(LIMIT).expect("a request comes");
        let mut requests: Vec<_> = (0..count).map(|_| next()).collect();
        requests.sort();
        requests
    }
}

#[test]
fn nsq_to_http_asks_once_for_each_message_and_finishes_it() {
    let Some(program) = real("nsq_to_http") else { return };
    let sink = Sink::start();
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    for channel in ["post", "get"] {
        broker.order("/topic/create?topic=t");
        broker.order(&format!("/channel/create?topic=t&channel={channel}"));
    }
    broker.client().publish_many("t", &["one", "two & three"]);
    registered(&lookup, "t");
    let (address, asked) = (sink.address, |line: &str, content_type: &str, body: &str| Asked {
        line: format!("{line} HTTP/1.1"),
        content_type: content_type.to_owned(),
        body: body.to_owned(),
    });
    let octets = "application/octet-stream";
    let cases = [
        (
            format!("--post=http://{address}/put"),
            format!("--nsqd-tcp-address={}", broker.tcp),
            [asked("POST /put", octets, "one"), asked("POST /put", octets, "two & three")],
            "post",
        ),
        (
            format!("--get=http://{address}/get?m=%s"),
            format!("--lookupd-http-address={}", lookup.http),
            [asked("GET /get?m=one", "", ""), asked("GET /get?m=two+%26+three", "", "")],
            "get",
        ),
    ];
    for (target, way, expected, channel) in cases {
        let channel_flag = format!("--channel={channel}");
        let flags = ["--topic=t", &channel_flag, &target, &way];
        let mut tool = Process::start(Command::new(&program).args(flags));
        assert_eq!(sink.take(2), expected);
        broker.count_becomes("t", channel, "in_flight_count", 0);
        assert_eq!(broker.count("t", channel, "depth"), 0);
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
    }
}

#[test]
fn nsq_to_nsq_carries_messages_between_the_real_nsqd_and_this_one() {
    let Some(program) = real("nsq_to_nsq") else { return };
    let lookup = LookupServer::start();
    for (from, to) in [(under_test(), Maker::Real), (Maker::Real, under_test())] {
        let source = Broker::of(from, &[&lookup.flag()]);
        let destination = Broker::of(to, &[]);
        source.client().publish_many("t", &["one", "two", "three"]);
        registered(&lookup, "t");
        let destination_flag = format!("--destination-nsqd-tcp-address={}", destination.tcp);
        let way = format!("--lookupd-http-address={}", lookup.http);
        let flags = ["--topic=t", "--destination-topic=u", &destination_flag, &way];
        let mut tool = Process::start(Command::new(&program).args(flags));
        let mut consumer = destination.subscribed("u", "c");
        consumer.ready(10);
        let mut texts: Vec<_> = consumer.messages(3).iter().map(Message::text).collect();
        texts.sort();
        assert_eq!(texts, ["one", "three", "two"], "{from:?} to {to:?}");
        source.count_becomes("t", "nsq_to_nsq", "in_flight_count", 0);
        assert_eq!(source.count("t", "nsq_to_nsq", "depth"), 0);
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
    }
}

#[test]
fn the_tools_add_up_what_the_real_nsqd_and_this_one_have() {
    let (Some(stat), Some(tail), Some(to_nsq)) =
        (real("nsq_stat"), real("nsq_tail"), real("to_nsq"))
    else {
        return;
    };
    let lookup = LookupServer::start();
    let brokers = [Maker::Real, under_test()].map(|maker| Broker::of(maker, &[&lookup.flag()]));
    let addresses = brokers.each_ref().map(|broker| format!("--nsqd-tcp-address={}", broker.tcp));
    // to_nsq publishes each line to every nsqd it is given.
    let flags = ["--topic=t", &addresses[0], &addresses[1]];
    let ended = run(Command::new(to_nsq).args(flags), b"one\ntwo\nthree\n", LIMIT);
    assert!(ended.status.success(), "{}", ended.log);
    for broker in &brokers {
        broker.order("/channel/create?topic=t&channel=c");
        broker.count_becomes("t", "c", "depth", 3);
    }
    eventually(SOON, "both are registered", || {
        let found = lookup.get("/lookup?topic=t").json()["producers"].clone();
        (found.as_array()?.len() == 2).then_some(())
    });
    let way = format!("--lookupd-http-address={}", lookup.http);
    let flags = ["--topic=t", "--channel=c", "--interval=1s", "--count=1", &way];
    let ended = run(Command::new(stat).args(flags), b"", LIMIT);
    assert!(ended.status.success(), "{}", ended.log);
    let row = ended.output.last().expect("it prints a row");
    let columns: Vec<_> = row.split_whitespace().collect();
    assert_eq!((columns[3], columns[11]), ("6", "6"), "depth and messages: {row}");

    let tool = Process::start(Command::new(tail).args(["--topic=t", "--channel=c", &way]));
    let mut printed = eventually(LIMIT, "all are printed", || {
        let output = tool.output();
        (output.len() == 6).then_some(output)
    });
    printed.sort();
    assert_eq!(printed, ["one", "one", "three", "three", "two", "two"]);
}

fn registered(lookup: &LookupServer, topic: &str) {
    eventually(SOON, "the broker is registered", || {
        lookup.get(&format!("/lookup?topic={topic}")).text().contains("tcp_port").then_some(())
    });
}

/// A running nsqadmin, and where it listens.
struct Admin {
    _process: Process,
    http: SocketAddr,
}

impl Admin {
    fn start(flags: &[String]) -> Option<Self> {
        let program = real("nsqadmin")?;
        let mut process =
            Process::start(Command::new(program).arg("--http-address=127.0.0.1:0").args(flags));
        let http = process.logged("HTTP: listening on ");
        let http = http.trim().parse().expect("the log names an address");
        Some(Self { _process: process, http })
    }

    fn get(&self, target: &str) -> Value {
        let answer = http::get(self.http, target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    fn send(&self, method: &str, target: &str, body: &Value) {
        let answer = http::request(self.http, method, target, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        assert_eq!(answer.json()["message"], "", "{method} {target}");
    }
}

/// What an operator sees and does in nsqadmin, with one nsqd and one nsqlookupd.
fn check_admin(broker_of: Maker, lookup_of: Maker) {
    if real("nsqadmin").is_none() {
        return;
    }
    let lookup = LookupServer::of(lookup_of);
    let broker = Broker::of(broker_of, &[&lookup.flag()]);
    let Some(admin) = Admin::start(&[format!("--lookupd-http-address={}", lookup.http)]) else {
        return;
    };
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    client.message();
    broker.count_becomes("t", "c", "depth", 2);
    broker.count_becomes("t", "c", "in_flight_count", 1);
    eventually(SOON, "the broker is registered", || {
        lookup.get("/lookup?topic=t").text().contains(r#""channels":["c"]"#).then_some(())
    });

    assert_eq!(admin.get("/api/topics")["topics"], json!(["t"]));
    let topic = admin.get("/api/topics/t");
    assert_eq!((&topic["message_count"], &topic["paused"]), (&json!(3), &json!(false)));
    let channel = admin.get("/api/topics/t/c");
    assert_eq!((&channel["depth"], &channel["in_flight_count"]), (&json!(2), &json!(1)));
    assert_eq!(channel["client_count"], 1);
    let node = &admin.get("/api/nodes")["nodes"][0];
    assert_eq!((&node["tcp_port"], &node["version"]), (&json!(broker.tcp.port()), &json!("1.3.0")));
    assert_eq!(node["out_of_date"], false);
    let name = format!("127.0.0.1:{}", broker.http.port());
    let counter = admin.get("/api/counter");
    assert_eq!(counter["stats"][format!("t:c:{name}")]["message_count"], 3);
    let node = admin.get(&format!("/api/nodes/{name}"));
    assert_eq!((&node["total_messages"], &node["total_clients"]), (&json!(3), &json!(1)));

    admin.send("POST", "/api/topics/t/c", &json!({"action": "pause"}));
    assert_eq!(broker.channel("t", "c").expect("it is there")["paused"], true);
    admin.send("POST", "/api/topics/t/c", &json!({"action": "unpause"}));
    assert_eq!(broker.channel("t", "c").expect("it is there")["paused"], false);
    admin.send("POST", "/api/topics/t", &json!({"action": "pause"}));
    assert_eq!(broker.topic("t").expect("it is there")["paused"], true);
    admin.send("POST", "/api/topics/t/c", &json!({"action": "empty"}));
    assert_eq!(broker.count("t", "c", "depth"), 0);
    admin.send("POST", "/api/topics", &json!({"topic": "t", "channel": "made"}));
    assert!(broker.channel("t", "made").is_some());
    admin.send("DELETE", "/api/topics/t/c", &json!({}));
    assert!(broker.channel("t", "c").is_none());
    client.closed();
    admin.send("DELETE", "/api/topics/t", &json!({}));
    assert!(broker.topic("t").is_none());
    eventually(SOON, "no directory knows the topic", || {
        (lookup.get("/topics").json() == json!({"topics": []})).then_some(())
    });

    broker.order("/topic/create?topic=u");
    registered(&lookup, "u");
    admin.send("DELETE", &format!("/api/nodes/{name}"), &json!({"topic": "u"}));
    assert!(broker.topic("u").is_none(), "a tombstone deletes the topic there");
}

#[test]
fn nsqadmin_shows_and_changes_the_cluster() {
    check_admin(under_test(), under_test());
}

#[test]
fn nsqadmin_works_with_this_nsqd_under_the_real_nsqlookupd() {
    check_admin(under_test(), Maker::Real);
}

#[test]
fn nsqadmin_works_with_the_real_nsqd_under_this_nsqlookupd() {
    check_admin(Maker::Real, under_test());
}

#[test]
fn nsqadmin_shows_and_changes_the_real_nsqd_and_this_one_as_one_cluster() {
    if real("nsqadmin").is_none() {
        return;
    }
    for lookup_of in [Maker::Real, under_test()] {
        let lookup = LookupServer::of(lookup_of);
        let brokers = [Maker::Real, under_test()].map(|maker| Broker::of(maker, &[&lookup.flag()]));
        let Some(admin) = Admin::start(&[format!("--lookupd-http-address={}", lookup.http)]) else {
            return;
        };
        for (broker, messages) in brokers.iter().zip([&["a"][..], &["b", "c"]]) {
            broker.client().publish_many("t", messages);
        }
        eventually(SOON, "both are registered", || {
            let nodes = admin.get("/api/topics/t")["nodes"].clone();
            (nodes.as_array()?.len() == 2).then_some(())
        });
        admin.send("POST", "/api/topics", &json!({"topic": "t", "channel": "c"}));
        for (broker, depth) in brokers.iter().zip([1, 2]) {
            broker.count_becomes("t", "c", "depth", depth);
        }
        assert_eq!(admin.get("/api/topics/t")["message_count"], 3);
        assert_eq!(admin.get("/api/topics/t/c")["depth"], 3);
        let nodes = admin.get("/api/nodes")["nodes"].clone();
        let mut ports: Vec<_> = nodes.as_array().expect("a list").iter().collect();
        ports.sort_by_key(|node| node["tcp_port"].as_u64());
        let ports: Vec<_> = ports.iter().map(|node| node["tcp_port"].clone()).collect();
        let mut expected = brokers.each_ref().map(|broker| broker.tcp.port());
        expected.sort_unstable();
        assert_eq!(json!(ports), json!(expected));

        admin.send("POST", "/api/topics/t", &json!({"action": "pause"}));
        let is_paused = |broker: &Broker| broker.topic("t").map(|topic| topic["paused"].clone());
        assert_eq!(brokers.each_ref().map(is_paused), [Some(json!(true)), Some(json!(true))]);
        admin.send("POST", "/api/topics/t/c", &json!({"action": "empty"}));
        assert_eq!(brokers.each_ref().map(|broker| broker.count("t", "c", "depth")), [0, 0]);
        admin.send("DELETE", "/api/topics/t", &json!({}));
        assert!(brokers.iter().all(|broker| broker.topic("t").is_none()));
    }
}

#[test]
fn nsqadmin_works_without_a_directory_too() {
    let broker = Broker::start();
    let Some(admin) = Admin::start(&[format!("--nsqd-http-address={}", broker.http)]) else {
        return;
    };
    broker.client().publish("t", b"m");
    assert_eq!(admin.get("/api/topics")["topics"], json!(["t"]));
    assert_eq!(admin.get("/api/topics/t")["depth"], 1);
    admin.send("POST", "/api/topics/t", &json!({"action": "empty"}));
    assert_eq!(broker.topic_count("t", "depth"), 0);
}
