//! Everything one core owns.
//!
//! One value, borrowed for the length of one step and never across a wait. Its parts are told apart
//! by file: commands of clients in [`crate::command`], what ends a turn in [`super::turn`],
//! administration in [`super::administration`].

use super::alarms::{Alarm, Alarms};
use super::quota::Usage;
use crate::clock::Now;
use crate::config::{Acknowledge, Config};
use crate::connection::{Connection, Reply};
use crate::keys::{ConnectionKey, TopicKey};
use crate::limits::{FILES_REST_AFTER_SECONDS, UNOPENED_BYTES_MAX};
use crate::log::SegmentName;
use crate::log::storage_ring::SyncError;
use crate::lookup::Peers;
use crate::message_id::IdSpace;
use crate::rings::Rings;
use crate::routing::outbox::Outboxes;
use crate::routing::placement::{Placement, ShardId};
use crate::routing::request::{Answer, CallKey, Publish, PublishError, Request, Waiter};
use crate::shard::open_folders::OpenFolders;
use crate::shard::sync::{Outcome, Syncs};
use crate::shard::topics::{Folder, Hosted, Topics};
use crate::shard::troubles::Task;
use crate::stats::measures::{Followed, Measures};
use crate::topic::catalogue::Change;
use crate::topic::list::List;
use protocol::command::{Bodies, Verb};
use protocol::name::{ChannelName, TopicName};
use protocol::refusal::Refusal;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

/// See the head of this file.
#[derive(Debug)]
pub struct State {
    /// Which core this is.
    pub here: ShardId,
    /// Who owns what.
    pub placement: Placement,
    /// How the broker was started.
    pub config: Rc<Config>,
    /// The topics this core owns.
    pub topics: Topics,
    /// The TCP clients connected to this core.
    pub connections: SlotMap<ConnectionKey, Connection>,
    /// HTTP connections of this core.
    pub http_connections: usize,
    /// On the first core: all topics of the broker.
    pub list: List,
    /// On the first core: what nsqlookupd is told.
    pub lookup: Peers,
    /// On the first core: the nsqlookupds it was last given, in that order.
    pub lookupds: Vec<String>,
    /// Whether there are nsqlookupds to ask which channels a new topic has elsewhere.
    pub has_lookupds: bool,
    /// On the core that accepts: how many connections each core has.
    pub loads: Vec<usize>,
    /// Topics that have files open.
    pub open_folders: OpenFolders,
    /// Which logs are to be synced, and who waits for it.
    pub syncs: Syncs<(ShardId, Waiter)>,
    /// When the alarms for syncs ring.
    pub sync_rings: Rings,
    /// What is to be done at a time.
    pub alarms: Alarms,
    /// Requests gathered for other cores.
    pub outboxes: Outboxes,
    /// Tasks of this core that wait for an answer.
    pub calls: SlotMap<CallKey, Call>,
    /// What this turn has to end with.
    pub work: Work,
    /// Tasks to be started when the turn ends.
    pub jobs: Vec<Job>,
    /// What all logs take on disk.
    pub usage: Usage,
    /// Bytes taken into memory since the budget was looked at.
    pub memory_growth: usize,
    /// The alarm for checkpoints is set.
    pub checkpoint_wanted: bool,
    /// Publishes are refused until nothing is left.
    pub draining: bool,
    /// How long things took.
    pub measures: Measures,
    /// The publish that is followed to its answer.
    pub followed: Followed,
    /// The broker is going down.
    pub stopping: bool,
    /// Numbers for new topics' ids; any spread will do.
    pub random: u64,
}

/// What was touched in this turn. The lists keep their room from turn to turn.
#[derive(Debug, Default)]
pub struct Work {
    /// Topics with messages that are not in the log yet.
    pub to_commit: VecDeque<TopicKey>,
    /// Topics in which something may be delivered.
    pub to_deliver: VecDeque<TopicKey>,
    /// Connections with something to send.
    pub to_send: VecDeque<ConnectionKey>,
}

impl Work {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.to_commit.is_empty() && self.to_deliver.is_empty() && self.to_send.is_empty()
    }
}

