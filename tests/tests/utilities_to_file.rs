//! `nsq_to_file` beside NSQ's own: the same messages, flags and signals, and the same files, lines of
//! the log and exit codes. At brokers of both makers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::bufread::GzDecoder;
use rustix::process::Signal;
use tempfile::TempDir;
use tests::broker::Broker;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::port::Port;
use tests::process::Process;
use tests::programs::Maker;
use tests::small_disk::SmallDisk;
use tests::turn::Turn;
use tests::utility::{self, MAKERS};

const NAME: &str = "nsq_to_file";
/// No sync comes from the clock.
const NO_TICKS: &str = "--sync-interval=1h";
/// A time that does not change.
const NO_TIME: &str = "--datetime-format=then";
/// For what cannot be waited for by looking: the program has read what was sent to it, though not before
/// a quarter of a second, or has done what a signal told it to.
const A_MOMENT: Duration = Duration::from_millis(2500);

/// A utility at work, with a channel and folders of its own.
struct Tool {
    maker: Maker,
    channel: &'static str,
    process: Process,
    /// The numbers of the processes before.
    former: Vec<u32>,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// What a utility leaves behind, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    exit_code: Option<i32>,
    /// By path below the folder; of a compressed file each member in its own `{}`.
    files: Vec<(String, String)>,
    /// The utility's own lines.
    log: Vec<String>,
}

fn channel_of(maker: Maker) -> &'static str {
    match maker {
        Maker::Real => "real",
        Maker::Ours => "ours",
    }
}

impl Tool {
    /// With `DIR` in the flags for its folder.
    fn start(maker: Maker, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let path = folder.path().to_owned();
        Self::start_in(maker, flags, path, Some(folder))
    }

    fn start_in(maker: Maker, flags: &[&str], folder: PathBuf, temporary: Option<TempDir>) -> Self {
        let place = folder.to_str().expect("temporary folders have names of text");
        let channel = channel_of(maker);
        let mut all: Vec<String> = flags.iter().map(|flag| flag.replace("DIR", place)).collect();
        all.push(format!("--channel={channel}"));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let process = utility::start(maker, NAME, &all);
        Self { maker, channel, process, former: Vec::new(), folder, _temporary: temporary }
    }

    /// The files that are there, and what they hold.
    fn files(&self) -> Vec<(String, String)> {
        let mut paths = Vec::new();
        files_below(&self.folder, &mut paths);
        let mut files: Vec<_> = paths
            .iter()
            .map(|path| {
                let name = path.strip_prefix(&self.folder).expect("it lies in the folder");
                let name = name.to_str().expect("names are text").to_owned();
                (self.masked(&name), text_of(path))
            })
            .collect();
        files.sort();
        files
    }

    /// A text without the folder, the channel and the number of the process.
    fn masked(&self, text: &str) -> String {
        let folder = self.folder.to_str().expect("temporary folders have names of text");
        let text = text.replace(folder, "DIR").replace(&format!("/{}]", self.channel), "/c]");
        let processes = self.former.iter().copied().chain([self.process.id()]);
        processes.fold(text, |text, process| text.replace(&format!("p{process}"), "pPID"))
    }

    /// The utility's own lines, but for the time in front.
    fn log(&self) -> Vec<String> {
        let log = self.process.log();
        let lines = log.lines().filter_map(|line| line.strip_prefix("[nsq_to_file] "));
        let lines = lines.map(|line| {
            let text = line.get("2026/11/22 13:06:52.123456 ".len()..).unwrap_or(line);
            let text = self.masked(text);
            match text.split_once(" since last open") {
                Some((before, behind)) => {
                    let (before, _) = before.rsplit_once(' ').expect("a time stands there");
                    format!("{before} TIME since last open{behind}")
                }
                None => text,
            }
        });
        lines.collect()
    }

    fn says(&self, line: &str) {
        eventually(SOON, &format!("{:?} says {line}", self.maker), || {
            self.log().iter().any(|said| said == line).then_some(())
        });
    }

    fn outcome(mut self) -> Outcome {
        let status = self.process.ended_within(Duration::from_secs(120));
        // The last lines may be a moment behind the end.
        drop(self.process.whole_log());
        Outcome { exit_code: status.code(), files: self.files(), log: self.log() }
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn text_of(path: &Path) -> String {
    let content = fs::read(path).expect("a file can be read");
    if path.extension().is_none_or(|end| end != "gz") {
        return String::from_utf8(content).expect("the messages are text");
    }
    let (members, is_torn) = members(&content);
    let mut text: String = members.iter().map(|member| format!("{{{member}}}")).collect();
    if is_torn {
        text.push_str("torn");
    }
    text
}

/// The whole members of a compressed file, and whether something torn follows.
fn members(content: &[u8]) -> (Vec<String>, bool) {
    let mut rest = content;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let mut member = GzDecoder::new(rest);
        let mut text = String::new();
        if member.read_to_string(&mut text).is_err() {
            return (members, true);
        }
        members.push(text);
        rest = member.into_inner();
    }
    (members, false)
}

/// NSQ's and ours, each with its own channel of one topic.
struct Pair {
    broker: Broker,
    tools: [Tool; 2],
}

impl Pair {
    /// With `ADDRESS` in the flags for the broker's, `prepare` having made something of each folder.
    fn prepared(broker: Maker, flags: &[&str], prepare: impl Fn(&Path)) -> Self {
        let broker = Broker::of(broker, &[]);
        broker.order("/topic/create?topic=t");
        let address = format!("--nsqd-tcp-address={}", broker.tcp);
        let flags: Vec<&str> =
            ["--topic=t", &address].into_iter().chain(flags.iter().copied()).collect();
        let tools = MAKERS.map(|maker| {
            broker.order(&format!("/channel/create?topic=t&channel={}", channel_of(maker)));
            let folder = TempDir::new().expect("the temporary folder can be written");
            prepare(folder.path());
            let path = folder.path().to_owned();
            Tool::start_in(maker, &flags, path, Some(folder))
        });
        for tool in &tools {
            broker.count_becomes("t", tool.channel, "client_count", 1);
        }
        Self { broker, tools }
    }

