//! A topic's folder on a real disk: what is written comes back, and what cannot be used is told of.

#![expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]

use super::*;
use crate::disk::names_in;
use crate::log::checkpoint::{Record, TopicCheckpoint};
use crate::log::{Cursor, Found, Log, LogOptions, Reading, RunLimit};
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use glommio::{LocalExecutorBuilder, Placement};
use protocol::frame::MESSAGE_FRAME_OVERHEAD;
use rustix::fs::{Mode, OFlags};
use std::rc::Rc;

const IDS: fn() -> IdSpace = || IdSpace::new(1, 12_345);
const OPTIONS: LogOptions = LogOptions { segment_bytes_max: 1_000, ephemeral: false };

fn topic() -> TopicName {
    TopicName::parse(b"orders").unwrap()
}

fn on_a_core<T>(test: impl AsyncFnOnce(PathBuf) -> T) -> T {
    let data_path = tempfile::tempdir().unwrap();
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(64 << 10)
        .make()
        .expect("io_uring must be allowed here");
    executor.run(async {
        crate::pulse::start();
        test(data_path.path().to_owned()).await
    })
}

fn record(end: u64, is_whole: bool) -> Record {
    let end = Sequence(end);
    Record { is_whole, end, released: end, ..Record::default() }
}

fn append(folder: &TopicFolder, log: &mut Log, bodies: &[&str]) {
    for body in bodies {
        log.append(Timestamp(1), None, body.as_bytes());
    }
    let write = log.seal().unwrap();
    folder.write(&write).unwrap();
    log.written(write);
}

/// The bodies of all messages, from disk if they are not in memory.
async fn read_all(folder: &TopicFolder, log: &mut Log) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut cursor = Cursor::at(log.start());
    loop {
        match log.read(&mut cursor, RunLimit { messages: 1, bytes: 0 }) {
            Reading::Run(run) => {
                let body = &run.bytes[MESSAGE_FRAME_OVERHEAD..];
                bodies.push(String::from_utf8(body.to_vec()).unwrap());
            }
            Reading::NotInMemory(plan) => {
                let data = folder.read(&plan).await.unwrap();
                assert!(log.loaded(&plan, &data).damage.is_empty());
            }
            Reading::Deferred { .. } | Reading::Gap { .. } => panic!("there is none"),
            Reading::End => return bodies,
        }
    }
}

fn folders_in(data_path: &Path) -> Folders {
    Folders::among(names_in(data_path).unwrap().iter().map(String::as_str))
}

fn files_of(data_path: &Path) -> Vec<String> {
    let mut names = names_in(&data_path.join("orders.topic")).unwrap();
    names.sort();
    names
}

async fn open(data_path: &Path) -> Opened {
    TopicFolder::open(data_path, topic(), IdSpace::new(1, 999), OPTIONS).await.unwrap()
}

#[test]
fn a_removed_folder_writes_nothing_into_the_one_that_took_its_place() {
    on_a_core(async |data_path| {
        let removed = TopicFolder::create(&data_path, topic()).await.unwrap();
        assert!(removed.wants_segment(&Log::create(IDS(), OPTIONS)));
        removed.remove().await.unwrap();
        let successor = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        append(&successor, &mut log, &["kept"]);
        removed.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
        removed.prepare().await.unwrap();
        removed.delete(log.segments().next().unwrap()).await.unwrap();
        assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
    });
}

#[test]
fn what_was_written_is_there_when_the_folder_is_opened_again() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        assert!(folder.wants_segment(&log));
        folder.prepare().await.unwrap();
        append(&folder, &mut log, &["a", "b"]);
        folder.sync(Way::Thread).await.unwrap();
        append(&folder, &mut log, &[&"c".repeat(2_000)]);
        append(&folder, &mut log, &["d"]);
        let expected = ["a", "b", &"c".repeat(2_000), "d"];
        log.evict(usize::MAX);
        assert_eq!(read_all(&folder, &mut log).await, expected);
        drop(folder);

        let opened = open(&data_path).await;
        assert_eq!(opened.findings.lines(), [""; 0]);
        let (folder, mut log) = (opened.folder, opened.log);
        assert_eq!(log.ids(), IDS());
        assert_eq!(log.end(), Sequence(4));
        append(&folder, &mut log, &["e"]);
        assert_eq!(read_all(&folder, &mut log).await[3..], ["d", "e"]);
        assert_eq!(folders_in(&data_path).topics, [topic()]);
    });
}

