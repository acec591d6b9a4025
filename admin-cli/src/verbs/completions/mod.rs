//! `admin-cli completions`: what a shell offers when a command line is not finished.
//!
//! Knows: the shells. What there is to offer comes from [`programs`]; the script of a shell is in the
//! file of its name.

mod bash;
mod fish;
mod zsh;

use clap::Parser;

use super::programs::{self, OWN, Program};
use crate::terminal::{Ending, Output};

/// The flags of `admin-cli completions`: none.
#[derive(Debug, Parser)]
#[command(name = "admin-cli")]
pub(crate) struct Flags {}

/// Prints the script for one shell.
pub(crate) async fn run(_: Flags, names: Vec<String>) -> Result<(), Ending> {
    let [shell] = names.as_slice() else {
        return Err(Ending::Misuse("name one shell: bash, zsh or fish".to_owned()));
    };
    let script = match shell.as_str() {
        "bash" => bash::script,
        "zsh" => zsh::script,
        "fish" => fish::script,
        other => {
            return Err(Ending::Misuse(format!(
                "there is no completion for {other:?}: name bash, zsh or fish"
            )));
        }
    };
    let programs = programs::all()
        .map_err(|error| Ending::Failed(format!("cannot ask a program for help: {error}")))?;
    Output::open().write(script(&programs).as_bytes()).await
}

/// The names of all programs that are called by one word.
fn commands(programs: &[Program]) -> Vec<&str> {
    let others = programs.iter().map(|program| program.name.as_str());
    std::iter::once(OWN).chain(others.filter(|name| !name.contains(' '))).collect()
}

/// The first sentence of a help text, on one line.
fn brief(help: &str) -> String {
    let line = help.replace('\n', " ");
    line.split(" (default ").next().unwrap_or_default().to_owned()
}

/// Text in single quotes, as all three shells understand it, and nothing of it means anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "’").replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::programs::usage::{Flag, Usage};

    /// Two programs and two verbs.
    pub(super) fn programs() -> Vec<Program> {
        let flag = |name: &str, kind: &str, help: &str| Flag {
            name: name.into(),
            kind: kind.into(),
            help: help.into(),
        };
        let program = |name: &str, flags: Vec<Flag>| Program {
            name: name.into(),
            summary: format!("what {name} does: it's that"),
            usage: Usage { flags, ..Usage::default() },
        };
        vec![
            program("admin-cli stat", vec![flag("json", "", "write [JSON]")]),
            program("admin-cli topic list", vec![flag("json", "", "write JSON")]),
            program("nsqd", vec![flag("tcp-address", "string", "addr:port (default \"a:1\")")]),
        ]
    }

    #[test]
    fn commands_are_of_one_word() {
        assert_eq!(commands(&programs()), ["admin-cli", "nsqd"]);
        assert_eq!(brief("a\nb (default 1)"), "a b");
        assert_eq!(quoted("it's"), "'it’s'");
    }
}
