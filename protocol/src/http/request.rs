//! The head of a request: its line and its headers.
//!
//! Knows: where a head ends, and which of its headers change how the connection goes on. Does not
//! know: the body, the routes. Cutting the head is `httparse`'s work; the judgements on top of it
//! (a `Host` is required, which lengths are believed) are those of NSQ's server.

use std::borrow::Cow;
use std::fmt;
use std::mem::MaybeUninit;

use super::percent::{self, Plus};
use super::query::{InvalidQuery, Query};
use super::response::Exchange;

/// The longest head, blank line included. NSQ's server takes 1 MiB; no client of NSQ comes near
/// either, and every unfinished head is memory that a stranger holds.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The most headers of one head. Browsers behind proxies send about forty.
pub const HEADERS_MAX: usize = 128;

/// What a request asks to be done with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `HEAD`: no route offers it, and its answer has no body.
    Head,
    /// Any other word; no route offers it.
    Other(Box<str>),
}

impl Method {
    fn parse(word: &str) -> Self {
        match word {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "HEAD" => Self::Head,
            _ => Self::Other(word.into()),
        }
    }

    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Head => "HEAD",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: the connection closes unless the request asks otherwise.
    Http10,
    /// HTTP/1.1: the connection stays unless the request asks otherwise.
    Http11,
}

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// So many bytes follow the head; at least one.
    Length(u64),
    /// Chunks follow, each with its own size.
    Chunked,
}

/// A whole head; it borrows nothing from the connection's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What to do.
    pub method: Method,
    /// The target as it came, query included: for log lines.
    pub target: String,
    /// The target's path with its escapes resolved: for routing. Starts with `/`, but for the
    /// targets `*` and `host:port`, which no route matches. Bytes that are not UTF-8 become
    /// U+FFFD, which no route contains.
    pub path: String,
    /// Behind the `?`, undecoded; empty when there is none.
    pub raw_query: String,
    /// Which HTTP/1 the client speaks.
    pub version: Version,
    /// How much body follows.
    pub body: BodyLength,
    /// Whether the client wants to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for [`CONTINUE`](super::response::CONTINUE) before it sends the
    /// body. Answered without that, the connection must close: the client may or may not send it.
    pub expect_continue: bool,
    /// The value of `If-None-Match`: tags of contents that the client has already.
    pub if_none_match: Option<String>,
}

impl Head {
    /// Whether the client has the content that `etag`, quotes included, stands for.
    pub fn has_content(&self, etag: &str) -> bool {
        let known = self.if_none_match.as_deref().unwrap_or_default();
        known.split(',').any(|known| {
            let known = known.trim();
            known.strip_prefix("W/").unwrap_or(known) == etag
        })
    }

    /// The arguments.
    ///
    /// # Errors
    /// [`InvalidQuery`], to be answered with 400 `INVALID_REQUEST` by routes that take arguments.
    pub fn query(&self) -> Result<Query, InvalidQuery> {
        Query::parse(&self.raw_query)
    }

    /// What of this request the outer form of its answer depends on.
    pub fn exchange(&self) -> Exchange {
        Exchange {
            version: self.version,
            keep_alive: self.keep_alive,
            with_body: self.method != Method::Head,
        }
    }
}

/// Why bytes are not a request. The connection closes after [`answer`](Self::answer): nobody knows
/// where the next request would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// Not HTTP/1, or not a legal head. A client of the TCP protocol on the wrong port ends here.
    Malformed,
    /// A version of HTTP that is not spoken here: 0.9, 2.0.
    UnsupportedVersion,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// A `Host` with a byte that no host has.
    MalformedHost,
    /// The name of a header has blanks in it, or before its colon.
    InvalidHeaderName,
    /// A `Transfer-Encoding` other than `chunked`.
    UnsupportedTransferEncoding,
    /// An `Expect` other than `100-continue`.
    UnmetExpectation,
    /// Longer than [`HEAD_BYTES_MAX`], or more than [`HEADERS_MAX`] headers.
    HeadTooLarge,
}

