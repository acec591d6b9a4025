//! An NSQ channel: one named copy of a topic's stream, shared by its subscribers.
//!
//! Knows: which message comes next, who holds which, which wait for a time or for another try.
//! Does not know: sockets, files, cores, the wall clock. It is asked; it calls nobody.
//! Lives on the core that owns the topic, as a part of it.
//!
//! A message's way:
//!
//! ```text
//!            accept            deliver                finish
//!  log  ───────────► [cursor] ─────────► in_flight ───────────► gone
//!    └─ accept ─► deferred ┐      ▲         │  requeue, timeout
//!                          ▼      │         ▼
//!                        [ requeued ] ◄─────┘ ... or deferred, when requeued with a delay
//! ```
//!
//! Messages are delivered in order the first time; those that come back join a queue of their own,
//! and the two take turns, so that neither a backlog nor a poisonous message starves the other.

pub mod aliases;
pub mod changes;
pub mod deferred;
mod delivery;
pub mod in_flight;
pub mod latency;
pub mod locality;
mod record;
pub mod skips;
pub mod subscribers;

pub use in_flight::Delivery;
pub use locality::Locality;
pub use skips::Skips;
pub use subscribers::{Returned, Subscriber, Terms};

use crate::clock::{Now, Tick};
use crate::keys::SubscriberKey;
use crate::log::checkpoint::{Event, Outstanding};
use crate::log::{Cursor, Log};
use crate::message::{Sequence, Timestamp, shared};
use crate::message_id::IdSpace;
use aliases::Aliases;
use bytes::Bytes;
use changes::Changes;
use deferred::{Deferral, Deferred};
use in_flight::InFlight;
use latency::Latency;
use protocol::message_id::MessageId;
use protocol::name::ChannelName;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use subscribers::Subscribers;

/// Messages to be sent to one connection.
#[derive(Debug)]
pub enum Outgoing {
    /// Whole frames for a first delivery, as they lie in the log.
    Fresh {
        /// The frames.
        frames: Bytes,
        /// How many.
        count: u32,
    },
    /// One frame that was sent before, or waited: its attempts must be set on the way out.
    Again {
        /// The frame as it lies in the log.
        frame: Bytes,
        /// The attempts it must carry.
        attempts: u16,
    },
}

/// Whether a connection can take more after it was handed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Left,
    /// It has as many unsent bytes as it may hold.
    None,
    /// It took nothing: it is ending, and will be taken out of its channel.
    Gone,
}

/// Why FIN, REQ or TOUCH was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotYours {
    /// No such message is in flight.
    NotInFlight,
    /// Another client holds it.
    OtherClient,
}

/// What a channel counts, since this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages the topic handed over.
    pub messages: u64,
    /// REQ commands.
    pub requeued: u64,
    /// Deliveries that timed out.
    pub timed_out: u64,
    /// Messages sent, for the first time or again.
    pub delivered: u64,
    /// Of these, those sent within the broker's zone.
    pub delivered_to_zone: u64,
    /// Of these, those sent to another zone of its region.
    pub delivered_to_region: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Channel {
    name: ChannelName,
    paused: bool,
    /// The next message to deliver for the first time.
    cursor: Cursor,
    /// Where the messages handed over by the topic end. Invariant: `cursor <= end`.
    end: Sequence,
    /// Messages between `cursor` and `end` that are not read in order.
    skips: Skips,
    requeued: VecDeque<Requeued>,
    deferred: Deferred,
    in_flight: InFlight,
    /// Those in flight that are not named by their sequence.
    aliases: Aliases,
    subscribers: Subscribers,
    counts: Counts,
    /// Whose turn it is.
    requeued_first: bool,
    /// More may not wait: what comes on top is dropped (ephemeral channels, NSQ behaviour).
    depth_max: Option<u64>,
    random: u64,
    changes: Changes,
    /// How long its messages take, if anybody wants to know.
    latency: Option<Latency>,
}

#[derive(Clone, Copy, Debug)]
struct Requeued {
    sequence: Sequence,
    attempts: u16,
}

