//! One program that a test has started: its log, its output, and its end.
//!
//! Knows processes and signals; what the program is, it does not know. Whatever happens in the test,
//! the process ends with the value that stands for it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::{SOON, eventually};

type Lines = Arc<Mutex<Vec<String>>>;

/// A running program. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: Lines,
    output: Lines,
}

impl Process {
    /// Starts `command` with nothing on its input, and gathers what it writes.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_input(command, &[])
    }

    /// Starts `command` and gives it `input` to read.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start_with_input(command: &mut Command, input: &[u8]) -> Self {
        Self::start_to(command, input, Stdio::piped())
    }

    /// Starts `command` and gives it `input` to read. What it writes to standard output goes
    /// elsewhere, and is not gathered unless that is a pipe.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start_to(command: &mut Command, input: &[u8], output: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = gather(child.stderr.take().expect("standard error is piped"));
        let output = child.stdout.take().map(gather).unwrap_or_default();
        let mut pipe = child.stdin.take().expect("standard input is piped");
        let input = input.to_vec();
        // A program may end without reading its input: then the pipe breaks, and that is fine.
        thread::spawn(move || drop(pipe.write_all(&input)));
        Self { child, name, log, output }
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log that contains `part`, and returns what follows `part` in it.
    ///
    /// # Panics
    /// When no such line comes soon; the message holds the log.
    pub fn logged(&mut self, part: &str) -> String {
        let line = eventually_or(SOON, || {
            let ended = self.child.try_wait().expect("a child can be asked").is_some();
            let line = find(&self.log, part);
            if line.is_none() && ended {
                // The reader of the log may be a moment behind the end of the process.
                let whole = || (Arc::strong_count(&self.log) == 1).then_some(());
                let _still_written_by_another = eventually_or(SOON, whole).is_none();
                let line = find(&self.log, part);
                assert!(line.is_some(), "{} ended; its log:\n{}", self.name, self.log());
                return line;
            }
            line
        });
        line.unwrap_or_else(|| {
            panic!("{} never said {part:?}; its log:\n{}", self.name, self.log())
        })
    }

    /// Everything the program wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").join("\n")
    }

    /// The lines the program wrote to standard output so far.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.output.lock().expect("no reader panics").clone()
    }

    /// The lines of standard output of a program that has ended, all of them.
    ///
    /// # Panics
    /// When something that it started still writes.
    #[must_use]
    pub fn whole_output(&self) -> Vec<String> {
        // The readers see the end of the streams a moment after the process has gone.
        eventually(SOON, "the streams of an ended program end", || {
            (Arc::strong_count(&self.log) == 1 && Arc::strong_count(&self.output) == 1)
                .then_some(())
        });
        self.output()
    }

    /// All that a program that has ended wrote to standard error.
    ///
    /// # Panics
    /// When something that it started still writes.
    #[must_use]
    pub fn whole_log(&self) -> String {
        let _whole = self.whole_output();
        self.log()
    }

    /// Asks the process to end, as a service manager does, and waits until it has.
    ///
    /// # Panics
    /// When it is still there after 30 seconds.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended_within(Duration::from_secs(30))
    }

    /// Ends the process without a warning, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("process numbers are small");
        kill_process(Pid::from_raw(id).expect("a child has a number"), signal)
            .expect("a child can be signalled");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it is still there after `limit`; the message holds the log.
    pub fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        eventually_or(limit, || self.child.try_wait().expect("a child can be asked"))
            .unwrap_or_else(|| panic!("{} runs after {limit:?}:\n{}", self.name, self.log()))
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Memory of the process that is in RAM, in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: u64 = line
            .and_then(|line| line.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse().ok())
            .expect("Linux states VmRSS in kB");
        kibibytes << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gather(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let target = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            target.lock().expect("no reader panics").push(line);
        }
    });
    lines
}

fn find(lines: &Lines, part: &str) -> Option<String> {
    let lines = lines.lock().expect("no reader panics");
    lines.iter().find_map(|line| line.split_once(part)).map(|(_, rest)| rest.to_owned())
}

fn eventually_or<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let answer = ask();
        if answer.is_some() || end < Instant::now() {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program to its end and returns its status, output and log.
///
/// # Panics
/// When it does not end within `limit`.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Ended {
    let mut process = Process::start_with_input(command, input);
    let status = process.ended_within(limit);
    Ended { status, output: process.whole_output(), log: process.log() }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of standard output.
    pub output: Vec<String>,
    /// Standard error.
    pub log: String,
}
