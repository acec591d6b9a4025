//! Flags in the spelling of NSQ's programs, in front of `clap`.
//!
//! Rule (NSQ behaviour): one dash or two; a value behind `=` or as the next argument; a boolean
//! takes a value behind `=` only, and is true without one; the first argument that is no flag, or
//! `--`, ends the flags and the rest is ignored; `-h` and `--help` print the usage to standard
//! error and exit with 0; anything wrong prints what, then the usage, and exits with 2. A flag given
//! twice has its last value, unless it is a list.
//!
//! A program describes its flags with clap's derive, in clap's names and without short ones. The
//! usage text takes the type's name from the value parser, so that nothing is said twice:
//!
//! ```
//! use std::time::Duration;
//! use clap::{ArgAction, Parser};
//! use startup::{duration, flags};
//!
//! #[derive(Parser)]
//! #[command(name = "nsqd")]
//! struct Flags {
//!     /// print version string
//!     #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
//!     version: bool,
//!     /// default duration to wait before auto-requeing a message
//!     #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
//!     msg_timeout: Duration,
//!     /// number of messages to keep in memory (per topic/channel)
//!     #[arg(long, value_parser = flags::integer::<i64>, default_value = "10000")]
//!     mem_queue_size: i64,
//!     /// lookupd TCP address (may be given multiple times)
//!     #[arg(long)]
//!     lookupd_tcp_address: Vec<String>,
//! }
//! let arguments = ["-msg-timeout", "5s", "--version", "rest", "--ignored"];
//! let (flags, given) = flags::try_parse::<Flags>(arguments.map(Into::into)).unwrap();
//! assert!(flags.version && flags.msg_timeout == Duration::from_secs(5));
//! assert!(given.contains("msg-timeout") && !given.contains("mem-queue-size"));
//! ```

use std::any::TypeId;
use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, Parser};

/// Why a flag's value is refused; shown behind the flag's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidValue(pub &'static str);

impl InvalidValue {
    /// Not of the form that the type has.
    pub const PARSE: Self = Self("parse error");
    /// Of the right form, and too large or too small.
    pub const RANGE: Self = Self("value out of range");
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for InvalidValue {}

/// Why a program does not start: what to print to standard error, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The message, if any, and the usage.
    pub text: String,
    /// 0 for help, 2 for misuse.
    pub exit_code: i32,
}

/// Which flags stood on the command line: those win over a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeSet<String>);

impl Given {
    /// Whether the flag of this name was given, `tcp-address` for instance.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Reads this process's arguments, or prints why not and exits.
pub fn parse<Flags: Parser>() -> (Flags, Given) {
    match try_parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(stop) => {
            // Nobody is left to be told when standard error is gone.
            drop(std::io::stderr().write_all(stop.text.as_bytes()));
            std::process::exit(stop.exit_code)
        }
    }
}

/// Reads `arguments`, without the program's name in front.
///
/// # Errors
/// [`Stop`] for help and for misuse.
pub fn try_parse<Flags: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Flags, Given), Stop> {
    parse_with(arguments, None)
}

/// Reads `arguments` of which the flags may stand before, between and behind names: this is not how
/// NSQ's programs read theirs. Returns the names; behind `--` all are names.
///
/// # Errors
/// [`Stop`] for help and for misuse.
pub fn try_parse_mixed<Flags: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Flags, Vec<OsString>), Stop> {
    let mut names = Vec::new();
    let (flags, _) = parse_with(arguments, Some(&mut names))?;
    Ok((flags, names))
}

fn parse_with<Flags: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    names: Option<&mut Vec<OsString>>,
) -> Result<(Flags, Given), Stop> {
    let mut command = Flags::command()
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    command.build();
    let stop = |refusal: Refusal| refusal.into_stop(&command);

    let (normal, refusal) = normalize(arguments, &command, names);
    let name = OsString::from(command.get_name());
    let matches = command
        .clone()
        .try_get_matches_from(std::iter::once(name).chain(normal))
        .map_err(|error| stop(Refusal::Misuse(describe(&error, &command))))?;
    let flags = Flags::from_arg_matches(&matches)
        .map_err(|error| stop(Refusal::Misuse(describe(&error, &command))))?;
    // What stands before it was fine.
    if let Some(refusal) = refusal {
        return Err(stop(refusal));
    }
    let given = command
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    Ok((flags, Given(given)))
}

