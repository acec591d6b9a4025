//! `nsqd --check-data`: what it says of data that is good, torn, damaged or not there, and that it
//! changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::patience::{SOON, eventually};
use tests::process::run;
use tests::programs::{only_ours, ours};

const SEGMENT: &str = "orders.topic/00000000000000000000.log";
const CLEAN: i32 = 0;
const DAMAGED: i32 = 1;
const UNREADABLE: i32 = 2;

fn ours_only() -> bool {
    only_ours("nsqd has no --check-data")
}

/// What a check says of `data`, which it must leave as it is, and its status.
fn check(data: &Path) -> (i32, String) {
    let before = contents(data);
    let ended = run(
        Command::new(ours("nsqd"))
            .arg("--check-data")
            .arg(format!("--data-path={}", data.display())),
        b"",
        SOON,
    );
    assert_eq!(contents(data), before, "a check changes nothing");
    let text = format!("{}\n{}", ended.output.join("\n"), ended.log);
    (ended.status.code().expect("it was not killed"), text)
}

/// All files below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file can be read"));
        }
    }
    files
}

/// The data of a broker that took twenty messages, of 100 bytes each in a block of their own, and
/// was stopped.
fn data_of_a_broker() -> Broker {
    let mut broker = Broker::start();
    broker.order("/topic/create?topic=orders");
    broker.order("/channel/create?topic=orders&channel=c");
    let mut client = broker.client();
    for number in 0..20 {
        client.publish("orders", format!("{number:0100}").as_bytes());
    }
    assert_eq!(broker.stop().code(), Some(0), "{}", broker.process.log());
    broker
}

/// Replaces the bytes of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the file is there");
    change(&mut bytes);
    fs::write(path, bytes).expect("the file can be written");
}

fn says(found: &(i32, String), status: i32, parts: &[&str]) {
    assert_eq!(found.0, status, "{}", found.1);
    for part in parts {
        assert!(found.1.contains(part), "no {part:?} in:\n{}", found.1);
    }
}

#[test]
fn ours_finds_nothing_wrong_in_what_a_broker_left() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    let found = check(broker.folder());
    let parts = [
        "nsqd.dat: 1 topic, 1 channel",
        "orders: 20 messages, 1 segment, ",
        " bytes, checkpoint of 1 channel",
        "1 topic, 20 messages, 1 segment, ",
        "; nothing is damaged",
    ];
    says(&found, CLEAN, &parts);
    assert!(!found.1.contains("note"), "{}", found.1);
}

#[test]
fn ours_reports_a_torn_end_and_does_not_call_it_damage() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    change(&broker.folder().join(SEGMENT), |bytes| bytes.truncate(bytes.len() - 7));
    let found = check(broker.folder());
    let parts = [
        "orders: 19 messages",
        "note: 00000000000000000000.log ends within a block: ",
        "note: the checkpoint knows 1 message more than the log has (sequences 19 to 19)",
        "nothing is damaged, 2 notes",
    ];
    says(&found, CLEAN, &parts);
}

#[test]
fn ours_reports_a_flipped_bit_with_file_place_and_messages() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    let segment = broker.folder().join(SEGMENT);
    let bytes = fs::read(&segment).expect("it is there").len();
    // Blocks of one message are equally long, behind a header of 64 bytes.
    let block = (bytes - 64) / 20;
    change(&segment, |bytes| bytes[64 + 5 * block + block / 2] ^= 1);
    let found = check(broker.folder());
    let damage = format!(
        "DAMAGE: 00000000000000000000.log is damaged at {}: {block} bytes, 1 messages lost (sequences 5 to 5)",
        64 + 5 * block
    );
    says(&found, DAMAGED, &["orders: 19 messages", &damage, "; DAMAGED in 1 place"]);
}

