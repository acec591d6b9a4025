//! Processes that stand in for nsqd and nsqlookupd, and the program under test.
//!
//! Knows: sockets and threads. What is said over them is each test's business.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use protocol::command::Command as Said;
use protocol::conversation::Conversation;
use protocol::decoder::{Decoded, Decoder};
use protocol::frame;
use protocol::limits::Limits;

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `admin-cli` to its end, with this on standard input.
pub(crate) fn admin_cli(arguments: &[&str], input: &str) -> Run {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input may have ended before it is written.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        exit_code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// `admin-cli`, ready to be started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_admin-cli"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Answers every HTTP request by what stands behind its path and query; 404 for any other.
pub(crate) fn http_server(answers: &[(&str, String)]) -> SocketAddr {
    let answers: Vec<(String, String)> =
        answers.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may go before it has asked or read.
            drop(answer_http(stream.unwrap(), &answers));
        }
    });
    address
}

fn answer_http(mut stream: TcpStream, answers: &[(String, String)]) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let found = answers.iter().find(|(known, _)| known == path);
    let (status, body) = match found {
        Some((_, body)) => ("200 OK", body.as_str()),
        None => ("404 Not Found", r#"{"message":"TOPIC_NOT_FOUND"}"#),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// An address at which nobody listens: the port of a service that no system has had for decades. A
/// port that was free a moment ago could be another test's by now.
pub(crate) fn deserted_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// One broker, which speaks with one client at a time, as the test tells it to.
pub(crate) struct Broker {
    listener: TcpListener,
}

impl Broker {
    pub(crate) fn listen() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (Self { listener }, address)
    }

    /// Takes a connection, and answers its IDENTIFY. `answer` is the data of the response.
    pub(crate) fn accept(&self, answer: &str) -> Client {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut magic = [0; 4];
        stream.read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"  V2");
        let mut client = Client { stream, input: Vec::new() };
        let identified = client.next().unwrap();
        assert!(identified.starts_with("IDENTIFY {"), "{identified}");
        client.respond(answer);
        client
    }
}

/// The client as the broker sees it.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// The next command as text, `SUB topic channel` or `MPUB topic a|b`; `None` when the client is
    /// gone.
    pub(crate) fn next(&mut self) -> Option<String> {
        // What is legal when is not the question here, so the phase follows the command.
        let subscribed = Conversation {
            phase: protocol::conversation::Phase::Subscribed,
            ..Conversation::fresh()
        };
        loop {
            let is_first =
                [&b"IDENTIFY"[..], b"SUB"].iter().any(|verb| self.input.starts_with(verb));
            let conversation = if is_first { Conversation::fresh() } else { subscribed };
            let decoded =
                Decoder::new(Limits::default()).decode(&self.input, conversation).unwrap();
            if let Decoded::Command { command, consumed } = decoded {
                let text = text(command);
                self.input.drain(..consumed);
                return Some(text);
            }
            let mut chunk = [0; 4096];
            let read = match self.stream.read(&mut chunk) {
                // One who goes with something of ours unread resets the connection.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                read => read.unwrap(),
            };
            if read == 0 {
                return None;
            }
            self.input.extend_from_slice(&chunk[..read]);
        }
    }

    pub(crate) fn respond(&mut self, data: &str) {
        self.send(|out| frame::push_response(out, data.as_bytes()));
    }

    pub(crate) fn refuse(&mut self, text: &str) {
        self.send(|out| frame::push_error(out, text.as_bytes()));
    }

    pub(crate) fn deliver(&mut self, id: u64, body: &str) {
        self.deliver_again(id, 1, body);
    }

    /// Delivers a message for the `attempts`th time.
    pub(crate) fn deliver_again(&mut self, id: u64, attempts: u16, body: &str) {
        let id = protocol::message_id::MessageId::from_number(id);
        self.send(|out| frame::push_message(out, 1, attempts, id, body.as_bytes()));
    }

    fn send(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        push(&mut out);
        // A client that has gone shows that when it is read.
        drop(self.stream.write_all(&out));
    }
}

fn text(command: Said<'_>) -> String {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match command {
        Said::Identify(body) => format!("IDENTIFY {}", utf8(body)),
        Said::Subscribe { topic, channel } => format!("SUB {topic} {channel}"),
        Said::Ready(count) => format!("RDY {count}"),
        Said::Finish(id) => format!("FIN {}", utf8(&id.0).trim_start_matches('0')),
        Said::PublishMany { topic, bodies } => {
            let bodies: Vec<String> = bodies.iter().map(utf8).collect();
            format!("MPUB {topic} {}", bodies.join("|"))
        }
        other => other.verb().word().to_owned(),
    }
}
