//! How long messages of a channel took from publish to FIN, as far as anybody wants to know.
//!
//! Knows: a sliding window of two halves (NSQ behaviour): the older one is forgotten when the newer
//! one is full, so that between half a window and a whole one is shown. Does not know: messages, and
//! which quantiles are shown.
//!
//! A half is a histogram with 128 steps for every doubling, so a value is off by less than one
//! percent. It takes [`HALF_BYTES_MAX`] bytes, whatever is measured, and nothing before the first FIN.

use crate::clock::Tick;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Shorter times count as this one.
const NANOSECONDS_MIN: u64 = 1 << 10;
/// Longer times (13 days) count as this one.
const NANOSECONDS_MAX: u64 = 1 << 50;
/// Digits that are kept of a time.
const DIGITS: u8 = 2;

/// What one half of a window takes at most.
pub const HALF_BYTES_MAX: usize = 20 << 10;

/// See the head of this file.
#[derive(Debug)]
pub struct Latency {
    half: Duration,
    /// When the older half is forgotten.
    turns_at: Tick,
    newer: Option<Box<Histogram<u32>>>,
    older: Option<Box<Histogram<u32>>>,
}

impl Latency {
    /// Nothing measured yet, over a window that begins at `now`.
    pub fn over(window: Duration, now: Tick) -> Self {
        let half = (window / 2).max(Duration::from_nanos(1));
        Self { half, turns_at: now.plus(half), newer: None, older: None }
    }

    /// A message took so long.
    pub fn note(&mut self, took: Duration, now: Tick) {
        self.pass_time(now);
        let nanoseconds = crate::clock::nanoseconds(took).clamp(NANOSECONDS_MIN, NANOSECONDS_MAX);
        self.newer.get_or_insert_with(new_half).saturating_record(nanoseconds);
    }

    /// Forgets what lies too far back.
    pub fn pass_time(&mut self, now: Tick) {
        if now < self.turns_at {
            return;
        }
        let is_all_old = self.turns_at.plus(self.half) <= now;
        let spare = self.older.take();
        self.older = self.newer.take().filter(|_| !is_all_old);
        // What the half took is used again, and cleared only when something is measured.
        self.newer = spare.filter(|_| !is_all_old).map(|mut spare| {
            spare.reset();
            spare
        });
        self.turns_at = now.plus(self.half);
    }

    /// Adds what is in the window at `now` to `sum`.
    pub fn add_to(&self, sum: &mut Sum, now: Tick) {
        let is_newer_in = now < self.turns_at.plus(self.half);
        let is_older_in = now < self.turns_at;
        for (half, is_in) in [(&self.newer, is_newer_in), (&self.older, is_older_in)] {
            if let Some(half) = half.as_ref().filter(|_| is_in) {
                sum.0.get_or_insert_with(new_half).add(&**half).expect("all have the same bounds");
            }
        }
    }
}

/// The times of one or more channels.
#[derive(Debug, Default)]
pub struct Sum(Option<Box<Histogram<u32>>>);

impl Sum {
    /// How many messages were measured.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |sum| sum.len())
    }

    /// The time that the share `quantile` of the messages, rounded down but at least one of them, did
    /// not exceed (NSQ behaviour), in nanoseconds; 0 without messages.
    pub fn nanoseconds_of(&self, quantile: f64) -> u64 {
        let Some(sum) = self.0.as_ref().filter(|sum| !sum.is_empty()) else { return 0 };
        #[expect(clippy::cast_precision_loss, reason = "the step is coarser by far")]
        let count = sum.len() as f64;
        let rank = (count * quantile).floor().max(1.0);
        // Between two ranks, so that no rounding reaches the next.
        let value = sum.value_at_quantile((rank - 0.5) / count);
        sum.median_equivalent(value)
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            self.0.get_or_insert_with(new_half).add(&**other).expect("all have the same bounds");
        }
    }
}

fn new_half() -> Box<Histogram<u32>> {
    let half = Histogram::new_with_bounds(NANOSECONDS_MIN, NANOSECONDS_MAX, DIGITS);
    Box::new(half.expect("the bounds are those of this file"))
}

