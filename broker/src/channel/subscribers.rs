//! The consumers of one channel, and who of them gets the next message.
//!
//! Knows: how many messages each may still be given (RDY is a window, not a credit: NSQ behaviour),
//! and whether its connection can take more bytes. Does not know: messages, sockets.
//! Lives on the core that owns the topic.

use super::locality::{LINES, Locality};
use crate::keys::{ConnectionKey, SubscriberKey};
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::time::Duration;

/// What a client agreed that matters to its channel.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Where its messages go.
    pub connection: ConnectionKey,
    /// How long it may keep a message.
    pub message_timeout: Duration,
    /// 0 or 100: every message. Else a message taken for it is thrown away with a probability of
    /// (99 - rate) in 100 (NSQ behaviour).
    pub sample_rate: u8,
    /// How near it is.
    pub locality: Locality,
}

/// One consumer.
#[derive(Debug)]
pub struct Subscriber {
    /// What it agreed.
    pub terms: Terms,
    /// How many messages may be in flight to it at once.
    pub ready_count: u64,
    /// How many are.
    pub in_flight: u64,
    /// Its connection has as many bytes to send as it may hold.
    congested: bool,
    /// It stands in the line of those that can take a message.
    in_line: bool,
    /// Messages sent to it.
    pub message_count: u64,
    /// Messages it finished.
    pub finish_count: u64,
    /// Messages it requeued.
    pub requeue_count: u64,
}

impl Subscriber {
    fn window(&self) -> u64 {
        if self.congested { 0 } else { self.ready_count.saturating_sub(self.in_flight) }
    }
}

/// All consumers of a channel.
#[derive(Debug, Default)]
pub struct Subscribers {
    by_key: SlotMap<SubscriberKey, Subscriber>,
    /// Those that could take a message when they were put here; checked again when taken out.
    /// Invariant: all of them are there, each once.
    /// One line for each distance; those who are nearer go before those who are not.
    lines: [VecDeque<SubscriberKey>; LINES],
}

impl Subscribers {
    /// How many consumers there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds a consumer, with a ready count of zero.
    pub fn insert(&mut self, terms: Terms) -> SubscriberKey {
        self.by_key.insert(Subscriber {
            terms,
            ready_count: 0,
            in_flight: 0,
            congested: false,
            in_line: false,
            message_count: 0,
            finish_count: 0,
            requeue_count: 0,
        })
    }

    /// Removes a consumer. What is in flight to it stays in flight until it times out.
    pub fn remove(&mut self, key: SubscriberKey) -> Option<Subscriber> {
        let left = self.by_key.remove(key)?;
        if left.in_line {
            // Nobody may ask for the next in line for long, while others come and go.
            self.lines[left.terms.locality.line].retain(|there| *there != key);
        }
        Some(left)
    }

    /// The consumer, if it has not left.
    pub fn get(&self, key: SubscriberKey) -> Option<&Subscriber> {
        self.by_key.get(key)
    }

    /// Changes a consumer, and puts it in line if it can take a message afterwards.
    fn change(&mut self, key: SubscriberKey, change: impl FnOnce(&mut Subscriber)) {
        let Some(subscriber) = self.by_key.get_mut(key) else { return };
        change(subscriber);
        if !subscriber.in_line && 0 < subscriber.window() {
            subscriber.in_line = true;
            self.lines[subscriber.terms.locality.line].push_back(key);
        }
    }

    /// RDY.
    pub fn set_ready_count(&mut self, key: SubscriberKey, ready_count: u64) {
        self.change(key, |subscriber| subscriber.ready_count = ready_count);
    }

    /// Its connection became too full, or has room again.
    pub fn set_congested(&mut self, key: SubscriberKey, congested: bool) {
        self.change(key, |subscriber| subscriber.congested = congested);
    }

    /// `count` messages were sent to it.
    pub fn sent(&mut self, key: SubscriberKey, count: u64) {
        self.change(key, |subscriber| {
            subscriber.in_flight += count;
            subscriber.message_count += count;
        });
    }

    /// A message of its came back, or is done.
    pub fn returned(&mut self, key: SubscriberKey, how: Returned) {
        self.change(key, |subscriber| {
            subscriber.in_flight = subscriber.in_flight.saturating_sub(1);
            match how {
                Returned::Finished => subscriber.finish_count += 1,
                Returned::Requeued => subscriber.requeue_count += 1,
                Returned::TimedOut => {}
            }
        });
    }

    /// Nothing is in flight to anybody any more (the channel was emptied).
    pub fn forget_in_flight(&mut self) {
        let keys: Vec<_> = self.by_key.keys().collect();
        for key in keys {
            self.change(key, |subscriber| subscriber.in_flight = 0);
        }
    }

    /// Who gets the next messages, and how many of `waiting` at most. The first line in which
    /// anybody can take one goes round, and what waits is shared out among all in it.
    pub fn next(&mut self, waiting: u64) -> Option<(SubscriberKey, u64)> {
        for line in &mut self.lines {
            while let Some(&key) = line.front() {
                let in_line = line.len() as u64;
                let subscriber = self.by_key.get_mut(key).expect("who leaves leaves the line");
                let window = subscriber.window();
                if window == 0 {
                    subscriber.in_line = false;
                    line.pop_front();
                    continue;
                }
                line.rotate_left(1);
                return Some((key, window.min(waiting.div_ceil(in_line)).max(1)));
            }
        }
        None
    }

