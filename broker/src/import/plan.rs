//! Which parts of which data files of a queue hold messages that are still owed.
//!
//! NSQ writes a queue's metadata every two seconds and at a stop, so after a crash they are older
//! than the data: what was written since is owed, too. Knows: places and lengths. Does not know:
//! files, records.

use super::metadata::Metadata;
use std::collections::BTreeMap;
use std::fmt;

/// A part of a data file that starts and ends where a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file's number.
    pub file: u64,
    /// Where it starts, in bytes.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
}

/// What is not as it should be with a queue as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// There are data and no metadata that can be read: all data are taken, and what was read
    /// already comes again.
    NoMetadata,
    /// So many of the files that the metadata name are not there.
    FilesMissing {
        /// How many.
        count: u64,
    },
    /// The file ends before a place that the metadata name.
    Short {
        /// The file's number.
        file: u64,
        /// How many bytes are not there.
        bytes: u64,
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMetadata => f.write_str(
                "its metadata are lost or damaged: all its data are taken, also what was read before",
            ),
            Self::FilesMissing { count } => {
                write!(f, "{count} of the files that its metadata name are not there")
            }
            Self::Short { file, bytes } => {
                write!(f, "file {file} ends {bytes} bytes before the place that its metadata name")
            }
        }
    }
}

/// What is to be read of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Parts, in order; none is empty.
    pub parts: Vec<Part>,
    /// What an operator should be told.
    pub oddities: Vec<Oddity>,
}

impl Plan {
    /// What is owed of a queue whose data files have these lengths, in bytes, by their number.
    pub fn of(metadata: Option<Metadata>, lengths: &BTreeMap<u64, u64>) -> Self {
        let mut plan = Self::default();
        let Some(Metadata { read, write }) = metadata else {
            for (&file, &to) in lengths {
                plan.push(file, 0, to);
            }
            if !plan.parts.is_empty() {
                plan.oddities.push(Oddity::NoMetadata);
            }
            return plan;
        };
        let mut there = 0;
        // Files behind the writer's were begun after the metadata were written.
        for (&file, &length) in lengths.range(read.file..) {
            let from = if file == read.file { read.offset } else { 0 };
            let known_to = if file == write.file { write.offset } else { from };
            if length < known_to {
                plan.oddities.push(Oddity::Short { file, bytes: known_to - length });
            }
            // A place of the writer is the end of a record, whatever stands behind it.
            let between = known_to.clamp(from, length.max(from));
            plan.push(file, from, between);
            plan.push(file, between, length);
            there += u64::from(file <= write.file);
        }
        // The writer makes its file when it writes the first message to it.
        let named = (write.file - read.file).saturating_add(u64::from(0 < write.offset));
        // Nothing is owed of a file that was read to its end.
        let named = if read == write { there } else { named };
        if there < named {
            plan.oddities.push(Oddity::FilesMissing { count: named - there });
        }
        plan
    }

    fn push(&mut self, file: u64, from: u64, to: u64) {
        if from < to {
            self.parts.push(Part { file, from, to });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts as `file:from-to`, then the oddities.
    #[track_caller]
    fn check(metadata: &str, lengths: &[(u64, u64)], expected: &[&str]) {
        let lengths = lengths.iter().copied().collect();
        let plan = Plan::of(Metadata::parse(metadata.as_bytes()), &lengths);
        let parts =
            plan.parts.iter().map(|part| format!("{}:{}-{}", part.file, part.from, part.to));
        let oddities = plan.oddities.iter().map(|oddity| format!("{oddity:?}"));
        assert_eq!(parts.chain(oddities).collect::<Vec<_>>(), expected, "{metadata:?}");
    }

    #[test]
    fn from_the_readers_place_to_the_writers() {
        check("4\n0,33\n2,70\n", &[(0, 99), (1, 80), (2, 70)], &["0:33-99", "1:0-80", "2:0-70"]);
        check("4\n0,0\n2,0\n", &[(0, 99), (1, 80)], &["0:0-99", "1:0-80"]);
        check("0\n0,99\n0,99\n", &[(0, 99)], &[]);
        check("0\n0,0\n0,0\n", &[], &[]);
        check("0\n5,0\n5,0\n", &[], &[]);
        check("0\n5,99\n5,99\n", &[], &[]);
        check("1\n2,0\n2,35\n", &[(0, 99), (1, 80), (2, 35)], &["2:0-35"]);
    }

    #[test]
    fn what_was_written_after_the_metadata_is_owed() {
        check("1\n0,33\n0,66\n", &[(0, 99)], &["0:33-66", "0:66-99"]);
        check("0\n0,66\n0,66\n", &[(0, 99), (1, 40)], &["0:66-99", "1:0-40"]);
        check("0\n0,0\n0,0\n", &[(0, 99)], &["0:0-99"]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        check("2\n0,33\n0,99\n", &[(0, 66)], &["0:33-66", "Short { file: 0, bytes: 33 }"]);
        check("2\n0,33\n0,99\n", &[(0, 20)], &["Short { file: 0, bytes: 79 }"]);
        check("2\n0,50\n1,9\n", &[(0, 20), (1, 9)], &["1:0-9", "Short { file: 0, bytes: 30 }"]);
        check(
            "9\n0,0\n3,9\n",
            &[(0, 40), (3, 9)],
            &["0:0-40", "3:0-9", "FilesMissing { count: 2 }"],
        );
        check("9\n0,0\n0,40\n", &[], &["FilesMissing { count: 1 }"]);
        check(
            "9\n0,0\n18446744073709551615,1\n",
            &[],
            &["FilesMissing { count: 18446744073709551615 }"],
        );
    }

    #[test]
    fn without_metadata_all_data_are_taken() {
        check("", &[(3, 40), (4, 0), (5, 20)], &["3:0-40", "5:0-20", "NoMetadata"]);
        check("", &[(3, 0)], &[]);
    }
}
