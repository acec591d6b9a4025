//! What the logs take on disk, and what gives way when that is as much as they may.
//!
//! A topic's bytes are known to its core. The sum over all cores is known to each as the others told
//! it last: each tells whenever its own has changed by [`TELL_BYTES`], so the sum is exceeded by at
//! most that for every other core, and what is under way.
//!
//! Only publishing is held up: consuming and finishing always go on, and make room. So that many
//! topics with a segment each cannot fill all there is with what nobody needs, the segment that is
//! written to goes as well when there is hardly room.

use super::state::{Job, State};
use crate::clock::Now;
use crate::config::{OnFull, Quota};
use crate::keys::TopicKey;
use crate::log::Log;
use crate::routing::placement::ShardId;
use crate::routing::request::{PublishError, Request};
use crate::shard::topics::Folder;

/// A core tells the others when it has so much more or less on disk than it told last.
const TELL_BYTES: u64 = 1 << 20;

/// Segments of a topic that is as large as it may be: dropping the oldest costs a quarter of it at
/// most.
const SEGMENTS_PER_QUOTA: u64 = 4;

/// What the logs of all cores take, as far as this core knows.
#[derive(Debug)]
pub struct Usage {
    /// By core.
    bytes: Vec<u64>,
    here: ShardId,
    told: u64,
}

impl Usage {
    /// Nothing yet, on one core of `count`.
    pub fn new(here: ShardId, count: usize) -> Self {
        Self { bytes: vec![0; count], here, told: 0 }
    }

    /// All cores' bytes.
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Another core has so much now.
    pub fn told(&mut self, from: ShardId, bytes: u64) {
        self.bytes[usize::from(from.0)] = bytes;
    }

    /// This core has so much now; whether the others should be told.
    fn set_own(&mut self, bytes: u64) -> bool {
        self.bytes[usize::from(self.here.0)] = bytes;
        let is_news = TELL_BYTES <= self.told.abs_diff(bytes);
        if is_news {
            self.told = bytes;
        }
        is_news
    }

    fn own(&self) -> u64 {
        self.bytes[usize::from(self.here.0)]
    }
}

impl Quota {
    /// Whether there is any.
    pub fn is_set(&self) -> bool {
        self.topic_bytes.is_some() || self.data_bytes.is_some()
    }

    /// Why a topic's log takes too much, if it does.
    fn excess_of_topic(&self, log: &Log) -> Option<String> {
        let bytes = log.disk_bytes() + log.open_bytes() as u64;
        let max = self.topic_bytes.filter(|&max| max <= bytes)?;
        Some(format!("quota: the topic's log takes {bytes} bytes of {max} (--max-topic-bytes)"))
    }

    /// Segments may be so long that there are several where there is hardly room.
    pub fn segment_bytes_max(&self, shards: u64) -> u64 {
        let topic = self.topic_bytes.unwrap_or(u64::MAX) / SEGMENTS_PER_QUOTA;
        let data = self.data_bytes.unwrap_or(u64::MAX) / SEGMENTS_PER_QUOTA / shards;
        topic.min(data)
    }
}

impl State {
    /// Why no more messages are taken for a topic, if a quota is reached and publishers are to give
    /// way.
    pub fn refusal_by_quota(&self, key: TopicKey) -> Option<PublishError> {
        let quota = self.config.quota;
        if !quota.is_set() || quota.on_full != OnFull::Reject {
            return None;
        }
        let log = self.topics[key].topic.log();
        if log.is_ephemeral() {
            return None;
        }
        quota.excess_of_topic(log).or_else(|| self.excess()).map(PublishError::Log)
    }

    /// Why all logs together take too much, if they do.
    fn excess(&self) -> Option<String> {
        let total = self.usage.total();
        let max = self.config.quota.data_bytes.filter(|&max| max <= total)?;
        Some(format!("quota: the logs take {total} bytes of {max} (--max-data-bytes)"))
    }

    /// Counts what a start found, and says what of it is too much. It stays all the same, also what
    /// NSQ's disk queues had: only new messages give way, or have the oldest give way.
    pub fn take_stock(&mut self) {
        self.measure_usage();
        let quota = self.config.quota;
        let consequence = match quota.on_full {
            OnFull::Reject => "no more messages are taken until some are finished",
            OnFull::DropOldest => "the next message has the oldest dropped",
        };
        for (_, hosted) in self.topics.iter() {
            if let Some(excess) = quota.excess_of_topic(hosted.topic.log()) {
                tracing::warn!("TOPIC({}): {excess}: {consequence}", hosted.topic.name());
            }
        }
        if let Some(excess) = self.excess() {
            tracing::warn!("{excess}: {consequence}");
        }
    }

