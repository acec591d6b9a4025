//! Which of several addresses is tried next: hosts that fail are left alone for a while.
//!
//! Rule (NSQ behaviour, `--mode=hostpool` and `--mode=epsilon-greedy`): hosts take turns. One that
//! fails is dead for 30 seconds; then it is tried once, and its next chance is twice as long away, up
//! to 15 minutes. When all are dead, all come back at once. Epsilon-greedy measures how long hosts
//! take and prefers the fast ones, but for a share of tries that shrinks with each of them.
//!
//! Does not know: what a host is, the time, or chance; both are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// How long a host that failed is left alone at first.
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// How long at most.
const RETRY_MAX: Duration = Duration::from_secs(900);
/// How many spans of time a host's answers are gathered in.
const SPANS: usize = 120;
/// How long a span is: all of them together are five minutes.
const SPAN: Duration = Duration::from_millis(2500);
/// The share of tries that are for looking around, at first and at last.
const CURIOSITY_FIRST: f64 = 0.3;
const CURIOSITY_MIN: f64 = 0.01;
/// What is left of that share after a try for looking around.
const CURIOSITY_DECAY: f64 = 0.9;

/// Hosts, known by their position in the list that the pool was made from. Memory: two numbers for
/// each host and span.
#[derive(Debug)]
pub(crate) struct HostPool {
    hosts: Vec<Host>,
    /// Where a host that stands in the list several times is judged: at its last place.
    judged_at: Vec<usize>,
    /// Where the next round goes on.
    next: usize,
    greed: Option<Greed>,
}

#[derive(Debug)]
struct Host {
    /// When it may be tried again; `None` while it is alive.
    dead_until: Option<Instant>,
    retry_delay: Duration,
    /// Only with [`Greed`].
    spans: Vec<Span>,
}

/// Answers of one span of time.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    answers: u64,
    milliseconds: u64,
}

/// What epsilon-greedy knows beyond the hosts.
#[derive(Debug)]
struct Greed {
    /// The share of tries that are for looking around.
    curiosity: f64,
    /// The span that is written to.
    span: usize,
    /// When the next one begins.
    span_ends: Instant,
}

impl HostPool {
    /// Hosts that take turns. There is at least one.
    pub(crate) fn taking_turns(addresses: &[String]) -> Self {
        let host = || Host { dead_until: None, retry_delay: RETRY_FIRST, spans: Vec::new() };
        let last_place = |address| addresses.iter().rposition(|other| other == address);
        Self {
            hosts: addresses.iter().map(|_| host()).collect(),
            judged_at: addresses.iter().filter_map(last_place).collect(),
            next: 0,
            greed: None,
        }
    }

    /// Hosts of which the fast ones are preferred.
    pub(crate) fn preferring_fast(addresses: &[String], now: Instant) -> Self {
        let mut pool = Self::taking_turns(addresses);
        pool.hosts.iter_mut().for_each(|host| host.spans = vec![Span::default(); SPANS]);
        let span_ends = now + SPAN;
        pool.greed = Some(Greed { curiosity: CURIOSITY_FIRST, span: 0, span_ends });
        pool
    }

    /// The position of the host to try. `dice` gives numbers from 0 up to, and without, 1.
    pub(crate) fn pick(&mut self, now: Instant, mut dice: impl FnMut() -> f64) -> usize {
        self.begin_spans(now);
        let Some(greed) = &mut self.greed else { return self.in_turn(now) };
        if dice() < greed.curiosity {
            greed.curiosity = (greed.curiosity * CURIOSITY_DECAY).max(CURIOSITY_MIN);
            return self.in_turn(now);
        }
        match self.weighed(now, dice) {
            Some(position) => {
                let host = &mut self.hosts[position];
                if host.dead_until.is_some() {
                    host.try_again(now);
                }
                position
            }
            None => self.in_turn(now),
        }
    }

    /// The host at this position answered, `took` after it was picked.
    pub(crate) fn succeeded(&mut self, position: usize, took: Duration, now: Instant) {
        self.begin_spans(now);
        let host = &mut self.hosts[self.judged_at[position]];
        host.dead_until = None;
        if let Some(greed) = &self.greed {
            let span = &mut host.spans[greed.span];
            span.answers += 1;
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            span.milliseconds = span.milliseconds.saturating_add(milliseconds);
        }
    }

    /// The host at this position failed.
    pub(crate) fn failed(&mut self, position: usize, now: Instant) {
        let host = &mut self.hosts[self.judged_at[position]];
        if host.dead_until.is_none() {
            host.retry_delay = RETRY_FIRST;
            host.dead_until = Some(now + RETRY_FIRST);
        }
    }

