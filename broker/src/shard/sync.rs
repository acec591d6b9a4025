//! Which logs are brought to the disk itself, when, and who waits for it.
//!
//! One *round* at a time on each core. A round takes in all topics that are due; while it runs, the
//! next gathers. So one `fdatasync` of a topic answers all its publishers that came before it, and
//! the topics of a round share the file system's commit (group commit).
//!
//! A topic is due when somebody waits: at once for few, else when half as many wait as rounds had of
//! late, or a moment later if they do not come. Publishers that were answered together come again
//! one after the other, and the first of them would have a round of its own while the others wait
//! for it. With nobody waiting a topic is due after so many messages, or so long after the
//! first one (`--sync-every`, `--sync-timeout`), with a pause between the rounds. With nothing
//! written there is nothing due.
//!
//! Knows: topics by key, counts, time. Does not know: files, and what is told to those who wait.

use crate::clock::Tick;
use crate::config::SyncPace;
use crate::keys::TopicKey;
use crate::limits::{SYNC_GATHER_MILLISECONDS, SYNC_PAUSE_MILLISECONDS};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a log after an attempt to sync it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was written before the round is on the disk itself.
    Synced,
    /// Nothing was tried; it can be another time.
    NotTried,
    /// Nothing is known of what was written up to now. It is never tried again.
    Failed,
}

/// What an outcome means for those who wait, `W` being one of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled<W> {
    /// Those who have their answer now.
    pub waiters: Vec<W>,
    /// Messages that the outcome is about.
    pub messages: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Syncs<W> {
    pace: SyncPace,
    pause: Duration,
    /// Topics with messages that were written and that no round has taken in.
    gathering: BTreeMap<TopicKey, Unsynced<W>>,
    /// The topics of the round that runs and that are not settled.
    round: BTreeMap<TopicKey, Unsynced<W>>,
    /// Before this no topic is due; `None` when none will be.
    due_at: Option<Tick>,
    last_round: Option<Tick>,
    /// How many wait for the next round.
    waiting: usize,
    /// How many waited for a round of late: never less than an eighth below the one before.
    expected: usize,
    /// The broker is going down: nothing is put off any more.
    is_last: bool,
}

#[derive(Debug)]
struct Unsynced<W> {
    messages: u64,
    since: Tick,
    waiters: Vec<W>,
}

impl<W> Syncs<W> {
    /// Nothing written yet.
    pub fn new(pace: SyncPace) -> Self {
        Self {
            pace,
            pause: Duration::from_millis(SYNC_PAUSE_MILLISECONDS),
            gathering: BTreeMap::new(),
            round: BTreeMap::new(),
            due_at: None,
            last_round: None,
            waiting: 0,
            expected: 0,
            is_last: false,
        }
    }

    /// Messages of a topic were written; `waiters` want to know when they are synced.
    pub fn written(
        &mut self,
        topic: TopicKey,
        messages: u64,
        waiters: impl IntoIterator<Item = W>,
        now: Tick,
    ) {
        let nothing = || Unsynced { messages: 0, since: now, waiters: Vec::new() };
        let unsynced = self.gathering.entry(topic).or_insert_with(nothing);
        unsynced.messages += messages;
        let waiting_before = unsynced.waiters.len();
        unsynced.waiters.extend(waiters);
        self.waiting += unsynced.waiters.len() - waiting_before;
        let due = self.due_time(&self.gathering[&topic]);
        self.due_at = Some(self.due_at.map_or(due, |at| at.min(due)));
    }

    fn due_time(&self, unsynced: &Unsynced<W>) -> Tick {
        if self.is_last || (!unsynced.waiters.is_empty() && self.expected <= 2 * self.waiting) {
            return unsynced.since;
        }
        if !unsynced.waiters.is_empty() {
            return unsynced.since.plus(Duration::from_millis(SYNC_GATHER_MILLISECONDS));
        }
        let due = if self.pace.messages <= unsynced.messages {
            unsynced.since
        } else {
            unsynced.since.plus(self.pace.after)
        };
        self.last_round.map_or(due, |last| due.max(last.plus(self.pause)))
    }

    /// When [`Self::start_round`] has something to do next; `None` while a round runs, since its
    /// end is waited for.
    pub fn wake_at(&self) -> Option<Tick> {
        self.due_at.filter(|_| !self.is_running())
    }

    /// Starts a round of the topics that are due, unless one runs. Each of them must be settled.
    pub fn start_round(&mut self, now: Tick) -> Option<Vec<TopicKey>> {
        self.wake_at().filter(|&at| at <= now)?;
        let gathering = std::mem::take(&mut self.gathering);
        let (due, others) =
            gathering.into_iter().partition(|(_, unsynced)| self.due_time(unsynced) <= now);
        (self.round, self.gathering) = (due, others);
        let count = |topics: &BTreeMap<_, Unsynced<W>>| -> usize {
            topics.values().map(|unsynced| unsynced.waiters.len()).sum()
        };
        let answered = count(&self.round);
        self.expected = answered.max(self.expected - self.expected.div_ceil(8));
        self.waiting = count(&self.gathering);
        self.last_round = Some(now);
        self.due_at = self.gathering.values().map(|unsynced| self.due_time(unsynced)).min();
        Some(self.round.keys().copied().collect()).filter(|topics: &Vec<_>| !topics.is_empty())
    }

