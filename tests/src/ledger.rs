//! The books of one run: what a broker promised, what it delivered, and whether that agrees.
//!
//! Publishers enter what they send and every `OK`; consumers enter every delivery and every FIN and
//! REQ; whoever ends the broker enters that. From these alone the ledger says what is missing, what
//! came too early, what came though nobody published it, and what came again.
//!
//! Time is an argument. Knows: NSQ's promises. Does not know: sockets, processes, which broker it is.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::dice::Dice;

/// What was finished, or requeued, so short before the broker's end may be forgotten: a second, as
/// promised, and a second for a busy machine, on which what was sent is not yet read.
pub const FORGETTABLE: Duration = Duration::from_secs(2);

/// A topic and one of its channels.
pub type ChannelName = (String, String);

/// See the head of this file.
#[derive(Debug)]
pub struct Ledger {
    seed: u64,
    /// A message's number is its place here.
    published: Vec<Published>,
    channels: BTreeMap<ChannelName, Account>,
    /// When the broker ended, in order.
    ends: Vec<Instant>,
    /// What must not be, in words.
    faults: Vec<String>,
    /// Deliveries, repeated ones included.
    deliveries: u64,
    /// Finished messages that came again, by how many ends had been.
    again: BTreeMap<usize, Again>,
    /// Finished messages that came again though the broker had not ended. Explained if the broker
    /// says later that the FIN came too late.
    unexplained: Vec<(ChannelName, u64)>,
}

#[derive(Debug)]
struct Published {
    topic: String,
    sent: Instant,
    acknowledged: Option<Instant>,
    not_before: Instant,
}

/// What one channel was promised and given.
#[derive(Debug)]
struct Account {
    /// Whether it is the topic's first, which gets what the topic has gathered.
    is_first: bool,
    asked: Instant,
    created: Option<Instant>,
    messages: HashMap<u64, Given>,
}

#[derive(Debug, Default)]
struct Given {
    deliveries: u64,
    finished: Option<Finished>,
    /// When a consumer gave it back, and for how long.
    requeued: Option<(Sent, Duration)>,
}

/// The FINs of a message that the broker did not refuse, of the last of its lives that was sent one. A
/// message that timed out while it lay with its consumer is there twice: one of two FINs is refused, and
/// it is finished all the same.
#[derive(Debug)]
struct Finished {
    /// The last one.
    sent: Sent,
    /// How many.
    standing: u64,
}

/// When something was sent, and to which of the broker's lives: it may not have reached that one's
/// end, and certainly reached no later life.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// How many ends had been when the connection was made.
    pub life: usize,
}

/// What came again after one end although it had been finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// How many messages, over all channels.
    pub messages: u64,
    /// How long before the end the oldest of these FINs had been sent.
    pub oldest: Duration,
}

/// The sums of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages sent, acknowledged or not.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// The longest time from sending a message to its acknowledgement.
    pub slowest: Duration,
    /// Pairs of an acknowledged message and a channel that it is owed to.
    pub owed: u64,
    /// Deliveries, repeated ones included.
    pub deliveries: u64,
    /// Pairs of a message and a channel of which a FIN was sent.
    pub finished: u64,
}

