//! A block: the messages that one turn appended, in memory and on disk the same bytes.
//!
//! ```text
//!  0  u32  magic
//!  4  u32  CRC-32 of the bytes from 8 to the block's end, started with the block's place
//!  8  u8   version
//!  9  u8   naming of the messages: 0 by their sequence, 1 as they were named elsewhere
//! 10  u16  zero
//! 12  u32  count of messages, at least 1
//! 16  u64  first sequence; the others follow without a gap
//! 24  u32  payload bytes
//! 28  u32  trailer bytes
//! 32       payload: message frames, as the next delivery sends them: to a channel that did not have
//!          the message yet
//!          trailer: for every deferred message, in order:
//!            u32  its index in the block
//!            i64  when it is due, in nanoseconds since 1970
//! ```
//!
//! All numbers are big-endian. The check starts with the place of the block (the base of the topic's
//! ids, the segment, the offset), so that a block is valid nowhere else: not in the body of a
//! message in which somebody publishes a copy of a log, and not as the rest of an older file.
//!
//! Knows: this layout, both ways. Does not know: files, other blocks, who reads.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use super::fields::Fields;
use super::segment::SegmentName;
use crate::limits::MARK_SPACING_MESSAGES;
use crate::message::{Sequence, Timestamp};
use bytes::{Bytes, BytesMut};
use protocol::frame::MESSAGE_FRAME_OVERHEAD;

/// How many bytes of a block come before its first frame.
pub const BLOCK_HEADER_BYTES: usize = 32;

/// The first bytes of every block; the first is no text.
pub const BLOCK_MAGIC: [u8; 4] = *b"\x89NSB";

const VERSION: u8 = 1;

/// Bytes of a deferred message in the trailer.
pub(super) const DEFERRAL_BYTES: usize = 12;

/// Where a block stands. It is valid only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The base of the topic's message ids.
    pub base: u64,
    /// The segment it is in.
    pub segment: SegmentName,
    /// Where it starts in the segment's file, in bytes.
    pub offset: u64,
}

impl Place {
    /// What the check starts with. Two places in one segment never have the same below 4 GiB.
    fn check_start(self) -> u32 {
        let spread = self.segment.first().0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fold(self.base ^ spread) ^ fold(self.offset)
    }

    fn check(self, covered: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.check_start());
        hasher.update(covered);
        hasher.finalize()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(number: u64) -> u32 {
    number as u32 ^ (number >> 32) as u32
}

/// A message of a block that must not be delivered before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// Which message of the block.
    pub index: u32,
    /// When it is due.
    pub due: Timestamp,
}

/// Why some bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The bytes end before the block does.
    Torn {
        /// How many bytes it needs at least, from its start.
        needs: u64,
    },
    /// All bytes are there, and they are not those that were written.
    Corrupt,
    /// No block starts here.
    NotABlock,
}

/// How the messages of a block are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// By their sequence ([`crate::message_id`]); their attempts are 1.
    #[default]
    Counted = 0,
    /// They keep the ids and attempts that they came with from elsewhere.
    Kept = 1,
}

impl Naming {
    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Counted, Self::Kept].into_iter().find(|&naming| naming as u8 == byte)
    }
}

/// What a block says about itself, apart from its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The sequence of its first message.
    pub first: Sequence,
    /// How many messages it has.
    pub count: u32,
    /// How they are named.
    pub naming: Naming,
    /// The bytes of all frames.
    pub payload_bytes: u32,
    /// Its deferred messages, in order.
    pub deferred: Box<[Deferral]>,
    /// Where every [`MARK_SPACING_MESSAGES`]th frame starts in the payload, the first left out.
    pub marks: Box<[u32]>,
}

impl Layout {
    /// One past its last message.
    pub fn end(&self) -> Sequence {
        self.first + u64::from(self.count)
    }

    /// Which message of the block `sequence` is.
    ///
    /// # Panics
    /// When it is none of them.
    pub fn index_of(&self, sequence: Sequence) -> u32 {
        let index = u32::try_from(sequence - self.first).ok();
        index.filter(|&index| index < self.count).expect("the message must be one of the block")
    }

