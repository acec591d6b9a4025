//! All headers of a request, for a server that looks at more of them than
//! [`Head`](super::request::Head) keeps.
//!
//! Does not know: which of them mean anything.

use std::mem::MaybeUninit;

use super::request::HEADERS_MAX;

/// Names and values in the order in which they came. Bytes that are not UTF-8 become U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The headers of a head that [`parse_head`](super::request::parse_head) has accepted; none of
    /// any other bytes.
    pub fn of(head: &[u8]) -> Self {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        if !matches!(request.parse_with_uninit_headers(head, &mut headers), Ok(status) if status.is_complete())
        {
            return Self::default();
        }
        let own = |header: &httparse::Header<'_>| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
        };
        Self(request.headers.iter().map(own).collect())
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_name_in_any_case_is_found() {
        let headers = Headers::of(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\nB:\r\n\r\nrest");
        assert_eq!(headers.get("HOST"), Some("x"));
        assert_eq!(headers.get("a"), Some("1"));
        assert_eq!(headers.get("b"), Some(""));
        assert_eq!(headers.get("c"), None);
        assert_eq!(headers.iter().count(), 4);
    }

    #[test]
    fn what_is_no_whole_head_has_none() {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\nA: 1\r\n", b"\0\0"] {
            assert_eq!(Headers::of(bytes), Headers::default());
        }
    }
}
