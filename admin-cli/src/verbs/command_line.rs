//! The flags of a verb, and the names of files behind them or of topics between them.
//!
//! Knows: where flags end, and what may be a name. The syntax of flags is [`startup::flags`].

use std::ffi::OsString;

use clap::Parser;
use protocol::name::{ChannelName, TopicName};
use startup::flags::{InvalidValue, Stop, try_parse, try_parse_mixed};

use crate::address::Address;
use crate::terminal::{EXIT_CODES, Ending};

/// The flags among `arguments`, and all that stands behind them.
///
/// # Errors
/// What to print, and the exit code, when help is asked for or the flags are wrong.
pub(crate) fn parse<Flags: Parser>(
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Flags, Vec<OsString>), Stop> {
    split(arguments).map_err(|stop| Stop { text: format!("{}\n{EXIT_CODES}", stop.text), ..stop })
}

/// The same, for a program whose help does not end with exit codes.
pub(crate) fn split<Flags: Parser>(
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Flags, Vec<OsString>), Stop> {
    let mut arguments = Remembering { arguments, last: None };
    let (flags, _) = try_parse::<Flags>(&mut arguments)?;
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

/// The flags among `arguments`, which may stand before, between and behind names, and the names.
/// `help` goes in front of the flags when they are listed, `exit_codes` behind.
///
/// # Errors
/// What to print, and the exit code, when help is asked for or the flags are wrong.
pub(crate) fn parse_mixed<Flags: Parser>(
    arguments: impl Iterator<Item = OsString>,
    help: &str,
    exit_codes: &str,
) -> Result<(Flags, Vec<String>), Stop> {
    let listed = |stop: Stop| {
        let (wrong, flags) = stop.text.split_once("Usage of ").unwrap_or(("", &stop.text));
        let (_, flags) = flags.split_once('\n').unwrap_or(("", flags));
        let text = format!("{wrong}{help}\nFlags:\n{flags}\n{exit_codes}");
        Stop { text, exit_code: stop.exit_code }
    };
    let (flags, names) = try_parse_mixed::<Flags>(arguments).map_err(listed)?;
    // What is no text is no name either, and is refused as one.
    Ok((flags, names.iter().map(|name| name.to_string_lossy().into_owned()).collect()))
}

/// The topics that are named; there may be none.
pub(crate) fn topics(names: &[String]) -> Result<Vec<TopicName>, Ending> {
    names.iter().map(|name| topic(name).map_err(|why| refuse(name, &why))).collect()
}

/// The topics that are named, one at least.
pub(crate) fn some_topics(names: &[String]) -> Result<Vec<TopicName>, Ending> {
    if names.is_empty() {
        return Err(Ending::Misuse("name a topic".to_owned()));
    }
    topics(names)
}

/// The channels that are named, one at least.
pub(crate) fn some_channels(names: &[String]) -> Result<Vec<(TopicName, ChannelName)>, Ending> {
    const HOW: &str = "name a channel behind its topic: TOPIC/CHANNEL, such as orders/email";
    if names.is_empty() {
        return Err(Ending::Misuse(HOW.to_owned()));
    }
    names
        .iter()
        .map(|name| {
            let parts = name.split_once('/');
            let (of, channel_of) =
                parts.ok_or_else(|| Ending::Misuse(format!("{name:?} names no channel: {HOW}")))?;
            let topic = topic(of).map_err(|why| refuse(of, &why))?;
            Ok((topic, channel(channel_of).map_err(|why| refuse(channel_of, &why))?))
        })
        .collect()
}

/// An nsqd that is named by its HTTP address.
pub(crate) fn node(name: &str) -> Result<Address, Ending> {
    name.parse().map_err(|why: InvalidValue| refuse(name, &why))
}

/// Refuses names where none belong.
pub(crate) fn no_names(names: &[String]) -> Result<(), Ending> {
    match names.first() {
        None => Ok(()),
        Some(name) => {
            Err(Ending::Misuse(format!("{name:?} is of no use here: this takes no name")))
        }
    }
}

fn refuse(name: &str, why: &InvalidValue) -> Ending {
    Ending::Misuse(format!("{name:?} cannot be meant: {why}"))
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
    fn names_are_topics_channels_and_nodes() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let topics: Vec<String> = some_topics(&names(&["a", "b#ephemeral"]))
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(topics, ["a", "b#ephemeral"]);
        let channels = some_channels(&names(&["t/c"])).unwrap();
        assert_eq!((channels[0].0.as_str(), channels[0].1.as_str()), ("t", "c"));
        assert_eq!(node("host:4151").unwrap().as_str(), "host:4151");
        for wrong in [&["a/b"][..], &["a b"], &[""], &[]] {
            assert!(matches!(some_topics(&names(wrong)), Err(Ending::Misuse(_))), "{wrong:?}");
        }
        for wrong in [&["a"][..], &["a/b/c"], &["/b"], &["a/"], &[]] {
            assert!(matches!(some_channels(&names(wrong)), Err(Ending::Misuse(_))), "{wrong:?}");
        }
        assert!(
            no_names(&[]).is_ok() && no_names(&names(&["x"])).is_err() && node("host").is_err()
        );
    }

    #[test]
    fn help_of_a_verb_with_names_says_how_they_stand() {
        let parse = |argument: &str| {
            let arguments = [OsString::from("x"), OsString::from(argument)];
            parse_mixed::<Flags>(arguments.into_iter(), "Usage: it\n", "codes\n")
        };
        let help = parse("--help").err().unwrap();
        assert_eq!(
            (help.text.as_str(), help.exit_code),
            ("Usage: it\n\nFlags:\n  -topic string\n    \t\n\ncodes\n", 0)
        );
        let wrong = parse("--nothing").err().unwrap();
        assert!(wrong.text.starts_with("flag provided but not defined: -nothing\nUsage: it\n"));
        assert_eq!(wrong.exit_code, 2);
    }

    #[test]
    fn help_ends_with_the_exit_codes() {
        let stop = parse::<Flags>([OsString::from("--help")].into_iter()).err().unwrap();
        assert_eq!(stop.exit_code, 0);
        assert!(stop.text.starts_with("Usage of test:\n") && stop.text.ends_with(EXIT_CODES));
    }
}
