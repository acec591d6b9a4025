//! Messages of a channel go to its consumers: those that come in order and those that came back take
//! turns.
//!
//! Knows: whose turn it is, and what a consumer may have. Does not know: sockets, and how a log finds
//! a message.

use super::in_flight::Delivery;
use super::latency::Age;
use super::locality::Nearness;
use super::subscribers::Terms;
use super::{Channel, Outgoing, Requeued, Room};
use crate::clock::Now;
use crate::keys::{ConnectionKey, SubscriberKey};
use crate::log::block::Naming;
use crate::log::checkpoint::{Event, Outstanding};
use crate::log::{Cursor, Found, Log, ReadPlan, Reading, RunLimit};
use crate::message::Sequence;
use protocol::frame::{self, MESSAGE_FRAME_OVERHEAD};
use protocol::message_id::MessageId;

/// Bytes handed to one client before the next one's turn.
const RUN_BYTES_MAX: usize = 128 << 10;

/// The parts of the log that must be read before delivery can go on.
#[derive(Debug, Default)]
struct Missing {
    fresh: Option<ReadPlan>,
    again: Option<ReadPlan>,
}

impl Channel {
    /// Hands messages to consumers until there is none left, nobody can take one, or what comes
    /// next is not in memory; then says which parts of the log to read.
    pub fn deliver(
        &mut self,
        log: &mut Log,
        now: Now,
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
        now: Now,
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
                let is_kept = run.naming == Naming::Kept;
                let read = (is_kept || self.latency.is_some()).then(|| run.bytes.clone());
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
                    sent: now.tick,
                    deadline: now.tick.plus(terms.message_timeout),
                    age: Age::default(),
                    is_noted: false,
                };
                match read {
                    None => {
                        for offset in 0..u64::from(run.count) {
                            self.in_flight.insert(run.first + offset, delivery);
                        }
                    }
                    Some(frames) => self.insert_read(run.first, &frames, is_kept, delivery, now),
                }
                self.sent(key, terms.locality.counts_as, u64::from(run.count));
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
        now: Now,
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
        let age = self.age_of(&frame, now);
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
                sent: now.tick,
                deadline: now.tick.plus(terms.message_timeout),
                age,
                is_noted: true,
            },
        );
        self.sent(key, terms.locality.counts_as, 1);
        None
    }

    /// Notes that the messages of `frames` were sent, where more of them counts than their number:
    /// ids and attempts if they are kept, their times if those are measured.
    fn insert_read(
        &mut self,
        first: Sequence,
        frames: &[u8],
        are_kept: bool,
        delivery: Delivery,
        now: Now,
    ) {
        let mut rest = frames;
        let mut sequence = first;
        while let Some((size, _)) = rest.split_first_chunk() {
            let (frame, behind) = rest.split_at(4 + u32::from_be_bytes(*size) as usize);
            let mut delivery = Delivery { age: self.age_of(frame, now), ..delivery };
            if are_kept {
                delivery.attempts = u16::from_be_bytes(field_of(frame, frame::ATTEMPTS_OFFSET));
                // Of those delivered in order the record says that it was once.
                delivery.is_noted = delivery.attempts != 1;
                if delivery.is_noted {
                    let waits = Outstanding { attempts: delivery.attempts, due: None };
                    self.changes.note(Event::Waits(sequence, waits));
                }
                self.aliases.insert(sequence, id_of(frame));
            }
            self.in_flight.insert(sequence, delivery);
            sequence = sequence.next();
            rest = behind;
        }
    }

    /// How old a message is, where that is measured.
    fn age_of(&self, frame: &[u8], now: Now) -> Age {
        if self.latency.is_none() {
            return Age::default();
        }
        let published = i64::from_be_bytes(field_of(frame, frame::TIMESTAMP_OFFSET));
        Age::of(now.wall.0.saturating_sub(published))
    }

    fn sent(&mut self, key: SubscriberKey, nearness: Nearness, count: u64) {
        self.subscribers.sent(key, count);
        self.counts.delivered += count;
        match nearness {
            Nearness::Zone => self.counts.delivered_to_zone += count,
            Nearness::Region => self.counts.delivered_to_region += count,
            Nearness::Anywhere => {}
        }
    }

    fn is_discarded(&mut self, terms: Terms) -> bool {
        // Marsaglia's xorshift: any even spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u64::from(terms.sample_rate) < self.random % 100
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Locality;
    use crate::clock::Tick;
    use crate::log::{KeptMessage, LogOptions};
    use crate::message::Timestamp;
    use crate::message_id::IdSpace;
    use protocol::name::ChannelName;
    use std::time::Duration;

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
        let missing = channel.deliver(log, NOW, &mut |_, outgoing| {
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
            locality: Locality::default(),
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
                channel.finish(consumer, sequence, NOW.tick).unwrap();
            }
        }
        // Back and out again under the same name, with one more attempt.
        channel.requeue(consumer, Sequence(1), Duration::ZERO, NOW).unwrap();
        assert!(channel.aliases.is_empty());
        let mut again = Vec::new();
        channel.deliver(&mut log, NOW, &mut |_, outgoing| {
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
            locality: Locality::default(),
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
