//! One file of a log: its name and the 64 bytes at its start.
//!
//! ```text
//!  0  8 B  magic
//!  8  u32  CRC-32 of the bytes from 12 to 64
//! 12  u32  version
//! 16  u64  the base of the topic's message ids
//! 24  u64  first sequence: no block of the file has a lower one
//! 32  i64  when it was started, in nanoseconds since 1970
//! 40  u64  first sequence of the segment before it; its own if there was none
//! 48  u64  one past its last message, if it was written anew without those that nobody needed
//! 56  u64  how many were needed then, one for each channel that needed it; zero in any other file,
//!          and in those written before they were counted
//! ```
//!
//! All numbers are big-endian. Blocks follow without anything between them. Knows: this layout,
//! both ways. Does not know: blocks, folders.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::fields::Fields;
use crate::message::{Sequence, Timestamp};
use std::fmt;
use std::num::NonZeroU64;

/// How many bytes of a segment come before its first block.
pub const SEGMENT_HEADER_BYTES: usize = 64;

/// [`SEGMENT_HEADER_BYTES`] as an offset.
pub(super) const BLOCKS_START: u64 = SEGMENT_HEADER_BYTES as u64;

/// The first byte is no text, so that no text file looks like a segment.
const MAGIC: [u8; 8] = *b"\x89NSQlog\n";
const VERSION: u32 = 1;

/// A segment, named by the first sequence it may hold; its file is called `%020d.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName(pub Sequence);

impl SegmentName {
    /// The segment whose file has this name.
    pub fn parse(file_name: &str) -> Option<Self> {
        let digits = file_name.strip_suffix(".log")?;
        let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits {
            return None;
        }
        digits.parse().ok().map(Sequence).filter(|&first| first <= Sequence::END).map(Self)
    }

    /// No block of the segment has a lower sequence.
    pub fn first(self) -> Sequence {
        self.0
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}.log", self.0.0)
    }
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The base of the topic's message ids.
    pub base: u64,
    /// No block has a lower sequence.
    pub first: Sequence,
    /// When it was started.
    pub created: Timestamp,
    /// The segment before it, at that time; itself if there was none. When another one comes before
    /// it now, those between were deleted.
    pub previous: SegmentName,
    /// What it was written anew with, if it was; others end where the next one starts.
    pub kept: Option<Kept>,
}

/// What was kept of a segment when it was written anew without the messages that nobody needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// One past its last message.
    pub end: Sequence,
    /// How many of its messages were needed; one counts as often as channels needed it. `None` when
    /// it was not counted.
    pub needed: Option<NonZeroU64>,
}

