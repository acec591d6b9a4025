//! `nsq_to_nsq`, NSQ's own and ours: the same messages and the same flags, and what arrives at the
//! destination has to be the same to the byte.

use std::time::Duration;

use tests::broker::Broker;
use tests::patience::eventually;
use tests::port::Port;
use tests::process::Process;
use tests::programs::Maker;
use tests::utility::{self, MAKERS, is_here, masked};

const LIMIT: Duration = Duration::from_secs(60);

/// One run of the utility: messages lie in topic `t`, and go on to another broker.
struct Run<'a> {
    flags: &'a [&'a str],
    bodies: &'a [Vec<u8>],
}

/// What a run did.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    /// What is in topic `t` of the destination, in the order of the alphabet.
    arrived: Vec<String>,
    /// As [`masked`] has it, with names for ports and ids.
    log: Vec<String>,
}

impl Run<'_> {
    /// Runs the utility of `maker` between two brokers of these makers, until every message is
    /// settled.
    fn of(&self, maker: Maker, [source, destination]: [Maker; 2]) -> Done {
        let (source, destination) = (Broker::of(source, &[]), Broker::of(destination, &[]));
        fill(&source, "t", self.bodies);
        make_channel(&destination, "t", "c");
        let mut process = start(maker, &source, &[&destination], self.flags);
        settled(&source, "t", self.bodies.len());
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        let ports = [(source.tcp, "SOURCE"), (destination.tcp, "DESTINATION")];
        let plain = ports.iter().fold(process.whole_log(), |text, (address, name)| {
            text.replace(&address.port().to_string(), name)
        });
        let mut log = without_ids(&masked(&plain));
        // NSQ's says it or not, whichever of its threads is faster.
        log.retain(|line| !line.ends_with("finished draining, cleanup exiting"));
        Done { arrived: arrived(&destination, "t"), log }
    }
}

