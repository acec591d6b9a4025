//! Messages that were given to a client and are not finished, requeued or timed out.
//!
//! Knows: who holds which message until when. Does not know: sockets, logs, the wall clock.
//! Lives on the core that owns the topic.
//!
//! A channel hands messages out in order, so those in flight lie close together: they stand in a
//! dense window indexed by sequence, and FIN finds its entry without a hash. What stays behind
//! while the window moves on is moved to a sparse table, so that one slow message never costs
//! memory for all that came after it.

use super::latency::Age;
use crate::clock::Tick;
use crate::keys::SubscriberKey;
use crate::message::Sequence;
use std::collections::{BTreeMap, VecDeque};

/// The window is never longer than this many slots for each message in it, plus `WINDOW_SLACK`.
const SLOTS_PER_MESSAGE: usize = 8;
const WINDOW_SLACK: usize = 1024;

/// One delivery that its client still owes an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who holds the message.
    pub subscriber: SubscriberKey,
    /// How often the message was sent, this time included.
    pub attempts: u16,
    /// When it was sent: TOUCH cannot push the deadline further than a limit from here.
    pub sent: Tick,
    /// When it goes to somebody else.
    pub deadline: Tick,
    /// How old it was then, where that is measured.
    pub age: Age,
    /// It did not come in order: what happens to it is told of by itself ([`super::changes`]).
    pub is_noted: bool,
}

/// The table of deliveries of one channel.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Slot `i` belongs to sequence `base + i`. Invariant: the first slot is taken, or there is none.
    window: VecDeque<Option<Delivery>>,
    base: Sequence,
    /// How many slots of the window are taken.
    window_taken: usize,
    /// Invariant: all of them below `base`.
    stragglers: BTreeMap<Sequence, Delivery>,
    /// No delivery has a deadline before this.
    earliest_deadline: Option<Tick>,
}

