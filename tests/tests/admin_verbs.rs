//! The verbs of `admin-cli` that list and change a cluster, at work on brokers and directories of
//! both makers, and asked at a terminal.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::broker::Broker;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::{Ended, Process, run};
use tests::programs::{Maker, ours, skipped};
use tests::scripted_http::ScriptedHttp;

const LIMIT: Duration = Duration::from_secs(60);

fn admin_cli(line: &str) -> Ended {
    run(Command::new(ours("admin-cli")).args(line.split_whitespace()), b"", LIMIT)
}

/// What `line` prints when it ends with status 0.
fn shown(line: &str) -> Vec<String> {
    let ended = admin_cli(line);
    assert_eq!(ended.status.code(), Some(0), "{line}: {}", ended.log);
    ended.output
}

fn shown_json(line: &str) -> Value {
    serde_json::from_str(&shown(&format!("{line} --json")).join("\n")).expect("a line of JSON")
}

/// Types at the terminal that `script` makes for `line`; `None`, said aloud, where there is none.
fn typed(line: &str, keys: &[u8]) -> Option<(Option<i32>, String)> {
    if Command::new("script").arg("--version").output().is_err() {
        skipped("script is not installed: there is no terminal to be asked at");
        return None;
    }
    let line = format!("{} {line}", ours("admin-cli").display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let ended = run(&mut command, keys, LIMIT);
    Some((ended.status.code(), ended.output.join("\n").replace('\r', "")))
}

/// A directory and two brokers which it knows, with the topic `t` and its channel `c` at both.
struct Cluster {
    lookup: LookupServer,
    brokers: [Broker; 2],
}

impl Cluster {
    fn of(directory: Maker, makers: [Maker; 2]) -> Self {
        let lookup = LookupServer::of(directory);
        let brokers = makers.map(|maker| Broker::of(maker, &[&lookup.flag()]));
        for broker in &brokers {
            broker.order("/topic/create?topic=t");
            broker.order("/channel/create?topic=t&channel=c");
        }
        eventually(SOON, "both brokers are registered", || {
            let answer = lookup.get("/lookup?topic=t").text();
            let is_there = answer.matches("tcp_port").count() == 2 && answer.contains(r#"["c"]"#);
            is_there.then_some(())
        });
        Self { lookup, brokers }
    }

    /// The two ways in which a user says which cluster is meant.
    fn ways(&self) -> [String; 2] {
        let [one, other] = [0, 1].map(|place| self.brokers[place].http);
        [
            format!("--lookupd-http-address={}", self.lookup.http),
            format!("--nsqd-http-address={one} --nsqd-http-address={other}"),
        ]
    }
}

/// Each directory with each broker.
const MIXTURES: [(Maker, [Maker; 2]); 2] =
    [(Maker::Ours, [Maker::Ours, Maker::Real]), (Maker::Real, [Maker::Real, Maker::Ours])];

#[test]
fn what_there_is_is_listed_in_tables_and_as_json() {
    for (directory, makers) in MIXTURES {
        let cluster = Cluster::of(directory, makers);
        for broker in &cluster.brokers {
            broker.client().publish_many("t", &["a", "b", "c"]);
            broker.count_becomes("t", "c", "depth", 3);
        }
        for way in cluster.ways() {
            let topics = shown(&format!("topic list {way}"));
            assert_eq!(
                topics,
                [
                    "TOPIC  NSQDS  CHANNELS  DEPTH  IN CHANNELS  MESSAGES",
                    "t          2         1      0            6         6",
                ]
            );
            let topics = shown_json(&format!("topic list t {way}"));
            assert_eq!(
                topics,
                json!({"topics": [{"topic": "t", "nsqds": 2, "channels": 1, "depth": 0,
                    "channel_depth": 6, "messages": 6, "paused": false}], "failed": []})
            );
            let channels = shown(&format!("channel list {way}"));
            assert_eq!(
                channels,
                [
                    "CHANNEL  DEPTH  IN FLIGHT  DEFERRED  REQUEUED  TIMED OUT  MESSAGES  CLIENTS",
                    "t/c          6          0         0         0          0         6        0",
                ]
            );
            let nodes = shown_json(&format!("node list {way}"));
            let mut known: Vec<_> = nodes["nodes"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|node| (node["node"].as_str().expect("a text"), node["topics"].as_u64()))
                .collect();
            known.sort_unstable();
            let mut expected = [0, 1].map(|place| cluster.brokers[place].http.to_string());
            expected.sort_unstable();
            let expected = [0, 1].map(|place| (expected[place].as_str(), Some(1)));
            assert_eq!(known, expected);
        }
        let way = &cluster.ways()[0];
        let lookup = shown_json(&format!("lookup t {way}"));
        assert_eq!(lookup["channels"], json!(["c"]));
        assert_eq!(lookup["producers"].as_array().map(Vec::len), Some(2));
        let ended = admin_cli(&format!("lookup t nothing {way}"));
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.log.contains("no nsqlookupd knows nothing"), "{}", ended.log);
        assert_eq!(ended.output[0], "t: channel c");
    }
}

#[test]
fn a_topic_and_a_channel_live_through_all_verbs() {
    for (directory, makers) in MIXTURES {
        let cluster = Cluster::of(directory, makers);
        for way in cluster.ways() {
            let is_looked_up = way.starts_with("--lookupd");
            let at = |both: &str, nsqds: &str| {
                if is_looked_up { both.to_owned() } else { nsqds.to_owned() }
            };
            let all = "at 1 nsqlookupd and 2 nsqds";
            assert_eq!(
                shown(&format!("topic create new other {way}")),
                ["new", "other"]
                    .map(|name| format!("created {name} {}", at("at 1 nsqlookupd", "at 2 nsqds")))
            );
            assert_eq!(
                shown(&format!("channel create t/d {way}")),
                [format!("created t/d {}", at(all, "at 2 nsqds"))]
            );
            let paused = |name: &str| {
                let [one, other] = [0, 1].map(|place| {
                    let broker = &cluster.brokers[place];
                    match name.split_once('/') {
                        None => broker.topic(name).expect("it is there")["paused"] == true,
                        Some((topic, channel)) => {
                            broker.channel(topic, channel).expect("it is there")["paused"] == true
                        }
                    }
                });
                assert_eq!(one, other);
                one
            };
            for (noun, name) in [("topic", "t"), ("channel", "t/d")] {
                assert_eq!(
                    shown(&format!("{noun} pause {name} {way}")),
                    [format!("paused {name} at 2 nsqds")]
                );
                assert!(paused(name));
                assert_eq!(
                    shown(&format!("{noun} unpause {name} {way}")),
                    [format!("unpaused {name} at 2 nsqds")]
                );
                assert!(!paused(name));
            }
            cluster.brokers[0].client().publish_many("t", &["a", "b"]);
            cluster.brokers[0].count_becomes("t", "d", "depth", 2);
            assert_eq!(
                shown(&format!("channel empty --yes t/d {way}")),
                ["emptied t/d at 2 nsqds"]
            );
            cluster.brokers[0].count_becomes("t", "d", "depth", 0);
            assert_eq!(
                shown(&format!("channel delete t/d --yes {way}")),
                [format!("deleted t/d {}", at(all, "at 2 nsqds"))]
            );
            assert!(cluster.brokers.iter().all(|broker| broker.channel("t", "d").is_none()));
            assert_eq!(shown(&format!("topic empty t --yes {way}")), ["emptied t at 2 nsqds"]);
            let deleted = shown(&format!("topic delete new other --yes {way}"));
            assert_eq!(
                deleted,
                ["new", "other"]
                    .map(|name| format!("deleted {name} {}", at("at 1 nsqlookupd", "at 2 nsqds")))
            );
            let again = admin_cli(&format!("topic delete new --yes {way}"));
            assert_eq!(again.status.code(), Some(1), "{}", again.log);
            assert!(again.log.contains("new"), "{}", again.log);
        }
        let json = shown_json(&format!("topic delete t --yes {}", cluster.ways()[0]));
        assert_eq!(
            (&json["change"], &json["topic"], &json["failed"]),
            (&json!("deleted"), &json!("t"), &json!([]))
        );
        assert!(cluster.brokers.iter().all(|broker| broker.topic("t").is_none()));
        assert!(!cluster.lookup.get("/topics").text().contains("\"t\""));
    }
}

#[test]
fn at_a_terminal_it_is_asked_before_anything_is_lost() {
    let cluster = Cluster::of(Maker::Ours, [Maker::Ours, Maker::Ours]);
    let way = &cluster.ways()[0];
    let bodies: Vec<String> = (0..602).map(|number| number.to_string()).collect();
    for broker in &cluster.brokers {
        broker.client().publish_many("t", &bodies);
        broker.count_becomes("t", "c", "depth", 602);
    }
    for (verb, words) in [
        (
            "topic delete t",
            "t is deleted at 2 nsqds, and with it\n  1,204 messages in t/c\nDelete t? [y/N] ",
        ),
        (
            "channel delete t/c",
            "t/c is deleted, and with it\n  1,204 messages in t/c\nDelete t/c? [y/N] ",
        ),
        (
            "channel empty t/c",
            "t/c is emptied, and with it\n  1,204 messages in t/c\nEmpty t/c? [y/N] ",
        ),
        ("topic empty t", "t is emptied at 2 nsqds; no message is lost\nEmpty t? [y/N] "),
    ] {
        for keys in [&b"n\n"[..], b"\n", b"\x04"] {
            let Some((code, screen)) = typed(&format!("{verb} {way}"), keys) else { return };
            assert_eq!(code, Some(3), "{screen}");
            assert!(screen.contains(words), "{screen}");
            assert!(screen.contains("nothing was done"), "{screen}");
        }
        // Nobody to ask is a no.
        let ended = admin_cli(&format!("{verb} {way}"));
        assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
        assert!(ended.log.contains("--yes goes ahead without asking"), "{}", ended.log);
    }
    assert_eq!(cluster.brokers[1].count("t", "c", "depth"), 602);
    let Some((code, screen)) = typed(&format!("channel empty t/c {way}"), b"y\n") else { return };
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("emptied t/c at 2 nsqds"), "{screen}");
    assert_eq!(cluster.brokers[1].count("t", "c", "depth"), 0);
}

