//! An address on the web as Go's client reads it.
//!
//! Knows: which parts an address has, what of it goes into a request, and how one leads to another
//! (`Location`). Rule (NSQ behaviour): a query goes out as it is written, a path as it is written
//! when it can be one, else escaped anew; dots in a path are left to the server.
//!
//! Does not know: how anything is reached.

/// An address, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    /// In small letters, without the colon; may be empty.
    pub(crate) scheme: String,
    /// Who asks, as it is written: `name` or `name:password`.
    user: Option<String>,
    /// Host and port as they are written.
    pub(crate) host: String,
    /// With its slash in front, escaped; what stands behind the scheme where that is no slash.
    path: String,
    /// Behind its question mark.
    query: Option<String>,
    /// Behind its hash. It goes into no request.
    fragment: String,
}

impl Url {
    /// Takes an address apart.
    ///
    /// # Errors
    /// Why it is none, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        Self::parse_without_fragment(address)
            .map(|url| Self { fragment: fragment.to_owned(), ..url })
            .map_err(|reason| format!("parse {}: {reason}", quoted(address)))
    }

    fn parse_without_fragment(address: &str) -> Result<Self, String> {
        if address.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, rest) = split_scheme(address)?;
        let scheme = scheme.to_ascii_lowercase();
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let mut url = Self { scheme, query, ..Self::default() };
        if !rest.starts_with('/') {
            if url.scheme.is_empty()
                && rest.split('/').next().is_some_and(|part| part.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
            url.path = rest.to_owned();
            return Ok(url);
        }
        let has_authority =
            rest.starts_with("//") && !(url.scheme.is_empty() && rest.starts_with("///"));
        let path = if has_authority {
            let authority = &rest[2..];
            let end = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(end);
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, authority),
            };
            url.host = check_host(host)?;
            if let Some(user) = user {
                unescape(user)?;
                url.user = Some(user.to_owned());
            }
            path
        } else {
            rest
        };
        url.path = escape_path(path)?;
        Ok(url)
    }

    /// What stands behind the method in a request.
    pub(crate) fn target(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// What the `Host` header says: no port where there is only its colon.
    pub(crate) fn host_header(&self) -> &str {
        self.host.strip_suffix(':').unwrap_or(&self.host)
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// The host without a port and without brackets.
    pub(crate) fn host_name(&self) -> &str {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.host,
        };
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Where to connect to: `host:port`.
    pub(crate) fn dialled(&self) -> String {
        let host = self.host_header();
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        match (has_port, self.is_encrypted()) {
            (true, _) => host.to_owned(),
            (false, false) => format!("{host}:80"),
            (false, true) => format!("{host}:443"),
        }
    }

    /// The name and password it has, as the `Authorization` header is made from them.
    pub(crate) fn credentials(&self) -> Option<Vec<u8>> {
        let user = self.user.as_ref()?;
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let part = |part| unescape(part).unwrap_or_default();
        Some([part(name), b":".to_vec(), part(password)].concat())
    }

    /// The address that `location` means, seen from this one.
    ///
    /// # Errors
    /// Why it is none, in Go's words.
    pub(crate) fn follow(&self, location: &str) -> Result<Self, String> {
        let to = Self::parse(location)?;
        if !to.scheme.is_empty() || !to.host.is_empty() {
            let scheme = if to.scheme.is_empty() { self.scheme.clone() } else { to.scheme.clone() };
            let path =
                if to.path.starts_with('/') { resolve("", &to.path) } else { to.path.clone() };
            return Ok(Self { scheme, path, ..to });
        }
        let query = match &to.query {
            None if to.path.is_empty() => self.query.clone(),
            query => query.clone(),
        };
        Ok(Self {
            scheme: self.scheme.clone(),
            user: self.user.clone(),
            host: self.host.clone(),
            path: resolve(&self.path, &to.path),
            query,
            fragment: to.fragment,
        })
    }

    /// The address for the `Referer` header: without who asks.
    pub(crate) fn as_referer(&self) -> String {
        self.written("")
    }

    /// The address for people: without the password.
    pub(crate) fn shown(&self) -> String {
        match self.user.as_deref().map(|user| (user, user.split_once(':'))) {
            None => self.written(""),
            Some((_, Some((name, _)))) => self.written(&format!("{name}:***@")),
            Some((user, None)) => self.written(&format!("{user}@")),
        }
    }

    fn written(&self, user: &str) -> String {
        let scheme =
            if self.scheme.is_empty() { String::new() } else { format!("{}:", self.scheme) };
        let slashes = if self.path.starts_with('/') || !self.host.is_empty() { "//" } else { "" };
        let slashes = if self.scheme.is_empty() && self.host.is_empty() { "" } else { slashes };
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let hash = if self.fragment.is_empty() { "" } else { "#" };
        let Self { host, path, fragment, .. } = self;
        format!("{scheme}{slashes}{user}{host}{path}{query}{hash}{fragment}")
    }
}

/// Text in quotes, as Go writes it in an error.
pub(crate) fn quoted(text: &str) -> String {
    protocol::quoted::quoted(text.as_bytes())
}

/// The scheme, and what stands behind its colon.
fn split_scheme(address: &str) -> Result<(&str, &str), String> {
    for (at, byte) in address.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if 0 < at => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&address[..at], &address[at + 1..])),
            _ => break,
        }
    }
    Ok(("", address))
}

