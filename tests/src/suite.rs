//! The tests that clients are published with, run as they are against a maker's programs.
//!
//! Knows where `tests/prepare suites` puts them and how each tells what passed. What they need of a
//! machine stands beside their manifests, in `tests/suites`: each runs in namespaces of its own, so
//! that NSQ's ports, the names of its servers and `/tmp` are its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::programs::{Maker, installed_suite, skipped, workspace};

/// No suite takes as long as this; those that hang are ended.
const LIMIT: Duration = Duration::from_secs(300);

/// A client whose tests are published with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// go-nsq.
    Go,
    /// nsqjs.
    Node,
    /// tokio-nsq.
    Rust,
}

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// The suite itself left it out.
    LeftOut,
}

/// What became of each test, by its name.
pub type Outcomes = BTreeMap<String, Outcome>;

/// A suite at work against one maker's programs. Dropping it ends all of it.
#[derive(Debug)]
pub struct Run {
    suite: Suite,
    maker: Maker,
    process: Process,
    /// What is `/tmp` to the suite: its data and the servers' logs.
    folder: TempDir,
}

impl Suite {
    /// True when it can run here; else says what is missing.
    #[must_use]
    pub fn is_installed(self) -> bool {
        if installed_suite(self.folder()).is_none() {
            return false;
        }
        let mut probe = Self::apart();
        let works = probe.args(["ip", "link", "set", "lo", "up"]).output();
        let works = works.is_ok_and(|output| output.status.success());
        if !works {
            skipped("no namespaces (`unshare` of util-linux, `ip` of iproute2, and the right)");
        }
        works
    }

    /// Starts it; `flags` go to the `nsqd` that it shares among its tests, for tokio-nsq only.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn start(self, maker: Maker, flags: &str) -> Run {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let programs = maker.program("nsqd");
        let runs = workspace().join("tests/suites");
        let mut command = Self::apart();
        command
            .arg("sh")
            .arg(runs.join("namespace.sh"))
            .arg(folder.path())
            .arg(programs.parent().expect("a program lies in a folder"))
            .arg(installed_suite(self.folder()).expect("the caller asked whether it is installed"))
            .arg(runs.join(self.folder()))
            .env("NSQD_FLAGS", flags);
        Run { suite: self, maker, process: Process::start(&mut command), folder }
    }

    /// A command that runs what is added to it with network, mounts and processes of its own, all
    /// of which end with it.
    fn apart() -> Command {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
        command.arg("--mount-proc");
        command
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }

    fn read(self, output: &[String]) -> Outcomes {
        match self {
            Self::Go => outcomes(output.iter().filter_map(|line| go_line(line))),
            Self::Node => mocha_report(output),
            Self::Rust => outcomes(output.iter().filter_map(|line| cargo_line(line))),
        }
    }
}

impl Run {
    /// Waits for the end of the suite, and tells what became of its tests.
    ///
    /// # Panics
    /// When it does not end in time, or did not run against this maker's programs.
    #[must_use]
    pub fn outcomes(&mut self) -> Outcomes {
        self.process.ended_within(LIMIT);
        let output = self.process.whole_output();
        let first = output.first().map(String::as_str).unwrap_or_default();
        let ours = first.contains("built w/ringnsq");
        let real = first.starts_with("nsqd v1.3.0 (built w/go");
        let right = match self.maker {
            Maker::Ours => ours,
            Maker::Real => real,
        };
        assert!(right, "not {:?}: {first:?}\n{}", self.maker, self.process.log());
        self.suite.read(&output)
    }

    /// What became of those of its tests that have ended by now.
    #[must_use]
    pub fn outcomes_so_far(&self) -> Outcomes {
        self.suite.read(&self.process.output())
    }

    /// What the suite and the servers said, for whoever looks for the cause of a failure.
    #[must_use]
    pub fn story(&self) -> String {
        let mut story = self.process.output().join("\n") + "\n" + &self.process.log();
        for file in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            // go-nsq's script names the logs of both servers `nsqlookupd.` and something.
            if name.ends_with(".log") || name.starts_with("nsqlookupd.") {
                story += &format!("\n== {name}\n{}", end_of(&file.path()));
            }
        }
        story
    }
}