#[test]
fn ours_says_which_files_it_does_not_use_and_why() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    let topic = broker.folder().join("orders.topic");
    fs::write(topic.join("notes.txt"), "remember the milk").expect("it can be written");
    fs::write(topic.join("next-7.log"), "").expect("it can be written");
    fs::write(topic.join("checkpoint.new"), "half").expect("it can be written");
    fs::write(broker.folder().join("old.diskqueue.meta.dat"), "0\n0,0\n0,0\n").expect("it can");
    fs::create_dir(broker.folder().join("old.topic.removed")).expect("it can be made");
    fs::create_dir(broker.folder().join("older.topic.0.set-aside")).expect("it can be made");
    let notes = [
        "note: notes.txt is not used: the file is not named like a segment",
        "note: checkpoint.new is not used: it was not finished",
        "note: the disk queue of old is taken in at the next start",
        "note: old.topic.removed was being deleted",
        "note: older.topic.0.set-aside is not used: it was set aside",
        "nothing is damaged, 5 notes",
    ];
    says(&check(broker.folder()), CLEAN, &notes);

    fs::write(topic.join("00000000000000000099.log"), "no log").expect("it can be written");
    let damage = [
        "orders: 20 messages, 1 segment",
        "DAMAGE: 00000000000000000099.log is not used: the file is not a segment of a log",
    ];
    says(&check(broker.folder()), DAMAGED, &damage);
}

#[test]
fn ours_reports_a_damaged_checkpoint_and_a_damaged_list() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    let checkpoint = broker.folder().join("orders.topic/checkpoint");
    change(&checkpoint, |bytes| bytes.push(1));
    says(&check(broker.folder()), CLEAN, &["note: the checkpoint is damaged or torn from "]);
    change(&checkpoint, |bytes| bytes[30] ^= 1);
    let damage = ["DAMAGE: checkpoint is not used: the checkpoint is damaged", "no checkpoint"];
    says(&check(broker.folder()), DAMAGED, &damage);
    fs::remove_file(&checkpoint).expect("it is there");
    says(&check(broker.folder()), CLEAN, &["no checkpoint"]);

    let list = broker.folder().join("nsqd.dat");
    change(&list, |bytes| bytes.truncate(10));
    let damage = ["nsqd.dat: a broker does not start with it", "DAMAGE: EOF while parsing"];
    says(&check(broker.folder()), DAMAGED, &damage);
    fs::remove_file(&list).expect("it is there");
    says(&check(broker.folder()), CLEAN, &["nsqd.dat: not there", "orders: 20 messages"]);
}

#[test]
fn ours_checks_the_data_of_a_running_broker_and_says_so() {
    if !ours_only() {
        return;
    }
    let broker = Broker::start();
    let mut client = broker.client();
    client.publish("orders", b"first");
    let check = || {
        let path = format!("--data-path={}", broker.folder().display());
        let mut nsqd = Command::new(ours("nsqd"));
        let ended = run(nsqd.args(["--check-data", &path]), b"", SOON);
        (ended.status.code().expect("it was not killed"), ended.output.join("\n"))
    };
    says(&check(), CLEAN, &["a broker is running on ", "orders: 1 message, 1 segment"]);
    for _ in 0..5 {
        let messages: Vec<String> = (0..500).map(|number| format!("{number:0200}")).collect();
        client.publish_many("orders", &messages);
        says(&check(), CLEAN, &["nothing is damaged"]);
    }
    says(&check(), CLEAN, &["orders: 2501 messages"]);
}

#[test]
fn ours_checks_a_folder_that_cannot_be_written_to() {
    if !ours_only() {
        return;
    }
    let broker = data_of_a_broker();
    for folder in [broker.folder().join("orders.topic"), broker.folder().to_path_buf()] {
        let mut permissions = fs::metadata(&folder).expect("it is there").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&folder, permissions).expect("it is ours");
    }
    let found = check(broker.folder());
    for folder in [broker.folder().to_path_buf(), broker.folder().join("orders.topic")] {
        let mut permissions = fs::metadata(&folder).expect("it is there").permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "the folder is a test's own")]
        permissions.set_readonly(false);
        fs::set_permissions(&folder, permissions).expect("it is ours");
    }
    says(&found, CLEAN, &["orders: 20 messages"]);
}

#[test]
fn ours_says_with_a_status_of_its_own_that_there_is_nothing_to_check() {
    if !ours_only() {
        return;
    }
    let empty = TempDir::new().expect("the temporary folder can be written");
    says(&check(empty.path()), CLEAN, &["nsqd.dat: not there", "0 topics, 0 messages"]);
    let missing = empty.path().join("missing");
    says(&check(&missing), UNREADABLE, &["missing cannot be checked: "]);
}

