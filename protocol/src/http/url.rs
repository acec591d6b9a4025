//! Where a request of ours goes: `http://user:word@host:port/path?query`.
//!
//! Knows: the two schemes, their ports, and what of an address stands in which part of a request.
//! Does not know: names of hosts, sockets, TLS.

use std::fmt;

use super::percent::{self, Plus};
use crate::base64;

/// Why a text is no address that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// No host, or a port that is no number from 1 to 65535.
    Host,
    /// A blank or a control character, or an escape that is not `%` and two hexadecimal digits.
    Character,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it begins neither with http:// nor with https://",
            Self::Host => "it has no host, or no port from 1 to 65535",
            Self::Character => "it has a character that must be escaped, or a bad escape",
        })
    }
}

impl std::error::Error for BadUrl {}

/// An address that can be asked. What is shown of it holds neither the query nor who asks: secrets
/// stand in both.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is asked over TLS.
    pub is_https: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port; that of the scheme when none is given.
    pub port: u16,
    /// Path and query, as they stand in the request line. Begins with `/`.
    pub target: String,
    /// `user:word` as they are meant, if the address has them.
    user: Option<Vec<u8>>,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// [`BadUrl`] says what of it cannot be used.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() || 0x80 <= byte;
        if !text.bytes().all(is_plain) {
            return Err(BadUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(BadUrl::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((user, place)) => {
                let decode = |part: &str| percent::decode(part.as_bytes(), Plus::Itself);
                let (name, word) = user.split_once(':').unwrap_or((user, ""));
                let mut user = decode(name).ok_or(BadUrl::Character)?;
                user.push(b':');
                user.extend(decode(word).ok_or(BadUrl::Character)?);
                (Some(user), place)
            }
        };
        let (host, port) = split_place(place, if is_https { 443 } else { 80 })?;
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        Ok(Self { is_https, host, port, target, user })
    }

    /// The same address with `query` behind all it has.
    #[must_use]
    pub fn with_query(&self, query: &str) -> Self {
        Self { target: format!("{}?{query}", self.target), ..self.clone() }
    }

    /// The same address over TLS at another port.
    #[must_use]
    pub fn over_tls(&self, port: u16) -> Self {
        Self { is_https: true, port, ..self.clone() }
    }

    /// Where a redirect from here leads.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn redirected(&self, location: &str) -> Result<Self, BadUrl> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let scheme = if self.is_https { "https" } else { "http" };
        if let Some(elsewhere) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{elsewhere}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            _ => format!("{folder}/{location}"),
        };
        let there = Self::parse(&format!("{scheme}://{}{target}", self.host_and_port()))?;
        Ok(Self { user: self.user.clone(), ..there })
    }

    /// The value of the `Host` header: the port stands in it unless it is the scheme's own.
    pub fn host_header(&self) -> String {
        let own_port = if self.is_https { 443 } else { 80 };
        if self.port == own_port { self.bracketed_host() } else { self.host_and_port() }
    }

    /// `host:port`, as names are looked up.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The value of the `Authorization` header, if the address says who asks.
    pub(super) fn authorization(&self) -> Option<String> {
        self.user.as_ref().map(|user| format!("Basic {}", base64::encode(user)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.host_header())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host and port of `host`, `host:port` or `[address]:port`.
fn split_place(place: &str, own_port: u16) -> Result<(String, u16), BadUrl> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or(BadUrl::Host)?;
            match behind.strip_prefix(':') {
                Some(port) => (host, port),
                None if behind.is_empty() => (host, ""),
                None => return Err(BadUrl::Host),
            }
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if host.is_empty() || host.contains(['[', ']', '%']) {
        return Err(BadUrl::Host);
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        "" => own_port,
        port if is_number => port.parse().map_err(|_| BadUrl::Host)?,
        _ => return Err(BadUrl::Host),
    };
    if port == 0 {
        return Err(BadUrl::Host);
    }
    Ok((host.to_owned(), port))
}

/// A form as a query: names and values in the order of the names.
pub fn encode_form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|&(name, _)| name);
    let pieces = pairs.into_iter().map(|(name, value)| {
        format!("{}={}", percent::encode_value(name.as_bytes()), percent::encode_value(value))
    });
    pieces.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_into_what_a_request_needs() {
        for (text, is_https, place, host_header, target) in [
            ("http://auth:4181/auth", false, "auth:4181", "auth:4181", "/auth"),
            ("HTTP://auth", false, "auth:80", "auth", "/"),
            ("https://auth/a?b=c#d", true, "auth:443", "auth", "/a?b=c"),
            ("https://auth:80?x", true, "auth:80", "auth:80", "/?x"),
            ("http://[::1]:4181/a/b", false, "[::1]:4181", "[::1]:4181", "/a/b"),
            ("http://[::1]/", false, "[::1]:80", "[::1]", "/"),
            ("http://ann:w%40rd@auth:1/", false, "auth:1", "auth:1", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            let found = (url.is_https, url.host_and_port(), url.host_header(), url.target);
            let expected = (is_https, place.to_owned(), host_header.to_owned(), target.to_owned());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("auth:4181", BadUrl::Scheme),
            ("ftp://auth", BadUrl::Scheme),
            ("http://", BadUrl::Host),
            ("http:///auth", BadUrl::Host),
            ("http://auth:0/", BadUrl::Host),
            ("http://auth:65536/", BadUrl::Host),
            ("http://auth:+1/", BadUrl::Host),
            ("http://[::1/", BadUrl::Host),
            ("http://[::1]x/", BadUrl::Host),
            ("http://au th/", BadUrl::Character),
            ("http://auth/\r\nX: y", BadUrl::Character),
            ("http://a%zz@auth/", BadUrl::Character),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_shown_of_an_address_holds_no_secret() {
        let url = Url::parse("http://ann:hidden@auth:1/a?secret=hidden").unwrap();
        assert_eq!(url.to_string(), "http://auth:1/a");
        assert_eq!(format!("{url:?}"), "http://auth:1/a");
    }

    #[test]
    fn who_asks_is_told_in_base64() {
        for (user, told) in [
            ("a:", "Basic YTo="),
            ("ab:", "Basic YWI6"),
            ("Aladdin:open%20sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            let url = Url::parse(&format!("http://{user}@auth/")).unwrap();
            assert_eq!(url.authorization().as_deref(), Some(told));
        }
        assert_eq!(Url::parse("http://auth/").unwrap().authorization(), None);
    }

    #[test]
    fn a_redirect_leads_to_another_address_or_another_path_of_the_same() {
        let url = Url::parse("http://ann@auth:1/a/b?c").unwrap();
        for (location, there) in [
            ("https://other/x?y", "https://other:443/x?y"),
            ("//other/x", "http://other:80/x"),
            ("/x?y", "http://auth:1/x?y"),
            ("x", "http://auth:1/a/x"),
            ("?d", "http://auth:1/a/b?d"),
        ] {
            let to = url.redirected(location).unwrap();
            let scheme = if to.is_https { "https" } else { "http" };
            assert_eq!(format!("{scheme}://{}{}", to.host_and_port(), to.target), there);
        }
        assert_eq!(url.redirected("https://").unwrap_err(), BadUrl::Host);
    }

    #[test]
    fn a_form_is_escaped_and_in_the_order_of_its_names() {
        let form = [("tls", &b"false"[..]), ("secret", b"a b&c=d/\xff~"), ("common_name", b"")];
        assert_eq!(encode_form(form), "common_name=&secret=a+b%26c%3Dd%2F%FF~&tls=false");
    }
}
