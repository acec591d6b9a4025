//! A few words with a process over a socket, to learn which one it is.
//!
//! Knows: the first words of nsqd's and nsqlookupd's protocols, and `/info`. Nothing here waits for
//! longer than two seconds, or reads more than a little.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::frame::{Frame, decode_frame};
use protocol::request;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::address::Address;

/// How long a process has for each step.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The first socket address that a name stands for.
///
/// # Errors
/// Why it stands for none, in words for people.
pub(super) async fn resolve(address: &Address) -> Result<SocketAddr, String> {
    let found = in_time(lookup_host(address.as_str())).await?;
    found.into_iter().next().ok_or_else(|| "the name has no address".to_owned())
}

/// The version of the nsqd that speaks its protocol at `address`.
///
/// # Errors
/// Why there is none, in words for people.
pub(super) async fn nsqd_version(address: SocketAddr) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Agreement {
        version: String,
    }
    let mut hello = request::MAGIC.to_vec();
    request::identify(&mut hello, br#"{"feature_negotiation":true,"heartbeat_interval":-1}"#);
    let mut stream = in_time(TcpStream::connect(address)).await?;
    in_time(stream.write_all(&hello)).await?;
    let mut input = Vec::new();
    loop {
        let frame = decode_frame(&input, ANSWER_BYTES_MAX);
        match frame.map_err(|error| error.to_string())? {
            Some((Frame::Response(json), _)) => {
                let agreement: Result<Agreement, _> = serde_json::from_slice(json);
                return agreement.map(|agreed| agreed.version).map_err(|error| error.to_string());
            }
            Some(_) => return Err("it does not answer IDENTIFY as nsqd does".to_owned()),
            None => {}
        }
        if in_time(stream.read_buf(&mut input)).await? == 0 {
            return Err("it closes the connection".to_owned());
        }
    }
}

/// Whether nsqlookupd speaks its protocol at `address`: it answers a PING.
///
/// # Errors
/// Why not, in words for people.
pub(super) async fn ping_lookup(address: &Address) -> Result<(), String> {
    const ANSWER: &[u8] = b"\0\0\0\x02OK";
    let mut stream = in_time(TcpStream::connect(address.as_str())).await?;
    in_time(stream.write_all(b"  V1PING\n")).await?;
    let mut answer = [0; ANSWER.len()];
    in_time(stream.read_exact(&mut answer)).await?;
    if answer == ANSWER { Ok(()) } else { Err("something else than nsqlookupd answers".to_owned()) }
}

/// What a process says of itself over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Introduction {
    /// Of NSQ.
    pub(super) version: String,
    /// Whether it names ports of its own, as only nsqd does.
    pub(super) has_ports: bool,
    /// When it answered by its own clock, in seconds since 1970, if it says so.
    pub(super) clock: Option<i64>,
}

/// Asks `GET /info` of `address`, `host:port`. The header `Date` of the answer tells the clock, so this
/// is done by hand.
///
/// # Errors
/// Why there is no such answer, in words for people.
pub(super) async fn info(address: &str) -> Result<Introduction, String> {
    let mut stream = in_time(TcpStream::connect(address)).await?;
    let question = format!("GET /info HTTP/1.0\r\nHost: {address}\r\n\r\n");
    in_time(stream.write_all(question.as_bytes())).await?;
    let mut answer = Vec::new();
    while in_time(stream.read_buf(&mut answer)).await? != 0 {
        if ANSWER_BYTES_MAX < answer.len() {
            return Err("its answer is too long".to_owned());
        }
    }
    introduction(&answer)
}

/// What an answer to `GET /info` says.
fn introduction(answer: &[u8]) -> Result<Introduction, String> {
    #[derive(Deserialize)]
    struct Info {
        version: String,
        tcp_port: Option<i32>,
    }
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let info: Info = serde_json::from_str(body)
        .map_err(|_| format!("it answers /info as NSQ does not ({status:?})"))?;
    let date = lines.find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("date").then_some(value)
    });
    let clock = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let clock = clock.map(|clock| clock.timestamp().as_second());
    Ok(Introduction { version: info.version, has_ports: info.tcp_port.is_some(), clock })
}

const NOT_IN_TIME: &str = "no answer in time";

async fn in_time<T>(step: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, step).await {
        Err(_) => Err(NOT_IN_TIME.to_owned()),
        // The number of the error says nothing that its words do not.
        Ok(outcome) => outcome.map_err(|error| {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_tells_the_kind_the_version_and_the_clock() {
        let answer = b"HTTP/1.0 200 OK\r\nX-NSQ-Content-Type: nsq; version=1.0\r\n\
            date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n{\"version\":\"1.3.0\"}";
        let expected =
            Introduction { version: "1.3.0".into(), has_ports: false, clock: Some(784_111_777) };
        assert_eq!(introduction(answer), Ok(expected));
        let answer = b"HTTP/1.1 200 OK\r\n\r\n{\"version\":\"1.2.1\",\"tcp_port\":4150}";
        let expected = Introduction { version: "1.2.1".into(), has_ports: true, clock: None };
        assert_eq!(introduction(answer), Ok(expected));
    }

    #[test]
    fn something_else_is_named_by_what_it_says_first() {
        for answer in [&b"HTTP/1.1 404 Not Found\r\n\r\nno"[..], b"SSH-2.0-OpenSSH", b""] {
            let reason = introduction(answer).unwrap_err();
            let first = String::from_utf8_lossy(answer);
            let first = first.split("\r\n").next().unwrap();
            assert!(reason.contains(first), "{reason}");
        }
    }
}
