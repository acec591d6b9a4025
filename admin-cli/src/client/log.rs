//! Lines on standard error as Go's log package writes them, and as go-nsq labels its own.
//!
//! ```text
//! 2026/11/22 13:06:52 Adding consumer for topic: t
//! 2026/11/22 13:06:52 INF    1 [t/c] (127.0.0.1:4150) connecting to nsqd
//! ```
//!
//! Knows: the form. Does not know: what is worth a line. go-nsq's DBG lines do not exist here: no
//! utility can turn them on.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::terminal::{print_to_stderr, visible};

/// How grave a line of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What happens.
    Info,
    /// What may become a problem.
    Warning,
    /// What went wrong.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "INF",
            Self::Warning => "WRN",
            Self::Error => "ERR",
        })
    }
}

/// A line of a utility, with the local time in front. Control characters are escaped: names and
/// errors come from strangers.
pub(crate) fn line(text: &str) {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let time = ZONE.get_or_init(TimeZone::system).to_datetime(Timestamp::now());
    let mut line = format!(
        "{:04}/{:02}/{:02} {:02}:{:02}:{:02} ",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    line.push_str(&visible(text));
    line.push('\n');
    print_to_stderr(&line);
}

/// Where the lines of consumers and producers go. Copies mean the same.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    speaks: Rc<Cell<bool>>,
}

impl Log {
    /// To standard error.
    pub(crate) fn to_stderr() -> Self {
        Self { speaks: Rc::new(Cell::new(true)) }
    }

    /// Nowhere.
    pub(crate) fn silent() -> Self {
        Self { speaks: Rc::new(Cell::new(false)) }
    }

    /// From now on nothing is said.
    pub(crate) fn fall_silent(&self) {
        self.speaks.set(false);
    }

    /// A log for one consumer or producer: its lines have `label` behind the level.
    pub(super) fn labelled(&self, label: String) -> Labelled {
        Labelled { log: self.clone(), label: label.into() }
    }
}

/// The log of one consumer or producer.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    log: Log,
    label: Rc<str>,
}

impl Labelled {
    /// A line.
    pub(super) fn say(&self, level: Level, text: impl fmt::Display) {
        if self.log.speaks.get() {
            line(&format!("{level:<4} {} {text}", self.label));
        }
    }

    /// A line about one broker.
    pub(super) fn say_of(&self, level: Level, address: &str, text: impl fmt::Display) {
        self.say(level, format_args!("({address}) {text}"));
    }
}
