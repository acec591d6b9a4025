//! HTTP/1.1 requests over a plain socket, with everything of the answer in sight.
//!
//! Knows the head, `Content-Length` and chunks; follows no redirect and hides no header.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::patience::SOON;

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names as sent, and values.
    pub headers: Vec<(String, String)>,
    /// The body, without the marks of chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// Asks for `target` with GET.
#[must_use]
pub fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[])
}

/// Sends `body` to `target` with POST.
#[must_use]
pub fn post(address: SocketAddr, target: &str, body: &[u8]) -> Answer {
    request(address, "POST", target, body)
}

/// One request on a connection of its own.
///
/// # Panics
/// When there is no whole answer soon.
#[must_use]
pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Answer {
    answer(&exchange(address, &message(method, target, body)))
}

fn message(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends `body` to `target` with POST, to a server that may be gone or be killed meanwhile: `None`
/// when there is no whole answer.
#[must_use]
pub fn try_post(address: SocketAddr, target: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    stream.set_write_timeout(Some(SOON)).ok()?;
    stream.write_all(&message("POST", target, body)).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    // The answers to orders and publishes state their length.
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ")?;
    let length: usize = length.split_once("\r\n")?.0.parse().ok()?;
    (end + length == bytes.len()).then(|| answer(&bytes))
}

/// Sends bytes as they are and returns everything that comes until the other side closes.
///
/// # Panics
/// When the other side neither answers nor closes soon.
#[must_use]
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("the server accepts");
    stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
    stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
    // A server may refuse a request before it has read all of it: what it says counts.
    let written = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if !answer.is_empty() => assert!(
            error.kind() == std::io::ErrorKind::ConnectionReset,
            "{error} after {}",
            String::from_utf8_lossy(&answer)
        ),
        Err(error) => panic!("no answer: {error}; the request was written: {written:?}"),
    }
    answer
}

/// Takes one whole answer apart.
///
/// # Panics
/// When the bytes are no HTTP answer.
#[must_use]
pub fn answer(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status line: {head}"));
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("Transfer-Encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body);
    } else if let Some(length) = answer.header("Content-Length") {
        let length: usize = length.parse().expect("a length is a number");
        assert_eq!(length, answer.body.len(), "the body is as long as the head says");
    }
    answer
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&bytes[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        if size == 0 {
            return body;
        }
        let begin = end + 2;
        body.extend_from_slice(&bytes[begin..begin + size]);
        bytes = &bytes[begin + size + 2..];
    }
}
