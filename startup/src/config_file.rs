//! Configuration files: flags written down as TOML.
//!
//! Rule (NSQ behaviour): a flag given on the command line wins over the file, and the file over the
//! default; a list on the command line replaces the file's. Keys that mean nothing are ignored
//! silently. Numbers may stand as text; a duration is Go's text or a number of milliseconds; a list
//! is an array or text with commas.
//!
//! A flag's key is the name of its field in the program's clap description, so a flag whose key
//! differs from its name says `long = "name"`. One known difference: NSQ reads a number for a
//! boolean upside down (0 is true); here it is refused.

use std::any::TypeId;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use clap::{Arg, ArgAction, Command, Parser};
use toml::Value;

use crate::flags::{self, Given};
use crate::listen;

/// Flags that belong on the command line and have no key.
const WITHOUT_KEY: [&str; 3] = ["config", "version", "verbose"];

/// Why a file cannot be used. The text goes behind `failed to load config file F - `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError(String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FileError {}

/// The text of the file at `path`.
///
/// # Errors
/// [`FileError`] when there is none that can be read, or it is no text.
pub fn read(path: &str) -> Result<String, FileError> {
    let failed = |doing: &str, error: &io::Error| {
        let words = listen::words(error).unwrap_or_else(|| error.to_string());
        FileError(format!("{doing} {path}: {words}"))
    };
    #[expect(clippy::disallowed_methods, reason = "nothing runs yet that this could stop")]
    let mut file = File::open(path).map_err(|error| failed("open", &error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| failed("read", &error))?;
    String::from_utf8(bytes).map_err(|_| FileError("it is not UTF-8 text".to_owned()))
}

/// The flags once more, with a file's text behind the command line, and which of them were given in
/// either place.
///
/// `arguments` and `given` are what [`flags::try_parse`] took and returned.
///
/// # Errors
/// [`FileError`] when the text is no TOML, or a value does not suit its key.
pub fn parse<Flags: Parser>(
    text: &str,
    arguments: impl IntoIterator<Item = OsString>,
    given: &Given,
) -> Result<(Flags, Given), FileError> {
    let table: toml::Table = text.parse().map_err(|error| describe(&error))?;
    let mut command = Flags::command();
    command.build();
    let mut all = from_table(&table, &command, given)?;
    all.extend(arguments);
    flags::try_parse(all).map_err(|stop| {
        // The command line alone was fine, so the first line names a value of the file.
        FileError(stop.text.lines().next().unwrap_or_default().to_owned())
    })
}

/// Where the text is no TOML, and why, on one line.
fn describe(error: &toml::de::Error) -> FileError {
    let shown = error.to_string();
    let place = shown.lines().next().unwrap_or_default();
    FileError(format!("{place}: {}", error.message()))
}

/// The file's values as arguments, but for those the command line replaces.
fn from_table(
    table: &toml::Table,
    command: &Command,
    given: &Given,
) -> Result<Vec<OsString>, FileError> {
    let mut arguments = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let key = arg.get_id().as_str();
        if given.contains(name) || WITHOUT_KEY.contains(&key) {
            continue;
        }
        let Some(value) = table.get(key) else { continue };
        let values = values_of(value, arg).ok_or_else(|| {
            FileError(format!("failed to coerce {} for key {key}", value.type_str()))
        })?;
        arguments
            .extend(values.into_iter().map(|value| OsString::from(format!("--{name}={value}"))));
    }
    Ok(arguments)
}

/// The values that a key stands for; `None` when their type does not suit the flag.
fn values_of(value: &Value, arg: &Arg) -> Option<Vec<String>> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    match value {
        Value::Array(elements) if is_list => {
            elements.iter().map(|element| scalar(element, arg)).collect()
        }
        Value::String(text) if is_list => {
            Some(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
        }
        // Nothing where something else than text is wanted means the default.
        Value::String(text) if text.is_empty() && !is_type::<String>(arg) => Some(Vec::new()),
        _ => Some(vec![scalar(value, arg)?]),
    }
}

