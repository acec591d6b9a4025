//! Takes NSQ's disk queues into a topic's log, when the core starts and before it serves anybody.
//!
//! What survives a crash, and how, is said in [`crate::import::marker`]. When the disk refuses in
//! the middle, all is undone, the queues stay as they are, and the topic is served without them.

use super::Shard;
use super::recovery::Restored;
use crate::import::marker::{self, MARKER_SUFFIX, Marker};
use crate::import::queues::{Found, QueueOwner, queue_name};
use crate::import::reader::{self, Batch, QueueReader};
use crate::limits::BLOCK_BYTES_TARGET;
use crate::log::storage_ring::{CHECKPOINT, FOLDER_SUFFIX, TopicFolder};
use crate::log::{KeptMessage, SegmentName};
use crate::message::Sequence;
use crate::shard::topics::Folder;
use crate::topic::Topic;
use crate::topic::catalogue::Listed;
use protocol::name::{ChannelName, TopicName};
use std::io;
use std::path::PathBuf;

/// A queue that is being imported, and what came of it.
struct Import {
    owner: QueueOwner,
    reader: QueueReader,
    messages: u64,
    body_bytes: u64,
    damaged_places: u64,
    damaged_bytes: u64,
}

impl Shard {
    /// Opens a topic, as [`Self::restore_topic`] does, with all that its queues hold.
    pub(super) async fn restore_with_queues(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        found: Found,
    ) -> Restored {
        let channels: Vec<_> = found.channels().collect();
        let error = match self.import(name, listed, found, &channels).await {
            Ok(restored) => return restored,
            Err(error) => error,
        };
        tracing::error!("TOPIC({name}) failed to import its disk queues; they stay - {error}");
        match self.undo_import(name).await {
            Ok(()) => self.restore_topic(name, listed, &channels).await,
            Err(error) => {
                tracing::error!("TOPIC({name}) failed to undo the import - {error}");
                self.unopened(name, listed, &channels, error.to_string())
            }
        }
    }

    async fn import(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        mut found: Found,
        channels: &[ChannelName],
    ) -> io::Result<Restored> {
        if found.has_marker {
            found = self.end_earlier_import(name, listed, found).await?;
        }
        let mut restored = self.restore_topic(name, listed, channels).await;
        let Folder::Open(folder) = restored.folder.clone() else { return Ok(restored) };
        let topic = &mut restored.topic;
        let (mut imports, mut files) = (Vec::new(), Vec::new());
        for (owner, queue) in found.queues {
            let data_path = self.config.data_path.clone();
            let reader = blocking(move || QueueReader::open(&data_path, queue)).await?;
            for oddity in reader.oddities() {
                tracing::warn!("DISKQUEUE({}): {oddity}", queue_name(name, owner));
            }
            let is_overtaking = owner != QueueOwner::Topic && !topic.is_drained();
            if is_overtaking && !reader.is_at_end() {
                tracing::warn!(
                    "DISKQUEUE({}): stays until the topic, which is paused, has handed over what \
                     waits in it, and the broker is started again",
                    queue_name(name, owner)
                );
                continue;
            }
            files.extend(reader.files());
            if !reader.is_at_end() {
                imports.push(Import::of(owner, reader));
            }
        }
        if imports.is_empty() {
            let marker = Marker { first_segment: Sequence(0), end: None, files };
            let data_path = self.config.data_path.clone();
            blocking(move || marker.set_files_aside(&data_path)).await?;
            return Ok(restored);
        }
        let SegmentName(first_segment) = topic.log_mut().start_new_segment();
        let mut marker = Marker { first_segment, end: None, files };
        self.write_marker(name, &marker).await?;
        for import in &mut imports {
            self.import_queue(topic, &folder, import).await?;
        }
        folder.sync().await.map_err(|error| io::Error::other(error.to_string()))?;
        marker.end = Some(topic.log().end());
        self.write_marker(name, &marker).await?;
        if folder.wants_whole_record() {
            topic.record_all();
        }
        let record = topic.record(self.clock.now());
        folder.write_checkpoint(&record).await?;
        self.sync_checkpoint(name).await?;
        // From here on the messages are the topic's: what is left is done at the next start.
        if let Err(error) = self.set_aside(name, marker).await {
            tracing::error!("TOPIC({name}) failed to set its disk queues aside - {error}");
        }
        for import in imports {
            import.report(name);
        }
        Ok(restored)
    }

    /// Undoes an import that a crash ended, or ends what was left of it: what is still to be
    /// imported.
    async fn end_earlier_import(
        &self,
        name: TopicName,
        listed: Option<&Listed>,
        found: Found,
    ) -> io::Result<Found> {
        let path = self.marker_path(name);
        let Some(marker) = blocking(move || Marker::read(&path)).await? else {
            tracing::warn!("TOPIC({name}): the mark of its import is damaged; it starts anew");
            return Ok(found);
        };
        let is_kept = match marker.end {
            None => false,
            Some(end) => {
                let restored = self.restore_topic(name, listed, &[]).await;
                // A log that goes on behind it was served: then what is there must stay.
                end <= restored.checkpoint_end || end < restored.topic.log().end()
            }
        };
        if !is_kept {
            tracing::warn!(
                "TOPIC({name}): the import of its disk queues was cut short; it starts anew"
            );
            self.undo_import(name).await?;
            return Ok(found);
        }
        self.set_aside(name, marker).await?;
        let data_path = self.config.data_path.clone();
        let mut left = blocking(move || reader::find_in(&data_path)).await?;
        Ok(left.topics.remove(&name).unwrap_or_default())
    }

