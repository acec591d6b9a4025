//! What was lost of a log, in numbers.
//!
//! Knows: sums. Does not know: where the damage is; that is said once, when it is found.

use super::reading::Damage;
use super::recovery::Taken;
use std::fmt;

/// See the head of this file. Since the process started, the start included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Bytes of a block that a crash cut short.
    pub torn_bytes: u64,
    /// Places that are not what was written, or where segments are gone that were needed.
    pub places: u64,
    /// How many bytes that are.
    pub bytes: u64,
    /// Messages that were lost with them.
    pub messages: u64,
    /// Files that are not used.
    pub files_not_used: u64,
}

impl Losses {
    /// Adds messages whose segments are gone.
    pub fn add_taken(&mut self, taken: &Taken) {
        self.places += 1;
        self.messages += taken.messages;
    }

    /// Adds damage that was not known before.
    pub fn add(&mut self, damage: &Damage) {
        self.places += 1;
        self.bytes += damage.bytes;
        self.messages += damage.missing.end - damage.missing.start;
    }
}

/// Nothing at all when nothing was lost, else what goes behind a sentence.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { torn_bytes, places, bytes, messages, files_not_used } = self;
        if 0 < *torn_bytes {
            write!(f, "; {torn_bytes} bytes were torn")?;
        }
        if 0 < *places {
            write!(f, "; {messages} messages lost in {places} damaged places of {bytes} bytes")?;
        }
        if 0 < *files_not_used {
            write!(f, "; {files_not_used} files are not used")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::SegmentName;
    use crate::message::Sequence;

    #[test]
    fn losses_add_up_and_none_are_not_spoken_of() {
        let mut losses = Losses::default();
        assert_eq!(losses.to_string(), "");
        let segment = SegmentName(Sequence(0));
        for missing in [Sequence(3)..Sequence(5), Sequence(9)..Sequence(9)] {
            losses.add(&Damage { segment, offset: 64, bytes: 100, missing });
        }
        let expected =
            Losses { torn_bytes: 0, places: 2, bytes: 200, messages: 2, files_not_used: 0 };
        assert_eq!(losses, expected);
        losses.torn_bytes = 7;
        losses.files_not_used = 1;
        let expected = "; 7 bytes were torn; 2 messages lost in 2 damaged places of 200 bytes; \
                        1 files are not used";
        assert_eq!(losses.to_string(), expected);
    }
}
