//! The block that is being filled, and the page of memory it lies in.
//!
//! A page holds several blocks, one behind the other: those that are closed are shared with their
//! readers, the open one is at the end. When a page is full the open block moves to a new one, and
//! the old one goes with its last reader. Pages grow while a topic is busy.
//!
//! Knows: where the next frame goes. Does not know: what becomes of a closed block.

use super::block::{BLOCK_HEADER_BYTES, DEFERRAL_BYTES, Deferral, Layout, Naming, Place};
use crate::limits::{MARK_SPACING_MESSAGES, PAGE_BYTES_MAX, PAGE_BYTES_MIN};
use crate::message::{Sequence, Timestamp};
use bytes::{Bytes, BytesMut};
use protocol::frame::MESSAGE_FRAME_OVERHEAD;

/// See the head of this file. One in each log.
#[derive(Debug)]
pub(super) struct OpenBlock {
    /// Invariant: empty when `count` is zero, else a header's room and the frames.
    page: BytesMut,
    count: u32,
    /// How its messages are named.
    naming: Naming,
    deferred: Vec<Deferral>,
    marks: Vec<u32>,
    /// The size of the next page.
    page_bytes: usize,
}

impl OpenBlock {
    pub(super) fn new() -> Self {
        Self {
            page: BytesMut::new(),
            count: 0,
            naming: Naming::Counted,
            deferred: Vec::new(),
            marks: Vec::new(),
            page_bytes: PAGE_BYTES_MIN,
        }
    }

    /// How many messages it has.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// How its messages are named.
    pub(super) fn naming(&self) -> Naming {
        self.naming
    }

    /// Says how the messages of the block, which must have none yet, are named.
    pub(super) fn set_naming(&mut self, naming: Naming) {
        debug_assert!(self.count == 0, "a block has one naming");
        self.naming = naming;
    }

    /// How long it is, without its trailer.
    pub(super) fn bytes(&self) -> usize {
        self.page.len()
    }

    /// Memory it holds: its own, and the rest of its page.
    pub(super) fn memory_bytes(&self) -> usize {
        self.page.capacity()
    }

    /// Lays a message behind those that are there. This is the one copy of a body in the broker.
    pub(super) fn push(
        &mut self,
        frame_header: &[u8; MESSAGE_FRAME_OVERHEAD],
        body: &[u8],
        due: Option<Timestamp>,
    ) {
        let trailer = (self.deferred.len() + 1) * DEFERRAL_BYTES;
        let needed = BLOCK_HEADER_BYTES + frame_header.len() + body.len() + trailer;
        if self.page.capacity() - self.page.len() < needed {
            self.make_room(needed);
        }
        if self.count == 0 {
            self.page.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        } else if self.count.is_multiple_of(MARK_SPACING_MESSAGES) {
            self.marks.push(self.payload_bytes());
        }
        if let Some(due) = due {
            self.deferred.push(Deferral { index: self.count, due });
        }
        self.page.extend_from_slice(frame_header);
        self.page.extend_from_slice(body);
        self.count += 1;
    }

    fn payload_bytes(&self) -> u32 {
        u32::try_from(self.page.len() - BLOCK_HEADER_BYTES)
            .expect("a block is closed long before 4 GiB: see BLOCK_BYTES_TARGET")
    }

    /// Makes room for `needed` bytes more, as one with what is there.
    #[cold]
    fn make_room(&mut self, needed: usize) {
        // When nobody reads the page any more it is used again, still warm in the cache.
        if self.page.try_reclaim(needed) {
            return;
        }
        let whole = self.page.len() + needed;
        // A message larger than a page gets one of its own; a block that keeps growing moves
        // rarely.
        let grown = if self.count == 0 { whole } else { whole * 2 };
        let mut page = BytesMut::with_capacity(grown.max(self.page_bytes));
        page.extend_from_slice(&self.page);
        self.page = page;
        self.page_bytes = (self.page_bytes * 2).min(PAGE_BYTES_MAX);
    }

    /// Closes the block, which must have a message, and leaves an empty one behind it. A block
    /// without a place on disk needs no header and no trailer.
    pub(super) fn close(&mut self, first: Sequence, place: Option<Place>) -> (Layout, Bytes) {
        let layout = Layout {
            first,
            count: self.count,
            naming: std::mem::take(&mut self.naming),
            payload_bytes: self.payload_bytes(),
            deferred: self.deferred.as_slice().into(),
            marks: self.marks.as_slice().into(),
        };
        if let Some(place) = place {
            layout.encode(&mut self.page, place);
        }
        self.count = 0;
        self.deferred.clear();
        self.marks.clear();
        (layout, self.page.split().freeze())
    }

    /// How long the block will be when it is closed.
    pub(super) fn closed_bytes(&self) -> u64 {
        (self.page.len() + self.deferred.len() * DEFERRAL_BYTES) as u64
    }

    /// Gives the rest of the page back, when no block is open; the next page is small again.
    pub(super) fn shrink(&mut self) {
        if self.count == 0 {
            self.page = BytesMut::new();
            self.page_bytes = PAGE_BYTES_MIN;
        }
    }
}
