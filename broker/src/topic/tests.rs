//! A topic and its channels over a log in memory, with time as the tests want it: who gets which
//! message when, what is counted, and what is owed after a restart.
//!
//! No socket, no file, no clock. Times are in milliseconds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use super::{Rules, Topic};
use crate::channel::{Locality, NotYours, Outgoing, Room, Terms};
use crate::clock::{Now, Tick};
use crate::keys::{ChannelKey, ConnectionKey, SubscriberKey};
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::recovery::{Recovery, SegmentFile};
use crate::log::{
    Found, Kept, LoadReport, Log, LogOptions, ReadPlan, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentName, Write,
};
use crate::message::{Sequence, Timestamp};
use crate::message_id::IdSpace;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::{Frame, decode_frame};
use protocol::name::{ChannelName, TopicName};
use slotmap::SlotMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a client may keep a message.
const TIMEOUT: u64 = 60;
/// How long it may keep it with TOUCH.
const TIMEOUT_MAX: u64 = 150;
/// What may wait in an ephemeral channel.
const DEPTH_MAX: u64 = 4;
/// Small, so that segments come and go.
const SEGMENT_BYTES_MAX: u64 = 512;
/// How far back the times from publish to FIN are kept.
const LATENCY_WINDOW: u64 = 1_000;
const NANOSECONDS: u64 = 1_000_000;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn channel_name(name: &str) -> ChannelName {
    ChannelName::parse(name.as_bytes()).unwrap()
}

/// Files in memory.
#[derive(Default)]
struct Disk {
    files: BTreeMap<SegmentName, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, write: &Write) {
        let file = self.files.entry(write.segment).or_default();
        let header = write.starts_segment.iter().map(|header| (0, &header[..]));
        for (offset, bytes) in header.chain([(write.offset, &write.bytes[..])]) {
            let offset = usize::try_from(offset).unwrap();
            file.resize(file.len().max(offset + bytes.len()), 0);
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn read(&self, plan: &ReadPlan) -> &[u8] {
        let offset = usize::try_from(plan.offset).unwrap();
        let rest = self.files[&plan.segment].get(offset..).unwrap_or_default();
        &rest[..plan.bytes.min(rest.len())]
    }
}

/// A message as its client got it.
#[derive(Clone, Debug, PartialEq)]
struct Delivered {
    client: &'static str,
    body: String,
    attempts: u16,
}

struct Client {
    channel: ChannelKey,
    subscriber: SubscriberKey,
    connection: ConnectionKey,
}

/// What clients say to a topic, and what they get from it.
struct Dialogue {
    topic: Topic,
    disk: Disk,
    now: Now,
    sequences: BTreeMap<String, Sequence>,
    connections: SlotMap<ConnectionKey, &'static str>,
    clients: BTreeMap<&'static str, Client>,
    /// Their connections have no room after the next message.
    congested: BTreeSet<&'static str>,
    checkpoint_file: Vec<u8>,
    /// How many were made: now and then the file is written anew.
    records: u32,
}

impl Dialogue {
    fn new() -> Self {
        Self::about("t", false)
    }

    fn ephemeral() -> Self {
        Self::about("t#ephemeral", true)
    }

    fn about(name: &str, ephemeral: bool) -> Self {
        let options = LogOptions { segment_bytes_max: SEGMENT_BYTES_MAX, ephemeral };
        let log = Log::create(IdSpace::new(1, 77), options);
        Self {
            topic: Topic::new(TopicName::parse(name.as_bytes()).unwrap(), log, Self::rules()),
            disk: Disk::default(),
            now: Now { tick: Tick(5), wall: Timestamp(1_000_000_000_000_000_000) },
            sequences: BTreeMap::new(),
            connections: SlotMap::with_key(),
            clients: BTreeMap::new(),
            congested: BTreeSet::new(),
            checkpoint_file: Vec::new(),
            records: 0,
        }
    }

    fn rules() -> Rules {
        Rules {
            ephemeral_depth_max: DEPTH_MAX,
            message_timeout_max: milliseconds(TIMEOUT_MAX),
            latency_window: Some(milliseconds(LATENCY_WINDOW)),
        }
    }

    /// A channel with one client, which takes all it can get.
    fn with_consumer() -> Self {
        let mut dialogue = Self::new();
        dialogue.create("c");
        dialogue.subscribe("ann", "c", 1_000);
        dialogue
    }

    // --- publishers ---

    fn publish(&mut self, bodies: &str) {
        for body in bodies.split_whitespace() {
            self.publish_one(body, None);
        }
    }

    fn publish_one(&mut self, body: &str, delay: Option<u64>) {
        self.sequences.insert(body.to_owned(), self.topic.log().next_sequence());
        self.topic.publish(body.as_bytes(), delay.map(milliseconds), self.now);
    }

    fn seal(&mut self) -> Option<Write> {
        self.topic.seal(self.now)
    }

    fn written(&mut self, write: Write) {
        self.disk.write(&write);
        self.topic.written(write, self.now);
    }

    fn commit(&mut self) {
        while let Some(write) = self.seal() {
            self.written(write);
        }
    }

    fn fail(&mut self) {
        let write = self.seal().unwrap();
        self.abandon(write);
    }

    fn abandon(&mut self, write: Write) {
        self.sequences.retain(|_, sequence| !write.messages().contains(sequence));
        self.topic.abandon(write, self.now);
    }

    fn published(&mut self, bodies: &str) {
        self.publish(bodies);
        self.commit();
    }

    fn published_after(&mut self, delay: u64, body: &str) {
        self.publish_one(body, Some(delay));
        self.commit();
    }

    // --- consumers ---

    fn create(&mut self, channel: &str) {
        self.topic.create_channel(channel_name(channel), self.now);
    }

    fn key(&self, channel: &str) -> ChannelKey {
        self.topic.channel_key(channel_name(channel)).unwrap()
    }

    fn subscribe(&mut self, client: &'static str, channel: &str, ready_count: u64) {
        self.subscribe_sampled(client, channel, ready_count, 0);
    }

    fn subscribe_sampled(
        &mut self,
        client: &'static str,
        channel: &str,
        ready_count: u64,
        sample_rate: u8,
    ) {
        let connection = self.connections.insert(client);
        let channel = self.key(channel);
        let subscriber = self.topic.channel_mut(channel).subscribe(Terms {
            connection,
            message_timeout: milliseconds(TIMEOUT),
            sample_rate,
            locality: Locality::default(),
        });
        self.clients.insert(client, Client { channel, subscriber, connection });
        self.ready(client, ready_count);
    }

    fn unsubscribe(&mut self, client: &str) {
        let Client { channel, subscriber, connection } = self.clients.remove(client).unwrap();
        self.topic.channel_mut(channel).unsubscribe(subscriber);
        self.connections.remove(connection);
    }

    fn ready(&mut self, client: &str, ready_count: u64) {
        let Client { channel, subscriber, .. } = self.clients[client];
        self.topic.channel_mut(channel).set_ready_count(subscriber, ready_count);
    }

    fn finish(&mut self, client: &str, body: &str) -> Result<(), NotYours> {
        let Client { channel, subscriber, .. } = self.clients[client];
        let sequence = self.sequences[body];
        self.topic.channel_mut(channel).finish(subscriber, sequence, self.now.tick)
    }

    fn requeue(&mut self, client: &str, body: &str, delay: u64) -> Result<(), NotYours> {
        let Client { channel, subscriber, .. } = self.clients[client];
        let (sequence, now) = (self.sequences[body], self.now);
        self.topic.channel_mut(channel).requeue(subscriber, sequence, milliseconds(delay), now)
    }

    fn touch(&mut self, client: &str, body: &str) -> Result<(), NotYours> {
        let Client { channel, subscriber, .. } = self.clients[client];
        let (sequence, now) = (self.sequences[body], self.now.tick);
        self.topic.channel_mut(channel).touch(
            subscriber,
            sequence,
            milliseconds(TIMEOUT),
            milliseconds(TIMEOUT_MAX),
            now,
        )
    }

    // --- delivery ---

    /// One turn's deliveries, and what was read from disk for them.
    fn take(&mut self) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        loop {
            let Self { topic, connections, congested, now, .. } = self;
            let plans = topic.deliver(*now, &mut |connection, outgoing| {
                let client = connections[connection];
                delivered.extend(messages_of(client, &outgoing));
                if congested.contains(client) { Room::None } else { Room::Left }
            });
            if plans.is_empty() {
                return delivered;
            }
            for plan in plans {
                let report = topic.log_mut().loaded(&plan, self.disk.read(&plan));
                assert_eq!(report.damage, [], "nothing is damaged here");
            }
        }
    }

    /// As text: `ann: a b/2; bob: c`, where `b` was delivered for the second time.
    fn deliver(&mut self) -> String {
        let mut by_client: BTreeMap<_, String> = BTreeMap::new();
        for Delivered { client, body, attempts } in self.take() {
            let line = by_client.entry(client).or_insert_with(|| format!("{client}:"));
            line.push(' ');
            line.push_str(&body);
            if 1 < attempts {
                line.push_str(&format!("/{attempts}"));
            }
        }
        by_client.into_values().collect::<Vec<_>>().join("; ")
    }

    /// Depth, messages in flight, deferred messages.
    fn counts(&self, channel: &str) -> (u64, u64, u64) {
        let channel = self.topic.channel(self.key(channel));
        (channel.depth(), channel.in_flight_count(), channel.deferred_count())
    }

    // --- time ---

    /// Time goes by.
    fn pass(&mut self, count: u64) {
        self.now.tick = self.now.tick.plus(milliseconds(count));
        self.now.wall.0 += i64::try_from(count * NANOSECONDS).unwrap();
        self.topic.pass_time(self.now.tick);
    }

    /// How long it is until the topic wants to be woken; rounded up.
    fn wakes_in(&self) -> Option<u64> {
        let nanoseconds = self.topic.wake_at()?.since(self.now.tick).as_nanos();
        Some(u64::try_from(nanoseconds).unwrap().div_ceil(NANOSECONDS))
    }

    // --- restarts ---

    /// Adds a record to the checkpoint's file, or starts it anew, and says what it comes to.
    fn checkpoint(&mut self) -> TopicCheckpoint {
        self.records += 1;
        let is_whole = self.checkpoint_file.is_empty() || self.records.is_multiple_of(7);
        let record = self.topic.record(is_whole, self.now);
        if record.is_whole {
            self.checkpoint_file = record.start_file();
        } else {
            let there = self.checkpoint_file.len() as u64;
            self.checkpoint_file.extend_from_slice(&record.at(there));
        }
        let decoded = TopicCheckpoint::decode(&self.checkpoint_file).unwrap();
        assert_eq!(decoded.cut, None);
        decoded.checkpoint
    }

    /// Deletes what nobody needs, and writes anew what is hardly needed.
    fn tidy(&mut self) {
        let waste = self.topic.find_waste();
        for segment in waste.delete {
            self.disk.files.remove(&segment).unwrap();
        }
        for segment in waste.compact {
            let mut compaction = self.topic.compaction(segment).unwrap();
            let mut new = vec![0; SEGMENT_HEADER_BYTES];
            let old = &self.disk.files[&segment];
            while let Some((offset, bytes)) = compaction.next_read() {
                let data = &old[usize::try_from(offset).unwrap()..][..bytes];
                let (at, more) = compaction.feed(offset, data).unwrap();
                assert_eq!(usize::try_from(at).unwrap(), new.len());
                new.extend_from_slice(&more);
            }
            let (header, compacted) = compaction.finish().expect("some of it is needed");
            new[..SEGMENT_HEADER_BYTES].copy_from_slice(&header);
            assert_eq!(compacted.bytes(), new.len() as u64);
            self.topic.log_mut().replacing(segment);
            self.disk.files.insert(segment, new);
            assert!(self.topic.log_mut().replaced(compacted));
        }
        let ends = self.topic.find_waste();
        assert_eq!((ends.delete, ends.compact), (vec![], vec![]), "once is enough");
    }

    /// The process ends and starts again with this checkpoint, and with the channels that are
    /// listed elsewhere. All clients are gone, and ticks start again.
    fn restart(&mut self, checkpoint: &TopicCheckpoint, channels: &[&str]) {
        self.checkpoint_file.clear();
        let files = self.disk.files.iter().filter_map(|(name, bytes)| {
            SegmentFile::inspect(&name.to_string(), bytes.len() as u64, bytes).ok()
        });
        let (mut recovery, _) = Recovery::new(files.collect(), checkpoint.end);
        while let Some(plan) = recovery.next_read() {
            recovery.feed(&plan, self.disk.read(&plan));
        }
        let recovered = recovery.finish();
        assert_eq!(recovered.damage, [], "nothing is damaged here");
        let options = LogOptions { segment_bytes_max: SEGMENT_BYTES_MAX, ephemeral: false };
        let mut log = Log::recover(recovered.segments, IdSpace::new(1, 77), options);
        log.skip_to(checkpoint.end);
        self.now.tick = Tick(3);
        self.topic = Topic::restore(
            self.topic.name(),
            log,
            Self::rules(),
            checkpoint,
            recovered.deferred.into_iter(),
            channels.iter().map(|name| channel_name(name)),
            self.now,
        );
        let end = self.topic.log().end();
        self.sequences.retain(|_, sequence| *sequence < end);
        self.connections.clear();
        self.clients.clear();
    }
}

