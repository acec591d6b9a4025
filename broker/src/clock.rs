//! Time, read in one place.
//!
//! Everything that thinks takes a [`Now`] as an argument; only the edge of a shard reads the
//! clocks, once a turn.

use crate::message::Timestamp;
use std::time::Duration;

/// Nanoseconds since this process started, from a clock that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `after` from this one.
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(after)))
    }

    /// How long it is from `earlier` to this tick; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub tick: Tick,
    /// For timestamps that clients and the disk see.
    pub wall: Timestamp,
}

impl Now {
    /// The tick at which the wall clock will show `due`, as far as the two agree now.
    pub fn tick_of(self, due: Timestamp) -> Tick {
        let ahead = due.0.saturating_sub(self.wall.0);
        Tick(self.tick.0.saturating_add(u64::try_from(ahead).unwrap_or(0)))
    }

    /// What the wall clock will show at `tick`, as far as the two agree now.
    pub fn wall_of(self, tick: Tick) -> Timestamp {
        let ahead = i64::try_from(tick.0.saturating_sub(self.tick.0)).unwrap_or(i64::MAX);
        Timestamp(self.wall.0.saturating_add(ahead))
    }
}

/// A duration as whole nanoseconds, at most what 64 bits hold (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The clocks of this process. One value is made at the start and copied to every shard.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
impl Clock {
    /// A clock whose ticks start now.
    pub fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        Now { tick: Tick(nanoseconds(self.started.elapsed())), wall: Timestamp(wall) }
    }

    /// What the calling thread has had of its processor's time. A system call, unlike [`Self::now`].
    pub fn processor_time(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_in_the_past_is_due_now() {
        let now = Now { tick: Tick(50), wall: Timestamp(1_000) };
        assert_eq!(now.tick_of(Timestamp(900)), Tick(50));
        assert_eq!(now.tick_of(Timestamp(1_020)), Tick(70));
        assert_eq!(now.wall_of(Tick(70)), Timestamp(1_020));
    }
}
