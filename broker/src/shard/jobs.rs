//! What has to wait: tasks of their own that carry on where a turn left off.

use super::Shard;
use super::abreast::abreast;
use super::alarms::Alarm;
use super::departure::FIRST;
use super::state::{Job, State};
use super::troubles::Task;
use crate::connection::socket::Sent;
use crate::keys::{ConnectionKey, TopicKey};
use crate::limits::TRY_AGAIN_MILLISECONDS;
use crate::log::storage_ring;
use crate::routing::request::{Action, Answer, Question};
use crate::topic::catalogue::Change;
use protocol::name::{ChannelName, TopicName};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

impl Shard {
    /// Starts the tasks that the last turn left.
    pub(super) fn start_jobs(self: &Rc<Self>) {
        let jobs = std::mem::take(&mut self.state.borrow_mut().jobs);
        for job in jobs {
            let shard = self.clone();
            match job {
                Job::OpenFolder(topic) => spawn(async move { shard.open_folder(topic).await }),
                Job::PrepareSegment(topic) => {
                    spawn(async move { shard.prepare_segment(topic).await });
                }
                Job::DeleteSegments(topic, segments) => {
                    spawn(async move { shard.delete_dropped(topic, segments).await });
                }
                Job::ReadLog(topic, plan) => {
                    spawn(async move { shard.read_log(topic, plan).await });
                }
                Job::Checkpoint => spawn(async move { shard.write_checkpoints().await }),
                Job::Sync(topics) => spawn(async move { shard.sync_logs(topics).await }),
                Job::SyncFound => spawn(async move { shard.sync_found().await }),
                Job::ProveLog(topic) => spawn(async move { shard.prove_log(topic).await }),
                Job::WriteList => spawn(async move { shard.write_list().await }),
                Job::SendWhenPossible(connection) => {
                    spawn(async move { shard.send_when_possible(connection).await });
                }
                Job::LearnChannels(topic) => {
                    spawn(async move { shard.learn_channels(topic).await });
                }
                Job::Note(change) => spawn(async move { shard.note(change).await }),
                Job::Serve(connection, unread) => {
                    spawn(crate::connection::reader::serve(shard, connection, unread));
                }
                Job::RemoveUnused(topic, channel) => {
                    spawn(async move { shard.remove_unused(topic, channel).await });
                }
            }
        }
    }

    // --- what is kept ---

    /// Writes the checkpoints of all topics that changed, and deletes segments nobody needs.
    async fn write_checkpoints(self: Rc<Self>) {
        let changed: Vec<_> = {
            let mut state = self.state.borrow_mut();
            state.checkpoint_wanted = false;
            state.measure_usage();
            let is_full = state.is_data_full();
            state
                .topics
                .iter()
                .filter(|(_, hosted)| !hosted.leaving)
                .map(|(key, hosted)| {
                    let is_waste = hosted.tidying.is_due || (is_full && hosted.topic.is_spent());
                    (key, hosted.topic.has_changed(), is_waste)
                })
                .filter(|(_, has_changed, is_waste)| *has_changed || *is_waste)
                .collect()
        };
        abreast(changed, move |(key, has_changed, _)| {
            let shard = self.clone();
            async move {
                if has_changed {
                    // A failure is said there, and tried again. On a full disk it is what follows
                    // that makes room for it; what is finished need not be kept until that is
                    // written down.
                    shard.write_checkpoint(key).await.ok();
                }
                // It may take long, and the other topics' checkpoints must not wait for it.
                spawn(async move { shard.tidy(key).await });
            }
        })
        .await;
    }

    /// Writes the checkpoint of one topic, as it is now. When that fails it is tried again later.
    pub(super) async fn write_checkpoint(&self, key: TopicKey) -> std::io::Result<()> {
        let folder = self.state.borrow().topics.open_folder(key);
        let Some(folder) = folder else { return Ok(()) };
        let record = |is_whole| {
            let mut state = self.state.borrow_mut();
            let topic = &mut state.topics.get_mut(key)?.topic;
            Some(topic.record(is_whole, self.clock.now()))
        };
        let written = folder.write_checkpoint(record).await;
        self.note_checkpoint(key, &written);
        written
    }

    /// Takes note of how the writing of a checkpoint went. One that was written proves that there
    /// is room again.
    fn note_checkpoint(&self, key: TopicKey, written: &std::io::Result<()>) {
        let now = self.clock.now();
        {
            let mut state = self.state.borrow_mut();
            let Some(hosted) = state.topics.get_mut(key) else { return };
            let Err(error) = written else {
                hosted.troubles.done(Task::Checkpoint);
                hosted.troubles.done(Task::Write);
                return;
            };
            hosted.troubles.failed(Task::Checkpoint, format!("checkpoint: {error}"));
            if hosted.troubles.may_say(now.tick) {
                let name = hosted.topic.name();
                tracing::error!("TOPIC({name}) failed to write a checkpoint - {error}");
            }
            hosted.topic.record_all();
            state.want_checkpoint(now);
        }
        self.turn.wake();
    }

