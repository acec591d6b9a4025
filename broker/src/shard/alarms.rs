//! What a core has to do at a time.
//!
//! One heap for all topics and connections of the core, one timer behind it. Each of them remembers
//! when its own alarms ring ([`crate::rings`]) and sets another only for an earlier time than all of them.
//! When that one has rung, a later one that was set before still rings, and is not set again.

use crate::clock::Tick;
use crate::keys::{ConnectionKey, TopicKey};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Whom an alarm wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Messages of a topic time out or are due.
    Topic(TopicKey),
    /// A connection's heartbeat or deadline.
    Connection(ConnectionKey),
    /// Changed topics want their checkpoints.
    Checkpoint,
    /// Topics that were not used lately are to close their files.
    Rest,
    /// Logs are due to be synced.
    Sync,
    /// The list of topics could not be written, and is tried again.
    List,
}

/// The alarms of one core.
#[derive(Debug, Default)]
pub struct Alarms {
    by_time: BinaryHeap<Reverse<(Tick, Alarm)>>,
    /// The first alarm is not the one that the timer was told of.
    first_changed: bool,
}

impl Alarms {
    /// Rings `alarm` at `at`.
    pub fn set(&mut self, at: Tick, alarm: Alarm) {
        self.first_changed |= self.next().is_none_or(|next| at < next);
        self.by_time.push(Reverse((at, alarm)));
    }

    /// Whether an alarm was set that rings before all others, since this was asked last.
    pub fn take_first_changed(&mut self) -> bool {
        std::mem::take(&mut self.first_changed)
    }

    /// When the next one rings.
    pub fn next(&self) -> Option<Tick> {
        self.by_time.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next one that rings at `now` or before.
    pub fn take_due(&mut self, now: Tick) -> Option<Alarm> {
        if self.next()? <= now { self.by_time.pop().map(|Reverse((_, alarm))| alarm) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_ring_in_order_of_their_time() {
        let mut alarms = Alarms::default();
        alarms.set(Tick(20), Alarm::Checkpoint);
        alarms.set(Tick(10), Alarm::Topic(TopicKey::default()));
        assert_eq!(alarms.take_due(Tick(9)), None);
        assert_eq!(alarms.take_due(Tick(20)), Some(Alarm::Topic(TopicKey::default())));
        assert_eq!(alarms.take_due(Tick(20)), Some(Alarm::Checkpoint));
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn only_an_alarm_before_all_others_changes_the_first() {
        let mut alarms = Alarms::default();
        let mut set = |at| {
            alarms.set(Tick(at), Alarm::Checkpoint);
            alarms.take_first_changed()
        };
        assert_eq!([20, 30, 10, 10].map(&mut set), [true, false, true, false]);
    }
}
