//! What is kept of a channel over a restart, and how it comes back.
//!
//! Knows: what a record says. Does not know: how one is written, and when.

use super::changes::Changes;
use super::deferred::Deferral;
use super::{Channel, Requeued};
use crate::clock::Now;
use crate::log::checkpoint::{ChannelCheckpoint, ChannelRecord, Event, Outstanding};
use crate::message::Sequence;
use protocol::name::ChannelName;
use std::ops::Range;

impl Channel {
    /// What must be kept of what happened since the last record.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What must be kept of what happened since the last record.
    pub fn changes_mut(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What must be kept to go on after a restart, as far as the last record did not say so. What is
    /// in flight counts as waiting for another try: after a restart nobody holds it.
    pub fn record(&mut self, now: Now) -> ChannelRecord {
        let is_whole = self.changes.is_whole();
        let known = if is_whole { Sequence(0) } else { self.changes.recorded_cursor() };
        let mut record = ChannelRecord {
            name: self.name,
            is_whole,
            paused: self.paused,
            cursor: self.cursor.next(),
            runs: Vec::new(),
            events: self.changes.take(self.cursor.next()),
        };
        if is_whole {
            record.events = self.all_events(now);
        }
        let in_order = self.in_flight.iter_from(known).filter(|(_, delivery)| !delivery.is_noted);
        record.tell_delivered(in_order.map(|(sequence, _)| sequence));
        record
    }

    /// All messages about which there is something to say, but those delivered in order.
    fn all_events(&self, now: Now) -> Vec<Event> {
        let waits = |sequence, attempts, due| Event::Waits(sequence, Outstanding { attempts, due });
        let skips = self.skips.iter().cloned().map(Event::Skipped);
        let noted = self.in_flight.iter().filter(|(_, delivery)| delivery.is_noted);
        let noted = noted.map(|(sequence, delivery)| waits(sequence, delivery.attempts, None));
        let requeued = self.requeued.iter();
        let requeued = requeued.map(|there| waits(there.sequence, there.attempts, None));
        let deferred = self.deferred.iter();
        let deferred = deferred.map(|deferral| {
            waits(deferral.sequence, deferral.attempts, Some(now.wall_of(deferral.due)))
        });
        skips.chain(noted).chain(requeued).chain(deferred).collect()
    }

    /// The channel that `checkpoint` describes, in a topic that has the messages of `there` and
    /// has handed them over.
    pub fn restore(
        name: ChannelName,
        checkpoint: &ChannelCheckpoint,
        there: Range<Sequence>,
        ephemeral_depth_max: u64,
        now: Now,
    ) -> Self {
        let end = there.end;
        let cursor = checkpoint.cursor.max(there.start).min(end);
        let mut channel = Self::new(name, cursor, ephemeral_depth_max);
        channel.paused = checkpoint.paused;
        channel.end = end;
        for skip in checkpoint.skips.iter() {
            channel.skips.push(skip.start.max(cursor).min(end)..skip.end.max(cursor).min(end));
        }
        for (&sequence, &Outstanding { attempts, due }) in checkpoint.outstanding.range(there) {
            if cursor <= sequence {
                // It is skipped in every checkpoint of ours; else it would be delivered twice.
                channel.skips.push(sequence..sequence.next());
            }
            match due.filter(|&due| now.wall < due) {
                None => channel.requeued.push_back(Requeued { sequence, attempts }),
                Some(due) => {
                    let due = now.tick_of(due);
                    channel.deferred.insert(Deferral { due, sequence, attempts });
                }
            }
        }
        channel
    }

    /// Of the messages it has yet to deliver, those of `missing` do not exist any more.
    pub fn step_over(&mut self, missing: &[Range<Sequence>]) {
        let (cursor, end) = (self.cursor.next(), self.end);
        for missing in missing {
            self.skips.push(missing.start.max(cursor)..missing.end.min(end));
        }
    }
}