/// The last lines of a log.
fn end_of(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("cannot be read: {error}"));
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Outcomes by name. Tests of the same name are told apart by a number in the order of their coming.
fn outcomes(told: impl Iterator<Item = (String, Outcome)>) -> Outcomes {
    let mut found = Outcomes::new();
    for (name, outcome) in told {
        let again = (2..).map(|number| format!("{name} ({number})"));
        let free = [name.clone()].into_iter().chain(again).find(|name| !found.contains_key(name));
        found.insert(free.expect("the numbers do not end"), outcome);
    }
    found
}

/// `--- PASS: TestName (0.10s)`, as `go test -v` says it.
fn go_line(line: &str) -> Option<(String, Outcome)> {
    let (outcome, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    let outcome = match outcome {
        "PASS" => Outcome::Passed,
        "FAIL" => Outcome::Failed,
        "SKIP" => Outcome::LeftOut,
        _ => return None,
    };
    Some((rest.split(' ').next()?.to_owned(), outcome))
}

/// `test name ... ok`, as Rust's test programs say it.
fn cargo_line(line: &str) -> Option<(String, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome.split(',').next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::LeftOut,
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

/// The JSON that mocha writes when it has ended; nothing when it has not.
fn mocha_report(output: &[String]) -> Outcomes {
    let report = output.iter().skip_while(|line| *line != "{");
    let report = report.map(String::as_str).collect::<Vec<_>>().join("\n");
    let report: Value = serde_json::from_str(&report).unwrap_or_default();
    let groups =
        [("passes", Outcome::Passed), ("failures", Outcome::Failed), ("pending", Outcome::LeftOut)];
    outcomes(groups.into_iter().flat_map(|(key, outcome)| {
        let tests = report[key].as_array().cloned().unwrap_or_default();
        tests
            .into_iter()
            .filter_map(move |test| Some((test["fullTitle"].as_str()?.into(), outcome)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(suite: Suite, text: &str, expected: &[(&str, Outcome)]) {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let expected = expected
            .iter()
            .map(|&(name, outcome)| (name.to_owned(), outcome))
            .collect::<Outcomes>();
        assert_eq!(suite.read(&lines), expected);
    }

    #[test]
    fn what_go_says_is_read() {
        let text = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n--- FAIL: TestB (1.20s)\n    \
                    --- SKIP: TestB/part (0.00s)\n    conn.go:1: --- no\nFAIL\nok  \tx\t4.2s";
        check(
            Suite::Go,
            text,
            &[
                ("TestA", Outcome::Passed),
                ("TestB", Outcome::Failed),
                ("TestB/part", Outcome::LeftOut),
            ],
        );
    }

    #[test]
    fn what_rusts_test_programs_say_is_read() {
        let text = "running 3 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored, slow\n\
                    test e has been running for over 60 seconds\ntest result: FAILED. 1 passed";
        check(
            Suite::Rust,
            text,
            &[("a::b", Outcome::Passed), ("c", Outcome::Failed), ("d", Outcome::LeftOut)],
        );
    }

    #[test]
    fn what_mocha_says_is_read_and_tests_of_one_name_are_told_apart() {
        let text = "noise\n{\n\"passes\": [{\"fullTitle\": \"a\"}, {\"fullTitle\": \"b c\"}],\n\
                    \"failures\": [{\"fullTitle\": \"a\"}], \"pending\": [{\"fullTitle\": \"d\"}]}";
        check(
            Suite::Node,
            text,
            &[
                ("a", Outcome::Passed),
                ("a (2)", Outcome::Failed),
                ("b c", Outcome::Passed),
                ("d", Outcome::LeftOut),
            ],
        );
        check(Suite::Node, "Error: cannot start", &[]);
    }
}
