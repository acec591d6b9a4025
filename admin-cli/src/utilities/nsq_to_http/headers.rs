//! The headers of a request.
//!
//! Rule (NSQ behaviour): `User-Agent` names the utility; `--header` sets what it names, whatever it
//! was before; Go's client asks for gzip unless told otherwise, and keeps `Host`, `Content-Length`,
//! `Transfer-Encoding` and `Trailer` to itself.
//!
//! Does not know: the message, or where it goes.

use std::collections::BTreeMap;

use crate::url::quoted;

/// Headers that Go's client writes by itself.
const KEPT: [&str; 5] = ["Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer"];
/// Headers about a body.
const OF_THE_BODY: [&str; 4] =
    ["Content-Encoding", "Content-Language", "Content-Location", "Content-Type"];
/// Headers that are for the first host only.
const SECRET: [&str; 6] = [
    "Authorization",
    "Www-Authenticate",
    "Cookie",
    "Cookie2",
    "Proxy-Authorization",
    "Proxy-Authenticate",
];

/// Names in Go's spelling (`X-Header`), and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers(BTreeMap<String, String>);

/// A value of `--header` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

impl Headers {
    /// What every request has, with `--content-type` where there is a body, and the values of
    /// `--header`.
    ///
    /// # Errors
    /// [`NoHeader`] when a value is not a name, a colon and something behind it.
    pub(super) fn new(
        user_agent: &str,
        content_type: Option<&str>,
        custom: &[String],
    ) -> Result<Self, NoHeader> {
        let mut headers = Self(BTreeMap::new());
        headers.set("User-Agent", user_agent);
        if let Some(content_type) = content_type {
            headers.set("Content-Type", content_type);
        }
        for header in custom {
            let (name, value) = header.split_once(':').ok_or(NoHeader)?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.is_empty() {
                return Err(NoHeader);
            }
            headers.set(name, value);
        }
        Ok(headers)
    }

    /// Sets a header.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(canonical(name), value.to_owned());
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Without what is about a body.
    pub(super) fn without_body(mut self) -> Self {
        OF_THE_BODY.iter().for_each(|name| drop(self.0.remove(*name)));
        self
    }

    /// Without what is for the first host only.
    pub(super) fn without_secrets(mut self) -> Self {
        SECRET.iter().for_each(|name| drop(self.0.remove(*name)));
        self
    }

    /// Why Go's client would not send them, in its words.
    pub(super) fn fault(&self) -> Option<String> {
        self.0.iter().find_map(|(name, value)| {
            if !is_token(name) {
                Some(format!("net/http: invalid header field name {}", quoted(name)))
            } else if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
                Some(format!("net/http: invalid header field value for {}", quoted(name)))
            } else {
                None
            }
        })
    }

    /// The lines of a request to `host`, all but the first and the empty one at the end.
    pub(super) fn push(&self, out: &mut Vec<u8>, host: &str, body_bytes: Option<usize>) {
        let mut line = |name: &str, value: &str| {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        };
        line("Host", host);
        if let Some(user_agent) = self.get("User-Agent") {
            line("User-Agent", user_agent);
        }
        if let Some(bytes) = body_bytes {
            line("Content-Length", &bytes.to_string());
        }
        for (name, value) in &self.0 {
            if !KEPT.contains(&name.as_str()) {
                line(name, value);
            }
        }
        if !self.has("Accept-Encoding") && !self.has("Range") {
            line("Accept-Encoding", "gzip");
        }
    }
}

/// A name in Go's spelling: words begin with a capital letter. What can be no name stays as it is.
fn canonical(name: &str) -> String {
    if !is_token(name) {
        return name.to_owned();
    }
    let words = name.split('-').map(|word| {
        let mut word = word.to_ascii_lowercase();
        if let Some(first) = word.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        word
    });
    words.collect::<Vec<_>>().join("-")
}

fn is_token(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(custom: &[&str]) -> Result<Headers, NoHeader> {
        let custom: Vec<String> = custom.iter().map(|&text| text.to_owned()).collect();
        Headers::new("nsq_to_http v1.3.0", Some("text/plain"), &custom)
    }

    fn lines(headers: &Headers, body_bytes: Option<usize>) -> String {
        let mut out = Vec::new();
        headers.push(&mut out, "h:1", body_bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers_are_written_in_gos_order() {
        assert_eq!(
            lines(&headers(&["x-b: 2", "A:1:2 "]).unwrap(), Some(3)),
            "Host: h:1\r\nUser-Agent: nsq_to_http v1.3.0\r\nContent-Length: 3\r\nA: 1:2\r\n\
             Content-Type: text/plain\r\nX-B: 2\r\nAccept-Encoding: gzip\r\n"
        );
    }

    #[test]
    fn a_custom_header_replaces_the_usual_one_but_for_those_the_client_writes_itself() {
        let custom = [
            "user-agent: me",
            "CONTENT-TYPE: text/html",
            "host: other",
            "Content-Length: 9",
            "transfer-encoding: chunked",
            "trailer: x",
            "accept-encoding: br",
            "x-a: 1",
            "X-A: 2",
        ];
        assert_eq!(
            lines(&headers(&custom).unwrap(), None),
            "Host: h:1\r\nUser-Agent: me\r\nAccept-Encoding: br\r\nContent-Type: text/html\r\n\
             X-A: 2\r\n"
        );
        assert!(!lines(&headers(&["Range: bytes=0-1"]).unwrap(), None).contains("gzip"));
    }

    #[test]
    fn a_header_needs_a_name_a_colon_and_a_value() {
        for wrong in ["", "a", "a:", "a: ", ":b", " : b"] {
            assert_eq!(headers(&["x: y", wrong]), Err(NoHeader), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_told_in_gos_words() {
        for (header, fault) in [
            ("x: y", None),
            ("x: é\tz", None),
            ("x y: z", Some("net/http: invalid header field name \"x y\"")),
            ("x-y: a\u{1}b", Some("net/http: invalid header field value for \"X-Y\"")),
        ] {
            assert_eq!(headers(&[header]).unwrap().fault().as_deref(), fault);
        }
    }

    #[test]
    fn what_is_about_the_body_or_for_one_host_can_be_left_out() {
        let custom = ["Cookie: a", "authorization: b", "content-language: de", "x: y"];
        let headers = headers(&custom).unwrap().without_body().without_secrets();
        assert_eq!(
            lines(&headers, None),
            "Host: h:1\r\nUser-Agent: nsq_to_http v1.3.0\r\nX: y\r\nAccept-Encoding: gzip\r\n"
        );
    }
}
