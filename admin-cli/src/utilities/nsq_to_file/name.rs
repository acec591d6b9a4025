//! The names of a topic's files: `--filename-format` with its tokens replaced.
//!
//! Knows: every token but `<REV>`, which stays open until a file is opened. Time is an argument.
//!
//! Rules (NSQ behaviour): tokens are replaced one after another, `<TOPIC>`, `<HOST>`, `<PID>`, and
//! `<DATETIME>` at each look at the clock; so the host's identifier may hold the later ones. Where
//! files need no revision, `<REV>` is left out; where they do, it must be there.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::layout::Layout;
use super::strftime;

const REVISION: &str = "<REV>";

/// What names are made of.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// `--filename-format`.
    pub(super) format: String,
    /// `--datetime-format`.
    pub(super) datetime_format: String,
    /// `--host-identifier`; empty for the host's short name.
    pub(super) host_identifier: String,
    /// The name of this machine.
    pub(super) hostname: String,
    /// The number of this process.
    pub(super) process: u32,
    /// Whether one name may be needed for several files.
    pub(super) needs_revision: bool,
    /// Whether names end with `.gz`.
    pub(super) is_gzip: bool,
}

/// The names of one topic's files.
#[derive(Clone, Debug)]
pub(super) struct Names {
    format: String,
    datetime: Layout,
    zone: TimeZone,
    /// The last name, and the second in which it holds.
    last: Option<(i64, String)>,
}

impl Names {
    /// The names for a topic, with times as they are in `zone`.
    ///
    /// # Errors
    /// In NSQ's words, when the format lacks `<REV>`.
    pub(super) fn new(naming: &Naming, topic: &str, zone: TimeZone) -> Result<Self, String> {
        let mut format = naming.format.clone();
        if !naming.needs_revision {
            format = format.replace(REVISION, "");
        } else if !format.contains(REVISION) {
            let text =
                "missing <REV> in --filename-format when gzip, rotation, or work dir enabled";
            return Err(text.to_owned());
        }
        format = format
            .replace("<TOPIC>", topic)
            .replace("<HOST>", &naming.host())
            .replace("<PID>", &naming.process.to_string());
        if naming.is_gzip && !format.ends_with(".gz") {
            format.push_str(".gz");
        }
        let datetime = Layout::parse(&strftime::to_layout(&naming.datetime_format));
        Ok(Self { format, datetime, zone, last: None })
    }

    /// The name at this time, with `<REV>` in it where files have revisions.
    pub(super) fn at(&mut self, now: Timestamp) -> &str {
        let second = now.as_second();
        let holds = self.datetime.is_constant_within_a_second()
            && self.last.as_ref().is_some_and(|(last, _)| *last == second);
        if !holds {
            self.last = None;
        }
        let (_, name) = self.last.get_or_insert_with(|| {
            let datetime = self.datetime.format(now, &self.zone);
            (second, self.format.replace("<DATETIME>", &datetime))
        });
        name
    }
}

impl Naming {
    /// What stands for `<HOST>`.
    fn host(&self) -> String {
        let short = self.hostname.split('.').next().unwrap_or_default();
        if self.host_identifier.is_empty() {
            return short.to_owned();
        }
        self.host_identifier.replace("<SHORT_HOST>", short).replace("<HOSTNAME>", &self.hostname)
    }
}

/// A name with this revision in the place of `<REV>`.
pub(super) fn with_revision(name: &str, revision: u64) -> String {
    name.replace(REVISION, &format!("-{revision:06}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(format: &str) -> Naming {
        Naming {
            format: format.to_owned(),
            datetime_format: "%Y-%m-%d_%H".to_owned(),
            host_identifier: String::new(),
            hostname: "mars.example.org".to_owned(),
            process: 4711,
            needs_revision: true,
            is_gzip: false,
        }
    }

    /// 2026-11-22 13:06:52.9 UTC.
    const NOW: Timestamp = Timestamp::constant(1_795_352_812, 900_000_000);

    fn name(naming: &Naming) -> String {
        Names::new(naming, "orders", TimeZone::UTC).unwrap().at(NOW).to_owned()
    }

    #[test]
    fn tokens_are_replaced() {
        for (format, expected) in [
            ("<TOPIC>.<HOST><REV>.<DATETIME>.log", "orders.mars<REV>.2026-11-22_13.log"),
            ("<DATETIME>/<PID>/<TOPIC>/<TOPIC><REV>", "2026-11-22_13/4711/orders/orders<REV>"),
            ("<topic>é<REV><REV>", "<topic>é<REV><REV>"),
        ] {
            assert_eq!(name(&naming(format)), expected);
        }
    }

    #[test]
    fn the_host_may_be_called_otherwise() {
        for (identifier, expected) in [
            ("", "mars"),
            ("pluto", "pluto"),
            ("<HOSTNAME>-<SHORT_HOST>", "mars.example.org-mars"),
            ("p<PID>-<DATETIME>-<TOPIC>", "p4711-2026-11-22_13-<TOPIC>"),
        ] {
            let host_identifier = identifier.to_owned();
            let naming = Naming { host_identifier, ..naming("<HOST><REV>") };
            assert_eq!(name(&naming), format!("{expected}<REV>"));
        }
    }

    #[test]
    fn a_revision_is_there_exactly_where_it_is_needed() {
        let unneeded = Naming { needs_revision: false, ..naming("<TOPIC><REV>.log") };
        assert_eq!(name(&unneeded), "orders.log");
        let missing = Names::new(&naming("<TOPIC>.log"), "orders", TimeZone::UTC).unwrap_err();
        assert_eq!(
            missing,
            "missing <REV> in --filename-format when gzip, rotation, or work dir enabled"
        );
        assert_eq!(with_revision("a<REV>/b<REV>.log", 7), "a-000007/b-000007.log");
        assert_eq!(with_revision("a<REV>", 12_345_678), "a-12345678");
    }

    #[test]
    fn names_of_compressed_files_end_with_gz_once() {
        for (format, expected) in
            [("<TOPIC><REV>.log", "orders<REV>.log.gz"), ("<TOPIC><REV>.gz", "orders<REV>.gz")]
        {
            assert_eq!(name(&Naming { is_gzip: true, ..naming(format) }), expected);
        }
    }

    #[test]
    fn a_name_changes_with_the_time() {
        let naming = Naming { datetime_format: "%M:%S".to_owned(), ..naming("<DATETIME><REV>") };
        let mut names = Names::new(&naming, "orders", TimeZone::UTC).unwrap();
        let second = |second: i64| Timestamp::from_second(NOW.as_second() + second).unwrap();
        assert_eq!(names.at(second(0)), "06:52<REV>");
        assert_eq!(names.at(NOW), "06:52<REV>");
        assert_eq!(names.at(second(1)), "06:53<REV>");
        assert_eq!(names.at(second(-52)), "06:00<REV>");
        let naming = Naming { datetime_format: "%S.00".to_owned(), ..naming };
        let mut names = Names::new(&naming, "orders", TimeZone::UTC).unwrap();
        assert_eq!(names.at(second(0)), "52.00<REV>");
        assert_eq!(names.at(NOW), "52.90<REV>");
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(11));
        let mut names = Names::new(&naming("<DATETIME><REV>"), "orders", zone).unwrap();
        assert_eq!(names.at(NOW), "2026-11-23_00<REV>");
    }
}
