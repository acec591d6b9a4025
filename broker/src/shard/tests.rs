//! One core at work over a real folder whose disk refuses what a test tells it to.
//!
//! Publishes as HTTP does: by a task that waits for its answer.

use super::state::{Call, Job, State};
use super::topics::Folder;
use super::{Shard, hearing, run};
use crate::clock::Clock;
use crate::flags::Flags;
use crate::keys::TopicKey;
use crate::limits::{MAILBOX_BATCHES_MAX, MAILBOX_BYTES_MAX, OUTBOX_BYTES_MAX};
use crate::log::faults::Operation;
use crate::log::storage_ring::TopicFolder;
use crate::log::{Found, ReadPlan};
use crate::message::Sequence;
use crate::routing::mailbox::{self, Bounds, Mailbox};
use crate::routing::outbox::Mail;
use crate::routing::placement::{Placement, ShardId};
use crate::routing::request::{Action, Answer, Batch, Publish, PublishError, Waiter};
use crate::topic::catalogue::Change;
use clap::Parser as _;
use futures_lite::FutureExt as _;
use protocol::frame::MESSAGE_FRAME_OVERHEAD;
use protocol::name::TopicName;
use rustix::io::Errno;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

fn topic() -> TopicName {
    TopicName::parse(b"orders").unwrap()
}

const OTHER: ShardId = ShardId(1);

/// Runs `test` on a core started with `flags` over an empty folder.
pub(super) fn on_a_core(flags: &[&str], test: impl AsyncFnOnce(Rc<Shard>)) {
    on_the_first_core(1, flags, async |shard, _| test(shard).await);
}

/// Runs `test` on the first of two cores, of which the other one is only a mailbox.
fn beside_another(test: impl AsyncFnOnce(Rc<Shard>, Mailbox<Mail>)) {
    on_the_first_core(2, &[], async |shard, mut others| {
        glommio::spawn_local(run::carry(shard.clone(), OTHER)).detach();
        test(shard, others.pop().unwrap()).await;
    });
}

fn on_the_first_core(
    cores: u16,
    flags: &[&str],
    test: impl AsyncFnOnce(Rc<Shard>, Vec<Mailbox<Mail>>),
) {
    let data = tempfile::tempdir().unwrap();
    let data_path = format!("--data-path={}", data.path().display());
    let arguments = ["nsqd", &data_path].into_iter().chain(flags.iter().copied());
    let config = Rc::new(Flags::try_parse_from(arguments).unwrap().into_config(1, 0).unwrap());
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(64 << 10)
        .make()
        .expect("io_uring must be allowed here");
    executor.run(async {
        crate::pulse::start();
        let state = State::new(ShardId(0), Placement::over(cores), config.clone(), 1);
        let bounds = Bounds { batches: MAILBOX_BATCHES_MAX, bytes: MAILBOX_BYTES_MAX };
        let mut others = mailbox::between(cores.into(), bounds).unwrap();
        let mailbox = others.remove(0);
        let shard = Rc::new(Shard::new(config, Clock::start(), state, mailbox).unwrap());
        glommio::spawn_local(run::end_turns(shard.clone())).detach();
        glommio::spawn_local(run::ring(shard.clone())).detach();
        glommio::spawn_local(hearing::hear(shard.clone())).detach();
        test(shard, others).await;
    });
}

impl Shard {
    async fn put(self: &Rc<Self>, body: &str) -> Result<(), PublishError> {
        self.publish(topic(), None, Batch { count: None, region: body.into() }).await
    }

    fn key(&self) -> TopicKey {
        self.state.borrow().topics.key_of(topic()).unwrap()
    }

    fn folder(&self) -> Rc<TopicFolder> {
        match &self.state.borrow().topics[self.key()].folder {
            Folder::Open(folder) => folder.clone(),
            other => panic!("the folder should be open, not {other:?}"),
        }
    }

    fn refuse(&self, operation: Operation, error: Errno, times: usize) {
        self.folder().faults().refuse(operation, error, times);
    }

