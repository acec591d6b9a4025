//! An HTTP server that answers everything alike, and keeps what it is asked.
//!
//! Knows heads with a length; reads no chunks.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::patience::SOON;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Sink: yes\r\n";

/// The server; it stops listening with the process.
#[derive(Debug)]
pub struct Sink {
    /// Where it is asked.
    pub address: SocketAddr,
    requests: Receiver<Asked>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The first line of the head.
    pub line: String,
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The content.
    pub body: String,
    /// The other lines of the head that say who asks, their names in lower case.
    pub head: Vec<String>,
}

impl Sink {
    /// A server that says 200 without content.
    #[must_use]
    pub fn start() -> Self {
        Self::answering("")
    }

    /// A server that says 200 with this content.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn answering(content: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (sender, requests) = mpsc::channel();
        let length = content.len();
        let answer: Arc<str> = format!("{HEAD}Content-Length: {length}\r\n\r\n{content}").into();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &answer, &sender));
            }
        });
        Self { address, requests }
    }

    /// The next so many requests, in the order in which they came.
    ///
    /// # Panics
    /// When they do not come soon.
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<Asked> {
        let next = || self.requests.recv_timeout(SOON).expect("a request comes");
        (0..count).map(|_| next()).collect()
    }

    /// Whether nothing else has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

/// Serves one connection until it ends.
fn serve(mut stream: TcpStream, answer: &str, asked: &Sender<Asked>) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if !head.is_empty() => {
                    head.push(format!("{}: {value}", name.to_ascii_lowercase()));
                }
                _ if line.trim_end().is_empty() => break,
                _ => head.push(line.trim_end().to_owned()),
            }
        }
        let value = |name: &str| {
            let found = head.iter().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        let length = value("content-length: ").parse().unwrap_or(0);
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let content_type = value("content-type: ");
        let who = head.iter().filter(|line| line.starts_with("authorization: ")).cloned();
        let request = Asked { line: head[0].clone(), content_type, body, head: who.collect() };
        stream.write_all(answer.as_bytes())?;
        if asked.send(request).is_err() {
            return Ok(());
        }
    }
}