/// The headers of an answer to what is no request: there is no date and no length.
macro_rules! refusal {
    ($line:literal, $body:literal) => {
        concat!(
            "HTTP/1.1 ",
            $line,
            "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n",
            $body
        )
        .as_bytes()
    };
    ($line:literal) => {
        refusal!($line, $line)
    };
}

impl BadRequest {
    /// The whole answer, ready to be sent. `date` is the value of the `Date` header, see
    /// [`http_date`](super::date::http_date); one of these answers has it.
    pub fn answer(self, date: &str) -> Cow<'static, [u8]> {
        Cow::Borrowed(match self {
            Self::Malformed => refusal!("400 Bad Request"),
            Self::UnsupportedVersion => {
                refusal!("505 HTTP Version Not Supported: unsupported protocol version")
            }
            Self::MissingHost => refusal!("400 Bad Request: missing required Host header"),
            Self::MalformedHost => refusal!("400 Bad Request: malformed Host header"),
            Self::InvalidHeaderName => refusal!("400 Bad Request: invalid header name"),
            Self::UnsupportedTransferEncoding => {
                refusal!("501 Not Implemented", "Unsupported transfer encoding")
            }
            Self::UnmetExpectation => {
                let head = "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n";
                let answer = format!("{head}Date: {date}\r\nContent-Length: 0\r\n\r\n");
                return Cow::Owned(answer.into_bytes());
            }
            Self::HeadTooLarge => refusal!("431 Request Header Fields Too Large"),
        })
    }
}

/// Reads the head at the start of `input`, and tells how many bytes it takes up; the body, if any,
/// starts behind them. `None` means that the head is not complete yet.
///
/// # Errors
/// [`BadRequest`] as soon as the bytes cannot become a request any more.
pub fn parse_head(input: &[u8]) -> Result<Option<(Head, usize)>, BadRequest> {
    if input.first().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(BadRequest::Malformed);
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(status) => status,
        Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(wrong_version(input)),
        Err(httparse::Error::HeaderName) => return Err(wrong_header_name(input)),
        Err(_) => return Err(BadRequest::Malformed),
    };
    let httparse::Status::Complete(head_bytes) = status else {
        let too_large = HEAD_BYTES_MAX <= input.len();
        return if too_large { Err(BadRequest::HeadTooLarge) } else { Ok(None) };
    };
    if HEAD_BYTES_MAX < head_bytes {
        return Err(BadRequest::HeadTooLarge);
    }

    let (Some(method), Some(target), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return Err(BadRequest::Malformed);
    };
    let method = Method::parse(method);
    let version = if minor_version == 0 { Version::Http10 } else { Version::Http11 };
    let (path, raw_query) = split_target(&method, target)?;
    let headers = read_headers(request.headers, version)?;
    let head = Head {
        method,
        target: target.to_owned(),
        path,
        raw_query,
        version,
        keep_alive: headers.keep_alive,
        expect_continue: headers.expect_continue && headers.body != BodyLength::None,
        body: headers.body,
        if_none_match: headers.if_none_match,
    };
    Ok(Some((head, head_bytes)))
}

/// How many bytes at the start of `input` are ends of lines. Old clients send one or two behind the
/// body of a POST, where up to four are passed over (NSQ behaviour).
pub fn stray_line_ends(input: &[u8]) -> usize {
    input.iter().take(4).take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// What is wrong with a version that is neither 1.0 nor 1.1.
fn wrong_version(input: &[u8]) -> BadRequest {
    let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let version = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' =>
        {
            BadRequest::UnsupportedVersion
        }
        _ => BadRequest::Malformed,
    }
}

