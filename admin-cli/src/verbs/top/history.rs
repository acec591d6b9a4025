//! How depths went, point by point.
//!
//! Knows: that a row has so many points at most, and that one which is gone takes its points along.
//! Does not know: what a point is of, or how it is drawn.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many points of a row are kept.
pub(super) const POINTS_MAX: usize = 60;

/// The last points of every row. As many rows as were there at the last round, each of at most
/// [`POINTS_MAX`] points of 8 bytes.
#[derive(Debug)]
pub(super) struct History<Key> {
    rows: HashMap<Key, Points>,
    round: u64,
}

#[derive(Debug, Default)]
struct Points {
    points: VecDeque<i64>,
    /// The round in which the last of them came.
    round: u64,
}

impl<Key> Default for History<Key> {
    fn default() -> Self {
        Self { rows: HashMap::new(), round: 0 }
    }
}

impl<Key: Hash + Eq> History<Key> {
    /// Takes one point of each row that is there; rows that are not are forgotten.
    pub(super) fn record(&mut self, round: impl IntoIterator<Item = (Key, i64)>) {
        self.round += 1;
        for (key, point) in round {
            let row = self.rows.entry(key).or_default();
            row.round = self.round;
            if row.points.len() == POINTS_MAX {
                row.points.pop_front();
            }
            row.points.push_back(point);
        }
        self.rows.retain(|_, row| row.round == self.round);
    }

    /// The points of a row, the oldest first.
    pub(super) fn points(&self, key: &Key) -> Vec<i64> {
        self.rows.get(key).map(|row| row.points.iter().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_points_are_kept_and_no_more() {
        let mut history = History::default();
        for point in 0..100 {
            history.record([("a", point)]);
        }
        let points = history.points(&"a");
        assert_eq!(points.len(), POINTS_MAX);
        assert_eq!((points[0], points[POINTS_MAX - 1]), (40, 99));
    }

    #[test]
    fn a_row_that_is_gone_is_forgotten() {
        let mut history = History::default();
        history.record([("a", 1), ("b", 2)]);
        history.record([("b", 3)]);
        history.record([("a", 4), ("b", 5)]);
        assert_eq!((history.points(&"a"), history.points(&"b")), (vec![4], vec![2, 3, 5]));
        assert!(history.points(&"c").is_empty());
    }
}