#[test]
fn a_folder_at_rest_holds_no_file_and_goes_on_where_it_was() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        assert!(folder.wants_segment(&log));
        folder.prepare().await.unwrap();
        assert!(!folder.rest_if_idle(), "it was used just now");
        assert!(folder.rest_if_idle());
        assert!(folder.files.borrow().prepared.as_ref().unwrap().1.is_none());
        append(&folder, &mut log, &["a"]);
        folder.rest();
        // Its file still has the name it was prepared under.
        append(&folder, &mut log, &["b"]);
        assert_eq!(files_of(&data_path), ["next-1.log"]);
        assert!(folder.wants_segment(&log), "it must be named");
        folder.prepare().await.unwrap();
        folder.rest();
        append(&folder, &mut log, &["c"]);
        log.evict(usize::MAX);
        assert_eq!(read_all(&folder, &mut log).await, ["a", "b", "c"]);
        assert!(!folder.rest_if_idle(), "it was read just now");
        assert!(folder.rest_if_idle());
        assert!(folder.files.borrow().recent.is_none());
        folder.sync(Way::Thread).await.unwrap();
        assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
        drop(folder);

        let opened = open(&data_path).await;
        assert!(opened.folder.files.borrow().active.is_none());
        let (folder, mut log) = (opened.folder, opened.log);
        append(&folder, &mut log, &["d"]);
        assert_eq!(read_all(&folder, &mut log).await, ["a", "b", "c", "d"]);
    });
}

#[test]
fn a_deletion_that_was_cut_short_is_ended() {
    on_a_core(async |data_path| {
        let left = data_path.join("orders.topic.removed");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("00000000000000000000.log"), b"any").unwrap();
        let folders = folders_in(&data_path);
        assert_eq!((&folders.topics[..], &folders.removed[..]), (&[][..], &[topic()][..]));
        end_removal(&data_path, topic()).await.unwrap();
        assert!(!left.exists());
    });
}

#[test]
fn a_segment_that_had_no_time_to_get_its_name_is_found() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        folder.prepare().await.unwrap();
        append(&folder, &mut log, &["a"]);
        assert_eq!(files_of(&data_path), ["next-1.log"]);
        log.evict(usize::MAX);
        assert_eq!(read_all(&folder, &mut log).await, ["a"]);
        drop(folder);

        let opened = open(&data_path).await;
        assert_eq!(opened.log.end(), Sequence(1));
        assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
    });
}

#[test]
fn a_prepared_segment_gets_its_name_and_an_unused_one_goes() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        folder.prepare().await.unwrap();
        append(&folder, &mut log, &[&"x".repeat(700)]);
        assert!(folder.wants_segment(&log));
        folder.prepare().await.unwrap();
        assert_eq!(files_of(&data_path), ["00000000000000000000.log", "next-2.log"]);
        assert!(!folder.wants_segment(&log));
        drop(folder);
        assert_eq!(open(&data_path).await.findings.lines(), [""; 0]);
        assert_eq!(files_of(&data_path), ["00000000000000000000.log"]);
    });
}

#[test]
fn a_torn_end_is_cut_off_and_damaged_files_are_set_aside() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        append(&folder, &mut log, &["a"]);
        let torn = rustix::fs::open(
            data_path.join("orders.topic/00000000000000000000.log"),
            OFlags::RDWR,
            Mode::empty(),
        );
        rustix::io::pwrite(torn.unwrap(), b"\x89NSB torn", log.disk_bytes()).unwrap();
        let checkpoint = data_path.join("orders.topic/checkpoint");
        replace_file(&checkpoint, b"no checkpoint".to_vec()).await.unwrap();
        replace_file(&data_path.join("orders.topic/00000000000000000007.log"), b"no log".to_vec())
            .await
            .unwrap();
        drop(folder);

        let opened = open(&data_path).await;
        let expected = [
            "00000000000000000007.log is not used: the file is not a segment of a log",
            "00000000000000000000.log ended within a block: 9 bytes were cut off",
            "the checkpoint is not used: the file is not a checkpoint",
        ];
        assert_eq!(opened.findings.lines(), expected);
        let expected = [
            "00000000000000000000.log",
            "00000000000000000007.log.0.set-aside",
            "checkpoint.0.set-aside",
        ];
        assert_eq!(files_of(&data_path), expected);
        let mut log = opened.log;
        append(&opened.folder, &mut log, &["b"]);
        assert_eq!(open(&data_path).await.findings.lines(), [""; 0]);
    });
}

