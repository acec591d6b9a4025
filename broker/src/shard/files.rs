//! What a topic's files take time for: opening the folder and the next segment, reading, syncing.
//!
//! Does not know: what is in them, and when they may go.

use super::jobs::spawn;
use super::state::Call;
use super::troubles::Task;
use super::{Shard, Waiting};
use crate::config::Acknowledge;
use crate::disk::ring;
use crate::keys::TopicKey;
use crate::limits::{
    BLOCKING_THREADS, FOUND_PAUSE_MILLISECONDS, PROOF_PAUSE_MAX_SECONDS, READ_PAUSE_MILLISECONDS,
    READ_TRIES, TRY_AGAIN_MILLISECONDS,
};
use crate::log::ReadPlan;
use crate::log::storage_ring::{self, Data, SyncError, TopicFolder, Way};
use crate::shard::topics::Folder;
use protocol::name::TopicName;
use std::rc::Rc;
use std::time::Duration;

/// How long a task waits that found no descriptor or no memory left.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);
/// How often a core that is going down looks whether its logs are synced.
const SYNC_POLL: Duration = Duration::from_millis(1);

impl Shard {
    /// Opens the folder of a new topic; when the disk refuses, tries again until it does not. What
    /// is published meanwhile is refused.
    pub(super) async fn open_folder(self: Rc<Self>, key: TopicKey) {
        loop {
            let Some(name) = self.state.borrow().topics.get(key).map(|hosted| hosted.topic.name())
            else {
                return;
            };
            let wait = self.file_waits.begin();
            let folder = match TopicFolder::create(&self.config.data_path, name).await {
                Ok(folder) => {
                    let folder = Rc::new(folder);
                    self.prepare_in(key, &folder).await;
                    Folder::Open(folder)
                }
                Err(error) => Folder::Failed(format!("create: {error}")),
            };
            drop(wait);
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
                state.work.to_commit.push_back(key);
                state.note_open_files(key, now);
                is_open
            };
            self.topic_news.spread();
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

    pub(super) async fn prepare_segment(self: Rc<Self>, key: TopicKey) {
        let folder = self.state.borrow().topics.open_folder(key);
        if let Some(folder) = folder {
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

    pub(super) async fn read_log(self: Rc<Self>, key: TopicKey, plan: ReadPlan) {
        let Some((name, folder)) = ({
            let state = self.state.borrow();
            state.topics.get(key).map(|hosted| (hosted.topic.name(), hosted.folder.clone()))
        }) else {
            return;
        };
        let Folder::Open(folder) = folder else { return };
        let read = {
            let _wait = self.file_waits.begin();
            read_patiently(name, &folder, &plan).await
        };
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
    pub(super) async fn sync_logs(self: Rc<Self>, topics: Vec<TopicKey>) {
        for (number, key) in topics.into_iter().enumerate() {
            if self.config.acknowledge == Acknowledge::Synced {
                let way = if number < BLOCKING_THREADS { Way::Thread } else { Way::Ring };
                let shard = self.clone();
                spawn(async move { shard.sync_log(key, way).await });
            } else {
                self.sync_log(key, Way::Ring).await;
            }
        }
    }

    async fn sync_log(&self, key: TopicKey, way: Way) {
        let folder = self.state.borrow().topics.open_folder(key);
        let begun = self.clock.now().tick;
        let _wait =
            (self.config.acknowledge == Acknowledge::Synced).then(|| self.file_waits.begin());
        let result = match folder {
            Some(folder) => folder.sync(way).await,
            // It went meanwhile, and nobody waits for it any more.
            None => Ok(()),
        };
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        if result.is_ok() {
            state.measures.sync.note(now.tick.since(begun));
        }
        state.synced(key, result, now);
        drop(state);
        self.turn.wake();
    }

    /// Tries whether a log can be synced again that could not be, until it can; a publish that comes
    /// earlier shows it, too.
    pub(super) async fn prove_log(self: Rc<Self>, key: TopicKey) {
        let mut pause = Duration::from_millis(TRY_AGAIN_MILLISECONDS);
        loop {
            glommio::timer::sleep(pause).await;
            let waiting = {
                let mut state = self.state.borrow_mut();
                let call = state.calls.insert(Call::default());
                let is_started = state.start_proof(key, call, self.clock.now());
                drop(state);
                let waiting = Waiting { shard: self.clone(), call };
                if !is_started {
                    return;
                }
                waiting
            };
            self.turn.wake();
            // What came of it is noted already.
            waiting.answer().await;
            pause = (2 * pause).min(Duration::from_secs(PROOF_PAUSE_MAX_SECONDS));
        }
    }

    /// Brings to the disk itself what was found at the start: whoever wrote it may have been killed
    /// before it synced it, and nobody would do so unless the topic is used. One topic after the
    /// other, and a fifth of the disk's time at most.
    pub(super) async fn sync_found(self: Rc<Self>) {
        let keys: Vec<_> = self.state.borrow().topics.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.sync_found_of(key).await;
        }
        let data_path = &self.config.data_path;
        if let Err(error) = ring::sync_folder(data_path).await.and_then(|synced| synced) {
            tracing::error!("failed to sync {} - {error}", data_path.display());
        }
    }

    async fn sync_found_of(&self, key: TopicKey) {
        loop {
            let folder = self.state.borrow().topics.open_folder(key);
            let Some(folder) = folder else { return };
            let began = self.clock.now().tick;
            let synced = folder.sync_found().await;
            let now = self.clock.now().tick;
            match synced {
                Ok(false) => return,
                Ok(true) => {}
                Err(SyncError::NotTried(_)) => {
                    glommio::timer::sleep(SHORTAGE_PAUSE).await;
                    continue;
                }
                Err(error) => {
                    let mut state = self.state.borrow_mut();
                    if let Some(hosted) = state.topics.get(key) {
                        let name = hosted.topic.name();
                        tracing::error!(
                            "TOPIC({name}) failed to sync what was found of its log - {error}; it \
                             may not survive a loss of power"
                        );
                    }
                    state.note_unsynced(key, &error);
                    drop(state);
                    self.turn.wake();
                }
            }
            let pause = Duration::from_millis(FOUND_PAUSE_MILLISECONDS).max(4 * now.since(began));
            glommio::timer::sleep(pause).await;
            return;
        }
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

    /// Waits until a topic's folder is open, or cannot be.
    pub(super) async fn folder_of(&self, key: TopicKey) -> Option<Rc<TopicFolder>> {
        let opened = || match self.state.borrow().topics.get(key).map(|hosted| &hosted.folder) {
            Some(Folder::Opening) => None,
            Some(Folder::Open(folder)) => Some(Some(folder.clone())),
            Some(Folder::None | Folder::Failed(_)) | None => Some(None),
        };
        self.topic_news.until(opened).await
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
