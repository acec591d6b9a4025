//! When a core looks again for what its clients say next, and when it sleeps until something comes.
//!
//! To fall asleep and be woken costs more than to serve a small publish. Whoever waits for its answer
//! and then goes on at once, as a lone publisher does, is back before the core sleeps properly. So a core
//! that found its clients by looking before looks again, for some microseconds. It learns from its last
//! looks, and tries now and then whether they have become worth their time: where clients are slow, or
//! seldom speak, it never looks, and an idle core never does.
//!
//! There are two ways to sleep. By the ring a core hears everything, and that costs it a dozen system
//! calls. A *nap* is one call, and hears nothing but sockets and other cores: it is for a core whose
//! sleeps were short of late, and is itself short.
//!
//! Pure: time and what things cost are arguments. How looking is done is [`super::hearing`]'s.

use crate::clock::Tick;
use std::time::Duration;

/// What a sleep is taken to cost before one was measured.
const SLEEP_COST: Duration = Duration::from_micros(10);
/// A measured sleep counts for an eighth of what is known: now and then one is cut short, or others
/// worked meanwhile.
const SLEEP_WEIGHT: u32 = 8;
/// Looks are worth it that take two and a half times what a sleep costs the core: whoever wakes it pays,
/// too, and the client waits meanwhile.
const HALF_SLEEPS_OF_LOOKS: u32 = 5;
/// A look takes at most so many times what a sleep costs: those that find something late are rare.
const LOOK_SLEEPS_MAX: u32 = 2 * HALF_SLEEPS_OF_LOOKS;
/// A nap takes at most so long: what only the ring tells of waits for its end.
pub(super) const NAP_MAX: Duration = Duration::from_micros(500);
/// After so many sleeps that were shorter than a nap may be the next one is a nap.
const SHORT_SLEEPS: u8 = 2;
/// Who sleeps for less did not sleep: there was news already.
const SLEEP_MIN: Duration = Duration::from_micros(5);
/// A look begins anew behind a turn so many times at most: turns may follow each other for ever, of timers
/// and files, and none of them comes of looking.
const LOOK_TURNS_MAX: u32 = 4;
/// A look counts for a quarter of the average.
const LOOK_WEIGHT: u32 = 4;
/// Clients that let the core sleep for longer than this do not go on at once.
const SOON: Duration = Duration::from_micros(300);
/// After so many sleeps that ended soon a look is tried: the first time, and at most. Each time that
/// looks turn out not to be worth it doubles their number.
const TRIED_AFTER: u16 = 16;
const TRIED_AFTER_MAX: u16 = 1024;

/// What one core has learned.
#[derive(Debug)]
pub(super) struct Lookout {
    /// How long a look takes at most, whatever a sleep costs (`--spin`).
    longest: Duration,
    /// What it costs the processor to fall asleep and be woken.
    sleep_cost: Duration,
    /// What a look took, one with another.
    average: Duration,
    /// Sleeps that must end soon until a look is tried; 0 while looks are worth it.
    sleeps: u16,
    /// So many they were the last time.
    pause: u16,
    /// The one that is under way.
    look: Option<Look>,
    /// So many of the last sleeps, one after the other, were short, as far as that matters.
    short_sleeps: u8,
}

/// A look.
#[derive(Clone, Copy, Debug)]
struct Look {
    begun: Tick,
    /// So many turns the core had ended.
    turns: u64,
    /// So many of them came while it looked.
    turns_within: u32,
}

