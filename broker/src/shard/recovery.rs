//! What a core finds on disk when it starts: its topics, their messages, where their channels were.
//!
//! Nothing on disk keeps the broker from starting: what cannot be used is set aside and said, and a
//! topic whose folder cannot be opened refuses publishes and says why.

use super::Shard;
use super::abreast::abreast;
use super::departure::FIRST;
use super::state::Job;
use crate::channel::messages_in;
use crate::clock::Now;
use crate::disk::{blocking, names_in};
use crate::import::queues;
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::losses::Losses;
use crate::log::storage_ring::{self, Folders, Opened, TopicFolder};
use crate::log::{Log, LogOptions};
use crate::message::Sequence;
use crate::shard::topics::{self, Folder};
use crate::topic::Topic;
use crate::topic::catalogue::{Catalogue, Change, Listed};
use crate::topic::list::List;
use protocol::name::{ChannelName, TopicName};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// A topic as it was found on disk.
#[derive(Debug)]
pub(super) struct Restored {
    /// The topic.
    pub topic: Topic,
    /// Its folder.
    pub folder: Folder,
    /// Of later messages its checkpoint knew nothing.
    pub checkpoint_end: Sequence,
    /// What was lost of its log.
    pub losses: Losses,
}

/// How often, and with which pauses, a topic is tried to be opened where no descriptor or no memory
/// is left.
const SHORTAGE_TRIES: u32 = 50;
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

impl Shard {
    /// Takes in the topics that this core owns: those that `nsqd.dat` lists, and those that have a
    /// folder, as a crash may have come between the two, or a disk queue of NSQ's.
    ///
    /// # Errors
    /// A sentence, when the data path cannot be listed.
    pub(super) async fn recover(self: &Rc<Self>, catalogue: Rc<Catalogue>) -> Result<(), String> {
        let data_path = &self.config.data_path;
        let path = data_path.clone();
        let names = blocking(move || names_in(&path))
            .await
            .map_err(|error| format!("failed to list {} - {error}", data_path.display()))?;
        let Folders { topics: on_disk, removed } = Folders::among(names.iter().map(String::as_str));
        let queues = self.find_queues(names).topics;
        let listed = catalogue.topics.keys().copied();
        let placement = self.state.borrow().placement;
        let ours: BTreeSet<_> = listed
            .chain(on_disk)
            .chain(queues.keys().copied())
            .filter(|name| !name.is_ephemeral() && placement.owner_of(*name) == self.here)
            .collect();
        for name in removed.into_iter().filter(|name| placement.owner_of(*name) == self.here) {
            if let Err(error) = storage_ring::end_removal(data_path, name).await {
                tracing::error!("TOPIC({name}) failed to remove its log - {error}");
            }
        }
        let (shard, listed) = (self.clone(), catalogue.clone());
        let queues = RefCell::new(queues);
        abreast(ours.into_iter().collect(), move |name| {
            let (shard, listed) = (shard.clone(), listed.clone());
            let queues = queues.borrow_mut().remove(&name);
            async move { shard.recover_topic(name, listed.topics.get(&name), queues).await }
        })
        .await;
        self.state.borrow_mut().jobs.push(Job::SyncFound);
        if self.here == FIRST {
            let mut list = List::new(Catalogue::clone(&catalogue));
            // As NSQ does: the file is written once at every start.
            list.touch();
            self.state.borrow_mut().list = list;
            self.write_list().await;
        }
        Ok(())
    }

    /// The disk queues of NSQ's among the names in the data path, whichever core owns their topics.
    fn find_queues(&self, names: Vec<String>) -> queues::Findings {
        let findings = queues::find(names.into_iter());
        if self.here == FIRST {
            for queue in &findings.foreign {
                tracing::warn!("DISKQUEUE({queue}): stays as it is: nothing of that name is kept");
            }
        }
        findings
    }