#[test]
fn a_node_is_hidden_and_its_topic_goes() {
    let cluster = Cluster::of(Maker::Ours, [Maker::Ours, Maker::Real]);
    let way = &cluster.ways()[0];
    let node = cluster.brokers[1].http;
    cluster.brokers[1].client().publish_many("t", &["a"]);
    cluster.brokers[1].count_becomes("t", "c", "depth", 1);
    let asked = admin_cli(&format!("node tombstone {node} t {way}"));
    assert_eq!(asked.status.code(), Some(3));
    assert!(asked.log.contains("  1 message in t/c"), "{}", asked.log);
    assert_eq!(
        shown(&format!("node tombstone {node} t --yes {way}")),
        ["tombstoned t at 1 nsqlookupd and 1 nsqd"]
    );
    assert!(cluster.brokers[1].topic("t").is_none() && cluster.brokers[0].topic("t").is_some());
    let ended = admin_cli(&format!("node tombstone {node} t --nsqd-http-address={node}"));
    assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
}

#[test]
fn a_drained_broker_delivers_what_it_has_and_ends() {
    let mut broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    broker.client().publish_many("t", &["a", "b"]);
    broker.count_becomes("t", "c", "depth", 2);
    let line = format!("node drain {}", broker.http);
    let asked = admin_cli(&line);
    assert_eq!(asked.status.code(), Some(3));
    assert!(asked.log.contains("it holds\n  2 messages in t/c\n"), "{}", asked.log);
    let drain = Process::start(
        Command::new(ours("admin-cli")).args(line.split_whitespace()).args(["--yes", "--json"]),
    );
    eventually(SOON, "it says what is left", || (!drain.output().is_empty()).then_some(()));
    let first: Value = serde_json::from_str(&drain.output()[0]).expect("a line of JSON");
    assert_eq!((&first["messages"], &first["ended"]), (&json!(2), &json!(false)));
    let mut client = broker.subscribed("t", "c");
    client.ready(2);
    for message in client.messages(2) {
        client.finish(&message);
    }
    assert_eq!(broker.process.ended_within(LIMIT).code(), Some(0));
    let mut drain = drain;
    assert_eq!(drain.ended_within(LIMIT).code(), Some(0), "{}", drain.log());
    let last = drain.whole_output();
    let last: Value = serde_json::from_str(last.last().expect("a line")).expect("a line of JSON");
    assert_eq!(last["ended"], true);

    let real = Broker::of(Maker::Real, &[]);
    let ended = admin_cli(&format!("node drain --yes {}", real.http));
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("cannot drain"), "{}", ended.log);
}

