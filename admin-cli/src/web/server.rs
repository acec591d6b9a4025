//! The connections of browsers and scripts.
//!
//! Knows: how a connection is accepted, the course of its requests, what is compressed, what is
//! logged, and the bounds. Does not know: routes.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections at once, others wait; a body of [`BODY_BYTES_MAX`]; a
//! request that has begun takes [`REQUEST_TIMEOUT`] at most to arrive, and an answer as long to be
//! taken; between two requests a connection may be idle for [`IDLE_TIMEOUT`].

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use protocol::http::body::{BodyError, BodyReader};
use protocol::http::date::http_date;
use protocol::http::headers::Headers;
use protocol::http::request::{BadRequest, Head, Method, parse_head};
use protocol::http::response::{CONTINUE, Exchange, Response, Status};
use startup::duration;
use startup::listen::shown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::api::refused;

/// How many connections are served at once.
const CONNECTIONS_MAX: usize = 1000;
/// The largest body that is read (NSQ behaviour for `/config`; NSQ takes larger orders, and there is
/// no use for one).
const BODY_BYTES_MAX: u64 = 1 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How much is read at once.
const READ_BYTES: usize = 4096;
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long, and how much, is still read from a connection that has had its last answer: closing with
/// unread bytes would reset it, and the answer could be lost.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// One whole request.
pub(super) struct Request {
    pub(super) head: Head,
    pub(super) headers: Headers,
    /// Empty where nobody wants it. `None` when it is larger than is read.
    pub(super) body: Option<Vec<u8>>,
    pub(super) peer: SocketAddr,
}

/// What is answered.
pub(super) enum Answer {
    /// An answer of ours, with a log line or without.
    Own { response: Response, is_logged: bool },
    /// An answer of somebody else's, which is passed on.
    Foreign(Foreign),
}

/// Somebody else's answer, without the headers that are about its connection.
pub(super) struct Foreign {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// Who knows what is to be answered.
pub(super) trait Answers {
    /// Whether a request's body is wanted.
    fn wants_body(&self, head: &Head) -> bool;

    async fn answer(&self, request: Request) -> Answer;
}

/// Listens on `address`: `host:port`, where no host, `0.0.0.0` and `::` all mean every address of
/// both families.
///
/// # Errors
/// Why not, in the words of NSQ's programs.
pub(super) async fn bind(address: &str) -> Result<TcpListener, String> {
    let told = |why: String| format!("listen ({address}) failed - listen tcp {address}: {why}");
    let Some((host, port)) = address.rsplit_once(':') else {
        let why = format!("address {address}: missing port in address");
        return Err(format!("listen ({address}) failed - listen tcp: {why}"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!(
            "listen ({address}) failed - listen tcp: address {port}: invalid port"
        ));
    };
    let every = host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let candidates: Vec<SocketAddr> = if every {
        vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]
    } else {
        let found = tokio::net::lookup_host((host, port)).await;
        found.map_err(|_| told(format!("lookup {host}: no such host")))?.collect()
    };
    let mut reason = format!("lookup {host}: no such host");
    for candidate in candidates {
        let bound = startup::listen::bind(candidate).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => reason = startup::listen::reason(&error),
        }
    }
    Err(told(reason))
}

