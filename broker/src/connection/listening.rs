//! How a client is listened to: whenever it says something, or only now and then.
//!
//! A consumer with a wide window that finishes its messages one by one wakes the core for every few of
//! them, and each time is read from, given as many again, and sent to. While it holds hundreds of others
//! it misses nothing when the core listens to it in pauses instead, and the core has a fraction of the
//! work. In a pause it finishes a small part of what it holds, so that it has enough left to work on; one
//! that holds few, says little, or waits for an answer, is heard at once.
//!
//! Pure: time is an argument. How a socket is not listened to is [`super::readiness`]'s.

use crate::clock::{Tick, nanoseconds};
use std::time::Duration;

/// Bytes of a FIN.
const FIN_BYTES: u64 = 21;
/// A consumer may finish one part in so many of what it holds until it is heard.
const HELD_PARTS: u64 = 16;
/// It is listened to in pauses when it is to say so much in one, and as long as it says a quarter of that:
/// it begins with 100,000 FINs a second, and ends with fewer than 27,000.
const WORTH_BYTES: u64 = 32 * FIN_BYTES;
/// So many reads tell how it speaks.
const SAMPLED_READS: u32 = 16;
/// A pause must save all but one of so many reads.
const READS_PER_PAUSE: u32 = 4;
/// The shortest pause to begin with: a shorter one costs as much as it saves. As it goes on it may be
/// half as long: less is held behind a pause than when everything is heard at once.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// The longest. A core that works or looks all the time hears its timers up to 500 us late.
const PAUSE_MAX: Duration = Duration::from_micros(300);

/// How one client is listened to.
#[derive(Debug, Default)]
pub struct Listening {
    /// The pause before it is listened to the next time; none when it is heard at once.
    pause: Option<Duration>,
    /// When it was heard last, or the first time of a sample.
    since: Tick,
    /// What it said since then.
    bytes: u64,
    /// Reads of the sample, with the first; 0 before it.
    reads: u32,
}

/// What is to change about a client's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// It is no longer heard by itself.
    Mute,
    /// It is heard again.
    Unmute,
}

impl Listening {
    /// How long not to listen; `None` to wait until the client says something.
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }

    /// The client said so many bytes. `held` is how many messages it holds behind that, and is asked
    /// only of one that says much.
    pub fn heard(&mut self, bytes: usize, held: impl FnOnce() -> u64, now: Tick) -> Change {
        if self.pause.is_none() && self.reads == 0 {
            // How long this took to come is not known.
            self.begin(now);
            return Change::Nothing;
        }
        self.bytes += bytes as u64;
        if self.pause.is_some() {
            let pause = self.pause_for(now.since(self.since), held());
            let goes_on = PAUSE_MIN / 2 <= pause && WORTH_BYTES / 4 <= self.bytes;
            self.pause = goes_on.then_some(pause);
            self.begin(now);
            return if self.pause.is_none() { Change::Unmute } else { Change::Nothing };
        }
        self.reads += 1;
        if self.reads <= SAMPLED_READS {
            return Change::Nothing;
        }
        let took = now.since(self.since);
        if self.is_worth(PAUSE_MAX, took) {
            let pause = self.pause_for(took, held());
            let is_worth_it = PAUSE_MIN <= pause && self.is_worth(pause, took);
            self.pause = is_worth_it.then_some(pause);
        }
        self.begin(now);
        if self.pause.is_some() { Change::Mute } else { Change::Nothing }
    }

    /// The client said nothing in a pause, or something that it waits for an answer to: it is heard at
    /// once, until it has shown anew that it need not be.
    pub fn hear_at_once(&mut self) -> Change {
        let was = std::mem::take(self);
        if was.pause.is_some() { Change::Unmute } else { Change::Nothing }
    }

    /// How long a client that said what is noted in `took` takes to finish its part.
    fn pause_for(&self, took: Duration, held: u64) -> Duration {
        let part = (held / HELD_PARTS).saturating_mul(FIN_BYTES);
        Duration::from_nanos(scaled(nanoseconds(took), part, self.bytes)).min(PAUSE_MAX)
    }

    /// Whether enough comes in a pause, from a client that said what is noted in `took`.
    fn is_worth(&self, pause: Duration, took: Duration) -> bool {
        took / SAMPLED_READS * READS_PER_PAUSE <= pause
            && WORTH_BYTES <= scaled(self.bytes, nanoseconds(pause), nanoseconds(took))
    }

    /// What comes from now on is noted; what was just read is not a part of it.
    fn begin(&mut self, now: Tick) {
        self.since = now;
        self.bytes = 0;
        self.reads = 1;
    }
}

