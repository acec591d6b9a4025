//! What happened in a channel since the last record of it, for the next one.
//!
//! Most messages are delivered in order and finished soon. Of them the record needs only the
//! cursor, and those in flight between the last record's cursor and this one's, which the table of
//! those in flight knows. What happens to any other message is an [`Event`] here.
//!
//! Knows: what must be told. Does not know: how it is kept.

use crate::log::checkpoint::Event;
use crate::message::Sequence;

/// More events than this are forgotten, and the next record tells everything anew: that takes no
/// more than the channel itself, however long a disk refuses to take a record.
const EVENTS_MAX: usize = 1 << 18;

/// See the head of this file.
#[derive(Debug)]
pub struct Changes {
    /// The next record tells everything.
    is_whole: bool,
    is_changed: bool,
    /// The last record's cursor. Messages before it are known one by one.
    cursor: Sequence,
    events: Vec<Event>,
}

/// Those of a new channel.
impl Default for Changes {
    fn default() -> Self {
        Self { is_whole: true, is_changed: true, cursor: Sequence(0), events: Vec::new() }
    }
}

impl Changes {
    /// Something changed that the record tells anyway.
    pub fn touch(&mut self) {
        self.is_changed = true;
    }

    /// Something happened to a message that is not simply the next one, or was not only delivered
    /// once.
    pub fn note(&mut self, event: Event) {
        self.is_changed = true;
        if self.is_whole {
            // Also true of channels that are never recorded, so that nothing gathers here.
            return;
        }
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.tell_all();
        }
    }

    /// Nothing of what was recorded is true any more, or it is not known what was.
    pub fn tell_all(&mut self) {
        self.is_changed = true;
        self.is_whole = true;
        self.events = Vec::new();
    }

    /// Whether a message that was delivered in order is known by itself.
    pub fn knows(&self, sequence: Sequence) -> bool {
        sequence < self.cursor
    }

    /// Whether there is anything to tell.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether the next record tells everything.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The last record's cursor.
    pub fn recorded_cursor(&self) -> Sequence {
        self.cursor
    }

    /// There will be no record: the channel is ephemeral.
    pub fn forget(&mut self) {
        self.is_changed = false;
    }

    /// A record is made that tells of everything up to `cursor`; the events that it needs.
    pub fn take(&mut self, cursor: Sequence) -> Vec<Event> {
        self.is_whole = false;
        self.is_changed = false;
        self.cursor = cursor;
        std::mem::take(&mut self.events)
    }
}