/// What a turn leaves to a task of its own, since it has to wait.
#[derive(Debug)]
pub enum Job {
    /// Open a topic's folder and first segment.
    OpenFolder(TopicKey),
    /// Open the next segment of a topic before it is needed.
    PrepareSegment(TopicKey),
    /// Delete segments that a topic's log gave up.
    DeleteSegments(TopicKey, Vec<SegmentName>),
    /// Read a part of a topic's log.
    ReadLog(TopicKey, crate::log::ReadPlan),
    /// Write checkpoints of topics that changed, and delete what nobody needs.
    Checkpoint,
    /// Bring the logs of these topics to the disk itself.
    Sync(Vec<TopicKey>),
    /// Bring to the disk itself what an earlier process wrote.
    SyncFound,
    /// Try whether a topic's log can be synced again.
    ProveLog(TopicKey),
    /// Write the list of topics once more.
    WriteList,
    /// Wait until a peer takes bytes again.
    SendWhenPossible(ConnectionKey),
    /// Make the channels that a new topic has on other brokers, and let its messages go.
    LearnChannels(TopicKey),
    /// Tell the first core of a change, and let nobody wait for it.
    Note(Change),
    /// Take in a connection that came from another core.
    Serve(ConnectionKey, Vec<u8>),
    /// Remove an ephemeral channel that its last client left.
    RemoveUnused(TopicName, ChannelName),
}

/// A task that waits for an answer.
#[derive(Debug, Default)]
pub struct Call {
    /// The answer, when it is there.
    pub answer: Option<Answer>,
    /// The task.
    pub waker: Option<Waker>,
}

impl State {
    /// A core that owns nothing yet.
    pub fn new(here: ShardId, placement: Placement, config: Rc<Config>, random: u64) -> Self {
        let open_folders = OpenFolders::at_most(config.open_topics_per_shard);
        Self {
            here,
            placement,
            topics: Topics::default(),
            connections: SlotMap::with_key(),
            http_connections: 0,
            list: List::default(),
            lookup: Peers::default(),
            lookupds: config.lookupd_addresses.clone(),
            has_lookupds: !config.lookupd_addresses.is_empty(),
            loads: vec![0; placement.count()],
            open_folders,
            syncs: Syncs::new(config.sync_pace),
            sync_rings: Rings::default(),
            alarms: Alarms::default(),
            outboxes: Outboxes::towards(placement.count()),
            calls: SlotMap::with_key(),
            work: Work::default(),
            jobs: Vec::new(),
            usage: Usage::new(here, placement.count()),
            memory_growth: 0,
            checkpoint_wanted: false,
            draining: false,
            measures: Measures::default(),
            followed: Followed::default(),
            stopping: false,
            random: random | 1,
            config,
        }
    }

    /// The topic, made if it does not exist.
    pub fn topic_or_create(&mut self, name: TopicName) -> TopicKey {
        if let Some(key) = self.topics.key_of(name) {
            return key;
        }
        let ids = self.new_ids();
        let key = self.topics.create(name, ids, &self.config);
        tracing::info!("TOPIC({name}): created");
        if self.has_lookupds {
            self.topics[key].topic.hold();
            self.jobs.push(Job::LearnChannels(key));
        }
        self.jobs.push(Job::Note(Change::Topic { topic: name, paused: false }));
        if !name.is_ephemeral() {
            self.jobs.push(Job::OpenFolder(key));
        }
        key
    }

    /// Takes the job of learning a topic's channels from those that wait to be started: whoever made
    /// the topic waits for it.
    pub fn take_learning(&mut self, key: TopicKey) -> bool {
        let is_it = |job: &Job| matches!(job, Job::LearnChannels(topic) if *topic == key);
        let found = self.jobs.iter().position(is_it);
        found.map(|place| self.jobs.remove(place)).is_some()
    }

    /// What is true now of the topic or channel that `change` is about. While it was being kept
    /// somebody may have paused it, deleted it, or made it anew.
    pub fn as_it_is_now(&self, change: Change) -> Change {
        // One that is being deleted was noted as gone, and stays so.
        let topic_of = |name| {
            let hosted = &self.topics[self.topics.key_of(name)?];
            (!hosted.leaving).then_some(&hosted.topic)
        };
        match change {
            Change::Topic { topic, .. } => match topic_of(topic) {
                Some(there) => Change::Topic { topic, paused: there.is_paused() },
                None => Change::TopicGone { topic },
            },
            // A namesake that was made since has none of its channels, and is noted on its own.
            Change::TopicGone { .. } => change,
            Change::Channel { topic, channel, .. } | Change::ChannelGone { topic, channel } => {
                let there = topic_of(topic)
                    .and_then(|topic| Some(topic.channel(topic.channel_key(channel)?)));
                match there {
                    Some(there) => Change::Channel { topic, channel, paused: there.is_paused() },
                    None => Change::ChannelGone { topic, channel },
                }
            }
        }
    }

