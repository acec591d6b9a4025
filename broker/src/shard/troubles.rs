//! What the disk refused a topic the last time it was asked.
//!
//! Decides what `/ping` and `/stats` say of a topic, and how often the log does: a full disk refuses
//! every publish, and a line for each would fill it once more. Does not know: what follows.

use crate::clock::Tick;
use std::time::Duration;

/// How often the log says that something still fails.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// What the disk was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To take messages.
    Write,
    /// To have them on the disk itself.
    Sync,
    /// To take a checkpoint.
    Checkpoint,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Troubles {
    write: Option<String>,
    sync: Option<String>,
    checkpoint: Option<String>,
    last_line: Option<Tick>,
}

impl Troubles {
    /// It failed.
    pub fn failed(&mut self, task: Task, reason: String) {
        *self.of(task) = Some(reason);
    }

    /// It was done; true when it had failed before.
    pub fn done(&mut self, task: Task) -> bool {
        self.of(task).take().is_some()
    }

    fn of(&mut self, task: Task) -> &mut Option<String> {
        match task {
            Task::Write => &mut self.write,
            Task::Sync => &mut self.sync,
            Task::Checkpoint => &mut self.checkpoint,
        }
    }

    /// Why the topic is not well, if it is not.
    pub fn reason(&self) -> Option<&str> {
        let all = [&self.write, &self.sync, &self.checkpoint];
        all.into_iter().flatten().next().map(String::as_str)
    }

    /// Whether they could not be synced the last time.
    pub fn is_unsynced(&self) -> bool {
        self.sync.is_some()
    }

    /// Whether messages could not be written the last time.
    pub fn is_refusing(&self) -> bool {
        self.write.is_some()
    }

    /// Whether the log may have another line about this topic's disk.
    pub fn may_say(&mut self, now: Tick) -> bool {
        let may = self.last_line.is_none_or(|last| BETWEEN_LINES <= now.since(last));
        if may {
            self.last_line = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_well_when_all_that_failed_was_done_since() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.reason(), None);
        troubles.failed(Task::Checkpoint, "no room for the checkpoint".into());
        troubles.failed(Task::Write, "no room".into());
        troubles.failed(Task::Write, "no disk".into());
        assert_eq!(troubles.reason(), Some("no disk"));
        assert!(troubles.is_refusing());
        assert!(troubles.done(Task::Write));
        assert!(!troubles.done(Task::Write));
        assert_eq!(troubles.reason(), Some("no room for the checkpoint"));
        assert!(!troubles.is_refusing());
        assert!(troubles.done(Task::Checkpoint));
        assert_eq!(troubles.reason(), None);
    }

    #[test]
    fn the_log_says_it_once_a_second() {
        let mut troubles = Troubles::default();
        let said = [0, 1, 999_999_999, 1_000_000_000, 1_500_000_000, 2_000_000_000]
            .map(|at| troubles.may_say(Tick(at)));
        assert_eq!(said, [true, false, false, true, false, true]);
    }
}
