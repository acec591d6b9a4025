//! Answers, and the bytes they are on the wire.
//!
//! Knows: the order of headers as NSQ's server writes them, which is part of what scripts see:
//! first what the route set, by name; then `Date`, `Content-Length`, a `Content-Type` that was
//! only guessed from the body, `Connection`. Does not know: routes, the clock.
//!
//! One known difference: a body is always sent with its length, where NSQ's server sends those
//! over 2 KiB in chunks.

use std::borrow::Cow;

use super::request::Version;

/// Sent when a client waits for it before its body (`Expect: 100-continue`).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The outcomes that NSQ's programs give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 301
    MovedPermanently,
    /// 304
    NotModified,
    /// 307
    TemporaryRedirect,
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 413
    RequestEntityTooLarge,
    /// 500
    InternalServerError,
    /// 501
    NotImplemented,
    /// 502
    BadGateway,
    /// 503
    ServiceUnavailable,
}

impl Status {
    /// The three digits as a number: for log lines.
    pub fn code(self) -> u16 {
        self.digits().parse().expect("three digits")
    }

    fn digits(self) -> &'static str {
        match self {
            Self::Ok => "200",
            Self::MovedPermanently => "301",
            Self::NotModified => "304",
            Self::TemporaryRedirect => "307",
            Self::BadRequest => "400",
            Self::Forbidden => "403",
            Self::NotFound => "404",
            Self::MethodNotAllowed => "405",
            Self::RequestEntityTooLarge => "413",
            Self::InternalServerError => "500",
            Self::NotImplemented => "501",
            Self::BadGateway => "502",
            Self::ServiceUnavailable => "503",
        }
    }

    /// The words behind the digits.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::MovedPermanently => "Moved Permanently",
            Self::NotModified => "Not Modified",
            Self::TemporaryRedirect => "Temporary Redirect",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestEntityTooLarge => "Request Entity Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::BadGateway => "Bad Gateway",
            Self::ServiceUnavailable => "Service Unavailable",
        }
    }
}

/// What of a request the outer form of its answer depends on; see
/// [`Head::exchange`](super::request::Head::exchange).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The client's HTTP version, which the answer repeats.
    pub version: Version,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Whether the body is sent; not for `HEAD`.
    pub with_body: bool,
}

impl Exchange {
    /// The same, but the connection closes: the server stops, or part of the body is unread.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}

/// One answer, whole in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub status: Status,
    content_type: ContentType,
    /// Whether `X-Nsq-Content-Type: nsq; version=1.0` is sent: clients take an answer without it
    /// for one of the oldest servers, which wrapped their bodies.
    nsq: bool,
    special: Special,
    /// Whether `X-Content-Type-Options: nosniff` is sent, as Go's debug pages do.
    nosniff: bool,
    /// Further headers, which few answers have.
    more: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

/// Where the content type stands among the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    /// The route set it: among the headers by name.
    Set(&'static str),
    /// Guessed from the body: behind the length.
    Guessed(&'static str),
    Absent,
}

/// A header that few answers have; none has two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Special {
    None,
    /// `Content-Length: 0` is set by the route, and so stands before the date.
    EmptyFirst,
    Allow(String),
    Etag(String),
    Location(String),
}

impl Response {
    /// 200 with a text and NSQ's header: `OK` of `/pub`, the text form of `/stats`, a value of
    /// `/config`.
    pub fn nsq_text(text: impl Into<Cow<'static, str>>) -> Self {
        Self { nsq: true, ..Self::text(text) }
    }

    /// 200 with a bare text, without NSQ's header: `/ping` and the debug pages.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let content_type =
            if body.is_empty() { ContentType::Absent } else { ContentType::Guessed(TEXT) };
        Self { content_type, body, ..Self::bare(Status::Ok) }
    }