    /// What became of one topic of the round.
    pub fn settle(&mut self, topic: TopicKey, outcome: Outcome, now: Tick) -> Settled<W> {
        let mut settled = Settled { waiters: Vec::new(), messages: 0 };
        // One that was forgotten is nobody's any more.
        let Some(Unsynced { messages, waiters, .. }) = self.round.remove(&topic) else {
            return settled;
        };
        settled.messages = messages;
        settled.waiters = waiters;
        match outcome {
            Outcome::Synced => {}
            Outcome::NotTried if self.is_last => {}
            Outcome::NotTried => self.written(topic, messages, [], now),
            Outcome::Failed => {
                // What was written while the disk was failing went the same way: the kernel tells
                // of an error once, and a later sync would report success for pages it dropped.
                if let Some(meanwhile) = self.gathering.remove(&topic) {
                    self.waiting -= meanwhile.waiters.len();
                    settled.messages += meanwhile.messages;
                    settled.waiters.extend(meanwhile.waiters);
                }
            }
        }
        settled
    }

    /// The topic is gone: who waited for it.
    pub fn forget(&mut self, topic: TopicKey) -> Vec<W> {
        let gathered = self.gathering.remove(&topic);
        self.waiting -= gathered.as_ref().map_or(0, |unsynced| unsynced.waiters.len());
        let parts = [self.round.remove(&topic), gathered];
        parts.into_iter().flatten().flat_map(|unsynced| unsynced.waiters).collect()
    }

    /// The broker is going down: everything is due at once from now on.
    pub fn finish(&mut self) {
        self.is_last = true;
        self.due_at = self.gathering.values().map(|unsynced| unsynced.since).min();
    }

    /// Whether a round runs.
    pub fn is_running(&self) -> bool {
        !self.round.is_empty()
    }

    /// Whether the round that runs has this topic.
    pub fn is_syncing(&self, topic: TopicKey) -> bool {
        self.round.contains_key(&topic)
    }

    /// Whether nothing was written that is not synced.
    pub fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.round.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn publishers_that_were_answered_together_are_waited_for() {
        let [a, b] = topics();
        let mut syncs = Syncs::new(PACE);
        for _ in 0..16 {
            syncs.written(a, 1, ["first"], at(0));
        }
        assert_eq!(syncs.start_round(at(0)), Some(vec![a]), "nobody is expected yet");
        syncs.settle(a, Outcome::Synced, at(1));
        for _ in 0..7 {
            syncs.written(a, 1, ["second"], at(2));
        }
        assert_eq!((syncs.start_round(at(2)), syncs.wake_at()), (None, Some(at(3))));
        syncs.written(b, 1, ["eighth"], at(2));
        assert_eq!(syncs.start_round(at(2)), Some(vec![a, b]), "half of them are here");
        syncs.settle(a, Outcome::Synced, at(3));
        syncs.settle(b, Outcome::Synced, at(3));
        // The others have gone: a lone one is kept waiting less and less, and then not at all.
        let mut rounds = 0;
        loop {
            let now = at(10 + 10 * rounds);
            syncs.written(a, 1, ["alone"], now);
            if syncs.start_round(now).is_some() {
                break;
            }
            assert!(syncs.start_round(now.plus(Duration::from_millis(1))).is_some());
            syncs.settle(a, Outcome::Synced, now.plus(Duration::from_millis(2)));
            rounds += 1;
        }
        assert!((5..=16).contains(&rounds), "{rounds} rounds");
    }

    const MILLISECOND: u64 = 1_000_000;
    const PACE: SyncPace = SyncPace { messages: 2_500, after: Duration::from_secs(2) };

    fn at(milliseconds: u64) -> Tick {
        Tick(milliseconds * MILLISECOND)
    }

    fn topics() -> [TopicKey; 2] {
        let mut keys = SlotMap::with_key();
        [keys.insert(()), keys.insert(())]
    }

