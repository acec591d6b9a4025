//! What is kept over SIGTERM and over `kill -9`.
//!
//! NSQ loses acknowledged messages when it is killed, and delays and attempts when it is stopped.
//! We promise more; those tests are named `ours_…` and say so when the real nsqd is under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::broker::Broker;
use tests::client::Message;
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:06}")).collect()
}

/// Receives and finishes messages of a channel until `count` have come; returns them.
fn drain(broker: &Broker, topic: &str, channel: &str, count: usize) -> Vec<Message> {
    let mut client = broker.subscribed(topic, channel);
    // A window of one, closed before the last FIN: nothing else is in flight when this ends.
    client.ready(1);
    let mut messages = Vec::new();
    for number in 1..=count {
        let message = client.message();
        if number == count {
            client.ready(0);
        }
        client.finish(&message);
        messages.push(message);
    }
    broker.count_becomes(topic, channel, "in_flight_count", 0);
    messages
}

fn texts(messages: &[Message]) -> Vec<String> {
    let mut texts: Vec<_> = messages.iter().map(Message::text).collect();
    texts.sort();
    texts
}

/// How a broker ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Terminated,
    Killed,
}

fn again(broker: &mut Broker, end: End) {
    match end {
        End::Terminated => broker.restart(),
        End::Killed => broker.crash(),
    }
}

/// Deliveries and REQ are not answered, so they are written down within a second, not at once. On a
/// busy machine it may be later.
const WRITTEN: Duration = Duration::from_secs(4);

fn let_what_is_not_answered_be_written(end: End) {
    if matches!(end, End::Killed) {
        std::thread::sleep(WRITTEN);
    }
}

fn acknowledged_messages_are_kept_over(end: End) {
    let mut broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    // More than the real nsqd's memory queue holds, and a topic without a channel besides.
    let bodies = numbers(12_000);
    let mut publisher = broker.client();
    for batch in bodies.chunks(1000) {
        publisher.publish_many("t", batch);
    }
    publisher.publish_many("alone", &bodies[..100]);
    again(&mut broker, end);
    assert_eq!(texts(&drain(&broker, "t", "c", bodies.len())), bodies);
    assert_eq!(texts(&drain(&broker, "alone", "first", 100)), bodies[..100]);
    assert_eq!(broker.count("t", "c", "depth"), 0);
}

#[test]
fn acknowledged_messages_are_kept_over_sigterm() {
    acknowledged_messages_are_kept_over(End::Terminated);
}

#[test]
fn ours_keeps_acknowledged_messages_over_kill_9() {
    if only_ours("the real nsqd loses what is in its memory when it is killed") {
        acknowledged_messages_are_kept_over(End::Killed);
    }
}

#[test]
fn ours_keeps_messages_acknowledged_in_the_instant_before_kill_9() {
    if !only_ours("the real nsqd loses what is in its memory when it is killed") {
        return;
    }
    let mut broker = Broker::start();
    let mut kept = Vec::new();
    for round in 0..5 {
        let body = format!("round {round}");
        broker.client().publish("t", body.as_bytes());
        broker.crash();
        kept.push(body);
    }
    assert_eq!(texts(&drain(&broker, "t", "c", kept.len())), kept);
}

#[test]
fn finished_messages_stay_finished_over_sigterm() {
    let mut broker = Broker::start();
    let bodies = numbers(100);
    broker.client().publish_many("t", &bodies);
    let first = drain(&broker, "t", "c", 60);
    broker.restart();
    let second = drain(&broker, "t", "c", 40);
    assert_eq!(texts(&[first, second].concat()), bodies);
    assert_eq!(broker.count("t", "c", "depth"), 0);
}