    fn start(broker: Maker, flags: &[&str]) -> Self {
        Self::prepared(broker, flags, |_| {})
    }

    /// Publishes a message, and waits until it is finished: the first of a file is, at once.
    fn first(&self, body: &str) {
        self.broker.client().publish("t", body.as_bytes());
        self.unfinished(0);
    }

    /// Publishes messages in one go, and waits until so many are not finished: they have been sent, but
    /// nothing says that they have been read.
    fn more(&self, bodies: &[&str], unfinished: i64) {
        self.broker.client().publish_many("t", bodies);
        self.unfinished(unfinished);
        sleep(A_MOMENT);
    }

    /// Waits until so many messages are not finished. What is finished has been written and synced.
    fn unfinished(&self, count: i64) {
        for tool in &self.tools {
            self.broker.count_becomes("t", tool.channel, "depth", 0);
            self.broker.count_becomes("t", tool.channel, "in_flight_count", count);
        }
    }

    fn signal(&self, signal: Signal) {
        self.tools.iter().for_each(|tool| tool.process.signal(signal));
    }

    fn say(&self, line: &str) {
        self.tools.iter().for_each(|tool| tool.says(line));
    }

    /// Ends both, and compares what they left; returns ours.
    fn end(self) -> Outcome {
        self.signal(Signal::TERM);
        self.ended()
    }

    fn ended(self) -> Outcome {
        let [real, ours] = self.tools.map(Tool::outcome);
        assert_eq!(ours, real);
        for channel in MAKERS.map(channel_of) {
            self.broker.count_becomes("t", channel, "client_count", 0);
        }
        ours
    }
}

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel has a name");
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

macro_rules! at_both_brokers {
    ($($name:ident => $check:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn at_the_real_nsqd() {
                if utility::is_here(NAME) {
                    $check(Maker::Real);
                }
            }

            #[test]
            fn at_ours() {
                if utility::is_here(NAME) {
                    $check(Maker::Ours);
                }
            }
        })*
    };
}

at_both_brokers! {
    messages_are_lines_and_the_first_is_synced_at_once => check_plain_files;
    names_are_made_of_tokens => check_names;
    a_file_that_is_too_large_is_followed_by_the_next_revision => check_sizes;
    an_interval_ends_files => check_intervals;
    a_new_time_ends_a_file => check_times;
    every_sync_ends_a_member_of_a_compressed_file => check_gzip;
    complete_files_move_from_the_work_folder => check_work_folder;
    a_hang_up_ends_files => check_hang_up;
    as_many_as_may_be_in_flight_are_synced => check_in_flight;
    what_the_disk_refuses_ends_it => check_refusals;
    nothing_that_was_finished_is_lost_by_kill_9 => check_kills;
}

fn check_plain_files(broker: Maker) {
    let pair = Pair::start(broker, &["--output-dir=DIR", NO_TIME, NO_TICKS]);
    pair.first("one");
    pair.more(&["two", " ", "four", "fü\u{0}nf"], 4);
    let name = format!("t.{}.then.log", hostname());
    for tool in &pair.tools {
        // What is not synced yet can be read.
        let whole = [file(&name, "one\ntwo\n \nfour\nfü\u{0}nf\n")];
        eventually(SOON, "all is written", || (tool.files() == whole).then_some(()));
    }
    let outcome = pair.end();
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(
        outcome.log,
        [
            format!("INFO: [t/c] opening DIR/{name}"),
            "INFO: [t/c] syncing 1 records to disk".to_owned(),
            "INFO: [t/c] syncing 4 records to disk".to_owned(),
        ]
    );
}

fn check_names(broker: Maker) {
    let format = "--filename-format=<TOPIC>/<HOST>/p<PID>/<DATETIME><REV>.x";
    let times = "--datetime-format=%%-%Y%m%d.%y.%b.%B.%a.%A.%H.%I.%p.%z.%Z.%q.v2";
    let outcome = loop {
        let before = hour();
        let mut pair = Pair::start(broker, &["--output-dir=DIR", NO_TICKS, format, times]);
        pair.first("one");
        // Again, with another name for the host, in a zone of its own, and a revision in the name.
        for tool in &mut pair.tools {
            assert_eq!(tool.process.terminate().code(), Some(0));
            let address = format!("--nsqd-tcp-address={}", pair.broker.tcp);
            let flags = [
                "--topic=t",
                &address,
                &format!("--channel={}", tool.channel),
                &format!("--output-dir={}/again", tool.folder.display()),
                "--rotate-size=100",
                "--host-identifier=<SHORT_HOST>-p<PID>-<HOSTNAME>",
                NO_TICKS,
                format,
                times,
            ];
            let mut command = utility::command(tool.maker, NAME, &flags);
            tool.former.push(tool.process.id());
            tool.process = Process::start(command.env("TZ", "America/St_Johns"));
        }
        pair.first("two");
        let outcome = pair.end();
        if before == hour() {
            break outcome;
        }
    };
    assert_eq!(outcome.exit_code, Some(0));
    let [(again, _), (first, _)] = &outcome.files[..] else { panic!("{outcome:?}") };
    let host = hostname();
    assert!(first.starts_with(&format!("t/{host}/pPID/%-20")), "{first}");
    assert!(first.contains("M.+0000.UTC.%q.v") && first.ends_with(".x"), "{first}");
    assert!(again.starts_with(&format!("again/t/{host}-pPID-")), "{again}");
    assert!(again.contains("/pPID/%-20") && again.ends_with("-000000.x"), "{again}");
    assert!(again.contains("M.-0330.NST.%q.v") || again.contains("M.-0230.NDT.%q.v"), "{again}");
}

