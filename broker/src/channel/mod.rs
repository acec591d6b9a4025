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
pub mod in_flight;
pub mod skips;
pub mod subscribers;

pub use in_flight::Delivery;
pub use skips::Skips;
pub use subscribers::{Returned, Subscriber, Terms};

use crate::clock::{Now, Tick};
use crate::keys::{ConnectionKey, SubscriberKey};
use crate::log::block::Naming;
use crate::log::checkpoint::{ChannelCheckpoint, ChannelRecord, Event, Outstanding};
use crate::log::{Cursor, Found, Log, ReadPlan, Reading, RunLimit};
use crate::message::{Sequence, Timestamp, shared};
use crate::message_id::IdSpace;
use aliases::Aliases;
use bytes::Bytes;
use changes::Changes;
use deferred::{Deferral, Deferred};
use in_flight::InFlight;
use protocol::frame::{self, MESSAGE_FRAME_OVERHEAD};
use protocol::message_id::MessageId;
use protocol::name::ChannelName;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use subscribers::Subscribers;

/// Bytes handed to one client before the next one's turn.
const RUN_BYTES_MAX: usize = 128 << 10;

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
        }
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
    pub fn finish(&mut self, key: SubscriberKey, sequence: Sequence) -> Result<(), NotYours> {
        let is_noted = self.held_by(key, sequence)?.is_noted;
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

    // --- delivery ---

    /// Hands messages to consumers until there is none left, nobody can take one, or what comes
    /// next is not in memory; then says which parts of the log to read.
    pub fn deliver(
        &mut self,
        log: &mut Log,
        now: Tick,
        send: &mut dyn FnMut(ConnectionKey, Outgoing) -> Room,
    ) -> Vec<ReadPlan> {
        let mut missing = Missing::default();
        while !self.paused {
            let fresh = if missing.fresh.is_some() { 0 } else { self.fresh_waiting() };
            let again = if missing.again.is_some() { 0 } else { self.requeued.len() as u64 };
            if fresh == 0 && again == 0 {
                break;
            }
            let Some((key, share)) = self.subscribers.next(fresh + again) else { break };
            self.requeued_first = (self.requeued_first || fresh == 0) && 0 < again;
            if self.requeued_first {
                missing.again = self.deliver_again(key, log, now, send);
            } else {
                missing.fresh = self.deliver_fresh(key, share, log, now, send);
            }
            self.requeued_first = !self.requeued_first;
        }
        missing.fresh.into_iter().chain(missing.again).collect()
    }

    /// Steps over what is not read in order, and counts what waits behind it.
    fn fresh_waiting(&mut self) -> u64 {
        while let Some(past) = self.skips.take_at(self.cursor.next()) {
            self.cursor = Cursor::at(past);
        }
        (self.end - self.cursor.next()) - self.skips.len()
    }

    fn deliver_fresh(
        &mut self,
        key: SubscriberKey,
        share: u64,
        log: &mut Log,
        now: Tick,
        send: &mut dyn FnMut(ConnectionKey, Outgoing) -> Room,
    ) -> Option<ReadPlan> {
        let terms = self.subscribers.get(key).expect("it was chosen just now").terms;
        let sampled = is_sampled(terms);
        let until = self.skips.first().unwrap_or(self.end);
        let messages = if sampled { 1 } else { share.min(until - self.cursor.next()) };
        let limit = RunLimit {
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            bytes: RUN_BYTES_MAX,
        };
        let before = self.cursor;
        match log.read(&mut self.cursor, limit) {
            Reading::Run(run) => {
                self.changes.touch();
                if sampled && self.is_discarded(terms) {
                    return None;
                }
                let kept = (run.naming == Naming::Kept).then(|| run.bytes.clone());
                let fresh = Outgoing::Fresh { frames: run.bytes, count: run.count };
                let room = send(terms.connection, fresh);
                self.set_room(key, room);
                if room == Room::Gone {
                    self.cursor = before;
                    return None;
                }
                let delivery = Delivery {
                    subscriber: key,
                    attempts: 1,
                    sent: now,
                    deadline: now.plus(terms.message_timeout),
                    is_noted: false,
                };
                match kept {
                    None => {
                        for offset in 0..u64::from(run.count) {
                            self.in_flight.insert(run.first + offset, delivery);
                        }
                    }
                    Some(frames) => self.insert_kept(run.first, &frames, delivery),
                }
                self.sent(key, u64::from(run.count));
                None
            }
            // Its deferral is known since it was accepted; without one it would be delivered twice.
            Reading::Deferred { .. } => None,
            Reading::Gap { .. } => {
                // Damage knows nothing of what the topic still keeps back.
                if self.end < self.cursor.next() {
                    self.cursor = Cursor::at(self.end);
                }
                self.changes.touch();
                None
            }
            Reading::NotInMemory(plan) => Some(plan),
            Reading::End => {
                unreachable!("the topic hands over only messages that are in the log")
            }
        }
    }

    fn deliver_again(
        &mut self,
        key: SubscriberKey,
        log: &mut Log,
        now: Tick,
        send: &mut dyn FnMut(ConnectionKey, Outgoing) -> Room,
    ) -> Option<ReadPlan> {
        let Requeued { sequence, attempts } = *self.requeued.front()?;
        let (frame, naming) = match log.frame(sequence) {
            Found::Frame(frame, naming) => (frame, naming),
            Found::NotInMemory(plan) => return Some(plan),
            // Damaged on disk; the log has counted and reported it.
            Found::Gone => {
                self.requeued.pop_front();
                self.changes.note(Event::Finished(sequence));
                return None;
            }
        };
        let terms = self.subscribers.get(key).expect("it was chosen just now").terms;
        if is_sampled(terms) && self.is_discarded(terms) {
            self.requeued.pop_front();
            self.changes.note(Event::Finished(sequence));
            return None;
        }
        // nsqd starts again at zero after 65,535 attempts; a message tried so often should not
        // look new.
        let attempts = attempts.saturating_add(1);
        let alias = (naming == Naming::Kept).then(|| id_of(&frame));
        let room = send(terms.connection, Outgoing::Again { frame, attempts });
        self.set_room(key, room);
        if room == Room::Gone {
            return None;
        }
        self.requeued.pop_front();
        self.changes.note(Event::Waits(sequence, Outstanding { attempts, due: None }));
        if let Some(id) = alias {
            self.aliases.insert(sequence, id);
        }
        self.in_flight.insert(
            sequence,
            Delivery {
                subscriber: key,
                attempts,
                sent: now,
                deadline: now.plus(terms.message_timeout),
                is_noted: true,
            },
        );
        self.sent(key, 1);
        None
    }

    /// Notes that the messages of `frames`, which keep their ids and attempts, were sent.
    fn insert_kept(&mut self, first: Sequence, frames: &[u8], delivery: Delivery) {
        let mut rest = frames;
        let mut sequence = first;
        while let Some((size, _)) = rest.split_first_chunk() {
            let (frame, behind) = rest.split_at(4 + u32::from_be_bytes(*size) as usize);
            let attempts = u16::from_be_bytes(field_of(frame, frame::ATTEMPTS_OFFSET));
            // Of those delivered in order the record says that it was once.
            let is_noted = attempts != 1;
            if is_noted {
                self.changes.note(Event::Waits(sequence, Outstanding { attempts, due: None }));
            }
            self.in_flight.insert(sequence, Delivery { attempts, is_noted, ..delivery });
            self.aliases.insert(sequence, id_of(frame));
            sequence = sequence.next();
            rest = behind;
        }
    }

    fn sent(&mut self, key: SubscriberKey, count: u64) {
        self.subscribers.sent(key, count);
        self.counts.delivered += count;
    }

    fn is_discarded(&mut self, terms: Terms) -> bool {
        // Marsaglia's xorshift: any even spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u64::from(terms.sample_rate) < self.random % 100
    }

    // --- what is kept over a restart ---

    /// What must be kept of what happened since the last record.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What must be kept of what happened since the last record.
    pub fn changes_mut(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What must be kept to go on after a restart, as far as the last record did not say so. What is
    /// in flight counts as waiting for another try: after a restart nobody holds it.
    pub fn record(&mut self, now: Now) -> ChannelRecord {
        let is_whole = self.changes.is_whole();
        let known = if is_whole { Sequence(0) } else { self.changes.recorded_cursor() };
        let mut record = ChannelRecord {
            name: self.name,
            is_whole,
            paused: self.paused,
            cursor: self.cursor.next(),
            runs: Vec::new(),
            events: self.changes.take(self.cursor.next()),
        };
        if is_whole {
            record.events = self.all_events(now);
        }
        let in_order = self.in_flight.iter_from(known).filter(|(_, delivery)| !delivery.is_noted);
        record.tell_delivered(in_order.map(|(sequence, _)| sequence));
        record
    }

    /// All messages about which there is something to say, but those delivered in order.
    fn all_events(&self, now: Now) -> Vec<Event> {
        let waits = |sequence, attempts, due| Event::Waits(sequence, Outstanding { attempts, due });
        let skips = self.skips.iter().cloned().map(Event::Skipped);
        let noted = self.in_flight.iter().filter(|(_, delivery)| delivery.is_noted);
        let noted = noted.map(|(sequence, delivery)| waits(sequence, delivery.attempts, None));
        let requeued = self.requeued.iter();
        let requeued = requeued.map(|there| waits(there.sequence, there.attempts, None));
        let deferred = self.deferred.iter();
        let deferred = deferred.map(|deferral| {
            waits(deferral.sequence, deferral.attempts, Some(now.wall_of(deferral.due)))
        });
        skips.chain(noted).chain(requeued).chain(deferred).collect()
    }

    /// The channel that `checkpoint` describes, in a topic that has the messages of `there` and
    /// has handed them over.
    pub fn restore(
        name: ChannelName,
        checkpoint: &ChannelCheckpoint,
        there: Range<Sequence>,
        ephemeral_depth_max: u64,
        now: Now,
    ) -> Self {
        let end = there.end;
        let cursor = checkpoint.cursor.max(there.start).min(end);
        let mut channel = Self::new(name, cursor, ephemeral_depth_max);
        channel.paused = checkpoint.paused;
        channel.end = end;
        for skip in checkpoint.skips.iter() {
            channel.skips.push(skip.start.max(cursor).min(end)..skip.end.max(cursor).min(end));
        }
        for (&sequence, &Outstanding { attempts, due }) in checkpoint.outstanding.range(there) {
            if cursor <= sequence {
                // It is skipped in every checkpoint of ours; else it would be delivered twice.
                channel.skips.push(sequence..sequence.next());
            }
            match due.filter(|&due| now.wall < due) {
                None => channel.requeued.push_back(Requeued { sequence, attempts }),
                Some(due) => {
                    let due = now.tick_of(due);
                    channel.deferred.insert(Deferral { due, sequence, attempts });
                }
            }
        }
        channel
    }

    /// Of the messages it has yet to deliver, those of `missing` do not exist any more.
    pub fn step_over(&mut self, missing: &[Range<Sequence>]) {
        let (cursor, end) = (self.cursor.next(), self.end);
        for missing in missing {
            self.skips.push(missing.start.max(cursor)..missing.end.min(end));
        }
    }
}

/// How many messages the ranges hold.
pub fn messages_in(ranges: &[Range<Sequence>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// The id in a message's frame.
fn id_of(frame: &[u8]) -> MessageId {
    MessageId(field_of(frame, frame::MESSAGE_ID_OFFSET))
}

fn field_of<const N: usize>(frame: &[u8], offset: usize) -> [u8; N] {
    let header: &[u8; MESSAGE_FRAME_OVERHEAD] =
        frame.first_chunk().expect("a frame of the log has its header");
    header[offset..offset + N].try_into().expect("the field lies in the header")
}

fn is_sampled(terms: Terms) -> bool {
    matches!(terms.sample_rate, 1..=99)
}

/// The parts of the log that must be read before delivery can go on.
#[derive(Debug, Default)]
struct Missing {
    fresh: Option<ReadPlan>,
    again: Option<ReadPlan>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{KeptMessage, LogOptions};
    use crate::message::Timestamp;
    use crate::message_id::IdSpace;

    const NOW: Now = Now { tick: Tick(0), wall: Timestamp(0) };

    fn append(log: &mut Log, messages: u64) {
        for _ in 0..messages {
            log.append(Timestamp(0), None, b"m");
        }
        let write = log.seal().unwrap();
        log.written(write);
    }

    fn deliver(channel: &mut Channel, log: &mut Log) -> (u32, Vec<ReadPlan>) {
        let mut delivered = 0;
        let missing = channel.deliver(log, Tick(0), &mut |_, outgoing| {
            delivered += match outgoing {
                Outgoing::Fresh { count, .. } => count,
                Outgoing::Again { .. } => 1,
            };
            Room::Left
        });
        (delivered, missing)
    }

    #[test]
    fn messages_that_keep_their_ids_are_found_by_them_while_they_are_in_flight() {
        let mut log = Log::create(IdSpace::new(0, 0), LogOptions::default());
        let (once, twice) = (MessageId(*b"00000000000000aa"), MessageId(*b"not hexadecimal."));
        for (id, attempts) in [(twice, 1), (once, 7), (twice, 3)] {
            let kept = KeptMessage { timestamp: Timestamp(9), attempts, id, body: b"old" };
            log.append_kept(&kept, Timestamp(0));
        }
        let write = log.seal().unwrap();
        log.written(write);
        append(&mut log, 1);
        let mut channel = Channel::new(ChannelName::parse(b"c").unwrap(), Sequence(0), 0);
        let terms = Terms {
            connection: ConnectionKey::default(),
            message_timeout: Duration::from_secs(60),
            sample_rate: 0,
        };
        let consumer = channel.subscribe(terms);
        channel.set_ready_count(consumer, 100);
        channel.accept(Sequence(0)..Sequence(4), &[], &[], NOW);
        assert_eq!(channel.record(NOW).events, []);
        assert_eq!(deliver(&mut channel, &mut log), (4, Vec::new()));

        // The record tells of attempts that are not those of a first delivery.
        let waits = |sequence, attempts| {
            Event::Waits(Sequence(sequence), Outstanding { attempts, due: None })
        };
        assert_eq!(channel.record(NOW).events, [waits(1, 7), waits(2, 3)]);

        let ids = log.ids();
        let named = |channel: &Channel, id| channel.sequence_of(consumer, ids, id);
        assert_eq!(named(&channel, once), Some(Sequence(1)));
        assert_eq!(named(&channel, ids.id(Sequence(3))), Some(Sequence(3)), "one of ours");
        // Two have the same id: each FIN is for one of them.
        for expected in [Some(Sequence(0)), Some(Sequence(2)), None] {
            let found = named(&channel, twice);
            assert_eq!(found, expected);
            if let Some(sequence) = found {
                channel.finish(consumer, sequence).unwrap();
            }
        }
        // Back and out again under the same name, with one more attempt.
        channel.requeue(consumer, Sequence(1), Duration::ZERO, NOW).unwrap();
        assert!(channel.aliases.is_empty());
        let mut again = Vec::new();
        channel.deliver(&mut log, Tick(0), &mut |_, outgoing| {
            if let Outgoing::Again { frame, attempts } = outgoing {
                again.push((id_of(&frame), attempts));
            }
            Room::Left
        });
        assert_eq!(again, [(once, 8)]);
        assert_eq!(named(&channel, once), Some(Sequence(1)));
        channel.pass_time(Now { tick: Tick(61_000_000_000), ..NOW }.tick);
        assert!(channel.aliases.is_empty());
    }

    #[test]
    fn damage_that_goes_on_behind_what_was_handed_over_ends_with_it() {
        let mut log = Log::create(IdSpace::new(0, 0), LogOptions::default());
        append(&mut log, 10);
        let name = ChannelName::parse(b"c").unwrap();
        let mut channel = Channel::new(name, Sequence(0), 0);
        let consumer = channel.subscribe(Terms {
            connection: ConnectionKey::default(),
            message_timeout: Duration::from_secs(60),
            sample_rate: 0,
        });
        channel.set_ready_count(consumer, 100);
        // The topic was paused after five of the messages.
        channel.accept(Sequence(0)..Sequence(5), &[], &[], NOW);
        log.evict(usize::MAX);
        let (_, missing) = deliver(&mut channel, &mut log);
        let damage = log.unreadable(&missing[0]).damage;
        assert_eq!(damage[0].missing, Sequence(0)..Sequence(10));

        assert_eq!(deliver(&mut channel, &mut log), (0, Vec::new()));
        assert_eq!((channel.cursor(), channel.depth()), (Sequence(5), 0));
        append(&mut log, 3);
        channel.accept(Sequence(5)..Sequence(13), &[], &[], NOW);
        assert_eq!(deliver(&mut channel, &mut log), (3, Vec::new()));
        assert_eq!(channel.depth(), 0);
    }
}
