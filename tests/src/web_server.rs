//! A web server in the test itself: it remembers what it is asked, to the byte, and does as the test
//! says, nonsense included. Knows HTTP/1.1 as clients write it, several requests a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use crate::layers::Certificates;
use crate::patience::SOON;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The first line.
    pub line: String,
    /// The lines behind it, in the order of the alphabet.
    pub headers: Vec<String>,
    /// What `Content-Length` counted.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, by its name as it is written.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// These bytes, and the connection stays.
    Says(String),
    /// These bytes, and the connection ends.
    SaysAndCloses(String),
    /// These bytes, and then nothing more for as long as a test takes.
    SaysAndHangs(String),
}

impl Reaction {
    /// An answer with this status, `200 OK` for instance, and no body.
    #[must_use]
    pub fn status(status: &str) -> Self {
        Self::Says(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
    }
}

/// See the head of this file. It listens until the test's process ends.
#[derive(Debug)]
pub struct WebServer {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl WebServer {
    /// A server that does with each request what `react` says. The second argument of that is how
    /// many requests came before on the same connection.
    #[must_use]
    pub fn start(react: impl Fn(&Request, usize) -> Reaction + Send + Sync + 'static) -> Self {
        Self::over(react, Some)
    }

    /// The same over TLS.
    #[must_use]
    pub fn over_tls(
        certificates: &Certificates,
        react: impl Fn(&Request, usize) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(certificates.server());
        Self::over(react, move |stream| {
            Some(StreamOwned::new(ServerConnection::new(config.clone()).ok()?, stream))
        })
    }

    /// # Panics
    /// When there is no port to listen on.
    fn over<S: Read + Write>(
        react: impl Fn(&Request, usize) -> Reaction + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("a port has a number");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (book, serves) = (requests.clone(), Arc::new((react, wrap)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, serves) = (book.clone(), serves.clone());
                thread::spawn(move || {
                    let (react, wrap) = &*serves;
                    if let Some(stream) = wrap(stream) {
                        serve(stream, &book, react);
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// What it was asked so far, in the order in which it came.
    ///
    /// # Panics
    /// When one of its threads did.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread panics with it").clone()
    }
}

fn serve(
    stream: impl Read + Write,
    book: &Mutex<Vec<Request>>,
    react: &dyn Fn(&Request, usize) -> Reaction,
) {
    let mut reader = BufReader::new(stream);
    for before in 0.. {
        let Some(request) = read(&mut reader) else { return };
        // What it does is said before it is counted, so that whoever waits for the count finds it
        // done.
        let reaction = react(&request, before);
        book.lock().expect("no thread panics with it").push(request);
        let (text, stays) = match &reaction {
            Reaction::Says(text) => (text, true),
            Reaction::SaysAndCloses(text) | Reaction::SaysAndHangs(text) => (text, false),
        };
        let said = reader.get_mut().write_all(text.as_bytes()).is_ok();
        if let Reaction::SaysAndHangs(_) = reaction {
            thread::sleep(SOON * 6);
        }
        if !said || !stays {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|&bytes| 0 < bytes)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        Some(line.strip_suffix("\r\n").unwrap_or(&line).to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        match line()? {
            line if line.is_empty() => break,
            line => headers.push(line),
        }
    }
    headers.sort();
    let mut request = Request { line: first, headers, body: Vec::new() };
    let length = request.header("Content-Length").and_then(|length| length.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
