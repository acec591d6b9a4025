//! How a message's number in its topic becomes the id that clients see, and back.
//!
//! ```text
//! id = node (10 bits) | (base + sequence) modulo 2^54
//! ```
//!
//! The base is random and chosen once in a topic's life, so that ids of two topics, or of a topic
//! and its namesake deleted before, do not meet in practice. An id finds its message by subtraction.
//! Does not know: which messages exist.

use crate::message::Sequence;
use protocol::message_id::MessageId;

/// Where the ids of one topic on one node lie among all ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdSpace {
    /// Invariant: below `2^NODE_BITS`.
    node: u16,
    /// Invariant: below `2^BASE_BITS`.
    base: u64,
}

impl IdSpace {
    /// Bits for the node's number (`--node-id`).
    pub const NODE_BITS: u32 = 10;
    /// Bits for the message's number.
    pub const BASE_BITS: u32 = 64 - Self::NODE_BITS;

    const BASE_MASK: u64 = (1 << Self::BASE_BITS) - 1;

    /// The ids of a topic on `node`; `base` should be random. Of both only the low 10 and 54 bits
    /// count.
    pub fn new(node: u16, base: u64) -> Self {
        Self { node: node & ((1 << Self::NODE_BITS) - 1), base: base & Self::BASE_MASK }
    }

    /// The same node's ids with the base of a topic that was found on disk.
    pub fn with_base(self, base: u64) -> Self {
        Self::new(self.node, base)
    }

    /// The number at which the topic's ids start, of 54 bits.
    pub fn base(self) -> u64 {
        self.base
    }

    /// The id of the message `sequence`.
    pub fn id(self, sequence: Sequence) -> MessageId {
        let number = self.base.wrapping_add(sequence.0) & Self::BASE_MASK;
        MessageId::from_number(u64::from(self.node) << Self::BASE_BITS | number)
    }

    /// The message that would have this id; `None` when it is not the text of a number.
    ///
    /// The node is not looked at, and there may be no such message: the caller looks whether it is
    /// in flight.
    pub fn sequence_of(self, id: MessageId) -> Option<Sequence> {
        let number = id.to_number()?;
        Some(Sequence(number.wrapping_sub(self.base) & Self::BASE_MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_node_and_base_plus_sequence_in_hexadecimal() {
        let ids = IdSpace::new(0x3ff, 0x0010_0000_0000_0000);
        assert_eq!(ids.id(Sequence(0x2a)).0, *b"ffd000000000002a");
        assert_eq!(IdSpace::new(1, 0).id(Sequence(0)).0, *b"0040000000000000");
    }

    #[test]
    fn an_id_leads_back_to_its_message() {
        for base in [0, 5, (1 << 54) - 1, 0x001f_0000_dead_beef] {
            let ids = IdSpace::new(7, base);
            for sequence in [0, 1, 1 << 40].map(Sequence) {
                assert_eq!(ids.sequence_of(ids.id(sequence)), Some(sequence));
            }
        }
    }

    #[test]
    fn numbers_go_round_at_the_end_of_54_bits() {
        let ids = IdSpace::new(0, (1 << 54) - 1);
        assert_eq!(ids.id(Sequence(1)).0, *b"0000000000000000");
        assert_eq!(ids.sequence_of(ids.id(Sequence(1))), Some(Sequence(1)));
    }

    #[test]
    fn what_is_no_number_has_no_message() {
        assert_eq!(IdSpace::new(0, 0).sequence_of(MessageId(*b"not a message id")), None);
    }
}
