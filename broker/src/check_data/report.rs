//! What a check found, as text.
//!
//! A line for each topic, one for each finding, indented, and one for all. What a crash or an
//! operator leaves is a `note`; what was written and cannot be read any more is `DAMAGE`.
//!
//! Pure: knows words and sums, and opens nothing.

use crate::log::Damage;
use crate::log::checkpoint::TopicCheckpoint;
use crate::log::recovery::{Absent, Recovered};
use crate::message::Sequence;
use crate::topic::catalogue::Oddity;
use protocol::name::TopicName;
use std::fmt;

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether something was lost that had been written.
    pub is_damage: bool,
    /// The sentence.
    pub text: String,
}

impl Finding {
    /// What was written cannot be read any more.
    pub fn damage(text: String) -> Self {
        Self { is_damage: true, text }
    }

    /// Nothing that was promised is lost.
    pub fn note(text: String) -> Self {
        Self { is_damage: false, text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_damage { "DAMAGE" } else { "note" };
        write!(f, "  {kind}: {}", self.text)
    }
}

/// What `nsqd.dat` looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// There is none: no broker was here, or somebody took it away.
    Missing,
    /// It can be used.
    Good {
        /// How many it lists.
        topics: usize,
        /// How many it lists.
        channels: usize,
        /// Names that are left out.
        oddities: Vec<Oddity>,
    },
    /// It cannot be read or understood, and why: a broker refuses to start with it.
    Unusable(String),
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                writeln!(f, "nsqd.dat: not there; topics are known by their folders alone")
            }
            Self::Good { topics, channels, oddities } => {
                writeln!(
                    f,
                    "nsqd.dat: {}, {}",
                    count(*topics, "topic"),
                    count(*channels, "channel")
                )?;
                oddities
                    .iter()
                    .try_for_each(|oddity| writeln!(f, "{}", Finding::note(oddity.clone())))
            }
            Self::Unusable(why) => {
                writeln!(f, "nsqd.dat: a broker does not start with it")?;
                writeln!(f, "{}", Finding::damage(why.clone()))
            }
        }
    }
}

/// What one topic's folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic.
    pub topic: TopicName,
    /// Messages in its log, finished ones too as long as their segment is there.
    pub messages: u64,
    /// Files of its log that can be used.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many channels the checkpoint knows; `None` when there is none that can be used.
    pub channels: Option<usize>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl TopicReport {
    /// Of an empty folder.
    pub fn new(topic: TopicName) -> Self {
        Self { topic, messages: 0, segments: 0, bytes: 0, channels: None, findings: Vec::new() }
    }

    /// Adds what recovery found since this was called last; `end` is where the log ends so far.
    pub fn take(&mut self, found: &Recovered, end: &mut Sequence) {
        for segment in &found.segments {
            self.messages += segment.messages();
            *end = segment.end();
        }
        self.findings.extend(found.damage.iter().map(|damage| Finding::damage(describe(damage))));
        if let Some(cut) = found.cut {
            let text = if cut.bytes == 0 {
                format!("{} ends with zeros from {} on", cut.segment, cut.at)
            } else {
                format!(
                    "{} ends within a block: {} from {} on are torn, as after a crash",
                    cut.segment,
                    count(cut.bytes, "byte"),
                    cut.at
                )
            };
            self.findings.push(Finding::note(text));
        }
    }

    /// Notes what the checkpoint knows and the log has not.
    pub fn compare_with(&mut self, checkpoint: &TopicCheckpoint, end: Sequence) {
        self.channels = Some(checkpoint.channels.len());
        let known = checkpoint.end;
        if end < known {
            self.findings.push(Finding::note(format!(
                "the checkpoint knows {} more than the log has ({}): a power cut took them, or they \
                 could not be written",
                count(known - end, "message"),
                span(end, known),
            )));
        }
    }

    /// Notes where segments are gone that the checkpoint, the last there was, still needs.
    pub fn look_for_taken(&mut self, checkpoint: &TopicCheckpoint, absent: &[Absent]) {
        let taken = absent.iter().filter_map(|absent| absent.taken(checkpoint));
        self.findings.extend(taken.map(|taken| Finding::damage(taken.to_string())));
    }
}

