//! One broker, or one nsqlookupd, at work: started over an empty folder, asked what it costs, ended.
//!
//! Knows processes, `/proc` and a few HTTP requests, which peers do not answer.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::load::publishers::Wire;
use crate::peers::Peer;

/// A running broker and its data; both go when this is dropped.
#[derive(Debug)]
pub(crate) struct Contestant {
    program: PathBuf,
    flags: Vec<String>,
    child: Child,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
    data: Option<TempDir>,
}

impl Contestant {
    /// Starts `program` on free ports, with its data in a new folder under `data`.
    pub(crate) fn start(program: &Path, flags: &[String], data: &Path) -> Self {
        let data = new_folder(data);
        let (child, [tcp, http]) = spawn(program, flags, data.path());
        let (program, flags) = (program.to_owned(), flags.to_owned());
        Self { program, flags, child, tcp, http, data: Some(data) }
    }

    /// The same with a broker of another kind.
    pub(crate) fn start_peer(peer: Peer, program: &Path, settings: &[String], data: &Path) -> Self {
        let data = new_folder(data);
        let [address] = free_ports();
        let flags = peer.arguments(address, data.path(), settings);
        let child = spawn_at(program, &flags, Stdio::null, &[address]);
        let program = program.to_owned();
        Self { program, flags, child, tcp: address, http: address, data: Some(data) }
    }

    /// Ends the broker as an operator would; its data stays.
    pub(crate) fn stop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            // An error means that it has ended already.
            kill_process(id, Signal::TERM).ok();
        }
        let end = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts a broker that was stopped over the same data; how long it took until it answered.
    pub(crate) fn start_again(&mut self) -> Duration {
        let begin = Instant::now();
        let data = self.data.as_ref().expect("a broker has data");
        (self.child, [self.tcp, self.http]) = spawn(&self.program, &self.flags, data.path());
        self.ask("GET", "/ping");
        begin.elapsed()
    }

    /// Starts `program`, an nsqlookupd, on ports that are free. It logs errors alone: a line for each
    /// of a million registrations would be most of their time.
    pub(crate) fn start_lookup(program: &Path) -> Self {
        let [tcp, http] = free_ports();
        let flags = vec![
            format!("--tcp-address={tcp}"),
            format!("--http-address={http}"),
            "--log-level=error".to_owned(),
        ];
        let child = spawn_at(program, &flags, Stdio::inherit, &[tcp, http]);
        let program = program.to_owned();
        Self { program, flags, child, tcp, http, data: None }
    }

    /// Processor time the broker has used so far, in its own code and in the kernel's.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time_of(&self.child.id().to_string())
    }

    /// Memory of the broker that is in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.kibibytes("VmRSS:") << 10
    }

    /// The most that it ever was since the start, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.kibibytes("VmHWM:") << 10
    }

    fn kibibytes(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the broker runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a size");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB")
    }

    /// Bytes that the broker has had the kernel write to a disk so far, later or at once.
    pub(crate) fn written_bytes(&self) -> u64 {
        let counts =
            fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("the broker runs");
        let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.expect("a count").trim().parse().expect("a number of bytes")
    }

    /// Where it takes what is published in this way.
    pub(crate) fn tcp_or_http(&self, wire: Wire) -> SocketAddr {
        match wire {
            Wire::Frames | Wire::Peer(_) => self.tcp,
            Wire::Http => self.http,
        }
    }

    /// Makes a topic that has no channel.
    pub(crate) fn make_topic(&self, topic: &str) {
        self.ask("POST", &format!("/topic/create?topic={topic}"));
    }

    /// Makes a topic and a channel, so that messages are copied to it as they come.
    pub(crate) fn prepare(&self, topic: &str, channel: &str) {
        self.make_topic(topic);
        self.ask("POST", &format!("/channel/create?topic={topic}&channel={channel}"));
    }

    /// Waits until no message waits in the topic itself any more.
    pub(crate) fn settle(&self, topic: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        while self.depths(topic).last() != Some(&0) {
            assert!(Instant::now() < end, "{topic} does not settle");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Messages that wait in the topic's only channel.
    pub(crate) fn channel_depth(&self, topic: &str) -> u64 {
        self.depths(topic).first().copied().unwrap_or(0)
    }

    /// The depths in `/stats`, in the order of the text: of the channels, then of the topic.
    fn depths(&self, topic: &str) -> Vec<u64> {
        let target = format!("/stats?format=json&include_clients=false&topic={topic}");
        let text = self.ask("GET", &target);
        let numbers = text.split("\"depth\":").skip(1);
        let digits = numbers.filter_map(|rest| rest.split([',', '}']).next());
        digits.filter_map(|digits| digits.parse().ok()).collect()
    }

    /// The whole answer to a request without a body.
    pub(crate) fn ask(&self, method: &str, target: &str) -> String {
        let mut stream = TcpStream::connect(self.http).expect("the broker accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit can be set");
        let head = format!("{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n");
        write!(stream, "{head}Connection: close\r\n\r\n").expect("the broker reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the broker answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{method} {target}: {answer}");
        answer
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Processor time a process has used so far, in its own code and in the kernel's. It has a number,
/// or is `self`.
pub(crate) fn processor_time_of(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name of the program, in brackets, may hold blanks: fields are counted behind it.
    let fields = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_nanos(ticks * 1_000_000_000 / clock_ticks_per_second())
}

fn new_folder(data: &Path) -> TempDir {
    TempDir::with_prefix_in("bench-", data).expect("the data folder can be written")
}

/// Addresses of which nobody listens at any now.
fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    taken.each_ref().map(|port| port.local_addr().expect("it has one"))
}

/// A new process that does not say where it listens: it was told, and is waited for.
fn spawn_at(
    program: &Path,
    flags: &[String],
    log: fn() -> Stdio,
    addresses: &[SocketAddr],
) -> Child {
    let child = Command::new(program)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let end = Instant::now() + Duration::from_secs(10);
    while addresses.iter().any(|address| TcpStream::connect(address).is_err()) {
        assert!(Instant::now() < end, "{} does not listen", program.display());
        thread::sleep(Duration::from_millis(10));
    }
    child
}

/// A new process over this folder, and the addresses of its ports for TCP and for HTTP.
fn spawn(program: &Path, flags: &[String], data: &Path) -> (Child, [SocketAddr; 2]) {
    let mut child = Command::new(program)
        .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
        .arg(format!("--data-path={}", data.display()))
        .args(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let mut log = BufReader::new(child.stderr.take().expect("standard error is piped"));
    let addresses = listening(&mut log, ["TCP: listening on ", "HTTP: listening on "]);
    // The rest of the log must be read, or the broker would stop when the pipe is full.
    thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (child, addresses)
}

/// The addresses behind `parts`, whichever line comes first: the real nsqd opens its ports at once.
fn listening<const N: usize>(log: &mut impl std::io::BufRead, parts: [&str; N]) -> [SocketAddr; N] {
    let mut found = [None; N];
    let mut whole = String::new();
    for line in log.lines() {
        let line = line.expect("the log can be read");
        for (part, found) in parts.iter().zip(&mut found) {
            if let Some((_, address)) = line.split_once(part) {
                *found = Some(address.trim().parse().expect("the log names an address"));
            }
        }
        if found.iter().all(Option::is_some) {
            return found.map(|address| address.expect("all were found"));
        }
        whole.push_str(&line);
        whole.push('\n');
    }
    panic!("the broker ended without one of {parts:?}:\n{whole}");
}