    /// So many bytes were added to a topic's log.
    pub fn grown(&mut self, key: TopicKey, bytes: usize, now: Now) {
        let quota = self.config.quota;
        if !quota.is_set() {
            return;
        }
        let own = self.usage.own() + bytes as u64;
        self.set_usage(own);
        if quota.on_full == OnFull::DropOldest {
            while quota
                .topic_bytes
                .is_some_and(|max| max < self.topics[key].topic.log().disk_bytes())
                && self.drop_oldest(key, "--max-topic-bytes")
            {}
            self.keep_to_data_quota(now);
        }
    }

    /// Counts what this core has on disk.
    pub fn measure_usage(&mut self) {
        if self.config.quota.is_set() {
            let logs = self.topics.iter().map(|(_, hosted)| hosted.topic.log());
            let own = logs.map(Log::disk_bytes).sum();
            self.set_usage(own);
        }
    }

    fn set_usage(&mut self, bytes: u64) {
        if self.usage.set_own(bytes) {
            let others: Vec<_> = self.placement.all().filter(|&to| to != self.here).collect();
            for to in others {
                self.outboxes.push(to, Request::Usage { bytes });
            }
        }
    }

    /// Another core has told what it has.
    pub fn told_usage(&mut self, now: Now) {
        self.keep_to_data_quota(now);
        if self.is_data_full() {
            // Here may be what nobody needs.
            self.want_checkpoint(now);
        }
    }

    /// Whether all logs together take as much as they may, or nearly: what the cores have not told
    /// of each other counts as taken.
    pub fn is_data_full(&self) -> bool {
        let untold = TELL_BYTES * self.placement.count() as u64;
        self.config.quota.data_bytes.is_some_and(|max| max <= self.usage.total() + untold)
    }

    /// Has the last segment of a topic count as one that is not written to any more; false when it
    /// is empty.
    pub fn end_segment(&mut self, key: TopicKey, now: Now) -> bool {
        let hosted = &mut self.topics[key];
        let Folder::Open(folder) = &hosted.folder else { return false };
        let Some(header) = hosted.topic.log_mut().end_segment(now.wall) else { return false };
        // The next start would wonder where the log ends, and no more.
        if let Err(error) = folder.write_header(&header) {
            let name = hosted.topic.name();
            tracing::warn!("TOPIC({name}) failed to start a segment of its log - {error}");
        }
        self.note_open_files(key, now);
        true
    }

    /// The topic of this core that has most on disk.
    fn largest(&self, is_meant: impl Fn(&Log) -> bool) -> Option<TopicKey> {
        let logs = self.topics.iter().map(|(key, hosted)| (key, hosted.topic.log()));
        let meant = logs.filter(|(_, log)| is_meant(log));
        meant.max_by_key(|(_, log)| log.disk_bytes()).map(|(key, _)| key)
    }

    /// Drops the oldest messages of this core's largest topics, if all cores together have too much
    /// and this one has not less than its part. Many topics may have too much together while none of
    /// them has more than the segment that is written to: then that goes.
    fn keep_to_data_quota(&mut self, now: Now) {
        let Quota { data_bytes: Some(max), on_full: OnFull::DropOldest, .. } = self.config.quota
        else {
            return;
        };
        let part = max / self.placement.count() as u64;
        while max < self.usage.total() && part <= self.usage.own() {
            let Some(key) = self
                .largest(|log| log.closed_segments().next().is_some())
                .or_else(|| self.largest(|_| true).filter(|&key| self.end_segment(key, now)))
            else {
                return;
            };
            if !self.drop_oldest(key, "--max-data-bytes") {
                return;
            }
        }
    }

    /// Drops the oldest segment of a topic; false when it has only the one that is written to.
    fn drop_oldest(&mut self, key: TopicKey, flag: &str) -> bool {
        let hosted = &mut self.topics[key];
        let bytes_before = hosted.topic.log().disk_bytes();
        let Some((segments, messages)) = hosted.topic.drop_oldest() else { return false };
        let freed = bytes_before - hosted.topic.log().disk_bytes();
        let name = hosted.topic.name();
        tracing::warn!(
            "TOPIC({name}): dropped its oldest {messages} messages, {freed} bytes, to keep to {flag}"
        );
        self.jobs.push(Job::DeleteSegments(key, segments));
        let own = self.usage.own().saturating_sub(freed);
        self.set_usage(own);
        self.queue_to_deliver(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_told_when_it_matters() {
        let mut usage = Usage::new(ShardId(1), 3);
        assert!(!usage.set_own(TELL_BYTES - 1));
        assert!(usage.set_own(TELL_BYTES + 5));
        assert!(!usage.set_own(10), "it was told {TELL_BYTES} and five");
        assert!(usage.set_own(5));
        usage.told(ShardId(0), 7);
        assert_eq!((usage.own(), usage.total()), (5, 12));
    }

    #[test]
    fn segments_are_short_enough_to_be_dropped_one_by_one() {
        let quota = Quota { topic_bytes: Some(400), data_bytes: None, ..Quota::default() };
        assert_eq!(quota.segment_bytes_max(2), 100);
        let quota = Quota { data_bytes: Some(400), ..quota };
        assert_eq!(quota.segment_bytes_max(2), 50);
    }
}