/// Why arguments cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Help was asked for.
    Help,
    /// The arguments are wrong; this says how.
    Misuse(String),
}

impl Refusal {
    fn into_stop(self, command: &Command) -> Stop {
        match self {
            Self::Help => Stop { text: usage(command), exit_code: 0 },
            Self::Misuse(message) => {
                Stop { text: format!("{message}\n{}", usage(command)), exit_code: 2 }
            }
        }
    }
}

/// Rewrites arguments into the one form that clap cannot misread: `--name=value` for each flag. Where
/// it comes to help, an unknown flag or a missing value it stops, and says so beside what stands
/// before. Values themselves are clap's to judge. The first argument that is no flag ends them, unless
/// names are wanted: then it is one.
fn normalize(
    arguments: impl IntoIterator<Item = OsString>,
    command: &Command,
    names: Option<&mut Vec<OsString>>,
) -> (Vec<OsString>, Option<Refusal>) {
    let mut normal = Vec::new();
    let refusal = normalize_into(&mut normal, arguments, command, names).err();
    (normal, refusal)
}

fn normalize_into(
    normal: &mut Vec<OsString>,
    arguments: impl IntoIterator<Item = OsString>,
    command: &Command,
    mut names: Option<&mut Vec<OsString>>,
) -> Result<(), Refusal> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        let flag = if bytes == b"-" { None } else { bytes.strip_prefix(b"-") };
        let Some(flag) = flag else {
            let Some(names) = &mut names else { break };
            names.push(argument);
            continue;
        };
        if flag == b"-" {
            if let Some(names) = names {
                names.extend(arguments);
            }
            break;
        }
        let flag = flag.strip_prefix(b"-").unwrap_or(flag);
        if flag.starts_with(b"-") || flag.starts_with(b"=") {
            let argument = argument.to_string_lossy();
            return Err(Refusal::Misuse(format!("bad flag syntax: {argument}")));
        }
        let equals = flag.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(equals) => (&flag[..equals], Some(&flag[equals + 1..])),
            None => (flag, None),
        };
        let name = String::from_utf8_lossy(name);
        let known = command.get_arguments().find(|arg| arg.get_long() == Some(&name));
        let Some(arg) = known else {
            return Err(match &*name {
                "h" | "help" => Refusal::Help,
                _ => Refusal::Misuse(format!("flag provided but not defined: -{name}")),
            });
        };
        let value = match value {
            Some(value) => OsStr::from_bytes(value).to_owned(),
            None if is_boolean(arg) => "true".into(),
            None => arguments
                .next()
                .ok_or_else(|| Refusal::Misuse(format!("flag needs an argument: -{name}")))?,
        };
        let mut one = format!("--{name}=").into_bytes();
        one.extend_from_slice(value.as_bytes());
        normal.push(OsString::from_vec(one));
    }
    Ok(())
}

/// Whether a flag may stand without a value.
fn is_boolean(arg: &Arg) -> bool {
    let may_stand_alone = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    may_stand_alone || is_type::<bool>(arg.get_value_parser())
}

fn is_type<T: 'static>(parser: &ValueParser) -> bool {
    parser.type_id() == TypeId::of::<T>()
}

/// What is wrong, in the words of NSQ's programs.
fn describe(error: &clap::Error, command: &Command) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let is_value_error =
        matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let (true, Some(shown), Some(value)) =
        (is_value_error, text(ContextKind::InvalidArg), text(ContextKind::InvalidValue))
    else {
        let whole = error.to_string();
        let line = whole.lines().next().unwrap_or_default();
        return line.strip_prefix("error: ").unwrap_or(line).to_owned();
    };
    // Clap shows the argument as it stands in its own usage: `--name <NAME>`.
    let name = shown.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let reason =
        error.source().map_or_else(|| InvalidValue::PARSE.to_string(), ToString::to_string);
    if arg.is_some_and(|arg| is_type::<bool>(arg.get_value_parser())) {
        format!("invalid boolean value {value:?} for -{name}: {reason}")
    } else {
        format!("invalid value {value:?} for flag -{name}: {reason}")
    }
}