#[test]
fn ours_writes_down_what_was_finished_when_the_disk_takes_it_again() {
    if !only_ours("the real nsqd forgets what was finished when it is killed") {
        return;
    }
    let mut broker = Broker::start();
    let mut client = broker.subscribed("t", "c");
    broker.client().publish("t", b"m");
    client.ready(1);
    let message = client.message();
    // A folder in its place makes every checkpoint fail.
    let in_the_way = broker.folder().join("t.topic/checkpoint");
    eventually(SOON, "there is a checkpoint", || std::fs::remove_file(&in_the_way).ok());
    eventually(SOON, "there is none", || {
        std::fs::create_dir(&in_the_way).or_else(|_| std::fs::remove_file(&in_the_way)).ok()?;
        in_the_way.is_dir().then_some(())
    });
    client.finish(&message);
    broker.process.logged("failed to write a checkpoint");
    std::fs::remove_dir(&in_the_way).expect("an empty folder can be removed");
    std::thread::sleep(WRITTEN);
    broker.crash();
    broker.count_becomes("t", "c", "depth", 0);
}

fn names_and_pauses_are_kept_over(end: End) {
    let mut broker = Broker::start();
    for target in [
        "/topic/create?topic=gone",
        "/topic/delete?topic=gone",
        "/topic/create?topic=plain",
        "/topic/create?topic=paused",
        "/topic/pause?topic=paused",
        "/channel/create?topic=plain&channel=open",
        "/channel/create?topic=plain&channel=shut",
        "/channel/pause?topic=plain&channel=shut",
        "/channel/create?topic=plain&channel=passing%23ephemeral",
        "/topic/create?topic=passing%23ephemeral",
    ] {
        broker.order(target);
    }
    // Creation is written down a moment after its answer.
    let written = broker.folder().join("nsqd.dat");
    eventually(SOON, "nsqd.dat is up to date", || {
        let text = std::fs::read_to_string(&written).ok()?;
        (text.contains("shut") && text.contains("paused") && !text.contains("gone")).then_some(())
    });
    again(&mut broker, end);
    let mut names: Vec<_> = broker.get("/stats?format=json").json()["topics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|topic| topic["topic_name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["paused", "plain"]);
    assert_eq!(broker.topic("paused").expect("it is there")["paused"], true);
    assert_eq!(broker.topic("plain").expect("it is there")["paused"], false);
    assert_eq!(broker.channel("plain", "shut").expect("it is there")["paused"], true);
    assert_eq!(broker.channel("plain", "open").expect("it is there")["paused"], false);
    assert!(broker.channel("plain", "passing#ephemeral").is_none());
    let mut client = broker.subscribed("plain", "shut");
    client.ready(1);
    broker.client().publish("plain", b"m");
    client.silence(Duration::from_millis(500));
}

#[test]
fn names_and_pauses_are_kept_over_sigterm() {
    names_and_pauses_are_kept_over(End::Terminated);
}

#[test]
fn names_and_pauses_are_kept_over_kill_9() {
    names_and_pauses_are_kept_over(End::Killed);
}

#[test]
fn the_metadata_file_is_nsqs_json() {
    let mut broker = Broker::start();
    broker.order("/topic/create?topic=b");
    broker.order("/channel/create?topic=b&channel=c");
    broker.order("/channel/pause?topic=b&channel=c");
    broker.stop();
    let text = std::fs::read_to_string(broker.folder().join("nsqd.dat")).expect("it is written");
    let expected = concat!(
        r#"{"topics":[{"name":"b","paused":false,"channels":[{"name":"c","paused":true}]}],"#,
        r#""version":"1.3.0"}"#
    );
    // The release of 1.3.0 orders keys by the alphabet, later NSQ by meaning: readers take both.
    let text: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected: serde_json::Value = serde_json::from_str(expected).expect("JSON");
    assert_eq!(text, expected);
}