impl InFlight {
    /// How many messages are in flight.
    pub fn len(&self) -> usize {
        self.window_taken + self.stragglers.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes that `sequence` was sent. It must not be in flight already.
    pub fn insert(&mut self, sequence: Sequence, delivery: Delivery) {
        if self.earliest_deadline.is_none_or(|earliest| delivery.deadline < earliest) {
            self.earliest_deadline = Some(delivery.deadline);
        }
        if self.window.is_empty() && (self.base <= sequence || self.stragglers.is_empty()) {
            self.base = sequence;
        }
        if sequence < self.base {
            self.stragglers.insert(sequence, delivery);
            return;
        }
        let slot = sequence - self.base;
        let limit = SLOTS_PER_MESSAGE * (self.window_taken + 1) + WINDOW_SLACK;
        if u64::try_from(limit).unwrap_or(u64::MAX) <= slot {
            self.leave_window_behind();
            self.base = sequence;
        }
        let slot = usize::try_from(sequence - self.base).expect("the window is short");
        while self.window.len() <= slot {
            self.window.push_back(None);
        }
        debug_assert!(self.window[slot].is_none(), "a message is in flight once");
        self.window[slot] = Some(delivery);
        self.window_taken += 1;
    }

    /// The delivery of `sequence`, if it is in flight.
    pub fn get(&self, sequence: Sequence) -> Option<&Delivery> {
        match self.slot(sequence) {
            Some(slot) => self.window.get(slot)?.as_ref(),
            None => self.stragglers.get(&sequence),
        }
    }

    /// Moves the deadline of `sequence`, which must be in flight.
    pub fn set_deadline(&mut self, sequence: Sequence, deadline: Tick) {
        let delivery = match self.slot(sequence) {
            Some(slot) => self.window.get_mut(slot).and_then(Option::as_mut),
            None => self.stragglers.get_mut(&sequence),
        };
        delivery.expect("the caller saw it in flight").deadline = deadline;
        if self.earliest_deadline.is_none_or(|earliest| deadline < earliest) {
            self.earliest_deadline = Some(deadline);
        }
    }

    /// Takes `sequence` out.
    pub fn remove(&mut self, sequence: Sequence) -> Option<Delivery> {
        let Some(slot) = self.slot(sequence) else {
            return self.stragglers.remove(&sequence);
        };
        let delivery = self.window.get_mut(slot)?.take()?;
        self.window_taken -= 1;
        self.close_up();
        Some(delivery)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A tick before which nothing times out; `None` when nothing is in flight.
    ///
    /// May lie earlier than the true next deadline, since a finished message leaves it where it
    /// was: the next [`Self::take_expired`] corrects it.
    pub fn wake_at(&self) -> Option<Tick> {
        if self.is_empty() { None } else { self.earliest_deadline }
    }

    /// Takes out all whose deadline is `now` or earlier, in order of their sequence.
    ///
    /// Looks at every message in flight, so callers ask only when [`Self::wake_at`] has come: with
    /// steady traffic that is about once a message timeout, whatever the number of messages.
    pub fn take_expired(&mut self, now: Tick) -> Vec<(Sequence, Delivery)> {
        let mut earliest = None;
        let mut expired = Vec::new();
        let mut keep = |sequence, delivery: &Delivery| {
            if delivery.deadline <= now {
                expired.push((sequence, *delivery));
                false
            } else {
                earliest = Some(earliest.map_or(delivery.deadline, |e| delivery.deadline.min(e)));
                true
            }
        };
        self.stragglers.retain(|&sequence, delivery| keep(sequence, delivery));
        for (index, slot) in self.window.iter_mut().enumerate() {
            if let Some(delivery) = slot
                && !keep(self.base + index as u64, delivery)
            {
                *slot = None;
                self.window_taken -= 1;
            }
        }
        self.earliest_deadline = earliest;
        self.close_up();
        expired
    }

    /// The lowest sequence in flight.
    pub fn lowest(&self) -> Option<Sequence> {
        self.stragglers.keys().next().copied().or((self.window_taken != 0).then_some(self.base))
    }

    /// All that is in flight, in order of sequence.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, &Delivery)> {
        let stragglers = self.stragglers.iter().map(|(&sequence, delivery)| (sequence, delivery));
        let window = self
            .window
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| Some((self.base + i as u64, slot.as_ref()?)));
        stragglers.chain(window)
    }

    /// What is in flight from `start` on, in order of sequence.
    pub fn iter_from(&self, start: Sequence) -> impl Iterator<Item = (Sequence, &Delivery)> {
        let stragglers = self.stragglers.range(start..);
        let stragglers = stragglers.map(|(&sequence, delivery)| (sequence, delivery));
        let first = self.slot(start).unwrap_or(0).min(self.window.len());
        let window = self.window.range(first..).enumerate();
        let window = window
            .filter_map(move |(i, slot)| Some((self.base + (first + i) as u64, slot.as_ref()?)));
        stragglers.chain(window)
    }

    fn slot(&self, sequence: Sequence) -> Option<usize> {
        if sequence < self.base { None } else { usize::try_from(sequence - self.base).ok() }
    }

    /// Drops free slots at the front, and moves what lags behind a long, mostly free window.
    fn close_up(&mut self) {
        loop {
            match self.window.front() {
                Some(None) => {}
                Some(Some(_))
                    if SLOTS_PER_MESSAGE * self.window_taken + WINDOW_SLACK < self.window.len() => {
                }
                _ => return,
            }
            if let Some(Some(delivery)) = self.window.pop_front() {
                self.stragglers.insert(self.base, delivery);
                self.window_taken -= 1;
            }
            self.base = self.base.next();
        }
    }