    fn in_turn(&mut self, now: Instant) -> usize {
        let count = self.hosts.len();
        for step in 0..count {
            let position = (self.next + step) % count;
            let host = &mut self.hosts[position];
            if !host.may_be_tried(now) {
                continue;
            }
            if host.dead_until.is_some() {
                host.try_again(now);
            }
            self.next = position + 1;
            return position;
        }
        self.hosts.iter_mut().for_each(|host| host.dead_until = None);
        self.next = 0;
        0
    }

    /// A host by chance, the fast ones more often; `None` while nothing was measured.
    fn weighed(&self, now: Instant, mut dice: impl FnMut() -> f64) -> Option<usize> {
        let span = self.greed.as_ref()?.span;
        let weights: Vec<(usize, f64)> = self
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.may_be_tried(now))
            .map(|(position, host)| (position, host.milliseconds(span)))
            .filter(|(_, milliseconds)| 0.0 < *milliseconds)
            .map(|(position, milliseconds)| (position, 1.0 / milliseconds))
            .collect();
        if weights.is_empty() {
            return None;
        }
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let chosen = dice();
        let mut reached = 0.0;
        weights.into_iter().find_map(|(position, weight)| {
            reached += weight / sum;
            (chosen <= reached).then_some(position)
        })
    }

    /// Begins the spans that have begun since the last call, and forgets those of five minutes ago.
    fn begin_spans(&mut self, now: Instant) {
        let Some(greed) = &mut self.greed else { return };
        let mut forgotten = 0;
        while greed.span_ends <= now {
            greed.span = (greed.span + 1) % SPANS;
            greed.span_ends += SPAN;
            self.hosts.iter_mut().for_each(|host| host.spans[greed.span] = Span::default());
            forgotten += 1;
            if forgotten == SPANS {
                // All is forgotten; how many more have passed does not matter.
                greed.span_ends = now + SPAN;
            }
        }
    }
}

impl Host {
    fn may_be_tried(&self, now: Instant) -> bool {
        self.dead_until.is_none_or(|until| until < now)
    }

    /// A dead host gets a chance; the one after it is further away.
    fn try_again(&mut self, now: Instant) {
        self.retry_delay = (self.retry_delay * 2).min(RETRY_MAX);
        self.dead_until = Some(now + self.retry_delay);
    }