impl Channel {
    /// A channel whose first message is the one at `start`.
    ///
    /// `ephemeral_depth_max` bounds what may wait if the name is ephemeral (`--mem-queue-size`).
    pub fn new(name: ChannelName, start: Sequence, ephemeral_depth_max: u64) -> Self {
        Self {
            name,
            paused: false,
            cursor: Cursor::at(start),
            end: start,
            skips: Skips::default(),
            requeued: VecDeque::new(),
            deferred: Deferred::default(),
            in_flight: InFlight::default(),
            aliases: Aliases::default(),
            subscribers: Subscribers::default(),
            counts: Counts::default(),
            requeued_first: false,
            depth_max: name.is_ephemeral().then_some(ephemeral_depth_max),
            random: 0x9e37_79b9_7f4a_7c15,
            changes: Changes::default(),
            latency: None,
        }
    }

    /// Measures from `now` on how long its messages take from publish to FIN.
    pub fn measure(&mut self, window: Duration, now: Tick) {
        self.latency = Some(Latency::over(window, now));
    }

    /// How long its messages took lately, if that is measured.
    pub fn latency(&self) -> Option<&Latency> {
        self.latency.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> ChannelName {
        self.name
    }

    /// Whether deliveries are held back.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Holds deliveries back, or lets them go.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.changes.touch();
    }

    /// Messages waiting to be delivered: not those in flight or deferred (NSQ behaviour).
    pub fn depth(&self) -> u64 {
        (self.end - self.cursor.next()) - self.skips.len() + self.requeued.len() as u64
    }

    /// The next message to deliver for the first time.
    pub fn cursor(&self) -> Sequence {
        self.cursor.next()
    }

    /// Messages in flight.
    pub fn in_flight_count(&self) -> u64 {
        self.in_flight.len() as u64
    }

    /// Messages that wait for their time.
    pub fn deferred_count(&self) -> u64 {
        self.deferred.len() as u64
    }

    /// Messages that were taken from the order and are not finished.
    pub fn outstanding(&self) -> u64 {
        self.in_flight_count() + self.deferred_count() + self.requeued.len() as u64
    }

    /// What it counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Its consumers.
    pub fn subscribers(&self) -> impl Iterator<Item = (SubscriberKey, &Subscriber)> {
        self.subscribers.iter()
    }

    /// How many consumers it has.
    pub fn subscriber_count(&self) -> usize {
        self.subscribers.len()
    }

    /// One consumer, if it has not left.
    pub fn subscriber(&self, key: SubscriberKey) -> Option<&Subscriber> {
        self.subscribers.get(key)
    }

    // --- what the topic does ---

    /// Takes over the messages of `range`, which follows what it has. Those of `missing` do not
    /// exist; those of `deferred` wait for their time, and take no place of those that need not.
    pub fn accept(
        &mut self,
        range: Range<Sequence>,
        missing: &[Range<Sequence>],
        deferred: &[(Sequence, Timestamp)],
        now: Now,
    ) {
        debug_assert_eq!(range.start, self.end, "messages come in order, none is left out");
        let depth_before = self.depth();
        self.end = range.end;
        for missing in missing {
            self.skips.push(missing.clone());
            self.changes.note(Event::Skipped(missing.clone()));
        }
        self.counts.messages += (range.end - range.start) - messages_in(missing);
        for &(sequence, due) in deferred {
            self.skips.push(sequence..sequence.next());
            self.defer(sequence, 0, due, now);
        }
        let waiting = self.depth() - depth_before;
        let room = self.depth_max.map_or(waiting, |max| max.saturating_sub(depth_before));
        if room < waiting {
            let dropped = self.skips.behind(range.start, room)..range.end;
            self.skips.push(dropped.clone());
            self.changes.note(Event::Skipped(dropped));
        }
        self.changes.touch();
    }

    /// Has a message wait until `due`.
    fn defer(&mut self, sequence: Sequence, attempts: u16, due: Timestamp, now: Now) {
        self.deferred.insert(Deferral { due: now.tick_of(due), sequence, attempts });
        let due = Some(due);
        self.changes.note(Event::Waits(sequence, Outstanding { attempts, due }));
    }

    /// Steps over the messages of `range`, which follows what it has: the topic was emptied before
    /// it handed them over.
    pub fn drop_unaccepted(&mut self, range: Range<Sequence>) {
        debug_assert_eq!(range.start, self.end, "messages come in order, none is left out");
        self.end = range.end;
        if self.cursor.next() == range.start {
            self.cursor = Cursor::at(range.end);
            self.changes.touch();
        } else {
            self.skips.push(range.clone());
            self.changes.note(Event::Skipped(range));
        }
    }

    /// Takes over the messages of `range`, which follows what it has: they waited in a channel of
    /// this name before, so they do not count as handed over.
    pub fn take_over(&mut self, range: &Range<Sequence>) {
        debug_assert_eq!(range.start, self.end, "messages come in order, none is left out");
        self.end = range.end;
        self.changes.touch();
    }