    /// How the messages of a new topic are named.
    pub fn new_ids(&mut self) -> IdSpace {
        let any = self.any_number();
        IdSpace::new(self.config.node_id, any)
    }

    /// A number that need not be hard to guess, and differs from the last ones.
    pub fn any_number(&mut self) -> u64 {
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    // --- publishing ---

    /// Takes messages for a topic of this core; `waiter`, on `origin`, is told when they are kept.
    pub fn publish<'a>(
        &mut self,
        origin: ShardId,
        waiter: Waiter,
        topic: TopicName,
        delay: Option<std::time::Duration>,
        bodies: impl Iterator<Item = &'a [u8]>,
        now: Now,
    ) {
        if self.stopping {
            self.published(origin, waiter, Err(PublishError::Exiting));
            return;
        }
        if self.draining {
            self.published(origin, waiter, Err(PublishError::Draining));
            return;
        }
        let key = self.topic_or_create(topic);
        let hosted = &mut self.topics[key];
        if hosted.leaving {
            self.published(origin, waiter, Err(PublishError::Exiting));
            return;
        }
        if UNOPENED_BYTES_MAX <= hosted.topic.log().open_bytes() {
            // Only while its folder is being opened does a block grow so far.
            let reason = "the topic's log is still being opened".to_string();
            self.published(origin, waiter, Err(PublishError::Log(reason)));
            return;
        }
        if let Some(refusal) = self.refusal_by_quota(key) {
            self.published(origin, waiter, Err(refusal));
            // What nobody needs goes after it, in all topics.
            self.want_checkpoint(now);
            return;
        }
        let hosted = &mut self.topics[key];
        // While its log refuses messages nobody is promised that it takes them.
        let is_promised = self.config.acknowledge == Acknowledge::Buffered && hosted.may_promise();
        if !is_promised {
            // Before the bodies: it would wait for their way to memory.
            hosted.waiters.push((origin, waiter));
        }
        let first = hosted.topic.log().next_sequence();
        match delay {
            None => hosted.topic.publish_many(bodies, now),
            Some(_) => bodies.for_each(|body| hosted.topic.publish(body, delay, now)),
        }
        if is_promised {
            hosted.promised += hosted.topic.log().next_sequence() - first;
        }
        if !hosted.queued_to_commit {
            hosted.queued_to_commit = true;
            self.work.to_commit.push_back(key);
        }
        if crate::limits::BLOCK_BYTES_TARGET <= hosted.topic.log().open_bytes() {
            self.commit(key, now);
            self.keep_to_budget();
        }
        if is_promised {
            self.published(origin, waiter, Ok(()));
        }
    }

    /// A topic's log was synced, or could not be: answers those who waited.
    pub fn synced(&mut self, key: TopicKey, result: Result<(), SyncError>, now: Now) {
        let outcome = match result {
            Ok(()) => Outcome::Synced,
            Err(SyncError::NotTried(_)) => Outcome::NotTried,
            Err(SyncError::Failed(_)) => Outcome::Failed,
        };
        let settled = self.syncs.settle(key, outcome, now.tick);
        let answer = result
            .as_ref()
            .map_or_else(|error| Err(PublishError::Log(error.to_string())), |()| Ok(()));
        let refused = settled.waiters.len();
        for (origin, waiter) in settled.waiters {
            self.published(origin, waiter, answer.clone());
        }
        let Some(hosted) = self.topics.get_mut(key) else { return };
        let was_unsynced = hosted.troubles.is_unsynced();
        if hosted.queued_to_commit {
            // It gathered until now.
            self.work.to_commit.push_back(key);
        }
        let name = hosted.topic.name();
        match &result {
            Ok(()) => {
                if hosted.troubles.done(Task::Sync) {
                    tracing::info!("TOPIC({name}): its log can be synced again");
                }
                return;
            }
            Err(SyncError::NotTried(error)) => {
                if hosted.troubles.may_say(now.tick) {
                    tracing::error!("TOPIC({name}) failed to sync its log - {error}");
                }
            }
            Err(SyncError::Failed(error)) => {
                hosted.topic.log_mut().close_segment();
                let messages = settled.messages;
                if was_unsynced && messages == 0 {
                    tracing::error!("TOPIC({name}) failed to sync its log again - {error}");
                } else {
                    tracing::error!(
                        "TOPIC({name}) failed to sync its log - {error}; {messages} messages may \
                         not survive a loss of power, {refused} publishes were refused for it, and \
                         what follows goes to a new file"
                    );
                }
            }
        }
        if let Err(error) = result {
            self.note_unsynced(key, &error);
        }
    }

