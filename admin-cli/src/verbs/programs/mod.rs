//! The programs that are installed together, for their manual and their completion in a shell.
//!
//! Knows: their names, what each is for, and that each tells its flags when it is asked for help:
//! the definition of a flag stands in its program and nowhere else. Does not know: forms of manuals,
//! or shells.

pub(crate) mod usage;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::VERBS;
use usage::Usage;

/// The name of this program.
pub(crate) const OWN: &str = "admin-cli";

/// The programs that are files of their own, beside this one.
const DAEMONS: [(&str, &str); 2] = [
    ("nsqd", "the broker: takes messages, keeps them, and delivers them to consumers"),
    ("nsqlookupd", "tells consumers which nsqd has a topic"),
];

/// The other names of this program.
pub(crate) const UTILITIES: [(&str, &str); 7] = [
    ("nsq_stat", "print the counters of a channel, a line an interval"),
    ("nsq_tail", "print messages as they come"),
    ("nsq_to_file", "write messages to files"),
    ("nsq_to_http", "send messages to HTTP servers"),
    ("nsq_to_nsq", "publish messages at other brokers"),
    ("to_nsq", "publish the lines of standard input"),
    ("nsqadmin", "serve the administration page"),
];

/// A program, or a verb of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// As it is called: `nsqd`, `admin-cli topic list`.
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) usage: Usage,
}

/// All programs and verbs that are here, by kind: this one's verbs, its other names, and the daemons
/// that lie beside it.
pub(crate) fn all() -> io::Result<Vec<Program>> {
    let own = env::current_exe()?;
    let mut programs = Vec::new();
    for verb in &VERBS {
        let words: Vec<&str> = verb.name.split(' ').collect();
        programs.extend(ask(&own, &words, format!("{OWN} {}", verb.name), verb.summary)?);
    }
    for (name, summary) in UTILITIES {
        programs.extend(ask(&own, &[name], name.to_owned(), summary)?);
    }
    for (name, summary) in DAEMONS {
        let path: PathBuf = own.with_file_name(name);
        if path.exists() {
            programs.extend(ask(&path, &[], name.to_owned(), summary)?);
        }
    }
    Ok(programs)
}

/// What the program at `path` says when it is asked for help; `None` when it does not know itself by
/// `words`.
fn ask(path: &Path, words: &[&str], name: String, summary: &str) -> io::Result<Option<Program>> {
    let output = Command::new(path).args(words).arg("--help").stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Ok(None);
    }
    let usage = Usage::read(&String::from_utf8_lossy(&output.stderr));
    Ok(Some(Program { name, summary: summary.to_owned(), usage }))
}

/// Words that may follow other words, such as `list` behind `admin-cli topic`: each with what it is
/// for, in the order of the help.
pub(crate) fn next_words(programs: &[Program], words: &str) -> Vec<(String, String)> {
    let mut next: Vec<(String, String)> = Vec::new();
    for program in programs {
        let rest = program.name.strip_prefix(words).and_then(|rest| rest.strip_prefix(' '));
        let Some(rest) = rest else { continue };
        let (word, summary) = match rest.split_once(' ') {
            None => (rest, program.summary.clone()),
            Some((word, _)) => (word, format!("{word}s: list, create, change")),
        };
        if !next.iter().any(|(known, _)| known == word) {
            next.push((word.to_owned(), summary));
        }
    }
    next
}

/// What stands before the last word of a name of several words, each once: `admin-cli`,
/// `admin-cli topic`.
pub(crate) fn beginnings(programs: &[Program]) -> Vec<String> {
    let mut beginnings: Vec<String> = Vec::new();
    for program in programs {
        for (place, _) in program.name.match_indices(' ') {
            let beginning = &program.name[..place];
            if !beginnings.iter().any(|known| known == beginning) {
                beginnings.push(beginning.to_owned());
            }
        }
    }
    beginnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_words() {
        let program = |name: &str| Program {
            name: name.into(),
            summary: format!("what {name} does"),
            usage: Usage::default(),
        };
        let programs = ["admin-cli stat", "admin-cli topic list", "admin-cli topic create", "nsqd"]
            .map(program);
        assert_eq!(beginnings(&programs), ["admin-cli", "admin-cli topic"]);
        let words = |beginning| {
            let next = next_words(&programs, beginning);
            next.into_iter().map(|(word, _)| word).collect::<Vec<_>>()
        };
        assert_eq!(words("admin-cli"), ["stat", "topic"]);
        assert_eq!(words("admin-cli topic"), ["list", "create"]);
        assert_eq!(words("nsqd"), [""; 0]);
    }
}
