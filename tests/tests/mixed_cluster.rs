//! The real nsqd and this one under one nsqlookupd, and other people's clients that consume from
//! both: the published go-nsq, pynsq and nsqjs, unmodified, which find the brokers by themselves.

use std::fs;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::library::{Between, Consume, Library, Report, Through};
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, real, under_test};
use tests::turn::Turn;
use tests::words;

/// Lines of the word list that each broker gets.
const LINES: usize = 5_000;

/// Each broker is published another part of a text; every library gets the whole of it.
fn check(lookup_of: Maker) {
    let Some(lines) = words::lines() else { return };
    let are_installed = Library::ALL.iter().all(|library| library.is_installed());
    if !are_installed || real("nsqd").is_none() {
        return;
    }
    let _turn = Turn::take();
    let lookup = LookupServer::of(lookup_of);
    let brokers = [Maker::Real, under_test()].map(|maker| Broker::of(maker, &[&lookup.flag()]));
    let folder = TempDir::new().expect("the temporary folder can be written");
    let channels = Library::ALL.map(|library| format!("{library:?}"));
    for broker in &brokers {
        broker.order("/topic/create?topic=t");
        for channel in &channels {
            broker.order(&format!("/channel/create?topic=t&channel={channel}"));
        }
    }
    eventually(SOON, "both are registered", || {
        let found = lookup.get("/lookup?topic=t");
        (found.status == 200 && found.text().matches("tcp_port").count() == 2).then_some(())
    });
    let running: Vec<_> = Library::ALL
        .iter()
        .zip(&channels)
        .map(|(library, channel)| {
            let told = Consume {
                through: Through::Lookup(lookup.http),
                topic: "t",
                channel,
                count: 2 * LINES,
                consumers: 1,
                requeue_every: 997,
                timeout_every: 0,
                msg_timeout_ms: 0,
                layers: Between::default(),
            };
            let output = folder.path().join(channel);
            (library.consume(told, &output), output, channel)
        })
        .collect();
    let parts = lines.chunks(LINES).zip(&brokers).zip([Library::Go, Library::Python]);
    for ((part, broker), library) in parts {
        let file = folder.path().join(format!("part-{library:?}"));
        let text: Vec<u8> = part.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        fs::write(&file, text).expect("the temporary folder can be written");
        library.publish(broker.tcp, "t", &file, "mpub");
    }
    for (consumer, output, channel) in running {
        let requeued = 2 * LINES / 997;
        let deliveries = 2 * LINES + requeued;
        let expected = Report { finished: 2 * LINES, deliveries, requeued, timed_out: 0 };
        assert_eq!(consumer.report(), expected, "on {channel}");
        let got = fs::read(&output).expect("the consumer has written");
        let mut got: Vec<_> = got.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(got.pop(), Some(Vec::new()), "every line ends");
        got.sort();
        assert!(got == lines[..2 * LINES], "what came on {channel} is not what was published");
        for broker in &brokers {
            broker.count_becomes("t", channel, "in_flight_count", 0);
            let counts = ["depth", "message_count"].map(|key| broker.count("t", channel, key));
            assert_eq!(counts, [0, i64::try_from(LINES).expect("a small number")], "{channel}");
        }
    }
}

#[test]
fn all_libraries_consume_from_both_under_this_nsqlookupd() {
    check(under_test());
}

#[test]
fn all_libraries_consume_from_both_under_the_real_nsqlookupd() {
    check(Maker::Real);
}
