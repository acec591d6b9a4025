//! What time it is. The only file here that asks.

#![expect(clippy::disallowed_methods, reason = "this is the clock that all others ask")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::registry::Moment;

/// The clock of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), start_unix: since_1970() }
    }

    /// When it was started, since 1970.
    pub(crate) fn start_unix(self) -> Duration {
        self.start_unix
    }

    /// Now, on both clocks.
    pub(crate) fn now(self) -> Moment {
        Moment {
            since_start: self.start.elapsed(),
            unix_nanoseconds: i64::try_from(since_1970().as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
