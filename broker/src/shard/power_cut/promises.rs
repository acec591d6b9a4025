//! What the broker said to its clients and when, by places on the tape, and what follows from it
//! for a loss of power at any other place.
//!
//! Knows no log and no file.

use super::random::Random;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A message by the number that is in its body; numbers are never used again.
pub(super) type Number = u32;

/// From when on something may have happened, and when it had for certain, if that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) begun: usize,
    pub(super) ended: Option<usize>,
}

impl When {
    /// Whether it had happened for certain.
    fn is_over(self, at: usize) -> bool {
        self.ended.is_some_and(|ended| ended <= at)
    }

    /// Whether it may have happened.
    fn has_begun(self, at: usize) -> bool {
        self.begun <= at
    }

    /// Whether it had happened for certain before `later` could.
    fn is_before(self, later: Self) -> bool {
        self.ended.is_some_and(|ended| ended <= later.begun)
    }
}

#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) numbers: std::ops::Range<Number>,
    pub(super) when: When,
    /// It is not to be delivered while the test lasts.
    pub(super) is_far_off: bool,
}

/// From the creation of a topic or channel to its deletion.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) topic: String,
    pub(super) channel: Option<String>,
    pub(super) created: When,
    pub(super) deleted: Option<When>,
}

/// What a client did to a topic or channel.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) topic: String,
    pub(super) channel: Option<String>,
    pub(super) what: T,
    pub(super) when: When,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Promises {
    pub(super) publishes: Vec<Publish>,
    pub(super) lives: Vec<Life>,
    pub(super) emptied: Vec<Done<()>>,
    pub(super) paused: Vec<Done<bool>>,
    /// From where on a message may be finished, by topic, channel and number.
    pub(super) finished: HashMap<(String, String, Number), usize>,
}

/// A channel as it was found.
#[derive(Debug, Default)]
pub(super) struct FoundChannel {
    pub(super) is_paused: bool,
    /// What it would deliver at once.
    pub(super) due: BTreeSet<Number>,
    /// What it would deliver sooner or later.
    pub(super) all: BTreeSet<Number>,
}

/// A topic as it was found. One without channels has a nameless one, of what waits in it.
#[derive(Debug, Default)]
pub(super) struct FoundTopic {
    pub(super) is_paused: bool,
    pub(super) channels: BTreeMap<String, FoundChannel>,
}

pub(super) type Found = BTreeMap<String, FoundTopic>;