    /// Something of a topic's log could not be synced: that is said until a sync was done, which a
    /// task sees to though nobody publishes.
    pub fn note_unsynced(&mut self, key: TopicKey, error: &SyncError) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        hosted.troubles.failed(Task::Sync, error.to_string());
        if !std::mem::replace(&mut hosted.proving, true) {
            self.jobs.push(Job::ProveLog(key));
        }
    }

    /// Has a task told whether a topic's log can be synced again, by something new that is written
    /// to it: the kernel may have forgotten what could not be synced before. `false` when that is
    /// known, or there is nobody to ask any more.
    pub fn start_proof(&mut self, key: TopicKey, call: CallKey, now: Now) -> bool {
        let Some(hosted) = self.topics.get_mut(key) else { return false };
        if self.stopping || hosted.leaving || !hosted.troubles.is_unsynced() {
            hosted.proving = false;
            return false;
        }
        if let Folder::Open(folder) = hosted.folder.clone()
            && let Some(header) = hosted.topic.log_mut().empty_segment(now.wall)
            && let Err(error) = folder.write_header(&header)
        {
            let error = PublishError::Log(format!("write: {error}"));
            self.answered(call, Answer::Published(Err(error)));
            return true;
        }
        self.syncs.written(key, 0, [(self.here, Waiter::Task(call))], now.tick);
        self.note_open_files(key, now);
        true
    }

    /// Takes a publish as it travels.
    pub fn take_publish(&mut self, origin: ShardId, publish: &Publish<&[u8]>, now: Now) {
        let &Publish { waiter, topic, delay, ref batch } = publish;
        match batch.count {
            None => {
                let body = std::iter::once(batch.region);
                self.publish(origin, waiter, topic, delay, body, now);
            }
            Some(count) => {
                let bodies = Bodies::from_region(batch.region, count);
                self.publish(origin, waiter, topic, delay, bodies.iter(), now);
            }
        }
    }

    /// Tells whoever waits for a publish how it went.
    pub fn published(&mut self, origin: ShardId, waiter: Waiter, result: Result<(), PublishError>) {
        if origin != self.here {
            self.outboxes.push(origin, Request::Published { waiter, result });
            return;
        }
        match waiter {
            Waiter::Client { connection, place, verb } => {
                self.followed.answered(connection, place, result.is_ok());
                let Some(there) = self.connections.get_mut(connection) else { return };
                there.fulfil(place, publish_reply(verb, result));
                self.queue_to_send(connection);
            }
            Waiter::Task(call) => self.answered(call, Answer::Published(result)),
        }
    }

    /// Hands an answer to the task that waits for it.
    pub fn answered(&mut self, call: CallKey, answer: Answer) {
        // A task that was dropped, with its connection, waits for nothing any more.
        if let Some(call) = self.calls.get_mut(call) {
            call.answer = Some(answer);
            if let Some(waker) = call.waker.take() {
                waker.wake();
            }
        }
    }

    // --- queues of the turn ---

    /// The connection has something to send at the end of the turn.
    pub fn queue_to_send(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.queued_to_send
        {
            connection.queued_to_send = true;
            self.work.to_send.push_back(key);
        }
    }

    /// Something may be deliverable in the topic at the end of the turn.
    pub fn queue_to_deliver(&mut self, key: TopicKey) {
        if let Some(hosted) = self.topics.get_mut(key)
            && !hosted.queued_to_deliver
        {
            hosted.queued_to_deliver = true;
            self.work.to_deliver.push_back(key);
        }
    }

    /// Sets the alarm of a topic, unless it rings early enough.
    pub fn set_topic_alarm(&mut self, key: TopicKey) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        if let Some(at) = hosted.topic.wake_at()
            && hosted.rings.want(at)
        {
            self.alarms.set(at, Alarm::Topic(key));
        }
    }

    // --- open files ---

    /// A file of the topic's folder was or will be opened: it is closed when the topic was not used
    /// for a while, or when too many have files open.
    pub fn note_open_files(&mut self, key: TopicKey, now: Now) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        if std::mem::replace(&mut hosted.has_open_files, true) {
            return;
        }
        if self.open_folders.is_empty() {
            self.set_rest_alarm(now);
        }
        if let Some(first) = self.open_folders.take_in(key)
            && let Some(hosted) = self.topics.get_mut(first)
        {
            hosted.has_open_files = false;
            if let Folder::Open(folder) = &hosted.folder {
                folder.rest();
            }
        }
    }

    /// Closes the files of topics that were not used since this was done last.
    pub fn rest_idle_folders(&mut self, now: Now) {
        let Self { topics, open_folders, .. } = self;
        open_folders.keep(|key| {
            let Some(hosted) = topics.get_mut(key) else { return false };
            if let Folder::Open(folder) = &hosted.folder {
                hosted.has_open_files = !folder.rest_if_idle();
            }
            hosted.has_open_files
        });
        if !self.open_folders.is_empty() {
            self.set_rest_alarm(now);
        }
    }

    fn set_rest_alarm(&mut self, now: Now) {
        let at = now.tick.plus(std::time::Duration::from_secs(FILES_REST_AFTER_SECONDS));
        self.alarms.set(at, Alarm::Rest);
    }

    /// A topic of this core.
    pub fn hosted(&mut self, key: TopicKey) -> Option<&mut Hosted> {
        self.topics.get_mut(key)
    }
}

