//! How far a publishing is, how fast it may go, and how long it will take.
//!
//! Time comes in as an argument. Does not know: what is published, or the terminal.

use std::time::Duration;

use super::super::columns::counted;
use super::super::figures;

/// How long the bar is, in characters.
const BAR_WIDTH: u64 = 20;

/// What has been published so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) messages: u64,
    /// Of the files, as far as their lines are published.
    pub(super) bytes: u64,
    /// Of all files together; `None` where one has no length.
    pub(super) total: Option<u64>,
}

impl Progress {
    /// How long to wait, at `elapsed` since the start, so that the next messages do not come faster than
    /// so many a second on the average.
    pub(super) fn pause(&self, rate: u64, elapsed: Duration) -> Duration {
        if rate == 0 {
            return Duration::ZERO;
        }
        let nanoseconds = u128::from(self.messages) * 1_000_000_000 / u128::from(rate);
        let due = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        due.saturating_sub(elapsed)
    }

    /// One line of less than 80 characters, at `elapsed` since the start.
    pub(super) fn line(&self, elapsed: Duration) -> String {
        let messages = counted(i128::from(self.messages), "message");
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
        let rate = self.messages as f64 / elapsed.as_secs_f64().max(0.001);
        let rate = figures::rate(rate, 7);
        let Some(total) = self.total.filter(|total| 0 < *total) else {
            return format!("{messages}  {rate}/s  {}", clock(elapsed));
        };
        let bytes = self.bytes.min(total);
        let part = |whole: u64| {
            let part = u128::from(bytes) * u128::from(whole) / u128::from(total);
            usize::try_from(part).expect("a part of a small whole")
        };
        let (full, percent) = (part(BAR_WIDTH), part(100));
        let empty = part_left(full);
        let left = match bytes {
            0 => "-".to_owned(),
            bytes => clock(elapsed.mul_f64(ratio(total - bytes, bytes))),
        };
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(empty));
        format!("[{bar}] {percent:3}%  {messages}  {rate}/s  {left} left")
    }
}

fn part_left(full: usize) -> usize {
    usize::try_from(BAR_WIDTH).expect("it is short").saturating_sub(full)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(rest: u64, done: u64) -> f64 {
    // What takes longer than a thousand times as long as so far is not known any better.
    (rest as f64 / done as f64).min(1e3)
}

/// `0:07`, `12:30`, `1:02:03`, `5 days`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if 100 <= hours {
        format!("{} days", hours / 24)
    } else if hours == 0 {
        format!("{minutes}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bar_tells_count_rate_and_time_left_in_less_than_80_characters() {
        let half = Progress { messages: 12_340, bytes: 500, total: Some(1_000) };
        assert_eq!(
            half.line(10 * SECOND),
            "[##########..........]  50%  12,340 messages  1234/s  0:10 left"
        );
        let begun = Progress { total: Some(1_000), ..Progress::default() };
        assert_eq!(
            begun.line(Duration::ZERO),
            "[....................]   0%  0 messages  0/s  - left"
        );
        let done = Progress { messages: 1, bytes: 1_001, total: Some(1_000) };
        assert_eq!(
            done.line(4 * SECOND),
            "[####################] 100%  1 message  0.2/s  0:00 left"
        );
        let long = Progress { messages: 12_345_678_901, bytes: 1, total: Some(u64::MAX) };
        assert!(long.line(360_000 * SECOND).len() < 80, "{}", long.line(360_000 * SECOND));
    }

    #[test]
    fn without_a_length_the_time_that_has_gone_by_is_told() {
        for total in [None, Some(0)] {
            let progress = Progress { messages: 30, bytes: 0, total };
            assert_eq!(progress.line(3_723 * SECOND), "30 messages  0.0/s  1:02:03");
        }
    }

    #[test]
    fn a_rate_holds_on_the_average() {
        let after = |messages| Progress { messages, ..Progress::default() };
        for (messages, rate, elapsed, pause) in [
            (0, 10, 0, 0),
            (10, 10, 0, 1_000),
            (10, 10, 400, 600),
            (10, 10, 5_000, 0),
            (1, 3, 0, 333),
            (1_000_000, 0, 0, 0),
        ] {
            let pause_found = after(messages).pause(rate, Duration::from_millis(elapsed));
            assert_eq!(pause_found.as_millis(), pause, "{messages} at {rate}/s after {elapsed} ms");
        }
        assert_eq!(after(u64::MAX).pause(1, Duration::ZERO), Duration::from_nanos(u64::MAX));
    }
}
