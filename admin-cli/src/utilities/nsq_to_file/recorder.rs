//! One topic's files: which one a message goes to, when it is synced, when the next begins.
//!
//! Knows: every rule about files. Does not know: brokers, threads, the clock; time is an argument.
//!
//! What is told to a recorder, and what it does (NSQ behaviour):
//!
//! | | |
//! |---|---|
//! | a message | into a new file if there is none or it is time for one; then all is synced |
//! | the tick of the sync interval | a new file if it is time, or with `--skip-empty-files` just the end of the old one; then all is synced |
//! | hang up (SIGHUP) | all is synced, and the file ends; the next message begins another |
//! | settle | all is synced if that is wished |
//!
//! It is time for a new file when there is none, the name has changed, the interval is over, or the
//! file has grown too large. A message counts as recorded only when a sync behind it has succeeded.
//!
//! Bounds: [`WAITING_BYTES_MAX`] and one message wait in memory to be written.

use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use startup::duration;
use startup::log::LogLevel;

use super::name::{self, Names};
use super::path;
use super::waiting::Waiting;
use super::world::{Opened, Opening, World};
use crate::client::dial::words;

/// How many bytes of messages are written at once.
const WAITING_BYTES_MAX: usize = 128 << 10;

/// What fails when messages cannot be written, in NSQ's words.
const WRITING: &str = "writing message to disk";

/// How files are to be made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `topic/channel`, for the log.
    pub(super) label: String,
    /// Where files are written.
    pub(super) work_dir: String,
    /// Where they go when they are complete.
    pub(super) output_dir: String,
    /// The level of compression, 1 to 9; `None` for plain files.
    pub(super) gzip_level: Option<u8>,
    /// A file ends when it holds more than this, before compression.
    pub(super) rotate_bytes: Option<u64>,
    /// A file ends when it was open for longer than this.
    pub(super) rotate_interval: Option<Duration>,
    /// Whether files are made only for messages.
    pub(super) skip_empty_files: bool,
    /// All is synced when so many messages are not.
    pub(super) unsynced_max: usize,
}

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// The time of day, for names.
    pub(super) wall: Timestamp,
    /// Since any fixed moment, for intervals.
    pub(super) steady: Duration,
}

/// What ends the process: a line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fatal(pub(super) String);

/// See the head of this file.
pub(super) struct Recorder<W: World> {
    world: W,
    plan: Plan,
    names: Names,
    current: Option<Current<W::File>>,
    /// What is to be written into the current file. Invariant: nothing when there is none.
    waiting: Waiting,
    /// The name of the last file, with `<REV>` in it; empty before the first.
    name: String,
    revision: u64,
    /// Messages behind the last sync. Invariant: none when there is no file.
    unsynced: usize,
    /// Messages that were synced since [`Self::take_synced`].
    synced: usize,
}

/// The file that is written to.
struct Current<File> {
    file: File,
    path: String,
    opened: Duration,
    /// What it holds with what waits in memory, before compression.
    bytes: u64,
}

/// Why a file was not moved.
struct Unmoved {
    /// Another file has the name.
    is_taken: bool,
    text: String,
}

impl<W: World> Recorder<W> {
    pub(super) fn new(plan: Plan, names: Names, world: W) -> Self {
        Self {
            world,
            waiting: Waiting::new(plan.gzip_level),
            plan,
            names,
            current: None,
            name: String::new(),
            revision: 0,
            unsynced: 0,
            synced: 0,
        }
    }

    /// Records a message: its body and a line feed.
    pub(super) fn message(&mut self, body: &[u8], now: Now) -> Result<(), Fatal> {
        let is_first = self.is_time_for_a_file(now);
        if is_first {
            self.begin_file(now)?;
        }
        let current = self.current.as_mut().expect("a file was begun if there was none");
        current.bytes += self.waiting.push_line(body);
        self.unsynced += 1;
        if WAITING_BYTES_MAX <= self.waiting.len() {
            self.write_out(WRITING)?;
        }
        self.settle(is_first || self.plan.unsynced_max <= self.unsynced)
    }

    /// The sync interval is over.
    pub(super) fn tick(&mut self, now: Now) -> Result<(), Fatal> {
        let is_time = self.is_time_for_a_file(now);
        if is_time && !self.plan.skip_empty_files {
            self.begin_file(now)?;
        }
        self.settle(true)?;
        if is_time && self.plan.skip_empty_files {
            self.end_file()?;
        }
        Ok(())
    }