#[test]
fn the_checkpoint_comes_back_and_deferred_messages_after_it_do_too() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        let defer = |log: &mut Log, due| {
            log.append(Timestamp(1), Some(Timestamp(due)), b"later");
            let write = log.seal().unwrap();
            folder.write(&write).unwrap();
            log.written(write);
        };
        defer(&mut log, 70);
        assert!(folder.wants_whole_record());
        folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
        assert!(!folder.wants_whole_record());
        folder.write_checkpoint(|_| Some(record(1, false))).await.unwrap();
        defer(&mut log, 80);
        let opened = open(&data_path).await;
        let mut expected = TopicCheckpoint::default();
        expected.apply(record(0, true));
        expected.apply(record(1, false));
        assert_eq!(opened.checkpoint, Some(expected));
        assert_eq!(opened.deferred, [(Sequence(1), Timestamp(80))]);
        assert!(opened.folder.wants_whole_record(), "what it knows now may be less");
    });
}

#[test]
fn a_checkpoint_that_was_torn_is_used_as_far_as_it_goes() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
        folder.write_checkpoint(|_| Some(record(1, false))).await.unwrap();
        let file = data_path.join("orders.topic/checkpoint");
        let torn = rustix::fs::open(&file, OFlags::RDWR, Mode::empty()).unwrap();
        let bytes = std::fs::metadata(&file).unwrap().len();
        rustix::fs::ftruncate(torn, bytes - 1).unwrap();
        drop(folder);
        let opened = open(&data_path).await;
        assert_eq!(opened.checkpoint.unwrap().end, Sequence(0));
        let lines = opened.findings.lines();
        assert!(lines[0].starts_with("the checkpoint is damaged or torn from"), "{lines:?}");
    });
}

#[test]
fn messages_that_the_checkpoint_knows_and_the_log_has_not_are_told_of() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        append(&folder, &mut log, &["a"]);
        folder.write_checkpoint(|_| Some(record(3, true))).await.unwrap();
        drop(folder);
        let opened = open(&data_path).await;
        assert_eq!(opened.log.next_sequence(), Sequence(3));
        let lines = opened.findings.lines();
        let expected = "the checkpoint knows 2 messages more than the log has (from 1 on)";
        assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    });
}

#[test]
fn after_a_record_that_failed_only_a_whole_one_is_taken() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        folder.write_checkpoint(|_| Some(record(0, true))).await.unwrap();
        let file = data_path.join("orders.topic/checkpoint");
        std::fs::remove_file(&file).unwrap();
        assert!(folder.write_checkpoint(|_| Some(record(1, false))).await.is_err());
        assert!(folder.wants_whole_record());
        assert!(folder.write_checkpoint(|_| Some(record(1, false))).await.is_err());
        folder.write_checkpoint(|_| Some(record(1, true))).await.unwrap();
        folder.write_checkpoint(|_| Some(record(2, false))).await.unwrap();
        drop(folder);
        assert_eq!(open(&data_path).await.checkpoint.unwrap().end, Sequence(2));
    });
}

#[test]
fn records_stand_in_the_order_in_which_they_were_made() {
    on_a_core(async |data_path| {
        let folder = Rc::new(TopicFolder::create(&data_path, topic()).await.unwrap());
        let made = Rc::new(Cell::new(0));
        let next = || {
            let made = made.clone();
            move |is_whole| {
                made.set(made.get() + 1);
                Some(record(made.get(), is_whole))
            }
        };
        // The task that waits is overtaken by the one that had the turn before.
        let (others, first, third) = (folder.clone(), next(), next());
        let task = glommio::spawn_local(async move {
            others.write_checkpoint(first).await.unwrap();
            others.write_checkpoint(third).await.unwrap();
        });
        glommio::executor().yield_now().await;
        folder.write_checkpoint(next()).await.unwrap();
        task.await;
        assert_eq!(open(&data_path).await.checkpoint.unwrap().end, Sequence(3));
    });
}

