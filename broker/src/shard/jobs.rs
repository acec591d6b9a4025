//! What has to wait: tasks of their own that carry on where a turn left off.

use super::Shard;
use super::abreast::abreast;
use super::alarms::Alarm;
use super::departure::FIRST;
use super::state::Job;
use super::troubles::Task;
use crate::config::Acknowledge;
use crate::connection::socket::Sent;
use crate::keys::{ConnectionKey, TopicKey};
use crate::limits::{READ_PAUSE_MILLISECONDS, READ_TRIES, TRY_AGAIN_MILLISECONDS};
use crate::log::storage_ring::{self, Data, TopicFolder};
use crate::log::{ReadPlan, SegmentName};
use crate::routing::request::{Action, Answer, Question};
use crate::shard::topics::{Folder, Tidying};
use crate::topic::Topic;
use crate::topic::catalogue::Change;
use crate::topic::retention::Waste;
use protocol::name::{ChannelName, TopicName};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

/// How often a task looks again at a folder that is being opened.
const FOLDER_POLL: Duration = Duration::from_millis(1);
/// How long a task waits that found no descriptor or no memory left.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);
/// How often a core that is going down looks whether its logs are synced.
const SYNC_POLL: Duration = Duration::from_millis(1);

/// How long a topic's log is left alone after it was tidied up.
const TIDY_PAUSE: Duration = Duration::from_secs(1);
/// Looking at every outstanding message takes some ten nanoseconds each: a thousandth of this.
const TIDY_PAUSE_PER_MESSAGE: Duration = Duration::from_micros(10);
const TIDY_PAUSE_AFTER_ERROR: Duration = Duration::from_secs(30);
/// After so many segments were written anew it is looked again which are worth it.
const COMPACTIONS_PER_LOOK: usize = 8;

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
                    spawn(async move { shard.delete_segments(topic, segments).await });
                }
                Job::ReadLog(topic, plan) => {
                    spawn(async move { shard.read_log(topic, plan).await });
                }
                Job::Checkpoint => spawn(async move { shard.write_checkpoints().await }),
                Job::Sync(topics) => spawn(async move { shard.sync_logs(topics).await }),
                Job::WriteList => spawn(async move { shard.write_list().await }),
                Job::SendWhenPossible(connection) => {
                    spawn(async move { shard.send_when_possible(connection).await });
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

    // --- the log ---

    /// Opens the folder of a new topic; when the disk refuses, tries again until it does not. What
    /// is published meanwhile is refused.
    async fn open_folder(self: Rc<Self>, key: TopicKey) {
        loop {
            let Some(name) = self.state.borrow().topics.get(key).map(|hosted| hosted.topic.name())
            else {
                return;
            };
            let folder = match TopicFolder::create(&self.config.data_path, name).await {
                Ok(folder) => {
                    let folder = Rc::new(folder);
                    self.prepare_in(key, &folder).await;
                    Folder::Open(folder)
                }
                Err(error) => Folder::Failed(format!("create: {error}")),
            };
            let is_open = {
                let now = self.clock.now();
                let mut state = self.state.borrow_mut();
                let Some(hosted) = state.topics.get_mut(key) else { return };
                if let Folder::Failed(reason) = &folder {
                    hosted.troubles.failed(Task::Write, reason.clone());
                    if hosted.troubles.may_say(now.tick) {
                        tracing::error!("TOPIC({name}) failed to open its log - {reason}");
                    }
                } else if hosted.troubles.done(Task::Write) {
                    tracing::info!("TOPIC({name}): its log is open");
                }
                let is_open = matches!(folder, Folder::Open(_));
                hosted.folder = folder;
                state.work.to_commit.push(key);
                state.note_open_files(key, now);
                is_open
            };
            self.turn.wake();
            if is_open {
                return;
            }
            glommio::timer::sleep(Duration::from_millis(TRY_AGAIN_MILLISECONDS)).await;
            let mut state = self.state.borrow_mut();
            let Some(hosted) = state.topics.get_mut(key) else { return };
            if hosted.leaving {
                // There is nothing to remove, and nothing to be made any more.
                return;
            }
            hosted.folder = Folder::Opening;
        }
    }

    async fn prepare_segment(self: Rc<Self>, key: TopicKey) {
        let folder = self.state.borrow().topics.get(key).map(|hosted| hosted.folder.clone());
        if let Some(Folder::Open(folder)) = folder {
            self.prepare_in(key, &folder).await;
        }
        {
            let mut state = self.state.borrow_mut();
            if let Some(hosted) = state.topics.get_mut(key) {
                hosted.preparing = false;
            }
            state.note_open_files(key, self.clock.now());
        }
        self.turn.wake();
    }

    /// Has a file ready for the next segment. When that fails, the append that needs it fails too
    /// and says why.
    async fn prepare_in(&self, key: TopicKey, folder: &TopicFolder) {
        if let Err(error) = folder.prepare().await {
            let mut state = self.state.borrow_mut();
            if let Some(hosted) = state.topics.get_mut(key)
                && hosted.troubles.may_say(self.clock.now().tick)
            {
                let name = hosted.topic.name();
                tracing::error!("TOPIC({name}) failed to open a segment of its log - {error}");
            }
        }
    }

    async fn read_log(self: Rc<Self>, key: TopicKey, plan: ReadPlan) {
        let Some((name, folder)) = ({
            let state = self.state.borrow();
            state.topics.get(key).map(|hosted| (hosted.topic.name(), hosted.folder.clone()))
        }) else {
            return;
        };
        let Folder::Open(folder) = folder else { return };
        let read = read_patiently(name, &folder, &plan).await;
        {
            let mut state = self.state.borrow_mut();
            state.note_open_files(key, self.clock.now());
            let Some(hosted) = state.topics.get_mut(key) else { return };
            hosted.reading.retain(|reading| *reading != plan);
            let log = hosted.topic.log_mut();
            let report = match &read {
                Read::Whole(bytes) => log.loaded(&plan, bytes),
                Read::Partly(bytes) => log.loaded(&plan, bytes),
                Read::Nothing => log.unreadable(&plan),
            };
            hosted.note_damage(&report.damage);
            state.memory_growth += plan.bytes;
            state.queue_to_deliver(key);
        }
        self.turn.wake();
    }

    // --- syncing ---

    /// Carries out a round of syncs. Where somebody waits all topics go at once, so that they share
    /// the file system's commit; else one after another, since nothing is urgent.
    async fn sync_logs(self: Rc<Self>, topics: Vec<TopicKey>) {
        for key in topics {
            if self.config.acknowledge == Acknowledge::Synced {
                let shard = self.clone();
                spawn(async move { shard.sync_log(key).await });
            } else {
                self.sync_log(key).await;
            }
        }
    }

    async fn sync_log(&self, key: TopicKey) {
        let folder = self.state.borrow().topics.get(key).map(|hosted| hosted.folder.clone());
        let result = match folder {
            Some(Folder::Open(folder)) => folder.sync().await,
            // It went meanwhile, and nobody waits for it any more.
            _ => Ok(()),
        };
        self.state.borrow_mut().synced(key, result, self.clock.now());
        self.turn.wake();
    }

    /// Has all that was written synced, and answers those who wait for it. For the end.
    pub(super) async fn finish_syncs(self: &Rc<Self>) {
        loop {
            {
                let mut state = self.state.borrow_mut();
                state.syncs.finish();
                state.end_turn(self.clock.now());
                if state.syncs.is_idle() {
                    return;
                }
            }
            self.start_jobs();
            glommio::timer::sleep(SYNC_POLL).await;
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
        let folder = self.state.borrow().topics.get(key).map(|hosted| hosted.folder.clone());
        let Some(Folder::Open(folder)) = folder else { return Ok(()) };
        let record = |is_whole| {
            let mut state = self.state.borrow_mut();
            let topic = &mut state.topics.get_mut(key)?.topic;
            if is_whole {
                topic.record_all();
            }
            Some(topic.record(self.clock.now()))
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

    /// Deletes what nobody needs of a topic's log, and writes anew what is hardly needed.
    async fn tidy(&self, key: TopicKey) {
        let now = self.clock.now();
        let (folder, Waste { delete, compact }) = {
            let state = &mut *self.state.borrow_mut();
            let Some(hosted) = state.topics.get(key) else { return };
            let Folder::Open(folder) = hosted.folder.clone() else { return };
            if hosted.topic.is_spent() && state.is_data_full() {
                state.end_segment(key, now);
            }
            let hosted = &mut state.topics[key];
            hosted.tidying.is_due = false;
            if hosted.topic.log().segments().nth(1).is_none() {
                return;
            }
            if hosted.tidying.is_running || now.tick < hosted.tidying.not_before {
                hosted.tidying.is_due = true;
                state.want_checkpoint(now);
                self.turn.wake();
                return;
            }
            hosted.tidying.is_running = true;
            (folder, hosted.topic.find_waste())
        };
        delete_all(&folder, delete).await;
        let mut pause = TIDY_PAUSE;
        let mut is_due = COMPACTIONS_PER_LOOK < compact.len();
        for segment in compact.into_iter().take(COMPACTIONS_PER_LOOK) {
            if let Err(error) = self.compact(key, &folder, segment).await {
                tracing::error!("failed to write a segment of the log anew - {error}");
                pause = TIDY_PAUSE_AFTER_ERROR;
                is_due = true;
                break;
            }
        }
        {
            let mut state = self.state.borrow_mut();
            let Some(hosted) = state.topics.get_mut(key) else { return };
            let outstanding = u32::try_from(hosted.topic.outstanding()).unwrap_or(u32::MAX);
            pause += TIDY_PAUSE_PER_MESSAGE * outstanding;
            let is_due = is_due || hosted.tidying.is_due;
            hosted.tidying =
                Tidying { is_running: false, is_due, not_before: now.tick.plus(pause) };
            if is_due {
                state.want_checkpoint(now);
            }
            state.measure_usage();
        }
        self.turn.wake();
    }

    async fn compact(
        &self,
        key: TopicKey,
        folder: &TopicFolder,
        segment: SegmentName,
    ) -> std::io::Result<()> {
        let in_topic = |act: &mut dyn FnMut(&mut Topic)| {
            if let Some(hosted) = self.state.borrow_mut().topics.get_mut(key) {
                act(&mut hosted.topic);
            }
        };
        let mut compaction = None;
        in_topic(&mut |topic| compaction = topic.compaction(segment));
        let Some(compaction) = compaction else { return Ok(()) };
        let mut compacted = match folder.write_anew(compaction).await {
            Ok(None) => return Ok(()),
            Ok(compacted) => compacted,
            Err(error) => {
                let try_again = error.kind() != std::io::ErrorKind::InvalidData;
                in_topic(&mut |topic| topic.not_compacted(segment, try_again));
                return Err(error);
            }
        };
        in_topic(&mut |topic| topic.log_mut().replacing(segment));
        let replaced = folder.replace_segment(segment).await;
        let mut is_wanted = true;
        in_topic(&mut |topic| match (&replaced, compacted.take()) {
            (Ok(()), Some(compacted)) => is_wanted = topic.log_mut().replaced(compacted),
            _ => {
                topic.log_mut().not_replaced(segment);
                topic.not_compacted(segment, true);
            }
        });
        if !is_wanted {
            // The log gave it up meanwhile, and the old file went before the new one came.
            delete_all(folder, vec![segment]).await;
        }
        replaced
    }

    /// Deletes segments that a topic's log gave up.
    async fn delete_segments(self: Rc<Self>, key: TopicKey, segments: Vec<SegmentName>) {
        let folder = self.state.borrow().topics.get(key).map(|hosted| hosted.folder.clone());
        if let Some(Folder::Open(folder)) = folder {
            delete_all(&folder, segments).await;
        }
    }

    /// Waits until a topic's folder is open, or cannot be.
    pub(super) async fn folder_of(&self, key: TopicKey) -> Option<Rc<TopicFolder>> {
        loop {
            let folder = self.state.borrow().topics.get(key).map(|hosted| hosted.folder.clone());
            match folder {
                Some(Folder::Opening) => glommio::timer::sleep(FOLDER_POLL).await,
                Some(Folder::Open(folder)) => return Some(folder),
                Some(Folder::None | Folder::Failed(_)) | None => return None,
            }
        }
    }

    /// Waits until a topic that is being deleted is gone.
    async fn until_gone(&self, topic: TopicName) {
        let is_leaving = || {
            let state = self.state.borrow();
            state.topics.key_of(topic).is_some_and(|key| state.topics[key].leaving)
        };
        while is_leaving() {
            glommio::timer::sleep(FOLDER_POLL).await;
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
        let applied = {
            let mut state = self.state.borrow_mut();
            state.administer(topic, action, self.clock.now())
        };
        self.turn.wake();
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
            let mut state = self.state.borrow_mut();
            if let Some(hosted) = state.topics.remove(key) {
                let syncing = state.syncs.forget(key);
                for (origin, waiter) in hosted.waiters.into_iter().chain(syncing) {
                    let exiting = Err(crate::routing::request::PublishError::Exiting);
                    state.published(origin, waiter, exiting);
                }
                self.turn.wake();
            }
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
            Question::Note(change) => self.keep_list(change).await,
            Question::Stats(filter) => Answer::Stats(Box::new(self.state.borrow().stats(&filter))),
        }
    }

    // --- sending ---

    async fn send_when_possible(self: Rc<Self>, key: ConnectionKey) {
        loop {
            let Some(socket) = self.socket_of(key) else { return };
            let sent = poll_fn(|context| {
                let mut state = self.state.borrow_mut();
                let Some(connection) = state.connections.get_mut(key) else {
                    return Poll::Ready(Ok(()));
                };
                let sent = ready!(socket.poll_send(context, &mut connection.output));
                Poll::Ready(sent)
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

/// What came of a read.
enum Read {
    /// All of it.
    Whole(Data),
    /// What the disk gave; zeros for the rest.
    Partly(Vec<u8>),
    /// Somebody took the file away.
    Nothing,
}

/// Reads a part of a log; when the disk refuses a few times, what it gives of it.
async fn read_patiently(topic: TopicName, folder: &TopicFolder, plan: &ReadPlan) -> Read {
    let mut pause = Duration::from_millis(READ_PAUSE_MILLISECONDS);
    let mut tries = 1;
    loop {
        let error = if tries < READ_TRIES {
            match folder.read(plan).await {
                Ok(bytes) => return Read::Whole(bytes),
                Err(error) => error,
            }
        } else {
            match folder.salvage(plan).await {
                Ok(bytes) => return Read::Partly(bytes),
                Err(error) => error,
            }
        };
        if error.kind() == std::io::ErrorKind::NotFound {
            // Waiting would not bring it back.
            tracing::error!("TOPIC({topic}) failed to read its log - {error}");
            return Read::Nothing;
        }
        tracing::error!("TOPIC({topic}) failed to read its log - {error}; trying again");
        if storage_ring::is_shortage(&error) {
            glommio::timer::sleep(SHORTAGE_PAUSE).await;
        } else if tries < READ_TRIES {
            glommio::timer::sleep(pause).await;
            pause *= 3;
            tries += 1;
        } else {
            return Read::Nothing;
        }
    }
}

async fn delete_all(folder: &TopicFolder, segments: Vec<SegmentName>) {
    for segment in segments {
        if let Err(error) = folder.delete(segment).await {
            tracing::error!("failed to delete {segment} - {error}");
        }
    }
}

fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}
