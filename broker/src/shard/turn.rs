//! What ends a turn: keep what was published, deliver what can be, send what is to be sent.
//!
//! Everything that arrived since the last turn was parsed and stands in the topics' open blocks.
//! Now each topic writes its block once, every publisher is answered, every consumer is given what
//! it may have, and every connection is sent to once. Nothing here waits; what has to is left as a
//! [`Job`]: with `--acknowledge=synced` that is the answer to publishers, too.

use super::alarms::Alarm;
use super::state::{Job, State, Work};
use crate::channel::{Outgoing, Room};
use crate::clock::{Now, Tick};
use crate::config::Acknowledge;
use crate::connection::heartbeat::Due;
use crate::connection::socket::Sent;
use crate::connection::{Connection, Life};
use crate::keys::{ConnectionKey, TopicKey};
use crate::limits::{BLOCK_BYTES_TARGET, CHECKPOINT_MILLISECONDS, LINGER_MILLISECONDS};
use crate::routing::request::PublishError;
use crate::shard::topics::Folder;
use protocol::frame;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::time::Duration;

/// The budget is looked at whenever so large a part of it was taken: memory exceeds it by at most
/// this part, and a look at every topic costs little per message.
const MEMORY_LOOKS_PER_BUDGET: usize = 16;
/// A topic keeps room for so many publishers that wait, so that few of them take nothing from the heap.
const WAITERS_KEPT: usize = 64;

impl State {
    /// Ends a turn. See the head of this file.
    pub fn end_turn(&mut self, now: Now) {
        self.keep(now);
        self.hand_out(now);
    }

    /// The first half: keeps what was published.
    pub fn keep(&mut self, now: Now) {
        self.ring_alarms(now);
        self.work_off(|work| &mut work.to_commit, Self::commit, now);
        self.start_syncs(now);
    }

    /// The second half: delivers and answers.
    pub fn hand_out(&mut self, now: Now) {
        self.work_off(|work| &mut work.to_deliver, Self::deliver, now);
        // What was read from disk must be offered before it can be dropped again.
        self.keep_to_budget();
        self.work_off(|work| &mut work.to_send, Self::send, now);
    }

    /// Does `what` to all that stand in a list; what comes in meanwhile is for the next turn.
    fn work_off<K>(
        &mut self,
        list: fn(&mut Work) -> &mut VecDeque<K>,
        what: fn(&mut Self, K, Now),
        now: Now,
    ) {
        for _ in 0..list(&mut self.work).len() {
            let Some(key) = list(&mut self.work).pop_front() else { return };
            what(self, key, now);
        }
    }

    fn ring_alarms(&mut self, now: Now) {
        while let Some(alarm) = self.alarms.take_due(now.tick) {
            match alarm {
                Alarm::Topic(key) => self.pass_time(key, now),
                Alarm::Connection(key) => self.connection_alarm(key, now),
                Alarm::Checkpoint => self.jobs.push(Job::Checkpoint),
                Alarm::Rest => self.rest_idle_folders(now),
                Alarm::List => self.jobs.push(Job::WriteList),
                // The turn looks for logs that are due in any case.
                Alarm::Sync => {
                    self.sync_rings.rang(now.tick);
                }
            }
        }
    }

    /// Has the logs synced that are due.
    fn start_syncs(&mut self, now: Now) {
        if let Some(topics) = self.syncs.start_round(now.tick) {
            self.jobs.push(Job::Sync(topics));
        }
        if let Some(at) = self.syncs.wake_at()
            && self.sync_rings.want(at)
        {
            self.alarms.set(at, Alarm::Sync);
        }
    }