    /// Whether anybody can take a message now.
    pub fn any_ready(&mut self) -> bool {
        self.next(1).is_some()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (SubscriberKey, &Subscriber)> {
        self.by_key.iter()
    }
}

/// How a message left a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// FIN.
    Finished,
    /// REQ.
    Requeued,
    /// Its deadline passed.
    TimedOut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::identify::{Offer, Settings};
    use protocol::limits::Limits;

    fn three_with(ready_counts: [u64; 3]) -> (Subscribers, [SubscriberKey; 3]) {
        let mut subscribers = Subscribers::default();
        let keys = [(); 3].map(|()| {
            subscribers.insert(Terms {
                connection: ConnectionKey::default(),
                message_timeout: Duration::from_secs(60),
                sample_rate: 0,
                locality: Locality::default(),
            })
        });
        for (key, ready_count) in keys.into_iter().zip(ready_counts) {
            subscribers.set_ready_count(key, ready_count);
        }
        (subscribers, keys)
    }

    #[test]
    fn the_ready_count_is_a_window_and_not_a_credit() {
        let (mut subscribers, [ann, ..]) = three_with([2, 0, 0]);
        assert_eq!(subscribers.next(10), Some((ann, 2)));
        subscribers.sent(ann, 2);
        assert_eq!(subscribers.next(10), None);
        subscribers.returned(ann, Returned::Finished);
        assert_eq!(subscribers.next(10), Some((ann, 1)));
    }

    #[test]
    fn what_waits_is_shared_out_and_the_line_goes_round() {
        let (mut subscribers, [ann, bob, eve]) = three_with([100, 1, 100]);
        assert_eq!(subscribers.next(30), Some((ann, 10)));
        assert_eq!(subscribers.next(20), Some((bob, 1)));
        assert_eq!(subscribers.next(20), Some((eve, 7)));
        assert_eq!(subscribers.next(20), Some((ann, 7)));
    }

    #[test]
    fn whoever_is_nearer_goes_first_as_long_as_the_window_allows() {
        let mut subscribers = Subscribers::default();
        let broker = offer("r", "z");
        let mut subscribe = |region: &str, zone: &str| {
            let consumer = Settings {
                topology_region: region.to_owned(),
                topology_zone: zone.to_owned(),
                ..Settings::default_for("", &Limits::default())
            };
            subscribers.insert(Terms {
                connection: ConnectionKey::default(),
                message_timeout: Duration::from_secs(60),
                sample_rate: 0,
                locality: Locality::of(&consumer, &broker),
            })
        };
        let [far, near, nearest] = [subscribe("q", "y"), subscribe("r", "y"), subscribe("r", "z")];
        for key in [far, near, nearest] {
            subscribers.set_ready_count(key, 2);
        }
        for (taken, key) in [(2, nearest), (2, near), (2, far)] {
            assert_eq!(subscribers.next(10), Some((key, taken)));
            subscribers.sent(key, taken);
        }
        assert_eq!(subscribers.next(10), None);
        for key in [far, nearest] {
            subscribers.returned(key, Returned::Finished);
        }
        assert_eq!(subscribers.next(10), Some((nearest, 1)));
        subscribers.remove(nearest);
        assert_eq!(subscribers.next(10), Some((far, 1)));
    }

    fn offer(region: &str, zone: &str) -> Offer {
        Offer {
            version: String::new(),
            tls: false,
            snappy: false,
            deflate: false,
            max_deflate_level: 1,
            auth_required: false,
            topology_region: region.to_owned(),
            topology_zone: zone.to_owned(),
        }
    }

    #[test]
    fn those_who_left_stand_in_line_no_more() {
        let (mut subscribers, [ann, bob, eve]) = three_with([10, 10, 10]);
        subscribers.remove(ann);
        subscribers.remove(eve);
        assert_eq!(subscribers.next(10), Some((bob, 10)), "it shares with nobody");
        subscribers.remove(bob);
        assert!(subscribers.lines.iter().all(VecDeque::is_empty));
    }

    #[test]
    fn a_congested_client_gets_nothing_until_it_has_room() {
        let (mut subscribers, [ann, ..]) = three_with([5, 0, 0]);
        subscribers.set_congested(ann, true);
        assert_eq!(subscribers.next(1), None);
        subscribers.set_congested(ann, false);
        assert_eq!(subscribers.next(1), Some((ann, 1)));
    }

    #[test]
    fn a_successor_in_the_same_slot_is_somebody_else() {
        let (mut subscribers, [ann, ..]) = three_with([1, 0, 0]);
        subscribers.remove(ann);
        let successor = subscribers.insert(Terms {
            connection: ConnectionKey::default(),
            message_timeout: Duration::from_secs(1),
            sample_rate: 0,
            locality: Locality::default(),
        });
        assert!(subscribers.get(ann).is_none());
        subscribers.returned(ann, Returned::TimedOut);
        assert_eq!(subscribers.get(successor).unwrap().in_flight, 0);
        assert_eq!(subscribers.next(1), None);
    }
}