#[test]
fn what_fails_is_named_and_the_rest_is_shown_and_done() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    // Nobody listens on port 1.
    let way = format!("--nsqd-http-address={} --nsqd-http-address=127.0.0.1:1", broker.http);
    let words = "admin-cli: 127.0.0.1:1 does not answer: connection refused";
    for (verb, output) in [
        ("topic list", "t          1"),
        ("node list", "1.3.0"),
        ("topic pause t", "paused t at 1 nsqd"),
        ("channel create t/c", "created t/c at 1 nsqd"),
        ("channel list", "t/c"),
        ("channel empty --yes t/c", "emptied t/c at 1 nsqd"),
    ] {
        let ended = admin_cli(&format!("{verb} {way}"));
        assert_eq!(ended.status.code(), Some(4), "{verb}: {}", ended.log);
        assert_eq!(ended.log, words, "{verb}");
        assert!(ended.output.iter().any(|line| line.contains(output)), "{verb}: {ended:?}");
    }
    let json = admin_cli(&format!("topic list --json {way}"));
    let json: Value = serde_json::from_str(&json.output[0]).expect("a line of JSON");
    assert_eq!(json["failed"], json!([{"address": "127.0.0.1:1", "error": "connection refused"}]));
    for verb in ["topic list", "node list", "topic pause t", "channel delete --yes t/c"] {
        let ended = admin_cli(&format!("{verb} --nsqd-http-address=127.0.0.1:1"));
        assert_eq!((ended.status.code(), ended.output.len()), (Some(1), 0), "{verb}");
        assert!(ended.log.contains("no nsqd answers at 127.0.0.1:1"), "{}", ended.log);
    }
}