fn messages_of(client: &'static str, outgoing: &Outgoing) -> Vec<Delivered> {
    let (mut bytes, count, attempts) = match outgoing {
        Outgoing::Fresh { frames, count } => (&frames[..], *count, 1),
        Outgoing::Again { frame, attempts } => (&frame[..], 1, *attempts),
    };
    let mut messages = Vec::new();
    while let Some((Frame::Message(message), length)) = decode_frame(bytes, bytes.len()).unwrap() {
        assert_eq!(message.attempts, 1, "the log has first deliveries");
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        messages.push(Delivered { client, body, attempts });
        bytes = &bytes[length..];
    }
    assert_eq!((bytes.len(), messages.len()), (0, count as usize), "whole frames, counted");
    messages
}

// --- visibility ---

#[test]
fn a_message_is_seen_when_its_block_was_written() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.publish("a b");
    assert_eq!(dialogue.deliver(), "");
    let write = dialogue.seal().unwrap();
    assert_eq!(dialogue.deliver(), "");
    assert_eq!(dialogue.counts("c"), (0, 0, 0));
    dialogue.written(write);
    assert_eq!(dialogue.counts("c"), (2, 0, 0));
    assert_eq!(dialogue.deliver(), "ann: a b");
    assert_eq!(dialogue.counts("c"), (0, 2, 0));
}

#[test]
fn blocks_are_seen_in_the_order_of_publishing() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.publish("a");
    let first = dialogue.seal().unwrap();
    dialogue.publish("b");
    let second = dialogue.seal().unwrap();
    dialogue.written(second);
    assert_eq!(dialogue.deliver(), "");
    dialogue.written(first);
    assert_eq!(dialogue.deliver(), "ann: a b");
}

#[test]
fn messages_of_a_failed_write_never_come_and_count_nowhere() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.publish_one("lost", None);
    dialogue.publish_one("lost too", Some(10));
    dialogue.fail();
    assert_eq!(dialogue.counts("c"), (1, 0, 0));
    dialogue.published("b");
    assert_eq!(dialogue.deliver(), "ann: a b");
    assert_eq!(dialogue.counts("c"), (0, 2, 0));
    dialogue.pass(10);
    assert_eq!(dialogue.deliver(), "");
}

#[test]
fn failed_writes_count_nowhere_while_messages_wait_in_the_topic() {
    let mut dialogue = Dialogue::new();
    dialogue.published("a b");
    dialogue.publish("lost");
    dialogue.fail();
    assert_eq!(dialogue.topic.depth(), 2);
    dialogue.published("c");
    assert_eq!(dialogue.topic.depth(), 3);
    dialogue.create("c");
    assert_eq!(dialogue.counts("c"), (3, 0, 0));
    assert_eq!(dialogue.topic.channel(dialogue.key("c")).counts().messages, 3);
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: a b c");
}