/// Why a file is not taken as a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is empty: the broker ended between making it and writing to it.
    Empty,
    /// It ends within its header.
    Short,
    /// It was not written by this program.
    Foreign,
    /// It was written by a newer version.
    Version(u32),
    /// Its header was damaged.
    Damaged,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::Short => f.write_str("the file ends within its header"),
            Self::Foreign => f.write_str("the file is not a segment of a log"),
            Self::Version(version) => write!(f, "the segment's version {version} is unknown"),
            Self::Damaged => f.write_str("the segment's header is damaged"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl SegmentHeader {
    /// The bytes at the start of the file.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut covered = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        covered.extend_from_slice(&VERSION.to_be_bytes());
        covered.extend_from_slice(&self.base.to_be_bytes());
        covered.extend_from_slice(&self.first.0.to_be_bytes());
        covered.extend_from_slice(&self.created.0.to_be_bytes());
        covered.extend_from_slice(&self.previous.0.0.to_be_bytes());
        let kept_end = self.kept.map_or(0, |kept| kept.end.0);
        covered.extend_from_slice(&kept_end.to_be_bytes());
        let needed = self.kept.and_then(|kept| kept.needed).map_or(0, NonZeroU64::get);
        covered.extend_from_slice(&needed.to_be_bytes());
        let bytes = [&MAGIC[..], &crc32fast::hash(&covered).to_be_bytes(), &covered].concat();
        bytes.try_into().expect("8 + 4 + 52 is 64")
    }

    /// Reads the start of a file; `bytes` may be longer than the header.
    ///
    /// # Errors
    /// A [`HeaderError`] when the file cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.is_empty() {
            return Err(HeaderError::Empty);
        }
        let compared = bytes.len().min(MAGIC.len());
        if bytes.get(..compared) != MAGIC.get(..compared) {
            return Err(HeaderError::Foreign);
        }
        let header = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderError::Short)?;
        Self::fields(Fields(header)).ok_or(HeaderError::Short)?
    }

    fn fields(mut fields: Fields<'_>) -> Option<Result<Self, HeaderError>> {
        fields.slice(MAGIC.len())?;
        if fields.u32()? != crc32fast::hash(fields.0) {
            return Some(Err(HeaderError::Damaged));
        }
        let version = fields.u32()?;
        if version != VERSION {
            return Some(Err(HeaderError::Version(version)));
        }
        let header = Self {
            base: fields.u64()?,
            first: Sequence(fields.u64()?),
            created: Timestamp(fields.i64()?),
            previous: SegmentName(Sequence(fields.u64()?)),
            kept: Self::kept(Sequence(fields.u64()?), fields.u64()?),
        };
        // No log comes so far, and what counts on must not start again at zero.
        let ends = [Some(header.first), header.kept.map(|kept| kept.end)];
        let is_possible = ends.into_iter().flatten().all(|end| end <= Sequence::END);
        Some(if is_possible { Ok(header) } else { Err(HeaderError::Damaged) })
    }

    fn kept(end: Sequence, needed: u64) -> Option<Kept> {
        (0 < end.0).then_some(Kept { end, needed: NonZeroU64::new(needed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        base: 0x1122_3344_5566,
        first: Sequence(258),
        created: Timestamp(1_700_000_000_000_000_000),
        previous: SegmentName(Sequence(7)),
        kept: None,
    };

    #[test]
    fn a_header_is_64_bytes_and_is_read_back() {
        let bytes = HEADER.encode();
        assert_eq!(bytes[..8], *b"\x89NSQlog\n");
        assert_eq!(bytes[12..32], *b"\0\0\0\x01\0\0\x11\x22\x33\x44\x55\x66\0\0\0\0\0\0\x01\x02");
        assert_eq!(bytes[40..], *b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
        let kept = Kept { end: Sequence(260), needed: NonZeroU64::new(513) };
        let shorter = SegmentHeader { kept: Some(kept), ..HEADER };
        let bytes = shorter.encode();
        assert_eq!(bytes[40..], *b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\x04\0\0\0\0\0\0\x02\x01");
        assert_eq!(SegmentHeader::decode(&bytes), Ok(shorter));
    }

    #[test]
    fn a_header_from_before_what_was_needed_was_counted_is_read() {
        let bytes = *b"\x89NSQlog\n\xea\xd8\x22\x35\0\0\0\x01\0\0\x11\x22\x33\x44\x55\x66\
            \0\0\0\0\0\0\x01\x02\x17\x97\x9c\xfe\x36\x2a\0\0\0\0\0\0\0\0\0\x07\
            \0\0\0\0\0\0\x01\x04\0\0\0\0\0\0\0\0";
        let kept = Some(Kept { end: Sequence(260), needed: None });
        assert_eq!(SegmentHeader::decode(&bytes), Ok(SegmentHeader { kept, ..HEADER }));
    }

    #[test]
    fn a_cut_header_is_short_and_nothing_at_all_is_empty() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&[]), Err(HeaderError::Empty));
        for cut in 1..SEGMENT_HEADER_BYTES {
            assert_eq!(SegmentHeader::decode(&bytes[..cut]), Err(HeaderError::Short));
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = HEADER.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 64 { HeaderError::Foreign } else { HeaderError::Damaged };
            assert_eq!(SegmentHeader::decode(&bytes), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_segment_is_named_by_twenty_digits() {
        let name = SegmentName(Sequence(1234));
        assert_eq!(name.to_string(), "00000000000000001234.log");
        assert_eq!(SegmentName::parse("00000000000000001234.log"), Some(name));
        let not_ours = [
            "1234.log",
            "0000000000000000123x.log",
            "00000000000000001234.old",
            "99999999999999999999.log",
            "",
        ];
        for name in not_ours {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