/// How old a message was when it was sent: a floating-point number of nanoseconds, in four bytes. It
/// has seven digits, however large it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age(u32);

impl Age {
    /// The age of what was published `nanoseconds` ago; none for what comes from the future.
    pub fn of(nanoseconds: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "seven digits are plenty")]
        let nanoseconds = nanoseconds.max(0) as f32;
        Self(nanoseconds.to_bits())
    }

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(f64::from(f32::from_bits(self.0)) / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Tick {
        Tick(0).plus(Duration::from_secs(seconds))
    }

    fn sum(latency: &Latency, now: Tick) -> Sum {
        let mut sum = Sum::default();
        latency.add_to(&mut sum, now);
        sum
    }

    /// Within one percent.
    fn is_about(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) * 100 <= expected
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut latency = Latency::over(WINDOW, at(0));
        for milliseconds in (1..=100).rev() {
            latency.note(Duration::from_millis(milliseconds), at(1));
        }
        let sum = sum(&latency, at(1));
        assert_eq!(sum.count(), 100);
        for (quantile, milliseconds) in [(1.0, 100), (0.99, 99), (0.955, 95), (0.5, 50), (0.001, 1)]
        {
            let found = sum.nanoseconds_of(quantile);
            assert!(is_about(found, milliseconds * 1_000_000), "{quantile}: {found}");
        }
        assert_eq!(Sum::default().nanoseconds_of(0.5), 0);
    }

    #[test]
    fn times_of_several_channels_add_up() {
        let [mut one, mut other] = [(); 2].map(|()| Latency::over(WINDOW, at(0)));
        one.note(Duration::from_millis(1), at(1));
        other.note(Duration::from_secs(1), at(1));
        let mut whole = sum(&one, at(1));
        whole.add(&sum(&other, at(1)));
        assert_eq!(whole.count(), 2);
        assert!(is_about(whole.nanoseconds_of(0.5), 1_000_000));
        assert!(is_about(whole.nanoseconds_of(1.0), 1_000_000_000));
    }

    #[test]
    fn what_lies_half_a_window_back_is_shown_and_what_lies_a_whole_one_back_is_not() {
        let mut latency = Latency::over(WINDOW, at(0));
        latency.note(Duration::from_millis(1), at(0));
        let count = |latency: &Latency, seconds| sum(latency, at(seconds)).count();
        // Nobody looks, and nothing is measured.
        assert_eq!([4, 5, 9, 10].map(|seconds| count(&latency, seconds)), [1, 1, 1, 0]);
        latency.note(Duration::from_millis(1), at(6));
        assert_eq!([6, 10, 11, 15, 16].map(|seconds| count(&latency, seconds)), [2, 2, 1, 1, 0]);
        latency.note(Duration::from_millis(1), at(100));
        assert_eq!(count(&latency, 100), 1);
    }

    #[test]
    fn a_half_takes_no_more_than_it_may_and_extremes_stay_within() {
        let mut latency = Latency::over(WINDOW, at(0));
        latency.note(Duration::ZERO, at(0));
        latency.note(Duration::MAX, at(0));
        let sum = sum(&latency, at(0));
        assert_eq!(sum.count(), 2);
        assert!(is_about(sum.nanoseconds_of(1.0), NANOSECONDS_MAX));
        let slots = sum.0.unwrap().distinct_values();
        assert!(slots * size_of::<u32>() <= HALF_BYTES_MAX, "{slots}");
    }

    #[test]
    fn an_age_keeps_seven_digits_and_is_never_negative() {
        for nanoseconds in [1_000, 1_234_567, 999_999_999_999, 86_400_000_000_000] {
            let age = Age::of(i64::try_from(nanoseconds).unwrap()).duration();
            let found = u64::try_from(age.as_nanos()).unwrap();
            assert!(found.abs_diff(nanoseconds) <= nanoseconds / 1_000_000, "{found}");
        }
        assert_eq!(Age::of(-5).duration(), Duration::ZERO);
    }
}
