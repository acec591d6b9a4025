//! pynsq and nsq-j, as published, do with messages what NSQ lets a client do: publish one by one, in
//! a batch and deferred; finish, requeue, touch and leave alone. With the real nsqd and with ours the
//! same happens, plain and in each layer that the client has.
//!
//! Not with pynsq inside snappy and deflate: where bytes come in pieces that open to nothing yet, it
//! fails, which with the real nsqd they do in some runs.

use std::thread;
use std::time::Duration;

use tests::broker::Broker;
use tests::layers::Certificates;
use tests::library::{Between, Library};
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, real};

/// Every delivery, in the order of the alphabet.
const DELIVERIES: [&str; 9] = [
    "batched one attempt=1",
    "batched two attempt=1",
    "deferred attempt=1",
    "finish attempt=1",
    "leave attempt=1",
    "leave attempt=2",
    "requeue attempt=1",
    "requeue attempt=2",
    // Once alone: the touches kept it beyond its timeout.
    "touch attempt=1",
];

/// What lies between the client and its socket, and whether it looks the broker up.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    tls: bool,
    snappy: bool,
    deflate: bool,
    looked_up: bool,
}

/// The exercise with one broker, which must have agreed to just these layers.
fn check_with(maker: Maker, library: Library, way: Way) {
    let certificates = Certificates::new();
    let lookup = LookupServer::of(maker);
    let mut flags = certificates.flags();
    flags.push(lookup.flag());
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let broker = Broker::of(maker, &flags);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    eventually(SOON, "the broker has told the directory", || {
        lookup.get("/lookup?topic=t").text().contains("tcp_port").then_some(())
    });

    let directory = way.looked_up.then_some(lookup.http);
    let authority = certificates.file("ca.pem");
    let layers =
        Between { tls: way.tls.then_some(&authority), snappy: way.snappy, deflate: way.deflate };
    let mut client = library.exercise(broker.tcp, directory, "t", "c", layers);
    let subscriber = eventually(SOON, "the client has subscribed", || {
        broker.channel("t", "c")?["clients"].get(0).cloned()
    });
    for (layer, wanted) in [("tls", way.tls), ("snappy", way.snappy), ("deflate", way.deflate)] {
        assert_eq!(subscriber[layer], wanted, "{layer} with {maker:?}: {subscriber}");
    }

    let status = client.ended_within(Duration::from_secs(120));
    assert!(status.success(), "{library:?} with {maker:?}: {}", client.log());
    let mut deliveries = client.whole_output();
    deliveries.sort();
    assert_eq!(deliveries, DELIVERIES, "{library:?} with {maker:?}: {}", client.log());
    let expected = [
        ("depth", 0),
        ("in_flight_count", 0),
        ("deferred_count", 0),
        ("message_count", 7),
        ("requeue_count", 1),
        ("timeout_count", 1),
    ];
    for (key, value) in expected {
        broker.count_becomes("t", "c", key, value);
    }
}

fn check(library: Library, way: Way) {
    if real("nsqd").is_none() || !library.is_installed() {
        return;
    }
    thread::scope(|scope| {
        for maker in [Maker::Real, Maker::Ours] {
            scope.spawn(move || check_with(maker, library, way));
        }
    });
}

#[test]
fn pynsq_does_everything_with_a_broker_that_it_looks_up() {
    check(Library::Python, Way { looked_up: true, ..Way::default() });
}

#[test]
fn pynsq_does_everything_inside_tls() {
    check(Library::Python, Way { tls: true, ..Way::default() });
}

#[test]
fn nsq_j_does_everything_with_a_broker_that_it_looks_up() {
    check(Library::Java, Way { looked_up: true, ..Way::default() });
}

#[test]
fn nsq_j_does_everything_inside_snappy() {
    check(Library::Java, Way { snappy: true, ..Way::default() });
}

#[test]
fn nsq_j_does_everything_inside_deflate() {
    check(Library::Java, Way { deflate: true, ..Way::default() });
}

#[test]
fn nsq_j_does_everything_inside_tls() {
    check(Library::Java, Way { tls: true, ..Way::default() });
}

#[test]
fn nsq_j_does_everything_inside_snappy_inside_tls() {
    check(Library::Java, Way { tls: true, snappy: true, ..Way::default() });
}