#[test]
fn ours_says_at_the_start_and_in_its_statistics_what_was_lost() {
    if !ours_only() {
        return;
    }
    let mut broker = data_of_a_broker();
    let segment = broker.folder().join(SEGMENT);
    let bytes = fs::read(&segment).expect("it is there").len();
    let block = (bytes - 64) / 20;
    change(&segment, |bytes| {
        bytes[64 + 5 * block + block / 2] ^= 1;
        bytes.truncate(bytes.len() - 7);
    });
    let foreign = broker.folder().join("orders.topic/00000000000000000099.log");
    fs::write(foreign, "no log").expect("it can be written");
    broker.start_again();
    let lost = "1 messages lost in 1 damaged places";
    let line = format!(
        "TOPIC(orders): recovered 18 messages (1 segments, {} bytes); 18 are owed to 1 channels, \
         0 wait for a channel; {} bytes were torn; {lost} of {block} bytes; 1 files are not used",
        bytes - block,
        block - 7
    );
    broker.process.logged(&line);

    let topic = broker.topic("orders").expect("the topic is there");
    let counts = [
        ("bytes", bytes - block),
        ("segments", 1),
        ("torn_bytes", block - 7),
        ("damaged_places", 1),
        ("damaged_bytes", block),
        ("damaged_messages", 1),
        ("files_not_used", 1),
    ];
    for (key, count) in counts {
        assert_eq!(topic["log"][key], count, "{key} in {topic}");
    }
    let text = broker.get("/stats").text();
    let line = format!(
        "      log damaged: 1 places, {block} bytes, 1 msgs; torn: {} bytes; files not used: 1\n",
        block - 7
    );
    assert!(text.contains(&line), "no {line:?} in:\n{text}");
}

#[test]
fn ours_counts_damage_that_is_found_when_it_is_read() {
    if !ours_only() {
        return;
    }
    let mut broker = Broker::with(&["--max-bytes-per-file=1000", "--memory-bytes=1"]);
    broker.order("/topic/create?topic=orders");
    broker.order("/channel/create?topic=orders&channel=c");
    let mut client = broker.client();
    for number in 0..20 {
        client.publish("orders", format!("{number:0400}").as_bytes());
    }
    assert_eq!(broker.stop().code(), Some(0));
    // Not the last segment, so the start does not read it.
    change(&broker.folder().join(SEGMENT), |bytes| bytes[300] ^= 1);
    broker.start_again();
    let damaged = |broker: &Broker| broker.topic("orders").expect("it is there")["log"].clone();
    assert_eq!(damaged(&broker)["damaged_messages"], 0);
    let mut consumer = broker.subscribed("orders", "c");
    consumer.ready(1);
    let mut message = consumer.message();
    assert_eq!(message.text(), format!("{:0400}", 1), "the first message is damaged");
    assert_eq!(damaged(&broker)["damaged_messages"], 1);
    assert_eq!(damaged(&broker)["damaged_places"], 1);
    for number in 2..20 {
        consumer.finish(&message);
        message = consumer.message();
        assert_eq!(message.text(), format!("{number:0400}"));
    }
}

