//! What all cores count, gathered without holding any of them up.
//!
//! A broker may have thousands of topics and of clients, and whoever asks for them is never in a
//! hurry by a millisecond: a core lists some, then serves its clients, then lists some more. So the
//! figures of one topic are of one moment, and those of two topics need not be.

use super::Shard;
use super::breath::breathe;
use crate::keys::TopicKey;
use crate::routing::request::{Answer, Question};
use protocol::stats::{Filter, Stats, TopicStats};
use std::rc::Rc;

/// Topics, channels and clients that are listed before others have their turn. One takes about a
/// microsecond.
const LISTED_AT_ONCE: usize = 128;

impl Shard {
    /// Asks every core at the same time, and waits for all of them.
    pub async fn gather(self: &Rc<Self>, filter: &Filter) -> Vec<Stats> {
        let placement = self.state.borrow().placement;
        let asked: Vec<_> = placement
            .all()
            .map(|to| {
                let (shard, question) = (self.clone(), Question::Stats(filter.clone()));
                glommio::spawn_local(async move { shard.ask(to, question).await })
            })
            .collect();
        let mut parts = Vec::with_capacity(asked.len());
        for answer in asked {
            match answer.await {
                Answer::Stats(part) => parts.push(*part),
                other => {
                    unreachable!("a question for statistics is not answered with {other:?}")
                }
            }
        }
        parts
    }

    /// What this core has of what was asked for.
    pub(super) async fn own_stats(&self, filter: &Filter) -> Stats {
        let wanted = self.state.borrow().wanted_topics(filter);
        let mut topics = Vec::with_capacity(wanted.len());
        let mut pace = Pace::default();
        for key in wanted {
            topics.extend(self.topic_stats(key, filter, &mut pace).await);
        }
        let producers = match filter.include_clients {
            true => {
                let keys = self.state.borrow().producers();
                let mut producers = Vec::with_capacity(keys.len());
                for some in keys.chunks(LISTED_AT_ONCE) {
                    pace.step(some.len()).await;
                    producers.extend(self.state.borrow().producer_stats(some));
                }
                Some(producers)
            }
            false => None,
        };
        let state = self.state.borrow();
        Stats { topics: Some(topics), producers, ..state.stats(filter) }
    }

    async fn topic_stats(
        &self,
        key: TopicKey,
        filter: &Filter,
        pace: &mut Pace,
    ) -> Option<TopicStats> {
        let unlisted = self.state.borrow().topic_stats(key, filter, self.clock.now())?;
        let mut topic = unlisted.stats;
        pace.step(1 + topic.channels.len()).await;
        for (channel, (name, consumers)) in topic.channels.iter_mut().zip(unlisted.consumers) {
            let mut clients = Vec::with_capacity(consumers.len());
            for some in consumers.chunks(LISTED_AT_ONCE) {
                pace.step(some.len()).await;
                clients.extend(self.state.borrow().consumer_stats(key, name, some));
            }
            channel.clients = Some(clients);
        }
        Some(topic)
    }
}

/// How much was done since the others had their turn.
#[derive(Debug, Default)]
pub struct Pace {
    done: usize,
}

impl Pace {
    /// Lets the others have their turn when `more` things are too many for this one.
    pub async fn step(&mut self, more: usize) {
        self.done += more;
        if LISTED_AT_ONCE < self.done {
            self.done = more;
            breathe().await;
        }
    }
}
