//! What a topic must remember over a restart besides its messages: where its channels are.
//!
//! ```text
//!  0  8 B  magic
//!  8  u32  CRC-32 of the bytes from 12 on
//! 12  u32  version
//! 16  u64  end
//! 24  u64  released
//! 32  u8   paused, 0 or 1
//! 33       list of unclaimed: u64 sequence, i64 due
//!          list of channels:
//!            u8   length of the name, and the name
//!            u8   paused, 0 or 1
//!            u64  cursor
//!            list of skips: u64 start, u64 end
//!            list of outstanding: u64 sequence, u16 attempts, u8 whether it is deferred, i64 due
//! ```
//!
//! All numbers are big-endian; a list is a u32 count and so many items. Times are in nanoseconds
//! since 1970.
//!
//! Knows: this layout, both ways. Does not know: files. A checkpoint that is older than the log
//! costs deliveries that are made again, never a message.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::fields::Fields;
use crate::message::{Sequence, Timestamp};
use protocol::name::ChannelName;
use std::fmt;
use std::ops::Range;

const MAGIC: [u8; 8] = *b"\x89NSQckp\n";
const VERSION: u32 = 1;

/// A topic without its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicCheckpoint {
    /// The log's end: of later messages nothing is known here.
    pub end: Sequence,
    /// Messages before this were handed to channels, or dropped.
    pub released: Sequence,
    /// Whether the topic is paused.
    pub paused: bool,
    /// Deferred messages not handed to channels yet, in order.
    pub unclaimed: Vec<(Sequence, Timestamp)>,
    /// Its channels.
    pub channels: Vec<ChannelCheckpoint>,
}

/// A channel without its messages.
#[derive(Clone, Debug)]
pub struct ChannelCheckpoint {
    /// Its name.
    pub name: ChannelName,
    /// Whether it is paused.
    pub paused: bool,
    /// The next message to deliver for the first time.
    pub cursor: Sequence,
    /// Messages from the cursor on that are not delivered in order.
    pub skips: Vec<Range<Sequence>>,
    /// Messages before the cursor, or among the skipped ones, that were not finished.
    pub outstanding: Vec<Outstanding>,
}

/// A message that was taken from the log's order and is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// The message.
    pub sequence: Sequence,
    /// How many times it was delivered.
    pub attempts: u16,
    /// When it may be delivered again; at once when `None`.
    pub due: Option<Timestamp>,
}

/// Names are compared as text.
impl PartialEq for ChannelCheckpoint {
    fn eq(&self, other: &Self) -> bool {
        self.name.as_bytes() == other.name.as_bytes()
            && self.paused == other.paused
            && self.cursor == other.cursor
            && self.skips == other.skips
            && self.outstanding == other.outstanding
    }
}

/// Why some bytes are no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// They were not written by this program, or hardly any of them are there.
    Foreign,
    /// They were written by a newer version.
    Version(u32),
    /// They are not all that was written, or not what was written.
    Damaged,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("the file is not a checkpoint"),
            Self::Version(version) => write!(f, "the checkpoint's version {version} is unknown"),
            Self::Damaged => f.write_str("the checkpoint is damaged"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl TopicCheckpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_be_bytes());
        push_sequence(&mut out, self.end);
        push_sequence(&mut out, self.released);
        out.push(self.paused.into());
        push_list(&mut out, &self.unclaimed, |out, &(sequence, due)| {
            push_sequence(out, sequence);
            out.extend_from_slice(&due.0.to_be_bytes());
        });
        push_list(&mut out, &self.channels, |out, channel| channel.push(out));
        let (head, covered) = out.split_at_mut(MAGIC.len() + 4);
        let (_, check) = head.split_at_mut(MAGIC.len());
        check.copy_from_slice(&crc32fast::hash(covered).to_be_bytes());
        out
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// A [`CheckpointError`] when it is not exactly what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut fields = Fields(bytes);
        if fields.chunk() != Some(MAGIC) {
            return Err(CheckpointError::Foreign);
        }
        if fields.u32().ok_or(CheckpointError::Damaged)? != crc32fast::hash(fields.0) {
            return Err(CheckpointError::Damaged);
        }
        match fields.u32() {
            Some(VERSION) => {}
            Some(version) => return Err(CheckpointError::Version(version)),
            None => return Err(CheckpointError::Damaged),
        }
        let checkpoint = Self::take(&mut fields).ok_or(CheckpointError::Damaged)?;
        if fields.0.is_empty() { Ok(checkpoint) } else { Err(CheckpointError::Damaged) }
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            end: take_sequence(fields)?,
            released: take_sequence(fields)?,
            paused: take_bool(fields)?,
            unclaimed: take_list(fields, |fields| {
                Some((take_sequence(fields)?, Timestamp(fields.i64()?)))
            })?,
            channels: take_list(fields, ChannelCheckpoint::take)?,
        })
    }
}

