//! The verbs of `admin-cli` at NSQ's own nsqd and nsqlookupd: `top`, `stat`, `tail`, `pub`, `doctor`.
//! Those that list and change have their mixtures in `admin_verbs`.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::broker::Broker;
use tests::client::{Client, Message};
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::{Ended, run};
use tests::programs::{Maker, ours, real};
use tests::terminal::Terminal;

const LIMIT: Duration = Duration::from_secs(60);

fn admin_cli(arguments: &[&str], input: &[u8]) -> Ended {
    run(Command::new(ours("admin-cli")).args(arguments), input, LIMIT)
}

/// A real nsqd that a real nsqlookupd knows.
struct Cluster {
    lookup: LookupServer,
    broker: Broker,
}

impl Cluster {
    /// `None`, said aloud, when NSQ's programs have not been built.
    fn start() -> Option<Self> {
        real("nsqd")?;
        real("nsqlookupd")?;
        let lookup = LookupServer::of(Maker::Real);
        let broker = Broker::of(Maker::Real, &[&lookup.flag()]);
        Some(Self { lookup, broker })
    }

    /// Makes the topic `orders` with the channels `email`, which has 6 messages and one more in flight to
    /// the consumer that is returned, and `audit`, which is paused with 7.
    fn with_orders(&self) -> Client {
        for target in [
            "/topic/create?topic=orders",
            "/channel/create?topic=orders&channel=email",
            "/channel/create?topic=orders&channel=audit",
            "/channel/pause?topic=orders&channel=audit",
        ] {
            self.broker.order(target);
        }
        self.broker.client().publish_many("orders", &["1", "2", "3", "4", "5", "6", "7"]);
        let mut consumer = self.broker.subscribed("orders", "email");
        consumer.ready(1);
        consumer.message();
        self.broker.count_becomes("orders", "email", "in_flight_count", 1);
        self.broker.count_becomes("orders", "email", "depth", 6);
        self.broker.count_becomes("orders", "audit", "depth", 7);
        self.is_known("orders", 2);
        consumer
    }

    /// Waits until the directory knows the topic with so many channels.
    fn is_known(&self, topic: &str, channels: usize) {
        eventually(SOON, "the directory knows it", || {
            let answer = self.lookup.get(&format!("/lookup?topic={topic}"));
            let has_all = answer.status == 200
                && answer.text().contains("tcp_port")
                && answer.json()["channels"].as_array()?.len() == channels;
            has_all.then_some(())
        });
    }

    /// The two ways in which a user says which cluster is meant.
    fn ways(&self) -> [String; 2] {
        [
            format!("--lookupd-http-address={}", self.lookup.http),
            format!("--nsqd-http-address={}", self.broker.http),
        ]
    }
}

#[test]
fn top_shows_its_topics_channels_clients_and_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let _consumer = cluster.with_orders();
    for way in cluster.ways() {
        let arguments = ["top", "--interval=200ms", &way];
        let Some(terminal) = Terminal::run((80, 24), &[], &ours("admin-cli"), &arguments) else {
            return;
        };
        terminal.shows_line(&["1 node  1 topic  2 channels  1 client  backlog 13 "]);
        terminal.shows_line(&["orders", " 13 "]);
        terminal.press(&["Enter"]);
        terminal.shows_line(&["audit (paused)", " 7 "]);
        terminal.shows_line(&["email", " 6 "]);
        terminal.press(&["Down", "Enter"]);
        terminal.shows_line(&["[topics] channels nodes › orders › email"]);
        // RDY 1, one in flight.
        terminal.shows_line(&["127.0.0.1:", "     1      1 "]);
        terminal.press(&["3"]);
        terminal.shows_line(&[&cluster.broker.http.to_string(), " 13 "]);
        terminal.press(&["q"]);
        terminal.ended();
    }
}

#[test]
fn stat_shows_its_counters() {
    let Some(cluster) = Cluster::start() else { return };
    let _consumer = cluster.with_orders();
    for way in cluster.ways() {
        let ended = admin_cli(&["stat", "--topic=orders", "--once", "--json", &way], b"");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let told: Value = serde_json::from_str(&ended.output[0]).expect("a line of JSON");
        let of = |channel: &str| {
            let channels = told["channels"].as_array().expect("a list");
            let found = channels.iter().find(|found| found["channel"] == channel);
            let found = found.unwrap_or_else(|| panic!("no {channel} in {told}"));
            json!([found["depth"], found["in_flight"], found["messages"], found["clients"]])
        };
        assert_eq!((of("email"), of("audit")), (json!([6, 1, 7, 1]), json!([7, 0, 7, 0])));
        let table = admin_cli(&["stat", "--topic=orders", "--once", &way], b"");
        assert_eq!(table.status.code(), Some(0), "{}", table.log);
        for name in ["email", "audit"] {
            assert!(table.output.iter().any(|line| line.contains(name)), "{:?}", table.output);
        }
    }
}

