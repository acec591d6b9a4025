//! The flags of a verb, and the names of files behind them.
//!
//! Knows: that flags end at the first argument that is none. The syntax of flags is
//! [`startup::flags`].

use std::ffi::OsString;

use clap::Parser;
use protocol::name::{ChannelName, TopicName};
use startup::flags::{InvalidValue, Stop, try_parse};

use crate::terminal::EXIT_CODES;

/// The flags among `arguments`, and all that stands behind them.
///
/// # Errors
/// What to print, and the exit code, when help is asked for or the flags are wrong.
pub(crate) fn parse<Flags: Parser>(
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Flags, Vec<OsString>), Stop> {
    let mut arguments = Remembering { arguments, last: None };
    let (flags, _) = try_parse::<Flags>(&mut arguments)
        .map_err(|stop| Stop { text: format!("{}\n{EXIT_CODES}", stop.text), ..stop })?;
    // Reading flags stopped either behind the last argument, which is then forgotten, or at the
    // argument that ended them: `--`, or already the first file.
    let ended_flags = arguments.last.filter(|argument| argument != "--");
    let rest = ended_flags.into_iter().chain(arguments.arguments).collect();
    Ok((flags, rest))
}

/// Arguments, of which the last one taken is remembered until there are no more.
struct Remembering<Arguments> {
    arguments: Arguments,
    last: Option<OsString>,
}

impl<Arguments: Iterator<Item = OsString>> Iterator for Remembering<Arguments> {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        self.last = self.arguments.next();
        self.last.clone()
    }
}

/// The name of a topic, as the value of a flag.
pub(crate) fn topic(text: &str) -> Result<TopicName, InvalidValue> {
    TopicName::parse(text.as_bytes()).map_err(|_| ILLEGAL_NAME)
}

/// The name of a channel, as the value of a flag.
pub(crate) fn channel(text: &str) -> Result<ChannelName, InvalidValue> {
    ChannelName::parse(text.as_bytes()).map_err(|_| ILLEGAL_NAME)
}

const ILLEGAL_NAME: InvalidValue = InvalidValue(
    "a name has 1 to 64 of the characters a-z A-Z 0-9 . _ - and may end with #ephemeral",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    #[command(name = "test")]
    struct Flags {
        #[arg(long)]
        topic: Option<String>,
    }

    fn rest(line: &str) -> Vec<OsString> {
        let arguments = line.split_whitespace().map(OsString::from);
        parse::<Flags>(arguments).map(|(_, rest)| rest).unwrap()
    }

    #[test]
    fn files_are_what_stands_behind_the_flags() {
        for (line, expected) in [
            ("", &[][..]),
            ("--topic=t", &[]),
            ("--topic t", &[]),
            ("--topic t a b", &["a", "b"]),
            ("--topic=t -- a --topic=x", &["a", "--topic=x"]),
            ("--topic=t -- ", &[]),
            ("- a", &["-", "a"]),
            ("a --topic=t", &["a", "--topic=t"]),
        ] {
            assert_eq!(rest(line), expected, "{line}");
        }
    }

    #[test]
    fn help_ends_with_the_exit_codes() {
        let stop = parse::<Flags>([OsString::from("--help")].into_iter()).err().unwrap();
        assert_eq!(stop.exit_code, 0);
        assert!(stop.text.starts_with("Usage of test:\n") && stop.text.ends_with(EXIT_CODES));
    }
}