/// Accepts connections for ever, and serves each.
pub(super) async fn accept<A: Answers + 'static>(listener: TcpListener, answers: Rc<A>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let answers = Rc::clone(&answers);
                tokio::task::spawn_local(async move {
                    serve(stream, shown(peer), &*answers).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("temporary Accept() failure - {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(stream: TcpStream, peer: SocketAddr, answers: &impl Answers) {
    // Without it an answer is only late.
    drop(stream.set_nodelay(true));
    let mut connection = Connection { stream, peer, input: Vec::new() };
    // A connection that fails is gone; there is nobody to tell, and NSQ logs nothing either.
    if connection.run(answers).await.is_ok() {
        close(connection.stream).await;
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// What was read and not yet used.
    input: Vec<u8>,
}

impl Connection {
    /// Answers requests until one of both sides wants to stop.
    async fn run(&mut self, answers: &impl Answers) -> io::Result<()> {
        loop {
            if self.input.is_empty() && within(IDLE_TIMEOUT, self.read_more()).await? == 0 {
                return Ok(());
            }
            let end = Instant::now() + REQUEST_TIMEOUT;
            let (head, head_bytes) = match self.read_head(end).await? {
                Ok(parsed) => parsed,
                Err(bad) => return self.refuse(bad).await,
            };
            let headers = Headers::of(&self.input[..head_bytes]);
            self.input.drain(..head_bytes);
            let start = Instant::now();
            let body = self.read_body(&head, answers.wants_body(&head), end).await?;
            let mut exchange = head.exchange();
            let encoding = Encoding::wanted(headers.get("Accept-Encoding").unwrap_or_default());
            let line = format!("{} {} ({})", head.method, head.target, self.peer);
            let answer = match body {
                Err(BodyError::Malformed) => {
                    exchange = exchange.closing();
                    let response = refused(Status::BadRequest, "INVALID_REQUEST");
                    Answer::Own { response, is_logged: true }
                }
                Err(BodyError::TooBig) => {
                    exchange = exchange.closing();
                    let peer = self.peer;
                    answers.answer(Request { head, headers, body: None, peer }).await
                }
                Ok(body) => {
                    let peer = self.peer;
                    answers.answer(Request { head, headers, body: Some(body), peer }).await
                }
            };
            let output = match answer {
                Answer::Own { response, is_logged } => {
                    if is_logged {
                        let took = duration::format(start.elapsed());
                        info!("{} {line} {took}", response.status.code());
                    }
                    let response = match encoding {
                        Some(encoding) => encoding.compress(response),
                        None => response,
                    };
                    let mut output = Vec::new();
                    response.encode(&mut output, &date(), exchange);
                    output
                }
                Answer::Foreign(foreign) => foreign.encode(exchange),
            };
            self.write(&output).await?;
            if !exchange.keep_alive {
                return Ok(());
            }
        }
    }

    /// Answers what is no request. The connection closes behind it.
    async fn refuse(&mut self, bad: BadRequest) -> io::Result<()> {
        self.write(&bad.answer(&date())).await
    }

    /// Reads a head up to its end, until `end` at most.
    async fn read_head(&mut self, end: Instant) -> io::Result<Result<(Head, usize), BadRequest>> {
        loop {
            match parse_head(&self.input) {
                Ok(Some(parsed)) => return Ok(Ok(parsed)),
                Ok(None) => {}
                Err(bad) => return Ok(Err(bad)),
            }
            if timeout_at(end, self.read_more()).await.map_err(io::Error::from)?? == 0 {
                // The client sends no more: that was no request.
                return Ok(Err(BadRequest::Malformed));
            }
        }
    }

    /// Reads the body up to the next request, until `end` at most; nothing of it is kept where nobody
    /// wants it.
    async fn read_body(
        &mut self,
        head: &Head,
        is_wanted: bool,
        end: Instant,
    ) -> io::Result<Result<Vec<u8>, BodyError>> {
        let reader = match is_wanted {
            true => BodyReader::new(head.body, BODY_BYTES_MAX),
            false => BodyReader::unwanted(head.body),
        };
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        if head.expect_continue {
            self.write(CONTINUE).await?;
        }
        loop {
            match reader.feed(&self.input) {
                Ok(bytes) => drop(self.input.drain(..bytes)),
                Err(error) => return Ok(Err(error)),
            }
            if reader.is_complete() {
                return Ok(Ok(reader.into_content()));
            }
            if timeout_at(end, self.read_more()).await.map_err(io::Error::from)?? == 0 {
                return Ok(Err(BodyError::Malformed));
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(REQUEST_TIMEOUT, self.stream.write_all(bytes)).await
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        let mut piece = [0; READ_BYTES];
        let bytes = self.stream.read(&mut piece).await?;
        self.input.extend_from_slice(&piece[..bytes]);
        Ok(bytes)
    }
}

/// The outcome of `work`, or a failure when it takes longer.
async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.map_err(io::Error::from)?
}

/// Ends a connection whose last answer was written.
async fn close(mut stream: TcpStream) {
    let read_rest = async {
        stream.shutdown().await?;
        let mut scratch = [0; READ_BYTES];
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        io::Result::Ok(())
    };
    // The connection is over in any case; how it ends is the other side's business.
    drop(timeout(LINGER, read_rest).await);
}

/// The value of the `Date` header.
fn date() -> String {
    http_date(u64::try_from(unix_seconds()).unwrap_or_default())
}

/// The time in seconds since 1970.
pub(super) fn unix_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// The first that is named and known. Weights are not read (NSQ behaviour).
    fn wanted(accepted: &str) -> Option<Self> {
        accepted.split(',').find_map(|name| match name.trim() {
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        })
    }

    /// The same answer, compressed. One without content says how nothing is compressed, too (NSQ
    /// behaviour), but for 304, which has no content at all.
    fn compress(self, response: Response) -> Response {
        if response.status == Status::NotModified {
            return response;
        }
        let level = Compression::fast();
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(response.body()).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(response.body()).and_then(|()| encoder.finish())
            }
        };
        let name = match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        };
        response.compressed(name, compressed.expect("writing into memory does not fail"))
    }
}

