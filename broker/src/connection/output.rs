//! What a connection still has to send, in order.
//!
//! Knows: bytes and how far they got. Does not know: the socket, what the bytes mean.
//!
//! Answers and short runs are gathered into one buffer, long runs of messages stay slices of the
//! log's pages and are not copied: copying costs less than a piece of its own in the system call
//! up to about `SLICE_BYTES_MIN`.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// From this length on, bytes that are shared with the log are sent from where they are.
const SLICE_BYTES_MIN: usize = 8 << 10;
/// A gathered piece is closed at this length.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// Pieces offered to one system call.
pub const PIECES_PER_SEND: usize = 16;

/// The bytes a connection has not sent yet.
#[derive(Debug, Default)]
pub struct Output {
    pieces: VecDeque<Piece>,
    /// Invariant: the sum of the pieces' lengths.
    bytes: usize,
}

#[derive(Debug)]
enum Piece {
    Gathered { bytes: Vec<u8>, sent: usize },
    Shared(Bytes),
}

impl Piece {
    fn unsent(&self) -> &[u8] {
        match self {
            Self::Gathered { bytes, sent } => &bytes[*sent..],
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Output {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Lets `write` append to the gathered bytes at the end.
    pub fn gather(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let has_room = matches!(
            self.pieces.back(),
            Some(Piece::Gathered { bytes, .. }) if bytes.len() < GATHERED_BYTES_MAX
        );
        if !has_room {
            self.pieces.push_back(Piece::Gathered { bytes: Vec::new(), sent: 0 });
        }
        let Some(Piece::Gathered { bytes, .. }) = self.pieces.back_mut() else {
            unreachable!("the last piece is a gathered one")
        };
        let before = bytes.len();
        write(bytes);
        self.bytes += bytes.len() - before;
    }

    /// Appends bytes that are shared with the log.
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SLICE_BYTES_MIN {
            self.gather(|gathered| gathered.extend_from_slice(&bytes));
        } else {
            self.bytes += bytes.len();
            self.pieces.push_back(Piece::Shared(bytes));
        }
    }

    /// The first pieces, for one system call, and how many there are.
    pub fn slices(&self) -> ([IoSlice<'_>; PIECES_PER_SEND], usize) {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_SEND];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece.unsent());
            count += 1;
        }
        (slices, count)
    }

    /// The first piece; empty when nothing waits.
    pub fn first(&self) -> &[u8] {
        self.pieces.front().map_or(&[], Piece::unsent)
    }

    /// Moves all that waits to the end of `bytes`.
    pub fn take_into(&mut self, bytes: &mut Vec<u8>) {
        for piece in std::mem::take(&mut self.pieces) {
            bytes.extend_from_slice(piece.unsent());
        }
        self.bytes = 0;
    }

    /// The first `count` bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.bytes -= count;
        let mut left = count;
        let mut pieces_left = self.pieces.len();
        while let Some(piece) = self.pieces.front_mut() {
            let length = piece.unsent().len();
            if left < length {
                match piece {
                    Piece::Gathered { sent, .. } => *sent += left,
                    Piece::Shared(bytes) => bytes.advance(left),
                }
                return;
            }
            left -= length;
            // A small buffer is kept for the next answer, so that a publisher's OK allocates
            // nothing; an idle connection keeps no more than this.
            if let Piece::Gathered { bytes, sent } = piece
                && pieces_left == 1
                && bytes.capacity() <= 256
            {
                bytes.clear();
                *sent = 0;
                return;
            }
            self.pieces.pop_front();
            pieces_left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order_whatever_the_system_takes(
            parts in prop::collection::vec((any::<bool>(), 0_usize..20_000), 0..12),
            takes in prop::collection::vec(1_usize..30_000, 1..40),
        ) {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (byte, (shared, length)) in (0_u8..).zip(parts) {
                let part = vec![byte; length];
                expected.extend_from_slice(&part);
                if shared {
                    output.share(Bytes::from(part));
                } else {
                    output.gather(|gathered| gathered.extend_from_slice(&part));
                }
            }
            let mut sent = Vec::new();
            for take in takes.into_iter().cycle().take(10_000) {
                prop_assert_eq!(output.len(), expected.len() - sent.len());
                if output.is_empty() {
                    break;
                }
                let (slices, count) = output.slices();
                let offered: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                let taken = take.min(offered.len());
                sent.extend_from_slice(&offered[..taken]);
                output.sent(taken);
            }
            prop_assert_eq!(sent, expected);
        }
    }
}