    /// Syncs everything and ends the file; also at the end of all.
    pub(super) fn hang_up(&mut self) -> Result<(), Fatal> {
        self.settle(true)?;
        self.end_file()
    }

    /// Syncs everything if that is wished.
    pub(super) fn settle(&mut self, is_wished: bool) -> Result<(), Fatal> {
        if is_wished && 0 < self.unsynced {
            let unsynced = self.unsynced;
            self.say(LogLevel::Info, format_args!("syncing {unsynced} records to disk"));
            self.sync()?;
            self.synced += std::mem::take(&mut self.unsynced);
        }
        Ok(())
    }

    /// Shows what was recorded to whoever reads the file. A compressed file shows all after a sync.
    pub(super) fn show(&mut self) -> Result<(), Fatal> {
        self.write_out(WRITING)
    }

    /// How many messages were synced since this was asked last, the oldest first.
    pub(super) fn take_synced(&mut self) -> usize {
        std::mem::take(&mut self.synced)
    }

    fn is_time_for_a_file(&mut self, now: Now) -> bool {
        let Some(current) = &self.current else { return true };
        let name = self.names.at(now.wall);
        let open_for = now.steady.saturating_sub(current.opened);
        let reason = if name != self.name {
            format!("new filename {name}, rotating...")
        } else if self.plan.rotate_interval.is_some_and(|interval| interval < open_for) {
            format!("{} since last open, rotating...", duration::format(open_for))
        } else if let Some(max) = self.plan.rotate_bytes
            && max < current.bytes
        {
            too_large(&current.path, current.bytes, max)
        } else {
            return false;
        };
        self.say(LogLevel::Info, reason);
        true
    }

    /// Ends the file, if there is one, and begins the next.
    fn begin_file(&mut self, now: Now) -> Result<(), Fatal> {
        self.end_file()?;
        let name = self.names.at(now.wall);
        if name == self.name {
            self.revision += 1;
        } else {
            self.revision = 0;
            name.clone_into(&mut self.name);
        }
        let template = path::join(&self.plan.work_dir, &self.name);
        self.make_folder_of(&template)?;
        loop {
            let path = name::with_revision(&template, self.revision);
            if let Some(Opened { file, bytes, is_torn }) = self.open(&path)? {
                self.say(LogLevel::Info, format_args!("opening {path}"));
                let Some(max) = self.plan.rotate_bytes.filter(|max| *max < bytes) else {
                    // A torn line comes from a process that did not get to its end; its message is
                    // delivered again, and none may grow onto what is left of it.
                    let repair = if is_torn { self.waiting.push_line(b"") } else { 0 };
                    let (opened, bytes) = (now.steady, bytes + repair);
                    self.current = Some(Current { file, path, opened, bytes });
                    return Ok(());
                };
                self.say(LogLevel::Info, too_large(&path, bytes, max));
            }
            self.revision += 1;
        }
    }