    /// Deletes what an import that did not end brought into the topic's folder.
    async fn undo_import(&self, name: TopicName) -> io::Result<()> {
        let path = self.marker_path(name);
        let folder = self.folder_path(name);
        blocking(move || {
            let Some(marker) = Marker::read(&path)? else { return Ok(()) };
            let is_new = |file_name: &str| {
                let segment = SegmentName::parse(file_name);
                segment.is_some_and(|segment| marker.first_segment <= segment.first())
            };
            marker::remove_files(&folder, is_new)?;
            marker::remove(&path)
        })
        .await
    }

    async fn import_queue(
        &self,
        topic: &mut Topic,
        folder: &TopicFolder,
        import: &mut Import,
    ) -> io::Result<()> {
        let name = topic.name();
        while !import.reader.is_at_end() {
            let mut reader = std::mem::take(&mut import.reader);
            let (reader, batch) = blocking(move || {
                let batch = reader.next_batch();
                Ok((reader, batch))
            })
            .await?;
            import.reader = reader;
            import.count(name, &batch);
            for message in batch.messages() {
                let kept = KeptMessage {
                    timestamp: message.timestamp,
                    // NSQ starts again at zero; a message tried so often should not look new.
                    attempts: message.attempts.saturating_add(1),
                    id: message.id,
                    body: message.body,
                };
                topic.log_mut().append_kept(&kept, self.clock.now().wall);
                if BLOCK_BYTES_TARGET <= topic.log().open_bytes() {
                    self.write_imported(topic, folder, import.owner)?;
                }
            }
            self.write_imported(topic, folder, import.owner)?;
            // Nobody reads them soon, and there may be more than fit in memory.
            topic.log_mut().evict(usize::MAX);
        }
        Ok(())
    }

    fn write_imported(
        &self,
        topic: &mut Topic,
        folder: &TopicFolder,
        owner: QueueOwner,
    ) -> io::Result<()> {
        let Some(write) = topic.log_mut().seal() else { return Ok(()) };
        folder.write(&write)?;
        match owner {
            QueueOwner::Topic => topic.written(write, self.clock.now()),
            QueueOwner::Channel(channel) => {
                let key = topic.channel_key(channel).expect("it was made for its queue");
                topic.written_for(key, write);
            }
        }
        Ok(())
    }

    // --- files ---

    fn marker_path(&self, name: TopicName) -> PathBuf {
        self.config.data_path.join(format!("{name}{MARKER_SUFFIX}"))
    }

    fn folder_path(&self, name: TopicName) -> PathBuf {
        self.config.data_path.join(format!("{name}{FOLDER_SUFFIX}"))
    }

    async fn write_marker(&self, name: TopicName, marker: &Marker) -> io::Result<()> {
        let (path, marker) = (self.marker_path(name), marker.clone());
        blocking(move || marker.write(&path)).await
    }

    /// Brings the checkpoint, and the names in the folder, to the disk itself: when the queues are
    /// set aside nothing else says whose the messages are.
    async fn sync_checkpoint(&self, name: TopicName) -> io::Result<()> {
        let folder = self.folder_path(name);
        blocking(move || {
            marker::sync(&folder.join(CHECKPOINT))?;
            marker::sync(&folder)
        })
        .await
    }

    /// Ends an import whose messages are kept.
    async fn set_aside(&self, name: TopicName, marker: Marker) -> io::Result<()> {
        let (data_path, path) = (self.config.data_path.clone(), self.marker_path(name));
        blocking(move || {
            marker.set_files_aside(&data_path)?;
            marker::remove(&path)
        })
        .await
    }
}

impl Import {
    fn of(owner: QueueOwner, reader: QueueReader) -> Self {
        Self { owner, reader, messages: 0, body_bytes: 0, damaged_places: 0, damaged_bytes: 0 }
    }

    fn count(&mut self, topic: TopicName, batch: &Batch) {
        for message in batch.messages() {
            self.messages += 1;
            self.body_bytes += message.body.len() as u64;
        }
        for damage in &batch.damage {
            tracing::error!("DISKQUEUE({}): {damage}", queue_name(topic, self.owner));
            self.damaged_places += 1;
            self.damaged_bytes += damage.bytes;
        }
    }

    fn report(&self, topic: TopicName) {
        let Self { owner, messages, body_bytes, damaged_places, damaged_bytes, .. } = self;
        let queue = queue_name(topic, *owner);
        let files = self.reader.files().count();
        tracing::info!(
            "DISKQUEUE({queue}): imported {messages} messages of {body_bytes} bytes, skipped \
             {damaged_bytes} damaged bytes at {damaged_places} places; its {files} files are set \
             aside as {queue}.diskqueue.*.{}",
            marker::IMPORTED
        );
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    glommio::executor().spawn_blocking(work).await
}
