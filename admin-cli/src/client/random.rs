//! Random numbers for jitter and for the choice of a connection.
//!
//! Does not know: anything that must not be guessed.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number from 0 up to, and without, 1.
pub(crate) fn fraction() -> f64 {
    // The keys of a hash map are the randomness that the standard library has.
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32);
    f64::from(bits.expect("the upper half has 32 bits")) / (f64::from(u32::MAX) + 1.0)
}

/// A number from 0 up to, and without, `end`, which is at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "connections are few, and a fraction is not negative"
)]
pub(crate) fn below(end: usize) -> usize {
    ((fraction() * end as f64) as usize).min(end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_end_comes_and_no_other() {
        let mut seen = [0_u32; 4];
        (0..1_000).for_each(|_| seen[below(4)] += 1);
        assert!(seen.iter().all(|&count| 100 < count), "{seen:?}");
        assert_eq!(below(1), 0);
    }
}