    /// Opens a file, unless its name is taken where it will be or is to go.
    fn open(&mut self, path: &str) -> Result<Option<Opened<W::File>>, Fatal> {
        if self.has_work_dir() {
            let destination = self.destination(path);
            self.make_folder_of(&destination)?;
            match self.world.exists(&destination) {
                Ok(false) => {}
                Ok(true) => {
                    let text = format_args!("output file already exists: {destination}");
                    self.say(LogLevel::Warn, text);
                    return Ok(None);
                }
                Err(error) => {
                    let error = said("stat", &destination, &error);
                    let what = format_args!("unable to stat output file {destination}: {error}");
                    return Err(self.fatal(what));
                }
            }
        }
        let is_new = self.waiting.is_compressed() || self.plan.rotate_interval.is_some();
        let opening = if is_new { Opening::New } else { Opening::Append };
        match self.world.open(path, opening) {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.say(LogLevel::Warn, format_args!("working file already exists: {path}"));
                Ok(None)
            }
            Err(error) => {
                let error = said("open", path, &error);
                Err(self.fatal(format_args!("unable to open {path}: {error}")))
            }
        }
    }

    /// Ends the file, if there is one, and moves it to where complete files go.
    fn end_file(&mut self) -> Result<(), Fatal> {
        if self.current.is_none() {
            return Ok(());
        }
        self.waiting.end_member();
        self.write_out("failed to close GZIP writer")?;
        self.sync_file("failed to fsync output file")?;
        let current = self.current.take().map(|current| current.path);
        match current {
            Some(path) if self.has_work_dir() => self.move_out(&path),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        self.waiting.end_member();
        self.write_out("failed syncing messages")?;
        self.sync_file("failed syncing messages")
    }

    /// Writes what waits. In a plain file a failure is one of [`WRITING`], whatever was to be done.
    fn write_out(&mut self, what: &str) -> Result<(), Fatal> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let bytes = self.waiting.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.world.write(&mut current.file, bytes);
        bytes.clear();
        if let Err(error) = written {
            let error = said("write", &current.path, &error);
            let what = if self.waiting.is_compressed() { what } else { WRITING };
            return Err(self.fatal(format_args!("{what}: {error}")));
        }
        Ok(())
    }

    fn sync_file(&mut self, what: &str) -> Result<(), Fatal> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(error) = self.world.sync(&mut current.file) {
            let error = said("sync", &current.path, &error);
            return Err(self.fatal(format_args!("{what}: {error}")));
        }
        Ok(())
    }

    /// Moves a complete file from the work folder to the output folder, to a name that is free.
    fn move_out(&mut self, source: &str) -> Result<(), Fatal> {
        let destination = self.destination(source);
        let text = format_args!("moving finished file {source} to {destination}");
        self.say(LogLevel::Info, text);
        match self.rename(source, &destination) {
            Ok(()) => return Ok(()),
            Err(failure) if failure.is_taken => {}
            Err(Unmoved { text, .. }) => {
                let what = format_args!("unable to move file from {source} to {destination}");
                return Err(self.fatal(format_args!("{what}: {text}")));
            }
        }
        // The name was free when the file was opened; one with a later revision may be now.
        let (folder, _) = path::split(&destination);
        let (_, name) = path::split(&self.name);
        let template = path::join(folder, name);
        let mut revision = self.revision;
        loop {
            revision += 1;
            let text = format_args!("destination file already exists: {destination}");
            self.say(LogLevel::Warn, text);
            let other = name::with_revision(&template, revision);
            match self.rename(source, &other) {
                Ok(()) => {
                    let text = format_args!(
                        "renamed finished file {source} to {other} to avoid overwrite"
                    );
                    self.say(LogLevel::Info, text);
                    return Ok(());
                }
                // Where only a folder has the revision in its name, no other name would follow.
                Err(failure) if failure.is_taken && other != template => {}
                Err(Unmoved { text, .. }) => {
                    let what = format_args!("unable to rename file from {source} to {other}");
                    return Err(self.fatal(format_args!("{what}: {text}")));
                }
            }
        }
    }

    /// Moves a file within its file system, and never over another.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), Unmoved> {
        self.world.link(from, to).map_err(|error| Unmoved {
            is_taken: error.kind() == io::ErrorKind::AlreadyExists,
            text: format!("link {from} {to}: {}", words(&error)),
        })?;
        self.world
            .remove(from)
            .map_err(|error| Unmoved { is_taken: false, text: said("remove", from, &error) })
    }

    fn make_folder_of(&mut self, path: &str) -> Result<(), Fatal> {
        match path::split(path).0 {
            "" => Ok(()),
            folder => self.world.make_folder(folder).map_err(|(folder, error)| {
                let error = said("mkdir", &folder, &error);
                self.fatal(format_args!("unable to create dir: {error}"))
            }),
        }
    }

    /// Where a file of the work folder goes. A work folder that is written otherwise than its files'
    /// paths stays part of them (NSQ behaviour).
    fn destination(&self, path: &str) -> String {
        let name = path.strip_prefix(self.plan.work_dir.as_str()).unwrap_or(path);
        path::join(&self.plan.output_dir, name)
    }

    fn has_work_dir(&self) -> bool {
        self.plan.work_dir != self.plan.output_dir
    }

    fn say(&mut self, level: LogLevel, text: impl fmt::Display) {
        self.world.say(level, &format!("[{}] {text}", self.plan.label));
    }

    fn fatal(&self, text: impl fmt::Display) -> Fatal {
        Fatal(format!("[{}] {text}", self.plan.label))
    }
}