    /// Gives up all messages below `start` that wait. A client may still finish what it holds.
    pub fn give_up_below(&mut self, start: Sequence) {
        self.end = self.end.max(start);
        if self.cursor.next() < start {
            self.cursor = Cursor::at(start);
        }
        self.skips.forget_below(start);
        self.requeued.retain(|requeued| start <= requeued.sequence);
        self.deferred.forget_below(start);
        self.changes.tell_all();
    }

    /// Bounds what may wait, whatever its name: an ephemeral topic has no disk behind it.
    pub fn bound_depth(&mut self, depth_max: u64) {
        self.depth_max = Some(depth_max);
    }

    /// Forgets all its messages, also those in flight and deferred (NSQ behaviour).
    pub fn empty(&mut self) {
        self.cursor = Cursor::at(self.end);
        self.skips = Skips::default();
        self.requeued.clear();
        self.deferred.clear();
        self.in_flight.clear();
        self.aliases.clear();
        self.subscribers.forget_in_flight();
        self.changes.tell_all();
    }

    /// The lowest of the messages it may read in order, get back from a client, or deliver next of
    /// those that came back; deferred and later requeued ones may lie lower. Cheap.
    ///
    /// What was read from disk to be delivered again must stay in memory until a client can take
    /// it: if it went, the next try would read it again and again find the window filled.
    pub fn lowest_recent(&self) -> Sequence {
        let again = self.requeued.front().map(|requeued| requeued.sequence);
        self.in_flight.lowest().into_iter().chain(again).fold(self.cursor.next(), Sequence::min)
    }

    /// Bytes of the log's files that cannot go because of it. Other channels may need the same.
    /// Looks at every deferred and requeued message.
    pub fn disk_bytes(&self, log: &Log) -> u64 {
        let requeued = self.requeued.iter().map(|requeued| requeued.sequence);
        let deferred = self.deferred.iter().map(|deferral| deferral.sequence);
        log.disk_bytes_for(self.lowest_recent(), requeued.chain(deferred))
    }

    /// Whether it still needs any message of `range`. Looks at every deferred and requeued one.
    pub fn needs_any(&self, range: &Range<Sequence>) -> bool {
        self.needed().any(|part| shared(&part, range).is_some())
    }