/// What is wrong with the first header whose name has bytes that no name may have.
fn wrong_header_name(input: &[u8]) -> BadRequest {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let names = input.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let end = line.iter().position(|&byte| byte == b':')?;
        line.get(..end)
    });
    for name in names {
        let bad: Vec<_> = name.iter().filter(|byte| !is_good(byte)).collect();
        if !bad.is_empty() {
            let only_blanks = bad.iter().all(|&&byte| byte == b' ') && !name.starts_with(b" ");
            return if only_blanks { BadRequest::InvalidHeaderName } else { BadRequest::Malformed };
        }
    }
    BadRequest::Malformed
}

/// The decoded path and the raw query of a target in any of its four forms.
fn split_target(method: &Method, target: &str) -> Result<(String, String), BadRequest> {
    let path_and_query = if target.starts_with('/') || target == "*" {
        target
    } else if let Some((_scheme, rest)) = target.split_once("://") {
        // A client that takes us for a proxy names the host as well, which must look like one.
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        if !host.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRequest::Malformed);
        }
        path
    } else if method.as_str() == "CONNECT" || has_scheme(target) {
        ""
    } else {
        return Err(BadRequest::Malformed);
    };
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = percent::decode(path.as_bytes(), Plus::Itself).ok_or(BadRequest::Malformed)?;
    Ok((String::from_utf8_lossy(&path).into_owned(), query.to_owned()))
}

/// Whether a target is `word:anything`, which is a URL without a path.
fn has_scheme(target: &str) -> bool {
    let Some((scheme, _)) = target.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// What the headers say about the connection and the body.
struct HeaderFacts {
    keep_alive: bool,
    expect_continue: bool,
    body: BodyLength,
    if_none_match: Option<String>,
}

fn read_headers(
    headers: &[httparse::Header<'_>],
    version: Version,
) -> Result<HeaderFacts, BadRequest> {
    let mut hosts = 0_u32;
    let mut is_host = true;
    let (mut close, mut keep_alive, mut expect_continue) = (false, false, false);
    let mut content_length: Option<u64> = None;
    let mut chunked = false;
    let mut if_none_match = None;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
            is_host &= header.value.iter().all(is_host_byte);
        } else if is("connection") {
            close |= has_token(header.value, "close");
            keep_alive |= has_token(header.value, "keep-alive");
        } else if is("content-length") {
            let length = parse_length(header.value).ok_or(BadRequest::Malformed)?;
            if content_length.is_some_and(|earlier| earlier != length) {
                return Err(BadRequest::Malformed);
            }
            content_length = Some(length);
        } else if is("transfer-encoding") && version == Version::Http11 {
            // HTTP/1.0 knows no transfer encodings: there the header means nothing.
            if chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(BadRequest::UnsupportedTransferEncoding);
            }
            chunked = true;
        } else if is("if-none-match") {
            if_none_match = Some(String::from_utf8_lossy(header.value).into_owned());
        } else if is("expect") {
            if has_token(header.value, "100-continue") {
                expect_continue = version == Version::Http11;
            } else if !header.value.is_empty() {
                return Err(BadRequest::UnmetExpectation);
            }
        }
    }
    match hosts {
        0 if version == Version::Http11 => return Err(BadRequest::MissingHost),
        0 | 1 if is_host => {}
        0 | 1 => return Err(BadRequest::MalformedHost),
        _ => return Err(BadRequest::Malformed),
    }
    let body = match content_length {
        // A length beside chunks is ignored: the chunks know better.
        _ if chunked => BodyLength::Chunked,
        None | Some(0) => BodyLength::None,
        Some(length) => BodyLength::Length(length),
    };
    let keep_alive = match version {
        Version::Http10 => keep_alive && !close,
        Version::Http11 => !close,
    };
    Ok(HeaderFacts { keep_alive, expect_continue, body, if_none_match })
}

/// Whether a `Host` may contain this byte (NSQ behaviour).
fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte)
}

