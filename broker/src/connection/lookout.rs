//! Whether to look again for what a client says next, or to wait until the ring tells that it came.
//!
//! A core that waits and has nothing else to do falls asleep, and to fall asleep and be woken costs more
//! than to serve a small publish. Whoever waits for its answer and then goes on at once, as a lone
//! publisher does, is back before the core sleeps properly. So a client that was found by looking before
//! is looked for again, for some microseconds. Each connection learns from its own last looks, and tries
//! now and then whether they have become worth their time. A client that is slow, or seldom speaks, is
//! never looked for, and an idle core never looks.
//!
//! Knows no sockets and no clocks: how looking is done is [`super::attention`]'s.

use crate::clock::Tick;
use std::cell::Cell;
use std::time::Duration;

/// What a core's sleep is taken to cost before one was measured.
const SLEEP_COST: Duration = Duration::from_micros(20);
/// A measured sleep counts for an eighth of what is known: now and then one is cut short, or lasts as
/// long as somebody else has the processor.
const SLEEP_WEIGHT: u32 = 8;
/// A look takes at most so many times what a sleep costs: those that find something late are rare.
const LOOK_SLEEPS_MAX: u32 = 4;
/// A look counts for a quarter of a connection's average.
const LOOK_WEIGHT: u32 = 4;
/// A client that lets the core wait for longer than this does not go on at once.
const SOON: Duration = Duration::from_micros(300);
/// After so many waits that ended soon a look is tried: the first time, and at most. Each time that
/// looks turn out not to be worth it doubles their number.
const TRIED_AFTER: u16 = 16;
const TRIED_AFTER_MAX: u16 = 1024;
/// Clients of a core that are looked for at the same time: each time they cost a system call.
const LOOKED_FOR_MAX: u32 = 4;
/// A core that only looks hears nobody else: the longest that it does.
const UNHEARD_MAX: Duration = Duration::from_micros(100);

/// What one connection has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookout {
    /// What a look took, one with another.
    average: Duration,
    /// Waits that must end soon until a look is tried; 0 while looks are worth it.
    waits: u16,
    /// So many they were the last time.
    pause: u16,
}

impl Default for Lookout {
    fn default() -> Self {
        Self { average: Duration::ZERO, waits: TRIED_AFTER, pause: TRIED_AFTER }
    }
}

impl Lookout {
    /// Whether the next wait decides over the next look: what a sleep costs is measured then.
    pub fn is_about_to_try(&self) -> bool {
        self.waits == 1
    }

    /// Something came without a look, after so long.
    pub fn waited(&mut self, long: Duration) {
        if long < SOON && 0 < self.waits {
            self.waits -= 1;
            self.average = Duration::ZERO;
        }
    }

    /// A look took so long, in vain or not; what is worth it takes at most `worth_it`.
    fn learn(&mut self, took: Duration, worth_it: Duration) {
        self.average = self.average * (LOOK_WEIGHT - 1) / LOOK_WEIGHT + took / LOOK_WEIGHT;
        if worth_it < self.average {
            self.pause = (self.pause * 2).min(TRIED_AFTER_MAX);
            self.waits = self.pause;
        }
    }
}

/// Who is looked for on one core.
#[derive(Debug)]
pub struct Lookouts {
    /// How long a look takes at most, whatever a sleep costs (`--spin`).
    longest: Duration,
    looked_for: Cell<u32>,
    /// When the core last heard whoever had something to say.
    heard_at: Cell<Tick>,
    /// What it costs the processor to fall asleep and be woken.
    sleep_cost: Cell<Duration>,
}

impl Lookouts {
    /// Nobody is looked for, and nobody for longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            looked_for: Cell::new(0),
            heard_at: Cell::default(),
            sleep_cost: Cell::new(SLEEP_COST),
        }
    }

    /// Begins a look for a client, if that is worth it and not enough others are looked for.
    pub fn begin<'a>(&'a self, lookout: &'a mut Lookout, now: Tick) -> Option<Look<'a>> {
        let others = self.looked_for.get();
        if 0 < lookout.waits || self.longest.is_zero() || others == LOOKED_FOR_MAX {
            return None;
        }
        self.looked_for.set(others + 1);
        Some(Look { lookouts: self, lookout, begun: now })
    }

    /// Whether whoever else has something to say must be heard now.
    pub fn must_hear(&self, now: Tick) -> bool {
        UNHEARD_MAX < now.since(self.heard_at.get())
    }

    /// Whoever had something to say was heard.
    pub fn heard(&self, now: Tick) {
        self.heard_at.set(now);
    }

    /// A sleep cost so much of the processor's time.
    pub fn slept(&self, cost: Duration) {
        let known = self.sleep_cost.get();
        self.sleep_cost.set(known * (SLEEP_WEIGHT - 1) / SLEEP_WEIGHT + cost / SLEEP_WEIGHT);
    }

    /// What looks may take, one with another: what is spent on them is saved on sleeps.
    fn worth_it(&self) -> Duration {
        self.sleep_cost.get().min(self.longest / 2)
    }

    fn longest_look(&self) -> Duration {
        (self.sleep_cost.get() * LOOK_SLEEPS_MAX).min(self.longest)
    }
}