    /// Waits until a topic that is being deleted is gone.
    async fn until_gone(&self, topic: TopicName) {
        let is_gone = || {
            let state = self.state.borrow();
            let key = state.topics.key_of(topic);
            key.is_none_or(|key| !state.topics[key].leaving).then_some(())
        };
        self.topic_news.until(is_gone).await;
    }

    /// Makes the channels that a new topic has on other brokers, as far as nsqlookupd knows them, and
    /// then lets its messages go: so none of them misses a message (NSQ behaviour). Ephemeral ones
    /// are left to their consumers.
    async fn learn_channels(self: &Rc<Self>, key: TopicKey) {
        let name_of = |state: &State| Some(state.topics.get(key)?.topic.name());
        let name = name_of(&self.state.borrow());
        let Some(name) = name else { return };
        let addresses = self.lookup_addresses().await;
        let mut channels = crate::lookup::channels_elsewhere(self, addresses, name).await;
        channels.retain(|channel| !channel.is_ephemeral());
        let new: Vec<_> = {
            let now = self.clock.now();
            let mut state = self.state.borrow_mut();
            let Some(hosted) = state.topics.get_mut(key).filter(|hosted| !hosted.leaving) else {
                return;
            };
            channels.retain(|&channel| hosted.topic.create_channel(channel, now).1);
            channels
        };
        if !new.is_empty() {
            for channel in &new {
                tracing::info!("TOPIC({name}): new channel({channel})");
            }
            if !name.is_ephemeral() {
                self.folder_of(key).await;
                // A failure is said there, and tried again.
                self.write_checkpoint(key).await.ok();
            }
            let shard = self.clone();
            abreast(new, move |channel| {
                let shard = shard.clone();
                let change = Change::Channel { topic: name, channel, paused: false };
                async move { shard.note(change).await }
            })
            .await;
        }
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        if let Some(hosted) = state.topics.get_mut(key) {
            hosted.topic.let_go(now);
            state.queue_to_deliver(key);
        }
        drop(state);
        self.turn.wake();
    }

    /// Where the nsqlookupds answer HTTP.
    async fn lookup_addresses(self: &Rc<Self>) -> Vec<String> {
        if self.here == FIRST {
            return self.state.borrow().lookup.http_addresses();
        }
        match self.ask_other(FIRST, Question::LookupAddresses).await {
            Answer::LookupAddresses(addresses) => addresses,
            other => unreachable!("the question is answered with addresses, not {other:?}"),
        }
    }

    /// Keeps a new channel before anybody is told of it.
    pub async fn keep_channel(self: &Rc<Self>, topic: TopicName, channel: ChannelName) {
        let key = self.state.borrow().topics.key_of(topic);
        if let Some(key) = key
            && !topic.is_ephemeral()
            && !channel.is_ephemeral()
        {
            self.folder_of(key).await;
            // A failure is said there, and tried again.
            self.write_checkpoint(key).await.ok();
        }
        self.note(Change::Channel { topic, channel, paused: false }).await;
    }

    /// Has the first core note a change, and waits until the list is on disk.
    async fn note(self: &Rc<Self>, change: Change) {
        let change = self.state.borrow().as_it_is_now(change);
        let answer = if self.here == FIRST {
            self.keep_list(change).await
        } else {
            self.ask_other(FIRST, Question::Note(change)).await
        };
        if let Answer::Failed(reason) = answer {
            tracing::error!("failed to persist metadata - {reason}");
        }
    }

    /// Administers a topic of this core, and waits until that is kept.
    pub(super) async fn administer(self: &Rc<Self>, topic: TopicName, action: Action) -> Answer {
        if action == Action::CreateTopic {
            self.until_gone(topic).await;
        }
        let (applied, learning) = {
            let mut state = self.state.borrow_mut();
            let applied = state.administer(topic, action, self.clock.now());
            let made = applied.checkpoint.filter(|_| action == Action::CreateTopic);
            let learning = made.filter(|&key| state.take_learning(key));
            (applied, learning)
        };
        self.turn.wake();
        if let Some(key) = learning {
            self.learn_channels(key).await;
        }
        // A crash may come between the two. What is deleted is taken off the list first, so that it
        // stays as it was, and not its name with nothing behind it; but a new channel's place, and
        // what a topic gave its channels before its pause, are kept before the list says so.
        let (first, last) = match applied.change {
            Some(change @ (Change::Channel { .. } | Change::Topic { paused: true, .. })) => {
                (None, Some(change))
            }
            change => (change, None),
        };
        if let Some(change) = first {
            self.note(change).await;
        }
        if let Some(key) = applied.checkpoint {
            self.folder_of(key).await;
            if let Err(error) = self.write_checkpoint(key).await {
                return Answer::Failed(error.to_string());
            }
            // What was emptied or deleted may have been the last that needed it.
            let shard = self.clone();
            spawn(async move { shard.tidy(key).await });
        }
        if let Some(change) = last {
            self.note(change).await;
        }
        if let Some(key) = applied.remove {
            let removed = match self.folder_of(key).await {
                Some(folder) => folder.remove().await,
                None if topic.is_ephemeral() => Ok(()),
                None => storage_ring::remove_unopened(&self.config.data_path, topic).await,
            };
            if let Err(error) = removed {
                tracing::error!("TOPIC({topic}) failed to remove its log - {error}");
            }
            {
                let mut state = self.state.borrow_mut();
                if let Some(hosted) = state.topics.remove(key) {
                    let syncing = state.syncs.forget(key);
                    for (origin, waiter) in hosted.waiters.into_iter().chain(syncing) {
                        let exiting = Err(crate::routing::request::PublishError::Exiting);
                        state.published(origin, waiter, exiting);
                    }
                }
            }
            self.topic_news.spread();
            self.turn.wake();
        }
        applied.answer
    }