    /// How long the block is, header and trailer included.
    pub fn block_bytes(&self) -> u64 {
        let trailer = self.deferred.len() * DEFERRAL_BYTES;
        (BLOCK_HEADER_BYTES + trailer) as u64 + u64::from(self.payload_bytes)
    }

    /// Completes a block whose frames stand in `block` behind [`BLOCK_HEADER_BYTES`] of room.
    pub fn encode(&self, block: &mut BytesMut, place: Place) {
        debug_assert_eq!(block.len(), BLOCK_HEADER_BYTES + self.payload_bytes as usize);
        for deferral in &self.deferred {
            block.extend_from_slice(&deferral.index.to_be_bytes());
            block.extend_from_slice(&deferral.due.0.to_be_bytes());
        }
        let trailer_bytes = u32::try_from(self.deferred.len() * DEFERRAL_BYTES)
            .expect("a deferred message has more bytes in the payload, whose length fits");
        let (header, content) =
            block.split_first_chunk_mut::<BLOCK_HEADER_BYTES>().expect("room for it was left");
        let (magic, rest) = header.split_at_mut(4);
        let (check, fields) = rest.split_at_mut(4);
        magic.copy_from_slice(&BLOCK_MAGIC);
        let parts: [&[u8]; 5] = [
            &[VERSION, self.naming as u8, 0, 0],
            &self.count.to_be_bytes(),
            &self.first.0.to_be_bytes(),
            &self.payload_bytes.to_be_bytes(),
            &trailer_bytes.to_be_bytes(),
        ];
        let mut place_of_part = &mut fields[..];
        for part in parts {
            let (here, behind) = place_of_part.split_at_mut(part.len());
            here.copy_from_slice(part);
            place_of_part = behind;
        }
        let mut hasher = crc32fast::Hasher::new_with_initial(place.check_start());
        hasher.update(fields);
        hasher.update(content);
        check.copy_from_slice(&hasher.finalize().to_be_bytes());
    }

    /// Reads the block at the start of `data`, which may go on behind it.
    ///
    /// # Errors
    /// A [`BlockError`] when there is no valid block, or not all of it.
    pub fn decode(data: &[u8], place: Place) -> Result<Self, BlockError> {
        let compared = data.len().min(BLOCK_MAGIC.len());
        if data.get(..compared) != BLOCK_MAGIC.get(..compared) {
            return Err(BlockError::NotABlock);
        }
        let Some(header) = data.get(..BLOCK_HEADER_BYTES) else {
            return Err(BlockError::Torn { needs: BLOCK_HEADER_BYTES as u64 });
        };
        let header = Header::decode(header).ok_or(BlockError::Corrupt)?;
        let needs = header.block_bytes();
        let bytes = usize::try_from(needs).map_err(|_| BlockError::Corrupt)?;
        let Some(block) = data.get(..bytes) else { return Err(BlockError::Torn { needs }) };
        header.read_content(block, place).ok_or(BlockError::Corrupt)
    }

    /// Where the frame of message `index` starts in `payload`.
    ///
    /// # Panics
    /// When the block has no such message, or `payload` is not its payload.
    pub fn offset_of(&self, payload: &[u8], index: u32) -> usize {
        assert!(index < self.count, "the message must be one of the block");
        let mark = (index / MARK_SPACING_MESSAGES) as usize;
        let start = match mark.checked_sub(1) {
            None => 0,
            Some(mark) => *self.marks.get(mark).expect("marks were made for all frames") as usize,
        };
        let steps = index % MARK_SPACING_MESSAGES;
        (0..steps).fold(start, |offset, _| offset + frame_bytes(payload, offset))
    }
}

/// How long the frame at `offset` of a valid block's payload is.
///
/// # Panics
/// When no frame starts there.
pub(super) fn frame_bytes(payload: &[u8], offset: usize) -> usize {
    frame_at(payload, offset).expect("the frames of a block fill its payload")
}

fn frame_at(payload: &[u8], offset: usize) -> Option<usize> {
    let size = payload.get(offset..)?.first_chunk()?;
    let frame_bytes = 4 + u32::from_be_bytes(*size) as usize;
    (MESSAGE_FRAME_OVERHEAD <= frame_bytes).then_some(frame_bytes)
}

struct Header {
    count: u32,
    naming: Naming,
    first: Sequence,
    payload_bytes: u32,
    trailer_bytes: u32,
}

