//! The records of a disk queue's data file, and the way on over those that are damaged.
//!
//! ```text
//! int32   length of what follows, at least 26
//! int64   timestamp, nanoseconds since 1970
//! uint16  attempts: how often the message was delivered
//! 16 B    message id, hexadecimal digits
//! N B     body
//! ```
//!
//! All numbers are big-endian (NSQ behaviour). There is no checksum: a changed body is not seen. A
//! changed length is, since a record is believed only when what stands behind it confirms where it
//! ends: the end of the part, or something of which two thirds look like a record's header, so that
//! one damaged field costs no more than its own record. After one that is not believed the next
//! place is sought at which a record can be believed and has an id as NSQ makes them.
//!
//! Does not know: files, queues, what becomes of messages.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use crate::message::Timestamp;
use protocol::message_id::MessageId;
use std::io;

/// The bytes of a record before its body.
pub const RECORD_HEADER_BYTES: u64 = 4 + LENGTH_MIN;

/// What a record's length counts besides the body.
const LENGTH_MIN: u64 = 26;
const TIME_OFFSET: usize = 4;
const ID_OFFSET: usize = 14;
/// How much is looked at together when the next record is sought.
const SEEK_BYTES: u64 = 64 << 10;
/// A longer record is read only when it is believed: its length may be damaged.
const AHEAD_BYTES: u64 = 64 << 10;

/// Where the bytes of a data file come from.
pub trait Source {
    /// So many bytes from `offset` on, fewer where the file ends.
    ///
    /// # Errors
    /// When the disk refuses.
    fn read(&mut self, offset: u64, bytes: u64) -> io::Result<&[u8]>;
}

/// One message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was published.
    pub timestamp: Timestamp,
    /// How often it was delivered.
    pub attempts: u16,
    /// How clients name it.
    pub id: MessageId,
    /// What was published.
    pub body: &'a [u8],
}

/// What comes next in a part of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Record(Record<'a>),
    /// Bytes that are no record.
    Damage {
        /// Where they start.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The part is at its end.
    End,
}

/// Walks over a part of a data file.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    at: u64,
    to: u64,
}

impl Records {
    /// The records between two places of a file. The first should start at `from`, the last end at
    /// `to`.
    pub fn between(from: u64, to: u64) -> Self {
        Self { at: from, to }
    }

    /// Where it stands.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// How many bytes were not looked at yet.
    pub fn bytes_left(&self) -> u64 {
        self.to - self.at
    }

    /// Goes on by one record, or over the damage before the next one.
    ///
    /// # Errors
    /// When the source refuses; the place stays.
    pub fn next<'a>(&mut self, source: &'a mut impl Source) -> io::Result<Item<'a>> {
        if self.at == self.to {
            return Ok(Item::End);
        }
        let at = self.at;
        let Some(end) = self.believed_end(source, at)? else {
            self.at = self.seek(source, at + 1)?;
            return Ok(Item::Damage { offset: at, bytes: self.at - at });
        };
        let bytes = source.read(at, end - at)?;
        self.at = end;
        let record = decode(bytes).filter(|_| bytes.len() as u64 == end - at);
        // The file is shorter than it was said to be.
        let damage = Item::Damage { offset: at, bytes: end - at };
        Ok(record.map_or(damage, Item::Record))
    }

    /// Where the record at `at` ends, if it is one.
    fn believed_end(&self, source: &mut impl Source, at: u64) -> io::Result<Option<u64>> {
        let Some(end) = self.end_of(self.header(source, at)?, at) else { return Ok(None) };
        if end - at <= AHEAD_BYTES {
            // The record and what stands behind it at once, lest the source goes back and forth.
            source.read(at, (end - at + RECORD_HEADER_BYTES).min(self.to - at))?;
        }
        Ok(self.is_boundary(source, end)?.then_some(end))
    }

    /// Whether a record may start at `at`, or the part ends there.
    fn is_boundary(&self, source: &mut impl Source, at: u64) -> io::Result<bool> {
        if at == self.to {
            return Ok(true);
        }
        let header = self.header(source, at)?;
        if (header.len() as u64) < RECORD_HEADER_BYTES {
            // A torn end: all that is there must be able to start a record, and not a large one.
            let is_small = header.first() == Some(&0);
            return Ok(is_small && has_time(header) && has_id(header));
        }
        // A torn record has a length that leads behind the end.
        let has_length = length_of(header).is_some_and(|length| LENGTH_MIN <= length);
        let is_small = header.first() == Some(&0);
        let leads_on = has_length && (is_small || self.end_of(header, at).is_some());
        let signs = [leads_on, has_time(header), has_id(header)];
        Ok(2 <= signs.into_iter().filter(|&sign| sign).count())
    }

    /// A record's header, as far as it lies in the part.
    fn header<'a>(&self, source: &'a mut impl Source, at: u64) -> io::Result<&'a [u8]> {
        source.read(at, RECORD_HEADER_BYTES.min(self.to - at))
    }

    /// Where a record with this header would end, if that is in the part.
    fn end_of(&self, header: &[u8], at: u64) -> Option<u64> {
        let length = length_of(header).filter(|&length| LENGTH_MIN <= length)?;
        let end = at + 4 + length;
        (end <= self.to).then_some(end)
    }

    /// The first place from `from` on where a record is believed; the end if there is none.
    fn seek(&self, source: &mut impl Source, from: u64) -> io::Result<u64> {
        let mut from = from;
        while from + RECORD_HEADER_BYTES <= self.to {
            let bytes = source.read(from, SEEK_BYTES.min(self.to - from))?;
            let read = bytes.len() as u64;
            let width = usize::try_from(RECORD_HEADER_BYTES).expect("it is 30");
            let candidate = bytes
                .windows(width)
                .zip(from..)
                .find(|(header, at)| has_id(header) && self.end_of(header, *at).is_some())
                .map(|(_, at)| at);
            match candidate {
                Some(at) if self.believed_end(source, at)?.is_some() => return Ok(at),
                Some(at) => from = at + 1,
                None => {
                    let looked_at = (read + 1).saturating_sub(RECORD_HEADER_BYTES);
                    // The file is shorter than it was said to be.
                    if looked_at == 0 {
                        return Ok(self.to);
                    }
                    from += looked_at;
                }
            }
        }
        Ok(self.to)
    }
}

