//! Log lines as another process reads them. The test program starts itself again, with a variable
//! that makes it log and exit.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::{Command, Output};

use startup::log::{self, LogLevel};
use tracing::{debug, error, info, warn};

const CHILD: &str = "STARTUP_LOG_LINES_CHILD";

/// Runs the test named `test` again as a child, which then takes its other branch.
fn run_as_child(test: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(["--exact", test]).env(CHILD, "1").output().unwrap()
}

/// The lines of standard error without their 26 digits of date and time.
fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let without_time = |line: &str| {
        let (prefix, rest) = line.split_at("[test] ".len());
        format!("{prefix}{}", &rest["2026/11/22 13:08:24.677263 ".len()..])
    };
    text.lines().map(without_time).collect()
}

#[test]
fn events_become_lines_by_the_level_in_force() {
    if std::env::var_os(CHILD).is_some() {
        let running = log::start("[test] ", LogLevel::Info);
        let say_all = || {
            debug!("small");
            info!(topic = "t", count = 3, "TOPIC({}): created", "t");
            warn!("odd");
            error!(error = %"a\nb", "failed");
        };
        say_all();
        running.set_level(LogLevel::Debug);
        debug!("level is {}", running.level());
        running.set_level(LogLevel::Error);
        say_all();
        running.set_level(LogLevel::Fatal);
        say_all();
        std::process::exit(0);
    }
    assert_eq!(
        lines(&run_as_child("events_become_lines_by_the_level_in_force")),
        [
            "[test] INFO: TOPIC(t): created topic=t count=3",
            "[test] WARNING: odd",
            "[test] ERROR: failed error=a\\nb",
            "[test] DEBUG: level is DEBUG",
            "[test] ERROR: failed error=a\\nb",
        ]
    );
}

#[test]
fn a_fatal_line_is_the_last_and_the_exit_code_is_1() {
    if std::env::var_os(CHILD).is_some() {
        log::fatal("[test] ", "failed to start - no");
    }
    let output = run_as_child("a_fatal_line_is_the_last_and_the_exit_code_is_1");
    assert_eq!(lines(&output), ["[test] FATAL: failed to start - no"]);
    assert_eq!(output.status.code(), Some(1));
}
