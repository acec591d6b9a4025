//! A data path that the real nsqd left: ours goes on where it stopped, message by message.
//!
//! What is owed is not worked out here: the real nsqd is started on a copy of the same folder, and
//! what it delivers is what ours must deliver. Where the copy is spoilt on purpose, the messages of
//! the whole one say what may be missing.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::{Frame, Message, with_body};
use tests::patience::{SOON, eventually};
use tests::process::Process;
use tests::programs::{Maker, ours, real, under_test};

/// Everything goes to the disk queues, in many small files.
const OLD_FLAGS: [&str; 2] = ["--mem-queue-size=0", "--max-bytes-per-file=2000"];

/// A message as a client sees it: id, timestamp, attempts, body.
type Seen = (String, i64, u16, Vec<u8>);

/// Whether there is a real nsqd to move from, and ours to move to.
fn can_move() -> bool {
    under_test() == Maker::Ours && real("nsqd").is_some()
}

fn seen(message: Message) -> Seen {
    (message.id, message.timestamp, message.attempts, message.body)
}

fn bodies(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix} {number} {}", "x".repeat(number * 7 % 90))).collect()
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file(), "the real nsqd makes no folders");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn files_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn ours_over(folder: TempDir) -> Broker {
    Broker::over(Maker::Ours, folder, &[])
}

/// Receives and finishes as many messages as wait in a channel.
fn drain(broker: &Broker, topic: &str, channel: &str) -> Vec<Seen> {
    let mut client = broker.subscribed(topic, channel);
    let waiting = broker.count(topic, channel, "depth");
    let waiting = usize::try_from(waiting).unwrap();
    client.ready(500);
    let mut messages: Vec<_> = (0..waiting)
        .map(|_| {
            let message = client.message();
            client.finish(&message);
            seen(message)
        })
        .collect();
    broker.count_becomes(topic, channel, "in_flight_count", 0);
    broker.count_becomes(topic, channel, "depth", 0);
    client.silence(Duration::from_millis(200));
    messages.sort();
    messages
}

/// A folder with queues of topics and channels, some of them partly consumed, with messages that
/// were delivered before, deferred, and in flight.
fn old_folder() -> TempDir {
    let broker = Broker::of(Maker::Real, &OLD_FLAGS);
    for target in [
        "/topic/create?topic=orders",
        "/channel/create?topic=orders&channel=billing",
        "/channel/create?topic=orders&channel=mail",
        "/channel/pause?topic=orders&channel=mail",
        "/topic/create?topic=held",
        "/channel/create?topic=held&channel=c",
        "/topic/create?topic=alone",
        "/topic/create?topic=quiet",
        "/channel/create?topic=quiet&channel=c",
    ] {
        broker.order(target);
    }
    let mut publisher = broker.client();
    publisher.publish_many("orders", &bodies("order", 200));
    publisher.publish_many("held", &bodies("early", 30));
    publisher.publish_many("alone", &bodies("alone", 40));
    publisher.publish_deferred("orders", 3_600_000, b"deferred");
    // What goes through the topic's disk queue loses its delay there.
    eventually(SOON, "the topics hand their messages over", || {
        let waiting = |topic, channel| {
            let key = |key| broker.count(topic, channel, key);
            key("depth") + key("deferred_count")
        };
        let orders = ["billing", "mail"].map(|channel| waiting("orders", channel));
        (orders == [201, 201] && waiting("held", "c") == 30).then_some(())
    });
    broker.order("/topic/pause?topic=held");
    publisher.publish_many("held", &bodies("late", 25));

    let mut consumer = broker.subscribed("orders", "billing");
    consumer.ready(80);
    for (number, message) in consumer.messages(80).iter().enumerate() {
        match number % 8 {
            // Back at once; some of them come again before the end, and go back again.
            0 => consumer.requeue(message, 0),
            1 => consumer.requeue(message, 3_600_000),
            // Held at the end.
            2 => {}
            _ => consumer.finish(message),
        }
    }
    eventually(SOON, "some messages were delivered again", || {
        let message = consumer.message();
        consumer.requeue(&message, 0);
        (message.attempts >= 3).then_some(())
    });
    consumer.ready(0);
    drop(consumer);
    publisher.publish_many("orders", &bodies("fresh", 20));
    eventually(SOON, "the topic hands them over", || {
        (broker.topic_count("orders", "depth") == 0).then_some(())
    });
    broker.into_folder()
}