impl Promises {
    /// How many publishes were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.publishes.iter().filter(|publish| publish.when.ended.is_some()).count()
    }

    /// Compares what was found after a loss of power at `at` with what was promised by then.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(super) fn check(&self, at: usize, found: &Found) -> Result<(), String> {
        self.check_lives(at, found)?;
        self.check_pauses(at, found)?;
        self.check_messages(at, found)
    }

    fn check_lives(&self, at: usize, found: &Found) -> Result<(), String> {
        for Life { topic, channel, created, deleted } in &self.lives {
            let there = found.get(topic);
            let is_there = match channel {
                None => there.is_some(),
                Some(channel) => there.is_some_and(|it| it.channels.contains_key(channel)),
            };
            let is_kept = created.is_over(at) && deleted.is_none_or(|gone| !gone.has_begun(at));
            if is_kept && !is_there {
                return Err(format!("{topic}/{channel:?} was created, and is not there"));
            }
            // A channel may come back: its checkpoint is not synced.
            let is_gone = channel.is_none()
                && deleted.is_some_and(|gone| gone.is_over(at))
                && !self.has_other_life(topic, *created, at);
            if is_gone && is_there {
                return Err(format!("{topic} was deleted, and is there"));
            }
        }
        Ok(())
    }

    fn has_other_life(&self, topic: &str, but: When, at: usize) -> bool {
        let topics = self.lives.iter().filter(|life| life.channel.is_none() && life.topic == topic);
        let mut others =
            topics.filter(|life| life.created.begun != but.begun && life.created.has_begun(at));
        others.any(|life| life.deleted.is_none_or(|gone| !gone.is_over(at)))
    }

    fn check_pauses(&self, at: usize, found: &Found) -> Result<(), String> {
        let mut known: BTreeMap<_, Option<bool>> = BTreeMap::new();
        for Done { topic, channel, what, when } in &self.paused {
            if when.has_begun(at) {
                known.insert((topic, channel), when.is_over(at).then_some(*what));
            }
        }
        for ((topic, channel), paused) in known {
            let Some(there) = found.get(topic) else { continue };
            let is_paused = match channel {
                None => Some(there.is_paused),
                Some(channel) => there.channels.get(channel).map(|channel| channel.is_paused),
            };
            if let (Some(is_paused), Some(paused)) = (is_paused, paused)
                && is_paused != paused
            {
                return Err(format!("{topic}/{channel:?} should be paused: {paused}"));
            }
        }
        Ok(())
    }

    fn check_messages(&self, at: usize, found: &Found) -> Result<(), String> {
        let nobody = FoundTopic::default();
        for publish in &self.publishes {
            let topic = found.get(&publish.topic).unwrap_or(&nobody);
            for (channel, there) in &topic.channels {
                if publish.is_far_off
                    && let Some(number) = publish.numbers.clone().find(|it| there.due.contains(it))
                {
                    return Err(format!("{}/{channel} has {number} too early", publish.topic));
                }
            }
            if !publish.when.is_over(at) || self.is_forgotten(publish, at) {
                continue;
            }
            for channel in self.owing(publish, at) {
                let there = match &channel {
                    // Whoever there is.
                    None => topic.channels.values().next(),
                    Some(channel) => topic.channels.get(channel),
                };
                for number in publish.numbers.clone() {
                    let is_there = there.is_some_and(|there| there.all.contains(&number));
                    if !is_there && !self.is_finished(publish, channel.as_deref(), number, at) {
                        return Err(format!(
                            "{}/{channel:?} owes {number}, acknowledged at {:?}, and has it not",
                            publish.topic, publish.when
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the topic's messages of then went with the topic, or were dropped.
    fn is_forgotten(&self, publish: &Publish, at: usize) -> bool {
        let is_topic =
            |topic: &String, channel: &Option<String>| *topic == publish.topic && channel.is_none();
        let gone = self.lives.iter().filter(|life| is_topic(&life.topic, &life.channel));
        let gone = gone.filter_map(|life| life.deleted);
        let emptied = self.emptied.iter().filter(|it| is_topic(&it.topic, &it.channel));
        gone.chain(emptied.map(|it| it.when))
            .any(|when| when.has_begun(at) && !when.is_before(publish.when))
    }

    /// The channels that owe the messages; `None` for the topic itself, while there is none.
    fn owing(&self, publish: &Publish, at: usize) -> Vec<Option<String>> {
        let channels: Vec<_> = self
            .lives
            .iter()
            .filter(|life| life.topic == publish.topic && life.channel.is_some())
            .filter(|life| life.created.has_begun(at))
            .collect();
        if channels.is_empty() {
            return vec![None];
        }
        let first = channels.iter().map(|life| life.created.begun).min();
        let owing = channels.into_iter().filter(|life| {
            let is_there = life.created.is_over(at)
                && life.deleted.is_none_or(|gone| !gone.has_begun(at))
                && !self.was_emptied(life, publish, at);
            // What came before the first one waited for it.
            is_there && (life.created.is_before(publish.when) || Some(life.created.begun) == first)
        });
        owing.map(|life| life.channel.clone()).collect()
    }

    fn was_emptied(&self, life: &Life, publish: &Publish, at: usize) -> bool {
        let mut emptied = self
            .emptied
            .iter()
            .filter(|it| (&it.topic, &it.channel) == (&life.topic, &life.channel));
        emptied.any(|it| it.when.has_begun(at) && !it.when.is_before(publish.when))
    }

    fn is_finished(
        &self,
        publish: &Publish,
        channel: Option<&str>,
        number: Number,
        at: usize,
    ) -> bool {
        let Some(channel) = channel else { return false };
        let finished = self.finished.get(&(publish.topic.clone(), channel.to_owned(), number));
        finished.is_some_and(|&begun| begun <= at)
    }
}

/// The body of a message: its number, and bytes that follow from it; a few fill a segment.
pub(super) fn body_of(number: Number) -> Vec<u8> {
    let mut random = Random::new(u64::from(number));
    let length = match random.below(40) {
        0 => 3_000 + random.below(3_000),
        1..8 => random.below(900),
        _ => random.below(120),
    };
    let mut body = format!("{number:08}").into_bytes();
    while body.len() < length {
        body.extend_from_slice(&random.number().to_be_bytes());
    }
    body
}

/// The number of a body that is as it was published.
///
/// # Errors
/// A sentence, when it is not.
pub(super) fn number_of(body: &[u8]) -> Result<Number, String> {
    let number = body.get(..8).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let number = number.ok_or("a body without a number")?;
    if body == body_of(number) { Ok(number) } else { Err(format!("{number} has wrong bytes")) }
}