/// A host and perhaps a port, as they are written.
fn check_host(host: &str) -> Result<String, String> {
    let port = match (host.starts_with('['), host.rfind(']')) {
        (true, None) => return Err("missing ']' in host".to_owned()),
        (true, Some(end)) => &host[end + 1..],
        (false, _) => host.find(':').map_or("", |at| &host[at..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if port.starts_with(':') == port.is_empty() || digits.bytes().any(|b| !b.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quoted(port)));
    }
    let allowed = |c: char| {
        c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    if let Some(wrong) = host.chars().find(|&c| !allowed(c)) {
        return Err(format!("invalid character {} in host name", quoted(&wrong.to_string())));
    }
    let bytes = unescape(host)?;
    let escaped_ascii = host.split('%').skip(1).find(|part| part.starts_with(|c| c < '8'));
    if let Some(part) = escaped_ascii.filter(|_| !host.starts_with('[')) {
        return Err(format!("invalid URL escape {}", quoted(&format!("%{}", &part[..2]))));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes that an escaped text means.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(2)]).into_owned();
            return Err(format!("invalid URL escape {}", quoted(&format!("%{shown}"))));
        };
        out.push(u8::try_from(high << 4 | low).expect("two digits are a byte"));
        bytes = &rest[2..];
    }
    Ok(out)
}