    fn pass_time(&mut self, key: TopicKey, now: Now) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        if !hosted.rings.rang(now.tick) {
            // Another that was due at the same time has rung for it.
            return;
        }
        hosted.topic.pass_time(now.tick);
        self.queue_to_deliver(key);
        self.set_topic_alarm(key);
    }

    fn connection_alarm(&mut self, key: ConnectionKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.rings.rang(now.tick) {
            self.look_after(key, now);
        }
    }

    /// Sets the alarm of a connection, unless it rings early enough.
    fn set_connection_alarm(&mut self, key: ConnectionKey, at: Tick) {
        let connection = &mut self.connections[key];
        if connection.rings.want(at) {
            self.alarms.set(at, Alarm::Connection(key));
        }
    }

    /// Heartbeats and deadlines of a connection: does what is due, and sets its alarm.
    pub fn look_after(&mut self, key: ConnectionKey, now: Now) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            if let Life::Lingering(until) = connection.life {
                if until <= now.tick {
                    connection.die();
                } else {
                    self.set_connection_alarm(key, until);
                }
                return;
            }
            match connection.session.heartbeat.due(now.tick, connection.blocked_since) {
                Due::Nothing(at) => {
                    self.set_connection_alarm(key, at);
                    return;
                }
                // It would come between words that belong together.
                Due::Beat if connection.is_upgrading => {}
                Due::Beat => {
                    connection.output.gather(|bytes| bytes.extend_from_slice(frame::HEARTBEAT));
                    if !connection.queued_to_send {
                        connection.queued_to_send = true;
                        self.work.to_send.push_back(key);
                    }
                }
                Due::GiveUp => {
                    connection.die();
                    return;
                }
                Due::Never => return,
            }
        }
    }

    /// Writes the open block of a topic, answers its publishers or has them wait for the sync, and
    /// hands its messages to channels. Those may deliver what is not synced yet: a message that is
    /// lost before its `OK` was delivered once too often, not too rarely.
    ///
    /// While the log is being synced for somebody who waits, a block gathers until that is over: a
    /// write to a file that is being synced would hold the core up for as long, and its messages
    /// would wait for the next round in any case.
    pub fn commit(&mut self, key: TopicKey, now: Now) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        if self.config.acknowledge == Acknowledge::Synced
            && self.syncs.is_syncing(key)
            && hosted.topic.log().open_bytes() < BLOCK_BYTES_TARGET
        {
            hosted.queued_to_commit = true;
            return;
        }
        hosted.queued_to_commit = false;
        let mut result = Ok(());
        let mut bytes = 0;
        let mut messages = 0;
        match hosted.folder.clone() {
            // Opening the folder ends with another look here.
            Folder::Opening => return,
            Folder::None => {
                let write = hosted.topic.seal(now);
                debug_assert!(write.is_none(), "an ephemeral topic writes nothing");
            }
            Folder::Open(folder) => {
                while let Some(write) = hosted.topic.seal(now) {
                    match folder.write(&write) {
                        Ok(()) => {
                            bytes += write.bytes.len();
                            messages += write.messages().end - write.messages().start;
                            hosted.written(write, now);
                        }
                        Err(error) => {
                            let reason = format!("write: {error}");
                            hosted.abandon(write, &reason, now);
                            result = Err(PublishError::Log(reason));
                        }
                    }
                }
                if !hosted.preparing && folder.wants_segment(hosted.topic.log()) {
                    hosted.preparing = true;
                    self.jobs.push(Job::PrepareSegment(key));
                }
                self.note_open_files(key, now);
            }
            Folder::Failed(reason) => {
                while let Some(write) = hosted.topic.seal(now) {
                    hosted.abandon(write, &reason, now);
                }
                result = Err(PublishError::Log(reason));
            }
        }
        let hosted = &mut self.topics[key];
        hosted.promised = 0;
        let mut waiters = std::mem::take(&mut hosted.waiters);
        if 0 < messages {
            let waits = self.config.acknowledge == Acknowledge::Synced && result.is_ok();
            let waiting = if waits { std::mem::take(&mut waiters) } else { Vec::new() };
            self.syncs.written(key, messages, waiting, now.tick);
        }
        for (origin, waiter) in waiters.drain(..) {
            self.published(origin, waiter, result.clone());
        }
        if waiters.capacity() <= WAITERS_KEPT {
            self.topics[key].waiters = waiters;
        }
        self.queue_to_deliver(key);
        self.want_checkpoint(now);
        self.memory_growth += bytes;
        self.grown(key, bytes, now);
    }

    /// Drops from memory what goes beyond the budget; it is on disk. The topic that has most gives
    /// first. Looks only when enough was taken since it looked last.
    pub fn keep_to_budget(&mut self) {
        let budget = self.config.memory_bytes_per_shard;
        if self.memory_growth <= budget / MEMORY_LOOKS_PER_BUDGET {
            return;
        }
        self.memory_growth = 0;
        let mut sizes: Vec<_> = self
            .topics
            .iter()
            .map(|(key, hosted)| (hosted.topic.log().memory_bytes(), key))
            .collect();
        let total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        let Some(mut excess) = total.checked_sub(budget).filter(|&excess| 0 < excess) else {
            return;
        };
        sizes.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        for (_, key) in sizes {
            excess = excess.saturating_sub(self.topics[key].topic.log_mut().evict(excess));
            if excess == 0 {
                return;
            }
        }
    }

    /// Has changed topics write their checkpoints soon.
    pub fn want_checkpoint(&mut self, now: Now) {
        if !self.checkpoint_wanted {
            self.checkpoint_wanted = true;
            let at = now.tick.plus(Duration::from_millis(CHECKPOINT_MILLISECONDS));
            self.alarms.set(at, Alarm::Checkpoint);
        }
    }

    /// Hands messages of a topic to its consumers.
    fn deliver(&mut self, key: TopicKey, now: Now) {
        let Some(hosted) = self.topics.get_mut(key) else { return };
        hosted.queued_to_deliver = false;
        let to_send = &mut self.work.to_send;
        let connections = &mut self.connections;
        let took = &mut self.measures.delivery;
        let missing = hosted.topic.deliver(now, &mut |connection, outgoing| {
            if let Outgoing::Fresh { frames, .. } = &outgoing {
                took.note(waited(frames, now));
            }
            hand_over(connections, to_send, connection, outgoing)
        });
        for plan in missing {
            if !hosted.reading.contains(&plan) {
                hosted.reading.push(plan);
                self.jobs.push(Job::ReadLog(key, plan));
            }
        }
        self.forget(key);
        self.set_topic_alarm(key);
        self.want_checkpoint(now);
    }

    /// Drops from memory what no channel will read soon, and what goes beyond the budget.
    fn forget(&mut self, key: TopicKey) {
        let hosted = &mut self.topics[key];
        if hosted.topic.name().is_ephemeral() {
            hosted.topic.forget_unneeded();
            return;
        }
        let recent = hosted.topic.lowest_recent();
        hosted.topic.log_mut().unload_below(recent);
    }

    /// Sends what a connection has to send, as far as its peer takes it.
    fn send(&mut self, key: ConnectionKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.queued_to_send = false;
        let was_blocked = connection.blocked_since.is_some();
        if was_blocked {
            // The task that waits for the peer goes on with it.
            return;
        }
        if connection.send(now.tick) == Sent::Blocked {
            self.jobs.push(Job::SendWhenPossible(key));
            self.look_after(key, now);
        }
        self.after_sending(key, now);
    }

    /// Something was sent: whoever waited for room goes on.
    pub fn after_sending(&mut self, key: ConnectionKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.congested && connection.has_room() {
            connection.congested = false;
            if let Some(subscription) = connection.subscription
                && let Some(hosted) = self.topics.get_mut(subscription.topic)
            {
                let channel = hosted.topic.channel_mut(subscription.channel);
                channel.set_room(subscription.subscriber, Room::Left);
                self.queue_to_deliver(subscription.topic);
            }
        }
        let connection = &mut self.connections[key];
        if connection.reader.is_some() && (connection.is_settled() || !connection.must_wait()) {
            connection.wake_reader();
        }
        if connection.life == Life::Ending && connection.has_sent_all() {
            let until = now.tick.plus(Duration::from_millis(LINGER_MILLISECONDS));
            connection.life = Life::Lingering(until);
            connection.finish_sending();
            connection.wake_reader();
            self.look_after(key, now);
        }
    }
}

