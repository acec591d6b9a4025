//! A drain: nothing new is taken, what is here is delivered, and then the broker ends.
//!
//! The first core leads. It tells the nsqlookupds nothing more, so that they forget this broker and
//! consumers find others; it has every core refuse publishes; and it asks them from time to time
//! what is left. With nothing left the broker stops, as it does at SIGTERM, with status 0.
//!
//! A message is left as long as a channel owes it: waiting, in flight or deferred; so is one that
//! waits in its topic for a channel. Nothing is thrown away: what has no consumer stays, and the
//! drain with it, until somebody takes it or stops the broker by a signal, which keeps it on disk.
//! There is no way back but a new start.

use super::Shard;
use super::departure::FIRST;
use super::jobs::spawn;
use super::state::State;
use crate::routing::placement::ShardId;
use crate::routing::request::{Answer, Question, Request};
use protocol::name::TopicName;
use std::rc::Rc;
use std::time::Duration;

/// How often the cores are asked what is left.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

impl Shard {
    /// Refuses publishes from now on. On the first core all others do, too, once this returns.
    pub(super) async fn drain(self: &Rc<Self>) -> Answer {
        let was_draining = std::mem::replace(&mut self.state.borrow_mut().draining, true);
        if self.here != FIRST || was_draining {
            return Answer::Done;
        }
        tracing::warn!("DRAIN: publishes are refused, and the broker ends when nothing is left");
        crate::lookup::set_addresses(self, &[]);
        for core in self.others() {
            self.ask_other(core, Question::Drain).await;
        }
        let shard = self.clone();
        spawn(async move { shard.stop_when_nothing_is_left().await });
        Answer::Done
    }

    async fn stop_when_nothing_is_left(self: Rc<Self>) {
        loop {
            let left = self.left_everywhere().await;
            if left.is_empty() {
                tracing::info!("DRAIN: nothing is left");
                self.stop_all();
                return;
            }
            let messages: u64 = left.iter().map(|(_, messages)| messages).sum();
            tracing::debug!("DRAIN: {messages} messages of {} topics are left", left.len());
            glommio::timer::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The topics of all cores that have messages left, and how many each has.
    pub async fn left_everywhere(self: &Rc<Self>) -> Vec<(TopicName, u64)> {
        let placement = self.state.borrow().placement;
        let mut all = Vec::new();
        for core in placement.all() {
            match self.ask(core, Question::Left).await {
                Answer::Left(left) => all.extend(left),
                other => unreachable!("a question for what is left is not answered with {other:?}"),
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        all
    }

    /// Has all cores stop.
    pub(super) fn stop_all(&self) {
        for core in self.others() {
            self.state.borrow_mut().outboxes.push(core, Request::Stop);
        }
        self.stopping.wake();
    }

    fn others(&self) -> Vec<ShardId> {
        let placement = self.state.borrow().placement;
        placement.all().filter(|&core| core != self.here).collect()
    }
}

impl State {
    /// The topics of this core that have messages left, and how many each has. A message is counted
    /// once for each channel that owes it.
    pub(super) fn left(&self) -> Vec<(TopicName, u64)> {
        let counted = self.topics.iter().map(|(_, hosted)| {
            let topic = &hosted.topic;
            let owed = topic.channels().map(|channel| channel.depth() + channel.outstanding());
            // What was taken and not written yet was promised, or will be.
            let unwritten = u64::from(0 < topic.log().open_bytes());
            (topic.name(), topic.depth() + owed.sum::<u64>() + unwritten)
        });
        counted.filter(|&(_, messages)| 0 < messages).collect()
    }
}