// --- topic and channels ---

#[test]
fn the_first_channel_gets_the_backlog_and_later_ones_what_is_new() {
    let mut dialogue = Dialogue::new();
    dialogue.published("a b");
    assert_eq!(dialogue.topic.depth(), 2);
    dialogue.create("c");
    dialogue.create("d");
    assert_eq!(dialogue.topic.depth(), 0);
    dialogue.published("e");
    dialogue.subscribe("ann", "c", 10);
    dialogue.subscribe("bob", "d", 10);
    assert_eq!(dialogue.deliver(), "ann: a b e; bob: e");
}

#[test]
fn what_a_paused_topic_keeps_goes_to_all_channels_when_it_goes_on() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.topic.set_paused(true, dialogue.now);
    dialogue.published("a b");
    dialogue.create("d");
    assert_eq!((dialogue.topic.depth(), dialogue.counts("c")), (2, (0, 0, 0)));
    assert_eq!(dialogue.deliver(), "");
    dialogue.topic.set_paused(false, dialogue.now);
    dialogue.subscribe("bob", "d", 10);
    assert_eq!(dialogue.topic.depth(), 0);
    assert_eq!(dialogue.deliver(), "ann: a b; bob: a b");
}

#[test]
fn what_a_held_topic_keeps_goes_to_the_channels_that_are_there_when_it_goes_on() {
    let mut dialogue = Dialogue::new();
    dialogue.topic.hold();
    dialogue.create("first");
    dialogue.published("a");
    // A pause that comes and goes does not let it go.
    dialogue.topic.set_paused(true, dialogue.now);
    dialogue.topic.set_paused(false, dialogue.now);
    dialogue.create("learnt");
    assert_eq!((dialogue.topic.depth(), dialogue.counts("first")), (1, (0, 0, 0)));
    dialogue.topic.let_go(dialogue.now);
    dialogue.published("b");
    dialogue.subscribe("ann", "first", 10);
    dialogue.subscribe("bob", "learnt", 10);
    assert_eq!(dialogue.deliver(), "ann: a b; bob: a b");
}

#[test]
fn a_held_topic_goes_on_by_itself_after_a_restart() {
    let mut dialogue = Dialogue::new();
    dialogue.topic.hold();
    dialogue.create("first");
    dialogue.published("a");
    let checkpoint = dialogue.checkpoint();
    dialogue.restart(&checkpoint, &["first"]);
    dialogue.subscribe("ann", "first", 10);
    assert_eq!(dialogue.deliver(), "ann: a");
}

#[test]
fn emptying_a_paused_topic_drops_what_its_channels_did_not_get() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 0);
    dialogue.published("a");
    dialogue.topic.set_paused(true, dialogue.now);
    dialogue.published("b");
    dialogue.published_after(10, "late");
    dialogue.publish("c");
    dialogue.topic.empty();
    assert_eq!((dialogue.topic.depth(), dialogue.counts("c")), (0, (1, 0, 0)));
    dialogue.commit();
    dialogue.topic.set_paused(false, dialogue.now);
    dialogue.ready("ann", 10);
    dialogue.pass(10);
    assert_eq!(dialogue.counts("c"), (2, 0, 0));
    assert_eq!(dialogue.deliver(), "ann: a c");
}

#[test]
fn an_emptied_channel_forgets_all_it_had() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 2);
    dialogue.published("a b c");
    dialogue.published_after(10, "late");
    assert_eq!(dialogue.deliver(), "ann: a b");
    assert_eq!(dialogue.counts("c"), (1, 2, 1));
    let channel = dialogue.key("c");
    dialogue.topic.channel_mut(channel).empty();
    assert_eq!(dialogue.counts("c"), (0, 0, 0));
    assert_eq!(dialogue.finish("ann", "a"), Err(NotYours::NotInFlight));
    dialogue.pass(10 + TIMEOUT);
    dialogue.published("d e f");
    assert_eq!(dialogue.deliver(), "ann: d e");
}

#[test]
fn a_deleted_channel_names_the_connections_to_close_and_leaves_the_others_alone() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.create("d");
    dialogue.subscribe("bob", "d", 10);
    dialogue.published("a");
    let closed = dialogue.topic.delete_channel(channel_name("c")).unwrap();
    assert_eq!(closed, [dialogue.clients["ann"].connection]);
    assert!(dialogue.topic.delete_channel(channel_name("c")).is_none());
    assert_eq!(dialogue.deliver(), "bob: a");
    dialogue.topic.delete_channel(channel_name("d"));
    dialogue.published("b");
    assert_eq!(dialogue.topic.depth(), 1);
    dialogue.create("c");
    dialogue.subscribe("eve", "c", 10);
    assert_eq!(dialogue.deliver(), "eve: b");
}

#[test]
fn a_paused_channel_takes_messages_and_gives_none() {
    let mut dialogue = Dialogue::with_consumer();
    let channel = dialogue.key("c");
    dialogue.topic.channel_mut(channel).set_paused(true);
    dialogue.published("a");
    assert_eq!(dialogue.deliver(), "");
    assert_eq!(dialogue.counts("c"), (1, 0, 0));
    dialogue.topic.channel_mut(channel).set_paused(false);
    assert_eq!(dialogue.deliver(), "ann: a");
}

// --- deferred messages ---

#[test]
fn a_deferred_message_is_due_at_its_publish_and_delay_in_every_channel() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.create("d");
    dialogue.subscribe("bob", "d", 10);
    dialogue.publish_one("late", Some(100));
    dialogue.publish("a");
    dialogue.pass(30);
    dialogue.commit();
    assert_eq!(dialogue.deliver(), "ann: a; bob: a");
    assert_eq!(dialogue.counts("c"), (0, 1, 1));
    dialogue.finish("ann", "a").unwrap();
    dialogue.finish("bob", "a").unwrap();
    assert!(dialogue.wakes_in().unwrap() <= 70);
    dialogue.pass(69);
    assert_eq!(dialogue.deliver(), "");
    dialogue.pass(1);
    assert_eq!(dialogue.counts("c"), (1, 0, 0));
    assert_eq!(dialogue.deliver(), "ann: late; bob: late");
}

#[test]
fn a_delay_runs_while_there_is_no_channel() {
    let mut dialogue = Dialogue::new();
    dialogue.published_after(100, "late");
    dialogue.published_after(20, "soon");
    dialogue.published("a");
    assert_eq!(dialogue.topic.depth(), 3);
    dialogue.pass(50);
    dialogue.create("c");
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.wakes_in(), Some(0), "one is overdue");
    dialogue.pass(0);
    assert_eq!(dialogue.deliver(), "ann: a soon");
    assert_eq!(dialogue.counts("c"), (0, 2, 1));
    dialogue.pass(49);
    assert_eq!(dialogue.deliver(), "");
    dialogue.pass(1);
    assert_eq!(dialogue.deliver(), "ann: late");
}

#[test]
fn a_delay_of_nothing_is_none() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published_after(0, "a");
    assert_eq!(dialogue.deliver(), "ann: a");
}

// --- answers of consumers ---

#[test]
fn a_message_requeued_at_once_comes_at_once_with_one_more_attempt() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    assert_eq!(dialogue.deliver(), "ann: a");
    dialogue.requeue("ann", "a", 0).unwrap();
    assert_eq!(dialogue.counts("c"), (1, 0, 0));
    assert_eq!(dialogue.deliver(), "ann: a/2");
    assert_eq!(dialogue.counts("c"), (0, 1, 0));
}

#[test]
fn a_message_requeued_with_a_delay_waits_for_it() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    dialogue.requeue("ann", "a", 25).unwrap();
    assert_eq!(dialogue.counts("c"), (0, 0, 1));
    dialogue.pass(24);
    assert_eq!(dialogue.deliver(), "");
    dialogue.pass(1);
    assert_eq!(dialogue.deliver(), "ann: a/2");
}

