//! The numbers that a message carries: its place in its topic, its time, how often it was tried.
//!
//! Does not know: bodies, logs, channels.

use std::ops::{Add, Range, Sub};

/// A message's number in its topic: 0, 1, 2, ... in the order of publishing, without end.
///
/// Numbers start again when a topic is deleted and made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// No topic comes so far: with three million messages a second it takes ninety-five years. What
    /// is read from files and lies beyond was not written here, and is damage: ids tell only twice as
    /// many messages apart.
    pub const END: Self = Self(1 << 53);

    /// The number of the message after this one.
    pub fn next(self) -> Self {
        self + 1
    }
}

impl Add<u64> for Sequence {
    type Output = Self;

    fn add(self, messages: u64) -> Self {
        Self(self.0 + messages)
    }
}

/// How many messages lie from the right one up to, but without, the left one.
impl Sub for Sequence {
    type Output = u64;

    fn sub(self, earlier: Self) -> u64 {
        self.0 - earlier.0
    }
}

/// What two ranges of messages share, if anything.
pub fn shared(a: &Range<Sequence>, b: &Range<Sequence>) -> Option<Range<Sequence>> {
    let shared = a.start.max(b.start)..a.end.min(b.end);
    (shared.start < shared.end).then_some(shared)
}

/// A moment on the wall clock, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// How many times a message was delivered, the present time included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempts(pub u16);

impl Attempts {
    /// What a first delivery carries.
    pub const FIRST: Self = Self(1);

    /// The number of the delivery after this one.
    ///
    /// The wire has 16 bits. NSQ starts again at zero; this stays at the end, so that a message
    /// tried 65,535 times never looks new.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_count_messages() {
        assert_eq!(Sequence(7).next(), Sequence(8));
        assert_eq!(Sequence(7) + 5, Sequence(12));
        assert_eq!(Sequence(12) - Sequence(7), 5);
    }

    #[test]
    fn a_message_tried_very_often_never_looks_new() {
        assert_eq!(Attempts::FIRST.next(), Attempts(2));
        assert_eq!(Attempts(u16::MAX).next(), Attempts(u16::MAX));
    }
}
