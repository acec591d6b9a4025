//! How many messages each connection of a consumer may have in flight.
//!
//! Rules (NSQ behaviour, that of go-nsq): `max_in_flight` is shared evenly; where there are more
//! connections than that, some have 0 and the shares go round; when messages fail, all have 0 for a
//! while, then one has 1, until as many messages went well as failed.
//!
//! Pure: time, chance and what happened are arguments, and what is to be done is the result. Other
//! than in go-nsq, the share of a connection that ends goes to the others at once, and a share can
//! always be made smaller.

use std::time::Duration;

use startup::duration;

use super::log::Level;
use super::options::{BackoffStrategy, Options};

/// One connection of a consumer.
pub(super) type Key = u64;

/// When something happened: the time since the consumer began.
pub(super) type Moment = Duration;

/// What a share is tried again after that could not be given for want of room.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// RDY goes to this connection.
    Send(Key, i64),
    /// A line of the log, about a connection if there is one.
    Say(Level, Option<Key>, String),
    /// [`Ready::resume`] is to be called after so long.
    ResumeAfter(Duration),
    /// [`Ready::retry`] is to be called after [`RETRY_AFTER`].
    Retry(Key, Attempt),
}

/// Which try of several to give a connection its share: an older one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt(u64);

/// How a message was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It went well.
    Finished,
    /// It failed, and that is a reason to slow down.
    Failed,
    /// It is put off, which says nothing.
    PutOff,
}

/// What of the options matters here.
#[derive(Clone, Debug)]
struct Rules {
    max_in_flight: i64,
    low_rdy_idle_timeout: Duration,
    low_rdy_timeout: Duration,
    strategy: BackoffStrategy,
    multiplier: Duration,
    max_backoff: Duration,
}

/// The ready counts of all connections of a consumer, and whether it backs off.
#[derive(Debug)]
pub(super) struct Ready {
    rules: Rules,
    connections: Vec<Connection>,
    /// Of all connections together.
    total: i64,
    /// How many failures are not made good.
    backoff_level: u32,
    /// All have 0 until a time that was told.
    is_waiting: bool,
    wants_redistribution: bool,
    attempts: u64,
}

#[derive(Debug)]
struct Connection {
    key: Key,
    ready: i64,
    max_ready: i64,
    /// When it was last given more than 0.
    ready_since: Moment,
    last_message: Moment,
    is_closing: bool,
    /// A share that it still is to be given.
    retry: Option<(Attempt, i64)>,
}

