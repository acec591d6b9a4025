//! Two cores or one: nobody outside can tell. Connections and topics land on either core, and all
//! that `delivery` and `restart` promise holds across them. Ours alone: the real nsqd has no shards.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use tests::broker::Broker;
use tests::client::{Client, Frame, Message, Seen, with_body};
use tests::http::exchange;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, only_ours};

/// Enough that both cores own some of them, whatever the rule by which they are spread.
const TOPICS: usize = 32;

fn two_shards() -> Option<Broker> {
    only_ours("the real nsqd has no shards").then(|| Broker::with(&["--shards=2"]))
}

fn topics() -> Vec<String> {
    (0..TOPICS).map(|number| format!("topic-{number}")).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    let mut texts: Vec<_> = messages.iter().map(Message::text).collect();
    texts.sort();
    texts
}

#[test]
fn every_connection_reaches_every_topic() {
    let Some(broker) = two_shards() else { return };
    let mut publishers: Vec<_> = (0..8).map(|_| broker.client()).collect();
    for topic in topics() {
        for (number, publisher) in publishers.iter_mut().enumerate() {
            publisher.publish(&topic, format!("{topic} from {number}").as_bytes());
        }
    }
    for topic in topics() {
        let mut consumer = broker.subscribed(&topic, "c");
        consumer.ready(20);
        let messages = consumer.messages(publishers.len());
        for message in &messages {
            consumer.finish(message);
        }
        let expected: Vec<_> =
            (0..publishers.len()).map(|number| format!("{topic} from {number}")).collect();
        assert_eq!(texts(&messages), expected);
        broker.count_becomes(&topic, "c", "in_flight_count", 0);
    }
}

#[test]
fn answers_keep_the_order_of_commands_over_both_cores() {
    let Some(broker) = two_shards() else { return };
    let mut clients: Vec<_> = (0..4).map(|_| broker.client()).collect();
    let mut sent = Vec::new();
    for number in 0..1000 {
        sent.extend(with_body(&format!("PUB topic-{}", number % TOPICS), b"m"));
        if number == 500 {
            sent.extend(with_body("DPUB topic-0 60000", b"m"));
        }
    }
    sent.extend(with_body("PUB bad*", b"m"));
    for client in &mut clients {
        client.send(&sent);
    }
    for client in &mut clients {
        for _ in 0..1001 {
            client.ok();
        }
        assert_eq!(client.error(), r#"E_BAD_TOPIC PUB topic name "bad*" is not valid"#);
        client.closed();
    }
    let counted: i64 =
        topics().iter().map(|topic| broker.topic_count(topic, "message_count")).sum();
    assert_eq!(counted, 4 * 1001);
}

#[test]
fn http_connections_go_to_the_core_of_their_topic_and_lose_no_request_on_the_way() {
    if !only_ours("the real nsqd has no shards") {
        return;
    }
    let mut broker = Broker::with(&["--shards=2", "--log-level=debug"]);
    // Each publishes to one topic after another, 50 messages each, all sent before any is answered.
    let conversations: Vec<Vec<u8>> = (0..4)
        .map(|connection| {
            let mut bytes = Vec::new();
            for number in 0..TOPICS * 50 {
                let end = if number + 1 == TOPICS * 50 { "Connection: close\r\n" } else { "" };
                let (topic, body) = (number / 50, format!("{number} of {connection}"));
                write!(
                    bytes,
                    "POST /pub?topic=topic-{topic} HTTP/1.1\r\nHost: x\r\n{end}\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .expect("there is memory");
            }
            bytes
        })
        .collect();
    let address = broker.http;
    thread::scope(|scope| {
        for conversation in &conversations {
            scope.spawn(move || {
                let answers = String::from_utf8(exchange(address, conversation)).expect("text");
                assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), TOPICS * 50);
                assert_eq!(answers.matches("HTTP/1.1").count(), TOPICS * 50);
            });
        }
    });
    for (number, topic) in topics().iter().enumerate() {
        let mut consumer = broker.subscribed(topic, "c");
        consumer.ready(2500);
        let mut expected: Vec<_> = (0..4)
            .flat_map(|connection| {
                (number * 50..(number + 1) * 50).map(move |body| format!("{body} of {connection}"))
            })
            .collect();
        expected.sort();
        assert_eq!(texts(&consumer.messages(200)), expected);
    }
    broker.process.logged("goes to the core of its topic");
}

#[test]
fn consumers_on_both_cores_share_a_channel_and_keep_their_windows() {
    let Some(broker) = two_shards() else { return };
    let mut consumers: Vec<_> = (0..6).map(|_| broker.subscribed("t", "c")).collect();
    let bodies: Vec<_> = (0..600).map(|number| format!("{number:03}")).collect();
    broker.client().publish_many("t", &bodies);
    for consumer in &mut consumers {
        consumer.ready(2);
    }
    broker.count_becomes("t", "c", "in_flight_count", 12);
    let mut got = Vec::new();
    eventually(SOON * 3, "all messages arrive", || {
        for consumer in &mut consumers {
            if let Seen::Frame(Frame::Message(message)) =
                consumer.see_beyond_heartbeats(Duration::from_millis(5))
            {
                consumer.finish(&message);
                got.push(message);
            }
        }
        (got.len() == bodies.len()).then_some(())
    });
    assert_eq!(texts(&got), bodies);
    broker.count_becomes("t", "c", "in_flight_count", 0);
}

