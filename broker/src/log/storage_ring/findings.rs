//! What was not as it should be in a topic's folder when it was opened.
//!
//! Knows: the words for it. Does not know: how it was found.

use crate::log::checkpoint::CheckpointError;
use crate::log::losses::Losses;
use crate::log::reading::Damage;
use crate::log::recovery::{Cut, SetAside, Taken};
use crate::log::segment::SegmentName;
use crate::message::Sequence;
use std::io;
use std::ops::Range;

/// What was not as it should be in a folder.
#[derive(Debug, Default)]
pub struct Findings {
    /// Files that are not used, and why. They have a new name; empty ones were deleted.
    pub set_aside: Vec<(String, SetAside)>,
    /// The torn end that was cut off the last segment.
    pub cut: Option<Cut>,
    /// Damage in what was read at the start.
    pub damage: Vec<Damage>,
    /// Messages that were needed, and whose segments are gone.
    pub taken: Vec<Taken>,
    /// Why the checkpoint is not used, or not all of it.
    pub checkpoint: Option<CheckpointError>,
    /// What the disk refused to read.
    pub unreadable: Vec<(SegmentName, io::Error)>,
    /// Messages that the checkpoint knows, and that the log ends before.
    pub not_there: Range<Sequence>,
}

impl Findings {
    /// The same in numbers.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses {
            torn_bytes: self.cut.map_or(0, |cut| cut.bytes),
            files_not_used: self.set_aside.len() as u64,
            ..Losses::default()
        };
        self.damage.iter().for_each(|damage| losses.add(damage));
        self.taken.iter().for_each(|taken| losses.add_taken(taken));
        losses
    }

    /// A sentence for each.
    pub fn lines(&self) -> Vec<String> {
        let set_aside =
            self.set_aside.iter().map(|(name, why)| format!("{name} is not used: {why}"));
        let cut = self.cut.iter().filter(|cut| 0 < cut.bytes).map(|cut| {
            format!("{} ended within a block: {} bytes were cut off", cut.segment, cut.bytes)
        });
        let damage = self.damage.iter().map(Damage::to_string);
        let taken = self.taken.iter().map(Taken::to_string);
        let checkpoint = self.checkpoint.iter().map(|why| match why {
            CheckpointError::Cut(_) => format!("{why}: what it said is not used"),
            _ => format!("the checkpoint is not used: {why}"),
        });
        let unreadable =
            self.unreadable.iter().map(|(name, error)| format!("{name} cannot be read: {error}"));
        let Range { start, end } = self.not_there;
        let not_there = (start < end).then(|| {
            format!(
                "the checkpoint knows {} messages more than the log has (from {} on): they were \
                 refused, or a power cut or somebody took them",
                end - start,
                start.0
            )
        });
        let lines =
            set_aside.chain(cut).chain(damage).chain(taken).chain(checkpoint).chain(unreadable);
        lines.chain(not_there).collect()
    }
}
