//! Deletes what nobody needs of the logs, and has written anew what is hardly needed.
//!
//! What can go is decided in [`crate::topic::retention`]; here is when it is looked for, and how it
//! goes. One task at a time for each topic.

use super::Shard;
use crate::clock::Tick;
use crate::keys::TopicKey;
use crate::log::SegmentName;
use crate::log::storage_ring::TopicFolder;
use crate::topic::Topic;
use crate::topic::retention::Waste;
use std::rc::Rc;
use std::time::Duration;

/// How long a topic's log is left alone after it was tidied up.
const TIDY_PAUSE: Duration = Duration::from_secs(1);
/// Looking at every outstanding message takes some ten nanoseconds each: a thousandth of this.
const TIDY_PAUSE_PER_MESSAGE: Duration = Duration::from_micros(10);
const TIDY_PAUSE_AFTER_ERROR: Duration = Duration::from_secs(30);
/// After so many segments were written anew it is looked again which are worth it.
const COMPACTIONS_PER_LOOK: usize = 8;

/// How it stands with deleting what nobody needs of a topic's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tidying {
    /// A task is at it.
    pub is_running: bool,
    /// It was put off, and must be done even if nothing happens any more.
    pub is_due: bool,
    /// Not before this: looking costs time.
    pub not_before: Tick,
}

impl Shard {
    /// Deletes what nobody needs of a topic's log, and writes anew what is hardly needed.
    pub(super) async fn tidy(&self, key: TopicKey) {
        let now = self.clock.now();
        let (folder, Waste { delete, compact }) = {
            let state = &mut *self.state.borrow_mut();
            let Some(folder) = state.topics.open_folder(key) else { return };
            if state.topics[key].topic.is_spent() && state.is_data_full() {
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
        self.delete_segments(key, &folder, delete).await;
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
            Ok(None) => {
                in_topic(&mut |topic| topic.leave_as_it_is(segment));
                return Ok(());
            }
            Ok(compacted) => compacted,
            Err(error) => {
                if error.kind() == std::io::ErrorKind::InvalidData {
                    in_topic(&mut |topic| topic.leave_as_it_is(segment));
                }
                return Err(error);
            }
        };
        in_topic(&mut |topic| topic.log_mut().replacing(segment));
        let replaced = folder.replace_segment(segment).await;
        let mut is_wanted = true;
        in_topic(&mut |topic| match (&replaced, compacted.take()) {
            (Ok(()), Some(compacted)) => is_wanted = topic.log_mut().replaced(compacted),
            _ => topic.log_mut().not_replaced(segment),
        });
        if !is_wanted {
            // The log gave it up meanwhile, and the old file went before the new one came.
            self.delete_segments(key, folder, vec![segment]).await;
        }
        replaced
    }

    /// Deletes segments that a topic's log gave up for want of room.
    pub(super) async fn delete_dropped(self: Rc<Self>, key: TopicKey, segments: Vec<SegmentName>) {
        let folder = self.state.borrow().topics.open_folder(key);
        if let Some(folder) = folder {
            self.delete_segments(key, &folder, segments).await;
        }
    }

    /// Deletes segments that a topic's log gave up. That nobody needs them is kept first, or the next
    /// start takes them for lost; but where the disk refuses that, room is needed more.
    async fn delete_segments(
        &self,
        key: TopicKey,
        folder: &TopicFolder,
        segments: Vec<SegmentName>,
    ) {
        if segments.is_empty() {
            return;
        }
        // A failure is said there, and tried again.
        if self.write_checkpoint(key).await.is_ok()
            && let Err(error) = folder.sync_checkpoint().await
        {
            tracing::warn!("failed to sync a checkpoint - {error}");
        }
        delete_all(folder, segments).await;
    }
}

async fn delete_all(folder: &TopicFolder, segments: Vec<SegmentName>) {
    for segment in segments {
        if let Err(error) = folder.delete(segment).await {
            tracing::error!("failed to delete {segment} - {error}");
        }
    }
}