/// What a client is told about its publish.
fn publish_reply(verb: Verb, result: Result<(), PublishError>) -> Reply {
    let Err(error) = result else { return Reply::Ok };
    let reason = error.to_string();
    Reply::Refused(match verb {
        Verb::PublishMany => Refusal::publish_many_failed(&reason),
        Verb::PublishDeferred => Refusal::publish_deferred_failed(&reason),
        _ => Refusal::publish_failed(&reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::flags::Flags;
    use crate::message::Timestamp;
    use crate::routing::request::Action;
    use clap::Parser as _;

    const NOW: Now = Now { tick: Tick(0), wall: Timestamp(0) };

    fn state() -> State {
        let flags = Flags::try_parse_from(["nsqd"]).unwrap();
        let config = flags.into_config(1, 0).unwrap();
        State::new(ShardId(0), Placement::over(1), Rc::new(config), 1)
    }

    #[test]
    fn what_is_noted_of_a_topic_or_channel_is_what_is_true_by_then() {
        let topic = TopicName::parse(b"t").unwrap();
        let channel = ChannelName::parse(b"c").unwrap();
        let topic_is = |paused| Change::Topic { topic, paused };
        let channel_is = |paused| Change::Channel { topic, channel, paused };
        let (topic_gone, channel_gone) =
            (Change::TopicGone { topic }, Change::ChannelGone { topic, channel });
        let mut state = state();
        let noted = |state: &State| {
            [topic_is(false), channel_is(false), channel_gone].map(|note| state.as_it_is_now(note))
        };
        assert_eq!(noted(&state), [topic_gone, channel_gone, channel_gone]);
        let actions = [
            (Action::CreateTopic, [topic_is(false), channel_gone, channel_gone]),
            (
                Action::CreateChannel(channel),
                [topic_is(false), channel_is(false), channel_is(false)],
            ),
            (
                Action::PauseChannel(channel, true),
                [topic_is(false), channel_is(true), channel_is(true)],
            ),
            (Action::PauseTopic(true), [topic_is(true), channel_is(true), channel_is(true)]),
            (Action::DeleteChannel(channel), [topic_is(true), channel_gone, channel_gone]),
            (
                Action::CreateChannel(channel),
                [topic_is(true), channel_is(false), channel_is(false)],
            ),
        ];
        for (action, expected) in actions {
            state.administer(topic, action, NOW);
            assert_eq!(noted(&state), expected, "after {action:?}");
            assert_eq!(state.as_it_is_now(topic_gone), topic_gone);
        }
    }
}
