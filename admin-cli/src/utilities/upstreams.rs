//! The addresses that messages are handed on to: whose turn it is, and how long they take.
//!
//! Knows: `--mode` and `--status-every` as `nsq_to_http` and `nsq_to_nsq` have them. Does not know:
//! what an address is, or how a message gets there.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::host_pool::HostPool;
use super::timer_metrics::{self, TimerMetrics};

/// How an address is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turns {
    /// One behind the other, whatever becomes of the messages; the second of the list begins (NSQ
    /// behaviour).
    Fixed,
    /// As [`HostPool::taking_turns`] has it.
    Alive,
    /// As [`HostPool::preferring_fast`] has it.
    Fast,
}

impl Turns {
    /// What the value of `--mode` means, if it is one of the three that both utilities know.
    pub(crate) fn of_mode(mode: &str) -> Option<Self> {
        match mode {
            "round-robin" => Some(Self::Fixed),
            "hostpool" => Some(Self::Alive),
            "epsilon-greedy" => Some(Self::Fast),
            _ => None,
        }
    }
}

/// Addresses, of which there is at least one; they are known by their positions.
#[derive(Debug)]
pub(crate) struct Upstreams {
    addresses: Vec<String>,
    chooser: Chooser,
    /// Of each address; they say nothing when there is only one.
    timers: HashMap<String, TimerMetrics>,
    aggregate: TimerMetrics,
}

#[derive(Debug)]
enum Chooser {
    /// How many were chosen so far.
    Counter(usize),
    Pool(HostPool),
}

impl Upstreams {
    /// The addresses, and lines that warn about `status_every`.
    pub(crate) fn new(
        addresses: Vec<String>,
        turns: Turns,
        status_every: i64,
        now: Instant,
    ) -> (Self, Vec<String>) {
        let chooser = match turns {
            Turns::Fixed => Chooser::Counter(0),
            Turns::Alive => Chooser::Pool(HostPool::taking_turns(&addresses)),
            Turns::Fast => Chooser::Pool(HostPool::preferring_fast(&addresses, now)),
        };
        let each_every = if addresses.len() == 1 { 0 } else { status_every };
        let timers = addresses.iter().map(|address| {
            (address.clone(), TimerMetrics::new(each_every, format!("[{address}]:")))
        });
        let timers = timers.collect();
        let warnings = addresses
            .iter()
            .map(|_| each_every)
            .chain([status_every])
            .filter_map(timer_metrics::warning)
            .collect();
        let aggregate = TimerMetrics::new(status_every, "[aggregate]:");
        (Self { addresses, chooser, timers, aggregate }, warnings)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(crate) fn address(&self, position: usize) -> &str {
        &self.addresses[position]
    }

    /// The address whose turn it is. `dice` gives numbers from 0 up to, and without, 1.
    pub(crate) fn pick(&mut self, now: Instant, dice: impl FnMut() -> f64) -> usize {
        match &mut self.chooser {
            Chooser::Counter(chosen) => {
                *chosen = chosen.wrapping_add(1);
                *chosen % self.addresses.len()
            }
            Chooser::Pool(pool) => pool.pick(now, dice),
        }
    }

    /// The address took a message, so long after it was picked.
    pub(crate) fn succeeded(&mut self, position: usize, took: Duration, now: Instant) {
        if let Chooser::Pool(pool) = &mut self.chooser {
            pool.succeeded(position, took, now);
        }
    }

    /// The address did not.
    pub(crate) fn failed(&mut self, position: usize, now: Instant) {
        if let Chooser::Pool(pool) = &mut self.chooser {
            pool.failed(position, now);
        }
    }

    /// A message is done at this address. The line, when it is time for one.
    pub(crate) fn done_at(&mut self, position: usize, took: Duration) -> Option<String> {
        self.timers.get_mut(&self.addresses[position])?.done(took)
    }

    /// A message is done. The line, when it is time for one.
    pub(crate) fn done(&mut self, took: Duration) -> Option<String> {
        self.aggregate.done(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(addresses: &[&str], mode: &str, every: i64) -> (Upstreams, Vec<String>) {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        Upstreams::new(addresses, Turns::of_mode(mode).unwrap(), every, Instant::now())
    }

    #[test]
    fn only_pools_leave_out_what_failed() {
        for (mode, expected) in [
            ("round-robin", [1, 2, 0, 1, 2]),
            ("hostpool", [0, 2, 0, 2, 0]),
            ("epsilon-greedy", [0, 2, 0, 2, 0]),
        ] {
            let (mut upstreams, _) = upstreams(&["a", "b", "c"], mode, 0);
            let now = Instant::now();
            upstreams.failed(1, now);
            let picks = expected.map(|_| upstreams.pick(now, || 0.9));
            assert_eq!(picks, expected, "{mode}");
        }
        assert_eq!(Turns::of_mode("nonsense"), None);
    }

    #[test]
    fn each_address_has_a_line_of_its_own_when_there_are_several() {
        let (mut several, warnings) = upstreams(&["a", "b"], "hostpool", 1);
        assert_eq!(warnings.len(), 3);
        let took = Duration::from_millis(2);
        assert_eq!(several.done_at(0, took), None);
        assert_eq!(several.done_at(1, took), None);
        assert_eq!(several.done(took), None);
        let rest = "finished 1 - 99th: 2.00ms - 95th: 2.00ms - avg: 2.00ms";
        assert_eq!(several.done_at(1, took), Some(format!("[b]: {rest}")));
        assert_eq!(several.done(took), Some(format!("[aggregate]: {rest}")));
        let (mut one, warnings) = upstreams(&["a"], "hostpool", 1);
        assert_eq!(warnings.len(), 1);
        assert_eq!([one.done_at(0, took), one.done_at(0, took)], [None, None]);
    }
}