/// What every channel of the folder is owed, after what waits in the topics was handed over.
fn all_of(broker: &Broker) -> Vec<(&'static str, Vec<Seen>)> {
    broker.order("/channel/unpause?topic=orders&channel=mail");
    broker.order("/topic/unpause?topic=held");
    broker.order("/channel/create?topic=alone&channel=first");
    let waits = [("orders", "billing"), ("orders", "mail"), ("held", "c"), ("alone", "first")];
    for (topic, _) in waits {
        eventually(SOON, &format!("{topic} hands its messages over"), || {
            (broker.topic_count(topic, "depth") == 0).then_some(())
        });
    }
    let drained = waits.map(|(topic, channel)| (channel, drain(broker, topic, channel)));
    assert_eq!(broker.count("quiet", "c", "depth"), 0);
    drained.into()
}

#[test]
fn every_channel_gets_what_the_real_nsqd_owed_it_with_id_time_and_attempts() {
    if !can_move() {
        return;
    }
    let folder = old_folder();
    let control = Broker::over(Maker::Real, copy_of(folder.path()), &OLD_FLAGS);
    let expected = all_of(&control);
    let attempts: BTreeSet<_> = expected[0].1.iter().map(|message| message.2).collect();
    assert!(attempts.contains(&1) && attempts.contains(&2) && 3 <= attempts.len(), "{attempts:?}");
    let counts: Vec<_> = expected.iter().map(|(_, messages)| messages.len()).collect();
    assert_eq!(counts, [171, 221, 55, 40]);

    let mut broker = ours_over(folder);
    assert_eq!(broker.channel("orders", "mail").unwrap()["paused"], true);
    assert_eq!(broker.topic("held").unwrap()["paused"], true);
    assert_eq!(broker.topic_count("held", "depth"), 25);
    assert_eq!(broker.topic_count("alone", "depth"), 40);
    // Nothing was published since this process started (NSQ behaviour).
    assert_eq!(broker.topic_count("orders", "message_count"), 0);
    assert_eq!(broker.count("orders", "billing", "message_count"), 0);
    broker.process.logged("DISKQUEUE(orders:mail): imported 221 messages of ");
    let log = broker.process.log();
    assert!(!log.contains(" damaged at "), "{log}");
    let files = files_of(broker.folder());
    // The real nsqd sets files aside as `.bad`, now and then also one that it has read.
    let is_of_a_queue = |name: &&String| name.contains(".diskqueue.") && !name.ends_with(".bad");
    let queues: Vec<_> = files.iter().filter(is_of_a_queue).collect();
    assert!(20 < queues.len(), "{files:?}");
    assert!(queues.iter().all(|name| name.ends_with(".imported")), "{files:?}");
    assert!(!files.iter().any(|name| name.ends_with(".import")), "{files:?}");

    let got = all_of(&broker);
    for ((channel, expected), (_, got)) in expected.iter().zip(&got) {
        assert_eq!(got.len(), expected.len(), "{channel}");
        assert!(got == expected, "{channel}:\n{got:?}\n{expected:?}");
    }
    // New messages come behind the old ones, with ids of ours.
    broker.client().publish("orders", b"new");
    assert_eq!(drain(&broker, "orders", "billing")[0].3, b"new");

    broker.restart();
    let log = broker.process.log();
    assert!(!log.contains("imported"), "{log}");
    for (topic, channel, depth) in
        [("orders", "billing", 0), ("orders", "mail", 1), ("held", "c", 0), ("alone", "first", 0)]
    {
        assert_eq!(broker.count(topic, channel, "depth"), depth, "{topic}/{channel}");
    }
}