#[test]
fn answers_that_arrive_right_behind_the_subscription_are_not_lost() {
    let Some(broker) = two_shards() else { return };
    // A connection may move to another core at SUB: what it has sent already must move with it.
    for topic in topics() {
        let mut client = broker.client();
        let rest = [
            with_body(&format!("PUB {topic}"), b"before"),
            format!("SUB {topic} c\nRDY 5\n").into_bytes(),
            with_body(&format!("PUB {topic}"), b"after"),
            with_body("PUB elsewhere", b"m"),
            b"NOP\nFIN 0123456789abcdef\n".to_vec(),
        ];
        client.send(&rest.concat());
        let mut frames = Vec::new();
        let mut messages = Vec::new();
        while frames.len() < 5 || messages.len() < 2 {
            match client.frame() {
                Frame::Message(message) => messages.push(message),
                Frame::Response(text) | Frame::Error(text) => frames.push(text),
            }
        }
        let said = "E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight";
        assert_eq!(frames, ["OK", "OK", "OK", "OK", said]);
        assert_eq!(texts(&messages), ["after", "before"]);
        for message in &messages {
            client.finish(message);
        }
        client.works();
    }
}

#[test]
fn orders_over_http_reach_topics_on_both_cores() {
    let Some(broker) = two_shards() else { return };
    for topic in topics() {
        broker.order(&format!("/topic/create?topic={topic}"));
        broker.order(&format!("/channel/create?topic={topic}&channel=c"));
        assert_eq!(broker.post(&format!("/pub?topic={topic}"), b"m").text(), "OK");
        broker.count_becomes(&topic, "c", "depth", 1);
        broker.order(&format!("/channel/pause?topic={topic}&channel=c"));
    }
    let stats = broker.get("/stats?format=json").json();
    let names: Vec<_> = stats["topics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|topic| topic["topic_name"].as_str().expect("a name"))
        .collect();
    let mut sorted = topics();
    sorted.sort();
    assert_eq!(names, sorted);
    for topic in topics() {
        assert_eq!(broker.channel(&topic, "c").expect("it is there")["paused"], true);
        let mut consumer = broker.subscribed(&topic, "c");
        broker.order(&format!("/topic/delete?topic={topic}"));
        consumer.closed();
    }
    assert_eq!(broker.get("/stats?format=json").json()["topics"].to_string(), "[]");
}

fn messages_of_both_cores_are_kept_over(end: fn(&mut Broker)) {
    let Some(mut broker) = two_shards() else { return };
    let bodies: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
    let mut publisher = broker.client();
    for topic in topics() {
        publisher.publish_many(&topic, &bodies);
    }
    end(&mut broker);
    for topic in topics() {
        let mut consumer = broker.subscribed(&topic, "c");
        consumer.ready(100);
        assert_eq!(texts(&consumer.messages(100)), bodies, "{topic}");
    }
}

#[test]
fn messages_of_both_cores_are_kept_over_sigterm() {
    messages_of_both_cores_are_kept_over(Broker::restart);
}

#[test]
fn messages_of_both_cores_are_kept_over_kill_9() {
    messages_of_both_cores_are_kept_over(Broker::crash);
}

#[test]
fn a_dead_consumers_messages_come_again_from_the_other_core() {
    let Some(broker) = two_shards() else { return };
    for topic in topics().into_iter().take(6) {
        broker.client().publish(&topic, b"m");
        let mut dead = Client::connect(broker.tcp);
        dead.identify(r#"{"msg_timeout":3000}"#);
        dead.subscribe(&topic, "c");
        dead.ready(1);
        let first = dead.message();
        drop(dead);
        let mut heir = broker.subscribed(&topic, "c");
        heir.ready(1);
        let second = heir.message();
        assert_eq!((second.attempts, &second.id), (2, &first.id));
        heir.finish(&second);
        broker.count_becomes(&topic, "c", "in_flight_count", 0);
        assert_eq!(broker.count(&topic, "c", "timeout_count"), 1);
    }
}

#[test]
fn the_number_of_shards_may_change_from_start_to_start() {
    if !only_ours("the real nsqd has no shards") {
        return;
    }
    let mut broker = Broker::with(&["--shards=2"]);
    for topic in topics() {
        broker.order(&format!("/topic/create?topic={topic}"));
        broker.order(&format!("/channel/create?topic={topic}&channel=c"));
    }
    let mut expected = Vec::new();
    for shards in [2, 1, 3, 2] {
        let body = format!("from before the start with {shards}");
        let mut publisher = broker.client();
        for topic in topics() {
            publisher.publish(&topic, body.as_bytes());
        }
        expected.push(body);
        broker = Broker::over(Maker::Ours, broker.into_folder(), &[&format!("--shards={shards}")]);
    }
    for topic in topics() {
        let mut consumer = broker.subscribed(&topic, "c");
        consumer.ready(10);
        let messages = consumer.messages(expected.len());
        let bodies: Vec<_> = messages.iter().map(Message::text).collect();
        assert_eq!(bodies, expected, "{topic}");
    }
}
