//! A request that we send, and the answer to it: the other side of [`request`](super::request) and
//! [`response`](super::response).
//!
//! Knows: the bytes of a request, where an answer ends, and how much of one is taken. Does not know:
//! sockets, time, what any answer means.
//!
//! Every request asks for the connection to be closed behind the answer, so nothing that comes
//! behind an answer is of any interest.

use std::fmt;
use std::mem::MaybeUninit;

use super::body::{BodyError, BodyReader};
use super::request::{BodyLength, HEAD_BYTES_MAX, HEADERS_MAX, Method, has_token, parse_length};
use super::url::Url;

/// One request of ours.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for, and where.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Headers beyond those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A GET without any header of its own.
    pub fn get(url: Url) -> Self {
        Self { url, method: Method::Get, headers: Vec::new(), body: None }
    }

    /// A POST with a body.
    pub fn post(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Self { url, method: Method::Post, headers, body: Some(body) }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The request to be sent after a redirect to `url` with this status, by the rules of HTTP's
    /// clients, Go's among them: what was posted is posted again only where the status says so.
    #[must_use]
    pub fn redirected(&self, url: Url, status: u16) -> Self {
        if matches!(status, 307 | 308) {
            return Self { url, ..self.clone() };
        }
        let headers = self.headers.iter().filter(|(name, _)| *name != "Content-Type");
        Self { url, method: Method::Get, headers: headers.cloned().collect(), body: None }
    }

    /// The bytes to be sent. `user_agent` says which program asks.
    pub fn encode(&self, user_agent: &str) -> Vec<u8> {
        let Self { url, method, headers, body } = self;
        let mut bytes = Vec::new();
        let mut line = |pieces: &[&str]| {
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece.as_bytes()));
            bytes.extend_from_slice(b"\r\n");
        };
        line(&[method.as_str(), " ", &url.target, " HTTP/1.1"]);
        line(&["Host: ", &url.host_header()]);
        line(&["User-Agent: ", user_agent]);
        line(&["Connection: close"]);
        if let Some(authorization) = url.authorization() {
            line(&["Authorization: ", &authorization]);
        }
        for (name, value) in headers {
            line(&[name, ": ", value]);
        }
        if let Some(body) = body {
            line(&["Content-Length: ", &body.len().to_string()]);
        }
        line(&[]);
        bytes.extend_from_slice(body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its three digits.
    pub status: u16,
    /// The words behind them.
    pub reason: String,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The content.
    pub body: Vec<u8>,
}

/// Why bytes are no answer that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// Not HTTP/1, or not legal.
    Malformed,
    /// The connection was closed before its end.
    Unfinished,
    /// The head or the body is larger than is taken.
    TooBig,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed HTTP response",
            Self::Unfinished => "the connection was closed before the end of the response",
            Self::TooBig => "the response is larger than is taken",
        })
    }
}

impl std::error::Error for BadAnswer {}

impl From<BodyError> for BadAnswer {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooBig => Self::TooBig,
            BodyError::Malformed => Self::Malformed,
        }
    }
}

/// Reads one answer from the bytes of a connection, as they come.
#[derive(Debug)]
pub struct AnswerReader {
    stage: Stage,
    /// So many bytes of content are taken.
    body_bytes_max: usize,
}

#[derive(Debug)]
enum Stage {
    /// What came of the head.
    Head(Vec<u8>),
    /// The body's end is known from its length or its chunks.
    Body(Answer, BodyReader),
    /// The body ends where the connection does.
    UntilClosed(Answer),
}

impl AnswerReader {
    /// A reader of an answer with at most `body_bytes_max` bytes of content.
    pub fn new(body_bytes_max: usize) -> Self {
        Self { stage: Stage::Head(Vec::new()), body_bytes_max }
    }

    /// Takes bytes; true when the answer is whole.
    ///
    /// # Errors
    /// [`BadAnswer`] as soon as it is certain.
    pub fn feed(&mut self, input: &[u8]) -> Result<bool, BadAnswer> {
        match &mut self.stage {
            Stage::Head(head) => {
                head.extend_from_slice(input);
                let head = std::mem::take(head);
                self.read_head(head)
            }
            Stage::Body(_, reader) => {
                reader.feed(input)?;
                Ok(reader.is_complete())
            }
            Stage::UntilClosed(answer) => {
                if self.body_bytes_max < answer.body.len() + input.len() {
                    return Err(BadAnswer::TooBig);
                }
                answer.body.extend_from_slice(input);
                Ok(false)
            }
        }
    }

    /// The answer: when [`Self::feed`] said that it is whole, or when the connection was closed.
    ///
    /// # Errors
    /// [`BadAnswer::Unfinished`] when something is missing.
    pub fn finish(self) -> Result<Answer, BadAnswer> {
        match self.stage {
            Stage::Body(answer, reader) if reader.is_complete() => {
                Ok(Answer { body: reader.into_content(), ..answer })
            }
            Stage::UntilClosed(answer) => Ok(answer),
            Stage::Head(_) | Stage::Body(..) => Err(BadAnswer::Unfinished),
        }
    }

    fn read_head(&mut self, mut input: Vec<u8>) -> Result<bool, BadAnswer> {
        loop {
            let Some(Head { answer, body, bytes }) = parse_head(&input)? else {
                self.stage = Stage::Head(input);
                return Ok(false);
            };
            input.drain(..bytes);
            if matches!(answer.status, 100..=199) {
                // A word in between; the answer itself follows.
                continue;
            }
            self.stage = match body {
                None => Stage::UntilClosed(answer),
                Some(length) => {
                    let limit = u64::try_from(self.body_bytes_max).unwrap_or(u64::MAX);
                    Stage::Body(answer, BodyReader::new(length, limit)?)
                }
            };
            return self.feed(&input);
        }
    }
}

