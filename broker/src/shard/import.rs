//! Takes NSQ's disk queues into a topic's log, when the core starts and before it serves anybody.
//!
//! What survives a crash, and how, is said in [`crate::import::marker`]. When the disk refuses in
//! the middle, all is undone, the queues stay as they are, and the topic is served without them.
//!
//! A quota does not hold for what is imported: it was acknowledged by another broker.

use super::Shard;
use super::recovery::Restored;
use crate::disk::{blocking, names_in, sync};
use crate::import::marker::{self, MARKER_SUFFIX, Marker};
use crate::import::queues::{self, Found, QueueOwner, queue_name};
use crate::import::reader::{Batch, QueueReader};
use crate::limits::BLOCK_BYTES_TARGET;
use crate::log::storage_ring::{CHECKPOINT, FOLDER_SUFFIX, TopicFolder, Way};
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
        folder.sync(Way::Ring).await.map_err(|error| io::Error::other(error.to_string()))?;
        marker.end = Some(topic.log().end());
        self.write_marker(name, &marker).await?;
        let record = |is_whole| Some(topic.record(is_whole, self.clock.now()));
        folder.write_checkpoint(record).await?;
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
        let names = blocking(move || names_in(&data_path)).await?;
        let mut left = queues::find(names.into_iter());
        Ok(left.topics.remove(&name).unwrap_or_default())
    }

    /// Deletes what an import that did not end brought into the topic's folder.
    async fn undo_import(&self, name: TopicName) -> io::Result<()> {
        let path = self.marker_path(name);
        let folder = self.folder_path(name);
        blocking(move || {
            let Some(mut marker) = Marker::read(&path)? else { return Ok(()) };
            if marker.end.take().is_some() {
                // The checkpoint may be there already. Cut short, this must not look like an import
                // of which only the files are left.
                marker.write(&path)?;
            }
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
                let batch = reader.next_batch()?;
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
            sync(&folder.join(CHECKPOINT))?;
            sync(&folder)
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]
mod tests {
    use super::*;
    use crate::channel::Locality;
    use crate::channel::{Outgoing, Room, Terms};
    use crate::clock::Clock;
    use crate::flags::Flags;
    use crate::keys::ConnectionKey;
    use crate::message::Timestamp;
    use crate::routing::placement::{Placement, ShardId};
    use crate::shard::state::State;
    use crate::topic::catalogue::{Catalogue, Change};
    use clap::Parser as _;
    use protocol::frame::MESSAGE_FRAME_OVERHEAD;
    use std::path::Path;
    use std::rc::Rc;
    use std::time::Duration;

    fn topic() -> TopicName {
        TopicName::parse(b"t").unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn catalogue(changes: &[Change]) -> Rc<Catalogue> {
        let mut catalogue = Catalogue::default();
        for &change in changes {
            catalogue.apply(change);
        }
        Rc::new(catalogue)
    }

    fn record(number: u64, body: &str) -> Vec<u8> {
        let length = u32::try_from(26 + body.len()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&1_700_000_000_000_000_000_i64.to_be_bytes());
        bytes.extend_from_slice(&0_u16.to_be_bytes());
        bytes.extend_from_slice(format!("{number:016x}{body}").as_bytes());
        bytes
    }

    /// Puts a queue of these messages into the data path.
    fn put_queue(data_path: &Path, queue: &str, bodies: &[&str]) {
        let data: Vec<_> = (0..).zip(bodies).flat_map(|(n, body)| record(n, body)).collect();
        let metadata = format!("{}\n0,0\n0,{}\n", bodies.len(), data.len());
        std::fs::write(data_path.join(format!("{queue}.diskqueue.000000.dat")), data).unwrap();
        std::fs::write(data_path.join(format!("{queue}.diskqueue.meta.dat")), metadata).unwrap();
    }

    /// The queues of a topic with two channels.
    fn put_queues(data_path: &Path) {
        put_queue(data_path, "t:a", &["a1", "a2"]);
        put_queue(data_path, "t:b", &["b1"]);
        put_queue(data_path, "t", &["new"]);
    }

    fn on_a_core(test: impl AsyncFnOnce(&Path)) {
        let data = tempfile::tempdir().unwrap();
        let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .io_memory(64 << 10)
            .make()
            .expect("io_uring must be allowed here");
        executor.run(async {
            crate::pulse::start();
            test(data.path()).await;
        });
    }

    /// A core that has not looked into the data path yet.
    fn core(data_path: &Path) -> Rc<Shard> {
        let data_path = format!("--data-path={}", data_path.display());
        let flags = Flags::try_parse_from(["nsqd", &data_path]).unwrap();
        let config = Rc::new(flags.into_config(1, 0).unwrap());
        let state = State::new(ShardId(0), Placement::over(1), config.clone(), 1);
        Rc::new(Shard::alone(config, Clock::start(), state).unwrap())
    }

    /// A core as it is when it has just started over the data path.
    async fn start(data_path: &Path, catalogue: Rc<Catalogue>) -> Rc<Shard> {
        let shard = core(data_path);
        shard.recover(catalogue).await.unwrap();
        shard
    }

    impl Shard {
        /// The bodies that a channel is owed, in the order in which it delivers them.
        async fn owed(&self, name: &str) -> Vec<String> {
            let key = self.state.borrow().topics.key_of(topic()).expect("it was found");
            let Folder::Open(folder) = self.state.borrow().topics[key].folder.clone() else {
                panic!("it is open");
            };
            {
                let topic = &mut self.state.borrow_mut().topics[key].topic;
                let channel = topic.channel_key(channel(name)).expect("it was found");
                let channel = topic.channel_mut(channel);
                let message_timeout = Duration::from_secs(60);
                let connection = ConnectionKey::default();
                let terms = Terms {
                    connection,
                    message_timeout,
                    sample_rate: 0,
                    locality: Locality::default(),
                };
                let subscriber = channel.subscribe(terms);
                channel.set_ready_count(subscriber, 1_000);
            }
            let mut bodies = Vec::new();
            loop {
                let plans = self.state.borrow_mut().topics[key].topic.deliver(
                    self.clock.now(),
                    &mut |_, outgoing| {
                        let (Outgoing::Fresh { frames: bytes, .. }
                        | Outgoing::Again { frame: bytes, .. }) = outgoing;
                        let mut rest = &bytes[..];
                        while let Some(size) = rest.first_chunk() {
                            let (frame, behind) =
                                rest.split_at(4 + u32::from_be_bytes(*size) as usize);
                            let body = frame[MESSAGE_FRAME_OVERHEAD..].to_vec();
                            bodies.push(String::from_utf8(body).unwrap());
                            rest = behind;
                        }
                        Room::Left
                    },
                );
                if plans.is_empty() {
                    return bodies;
                }
                for plan in plans {
                    let data = folder.read(&plan).await.unwrap();
                    let log = self.state.borrow_mut();
                    let mut log =
                        std::cell::RefMut::map(log, |state| state.topics[key].topic.log_mut());
                    assert!(log.loaded(&plan, &data).damage.is_empty());
                }
            }
        }

        fn depth(&self, name: &str) -> u64 {
            let state = self.state.borrow();
            let topic = &state.topics[state.topics.key_of(topic()).expect("it was found")].topic;
            topic.channel(topic.channel_key(channel(name)).expect("it was found")).depth()
        }

        fn log_end(&self) -> Sequence {
            let state = self.state.borrow();
            state.topics[state.topics.key_of(topic()).expect("it was found")].topic.log().end()
        }
    }

    async fn check_that_all_is_owed_once(data_path: &Path, when: &str) {
        let shard = start(data_path, Rc::default()).await;
        assert_eq!((shard.depth("a"), shard.depth("b")), (3, 2), "{when}");
        assert_eq!(shard.owed("a").await, ["a1", "a2", "new"], "{when}");
        assert_eq!(shard.owed("b").await, ["b1", "new"], "{when}");
        assert_eq!(queue_files(data_path), [""; 0], "{when}");
        assert!(!data_path.join("t.import").exists(), "{when}");
    }

    /// Files of queues that are not set aside.
    fn queue_files(data_path: &Path) -> Vec<String> {
        let names = data_path.read_dir().unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(".diskqueue.") && name.ends_with(".dat"))
            .collect();
        names.sort();
        names
    }

    /// What a crash leaves that came so late in an import: the log has all messages, and the marker
    /// has this end.
    async fn crashed(data_path: &Path, end: Option<u64>, keeps_checkpoint: bool) {
        put_queues(data_path);
        drop(start(data_path, Rc::default()).await);
        let checkpoint = data_path.join("t.topic/checkpoint");
        assert!(checkpoint.exists(), "it is written before the queues are set aside");
        if !keeps_checkpoint {
            std::fs::remove_file(checkpoint).unwrap();
        }
        for entry in data_path.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == marker::IMPORTED) {
                std::fs::rename(&path, path.with_extension("")).unwrap();
            }
        }
        let files = ["t:a", "t:b", "t"].into_iter().flat_map(|queue| {
            ["000000", "meta"].map(|part| format!("{queue}.diskqueue.{part}.dat"))
        });
        let length = |name: &String| std::fs::metadata(data_path.join(name)).unwrap().len();
        let files = files.map(|name| (name.clone(), length(&name))).collect();
        let marker = Marker { first_segment: Sequence(0), end: end.map(Sequence), files };
        marker.write(&data_path.join("t.import")).unwrap();
    }

    #[test]
    fn wherever_a_crash_ends_an_import_every_message_is_owed_once() {
        let cases = [
            ("the log is being written", None, false),
            ("the log is written, and the checkpoint is not", Some(4), false),
            ("the log and the checkpoint are written", Some(4), true),
        ];
        for (when, end, keeps_checkpoint) in cases {
            on_a_core(async |data_path| {
                crashed(data_path, end, keeps_checkpoint).await;
                check_that_all_is_owed_once(data_path, when).await;
            });
        }
        on_a_core(async |data_path| {
            crashed(data_path, Some(4), true).await;
            std::fs::remove_file(data_path.join("t:a.diskqueue.000000.dat")).unwrap();
            check_that_all_is_owed_once(data_path, "some queues are set aside").await;
        });
        on_a_core(async |data_path| {
            crashed(data_path, None, false).await;
            let marker = data_path.join("t.import");
            std::fs::remove_file(&marker).unwrap();
            std::fs::remove_dir_all(data_path.join("t.topic")).unwrap();
            check_that_all_is_owed_once(data_path, "nothing is written yet").await;
        });
    }

    #[test]
    fn what_was_there_before_an_import_stays_when_it_is_undone() {
        on_a_core(async |data_path| {
            put_queue(data_path, "t:a", &["first"]);
            drop(start(data_path, Rc::default()).await);
            put_queue(data_path, "t:a", &["second"]);
            let marker = Marker { first_segment: Sequence(1), end: None, files: Vec::new() };
            marker.write(&data_path.join("t.import")).unwrap();
            std::fs::write(data_path.join("t.topic/00000000000000000001.log"), "half").unwrap();
            let shard = start(data_path, Rc::default()).await;
            assert_eq!(shard.owed("a").await, ["first", "second"]);
        });
    }

    #[test]
    fn an_import_whose_undoing_was_cut_short_begins_anew() {
        on_a_core(async |data_path| {
            crashed(data_path, Some(4), true).await;
            // The disk refuses to delete one of the segments.
            let obstacle = data_path.join("t.topic/00000000000000000009.log");
            std::fs::create_dir(&obstacle).unwrap();
            core(data_path).undo_import(topic()).await.unwrap_err();
            std::fs::remove_dir(&obstacle).unwrap();
            marker::remove_files(&data_path.join("t.topic"), |name| name.ends_with(".log"))
                .unwrap();
            check_that_all_is_owed_once(data_path, "the segments are deleted").await;
        });
    }

    #[test]
    fn a_log_that_was_served_behind_an_import_is_never_undone() {
        on_a_core(async |data_path| {
            // The marker could not be deleted, messages came, and the checkpoint was lost.
            crashed(data_path, Some(3), false).await;
            let shard = start(data_path, Rc::default()).await;
            assert_eq!(shard.log_end(), Sequence(4));
            assert_eq!(queue_files(data_path), [""; 0]);
        });
    }

    #[test]
    fn an_import_that_the_disk_refuses_is_undone_and_made_up_for_at_the_next_start() {
        // A folder in the way of the checkpoint, and one in the way of the marker.
        for obstacle in ["t.topic/checkpoint.new", "t.import.new"] {
            on_a_core(async |data_path| {
                put_queues(data_path);
                std::fs::create_dir_all(data_path.join(obstacle)).unwrap();
                let shard = start(data_path, Rc::default()).await;
                assert_eq!((shard.depth("a"), shard.log_end()), (0, Sequence(0)), "{obstacle}");
                assert_eq!(queue_files(data_path).len(), 6, "{obstacle}");
                assert!(!data_path.join("t.import").exists(), "{obstacle}");
                drop(shard);
                std::fs::remove_dir(data_path.join(obstacle)).unwrap();
                check_that_all_is_owed_once(data_path, obstacle).await;
            });
        }
    }

    #[test]
    fn a_channels_old_messages_do_not_overtake_what_waits_in_a_paused_topic() {
        on_a_core(async |data_path| {
            let paused = |paused| {
                let topic = topic();
                let channel = channel("a");
                catalogue(&[
                    Change::Topic { topic, paused },
                    Change::Channel { topic, channel, paused: false },
                ])
            };
            put_queue(data_path, "t", &["waits"]);
            drop(start(data_path, paused(true)).await);
            put_queue(data_path, "t:a", &["later"]);
            let shard = start(data_path, paused(true)).await;
            assert_eq!(shard.depth("a"), 0);
            assert_eq!(queue_files(data_path).len(), 2, "they stay");
            drop(shard);
            let shard = start(data_path, paused(false)).await;
            assert_eq!(shard.owed("a").await, ["waits", "later"]);
            assert_eq!(queue_files(data_path), [""; 0]);
        });
    }

    #[test]
    fn a_paused_topic_keeps_its_own_queue_back_and_its_channels_have_theirs() {
        on_a_core(async |data_path| {
            put_queues(data_path);
            let paused = catalogue(&[Change::Topic { topic: topic(), paused: true }]);
            let shard = start(data_path, paused).await;
            assert_eq!(shard.owed("a").await, ["a1", "a2"]);
            assert_eq!(shard.owed("b").await, ["b1"]);
            let now = crate::clock::Now { tick: crate::clock::Tick(0), wall: Timestamp(0) };
            let key = shard.state.borrow().topics.key_of(topic()).unwrap();
            shard.state.borrow_mut().topics[key].topic.set_paused(false, now);
            assert_eq!((shard.depth("a"), shard.depth("b")), (1, 1));
        });
    }
}