    fn settled<const N: usize>(waiters: [&'static str; N], messages: u64) -> Settled<&'static str> {
        Settled { waiters: waiters.to_vec(), messages }
    }

    #[test]
    fn a_round_answers_all_who_waited_and_the_next_gathers_meanwhile() {
        let [a, b] = topics();
        let mut syncs = Syncs::new(PACE);
        syncs.written(a, 1, ["first"], at(5));
        syncs.written(b, 1, ["other topic"], at(5));
        syncs.written(a, 2, ["second"], at(5));
        assert_eq!(syncs.start_round(at(5)), Some(vec![a, b]));
        syncs.written(a, 1, ["late"], at(6));
        assert_eq!((syncs.start_round(at(6)), syncs.wake_at()), (None, None), "one at a time");
        assert_eq!(syncs.settle(b, Outcome::Synced, at(7)), settled(["other topic"], 1));
        assert_eq!(syncs.start_round(at(7)), None, "the round goes on");
        assert_eq!(syncs.settle(a, Outcome::Synced, at(8)), settled(["first", "second"], 3));
        assert_eq!(syncs.start_round(at(8)), Some(vec![a]), "who waits has no pause");
        assert_eq!(syncs.settle(a, Outcome::Synced, at(9)), settled(["late"], 1));
        assert!(syncs.is_idle());
        assert_eq!(syncs.wake_at(), None, "nothing written, nothing to do");
    }

    #[test]
    fn a_failed_sync_refuses_what_was_written_while_it_failed_too() {
        let [a, b] = topics();
        let mut syncs = Syncs::new(PACE);
        syncs.written(a, 1, ["first"], at(0));
        syncs.start_round(at(0)).unwrap();
        syncs.written(a, 1, ["late"], at(0));
        syncs.written(b, 1, ["other topic"], at(0));
        assert_eq!(syncs.settle(a, Outcome::Failed, at(1)), settled(["first", "late"], 2));
        assert_eq!(syncs.start_round(at(1)), Some(vec![b]), "a failed sync is not tried again");
    }

    #[test]
    fn what_was_not_tried_is_tried_again_but_not_waited_for() {
        let [a, _] = topics();
        let mut syncs = Syncs::new(PACE);
        syncs.written(a, 7, ["first"], at(0));
        syncs.start_round(at(0)).unwrap();
        syncs.written(a, 1, ["late"], at(0));
        assert_eq!(syncs.settle(a, Outcome::NotTried, at(1)), settled(["first"], 7));
        assert_eq!(syncs.start_round(at(1)), Some(vec![a]));
        assert_eq!(syncs.settle(a, Outcome::NotTried, at(1)), settled(["late"], 8));
        assert_eq!(syncs.wake_at(), Some(at(2_001)));
    }

    #[test]
    fn what_nobody_waits_for_is_synced_after_so_many_messages_or_so_long() {
        let [a, b] = topics();
        let mut syncs: Syncs<()> = Syncs::new(PACE);
        syncs.written(a, 2_499, [], at(10));
        syncs.written(b, 1, [], at(20));
        assert_eq!(syncs.wake_at(), Some(at(2_010)));
        assert_eq!(syncs.start_round(at(2_009)), None);
        syncs.written(b, 2_499, [], at(100));
        assert_eq!(syncs.start_round(at(100)), Some(vec![b]));
        syncs.settle(b, Outcome::Synced, at(101));
        assert_eq!(syncs.wake_at(), Some(at(2_010)));
        assert_eq!(syncs.start_round(at(2_010)), Some(vec![a]));
        syncs.settle(a, Outcome::Synced, at(2_011));
        assert_eq!(syncs.wake_at(), None);
    }

    #[test]
    fn rounds_that_nobody_waits_for_keep_their_distance() {
        let [a, _] = topics();
        let mut syncs = Syncs::new(PACE);
        let many = |syncs: &mut Syncs<()>, now| syncs.written(a, 1_000_000, [], now);
        many(&mut syncs, at(0));
        syncs.start_round(at(0)).unwrap();
        syncs.settle(a, Outcome::Synced, at(30));
        many(&mut syncs, at(40));
        assert_eq!(syncs.wake_at(), Some(at(100)));
        assert_eq!(syncs.start_round(at(99)), None);
        assert_eq!(syncs.start_round(at(100)), Some(vec![a]));
    }

    #[test]
    fn at_the_end_everything_is_due_and_nothing_is_put_off() {
        let [a, b] = topics();
        let mut syncs: Syncs<()> = Syncs::new(PACE);
        syncs.written(a, 1, [], at(0));
        syncs.start_round(at(2_000)).unwrap();
        syncs.written(b, 1, [], at(2_000));
        syncs.finish();
        assert_eq!(syncs.start_round(at(2_001)), None);
        syncs.settle(a, Outcome::NotTried, at(2_001));
        assert_eq!(syncs.start_round(at(2_001)), Some(vec![b]));
        syncs.settle(b, Outcome::Synced, at(2_001));
        assert!(syncs.is_idle());
    }

    #[test]
    fn who_waited_for_a_topic_that_is_gone_is_named_and_its_outcome_tells_nobody() {
        let [a, _] = topics();
        let mut syncs = Syncs::new(PACE);
        syncs.written(a, 1, ["first"], at(0));
        syncs.start_round(at(0)).unwrap();
        syncs.written(a, 1, ["late"], at(0));
        assert_eq!(syncs.forget(a), ["first", "late"]);
        assert_eq!(syncs.settle(a, Outcome::Failed, at(1)), settled([], 0));
        assert_eq!(syncs.start_round(at(1)), None);
    }
}