impl Ledger {
    /// Empty books. The seed goes into every body, so that no other run's is taken for one of these.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            published: Vec::new(),
            channels: BTreeMap::new(),
            ends: Vec::new(),
            faults: Vec::new(),
            deliveries: 0,
            again: BTreeMap::new(),
            unexplained: Vec::new(),
        }
    }

    // --- what is entered ---

    /// So many messages are about to be sent, not to be delivered before `delay` has passed. Says
    /// their numbers; [`body`] says what is in them.
    pub fn publishing(
        &mut self,
        topic: &str,
        count: usize,
        delay: Duration,
        now: Instant,
    ) -> Range<u64> {
        let first = index(self.published.len());
        let published = || Published {
            topic: topic.to_owned(),
            sent: now,
            acknowledged: None,
            not_before: now + delay,
        };
        self.published.extend(std::iter::repeat_with(published).take(count));
        first..index(self.published.len())
    }

    /// The broker said `OK` to these.
    pub fn acknowledged(&mut self, numbers: Range<u64>, now: Instant) {
        for number in numbers {
            self.published[place(number)].acknowledged = Some(now);
        }
    }

    /// A channel is about to be created. The first of a topic must be created before the broker is
    /// asked for the second.
    pub fn creating(&mut self, topic: &str, channel: &str, now: Instant) {
        let is_first = !self.channels.keys().any(|(of, _)| of == topic);
        let name = (topic.to_owned(), channel.to_owned());
        self.channels.entry(name).or_insert(Account {
            is_first,
            asked: now,
            created: None,
            messages: HashMap::new(),
        });
    }

    /// The broker said that the channel is there.
    ///
    /// # Panics
    /// When nobody entered that it would be created.
    pub fn created(&mut self, topic: &str, channel: &str, now: Instant) {
        let account = self.channels.get_mut(&(topic.to_owned(), channel.to_owned()));
        account.expect("its creation was entered").created.get_or_insert(now);
    }

    /// A channel has given `body` to a consumer, over a connection made in `life`: what was sent
    /// before an end may be read after it. Says which message it is, if it is one.
    ///
    /// # Panics
    /// When there is no such channel.
    pub fn delivered(
        &mut self,
        name: &ChannelName,
        got: &[u8],
        life: usize,
        now: Instant,
    ) -> Option<u64> {
        let known = number_in(self.seed, got)
            .filter(|&number| number < index(self.published.len()))
            .filter(|&number| body(self.seed, number) == got);
        let Some(number) = known else {
            let shown = String::from_utf8_lossy(&got[..got.len().min(60)]).into_owned();
            self.fault(name, &format!("nobody published {} bytes: {shown:?}", got.len()));
            return None;
        };
        let message = &self.published[place(number)];
        let account = self.channels.get_mut(name).expect("its creation was entered");
        let given = account.messages.entry(number).or_default();
        given.deliveries += 1;
        self.deliveries += 1;
        let mut faults = Vec::new();
        if message.topic != name.0 {
            faults.push(format!("message {number} was published to {}", message.topic));
        }
        if now < message.not_before {
            let early = message.not_before - now;
            faults.push(format!("message {number} came {early:?} before its time"));
        }
        if !account.is_first && message.acknowledged.is_some_and(|at| at < account.asked) {
            faults.push(format!("message {number} is older than the channel"));
        }
        if let Some((requeued, delay)) = given.requeued.take_if(|(sent, _)| sent.life <= life)
            && now < requeued.at + delay
            && (requeued.life == life || requeued.at + FORGETTABLE < self.ends[requeued.life])
        {
            let early = requeued.at + delay - now;
            faults.push(format!("message {number}, requeued, came {early:?} too early"));
        }
        match given.finished.as_ref().map(|finished| finished.sent) {
            Some(finished) if finished.life == life => {
                self.unexplained.push((name.clone(), number));
            }
            Some(finished) if finished.life < life => {
                let end = self.ends[finished.life];
                let again = self.again.entry(self.ends.len()).or_default();
                again.messages += 1;
                again.oldest = again.oldest.max(end.saturating_duration_since(finished.at));
            }
            Some(_) | None => {}
        }
        for fault in faults {
            self.fault(name, &fault);
        }
        Some(number)
    }

    /// A FIN is about to be sent.
    pub fn finished(&mut self, name: &ChannelName, number: u64, sent: Sent) {
        let finished = &mut self.given(name, number).finished;
        let before = finished.take().filter(|before| before.sent.life == sent.life);
        let standing = before.map_or(0, |before| before.standing) + 1;
        *finished = Some(Finished { sent, standing });
    }

    /// The broker refused a FIN that was sent in `life`: it came too late, and the message comes
    /// again, unless another FIN was in time.
    pub fn finish_was_refused(&mut self, name: &ChannelName, number: u64, life: usize) {
        let finished = &mut self.given(name, number).finished;
        if let Some(there) = finished.as_mut().filter(|finished| finished.sent.life == life) {
            there.standing -= 1;
            if there.standing == 0 {
                *finished = None;
            }
        }
        self.unexplained.retain(|(channel, other)| (channel, *other) != (name, number));
    }

    /// The broker refused a REQ: it came too late.
    pub fn requeue_was_refused(&mut self, name: &ChannelName, number: u64) {
        self.given(name, number).requeued = None;
    }

    /// A REQ is about to be sent.
    pub fn requeued(&mut self, name: &ChannelName, number: u64, delay: Duration, sent: Sent) {
        self.given(name, number).requeued = Some((sent, delay));
    }

    /// The broker is about to be ended.
    pub fn ended(&mut self, now: Instant) {
        self.ends.push(now);
    }

    /// Which of the broker's lives this is, for [`Sent`].
    #[must_use]
    pub fn life(&self) -> usize {
        self.ends.len()
    }

    // --- what comes of it ---

    /// Messages that are owed and were never finished, by channel. After everything was drained
    /// there must be none.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<ChannelName, Vec<u64>> {
        let missing = self.channels.iter().map(|(name, account)| {
            let numbers = self.owed(name, account).filter(|&number| !account.is_finished(number));
            (name.clone(), numbers.collect::<Vec<_>>())
        });
        missing.filter(|(_, numbers)| !numbers.is_empty()).collect()
    }

    /// Which of these were not finished meanwhile.
    pub fn retain_missing(&self, missing: &mut BTreeMap<ChannelName, Vec<u64>>) {
        missing.retain(|name, numbers| {
            let account = &self.channels[name];
            numbers.retain(|&number| !account.is_finished(number));
            !numbers.is_empty()
        });
    }

    /// Whether nothing came again after its FIN, unless the broker said why.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        self.unexplained.is_empty()
    }

    /// Deliveries on all channels, repeated ones included.
    #[must_use]
    pub fn all_deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Whether a message was delivered on a channel, for words about what is missing.
    #[must_use]
    pub fn deliveries(&self, name: &ChannelName, number: u64) -> u64 {
        let given = self.channels.get(name).and_then(|account| account.messages.get(&number));
        given.map_or(0, |given| given.deliveries)
    }

    /// What must not be, in words.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let unexplained = self.unexplained.iter().map(|((topic, channel), number)| {
            format!("{topic}/{channel}: message {number} came again after its FIN")
        });
        self.faults.iter().cloned().chain(unexplained).collect()
    }

    /// What came again although it had been finished, for each end after which something did.
    #[must_use]
    pub fn again(&self) -> Vec<Again> {
        self.again.values().copied().collect()
    }

    /// The sums.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums { sent: index(self.published.len()), ..Sums::default() };
        for Published { sent, acknowledged, .. } in &self.published {
            if let Some(acknowledged) = acknowledged {
                sums.acknowledged += 1;
                sums.slowest = sums.slowest.max(*acknowledged - *sent);
            }
        }
        for (name, account) in &self.channels {
            sums.owed += index(self.owed(name, account).count());
            for given in account.messages.values() {
                sums.deliveries += given.deliveries;
                sums.finished += u64::from(given.finished.is_some());
            }
        }
        sums
    }

    /// A message is owed to every channel that was there when it was sent, and to the first channel
    /// of its topic in any case.
    fn owed(&self, name: &ChannelName, account: &Account) -> impl Iterator<Item = u64> {
        (0..).zip(&self.published).filter_map(move |(number, published)| {
            let is_owed = published.topic == name.0
                && published.acknowledged.is_some()
                && account
                    .created
                    .is_some_and(|created| account.is_first || created <= published.sent);
            is_owed.then_some(number)
        })
    }

    fn given(&mut self, name: &ChannelName, number: u64) -> &mut Given {
        let account = self.channels.get_mut(name).expect("its creation was entered");
        account.messages.get_mut(&number).expect("it was delivered")
    }

    fn fault(&mut self, (topic, channel): &ChannelName, what: &str) {
        let ends = self.ends.len();
        self.faults.push(format!("{topic}/{channel}, after {ends} ends: {what}"));
    }
}

