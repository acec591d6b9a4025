//! `admin-cli` by its verbs.
//!
//! Knows: the verbs, and how a run ends. What a verb does is in the file of its name.

pub(crate) mod command_line;
mod publish;
mod stat;
mod tail;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use startup::version;

use crate::terminal::{self, Ending};
use crate::web;

const HELP: &str = "\
Usage: admin-cli VERB [FLAGS]

Look at a cluster of nsqd and nsqlookupd from a terminal.

  stat   show the counters of a topic and its channels, live
  tail   print messages as they come
  pub    publish the lines of standard input or of files
  web    serve the administration page, as nsqadmin does

admin-cli VERB --help lists the flags of a verb, admin-cli --version prints the version.
";

/// Does what the verb says, the first of `arguments`.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let verb = arguments.next().unwrap_or_default();
    match verb.to_str() {
        Some("stat") => work(arguments, |flags, _| stat::run(flags)),
        Some("tail") => work(arguments, |flags, _| tail::run(flags)),
        Some("pub") => work(arguments, publish::run),
        Some("web" | "nsqadmin") => web::run(arguments),
        Some("help" | "-h" | "-help" | "--help") => {
            terminal::print_to_stderr(HELP);
            ExitCode::SUCCESS
        }
        Some("version" | "-version" | "--version") => {
            terminal::print_to_stdout(&format!("{}\n", version::line("admin-cli")));
            ExitCode::SUCCESS
        }
        Some("") => {
            terminal::print_to_stderr(HELP);
            ExitCode::from(Ending::MISUSE)
        }
        _ => {
            terminal::note(&format!("there is no verb {:?}", verb.to_string_lossy()));
            terminal::print_to_stderr(HELP);
            ExitCode::from(Ending::MISUSE)
        }
    }
}

/// Reads the flags of a verb and works until the verb ends.
fn work<Flags, Work>(
    arguments: impl Iterator<Item = OsString>,
    verb: impl FnOnce(Flags, Vec<OsString>) -> Work,
) -> ExitCode
where
    Flags: Parser,
    Work: Future<Output = Result<(), Ending>>,
{
    let (flags, rest) = match command_line::parse::<Flags>(arguments) {
        Ok(parsed) => parsed,
        Err(stop) => {
            terminal::print_to_stderr(&stop.text);
            return ExitCode::from(u8::try_from(stop.exit_code).unwrap_or(Ending::MISUSE));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Ending::Failed(format!("cannot start: {error}")).into_exit_code(),
    };
    let outcome = runtime.block_on(verb(flags, rest));
    // A thread may still wait for standard input, or for a terminal that takes nothing.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.into_exit_code(),
    }
}