fn too_large(path: &str, bytes: u64, max: u64) -> String {
    format!("{path} currently {bytes} bytes (> {max}), rotating...")
}

/// An error as Go says it: what was done to which file, and why it failed.
fn said(operation: &str, path: &str, error: &io::Error) -> String {
    format!("{operation} {path}: {}", words(error))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::Read as _;
    use std::rc::Rc;

    use flate2::bufread::{GzDecoder, MultiGzDecoder};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::utilities::nsq_to_file::name::Naming;

    /// Files in memory, and all that was done and said. Clones are the same world.
    #[derive(Clone, Default)]
    struct Memory(Rc<RefCell<State>>);

    #[derive(Default)]
    struct State {
        files: BTreeMap<String, Vec<u8>>,
        folders: BTreeSet<String>,
        /// What happened since it was looked at last.
        journal: Vec<String>,
        /// What fails from now on, and the number of its error.
        refused: Option<(&'static str, i32)>,
    }

    impl Memory {
        fn attempt(&self, operation: &str) -> io::Result<()> {
            match self.0.borrow().refused {
                Some((refused, error)) if refused == operation => {
                    Err(io::Error::from_raw_os_error(error))
                }
                _ => Ok(()),
            }
        }

        fn note(&self, text: String) {
            self.0.borrow_mut().journal.push(text);
        }

        fn put(&self, path: &str, content: &[u8]) {
            self.0.borrow_mut().files.insert(path.to_owned(), content.to_vec());
        }

        fn text(&self, path: &str) -> String {
            let state = self.0.borrow();
            let content = state.files.get(path).unwrap_or_else(|| panic!("no {path}"));
            String::from_utf8(content.clone()).unwrap()
        }

        fn names(&self) -> Vec<String> {
            self.0.borrow().files.keys().cloned().collect()
        }
    }

    impl World for Memory {
        type File = String;

        fn make_folder(&mut self, path: &str) -> Result<(), (String, io::Error)> {
            self.attempt("mkdir").map_err(|error| (path.to_owned(), error))?;
            self.0.borrow_mut().folders.insert(path.to_owned());
            Ok(())
        }

        fn exists(&mut self, path: &str) -> io::Result<bool> {
            self.attempt("stat")?;
            Ok(self.0.borrow().files.contains_key(path))
        }

        fn open(&mut self, path: &str, opening: Opening) -> io::Result<Opened<String>> {
            self.attempt("open")?;
            let (folder, _) = path::split(path);
            assert!(folder.is_empty() || self.0.borrow().folders.contains(folder), "{path}");
            let mut state = self.0.borrow_mut();
            if opening == Opening::New && state.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let content = state.files.entry(path.to_owned()).or_default();
            let is_torn = content.last().is_some_and(|last| *last != b'\n');
            Ok(Opened { file: path.to_owned(), bytes: content.len() as u64, is_torn })
        }

        fn write(&mut self, file: &mut String, bytes: &[u8]) -> io::Result<()> {
            self.attempt("write")?;
            self.0.borrow_mut().files.get_mut(file).unwrap().extend_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self, file: &mut String) -> io::Result<()> {
            self.attempt("sync")?;
            self.note(format!("sync {file}"));
            Ok(())
        }

        fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
            self.attempt("link")?;
            let mut state = self.0.borrow_mut();
            if state.files.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let content = state.files[from].clone();
            state.files.insert(to.to_owned(), content);
            Ok(())
        }

        fn remove(&mut self, path: &str) -> io::Result<()> {
            self.attempt("remove")?;
            self.0.borrow_mut().files.remove(path).expect("it is there");
            Ok(())
        }

        fn say(&mut self, level: LogLevel, text: &str) {
            let text = text.strip_prefix("[t/c] ").expect("a line says whose it is");
            self.note(format!("{level} {text}"));
        }
    }

    /// A recorder at work, second by second.
    struct Scene {
        recorder: Recorder<Memory>,
        memory: Memory,
        second: i64,
    }

    fn plan() -> Plan {
        Plan {
            label: "t/c".to_owned(),
            work_dir: "/out".to_owned(),
            output_dir: "/out".to_owned(),
            gzip_level: None,
            rotate_bytes: None,
            rotate_interval: None,
            skip_empty_files: false,
            unsynced_max: 4,
        }
    }

    /// Names change every minute.
    fn scene(plan: Plan) -> Scene {
        let naming = Naming {
            format: "f<REV>.<DATETIME>".to_owned(),
            datetime_format: "%M".to_owned(),
            host_identifier: String::new(),
            hostname: "host".to_owned(),
            process: 1,
            needs_revision: plan.gzip_level.is_some()
                || plan.rotate_bytes.is_some()
                || plan.rotate_interval.is_some()
                || plan.work_dir != plan.output_dir,
            is_gzip: plan.gzip_level.is_some(),
        };
        let memory = Memory::default();
        let names = Names::new(&naming, "t", TimeZone::UTC).unwrap();
        Scene { recorder: Recorder::new(plan, names, memory.clone()), memory, second: 0 }
    }

    impl Scene {
        fn now(&self) -> Now {
            Now {
                wall: Timestamp::from_second(self.second).unwrap(),
                steady: Duration::from_secs(self.second.unsigned_abs()),
            }
        }

        /// Does what the words say, and shows what happened.
        fn try_step(&mut self, step: &str) -> Result<Vec<String>, Fatal> {
            let now = self.now();
            match step.split_once(' ') {
                Some(("message", body)) => self.recorder.message(body.as_bytes(), now)?,
                Some(("wait", seconds)) => self.second += seconds.parse::<i64>().unwrap(),
                _ if step == "tick" => self.recorder.tick(now)?,
                _ if step == "hang up" => self.recorder.hang_up()?,
                _ if step == "starved" => self.recorder.settle(true)?,
                _ if step == "not starved" => self.recorder.settle(false)?,
                _ => panic!("what is {step}?"),
            }
            self.recorder.show()?;
            Ok(std::mem::take(&mut self.memory.0.borrow_mut().journal))
        }

        fn plays(&mut self, steps: &[(&str, &[&str])]) {
            for (number, (step, expected)) in steps.iter().enumerate() {
                assert_eq!(self.try_step(step).unwrap(), *expected, "{step}, step {number}");
            }
        }

        fn fails(&mut self, step: &str, refused: (&'static str, i32), text: &str) {
            self.memory.0.borrow_mut().refused = Some(refused);
            let Fatal(said) = self.try_step(step).unwrap_err();
            assert_eq!(said, format!("[t/c] {text}"));
        }
    }

    #[test]
    fn the_first_message_is_synced_at_once_and_later_ones_when_enough_wait() {
        let mut scene = scene(plan());
        scene.plays(&[
            (
                "message a",
                &["INFO opening /out/f.00", "INFO syncing 1 records to disk", "sync /out/f.00"],
            ),
            ("message b", &[]),
            ("not starved", &[]),
            ("starved", &["INFO syncing 1 records to disk", "sync /out/f.00"]),
            ("starved", &[]),
            ("message c", &[]),
            ("message d", &[]),
            ("tick", &["INFO syncing 2 records to disk", "sync /out/f.00"]),
            ("tick", &[]),
            ("message e", &[]),
            ("message f", &[]),
            ("message g", &[]),
        ]);
        assert_eq!(scene.recorder.take_synced(), 4);
        assert_eq!(scene.memory.text("/out/f.00"), "a\nb\nc\nd\ne\nf\ng\n", "shown before a sync");
        scene.plays(&[("message h", &["INFO syncing 4 records to disk", "sync /out/f.00"])]);
        assert_eq!(scene.recorder.take_synced(), 4);
        assert_eq!(scene.recorder.take_synced(), 0);
    }

    #[test]
    fn a_new_name_begins_a_new_file_and_both_are_synced() {
        let mut scene = scene(plan());
        scene.try_step("message a").unwrap();
        scene.plays(&[
            ("message b", &[]),
            ("wait 60", &[]),
            (
                "message c",
                &[
                    "INFO new filename f.01, rotating...",
                    "sync /out/f.00",
                    "INFO opening /out/f.01",
                    "INFO syncing 2 records to disk",
                    "sync /out/f.01",
                ],
            ),
        ]);
        assert_eq!(scene.memory.text("/out/f.00"), "a\nb\n");
        assert_eq!(scene.memory.text("/out/f.01"), "c\n");
    }

    #[test]
    fn a_tick_makes_files_without_messages_unless_they_are_not_wanted() {
        let mut wanted = scene(plan());
        wanted.plays(&[
            ("tick", &["INFO opening /out/f.00"]),
            ("wait 60", &[]),
            (
                "tick",
                &[
                    "INFO new filename f.01, rotating...",
                    "sync /out/f.00",
                    "INFO opening /out/f.01",
                ],
            ),
        ]);
        let mut unwanted = scene(Plan { skip_empty_files: true, ..plan() });
        unwanted.plays(&[("tick", &[]), ("hang up", &[])]);
        unwanted.try_step("message a").unwrap();
        unwanted.plays(&[
            ("message b", &[]),
            ("wait 60", &[]),
            (
                "tick",
                &[
                    "INFO new filename f.01, rotating...",
                    "INFO syncing 1 records to disk",
                    "sync /out/f.00",
                    "sync /out/f.00",
                ],
            ),
            ("tick", &[]),
        ]);
        assert_eq!(unwanted.memory.names(), ["/out/f.00"]);
    }

    #[test]
    fn a_file_that_is_too_large_is_followed_by_the_next_revision() {
        let mut scene = scene(Plan { rotate_bytes: Some(6), unsynced_max: 100, ..plan() });
        scene.plays(&[
            (
                "message 12345",
                &[
                    "INFO opening /out/f-000000.00",
                    "INFO syncing 1 records to disk",
                    "sync /out/f-000000.00",
                ],
            ),
            ("message ", &[]),
            (
                "message b",
                &[
                    "INFO /out/f-000000.00 currently 7 bytes (> 6), rotating...",
                    "sync /out/f-000000.00",
                    "INFO opening /out/f-000001.00",
                    "INFO syncing 2 records to disk",
                    "sync /out/f-000001.00",
                ],
            ),
            ("wait 60", &[]),
            (
                "message c",
                &[
                    "INFO new filename f<REV>.01, rotating...",
                    "sync /out/f-000001.00",
                    "INFO opening /out/f-000000.01",
                    "INFO syncing 1 records to disk",
                    "sync /out/f-000000.01",
                ],
            ),
        ]);
        assert_eq!(scene.memory.text("/out/f-000000.00"), "12345\n\n");
    }

    #[test]
    fn what_files_hold_already_counts_for_their_size() {
        let mut scene = scene(Plan { rotate_bytes: Some(6), ..plan() });
        scene.memory.put("/out/f-000000.00", b"1234567");
        scene.memory.put("/out/f-000001.00", b"12345\n");
        scene.plays(&[
            (
                "message a",
                &[
                    "INFO opening /out/f-000000.00",
                    "INFO /out/f-000000.00 currently 7 bytes (> 6), rotating...",
                    "INFO opening /out/f-000001.00",
                    "INFO syncing 1 records to disk",
                    "sync /out/f-000001.00",
                ],
            ),
            (
                "message b",
                &[
                    "INFO /out/f-000001.00 currently 8 bytes (> 6), rotating...",
                    "sync /out/f-000001.00",
                    "INFO opening /out/f-000002.00",
                    "INFO syncing 1 records to disk",
                    "sync /out/f-000002.00",
                ],
            ),
        ]);
        assert_eq!(scene.memory.text("/out/f-000001.00"), "12345\na\n");
    }

    #[test]
    fn an_interval_begins_when_a_file_is_opened_and_its_files_are_new() {
        let interval = Some(Duration::from_secs(5));
        let mut scene = scene(Plan { rotate_interval: interval, ..plan() });
        scene.memory.put("/out/f-000000.00", b"");
        scene.memory.put("/out/f-000002.00", b"");
        scene.plays(&[
            ("wait 9", &[]),
            (
                "tick",
                &[
                    "WARNING working file already exists: /out/f-000000.00",
                    "INFO opening /out/f-000001.00",
                ],
            ),
            ("wait 5", &[]),
            ("tick", &[]),
            ("wait 1", &[]),
            (
                "tick",
                &[
                    "INFO 6s since last open, rotating...",
                    "sync /out/f-000001.00",
                    "WARNING working file already exists: /out/f-000002.00",
                    "INFO opening /out/f-000003.00",
                ],
            ),
        ]);
    }

    #[test]
    fn a_hang_up_ends_the_file_and_the_next_message_begins_another() {
        let mut plain = scene(plan());
        plain.try_step("message a").unwrap();
        plain.plays(&[
            ("message b", &[]),
            ("hang up", &["INFO syncing 1 records to disk", "sync /out/f.00", "sync /out/f.00"]),
            ("hang up", &[]),
            (
                "message c",
                &["INFO opening /out/f.00", "INFO syncing 1 records to disk", "sync /out/f.00"],
            ),
        ]);
        assert_eq!(plain.memory.text("/out/f.00"), "a\nb\nc\n");
        let mut revised = scene(Plan { rotate_bytes: Some(100), ..plan() });
        for step in ["message a", "hang up", "message b"] {
            revised.try_step(step).unwrap();
        }
        assert_eq!(revised.memory.names(), ["/out/f-000000.00", "/out/f-000001.00"]);
    }

    #[test]
    fn complete_files_go_from_the_work_folder_to_the_output_folder() {
        let mut scene = scene(Plan { work_dir: "/part".to_owned(), ..plan() });
        scene.memory.put("/out/f-000000.00", b"of somebody else");
        scene.plays(&[
            (
                "message a",
                &[
                    "WARNING output file already exists: /out/f-000000.00",
                    "INFO opening /part/f-000001.00",
                    "INFO syncing 1 records to disk",
                    "sync /part/f-000001.00",
                ],
            ),
            (
                "hang up",
                &[
                    "sync /part/f-000001.00",
                    "INFO moving finished file /part/f-000001.00 to /out/f-000001.00",
                ],
            ),
            (
                "message b",
                &[
                    "INFO opening /part/f-000002.00",
                    "INFO syncing 1 records to disk",
                    "sync /part/f-000002.00",
                ],
            ),
        ]);
        let names = ["/out/f-000000.00", "/out/f-000001.00", "/part/f-000002.00"];
        assert_eq!(scene.memory.names(), names);
        // Somebody takes the name, and the one behind it, while the file is written.
        scene.memory.put("/out/f-000002.00", b"of somebody else");
        scene.memory.put("/out/f-000003.00", b"of somebody else");
        scene.plays(&[(
            "hang up",
            &[
                "sync /part/f-000002.00",
                "INFO moving finished file /part/f-000002.00 to /out/f-000002.00",
                "WARNING destination file already exists: /out/f-000002.00",
                "WARNING destination file already exists: /out/f-000002.00",
                "INFO renamed finished file /part/f-000002.00 to /out/f-000004.00 to avoid overwrite",
            ],
        )]);
        assert_eq!(scene.memory.text("/out/f-000004.00"), "b\n");
        assert_eq!(scene.memory.text("/out/f-000003.00"), "of somebody else");
    }

    #[test]
    fn the_work_folder_is_cut_off_only_as_it_is_written() {
        for (work_dir, work, out) in [
            ("/part/", "/part/f-000000.00", "/out/f-000000.00"),
            ("part", "part/f-000000.00", "/out/f-000000.00"),
            ("./part", "part/f-000000.00", "/out/part/f-000000.00"),
        ] {
            let mut scene = scene(Plan { work_dir: work_dir.to_owned(), ..plan() });
            scene.try_step("message a").unwrap();
            assert_eq!(scene.memory.names(), [work]);
            scene.try_step("hang up").unwrap();
            assert_eq!(scene.memory.names(), [out]);
        }
    }

    #[test]
    fn every_sync_and_every_end_of_a_compressed_file_ends_a_member() {
        let mut scene = scene(Plan { gzip_level: Some(6), unsynced_max: 100, ..plan() });
        for step in ["message a", "message b", "message c", "tick", "tick", "hang up"] {
            scene.try_step(step).unwrap();
        }
        assert_eq!(scene.memory.names(), ["/out/f-000000.00.gz"]);
        let state = scene.memory.0.borrow();
        let content = &state.files["/out/f-000000.00.gz"];
        let mut rest = &content[..];
        let mut members = Vec::new();
        while !rest.is_empty() {
            let mut member = GzDecoder::new(rest);
            let mut text = String::new();
            member.read_to_string(&mut text).unwrap();
            members.push(text);
            rest = member.into_inner();
        }
        assert_eq!(members, ["a\n", "b\nc\n", ""]);
    }

    #[test]
    fn a_lot_is_written_before_the_sync() {
        for gzip_level in [None, Some(1)] {
            let mut scene = scene(Plan { gzip_level, unsynced_max: 100, ..plan() });
            let body = vec![b'x'; WAITING_BYTES_MAX / 2];
            let now = scene.now();
            for _ in 0..5 {
                scene.recorder.message(&body, now).unwrap();
            }
            assert!(scene.recorder.waiting.len() < WAITING_BYTES_MAX);
            scene.recorder.hang_up().unwrap();
            let state = scene.memory.0.borrow();
            let (_, content) = state.files.first_key_value().unwrap();
            let mut text = content.clone();
            if gzip_level.is_some() {
                text.clear();
                MultiGzDecoder::new(&content[..]).read_to_end(&mut text).unwrap();
            }
            assert_eq!(text, [&body[..], b"\n"].concat().repeat(5));
        }
    }

    #[test]
    fn a_message_does_not_grow_onto_a_torn_one() {
        let mut scene = scene(plan());
        scene.memory.put("/out/f.00", b"whole\nto");
        scene.try_step("message torn").unwrap();
        assert_eq!(scene.memory.text("/out/f.00"), "whole\nto\ntorn\n");
    }

    #[test]
    fn what_the_disk_refuses_ends_the_process_in_nsqs_words() {
        const DENIED: i32 = 13;
        const IS_THERE: i32 = 17;
        const OTHER_DISK: i32 = 18;
        const FULL: i32 = 28;
        const BROKEN: i32 = 5;
        let work = || Plan { work_dir: "/part".to_owned(), ..plan() };
        let gzip = || Plan { gzip_level: Some(6), ..plan() };
        for (plan, before, step, refused, text) in [
            (
                plan(),
                "",
                "message a",
                ("mkdir", DENIED),
                "unable to create dir: mkdir /out/: permission denied",
            ),
            (
                plan(),
                "",
                "tick",
                ("open", DENIED),
                "unable to open /out/f.00: open /out/f.00: permission denied",
            ),
            (
                plan(),
                "tick",
                "message a",
                ("write", FULL),
                "writing message to disk: write /out/f.00: no space left on device",
            ),
            (
                plan(),
                "message a",
                "hang up",
                ("sync", BROKEN),
                "failed to fsync output file: sync /out/f.00: input/output error",
            ),
            (
                plan(),
                "",
                "message a",
                ("sync", BROKEN),
                "failed syncing messages: sync /out/f.00: input/output error",
            ),
            (
                gzip(),
                "",
                "message a",
                ("write", FULL),
                "failed syncing messages: write /out/f-000000.00.gz: no space left on device",
            ),
            (
                gzip(),
                "message a",
                "hang up",
                ("write", FULL),
                "failed to close GZIP writer: write /out/f-000000.00.gz: no space left on device",
            ),
            (
                work(),
                "",
                "message a",
                ("stat", DENIED),
                "unable to stat output file /out/f-000000.00: stat /out/f-000000.00: permission denied",
            ),
            (
                work(),
                "message a",
                "hang up",
                ("link", OTHER_DISK),
                "unable to move file from /part/f-000000.00 to /out/f-000000.00: link /part/f-000000.00 /out/f-000000.00: invalid cross-device link",
            ),
            (
                work(),
                "message a",
                "hang up",
                ("remove", DENIED),
                "unable to move file from /part/f-000000.00 to /out/f-000000.00: remove /part/f-000000.00: permission denied",
            ),
        ] {
            let mut scene = scene(plan);
            if !before.is_empty() {
                scene.try_step(before).unwrap();
            }
            let synced = scene.recorder.take_synced();
            scene.fails(step, refused, text);
            assert_eq!(scene.recorder.take_synced(), 0, "{synced} before, none by a failure");
        }
        // What is there already cannot be made room for when no other name is left.
        let mut scene = scene(work());
        scene.try_step("message a").unwrap();
        scene.recorder.name = "f".to_owned();
        let text = "unable to rename file from /part/f-000000.00 to /out/f: link /part/f-000000.00 \
                    /out/f: file exists";
        scene.fails("hang up", ("link", IS_THERE), text);
    }
}
