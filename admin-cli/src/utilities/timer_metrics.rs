//! How long the last so many things took, in a line every so many of them.
//!
//! ```text
//! [aggregate]: finished 250 - 99th: 0.91ms - 95th: 0.88ms - avg: 0.77ms
//! ```
//!
//! Rule (NSQ behaviour): the line comes when the first of the next `every` is done, which already
//! counts; so the first line comes after one more than `every`. A negative `every` gives a line each
//! time.
//!
//! Does not know: what took so long, the time, or where the line goes.

use std::time::Duration;

/// The durations of the last `every` things.
#[derive(Debug)]
pub(crate) struct TimerMetrics {
    every: i64,
    prefix: String,
    /// At most `every`.
    durations: Vec<Duration>,
    /// Where the next one goes.
    next: usize,
}

/// What to say about `every` before anything is measured.
pub(crate) fn warning(every: i64) -> Option<String> {
    (0 < every && every < 100).then(|| {
        format!(
            "Warning: use more than 100 status values for accurate percentiles (configured with {every})"
        )
    })
}

impl TimerMetrics {
    /// A line that begins with `prefix` every `every` durations; never, when that is 0.
    pub(crate) fn new(every: i64, prefix: impl Into<String>) -> Self {
        Self { every, prefix: prefix.into(), durations: Vec::new(), next: 0 }
    }

    /// Something is done, and this is how long it took. The line, when it is time for it.
    pub(crate) fn done(&mut self, took: Duration) -> Option<String> {
        if self.every == 0 {
            return None;
        }
        let room = usize::try_from(self.every).unwrap_or(0);
        let is_full = room <= self.next;
        if is_full {
            self.next = 0;
        }
        match self.durations.get_mut(self.next) {
            Some(oldest) => *oldest = took,
            None => self.durations.push(took),
        }
        self.next += 1;
        is_full.then(|| self.line())
    }

    fn line(&self) -> String {
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        let count = sorted.len();
        let total: u128 = sorted.iter().map(Duration::as_nanos).sum();
        let average = total / u128::try_from(count.max(1)).expect("a count is small");
        let average = Duration::from_nanos(u64::try_from(average).unwrap_or(u64::MAX));
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        format!(
            "{} finished {count} - 99th: {:.2}ms - 95th: {:.2}ms - avg: {:.2}ms",
            self.prefix,
            milliseconds(percentile(99.0, &sorted)),
            milliseconds(percentile(95.0, &sorted)),
            milliseconds(average),
        )
    }
}

/// The duration at the place that is half a place, rounded up, behind this share of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "NSQ reckons with floats, and a place is small"
)]
fn percentile(percent: f64, sorted: &[Duration]) -> Duration {
    let place = (percent / 100.0 * sorted.len() as f64 + 0.5).ceil() as usize;
    sorted.get(place).or(sorted.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that durations of so many microseconds give.
    fn lines(every: i64, microseconds: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
        let mut metrics = TimerMetrics::new(every, "[aggregate]:");
        let lines = microseconds.into_iter().filter_map(|microseconds| {
            Some((microseconds, metrics.done(Duration::from_micros(microseconds))?))
        });
        lines.collect()
    }

    #[test]
    fn a_line_comes_with_the_first_of_each_next_round() {
        let expected = [
            (3, "[aggregate]: finished 2 - 99th: 0.00ms - 95th: 0.00ms - avg: 0.00ms"),
            (5, "[aggregate]: finished 2 - 99th: 0.01ms - 95th: 0.01ms - avg: 0.00ms"),
        ];
        assert_eq!(lines(2, 1..=6), expected.map(|(at, line)| (at, line.to_owned())));
    }

    #[test]
    fn percentiles_are_taken_from_the_last_round_whatever_the_order() {
        let thousand = lines(250, (1..=1_001).rev().map(|ms| ms * 1_000));
        assert_eq!(thousand.len(), 4);
        let (at, line) = &thousand[3];
        assert_eq!(*at, 1_000);
        // 251..=2 ms, of which the first made room for 1 ms. 0.99 * 250 + 0.5 = 248; 0.95 * 250 + 0.5 = 238.
        assert_eq!(
            line,
            "[aggregate]: finished 250 - 99th: 249.00ms - 95th: 239.00ms - avg: 125.50ms"
        );
    }

    #[test]
    fn zero_says_nothing_and_less_than_zero_says_something_each_time() {
        assert_eq!(lines(0, 1..=10), []);
        let each = lines(-5, [1_234, 5_678]);
        assert_eq!(each.len(), 2);
        assert_eq!(
            each[1].1,
            "[aggregate]: finished 1 - 99th: 5.68ms - 95th: 5.68ms - avg: 5.68ms"
        );
    }

    #[test]
    fn few_values_are_warned_about() {
        assert_eq!(
            warning(99).as_deref(),
            Some(
                "Warning: use more than 100 status values for accurate percentiles \
                 (configured with 99)"
            )
        );
        assert_eq!([warning(0), warning(100), warning(-1)], [None, None, None]);
    }
}