impl fmt::Display for TopicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {}, {}, ",
            self.topic,
            count(self.messages, "message"),
            count(self.segments, "segment"),
            count(self.bytes, "byte"),
        )?;
        match self.channels {
            Some(channels) => writeln!(f, "checkpoint of {}", count(channels, "channel"))?,
            None => writeln!(f, "no checkpoint")?,
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

fn describe(damage: &Damage) -> String {
    let missing = &damage.missing;
    if missing.start < missing.end {
        format!("{damage} ({})", span(missing.start, missing.end))
    } else {
        damage.to_string()
    }
}

/// Messages from `start` to before `end`, as one says it.
fn span(start: Sequence, end: Sequence) -> String {
    format!("sequences {} to {}", start.0, end.0 - 1)
}

/// A number with its noun.
fn count(number: impl fmt::Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The sums over all topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    topics: usize,
    messages: u64,
    segments: usize,
    bytes: u64,
    damages: usize,
    notes: usize,
}

impl Totals {
    /// Adds a topic.
    pub fn add(&mut self, report: &TopicReport) {
        self.topics += 1;
        self.messages += report.messages;
        self.segments += report.segments;
        self.bytes += report.bytes;
        report.findings.iter().for_each(|finding| self.add_finding(finding));
    }

    /// Adds what is no topic's.
    pub fn add_finding(&mut self, finding: &Finding) {
        if finding.is_damage {
            self.damages += 1;
        } else {
            self.notes += 1;
        }
    }

    /// Adds the findings in `nsqd.dat`.
    pub fn add_metadata(&mut self, metadata: &Metadata) {
        match metadata {
            Metadata::Missing => {}
            Metadata::Good { oddities, .. } => self.notes += oddities.len(),
            Metadata::Unusable(_) => self.damages += 1,
        }
    }

    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        0 < self.damages
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, {}, {}; ",
            count(self.topics, "topic"),
            count(self.messages, "message"),
            count(self.segments, "segment"),
            count(self.bytes, "byte"),
        )?;
        match self.damages {
            0 => f.write_str("nothing is damaged")?,
            damages => write!(f, "DAMAGED in {}", count(damages, "place"))?,
        }
        match self.notes {
            0 => Ok(()),
            notes => write!(f, ", {}", count(notes, "note")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::SegmentName;
    use crate::log::recovery::Cut;

    fn report() -> TopicReport {
        TopicReport::new(TopicName::parse(b"orders").unwrap())
    }

    #[test]
    fn a_topic_is_a_line_and_each_finding_one_more() {
        let segment = SegmentName(Sequence(0));
        let found = Recovered {
            cut: Some(Cut { segment, at: 500, bytes: 77 }),
            damage: vec![
                Damage { segment, offset: 64, bytes: 300, missing: Sequence(17)..Sequence(20) },
                Damage { segment, offset: 400, bytes: 1, missing: Sequence(20)..Sequence(20) },
            ],
            ..Recovered::default()
        };
        let mut report = TopicReport { messages: 1, segments: 2, bytes: 1_000, ..report() };
        let mut end = Sequence(9);
        report.take(&found, &mut end);
        let checkpoint = TopicCheckpoint { end: Sequence(11), ..TopicCheckpoint::default() };
        report.compare_with(&checkpoint, end);
        let expected = "\
orders: 1 message, 2 segments, 1000 bytes, checkpoint of 0 channels
  DAMAGE: 00000000000000000000.log is damaged at 64: 300 bytes, 3 messages lost (sequences 17 to 19)
  DAMAGE: 00000000000000000000.log is damaged at 400: 1 bytes, 0 messages lost
  note: 00000000000000000000.log ends within a block: 77 bytes from 500 on are torn, as after a crash
  note: the checkpoint knows 2 messages more than the log has (sequences 9 to 10): \
a power cut took them, or they could not be written
";
        assert_eq!(report.to_string(), expected);
        let mut totals = Totals::default();
        totals.add(&report);
        let expected = "1 topic, 1 message, 2 segments, 1000 bytes; DAMAGED in 2 places, 2 notes";
        assert_eq!(totals.to_string(), expected);
        assert!(totals.is_damaged());
    }

    #[test]
    fn what_a_crash_leaves_is_no_damage_and_a_bad_list_is() {
        let mut totals = Totals::default();
        totals.add_metadata(&Metadata::Missing);
        totals.add_finding(&Finding::note("any".to_string()));
        let expected = "0 topics, 0 messages, 0 segments, 0 bytes; nothing is damaged, 1 note";
        assert_eq!((totals.to_string().as_str(), totals.is_damaged()), (expected, false));
        totals.add_metadata(&Metadata::Unusable("any".to_string()));
        assert!(totals.is_damaged());
        let good = Metadata::Good { topics: 1, channels: 2, oddities: vec!["odd".to_string()] };
        assert_eq!(good.to_string(), "nsqd.dat: 1 topic, 2 channels\n  note: odd\n");
    }
}
