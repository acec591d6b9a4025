//! `GET /topic/peek`: a look at a topic's newest messages, which changes nothing. The real nsqd has
//! no such route.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tests::broker::Broker;
use tests::client::Message;
use tests::http::Answer;
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

const REASON: &str = "the real nsqd has no such route";

/// What is shown of one message.
#[derive(Debug, PartialEq)]
struct Shown {
    id: String,
    timestamp: i64,
    attempts: u64,
    deferred_until: Option<i64>,
    size: usize,
    body: Vec<u8>,
}

fn peek(broker: &Broker, query: &str) -> Vec<Shown> {
    let answer = broker.get(&format!("/topic/peek?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"));
    shown(&answer)
}

fn shown(answer: &Answer) -> Vec<Shown> {
    let json = answer.json();
    let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["messages"]);
    json["messages"].as_array().expect("a list").iter().map(message).collect()
}

fn message(json: &Value) -> Shown {
    let text = |key: &str| json[key].as_str().unwrap_or_else(|| panic!("no {key}: {json}"));
    Shown {
        id: text("id").to_owned(),
        timestamp: json["timestamp"].as_i64().expect("a number"),
        attempts: json["attempts"].as_u64().expect("a number"),
        deferred_until: json.get("deferred_until").map(|due| due.as_i64().expect("a number")),
        size: usize::try_from(json["size"].as_u64().expect("a number")).expect("it fits"),
        body: from_base64(text("body")),
    }
}

/// RFC 4648, section 4, the other way round.
fn from_base64(text: &str) -> Vec<u8> {
    let digits = text.trim_end_matches('=').bytes().map(|digit| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no digit"),
    });
    assert!(text.len().is_multiple_of(4), "{} characters", text.len());
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in digits {
        bits = (bits << 6 | u32::from(digit)) & 0xff_ffff;
        count += 6;
        if 8 <= count {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("eight bits"));
        }
    }
    bytes
}

fn texts(shown: &[Shown]) -> Vec<String> {
    shown.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}

/// As a consumer got it.
fn as_shown(message: Message) -> Shown {
    Shown {
        id: message.id,
        timestamp: message.timestamp,
        attempts: 1,
        deferred_until: None,
        size: message.body.len(),
        body: message.body,
    }
}

#[test]
fn ours_shows_the_newest_messages_as_consumers_get_them() {
    if !only_ours(REASON) {
        return;
    }
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let mut publisher = broker.client();
    publisher.publish_many("t", &numbers(0..200));
    for body in numbers(200..250) {
        publisher.publish("t", body.as_bytes());
    }
    assert_eq!(texts(&peek(&broker, "topic=t")), numbers(240..250));
    assert_eq!(texts(&peek(&broker, "topic=t&n=1")), numbers(249..250));
    assert_eq!(texts(&peek(&broker, "topic=t&n=100")), numbers(150..250));
    assert_eq!(broker.count("t", "c", "depth"), 250);
    assert_eq!(broker.count("t", "c", "message_count"), 250);

    let expected = peek(&broker, "topic=t&n=100");
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(250);
    let got = consumer.messages(250);
    // In flight, they are still in the log.
    assert_eq!(peek(&broker, "topic=t&n=100"), expected);
    let got: Vec<_> = got.into_iter().map(as_shown).collect();
    assert_eq!(got[150..], expected);
}

#[test]
fn ours_shows_them_from_the_disk_after_a_restart_and_a_crash() {
    if !only_ours(REASON) {
        return;
    }
    let mut broker = Broker::with(&["--max-bytes-per-file=65536", "--shards=2"]);
    for topic in ["t", "u", "v", "w"] {
        let mut publisher = broker.client();
        for part in numbers(0..3_000).chunks(30) {
            publisher.publish_many(topic, part);
        }
    }
    let before: Vec<_> = ["t", "u", "v", "w"]
        .map(|topic| peek(&broker, &format!("topic={topic}&n=100")))
        .into_iter()
        .collect();
    assert_eq!(texts(&before[0]), numbers(2_900..3_000));
    broker.restart();
    for (topic, before) in ["t", "u", "v", "w"].iter().zip(&before) {
        assert_eq!(&peek(&broker, &format!("topic={topic}&n=100")), before, "{topic}");
    }
    broker.crash();
    for (topic, before) in ["t", "u", "v", "w"].iter().zip(&before) {
        assert_eq!(&peek(&broker, &format!("topic={topic}&n=100")), before, "{topic}");
        assert_eq!(broker.topic_count(topic, "depth"), 3_000);
    }
}

#[test]
fn ours_says_until_when_a_message_is_deferred() {
    if !only_ours(REASON) {
        return;
    }
    let mut broker = Broker::start();
    let mut publisher = broker.client();
    publisher.publish("t", b"now");
    publisher.publish_deferred("t", 600_000, b"later");
    for _ in 0..2 {
        let shown = peek(&broker, "topic=t");
        assert_eq!(texts(&shown), ["now", "later"]);
        assert_eq!(shown[0].deferred_until, None);
        let due = shown[1].deferred_until.expect("it is deferred");
        let delay = due - shown[1].timestamp;
        assert!((600_000_000_000..660_000_000_000).contains(&delay), "{delay} ns");
        broker.restart();
    }
}

