//! One of NSQ's utilities, of either maker: `nsq_tail`, `to_nsq`, `nsq_stat` and so on.
//!
//! Knows: NSQ's are programs of their own, and ours is one program that looks at the name it was
//! called by; and what in a log differs from run to run.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::programs::{Maker, ours, real};

/// Both makers, NSQ's first.
pub const MAKERS: [Maker; 2] = [Maker::Real, Maker::Ours];

/// How long a utility may take that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// What a utility that has ended left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Standard output, byte by byte.
    pub output: Vec<u8>,
    /// Standard error.
    pub log: String,
}

impl Ended {
    /// This with [`masked`] in the place of its log, to be compared with another maker's.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.log = masked(&self.log).join("\n");
        self
    }
}

/// True when NSQ's utility of this name is there; else it is said that the test is skipped.
#[must_use]
pub fn is_here(name: &str) -> bool {
    real(name).is_some()
}

/// The utility of this name, ready to be started.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn command(maker: Maker, name: &str, flags: &[&str]) -> Command {
    let program = match maker {
        Maker::Real => maker.program(name),
        Maker::Ours => our_link(name),
    };
    let mut command = Command::new(program);
    // Both write local time; a test compares what is behind it.
    command.args(flags).env("TZ", "UTC");
    command
}

/// Starts a utility that goes on until it is told to end.
#[must_use]
pub fn start(maker: Maker, name: &str, flags: &[&str]) -> Process {
    Process::start(&mut command(maker, name, flags))
}

/// Runs a utility that ends by itself, with this on its standard input.
///
/// # Panics
/// When it does not end within a minute.
#[must_use]
pub fn run(maker: Maker, name: &str, flags: &[&str], input: &[u8]) -> Ended {
    run_command(&mut command(maker, name, flags), input)
}

/// Runs a command to its end, with this on its standard input.
///
/// # Panics
/// When it does not end within a minute.
#[must_use]
pub fn run_command(command: &mut Command, input: &[u8]) -> Ended {
    let folder = TempDir::new().expect("the temporary folder can be written");
    let path = folder.path().join("output");
    let file = std::fs::File::create(&path).expect("a file can be made");
    let mut process = Process::start_to(command, input, Stdio::from(file));
    let status = process.ended_within(LIMIT);
    let log = process.whole_log();
    let output = std::fs::read(&path).expect("the output can be read");
    Ended { exit_code: status.code(), output, log }
}

/// What NSQ's threads say when they have ended already: whether it comes before the end of the
/// process is left to chance.
const RACES: [&str; 4] = [
    " readLoop exiting",
    " writeLoop exiting",
    " finished draining, cleanup exiting",
    " exiting router",
];

/// The lines of a log without what differs from run to run: times, ports of our side, random names,
/// the last words of threads; and in an order of their own, because NSQ's threads write them in any.
#[must_use]
pub fn masked(log: &str) -> Vec<String> {
    let mut lines: Vec<String> = log
        .lines()
        .filter(|line| !RACES.iter().any(|race| line.ends_with(race)))
        .map(masked_line)
        .collect();
    lines.sort();
    lines
}

fn masked_line(line: &str) -> String {
    let line = without_time(line);
    if let Some(program) = line.strip_prefix("Usage of ") {
        // Go's programs say by which path they were called.
        return format!("Usage of {}", program.rsplit('/').next().unwrap_or_default());
    }
    let words = line.split(' ').map(|word| {
        // `127.0.0.1:41234->127.0.0.1:4150: ` names a port of the moment.
        match word.split_once("->") {
            Some((_, there)) => format!("HERE->{there}"),
            None => mask_random_channel(word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `[t/tail123456#ephemeral]` has a number that is thrown.
fn mask_random_channel(word: &str) -> String {
    match word.split_once("/tail") {
        Some((before, behind)) if behind.ends_with("#ephemeral]") => {
            format!("{before}/tailNUMBER#ephemeral]")
        }
        _ => word.to_owned(),
    }
}

/// A line without `2026/11/22 13:06:52 ` in front.
fn without_time(line: &str) -> &str {
    const SHAPE: &str = "0000/00/00 00:00:00 ";
    let has_time = SHAPE.len() <= line.len()
        && SHAPE.bytes().zip(line.bytes()).all(|(wanted, found)| match wanted {
            b'0' => found.is_ascii_digit(),
            wanted => wanted == found,
        });
    if has_time { &line[SHAPE.len()..] } else { line }
}

/// A link of this name to our program. The links lie in a folder that stays as long as the tests run.
fn our_link(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = ours("admin-cli").with_file_name("utilities");
        std::fs::create_dir_all(&folder).expect("a folder beside the program can be made");
        folder
    });
    let link = folder.join(name);
    // Another test may make it at the same moment; all make the same.
    if symlink("../admin-cli", &link).is_err() {
        assert!(link.exists(), "{} cannot be made", link.display());
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_log_has_no_times_no_ports_of_ours_and_no_order() {
        let log = "2026/11/22 13:06:52 INF    1 [t/tail012345#ephemeral] (127.0.0.1:1) connecting\n\
                   2026/11/22 13:06:52 Adding consumer\n\
                   panic: read tcp 127.0.0.1:5->127.0.0.1:4: i/o timeout";
        assert_eq!(
            masked(log),
            [
                "Adding consumer",
                "INF    1 [t/tailNUMBER#ephemeral] (127.0.0.1:1) connecting",
                "panic: read tcp HERE->127.0.0.1:4: i/o timeout",
            ]
        );
    }
}