/// What is in a message: the seed, its number, and other bytes that both determine. So a body is
/// right when all its bytes are, and a part of it, or two spliced together, is not.
#[must_use]
pub fn body(seed: u64, number: u64) -> Vec<u8> {
    let mut dice = Dice::of(seed, number);
    let longest = if dice.hits(2) { 20_000 } else { 300 };
    let length = usize::try_from(dice.within(0..longest)).expect("a body is short");
    let mut body = format!("{seed} {number} ").into_bytes();
    let end = body.len() + length;
    while body.len() < end {
        body.extend_from_slice(&dice.number().to_le_bytes());
    }
    body.truncate(end);
    body
}

impl Account {
    fn is_finished(&self, number: u64) -> bool {
        self.messages.get(&number).is_some_and(|given| given.finished.is_some())
    }
}

/// Which message a body claims to be.
fn number_in(seed: u64, body: &[u8]) -> Option<u64> {
    let rest = body.strip_prefix(format!("{seed} ").as_bytes())?;
    let number = rest.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn index(place: usize) -> u64 {
    u64::try_from(place).expect("a count fits")
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("it was a place")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 3;

    /// Books with one channel, and a way to name times in milliseconds.
    struct Case {
        ledger: Ledger,
        start: Instant,
        channel: ChannelName,
    }

    impl Case {
        fn new() -> Self {
            let mut case = Self {
                ledger: Ledger::new(SEED),
                start: Instant::now(),
                channel: ("t".to_owned(), "c".to_owned()),
            };
            case.create("c", 0);
            case
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        fn create(&mut self, channel: &str, milliseconds: u64) {
            let at = self.at(milliseconds);
            self.ledger.creating("t", channel, at);
            self.ledger.created("t", channel, at);
        }

        /// A message that is acknowledged in the next millisecond.
        fn publish(&mut self, topic: &str, delay: u64, milliseconds: u64) -> u64 {
            let delay = Duration::from_millis(delay);
            let numbers = self.ledger.publishing(topic, 1, delay, self.at(milliseconds));
            self.ledger.acknowledged(numbers.clone(), self.at(milliseconds + 1));
            numbers.start
        }

        fn deliver(&mut self, number: u64, milliseconds: u64) {
            let (life, at) = (self.ledger.life(), self.at(milliseconds));
            let got = self.ledger.delivered(&self.channel, &body(SEED, number), life, at);
            assert_eq!(got, Some(number));
        }

        fn finish(&mut self, number: u64, milliseconds: u64) {
            let sent = Sent { at: self.at(milliseconds), life: self.ledger.life() };
            self.ledger.finished(&self.channel, number, sent);
        }

        /// A FIN of this life.
        fn refuse(&mut self, number: u64) {
            self.ledger.finish_was_refused(&self.channel, number, self.ledger.life());
        }

        fn has_fault(&self, part: &str) -> bool {
            self.ledger.faults().iter().any(|fault| fault.contains(part))
        }
    }

    #[test]
    fn what_is_acknowledged_is_missing_until_it_is_finished() {
        let mut case = Case::new();
        let number = case.publish("t", 0, 10);
        let is_missing = |case: &Case| case.ledger.missing().get(&case.channel) == Some(&vec![0]);
        assert!(is_missing(&case));
        case.deliver(number, 20);
        assert!(is_missing(&case));
        case.finish(number, 30);
        assert!(case.ledger.missing().is_empty());
        case.refuse(number);
        assert!(is_missing(&case));
    }

    #[test]
    fn one_of_two_finishes_may_be_refused() {
        let mut case = Case::new();
        let number = case.publish("t", 0, 10);
        // It timed out with its consumer, came again, and both copies were finished.
        for milliseconds in [20, 30] {
            case.deliver(number, milliseconds);
            case.finish(number, milliseconds);
        }
        case.refuse(number);
        assert!(case.ledger.missing().is_empty());
        assert_eq!(case.ledger.faults(), Vec::<String>::new());
        case.refuse(number);
        assert!(!case.ledger.missing().is_empty());
        // What an earlier life refused says nothing of this one's.
        case.deliver(number, 40);
        case.finish(number, 40);
        case.ledger.ended(case.at(50));
        case.deliver(number, 60);
        case.finish(number, 70);
        case.ledger.finish_was_refused(&case.channel, number, 0);
        assert!(case.ledger.missing().is_empty());
        case.refuse(number);
        assert!(!case.ledger.missing().is_empty());
    }

    #[test]
    fn what_was_not_acknowledged_is_not_owed() {
        let mut case = Case::new();
        case.ledger.publishing("t", 5, Duration::ZERO, case.at(10));
        assert!(case.ledger.missing().is_empty());
        assert_eq!(case.ledger.sums(), Sums { sent: 5, ..Sums::default() });
    }

    #[test]
    fn a_later_channel_is_owed_what_is_sent_after_its_creation() {
        let mut case = Case::new();
        let before = case.publish("t", 0, 10);
        case.create("late", 20);
        let after = case.publish("t", 0, 30);
        case.channel.1 = "late".to_owned();
        assert_eq!(case.ledger.missing()[&case.channel], [after]);
        case.deliver(after, 40);
        assert_eq!(case.ledger.faults(), Vec::<String>::new());
        case.deliver(before, 40);
        assert!(case.has_fault("older than the channel"));
    }

    #[test]
    fn bodies_must_be_whole_and_of_the_topic() {
        let mut case = Case::new();
        let number = case.publish("t", 0, 10);
        let elsewhere = case.publish("other", 0, 10);
        let whole = body(SEED, number);
        let mut cut = whole.clone();
        cut.pop();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for wrong in [cut, flipped, [whole, b"x".to_vec()].concat(), body(SEED, 99), vec![]] {
            let faults = case.ledger.faults().len();
            assert_eq!(case.ledger.delivered(&case.channel, &wrong, 0, case.at(20)), None);
            assert_eq!(case.ledger.faults().len(), faults + 1);
        }
        case.deliver(elsewhere, 20);
        assert!(case.has_fault("was published to other"));
    }

    #[test]
    fn nothing_may_come_before_its_time() {
        let mut case = Case::new();
        let number = case.publish("t", 500, 10);
        case.ledger.ended(case.at(200));
        case.deliver(number, 510);
        assert_eq!(case.ledger.faults(), Vec::<String>::new());
        case.deliver(number, 509);
        assert!(case.has_fault("before its time"));
    }

    #[test]
    fn a_requeue_is_kept_unless_the_broker_ends_soon_after() {
        // When it was requeued for nine seconds, in which life, and whether it may come at six when
        // the first life ended at 3.5 seconds.
        for (requeued, life, may_come) in
            [(3000, 0, true), (1000, 0, false), (4000, 0, true), (4000, 1, false)]
        {
            let mut case = Case::new();
            let number = case.publish("t", 0, 10);
            case.deliver(number, 20);
            let delay = Duration::from_secs(9);
            let sent = Sent { at: case.at(requeued), life };
            case.ledger.requeued(&case.channel, number, delay, sent);
            case.ledger.ended(case.at(3500));
            case.deliver(number, 6000);
            assert_eq!(case.has_fault("too early"), !may_come, "{requeued} {life}");
        }
    }

    #[test]
    fn what_comes_again_is_counted_by_end_with_its_age() {
        let mut case = Case::new();
        let numbers = [case.publish("t", 0, 10), case.publish("t", 0, 10)];
        for number in numbers {
            case.deliver(number, 20);
        }
        case.finish(numbers[0], 100);
        case.finish(numbers[1], 350);
        case.ledger.ended(case.at(400));
        assert_eq!(case.ledger.again(), []);
        for number in numbers {
            case.deliver(number, 500);
        }
        let oldest = Duration::from_millis(300);
        assert_eq!(case.ledger.again(), [Again { messages: 2, oldest }]);
        assert_eq!(case.ledger.faults(), Vec::<String>::new());
    }

    #[test]
    fn what_was_sent_before_an_end_and_read_after_it_does_not_come_again() {
        let mut case = Case::new();
        let number = case.publish("t", 0, 10);
        case.deliver(number, 20);
        case.ledger.ended(case.at(30));
        case.deliver(number, 40);
        case.finish(number, 50);
        let body = body(SEED, number);
        assert_eq!(case.ledger.delivered(&case.channel, &body, 0, case.at(60)), Some(number));
        assert_eq!(case.ledger.faults(), Vec::<String>::new());
        assert_eq!(case.ledger.again(), []);
    }

    #[test]
    fn what_comes_again_without_an_end_needs_a_refused_finish() {
        let mut case = Case::new();
        let number = case.publish("t", 0, 10);
        case.deliver(number, 20);
        case.finish(number, 30);
        case.deliver(number, 40);
        assert!(case.has_fault("came again after its FIN"));
        case.refuse(number);
        assert!(!case.has_fault("came again after its FIN"));
    }
}
