//! What stands above every table: machine, kernel, commit, time, command.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;

/// The lines above a table, as Markdown.
pub(crate) fn describe() -> String {
    let processor = value_in("/proc/cpuinfo", "model name").unwrap_or("unknown processor".into());
    let cores = cores();
    let memory = value_in("/proc/meminfo", "MemTotal").unwrap_or("unknown".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or("unknown".into());
    let commit = commit();
    let date = said_by("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]);
    let arguments: Vec<String> = env::args().skip(1).collect();
    format!(
        "- machine: {processor}, {cores} cores, {memory} memory\n- kernel: {}\n- commit: {commit}\n\
         - date: {date}\n- command: bench {}\n",
        kernel.trim(),
        arguments.join(" ")
    )
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The commit this is built from, as far as git knows.
pub(crate) fn commit() -> String {
    said_by("git", &["describe", "--always", "--dirty"])
}

/// Today, as 2026-11-22.
pub(crate) fn date() -> String {
    said_by("date", &["--utc", "+%Y-%m-%d"])
}

fn value_in(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|text| !text.is_empty()).unwrap_or("unknown".into())
}