fn hour() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs() / 3600
}

fn check_sizes(broker: Maker) {
    let flags = ["--output-dir=DIR", "--filename-format=f<REV>", "--rotate-size=7", NO_TICKS];
    let pair = Pair::prepared(broker, &flags, |folder| {
        // What is there counts, too: the first is too large, the second will be.
        fs::write(folder.join("f-000000"), "12345678").expect("a file can be made");
        fs::write(folder.join("f-000001"), "there\n").expect("a file can be made");
    });
    pair.first("a");
    pair.more(&["b", "c", "dddddddddddd", "e", "f", "g", "h"], 3);
    let outcome = pair.end();
    assert_eq!(
        outcome.files,
        [
            file("f-000000", "12345678"),
            file("f-000001", "there\na\n"),
            file("f-000002", "b\nc\ndddddddddddd\n"),
            file("f-000003", "e\nf\ng\nh\n"),
        ]
    );
    assert_eq!(
        outcome.log[..6],
        [
            "INFO: [t/c] opening DIR/f-000000",
            "INFO: [t/c] DIR/f-000000 currently 8 bytes (> 7), rotating...",
            "INFO: [t/c] opening DIR/f-000001",
            "INFO: [t/c] syncing 1 records to disk",
            "INFO: [t/c] DIR/f-000001 currently 8 bytes (> 7), rotating...",
            "INFO: [t/c] opening DIR/f-000002",
        ]
    );
}

fn check_intervals(broker: Maker) {
    let flags = ["--output-dir=DIR", "--filename-format=f<REV>", "--rotate-interval=300ms"];
    let pair = Pair::prepared(broker, &[&flags[..], &[NO_TICKS]].concat(), |folder| {
        fs::write(folder.join("f-000001"), "there").expect("a file can be made");
    });
    pair.first("one");
    sleep(Duration::from_millis(400));
    pair.first("two");
    let outcome = pair.end();
    let files = [file("f-000000", "one\n"), file("f-000001", "there"), file("f-000002", "two\n")];
    assert_eq!(outcome.files, files);
    assert_eq!(
        outcome.log[2..],
        [
            "INFO: [t/c] TIME since last open, rotating...",
            "WARNING: [t/c] working file already exists: DIR/f-000001",
            "INFO: [t/c] opening DIR/f-000002",
            "INFO: [t/c] syncing 1 records to disk",
        ]
    );

    // The clock ends files without messages, too, if they are wanted.
    let ticking = [&flags[..], &["--sync-interval=100ms"]].concat();
    let pair = Pair::start(broker, &ticking);
    pair.say("INFO: [t/c] opening DIR/f-000002");
    pair.signal(Signal::TERM);
    for mut tool in pair.tools {
        assert_eq!(tool.process.ended_within(SOON).code(), Some(0));
        let files = tool.files();
        assert!(3 <= files.len() && files.iter().all(|(_, text)| text.is_empty()), "{files:?}");
    }
    let pair = Pair::start(broker, &[&ticking[..], &["--skip-empty-files"]].concat());
    pair.first("one");
    pair.say("INFO: [t/c] TIME since last open, rotating...");
    sleep(Duration::from_millis(500));
    let outcome = pair.end();
    assert_eq!(outcome.files, [file("f-000000", "one\n")]);
    assert_eq!(outcome.log.len(), 3, "{outcome:?}");
}

fn check_times(broker: Maker) {
    let flags = ["--output-dir=DIR", "--filename-format=f<REV>.<DATETIME>", "--rotate-size=9"];
    let flags = [&flags[..], &["--datetime-format=%S.000", NO_TICKS]].concat();
    let pair = Pair::start(broker, &flags);
    pair.first("one");
    // The name tells milliseconds.
    sleep(Duration::from_millis(20));
    pair.first("two");
    pair.signal(Signal::TERM);
    let outcomes = pair.tools.map(|tool| {
        let mut outcome = tool.outcome();
        let masked = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        outcome.log.iter_mut().for_each(|line| *line = masked(line));
        outcome.files.sort_by(|one, other| one.1.cmp(&other.1));
        outcome.files.iter_mut().for_each(|(name, _)| *name = masked(name));
        outcome
    });
    assert_eq!(outcomes[1], outcomes[0]);
    let [_, ours] = outcomes;
    let name = "f-000000.00.000";
    assert_eq!(ours.files, [file(name, "one\n"), file(name, "two\n")]);
    assert_eq!(ours.log[2], "INFO: [t/c] new filename f<REV>.00.000, rotating...");
}

