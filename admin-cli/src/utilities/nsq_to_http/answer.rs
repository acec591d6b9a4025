//! The head of an HTTP answer, and where its body ends.
//!
//! Does not know: how bytes arrive.

use crate::url::quoted;

/// The largest head that is read, as in Go's client.
pub(super) const HEAD_BYTES_MAX: usize = 10 << 20;

/// What an answer says before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where to ask instead.
    pub(super) location: Option<String>,
    pub(super) body: Body,
    /// Whether another request may follow on the connection.
    pub(super) stays_open: bool,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// After so many bytes.
    Sized(u64),
    /// After the last of its chunks.
    Chunked,
    /// With the connection.
    UntilClosed,
}

/// Why bytes are no answer, in the words of Go's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

impl Answer {
    /// The head at the start of `input` and its length; `None` when it is not all there yet.
    pub(super) fn read(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(bytes) = head_bytes(input) else {
            if HEAD_BYTES_MAX < input.len() {
                let text = format!(
                    "net/http: server response headers exceeded {HEAD_BYTES_MAX} bytes; aborted"
                );
                return Err(Malformed(text));
            }
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&input[..bytes]);
        let mut lines = head.lines();
        let (minor, status) = read_status(lines.next().unwrap_or_default())?;
        let mut answer =
            Self { status, location: None, body: Body::UntilClosed, stays_open: 0 < minor };
        let (mut is_chunked, mut length) = (false, None);
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| without_colon(line))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "location" if answer.location.is_none() => answer.location = Some(value.to_owned()),
                "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
                "content-length" => {
                    let bad = || broken(&format!("bad Content-Length {}", quoted(value)));
                    length = Some(value.parse::<u64>().map_err(|_| bad())?);
                }
                "connection" => {
                    for word in value.split(',').map(str::trim) {
                        if word.eq_ignore_ascii_case("close") {
                            answer.stays_open = false;
                        } else if word.eq_ignore_ascii_case("keep-alive") {
                            answer.stays_open = true;
                        }
                    }
                }
                _ => {}
            }
        }
        answer.body = match (status, is_chunked, length) {
            (100..=199 | 204 | 304, _, _) => Body::Sized(0),
            (_, true, _) => Body::Chunked,
            (_, false, Some(length)) => Body::Sized(length),
            (_, false, None) => Body::UntilClosed,
        };
        answer.stays_open &= answer.body != Body::UntilClosed && 200 <= status;
        Ok(Some((answer, bytes)))
    }

    /// Why bytes that end before their head does are no answer.
    pub(super) fn cut_short(input: &[u8]) -> Malformed {
        let head = String::from_utf8_lossy(input);
        match head.rsplit_once('\n') {
            Some((_, line)) if !line.is_empty() && !line.contains(':') => without_colon(line),
            _ => broken("unexpected EOF"),
        }
    }

    /// Whether only another answer says what became of the request.
    pub(super) fn is_preliminary(&self) -> bool {
        (100..=199).contains(&self.status) && self.status != 101
    }
}

/// How many bytes there are up to the end of the first empty line.
fn head_bytes(input: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, _) in input.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if matches!(&input[line..at], b"" | b"\r") {
            return Some(at + 1);
        }
        line = at + 1;
    }
    None
}

/// The second number of the version, and the status.
fn read_status(line: &str) -> Result<(u8, u16), Malformed> {
    let (version, rest) = line
        .split_once(' ')
        .ok_or_else(|| broken(&format!("malformed HTTP response {}", quoted(line))))?;
    let code = rest.trim_start_matches(' ').split(' ').next().unwrap_or_default();
    let status = Some(code)
        .filter(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| broken(&format!("malformed HTTP status code {}", quoted(code))))?;
    match version.strip_prefix("HTTP/1.").map(str::as_bytes) {
        Some(&[minor @ b'0'..=b'9']) => Ok((minor - b'0', status)),
        _ => Err(broken(&format!("malformed HTTP version {}", quoted(version)))),
    }
}

fn without_colon(line: &str) -> Malformed {
    broken(&format!("malformed MIME header: missing colon: {}", quoted(line)))
}

fn broken(reason: &str) -> Malformed {
    Malformed(format!("net/http: HTTP/1.x transport connection broken: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_where_the_body_ends_and_what_becomes_of_the_connection() {
        let sized = |length| (Body::Sized(length), true);
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", sized(5)),
            ("HTTP/1.1 200\nContent-Length:5\n\n", sized(5)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", (Body::Chunked, true)),
            ("HTTP/1.1 200 OK\r\n\r\n", (Body::UntilClosed, false)),
            ("HTTP/1.1 204 No Content\r\n\r\n", sized(0)),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", sized(0)),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
                (Body::Sized(0), false),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", (Body::Sized(0), false)),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", sized(0)),
        ] {
            let input = format!("{head}rest");
            let (answer, bytes) = Answer::read(input.as_bytes()).unwrap().unwrap();
            assert_eq!(bytes, head.len());
            assert_eq!((answer.body, answer.stays_open), expected, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nLocation: /y\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(Answer::read(&head[..end]), Ok(None), "{end}");
        }
        let (answer, _) = Answer::read(head).unwrap().unwrap();
        assert_eq!((answer.status, answer.location.as_deref()), (302, Some("/x")));
        let (early, _) = Answer::read(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().unwrap();
        assert!(early.is_preliminary() && !answer.is_preliminary());
    }

    #[test]
    fn what_is_no_answer_is_told_in_gos_words() {
        for (head, reason) in [
            ("hello\r\n\r\n", "malformed HTTP response \"hello\""),
            ("HTTP/1.1 20 OK\r\n\r\n", "malformed HTTP status code \"20\""),
            ("HTTP/2.0 200 OK\r\n\r\n", "malformed HTTP version \"HTTP/2.0\""),
            (
                "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
                "malformed MIME header: missing colon: \"nonsense\"",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "bad Content-Length \"x\""),
        ] {
            let text = format!("net/http: HTTP/1.x transport connection broken: {reason}");
            assert_eq!(Answer::read(head.as_bytes()), Err(Malformed(text)));
        }
        for (head, reason) in [
            ("HTTP/1.1 2", "unexpected EOF"),
            ("HTTP/1.1 200 OK\r\n", "unexpected EOF"),
            ("HTTP/1.1 200 OK\r\nA: b", "unexpected EOF"),
            ("HTTP/1.1 200 OK\r\nAb", "malformed MIME header: missing colon: \"Ab\""),
        ] {
            let text = format!("net/http: HTTP/1.x transport connection broken: {reason}");
            assert_eq!(Answer::cut_short(head.as_bytes()), Malformed(text));
        }
        let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert!(Answer::read(&endless).is_err());
    }
}