fn scalar(value: &Value, arg: &Arg) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Integer(_) if is_type::<bool>(arg) => None,
        Value::Integer(milliseconds) if is_type::<Duration>(arg) => {
            Some(format!("{milliseconds}ms"))
        }
        Value::Integer(value) => Some(value.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn is_type<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser, PartialEq)]
    #[command(name = "nsqtest")]
    struct Flags {
        #[arg(long, default_value = "")]
        config: String,
        #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "true")]
        snappy: bool,
        #[arg(long, default_value = "0.0.0.0:4160")]
        tcp_address: String,
        #[arg(long, value_parser = crate::duration::parse, default_value = "1m0s")]
        msg_timeout: Duration,
        #[arg(long = "node-id", value_parser = flags::integer::<i64>, default_value = "7")]
        id: i64,
        #[arg(long = "lookupd-tcp-address")]
        nsqlookupd_tcp_addresses: Vec<String>,
        #[arg(long, default_value = "INFO")]
        log_level: crate::log::LogLevel,
    }

    fn load(text: &str, arguments: &[&str]) -> Result<Flags, FileError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let (_, given) = flags::try_parse::<Flags>(arguments.clone()).unwrap();
        parse(text, arguments, &given).map(|(flags, _)| flags)
    }

    const FILE: &str = r#"
        # a comment
        tcp_address = "a:1"
        msg_timeout = "5s"
        id = 3
        snappy = false
        log_level = "debug"
        nsqlookupd_tcp_addresses = ["b:1", "c:1"]
        unknown = [1]
        node_id = 9
        config = 5
    "#;

    #[test]
    fn the_file_wins_over_defaults_and_the_command_line_over_the_file() {
        let flags = load(FILE, &[]).unwrap();
        assert_eq!(
            flags,
            Flags {
                config: String::new(),
                snappy: false,
                tcp_address: "a:1".into(),
                msg_timeout: Duration::from_secs(5),
                id: 3,
                nsqlookupd_tcp_addresses: vec!["b:1".into(), "c:1".into()],
                log_level: crate::log::LogLevel::Debug,
            }
        );
        let given = ["--node-id=4", "--lookupd-tcp-address=d:1", "--snappy", "rest", "--id=5"];
        let flags = load(FILE, &given).unwrap();
        assert_eq!((flags.id, flags.snappy), (4, true));
        assert_eq!(flags.nsqlookupd_tcp_addresses, ["d:1"]);
        assert_eq!(flags.tcp_address, "a:1");
    }

    #[test]
    fn what_the_file_sets_counts_as_given() {
        let arguments = [OsString::from("--snappy=false")];
        let (_, given) = flags::try_parse::<Flags>(arguments.clone()).unwrap();
        let (_, given) = parse::<Flags>("id = 3\nmsg_timeout = \"\"", arguments, &given).unwrap();
        let named = ["snappy", "node-id", "msg-timeout", "tcp-address"];
        assert_eq!(named.map(|name| given.contains(name)), [true, true, false, false]);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_gos_words() {
        let own = std::env::current_exe().unwrap();
        let own = own.to_str().unwrap();
        for (path, error) in [
            ("/does/not/exist", "open /does/not/exist: no such file or directory"),
            ("/", "read /: is a directory"),
            (own, "it is not UTF-8 text"),
        ] {
            assert_eq!(read(path), Err(FileError(error.to_owned())));
        }
    }

    #[test]
    fn values_are_taken_in_the_forms_that_nsq_takes() {
        assert_eq!(load("id = \"12\"", &[]).unwrap().id, 12);
        assert!(!load("snappy = \"false\"", &[]).unwrap().snappy);
        let lookupds = load("nsqlookupd_tcp_addresses = \"b:1,c:1\"", &[]).unwrap();
        assert_eq!(lookupds.nsqlookupd_tcp_addresses, ["b:1", "c:1"]);
        let timeout = |text: &str| load(text, &[]).unwrap().msg_timeout;
        assert_eq!(timeout("msg_timeout = 1500"), Duration::from_millis(1500));
        assert_eq!(timeout("msg_timeout = \"\""), Duration::from_secs(60));
        assert_eq!(load("tcp_address = \"\"", &[]).unwrap().tcp_address, "");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_by_name() {
        for (text, error) in [
            ("snappy = 1", "failed to coerce integer for key snappy"),
            ("tcp_address = [1]", "failed to coerce array for key tcp_address"),
            ("msg_timeout = \"5x\"", "invalid value \"5x\" for flag -msg-timeout: parse error"),
            (
                "log_level = \"loud\"",
                "invalid value \"loud\" for flag -log-level: \
                 invalid log level 'loud' (debug, info, warn, error, fatal)",
            ),
        ] {
            assert_eq!(load(text, &[]), Err(FileError(error.to_owned())));
        }
        let error = load("\nid = ", &[]).unwrap_err().to_string();
        assert!(error.starts_with("TOML parse error at line 2, column "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