impl Foreign {
    fn encode(&self, exchange: Exchange) -> Vec<u8> {
        let mut output = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        for (name, value) in &self.headers {
            output.extend_from_slice(name.as_bytes());
            output.extend_from_slice(b": ");
            output.extend_from_slice(value);
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        if !exchange.keep_alive {
            output.extend_from_slice(b"Connection: close\r\n");
        }
        output.extend_from_slice(b"\r\n");
        if exchange.with_body {
            output.extend_from_slice(&self.body);
        }
        output
    }
}

/// Whether an answer to a request that no route has is worth a line: redirects, and what `OPTIONS`
/// tells about a path, are not (NSQ behaviour).
pub(super) fn is_logged(head: &Head, response: &Response) -> bool {
    match response.status {
        Status::MovedPermanently | Status::TemporaryRedirect => false,
        Status::Ok => head.method != Method::Options,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_encoding_is_taken() {
        for (accepted, encoding) in [
            ("", None),
            ("gzip", Some(Encoding::Gzip)),
            ("br, deflate , gzip", Some(Encoding::Deflate)),
            ("gzip;q=0", None),
            ("GZIP", None),
            ("*", None),
        ] {
            assert_eq!(Encoding::wanted(accepted), encoding, "{accepted}");
        }
    }

    struct Nothing;

    impl Answers for Nothing {
        fn wants_body(&self, _: &Head) -> bool {
            true
        }

        async fn answer(&self, _: Request) -> Answer {
            Answer::Own { response: Response::text("OK"), is_logged: false }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_byte_by_byte_is_given_up_when_its_time_is_over() {
        for (name, request) in [
            ("head", &b"GET / HTTP/1.1\r\n"[..]),
            ("body", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            let (stream, peer) = listener.accept().await.unwrap();
            let begun = Instant::now();
            let serving = async {
                serve(stream, peer, &Nothing).await;
                begun.elapsed()
            };
            let sending = async {
                client.write_all(request).await.unwrap();
                // A byte comes always before anybody who waits for just one gives up.
                while client.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(REQUEST_TIMEOUT / 2).await;
                }
            };
            let took = tokio::select! {
                took = serving => took,
                () = sending => begun.elapsed(),
            };
            assert!(took < REQUEST_TIMEOUT + REQUEST_TIMEOUT / 2, "{name}: {took:?}");
        }
    }
}