#[test]
fn a_message_that_moved_in_can_be_touched_requeued_finished_and_timed_out() {
    if !can_move() {
        return;
    }
    let old = Broker::of(Maker::Real, &OLD_FLAGS);
    old.order("/topic/create?topic=t");
    old.order("/channel/create?topic=t&channel=c");
    old.client().publish_many("t", &bodies("m", 4));
    old.count_becomes("t", "c", "depth", 4);
    let mut broker = ours_over(old.into_folder());
    let mut client = broker.client();
    // Long enough for all that is done before.
    client.identify(r#"{"msg_timeout":6000}"#);
    client.subscribe("t", "c");
    let mut other = broker.subscribed("t", "c");
    client.ready(4);
    let first = client.messages(4);
    assert!(first.iter().all(|message| message.attempts == 1));
    other.finish(&first[0]);
    assert!(other.error().starts_with("E_FIN_FAILED"), "another client holds it");
    client.touch(&first[0]);
    client.finish(&first[1]);
    client.finish(&first[1]);
    assert!(client.error().starts_with("E_FIN_FAILED"), "it is finished");
    client.requeue(&first[2], 0);
    let again = client.message();
    let expected = Message { attempts: 2, ..first[2].clone() };
    assert_eq!(again, expected);
    client.ready(0);
    client.finish(&again);
    // The two that are left time out; one of them was touched.
    broker.count_becomes("t", "c", "depth", 2);
    assert_eq!(broker.count("t", "c", "timeout_count"), 2);
    other.ready(1);
    let held = other.message();
    assert_eq!(held.attempts, 2);
    other.requeue(&held, 8_000);
    other.ready(0);
    broker.count_becomes("t", "c", "deferred_count", 1);

    // Over a restart of ours it is still the same message.
    broker.restart();
    let mut client = broker.subscribed("t", "c");
    client.ready(2);
    let last = client.messages(2);
    let deferred = last.iter().find(|message| message.id == held.id).expect("it comes again");
    assert_eq!(*deferred, Message { attempts: 3, ..held });
    last.iter().for_each(|message| client.finish(message));
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(broker.count("t", "c", "depth"), 0);
}

#[test]
fn attempts_of_messages_that_moved_in_are_kept_over_kill_9() {
    if !can_move() {
        return;
    }
    let mut broker = ours_over(old_folder());
    let mut client = broker.subscribed("orders", "billing");
    client.ready(500);
    let before: Vec<_> = client.messages(171).into_iter().map(seen).collect();
    // Deliveries are written down within a second, or later on a busy machine.
    std::thread::sleep(Duration::from_secs(4));
    broker.crash();
    let after = drain(&broker, "orders", "billing");
    let one_more = |(id, time, attempts, body)| (id, time, attempts + 1, body);
    let mut expected: Vec<_> = before.into_iter().map(one_more).collect();
    expected.sort();
    assert_eq!(after, expected);
}

#[test]
fn kill_9_in_the_middle_of_moving_in_neither_loses_nor_doubles() {
    if !can_move() {
        return;
    }
    let old = Broker::of(Maker::Real, &["--mem-queue-size=0", "--max-bytes-per-file=1000000"]);
    old.order("/topic/create?topic=t");
    for channel in ["a", "b"] {
        old.order(&format!("/channel/create?topic=t&channel={channel}"));
    }
    let count = 20_000;
    let mut publisher = old.client();
    for batch in bodies("m", count).chunks(1_000) {
        publisher.publish_many("t", batch);
    }
    for channel in ["a", "b"] {
        old.count_becomes("t", channel, "depth", i64::try_from(count).unwrap());
    }
    let folder = old.into_folder();
    let mut cut_short = 0;
    for round in 0..6 {
        let copy = copy_of(folder.path());
        let marker = copy.path().join("t.import");
        // Twice in a row: an import that starts anew may be cut short, too.
        for _ in 0..2 {
            let mut process = Process::start(
                Command::new(ours("nsqd"))
                    .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
                    .arg("--data-path")
                    .arg(copy.path()),
            );
            process.logged("listening on ");
            let end = std::time::Instant::now() + Duration::from_secs(5);
            while !marker.exists() && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(round * 60));
            process.kill();
            cut_short += usize::from(marker.exists());
        }
        let broker = ours_over(copy);
        for channel in ["a", "b"] {
            let ids: BTreeSet<_> =
                drain(&broker, "t", channel).into_iter().map(|message| message.0).collect();
            assert_eq!(ids.len(), count, "round {round}, channel {channel}");
        }
        // Each of them came once: the depth was that of the real nsqd, and is zero now.
        assert_eq!(broker.topic_count("t", "depth"), 0);
    }
    assert!(0 < cut_short, "no import was cut short");
}