/// How long the first of these messages waited for its first delivery.
fn waited(frames: &[u8], now: Now) -> Duration {
    let published = frames
        .get(frame::TIMESTAMP_OFFSET..)
        .and_then(|behind| behind.first_chunk())
        .map_or(now.wall.0, |bytes| i64::from_be_bytes(*bytes));
    // A clock that was set back makes it nothing.
    Duration::from_nanos(u64::try_from(now.wall.0.saturating_sub(published)).unwrap_or(0))
}

/// Puts messages into a connection's output.
fn hand_over(
    connections: &mut SlotMap<ConnectionKey, Connection>,
    to_send: &mut VecDeque<ConnectionKey>,
    key: ConnectionKey,
    outgoing: Outgoing,
) -> Room {
    // A client that has just gone or was just refused leaves its channel as soon as its reader
    // looks, and until then it takes nothing.
    let Some(connection) = connections.get_mut(key) else { return Room::Gone };
    if connection.life != Life::Open {
        return Room::Gone;
    }
    match outgoing {
        Outgoing::Fresh { frames, .. } => connection.output.share(frames),
        Outgoing::Again { frame, attempts } => connection.output.gather(|bytes| {
            let at = bytes.len() + frame::ATTEMPTS_OFFSET;
            bytes.extend_from_slice(&frame);
            bytes[at..at + 2].copy_from_slice(&attempts.to_be_bytes());
        }),
    }
    if !connection.queued_to_send {
        connection.queued_to_send = true;
        to_send.push_back(key);
    }
    if connection.is_full() {
        connection.congested = true;
        Room::None
    } else {
        Room::Left
    }
}