/// A look for one client's next bytes, until this is dropped.
#[derive(Debug)]
pub struct Look<'a> {
    lookouts: &'a Lookouts,
    lookout: &'a mut Lookout,
    begun: Tick,
}

impl Look<'_> {
    /// It found something.
    pub fn found(self, now: Tick) {
        let (took, worth_it) = (now.since(self.begun), self.lookouts.worth_it());
        if took <= worth_it {
            self.lookout.pause = TRIED_AFTER;
        }
        self.lookout.learn(took, worth_it);
    }

    /// Whether it has taken long enough; then it was in vain.
    pub fn is_over(&mut self, now: Tick) -> bool {
        let took = now.since(self.begun);
        if took < self.lookouts.longest_look() {
            return false;
        }
        self.lookout.learn(took + self.lookouts.sleep_cost.get(), self.lookouts.worth_it());
        true
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.lookouts.looked_for.set(self.lookouts.looked_for.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// A core whose sleeps cost 40 us, so that a look lasts 160 us at most.
    fn core() -> Lookouts {
        let core = Lookouts::new(micros(200));
        (0..100).for_each(|_| core.slept(micros(40)));
        let cost = core.sleep_cost.get();
        assert!(micros(39) < cost && cost <= micros(40), "{cost:?}");
        core
    }

    /// Whether a client that says something every `gap` is looked for, for `times` of its sayings.
    fn serve(core: &Lookouts, lookout: &mut Lookout, gap: Duration, times: u32) -> Vec<bool> {
        let said = |_| {
            let look = core.begin(lookout, Tick(0)).map(|mut look| {
                let now = Tick(0).plus(gap);
                let is_in_vain = look.is_over(now);
                if !is_in_vain {
                    look.found(now);
                }
                is_in_vain
            });
            if look != Some(false) {
                lookout.waited(gap);
            }
            look.is_some()
        };
        (0..times).map(said).collect()
    }

    #[test]
    fn who_goes_on_at_once_is_looked_for_after_a_while_and_always() {
        let (core, mut lookout) = (core(), Lookout::default());
        let looks = serve(&core, &mut lookout, micros(30), 1_000);
        assert_eq!(looks.iter().position(|&look| look), Some(16));
        assert!(looks[16..].iter().all(|&look| look));
        assert_eq!(core.looked_for.get(), 0);
    }

    #[test]
    fn who_seldom_speaks_is_never_looked_for() {
        let (core, mut lookout) = (core(), Lookout::default());
        assert!(serve(&core, &mut lookout, micros(300), 10_000).iter().all(|&look| !look));
    }

    #[test]
    fn looks_that_cost_more_than_sleep_are_tried_ever_more_seldom() {
        let (core, mut lookout) = (core(), Lookout::default());
        // In vain after 160 us.
        let looks = serve(&core, &mut lookout, micros(250), 20_000);
        let looks = looks.iter().filter(|&&look| look).count();
        // After 16, 32, ... 512 waits, then after each 1,024.
        assert_eq!(looks, 6 + (20_000 - 1_008) / 1_025);
        // Found, but too late.
        let looks = serve(&core, &mut lookout, micros(100), 20_000);
        assert!(looks.iter().filter(|&&look| look).count() < 100);
    }

    #[test]
    fn one_look_in_vain_among_many_good_ones_changes_nothing() {
        let (core, mut lookout) = (core(), Lookout::default());
        serve(&core, &mut lookout, micros(10), 100);
        for _ in 0..100 {
            assert_eq!(serve(&core, &mut lookout, micros(110), 1), [true]);
            assert!(serve(&core, &mut lookout, micros(10), 20).iter().all(|&look| look));
        }
    }

    #[test]
    fn where_sleep_is_cheap_looks_are_short() {
        let core = Lookouts::new(micros(200));
        (0..100).for_each(|_| core.slept(micros(5)));
        let mut lookout = Lookout::default();
        let looks = serve(&core, &mut lookout, micros(15), 10_000);
        assert!(looks.iter().filter(|&&look| look).count() < 50);
        let looks = serve(&core, &mut lookout, micros(3), 10_000);
        assert!(9_000 < looks.iter().filter(|&&look| look).count());
    }

    #[test]
    fn only_some_are_looked_for_at_once_and_nobody_where_that_is_switched_off() {
        let core = core();
        let mut lookouts = [Lookout::default(); 5];
        for lookout in &mut lookouts {
            serve(&core, lookout, micros(10), 20);
        }
        let looks: Vec<_> =
            lookouts.iter_mut().map(|lookout| core.begin(lookout, Tick(0))).collect();
        assert_eq!(looks.iter().filter(|look| look.is_some()).count(), 4);
        drop(looks);
        assert!(core.begin(&mut lookouts[4], Tick(0)).is_some());
        let off = Lookouts::new(Duration::ZERO);
        assert!(off.begin(&mut lookouts[4], Tick(0)).is_none());
    }

    #[test]
    fn others_are_heard_every_100_microseconds() {
        let core = core();
        core.heard(Tick(1_000_000));
        assert!(!core.must_hear(Tick(1_100_000)));
        assert!(core.must_hear(Tick(1_100_001)));
    }
}
