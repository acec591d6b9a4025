//! The newest messages of a log, for somebody who looks at them and takes none.
//!
//! Knows: how to go back from the end, over gaps, and what to read where memory ends. Does not know:
//! who looks, and which channels still need what is found.

use super::Log;
use super::reading::{Missing, ReadPlan};
use crate::message::{Attempts, Sequence, Timestamp};
use protocol::frame::{self, Frame};
use protocol::message_id::MessageId;

/// One message, as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// How clients name it.
    pub id: MessageId,
    /// When it was published.
    pub published: Timestamp,
    /// What its first delivery carries.
    pub attempts: Attempts,
    /// Until when it was deferred by its publisher, if it was; may be past.
    pub due: Option<Timestamp>,
    /// How long its body is.
    pub size: usize,
    /// The body, or its beginning where [`Newest`] has no room for more.
    pub body: Vec<u8>,
}

/// A look back from the end of a log, and how far it has come.
#[derive(Clone, Debug)]
pub struct Newest {
    /// One past the next message to look at.
    before: Sequence,
    /// So many more are wanted.
    wanted: usize,
    /// So many more bytes of bodies may be taken.
    room: usize,
    /// What lies in front of those found was asked for together, and may be there.
    has_read_ahead: bool,
    /// The newest first.
    found: Vec<Glimpse>,
}

impl Newest {
    /// At most `count` messages with `body_bytes_max` of bodies in all, of those that `log` shows
    /// now. The newest message is found in any case, with less of its body if that is longer.
    pub fn of(log: &Log, count: usize, body_bytes_max: usize) -> Self {
        Self {
            before: log.end(),
            wanted: count,
            room: body_bytes_max,
            has_read_ahead: false,
            found: Vec::new(),
        }
    }

    /// What was found, the newest last.
    pub fn into_messages(mut self) -> Vec<Glimpse> {
        self.found.reverse();
        self.found
    }

    /// Takes a message, or says with `false` that there is no room for it.
    fn take(&mut self, bytes: &[u8], due: Option<Timestamp>) -> bool {
        let decoded = frame::decode_frame(bytes, bytes.len());
        let Ok(Some((Frame::Message(message), _))) = decoded else {
            unreachable!("a log holds frames of messages")
        };
        let size = message.body.len();
        if self.room < size && !self.found.is_empty() {
            return false;
        }
        let body = message.body[..size.min(self.room)].to_vec();
        self.room -= body.len();
        self.wanted -= 1;
        self.found.push(Glimpse {
            id: message.id,
            published: Timestamp(message.timestamp),
            attempts: Attempts(message.attempts),
            due,
            size,
            body,
        });
        true
    }
}

impl Log {
    /// Goes back from where `newest` is: through what is in memory, until all that is wanted was
    /// found (`None`) or something must be read from disk before it can go on.
    pub fn look_back(&mut self, newest: &mut Newest) -> Option<ReadPlan> {
        while 0 < newest.wanted && self.start < newest.before {
            let sequence = Sequence(newest.before.0 - 1);
            if let Some(block) = self.block_at(sequence) {
                let index = block.layout.index_of(sequence);
                let deferred = &block.layout.deferred;
                let due = deferred.binary_search_by_key(&index, |deferral| deferral.index);
                let due = due.ok().and_then(|at| Some(deferred.get(at)?.due));
                if !newest.take(&block.frame(index), due) {
                    return None;
                }
                newest.before = sequence;
                newest.has_read_ahead = false;
                continue;
            }
            match self.missing_at(sequence) {
                Missing::NotYet => newest.before = self.end,
                Missing::Gap { .. } => {
                    newest.before = self.gaps.start_at(sequence).unwrap_or(self.start);
                }
                Missing::OnDisk(plan) => {
                    // One read from there on may bring all of them: most messages are small.
                    let first = sequence.0.saturating_sub(newest.wanted as u64 - 1);
                    let first = Sequence(first).max(self.start);
                    if !std::mem::replace(&mut newest.has_read_ahead, true)
                        && self.block_at(first).is_none()
                        && let Missing::OnDisk(ahead) = self.missing_at(first)
                    {
                        return Some(ahead);
                    }
                    return Some(plan);
                }
            }
        }
        None
    }
}