struct Head {
    answer: Answer,
    /// `None`: until the connection is closed.
    body: Option<BodyLength>,
    bytes: usize,
}

fn parse_head(input: &[u8]) -> Result<Option<Head>, BadAnswer> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut headers,
    );
    let bytes = match parsed {
        Ok(httparse::Status::Complete(bytes)) if bytes <= HEAD_BYTES_MAX => bytes,
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::TooBig),
        Err(_) => return Err(BadAnswer::Malformed),
    };
    let status = response.code.ok_or(BadAnswer::Malformed)?;
    let (mut length, mut is_chunked, mut location) = (None, false, None);
    for header in response.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let told = parse_length(header.value).ok_or(BadAnswer::Malformed)?;
            if length.is_some_and(|earlier| earlier != told) {
                return Err(BadAnswer::Malformed);
            }
            length = Some(told);
        } else if is("transfer-encoding") {
            if !has_token(header.value, "chunked") {
                return Err(BadAnswer::Malformed);
            }
            is_chunked = true;
        } else if is("location") {
            location = std::str::from_utf8(header.value).ok().map(str::to_owned);
        }
    }
    let body = match (status, length) {
        (100..=199 | 204 | 304, _) => Some(BodyLength::None),
        _ if is_chunked => Some(BodyLength::Chunked),
        (_, length) => length.map(BodyLength::Length),
    };
    let reason = response.reason.unwrap_or_default().to_owned();
    let answer = Answer { status, reason, location, body: Vec::new() };
    Ok(Some(Head { answer, body, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize, body_bytes_max: usize) -> Result<Answer, BadAnswer> {
        let mut reader = AnswerReader::new(body_bytes_max);
        for piece in bytes.chunks(piece) {
            if reader.feed(piece)? {
                break;
            }
        }
        reader.finish()
    }

    fn answer(status: u16, reason: &str, body: &str) -> Answer {
        Answer { status, reason: reason.into(), location: None, body: body.into() }
    }

    #[test]
    fn a_request_closes_its_connection_and_names_its_host() {
        let url = Url::parse("http://ann:word@auth:4181/auth?x=y").unwrap();
        let get = Request::get(url.clone()).with_header("Accept", "text/plain");
        assert_eq!(
            String::from_utf8(get.encode("nsqd/1")).unwrap(),
            "GET /auth?x=y HTTP/1.1\r\nHost: auth:4181\r\nUser-Agent: nsqd/1\r\n\
             Connection: close\r\nAuthorization: Basic YW5uOndvcmQ=\r\nAccept: text/plain\r\n\r\n"
        );
        let post = Request::post(url, "application/json", b"{}".to_vec());
        assert_eq!(
            String::from_utf8(post.encode("nsqd/1")).unwrap(),
            "POST /auth?x=y HTTP/1.1\r\nHost: auth:4181\r\nUser-Agent: nsqd/1\r\n\
             Connection: close\r\nAuthorization: Basic YW5uOndvcmQ=\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn what_was_posted_is_posted_again_only_where_a_redirect_says_so() {
        let to = Url::parse("http://other/").unwrap();
        let post = Request::post(Url::parse("http://auth/").unwrap(), "a/b", vec![1])
            .with_header("Accept", "c/d");
        for (status, method, headers) in
            [(302, Method::Get, 1), (303, Method::Get, 1), (307, Method::Post, 2)]
        {
            let again = post.redirected(to.clone(), status);
            assert_eq!((again.method.clone(), again.headers.len()), (method, headers), "{status}");
            assert_eq!(again.body.is_some(), again.method == Method::Post);
            assert_eq!(again.url, to);
        }
    }

    #[test]
    fn an_answer_ends_by_its_length_its_chunks_or_the_connection_at_every_split() {
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", answer(200, "OK", "hi")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                answer(200, "OK", "hi"),
            ),
            ("HTTP/1.0 200 OK\r\n\r\nhi", answer(200, "OK", "hi")),
            ("HTTP/1.1 204 No Content\r\n\r\n", answer(204, "No Content", "")),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 \r\nContent-Length: 0\r\n\r\n",
                answer(403, "", ""),
            ),
            (
                "HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
                Answer { location: Some("/there".into()), ..answer(301, "Moved", "") },
            ),
        ] {
            for piece in 1..=bytes.len() {
                let found = read(bytes.as_bytes(), piece, 2);
                assert_eq!(found.as_ref(), Ok(&expected), "by {piece} of {bytes}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_too_long_or_no_answer_is_refused() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        for (bytes, error) in [
            ("", BadAnswer::Unfinished),
            ("HTTP/1.1 200 OK\r\n", BadAnswer::Unfinished),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", BadAnswer::Unfinished),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi", BadAnswer::Unfinished),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", BadAnswer::TooBig),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                BadAnswer::TooBig,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nabc", BadAnswer::TooBig),
            (&endless, BadAnswer::TooBig),
            ("\0\0\0\x0aOK", BadAnswer::Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", BadAnswer::Malformed),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                BadAnswer::Malformed,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", BadAnswer::Malformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadAnswer::Malformed),
        ] {
            assert_eq!(read(bytes.as_bytes(), 4096, 2), Err(error), "{bytes:.80}");
        }
    }
}
