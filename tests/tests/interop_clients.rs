//! The published go-nsq, pynsq and nsqjs, unmodified: each publishes a real text of over 100,000
//! lines, and all three read it, directly and through `nsqlookupd`, with FIN, REQ and timeouts.
//!
//! One topic a test; on it two channels for each library, with two consumers a channel. What each
//! channel has finished is the text, byte for byte, each line once.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::library::{Between, Consume, Library, Report, Through};
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::turn::Turn;
use tests::words;

/// Prime, and far from dividing each other, so that no message is both requeued and left alone.
const REQUEUE_EVERY: usize = 997;
const TIMEOUT_EVERY: usize = 19_997;

/// When consumers come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consumers {
    /// Before the first message: they read while it is published.
    Waiting,
    /// After the last message: they read a backlog.
    Late,
}

fn check(publisher: Library, mode: &str, consumers: Consumers) {
    let Some(lines) = words::lines() else { return };
    if !Library::ALL.iter().all(|library| library.is_installed()) {
        return;
    }
    let _turn = Turn::take();
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    let folder = TempDir::new().expect("the temporary folder can be written");
    let topic = format!("{publisher:?}-{mode}");
    let ways = [("direct", Through::Broker(broker.tcp)), ("lookup", Through::Lookup(lookup.http))];
    let pairs: Vec<_> = Library::ALL
        .iter()
        .flat_map(|&library| {
            ways.map(|(way, through)| (library, through, format!("{library:?}-{way}")))
        })
        .collect();
    broker.order(&format!("/topic/create?topic={topic}"));
    for (_, _, channel) in &pairs {
        broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
    }
    eventually(SOON, "the broker has told the directory", || {
        let answer = lookup.get(&format!("/lookup?topic={topic}"));
        (answer.status == 200 && answer.text().contains("tcp_port")).then_some(())
    });

    let publish = || publisher.publish(broker.tcp, &topic, Path::new(words::PATH), mode);
    if consumers == Consumers::Late {
        publish();
    }
    let running: Vec<_> = pairs
        .iter()
        .map(|(library, through, channel)| {
            let told = Consume {
                through: *through,
                topic: &topic,
                channel,
                count: lines.len(),
                consumers: 2,
                requeue_every: REQUEUE_EVERY,
                timeout_every: TIMEOUT_EVERY,
                // Long enough that only what is left alone times out.
                msg_timeout_ms: 12_000,
                layers: Between::default(),
            };
            let output = folder.path().join(channel);
            (library.consume(told, &output), output, channel)
        })
        .collect();
    if consumers == Consumers::Waiting {
        publish();
    }

    let requeued = lines.len() / REQUEUE_EVERY;
    let timed_out = lines.len() / TIMEOUT_EVERY;
    for (consumer, output, channel) in running {
        let expected = Report {
            finished: lines.len(),
            deliveries: lines.len() + requeued + timed_out,
            requeued,
            timed_out,
        };
        assert_eq!(consumer.report(), expected, "on {channel}");
        let got = fs::read(&output).expect("the consumer has written");
        let mut got: Vec<_> = got.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(got.pop(), Some(Vec::new()), "every line ends");
        got.sort();
        assert!(got == lines, "what came on {channel} is not what was published");
        for key in ["depth", "in_flight_count", "deferred_count"] {
            broker.count_becomes(&topic, channel, key, 0);
        }
        let counted = ["message_count", "requeue_count", "timeout_count"]
            .map(|key| usize::try_from(broker.count(&topic, channel, key)).expect("a count"));
        assert_eq!(counted, [lines.len(), requeued, timed_out], "on {channel}");
    }
}

#[test]
fn all_read_live_what_go_nsq_publishes_one_by_one() {
    check(Library::Go, "pub", Consumers::Waiting);
}

#[test]
fn all_read_later_what_go_nsq_publishes_in_batches() {
    check(Library::Go, "mpub", Consumers::Late);
}

#[test]
fn all_read_later_what_pynsq_publishes_one_by_one() {
    check(Library::Python, "pub", Consumers::Late);
}

#[test]
fn all_read_live_what_pynsq_publishes_in_batches() {
    check(Library::Python, "mpub", Consumers::Waiting);
}

#[test]
fn all_read_live_what_nsqjs_publishes_one_by_one() {
    check(Library::Node, "pub", Consumers::Waiting);
}

#[test]
fn all_read_later_what_nsqjs_publishes_in_batches() {
    check(Library::Node, "mpub", Consumers::Late);
}