#[test]
fn a_message_without_an_answer_comes_again_at_its_timeout() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    assert_eq!(dialogue.wakes_in(), Some(TIMEOUT));
    dialogue.pass(TIMEOUT - 1);
    assert_eq!(dialogue.deliver(), "");
    dialogue.pass(1);
    assert_eq!(dialogue.counts("c"), (1, 0, 0));
    assert_eq!(dialogue.deliver(), "ann: a/2");
    assert_eq!(dialogue.topic.channel(dialogue.key("c")).counts().timed_out, 1);
}

#[test]
fn a_touch_starts_the_timeout_again_but_not_beyond_the_longest() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    for _ in 0..2 {
        dialogue.pass(TIMEOUT - 10);
        dialogue.touch("ann", "a").unwrap();
    }
    // 100 of 150 are over: another 60 would be too long.
    dialogue.pass(TIMEOUT_MAX - 100 - 1);
    assert_eq!(dialogue.counts("c"), (0, 1, 0));
    dialogue.touch("ann", "a").unwrap();
    dialogue.pass(1);
    assert_eq!(dialogue.deliver(), "ann: a/2");
}

#[test]
fn a_late_answer_is_refused_because_another_client_holds_the_message() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    dialogue.pass(TIMEOUT);
    assert_eq!(dialogue.finish("ann", "a"), Err(NotYours::NotInFlight));
    dialogue.ready("ann", 0);
    dialogue.subscribe("bob", "c", 1);
    assert_eq!(dialogue.deliver(), "bob: a/2");
    assert_eq!(dialogue.finish("ann", "a"), Err(NotYours::OtherClient));
    assert_eq!(dialogue.requeue("ann", "a", 0), Err(NotYours::OtherClient));
    assert_eq!(dialogue.touch("ann", "a"), Err(NotYours::OtherClient));
    assert_eq!(dialogue.finish("bob", "a"), Ok(()));
    assert_eq!(dialogue.finish("bob", "a"), Err(NotYours::NotInFlight));
}

#[test]
fn a_late_finish_by_the_same_client_finishes_the_new_delivery() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    dialogue.pass(TIMEOUT);
    assert_eq!(dialogue.deliver(), "ann: a/2");
    assert_eq!(dialogue.finish("ann", "a"), Ok(()));
    dialogue.pass(TIMEOUT);
    assert_eq!((dialogue.deliver().as_str(), dialogue.counts("c")), ("", (0, 0, 0)));
}

#[test]
fn the_messages_of_a_client_that_left_wait_for_their_timeout() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    dialogue.unsubscribe("ann");
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "");
    assert_eq!(dialogue.finish("ann", "a"), Err(NotYours::OtherClient));
    dialogue.pass(TIMEOUT);
    assert_eq!(dialogue.deliver(), "ann: a/2");
}

#[test]
fn attempts_stay_at_the_most_that_the_wire_can_say() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.deliver();
    let mut checkpoint = dialogue.checkpoint();
    let channel = checkpoint.channels.get_mut(&channel_name("c")).unwrap();
    channel.outstanding.get_mut(&Sequence(0)).unwrap().attempts = 65_533;
    dialogue.restart(&checkpoint, &[]);
    dialogue.subscribe("ann", "c", 1);
    for expected in ["ann: a/65534", "ann: a/65535", "ann: a/65535"] {
        assert_eq!(dialogue.deliver(), expected);
        dialogue.requeue("ann", "a", 0).unwrap();
    }
}

#[test]
fn a_poisonous_message_and_the_backlog_take_turns() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 1);
    dialogue.published("poison a b c");
    let mut seen = Vec::new();
    for _ in 0..7 {
        let delivered = dialogue.take();
        assert_eq!(delivered.len(), 1);
        let Delivered { body, .. } = &delivered[0];
        if body == "poison" {
            dialogue.requeue("ann", body, 0).unwrap();
        } else {
            dialogue.finish("ann", body).unwrap();
        }
        seen.push(body.clone());
    }
    assert_eq!(seen, ["poison", "poison", "a", "poison", "b", "poison", "c"]);
}

// --- who gets what ---

#[test]
fn a_client_has_never_more_in_flight_than_its_ready_count() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 2);
    dialogue.published("a b c d e");
    assert_eq!(dialogue.deliver(), "ann: a b");
    assert_eq!(dialogue.deliver(), "");
    dialogue.finish("ann", "a").unwrap();
    assert_eq!(dialogue.deliver(), "ann: c");
    dialogue.ready("ann", 1);
    dialogue.requeue("ann", "b", 0).unwrap();
    assert_eq!(dialogue.deliver(), "", "one is in flight still");
    dialogue.finish("ann", "c").unwrap();
    assert_eq!(dialogue.take().len(), 1);
    dialogue.ready("ann", 10);
    assert_eq!(dialogue.take().len(), 2);
}

#[test]
fn what_waits_is_shared_among_all_who_can_take_it() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 3);
    dialogue.subscribe("bob", "c", 2);
    dialogue.subscribe("eve", "c", 0);
    dialogue.published("a b c d e f g");
    let delivered = dialogue.take();
    let of = |name: &str| delivered.iter().filter(|message| message.client == name).count();
    assert_eq!((of("ann"), of("bob"), of("eve")), (3, 2, 0));
    let bodies: BTreeSet<_> = delivered.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, BTreeSet::from(["a", "b", "c", "d", "e"]), "each once");
    assert_eq!(dialogue.counts("c"), (2, 5, 0));
}

#[test]
fn a_congested_client_gets_nothing_until_it_has_room() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.congested.insert("ann");
    dialogue.publish("a");
    dialogue.commit();
    assert_eq!(dialogue.deliver(), "ann: a");
    dialogue.published("b");
    dialogue.finish("ann", "a").unwrap();
    dialogue.ready("ann", 2_000);
    assert_eq!(dialogue.deliver(), "");
    dialogue.congested.clear();
    let Client { channel, subscriber, .. } = dialogue.clients["ann"];
    dialogue.topic.channel_mut(channel).set_room(subscriber, Room::Left);
    assert_eq!(dialogue.deliver(), "ann: b");
}

#[test]
fn a_sample_is_taken_once_and_the_rest_is_gone() {
    const MESSAGES: usize = 10_000;
    let mut dialogue = Dialogue::new();
    dialogue.create("c");
    dialogue.subscribe_sampled("ann", "c", 1_000_000, 20);
    for number in 0..MESSAGES {
        dialogue.publish_one(&number.to_string(), None);
    }
    dialogue.commit();
    let delivered = dialogue.take();
    // 79 in 100 are thrown away, so 2,100 stay; the bounds are seven standard deviations off.
    assert!((1_800..2_400).contains(&delivered.len()), "{} of {MESSAGES}", delivered.len());
    let bodies: BTreeSet<_> = delivered.iter().map(|message| &message.body).collect();
    assert_eq!(bodies.len(), delivered.len(), "none twice");
    assert_eq!(dialogue.counts("c"), (0, delivered.len() as u64, 0));
    assert_eq!(dialogue.deliver(), "");
}

// --- ephemeral channels and topics ---

#[test]
fn a_full_ephemeral_channel_drops_what_is_new() {
    let mut dialogue = Dialogue::new();
    dialogue.create("c#ephemeral");
    dialogue.create("d");
    dialogue.published("a b c");
    dialogue.published("d e f");
    assert_eq!(dialogue.counts("c#ephemeral"), (DEPTH_MAX, 0, 0));
    assert_eq!(dialogue.counts("d"), (6, 0, 0));
    dialogue.subscribe("ann", "c#ephemeral", 10);
    assert_eq!(dialogue.deliver(), "ann: a b c d");
    dialogue.published("g");
    assert_eq!(dialogue.deliver(), "ann: g");
}

