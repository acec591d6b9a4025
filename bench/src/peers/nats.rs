//! NATS with JetStream: its text protocol, and the subjects of its API.
//!
//! A stream is a subject that is stored. Who publishes to it names an inbox, to which the answer
//! comes as a message; who pulls names one for the messages, and acknowledges to the subject that
//! came with each.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use crate::load::consumers::{Consumed, consume_by};
use crate::load::crowd::Crowd;
use crate::load::publishers::Until;

const SUBJECT: &str = "bench";

pub(super) fn arguments(address: SocketAddr, data: &Path, settings: &[String]) -> Vec<String> {
    let file = data.join("nats.conf");
    let settings = settings.join("\n");
    let text = format!(
        "listen: \"{address}\"\njetstream {{\nstore_dir: \"{}\"\n{settings}\n}}\n",
        data.display()
    );
    fs::write(&file, text).expect("the data folder can be written");
    vec!["--config".to_owned(), file.display().to_string()]
}

/// A stream as it comes: in files, one replica, and what was acknowledged stays.
pub(super) fn make_stream(broker: SocketAddr) {
    let wanted = format!(r#"{{"name":"BENCH","subjects":["{SUBJECT}"],"storage":"file"}}"#);
    ask(broker, "$JS.API.STREAM.CREATE.BENCH", &wanted);
}

/// A consumer of which as many messages may be without acknowledgement as are asked for.
pub(super) fn make_consumer(broker: SocketAddr) {
    let config = r#"{"durable_name":"ch","ack_policy":"explicit","max_ack_pending":-1}"#;
    let wanted = format!(r#"{{"stream_name":"BENCH","config":{config}}}"#);
    ask(broker, "$JS.API.CONSUMER.DURABLE.CREATE.BENCH.ch", &wanted);
}

pub(super) fn greeting(connection: usize) -> Vec<u8> {
    let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
    format!("CONNECT {options}\r\nSUB {} 1\r\n", inbox(connection)).into_bytes()
}

pub(super) fn publish(connection: usize, body: &[u8]) -> Vec<u8> {
    send(SUBJECT, &inbox(connection), body)
}

pub(super) fn answer(bytes: &[u8]) -> Option<(bool, usize)> {
    let (said, length) = said(bytes)?;
    if let Said::Message { body, .. } = said {
        let is_stored = body.starts_with(br#"{"stream":"#);
        assert!(is_stored, "refused: {}", String::from_utf8_lossy(body));
        return Some((true, length));
    }
    Some((false, length))
}

/// Each pulls again when it has half of what it asked for, as NATS's own clients do.
pub(super) fn consume(broker: SocketAddr, consumers: usize, ready: u32, messages: u64) -> Consumed {
    let crowd = Crowd::connect(broker, consumers, b"");
    let ask = |number| [greeting(number), pull(number, ready)].concat();
    let first: Vec<_> = (0..consumers).map(ask).collect();
    let half = ready / 2;
    let mut taken = vec![0; consumers];
    consume_by(crowd, &first, Until::Count(messages), |number, bytes, _, consumed, output| {
        let mut at = 0;
        while let Some((said, length)) = said(&bytes[at..]) {
            at += length;
            let Said::Message { reply, .. } = said else { continue };
            output.extend_from_slice(b"PUB ");
            output.extend_from_slice(reply);
            output.extend_from_slice(b" 4\r\n+ACK\r\n");
            consumed.messages += 1;
            taken[number] += 1;
            if taken[number] == half {
                taken[number] = 0;
                output.extend(pull(number, half));
            }
        }
        at
    })
}

fn pull(connection: usize, count: u32) -> Vec<u8> {
    let wanted = format!(r#"{{"batch":{count}}}"#);
    send("$JS.API.CONSUMER.MSG.NEXT.BENCH.ch", &inbox(connection), wanted.as_bytes())
}

/// A request to the API, which must not be refused.
fn ask(broker: SocketAddr, subject: &str, wanted: &str) {
    let mut stream = TcpStream::connect(broker).expect("the broker accepts");
    let request = [greeting(0), send(subject, &inbox(0), wanted.as_bytes())].concat();
    stream.write_all(&request).expect("the broker reads");
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).expect("the broker answers");
        assert!(0 < count, "the broker closed the connection");
        input.extend_from_slice(&piece[..count]);
        let mut at = 0;
        while let Some((said, length)) = said(&input[at..]) {
            at += length;
            if let Said::Message { body, .. } = said {
                let text = String::from_utf8_lossy(body);
                assert!(!text.contains(r#""error":"#), "{subject}: {text}");
                return;
            }
        }
        input.drain(..at);
    }
}

fn inbox(connection: usize) -> String {
    format!("_INBOX.bench.{connection}")
}

fn send(subject: &str, reply: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("PUB {subject} {reply} {}\r\n", body.len());
    [head.as_bytes(), body, b"\r\n"].concat()
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// To a subscription, and where an answer is wanted, or nothing.
    Message { reply: &'a [u8], body: &'a [u8] },
    /// About itself, or that it wants to hear something: later than anything that is measured ends.
    Other,
}

/// What is said first, and how long it is; `None` while it is not whole.
fn said(bytes: &[u8]) -> Option<(Said<'_>, usize)> {
    const END: usize = b"\r\n".len();
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let words = &bytes[..line - END];
    // Messages with headers tell what went wrong: nobody here publishes any.
    let is_refused = words.starts_with(b"-ERR") || words.starts_with(b"HMSG ");
    assert!(!is_refused, "refused: {}", String::from_utf8_lossy(bytes));
    let Some(words) = words.strip_prefix(b"MSG ") else {
        return Some((Said::Other, line));
    };
    // Subject, subscription, reply if there is one, size.
    let mut words = words.split(|byte| *byte == b' ').skip(2);
    let (first, second) = (words.next()?, words.next());
    let (reply, size) = second.map_or((&b""[..], first), |size| (first, size));
    let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
    let body = bytes.get(line..line + size + END)?;
    Some((Said::Message { reply, body: &body[..size] }, line + size + END))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_whole_or_is_waited_for() {
        // The examples of NATS's client protocol.
        let plain = b"MSG FOO.BAR 9 11\r\nHello World\r\n";
        let with_reply = b"MSG FOO.BAR 9 GREETING.34 11\r\nHello World\r\nPING\r\n";
        let body = &b"Hello World"[..];
        assert_eq!(said(plain), Some((Said::Message { reply: b"", body }, 31)));
        assert_eq!(said(with_reply), Some((Said::Message { reply: b"GREETING.34", body }, 43)));
        for length in 0..plain.len() {
            assert_eq!(said(&plain[..length]), None, "{length}");
        }
        assert_eq!(said(b"PING\r\nPING\r\n"), Some((Said::Other, 6)));
        assert_eq!(said(b"INFO {\"server_id\":\"N\"} \r\n"), Some((Said::Other, 25)));
    }

    #[test]
    fn an_acknowledgement_names_the_stream() {
        let stored = b"MSG _INBOX.bench.0 1 28\r\n{\"stream\":\"ORDERS\",\"seq\":1}\n\r\n";
        assert_eq!(answer(stored), Some((true, stored.len())));
        assert_eq!(answer(b"PING\r\n"), Some((false, 6)));
    }

    #[test]
    #[should_panic(expected = "refused")]
    fn a_refusal_is_no_acknowledgement() {
        answer(b"MSG _INBOX.bench.0 1 44\r\n{\"error\":{\"code\":503},\"stream\":\"\",\"seq\":0}  \r\n");
    }

    #[test]
    #[should_panic(expected = "503")]
    fn nobody_there_is_no_acknowledgement() {
        answer(b"HMSG _INBOX.bench.0 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
    }

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        assert_eq!(publish(7, b"Hello"), b"PUB bench _INBOX.bench.7 5\r\nHello\r\n");
        assert_eq!(
            pull(0, 10),
            b"PUB $JS.API.CONSUMER.MSG.NEXT.BENCH.ch _INBOX.bench.0 12\r\n{\"batch\":10}\r\n"
        );
    }
}
