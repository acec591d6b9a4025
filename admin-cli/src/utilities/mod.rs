//! NSQ's utilities by their own names: same flags, output and exit codes.
//!
//! Knows: the names, how flags are read, and how a run ends. What a utility does is in the file or
//! folder of its name.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;
use startup::flags::{self, Stop};
use startup::version::NSQ_VERSION;
use tokio::task::LocalSet;

use crate::client::dial::words;
use crate::client::log;
use crate::client::options::InvalidOption;
use crate::terminal::{self, Ending};
use crate::verbs::command_line;
use crate::web;

mod host_pool;
mod nsq_stat;
mod nsq_tail;
mod nsq_to_file;
mod nsq_to_http;
mod nsq_to_nsq;
mod timer_metrics;
mod to_nsq;
mod upstreams;

/// What the usage says of `--consumer-opt`.
pub(crate) const CONSUMER_OPT: &str = "option to passthrough to nsq.Consumer (may be given multiple times, http://godoc.org/github.com/nsqio/go-nsq#Config)";
/// What the usage says of `--producer-opt`.
pub(crate) const PRODUCER_OPT: &str = "option to passthrough to nsq.Producer (may be given multiple times, http://godoc.org/github.com/nsqio/go-nsq#Config)";

/// Why a utility ends before its work is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Said in a line of the log; exit code 1.
    Fatal(String),
    /// Flags are wrong: said in front of the usage; exit code 2.
    Misuse(String),
}

impl Failure {
    /// An ordinary failure.
    pub(crate) fn fatal(text: impl Into<String>) -> Self {
        Self::Fatal(text.into())
    }

    /// A setting in `--consumer-opt` or `--producer-opt` that cannot be used.
    pub(crate) fn option(flag: &str, invalid: &InvalidOption) -> Self {
        let InvalidOption { setting, reason } = invalid;
        Self::Misuse(format!("invalid value {setting:?} for flag -{flag}: {reason}"))
    }

    /// Standard output takes no more. When that is because nobody reads it, the process ends here,
    /// by the signal that ends NSQ's (NSQ behaviour).
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            end_by_broken_pipe();
        }
        let reason = words(error);
        Self::Fatal(format!("ERROR: failed to write to os.Stdout - write /dev/stdout: {reason}"))
    }
}

impl From<Ending> for Failure {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Misuse(text) | Ending::Failed(text) | Ending::Declined(text) => {
                Self::Fatal(text)
            }
            Ending::Partial => Self::fatal("not all could be done"),
            Ending::OutputClosed => end_by_broken_pipe(),
        }
    }
}

/// Ends the process as the system ends one that writes into a pipe which nobody reads.
fn end_by_broken_pipe() -> ! {
    // Rust's programs ignore the signal, so it is put back first. It does not return.
    emulate_default_handler(SIGPIPE).ok();
    std::process::exit(1)
}

/// Does what the utility of this name does; `None` when there is none.
pub(crate) fn run(name: &str, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    Some(match name {
        "nsq_stat" => work(arguments, nsq_stat::run),
        "nsq_tail" => work(arguments, nsq_tail::run),
        "nsq_to_http" => work(arguments, nsq_to_http::run),
        "nsq_to_nsq" => work(arguments, nsq_to_nsq::run),
        "nsq_to_file" => work_with_rest(arguments, nsq_to_file::run),
        "to_nsq" => work(arguments, to_nsq::run),
        "nsqadmin" => web::run(arguments),
        _ => return None,
    })
}

/// What `--version` prints, `nsq_tail v1.3.0` for instance.
pub(crate) fn print_version(name: &str) {
    terminal::print_to_stdout(&format!("{name} v{NSQ_VERSION}\n"));
}

/// Reads the flags of a utility and works until it ends. Arguments behind the flags are ignored.
fn work<Flags, Work>(
    arguments: impl Iterator<Item = OsString>,
    utility: impl FnOnce(Flags) -> Work,
) -> ExitCode
where
    Flags: Parser,
    Work: Future<Output = Result<(), Failure>>,
{
    work_with_rest(arguments, |flags, _| utility(flags))
}

/// The same, for a utility that looks at the arguments behind its flags.
fn work_with_rest<Flags, Work>(
    arguments: impl Iterator<Item = OsString>,
    utility: impl FnOnce(Flags, Vec<OsString>) -> Work,
) -> ExitCode
where
    Flags: Parser,
    Work: Future<Output = Result<(), Failure>>,
{
    let (flags, rest) = match command_line::split::<Flags>(arguments) {
        Ok(split) => split,
        Err(stop) => return stopped(&stop),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended::<Flags>(Failure::Fatal(format!("cannot start: {error}"))),
    };
    // A consumer's and a producer's connections are tasks of this thread.
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, utility(flags, rest));
    drop(tasks);
    // A thread may still wait for standard input, or for a reader that takes nothing.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended::<Flags>(failure),
    }
}

fn ended<Flags: Parser>(failure: Failure) -> ExitCode {
    match failure {
        Failure::Fatal(text) => {
            log::line(&text);
            ExitCode::FAILURE
        }
        Failure::Misuse(text) => {
            let usage = flags::try_parse::<Flags>([OsString::from("--help")]).err();
            let usage = usage.map(|stop| stop.text).unwrap_or_default();
            stopped(&Stop { text: format!("{text}\n{usage}"), exit_code: 2 })
        }
    }
}

fn stopped(stop: &Stop) -> ExitCode {
    terminal::print_to_stderr(&stop.text);
    ExitCode::from(u8::try_from(stop.exit_code).unwrap_or(Ending::MISUSE))
}