#[test]
fn of_damaged_files_the_rest_moves_in_and_the_damage_is_told() {
    if !can_move() {
        return;
    }
    let folder = old_folder();
    let whole = ours_over(copy_of(folder.path()));
    let whole = drain_mail(&whole);
    let path = |number: usize| folder.path().join(format!("orders:mail.diskqueue.{number:06}.dat"));
    // A length in the middle of one file, the end of another, and all of a third.
    let mut bytes = fs::read(path(2)).unwrap();
    let first = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let second = usize::try_from(first).unwrap() + 4;
    bytes[second + 3] ^= 1;
    fs::write(path(2), &bytes).unwrap();
    let bytes = fs::read(path(4)).unwrap();
    fs::write(path(4), &bytes[..bytes.len() - 1]).unwrap();
    fs::write(path(6), "this was a queue once").unwrap();

    let mut broker = ours_over(folder);
    for damage in [
        format!("orders:mail.diskqueue.000002.dat is damaged at {second}: "),
        "orders:mail.diskqueue.000004.dat is damaged at ".to_string(),
        "orders:mail.diskqueue.000006.dat is damaged at 0: 21 bytes are skipped".to_string(),
    ] {
        broker.process.logged(&damage);
    }
    let got = drain_mail(&broker);
    assert!(got.iter().all(|message| whole.contains(message)), "nothing comes that was not there");
    // One of a file of at most 2000 bytes, one of another, and a file of messages of 41 bytes or
    // more.
    let lost = whole.len() - got.len();
    assert!((3..2 + 2_000 / 41).contains(&lost), "{lost} of {} are lost", whole.len());
}

fn drain_mail(broker: &Broker) -> Vec<Seen> {
    broker.order("/channel/unpause?topic=orders&channel=mail");
    drain(broker, "orders", "mail")
}

/// A folder with 20,000 messages of 1,000 bytes, which wait in two channels.
fn twenty_megabytes() -> TempDir {
    let old = Broker::of(Maker::Real, &["--mem-queue-size=0"]);
    old.order("/topic/create?topic=t");
    for channel in ["a", "b"] {
        old.order(&format!("/channel/create?topic=t&channel={channel}"));
    }
    let mut publisher = old.client();
    let batch = vec!["x".repeat(1_000); 1_000];
    for _ in 0..20 {
        publisher.publish_many("t", &batch);
    }
    for channel in ["a", "b"] {
        old.count_becomes("t", channel, "depth", 20_000);
    }
    old.into_folder()
}

#[test]
fn more_than_a_quota_allows_moves_in_whole_and_publishers_give_way() {
    if !can_move() {
        return;
    }
    let folder = twenty_megabytes();
    for flag in ["--max-topic-bytes", "--max-data-bytes"] {
        let flags = [flag, "16777216", "--shards=1"];
        let mut broker = Broker::over(Maker::Ours, copy_of(folder.path()), &flags);
        for is_first in [true, false] {
            for channel in ["a", "b"] {
                assert_eq!(broker.count("t", channel, "depth"), 20_000, "{flag}");
            }
            let excess = format!("({flag}): no more messages are taken until some are finished");
            broker.process.logged(&excess);
            let mut publisher = broker.client();
            publisher.send(&with_body("PUB t", b"new"));
            let reason = publisher.error();
            assert!(reason.starts_with("E_PUB_FAILED PUB failed quota: the "), "{reason}");
            if is_first {
                broker.restart();
            }
        }
        for channel in ["a", "b"] {
            assert_eq!(drain(&broker, "t", channel).len(), 20_000, "{flag}");
        }
        eventually(SOON, "there is room", || {
            let mut publisher = broker.client();
            publisher.send(&with_body("PUB t", b"new"));
            matches!(publisher.frame(), Frame::Response(_)).then_some(())
        });
    }
}

