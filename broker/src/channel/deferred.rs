//! Messages that wait for a time: deferred by their publisher, or requeued with a delay.
//!
//! Knows: which message is due when. Lives on the core that owns the topic. Its size is the number
//! of deferred messages; each takes 24 bytes, whatever the length of its body.

use crate::clock::Tick;
use crate::message::Sequence;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A message that becomes deliverable at `due`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deferral {
    /// When it joins the queue.
    pub due: Tick,
    /// Which message.
    pub sequence: Sequence,
    /// How often it was sent so far.
    pub attempts: u16,
}

/// The deferred messages of one channel, the earliest first.
#[derive(Debug, Default)]
pub struct Deferred {
    by_due: BinaryHeap<Reverse<Deferral>>,
}

impl Deferred {
    /// How many messages are deferred.
    pub fn len(&self) -> usize {
        self.by_due.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_due.is_empty()
    }

    /// Adds one.
    pub fn insert(&mut self, deferral: Deferral) {
        self.by_due.push(Reverse(deferral));
    }

    /// When the next one is due.
    pub fn wake_at(&self) -> Option<Tick> {
        self.by_due.peek().map(|Reverse(deferral)| deferral.due)
    }

    /// Takes the next one that is due at `now`.
    pub fn take_due(&mut self, now: Tick) -> Option<Deferral> {
        if self.wake_at()? <= now { self.by_due.pop().map(|Reverse(next)| next) } else { None }
    }

    /// Takes out all messages below `start`.
    pub fn forget_below(&mut self, start: Sequence) {
        self.by_due.retain(|Reverse(deferral)| start <= deferral.sequence);
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.by_due.clear();
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Deferral> {
        self.by_due.iter().map(|Reverse(deferral)| deferral)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_none_before_its_time() {
        let mut deferred = Deferred::default();
        for (due, sequence) in [(30, 1), (10, 2), (20, 3)] {
            deferred.insert(Deferral { due: Tick(due), sequence: Sequence(sequence), attempts: 0 });
        }
        assert_eq!(deferred.wake_at(), Some(Tick(10)));
        assert_eq!(deferred.take_due(Tick(9)), None);
        let order: Vec<_> = std::iter::from_fn(|| deferred.take_due(Tick(20)))
            .map(|deferral| deferral.sequence.0)
            .collect();
        assert_eq!(order, [2, 3]);
        assert_eq!(deferred.len(), 1);
    }
}