impl Ready {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            rules: Rules {
                max_in_flight: options.max_in_flight,
                low_rdy_idle_timeout: options.low_rdy_idle_timeout.duration(),
                low_rdy_timeout: options.low_rdy_timeout.duration(),
                strategy: options.backoff_strategy,
                multiplier: options.backoff_multiplier.duration(),
                max_backoff: options.max_backoff_duration.duration(),
            },
            connections: Vec::new(),
            total: 0,
            backoff_level: 0,
            is_waiting: false,
            wants_redistribution: false,
            attempts: 0,
        }
    }

    pub(super) fn max_in_flight(&self) -> i64 {
        self.rules.max_in_flight
    }

    /// A connection is there, which takes at most so much. The others make room for it.
    pub(super) fn connected(&mut self, key: Key, max_ready: i64, now: Moment) -> Vec<Step> {
        self.connections.push(Connection {
            key,
            ready: 0,
            max_ready,
            ready_since: now,
            last_message: now,
            is_closing: false,
            retry: None,
        });
        self.share(now)
    }

    /// A connection is to get nothing more: its broker lets it go, or it broke.
    pub(super) fn closing(&mut self, key: Key) {
        if let Some(connection) = self.find(key) {
            connection.is_closing = true;
        }
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, key: Key, now: Moment) -> Vec<Step> {
        let Some(at) = self.connections.iter().position(|connection| connection.key == key) else {
            return Vec::new();
        };
        let gone = self.connections.remove(at);
        self.total -= gone.ready;
        let left = self.connections.len();
        let text = format!("there are {left} connections left alive");
        let mut steps = vec![Step::Say(Level::Warning, None, text)];
        let had_share = gone.retry.is_some() || 0 < gone.ready;
        let is_enough_for_all = i64::try_from(left) == Ok(self.rules.max_in_flight);
        if had_share && (is_enough_for_all || 0 < self.backoff_level) {
            self.wants_redistribution = true;
        }
        steps.extend(self.share(now));
        steps
    }

    /// Messages came over a connection.
    pub(super) fn came(&mut self, key: Key, now: Moment) {
        if let Some(connection) = self.find(key) {
            connection.last_message = now;
        }
    }

    /// All connections together may now have so many in flight.
    pub(super) fn set_max_in_flight(&mut self, max_in_flight: i64, now: Moment) -> Vec<Step> {
        if self.rules.max_in_flight == max_in_flight {
            return Vec::new();
        }
        self.rules.max_in_flight = max_in_flight;
        self.share(now)
    }

    /// Whether a message that went well changes nothing.
    pub(super) fn is_at_ease(&self) -> bool {
        self.backoff_level == 0
    }

    /// A message was answered. `chance` gives numbers from 0 up to 1.
    pub(super) fn answered(
        &mut self,
        answer: Answer,
        now: Moment,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Step> {
        // Many that fail together count once.
        if self.is_waiting {
            return Vec::new();
        }
        let mut has_changed = false;
        match answer {
            Answer::Finished if 0 < self.backoff_level => {
                self.backoff_level -= 1;
                has_changed = true;
            }
            Answer::Failed => {
                let next = self.backoff(self.backoff_level + 1, &mut chance);
                if next <= self.rules.max_backoff {
                    self.backoff_level += 1;
                    has_changed = true;
                }
            }
            Answer::Finished | Answer::PutOff => {}
        }
        let mut steps = Vec::new();
        if self.backoff_level == 0 && has_changed {
            let share = self.share_of_one();
            let text = format!("exiting backoff, returning all to RDY {share}");
            steps.push(Step::Say(Level::Warning, None, text));
            self.give_all(share, now, &mut steps);
        } else if 0 < self.backoff_level {
            let pause = self.backoff(self.backoff_level, &mut chance).min(self.rules.max_backoff);
            let text = format!(
                "backing off for {} (backoff level {}), setting all to RDY 0",
                duration::format(pause),
                self.backoff_level
            );
            steps.push(Step::Say(Level::Warning, None, text));
            self.give_all(0, now, &mut steps);
            self.is_waiting = !pause.is_zero();
            steps.push(Step::ResumeAfter(pause));
        }
        steps
    }

    /// The time that was told with [`Step::ResumeAfter`] is over: one connection tries a message.
    /// `choose` names one of so many.
    pub(super) fn resume(&mut self, now: Moment, choose: impl FnOnce(usize) -> usize) -> Vec<Step> {
        const PAUSE: Duration = Duration::from_secs(1);
        let mut steps = Vec::new();
        let pause = Step::Say(Level::Warning, None, "backing off for 1s".to_owned());
        if self.connections.is_empty() {
            let text = "no connection available to resume".to_owned();
            steps.extend([Step::Say(Level::Warning, None, text), pause, Step::ResumeAfter(PAUSE)]);
            return steps;
        }
        let key = self.connections[choose(self.connections.len())].key;
        let text = "backoff timeout expired, sending RDY 1".to_owned();
        steps.push(Step::Say(Level::Warning, Some(key), text));
        if let Err(reason) = self.give(key, 1, now, &mut steps) {
            let text = format!("error resuming RDY 1 - {reason}");
            let said = Step::Say(Level::Warning, Some(key), text);
            steps.extend([said, pause, Step::ResumeAfter(PAUSE)]);
            return steps;
        }
        self.is_waiting = false;
        steps
    }

    /// A share that could not be given is tried again.
    pub(super) fn retry(&mut self, key: Key, attempt: Attempt, now: Moment) -> Vec<Step> {
        let mut steps = Vec::new();
        let retry = self.find(key).and_then(|connection| connection.retry);
        if let Some((latest, count)) = retry
            && latest == attempt
        {
            // It says itself when there still is no room.
            self.give(key, count, now, &mut steps).ok();
        }
        steps
    }

    /// Every so often: where not all connections can have a share, those that did nothing with
    /// theirs, or had it for long, lose it, and others get it.
    pub(super) fn redistribute(
        &mut self,
        now: Moment,
        mut choose: impl FnMut(usize) -> usize,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_waiting || self.connections.is_empty() {
            return steps;
        }
        let count = i64::try_from(self.connections.len()).unwrap_or(i64::MAX);
        let is_backing_off = 0 < self.backoff_level;
        if self.rules.max_in_flight < count || (is_backing_off && 1 < count) {
            self.wants_redistribution = true;
        }
        if !std::mem::take(&mut self.wants_redistribution) {
            return steps;
        }
        let mut keys: Vec<Key> = self.connections.iter().map(|connection| connection.key).collect();
        let idle: Vec<Key> = self
            .connections
            .iter()
            .filter(|connection| {
                let is_idle =
                    self.rules.low_rdy_idle_timeout < now.saturating_sub(connection.last_message);
                let had_long =
                    self.rules.low_rdy_timeout < now.saturating_sub(connection.ready_since);
                0 < connection.ready && (is_idle || had_long)
            })
            .map(|connection| connection.key)
            .collect();
        for key in idle {
            self.give(key, 0, now, &mut steps).ok();
        }
        let all = if is_backing_off { 1 } else { self.rules.max_in_flight };
        let mut available = all - self.total;
        while 0 < available && !keys.is_empty() {
            available -= 1;
            let key = keys.swap_remove(choose(keys.len()));
            self.give(key, 1, now, &mut steps).ok();
        }
        steps
    }

    /// Whether a connection has nearly all in flight that it may have. `in_flight` says how many.
    pub(super) fn is_starved(&self, mut in_flight: impl FnMut(Key) -> i64) -> bool {
        self.connections.iter().any(|connection| {
            let in_flight = in_flight(connection.key);
            // Whole messages; `ready` is at most 2^31 or so.
            let threshold = connection.ready.saturating_mul(85) / 100;
            threshold <= in_flight && 0 < in_flight && !connection.is_closing
        })
    }

    /// What a connection may have in flight, for the bound of what is not taken yet.
    pub(super) fn of(&self, key: Key) -> i64 {
        let found = self.connections.iter().find(|connection| connection.key == key);
        found.map_or(0, |connection| connection.ready)
    }

    fn find(&mut self, key: Key) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.key == key)
    }

    /// How long it takes after so many failures.
    fn backoff(&self, level: u32, chance: &mut impl FnMut() -> f64) -> Duration {
        let whole = 2_u32.checked_pow(level).unwrap_or(u32::MAX);
        let whole = self.rules.multiplier.saturating_mul(whole);
        match self.rules.strategy {
            BackoffStrategy::Exponential => whole,
            BackoffStrategy::FullJitter => whole.mul_f64(chance().clamp(0.0, 1.0)),
        }
    }

    /// An even share, at least 1, at most all.
    fn share_of_one(&self) -> i64 {
        let count = i64::try_from(self.connections.len()).unwrap_or(i64::MAX).max(1);
        (self.rules.max_in_flight / count).max(1).min(self.rules.max_in_flight)
    }

    /// Gives each connection its share, but for those times when chance gives.
    fn share(&mut self, now: Moment) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.backoff_level == 0 && !self.is_waiting {
            let share = self.share_of_one();
            self.give_all(share, now, &mut steps);
        }
        steps
    }

    fn give_all(&mut self, count: i64, now: Moment, steps: &mut Vec<Step>) {
        let keys: Vec<Key> = self.connections.iter().map(|connection| connection.key).collect();
        for key in keys {
            // It says itself when there is no room.
            self.give(key, count, now, steps).ok();
        }
    }

    /// Gives a connection a ready count, as far as there is room among all.
    fn give(
        &mut self,
        key: Key,
        count: i64,
        now: Moment,
        steps: &mut Vec<Step>,
    ) -> Result<(), &'static str> {
        let (all, total) = (self.rules.max_in_flight, self.total);
        let attempt = Attempt(self.attempts);
        self.attempts += 1;
        let Some(connection) = self.find(key).filter(|connection| !connection.is_closing) else {
            return Err("closing");
        };
        let count = count.min(connection.max_ready);
        connection.retry = None;
        let possible = all - total + connection.ready;
        if possible <= 0 && connection.ready < count {
            if connection.ready == 0 {
                connection.retry = Some((attempt, count));
                steps.push(Step::Retry(key, attempt));
            }
            return Err("over configure max-inflight");
        }
        let count = if 0 < possible { count.min(possible) } else { count };
        let before = std::mem::replace(&mut connection.ready, count);
        if 0 < count {
            connection.ready_since = now;
        }
        if before != count {
            steps.push(Step::Send(key, count));
        }
        self.total += count - before;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ready(max_in_flight: i64, settings: &[(&str, &str)]) -> Ready {
        let mut options = Options { max_in_flight, ..Options::default() };
        for (key, value) in settings {
            options.set(key, Some(value)).unwrap();
        }
        Ready::new(&options)
    }

    fn connected(max_in_flight: i64, count: u64) -> Ready {
        let mut ready = ready(max_in_flight, &[]);
        for key in 0..count {
            ready.connected(key, 2500, Duration::ZERO);
        }
        ready
    }

    fn shares(ready: &Ready) -> Vec<i64> {
        ready.connections.iter().map(|connection| connection.ready).collect()
    }

    fn sent(steps: &[Step]) -> Vec<(Key, i64)> {
        let sent = steps.iter().filter_map(|step| match step {
            Step::Send(key, count) => Some((*key, *count)),
            _ => None,
        });
        sent.collect()
    }

    fn said(steps: &[Step]) -> Vec<&str> {
        let said = steps.iter().filter_map(|step| match step {
            Step::Say(_, _, text) => Some(text.as_str()),
            _ => None,
        });
        said.collect()
    }

    #[test]
    fn connections_share_evenly_and_the_first_makes_room_for_the_second() {
        let mut ready = ready(200, &[]);
        assert_eq!(sent(&ready.connected(7, 2500, SECOND)), [(7, 200)]);
        assert_eq!(sent(&ready.connected(8, 2500, SECOND)), [(7, 100), (8, 100)]);
        assert_eq!(sent(&ready.connected(9, 50, SECOND)), [(7, 66), (8, 66), (9, 50)]);
        assert_eq!(ready.total, 182);
        let steps = ready.closed(7, SECOND);
        assert_eq!(said(&steps), ["there are 2 connections left alive"]);
        assert_eq!(sent(&steps), [(8, 100)]);
        assert_eq!(sent(&ready.set_max_in_flight(10, SECOND)), [(8, 5), (9, 5)]);
        assert_eq!(sent(&ready.set_max_in_flight(0, SECOND)), [(8, 0), (9, 0)]);
    }

    #[test]
    fn of_more_connections_than_messages_some_wait_and_try_again() {
        let mut ready = connected(2, 2);
        assert_eq!(shares(&ready), [1, 1]);
        let steps = ready.connected(2, 2500, Duration::ZERO);
        let [Step::Retry(2, attempt)] = *steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(shares(&ready), [1, 1, 0]);
        ready.connections[0].is_closing = true;
        ready.closed(0, SECOND);
        assert_eq!(shares(&ready), [1, 1]);
        // The share was given meanwhile: the old try is void.
        assert_eq!(ready.retry(2, attempt, RETRY_AFTER), []);
    }

    #[test]
    fn shares_go_round_among_connections_that_are_idle_or_had_theirs_for_long() {
        let mut ready = connected(1, 3);
        assert_eq!(shares(&ready), [1, 0, 0]);
        // Messages come: nothing changes before 30 seconds.
        ready.came(0, 9 * SECOND);
        assert_eq!(sent(&ready.redistribute(10 * SECOND, |_| 1)), []);
        ready.came(0, 30 * SECOND);
        assert_eq!(sent(&ready.redistribute(31 * SECOND, |_| 1)), [(0, 0), (1, 1)]);
        // None comes for more than ten.
        assert_eq!(sent(&ready.redistribute(41 * SECOND, |_| 2)), [(1, 0), (2, 1)]);
        assert_eq!(shares(&ready), [0, 0, 1]);
    }

    #[test]
    fn nothing_is_redistributed_where_all_have_a_share() {
        let mut ready = connected(10, 3);
        assert_eq!(ready.redistribute(100 * SECOND, |_| 0), []);
    }

    #[test]
    fn after_failures_all_wait_then_one_tries_until_as_many_went_well() {
        let mut ready = connected(10, 2);
        let steps = ready.answered(Answer::Failed, SECOND, || 0.5);
        assert_eq!(said(&steps), ["backing off for 2s (backoff level 1), setting all to RDY 0"]);
        assert_eq!(sent(&steps), [(0, 0), (1, 0)]);
        assert_eq!(steps.last(), Some(&Step::ResumeAfter(2 * SECOND)));
        // Others that fail meanwhile, or go well, change nothing.
        assert_eq!(ready.answered(Answer::Failed, SECOND, || 0.5), []);
        assert_eq!(ready.answered(Answer::Finished, SECOND, || 0.5), []);

        let steps = ready.resume(3 * SECOND, |count| count - 1);
        assert_eq!(said(&steps), ["backoff timeout expired, sending RDY 1"]);
        assert_eq!(sent(&steps), [(1, 1)]);
        let steps = ready.answered(Answer::Failed, 3 * SECOND, || 0.5);
        assert_eq!(said(&steps), ["backing off for 4s (backoff level 2), setting all to RDY 0"]);
        ready.resume(7 * SECOND, |_| 0);
        let steps = ready.answered(Answer::Finished, 7 * SECOND, || 0.5);
        assert_eq!(said(&steps), ["backing off for 2s (backoff level 1), setting all to RDY 0"]);
        ready.resume(9 * SECOND, |_| 0);
        let steps = ready.answered(Answer::Finished, 9 * SECOND, || 0.5);
        assert_eq!(said(&steps), ["exiting backoff, returning all to RDY 5"]);
        assert_eq!(sent(&steps), [(0, 5), (1, 5)]);
        assert_eq!(ready.answered(Answer::PutOff, 9 * SECOND, || 0.5), []);
    }

    #[test]
    fn backing_off_never_takes_longer_than_its_maximum_and_may_be_left_to_chance() {
        let mut ready = connected(10, 1);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let steps = ready.answered(Answer::Failed, SECOND, || 0.5);
            let Some(Step::ResumeAfter(pause)) = steps.last() else { panic!("{steps:?}") };
            pauses.push(pause.as_secs());
            ready.resume(SECOND, |_| 0);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64, 64]);

        let mut ready = self::ready(10, &[("backoff_strategy", "full_jitter")]);
        let steps = ready.answered(Answer::Failed, SECOND, || 0.25);
        assert_eq!(steps.last(), Some(&Step::ResumeAfter(SECOND / 2)));

        let mut ready = self::ready(10, &[("max_backoff_duration", "0s")]);
        assert_eq!(ready.answered(Answer::Failed, SECOND, || 0.5), []);
    }

    #[test]
    fn without_a_connection_it_is_resumed_a_second_later() {
        let mut ready = ready(10, &[]);
        ready.answered(Answer::Failed, SECOND, || 0.5);
        let steps = ready.resume(SECOND, |_| 0);
        assert_eq!(said(&steps), ["no connection available to resume", "backing off for 1s"]);
        assert_eq!(steps.last(), Some(&Step::ResumeAfter(SECOND)));
        assert!(ready.is_waiting);
    }

    #[test]
    fn a_consumer_is_starved_when_a_connection_has_85_of_100_in_flight() {
        let mut ready = connected(200, 2);
        for (in_flight, starved) in [([84, 0], false), ([85, 0], true), ([0, 85], true)] {
            let count = |key: Key| in_flight[usize::try_from(key).unwrap()];
            assert_eq!(ready.is_starved(count), starved, "{in_flight:?}");
        }
        ready.closing(0);
        assert!(!ready.is_starved(|key| if key == 0 { 100 } else { 0 }));
        // One message of one is all of it.
        assert!(connected(1, 1).is_starved(|_| 1));
        assert!(!connected(1, 1).is_starved(|_| 0));
    }
}