#[test]
fn a_segment_that_nothing_follows_yet_is_read_from_the_file_that_replaced_it() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        let messages = ["a".repeat(300), "b".repeat(300), "c".repeat(300)];
        append(&folder, &mut log, &messages.each_ref().map(String::as_str));
        // The file of the next segment cannot be opened.
        let obstacle = data_path.join("orders.topic/00000000000000000003.log");
        std::fs::create_dir(&obstacle).unwrap();
        log.append(Timestamp(1), None, b"refused");
        let write = log.seal().unwrap();
        folder.write(&write).unwrap_err();
        log.abandon(write);
        std::fs::remove_dir(&obstacle).unwrap();

        let segment = log.closed_segments().next().unwrap().name;
        let compaction = log.compaction(segment, vec![Sequence(1)..Sequence(2)], 1).unwrap();
        let compacted = folder.write_anew(compaction).await.unwrap().unwrap();
        log.replacing(segment);
        folder.replace_segment(segment).await.unwrap();
        assert!(log.replaced(compacted));
        let Found::NotInMemory(plan) = log.frame(Sequence(1)) else { panic!("it is on disk") };
        let data = folder.read(&plan).await.unwrap();
        assert_eq!(log.loaded(&plan, &data).damage, []);
        let Found::Frame(frame, _) = log.frame(Sequence(1)) else { panic!("it was read") };
        assert_eq!(frame[MESSAGE_FRAME_OVERHEAD..], *messages[1].as_bytes());
    });
}

#[test]
fn a_log_whose_last_segment_went_goes_on_where_it_ended() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        assert_eq!(log.end_segment(Timestamp(1)), None);
        append(&folder, &mut log, &["a", "b"]);
        folder.write_header(&log.end_segment(Timestamp(2)).unwrap()).unwrap();
        assert_eq!(log.end_segment(Timestamp(3)), None, "it is empty");
        for segment in log.release_below(Sequence(2)) {
            folder.delete(segment).await.unwrap();
        }
        folder.write_checkpoint(|_| Some(record(2, true))).await.unwrap();
        folder.sync(Way::Ring).await.unwrap();
        assert_eq!(files_of(&data_path), ["00000000000000000002.log", "checkpoint"]);
        append(&folder, &mut log, &["c"]);
        drop(folder);

        let opened = open(&data_path).await;
        assert_eq!(opened.findings.lines(), [""; 0]);
        let (folder, mut log) = (opened.folder, opened.log);
        assert_eq!(read_all(&folder, &mut log).await, ["c"]);
        assert_eq!((log.start(), log.ids()), (Sequence(2), IDS()));
    });
}

#[test]
fn a_segment_that_is_deleted_while_the_log_is_synced_is_no_failure() {
    on_a_core(async |data_path| {
        let folder = Rc::new(TopicFolder::create(&data_path, topic()).await.unwrap());
        let mut log = Log::create(IDS(), OPTIONS);
        for body in ["a", "b", "c"] {
            append(&folder, &mut log, &[&body.repeat(1_000)]);
        }
        folder.rest();
        let syncing = folder.clone();
        let sync = glommio::spawn_local(async move { syncing.sync(Way::Ring).await });
        glommio::executor().yield_now().await;
        for segment in log.release_below(Sequence(2)) {
            folder.delete(segment).await.unwrap();
        }
        sync.await.unwrap();
        assert_eq!(files_of(&data_path), ["00000000000000000002.log"]);
    });
}

#[test]
fn deleted_segments_and_removed_folders_are_gone() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        append(&folder, &mut log, &[&"x".repeat(1_000)]);
        append(&folder, &mut log, &["y"]);
        log.evict(usize::MAX);
        let Found::NotInMemory(plan) = log.frame(Sequence(0)) else { panic!("it is on disk") };
        folder.read(&plan).await.unwrap();
        for segment in log.release_below(Sequence(1)) {
            folder.delete(segment).await.unwrap();
        }
        assert_eq!(files_of(&data_path), ["00000000000000000001.log"]);
        folder.remove().await.unwrap();
        assert_eq!(std::fs::read_dir(&data_path).unwrap().count(), 0);
    });
}

#[test]
fn the_folder_of_a_forgotten_topic_is_kept_when_a_new_one_takes_its_name() {
    on_a_core(async |data_path| {
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        let mut log = Log::create(IDS(), OPTIONS);
        append(&folder, &mut log, &["a"]);
        let folder = TopicFolder::create(&data_path, topic()).await.unwrap();
        assert!(files_of(&data_path).is_empty());
        assert!(data_path.join("orders.topic.0.set-aside").exists());
        drop(folder);
    });
}
