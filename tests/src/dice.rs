//! Chance that can be repeated: one seed gives the same throws on every machine.
//!
//! Knows one environment variable, `SEED`. Not for secrets.

use std::env;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers by chance, one after another.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of one of many throwers, who all have the same seed and each a number of their own.
    #[must_use]
    pub fn of(seed: u64, thrower: u64) -> Self {
        let mut dice = Self { state: seed };
        dice.state ^= dice.number().wrapping_add(thrower);
        dice
    }

    /// Any number. (Split-mix, Steele and others 2014: equidistributed, and any state is good.)
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `range`, which is not empty and much smaller than 2^64.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    /// True so many times in a hundred.
    pub fn hits(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let count = u64::try_from(choices.len()).expect("a slice fits in memory");
        let at = usize::try_from(self.within(0..count)).expect("it is an index");
        &choices[at]
    }

    /// A time of so many milliseconds.
    pub fn milliseconds(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

/// The seed that `SEED` names, or a new one. Whoever uses it says it, so that it can be named.
///
/// # Panics
/// When the variable holds no number.
#[must_use]
pub fn seed() -> u64 {
    match env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            u64::from(now.expect("the clock is past 1970").subsec_nanos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_throws_and_throwers_differ() {
        let throws = |seed, thrower| {
            let mut dice = Dice::of(seed, thrower);
            std::array::from_fn::<u64, 8, _>(|_| dice.within(0..1000))
        };
        assert_eq!(throws(1, 2), throws(1, 2));
        assert_ne!(throws(1, 2), throws(1, 3));
        assert_ne!(throws(1, 2), throws(2, 2));
    }

    #[test]
    fn every_number_of_a_range_comes() {
        let mut dice = Dice::of(7, 7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            let number = dice.within(3..8);
            seen[usize::try_from(number).unwrap() - 3] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
