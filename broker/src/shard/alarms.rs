//! What a core has to do at a time.
//!
//! One heap for all topics and connections of the core, one timer behind it. Each of them remembers
//! when its own alarm rings and sets another only for an earlier time; the later one then rings all
//! the same, and is recognized by that and ignored. So nobody has more alarms than they set.

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
}

/// The alarms of one core.
#[derive(Debug, Default)]
pub struct Alarms {
    by_time: BinaryHeap<Reverse<(Tick, Alarm)>>,
}

impl Alarms {
    /// Rings `alarm` at `at`.
    pub fn set(&mut self, at: Tick, alarm: Alarm) {
        self.by_time.push(Reverse((at, alarm)));
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
}