/// A path as it goes out: as it is written when all of it may stand in a path, else escaped anew.
fn escape_path(path: &str) -> Result<String, String> {
    let plain = unescape(path)?;
    let is_fine =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
    if path.bytes().all(is_fine) {
        return Ok(path.to_owned());
    }
    let mut out = String::new();
    for byte in plain {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

/// The path that `to` means, seen from `from`, without dots.
fn resolve(from: &str, to: &str) -> String {
    let full = if to.is_empty() {
        from.to_owned()
    } else if to.starts_with('/') {
        to.to_owned()
    } else {
        let folder = from.rfind('/').map_or("", |at| &from[..=at]);
        format!("{folder}{to}")
    };
    if full.is_empty() {
        return full;
    }
    let mut parts: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for part in full.strip_prefix('/').unwrap_or(&full).split('/') {
        ends_in_folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let slash = if ends_in_folder && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_into_a_request_as_go_writes_it() {
        for (address, dialled, host, target) in [
            ("http://h", "h:80", "h", "/"),
            ("http://h:80/", "h:80", "h:80", "/"),
            ("HTTP://H:81/a b?c d", "H:81", "H:81", "/a%20b?c d"),
            ("http://u:p%40@h/x?y#z", "h:80", "h", "/x?y"),
            ("http://h/é{}|\"<>^`\\", "h:80", "h", "/%C3%A9%7B%7D%7C%22%3C%3E%5E%60%5C"),
            ("http://h/a%2fb!*'()", "h:80", "h", "/a%2fb!*'()"),
            ("http://h?x=<>\"é", "h:80", "h", "/?x=<>\"é"),
            ("http://[::1]:81/", "[::1]:81", "[::1]:81", "/"),
            ("http://[::1]/", "[::1]:80", "[::1]", "/"),
            ("http://h/a/../b/./c", "h:80", "h", "/a/../b/./c"),
            ("http://h:/", "h:80", "h", "/"),
            ("http://h/?", "h:80", "h", "/?"),
            ("http://h/?a=%zz", "h:80", "h", "/?a=%zz"),
            ("https://h", "h:443", "h", "/"),
            ("http://h/a;b,c=d&e@f:g$h+i", "h:80", "h", "/a;b,c=d&e@f:g$h+i"),
            ("http://h/[x]", "h:80", "h", "/[x]"),
            ("http://h/[x]é", "h:80", "h", "/%5Bx%5D%C3%A9"),
        ] {
            let url = Url::parse(address).unwrap();
            let parts = (url.dialled(), url.host_header(), url.target());
            assert_eq!(parts, (dialled.to_owned(), host, target.to_owned()), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_in_gos_words() {
        for (address, error) in [
            ("127.0.0.1:80/x", "first path segment in URL cannot contain colon"),
            ("http://h:x/", "invalid port \":x\" after host"),
            ("http://h1:2:3/", "invalid port \":2:3\" after host"),
            ("http://h/%zz", "invalid URL escape \"%zz\""),
            ("http://h/%2", "invalid URL escape \"%2\""),
            ("http://h/\n", "net/url: invalid control character in URL"),
            ("http://a b/", "invalid character \" \" in host name"),
            ("http://%41/", "invalid URL escape \"%41\""),
            ("http://[::1/", "missing ']' in host"),
            (":x", "missing protocol scheme"),
        ] {
            assert_eq!(Url::parse(address), Err(format!("parse {address:?}: {error}")));
        }
    }

    #[test]
    fn an_address_without_a_scheme_or_a_host_is_one_all_the_same() {
        for (address, scheme, host) in [
            ("localhost:80/x", "localhost", ""),
            ("h/x", "", ""),
            ("//h/x", "", "h"),
            ("http:///x", "http", ""),
            ("http:x/y", "http", ""),
            ("ftp://h/x", "ftp", "h"),
        ] {
            let url = Url::parse(address).unwrap();
            assert_eq!((url.scheme.as_str(), url.host.as_str()), (scheme, host), "{address}");
            assert_eq!(url.shown(), address);
        }
    }

    #[test]
    fn one_address_leads_to_another() {
        let from = Url::parse("http://u:p@h:1/a/b/c?q#f").unwrap();
        for (location, to) in [
            ("d", "http://u:p@h:1/a/b/d"),
            ("/d", "http://u:p@h:1/d"),
            ("../d", "http://u:p@h:1/a/d"),
            ("?x", "http://u:p@h:1/a/b/c?x"),
            ("", "http://u:p@h:1/a/b/c?q"),
            ("//g/y", "http://g/y"),
            ("https://z", "https://z"),
            ("https://z/a/../b", "https://z/b"),
            ("./", "http://u:p@h:1/a/b/"),
            ("..", "http://u:p@h:1/a/"),
            ("../../../d", "http://u:p@h:1/d"),
            ("d?e#f", "http://u:p@h:1/a/b/d?e#f"),
        ] {
            let followed = from.follow(location).unwrap();
            assert_eq!(followed, Url::parse(to).unwrap(), "{location:?}");
        }
    }

    #[test]
    fn passwords_are_used_and_not_shown() {
        let url = Url::parse("http://u%20x:p%40:q@h/x").unwrap();
        assert_eq!(url.credentials().unwrap(), b"u x:p@:q");
        assert_eq!(url.shown(), "http://u%20x:***@h/x");
        assert_eq!(url.as_referer(), "http://h/x");
        let url = Url::parse("http://u@h/x").unwrap();
        assert_eq!(url.credentials().unwrap(), b"u:");
        assert_eq!(url.shown(), "http://u@h/x");
        assert_eq!(url.host_name(), "h");
        assert_eq!(Url::parse("http://[::1]:5/").unwrap().host_name(), "::1");
        assert_eq!(Url::parse("http://[::1]/").unwrap().host_name(), "::1");
    }
}
