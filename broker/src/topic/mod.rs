//! One topic: its log, its channels, and what was handed from the one to the others.
//!
//! Knows: which messages belong to whom. Does not know: sockets, files, cores, the wall clock.
//! Lives on the core that owns the topic, which [`crate::routing::placement`] names.
//!
//! A message becomes visible to channels when its block was written, never before, and is handed
//! to every channel that exists then. With no channel, while the topic is paused, or while it is not
//! known yet which channels it shall begin with, messages wait in the topic for the channels that
//! exist when it goes on (NSQ behaviour).

pub mod catalogue;
pub mod list;
pub mod retention;
#[cfg(test)]
mod tests;

use crate::channel::{Channel, Outgoing, Room, messages_in};
use crate::clock::{Now, Tick};
use crate::keys::{ChannelKey, ConnectionKey};
use crate::log::checkpoint::{Record, TopicCheckpoint};
use crate::log::{Log, ReadPlan, SegmentName, Write};
use crate::message::{Sequence, Timestamp};
use protocol::name::{ChannelName, TopicName};
use slotmap::SlotMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// An ephemeral topic may hold so much that nobody needs.
const UNNEEDED_BYTES_MIN: usize = 256 << 10;

/// Settings of the broker that a topic follows.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What may wait in an ephemeral topic or channel (`--mem-queue-size`), in messages.
    pub ephemeral_depth_max: u64,
    /// TOUCH cannot keep a message longer than this (`--max-msg-timeout`).
    pub message_timeout_max: Duration,
    /// How far back the times from publish to FIN are kept, if they are measured.
    pub latency_window: Option<Duration>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Topic {
    name: TopicName,
    rules: Rules,
    log: Log,
    paused: bool,
    /// Its first channels are being learnt: nothing is handed over before. Not kept over a restart.
    held: bool,
    channels: SlotMap<ChannelKey, Channel>,
    by_name: BTreeMap<ChannelName, ChannelKey>,
    /// Messages before this were handed to channels, or dropped.
    released: Sequence,
    /// Deferred messages that were not handed over yet, in order.
    deferred: VecDeque<(Sequence, Timestamp)>,
    message_count: u64,
    message_bytes: u64,
    /// Ephemeral topics: the memory at which to look for what nobody needs.
    look_again_at_bytes: usize,
    changed: bool,
    /// Segments that cannot be written anew.
    unfit: BTreeSet<SegmentName>,
    /// The next record tells everything.
    records_all: bool,
    /// The log's end as the last record had it.
    recorded_end: Sequence,
}