/// The usage text: every flag by name, with its type, its help and its default.
fn usage(command: &Command) -> String {
    let mut args: Vec<(&str, &Arg)> =
        command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg))).collect();
    args.sort_unstable_by_key(|(name, _)| *name);
    let mut usage = format!("Usage of {}:\n", command.get_name());
    for (name, arg) in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (value, help) = match quoted(&help) {
            Some((before, value, behind)) => {
                (format!(" {value}"), format!("{before}{value}{behind}"))
            }
            None => (type_name(arg).to_owned(), help),
        };
        let line = format!("  -{name}{value}");
        // A flag of one letter leaves room for its help on the same line.
        let gap = if line.len() <= 4 { "\t" } else { "\n    \t" };
        let help = help.replace('\n', "\n    \t");
        usage.push_str(&format!("{line}{gap}{help}{}\n", shown_default(arg)));
    }
    usage
}

/// What stands between the first two back quotes of a help text, which then is the name of the flag's
/// value (NSQ behaviour), and what stands before and behind.
fn quoted(help: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = help.split_once('`')?;
    let (value, behind) = rest.split_once('`')?;
    Some((before, value, behind))
}

/// The type behind a flag's name, with a blank in front; nothing for a boolean.
fn type_name(arg: &Arg) -> &'static str {
    let parser = arg.get_value_parser();
    if is_boolean(arg) {
        ""
    } else if matches!(arg.get_action(), ArgAction::Append) {
        " value"
    } else if is_text(parser) {
        " string"
    } else if is_type::<Duration>(parser) {
        " duration"
    } else if is_type::<f64>(parser) {
        " float"
    } else if is_integer(parser) {
        " int"
    } else {
        " value"
    }
}

fn is_text(parser: &ValueParser) -> bool {
    is_type::<String>(parser) || is_type::<PathBuf>(parser) || is_type::<OsString>(parser)
}

fn is_integer(parser: &ValueParser) -> bool {
    is_type::<i64>(parser)
        || is_type::<u64>(parser)
        || is_type::<i32>(parser)
        || is_type::<u32>(parser)
        || is_type::<u16>(parser)
        || is_type::<u8>(parser)
        || is_type::<usize>(parser)
}

/// `(default X)` with a blank in front; nothing where the default is the type's zero.
fn shown_default(arg: &Arg) -> String {
    let [default] = arg.get_default_values() else { return String::new() };
    let default = default.to_string_lossy();
    match &*default {
        "" | "0" | "0s" | "false" => String::new(),
        default if is_text(arg.get_value_parser()) => format!(" (default {default:?})"),
        default => format!(" (default {default})"),
    }
}

/// A boolean: `1 0 t f T F true false TRUE FALSE True False`.
///
/// # Errors
/// [`InvalidValue`] for anything else.
pub fn boolean(text: &str) -> Result<bool, InvalidValue> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(InvalidValue::PARSE),
    }
}