#[test]
fn nsqlookupds_are_told_before_nsqds_and_producers_are_found_first() {
    let nsqd = ScriptedHttp::start(|request, _| {
        let body = if request == "GET /info" { r#"{"http_port":1}"# } else { r#"{"topics":[]}"# };
        ("200 OK", body.to_owned())
    });
    let port = nsqd.address.port();
    let answer = move |request: &str, _| {
        let producers = format!(r#"[{{"broadcast_address":"127.0.0.1","http_port":{port}}}]"#);
        let is_question = request.starts_with("GET /lookup");
        let body =
            if is_question { format!(r#"{{"producers":{producers}}}"#) } else { String::new() };
        ("200 OK", body)
    };
    for (line, at_lookup, at_nsqd) in [
        ("topic create t", &["POST /topic/create?topic=t"][..], &[][..]),
        (
            "topic delete t --yes",
            &["GET /lookup?topic=t", "POST /topic/delete?topic=t"],
            &["POST /topic/delete?topic=t"],
        ),
        ("topic empty t --yes", &["GET /lookup?topic=t"], &["POST /topic/empty?topic=t"]),
        (
            "channel create t/c#ephemeral",
            &[
                "POST /topic/create?topic=t",
                "POST /channel/create?topic=t&channel=c%23ephemeral",
                "GET /lookup?topic=t",
            ],
            &["POST /channel/create?topic=t&channel=c%23ephemeral"],
        ),
        (
            "channel delete t/c --yes",
            &["GET /lookup?topic=t", "POST /channel/delete?topic=t&channel=c"],
            &["POST /channel/delete?topic=t&channel=c"],
        ),
        (
            "channel unpause t/c",
            &["GET /lookup?topic=t"],
            &["POST /channel/unpause?topic=t&channel=c"],
        ),
    ] {
        let lookup = ScriptedHttp::start(answer);
        let before = nsqd.asked().len();
        shown(&format!("{line} --lookupd-http-address={}", lookup.address));
        assert_eq!(lookup.asked(), at_lookup, "{line}");
        assert_eq!(nsqd.asked()[before..], *at_nsqd, "{line}");
    }
    let lookup = ScriptedHttp::start(answer);
    let before = nsqd.asked().len();
    let line = format!("node tombstone {} t --yes", nsqd.address);
    shown(&format!("{line} --lookupd-http-address={}", lookup.address));
    let node = nsqd.address.to_string().replace(':', "%3A");
    assert_eq!(lookup.asked(), [format!("POST /topic/tombstone?topic=t&node={node}")]);
    assert_eq!(nsqd.asked()[before..], ["GET /info", "POST /topic/delete?topic=t"]);
}

#[test]
fn empty_clusters_say_what_to_do_next() {
    let lookup = LookupServer::start();
    let way = format!("--lookupd-http-address={}", lookup.http);
    for (verb, words) in [
        ("topic list", "there is no topic yet"),
        ("channel list", "there is no such channel yet"),
        ("node list", "start one with --lookupd-tcp-address"),
    ] {
        let ended = admin_cli(&format!("{verb} {way}"));
        assert_eq!((ended.status.code(), ended.output.len()), (Some(0), 0), "{}", ended.log);
        assert!(ended.log.contains(words), "{}", ended.log);
        assert!(admin_cli(&format!("{verb} --json {way}")).log.is_empty());
    }
    for line in ["topic delete t --yes", "topic pause t", "channel empty t/c --yes"] {
        let ended = admin_cli(&format!("{line} {way}"));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains("does not exist"), "{}", ended.log);
    }
}

#[test]
fn what_strangers_tell_of_themselves_is_no_order_to_the_terminal() {
    // Whoever reaches an nsqlookupd registers there with a name of his choice.
    let lookup = ScriptedHttp::start(|request, _| {
        let nodes = json!({"producers": [{"remote_address": "127.0.0.1:5", "hostname": "h\u{1b}[2J\nok",
            "broadcast_address": "127.0.0.1", "tcp_port": 4150, "http_port": 4151,
            "version": "1.3.0\u{7f}", "tombstones": [], "topics": []}]});
        match request.contains("/nodes") {
            true => ("200 OK", nodes.to_string()),
            false => {
                ("500 Internal Server Error", r#"{"message":"\u001b]0;title\u0007"}"#.to_owned())
            }
        }
    });
    let flag = format!("--lookupd-http-address={}", lookup.address);
    let listed = shown(&format!("node list {flag}"));
    let row = listed.iter().find(|line| line.starts_with("127.0.0.1:4151")).expect("a row");
    assert!(row.contains(r"h\u{1b}[2J\nok  1.3.0\u{7f}"), "{row}");
    assert_eq!(listed.len(), 2, "a heading and a row: {listed:?}");
    let json = shown_json(&format!("node list {flag}"));
    assert_eq!(json["nodes"][0]["hostname"], "h\u{1b}[2J\nok");
    assert_eq!(json["nodes"][0]["version"], "1.3.0\u{7f}");
    let refused = admin_cli(&format!("topic create t {flag}"));
    assert!(refused.log.contains(r"\u{1b}]0;title\u{7}"), "{}", refused.log);
    assert!(!refused.log.contains('\u{1b}'), "{}", refused.log);
}