#[test]
fn what_pub_publishes_there_tail_prints() {
    let Some(cluster) = Cluster::start() else { return };
    let nsqd = format!("--nsqd-tcp-address={}", cluster.broker.tcp);
    for (channel, way) in [("direct", nsqd.as_str()), ("lookup", &cluster.ways()[0])] {
        cluster.broker.order("/topic/create?topic=t");
        cluster.broker.order(&format!("/channel/create?topic=t&channel={channel}"));
        cluster.is_known("t", if channel == "direct" { 1 } else { 2 });
        let published = admin_cli(&["pub", "--topic=t", &nsqd], b"one\n{\"two\":2}\n");
        assert_eq!(published.status.code(), Some(0), "{}", published.log);
        let channel_flag = format!("--channel={channel}");
        let tail = ["tail", "--topic=t", "-n", "2", "--format=json", &channel_flag, way];
        let ended = admin_cli(&tail, b"");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let told = ended.output.iter().map(|line| {
            let told: Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(told["nsqd"], cluster.broker.tcp.to_string());
            told["body"].as_str().expect("a text").to_owned()
        });
        let mut bodies: Vec<_> = told.collect();
        bodies.sort();
        assert_eq!(bodies, ["one", "{\"two\":2}"]);
        cluster.broker.count_becomes("t", channel, "in_flight_count", 0);
        assert_eq!(cluster.broker.count("t", channel, "depth"), 0);
        // The other channel shall find its own two only.
        cluster.broker.order("/topic/delete?topic=t");
        eventually(SOON, "the directory has forgotten it", || {
            let answer = cluster.lookup.get("/lookup?topic=t");
            (!answer.text().contains("tcp_port")).then_some(())
        });
    }
}

#[test]
fn what_pub_keeps_back_it_delivers_when_it_is_due() {
    let Some(cluster) = Cluster::start() else { return };
    let nsqd = format!("--nsqd-tcp-address={}", cluster.broker.tcp);
    let mut consumer = cluster.broker.subscribed("t", "c");
    consumer.ready(10);
    let published = admin_cli(&["pub", "--topic=t", "--defer=1s", &nsqd], b"late\n");
    assert_eq!(published.status.code(), Some(0), "{}", published.log);
    let folder = tempfile::TempDir::new().expect("the temporary folder can be written");
    let file = folder.path().join("file");
    std::fs::write(&file, b"a\nb\0").expect("the temporary folder can be written");
    let file = file.to_str().expect("paths are text");
    let published = admin_cli(&["pub", "--topic=t", "--binary", &nsqd, file], b"");
    assert_eq!(published.status.code(), Some(0), "{}", published.log);
    let mut bodies: Vec<_> = consumer.messages(2).iter().map(Message::text).collect();
    bodies.sort();
    assert_eq!(bodies, ["a\nb\0", "late"]);
}

#[test]
fn doctor_knows_its_ports_and_its_directory() {
    let Some(cluster) = Cluster::start() else { return };
    let flags = [
        format!("--data-path={}", cluster.broker.folder().display()),
        format!("--tcp-address={}", cluster.broker.tcp),
        format!("--http-address={}", cluster.broker.http),
        cluster.lookup.flag(),
        format!("--lookupd-http-address={}", cluster.lookup.http),
    ];
    let mut command = Command::new(ours("admin-cli"));
    command.args(["doctor", "--json", "--measure=50ms", "--shards=1"]).args(&flags);
    let ended = run(&mut command, b"", LIMIT);
    assert_eq!(ended.status.code(), Some(0), "{}\n{:?}", ended.log, ended.output);
    let text = ended.output.join("\n");
    let process = cluster.broker.process.id();
    for words in [
        format!("nsqd 1.3.0 serves at {}: nsqd (process {process})", cluster.broker.tcp),
        format!("nsqd 1.3.0 serves at {}: nsqd (process {process})", cluster.broker.http),
        format!("{} answers nsqd's PING", cluster.lookup.tcp),
        format!("{} is version 1.3.0, and its clock agrees", cluster.lookup.http),
    ] {
        assert!(text.contains(&words), "{words} is not in {text}");
    }
}