#[test]
fn ours_misses_a_segment_that_somebody_took_away() {
    if !ours_only() {
        return;
    }
    let mut broker = Broker::with(&["--max-bytes-per-file=500"]);
    broker.order("/topic/create?topic=orders");
    broker.order("/channel/create?topic=orders&channel=c");
    let mut consumer = broker.subscribed("orders", "c");
    let mut client = broker.client();
    for number in 0..20 {
        client.publish("orders", format!("{number:0400}").as_bytes());
    }
    // The sixth goes because nobody needs it any more.
    consumer.ready(20);
    let messages: Vec<_> = (0..20).map(|_| consumer.message()).collect();
    consumer.finish(&messages[5]);
    let segment = |number: u32| format!("orders.topic/{number:020}.log");
    let sixth = broker.folder().join(segment(5));
    eventually(SOON, "its segment goes", || (!sixth.exists()).then_some(()));
    drop(consumer);
    assert_eq!(broker.stop().code(), Some(0));
    says(&check(broker.folder()), CLEAN, &["orders: 19 messages, ", "nothing is damaged"]);

    for number in [0, 9] {
        fs::remove_file(broker.folder().join(segment(number))).expect("it is there");
    }
    let damage = [
        "orders: 17 messages, ",
        "DAMAGE: a segment before 00000000000000000001.log is missing: 1 messages lost",
        "DAMAGE: a segment before 00000000000000000010.log is missing: 1 messages lost",
        "; DAMAGED in 2 places",
    ];
    says(&check(broker.folder()), DAMAGED, &damage);
    broker.start_again();
    broker.process.logged("; 2 messages lost in 2 damaged places of 0 bytes");
    let log = broker.topic("orders").expect("it is there")["log"].clone();
    assert_eq!((&log["damaged_messages"], &log["damaged_places"]), (&2.into(), &2.into()));
    let mut consumer = broker.subscribed("orders", "c");
    consumer.ready(20);
    let mut bodies: Vec<_> = (0..17).map(|_| consumer.message().text()).collect();
    bodies.sort();
    let expected: Vec<_> = (0..20)
        .filter(|number| ![0, 5, 9].contains(number))
        .map(|number| format!("{number:0400}"))
        .collect();
    assert_eq!(bodies, expected);
    assert_eq!(broker.count("orders", "c", "depth"), 0);
    drop(consumer);
    // It is said once.
    assert_eq!(broker.stop().code(), Some(0));
    says(&check(broker.folder()), CLEAN, &["nothing is damaged"]);
}

#[test]
fn ours_shows_what_a_channel_without_consumers_keeps_on_disk() {
    if !ours_only() {
        return;
    }
    let broker = Broker::start();
    broker.order("/topic/create?topic=orders");
    broker.order("/channel/create?topic=orders&channel=idle");
    broker.client().publish_many("orders", &vec!["x".repeat(1000); 200]);
    broker.order("/channel/create?topic=orders&channel=late");
    let bytes = broker.topic("orders").expect("it is there")["log"]["bytes"].clone();
    assert!(200_000 < bytes.as_i64().expect("a number"));
    assert_eq!(broker.channel("orders", "idle").expect("it is there")["log_bytes"], bytes);
    assert_eq!(broker.count("orders", "late", "log_bytes"), 0);
    broker.order("/channel/empty?topic=orders&channel=idle");
    assert_eq!(broker.count("orders", "idle", "log_bytes"), 0);
    let text = broker.get("/stats").text();
    assert!(!text.contains("log damaged"), "{text}");
}

#[test]
fn ours_finds_nothing_wrong_where_most_of_a_log_was_finished_and_went() {
    if !ours_only() {
        return;
    }
    let mut broker = Broker::with(&["--max-bytes-per-file=100000"]);
    let mut consumer = broker.subscribed("orders", "c");
    let bodies = vec!["x".repeat(1000); 1000];
    let mut publisher = broker.client();
    for batch in bodies.chunks(50) {
        publisher.publish_many("orders", batch);
    }
    consumer.ready(100);
    for number in 0..1000 {
        let message = consumer.message();
        if number % 100 == 0 {
            consumer.requeue(&message, 3_600_000);
        } else {
            consumer.finish(&message);
        }
    }
    let bytes =
        |broker: &Broker| broker.topic("orders").expect("it is there")["log"]["bytes"].clone();
    eventually(SOON, "what was finished goes", || {
        (bytes(&broker).as_i64()? < 300_000).then_some(())
    });
    let kept = broker.count("orders", "c", "log_bytes");
    assert!((10_000..=bytes(&broker).as_i64().expect("a number")).contains(&kept), "{kept}");
    broker.process.kill();
    let found = check(broker.folder());
    says(&found, CLEAN, &["nothing is damaged"]);
    assert!(!found.1.contains("DAMAGE"), "{}", found.1);
    broker.start_again();
    assert_eq!(broker.count("orders", "c", "deferred_count"), 10);
    assert_eq!(broker.stop().code(), Some(0));
    says(&check(broker.folder()), CLEAN, &["nothing is damaged"]);
}