#[test]
fn a_deferred_message_takes_nobodys_place_in_an_ephemeral_channel() {
    let mut dialogue = Dialogue::new();
    dialogue.create("c#ephemeral");
    dialogue.publish_one("late", Some(10));
    dialogue.published("a b c d e");
    dialogue.published_after(20, "later");
    assert_eq!(dialogue.counts("c#ephemeral"), (DEPTH_MAX, 0, 2));
    dialogue.pass(20);
    dialogue.subscribe("ann", "c#ephemeral", 10);
    let bodies: BTreeSet<_> = dialogue.take().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["a", "b", "c", "d", "late", "later"].map(str::to_owned).into());
}

#[test]
fn every_channel_of_an_ephemeral_topic_is_bounded() {
    let mut dialogue = Dialogue::ephemeral();
    dialogue.create("c");
    for bodies in ["a b c", "d e f"] {
        dialogue.published(bodies);
    }
    assert_eq!(dialogue.counts("c"), (DEPTH_MAX, 0, 0));
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: a b c d");
}

#[test]
fn an_ephemeral_topic_without_a_channel_drops_what_is_new() {
    let mut dialogue = Dialogue::ephemeral();
    dialogue.published("a b c");
    dialogue.published("d e f");
    assert_eq!(dialogue.topic.depth(), DEPTH_MAX);
    assert_eq!(dialogue.topic.message_count(), 6);
    dialogue.create("c");
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: a b c d");
}

#[test]
fn forgetting_never_drops_what_somebody_needs() {
    const TURNS: u32 = 2_000;
    let mut dialogue = Dialogue::ephemeral();
    dialogue.create("fast");
    dialogue.create("slow");
    dialogue.subscribe("ann", "fast", 1);
    let (mut kept, mut deferred) = (BTreeSet::new(), BTreeSet::new());
    for turn in 0..TURNS {
        // Two in a hundred stay: one was deferred, one is asked for again later.
        let body = format!("{turn} {}", "x".repeat(1_000));
        let delay = (turn % 100 == 7).then_some(1_000_000);
        dialogue.publish_one(&body, delay);
        dialogue.commit();
        for Delivered { body, .. } in dialogue.take() {
            if turn % 100 == 9 {
                dialogue.requeue("ann", &body, 1_000_000).unwrap();
                kept.insert(body);
            } else {
                dialogue.finish("ann", &body).unwrap();
            }
        }
        if delay.is_some() {
            deferred.insert(body.clone());
            kept.insert(body);
        }
        dialogue.topic.forget_unneeded();
    }
    assert!(dialogue.topic.log().memory_bytes() < 1 << 20, "most was forgotten");
    dialogue.pass(1_000_000);
    dialogue.ready("ann", 1_000);
    let came: BTreeSet<_> = dialogue.take().into_iter().map(|message| message.body).collect();
    assert_eq!(came, kept);
    dialogue.subscribe("bob", "slow", 1_000);
    let came = dialogue.take();
    let waited = ["0", "1", "2", "3"].map(|turn| format!("{turn} {}", "x".repeat(1_000)));
    let expected: BTreeSet<_> = waited.into_iter().chain(deferred).collect();
    let came: BTreeSet<_> = came.into_iter().map(|message| message.body).collect();
    assert_eq!(came, expected);
}

#[test]
fn memory_stays_bounded_while_one_channel_is_full_and_another_reads() {
    const TURNS: usize = 2_000;
    const MESSAGES_PER_TURN: usize = 500;
    let options = LogOptions { ephemeral: true, ..LogOptions::default() };
    let log = Log::create(IdSpace::new(1, 77), options);
    let rules = Rules { ephemeral_depth_max: 1_000, ..Dialogue::rules() };
    let mut topic = Topic::new(TopicName::parse(b"t#ephemeral").unwrap(), log, rules);
    let now = Dialogue::new().now;
    let (full, _) = topic.create_channel(channel_name("full"), now);
    let (reading, _) = topic.create_channel(channel_name("reading"), now);
    let ann = topic.channel_mut(reading).subscribe(Terms {
        connection: ConnectionKey::default(),
        message_timeout: milliseconds(TIMEOUT),
        sample_rate: 0,
        locality: Locality::default(),
    });
    topic.channel_mut(reading).set_ready_count(ann, 1_000);
    let mut finished = 0;
    let mut bytes_max = 0;
    for _ in 0..TURNS {
        topic.publish_many(std::iter::repeat_n(&b"0123456789"[..], MESSAGES_PER_TURN), now);
        assert!(topic.seal(now).is_none());
        let mut delivered = 0;
        topic.deliver(now, &mut |_, outgoing| {
            let Outgoing::Fresh { count, .. } = outgoing else { panic!("nothing comes twice") };
            delivered += u64::from(count);
            Room::Left
        });
        for _ in 0..delivered {
            topic.channel_mut(reading).finish(ann, Sequence(finished), now.tick).unwrap();
            finished += 1;
        }
        topic.forget_unneeded();
        bytes_max = bytes_max.max(topic.log().memory_bytes());
    }
    assert_eq!(finished, 1_000_000);
    assert_eq!(topic.channel(full).depth(), 1_000);
    // Of 44 bytes each, a million would be 44 MB.
    assert!(bytes_max < 1 << 20, "{bytes_max} bytes");
}

// --- what can go ---

/// Three of 200 messages wait, each in a segment of its own; they came in blocks of ten.
fn with_three_that_wait() -> Dialogue {
    let mut dialogue = Dialogue::with_consumer();
    for block in 0..20 {
        let bodies: Vec<_> = (0..10).map(|message| format!("m{}", 10 * block + message)).collect();
        dialogue.published(&bodies.join(" "));
    }
    dialogue.deliver();
    for message in 0..200 {
        let body = format!("m{message}");
        if [3, 77, 150].contains(&message) {
            dialogue.requeue("ann", &body, 50).unwrap();
        } else {
            dialogue.finish("ann", &body).unwrap();
        }
    }
    dialogue
}

#[test]
fn a_few_old_messages_do_not_keep_the_segments_they_came_with() {
    let mut dialogue = with_three_that_wait();
    let bytes = |dialogue: &Dialogue| dialogue.disk.files.values().map(Vec::len).sum::<usize>();
    assert!(7_000 < bytes(&dialogue));
    dialogue.tidy();
    // Three times a header of 64 bytes, a block's of 32 and a frame of 36 or 38; and the segment
    // that is written to.
    assert_eq!(dialogue.disk.files.len(), 4);
    assert!(bytes(&dialogue) < 3 * (64 + 32 + 38) + 512, "{} bytes", bytes(&dialogue));
    dialogue.topic.log_mut().evict(usize::MAX);
    dialogue.pass(50);
    assert_eq!(dialogue.deliver(), "ann: m3/2 m77/2 m150/2");
}

#[test]
fn a_segment_written_anew_is_no_damage_after_a_restart() {
    let mut dialogue = with_three_that_wait();
    let before = dialogue.checkpoint();
    dialogue.tidy();
    // Also when the checkpoint was lost, and all segments are read at the start.
    for checkpoint in [before, TopicCheckpoint::default()] {
        dialogue.restart(&checkpoint, &["c"]);
        dialogue.pass(50);
        dialogue.subscribe("ann", "c", 300);
        let delivered = dialogue.deliver();
        for body in ["m3", "m77", "m150"] {
            assert!(delivered.contains(&format!(" {body}")), "{delivered}");
        }
    }
}

#[test]
fn a_segment_written_anew_is_not_written_once_more_after_a_restart() {
    let mut dialogue = with_three_that_wait();
    dialogue.tidy();
    let checkpoint = dialogue.checkpoint();
    dialogue.restart(&checkpoint, &["c"]);
    assert_eq!(dialogue.topic.find_waste().compact, []);
    // Those in which nobody counted what was needed are, once.
    for file in dialogue.disk.files.values_mut() {
        let header = SegmentHeader::decode(file).unwrap();
        let kept = header.kept.map(|kept| Kept { needed: None, ..kept });
        file[..SEGMENT_HEADER_BYTES].copy_from_slice(&SegmentHeader { kept, ..header }.encode());
    }
    dialogue.restart(&checkpoint, &["c"]);
    assert_eq!(dialogue.topic.find_waste().compact.len(), 3);
    dialogue.tidy();
    dialogue.pass(50);
    dialogue.subscribe("ann", "c", 300);
    assert_eq!(dialogue.deliver(), "ann: m3/2 m77/2 m150/2");
}

