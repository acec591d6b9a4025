//! When a connection is sent a heartbeat, and when it is given up.
//!
//! Rules (NSQ behaviour): a heartbeat goes out every interval whatever else is sent; a client from
//! which no command came for two intervals is closed; so is one that takes no bytes for one
//! interval. With heartbeats off there are no deadlines either.

use crate::clock::Tick;
use std::time::Duration;

/// The heartbeat of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    interval: Option<Duration>,
    next: Tick,
    last_command: Tick,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing; look again at this tick.
    Nothing(Tick),
    /// Send a heartbeat; look again at once.
    Beat,
    /// Give the connection up.
    GiveUp,
    /// Nothing, ever: heartbeats are off.
    Never,
}

impl Heartbeat {
    /// Starts to beat.
    pub fn start(interval: Option<Duration>, now: Tick) -> Self {
        Self {
            interval,
            next: interval.map_or(now, |interval| now.plus(interval)),
            last_command: now,
        }
    }

    /// A command came.
    pub fn heard(&mut self, now: Tick) {
        self.last_command = now;
    }

    /// What is to be done at `now`, for a peer that takes no bytes since `blocked_since`.
    pub fn due(&mut self, now: Tick, blocked_since: Option<Tick>) -> Due {
        let Some(interval) = self.interval else { return Due::Never };
        let silent_until = self.last_command.plus(interval).plus(interval);
        let blocked_until = blocked_since.map_or(silent_until, |since| since.plus(interval));
        if silent_until <= now || blocked_until <= now {
            return Due::GiveUp;
        }
        if self.next <= now {
            // One beat, however late: a burst would tell the client nothing.
            self.next = now.plus(interval);
            return Due::Beat;
        }
        Due::Nothing(self.next.min(silent_until).min(blocked_until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_silent_client_gets_one_beat_and_is_given_up_after_two_intervals() {
        let mut heartbeat = Heartbeat::start(Some(Duration::from_secs(1)), Tick(0));
        assert_eq!(heartbeat.due(Tick(0), None), Due::Nothing(Tick(SECOND)));
        assert_eq!(heartbeat.due(Tick(SECOND), None), Due::Beat);
        assert_eq!(heartbeat.due(Tick(SECOND), None), Due::Nothing(Tick(2 * SECOND)));
        assert_eq!(heartbeat.due(Tick(2 * SECOND), None), Due::GiveUp);
    }

    #[test]
    fn a_command_is_a_life_sign_and_beats_go_on_all_the_same() {
        let mut heartbeat = Heartbeat::start(Some(Duration::from_secs(1)), Tick(0));
        heartbeat.heard(Tick(SECOND - 1));
        assert_eq!(heartbeat.due(Tick(SECOND), None), Due::Beat);
        heartbeat.heard(Tick(2 * SECOND - 1));
        assert_eq!(heartbeat.due(Tick(2 * SECOND), None), Due::Beat);
    }

    #[test]
    fn a_client_that_takes_no_bytes_is_given_up_after_one_interval() {
        let mut heartbeat = Heartbeat::start(Some(Duration::from_secs(1)), Tick(0));
        heartbeat.heard(Tick(SECOND / 2));
        assert_eq!(
            heartbeat.due(Tick(SECOND / 2), Some(Tick(SECOND / 4))),
            Due::Nothing(Tick(SECOND))
        );
        assert_eq!(heartbeat.due(Tick(SECOND * 5 / 4), Some(Tick(SECOND / 4))), Due::GiveUp);
    }

    #[test]
    fn without_heartbeats_there_are_no_deadlines() {
        let mut heartbeat = Heartbeat::start(None, Tick(0));
        assert_eq!(heartbeat.due(Tick(u64::MAX), Some(Tick(0))), Due::Never);
    }
}