impl Header {
    /// `None` when no block can have this header.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        fields.slice(8)?;
        let [version, naming, 0, 0] = fields.chunk()? else { return None };
        let naming = Naming::of_byte(naming)?;
        let count = fields.u32()?;
        let first = fields.sequence()?;
        let (payload_bytes, trailer_bytes) = (fields.u32()?, fields.u32()?);
        let header = Self { count, naming, first, payload_bytes, trailer_bytes };
        let deferred = u64::from(header.trailer_bytes) / DEFERRAL_BYTES as u64;
        let is_possible = version == VERSION
            && 0 < count
            && u64::from(count) * MESSAGE_FRAME_OVERHEAD as u64 <= u64::from(header.payload_bytes)
            && (header.trailer_bytes as usize).is_multiple_of(DEFERRAL_BYTES)
            && deferred <= u64::from(count);
        is_possible.then_some(header)
    }

    fn block_bytes(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + u64::from(self.payload_bytes) + u64::from(self.trailer_bytes)
    }

    /// `None` when the block is not what was written at this place.
    fn read_content(&self, block: &[u8], place: Place) -> Option<Layout> {
        let mut fields = Fields(block);
        fields.slice(4)?;
        if fields.u32()? != place.check(fields.0) {
            return None;
        }
        fields.slice(BLOCK_HEADER_BYTES - 8)?;
        let payload = fields.slice(self.payload_bytes as usize)?;
        Some(Layout {
            first: self.first,
            count: self.count,
            naming: self.naming,
            payload_bytes: self.payload_bytes,
            deferred: read_trailer(fields, self.count)?,
            marks: mark_frames(payload, self.count)?,
        })
    }
}

/// The marks of a payload that holds exactly `count` frames.
fn mark_frames(payload: &[u8], count: u32) -> Option<Box<[u32]>> {
    let mut marks = Vec::with_capacity(((count - 1) / MARK_SPACING_MESSAGES) as usize);
    let mut offset = 0;
    for index in 0..count {
        if 0 < index && index.is_multiple_of(MARK_SPACING_MESSAGES) {
            marks.push(u32::try_from(offset).ok()?);
        }
        offset += frame_at(payload, offset)?;
    }
    (offset == payload.len()).then(|| marks.into())
}

fn read_trailer(mut fields: Fields<'_>, count: u32) -> Option<Box<[Deferral]>> {
    let mut deferred = Vec::with_capacity(fields.0.len() / DEFERRAL_BYTES);
    let mut index_min = 0;
    while !fields.0.is_empty() {
        let deferral = Deferral { index: fields.u32()?, due: Timestamp(fields.i64()?) };
        if deferral.index < index_min || count <= deferral.index {
            return None;
        }
        index_min = deferral.index + 1;
        deferred.push(deferral);
    }
    Some(deferred.into())
}

/// A block in memory, with everything needed to take messages from it. Cheap to keep beside its
/// readers: they share its bytes.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it says about itself.
    pub layout: Layout,
    /// The whole block.
    pub bytes: Bytes,
}