#[test]
fn ours_shows_ephemeral_topics_and_empty_ones() {
    if !only_ours(REASON) {
        return;
    }
    let broker = Broker::start();
    broker.order("/topic/create?topic=empty");
    assert_eq!(broker.get("/topic/peek?topic=empty").text(), r#"{"messages":[]}"#);
    let mut consumer = broker.subscribed("e#ephemeral", "c");
    broker.client().publish_many("e#ephemeral", &numbers(0..3));
    assert_eq!(texts(&peek(&broker, "topic=e%23ephemeral")), numbers(0..3));
    consumer.ready(1);
    assert_eq!(consumer.message().text(), "message 0");
}

#[test]
fn ours_shows_a_mebibyte_of_bodies_at_most_and_of_a_longer_one_its_beginning() {
    if !only_ours(REASON) {
        return;
    }
    let mut broker = Broker::with(&["--max-msg-size=4000000", "--max-body-size=8000000"]);
    let bodies: Vec<Vec<u8>> = (0..10_u8).map(|number| vec![b'a' + number; 200_000]).collect();
    let mut publisher = broker.client();
    for body in &bodies {
        publisher.publish("some", body);
    }
    publisher.publish("one", b"small");
    let long: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    publisher.publish("one", &long);
    for _ in 0..2 {
        let some = peek(&broker, "topic=some&n=100");
        assert!(some.iter().map(|message| &message.body).eq(&bodies[5..]), "five are a million");
        let one = peek(&broker, "topic=one");
        assert_eq!((one.len(), one[0].size, one[0].body.len()), (1, 3_000_000, 1 << 20));
        assert!(one[0].body == long[..1 << 20], "it is the beginning");
        broker.restart();
    }
}

#[test]
fn ours_refuses_what_is_no_question_about_a_topic() {
    if !only_ours(REASON) {
        return;
    }
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    let long = "x".repeat(65);
    for (query, status, code) in [
        ("", 400, "MISSING_ARG_TOPIC"),
        ("n=3", 400, "MISSING_ARG_TOPIC"),
        ("topic=", 400, "INVALID_TOPIC"),
        ("topic=a*b", 400, "INVALID_TOPIC"),
        (&format!("topic={long}"), 400, "INVALID_TOPIC"),
        ("topic=%zz", 400, "INVALID_REQUEST"),
        ("topic=t&n=", 400, "INVALID_ARG_N"),
        ("topic=t&n=0", 400, "INVALID_ARG_N"),
        ("topic=t&n=101", 400, "INVALID_ARG_N"),
        ("topic=t&n=-1", 400, "INVALID_ARG_N"),
        ("topic=t&n=18446744073709551616", 400, "INVALID_ARG_N"),
        ("topic=t&n=many", 400, "INVALID_ARG_N"),
        ("topic=nobody-made-it", 404, "TOPIC_NOT_FOUND"),
    ] {
        let answer = broker.get(&format!("/topic/peek?{query}"));
        let expected = format!(r#"{{"message":"{code}"}}"#);
        assert_eq!((answer.status, answer.text()), (status, expected), "{query}");
    }
    assert_eq!(broker.post("/topic/peek?topic=t", b"").status, 405);
    assert_eq!(broker.topic("nobody-made-it"), None, "looking makes no topic");
}

#[test]
fn ours_shows_nothing_of_damaged_blocks() {
    if !only_ours(REASON) {
        return;
    }
    let mut broker = Broker::start();
    let mut publisher = broker.client();
    for body in numbers(0..20) {
        publisher.publish("t", body.as_bytes());
    }
    // What it needs not read at its start.
    broker.restart();
    let file = broker.folder().join("t.topic/00000000000000000000.log");
    let mut bytes = fs::read(&file).expect("the log is there");
    let at = bytes.windows(10).position(|part| part == b"message 15").expect("it is in the log");
    bytes[at] ^= 1;
    fs::write(&file, bytes).expect("the log can be written");
    let expected = [numbers(11..15), numbers(16..20)].concat();
    assert_eq!(texts(&peek(&broker, "topic=t&n=8")), expected);
}

#[test]
fn ours_loses_and_doubles_nothing_while_somebody_looks() {
    if !only_ours(REASON) {
        return;
    }
    const MESSAGES: usize = 20_000;
    // So little memory that consumers and those who look read the same blocks from the disk.
    let flags = ["--memory-bytes=1048576", "--max-bytes-per-file=262144", "--shards=2"];
    let broker = Broker::with(&flags);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let lookers: Vec<_> = ["topic=t&n=100", "topic=t"]
            .map(|query| {
                let (broker, is_over) = (&broker, &is_over);
                scope.spawn(move || {
                    let mut looks = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let numbers: Vec<usize> = texts(&peek(broker, query))
                            .iter()
                            .map(|text| text[8..16].trim().parse().expect("a number"))
                            .collect();
                        // One publisher: the newest follow each other.
                        let is_in_order = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
                        assert!(is_in_order, "{numbers:?}");
                        looks += 1;
                    }
                    looks
                })
            })
            .into_iter()
            .collect();
        scope.spawn(|| {
            let mut publisher = broker.client();
            let bodies: Vec<_> = (0..MESSAGES).map(|n| format!("message {n:<300}")).collect();
            for part in bodies.chunks(50) {
                publisher.publish_many("t", part);
            }
        });
        let mut consumer = broker.subscribed("t", "c");
        consumer.ready(100);
        let mut seen = vec![0_u32; MESSAGES];
        for _ in 0..MESSAGES {
            let message = consumer.message();
            assert_eq!(message.attempts, 1);
            let number: usize = message.text()[8..16].trim().parse().expect("a number");
            seen[number] += 1;
            consumer.finish(&message);
        }
        assert!(seen.iter().all(|&count| count == 1), "each comes once");
        eventually(SOON, "all is finished", || {
            (broker.count("t", "c", "in_flight_count") == 0).then_some(())
        });
        assert_eq!(broker.count("t", "c", "depth"), 0);
        is_over.store(true, Ordering::Relaxed);
        for looker in lookers {
            let looks: usize = looker.join().expect("looking does not panic");
            assert!(0 < looks, "somebody looked");
        }
    });
    assert!(!broker.process.log().contains("ERROR"), "{}", broker.process.log());
}
