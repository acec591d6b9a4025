//! An authorization server in the test itself: it answers as the test says, and remembers what it
//! was asked. Knows requests as NSQ sends them, one a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use crate::layers::Certificates;

/// What a server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What was posted.
    pub body: String,
}

impl Asked {
    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What the client said about itself, where it needs no escapes.
    #[must_use]
    pub fn secret(&self) -> &str {
        let in_query = self.target.split(['?', '&']).find_map(|part| part.strip_prefix("secret="));
        let in_body = || self.body.split_once(r#""secret":[""#)?.1.split('"').next();
        in_query.or_else(in_body).unwrap_or_default()
    }
}

/// A status with its words, further headers, and a body.
#[derive(Clone, Debug)]
pub struct Told {
    /// Such as `200 OK`.
    pub status: &'static str,
    /// Such as `Location: /there`.
    pub header: &'static str,
    /// The body.
    pub body: String,
}

impl Told {
    /// `200 OK` with this body.
    #[must_use]
    pub fn ok(body: impl Into<String>) -> Self {
        Self { status: "200 OK", header: "X-Nothing: more", body: body.into() }
    }

    /// This status with an empty body.
    #[must_use]
    pub fn status(status: &'static str) -> Self {
        Self { status, ..Self::ok("") }
    }
}

/// See the head of this file. It listens until the test's process ends.
#[derive(Debug)]
pub struct AuthServer {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl AuthServer {
    /// A server that answers each request, in a thread of its own, with what `answer` makes of it.
    #[must_use]
    pub fn start(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        Self::over(answer, Some)
    }

    /// The same over TLS.
    #[must_use]
    pub fn over_tls(
        certificates: &Certificates,
        answer: impl Fn(&Asked) -> Told + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(certificates.server());
        Self::over(answer, move |stream| {
            Some(StreamOwned::new(ServerConnection::new(config.clone()).ok()?, stream))
        })
    }

    /// # Panics
    /// When there is no port to listen on.
    fn over<S: Read + Write>(
        answer: impl Fn(&Asked) -> Told + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("a port has a number");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (book, serves) = (asked.clone(), Arc::new((answer, wrap)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, serves) = (book.clone(), serves.clone());
                thread::spawn(move || {
                    let (answer, wrap) = &*serves;
                    if let Some(stream) = wrap(stream) {
                        serve(stream, &book, answer);
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// The flag by which a broker finds this server.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--auth-http-address={}", self.address)
    }

    /// What it was asked so far.
    ///
    /// # Panics
    /// When one of its threads did.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no thread panics with it").clone()
    }
}

/// Serves a connection that may carry several requests, as Go's clients keep theirs.
fn serve(stream: impl Read + Write, book: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Told) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_request(&mut reader) {
        book.lock().expect("no thread panics with it").push(asked.clone());
        let Told { status, header, body } = answer(&asked);
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&bytes| 0 < bytes)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Some(asked)
}