fn start(maker: Maker, source: &Broker, destinations: &[&Broker], flags: &[&str]) -> Process {
    let mut all: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    if !flags.iter().any(|flag| flag.starts_with("--topic=")) {
        all.push("--topic=t".to_owned());
    }
    all.push(format!("--nsqd-tcp-address={}", source.tcp));
    for destination in destinations {
        all.push(format!("--destination-nsqd-tcp-address={}", destination.tcp));
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    utility::start(maker, "nsq_to_nsq", &all)
}

fn make_channel(broker: &Broker, topic: &str, channel: &str) {
    broker.order(&format!("/topic/create?topic={topic}"));
    broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
}

fn fill(broker: &Broker, topic: &str, bodies: &[Vec<u8>]) {
    make_channel(broker, topic, "nsq_to_nsq");
    for batch in bodies.chunks(500) {
        broker.client().publish_many(topic, batch);
    }
}

/// Waits until the utility has settled so many messages of a topic: each is finished once, when it
/// has gone on, was dropped, or is given up.
fn settled(broker: &Broker, topic: &str, messages: usize) {
    eventually(LIMIT, "all messages are settled", || {
        let channel = broker.channel(topic, "nsq_to_nsq")?;
        (channel["clients"][0]["finish_count"] == messages).then_some(())
    });
}

/// The messages that lie in a topic.
fn arrived(broker: &Broker, topic: &str) -> Vec<String> {
    let count = usize::try_from(broker.count(topic, "c", "depth")).expect("no depth is negative");
    let mut client = broker.subscribed(topic, "c");
    client.ready(2_500);
    let mut texts: Vec<String> =
        client.messages(count).iter().map(|message| client_text(&message.body)).collect();
    texts.sort();
    texts
}

/// Bytes as text that shows all of them.
fn client_text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn without_ids(lines: &[String]) -> Vec<String> {
    let line = |line: &String| {
        let words = line.split(' ').map(|word| {
            let is_id = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_duration =
                word.ends_with("ms") && word.starts_with(|c: char| c.is_ascii_digit());
            match (is_id, is_duration) {
                (true, _) => "ID",
                (_, true) => "0.00ms",
                _ => word,
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(line).collect()
}

fn lines<'a>(done: &'a Done, part: &str) -> Vec<&'a str> {
    done.log.iter().map(String::as_str).filter(|line| line.contains(part)).collect()
}

fn bodies(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("message {number:04}").into_bytes()).collect()
}

/// Options under which a failure is tried again at once, and given up after three times.
const IMPATIENT: [&str; 3] = [
    "--consumer-opt=max_attempts,3",
    "--consumer-opt=default_requeue_delay,10ms",
    "--consumer-opt=max_backoff_duration,0s",
];

/// What is JSON, and what only looks like it.
fn json_bodies() -> Vec<Vec<u8>> {
    let mut all = bodies(&[
        r#"{"a":1,"b":2,"c":1.5}"#,
        r#"{"c":"x","a":"y","b":"z","d":0}"#,
        r#"{"a":"1"}"#,
        r#"{"a":1.0}"#,
        r#"{"a":10e-1,"b":null}"#,
        r#"{"a":true,"b":false}"#,
        r#"{"a":[1,2.5,{"z":1,"y":[],"x":{}}],"b":{"q":1e21,"p":-0}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1,"a":{"b":1}}"#,
        r#"{"b":{"k":1,"j":2,"k":3}}"#,
        r#"{"A":1}"#,
        r#"{"":1,"\u0061":1}"#,
        r#"{"a":12345678901234567890,"b":1152921504606846976}"#,
        r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808}"#,
        r#"{"a":9007199254740993,"b":1e19,"c":123456789.125}"#,
        r#"{"a":-0,"b":-0.0,"c":1e-7}"#,
        r#"{"a":1e400}"#,
        r#"{"z":[1e400],"a":1}"#,
        r#"{"a":1e-400,"b":1E+2,"c":5e-324}"#,
        r#"{"a":0.1,"b":0.000001,"c":0.0000009}"#,
        r#"{"a":"<b>&amp;</b>","b":"\u003c\u2028\u2029\u0000\b\f\n\r\t\/\\\""}"#,
        r#"{"a":"Grüße, 日本 😀","b":"\ud83d\ude00","c":"\ud83d"}"#,
        r#"{"a":"\ud83d\ud83d\ude00\udc00x","b":"\ud800\u0041"}"#,
        r#"{"<a>":1,"a":2}"#,
        r#" { "a" : [ ] , "b" : { } } "#,
        "null",
        " null ",
        "true",
        "1",
        r#""a""#,
        r#"["a"]"#,
        "{}",
        "{",
        "}",
        "{}{}",
        r#"{"a":1}x"#,
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":5.}"#,
        r#"{"a":1e}"#,
        r#"{"a":0x10}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":tru}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12"}"#,
        r#"{"a":[1,2}"#,
        r#"{"a":[1 2]}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{7f}\u{80}\"}",
        "\u{feff}{\"a\":1}",
        "plain text",
    ]);
    all.push(b"{\"a\":\"\xe2\x82A\xed\xa0\x80\xff\",\"b\xff\":1}".to_vec());
    all.push(b"\xff\xfe".to_vec());
    for depth in [9_998, 9_999, 10_000] {
        let nested = ["{\"a\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        all.push(nested.into_bytes());
    }
    all.push(format!("{{\"a\":1,\"z\":\"{}\"}}", "x".repeat(100_000)).into_bytes());
    all
}

#[test]
fn messages_pass_filters_as_they_pass_nsqs() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let bodies = json_bodies();
    let cases: [&[&str]; 14] = [
        &[],
        &["--require-json-value=1"],
        &["--require-json-field=a"],
        &["--require-json-field="],
        &["--require-json-field=a", "--require-json-value=1"],
        &["--require-json-field=a", "--require-json-value=1.0"],
        &["--require-json-field=a", "--require-json-value=0x1p0"],
        &["--require-json-field=a", "--require-json-value=y"],
        &["--require-json-field=a", "--require-json-value=true"],
        &["--require-json-field=<a>"],
        &["--whitelist-json-field=a"],
        &["--whitelist-json-field=c", "--whitelist-json-field=b", "--whitelist-json-field=a"],
        &["--whitelist-json-field=", "--whitelist-json-field=<a>", "--whitelist-json-field=b"],
        &["--require-json-field=a", "--require-json-value=1", "--whitelist-json-field=b"],
    ];
    for (place, flags) in cases.into_iter().enumerate() {
        let flags = [flags, &IMPATIENT[..], &["--max-in-flight=500"]].concat();
        let run = Run { flags: &flags, bodies: &bodies };
        // The brokers change places from case to case.
        let brokers = [MAKERS[place % 2], MAKERS[place / 2 % 2]];
        let [theirs, ours] = MAKERS.map(|maker| run.of(maker, brokers));
        assert_eq!(ours.arrived, theirs.arrived, "{flags:?}");
        for part in ["ERROR: missing field", "Handler returned error", "giving up"] {
            assert_eq!(lines(&ours, part), lines(&theirs, part), "{flags:?}");
        }
        let undecoded = [&theirs, &ours].map(|done| lines(done, "Unable to decode json").len());
        assert_eq!(undecoded[0], undecoded[1], "{flags:?}");
    }
}

#[test]
fn everything_arrives_once_between_brokers_of_either_maker() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let bodies = numbered(2_000);
    let expected: Vec<String> = bodies.iter().map(|body| client_text(body)).collect();
    for source in MAKERS {
        for destination in MAKERS {
            let run = Run { flags: &["--status-every=0"], bodies: &bodies };
            let done = run.of(Maker::Ours, [source, destination]);
            assert!(done.arrived == expected, "{source:?} {destination:?} {:#?}", done.log);
        }
    }
}