    /// 200 with JSON and NSQ's header.
    pub fn json(json: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: ContentType::Set(JSON),
            nsq: true,
            body: Cow::Owned(json.into()),
            ..Self::bare(Status::Ok)
        }
    }

    /// 200 with NSQ's header and nothing else: an administrative action was done.
    pub fn empty() -> Self {
        Self { nsq: true, ..Self::bare(Status::Ok) }
    }

    /// `{"message":"CODE"}`, NSQ's form of an error. `code` must need no escaping in JSON.
    pub fn error(status: Status, code: &str) -> Self {
        let body = format!(r#"{{"message":"{code}"}}"#);
        Self { status, ..Self::json(body) }
    }

    /// Any other body: `content_type` is written as a header that the route set.
    pub fn with_content_type(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: ContentType::Set(content_type),
            body: Cow::Owned(body.into()),
            ..Self::bare(Status::Ok)
        }
    }

    /// A debug page, with the headers that Go gives its own: a text, or HTML.
    pub fn debug_page(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { nosniff: true, ..Self::with_content_type(content_type, body) }
    }

    /// The same answer with a tag that stands for its content, quotes included. A client that sends
    /// it back in `If-None-Match` says that it knows this content.
    #[must_use]
    pub fn with_etag(self, etag: String) -> Self {
        Self { special: Special::Etag(etag), ..self }
    }

    /// The same answer with one more header. It must be none of those that this type has of its own.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// The same answer with a compressed body, `encoding` being `gzip` for instance. Nobody guesses
    /// the type of what is compressed (NSQ behaviour).
    #[must_use]
    pub fn compressed(self, encoding: &'static str, body: Vec<u8>) -> Self {
        let content_type = match self.content_type {
            ContentType::Guessed(_) => ContentType::Absent,
            other => other,
        };
        Self { content_type, body: Cow::Owned(body), ..self }
            .with_header("Content-Encoding", encoding)
            .with_header("Vary", "Accept-Encoding")
    }

    /// 304: the content is still the one this tag stands for. Without a body.
    pub fn not_modified(etag: String) -> Self {
        Self { nsq: true, ..Self::bare(Status::NotModified) }.with_etag(etag)
    }

    /// The same answer with another status: `/ping` of an unhealthy broker, for instance.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// 405: the path is known, the method is not. `allow` is the header's value, sorted.
    pub fn method_not_allowed(allow: String) -> Self {
        let error = Self::error(Status::MethodNotAllowed, "METHOD_NOT_ALLOWED");
        Self { special: Special::Allow(allow), ..error }
    }

    /// The answer to `OPTIONS` on a known path: nothing but what is allowed there.
    pub fn options(allow: String) -> Self {
        Self { special: Special::Allow(allow), ..Self::bare(Status::Ok) }
    }

    /// The answer to `OPTIONS *`, which is about the server as a whole: nothing but that it is there.
    pub fn options_of_everything() -> Self {
        Self { special: Special::EmptyFirst, ..Self::bare(Status::Ok) }
    }

    /// 301 with a page that links to `location`, for `GET`.
    pub fn moved_permanently(location: String) -> Self {
        let status = Status::MovedPermanently;
        let page = format!("<a href=\"{}\">{}</a>.\n\n", escape_html(&location), status.reason());
        Self {
            content_type: ContentType::Set(HTML),
            special: Special::Location(location),
            body: Cow::Owned(page.into_bytes()),
            ..Self::bare(status)
        }
    }

    /// 307 without a page, for every other method: the client repeats it with its body.
    pub fn temporary_redirect(location: String) -> Self {
        Self { special: Special::Location(location), ..Self::bare(Status::TemporaryRedirect) }
    }

    fn bare(status: Status) -> Self {
        Self {
            status,
            content_type: ContentType::Absent,
            nsq: false,
            special: Special::None,
            nosniff: false,
            more: Vec::new(),
            body: Cow::Borrowed(b""),
        }
    }

    /// The content.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Appends the answer's bytes to `out`. `date` is the value of the `Date` header, see
    /// [`http_date`](super::date::http_date).
    pub fn encode(&self, out: &mut Vec<u8>, date: &str, exchange: Exchange) {
        let protocol = match exchange.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        for piece in [protocol, " ", self.status.digits(), " ", self.status.reason(), "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        let mut header = |name: &str, value: &str| {
            for piece in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(piece.as_bytes());
            }
        };
        // What the route set, in the order of the alphabet.
        let special = match &self.special {
            Special::Allow(allow) => Some(("Allow", allow.as_str())),
            Special::Etag(etag) => Some(("Etag", etag.as_str())),
            Special::Location(location) => Some(("Location", location.as_str())),
            Special::EmptyFirst => Some(("Content-Length", "0")),
            Special::None => None,
        };
        let content_type = match self.content_type {
            ContentType::Set(content_type) => Some(("Content-Type", content_type)),
            ContentType::Guessed(_) | ContentType::Absent => None,
        };
        let (before, behind) = match special {
            Some(allow @ ("Allow", _)) => (Some(allow), None),
            other => (None, other),
        };
        let nosniff = self.nosniff.then_some(("X-Content-Type-Options", "nosniff"));
        let nsq = self.nsq.then_some(("X-Nsq-Content-Type", "nsq; version=1.0"));
        let set = [before, content_type, behind, nosniff, nsq].into_iter().flatten();
        if self.more.is_empty() {
            set.for_each(|(name, value)| header(name, value));
        } else {
            let more = self.more.iter().map(|(name, value)| (*name, &**value));
            let mut all: Vec<_> = set.chain(more).collect();
            all.sort_by_key(|(name, _)| *name);
            all.into_iter().for_each(|(name, value)| header(name, value));
        }
        // What the server adds.
        header("Date", date);
        if self.status != Status::NotModified && self.special != Special::EmptyFirst {
            // The length of what was not sent is nobody's business.
            header("Content-Length", &self.body.len().to_string());
        }
        if let ContentType::Guessed(content_type) = self.content_type {
            header("Content-Type", content_type);
        }
        match (exchange.version, exchange.keep_alive) {
            (Version::Http11, false) => header("Connection", "close"),
            (Version::Http10, true) => header("Connection", "keep-alive"),
            (Version::Http11, true) | (Version::Http10, false) => {}
        }
        out.extend_from_slice(b"\r\n");
        if exchange.with_body {
            out.extend_from_slice(&self.body);
        }
    }
}

