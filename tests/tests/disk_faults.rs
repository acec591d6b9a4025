//! A disk that is full, or takes no more of a file, and a process that may open no more files: what
//! was acknowledged is kept, what is refused is said, and work goes on when the cause is gone.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::broker::Broker;
use tests::client::{Client, Frame, Message, Seen, many, with_body};
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;
use tests::small_disk::SmallDisk;

const MIB: u64 = 1 << 20;

/// A broker whose disk holds `bytes`.
fn on_a_small_disk(bytes: u64) -> Option<(SmallDisk, Broker)> {
    if !only_ours("the real nsqd goes on acknowledging what it then drops") {
        return None;
    }
    let disk = SmallDisk::of(bytes)?;
    let broker = Broker::in_folder(disk.path(), &FLAGS);
    Some((disk, broker))
}

/// Segments small enough that many fit.
const FLAGS: [&str; 2] = ["--shards=2", "--max-bytes-per-file=1048576"];

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number:08} ").into_bytes();
    body.resize(1000, b'x');
    body
}

/// Publishes batches from the number `from` on until one is refused. Says how far it came, and what
/// the refusal said.
fn publish_until_refused(broker: &Broker, topic: &str, from: usize) -> (usize, String) {
    let mut client = broker.client();
    let mut next = from;
    loop {
        let bodies: Vec<_> = (next..next + 50).map(body).collect();
        client.send(&many(topic, &bodies));
        match client.frame() {
            Frame::Response(text) if text == "OK" => next += bodies.len(),
            Frame::Error(text) => return (next, text),
            other => panic!("neither taken nor refused: {other:?}"),
        }
        assert!(next < from + 200_000, "the disk is never full");
    }
}

/// Waits until a publish is taken again, and says its number.
fn publish_when_possible(broker: &Broker, topic: &str, number: usize) {
    eventually(SOON, "publishes are taken again", || {
        let mut client = broker.client();
        client.send(&with_body(&format!("PUB {topic}"), &body(number)));
        (client.frame() == Frame::Response("OK".into())).then_some(())
    });
}

fn number_of(message: &Message) -> usize {
    assert_eq!(message.body.len(), 1000, "{}", message.text());
    let number = message.text()[..8].parse().expect("a body begins with its number");
    assert_eq!(message.body, body(number), "byte for byte");
    number
}