#[test]
fn the_log_of_a_run_has_the_same_lines() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let bodies = numbered(11);
    for flags in [&["--status-every=5"][..], &["--status-every=0"], &["--status-every=-1"]] {
        let run = Run { flags, bodies: &bodies };
        let [theirs, ours] = MAKERS.map(|maker| run.of(maker, [Maker::Ours, Maker::Ours]));
        assert_eq!(ours.log, theirs.log, "{flags:?}");
    }
}

#[test]
fn several_topics_go_to_their_own_or_to_one() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    for (flags, expected) in [
        (&["--topic=t", "--topic=u"][..], [("t", 3), ("u", 2), ("d", 0)]),
        (&["--topic=t", "--topic=u", "--destination-topic=d"], [("t", 0), ("u", 0), ("d", 5)]),
    ] {
        for maker in MAKERS {
            let (source, destination) =
                (Broker::of(Maker::Ours, &[]), Broker::of(Maker::Ours, &[]));
            fill(&source, "t", &numbered(3));
            fill(&source, "u", &numbered(2));
            for (topic, _) in expected {
                make_channel(&destination, topic, "c");
            }
            let mut process = start(maker, &source, &[&destination], flags);
            settled(&source, "t", 3);
            settled(&source, "u", 2);
            assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
            let found = expected.map(|(topic, _)| (topic, arrived(&destination, topic).len()));
            assert_eq!(found, expected, "{maker:?} {flags:?}");
        }
    }
}

#[test]
fn destinations_take_turns_as_the_mode_says() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    for (mode, expected) in
        [("--mode=round-robin", [5, 5]), ("--mode=hostpool", [5, 5]), ("--mode=nonsense", [5, 5])]
    {
        for maker in MAKERS {
            let source = Broker::of(Maker::Ours, &[]);
            let destinations = MAKERS.map(|maker| Broker::of(maker, &[]));
            fill(&source, "t", &numbered(10));
            destinations.iter().for_each(|destination| make_channel(destination, "t", "c"));
            let [one, two] = &destinations;
            let mut process = start(maker, &source, &[one, two], &[mode]);
            settled(&source, "t", 10);
            assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
            let found = destinations.each_ref().map(|broker| arrived(broker, "t").len());
            assert_eq!(found, expected, "{maker:?} {mode}");
        }
    }
}

#[test]
fn a_dead_destination_leaves_the_pool() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let nobody = Port::any();
    let dead = format!("--destination-nsqd-tcp-address={}", nobody.address);
    for maker in MAKERS {
        let source = Broker::of(Maker::Ours, &[]);
        let live = Broker::of(Maker::Ours, &[]);
        fill(&source, "t", &numbered(30));
        make_channel(&live, "t", "c");
        let flags = [&[dead.as_str()], &IMPATIENT[..]].concat();
        let mut process = start(maker, &source, &[&live], &flags);
        settled(&source, "t", 30);
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        assert_eq!(arrived(&live, "t").len(), 30, "{maker:?}");
        // As many are under way at once as there are destinations.
        let failures = process.whole_log().matches("Handler returned error").count();
        assert!((1..=2).contains(&failures), "{maker:?} {}", process.log());
    }
}

#[test]
fn what_the_destination_refuses_or_cannot_take_is_tried_again_and_given_up() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let bodies = numbered(2);
    for maker in MAKERS {
        // The destination takes 10 bytes, and a message has 12.
        let source = Broker::of(Maker::Ours, &[]);
        let destination = Broker::of(Maker::Ours, &["--max-msg-size=10"]);
        fill(&source, "t", &bodies);
        make_channel(&destination, "t", "c");
        let mut process = start(maker, &source, &[&destination], &IMPATIENT);
        settled(&source, "t", 2);
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        assert_eq!(arrived(&destination, "t"), [""; 0], "{maker:?}");
        assert_eq!(source.count("t", "nsq_to_nsq", "requeue_count"), 6, "{maker:?}");
        assert_eq!(process.whole_log().matches("giving up").count(), 2, "{}", process.log());
    }
}

