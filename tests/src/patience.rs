//! Waiting for something to become true, with an end. Knows only the clock.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should come at once: long enough for a busy machine. It costs
/// nothing where all is well, so no test waits for its end.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks until there is an answer, and returns it.
///
/// # Panics
/// When there is none within `limit`; the message names `what`.
pub fn eventually<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
