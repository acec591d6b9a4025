//! What goes from the disk, and when. The real nsqd keeps no log of what its channels share.

use std::path::Path;

use tests::broker::Broker;
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

const BODY_BYTES: usize = 1_000;
const MEBIBYTE: u64 = 1 << 20;

/// 20 MiB in segments of one.
fn publish_twenty_mebibytes(broker: &Broker, topic: &str) {
    let mut publisher = broker.client();
    for batch in 0..210 {
        let bodies: Vec<_> = (0..100).map(|i| body(100 * batch + i)).collect();
        publisher.publish_many(topic, &bodies);
    }
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number:06} ").into_bytes();
    body.resize(BODY_BYTES, b'x');
    body
}

fn log_bytes(broker: &Broker, topic: &str) -> u64 {
    let folder = broker.folder().join(format!("{topic}.topic"));
    let lengths = |path: &Path| -> std::io::Result<u64> {
        let mut sum = 0;
        for entry in path.read_dir()? {
            // It may be gone by now.
            sum += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(sum)
    };
    lengths(&folder).expect("the topic has a folder")
}

#[test]
fn ours_keeps_no_segments_for_a_few_messages_that_wait() {
    if !only_ours("the real nsqd keeps no log") {
        return;
    }
    let mut broker = Broker::with(&["--max-bytes-per-file=1048576"]);
    let mut consumer = broker.subscribed("t", "c");
    publish_twenty_mebibytes(&broker, "t");
    assert!(20 * MEBIBYTE < log_bytes(&broker, "t"));
    consumer.ready(100);
    let mut waiting = Vec::new();
    for number in 0..21_000 {
        let message = consumer.message();
        if number % 1_000 == 0 {
            // It must not come again before all others have been read.
            consumer.requeue(&message, 45_000);
            waiting.push(message);
        } else {
            consumer.finish(&message);
        }
    }
    // The one that is written to, and what is needed of the others: 21 messages, each with its
    // block's and its file's header.
    eventually(SOON, "what was finished goes", || {
        (log_bytes(&broker, "t") < 2 * MEBIBYTE).then_some(())
    });
    broker.crash();
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(100);
    let mut again: Vec<_> = (0..21).map(|_| consumer.message_within(SOON * 4)).collect();
    again.sort_by(|a, b| a.body.cmp(&b.body));
    for (again, before) in again.iter().zip(&waiting) {
        assert_eq!((&again.id, &again.body), (&before.id, &before.body));
        assert_eq!(again.attempts, 2);
    }
    assert!(!broker.process.log().contains("ERROR"), "{}", broker.process.log());
}

#[test]
fn ours_keeps_a_segment_as_long_as_one_channel_needs_it() {
    if !only_ours("the real nsqd keeps no log") {
        return;
    }
    let broker = Broker::with(&["--max-bytes-per-file=1048576"]);
    let mut quick = broker.subscribed("t", "quick");
    broker.order("/channel/create?topic=t&channel=slow");
    publish_twenty_mebibytes(&broker, "t");
    quick.ready(100);
    for _ in 0..21_000 {
        let message = quick.message();
        quick.finish(&message);
    }
    broker.count_becomes("t", "quick", "in_flight_count", 0);
    assert!(20 * MEBIBYTE < log_bytes(&broker, "t"));
    broker.order("/channel/empty?topic=t&channel=slow");
    eventually(SOON, "what nobody needs goes", || {
        (log_bytes(&broker, "t") < 2 * MEBIBYTE).then_some(())
    });
}
