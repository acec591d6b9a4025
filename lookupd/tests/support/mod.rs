//! A running nsqlookupd for one test, and connections to it.
//!
//! It listens on ports that the kernel chooses, which are read from its log, as client libraries do.
//! Nothing here waits for a fixed time: a test waits for an answer or for a log line.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, not yet started.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nsqlookupd"))
}

/// The program, started; it ends with the test.
pub(crate) struct Lookupd {
    process: Child,
    log: BufReader<ChildStderr>,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Lookupd {
    pub(crate) fn start() -> Self {
        Self::start_with(&["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::launch(program(), arguments)
    }

    /// Started by a shell that first does what `under` says, `ulimit -Sn 40` for instance.
    pub(crate) fn start_under(under: &str) -> Self {
        let mut shell = Command::new("sh");
        let exec = format!("{under}; exec \"$0\" \"$@\"");
        shell.args(["-c", &exec, env!("CARGO_BIN_EXE_nsqlookupd")]);
        Self::launch(shell, &["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
    }

    fn launch(mut program: Command, arguments: &[&str]) -> Self {
        let mut process = program
            .args(arguments)
            .arg("--broadcast-address=lookup.test")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let tcp = address_behind(&line_with(&mut log, "TCP: listening on "));
        let http = address_behind(&line_with(&mut log, "HTTP: listening on "));
        Self { process, log, tcp, http }
    }

    /// Reads the log up to the next line that contains `text`, and returns that line.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        line_with(&mut self.log, text)
    }

    /// Sends a signal and returns how the process ended, with the rest of its log.
    pub(crate) fn end_with(mut self, signal: Signal) -> (ExitStatus, String) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap(), rest)
    }

    pub(crate) fn connect_tcp(&self) -> Connection {
        Connection::to(self.tcp)
    }

    pub(crate) fn connect_http(&self) -> Connection {
        Connection::to(self.http)
    }

    /// A producer that has said who it is: `ann:4151`, say.
    pub(crate) fn connect_producer(&self, name: &str) -> Connection {
        let mut producer = self.connect_tcp();
        producer.send(b"  V1");
        producer.send(&identify(&identity(name)));
        let answer = String::from_utf8(producer.answer()).unwrap();
        assert!(answer.starts_with(r#"{"broadcast_address":"lookup.test","#), "{answer}");
        producer
    }

    /// Status and body of one request.
    pub(crate) fn ask(&self, method: &str, target: &str) -> (u16, String) {
        let mut connection = self.connect_http();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        connection.send(request.as_bytes());
        let answer = String::from_utf8(connection.rest()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Drop for Lookupd {
    fn drop(&mut self) {
        // It may have ended already, as the test wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn line_with(log: &mut impl BufRead, text: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "no {text:?} in the log:\n{seen}");
        if line.contains(text) {
            return line.trim_end().to_owned();
        }
        seen.push_str(&line);
    }
}

fn address_behind(line: &str) -> SocketAddr {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The IDENTIFY body of a producer.
pub(crate) fn identity(name: &str) -> String {
    format!(
        r#"{{"broadcast_address":"{name}","hostname":"h","http_port":4151,"tcp_port":4150,"topology_region":"r","topology_zone":"z","version":"1.3.0"}}"#
    )
}

/// IDENTIFY with this body.
pub(crate) fn identify(body: &str) -> Vec<u8> {
    let size = i32::try_from(body.len()).unwrap();
    [b"IDENTIFY\n", &size.to_be_bytes()[..], body.as_bytes()].concat()
}

/// One connection from the test's side.
pub(crate) struct Connection(TcpStream);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn finish_sending(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The data of one answer of the TCP protocol.
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        let length: [u8; 4] = self.bytes(4).try_into().unwrap();
        self.bytes(u32::from_be_bytes(length).try_into().unwrap())
    }

    /// Sends a command and returns the data of its answer, as text.
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(line.as_bytes());
        String::from_utf8(self.answer()).unwrap()
    }

    /// Everything up to the end that the other side makes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Whoever ends with something of ours unread resets the connection behind what was said.
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        rest
    }
}