    fn health(&self) -> String {
        self.state.borrow().health()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        for _ in 0..3_000 {
            if is_so(&self.state.borrow()) {
                return;
            }
            glommio::timer::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 30 seconds: {what}");
    }

    async fn until_well(&self) {
        self.until("the broker is well", |state| state.health() == "OK").await;
    }

    /// The bodies of all messages, as channels would read them. What is not in memory is read.
    async fn bodies(&self) -> Vec<String> {
        let key = self.key();
        let end = self.state.borrow().topics[key].topic.log().end();
        let mut bodies = Vec::new();
        for sequence in (0..end.0).map(Sequence) {
            loop {
                let found = self.state.borrow_mut().topics[key].topic.log_mut().frame(sequence);
                match found {
                    Found::Frame(frame, _) => {
                        let body = frame[MESSAGE_FRAME_OVERHEAD..].to_vec();
                        bodies.push(String::from_utf8(body).unwrap());
                    }
                    Found::Gone => {}
                    Found::NotInMemory(plan) => {
                        self.read(plan).await;
                        continue;
                    }
                }
                break;
            }
        }
        bodies
    }

    /// Has a part of the log read as a delivery would.
    async fn read(&self, plan: ReadPlan) {
        let key = self.key();
        {
            let mut state = self.state.borrow_mut();
            state.topics[key].reading.push(plan);
            state.jobs.push(Job::ReadLog(key, plan));
        }
        self.turn.wake();
        self.until("the log is read", |state| state.topics[key].reading.is_empty()).await;
    }

    fn segments(&self) -> usize {
        self.state.borrow().topics[self.key()].topic.log().segments().count()
    }
}

fn refused(reason: &str) -> Result<(), PublishError> {
    Err(PublishError::Log(reason.to_string()))
}

const NO_SPACE: &str = "write: No space left on device (os error 28)";
const NO_SYNC: &str = "sync: Input/output error (os error 5)";

#[test]
fn a_full_disk_refuses_publishes_until_there_is_room_again() {
    on_a_core(&[], async |shard| {
        shard.put("a").await.unwrap();
        shard.refuse(Operation::Checkpoint, Errno::NOSPC, usize::MAX);
        shard.refuse(Operation::Write, Errno::NOSPC, 2);
        for body in ["lost", "lost too"] {
            assert_eq!(shard.put(body).await, refused(NO_SPACE));
            assert_eq!(shard.health(), format!("NOK - {NO_SPACE}"));
        }
        assert_eq!(shard.put("b").await, Ok(()), "there is room again");
        {
            let state = shard.state.borrow();
            let topic = &state.topics[shard.key()].topic;
            assert_eq!((topic.message_count(), topic.message_bytes()), (2, 2));
            assert_eq!(topic.depth(), 2);
        }
        assert_eq!(shard.bodies().await, ["a", "b"]);
    });
}

#[test]
fn a_checkpoint_that_can_be_written_shows_that_there_is_room_though_nobody_publishes() {
    on_a_core(&[], async |shard| {
        shard.put("a").await.unwrap();
        shard
            .until("the first checkpoint", |state| !state.topics[shard.key()].topic.has_changed())
            .await;
        shard.refuse(Operation::Write, Errno::NOSPC, 1);
        shard.refuse(Operation::Checkpoint, Errno::NOSPC, 1);
        shard.put("lost").await.unwrap_err();
        shard
            .until("the checkpoint failed", |state| {
                state.health() == "NOK - write: No space left on device (os error 28)"
            })
            .await;
        shard.until_well().await;
    });
}

#[test]
fn a_publish_is_answered_when_its_messages_are_synced_and_rounds_are_shared() {
    on_a_core(&["--acknowledge=synced"], async |shard| {
        shard.put("a").await.unwrap();
        assert!(shard.state.borrow().syncs.is_idle(), "nothing is written and not synced");
        shard.refuse(Operation::Sync, Errno::IO, 1);
        let publish = || {
            let shard = shard.clone();
            glommio::spawn_local(async move { shard.put("b").await })
        };
        let lost = publish();
        while !shard.state.borrow().syncs.is_running() {
            glommio::executor().yield_now().await;
        }
        // It takes its time to fail; what comes while it does gathers.
        let publishes: Vec<_> = (0..20).map(|_| publish()).collect();
        assert_eq!(shard.segments(), 1);
        assert_eq!(lost.await, refused(NO_SYNC));
        for publish in publishes {
            assert_eq!(publish.await, Ok(()), "it was not written before the sync failed");
        }
        assert_eq!(shard.segments(), 2, "the segment of the failed sync is closed for good");
        assert_eq!(shard.health(), "OK");
    });
}

#[test]
fn a_log_that_nobody_waits_for_is_synced_in_the_background() {
    on_a_core(&["--sync-timeout=50ms"], async |shard| {
        shard.put("a").await.unwrap();
        assert!(!shard.state.borrow().syncs.is_idle(), "OK did not wait for the sync");
        shard.until("it is synced", |state| state.syncs.is_idle()).await;
        shard.refuse(Operation::Sync, Errno::IO, 1);
        shard.put("b").await.unwrap();
        shard.until("the sync failed", |state| state.health() == format!("NOK - {NO_SYNC}")).await;
        glommio::timer::sleep(Duration::from_millis(200)).await;
        assert_eq!(shard.health(), format!("NOK - {NO_SYNC}"), "it is not tried again");
        shard.put("c").await.unwrap();
        assert_eq!(shard.segments(), 2);
        shard.until_well().await;
        assert_eq!(shard.bodies().await, ["a", "b", "c"]);
    });
}

#[test]
fn a_log_that_could_not_be_synced_shows_that_it_can_be_though_nobody_publishes() {
    for acknowledge in ["--acknowledge=synced", "--acknowledge=written"] {
        on_a_core(&[acknowledge, "--sync-timeout=10ms"], async |shard| {
            shard.put("a").await.unwrap();
            shard.until("it is synced", |state| state.syncs.is_idle()).await;
            shard.refuse(Operation::Sync, Errno::IO, 2);
            drop(shard.put("b").await);
            let reason = format!("NOK - {NO_SYNC}");
            shard.until("the sync failed", |state| state.health() == reason).await;
            glommio::timer::sleep(Duration::from_millis(1_500)).await;
            assert_eq!(shard.health(), reason, "the first proof was refused, too");
            shard.until_well().await;
            assert_eq!(shard.segments(), 2, "the proofs share a file");
            shard.until("nobody tries any more", |state| !state.topics[shard.key()].proving).await;
            shard.put("c").await.unwrap();
            assert_eq!((shard.segments(), shard.health()), (2, "OK".to_string()));
            assert_eq!(shard.bodies().await, ["a", "b", "c"]);
        });
    }
}

#[test]
fn buffered_messages_are_answered_before_they_are_written_while_the_disk_is_well() {
    on_a_core(&["--acknowledge=buffered"], async |shard| {
        shard.put("a").await.unwrap();
        shard
            .until("the folder is open", |state| {
                matches!(state.topics[shard.key()].folder, Folder::Open(_))
            })
            .await;
        shard.until("it is written", |state| state.topics[shard.key()].promised == 0).await;
        shard.refuse(Operation::Checkpoint, Errno::NOSPC, usize::MAX);
        shard.refuse(Operation::Write, Errno::NOSPC, 2);
        assert_eq!(shard.put("lost").await, Ok(()), "nothing was known yet");
        shard.until("the write failed", |state| state.health() != "OK").await;
        assert_eq!(shard.put("refused").await, refused(NO_SPACE), "now it is");
        assert_eq!(shard.put("b").await, Ok(()));
        assert_eq!(shard.bodies().await, ["a", "b"]);
    });
}

#[test]
fn a_new_topic_takes_messages_as_soon_as_its_folder_can_be_made() {
    on_a_core(&[], async |shard| {
        let data_path = shard.config.data_path.clone();
        remove(&data_path);
        let reason = "create: No such file or directory (os error 2)";
        for _ in 0..2 {
            assert_eq!(shard.put("lost").await, refused(reason));
        }
        assert_eq!(shard.health(), format!("NOK - {reason}"));
        make(&data_path);
        let taken = Cell::new(0);
        while shard.put("a").await.is_err() {
            taken.set(taken.get() + 1);
            assert!(taken.get() < 3_000, "it is tried again each second");
            glommio::timer::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(shard.bodies().await, ["a"]);
        shard.until_well().await;
    });
}

#[test]
fn the_list_of_topics_is_written_when_it_can_be_though_nobody_asks_again() {
    on_a_core(&[], async |shard| {
        let data_path = shard.config.data_path.clone();
        remove(&data_path);
        let noted = shard.answer(crate::routing::request::Question::Note(Change::Topic {
            topic: topic(),
            paused: false,
        }));
        let Answer::Failed(reason) = noted.await else { panic!("there is no folder for it") };
        assert!(reason.starts_with("nsqd.dat: No such file or directory"), "{reason}");
        assert_eq!(shard.health(), format!("NOK - {reason}"));
        make(&data_path);
        shard.until_well().await;
        assert!(data_path.join("nsqd.dat").exists());
    });
}

#[test]
fn what_the_disk_refuses_to_read_is_tried_a_few_times_and_then_only_that_is_lost() {
    on_a_core(&[], async |shard| {
        // Each message fills two of the pieces that are read one by one in the end.
        let bodies: Vec<_> = ["a", "b", "c", "d"].map(|body| body.repeat(8_000)).into();
        for body in &bodies {
            shard.put(body).await.unwrap();
        }
        let forget = || {
            let key = shard.key();
            shard.state.borrow_mut().topics[key].topic.log_mut().evict(usize::MAX);
        };
        forget();
        shard.refuse(Operation::Read, Errno::IO, 2);
        assert_eq!(shard.bodies().await, bodies, "the disk came back");
        forget();
        shard.refuse(Operation::Read, Errno::IO, 3);
        shard.refuse(Operation::Salvage, Errno::IO, 1);
        assert_eq!(shard.bodies().await, bodies[1..], "the first piece is lost");
        assert_eq!(shard.put("e").await, Ok(()));
    });
}

#[test]
fn a_deleted_topic_answers_those_who_wait_for_its_sync() {
    on_a_core(&["--acknowledge=synced"], async |shard| {
        shard.put("a").await.unwrap();
        shard.refuse(Operation::Sync, Errno::IO, 1);
        let waiting = glommio::spawn_local({
            let shard = shard.clone();
            async move { shard.put("b").await }
        });
        glommio::timer::sleep(Duration::from_millis(1)).await;
        let deleted = shard.administer(topic(), Action::DeleteTopic).await;
        assert!(matches!(deleted, Answer::Done), "{deleted:?}");
        waiting.await.unwrap_err();
        assert!(shard.state.borrow().syncs.is_idle());
    });
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}

fn make(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
}

const FULL: [&str; 2] = ["--max-data-bytes=16777216", "--on-full=reject"];

/// Messages so long that a topic holds five of them in its first segment.
fn long() -> Batch<Vec<u8>> {
    Batch { count: None, region: vec![b'x'; 800_000] }
}

fn numbered(number: usize) -> TopicName {
    TopicName::parse(format!("topic{number}").as_bytes()).unwrap()
}

/// Publishes to eight topics in turn, until one refuses or each has four messages.
async fn fill(shard: &Rc<Shard>) -> Result<(), PublishError> {
    for number in 0..32 {
        shard.publish(numbered(number % 8), None, long()).await?;
    }
    Ok(())
}

async fn until_taken(shard: &Rc<Shard>, topic: TopicName) {
    for _ in 0..3_000 {
        if shard.publish(topic, None, long()).await.is_ok() {
            return;
        }
        glommio::timer::sleep(Duration::from_millis(10)).await;
    }
    panic!("there is room, and publishes are refused");
}

#[test]
fn what_nobody_needs_makes_room_though_no_segment_is_full() {
    on_a_core(&FULL, async |shard| {
        fill(&shard).await.unwrap_err();
        for number in 0..8 {
            let emptied = shard.administer(numbered(number), Action::EmptyTopic).await;
            assert!(matches!(emptied, Answer::Done));
        }
        until_taken(&shard, numbered(0)).await;
    });
}

#[test]
fn a_deleted_topic_makes_room_though_nothing_else_happens() {
    on_a_core(&FULL, async |shard| {
        fill(&shard).await.unwrap_err();
        glommio::timer::sleep(Duration::from_millis(1_500)).await;
        shard.administer(numbered(1), Action::DeleteTopic).await;
        until_taken(&shard, numbered(0)).await;
    });
}

#[test]
fn the_oldest_go_though_no_segment_is_full() {
    on_a_core(&[FULL[0], "--on-full=drop-oldest"], async |shard| {
        fill(&shard).await.unwrap();
        assert!(shard.state.borrow().usage.total() <= 16 << 20);
    });
}

#[test]
fn what_the_disk_refused_takes_no_room() {
    on_a_core(&[FULL[0], "--on-full=drop-oldest"], async |shard| {
        for _ in 0..16 {
            shard.publish(topic(), None, long()).await.unwrap();
        }
        let segments = shard.segments();
        shard.refuse(Operation::Write, Errno::NOSPC, 8);
        for _ in 0..8 {
            assert_eq!(shard.publish(topic(), None, long()).await, refused(NO_SPACE));
        }
        assert_eq!(shard.segments(), segments);
        assert_eq!(shard.bodies().await.len(), 16);
    });
}

#[test]
fn a_deleted_topic_does_not_come_back_though_its_folder_was_never_open() {
    on_a_core(&[], async |shard| {
        shard.put("a").await.unwrap();
        // As after a start that could not open it.
        let reason = "Input/output error".to_string();
        let key = shard.key();
        shard.state.borrow_mut().topics[key].folder = Folder::Failed(reason);
        let deleted = shard.administer(topic(), Action::DeleteTopic).await;
        assert!(matches!(deleted, Answer::Done));
        assert!(!shard.config.data_path.join("orders.topic").exists());
    });
}

#[test]
fn a_core_stops_when_it_is_told_beside_its_mailbox() {
    beside_another(async |shard, other| {
        let limit = async {
            glommio::timer::sleep(Duration::from_secs(30)).await;
            false
        };
        let stopped = async {
            shard.stopping.wait().await;
            true
        };
        other.tell_to_stop();
        assert!(stopped.or(limit).await, "it did not hear that");
    });
}

#[test]
fn what_waits_for_a_core_that_takes_nothing_is_bounded_in_bytes() {
    const BODY_BYTES: usize = 1 << 20;
    beside_another(async |shard, other| {
        let call = shard.state.borrow_mut().calls.insert(Call::default());
        let publish = Publish {
            waiter: Waiter::Task(call),
            topic: topic(),
            delay: None,
            batch: Batch { count: None, region: &[b'x'; BODY_BYTES][..] },
        };
        let accepts = || shard.state.borrow().outboxes.bytes(OTHER) < OUTBOX_BYTES_MAX;
        let fill = async || {
            let mut accepted = 0;
            // Longer than the courier takes to look again.
            for _ in 0..100 {
                while accepts() {
                    shard.state.borrow_mut().outboxes.publish(OTHER, &publish);
                    accepted += 1;
                }
                glommio::timer::sleep(Duration::from_millis(1)).await;
            }
            accepted
        };
        // One outbox full on its way, and one more that waits.
        assert_eq!(fill().await, 16);
        assert_eq!(other.take().iter().map(|(_, mail)| mail.requests.len()).sum::<usize>(), 8);
        assert_eq!(fill().await, 8);
    });
}