fn check_gzip(broker: Maker) {
    let flags = ["--output-dir=DIR", "--filename-format=f<REV>", "--gzip", NO_TICKS];
    for level in ["1", "6", "9"] {
        let level = format!("--gzip-level={level}");
        let pair = Pair::prepared(broker, &[&flags[..], &[&level]].concat(), |folder| {
            fs::write(folder.join("f-000000.gz"), "").expect("a file can be made");
        });
        pair.first("one");
        pair.more(&["two", "three"], 2);
        pair.signal(Signal::HUP);
        pair.unfinished(0);
        pair.first("four");
        let outcome = pair.end();
        assert_eq!(
            outcome.files,
            [
                file("f-000000.gz", ""),
                file("f-000001.gz", "{one\n}{two\nthree\n}{}"),
                file("f-000002.gz", "{four\n}{}"),
            ]
        );
        assert_eq!(outcome.log[0], "WARNING: [t/c] working file already exists: DIR/f-000000.gz");
        assert_eq!(outcome.log[1], "INFO: [t/c] opening DIR/f-000001.gz");
    }
    // Where the tick makes an empty file, it is a whole compressed file in the end.
    let pair = Pair::start(broker, &[&flags[..3], &["--sync-interval=200ms"]].concat());
    pair.say("INFO: [t/c] opening DIR/f-000000.gz");
    assert_eq!(pair.end().files, [file("f-000000.gz", "{}")]);
}

fn check_work_folder(broker: Maker) {
    let flags =
        ["--work-dir=DIR/work", "--output-dir=DIR/out", "--filename-format=a/f<REV>", NO_TICKS];
    let pair = Pair::prepared(broker, &flags, |folder| {
        fs::create_dir_all(folder.join("out/a")).expect("folders can be made");
        fs::write(folder.join("out/a/f-000000"), "there").expect("a file can be made");
    });
    pair.first("one");
    for tool in &pair.tools {
        let files = [file("out/a/f-000000", "there"), file("work/a/f-000001", "one\n")];
        assert_eq!(tool.files(), files);
        let mode = fs::metadata(tool.folder.join("work/a")).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o007, 0, "others may not look into folders that are made");
        // Somebody takes the name of the file, and the one behind it, while it is written.
        for name in ["out/a/f-000001", "out/a/f-000002"] {
            fs::write(tool.folder.join(name), "taken").expect("a file can be made");
        }
    }
    let outcome = pair.end();
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(
        outcome.files,
        [
            file("out/a/f-000000", "there"),
            file("out/a/f-000001", "taken"),
            file("out/a/f-000002", "taken"),
            file("out/a/f-000003", "one\n"),
        ]
    );
    assert_eq!(
        outcome.log,
        [
            "WARNING: [t/c] output file already exists: DIR/out/a/f-000000",
            "INFO: [t/c] opening DIR/work/a/f-000001",
            "INFO: [t/c] syncing 1 records to disk",
            "INFO: [t/c] moving finished file DIR/work/a/f-000001 to DIR/out/a/f-000001",
            "WARNING: [t/c] destination file already exists: DIR/out/a/f-000001",
            "WARNING: [t/c] destination file already exists: DIR/out/a/f-000001",
            "INFO: [t/c] renamed finished file DIR/work/a/f-000001 to DIR/out/a/f-000003 to avoid overwrite",
        ]
    );

    // Every complete file moves, when the next begins.
    let pair = Pair::start(broker, &[&flags[..], &["--rotate-size=3"]].concat());
    pair.first("one");
    pair.first("two");
    for tool in &pair.tools {
        let files = [file("out/a/f-000000", "one\n"), file("work/a/f-000001", "two\n")];
        assert_eq!(tool.files(), files);
    }
    let files = pair.end().files;
    assert_eq!(files, [file("out/a/f-000000", "one\n"), file("out/a/f-000001", "two\n")]);
}

fn check_hang_up(broker: Maker) {
    // Without revisions, the same file is written on; with them, another begins.
    for (rotation, files) in [
        ("--rotate-size=0", &[("f", "one\ntwo\nthree\n")][..]),
        ("--rotate-size=100", &[("f-000000", "one\ntwo\n"), ("f-000001", "three\n")]),
    ] {
        let flags = ["--output-dir=DIR", "--filename-format=f<REV>", rotation, NO_TICKS];
        let pair = Pair::start(broker, &flags);
        pair.first("one");
        pair.more(&["two"], 1);
        pair.signal(Signal::HUP);
        pair.unfinished(0);
        // The second finds nothing to do, whether it comes before the next message or behind it.
        pair.signal(Signal::HUP);
        pair.first("three");
        let expected: Vec<_> = files.iter().map(|(name, text)| file(name, text)).collect();
        assert_eq!(pair.end().files, expected);
    }
    // As when files are rotated from outside.
    let pair = Pair::start(broker, &["--output-dir=DIR", "--filename-format=f", NO_TICKS]);
    pair.first("one");
    for tool in &pair.tools {
        fs::rename(tool.folder.join("f"), tool.folder.join("f.1")).expect("it can be moved");
    }
    pair.more(&["two"], 1);
    pair.signal(Signal::HUP);
    pair.unfinished(0);
    pair.first("three");
    assert_eq!(pair.end().files, [file("f", "three\n"), file("f.1", "one\ntwo\n")]);
}

