//! Log lines in NSQ's form, on standard error:
//! `[nsqd] 2026/11/22 13:08:24.677263 INFO: TCP: listening on 127.0.0.1:4150`.
//!
//! Knows: `tracing` events, levels, local time. Does not know: what is worth a line.
//!
//! Every line is one `write`, so lines of different cores never mix. Cores share nothing here but
//! the level, which is read where the event is made, and the lock of standard error itself; the
//! text is put together in a buffer of the thread's own.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// How much is logged, from most to least. The numbers are NSQ's: `/config/log_level` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// Everything.
    Debug = 1,
    /// What happens.
    Info = 2,
    /// What may become a problem.
    Warn = 3,
    /// What went wrong.
    Error = 4,
    /// What ends the program.
    Fatal = 5,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// NSQ's number for the level, 1 to 5.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word in a log line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// The word on a command line, in lower case.
    fn flag(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|level| level.number() == number).unwrap_or(Self::Info)
    }

    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG | Level::TRACE => Self::Debug,
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::Fatal => LevelFilter::OFF,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid log level '{}' (debug, info, warn, error, fatal)", self.0)
    }
}

impl Error for UnknownLevel {}

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.flag().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// The log that [`start`] started.
static RUNNING: OnceLock<Log> = OnceLock::new();

/// The running log, to ask or change its level. One per process; copies mean the same log.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: &'static AtomicU8,
}

/// Starts the log: from here on every `tracing` event of the process at `level` or above becomes a
/// line that begins with `prefix`.
///
/// # Panics
/// When the process has a log already.
pub fn start(prefix: &str, level: LogLevel) -> Log {
    let level: &'static AtomicU8 = Box::leak(Box::new(AtomicU8::new(level.number())));
    let lines = Lines { prefix: prefix.to_owned(), zone: TimeZone::system(), level };
    tracing::subscriber::set_global_default(lines).expect("a process starts its log once");
    *RUNNING.get_or_init(|| Log { level })
}

/// The process's log, once it was started.
pub fn running() -> Option<Log> {
    RUNNING.get().copied()
}

impl Log {
    /// The level in force.
    pub fn level(self) -> LogLevel {
        LogLevel::from_number(self.level.load(Ordering::Relaxed))
    }

    /// Changes the level for all threads.
    pub fn set_level(self, level: LogLevel) {
        self.level.store(level.number(), Ordering::Relaxed);
        // Every place that logs remembers whether it may; make all of them ask again.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Writes a FATAL line and exits with 1. Works with or without a running log: some programs find
/// out before they know how they shall log.
pub fn fatal(prefix: &str, text: &str) -> ! {
    let mut line = String::new();
    start_line(&mut line, prefix, &TimeZone::system(), LogLevel::Fatal);
    push_escaped(&mut line, text);
    write_line(line);
    std::process::exit(1)
}

/// The subscriber: no spans, no filters but the level.
struct Lines {
    prefix: String,
    zone: TimeZone,
    level: &'static AtomicU8,
}

thread_local! {
    /// The last line's memory, for the next one. Empty while a line is being made: an event inside
    /// another event's fields then takes fresh memory instead of failing.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = LogLevel::from_number(self.level.load(Ordering::Relaxed)).filter();
        metadata.is_event() && *metadata.level() <= filter
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LogLevel::from_number(self.level.load(Ordering::Relaxed)).filter())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = BUFFER.take();
        line.clear();
        start_line(&mut line, &self.prefix, &self.zone, LogLevel::of(*event.metadata().level()));
        let mut fields = Fields { line: &mut line, behind: String::new() };
        event.record(&mut fields);
        let Fields { behind, .. } = fields;
        line.push_str(&behind);
        BUFFER.set(write_line(line));
    }

    // Spans are not used: they are never enabled, and these are never called.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Puts the message into the line, and the other fields behind it as ` key=value`.
struct Fields<'a> {
    line: &'a mut String,
    behind: String,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(Escaping(self.line), "{value:?}")
        } else {
            write!(Escaping(&mut self.behind), " {}={value:?}", field.name())
        };
        // A string takes everything, so it is the value's own formatting that failed.
        if written.is_err() {
            self.behind.push_str(" (incomplete)");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Keeps a line one line: names and error texts come from strangers.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_escaped(line: &mut String, text: &str) {
    if !text.contains(char::is_control) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

fn start_line(line: &mut String, prefix: &str, zone: &TimeZone, level: LogLevel) {
    let time = zone.to_datetime(Timestamp::now());
    let written = write!(
        line,
        "{prefix}{:04}/{:02}/{:02} {:02}:{:02}:{:02}.{:06} {level}: ",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1_000,
    );
    written.expect("a string takes everything");
}

fn write_line(mut line: String) -> String {
    line.push('\n');
    // Nobody is left to be told when standard error is gone.
    drop(std::io::stderr().write_all(line.as_bytes()));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case_and_have_nsqs_numbers() {
        for (text, number, word) in [
            ("debug", 1, "DEBUG"),
            ("Info", 2, "INFO"),
            ("WARN", 3, "WARNING"),
            ("error", 4, "ERROR"),
            ("fatal", 5, "FATAL"),
        ] {
            let level: LogLevel = text.parse().unwrap();
            assert_eq!((level.number(), level.word()), (number, word));
        }
        assert_eq!(
            "warning".parse::<LogLevel>().unwrap_err().to_string(),
            "invalid log level 'warning' (debug, info, warn, error, fatal)"
        );
    }

    #[test]
    fn a_line_stays_one_line_whatever_is_logged() {
        let mut line = String::new();
        push_escaped(&mut line, "magic 'a\nb\u{1b}[31m' é");
        assert_eq!(line, "magic 'a\\nb\\u{1b}[31m' é");
    }

    #[test]
    fn a_line_starts_with_prefix_local_time_and_level() {
        let mut line = String::new();
        start_line(&mut line, "[nsqd] ", &TimeZone::UTC, LogLevel::Warn);
        let (date, rest) = line.strip_prefix("[nsqd] ").unwrap().split_once(' ').unwrap();
        let (time, rest) = rest.split_once(' ').unwrap();
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!((shape(date), shape(time)), ("0000/00/00".into(), "00:00:00.000000".into()));
        assert_eq!(rest, "WARNING: ");
    }
}