#[test]
fn a_segment_written_anew_that_lost_its_end_is_damaged() {
    let mut dialogue = with_three_that_wait();
    dialogue.checkpoint();
    dialogue.tidy();
    let (&name, file) = dialogue.disk.files.iter_mut().nth(1).unwrap();
    let bytes = file.len() as u64 - 1;
    file.pop();
    let file = SegmentFile::inspect(&name.to_string(), bytes, file).unwrap();
    let (mut recovery, _) = Recovery::new(vec![file], Sequence(0));
    while let Some(plan) = recovery.next_read() {
        recovery.feed(&plan, dialogue.disk.read(&plan));
    }
    let damage = recovery.finish().damage;
    assert_eq!(damage[0].missing.end, Sequence(78), "{damage:?}");
}

#[test]
fn what_is_read_while_a_segment_is_replaced_is_not_used() {
    let mut dialogue = with_three_that_wait();
    dialogue.topic.log_mut().evict(usize::MAX);
    let Found::NotInMemory(plan) = dialogue.topic.log_mut().frame(Sequence(77)) else {
        panic!("it is on disk")
    };
    dialogue.tidy();
    let wrong = vec![7; plan.bytes];
    let report = dialogue.topic.log_mut().loaded(&plan, &wrong);
    assert_eq!(report, LoadReport::default());
    dialogue.pass(50);
    assert_eq!(dialogue.deliver(), "ann: m3/2 m77/2 m150/2");
}

#[test]
fn a_segment_that_went_is_not_remembered() {
    let mut dialogue = with_three_that_wait();
    let damaged = dialogue.topic.log().segments().next().unwrap();
    dialogue.topic.leave_as_it_is(damaged);
    dialogue.tidy();
    assert_eq!(dialogue.topic.unfit.len(), 1);
    // As when there is no room for it.
    while let Some((segments, _)) = dialogue.topic.drop_oldest() {
        segments.iter().for_each(|segment| drop(dialogue.disk.files.remove(segment)));
    }
    dialogue.tidy();
    assert!(dialogue.topic.unfit.is_empty());
}

// --- restarts ---

#[test]
fn a_checkpoint_keeps_exactly_what_is_owed() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.publish_one("late", Some(100));
    dialogue.published("done held again later wait");
    dialogue.published_after(40, "soon");
    dialogue.ready("ann", 4);
    assert_eq!(dialogue.deliver(), "ann: done held again later");
    dialogue.ready("ann", 0);
    dialogue.finish("ann", "done").unwrap();
    dialogue.requeue("ann", "again", 0).unwrap();
    dialogue.requeue("ann", "later", 50).unwrap();
    assert_eq!(dialogue.counts("c"), (2, 1, 3));
    let checkpoint = dialogue.checkpoint();
    dialogue.restart(&checkpoint, &["c"]);
    assert_eq!(dialogue.counts("c"), (3, 0, 3), "what was in flight waits");
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: wait held/2 again/2");
    for body in ["wait", "held", "again"] {
        dialogue.finish("ann", body).unwrap();
    }
    for (time, body, attempts) in [(40, "soon", 1), (10, "later", 2), (50, "late", 1)] {
        dialogue.pass(time - 1);
        assert_eq!(dialogue.take(), []);
        dialogue.pass(1);
        let body = body.to_owned();
        assert_eq!(dialogue.take(), [Delivered { client: "ann", body: body.clone(), attempts }]);
        dialogue.finish("ann", &body).unwrap();
    }
}

#[test]
fn an_older_checkpoint_costs_repetition_and_no_message() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.ready("ann", 2);
    dialogue.published("a b c");
    dialogue.deliver();
    dialogue.finish("ann", "a").unwrap();
    let checkpoint = dialogue.checkpoint();
    dialogue.finish("ann", "b").unwrap();
    assert_eq!(dialogue.deliver(), "ann: c");
    dialogue.finish("ann", "c").unwrap();
    dialogue.published_after(30, "late");
    dialogue.published("d");
    dialogue.restart(&checkpoint, &["c"]);
    assert_eq!(dialogue.counts("c"), (3, 0, 1));
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: c b/2 d");
    dialogue.pass(30);
    assert_eq!(dialogue.deliver(), "ann: late");
}

#[test]
fn a_channel_that_the_checkpoint_lacks_gets_what_it_does_not_know_to_be_handed_over() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    let checkpoint = dialogue.checkpoint();
    dialogue.create("d");
    dialogue.published("b");
    dialogue.restart(&checkpoint, &["c", "d"]);
    dialogue.subscribe("ann", "c", 10);
    dialogue.subscribe("bob", "d", 10);
    assert_eq!(dialogue.deliver(), "ann: a b; bob: b");
}

#[test]
fn without_a_checkpoint_all_that_is_in_the_log_comes_to_every_channel() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.published("a");
    dialogue.published_after(20, "late");
    dialogue.deliver();
    dialogue.finish("ann", "a").unwrap();
    dialogue.restart(&TopicCheckpoint::default(), &["c"]);
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: a");
    dialogue.pass(20);
    assert_eq!(dialogue.deliver(), "ann: late");
}

#[test]
fn what_a_paused_topic_keeps_is_kept_over_a_restart_with_its_delays() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.topic.set_paused(true, dialogue.now);
    dialogue.published("a");
    dialogue.published_after(20, "late");
    let checkpoint = dialogue.checkpoint();
    dialogue.restart(&checkpoint, &["c"]);
    assert!(dialogue.topic.is_paused());
    assert_eq!((dialogue.topic.depth(), dialogue.counts("c")), (2, (0, 0, 0)));
    dialogue.topic.set_paused(false, dialogue.now);
    dialogue.subscribe("ann", "c", 10);
    assert_eq!(dialogue.deliver(), "ann: a");
    dialogue.pass(20);
    assert_eq!(dialogue.deliver(), "ann: late");
}

#[test]
fn an_ephemeral_channel_is_not_kept() {
    let mut dialogue = Dialogue::with_consumer();
    dialogue.create("d#ephemeral");
    let checkpoint = dialogue.checkpoint();
    dialogue.restart(&checkpoint, &[]);
    let names: Vec<_> = dialogue.topic.channels().map(|channel| channel.name()).collect();
    assert!(names == [channel_name("c")]);
}

// --- anything ---

const CHANNELS: [&str; 2] = ["c", "d"];
/// Each with its channel's place in `CHANNELS`.
const CLIENTS: [(&str, usize); 4] = [("ann", 0), ("bob", 0), ("eve", 1), ("dan", 1)];

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(Option<u64>),
    Seal,
    /// One of the blocks that are being written was.
    Written(usize),
    /// The last block could not be written.
    Abandon,
    Deliver,
    Answer(Answer, usize, usize),
    Pass(u64),
    Ready(usize, u64),
    /// A client leaves and comes again.
    Return(usize),
    PauseTopic(bool),
    PauseChannel(usize, bool),
    EmptyTopic,
    EmptyChannel(usize),
    Create(usize),
    Delete(usize),
    /// What can be read from disk goes from memory.
    Evict,
    Checkpoint,
    /// The process ends; true: with the last checkpoint, false: with one of now.
    Restart(bool),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Finish,
    Requeue(u64),
    Touch,
}

