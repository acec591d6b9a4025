//! `admin-cli` by its verbs.
//!
//! Knows: the verbs, and how a run ends. What a verb does is in the file of its name.

mod channel;
mod cluster_flags;
mod columns;
pub(crate) mod command_line;
mod completions;
mod consent;
mod doctor;
mod figures;
mod lookup;
mod losses;
mod man;
mod node;
mod outcome;
mod overview;
mod programs;
mod publish;
mod stat;
mod tail;
mod top;
mod topic;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use startup::flags::Stop;
use startup::version;
use tokio::task::LocalSet;

use crate::terminal::{self, Ending};
use crate::{utilities, web};

/// A verb of one word or two.
pub(crate) struct Verb {
    /// `topic list`
    pub(crate) name: &'static str,
    /// What stands beside the flags, `TOPIC...` for instance.
    pub(crate) names: &'static str,
    /// What it does, on one line.
    pub(crate) summary: &'static str,
    pub(crate) group: Group,
    run: fn(&'static Self, Vec<OsString>) -> ExitCode,
}

/// What a verb is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Look,
    Messages,
    Topics,
    Nodes,
    Help,
}

impl Group {
    /// All, in the order of the help.
    const ALL: [(Self, &'static str); 5] = [
        (Self::Look, "What there is"),
        (Self::Messages, "Messages"),
        (Self::Topics, "Topics and channels"),
        (Self::Nodes, "Brokers"),
        (Self::Help, "Help"),
    ];
}

/// All verbs, in the order of the help.
pub(crate) static VERBS: [Verb; 24] = [
    Verb {
        name: "stat",
        names: "",
        summary: "show the counters of a topic and its channels, live",
        group: Group::Look,
        run: |_, arguments| work(arguments, |flags, _| stat::run(flags)),
    },
    Verb {
        name: "top",
        names: "",
        summary: "show a whole cluster on a whole screen, live",
        group: Group::Look,
        run: |_, arguments| work(arguments, |flags, _| top::run(flags)),
    },
    Verb {
        name: "lookup",
        names: "TOPIC...",
        summary: "show who has a topic, as each nsqlookupd knows it",
        group: Group::Look,
        run: |verb, arguments| work_with_names(verb, arguments, lookup::run),
    },
    Verb {
        name: "web",
        names: "",
        summary: "serve the administration page, as nsqadmin does",
        group: Group::Look,
        run: |_, arguments| web::run(arguments.into_iter()),
    },
    Verb {
        name: "doctor",
        names: "",
        summary: "look whether nsqd can work here, and say what to do",
        group: Group::Look,
        run: |_, arguments| work(arguments, |flags, _| doctor::run(flags)),
    },
    Verb {
        name: "tail",
        names: "",
        summary: "print messages as they come",
        group: Group::Messages,
        run: |_, arguments| work(arguments, |flags, _| tail::run(flags)),
    },
    Verb {
        name: "pub",
        names: "[FILE...]",
        summary: "publish the lines of standard input or of files",
        group: Group::Messages,
        run: |_, arguments| work(arguments, publish::run),
    },
    Verb {
        name: "topic list",
        names: "[TOPIC...]",
        summary: "show all topics, or those that are named",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::list),
    },
    Verb {
        name: "topic create",
        names: "TOPIC...",
        summary: "make topics known before their first message",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::create),
    },
    Verb {
        name: "topic delete",
        names: "TOPIC...",
        summary: "delete topics with all that they and their channels hold",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::delete),
    },
    Verb {
        name: "topic empty",
        names: "TOPIC...",
        summary: "throw away what waits in topics, not in their channels",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::empty),
    },
    Verb {
        name: "topic pause",
        names: "TOPIC...",
        summary: "keep messages in topics, away from their channels",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::pause),
    },
    Verb {
        name: "topic unpause",
        names: "TOPIC...",
        summary: "let messages go on to the channels",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, topic::unpause),
    },
    Verb {
        name: "channel list",
        names: "[TOPIC...]",
        summary: "show all channels, or those of topics",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::list),
    },
    Verb {
        name: "channel create",
        names: "TOPIC/CHANNEL...",
        summary: "make channels before their first consumer",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::create),
    },
    Verb {
        name: "channel delete",
        names: "TOPIC/CHANNEL...",
        summary: "delete channels with all that they hold",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::delete),
    },
    Verb {
        name: "channel empty",
        names: "TOPIC/CHANNEL...",
        summary: "throw away what channels hold",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::empty),
    },
    Verb {
        name: "channel pause",
        names: "TOPIC/CHANNEL...",
        summary: "keep messages from the consumers of channels",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::pause),
    },
    Verb {
        name: "channel unpause",
        names: "TOPIC/CHANNEL...",
        summary: "let consumers have messages again",
        group: Group::Topics,
        run: |verb, arguments| work_with_names(verb, arguments, channel::unpause),
    },
    Verb {
        name: "node list",
        names: "",
        summary: "show all brokers",
        group: Group::Nodes,
        run: |verb, arguments| work_with_names(verb, arguments, node::list),
    },
    Verb {
        name: "node tombstone",
        names: "NODE TOPIC",
        summary: "hide a broker from a topic's consumers and delete it there",
        group: Group::Nodes,
        run: |verb, arguments| work_with_names(verb, arguments, node::tombstone),
    },
    Verb {
        name: "node drain",
        names: "NODE",
        summary: "have a broker deliver what it holds, and end",
        group: Group::Nodes,
        run: |verb, arguments| work_with_names(verb, arguments, node::drain),
    },
    Verb {
        name: "completions",
        names: "bash|zsh|fish",
        summary: "print what a shell needs to complete command lines",
        group: Group::Help,
        run: |verb, arguments| work_with_names(verb, arguments, completions::run),
    },
    Verb {
        name: "man",
        names: "[VERB]",
        summary: "print the manual page of a verb or a program, or write all",
        group: Group::Help,
        run: |verb, arguments| work_with_names(verb, arguments, man::run),
    },
];

