//! Numbers in what the log writes: big-endian, as on the wire, with nothing between them.
//!
//! Knows: that no message's number is beyond [`Sequence::END`], and how to take the next number from bytes that may end too early. Does not know: what the
//! numbers mean.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use crate::message::Sequence;

/// Bytes of which one field after another is taken; `None` when they end too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    /// `None` also when there is no such message.
    pub(super) fn sequence(&mut self) -> Option<Sequence> {
        self.u64().map(Sequence).filter(|&sequence| sequence <= Sequence::END)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_be_bytes)
    }
}