fn check_in_flight(broker: Maker) {
    // All that may be in flight is: it has to be synced for more to come.
    let flags = ["--output-dir=DIR", "--filename-format=f", "--max-in-flight=3", NO_TICKS];
    let pair = Pair::start(broker, &flags);
    let bodies: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    pair.broker.client().publish_many("t", &bodies);
    for tool in &pair.tools {
        let left = |key| pair.broker.count("t", tool.channel, key);
        eventually(SOON, "most are finished", || {
            (left("depth") == 0 && left("in_flight_count") <= 2).then_some(())
        });
    }
    pair.signal(Signal::TERM);
    for tool in pair.tools {
        let outcome = tool.outcome();
        assert_eq!(outcome.exit_code, Some(0));
        let [(_, text)] = &outcome.files[..] else { panic!("{outcome:?}") };
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_by_key(|line| line.parse::<u32>().expect("a number"));
        assert_eq!(lines, bodies);
        let synced = outcome.log.iter().filter_map(|line| {
            let rest = line.strip_prefix("INFO: [t/c] syncing ")?;
            rest.strip_suffix(" records to disk")?.parse::<usize>().ok()
        });
        let synced: Vec<usize> = synced.collect();
        assert_eq!(synced.iter().sum::<usize>(), 100);
        assert!(synced.iter().all(|count| (1..=3).contains(count)), "{synced:?}");
    }
}

fn check_refusals(broker: Maker) {
    let name = "--filename-format=f<REV>";
    // A file where a folder should be, a folder where a file should be.
    for (flags, line) in [
        (
            ["--output-dir=DIR/file/below", name, NO_TICKS],
            "FATAL: [t/c] unable to create dir: mkdir DIR/file: not a directory",
        ),
        (
            ["--output-dir=DIR/a/b", "--filename-format=../../file/c/f", NO_TICKS],
            "FATAL: [t/c] unable to create dir: mkdir DIR/file: not a directory",
        ),
        (
            ["--output-dir=DIR", "--filename-format=folder", NO_TICKS],
            "FATAL: [t/c] unable to open DIR/folder: open DIR/folder: is a directory",
        ),
        (
            ["--output-dir=/proc/nowhere", name, NO_TICKS],
            "FATAL: [t/c] unable to create dir: mkdir /proc/nowhere/: no such file or directory",
        ),
    ] {
        let pair = Pair::prepared(broker, &flags, |folder| {
            fs::write(folder.join("file"), "").expect("a file can be made");
            fs::create_dir(folder.join("folder")).expect("a folder can be made");
        });
        pair.broker.client().publish("t", b"one");
        let outcome = pair.ended();
        assert_eq!(outcome.exit_code, Some(1));
        assert_eq!(outcome.log, [line]);
    }
    check_a_full_disk(broker);
}