/// What a location needs inside a page: nothing in it may end the attribute or open a tag.
fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 22 Nov 2026 12:57:18 GMT";
    const STAY: Exchange = Exchange { version: Version::Http11, keep_alive: true, with_body: true };

    /// Compares with the wire's bytes; `DATE` stands for the header's value.
    fn check(response: &Response, exchange: Exchange, wire: &[&str]) {
        let mut out = Vec::new();
        response.encode(&mut out, DATE, exchange);
        let wire = wire.join("\r\n").replace("DATE", DATE);
        assert_eq!(String::from_utf8(out).unwrap(), wire);
    }

    #[test]
    fn further_headers_stand_among_the_others_by_name() {
        check(
            &Response::json("{}")
                .with_header("X-Frame-Options", "DENY")
                .compressed("gzip", b"zip".to_vec()),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Content-Encoding: gzip",
                "Content-Type: application/json; charset=utf-8",
                "Vary: Accept-Encoding",
                "X-Frame-Options: DENY",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 3",
                "",
                "zip",
            ],
        );
        check(
            &Response::text("OK").compressed("gzip", b"zip".to_vec()),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Content-Encoding: gzip",
                "Vary: Accept-Encoding",
                "Date: DATE",
                "Content-Length: 3",
                "",
                "zip",
            ],
        );
    }

    #[test]
    fn tags_and_debug_pages_have_their_headers_among_the_others() {
        check(
            &Response::json("{}").with_etag("\"a1\"".to_owned()),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Content-Type: application/json; charset=utf-8",
                "Etag: \"a1\"",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 2",
                "",
                "{}",
            ],
        );
        check(
            &Response::not_modified("\"a1\"".to_owned()),
            STAY,
            &[
                "HTTP/1.1 304 Not Modified",
                "Etag: \"a1\"",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "",
                "",
            ],
        );
        check(
            &Response::debug_page("text/plain; charset=utf-8", "num_symbols: 1\n"),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Content-Type: text/plain; charset=utf-8",
                "X-Content-Type-Options: nosniff",
                "Date: DATE",
                "Content-Length: 15",
                "",
                "num_symbols: 1\n",
            ],
        );
    }

    #[test]
    fn headers_stand_in_the_order_of_nsqs_server() {
        check(
            &Response::text("OK"),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Date: DATE",
                "Content-Length: 2",
                "Content-Type: text/plain; charset=utf-8",
                "",
                "OK",
            ],
        );
        check(
            &Response::nsq_text("OK"),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 2",
                "Content-Type: text/plain; charset=utf-8",
                "",
                "OK",
            ],
        );
        check(
            &Response::json(r#"{"topics":[]}"#),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "Content-Type: application/json; charset=utf-8",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 13",
                "",
                r#"{"topics":[]}"#,
            ],
        );
        check(
            &Response::empty(),
            STAY,
            &[
                "HTTP/1.1 200 OK",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 0",
                "",
                "",
            ],
        );
        check(
            &Response::method_not_allowed("GET, OPTIONS".to_owned()),
            STAY,
            &[
                "HTTP/1.1 405 Method Not Allowed",
                "Allow: GET, OPTIONS",
                "Content-Type: application/json; charset=utf-8",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 32",
                "",
                r#"{"message":"METHOD_NOT_ALLOWED"}"#,
            ],
        );
    }

    #[test]
    fn redirects_link_to_the_place_for_get_only() {
        check(
            &Response::moved_permanently("/ping?a&b".to_owned()),
            STAY,
            &[
                "HTTP/1.1 301 Moved Permanently",
                "Content-Type: text/html; charset=utf-8",
                "Location: /ping?a&b",
                "Date: DATE",
                "Content-Length: 48",
                "",
                "<a href=\"/ping?a&amp;b\">Moved Permanently</a>.\n\n",
            ],
        );
        check(
            &Response::temporary_redirect("/pub".to_owned()),
            STAY,
            &[
                "HTTP/1.1 307 Temporary Redirect",
                "Location: /pub",
                "Date: DATE",
                "Content-Length: 0",
                "",
                "",
            ],
        );
    }

    #[test]
    fn version_and_connection_follow_the_request() {
        let old = Exchange { version: Version::Http10, ..STAY };
        for (exchange, line, connection) in [
            (STAY.closing(), "HTTP/1.1 200 OK", "Connection: close\r\n"),
            (old, "HTTP/1.0 200 OK", "Connection: keep-alive\r\n"),
            (old.closing(), "HTTP/1.0 200 OK", ""),
        ] {
            check(
                &Response::options("GET, OPTIONS".to_owned()),
                exchange,
                &[
                    line,
                    "Allow: GET, OPTIONS",
                    "Date: DATE",
                    "Content-Length: 0",
                    &format!("{connection}\r\n"),
                ],
            );
        }
    }

    #[test]
    fn the_answer_to_head_keeps_the_length_and_drops_the_body() {
        check(
            &Response::error(Status::NotFound, "NOT_FOUND"),
            Exchange { with_body: false, ..STAY },
            &[
                "HTTP/1.1 404 Not Found",
                "Content-Type: application/json; charset=utf-8",
                "X-Nsq-Content-Type: nsq; version=1.0",
                "Date: DATE",
                "Content-Length: 23",
                "",
                "",
            ],
        );
    }
}
