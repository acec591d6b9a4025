//! When the alarms ring that one topic or connection has set.
//!
//! An alarm that is set cannot be taken back, so each of them knows all of its own: one that comes
//! late is not set again each time an earlier one has rung. Does not know: who rings them.

use crate::clock::Tick;

/// See the head of this file. As many as were set and have not rung.
#[derive(Debug, Default)]
pub struct Rings {
    /// Invariant: falling, so the next one is the last.
    times: Vec<Tick>,
}

impl Rings {
    /// Notes that there must be an alarm at `at` or before; true when it has to be set.
    pub fn want(&mut self, at: Tick) -> bool {
        let is_earlier = self.times.last().is_none_or(|next| at < *next);
        if is_earlier {
            self.times.push(at);
        }
        is_earlier
    }

    /// Forgets those that rang at `now` or before; true when there was one.
    pub fn rang(&mut self, now: Tick) -> bool {
        let before = self.times.len();
        while self.times.pop_if(|next| *next <= now).is_some() {}
        self.times.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_alarm_is_set_once_however_many_early_ones_come_before_it() {
        let mut rings = Rings::default();
        assert!(rings.want(Tick(1_000)));
        for at in 1..1_000 {
            assert!(rings.want(Tick(at)), "an early one at {at}");
            assert!(!rings.want(Tick(at)));
            assert!(!rings.rang(Tick(at - 1)));
            assert!(rings.rang(Tick(at)));
            assert!(!rings.want(Tick(1_000)), "the late one is set");
        }
        assert!(rings.rang(Tick(1_000)));
        assert!(!rings.rang(Tick(1_000)));
        assert!(rings.want(Tick(2_000)));
    }
}