    /// Removes an ephemeral channel that its last client left.
    async fn remove_unused(self: Rc<Self>, topic: TopicName, channel: ChannelName) {
        let is_unused = {
            let state = self.state.borrow();
            state.topics.key_of(topic).is_some_and(|key| {
                let topic = &state.topics[key].topic;
                topic
                    .channel_key(channel)
                    .is_some_and(|key| topic.channel(key).subscriber_count() == 0)
            })
        };
        if is_unused {
            self.administer(topic, Action::DeleteChannel(channel)).await;
        }
    }

    /// Notes a change in the list of all topics, on the first core, and waits until it is on disk.
    async fn keep_list(self: &Rc<Self>, change: Change) -> Answer {
        let (version, changed) = {
            let state = &mut *self.state.borrow_mut();
            state.lookup.changing(&state.list.catalogue, change);
            state.list.apply(change)
        };
        if changed {
            let shard = self.clone();
            spawn(async move { shard.write_list().await });
        }
        let outcome = poll_fn(|context| {
            match self.state.borrow_mut().list.outcome(version, context.waker()) {
                Some(outcome) => Poll::Ready(outcome),
                None => Poll::Pending,
            }
        });
        outcome.await.map_or_else(Answer::Failed, |()| Answer::Done)
    }

    /// Writes `nsqd.dat` until it has all changes, unless another task is doing so. What failed is
    /// tried again later.
    pub(super) async fn write_list(&self) {
        loop {
            let (version, bytes) = {
                let mut state = self.state.borrow_mut();
                let Some(version) = state.list.start_writing() else { return };
                (version, state.list.catalogue.to_file(crate::config::NSQ_VERSION))
            };
            let path = self.config.data_path.join("nsqd.dat");
            tracing::info!("NSQ: persisting topic/channel metadata to {}", path.display());
            let result = storage_ring::replace_file(&path, bytes).await;
            let result = result.map_err(|error| format!("nsqd.dat: {error}"));
            let failed = result.is_err();
            let mut state = self.state.borrow_mut();
            state.list.written(version, result);
            if failed && !state.list.is_behind() {
                let pause = Duration::from_millis(TRY_AGAIN_MILLISECONDS);
                let at = self.clock.now().tick.plus(pause);
                state.alarms.set(at, Alarm::List);
                // The turn has the timer look at its alarms.
                self.turn.wake();
                return;
            }
        }
    }

    // --- answers to questions ---

    /// Answers a question on this core.
    pub(super) async fn answer(self: &Rc<Self>, question: Question) -> Answer {
        match question {
            Question::Administer { topic, action } => self.administer(topic, action).await,
            Question::Peek { topic, count } => self.peek(topic, count).await,
            Question::Note(change) => self.keep_list(change).await,
            Question::Lookupds(addresses) => Answer::Lookupds(self.lookupds(addresses)),
            Question::LookupAddresses => {
                Answer::LookupAddresses(self.state.borrow().lookup.http_addresses())
            }
            Question::Measures => Answer::Measures(Box::new(self.state.borrow().measures())),
            Question::Drain => self.drain().await,
            Question::Left => Answer::Left(self.state.borrow().left()),
            Question::Stats(filter) => Answer::Stats(Box::new(self.own_stats(&filter).await)),
        }
    }

    /// The nsqlookupds that are told, as they were last given.
    fn lookupds(self: &Rc<Self>, addresses: Option<Vec<String>>) -> Vec<String> {
        if let Some(addresses) = addresses {
            crate::lookup::set_addresses(self, &addresses);
            self.state.borrow_mut().lookupds = addresses;
        }
        self.state.borrow().lookupds.clone()
    }

    // --- sending ---

    async fn send_when_possible(self: Rc<Self>, key: ConnectionKey) {
        loop {
            let sent = poll_fn(|context| {
                let mut state = self.state.borrow_mut();
                match state.connections.get_mut(key) {
                    None => Poll::Ready(Ok(())),
                    Some(connection) => connection.poll_send(context),
                }
            })
            .await;
            let now = self.clock.now();
            let mut state = self.state.borrow_mut();
            let Some(connection) = state.connections.get_mut(key) else { return };
            if sent.is_err() {
                connection.die();
                return;
            }
            // Bytes left: the peer is not stuck.
            connection.blocked_since = None;
            let blocked = connection.send(now.tick) == Sent::Blocked;
            state.after_sending(key, now);
            drop(state);
            self.turn.wake();
            if !blocked {
                return;
            }
        }
    }
}

/// Starts a task that nobody waits for.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}