fn check_a_full_disk(broker: Maker) {
    // Each takes about as much of the disk, compressed or not.
    let body = |seed: u64| -> String {
        let signs = (seed * 6000..seed * 6000 + 6000).map(|number| {
            // Mixed well, or it could be compressed.
            let mixed = (number ^ (number >> 7) ^ 0x5bd1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let sign = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
            char::from(b'!' + u8::try_from(sign % 90).expect("below 90"))
        });
        signs.collect()
    };
    let bodies: Vec<String> = (1..=20).map(body).collect();
    for gzip in ["--gzip=false", "--gzip=true"] {
        let disks = [SmallDisk::of(32 << 10), SmallDisk::of(32 << 10)];
        let [Some(real), Some(ours)] = &disks else { return };
        let outcomes = [(Maker::Real, real), (Maker::Ours, ours)].map(|(maker, disk)| {
            let broker = Broker::of(broker, &[]);
            let address = format!("--nsqd-tcp-address={}", broker.tcp);
            let flags = ["--topic=t", &address, "--output-dir=DIR", "--filename-format=f<REV>"];
            let flags = [&flags[..], &[gzip, NO_TICKS]].concat();
            let tool = Tool::start_in(maker, &flags, disk.path().to_owned(), None);
            let mut client = broker.client();
            bodies.iter().for_each(|body| client.publish("t", body.as_bytes()));
            let mut outcome = tool.outcome();
            // None of what was finished is missing.
            let channel = broker.channel("t", channel_of(maker)).expect("it is there");
            let count = |key: &str| channel[key].as_u64().expect("a number");
            let finished = 20 - count("depth") - count("in_flight_count");
            let is_whole = |body: &&String| outcome.files[0].1.contains(&format!("{body}\n"));
            let whole = bodies.iter().filter(is_whole).count() as u64;
            assert!(finished <= whole && (1..20).contains(&whole), "{maker:?}: {whole}");
            outcome.files.clear();
            // NSQ's writes the line feed by itself, and its buffers decide which of both fails.
            let last = outcome.log.pop().expect("it says why");
            outcome.log = vec![last.replace("writing newline to", "writing message to")];
            outcome
        });
        assert_eq!(outcomes[1], outcomes[0]);
        let [_, ours] = outcomes;
        assert_eq!(ours.exit_code, Some(1));
        let name = if gzip == "--gzip=true" { "f-000000.gz" } else { "f" };
        let reason = format!("write DIR/{name}: no space left on device");
        assert_eq!(ours.log, [format!("FATAL: [t/c] writing message to disk: {reason}")]);
    }
    // A folder on another disk cannot be moved to.
    let Some(disk) = SmallDisk::of(1 << 20) else { return };
    let output = format!("--output-dir={}", disk.path().display());
    let flags = ["--work-dir=DIR", &output, "--filename-format=f<REV>", NO_TICKS];
    let pair = Pair::start(broker, &flags);
    pair.first("one");
    pair.signal(Signal::HUP);
    let outcome = pair.ended();
    assert_eq!(outcome.exit_code, Some(1));
    let last = outcome.log.last().expect("it says why");
    assert!(last.starts_with("FATAL: [t/c] unable to move file from DIR/f-000000 to "), "{last}");
    assert!(last.ends_with(": invalid cross-device link"), "{last}");
}

/// Ours is killed again and again; what it has finished then is in its files.
fn check_kills(broker: Maker) {
    const MESSAGES: usize = 40_000;
    let _turn = Turn::take();
    for flags in [
        &["--output-dir=DIR/out"][..],
        &["--output-dir=DIR/out", "--gzip", "--gzip-level=1"],
        &["--output-dir=DIR/out", "--work-dir=DIR/work", "--rotate-size=20000"],
    ] {
        let broker = Broker::of(broker, &["--msg-timeout=1s"]);
        broker.order("/topic/create?topic=t");
        broker.order("/channel/create?topic=t&channel=ours");
        let mut client = broker.client();
        for first in (0..MESSAGES).step_by(1000) {
            let bodies: Vec<String> =
                (first..first + 1000).map(|number| format!("message {number:05}.")).collect();
            client.publish_many("t", &bodies);
        }
        let folder = TempDir::new().expect("the temporary folder can be written");
        let address = format!("--nsqd-tcp-address={}", broker.tcp);
        let same = ["--topic=t", &address, "--filename-format=f<REV>", "--max-in-flight=100"];
        let finished = |broker: &Broker| {
            let channel = broker.channel("t", "ours").expect("it is there");
            let count = |key: &str| channel[key].as_i64().expect("a number");
            i64::try_from(MESSAGES).expect("a small number")
                - count("depth")
                - count("in_flight_count")
                - count("deferred_count")
        };
        let mut before = 0;
        for life in 0..6 {
            let flags = [&same[..], flags].concat();
            let mut tool = Tool::start_in(Maker::Ours, &flags, folder.path().to_owned(), None);
            // Somewhere on the way, at another place each time.
            let goal = before + 200 + life * 37;
            let end = Instant::now() + SOON;
            // For a moment those that time out, a hundred at most, are neither in flight nor waiting.
            while finished(&broker) < goal + 100 && Instant::now() < end {
                sleep(Duration::from_millis(1));
            }
            tool.process.kill();
            assert!(goal <= finished(&broker), "it went on: {}", tool.process.log());
            before = finished(&broker);
        }
        // What is left is read by somebody else.
        let left = eventually(SOON, "the messages of the dead come back", || {
            let channel = broker.channel("t", "ours")?;
            let unanswered = ["in_flight_count", "deferred_count"];
            unanswered.iter().all(|&key| channel[key] == 0).then(|| channel["depth"].as_u64())?
        });
        let left = usize::try_from(left).expect("a count");
        // It has more time than the broker gives by itself, lest anything come to it twice.
        let mut reader = broker.client();
        reader.identify(r#"{"msg_timeout":600000}"#);
        reader.subscribe("t", "ours");
        reader.ready(2500);
        let mut found = BTreeSet::new();
        for _ in 0..left {
            let message = reader.message();
            reader.finish(&message);
            found.insert(message.text());
        }
        let mut paths = Vec::new();
        files_below(folder.path(), &mut paths);
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for path in &paths {
            let content = fs::read(path).expect("a file can be read");
            let text = if path.extension().is_some_and(|end| end == "gz") {
                members(&content).0.concat()
            } else {
                String::from_utf8(content).expect("the messages are text")
            };
            for line in text.lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
        let missing: Vec<String> = (0..MESSAGES)
            .map(|number| format!("message {number:05}."))
            .filter(|body| !found.contains(body) && !lines.contains_key(body))
            .collect();
        assert!(missing.is_empty(), "{flags:?}: {} of {MESSAGES}: {missing:?}", missing.len());
        assert!(left < MESSAGES && MESSAGES - left <= lines.len(), "files hold what is finished");
    }
}

#[test]
fn a_hang_up_with_a_work_folder_moves_the_file_and_goes_on_and_ends_nsqs() {
    if !utility::is_here(NAME) {
        return;
    }
    let flags = ["--work-dir=DIR/work", "--output-dir=DIR/out", "--filename-format=f<REV>"];
    let pair = Pair::start(Maker::Ours, &[&flags[..], &[NO_TICKS]].concat());
    pair.first("one");
    pair.signal(Signal::HUP);
    pair.say("INFO: [t/c] moving finished file DIR/work/f-000000 to DIR/out/f-000000");
    pair.broker.client().publish("t", b"two");
    let Pair { broker, tools: [real, ours] } = pair;
    let outcome = real.outcome();
    assert_eq!(outcome.exit_code, Some(1));
    let last = outcome.log.last().expect("it says why");
    assert!(last.ends_with("write DIR/work/f-000000: file already closed"), "{last}");
    broker.count_becomes("t", "ours", "in_flight_count", 0);
    ours.process.signal(Signal::TERM);
    let outcome = ours.outcome();
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(outcome.files, [file("out/f-000000", "one\n"), file("out/f-000001", "two\n")]);
}

#[test]
fn what_a_dead_process_left_torn_stays_a_line_of_its_own_and_grows_in_nsq() {
    if !utility::is_here(NAME) {
        return;
    }
    let flags = ["--output-dir=DIR", "--filename-format=f", NO_TICKS];
    let pair = Pair::prepared(Maker::Ours, &flags, |folder| {
        fs::write(folder.join("f"), "whole\nto").expect("a file can be made");
    });
    pair.first("torn");
    let files = pair.tools.each_ref().map(Tool::files);
    let [real, ours] = files;
    assert_eq!(real, [file("f", "whole\ntotorn\n")]);
    assert_eq!(ours, [file("f", "whole\nto\ntorn\n")]);
}

#[test]
fn usage_and_what_is_wrong_with_flags_are_as_nsqs() {
    if !utility::is_here(NAME) {
        return;
    }
    for line in [
        "-h",
        "--help",
        "--bogus",
        "--gzip-level=x --topic=t",
        "--sync-interval=5",
        "--gzip=maybe",
        "--topic",
        "extra",
        "--topic=t extra more",
        "--topic=t -- extra",
        "--log-level=loud --version",
        "--version",
        "--version --topic=t",
        "--version=false --channel=",
        "",
        "--channel=",
        "--http-client-connect-timeout=0",
        "--http-client-connect-timeout=-1s",
        "--http-client-request-timeout=-5m",
        "--topic=t",
        "--topic=t --nsqd-tcp-address=127.0.0.1:1 --lookupd-http-address=127.0.0.1:1",
        "--topic=t --nsqd-tcp-address=127.0.0.1:1 --gzip-level=0",
        "--topic=t --nsqd-tcp-address=127.0.0.1:1 --gzip-level=10",
        "--topic=t --nsqd-tcp-address=127.0.0.1:1 --gzip-level=-1",
        "--nsqd-tcp-address=127.0.0.1:1",
        "--nsqd-tcp-address=127.0.0.1:1 --topic-pattern=x",
    ] {
        let flags: Vec<&str> = line.split_whitespace().collect();
        let [real, ours] = MAKERS.map(|maker| utility::run(maker, NAME, &flags, b"").masked());
        assert_eq!(ours, real, "{line}");
    }
}

#[test]
fn a_sync_interval_of_nothing_is_refused_and_breaks_nsqs() {
    if !utility::is_here(NAME) {
        return;
    }
    let broker = Broker::of(Maker::Ours, &[]);
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let flags = ["--topic=t", &address, "--sync-interval=0"];
    let [real, ours] = MAKERS.map(|maker| utility::run(maker, NAME, &flags, b"").masked());
    assert!(real.exit_code == Some(2) && real.log.contains("panic"), "{}", real.log);
    assert_eq!(ours.exit_code, Some(1));
    assert_eq!(ours.log, "--sync-interval should be positive");
}

#[test]
fn a_format_without_a_revision_is_named_and_nothing_ends() {
    if !utility::is_here(NAME) {
        return;
    }
    for flag in ["--gzip", "--rotate-size=5", "--rotate-interval=1s", "--work-dir=DIR/work"] {
        let flags = ["--topic=t", "--nsqd-tcp-address=127.0.0.1:1", "--output-dir=DIR", flag];
        let flags = [&flags[..], &["--filename-format=<TOPIC>.log"]].concat();
        let outcomes = MAKERS.map(|maker| {
            let mut tool = Tool::start(maker, &flags);
            let line = "ERROR: couldn't create logger for new topic t: missing <REV> in \
                        --filename-format when gzip, rotation, or work dir enabled";
            tool.says(line);
            assert!(tool.process.is_running());
            tool.process.signal(Signal::TERM);
            tool.outcome()
        });
        assert_eq!(outcomes[1], outcomes[0], "{flag}");
        assert_eq!((outcomes[1].exit_code, outcomes[1].log.len()), (Some(0), 1));
    }
}

#[test]
fn a_topic_that_cannot_be_had_is_tried_again_and_never_by_nsqs() {
    if !utility::is_here(NAME) {
        return;
    }
    // A port that nobody has, and that nobody is given who asks for any.
    let address = "127.0.0.1:1";
    let flag = format!("--nsqd-tcp-address={address}");
    let flags = ["--topic=t", &flag, "--output-dir=DIR", "--filename-format=f"];
    let tools =
        MAKERS.map(|maker| Tool::start(maker, &[&flags[..], &["--topic-refresh=300ms"]].concat()));
    let reason = format!("dial tcp {address}: connect: connection refused");
    let line = format!("ERROR: couldn't create logger for new topic t: {reason}");
    tools.iter().for_each(|tool| tool.says(&line));
    let [real, ours] = &tools;
    eventually(SOON, "ours says it again", || {
        (2 <= ours.log().iter().filter(|said| **said == line).count()).then_some(())
    });
    assert_eq!(real.log(), [line]);
}

#[test]
fn topics_are_filtered_whether_named_or_found() {
    if !utility::is_here(NAME) {
        return;
    }
    for maker in MAKERS {
        let lookup = LookupServer::of(maker);
        let broker = Broker::of(maker, &[&lookup.flag()]);
        let publish = |topic: &str, body: &str| {
            broker.client().publish(topic, body.as_bytes());
            eventually(SOON, "it is registered", || {
                lookup
                    .get(&format!("/lookup?topic={topic}"))
                    .text()
                    .contains("tcp_port")
                    .then_some(())
            });
        };
        for channel in MAKERS.map(channel_of) {
            for topic in ["apple", "pear", "plum"] {
                broker.order(&format!("/topic/create?topic={topic}"));
                broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
            }
        }
        publish("apple", "one");
        publish("pear", "two");
        publish("plum", "three");
        let lookups = format!("--lookupd-http-address={}", lookup.http);
        let same =
            ["--output-dir=DIR", "--filename-format=<TOPIC>", &lookups, "--topic-pattern=^p"];

        // Named: one matches, one does not, one is named twice.
        let named = ["--topic=pear", "--topic=apple", "--topic=pear"];
        let outcomes = MAKERS.map(|maker| {
            let tool = Tool::start(maker, &[&same[..], &named].concat());
            broker.count_becomes("pear", tool.channel, "depth", 0);
            broker.count_becomes("pear", tool.channel, "in_flight_count", 0);
            tool.process.signal(Signal::TERM);
            let mut outcome = tool.outcome();
            outcome.log.sort();
            outcome
        });
        assert_eq!(outcomes[1], outcomes[0]);
        let [_, ours] = outcomes;
        assert_eq!(ours.files, [file("pear", "two\n")]);
        let line = "WARNING: skipping topic apple (doesn't match pattern ^p)".to_owned();
        assert!(ours.log.contains(&line), "{:?}", ours.log);

        // Found, also later.
        let tools = MAKERS
            .map(|maker| Tool::start(maker, &[&same[..], &["--topic-refresh=300ms"]].concat()));
        for tool in &tools {
            broker.count_becomes("plum", tool.channel, "in_flight_count", 0);
            broker.count_becomes("plum", tool.channel, "client_count", 1);
            tool.says(&line);
        }
        broker.order("/topic/create?topic=peach");
        for channel in MAKERS.map(channel_of) {
            broker.order(&format!("/channel/create?topic=peach&channel={channel}"));
        }
        publish("peach", "four");
        let outcomes = tools.map(|tool| {
            broker.count_becomes("peach", tool.channel, "client_count", 1);
            for topic in ["plum", "peach"] {
                broker.count_becomes(topic, tool.channel, "depth", 0);
                broker.count_becomes(topic, tool.channel, "in_flight_count", 0);
            }
            tool.process.signal(Signal::TERM);
            let mut outcome = tool.outcome();
            outcome.log.sort();
            outcome.log.dedup();
            outcome
        });
        assert_eq!(outcomes[1], outcomes[0]);
        let [_, ours] = outcomes;
        assert_eq!(ours.files, [file("peach", "four\n"), file("plum", "three\n")]);
    }
}

#[test]
fn topics_are_found_though_one_nsqlookupd_does_not_answer_and_never_by_nsqs() {
    if !utility::is_here(NAME) {
        return;
    }
    let nobody = Port::any();
    let gone = nobody.address;
    let lookup = LookupServer::of(Maker::Ours);
    let broker = Broker::of(Maker::Ours, &[&lookup.flag()]);
    broker.client().publish("t", b"one");
    eventually(SOON, "it is registered", || {
        lookup.get("/lookup?topic=t").text().contains("tcp_port").then_some(())
    });
    // The first is the one that is asked for the topic's brokers at once.
    let lookups = [lookup.http, gone].map(|http| format!("--lookupd-http-address={http}"));
    let flags = ["--output-dir=DIR", "--filename-format=f", "--topic-pattern=t"];
    let flags = [&flags[..], &["--topic-refresh=300ms", &lookups[0], &lookups[1]]].concat();
    let tools = MAKERS.map(|maker| Tool::start(maker, &flags));
    let reason =
        format!("Get \"http://{gone}/topics\": dial tcp {gone}: connect: connection refused");
    let line = format!("ERROR: could not retrieve topic list: {reason}");
    tools.iter().for_each(|tool| tool.says(&line));
    let [real, ours] = tools;
    eventually(SOON, "ours finds the topic", || {
        (ours.files() == [file("f", "one\n")]).then_some(())
    });
    assert_eq!(real.files(), []);
    assert!(real.log().iter().all(|said| *said == line));
}

#[test]
fn a_setting_that_is_none_is_passed_over() {
    if !utility::is_here(NAME) {
        return;
    }
    let broker = Broker::of(Maker::Ours, &[]);
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let options = ["nonsense", "msg_timeout,never", "client_id,me", "user_agent,mine"];
    let options = options.map(|option| format!("--consumer-opt={option}"));
    let mut flags = vec!["--topic=t", &address, "--output-dir=DIR"];
    flags.extend(options.iter().map(String::as_str));
    let clients = MAKERS.map(|maker| {
        let tool = Tool::start(maker, &flags);
        let client = eventually(SOON, "it has subscribed and is ready", || {
            let stats = broker.get("/stats?format=json").json();
            let channels = stats["topics"][0]["channels"].as_array()?.clone();
            let channel =
                channels.into_iter().find(|channel| channel["channel_name"] == tool.channel)?;
            let client = channel["clients"].as_array()?.first()?.clone();
            (client["ready_count"] != 0).then_some(client)
        });
        ["client_id", "user_agent", "ready_count"].map(|key| client[key].to_string())
    });
    assert_eq!(clients[1], clients[0]);
    assert_eq!(clients[1][..2], ["\"me\"", "\"nsq_to_file/1.3.0 go-nsq/1.1.0\""]);
}