/// Whether a comma-separated header value names `token`, in any case.
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|piece| piece.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Digits only: a sign would be read differently by the next program in a chain.
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(value).ok()?.parse().ok()?;
    (length <= i64::MAX.unsigned_abs()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(input: &str) -> Head {
        let (head, head_bytes) = parse_head(input.as_bytes()).unwrap().unwrap();
        assert_eq!(head_bytes, input.len());
        head
    }

    fn with_header(version: &str, header: &str) -> String {
        format!("POST /pub HTTP/{version}\r\nHost: x\r\n{header}\r\n\r\n")
    }

    #[test]
    fn a_head_is_cut_from_what_follows_it_at_every_split() {
        let input = b"POST /topic/create?topic=t%23ephemeral&x HTTP/1.1\r\nHost: a\r\ncontent-length: 4\r\n\r\nbody";
        let head_bytes = input.len() - 4;
        for end in 0..head_bytes {
            assert_eq!(parse_head(&input[..end]), Ok(None), "{end}");
        }
        let (head, taken) = parse_head(input).unwrap().unwrap();
        assert_eq!(taken, head_bytes);
        assert_eq!(
            head,
            Head {
                method: Method::Post,
                target: "/topic/create?topic=t%23ephemeral&x".to_owned(),
                path: "/topic/create".to_owned(),
                raw_query: "topic=t%23ephemeral&x".to_owned(),
                version: Version::Http11,
                body: BodyLength::Length(4),
                keep_alive: true,
                expect_continue: false,
                if_none_match: None,
            }
        );
        assert_eq!(head.query().unwrap().get("topic"), Some("t#ephemeral"));
    }

    #[test]
    fn a_client_of_the_tcp_protocol_gets_the_plain_400_at_once() {
        for input in [&b"  V2"[..], b"  V2IDENTIFY\n\0\0\0\x02{}", b"\0\0\0\0", b"GET\r\n\r\n"] {
            assert_eq!(parse_head(input), Err(BadRequest::Malformed), "{input:?}");
        }
        assert_eq!(
            *BadRequest::Malformed.answer("now"),
            *b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
              Connection: close\r\n\r\n400 Bad Request"
        );
    }

    #[test]
    fn a_client_may_name_the_contents_it_has() {
        for (header, has_it) in [
            ("A: b", false),
            ("If-None-Match: \"a1\"", true),
            ("if-none-match: \"b2\", W/\"a1\"", true),
            ("If-None-Match: \"a12\"", false),
            ("If-None-Match: a1", false),
            ("If-None-Match: *", false),
        ] {
            assert_eq!(head(&with_header("1.1", header)).has_content("\"a1\""), has_it, "{header}");
        }
    }

    #[test]
    fn the_connection_stays_by_version_and_by_wish() {
        for (version, header, keep_alive) in [
            ("1.1", "A: b", true),
            ("1.1", "Connection: close", false),
            ("1.1", "Connection: foo, Close", false),
            ("1.0", "A: b", false),
            ("1.0", "Connection: Keep-Alive", true),
        ] {
            assert_eq!(head(&with_header(version, header)).keep_alive, keep_alive, "{header}");
        }
    }

    #[test]
    fn the_length_of_the_body_is_digits_or_chunks() {
        for (version, header, body) in [
            ("1.1", "A: b", Ok(BodyLength::None)),
            ("1.1", "Content-Length: 0", Ok(BodyLength::None)),
            ("1.1", "Content-Length: 7\r\nContent-Length: 7", Ok(BodyLength::Length(7))),
            ("1.1", "Transfer-Encoding: Chunked", Ok(BodyLength::Chunked)),
            ("1.1", "Content-Length: 7\r\nTransfer-Encoding: chunked", Ok(BodyLength::Chunked)),
            ("1.0", "Transfer-Encoding: chunked", Ok(BodyLength::None)),
            ("1.1", "Content-Length: 7\r\nContent-Length: 8", Err(BadRequest::Malformed)),
            ("1.1", "Content-Length: -1", Err(BadRequest::Malformed)),
            ("1.1", "Content-Length: +1", Err(BadRequest::Malformed)),
            ("1.1", "Content-Length: 9223372036854775808", Err(BadRequest::Malformed)),
            ("1.1", "Transfer-Encoding: gzip", Err(BadRequest::UnsupportedTransferEncoding)),
        ] {
            let parsed = parse_head(with_header(version, header).as_bytes());
            assert_eq!(parsed.map(|head| head.unwrap().0.body), body, "{header}");
        }
    }

    #[test]
    fn an_expectation_is_100_continue_or_refused() {
        for (version, header, expected) in [
            ("1.1", "Expect: 100-continue\r\nContent-Length: 3", Ok(true)),
            ("1.1", "Expect: 100-Continue", Ok(false)),
            ("1.0", "Expect: 100-continue\r\nContent-Length: 3", Ok(false)),
            ("1.1", "Expect: tea", Err(BadRequest::UnmetExpectation)),
        ] {
            let parsed = parse_head(with_header(version, header).as_bytes());
            assert_eq!(parsed.map(|head| head.unwrap().0.expect_continue), expected, "{header}");
        }
    }

    #[test]
    fn exactly_one_host_is_required_from_http_1_1() {
        for (input, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", Err(BadRequest::MissingHost)),
            ("GET / HTTP/1.0\r\n\r\n", Ok(())),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Err(BadRequest::Malformed)),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Err(BadRequest::MalformedHost)),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Ok(())),
        ] {
            assert_eq!(parse_head(input.as_bytes()).map(|_| ()), expected);
        }
    }

    #[test]
    fn a_target_may_name_the_host_and_must_have_legal_escapes() {
        for (target, path) in [
            ("/a%20b", Some("/a b")),
            ("/a+b", Some("/a+b")),
            ("//ping", Some("//ping")),
            ("http://host:1/ping?x=1", Some("/ping")),
            ("*", Some("*")),
            ("nsq:80", Some("")),
            ("/%zz", None),
            ("ping", None),
            ("http://host:x/ping", None),
        ] {
            let parsed = parse_head(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            let expected = path.map(str::to_owned).ok_or(BadRequest::Malformed);
            assert_eq!(parsed.map(|head| head.unwrap().0.path), expected, "{target}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_head_is_told_apart() {
        let with = |header: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
        for (input, bad) in [
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), BadRequest::UnsupportedVersion),
            ("GET / HTTP/0.9\r\n\r\n".to_owned(), BadRequest::UnsupportedVersion),
            ("GET / HTTP/x\r\n\r\n".to_owned(), BadRequest::Malformed),
            ("\r\nGET / HTTP/1.0\r\n\r\n".to_owned(), BadRequest::Malformed),
            (with("A : b"), BadRequest::InvalidHeaderName),
            (with("A B: b"), BadRequest::InvalidHeaderName),
            (with(" A: b"), BadRequest::Malformed),
            (with(": b"), BadRequest::Malformed),
            (with("A/B: b"), BadRequest::Malformed),
        ] {
            assert_eq!(parse_head(input.as_bytes()), Err(bad), "{input:?}");
        }
        assert_eq!(stray_line_ends(b"\r\n\r\n\r\nGET"), 4);
        assert_eq!(stray_line_ends(b"\nGET"), 1);
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_limit() {
        let mut endless = b"GET / HTTP/1.1\r\nHost: x\r\nA: ".to_vec();
        endless.resize(HEAD_BYTES_MAX - 1, b'a');
        assert_eq!(parse_head(&endless), Ok(None));
        endless.push(b'a');
        assert_eq!(parse_head(&endless), Err(BadRequest::HeadTooLarge));

        let many = "A: b\r\n".repeat(HEADERS_MAX);
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
        assert_eq!(parse_head(many.as_bytes()), Err(BadRequest::HeadTooLarge));
    }
}
