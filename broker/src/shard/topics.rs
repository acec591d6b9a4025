//! The topics that one core owns, by key and by name.

use crate::clock::Now;
use crate::config::Config;
use crate::keys::TopicKey;
use crate::log::losses::Losses;
use crate::log::storage_ring::TopicFolder;
use crate::log::{Damage, Log, LogOptions, ReadPlan, Write};
use crate::message_id::IdSpace;
use crate::rings::Rings;
use crate::routing::placement::ShardId;
use crate::routing::request::Waiter;
use crate::shard::tidying::Tidying;
use crate::shard::troubles::{Task, Troubles};
use crate::topic::{Rules, Topic};
use protocol::name::TopicName;
use slotmap::SlotMap;
use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::rc::Rc;

/// A topic with what its core needs to serve it.
#[derive(Debug)]
pub struct Hosted {
    /// The topic itself.
    pub topic: Topic,
    /// Where its messages go.
    pub folder: Folder,
    /// Who waits for the open block to be kept.
    pub waiters: Vec<(ShardId, Waiter)>,
    /// It stands in the list of topics to commit.
    pub queued_to_commit: bool,
    /// It stands in the list of topics to deliver.
    pub queued_to_deliver: bool,
    /// When its alarms ring.
    pub rings: Rings,
    /// Parts of the log that are being read.
    pub reading: Vec<ReadPlan>,
    /// The next segment is being opened.
    pub preparing: bool,
    /// Its folder may have files open: it stands in [`super::open_folders::OpenFolders`].
    pub has_open_files: bool,
    /// Its log is being tidied up, or when that may be done again.
    pub tidying: Tidying,
    /// It is being deleted.
    pub leaving: bool,
    /// What was lost of its log.
    pub losses: Losses,
    /// What its disk refused the last time.
    pub troubles: Troubles,
    /// A task tries whether its log can be synced again.
    pub proving: bool,
    /// Messages that were acknowledged and are not written yet.
    pub promised: u64,
}

impl Hosted {
    /// Whether messages may be acknowledged before they are written, as far as is known.
    pub fn may_promise(&self) -> bool {
        !self.troubles.is_refusing() && !matches!(self.folder, Folder::Failed(_))
    }

    /// Gives up a block that could not be written, and says so.
    pub fn abandon(&mut self, write: Write, reason: &str, now: Now) {
        let messages = write.messages();
        let messages = messages.end - messages.start;
        self.topic.abandon(write, now);
        // Its checkpoint is tried until it can be written: then there is room again.
        self.topic.record_all();
        self.troubles.failed(Task::Write, reason.to_string());
        let lost = std::mem::take(&mut self.promised);
        let name = self.topic.name();
        if 0 < lost {
            tracing::error!(
                "TOPIC({name}) failed to write to the log - {reason}; {lost} messages that were \
                 acknowledged before (--acknowledge=buffered) are lost"
            );
        } else if self.troubles.may_say(now.tick) {
            tracing::error!(
                "TOPIC({name}) failed to write to the log - {reason}; {messages} messages were \
                 refused"
            );
        }
    }

    /// A block was written.
    pub fn written(&mut self, write: Write, now: Now) {
        self.topic.written(write, now);
        self.promised = 0;
        if self.troubles.done(Task::Write) {
            tracing::info!("TOPIC({}): its log can be written again", self.topic.name());
        }
    }

    /// Says and counts what a read of its log found damaged.
    pub fn note_damage(&mut self, damages: &[Damage]) {
        for damage in damages {
            tracing::error!("TOPIC({}): {damage}", self.topic.name());
            self.losses.add(damage);
        }
    }
}

/// Where the messages of a topic go.
#[derive(Clone, Debug)]
pub enum Folder {
    /// Nowhere: the topic is ephemeral.
    None,
    /// To a folder that is being opened.
    Opening,
    /// To this one.
    Open(Rc<TopicFolder>),
    /// Nowhere: the folder could not be opened, and this is why.
    Failed(String),
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Topics {
    by_key: SlotMap<TopicKey, Hosted>,
    by_name: HashMap<TopicName, TopicKey>,
}

impl Topics {
    /// The topic of that name.
    pub fn key_of(&self, name: TopicName) -> Option<TopicKey> {
        self.by_name.get(&name).copied()
    }

    /// A new, empty topic.
    pub fn create(&mut self, name: TopicName, ids: IdSpace, config: &Config) -> TopicKey {
        let options = LogOptions {
            segment_bytes_max: config.segment_bytes_max,
            ephemeral: name.is_ephemeral(),
        };
        let topic = Topic::new(name, Log::create(ids, options), rules(config));
        let folder = if name.is_ephemeral() { Folder::None } else { Folder::Opening };
        self.host(topic, folder)
    }

    /// Takes a topic in.
    pub fn host(&mut self, topic: Topic, folder: Folder) -> TopicKey {
        let name = topic.name();
        let mut troubles = Troubles::default();
        if let Folder::Failed(reason) = &folder {
            troubles.failed(Task::Write, reason.clone());
        }
        let key = self.by_key.insert(Hosted {
            topic,
            folder,
            waiters: Vec::new(),
            queued_to_commit: false,
            queued_to_deliver: false,
            rings: Rings::default(),
            reading: Vec::new(),
            preparing: false,
            has_open_files: false,
            tidying: Tidying::default(),
            leaving: false,
            losses: Losses::default(),
            troubles,
            proving: false,
            promised: 0,
        });
        let before = self.by_name.insert(name, key);
        assert!(before.is_none(), "a topic has one log");
        key
    }

    /// Removes a topic.
    pub fn remove(&mut self, key: TopicKey) -> Option<Hosted> {
        let hosted = self.by_key.remove(key)?;
        self.by_name.remove(&hosted.topic.name());
        Some(hosted)
    }

    /// A topic, if it still exists.
    pub fn get(&self, key: TopicKey) -> Option<&Hosted> {
        self.by_key.get(key)
    }

    /// A topic, if it still exists.
    pub fn get_mut(&mut self, key: TopicKey) -> Option<&mut Hosted> {
        self.by_key.get_mut(key)
    }

    /// A topic's folder, if it is open.
    pub fn open_folder(&self, key: TopicKey) -> Option<Rc<TopicFolder>> {
        match &self.by_key.get(key)?.folder {
            Folder::Open(folder) => Some(folder.clone()),
            Folder::None | Folder::Opening | Folder::Failed(_) => None,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (TopicKey, &Hosted)> {
        self.by_key.iter()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (TopicKey, &mut Hosted)> {
        self.by_key.iter_mut()
    }
}

/// What topics follow, from how the broker was started.
pub fn rules(config: &Config) -> Rules {
    Rules {
        ephemeral_depth_max: config.mem_queue_size,
        message_timeout_max: config.limits.max_message_timeout,
        latency_window: config.latencies.as_ref().map(|latencies| latencies.window),
    }
}

impl Index<TopicKey> for Topics {
    type Output = Hosted;

    fn index(&self, key: TopicKey) -> &Hosted {
        &self.by_key[key]
    }
}

impl IndexMut<TopicKey> for Topics {
    fn index_mut(&mut self, key: TopicKey) -> &mut Hosted {
        &mut self.by_key[key]
    }
}