impl Topic {
    /// A topic without channels over `log`.
    pub fn new(name: TopicName, log: Log, rules: Rules) -> Self {
        let released = log.start();
        Self {
            name,
            rules,
            log,
            paused: false,
            held: false,
            channels: SlotMap::with_key(),
            by_name: BTreeMap::new(),
            released,
            deferred: VecDeque::new(),
            message_count: 0,
            message_bytes: 0,
            look_again_at_bytes: UNNEEDED_BYTES_MIN,
            changed: true,
            unfit: BTreeSet::new(),
            records_all: true,
            recorded_end: Sequence(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> TopicName {
        self.name
    }

    /// Settings it follows.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Whether messages are held back from its channels.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Messages that were not handed to channels (NSQ's `depth` of a topic).
    pub fn depth(&self) -> u64 {
        let waiting = self.released..self.log.end();
        (waiting.end - waiting.start) - messages_in(&self.log.gaps_within(&waiting))
    }

    /// How many of them are on disk only.
    pub fn backend_depth(&self) -> u64 {
        self.depth().min(self.log.memory_start().max(self.released) - self.released)
    }

    /// How many of the messages that wait in a channel are on disk only.
    pub fn channel_backend_depth(&self, channel: &Channel) -> u64 {
        let cursor = channel.cursor();
        channel.depth().min(self.log.memory_start().max(cursor) - cursor)
    }

    /// Messages published since this process started.
    pub fn message_count(&self) -> u64 {
        self.message_count
    }

    /// The bytes of their bodies.
    pub fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// Its messages.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its messages.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    // --- publishing ---

    /// Takes a message, into memory: it counts when its block was written.
    pub fn publish(&mut self, body: &[u8], delay: Option<Duration>, now: Now) {
        self.message_count += 1;
        self.message_bytes += body.len() as u64;
        if self.is_full() {
            return;
        }
        match delay.filter(|delay| !delay.is_zero()) {
            None => {
                self.log.append(now.wall, None, body);
            }
            Some(delay) => {
                let due = now.wall_of(now.tick.plus(delay));
                let sequence = self.log.append(now.wall, Some(due), body);
                self.deferred.push_back((sequence, due));
            }
        }
    }

    /// Takes many messages, into memory.
    pub fn publish_many<'a>(&mut self, bodies: impl Iterator<Item = &'a [u8]>, now: Now) {
        for body in bodies {
            self.message_count += 1;
            self.message_bytes += body.len() as u64;
            if !self.is_full() {
                self.log.append(now.wall, None, body);
            }
        }
    }

    /// An ephemeral topic drops new messages when nobody takes the old ones (NSQ behaviour).
    fn is_full(&self) -> bool {
        self.name.is_ephemeral()
            && self.rules.ephemeral_depth_max <= self.log.next_sequence() - self.released
    }

    /// Closes the block of all messages taken since the last one; it is to be written. In an
    /// ephemeral topic there is nothing to write, and its messages are handed over at once.
    pub fn seal(&mut self, now: Now) -> Option<Write> {
        let write = self.log.seal();
        if write.is_none() {
            self.release(now);
        }
        write
    }

    /// The block was written: its messages are handed to the channels.
    pub fn written(&mut self, write: Write, now: Now) {
        self.log.written(write);
        self.changed = true;
        self.release(now);
    }

    /// The block could not be written: its messages were never there.
    pub fn abandon(&mut self, write: Write, now: Now) {
        let lost = write.messages();
        self.message_count -= lost.end - lost.start;
        self.message_bytes -= write.body_bytes();
        self.log.abandon(write);
        self.deferred.retain(|(sequence, _)| !lost.contains(sequence));
        self.release(now);
    }

    /// Whether nothing waits in the topic for channels or for the end of its pause.
    pub fn is_drained(&self) -> bool {
        self.depth() == 0
    }

    /// The block was written, and its messages are owed to one channel alone: they waited in it
    /// before. Not counted as published or handed over.
    ///
    /// # Panics
    /// When the topic is not drained: what waits in it would be overtaken.
    pub fn written_for(&mut self, key: ChannelKey, write: Write) {
        assert!(self.is_drained(), "what waits in the topic must not be overtaken");
        if self.released < self.log.end() {
            // A gap, and nothing else.
            self.empty();
        }
        self.log.written(write);
        let range = self.released..self.log.end();
        self.released = range.end;
        self.changed = true;
        for (other, channel) in &mut self.channels {
            if other == key {
                channel.take_over(&range);
            } else {
                channel.drop_unaccepted(range.clone());
            }
        }
    }

    fn release(&mut self, now: Now) {
        let range = self.released..self.log.end();
        if self.paused || self.held || self.channels.is_empty() || range.is_empty() {
            return;
        }
        self.released = range.end;
        self.changed = true;
        let missing = self.log.gaps_within(&range);
        let visible = self.deferred.partition_point(|&(sequence, _)| sequence < range.end);
        let deferred: Vec<_> = self.deferred.drain(..visible).collect();
        for (_, channel) in &mut self.channels {
            channel.accept(range.clone(), &missing, &deferred, now);
        }
    }

    // --- channels ---

    /// The channel of that name.
    pub fn channel_key(&self, name: ChannelName) -> Option<ChannelKey> {
        self.by_name.get(&name).copied()
    }

    /// A channel that exists.
    pub fn channel(&self, key: ChannelKey) -> &Channel {
        &self.channels[key]
    }

    /// A channel that exists.
    pub fn channel_mut(&mut self, key: ChannelKey) -> &mut Channel {
        &mut self.channels[key]
    }

    /// All channels, by name.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.by_name.values().map(|&key| self.channel(key))
    }

    /// Makes a channel, unless it exists; true when it is new. It gets what waits in the topic,
    /// and what is published from now on.
    pub fn create_channel(&mut self, name: ChannelName, now: Now) -> (ChannelKey, bool) {
        if let Some(key) = self.channel_key(name) {
            return (key, false);
        }
        let key = self.add(Channel::new(name, self.released, self.depth_max()), now);
        self.release(now);
        (key, true)
    }

    /// What may wait in an ephemeral channel; in an ephemeral topic every channel is one, as far as
    /// memory goes: there is no disk behind it.
    fn depth_max(&self) -> u64 {
        self.rules.ephemeral_depth_max
    }

    fn add(&mut self, mut channel: Channel, now: Now) -> ChannelKey {
        if let Some(window) = self.rules.latency_window {
            channel.measure(window, now.tick);
        }
        if self.name.is_ephemeral() {
            channel.bound_depth(self.rules.ephemeral_depth_max);
        }
        let name = channel.name();
        let key = self.channels.insert(channel);
        self.by_name.insert(name, key);
        self.changed = true;
        key
    }

    /// Removes a channel and all that waits in it; the connections of its consumers must be closed.
    pub fn delete_channel(&mut self, name: ChannelName) -> Option<Vec<ConnectionKey>> {
        let key = self.by_name.remove(&name)?;
        let channel = self.channels.remove(key).expect("names and channels go together");
        // Records have no word for a channel that is gone.
        self.record_all();
        Some(connections_of(&channel).collect())
    }

    /// The connections of all consumers of all channels.
    pub fn connections(&self) -> Vec<ConnectionKey> {
        self.channels.iter().flat_map(|(_, channel)| connections_of(channel)).collect()
    }

    // --- administration ---

    /// Holds messages back from the channels, or lets them go.
    pub fn set_paused(&mut self, paused: bool, now: Now) {
        self.paused = paused;
        self.changed = true;
        self.release(now);
    }

    /// Holds messages back until it is known which channels the topic shall begin with.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The channels are there.
    pub fn let_go(&mut self, now: Now) {
        self.held = false;
        self.release(now);
    }

    /// Drops what waits in the topic; what its channels have stays (NSQ behaviour).
    pub fn empty(&mut self) {
        let dropped = self.released..self.log.end();
        self.released = dropped.end;
        self.deferred.retain(|&(sequence, _)| dropped.end <= sequence);
        self.changed = true;
        for (_, channel) in &mut self.channels {
            channel.drop_unaccepted(dropped.clone());
        }
    }

    /// Gives up all messages below `start`, whoever needs them.
    fn give_up_below(&mut self, start: Sequence) {
        self.released = self.released.max(start);
        self.deferred.retain(|&(sequence, _)| start <= sequence);
        self.changed = true;
        for (_, channel) in &mut self.channels {
            channel.give_up_below(start);
        }
    }

    // --- time and delivery ---

    /// When [`Self::pass_time`] has something to do next, at the earliest.
    pub fn wake_at(&self) -> Option<Tick> {
        self.channels.iter().filter_map(|(_, channel)| channel.wake_at()).min()
    }

    /// Takes back what timed out and lets in what is due, in all channels.
    pub fn pass_time(&mut self, now: Tick) {
        for (_, channel) in &mut self.channels {
            channel.pass_time(now);
        }
    }

    /// Hands messages of all channels to their consumers, and says which parts of the log must be
    /// read before it can go on.
    pub fn deliver(
        &mut self,
        now: Now,
        send: &mut dyn FnMut(ConnectionKey, Outgoing) -> Room,
    ) -> Vec<ReadPlan> {
        let mut missing = Vec::new();
        for (_, channel) in &mut self.channels {
            missing.append(&mut channel.deliver(&mut self.log, now, send));
        }
        missing
    }

    // --- retention ---

    /// The lowest message that a channel may read in order or get back from a client soon.
    pub fn lowest_recent(&self) -> Sequence {
        self.channels.iter().map(|(_, channel)| channel.lowest_recent()).fold(self.released, min)
    }

    /// Drops from memory what nobody needs; for ephemeral topics, whose messages are nowhere else.
    ///
    /// Looks at every block and every message in flight, so it waits until memory has doubled
    /// since it last looked: the cost of a message stays the same however many wait.
    pub fn forget_unneeded(&mut self) {
        if self.log.memory_bytes() < self.look_again_at_bytes {
            return;
        }
        let Self { log, channels, released, .. } = self;
        let segments = log.retain(|range| {
            *released < range.end || channels.iter().any(|(_, channel)| channel.needs_any(range))
        });
        debug_assert!(segments.is_empty(), "an ephemeral topic has no files");
        self.look_again_at_bytes = (2 * self.log.memory_bytes()).max(UNNEEDED_BYTES_MIN);
    }

    /// Whether anybody needs a message of `range`.
    pub fn needs_any(&self, range: &Range<Sequence>) -> bool {
        self.released < range.end
            || self.channels.iter().any(|(_, channel)| channel.needs_any(range))
    }

    /// Whether the last segment has messages, and nobody needs one of them.
    pub fn is_spent(&self) -> bool {
        let last = self.log.last_segment().filter(|last| last.start < last.end);
        last.is_some_and(|last| !self.needs_any(&last))
    }

    // --- what is kept over a restart ---

    /// Whether something changed since the last [`Self::record`].
    pub fn has_changed(&self) -> bool {
        self.changed || self.channels.iter().any(|(_, channel)| channel.changes().is_changed())
    }

    /// The next [`Self::record`] tells everything: the last one could not be kept, or those before
    /// it have grown too many.
    pub fn record_all(&mut self) {
        self.changed = true;
        self.records_all = true;
        for (_, channel) in &mut self.channels {
            channel.changes_mut().tell_all();
        }
    }

    /// What must be kept to go on after a restart, as far as the last record did not say so, or
    /// everything. Ephemeral channels are not kept.
    pub fn record(&mut self, is_whole: bool, now: Now) -> Record {
        if is_whole {
            self.record_all();
        }
        self.changed = false;
        let is_whole = std::mem::take(&mut self.records_all);
        let end = self.log.end();
        let known = if is_whole { Sequence(0) } else { self.recorded_end };
        self.recorded_end = end;
        let first = self.deferred.partition_point(|&(sequence, _)| sequence < known);
        let visible = self.deferred.partition_point(|&(sequence, _)| sequence < end);
        let unclaimed = self.deferred.range(first.min(visible)..visible).copied().collect();
        let mut channels = Vec::new();
        for (_, channel) in &mut self.channels {
            if channel.name().is_ephemeral() {
                channel.changes_mut().forget();
            } else if channel.changes().is_changed() {
                channels.push(channel.record(now));
            }
        }
        let (released, paused) = (self.released, self.paused);
        Record { is_whole, end, released, paused, unclaimed, channels }
    }

    /// The topic that `checkpoint` and the log describe. `deferred` are the deferred messages that
    /// were written after the checkpoint, in order; `channels` are to be there in any case: those
    /// that the checkpoint does not know get what it does not know to be handed over.
    pub fn restore(
        name: TopicName,
        log: Log,
        rules: Rules,
        checkpoint: &TopicCheckpoint,
        deferred: impl Iterator<Item = (Sequence, Timestamp)>,
        channels: impl Iterator<Item = ChannelName>,
        now: Now,
    ) -> Self {
        let mut topic = Self::new(name, log, rules);
        let start = topic.log.start();
        topic.paused = checkpoint.paused;
        let released = checkpoint.released.max(start).min(topic.log.end());
        topic.released = released;
        // In every checkpoint of ours what is unclaimed lies behind what was handed over; else it
        // would be handed over twice.
        let unclaimed = checkpoint.unclaimed.iter().map(|(&sequence, &due)| (sequence, due));
        topic.deferred = unclaimed
            .filter(|&(sequence, _)| sequence < checkpoint.end)
            .chain(deferred.filter(|&(sequence, _)| checkpoint.end <= sequence))
            .filter(|&(sequence, _)| released <= sequence)
            .collect();
        for (&name, channel) in &checkpoint.channels {
            let depth_max = topic.depth_max();
            let mut channel = Channel::restore(name, channel, start..released, depth_max, now);
            // What recovery found damaged must not count as waiting.
            channel.step_over(&topic.log.gaps_within(&(channel.cursor()..released)));
            topic.add(channel, now);
        }
        for name in channels {
            if topic.channel_key(name).is_none() {
                topic.add(Channel::new(name, released, topic.depth_max()), now);
            }
        }
        topic.release(now);
        topic
    }
}

fn connections_of(channel: &Channel) -> impl Iterator<Item = ConnectionKey> + '_ {
    channel.subscribers().map(|(_, subscriber)| subscriber.terms.connection)
}

fn min(a: Sequence, b: Sequence) -> Sequence {
    a.min(b)
}