fn any_step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        3 => Just(Answer::Finish),
        1 => Just(Answer::Requeue(0)),
        1 => (1_u64..80).prop_map(Answer::Requeue),
        1 => Just(Answer::Touch),
    ];
    let client = || 0..CLIENTS.len();
    let channel = || 0..CHANNELS.len();
    prop_oneof![
        8 => prop_oneof![3 => Just(None), 1 => (1_u64..80).prop_map(Some)].prop_map(Step::Publish),
        5 => Just(Step::Seal),
        5 => (0_usize..3).prop_map(Step::Written),
        1 => Just(Step::Abandon),
        8 => Just(Step::Deliver),
        10 => (answer, client(), any::<usize>()).prop_map(|(a, c, m)| Step::Answer(a, c, m)),
        4 => (0_u64..70).prop_map(Step::Pass),
        2 => (client(), 0_u64..5).prop_map(|(client, count)| Step::Ready(client, count)),
        1 => client().prop_map(Step::Return),
        1 => any::<bool>().prop_map(Step::PauseTopic),
        1 => (channel(), any::<bool>()).prop_map(|(channel, is)| Step::PauseChannel(channel, is)),
        1 => Just(Step::EmptyTopic),
        1 => channel().prop_map(Step::EmptyChannel),
        3 => channel().prop_map(Step::Create),
        1 => channel().prop_map(Step::Delete),
        2 => Just(Step::Evict),
        2 => Just(Step::Checkpoint),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// Where a message is, for a channel. One that is nowhere is finished, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Waiting { attempts: u16 },
    InFlight { visit: u32, attempts: u16, sent: u64, deadline: u64 },
    Deferred { due: u64, attempts: u16 },
}

#[derive(Clone, Debug, Default)]
struct ModelChannel {
    is_paused: bool,
    messages: BTreeMap<u32, Place>,
}

/// A message that no channel has yet, and when it is due.
type Unclaimed = (u32, Option<u64>);

/// What should be: sets and maps, and every rule in one line.
#[derive(Clone, Debug, Default)]
struct Model {
    is_paused: bool,
    waiting: Vec<Unclaimed>,
    channels: BTreeMap<&'static str, ModelChannel>,
}

impl Model {
    fn release(&mut self) {
        if self.is_paused || self.channels.is_empty() {
            return;
        }
        for (message, due) in std::mem::take(&mut self.waiting) {
            let place = match due {
                None => Place::Waiting { attempts: 0 },
                Some(due) => Place::Deferred { due, attempts: 0 },
            };
            for channel in self.channels.values_mut() {
                channel.messages.insert(message, place);
            }
        }
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.channels.values_mut().flat_map(|channel| channel.messages.values_mut())
    }

    fn pass_time(&mut self, now: u64) {
        for place in self.places() {
            match *place {
                Place::InFlight { attempts, deadline: at, .. }
                | Place::Deferred { attempts, due: at }
                    if at <= now =>
                {
                    *place = Place::Waiting { attempts };
                }
                _ => {}
            }
        }
    }

    /// Nobody holds anything any more, and what is due does not wait for an alarm.
    fn restart(&mut self, now: u64) {
        for place in self.places() {
            match *place {
                Place::InFlight { attempts, .. } => *place = Place::Waiting { attempts },
                Place::Deferred { attempts, due } if due <= now => {
                    *place = Place::Waiting { attempts };
                }
                _ => {}
            }
        }
    }

    fn wake_at(&mut self) -> Option<u64> {
        self.places()
            .filter_map(|place| match *place {
                Place::InFlight { deadline: at, .. } | Place::Deferred { due: at, .. } => Some(at),
                Place::Waiting { .. } => None,
            })
            .min()
    }
}

impl ModelChannel {
    fn in_flight_of(&self, visit: u32) -> u64 {
        let theirs =
            |place: &&Place| matches!(place, Place::InFlight { visit: v, .. } if *v == visit);
        self.messages.values().filter(theirs).count() as u64
    }

    fn counts(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for place in self.messages.values() {
            match place {
                Place::Waiting { .. } => counts.0 += 1,
                Place::InFlight { .. } => counts.1 += 1,
                Place::Deferred { .. } => counts.2 += 1,
            }
        }
        counts
    }
}

/// A block on its way to the disk.
struct Block {
    /// `None` when it is known what became of it.
    write: Option<Write>,
    messages: Vec<Unclaimed>,
}