    fn leave_window_behind(&mut self) {
        for (index, slot) in std::mem::take(&mut self.window).into_iter().enumerate() {
            if let Some(delivery) = slot {
                self.stragglers.insert(self.base + index as u64, delivery);
            }
        }
        self.window_taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held_until(deadline: u64) -> Delivery {
        Delivery {
            subscriber: SubscriberKey::default(),
            attempts: 1,
            sent: Tick(0),
            deadline: Tick(deadline),
            age: Age::default(),
            is_noted: false,
        }
    }

    #[test]
    fn an_age_takes_room_that_was_free() {
        assert_eq!(size_of::<Option<Delivery>>(), 32);
    }

    #[test]
    fn a_message_can_be_taken_out_once() {
        let mut in_flight = InFlight::default();
        in_flight.insert(Sequence(7), held_until(10));
        assert_eq!(in_flight.remove(Sequence(7)), Some(held_until(10)));
        assert_eq!(in_flight.remove(Sequence(7)), None);
        assert_eq!(in_flight.wake_at(), None);
    }

    #[test]
    fn a_deadline_is_reached_at_its_tick_and_not_before() {
        let mut in_flight = InFlight::default();
        in_flight.insert(Sequence(1), held_until(10));
        in_flight.insert(Sequence(2), held_until(20));
        assert_eq!(in_flight.wake_at(), Some(Tick(10)));
        assert_eq!(in_flight.take_expired(Tick(9)), []);
        assert_eq!(in_flight.take_expired(Tick(10)), [(Sequence(1), held_until(10))]);
        assert_eq!(in_flight.wake_at(), Some(Tick(20)));
    }

    #[test]
    fn one_slow_message_does_not_keep_slots_for_those_after_it() {
        let mut in_flight = InFlight::default();
        in_flight.insert(Sequence(0), held_until(10));
        for sequence in 1..100_000 {
            in_flight.insert(Sequence(sequence), held_until(10));
            in_flight.remove(Sequence(sequence));
        }
        assert!(in_flight.window.len() <= WINDOW_SLACK + SLOTS_PER_MESSAGE);
        assert_eq!(in_flight.lowest(), Some(Sequence(0)));
        assert_eq!(in_flight.len(), 1);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_map(
            steps in prop::collection::vec((0_u8..4, 0_u64..40_000, 1_u64..50), 1..200),
        ) {
            let mut in_flight = InFlight::default();
            let mut model = BTreeMap::new();
            for (kind, sequence, time) in steps {
                let sequence = Sequence(sequence);
                match kind {
                    0 | 1 => {
                        if let std::collections::btree_map::Entry::Vacant(vacant) =
                            model.entry(sequence)
                        {
                            vacant.insert(held_until(time));
                            in_flight.insert(sequence, held_until(time));
                        }
                    }
                    2 => {
                        let lowest = model.keys().next().copied().unwrap_or(sequence);
                        prop_assert_eq!(in_flight.remove(lowest), model.remove(&lowest));
                    }
                    _ => {
                        let expired: Vec<_> = model
                            .iter()
                            .filter(|(_, delivery)| delivery.deadline <= Tick(time))
                            .map(|(&sequence, &delivery)| (sequence, delivery))
                            .collect();
                        model.retain(|_, delivery| Tick(time) < delivery.deadline);
                        prop_assert_eq!(in_flight.take_expired(Tick(time)), expired);
                    }
                }
                prop_assert_eq!(in_flight.len(), model.len());
                prop_assert_eq!(in_flight.lowest(), model.keys().next().copied());
                let all: Vec<_> = in_flight.iter().map(|(s, d)| (s, *d)).collect();
                let expected: Vec<_> = model.iter().map(|(&s, &d)| (s, d)).collect();
                let later: Vec<_> = in_flight.iter_from(sequence).map(|(s, d)| (s, *d)).collect();
                prop_assert_eq!(&later, &all[all.partition_point(|(s, _)| *s < sequence)..]);
                prop_assert_eq!(all, expected);
                let earliest = model.values().map(|delivery| delivery.deadline).min();
                prop_assert_eq!(in_flight.wake_at().is_some(), earliest.is_some());
                prop_assert!(in_flight.wake_at() <= earliest);
            }
        }
    }
}