/// Does what the verb says, the first of `arguments` or the first two.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.collect();
    let Some(first) = arguments.first().and_then(|first| first.to_str()) else {
        terminal::print_to_stderr(&help(""));
        return ExitCode::from(Ending::MISUSE);
    };
    match first {
        "help" | "-h" | "-help" | "--help" => return help_of(&arguments[1..]),
        "version" | "-version" | "--version" => {
            terminal::print_to_stdout(&format!("{}\n", version::line("admin-cli")));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let Some((verb, words)) = find(&arguments) {
        return (verb.run)(verb, arguments.split_off(words));
    }
    let first = first.to_owned();
    let belongs = |verb: &Verb| verb.name.split(' ').next() == Some(&first);
    if !VERBS.iter().any(belongs) {
        terminal::note(&format!("there is no verb {first:?}"));
        terminal::print_to_stderr(&help(""));
        return ExitCode::from(Ending::MISUSE);
    }
    // A first word that wants a second.
    let second = arguments.get(1).map(|second| second.to_string_lossy().into_owned());
    match second.as_deref() {
        Some("-h" | "-help" | "--help" | "help") => {
            terminal::print_to_stderr(&help(&first));
            return ExitCode::SUCCESS;
        }
        None => terminal::note(&format!("{first} wants another word")),
        Some(second) => terminal::note(&format!("there is no verb \"{first} {second}\"")),
    }
    terminal::print_to_stderr(&help(&first));
    ExitCode::from(Ending::MISUSE)
}

/// The verb that begins a command line, and of how many words it is.
fn find(arguments: &[OsString]) -> Option<(&'static Verb, usize)> {
    VERBS.iter().find_map(|verb| {
        let words: Vec<&str> = verb.name.split(' ').collect();
        let said = arguments.get(..words.len())?;
        said.iter().zip(&words).all(|(said, word)| said == word).then_some((verb, words.len()))
    })
}

/// `admin-cli help`, and `admin-cli help VERB`; a tool of NSQ's has its own.
fn help_of(words: &[OsString]) -> ExitCode {
    match (find(words), words.first()) {
        (Some((verb, _)), _) => (verb.run)(verb, vec!["--help".into()]),
        (None, None) => {
            terminal::print_to_stderr(&help(""));
            ExitCode::SUCCESS
        }
        (None, Some(first)) => {
            let name = first.to_str().unwrap_or_default();
            let help = || std::iter::once(OsString::from("--help"));
            utilities::run(name, help())
                .unwrap_or_else(|| run(std::iter::once(first.clone()).chain(help())))
        }
    }
}

/// The verbs, or those that begin with `first`.
fn help(first: &str) -> String {
    let is_wanted = |verb: &&Verb| first.is_empty() || verb.name.split(' ').next() == Some(first);
    let width =
        VERBS.iter().filter(is_wanted).map(|verb| verb.name.len()).max().unwrap_or_default();
    let mut text = "\
Usage: admin-cli VERB [FLAGS] [NAMES]

Look at a cluster of nsqd and nsqlookupd from a terminal, and change it.
"
    .to_owned();
    for (group, heading) in Group::ALL {
        let mut verbs =
            VERBS.iter().filter(is_wanted).filter(|verb| verb.group == group).peekable();
        if verbs.peek().is_none() {
            continue;
        }
        text.push_str(&format!("\n{heading}:\n"));
        for verb in verbs {
            text.push_str(&format!("  {:width$}  {}\n", verb.name, verb.summary));
        }
    }
    if first.is_empty() {
        text.push_str("\nNSQ's tools, also by these names alone:\n");
        for (name, summary) in programs::UTILITIES {
            text.push_str(&format!("  {name:width$}  {summary}\n"));
        }
    }
    text.push_str("\nadmin-cli help VERB shows the flags of a verb.\n");
    text
}

/// Reads the flags of a verb, which end at the first argument that is none, and works until it ends.
fn work<Flags, Work>(
    arguments: Vec<OsString>,
    verb: impl FnOnce(Flags, Vec<OsString>) -> Work,
) -> ExitCode
where
    Flags: Parser,
    Work: Future<Output = Result<(), Ending>>,
{
    match command_line::parse::<Flags>(arguments.into_iter()) {
        Ok((flags, rest)) => end_of(verb(flags, rest)),
        Err(stop) => stopped(&stop),
    }
}

/// Reads the flags of a verb, which stand beside names, and works until it ends.
fn work_with_names<Flags, Work>(
    verb: &'static Verb,
    arguments: Vec<OsString>,
    run: impl FnOnce(Flags, Vec<String>) -> Work,
) -> ExitCode
where
    Flags: Parser,
    Work: Future<Output = Result<(), Ending>>,
{
    let help =
        format!("Usage: admin-cli {} [FLAGS] {}\n\n{}\n", verb.name, verb.names, verb.summary);
    let arguments = arguments.into_iter();
    match command_line::parse_mixed::<Flags>(arguments, &help, outcome::EXIT_CODES) {
        Ok((flags, names)) => end_of(run(flags, names)),
        Err(stop) => stopped(&stop),
    }
}

fn stopped(stop: &Stop) -> ExitCode {
    terminal::print_to_stderr(&stop.text);
    ExitCode::from(u8::try_from(stop.exit_code).unwrap_or(Ending::MISUSE))
}

/// Works, and tells how that ended.
fn end_of(work: impl Future<Output = Result<(), Ending>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Ending::Failed(format!("cannot start: {error}")).into_exit_code(),
    };
    // A consumer's and a producer's connections are tasks of this thread.
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, work);
    drop(tasks);
    // A thread may still wait for standard input, or for a terminal that takes nothing.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.into_exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<(&'static str, usize)> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        find(&words).map(|(verb, words)| (verb.name, words))
    }

    #[test]
    fn a_verb_is_found_by_one_word_or_two() {
        for (line, verb) in [
            ("stat --topic=t", Some(("stat", 1))),
            ("topic delete t", Some(("topic delete", 2))),
            ("topic", None),
            ("topic t", None),
            ("delete", None),
        ] {
            assert_eq!(found(line), verb, "{line}");
        }
    }

    #[test]
    fn help_lists_every_verb_once_in_80_columns() {
        let all = help("");
        let tools = programs::UTILITIES.map(|(name, _)| name);
        for name in VERBS.iter().map(|verb| verb.name).chain(tools) {
            assert_eq!(all.matches(&format!("\n  {name} ")).count(), 1, "{name}");
        }
        assert!(all.lines().all(|line| line.len() <= 80), "{all}");
        let topics = help("topic");
        assert!(topics.contains("  topic delete ") && !topics.contains("channel delete"));
        assert!(!topics.contains("nsq_tail"));
    }
}
