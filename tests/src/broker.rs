//! A running broker, `nsqd`, on ports of its own and over a data folder of its own.
//!
//! Knows the flags that keep tests apart, the log lines that name the ports, and `/stats`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::http::{self, Answer};
use crate::patience::{SOON, eventually};
use crate::process::Process;
use crate::programs::{Maker, under_test};

/// A broker, and the folder in which it keeps its messages. Both go when this is dropped.
#[derive(Debug)]
pub struct Broker {
    /// The process, for its log, its memory and its end.
    pub process: Process,
    /// Where clients connect.
    pub tcp: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
    start: Start,
    folder: PathBuf,
    /// The folder, when it goes with this.
    temporary: Option<TempDir>,
}

/// How a broker is started, but for the ports and the folder.
#[derive(Clone, Debug)]
struct Start {
    program: PathBuf,
    flags: Vec<String>,
    /// What a shell does before it becomes the broker.
    under: Option<String>,
}

impl Start {
    fn of(maker: Maker, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { program: maker.program("nsqd"), flags, under: None }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = match &self.under {
            None => Command::new(&self.program),
            Some(under) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("{under}; exec \"$0\" \"$@\"")).arg(&self.program);
                shell
            }
        };
        command
            .arg("--tcp-address=127.0.0.1:0")
            .arg("--http-address=127.0.0.1:0")
            .arg("--broadcast-address=127.0.0.1")
            .arg(format!("--data-path={}", folder.display()))
            .args(&self.flags);
        command
    }

    /// Starts it and waits until it serves.
    fn launch(&self, folder: &Path) -> (Process, SocketAddr, SocketAddr) {
        let mut process = Process::start(&mut self.command(folder));
        let tcp = process.logged("TCP: listening on ");
        let http = process.logged("HTTP: listening on ");
        let address = |text: &str| text.trim().parse().expect("the log names an address");
        let (tcp, http) = (address(&tcp), address(&http));
        // One that has trouble with its disk or wants TLS says so here, and serves nevertheless.
        eventually(SOON, "the broker answers", || {
            let answer = http::get(http, "/ping");
            [200, 403, 500].contains(&answer.status).then_some(())
        });
        (process, tcp, http)
    }
}

impl Broker {
    /// The broker under test with its default settings.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The broker under test with flags.
    #[must_use]
    pub fn with(flags: &[&str]) -> Self {
        Self::of(under_test(), flags)
    }

    /// A broker of either maker.
    ///
    /// # Panics
    /// When it does not start to listen soon.
    #[must_use]
    pub fn of(maker: Maker, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        Self::over(maker, folder, flags)
    }

    /// A broker of either maker over data that are there.
    ///
    /// # Panics
    /// When it does not start to listen soon.
    #[must_use]
    pub fn over(maker: Maker, folder: TempDir, flags: &[&str]) -> Self {
        let path = folder.path().to_owned();
        Self::launch(Start::of(maker, flags), path, Some(folder))
    }

    /// The broker under test over a folder that stays.
    #[must_use]
    pub fn in_folder(folder: &Path, flags: &[&str]) -> Self {
        Self::launch(Start::of(under_test(), flags), folder.to_owned(), None)
    }

    /// The broker under test, started by a shell that first does what `under` says, for instance
    /// `ulimit -n 40`.
    #[must_use]
    pub fn under(under: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let start = Start { under: Some(under.to_owned()), ..Start::of(under_test(), flags) };
        let path = folder.path().to_owned();
        Self::launch(start, path, Some(folder))
    }

    fn launch(start: Start, folder: PathBuf, temporary: Option<TempDir>) -> Self {
        let (process, tcp, http) = start.launch(&folder);
        Self { process, tcp, http, start, folder, temporary }
    }

    /// The folder of the broker's data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the broker with SIGTERM, and leaves its data.
    ///
    /// # Panics
    /// When it does not end with status 0, or the folder is not its own.
    #[must_use]
    pub fn into_folder(mut self) -> TempDir {
        let status = self.process.terminate();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.temporary.expect("it is a folder of its own")
    }

    /// Ends the broker with SIGTERM and starts it again over the same data.
    ///
    /// # Panics
    /// When it does not end with status 0, or does not start.
    pub fn restart(&mut self) {
        let status = self.process.terminate();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.start_again();
    }

    /// Ends the broker with SIGKILL and starts it again over the same data.
    pub fn crash(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Ends the broker with SIGTERM.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Starts the broker, which has ended, over the same data, on new ports.
    pub fn start_again(&mut self) {
        (self.process, self.tcp, self.http) = self.start.launch(&self.folder);
    }

    /// Starts the broker, which has ended, and ends it again after `time`, wherever it is by then.
    pub fn start_for(&mut self, time: Duration, end: Signal) -> ExitStatus {
        self.process = Process::start(&mut self.start.command(&self.folder));
        std::thread::sleep(time);
        self.process.signal(end);
        self.process.ended_within(SOON)
    }

    /// A new connection that has sent the magic.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.tcp)
    }

    /// A new connection that is subscribed, with RDY 0.
    #[must_use]
    pub fn subscribed(&self, topic: &str, channel: &str) -> Client {
        Client::subscribed(self.tcp, topic, channel)
    }

    /// A GET of this target.
    #[must_use]
    pub fn get(&self, target: &str) -> Answer {
        http::get(self.http, target)
    }

    /// A POST to this target.
    #[must_use]
    pub fn post(&self, target: &str, body: &[u8]) -> Answer {
        http::post(self.http, target, body)
    }

    /// A POST without a body, which must succeed.
    ///
    /// # Panics
    /// When it is refused.
    pub fn order(&self, target: &str) {
        let answer = self.post(target, b"");
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }

    /// What `/stats` says of a topic, if it is there.
    #[must_use]
    pub fn topic(&self, topic: &str) -> Option<Value> {
        let stats = self.get("/stats?format=json").json();
        find(&stats["topics"], "topic_name", topic)
    }

    /// What `/stats` says of a channel, if it is there.
    #[must_use]
    pub fn channel(&self, topic: &str, channel: &str) -> Option<Value> {
        find(&self.topic(topic)?["channels"], "channel_name", channel)
    }

    /// A number of a topic.
    ///
    /// # Panics
    /// When there is no such topic or number.
    #[must_use]
    pub fn topic_count(&self, topic: &str, key: &str) -> i64 {
        let found = self.topic(topic).unwrap_or_else(|| panic!("no topic {topic}"));
        found[key].as_i64().unwrap_or_else(|| panic!("no {key} in {found}"))
    }

    /// A number of a channel.
    ///
    /// # Panics
    /// When there is no such channel or number.
    #[must_use]
    pub fn count(&self, topic: &str, channel: &str, key: &str) -> i64 {
        let found = self.channel(topic, channel);
        let found = found.unwrap_or_else(|| panic!("no channel {topic}/{channel}"));
        found[key].as_i64().unwrap_or_else(|| panic!("no {key} in {found}"))
    }

    /// Waits until a channel is there and a number of it has this value.
    pub fn count_becomes(&self, topic: &str, channel: &str, key: &str, value: i64) {
        eventually(SOON, &format!("{key} of {topic}/{channel} is {value}"), || {
            (self.channel(topic, channel)?[key] == value).then_some(())
        });
    }
}

fn find(list: &Value, key: &str, name: &str) -> Option<Value> {
    list.as_array()?.iter().find(|entry| entry[key] == name).cloned()
}