impl Lookout {
    /// No look takes longer than `longest`; there is none if that is zero.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest,
            sleep_cost: SLEEP_COST,
            average: Duration::ZERO,
            sleeps: TRIED_AFTER,
            pause: TRIED_AFTER,
            look: None,
            short_sleeps: 0,
        }
    }

    /// Clients have said something: if the core was looking, it found them.
    pub(super) fn found(&mut self, now: Tick) {
        if let Some(look) = self.look.take() {
            let took = now.since(look.begun);
            if took <= self.worth_it() {
                self.pause = TRIED_AFTER;
            }
            self.learn(took);
        }
    }

    /// No client has said anything; the core has ended so many turns. Whether to look again, rather
    /// than to sleep. What a turn takes is no part of a look.
    pub(super) fn goes_on(&mut self, turns: u64, now: Tick) -> bool {
        if 0 < self.sleeps || self.longest.is_zero() {
            return false;
        }
        let look = self.look.get_or_insert(Look { begun: now, turns, turns_within: 0 });
        if look.turns != turns && look.turns_within < LOOK_TURNS_MAX {
            *look = Look { begun: now, turns, turns_within: look.turns_within + 1 };
            return true;
        }
        let took = now.since(look.begun);
        if took < (self.sleep_cost * LOOK_SLEEPS_MAX).min(self.longest) {
            return true;
        }
        self.look = None;
        // It was in vain: there is a sleep to come.
        self.learn(took + self.sleep_cost);
        false
    }

    /// Whether the next sleep decides over a look: what it costs is to be measured.
    pub(super) fn is_about_to_try(&self) -> bool {
        self.sleeps == 1
    }

    /// Whether the next sleep is a nap.
    pub(super) fn naps(&self) -> bool {
        self.short_sleeps == SHORT_SLEEPS
    }

    /// The core slept so long, until a client said something or a nap was over, and that cost so much of
    /// its time, if it was measured.
    pub(super) fn slept(&mut self, long: Duration, cost: Option<Duration>) {
        self.short_sleeps =
            if long < NAP_MAX { (self.short_sleeps + 1).min(SHORT_SLEEPS) } else { 0 };
        if long < SOON && 0 < self.sleeps {
            self.sleeps -= 1;
            self.average = Duration::ZERO;
            if let Some(cost) = cost.filter(|_| SLEEP_MIN <= long) {
                self.sleep_cost =
                    self.sleep_cost * (SLEEP_WEIGHT - 1) / SLEEP_WEIGHT + cost / SLEEP_WEIGHT;
            }
        }
    }

    /// What looks may take, one with another: what is spent on them is saved on sleeps.
    fn worth_it(&self) -> Duration {
        (self.sleep_cost * HALF_SLEEPS_OF_LOOKS / 2).min(self.longest / 2)
    }

    fn learn(&mut self, took: Duration) {
        self.average = self.average * (LOOK_WEIGHT - 1) / LOOK_WEIGHT + took / LOOK_WEIGHT;
        if self.worth_it() < self.average {
            self.pause = (self.pause * 2).min(TRIED_AFTER_MAX);
            self.sleeps = self.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// A core whose sleeps cost so much.
    fn core(sleep_cost: Duration) -> Lookout {
        Lookout { sleep_cost, ..Lookout::new(micros(200)) }
    }

    /// Whether the core looks for a client that says something every `gap`, for `times` of its sayings.
    fn serve(core: &mut Lookout, gap: Duration, times: u64) -> Vec<bool> {
        let said = |turn| {
            let looks = core.goes_on(turn, Tick(0));
            let is_found = looks && core.goes_on(turn, Tick(0).plus(gap));
            if is_found {
                core.found(Tick(0).plus(gap));
            } else {
                core.slept(gap, None);
            }
            looks
        };
        (0..times).map(said).collect()
    }

    fn looks(looked: &[bool]) -> usize {
        looked.iter().filter(|&&looked| looked).count()
    }

    #[test]
    fn who_goes_on_at_once_is_looked_for_after_a_while_and_always() {
        let looked = serve(&mut core(micros(12)), micros(30), 1_000);
        assert_eq!(looked.iter().position(|&looked| looked), Some(16));
        assert_eq!(looks(&looked), 1_000 - 16);
    }

    #[test]
    fn who_seldom_speaks_is_never_looked_for() {
        assert_eq!(looks(&serve(&mut core(micros(12)), micros(300), 10_000)), 0);
    }

    #[test]
    fn looks_that_cost_more_than_sleep_are_tried_ever_more_seldom() {
        // In vain after 120 us: tried after 16, 32, ... 512 sleeps, then after each 1,024, of which the
        // last is that of the look.
        let looked = serve(&mut core(micros(12)), micros(250), 20_000);
        let tried: Vec<_> = (0..looked.len()).filter(|&at| looked[at]).collect();
        assert_eq!(tried[..5], [16, 48, 112, 240, 496]);
        assert!(tried.windows(2).skip(6).all(|two| two[1] - two[0] == 1_024), "{tried:?}");
        // Found, but too late.
        assert!(looks(&serve(&mut core(micros(12)), micros(100), 20_000)) < 100);
    }

    #[test]
    fn one_look_in_vain_among_many_good_ones_changes_nothing() {
        let mut core = core(micros(12));
        serve(&mut core, micros(10), 100);
        for _ in 0..100 {
            assert_eq!(serve(&mut core, micros(80), 1), [true]);
            assert_eq!(looks(&serve(&mut core, micros(10), 20)), 20);
        }
    }

    #[test]
    fn where_sleep_is_cheap_looks_are_short() {
        let mut core = core(micros(5));
        assert!(looks(&serve(&mut core, micros(45), 10_000)) < 50);
        assert!(9_000 < looks(&serve(&mut core, micros(9), 10_000)));
    }

    #[test]
    fn what_a_sleep_costs_is_learned_from_those_that_end_soon() {
        let mut core = core(micros(5));
        core.slept(micros(299), Some(micros(45)));
        assert_eq!(core.sleep_cost, micros(10));
        core.slept(micros(300), Some(micros(90)));
        assert_eq!(core.sleep_cost, micros(10));
        // There was news already.
        core.slept(micros(4), Some(micros(1)));
        assert_eq!(core.sleep_cost, micros(10));
    }

    #[test]
    fn after_two_short_sleeps_the_next_is_a_nap() {
        let mut core = core(micros(12));
        let mut naps = |long| {
            core.slept(micros(long), None);
            core.naps()
        };
        assert_eq!(
            [499, 499, 1, 500, 499, 9_000, 499, 499].map(&mut naps),
            [false, true, true, false, false, false, false, true]
        );
    }

    #[test]
    fn a_turn_is_no_part_of_a_look_unless_there_is_no_end_of_them() {
        let mut core = core(micros(12));
        serve(&mut core, micros(10), 100);
        let mut looks = |turn| core.goes_on(turn, Tick(100_000 * turn));
        // It may take 120 us behind the fourth turn within.
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6].map(&mut looks),
            [true, true, true, true, true, true, false]
        );
    }

    #[test]
    fn nobody_is_looked_for_where_that_is_switched_off() {
        let mut core = Lookout { longest: Duration::ZERO, ..core(micros(12)) };
        assert_eq!(looks(&serve(&mut core, micros(1), 10_000)), 0);
    }
}