/// Finishes what a channel gives until it has nothing more; says which messages.
fn finish_all(broker: &Broker, topic: &str, channel: &str) -> BTreeSet<usize> {
    let mut client = broker.subscribed(topic, channel);
    client.ready(200);
    let mut got = BTreeSet::new();
    let mut end = Instant::now() + SOON;
    loop {
        match client.see_beyond_heartbeats(Duration::from_millis(500)) {
            Seen::Frame(Frame::Message(message)) => {
                client.finish(&message);
                got.insert(number_of(&message));
                end = Instant::now() + SOON;
            }
            Seen::Silence => {
                let counts = broker.channel(topic, channel).expect("it has a consumer");
                let keys = ["depth", "in_flight_count", "deferred_count"];
                if keys.iter().all(|&key| counts[key] == 0) {
                    return got;
                }
                assert!(Instant::now() < end, "nothing comes of {counts}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn is_ill(broker: &Broker, part: &str) {
    eventually(SOON, "/ping says what is wrong", || {
        let answer = broker.get("/ping");
        (answer.status == 500 && answer.text().starts_with("NOK") && answer.text().contains(part))
            .then_some(())
    });
}

fn is_well(broker: &Broker) {
    eventually(SOON, "/ping says that all is well", || {
        let answer = broker.get("/ping");
        (answer.status == 200 && answer.text() == "OK").then_some(())
    });
}

#[test]
fn a_full_disk_refuses_publishes_and_keeps_and_delivers_the_others() {
    let Some((_disk, broker)) = on_a_small_disk(12 * MIB) else { return };
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let (taken, refusal) = publish_until_refused(&broker, "t", 0);
    assert!(5000 < taken, "only {taken}");
    assert!(refusal.starts_with("E_MPUB_FAILED"), "{refusal}");
    is_ill(&broker, "o space");
    let before = broker.process.resident_bytes();
    for _ in 0..200 {
        let (more, _) = publish_until_refused(&broker, "t", taken);
        assert!(more - taken <= 100, "there was room for {}", more - taken);
    }
    let grown = broker.process.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} bytes more after 10,000 messages refused");
    // The last rest of the room takes a few that are smaller.
    let answer = eventually(SOON, "HTTP refuses, too", || {
        let answer = broker.post("/pub?topic=small", &body(0));
        (answer.status != 200).then_some(answer)
    });
    // As NSQ says whatever keeps it from taking a message.
    assert_eq!((answer.status, answer.text().as_str()), (503, r#"{"message":"EXITING"}"#));
    let got = finish_all(&broker, "t", "c");
    let lost: Vec<_> = (0..taken).filter(|number| !got.contains(number)).take(10).collect();
    assert!(lost.is_empty(), "acknowledged and not delivered: {lost:?}");
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(broker.count("t", "c", "depth"), 0);
}

#[test]
fn what_is_finished_makes_room_again() {
    let Some((disk, mut broker)) = on_a_small_disk(12 * MIB) else { return };
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let (taken, _) = publish_until_refused(&broker, "t", 0);
    // Not a byte is left, not even to write down what is finished.
    let _filler = disk.fill();
    finish_all(&broker, "t", "c");
    let mut again = taken;
    eventually(SOON, "there is room for as many again", || {
        (again, _) = publish_until_refused(&broker, "t", again);
        (taken + 4000 < again).then_some(())
    });
    // What was finished may come again after a crash, if there was no room to write that down.
    broker.crash();
    assert!(finish_all(&broker, "t", "c").is_superset(&(taken..again).collect()));
    publish_when_possible(&broker, "t", again);
    is_well(&broker);
}

#[test]
fn publishes_are_taken_again_when_somebody_else_made_room() {
    let Some((disk, broker)) = on_a_small_disk(12 * MIB) else { return };
    broker.client().publish("t", &body(0));
    let filler = disk.fill();
    let (taken, _) = publish_until_refused(&broker, "t", 1);
    // Also a topic that is new, and cannot have a folder.
    let (none, _) = publish_until_refused(&broker, "new", 0);
    is_ill(&broker, "o space");
    fs::remove_file(filler).expect("a file can be removed");
    publish_when_possible(&broker, "t", taken);
    publish_when_possible(&broker, "new", none);
    is_well(&broker);
    assert!(finish_all(&broker, "t", "c").is_superset(&(0..=taken).collect()));
    assert!(finish_all(&broker, "new", "c").contains(&none));
}

#[test]
fn a_full_disk_keeps_no_broker_from_starting() {
    let Some((disk, mut broker)) = on_a_small_disk(12 * MIB) else { return };
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let (taken, _) = publish_until_refused(&broker, "t", 0);
    let filler = disk.fill();
    let depth = broker.count("t", "c", "depth");
    broker.crash();
    broker.count_becomes("t", "c", "depth", depth);
    broker.stop();
    broker.start_again();
    broker.count_becomes("t", "c", "depth", depth);
    assert!(finish_all(&broker, "t", "c").is_superset(&(0..taken).collect()));
    broker.count_becomes("t", "c", "in_flight_count", 0);
    fs::remove_file(filler).expect("a file can be removed");
    publish_when_possible(&broker, "t", taken);
    is_well(&broker);
    broker.crash();
    assert_eq!(finish_all(&broker, "t", "c"), BTreeSet::from([taken]));
}

#[test]
fn a_file_that_may_not_grow_refuses_publishes_until_it_may() {
    if !only_ours("the real nsqd goes on acknowledging what it then drops") {
        return;
    }
    // Ended by the signal, a process could not say what is wrong.
    let mut broker = Broker::under("trap '' XFSZ", &["--shards=1"]);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let id = i32::try_from(broker.process.id()).expect("process numbers are small");
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Pid::from_raw(id), Resource::Fsize, limit).expect("a child can be limited");
    };
    // Not a multiple of anything, so that a write is cut short.
    limit(Some(MIB + 12_345));
    let (taken, refusal) = publish_until_refused(&broker, "t", 0);
    assert!(refusal.starts_with("E_MPUB_FAILED"), "{refusal}");
    is_ill(&broker, "arge");
    let ready = broker.get("/readyz");
    assert_eq!((ready.status, ready.text()), (503, broker.get("/ping").text()));
    assert_eq!(broker.get("/livez").status, 200, "a new start would not help");
    limit(None);
    publish_when_possible(&broker, "t", taken);
    is_well(&broker);
    assert_eq!(broker.get("/readyz").status, 200);
    broker.crash();
    let got = finish_all(&broker, "t", "c");
    assert!(got.is_superset(&(0..=taken).collect()));
}

/// Processor time the broker has used, in hundredths of a second.
fn processor_time(broker: &Broker) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", broker.process.id()))
        .expect("the process runs");
    // The name in brackets may hold blanks; times are the 14th and 15th field.
    let fields: Vec<_> = stat.rsplit(") ").next().expect("there is a name").split(' ').collect();
    [fields[11], fields[12]].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn without_a_file_to_open_what_is_there_goes_on() {
    if !only_ours("the real nsqd needs other limits") {
        return;
    }
    let mut broker = Broker::with(&["--shards=2"]);
    let mut publisher = broker.client();
    publisher.publish("old", &body(0));
    let mut consumer = broker.subscribed("old", "c");
    consumer.ready(10);
    let first = consumer.message();
    consumer.finish(&first);
    let id = i32::try_from(broker.process.id()).expect("process numbers are small");
    let limit = |files| {
        let limit = Rlimit { current: Some(files), maximum: Some(20_000) };
        prlimit(Pid::from_raw(id), Resource::Nofile, limit).expect("a child can be limited");
    };
    let open = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count();
    limit(u64::try_from(open).expect("a count fits") + 6);
    // More connections than there are files left: they wait or are refused, and nobody spins.
    let mut crowd: Vec<_> = (0..40).map(|_| Client::connect(broker.tcp)).collect();
    thread::sleep(Duration::from_millis(300));
    let before = processor_time(&broker);
    thread::sleep(Duration::from_secs(2));
    let used = processor_time(&broker) - before;
    assert!(used < 40, "{used} hundredths of a second of the processor in two seconds");
    // Those that are there go on.
    for number in 1..20 {
        publisher.publish("old", &body(number));
        let message = consumer.message();
        assert_eq!(number_of(&message), number);
        consumer.finish(&message);
    }
    // New topics cannot have a folder: they are refused in words, or taken and kept.
    let mut kept = Vec::new();
    for number in 0..20 {
        publisher.try_send(&with_body(&format!("PUB new-{number}"), &body(number)));
        match publisher.see_beyond_heartbeats(SOON) {
            Seen::Frame(Frame::Response(text)) if text == "OK" => kept.push(number),
            Seen::Frame(Frame::Error(text)) => {
                assert!(text.starts_with("E_PUB_FAILED"), "{text}");
                break;
            }
            other => panic!("neither taken nor refused: {other:?}"),
        }
    }
    assert!(kept.len() < 20, "nothing was refused: can this test fail?");
    crowd.clear();
    limit(20_000);
    for number in 20..40 {
        publish_when_possible(&broker, &format!("new-{number}"), number);
    }
    is_well(&broker);
    drop((consumer, publisher));
    broker.crash();
    for number in kept.into_iter().chain(20..40) {
        let got = finish_all(&broker, &format!("new-{number}"), "c");
        assert!(got.contains(&number), "{number}: {got:?}");
    }
}
