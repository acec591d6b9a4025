//! What a core finds on disk when it starts: its topics, their messages, where their channels were.
//!
//! Nothing on disk keeps the broker from starting: what cannot be used is set aside and said, and a
//! topic whose folder cannot be opened refuses publishes and says why.

use super::Shard;
use super::abreast::abreast;
use super::departure::FIRST;
use super::state::Job;
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::storage_ring::{self, Folders, Opened, TopicFolder};
use crate::log::{Log, LogOptions};
use crate::shard::topics::{self, Folder};
use crate::topic::Topic;
use crate::topic::catalogue::{Catalogue, Change, Listed};
use crate::topic::list::List;
use protocol::name::TopicName;
use std::collections::BTreeSet;
use std::rc::Rc;

impl Shard {
    /// Takes in the topics that this core owns: those that `nsqd.dat` lists, and those that have a
    /// folder; a crash may have come between the two.
    ///
    /// # Errors
    /// A sentence, when the data path cannot be listed.
    pub(super) async fn recover(self: &Rc<Self>, catalogue: Rc<Catalogue>) -> Result<(), String> {
        let data_path = &self.config.data_path;
        let Folders { topics: on_disk, removed } = storage_ring::folders_in(data_path)
            .await
            .map_err(|error| format!("failed to list {} - {error}", data_path.display()))?;
        let listed = catalogue.topics.keys().copied();
        let placement = self.state.borrow().placement;
        let ours: BTreeSet<_> = listed
            .chain(on_disk)
            .filter(|name| !name.is_ephemeral() && placement.owner_of(*name) == self.here)
            .collect();
        for name in removed.into_iter().filter(|name| placement.owner_of(*name) == self.here) {
            if let Err(error) = storage_ring::end_removal(data_path, name).await {
                tracing::error!("TOPIC({name}) failed to remove its log - {error}");
            }
        }
        let (shard, listed) = (self.clone(), catalogue.clone());
        abreast(ours.into_iter().collect(), move |name| {
            let (shard, listed) = (shard.clone(), listed.clone());
            async move { shard.recover_topic(name, listed.topics.get(&name)).await }
        })
        .await;
        if self.here == FIRST {
            let mut list = List::new(Catalogue::clone(&catalogue));
            // As NSQ does: the file is written once at every start.
            list.touch();
            self.state.borrow_mut().list = list;
            self.write_list().await;
        }
        Ok(())
    }

    async fn recover_topic(&self, name: TopicName, listed: Option<&Listed>) {
        let options =
            LogOptions { segment_bytes_max: self.config.segment_bytes_max, ephemeral: false };
        let ids = self.state.borrow_mut().new_ids();
        let opened = TopicFolder::open(&self.config.data_path, name, ids, options).await;
        let now = self.clock.now();
        let rules = topics::rules(&self.config);
        let nothing = Listed::default();
        let channels = listed.unwrap_or(&nothing).channels.iter().map(|(&name, _)| name);
        let (mut topic, folder) = match opened {
            Ok(Opened { folder, log, checkpoint, deferred, findings }) => {
                for line in findings.lines() {
                    tracing::warn!("TOPIC({name}): {line}");
                }
                let checkpoint = checkpoint.unwrap_or_default();
                let deferred = deferred.into_iter();
                let topic = Topic::restore(name, log, rules, &checkpoint, deferred, channels, now);
                (topic, Folder::Open(Rc::new(folder)))
            }
            Err(error) => {
                tracing::error!("TOPIC({name}) failed to open its log - {error}");
                let (log, nothing) = (Log::create(ids, options), TopicCheckpoint::default());
                let deferred = std::iter::empty();
                let topic = Topic::restore(name, log, rules, &nothing, deferred, channels, now);
                (topic, Folder::Failed(error.to_string()))
            }
        };
        if let Some(listed) = listed {
            topic.set_paused(listed.paused, now);
            for (&channel, &paused) in &listed.channels {
                if let Some(key) = topic.channel_key(channel) {
                    topic.channel_mut(key).set_paused(paused);
                }
            }
        }
        let messages = topic.log().end() - topic.log().start();
        tracing::info!("TOPIC({name}): recovered {messages} messages");
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
        state.set_topic_alarm(key);
    }
}
