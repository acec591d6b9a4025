//! Which topics of a core have files open.
//!
//! Knows: who came in which order, and how many there may be. Does not know: files, the clock.

use crate::keys::TopicKey;
use std::collections::VecDeque;

/// See the head of this file.
#[derive(Debug)]
pub struct OpenFolders {
    /// In the order in which they opened a file, each once. May name topics that are gone.
    in_order: VecDeque<TopicKey>,
    max: usize,
}

impl OpenFolders {
    /// None yet, and at most `max` at once.
    pub fn at_most(max: usize) -> Self {
        Self { in_order: VecDeque::new(), max }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// Takes in a topic that was not there; the one that came first must close its files when there
    /// are too many now.
    pub fn take_in(&mut self, key: TopicKey) -> Option<TopicKey> {
        self.in_order.push_back(key);
        if self.max < self.in_order.len() { self.in_order.pop_front() } else { None }
    }

    /// Keeps those of which `stays` is true.
    pub fn keep(&mut self, mut stays: impl FnMut(TopicKey) -> bool) {
        self.in_order.retain(|&key| stays(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn the_first_that_came_makes_room_for_one_too_many() {
        let mut keys: SlotMap<TopicKey, ()> = SlotMap::with_key();
        let keys: Vec<_> = (0..4).map(|_| keys.insert(())).collect();
        let mut open = OpenFolders::at_most(2);
        let made_room: Vec<_> = keys.iter().map(|&key| open.take_in(key)).collect();
        assert_eq!(made_room, [None, None, Some(keys[0]), Some(keys[1])]);
        open.keep(|key| key == keys[3]);
        assert!(!open.is_empty());
        assert_eq!(open.take_in(keys[0]), None);
        open.keep(|_| false);
        assert!(open.is_empty());
    }
}