/// A topic and its model, side by side.
struct Pair {
    real: Dialogue,
    model: Model,
    /// In milliseconds, since the test began.
    time: u64,
    published: u32,
    open: Vec<Unclaimed>,
    blocks: Vec<Block>,
    /// The last checkpoint, and the model as it was then.
    kept: (TopicCheckpoint, Model),
    /// Messages that became visible since.
    since: Vec<Unclaimed>,
    /// Everybody who is there: which visit it is, and the ready count.
    visits: BTreeMap<&'static str, (u32, u64)>,
    visit_count: u32,
    /// Messages of failed writes.
    lost: u64,
    /// Those of them that were lost before the last restart: a log knows of them again when it has
    /// read what lies around them, and until then they may count as waiting.
    forgotten: u64,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            real: Dialogue::new(),
            model: Model::default(),
            time: 0,
            published: 0,
            open: Vec::new(),
            blocks: Vec::new(),
            kept: (TopicCheckpoint::default(), Model::default()),
            since: Vec::new(),
            visits: BTreeMap::new(),
            visit_count: 0,
            lost: 0,
            forgotten: 0,
        };
        pair.checkpoint();
        pair
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(delay) => {
                self.published += 1;
                self.real.publish_one(&self.published.to_string(), delay);
                self.open.push((self.published, delay.map(|delay| self.time + delay)));
            }
            Step::Seal => self.seal(),
            Step::Written(index) => {
                if let Some(write) = self.blocks.get_mut(index).and_then(|it| it.write.take()) {
                    self.real.written(write);
                    self.settle();
                }
            }
            Step::Abandon => {
                if let Some(write) = self.blocks.last_mut().and_then(|last| last.write.take()) {
                    self.lost += write.messages().end - write.messages().start;
                    self.real.abandon(write);
                    self.blocks.last_mut().unwrap().messages.clear();
                    self.settle();
                }
            }
            Step::Deliver => self.deliver(),
            Step::Answer(answer, client, message) => self.answer(answer, client, message),
            Step::Pass(count) => self.pass(count),
            Step::Ready(client, count) => self.ready(CLIENTS[client].0, count),
            Step::Return(client) => {
                let (name, _) = CLIENTS[client];
                if self.visits.remove(name).is_some() {
                    self.real.unsubscribe(name);
                }
                self.admit(client);
            }
            // The rest is an operator's, which is kept at once.
            Step::PauseTopic(is_paused) => {
                self.real.topic.set_paused(is_paused, self.real.now);
                self.model.is_paused = is_paused;
                self.model.release();
                self.checkpoint();
            }
            Step::PauseChannel(channel, is_paused) => {
                if let Some(channel_model) = self.model.channels.get_mut(CHANNELS[channel]) {
                    channel_model.is_paused = is_paused;
                    let key = self.real.key(CHANNELS[channel]);
                    self.real.topic.channel_mut(key).set_paused(is_paused);
                    self.checkpoint();
                }
            }
            Step::EmptyTopic => {
                self.real.topic.empty();
                self.model.waiting.clear();
                self.checkpoint();
            }
            Step::EmptyChannel(channel) => {
                if let Some(channel_model) = self.model.channels.get_mut(CHANNELS[channel]) {
                    channel_model.messages.clear();
                    let key = self.real.key(CHANNELS[channel]);
                    self.real.topic.channel_mut(key).empty();
                    self.checkpoint();
                }
            }
            Step::Create(channel) => {
                self.real.create(CHANNELS[channel]);
                self.model.channels.entry(CHANNELS[channel]).or_default();
                self.model.release();
                self.checkpoint();
                self.admit_all();
            }
            Step::Delete(channel) => {
                let is_there = self.model.channels.remove(CHANNELS[channel]).is_some();
                let closed = self.real.topic.delete_channel(channel_name(CHANNELS[channel]));
                assert_eq!(closed.is_some(), is_there);
                for (name, _) in CLIENTS.iter().filter(|(_, of)| *of == channel) {
                    self.visits.remove(name);
                    self.real.clients.remove(name);
                }
                self.checkpoint();
            }
            Step::Evict => {
                self.real.topic.log_mut().evict(usize::MAX);
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Restart(with_last) => self.restart(with_last),
        }
    }

    fn seal(&mut self) {
        let write = self.real.seal();
        assert_eq!(write.is_some(), !self.open.is_empty());
        if write.is_some() {
            self.blocks.push(Block { write, messages: std::mem::take(&mut self.open) });
        }
    }

    /// Blocks are visible in order.
    fn settle(&mut self) {
        let settled = self.blocks.iter().take_while(|block| block.write.is_none()).count();
        for block in self.blocks.drain(..settled) {
            self.since.extend(&block.messages);
            self.model.waiting.extend(block.messages);
        }
        self.model.release();
    }

    fn admit_all(&mut self) {
        for client in 0..CLIENTS.len() {
            self.admit(client);
        }
    }

    fn admit(&mut self, client: usize) {
        let (name, channel) = CLIENTS[client];
        let channel = CHANNELS[channel];
        if self.model.channels.contains_key(channel) && !self.visits.contains_key(name) {
            self.visit_count += 1;
            self.visits.insert(name, (self.visit_count, 2));
            self.real.subscribe(name, channel, 2);
        }
    }

    fn ready(&mut self, name: &'static str, count: u64) {
        if let Some((_, ready_count)) = self.visits.get_mut(name) {
            *ready_count = count;
            self.real.ready(name, count);
        }
    }

    fn pass(&mut self, count: u64) {
        self.time += count;
        self.real.pass(count);
        self.model.pass_time(self.time);
    }

    fn deliver(&mut self) {
        for Delivered { client, body, attempts } in self.real.take() {
            let (visit, ready_count) = self.visits[client];
            let (_, channel) = CLIENTS.iter().find(|(name, _)| *name == client).unwrap();
            let channel = self.model.channels.get_mut(CHANNELS[*channel]).unwrap();
            assert!(!channel.is_paused);
            let message = body.parse().unwrap();
            let before = channel.messages.get(&message).copied();
            assert_eq!(before, Some(Place::Waiting { attempts: attempts - 1 }), "message {body}");
            let deadline = self.time + TIMEOUT;
            let now = Place::InFlight { visit, attempts, sent: self.time, deadline };
            channel.messages.insert(message, now);
            assert!(channel.in_flight_of(visit) <= ready_count, "{client} has too many");
        }
        for (name, channel) in &self.model.channels {
            let mut there = CLIENTS.iter().filter(|(_, of)| CHANNELS[*of] == *name);
            let all_are_full = there.all(|(client, _)| {
                let (visit, ready_count) = self.visits[client];
                ready_count <= channel.in_flight_of(visit)
            });
            assert!(
                channel.is_paused || all_are_full || channel.counts().0 == 0,
                "{name} withholds messages"
            );
        }
    }

    /// A client answers for a message; often for one that is not its.
    fn answer(&mut self, answer: Answer, client: usize, message: usize) {
        let (name, of) = CLIENTS[client];
        let Some(&(visit, _)) = self.visits.get(name) else { return };
        let channel = self.model.channels.get_mut(CHANNELS[of]).unwrap();
        let is_in_flight =
            |message: &&u32| matches!(channel.messages.get(message), Some(Place::InFlight { .. }));
        let known: Vec<u32> =
            self.real.sequences.keys().map(|body| body.parse().unwrap()).collect();
        let mut choice: Vec<_> = known.iter().filter(is_in_flight).copied().collect();
        if choice.is_empty() || message.is_multiple_of(5) {
            choice = known;
        }
        let Some(&message) = choice.get(message % choice.len().max(1)) else { return };
        let expected = match channel.messages.get(&message).copied() {
            Some(Place::InFlight { visit: v, .. }) if v != visit => Err(NotYours::OtherClient),
            Some(Place::InFlight { attempts, sent, .. }) => Ok((attempts, sent)),
            _ => Err(NotYours::NotInFlight),
        };
        let body = message.to_string();
        let result = match answer {
            Answer::Finish => self.real.finish(name, &body),
            Answer::Requeue(delay) => self.real.requeue(name, &body, delay),
            Answer::Touch => self.real.touch(name, &body),
        };
        assert_eq!(result, expected.map(|_| ()), "message {body}");
        let Ok((attempts, sent)) = expected else { return };
        let place = match answer {
            Answer::Finish => {
                channel.messages.remove(&message);
                return;
            }
            Answer::Requeue(0) => Place::Waiting { attempts },
            Answer::Requeue(delay) => Place::Deferred { due: self.time + delay, attempts },
            Answer::Touch => {
                let deadline = (self.time + TIMEOUT).min(sent + TIMEOUT_MAX);
                Place::InFlight { visit, attempts, sent, deadline }
            }
        };
        channel.messages.insert(message, place);
    }

    /// As the broker does: then it deletes the segments that nobody needs.
    fn checkpoint(&mut self) {
        self.kept = (self.real.checkpoint(), self.model.clone());
        self.since.clear();
        assert!(!self.real.topic.has_changed());
        self.real.tidy();
    }

    fn restart(&mut self, with_last: bool) {
        for index in 0..self.blocks.len() {
            if let Some(write) = self.blocks[index].write.take() {
                self.real.written(write);
            }
        }
        self.settle();
        // Nobody was told that these are there.
        self.open.clear();
        if !with_last {
            self.checkpoint();
        }
        let (checkpoint, model) = self.kept.clone();
        self.model = model;
        self.model.restart(self.time);
        self.forgotten = self.lost;
        self.model.waiting.append(&mut self.since.clone());
        self.model.release();
        self.visits.clear();
        let channels: Vec<_> = self.model.channels.keys().copied().collect();
        self.real.restart(&checkpoint, &channels);
        self.admit_all();
        self.checkpoint();
    }

    fn check(&mut self) {
        let topic = &self.real.topic;
        let waiting = self.model.waiting.len() as u64;
        let depths = waiting..=waiting + self.forgotten;
        assert!(depths.contains(&topic.depth()), "depth of the topic is {}", topic.depth());
        let start = topic.log().start();
        assert!(topic.lowest_recent() <= topic.log().end());
        for (name, channel) in &self.model.channels {
            let (depth, in_flight, deferred) = self.real.counts(name);
            let (waiting, ..) = channel.counts();
            let depths = waiting..=waiting + self.forgotten;
            assert!(depths.contains(&depth), "depth of {name} is {depth}");
            assert_eq!((waiting, in_flight, deferred), channel.counts(), "counts of {name}");
            for message in channel.messages.keys() {
                let sequence = self.real.sequences[&message.to_string()];
                assert!(start <= sequence, "{message} is needed");
                assert!(topic.needs_any(&(sequence..sequence.next())), "{message} is needed");
            }
        }
        for (message, _) in &self.model.waiting {
            assert!(start <= self.real.sequences[&message.to_string()], "{message} waits");
        }
        if let Some(at) = self.model.wake_at() {
            let wakes_in = self.real.wakes_in().expect("there is something to wake for");
            assert!(wakes_in <= at.saturating_sub(self.time), "it oversleeps");
        }
    }

    /// Everything that is owed comes, and nothing else.
    fn drain(&mut self) {
        self.step(Step::PauseTopic(false));
        for channel in 0..CHANNELS.len() {
            self.step(Step::PauseChannel(channel, false));
        }
        for (name, _) in CLIENTS {
            self.ready(name, 1_000);
        }
        self.pass(TIMEOUT_MAX);
        self.deliver();
        for (client, (name, of)) in CLIENTS.into_iter().enumerate() {
            let Some(channel) = self.model.channels.get(CHANNELS[of]) else { continue };
            let theirs: Vec<_> = channel.messages.keys().copied().collect();
            for message in theirs {
                let body = message.to_string();
                if self.real.finish(name, &body).is_ok() {
                    let channel = self.model.channels.get_mut(CHANNELS[CLIENTS[client].1]).unwrap();
                    channel.messages.remove(&message).unwrap();
                }
            }
        }
        self.check();
        for (name, channel) in &self.model.channels {
            assert_eq!(channel.messages, BTreeMap::new());
            assert_eq!(self.real.counts(name), (0, 0, 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_each_message_is_in_one_place(steps in vec(any_step(), 1..150)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
            pair.check();
        }
        pair.drain();
    }
}