/// An integer, perhaps with a sign, a base prefix (`0x`, `0o`, `0b`, or `0` for octal) and `_`
/// between digits.
///
/// # Errors
/// [`InvalidValue`] when it is none, or does not fit into `T`.
pub fn integer<T: TryFrom<i64>>(text: &str) -> Result<T, InvalidValue> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    // An underscore stands between two digits, or between the prefix and a digit.
    let first_may_be_underscore = digits.len() < lower.len();
    let mut after_digit = first_may_be_underscore;
    let mut magnitude: i128 = 0;
    if digits.is_empty() || digits.ends_with('_') {
        return Err(InvalidValue::PARSE);
    }
    for character in digits.chars() {
        if character == '_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = character.to_digit(radix).ok_or(InvalidValue::PARSE)?;
        // Far out of range already; only the form of the rest still matters.
        magnitude = (magnitude * i128::from(radix) + i128::from(digit)).min(i128::from(u64::MAX));
        after_digit = true;
    }
    let value = if negative { -magnitude } else { magnitude };
    let value = i64::try_from(value).map_err(|_| InvalidValue::RANGE)?;
    T::try_from(value).map_err(|_| InvalidValue::RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser, PartialEq)]
    #[command(name = "nsqtest")]
    struct Flags {
        /// print version string
        #[arg(long, action = ArgAction::Set, value_parser = boolean, default_value = "false")]
        version: bool,
        /// use it
        #[arg(long, action = ArgAction::Set, value_parser = boolean, default_value = "true")]
        snappy: bool,
        /// <addr>:<port> to listen on
        #[arg(long, default_value = "0.0.0.0:4160")]
        tcp_address: String,
        /// path to config file
        #[arg(long, default_value = "")]
        config: String,
        /// how long
        #[arg(long, value_parser = crate::duration::parse, default_value = "5m0s")]
        msg_timeout: Duration,
        /// how many
        #[arg(long, value_parser = integer::<u16>, default_value = "0")]
        count: u16,
        /// lookupd address (may be given multiple times)
        #[arg(long)]
        lookupd: Vec<String>,
        /// set log verbosity
        #[arg(long, default_value = "INFO")]
        log_level: crate::log::LogLevel,
    }

    fn parse(arguments: &[&str]) -> Result<(Flags, Given), Stop> {
        try_parse(arguments.iter().map(OsString::from))
    }

    const USAGE: &str = "Usage of nsqtest:
  -config string
    \tpath to config file
  -count int
    \thow many
  -log-level value
    \tset log verbosity (default INFO)
  -lookupd value
    \tlookupd address (may be given multiple times)
  -msg-timeout duration
    \thow long (default 5m0s)
  -snappy
    \tuse it (default true)
  -tcp-address string
    \t<addr>:<port> to listen on (default \"0.0.0.0:4160\")
  -version
    \tprint version string
";

    #[test]
    fn one_dash_or_two_and_a_value_behind_equals_or_next() {
        for arguments in [
            &["-tcp-address", "x:1"][..],
            &["--tcp-address", "x:1"],
            &["-tcp-address=x:1"],
            &["--tcp-address=x:1"],
            &["--tcp-address=y", "--tcp-address=x:1"],
        ] {
            let (flags, given) = parse(arguments).unwrap();
            assert_eq!(flags.tcp_address, "x:1", "{arguments:?}");
            assert_eq!(given, Given(["tcp-address".to_owned()].into()));
        }
    }

    #[test]
    fn a_value_may_look_like_a_flag_or_be_empty() {
        assert_eq!(parse(&["--config", "--version"]).unwrap().0.config, "--version");
        assert_eq!(parse(&["--tcp-address="]).unwrap().0.tcp_address, "");
        assert_eq!(parse(&["--tcp-address", ""]).unwrap().0.tcp_address, "");
        assert_eq!(parse(&["--config=a=b"]).unwrap().0.config, "a=b");
    }

    #[test]
    fn a_boolean_takes_a_value_only_behind_equals() {
        for (arguments, version, snappy) in [
            (&["--version"][..], true, true),
            (&["--version", "false"], true, true),
            (&["--version=F", "-snappy=0"], false, false),
            (&["--snappy=false", "--snappy"], false, true),
        ] {
            let flags = parse(arguments).unwrap().0;
            assert_eq!((flags.version, flags.snappy), (version, snappy), "{arguments:?}");
        }
    }

    #[test]
    fn the_first_word_that_is_no_flag_ends_the_flags() {
        for end in ["extra", "-", "--", ""] {
            let (flags, given) = parse(&["--count=3", end, "--version", "--bogus"]).unwrap();
            assert!(flags.count == 3 && !flags.version, "{end}");
            assert!(!given.contains("version"));
        }
    }

    #[test]
    fn flags_may_stand_between_names_where_names_are_wanted() {
        for (arguments, names, count) in [
            (&["--count", "3", "a", "b"][..], &["a", "b"][..], 3),
            (&["a", "--version", "b", "-count=4"], &["a", "b"], 4),
            (&["a", "--", "--count=5", "-"], &["a", "--count=5", "-"], 0),
            (&["-", "", "--count=6"], &["-", ""], 6),
            (&[], &[], 0),
        ] {
            let arguments = arguments.iter().map(OsString::from);
            let (flags, found) = try_parse_mixed::<Flags>(arguments).unwrap();
            assert_eq!((flags.count, found), (count, names.iter().map(OsString::from).collect()));
        }
        let stop = try_parse_mixed::<Flags>(["a", "--bogus"].map(OsString::from)).unwrap_err();
        assert!(stop.text.starts_with("flag provided but not defined: -bogus\n"), "{}", stop.text);
    }

    #[test]
    fn a_list_gathers_its_values_and_splits_none() {
        let flags = parse(&["-lookupd", "a:1,b:2", "--lookupd=c:3"]).unwrap().0;
        assert_eq!(flags.lookupd, ["a:1,b:2", "c:3"]);
    }

    #[test]
    fn help_is_the_usage_and_no_error() {
        for help in ["-h", "--h", "-help", "--help", "--help=x"] {
            let stop = Stop { text: USAGE.to_owned(), exit_code: 0 };
            assert_eq!(parse(&["--count=1", help]), Err(stop), "{help}");
        }
    }

    #[test]
    fn a_help_text_may_name_its_flags_value() {
        #[derive(Debug, Parser)]
        #[command(name = "nsqtest")]
        struct Flags {
            #[arg(long, help = "no more than `size` bytes", value_parser = integer::<i64>, default_value = "7")]
            rotate: i64,
            #[arg(long, help = "a lone ` stays", default_value = "")]
            name: String,
        }
        let usage = try_parse::<Flags>([OsString::from("-h")]).unwrap_err().text;
        let expected = "Usage of nsqtest:\n  -name string\n    \ta lone ` stays\n  -rotate size\n    \t\
                        no more than size bytes (default 7)\n";
        assert_eq!(usage, expected);
    }

    #[test]
    fn misuse_is_named_before_the_usage() {
        for (arguments, message) in [
            (&["--bogus=1"][..], "flag provided but not defined: -bogus"),
            (&["--tcp-address"], "flag needs an argument: -tcp-address"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-=3"], "bad flag syntax: -=3"),
            (&["--version=zz"], "invalid boolean value \"zz\" for -version: parse error"),
            (&["--msg-timeout=5"], "invalid value \"5\" for flag -msg-timeout: parse error"),
            (&["--count", "x"], "invalid value \"x\" for flag -count: parse error"),
            (&["--count=-1"], "invalid value \"-1\" for flag -count: value out of range"),
            (
                &["--log-level=x"],
                "invalid value \"x\" for flag -log-level: \
                 invalid log level 'x' (debug, info, warn, error, fatal)",
            ),
        ] {
            let stop = Stop { text: format!("{message}\n{USAGE}"), exit_code: 2 };
            assert_eq!(parse(arguments), Err(stop));
        }
    }

    #[test]
    fn integers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("0", Ok(0)),
            ("00", Ok(0)),
            ("+5", Ok(5)),
            ("-0x10", Ok(-16)),
            ("1_000", Ok(1000)),
            ("0x_1f", Ok(31)),
            ("0_17", Ok(15)),
            ("017", Ok(15)),
            ("0O17", Ok(15)),
            ("0b101", Ok(5)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(InvalidValue::RANGE)),
            ("99999999999999999999999999999999999999999999", Err(InvalidValue::RANGE)),
            ("", Err(InvalidValue::PARSE)),
            ("-", Err(InvalidValue::PARSE)),
            ("08", Err(InvalidValue::PARSE)),
            ("0x", Err(InvalidValue::PARSE)),
            ("_1", Err(InvalidValue::PARSE)),
            ("1_", Err(InvalidValue::PARSE)),
            ("1__0", Err(InvalidValue::PARSE)),
            ("--1", Err(InvalidValue::PARSE)),
            ("1.5", Err(InvalidValue::PARSE)),
            ("1é", Err(InvalidValue::PARSE)),
        ] {
            assert_eq!(integer::<i64>(text), value, "{text}");
        }
        assert_eq!(integer::<u16>("65536"), Err(InvalidValue::RANGE));
    }
}