/// `value` times `numerator` through `denominator`.
fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(value) * u128::from(numerator);
    u64::try_from(product / u128::from(denominator.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reads` reads, one each `between` microseconds, each of so many FINs of a client that holds
    /// `held` messages; what the last of them changed, if one did.
    fn reads(
        listening: &mut Listening,
        clock: &mut Tick,
        reads: u32,
        between: u64,
        fins: usize,
        held: u64,
    ) -> Change {
        for _ in 0..reads {
            *clock = clock.plus(Duration::from_micros(between));
            let change = listening.heard(fins * 21, || held, *clock);
            if change != Change::Nothing {
                return change;
            }
        }
        Change::Nothing
    }

    fn microseconds(listening: &Listening) -> Option<u128> {
        listening.pause().map(|pause| pause.as_micros())
    }

    #[test]
    fn who_finishes_much_of_a_wide_window_is_listened_to_in_pauses() {
        let (mut listening, mut clock) = (Listening::default(), Tick(5));
        // The first read tells nothing, 16 more are the sample.
        assert_eq!(reads(&mut listening, &mut clock, 16, 23, 23, 2_500), Change::Nothing);
        assert_eq!(listening.pause(), None);
        assert_eq!(reads(&mut listening, &mut clock, 1, 23, 23, 2_500), Change::Mute);
        // A sixteenth of 2,500 is 156 messages, and it finishes one a microsecond.
        assert_eq!(microseconds(&listening), Some(156));
        // It got slower, and then very slow.
        assert_eq!(reads(&mut listening, &mut clock, 1, 156, 78, 2_500), Change::Nothing);
        assert_eq!(microseconds(&listening), Some(300), "of 312");
        assert_eq!(reads(&mut listening, &mut clock, 1, 300, 8, 2_500), Change::Nothing);
        assert_eq!(microseconds(&listening), Some(300));
        assert_eq!(reads(&mut listening, &mut clock, 1, 300, 7, 2_500), Change::Unmute);
        assert_eq!(listening.pause(), None);
        // It has to show again that it says much.
        assert_eq!(reads(&mut listening, &mut clock, 15, 23, 23, 2_500), Change::Nothing);
        assert_eq!(reads(&mut listening, &mut clock, 1, 23, 23, 2_500), Change::Mute);
        assert_eq!(listening.hear_at_once(), Change::Unmute);
        assert_eq!((listening.pause(), listening.hear_at_once()), (None, Change::Nothing));
    }

    #[test]
    fn who_waits_for_an_answer_now_and_then_is_heard_at_once() {
        let (mut listening, mut clock) = (Listening::default(), Tick(5));
        for _ in 0..50 {
            assert_eq!(reads(&mut listening, &mut clock, 16, 23, 23, 2_500), Change::Nothing);
            assert_eq!(listening.hear_at_once(), Change::Nothing);
        }
    }

    #[test]
    fn who_holds_little_or_says_little_is_heard_at_once() {
        for (why, between, fins, held) in [
            ("there are few others that it could work on", 23, 23, 400),
            ("it holds nothing: it only publishes", 10, 11, 0),
            ("it gathers by itself", 100, 200, 2_500),
            ("it finishes too few", 10, 1, 2_500),
        ] {
            let (mut listening, mut clock) = (Listening::default(), Tick(5));
            let change = reads(&mut listening, &mut clock, 100, between, fins, held);
            assert_eq!((change, listening.pause()), (Change::Nothing, None), "{why}");
        }
    }

    #[test]
    fn one_that_comes_to_hold_little_is_heard_at_once_again() {
        let (mut listening, mut clock) = (Listening::default(), Tick(5));
        assert_eq!(reads(&mut listening, &mut clock, 17, 5, 1, 10_000), Change::Mute);
        assert_eq!(microseconds(&listening), Some(300), "of 3,125");
        // Its part is 50 messages, of which 60 took 300 us.
        assert_eq!(reads(&mut listening, &mut clock, 1, 300, 60, 800), Change::Nothing);
        assert_eq!(microseconds(&listening), Some(250));
        // The queue ends: its part is 5 messages, which take 25 us, and then 4.
        assert_eq!(reads(&mut listening, &mut clock, 1, 250, 50, 80), Change::Nothing);
        assert_eq!(microseconds(&listening), Some(25));
        assert_eq!(reads(&mut listening, &mut clock, 1, 250, 50, 79), Change::Unmute);
    }

    #[test]
    fn a_rest_within_the_sample_counts() {
        let (mut listening, mut clock) = (Listening::default(), Tick(5));
        for _ in 0..50 {
            assert_eq!(reads(&mut listening, &mut clock, 16, 20, 20, 2_500), Change::Nothing);
            clock = clock.plus(Duration::from_secs(1));
        }
    }

    #[test]
    fn clocks_that_stand_still_are_no_matter() {
        let (mut listening, mut clock) = (Listening::default(), Tick(5));
        assert_eq!(reads(&mut listening, &mut clock, 100, 0, 20, u64::MAX), Change::Nothing);
        assert_eq!(listening.pause(), None);
    }
}