impl Block {
    /// Its frames, one behind the other.
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(BLOCK_HEADER_BYTES..)
            .and_then(|content| content.get(..self.layout.payload_bytes as usize))
            .expect("a block has its header and its payload")
    }

    /// The frames between two places of the payload, sharing memory with the block.
    pub fn frames(&self, from: usize, to: usize) -> Bytes {
        self.bytes.slice(BLOCK_HEADER_BYTES + from..BLOCK_HEADER_BYTES + to)
    }

    /// The one frame of message `index`.
    pub fn frame(&self, index: u32) -> Bytes {
        let payload = self.payload();
        let from = self.layout.offset_of(payload, index);
        self.frames(from, from + frame_bytes(payload, from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::push_message;
    use protocol::message_id::MessageId;

    const PLACE: Place =
        Place { base: 0x1234_5678_9abc, segment: SegmentName(Sequence(7)), offset: 64 };

    /// A block from sequence 7 on; a body with a due time is deferred.
    fn block(messages: &[(&[u8], Option<i64>)]) -> Vec<u8> {
        let mut frames = vec![0; BLOCK_HEADER_BYTES];
        let mut deferred = Vec::new();
        for (index, (body, due)) in (0..).zip(messages) {
            push_message(
                &mut frames,
                1_000,
                1,
                MessageId::from_number(0xa0 + u64::from(index)),
                body,
            );
            deferred.extend(due.map(|due| Deferral { index, due: Timestamp(due) }));
        }
        let layout = Layout {
            first: Sequence(7),
            count: u32::try_from(messages.len()).unwrap(),
            naming: Naming::Counted,
            payload_bytes: u32::try_from(frames.len() - BLOCK_HEADER_BYTES).unwrap(),
            deferred: deferred.into(),
            marks: Box::default(),
        };
        let mut block = BytesMut::from(&frames[..]);
        layout.encode(&mut block, PLACE);
        block.to_vec()
    }

    #[test]
    fn the_bytes_are_header_frames_and_trailer() {
        let bytes = block(&[(b"ab", None), (b"", Some(0x0102_0304))]);
        let expected: &[&[u8]] = &[
            b"\x89NSB",
            &bytes[4..8],
            b"\x01\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x07\0\0\0\x46\0\0\0\x0c",
            b"\0\0\0\x20\0\0\0\x02\0\0\0\0\0\0\x03\xe8\0\x0100000000000000a0ab",
            b"\0\0\0\x1e\0\0\0\x02\0\0\0\0\0\0\x03\xe8\0\x0100000000000000a1",
            b"\0\0\0\x01\0\0\0\0\x01\x02\x03\x04",
        ];
        assert_eq!(bytes, expected.concat());
        let layout = Layout::decode(&bytes, PLACE).unwrap();
        assert_eq!((layout.first, layout.end()), (Sequence(7), Sequence(9)));
        assert_eq!(layout.deferred[..], [Deferral { index: 1, due: Timestamp(0x0102_0304) }]);
        assert_eq!(layout.block_bytes(), bytes.len() as u64);
    }

    #[test]
    fn the_flags_say_how_messages_are_named_and_no_other_flag_is_known() {
        let mut bytes = block(&[(b"ab", None)]);
        for (flags, expected) in
            [(0, Ok(Naming::Counted)), (1, Ok(Naming::Kept)), (2, Err(BlockError::Corrupt))]
        {
            bytes[9] = flags;
            let check = PLACE.check(&bytes[8..]).to_be_bytes();
            bytes[4..8].copy_from_slice(&check);
            assert_eq!(Layout::decode(&bytes, PLACE).map(|layout| layout.naming), expected);
        }
    }

    #[test]
    fn a_block_is_valid_only_at_its_place() {
        let bytes = block(&[(b"ab", None)]);
        let elsewhere = [
            Place { base: PLACE.base + 1, ..PLACE },
            Place { segment: SegmentName(Sequence(8)), ..PLACE },
            Place { offset: 65, ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(Layout::decode(&bytes, place), Err(BlockError::Corrupt));
        }
    }

    #[test]
    fn a_cut_block_is_torn_and_says_what_it_needs() {
        let bytes = block(&[(b"ab", None), (b"cde", Some(5))]);
        for cut in 0..bytes.len() {
            let needs = if cut < BLOCK_HEADER_BYTES { 32 } else { bytes.len() as u64 };
            assert_eq!(Layout::decode(&bytes[..cut], PLACE), Err(BlockError::Torn { needs }));
        }
    }

    #[test]
    fn no_flipped_bit_gives_a_block() {
        let bytes = block(&[(b"ab", None), (b"cde", Some(5))]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Layout::decode(&flipped, PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_no_block() {
        assert_eq!(Layout::decode(&[0; 4096], PLACE), Err(BlockError::NotABlock));
    }

    #[test]
    fn every_message_of_a_large_block_is_found() {
        let bodies: Vec<Vec<u8>> = (0..200).map(|length| vec![b'x'; length]).collect();
        let messages: Vec<_> = bodies.iter().map(|body| (&body[..], None)).collect();
        let bytes = Bytes::from(block(&messages));
        let layout = Layout::decode(&bytes, PLACE).unwrap();
        assert_eq!(layout.marks.len(), 6);
        let block = Block { layout, bytes };
        for (index, body) in (0..).zip(&bodies) {
            assert_eq!(block.frame(index)[MESSAGE_FRAME_OVERHEAD..], body[..]);
        }
    }
}
