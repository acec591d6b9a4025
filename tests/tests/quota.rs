//! Bounds of what topics take on disk. The real nsqd has none.

use std::path::Path;

use tests::broker::Broker;
use tests::client::{Frame, many};
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

const MEBIBYTE: u64 = 1 << 20;
const QUOTA: &str = "16777216";

/// A thousand messages of a thousand bytes, numbered from `first` on.
fn batch(first: usize) -> Vec<Vec<u8>> {
    (first..first + 1_000)
        .map(|number| {
            let mut body = format!("{number:06}").into_bytes();
            body.resize(1_000, b'.');
            body
        })
        .collect()
}

/// What the broker says to a batch. It closes the connection of one whom it refuses.
fn answer(broker: &Broker, topic: &str, first: usize) -> Result<(), String> {
    let mut publisher = broker.client();
    publisher.send(&many(topic, &batch(first)));
    match publisher.frame() {
        Frame::Response(_) => Ok(()),
        Frame::Error(reason) => Err(reason),
        Frame::Message(_) => panic!("it is no consumer"),
    }
}

/// Publishes until it is refused; how many batches were taken, and why no more were.
fn fill(broker: &Broker, topic: &str) -> (usize, String) {
    for batches in 0..64 {
        if let Err(reason) = answer(broker, topic, 1_000 * batches) {
            return (batches, reason);
        }
    }
    panic!("64 MB were taken");
}

fn data_bytes(folder: &Path) -> u64 {
    let entries = folder.read_dir().map(Iterator::flatten).into_iter().flatten();
    entries
        .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
        .map(|(metadata, path)| if metadata.is_dir() { data_bytes(&path) } else { metadata.len() })
        .sum()
}

#[test]
fn ours_refuses_publishers_while_a_topic_is_full_and_consumers_make_room() {
    if !only_ours("the real nsqd has no quotas") {
        return;
    }
    let broker = Broker::with(&["--max-topic-bytes", QUOTA, "--max-bytes-per-file=1048576"]);
    let mut consumer = broker.subscribed("t", "c");
    let (taken, reason) = fill(&broker, "t");
    assert!((15..=17).contains(&taken), "{taken} batches");
    assert!(
        reason.starts_with("E_MPUB_FAILED MPUB failed quota: the topic's log takes"),
        "{reason}"
    );
    assert!(reason.ends_with("of 16777216 (--max-topic-bytes)"), "{reason}");
    let refused = broker.post("/pub?topic=t", b"m");
    // NSQ's one answer to every message that a topic does not take.
    assert_eq!((refused.status, refused.text().as_str()), (503, r#"{"message":"EXITING"}"#));
    assert_eq!(broker.get("/ping").text(), "OK", "a quota is no trouble of the broker");
    broker.client().publish("another", b"m");

    consumer.ready(1_000);
    for number in 0..1_000 * taken {
        let message = consumer.message();
        assert_eq!(&message.body[..6], format!("{number:06}").as_bytes());
        consumer.finish(&message);
    }
    eventually(SOON, "there is room", || answer(&broker, "t", 0).ok());
}

#[test]
fn ours_drops_the_oldest_messages_when_told_so() {
    if !only_ours("the real nsqd has no quotas") {
        return;
    }
    let flags = ["--max-topic-bytes", QUOTA, "--on-full=drop-oldest"];
    let mut broker = Broker::with(&flags);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    for number in 0..40 {
        answer(&broker, "t", 1_000 * number).expect("old messages make room");
    }
    eventually(SOON, "old segments are gone", || {
        (data_bytes(broker.folder()) < 17 * MEBIBYTE).then_some(())
    });
    broker.process.logged("to keep to --max-topic-bytes");
    let depth = usize::try_from(broker.count("t", "c", "depth")).expect("a number");
    assert!((8_000..17_000).contains(&depth), "{depth} messages are left");
    // What is left are the newest, and none twice, also after a crash.
    broker.crash();
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(1_000);
    for number in 40_000 - depth..40_000 {
        let message = consumer.message();
        assert_eq!(&message.body[..6], format!("{number:06}").as_bytes());
        consumer.finish(&message);
    }
    broker.count_becomes("t", "c", "depth", 0);
}

#[test]
fn ours_bounds_all_topics_together_whichever_core_they_are_on() {
    if !only_ours("the real nsqd has no quotas") {
        return;
    }
    let broker = Broker::with(&["--max-data-bytes", QUOTA, "--shards=2"]);
    let mut taken = 0;
    // Names enough that both cores have some.
    for number in 0..64 {
        if answer(&broker, &format!("t{}", number % 8), 0).is_ok() {
            taken += 1;
        }
    }
    assert!((14..=20).contains(&taken), "{taken} MB were taken");
    assert!(data_bytes(broker.folder()) < 21 * MEBIBYTE);
    let refused = answer(&broker, "t0", 0).expect_err("all is full");
    assert!(refused.ends_with("of 16777216 (--max-data-bytes)"), "{refused}");
    for number in 0..8 {
        broker.order(&format!("/topic/delete?topic=t{number}"));
    }
    eventually(SOON, "there is room", || answer(&broker, "new", 0).ok());
}

#[test]
fn ours_refuses_quotas_that_hold_nothing() {
    if !only_ours("the real nsqd has no quotas") {
        return;
    }
    for flag in ["--max-topic-bytes=1000", "--max-data-bytes=-1"] {
        let mut command = std::process::Command::new(tests::programs::ours("nsqd"));
        command.arg(flag).args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        let ended = tests::process::run(&mut command, b"", SOON);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains("or 16777216 or more"), "{}", ended.log);
    }
}