    /// Opens a topic and goes on where its checkpoint was. `channels` are to be there as well as
    /// those that are listed.
    pub(super) async fn restore_topic(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        channels: &[ChannelName],
    ) -> Restored {
        let ids = self.state.borrow_mut().new_ids();
        let options = self.log_options();
        let mut opened = TopicFolder::open(&self.config.data_path, name, ids, options).await;
        for _ in 0..SHORTAGE_TRIES {
            if !opened.as_ref().is_err_and(storage_ring::is_shortage) {
                break;
            }
            // The other topics that are being opened give back what is lacking.
            glommio::timer::sleep(SHORTAGE_PAUSE).await;
            opened = TopicFolder::open(&self.config.data_path, name, ids, options).await;
        }
        let Opened { folder, log, checkpoint, deferred, findings } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!("TOPIC({name}) failed to open its log - {error}");
                return self.unopened(name, listed, channels, error.to_string());
            }
        };
        for line in findings.lines() {
            tracing::warn!("TOPIC({name}): {line}");
        }
        let now = self.clock.now();
        let mut checkpoint = checkpoint.unwrap_or_default();
        // A crash may have come between the two; the list decides, before messages are handed to
        // channels.
        checkpoint.paused = listed.map_or(checkpoint.paused, |listed| listed.paused);
        let checkpoint_end = checkpoint.end;
        let losses = findings.losses();
        let rules = topics::rules(&self.config);
        let channels = all_channels(listed, channels);
        let deferred = deferred.into_iter();
        let mut topic = Topic::restore(name, log, rules, &checkpoint, deferred, channels, now);
        pause(&mut topic, listed, now);
        Restored { topic, folder: Folder::Open(Rc::new(folder)), checkpoint_end, losses }
    }

    /// A topic whose folder cannot be used: it refuses publishes and says why.
    pub(super) fn unopened(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        channels: &[ChannelName],
        reason: String,
    ) -> Restored {
        let log = Log::create(self.state.borrow_mut().new_ids(), self.log_options());
        let (rules, nothing) = (topics::rules(&self.config), TopicCheckpoint::default());
        let (deferred, now) = (std::iter::empty(), self.clock.now());
        let channels = all_channels(listed, channels);
        let mut topic = Topic::restore(name, log, rules, &nothing, deferred, channels, now);
        pause(&mut topic, listed, now);
        Restored {
            topic,
            folder: Folder::Failed(reason),
            checkpoint_end: Sequence(0),
            losses: Losses::default(),
        }
    }

    fn log_options(&self) -> LogOptions {
        LogOptions { segment_bytes_max: self.config.segment_bytes_max, ephemeral: false }
    }

    async fn recover_topic(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        queues: Option<queues::Found>,
    ) {
        let Restored { topic, folder, losses, .. } = match queues {
            None => self.restore_topic(name, listed, &[]).await,
            Some(found) => self.restore_with_queues(name, listed, found).await,
        };
        tracing::info!("TOPIC({name}): {}{losses}", what_is_there(&topic));
        let mut state = self.state.borrow_mut();
        let mut known = Catalogue::default();
        known.topics.extend(listed.map(|listed| (name, listed.clone())));
        let found = std::iter::once(Change::Topic { topic: name, paused: topic.is_paused() });
        let found = found.chain(topic.channels().map(|channel| Change::Channel {
            topic: name,
            channel: channel.name(),
            paused: channel.is_paused(),
        }));
        // Of thousands of topics a crash leaves few that the list does not know.
        let news = found.filter(|&change| known.apply(change));
        state.jobs.extend(news.map(Job::Note));
        let key = state.topics.host(topic, folder);
        state.topics[key].losses = losses;
        state.set_topic_alarm(key);
    }
}

fn all_channels<'a>(
    listed: Option<&'a Listed>,
    others: &'a [ChannelName],
) -> impl Iterator<Item = ChannelName> + 'a {
    let listed = listed.into_iter().flat_map(|listed| listed.channels.keys());
    listed.chain(others).copied()
}

fn pause(topic: &mut Topic, listed: Option<&Listed>, now: Now) {
    let Some(listed) = listed else { return };
    topic.set_paused(listed.paused, now);
    for (&channel, &paused) in &listed.channels {
        if let Some(key) = topic.channel_key(channel) {
            topic.channel_mut(key).set_paused(paused);
        }
    }
}

/// What was found of a topic, and how much of it somebody still waits for.
fn what_is_there(topic: &Topic) -> String {
    let log = topic.log();
    let all = log.start()..log.end();
    let messages = (all.end - all.start) - messages_in(&log.gaps_within(&all));
    let (segments, bytes) = (log.segments().count(), log.disk_bytes());
    let owed: u64 = topic
        .channels()
        .map(|channel| channel.depth() + channel.in_flight_count() + channel.deferred_count())
        .sum();
    let (channels, waiting) = (topic.channels().count(), topic.depth());
    format!(
        "recovered {messages} messages ({segments} segments, {bytes} bytes); {owed} are owed to \
         {channels} channels, {waiting} wait for a channel"
    )
}
