//! NSQ's own tools, as published, pointed at the broker and the directory under test.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::Message;
use tests::http;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::{Process, run};
use tests::programs::real;
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
            let empty =
                ["depth", "in_flight_count"].map(|key| broker.count("t", channel, key)) == [0, 0];
            empty.then_some(())
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

#[test]
fn nsqadmin_shows_and_changes_the_cluster() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    let Some(admin) = Admin::start(&[format!("--lookupd-http-address={}", lookup.http)]) else {
        return;
    };
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    client.message();
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
    let counter = admin.get("/api/counter");
    let key = format!("t:c:127.0.0.1:{}", broker.http.port());
    assert_eq!(counter["stats"][&key]["message_count"], 3);

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
    assert_eq!(lookup.get("/topics").json(), json!({"topics": []}));
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