    /// The messages that it still needs, in no order, none twice; some of the ranges are empty.
    pub fn needed(&self) -> impl Iterator<Item = Range<Sequence>> + '_ {
        let cursor = self.cursor.next();
        let starts = self.skips.iter().map(move |skip| skip.end.max(cursor));
        let ends = self.skips.iter().map(|skip| skip.start);
        let ahead = std::iter::once(cursor).chain(starts).zip(ends.chain([self.end]));
        let in_flight = self.in_flight.iter().map(|(sequence, _)| sequence);
        let requeued = self.requeued.iter().map(|requeued| requeued.sequence);
        let deferred = self.deferred.iter().map(|deferral| deferral.sequence);
        let others = in_flight.chain(requeued).chain(deferred);
        let others = others.map(|sequence| sequence..sequence.next());
        ahead.map(|(start, end)| start..end).chain(others)
    }

    // --- what its consumers do ---

    /// A consumer comes.
    pub fn subscribe(&mut self, terms: Terms) -> SubscriberKey {
        self.subscribers.insert(terms)
    }

    /// A consumer goes. What it held waits for its timeout (NSQ behaviour).
    pub fn unsubscribe(&mut self, key: SubscriberKey) {
        self.subscribers.remove(key);
    }

    /// RDY.
    pub fn set_ready_count(&mut self, key: SubscriberKey, ready_count: u64) {
        self.subscribers.set_ready_count(key, ready_count);
    }

    /// Its connection has room again.
    pub fn set_room(&mut self, key: SubscriberKey, room: Room) {
        self.subscribers.set_congested(key, room != Room::Left);
    }

    /// Which message a client means by `id`, of a topic with these `ids`; `None` when there can be
    /// no such message. Whether it is in flight to that client is still to be seen.
    pub fn sequence_of(&self, key: SubscriberKey, ids: IdSpace, id: MessageId) -> Option<Sequence> {
        if !self.aliases.is_empty() {
            let is_held = |sequence: &Sequence| self.held_by(key, *sequence).is_ok();
            let named = self.aliases.named(id).find(is_held).or(self.aliases.named(id).next());
            if named.is_some() {
                return named;
            }
        }
        ids.sequence_of(id)
    }

    /// FIN.
    ///
    /// # Errors
    /// [`NotYours`] when the message is not in flight to this client.
    pub fn finish(
        &mut self,
        key: SubscriberKey,
        sequence: Sequence,
        now: Tick,
    ) -> Result<(), NotYours> {
        let Delivery { is_noted, age, sent, .. } = *self.held_by(key, sequence)?;
        if let Some(latency) = &mut self.latency {
            latency.note(age.duration() + now.since(sent), now);
        }
        self.give_back(sequence);
        self.subscribers.returned(key, Returned::Finished);
        if is_noted || self.changes.knows(sequence) {
            self.changes.note(Event::Finished(sequence));
        } else {
            self.changes.touch();
        }
        Ok(())
    }

    /// REQ: back to the queue, at once or after `delay`.
    ///
    /// # Errors
    /// [`NotYours`] when the message is not in flight to this client.
    pub fn requeue(
        &mut self,
        key: SubscriberKey,
        sequence: Sequence,
        delay: Duration,
        now: Now,
    ) -> Result<(), NotYours> {
        let delivery = *self.held_by(key, sequence)?;
        self.give_back(sequence);
        self.subscribers.returned(key, Returned::Requeued);
        self.counts.requeued += 1;
        if delay.is_zero() {
            self.queue_again(sequence, delivery);
        } else {
            let due = now.wall_of(now.tick.plus(delay));
            self.defer(sequence, delivery.attempts, due, now);
        }
        Ok(())
    }

    /// Has a message that comes back from a client wait for its next delivery.
    fn queue_again(&mut self, sequence: Sequence, delivery: Delivery) {
        let Delivery { attempts, is_noted, .. } = delivery;
        self.requeued.push_back(Requeued { sequence, attempts });
        // To a record it is the same whether a client holds a message or nobody does.
        if is_noted || self.changes.knows(sequence) {
            self.changes.touch();
        } else {
            let due = None;
            self.changes.note(Event::Waits(sequence, Outstanding { attempts, due }));
        }
    }

    /// TOUCH: the client may keep the message for another of its timeouts from now, but never
    /// longer than `total_max` from when it was sent.
    ///
    /// # Errors
    /// [`NotYours`] when the message is not in flight to this client.
    pub fn touch(
        &mut self,
        key: SubscriberKey,
        sequence: Sequence,
        message_timeout: Duration,
        total_max: Duration,
        now: Tick,
    ) -> Result<(), NotYours> {
        let sent = self.held_by(key, sequence)?.sent;
        let deadline = now.plus(message_timeout).min(sent.plus(total_max));
        self.in_flight.set_deadline(sequence, deadline);
        Ok(())
    }

    /// Takes a message out of those in flight.
    fn give_back(&mut self, sequence: Sequence) {
        self.in_flight.remove(sequence);
        if !self.aliases.is_empty() {
            self.aliases.remove(sequence);
        }
    }

    fn held_by(&self, key: SubscriberKey, sequence: Sequence) -> Result<&Delivery, NotYours> {
        match self.in_flight.get(sequence) {
            None => Err(NotYours::NotInFlight),
            Some(delivery) if delivery.subscriber != key => Err(NotYours::OtherClient),
            Some(delivery) => Ok(delivery),
        }
    }

    // --- time ---

    /// When [`Self::pass_time`] has something to do next, at the earliest.
    pub fn wake_at(&self) -> Option<Tick> {
        match (self.in_flight.wake_at(), self.deferred.wake_at()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes back what timed out, and lets in what is due. How many messages timed out.
    pub fn pass_time(&mut self, now: Tick) -> usize {
        let expired = match self.in_flight.wake_at() {
            Some(at) if at <= now => self.in_flight.take_expired(now),
            _ => Vec::new(),
        };
        for &(sequence, delivery) in &expired {
            self.subscribers.returned(delivery.subscriber, Returned::TimedOut);
            self.aliases.remove(sequence);
            self.queue_again(sequence, delivery);
        }
        self.counts.timed_out += expired.len() as u64;
        while let Some(Deferral { sequence, attempts, .. }) = self.deferred.take_due(now) {
            // A record's reader sees for itself that the time has come.
            self.requeued.push_back(Requeued { sequence, attempts });
        }
        expired.len()
    }
}

/// How many messages the ranges hold.
pub fn messages_in(ranges: &[Range<Sequence>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}