    /// What the host's answers take, the newer spans weighing more. A span without an answer counts
    /// as the one before it.
    #[expect(clippy::cast_precision_loss, reason = "a measure")]
    fn milliseconds(&self, newest: usize) -> f64 {
        let mut sum = 0.0;
        let mut last = 0.0;
        for age in 1..=SPANS {
            let span = self.spans[(newest + age) % SPANS];
            if 0 < span.answers {
                last = span.milliseconds as f64 / span.answers as f64;
            }
            sum += last * (age as f64 / SPANS as f64);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// A pool of hosts `a`, `b`, `c` and its clock; each line says what is done and what comes out.
    fn check(script: &[(&str, &str)]) {
        let names = ["a", "b", "c"];
        let mut pool = HostPool::taking_turns(&addresses(&names));
        let start = Instant::now();
        let mut now = start;
        for &(step, expected) in script {
            let (verb, what) = step.split_once(' ').unwrap_or((step, ""));
            let position = || names.iter().position(|name| *name == what).unwrap();
            match verb {
                "clock" => now = start + Duration::from_millis(what.parse().unwrap()),
                "pick" => assert_eq!(names[pool.pick(now, || 0.5)], expected, "{script:?}"),
                "fails" => pool.failed(position(), now),
                "answers" => pool.succeeded(position(), Duration::ZERO, now),
                _ => panic!("what is {step}?"),
            }
        }
    }

    #[test]
    fn hosts_take_turns() {
        check(&[("pick", "a"), ("pick", "b"), ("pick", "c"), ("pick", "a")]);
    }

    #[test]
    fn a_host_that_failed_is_left_out_until_it_answers() {
        check(&[
            ("pick", "a"),
            ("fails a", ""),
            ("pick", "b"),
            ("fails b", ""),
            ("pick", "c"),
            ("pick", "c"),
            ("answers a", ""),
            ("pick", "a"),
            ("pick", "c"),
        ]);
    }

    #[test]
    fn a_dead_host_gets_a_chance_after_30_seconds_and_the_next_after_twice_as_long() {
        check(&[
            ("fails a", ""),
            ("pick", "b"),
            ("clock 30000", ""),
            ("pick", "c"),
            ("pick", "b"),
            ("clock 30001", ""),
            ("pick", "c"),
            // Its chance; whether it fails again says nobody, so it stays dead for a minute.
            ("pick", "a"),
            ("pick", "b"),
            ("pick", "c"),
            ("pick", "b"),
            ("fails a", ""),
            ("clock 90001", ""),
            ("pick", "c"),
            ("pick", "b"),
            ("clock 90002", ""),
            ("pick", "c"),
            ("pick", "a"),
            ("pick", "b"),
        ]);
    }

    #[test]
    fn the_chances_of_a_dead_host_are_never_more_than_15_minutes_apart() {
        let mut pool = HostPool::taking_turns(&addresses(&["a", "b"]));
        let start = Instant::now();
        pool.failed(0, start);
        let mut chances = Vec::new();
        for second in 0..5_000_u64 {
            let now = start + Duration::from_secs(second);
            if (0..2).any(|_| pool.pick(now, || 0.5) == 0) {
                chances.push(second);
            }
        }
        // One second later than the delay, each time: it has to be over.
        assert_eq!(chances, [31, 92, 213, 454, 935, 1836, 2737, 3638, 4539]);
    }

    #[test]
    fn when_all_are_dead_all_come_back_and_the_first_is_tried() {
        check(&[
            ("pick", "a"),
            ("fails a", ""),
            ("fails b", ""),
            ("fails c", ""),
            ("pick", "a"),
            ("pick", "a"),
            ("pick", "b"),
            ("pick", "c"),
        ]);
    }

    #[test]
    fn a_host_that_stands_in_the_list_twice_is_judged_at_its_last_place() {
        let mut pool = HostPool::taking_turns(&addresses(&["a", "b", "a"]));
        let now = Instant::now();
        pool.failed(0, now);
        let picks: Vec<usize> = (0..4).map(|_| pool.pick(now, || 0.5)).collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }

    /// How often each of two hosts is picked in 12,000 tries, 25 milliseconds apart.
    fn shares(milliseconds: [u64; 2], pool: &mut HostPool, now: &mut Instant) -> [u32; 2] {
        let mut seed = 7_u64;
        let mut dice = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
        };
        let mut picks = [0; 2];
        for _ in 0..12_000 {
            let host = pool.pick(*now, &mut dice);
            picks[host] += 1;
            pool.succeeded(host, Duration::from_millis(milliseconds[host]), *now);
            *now += Duration::from_millis(25);
        }
        picks
    }

    #[test]
    fn greed_prefers_the_fast_host_in_proportion_and_notices_when_it_becomes_slow() {
        let mut now = Instant::now();
        let mut pool = HostPool::preferring_fast(&addresses(&["a", "b"]), now);
        let [a, b] = shares([200, 300], &mut pool, &mut now);
        // 3 to 2, and one in a hundred in turn: 7,200 to 4,800.
        assert!((6_800..7_600).contains(&a) && a + b == 12_000, "{a} {b}");
        let [a, b] = shares([500, 100], &mut pool, &mut now);
        assert!(a < b, "{a} {b}");
        let [a, b] = shares([500, 100], &mut pool, &mut now);
        // 1 to 5.
        assert!((1_700..2_500).contains(&a) && a + b == 12_000, "{a} {b}");
    }

    #[test]
    fn greed_gives_turns_while_answers_take_no_measurable_time() {
        let now = Instant::now();
        let mut pool = HostPool::preferring_fast(&addresses(&["a", "b"]), now);
        for host in [0, 1, 0, 1] {
            assert_eq!(pool.pick(now, || 0.9), host);
            pool.succeeded(host, Duration::from_micros(999), now);
        }
    }

    #[test]
    fn greed_leaves_dead_hosts_alone_and_forgets_after_five_minutes() {
        let start = Instant::now();
        let mut pool = HostPool::preferring_fast(&addresses(&["a", "b"]), start);
        pool.succeeded(0, Duration::from_millis(1), start);
        pool.succeeded(1, Duration::from_millis(1_000), start);
        // Two throws: not curious, and the weights are 1000 to 1.
        assert_eq!(pool.pick(start, || 0.9), 0);
        pool.failed(0, start);
        assert_eq!(pool.pick(start, || 0.9), 1);
        pool.succeeded(0, Duration::from_millis(1), start);
        assert_eq!(pool.pick(start, || 0.9), 0);
        // Nothing is known any more, so they take turns.
        let later = start + Duration::from_secs(301);
        let picks: Vec<usize> = (0..4).map(|_| pool.pick(later, || 0.9)).collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }

    #[test]
    fn curiosity_shrinks_to_one_in_a_hundred() {
        let now = Instant::now();
        let mut pool = HostPool::preferring_fast(&addresses(&["a"]), now);
        let curiosity = |pool: &HostPool| pool.greed.as_ref().unwrap().curiosity;
        pool.pick(now, || 0.29);
        assert!((curiosity(&pool) - 0.27).abs() < 1e-9);
        pool.pick(now, || 0.28);
        assert!((curiosity(&pool) - 0.27).abs() < 1e-9);
        for _ in 0..100 {
            pool.pick(now, || 0.0);
        }
        assert!((curiosity(&pool) - 0.01).abs() < 1e-9);
    }
}