/// The length at the start of `header`; `None` when it is cut or negative.
fn length_of(header: &[u8]) -> Option<u64> {
    let length = i32::from_be_bytes(*header.first_chunk()?);
    u64::try_from(length).ok().or(Some(0))
}

/// Whether as much of the timestamp as is there lies between the years 2006 and 2049: no text does.
fn has_time(header: &[u8]) -> bool {
    header.get(TIME_OFFSET).is_none_or(|byte| matches!(byte, 0x10..=0x22))
}

/// Whether as much of the id as is there is hexadecimal digits.
fn has_id(header: &[u8]) -> bool {
    let end = ID_OFFSET + MessageId::BYTES;
    let id = header.get(ID_OFFSET..end.min(header.len())).unwrap_or_default();
    id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn decode(record: &[u8]) -> Option<Record<'_>> {
    let (_, rest) = record.split_first_chunk::<4>()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (id, body) = rest.split_first_chunk()?;
    Some(Record {
        timestamp: Timestamp(i64::from_be_bytes(*timestamp)),
        attempts: u16::from_be_bytes(*attempts),
        id: MessageId(*id),
        body,
    })
}

/// Bytes in memory, for tests.
impl Source for &[u8] {
    fn read(&mut self, offset: u64, bytes: u64) -> io::Result<&[u8]> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let rest = rest.unwrap_or_default();
        let end = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
        Ok(rest.get(..end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A record as NSQ writes it.
    fn record(number: u64, attempts: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(26 + body.len()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(1_700_000_000_000_000_000 + number).to_be_bytes());
        bytes.extend_from_slice(&attempts.to_be_bytes());
        bytes.extend_from_slice(format!("{number:016x}").as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// What comes out: bodies, and damage as `!offset+bytes`.
    fn read(bytes: &[u8]) -> Vec<String> {
        read_part(bytes, 0, bytes.len())
    }

    fn read_part(bytes: &[u8], from: usize, to: usize) -> Vec<String> {
        let mut records = Records::between(from as u64, to as u64);
        let mut source = bytes;
        let mut items = Vec::new();
        loop {
            items.push(match records.next(&mut source).unwrap() {
                Item::Record(record) => String::from_utf8_lossy(record.body).into_owned(),
                Item::Damage { offset, bytes } => format!("!{offset}+{bytes}"),
                Item::End => return items,
            });
        }
    }

    fn queue() -> Vec<u8> {
        [record(1, 0, b"one"), record(2, 3, b""), record(3, 0, b"three"), record(4, 0, b"four")]
            .concat()
    }

    #[test]
    fn a_record_is_length_time_attempts_id_and_body() {
        let mut bytes: &[u8] =
            b"\0\0\0\x23\x18\xea\x5f\xa7\xa3\xe9\x63\x91\0\x021a413938319c9001message-2";
        let expected = Record {
            timestamp: Timestamp(0x18ea_5fa7_a3e9_6391),
            attempts: 2,
            id: MessageId(*b"1a413938319c9001"),
            body: b"message-2",
        };
        let mut records = Records::between(0, bytes.len() as u64);
        assert_eq!(records.next(&mut bytes).unwrap(), Item::Record(expected));
        assert_eq!(records.next(&mut bytes).unwrap(), Item::End);
    }

    #[test]
    fn records_follow_each_other() {
        assert_eq!(read(&queue()), ["one", "", "three", "four"]);
        assert_eq!(read_part(&queue(), 33, 63), [""]);
        assert_eq!(read(b""), [""; 0]);
    }

    #[test]
    fn a_changed_length_costs_its_record_and_no_other() {
        // The records start at 0, 33, 63 and 98, and end at 132.
        for (at, expected) in [
            (0, ["!0+33", "", "three", "four"]),
            (33, ["one", "!33+30", "three", "four"]),
            (63, ["one", "", "!63+35", "four"]),
            (98, ["one", "", "three", "!98+34"]),
        ] {
            for byte in 0..4 {
                for bit in 0..8 {
                    let mut bytes = queue();
                    bytes[at + byte] ^= 1 << bit;
                    assert_eq!(read(&bytes), expected, "byte {byte}, bit {bit} of {at}");
                }
            }
        }
    }

    #[test]
    fn a_changed_id_or_time_costs_nothing() {
        for (at, byte) in [(33 + 14, b'X'), (33 + 4, 0xff), (63 + 4, 0)] {
            let mut bytes = queue();
            bytes[at] = byte;
            assert_eq!(read(&bytes), ["one", "", "three", "four"]);
        }
    }

    #[test]
    fn a_length_that_leads_into_a_body_of_hexadecimal_digits_is_not_believed() {
        let mut bytes =
            [record(1, 0, b"a"), record(2, 0, &[b'3'; 500]), record(3, 0, b"c")].concat();
        bytes[3] += 60;
        assert_eq!(read(&bytes), ["!0+31", &"3".repeat(500), "c"]);
    }

    #[test]
    fn what_ends_in_zeros_is_not_believed_and_what_comes_after_them_is() {
        let mut bytes = queue();
        bytes[20..80].fill(0);
        assert_eq!(read(&bytes), ["!0+98", "four"]);
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(read(&bytes), ["!0+232"]);
        // The metadata confirm where the last one ends.
        assert_eq!(read_part(&bytes, 0, 132), ["!0+98", "four"]);
    }

    #[test]
    fn a_torn_end_is_damage_and_the_record_before_it_is_whole() {
        let bytes = queue();
        for cut in 99..132 {
            let expected = ["one", "", "three", &format!("!98+{}", cut - 98)];
            assert_eq!(read(&bytes[..cut]), expected);
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_it_was_said_to_be_ends_in_damage() {
        assert_eq!(read_part(&queue()[..100], 0, 132), ["one", "", "three", "!98+34"]);
        assert_eq!(read_part(&[], 0, 132), ["!0+132"]);
    }

    #[test]
    fn a_file_of_something_else_is_damage() {
        let text = "All work and no play makes Jack a dull boy.\n".repeat(5_000);
        assert_eq!(read(text.as_bytes()), [format!("!0+{}", text.len())]);
    }

    #[test]
    fn a_copy_of_a_record_in_a_body_is_no_record() {
        let inner = record(9, 0, b"inner");
        let bytes = [record(1, 0, &inner), record(2, 0, b"b")].concat();
        assert_eq!(read(&bytes).len(), 2);
    }

    proptest! {
        #[test]
        fn whole_records_come_back_and_nothing_makes_the_reader_fail(
            bodies in vec(vec(any::<u8>(), 0..80), 0..20),
            garbage in vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let records: Vec<_> = (0..).zip(&bodies).map(|(n, body)| record(n, 1, body)).collect();
            let whole = records.concat();
            let texts: Vec<_> =
                bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
            prop_assert_eq!(read(&whole), texts);
            let mut spoilt = whole;
            let at = at.index(spoilt.len() + 1);
            spoilt.splice(at..at, garbage);
            let mut records = Records::between(0, spoilt.len() as u64);
            let mut source = &spoilt[..];
            let mut left = records.bytes_left();
            while 0 < left {
                records.next(&mut source).unwrap();
                prop_assert!(records.bytes_left() < left, "it goes on");
                left = records.bytes_left();
            }
        }
    }
}