impl ChannelCheckpoint {
    fn push(&self, out: &mut Vec<u8>) {
        let name = self.name.as_bytes();
        out.push(u8::try_from(name.len()).expect("a name is at most 64 bytes long"));
        out.extend_from_slice(name);
        out.push(self.paused.into());
        push_sequence(out, self.cursor);
        push_list(out, &self.skips, |out, skip| {
            push_sequence(out, skip.start);
            push_sequence(out, skip.end);
        });
        push_list(out, &self.outstanding, |out, outstanding| {
            push_sequence(out, outstanding.sequence);
            out.extend_from_slice(&outstanding.attempts.to_be_bytes());
            out.push(outstanding.due.is_some().into());
            out.extend_from_slice(&outstanding.due.unwrap_or_default().0.to_be_bytes());
        });
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let name_bytes = fields.u8()?;
        Some(Self {
            name: ChannelName::parse(fields.slice(name_bytes.into())?).ok()?,
            paused: take_bool(fields)?,
            cursor: take_sequence(fields)?,
            skips: take_list(fields, |fields| {
                Some(take_sequence(fields)?..take_sequence(fields)?)
            })?,
            outstanding: take_list(fields, |fields| {
                Some(Outstanding {
                    sequence: take_sequence(fields)?,
                    attempts: fields.u16()?,
                    due: {
                        let is_deferred = take_bool(fields)?;
                        let due = Timestamp(fields.i64()?);
                        is_deferred.then_some(due)
                    },
                })
            })?,
        })
    }
}

fn push_sequence(out: &mut Vec<u8>, sequence: Sequence) {
    out.extend_from_slice(&sequence.0.to_be_bytes());
}

fn take_sequence(fields: &mut Fields<'_>) -> Option<Sequence> {
    fields.u64().map(Sequence)
}

fn take_bool(fields: &mut Fields<'_>) -> Option<bool> {
    match fields.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// A count, then so many items.
fn push_list<T>(out: &mut Vec<u8>, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    let count = u32::try_from(items.len()).expect("more would not fit in memory");
    out.extend_from_slice(&count.to_be_bytes());
    for item in items {
        push(out, item);
    }
}

fn take_list<T>(
    fields: &mut Fields<'_>,
    take: impl Fn(&mut Fields<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    // The count is not trusted with an allocation: the check may be forged.
    let count = fields.u32()?;
    (0..count).map(|_| take(fields)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn golden() -> TopicCheckpoint {
        TopicCheckpoint {
            end: Sequence(9),
            released: Sequence(8),
            paused: true,
            unclaimed: vec![(Sequence(8), Timestamp(-1))],
            channels: vec![ChannelCheckpoint {
                name: ChannelName::parse(b"ch").unwrap(),
                paused: false,
                cursor: Sequence(5),
                skips: vec![Sequence(6)..Sequence(7)],
                outstanding: vec![
                    Outstanding { sequence: Sequence(3), attempts: 258, due: None },
                    Outstanding { sequence: Sequence(6), attempts: 0, due: Some(Timestamp(10)) },
                ],
            }],
        }
    }

    #[test]
    fn the_bytes_are_the_fields_in_order() {
        let bytes = golden().encode();
        let expected: &[&[u8]] = &[
            b"\x89NSQckp\n",
            &bytes[8..12],
            b"\0\0\0\x01",
            b"\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x08\x01",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x01\x02ch\0\0\0\0\0\0\0\0\x05",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x07",
            b"\0\0\0\x02",
            b"\0\0\0\0\0\0\0\x03\x01\x02\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\x06\0\0\x01\0\0\0\0\0\0\0\x0a",
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(TopicCheckpoint::decode(&bytes), Ok(golden()));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let bytes = golden().encode();
        for cut in 0..bytes.len() {
            assert!(TopicCheckpoint::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(TopicCheckpoint::decode(&flipped).is_err(), "bit {bit}");
        }
        assert!(TopicCheckpoint::decode(&[&bytes[..], b"\0"].concat()).is_err());
    }

    #[test]
    fn a_count_that_cannot_be_costs_no_memory() {
        let mut bytes = golden().encode();
        bytes[33..37].copy_from_slice(&u32::MAX.to_be_bytes());
        let check = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&check.to_be_bytes());
        assert_eq!(TopicCheckpoint::decode(&bytes), Err(CheckpointError::Damaged));
    }

    fn any_sequence() -> impl Strategy<Value = Sequence> {
        any::<u64>().prop_map(Sequence)
    }

    fn any_channel() -> impl Strategy<Value = ChannelCheckpoint> {
        let outstanding = (any_sequence(), any::<u16>(), any::<Option<i64>>()).prop_map(
            |(sequence, attempts, due)| Outstanding { sequence, attempts, due: due.map(Timestamp) },
        );
        let skip = (any_sequence(), any_sequence()).prop_map(|(start, end)| start..end);
        (
            "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?",
            any::<bool>(),
            any_sequence(),
            vec(skip, 0..5),
            vec(outstanding, 0..5),
        )
            .prop_map(|(name, paused, cursor, skips, outstanding)| ChannelCheckpoint {
                name: ChannelName::parse(name.as_bytes()).unwrap(),
                paused,
                cursor,
                skips,
                outstanding,
            })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            (end, released) in (any_sequence(), any_sequence()),
            paused in any::<bool>(),
            unclaimed in vec((any_sequence(), any::<i64>().prop_map(Timestamp)), 0..5),
            channels in vec(any_channel(), 0..5),
        ) {
            let checkpoint = TopicCheckpoint { end, released, paused, unclaimed, channels };
            prop_assert_eq!(TopicCheckpoint::decode(&checkpoint.encode()), Ok(checkpoint));
        }
    }
}
