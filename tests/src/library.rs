//! Other people's clients: the programs of ours over the published go-nsq, pynsq, nsqjs and nsq-j.
//!
//! Knows their command line and their last line; the libraries themselves are unmodified.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, run};
use crate::programs::{installed_client, workspace};

/// No single publish or consume of the word list takes as long as this.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// go-nsq.
    Go,
    /// pynsq.
    Python,
    /// nsqjs.
    Node,
    /// nsq-j, whose program has `exercise` alone.
    Java,
}

/// Where a consumer finds its broker.
#[derive(Clone, Copy, Debug)]
pub enum Through {
    /// The broker's own address.
    Broker(SocketAddr),
    /// The HTTP address of `nsqlookupd`.
    Lookup(SocketAddr),
}

/// What a consumer is told.
#[derive(Clone, Copy, Debug)]
pub struct Consume<'a> {
    /// Where to find the broker.
    pub through: Through,
    /// The topic.
    pub topic: &'a str,
    /// The channel.
    pub channel: &'a str,
    /// Distinct messages to finish.
    pub count: usize,
    /// Consumers in the one process, each with a connection.
    pub consumers: usize,
    /// REQ every so many first deliveries; 0 for none.
    pub requeue_every: usize,
    /// Leave every so many first deliveries without an answer; 0 for none.
    pub timeout_every: usize,
    /// The `msg_timeout` to ask for, in milliseconds; 0 for the broker's.
    pub msg_timeout_ms: u32,
    /// What lies between the library and its socket.
    pub layers: Between<'a>,
}

/// TLS and compression, as a library is asked for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Between<'a> {
    /// TLS, with this authority's file.
    pub tls: Option<&'a Path>,
    /// Snappy.
    pub snappy: bool,
    /// Deflate.
    pub deflate: bool,
}

impl Between<'_> {
    fn arguments(self) -> Vec<String> {
        let tls = self.tls.map(|file| format!("--tls-ca={}", file.display()));
        let snappy = self.snappy.then(|| "--snappy".to_owned());
        let deflate = self.deflate.then(|| "--deflate".to_owned());
        [tls, snappy, deflate].into_iter().flatten().collect()
    }
}

/// What a consumer says at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// FINs sent.
    pub finished: usize,
    /// Messages received.
    pub deliveries: usize,
    /// REQs sent.
    pub requeued: usize,
    /// Messages left without an answer.
    pub timed_out: usize,
}

impl Library {
    /// Those whose programs publish and consume files.
    pub const ALL: [Self; 3] = [Self::Go, Self::Python, Self::Node];

    /// True when it is installed; else says what is missing.
    #[must_use]
    pub fn is_installed(self) -> bool {
        self.command().is_some()
    }

    /// Publishes every line of a file and waits for the last acknowledgement.
    ///
    /// # Panics
    /// When the client fails or does not end in time.
    pub fn publish(self, broker: SocketAddr, topic: &str, file: &Path, mode: &str) {
        self.publish_through(Between::default(), broker, topic, file, mode);
    }

    /// The same through TLS and compression.
    ///
    /// # Panics
    /// When the client fails or does not end in time.
    pub fn publish_through(
        self,
        layers: Between<'_>,
        broker: SocketAddr,
        topic: &str,
        file: &Path,
        mode: &str,
    ) {
        let mut command = self.command().expect("the caller asked whether it is installed");
        command.args(["publish", &format!("--nsqd={broker}"), &format!("--topic={topic}")]);
        command.args([format!("--file={}", file.display()), format!("--mode={mode}")]);
        command.args(layers.arguments());
        let ended = run(&mut command, b"", LIMIT);
        assert!(ended.status.success(), "{self:?} cannot publish: {}", ended.log);
    }

    /// Starts a consumer that writes what it finished to `output`, one body a line.
    #[must_use]
    pub fn consume(self, told: Consume<'_>, output: &Path) -> Consumer {
        let mut command = self.command().expect("the caller asked whether it is installed");
        command.arg("consume").arg(match told.through {
            Through::Broker(address) => format!("--nsqd={address}"),
            Through::Lookup(address) => format!("--lookupd={address}"),
        });
        command.args([format!("--topic={}", told.topic), format!("--channel={}", told.channel)]);
        command.args([format!("--count={}", told.count), format!("--output={}", output.display())]);
        command.arg(format!("--consumers={}", told.consumers));
        command.arg(format!("--requeue-every={}", told.requeue_every));
        command.arg(format!("--timeout-every={}", told.timeout_every));
        command.arg(format!("--msg-timeout-ms={}", told.msg_timeout_ms));
        command.args(told.layers.arguments());
        Consumer { library: self, process: Process::start(&mut command) }
    }

    /// Starts the exercise: seven messages are published and finished, after one was requeued, one
    /// touched beyond its timeout, one left alone, and one deferred. It prints `BODY attempt=N` for
    /// each delivery.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn exercise(
        self,
        broker: SocketAddr,
        lookup: Option<SocketAddr>,
        topic: &str,
        channel: &str,
        layers: Between<'_>,
    ) -> Process {
        let mut command = self.command().expect("the caller asked whether it is installed");
        command.args(["exercise", &format!("--nsqd={broker}")]);
        command.args(lookup.map(|lookup| format!("--lookupd={lookup}")));
        command.args([format!("--topic={topic}"), format!("--channel={channel}")]);
        command.args(layers.arguments());
        Process::start(&mut command)
    }

    fn command(self) -> Option<Command> {
        let sources = workspace().join("tests/clients");
        match self {
            Self::Go => installed_client("go-client").map(Command::new),
            Self::Python => installed_client("python/bin/python").map(|python| {
                let mut command = Command::new(python);
                command.arg(sources.join("python/client.py"));
                command
            }),
            Self::Node => installed_client("node/node_modules").map(|modules| {
                let mut command = Command::new("node");
                command.env("NODE_PATH", modules).arg(sources.join("node/client.js"));
                command
            }),
            Self::Java => installed_client("java/Client.class").map(|class| {
                let folder = class.parent().expect("a file lies in a folder").display();
                let mut command = Command::new("java");
                command.arg("-cp").arg(format!("{folder}:{folder}/libraries/*")).arg("Client");
                command
            }),
        }
    }
}

/// A consumer at work.
#[derive(Debug)]
pub struct Consumer {
    library: Library,
    process: Process,
}

impl Consumer {
    /// Waits until it has all it waits for.
    ///
    /// # Panics
    /// When the client fails or does not end in time.
    pub fn report(mut self) -> Report {
        let status = self.process.ended_within(LIMIT);
        let line = self.process.whole_output().pop();
        let log = self.process.log();
        assert!(status.success(), "{:?} cannot consume: {log}", self.library);
        let line = line.unwrap_or_else(|| panic!("{:?} reports nothing: {log}", self.library));
        let number = |key: &str| {
            let found = line.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            found.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {key} in {line}"))
        };
        Report {
            finished: number("finished"),
            deliveries: number("deliveries"),
            requeued: number("requeued"),
            timed_out: number("timed_out"),
        }
    }
}
