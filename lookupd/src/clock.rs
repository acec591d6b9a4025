//! What time it is. The only file here that asks.

#![expect(clippy::disallowed_methods, reason = "this is the clock that all others ask")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::registry::Moment;

/// The clock of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now, on both clocks.
    pub(crate) fn now(self) -> Moment {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            since_start: self.start.elapsed(),
            unix_nanoseconds: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}
