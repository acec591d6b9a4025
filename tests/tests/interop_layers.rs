//! The published go-nsq, pynsq and nsqjs, unmodified, through TLS, snappy, deflate, and both inside
//! TLS: each publishes, and all three read it.
//!
//! All of it passes a relay, which proves that it was compressed and encrypted: go-nsq and nsqjs
//! take it in silence when the broker does not compress.
//!
//! pynsq gives a connection up when a read ends inside a compressed piece. The real nsqd sends such
//! pieces in parts, so there pynsq is left out where there is compression.

use std::fs;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::layers::Certificates;
use tests::library::{Between, Consume, Library, Through};
use tests::programs::{Maker, under_test};
use tests::relay::Relay;
use tests::turn::Turn;

const LINES: usize = 3_000;
const PHRASE: &str = "all work and no play ";

fn check(is_tls: bool, snappy: bool, deflate: bool) {
    if !Library::ALL.iter().all(|library| library.is_installed()) {
        return;
    }
    let _turn = Turn::take();
    let certificates = Certificates::new();
    let flags = certificates.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let broker = Broker::with(&flags);
    let relay = Relay::to(broker.tcp);
    let authority = certificates.file("ca.pem");
    let layers = Between { tls: is_tls.then_some(&*authority), snappy, deflate };

    let folder = TempDir::new().expect("the temporary folder can be written");
    let mut lines: Vec<Vec<u8>> =
        (0..LINES).map(|number| format!("{number:06} {}", PHRASE.repeat(8)).into_bytes()).collect();
    let file = folder.path().join("lines");
    fs::write(&file, [lines.join(&b'\n'), b"\n".to_vec()].concat()).expect("it can be written");
    lines.sort();

    let is_whole = under_test() == Maker::Ours || !(snappy || deflate);
    let libraries: Vec<Library> = Library::ALL
        .into_iter()
        .filter(|&library| is_whole || library != Library::Python)
        .collect();
    for &publisher in &libraries {
        let topic = format!("{publisher:?}");
        let channels: Vec<_> = libraries.iter().map(|library| format!("{library:?}")).collect();
        broker.order(&format!("/topic/create?topic={topic}"));
        for channel in &channels {
            broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
        }
        publisher.publish_through(layers, relay.address, &topic, &file, "mpub");
        let running: Vec<_> = libraries
            .iter()
            .zip(&channels)
            .map(|(library, channel)| {
                let output = folder.path().join(format!("{topic}-{channel}"));
                let told = Consume {
                    through: Through::Broker(relay.address),
                    topic: &topic,
                    channel,
                    count: LINES,
                    consumers: 2,
                    requeue_every: 0,
                    timeout_every: 0,
                    msg_timeout_ms: 0,
                    layers,
                };
                (library.consume(told, &output), output)
            })
            .collect();
        for (consumer, output) in running {
            assert_eq!(consumer.report().finished, LINES);
            let got = fs::read(&output).expect("the consumer has written");
            let mut got: Vec<_> = got.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!(got.pop(), Some(Vec::new()), "every line ends");
            got.sort();
            assert!(got == lines, "{} is not what was published", output.display());
        }
    }

    let seen = relay.seen();
    let twice = PHRASE.repeat(2);
    for (way, bytes) in [("up", &seen.up), ("down", &seen.down)] {
        let is_plain = bytes.windows(twice.len()).any(|window| window == twice.as_bytes());
        assert_eq!(is_plain, !is_tls && !snappy && !deflate, "{way}: the phrase is in the open");
    }
    // What each has published goes to each once. Up there are mostly FINs.
    let whole = LINES * PHRASE.len() * 8 * libraries.len().pow(2);
    let is_small = seen.down.len() < whole / 2;
    assert_eq!(is_small, snappy || deflate, "{} bytes of {whole}", seen.down.len());
}

#[test]
fn without_layers_the_relay_sees_everything() {
    check(false, false, false);
}

#[test]
fn all_read_through_snappy_what_each_publishes_through_it() {
    check(false, true, false);
}

#[test]
fn all_read_through_deflate_what_each_publishes_through_it() {
    check(false, false, true);
}

#[test]
fn all_read_through_tls_what_each_publishes_through_it() {
    check(true, false, false);
}

#[test]
fn all_read_through_snappy_inside_tls_what_each_publishes_through_it() {
    check(true, true, false);
}

#[test]
fn all_read_through_deflate_inside_tls_what_each_publishes_through_it() {
    check(true, false, true);
}