#[test]
fn options_reach_the_producer_and_the_consumer() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    for maker in MAKERS {
        let source = Broker::of(Maker::Ours, &[]);
        let destination = Broker::of(Maker::Ours, &[]);
        fill(&source, "t", &numbered(50));
        make_channel(&destination, "t", "c");
        let flags = [
            "--producer-opt=snappy",
            "--producer-opt=client_id,producer",
            "--producer-opt=user_agent,ignored",
            "--consumer-opt=deflate,true",
            "--consumer-opt=client-id,consumer",
            "--consumer-opt=max_in_flight,7",
        ];
        let mut process = start(maker, &source, &[&destination], &flags);
        settled(&source, "t", 50);
        let consumer = source.channel("t", "nsq_to_nsq").unwrap()["clients"][0].clone();
        let producer = destination.get("/stats?format=json").json()["producers"][0].clone();
        let of = |client: &serde_json::Value| {
            ["client_id", "user_agent", "snappy", "deflate"].map(|key| client[key].clone())
        };
        let agent = "nsq_to_nsq/1.3.0 go-nsq/1.1.0";
        assert_eq!(
            serde_json::json!(of(&consumer)),
            serde_json::json!(["consumer", agent, false, true])
        );
        assert_eq!(
            serde_json::json!(of(&producer)),
            serde_json::json!(["producer", agent, true, false])
        );
        assert_eq!(consumer["ready_count"], 200);
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        assert_eq!(arrived(&destination, "t").len(), 50, "{maker:?}");
    }
}

#[test]
fn a_destination_that_comes_back_is_connected_to_again() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    for maker in MAKERS {
        let source = Broker::of(Maker::Ours, &[]);
        // A port that stays the same.
        let port = Port::any();
        let flag = format!("--tcp-address={}", port.address);
        let mut destination = Broker::of(Maker::Ours, &[&flag]);
        fill(&source, "t", &numbered(5));
        make_channel(&destination, "t", "c");
        let flags = [
            "--consumer-opt=max_attempts,1000",
            "--consumer-opt=default_requeue_delay,10ms",
            "--consumer-opt=max_backoff_duration,0s",
        ];
        let mut process = start(maker, &source, &[&destination], &flags);
        settled(&source, "t", 5);
        destination.process.kill();
        source.client().publish_many("t", &["later"]);
        process.logged("Handler returned error");
        destination.start_again();
        settled(&source, "t", 6);
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        assert_eq!(arrived(&destination, "t").len(), 6, "{maker:?}");
    }
}

#[test]
fn wrong_flags_are_refused_in_the_same_words() {
    if !is_here("nsq_to_nsq") {
        return;
    }
    let topic = "--topic=t";
    let source = "--nsqd-tcp-address=127.0.0.1:1";
    let destination = "--destination-nsqd-tcp-address=127.0.0.1:1";
    let cases: [&[&str]; 22] = [
        &["--version"],
        &["--version", "--topic=bad topic"],
        &[],
        &[topic, "--channel="],
        &["--topic=bad topic", source, destination],
        &[topic, "--topic=", source, destination],
        &[topic, "--destination-topic=bad topic", source, destination],
        &[topic, "--channel=bad channel", source, destination],
        &[topic],
        &[topic, destination],
        &[topic, source, "--lookupd-http-address=127.0.0.1:1", destination],
        &[topic, source],
        &[topic, source, destination],
        &[topic, source, destination, "--max-in-flight=-1"],
        &[topic, source, destination, "--consumer-opt=nonsense,1"],
        &[topic, source, destination, "--producer-opt=nonsense"],
        &[topic, source, destination, "--producer-opt=heartbeat_interval,5m"],
        &[topic, source, destination, "--producer-opt=sample_rate,100"],
        &[topic, source, destination, "--status-every=x"],
        &[topic, source, destination, "--nonsense"],
        &["--help"],
        &["-h"],
    ];
    for flags in cases {
        let [theirs, ours] = MAKERS.map(|maker| {
            let ended = utility::run(maker, "nsq_to_nsq", flags, b"").masked();
            (ended.exit_code, ended.output, usage_of_a_name(&ended.log))
        });
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

#[test]
fn what_is_no_json_is_logged_without_steering_the_terminal() {
    let body = b"\x1b[2Jsplendid\xff\x07".to_vec();
    let flags = ["--require-json-field=a", "--status-every=0"];
    let done = Run { flags: &flags, bodies: &[body] }.of(Maker::Ours, [Maker::Ours, Maker::Ours]);
    let said = "ERROR: Unable to decode json: \\u{1b}[2Jsplendid\u{fffd}\\u{7}";
    assert_eq!(lines(&done, "Unable"), [said]);
}

/// NSQ's usage names the program by its path.
fn usage_of_a_name(log: &str) -> String {
    let lines = log.lines().map(|line| match line.strip_prefix("Usage of ") {
        Some(path) => format!("Usage of {}", path.rsplit('/').next().unwrap_or_default()),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
