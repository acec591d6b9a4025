//! Messages in flight that are not named by their sequence: those that came from elsewhere and keep
//! the ids they had.
//!
//! Lives in its channel. Its size is the number of such messages in flight; a channel that never
//! delivers one pays for a look at an empty table.

use crate::message::Sequence;
use protocol::message_id::MessageId;
use std::collections::{BTreeMap, BTreeSet};

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Aliases {
    /// One id may name several messages: what a broker delivers twice it may also store twice.
    by_id: BTreeSet<(MessageId, Sequence)>,
    /// Invariant: the same pairs.
    by_sequence: BTreeMap<Sequence, MessageId>,
}

impl Aliases {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_sequence.is_empty()
    }

    /// Notes that `sequence`, which has no other name, is in flight under `id`.
    pub fn insert(&mut self, sequence: Sequence, id: MessageId) {
        let before = self.by_sequence.insert(sequence, id);
        debug_assert!(before.is_none(), "a message is in flight once");
        self.by_id.insert((id, sequence));
    }

    /// Forgets `sequence`, if it is there.
    pub fn remove(&mut self, sequence: Sequence) {
        if let Some(id) = self.by_sequence.remove(&sequence) {
            self.by_id.remove(&(id, sequence));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The messages in flight under `id`, in order.
    pub fn named(&self, id: MessageId) -> impl Iterator<Item = Sequence> {
        let all = (id, Sequence(0))..=(id, Sequence(u64::MAX));
        self.by_id.range(all).map(|&(_, sequence)| sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_name_two_messages_until_both_are_forgotten() {
        let (once, twice) = (MessageId(*b"0000000000000001"), MessageId(*b"0000000000000002"));
        let mut aliases = Aliases::default();
        for (sequence, id) in [(7, twice), (3, twice), (5, once)] {
            aliases.insert(Sequence(sequence), id);
        }
        let named = |aliases: &Aliases, id| aliases.named(id).map(|it| it.0).collect::<Vec<_>>();
        assert_eq!((named(&aliases, twice), named(&aliases, once)), (vec![3, 7], vec![5]));
        aliases.remove(Sequence(3));
        aliases.remove(Sequence(3));
        assert_eq!((named(&aliases, twice), named(&aliases, once)), (vec![7], vec![5]));
        aliases.remove(Sequence(7));
        aliases.remove(Sequence(5));
        assert!(aliases.is_empty() && aliases.by_id.is_empty());
    }
}
