//! How long things take on one core, in classes, at a cost that does not grow with messages.
//!
//! Knows: what is looked at, and what is passed over. Does not know: clocks, who asks.
//!
//! | what | which of them | cost |
//! |---|---|---|
//! | from a publish to its answer being sent | on each core one at a time is followed | two comparisons a publish, a look at the clock for each that is followed |
//! | from a message's timestamp to its first delivery | the first, and so the oldest, of those that a consumer is handed together | one count for each handful |
//! | a sync of a log | each | two looks at the clock |

use crate::clock::Tick;
use crate::connection::answers::AnswerPlace;
use crate::keys::ConnectionKey;
use std::time::Duration;

/// Upper bounds of classes, in microseconds: three a decade, from what a turn takes to what makes
/// clients give up.
const BOUNDS: [u32; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Times in classes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// By class; the last is for what is beyond all bounds.
    counts: [u64; BOUNDS.len() + 1],
    /// All of them together.
    sum: Duration,
}

impl Histogram {
    /// Something took so long.
    pub fn note(&mut self, took: Duration) {
        let class = BOUNDS.partition_point(|&bound| Duration::from_micros(bound.into()) < took);
        self.counts[class] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// What another core noted comes on top.
    pub fn add(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Of each class its upper bound in seconds, and what is in it alone.
    pub fn classes(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BOUNDS.iter().zip(self.counts).map(|(&bound, count)| (f64::from(bound) / 1e6, count))
    }

    /// What is beyond all bounds.
    pub fn beyond(&self) -> u64 {
        self.counts[BOUNDS.len()]
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// From a publish to its answer being sent.
    pub publish: Histogram,
    /// From a message's timestamp to its first delivery.
    pub delivery: Histogram,
    /// Syncs of logs.
    pub sync: Histogram,
    /// Connections of clients; counted when it is asked for.
    pub tcp_connections: u64,
    /// HTTP connections; counted when it is asked for.
    pub http_connections: u64,
}

impl Measures {
    /// What another core measured comes on top.
    pub fn add(&mut self, other: &Self) {
        self.publish.add(&other.publish);
        self.delivery.add(&other.delivery);
        self.sync.add(&other.sync);
        self.tcp_connections += other.tcp_connections;
        self.http_connections += other.http_connections;
    }
}

/// The publish that is followed on a core, if one is.
#[derive(Debug, Default)]
pub struct Followed(Option<Publish>);

#[derive(Debug)]
struct Publish {
    connection: ConnectionKey,
    place: AnswerPlace,
    since: Tick,
    is_answered: bool,
}

impl Followed {
    /// A client publishes: it is followed unless another is.
    pub fn published(&mut self, connection: ConnectionKey, place: AnswerPlace, now: Tick) {
        if self.0.is_none() {
            self.0 = Some(Publish { connection, place, since: now, is_answered: false });
        }
    }

    /// A publish has its answer, which is sent when the turn ends. One that was refused is of no
    /// interest.
    pub fn answered(&mut self, connection: ConnectionKey, place: AnswerPlace, is_ok: bool) {
        let Some(followed) = &mut self.0 else { return };
        if followed.place != place || followed.connection != connection {
            return;
        }
        if is_ok {
            followed.is_answered = true;
        } else {
            self.0 = None;
        }
    }

    /// A connection has gone, or moved.
    pub fn left(&mut self, connection: ConnectionKey) {
        self.0.take_if(|followed| followed.connection == connection);
    }

    /// Whether the one that is followed has its answer.
    pub fn is_answered(&self) -> bool {
        self.0.as_ref().is_some_and(|followed| followed.is_answered)
    }

    /// The turn has ended: how long the one took that has its answer. The next may be followed.
    pub fn sent(&mut self, now: Tick) -> Option<Duration> {
        self.0.take_if(|followed| followed.is_answered).map(|sent| now.since(sent.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::answers::Answers;
    use slotmap::SlotMap;

    #[test]
    fn a_time_is_in_the_class_of_the_next_higher_bound() {
        let mut histogram = Histogram::default();
        for microseconds in [0, 10, 11, 25, 9_999_999, 10_000_000, 10_000_001, 60_000_000] {
            histogram.note(Duration::from_micros(microseconds));
        }
        let mut both = histogram;
        both.add(&histogram);
        let filled: Vec<_> = both.classes().filter(|(_, count)| *count != 0).collect();
        assert_eq!(filled, [(0.00001, 4), (0.000_025, 4), (10.0, 4)]);
        assert_eq!((both.beyond(), both.sum()), (4, Duration::from_micros(2 * 90_000_046)));
    }

    #[test]
    fn one_publish_at_a_time_is_followed_to_the_end_of_the_turn_that_answers_it() {
        let mut keys = SlotMap::with_key();
        let [ann, bob] = [(); 2].map(|()| keys.insert(()));
        let mut answers: Answers<()> = Answers::default();
        let [first, second] = [(); 2].map(|()| answers.promise());
        let mut followed = Followed::default();
        followed.published(ann, first, Tick(100));
        followed.published(bob, second, Tick(200));
        followed.answered(bob, second, true);
        followed.answered(bob, first, true);
        assert!(!followed.is_answered());
        assert_eq!(followed.sent(Tick(300)), None);
        followed.answered(ann, first, true);
        assert!(followed.is_answered());
        assert_eq!(followed.sent(Tick(400)), Some(Duration::from_nanos(300)));
        assert_eq!(followed.sent(Tick(400)), None);

        followed.published(bob, second, Tick(500));
        followed.answered(bob, second, false);
        followed.published(ann, second, Tick(600));
        followed.left(bob);
        followed.left(ann);
        followed.published(bob, first, Tick(700));
        followed.answered(bob, first, true);
        assert_eq!(followed.sent(Tick(710)), Some(Duration::from_nanos(10)));
    }
}