fn in_flight_comes_again_with_one_more_attempt_after(end: End) {
    let mut broker = Broker::start();
    broker.client().publish_many("t", &["a", "b"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(2);
    let first = client.messages(2);
    broker.count_becomes("t", "c", "in_flight_count", 2);
    let_what_is_not_answered_be_written(end);
    again(&mut broker, end);
    let second = drain(&broker, "t", "c", 2);
    assert_eq!(texts(&second), ["a", "b"]);
    for message in &second {
        let before = first.iter().find(|before| before.id == message.id);
        let before = before.expect("the id is kept");
        assert_eq!((message.timestamp, &message.body), (before.timestamp, &before.body));
        assert_eq!((before.attempts, message.attempts), (1, 2));
    }
}

#[test]
fn in_flight_comes_again_with_one_more_attempt_after_sigterm() {
    in_flight_comes_again_with_one_more_attempt_after(End::Terminated);
}

#[test]
fn ours_in_flight_comes_again_with_one_more_attempt_after_kill_9() {
    if only_ours("the real nsqd loses what is in flight when it is killed") {
        in_flight_comes_again_with_one_more_attempt_after(End::Killed);
    }
}

fn deferred_messages_keep_their_due_time_over(end: End) {
    let mut broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let asked = Instant::now();
    // Long enough that both are still deferred when they are looked at, and when the broker ends.
    broker.client().publish_deferred("t", 9000, b"published late");
    broker.client().publish("t", b"requeued late");
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let message = client.message();
    client.requeue(&message, 9000);
    broker.count_becomes("t", "c", "deferred_count", 2);
    let_what_is_not_answered_be_written(end);
    again(&mut broker, end);
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    let first = client.message();
    assert!(Duration::from_secs(9) <= asked.elapsed(), "{:?}", asked.elapsed());
    let mut messages = [first, client.message()];
    messages.sort_by_key(|message| message.body.clone());
    let got: Vec<_> = messages.iter().map(|got| (got.text(), got.attempts)).collect();
    assert_eq!(got, [("published late".to_owned(), 1), ("requeued late".to_owned(), 2)]);
}

#[test]
fn ours_deferred_messages_keep_their_due_time_over_sigterm() {
    if only_ours("the real nsqd delivers deferred messages at once after a restart") {
        deferred_messages_keep_their_due_time_over(End::Terminated);
    }
}

#[test]
fn ours_deferred_messages_keep_their_due_time_over_kill_9() {
    if only_ours("the real nsqd loses deferred messages when it is killed") {
        deferred_messages_keep_their_due_time_over(End::Killed);
    }
}

#[test]
fn ephemeral_messages_do_not_outlive_the_broker() {
    let mut broker = Broker::start();
    broker.client().publish("t#ephemeral", b"m");
    broker.restart();
    assert!(broker.topic("t#ephemeral").is_none());
}

#[test]
fn a_batch_cut_off_by_kill_9_is_kept_whole_or_not_at_all() {
    let mut broker = Broker::start();
    let address = broker.tcp;
    let at_work = Arc::new(AtomicBool::new(false));
    let is_at_work = Arc::clone(&at_work);
    let publisher = std::thread::spawn(move || {
        let bodies = numbers(100);
        let command = tests::client::many("t", &bodies);
        let mut client = tests::client::Client::connect(address);
        let mut acknowledged = 0_usize;
        // Until the connection breaks: every `OK` is a promise.
        loop {
            client.try_send(&command);
            match client.see_beyond_heartbeats(SOON) {
                tests::client::Seen::Frame(tests::client::Frame::Response(_)) => acknowledged += 1,
                _ => return acknowledged,
            }
            is_at_work.store(true, Ordering::Relaxed);
        }
    });
    eventually(SOON, "the publisher is at work", || at_work.load(Ordering::Relaxed).then_some(()));
    std::thread::sleep(Duration::from_millis(700));
    broker.process.kill();
    let acknowledged = publisher.join().expect("the publisher ends");
    broker.start_again();
    if !only_ours("the real nsqd loses what is in its memory when it is killed") {
        return;
    }
    let kept = usize::try_from(broker.topic_count("t", "depth")).expect("a count");
    let mut client = broker.subscribed("t", "c");
    client.ready(2500);
    let mut messages = Vec::new();
    for _ in 0..kept {
        let message = client.message();
        client.finish(&message);
        messages.push(message);
    }
    client.silence(Duration::from_millis(500));
    let batches = messages.len() / 100;
    assert_eq!(messages.len() % 100, 0, "a batch is whole");
    assert!(0 < acknowledged, "the publisher was at work");
    assert!(
        acknowledged <= batches && batches <= acknowledged + 1,
        "{acknowledged} batches acknowledged, {batches} kept"
    );
}