#[test]
fn what_moved_in_gives_way_to_new_messages_when_told_so() {
    if !can_move() {
        return;
    }
    let flags = ["--max-topic-bytes=16777216", "--on-full=drop-oldest"];
    let mut broker = Broker::over(Maker::Ours, twenty_megabytes(), &flags);
    for channel in ["a", "b"] {
        assert_eq!(broker.count("t", channel, "depth"), 20_000);
    }
    broker.process.logged("(--max-topic-bytes): the next message has the oldest dropped");
    broker.client().publish("t", b"new");
    broker.process.logged("TOPIC(t): dropped its oldest ");
    // Channel `b` has the later half of what moved in.
    eventually(SOON, "the oldest went", || (broker.count("t", "a", "depth") < 3_000).then_some(()));
    assert!((10_000..20_000).contains(&broker.count("t", "b", "depth")));
}

#[test]
fn a_queue_without_metadata_moves_in_whole_and_comes_again_in_part() {
    if !can_move() {
        return;
    }
    let folder = old_folder();
    let owed = drain(&ours_over(copy_of(folder.path())), "orders", "billing");
    fs::remove_file(folder.path().join("orders:billing.diskqueue.meta.dat")).unwrap();
    let mut broker = ours_over(folder);
    broker.process.logged("DISKQUEUE(orders:billing): its metadata are lost");
    let got = drain(&broker, "orders", "billing");
    assert!(owed.iter().all(|message| got.contains(message)), "nothing that was owed is missing");
    assert_eq!(broker.count("orders", "mail", "depth"), 221);
}

#[test]
fn queues_of_topics_that_the_list_does_not_name_move_in_too() {
    if !can_move() {
        return;
    }
    let folder = old_folder();
    fs::remove_file(folder.path().join("nsqd.dat")).unwrap();
    fs::write(folder.path().join("bad name.diskqueue.meta.dat"), "0\n0,0\n0,0\n").unwrap();
    let mut broker = ours_over(folder);
    assert_eq!(broker.count("orders", "billing", "depth"), 171);
    assert_eq!(broker.count("orders", "mail", "depth"), 221);
    assert_eq!(broker.count("quiet", "c", "depth"), 0);
    let files = files_of(broker.folder());
    assert!(files.contains(&"bad name.diskqueue.meta.dat".to_string()), "{files:?}");
    broker.process.logged("DISKQUEUE(bad name): stays as it is");
    eventually(SOON, "the list names them", || {
        let list = fs::read_to_string(broker.folder().join("nsqd.dat")).ok()?;
        list.contains(r#"{"name":"quiet","paused":false,"channels":[{"name":"c""#).then_some(())
    });
}

#[test]
fn one_may_move_back_and_in_again_names_and_pauses_go_both_ways() {
    if !can_move() {
        return;
    }
    let broker = ours_over(old_folder());
    broker.order("/channel/create?topic=orders&channel=audit");
    broker.order("/channel/unpause?topic=orders&channel=mail");
    broker.order("/topic/create?topic=new");
    let back = Broker::over(Maker::Real, broker.into_folder(), &OLD_FLAGS);
    // Messages stay with the broker that has them; names and pauses are there.
    for (topic, channel) in
        [("orders", "billing"), ("orders", "mail"), ("orders", "audit"), ("held", "c")]
    {
        let found = back.channel(topic, channel).expect("the list names it");
        assert_eq!((&found["depth"], &found["paused"]), (&0.into(), &false.into()), "{channel}");
    }
    assert_eq!(back.topic("held").unwrap()["paused"], true);
    assert!(back.topic("new").is_some() && back.topic("alone").is_some());
    back.client().publish_many("orders", &bodies("between", 10));
    back.count_becomes("orders", "audit", "depth", 10);

    let again = ours_over(back.into_folder());
    let depths = ["billing", "mail", "audit"].map(|it| again.count("orders", it, "depth"));
    assert_eq!(depths, [181, 231, 10]);
    let audit = drain(&again, "orders", "audit");
    assert!(audit.iter().all(|message| message.3.starts_with(b"between")), "{audit:?}");
    let billing = drain(&again, "orders", "billing");
    assert_eq!(billing.iter().filter(|message| message.3.starts_with(b"between")).count(), 10);
}
