//! The topics that are written down: which there are, and what they are all told.
//!
//! Knows: that topics are named by flags or by nsqlookupds, and that one which cannot be had is tried
//! again. Does not know: what is done with a topic's messages, which is [`super::topic`]'s.
//!
//! Bounds: a topic for each name that a flag or an nsqlookupd has, [`ORDERS_MAX`] orders for each.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::tz::TimeZone;
use startup::log::LogLevel;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::disk::{Disk, say};
use super::flags::Flags;
use super::name::Names;
use super::pattern::Pattern;
use super::recorder::{Fatal, Recorder};
use super::topic::{Order, Topic};
use crate::client::consumer::Consumer;
use crate::client::log::Log;
use crate::client::options::Options;
use crate::cluster::Cluster;
use crate::cluster::answer::in_nsq_words;

/// How many orders wait for a topic: one to hang up means as much as many.
const ORDERS_MAX: usize = 2;

/// See the head of this file.
pub(super) struct Topics {
    flags: Flags,
    options: Rc<Options>,
    pattern: Pattern,
    log: Log,
    /// Whom to ask for topics; `None` where the flags name them.
    cluster: Option<Cluster>,
    /// Topics that the flags name, and that are not there yet.
    missing: Vec<String>,
    topics: BTreeMap<String, mpsc::Sender<Order>>,
    tasks: JoinSet<Result<(), Fatal>>,
}

impl Topics {
    /// The topics that the flags name, or those of a cluster.
    pub(super) fn new(flags: Flags, options: Options, cluster: Option<Cluster>) -> Self {
        Self {
            options: Rc::new(options),
            pattern: Pattern::new(&flags.topic_pattern),
            log: Log::to_stderr(),
            cluster,
            missing: flags.topic.clone(),
            flags,
            topics: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Why no topic can match, if that is so.
    pub(super) fn mistake(&self) -> Option<&str> {
        self.pattern.mistake()
    }

    /// Begins with the topics that are wanted and not there yet.
    pub(super) async fn refresh(&mut self) {
        let names = match &self.cluster {
            Some(cluster) => match cluster.topics().await {
                Ok(answer) => {
                    if !answer.failures.is_empty() {
                        not_retrieved(&in_nsq_words(&answer.failures, "\n"));
                    }
                    answer.value
                }
                Err(silence) => return not_retrieved(&silence.to_string()),
            },
            None => std::mem::take(&mut self.missing),
        };
        for name in names {
            if self.topics.contains_key(&name) {
                continue;
            }
            if !self.pattern.matches(&name) {
                let pattern = self.pattern.as_str();
                let text = format!("skipping topic {name} (doesn't match pattern {pattern})");
                say(LogLevel::Warn, &text);
                continue;
            }
            if let Err(error) = self.begin(&name).await {
                let text = format!("couldn't create logger for new topic {name}: {error}");
                say(LogLevel::Error, &text);
                if self.cluster.is_none() {
                    self.missing.push(name);
                }
            }
        }
    }

    async fn begin(&mut self, name: &str) -> Result<(), String> {
        let names = Names::new(&self.flags.naming(), name, TimeZone::system())?;
        let consumer = Consumer::new(name, &self.flags.channel, self.options.clone(), &self.log)?;
        consumer.connect_to_nsqds(&self.flags.nsqd_tcp_address).await?;
        consumer.connect_to_lookupds(&self.flags.lookupd_http_address).await?;
        let topic = Topic::new(consumer, Recorder::new(self.flags.plan(name), names, Disk));
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        self.tasks.spawn_local(topic.run(orders, self.flags.sync_interval));
        self.topics.insert(name.to_owned(), sender);
        Ok(())
    }

    /// Waits until a topic cannot go on; for ever while all can.
    pub(super) async fn failure(&mut self) -> Fatal {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(fatal) = ended.expect("a topic does not panic") {
                return fatal;
            }
        }
        std::future::pending().await
    }

    /// All files end, and the next messages begin others.
    pub(super) fn hang_up(&self) {
        for topic in self.topics.values() {
            // When as many wait already, the topic will hang up without this one.
            topic.try_send(Order::HangUp).ok();
        }
    }

    /// Records what is in flight, and ends.
    pub(super) async fn stop(mut self) -> Result<(), Fatal> {
        for topic in self.topics.values() {
            // A topic that cannot be told has ended.
            topic.send(Order::Stop).await.ok();
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a topic does not panic")?;
        }
        Ok(())
    }
}

fn not_retrieved(why: &str) {
    say(LogLevel::Error, &format!("could not retrieve topic list: {why}"));
}
