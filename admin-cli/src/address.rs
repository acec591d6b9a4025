//! Where a process listens: `host:port`.

use std::fmt;
use std::str::FromStr;

use startup::flags::InvalidValue;

/// A host and a port. A numeric IPv6 host stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(String);

impl Address {
    /// The address of a host as nsqlookupd tells it: IPv6 without brackets.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        if host.contains(':') {
            Self(format!("[{host}]:{port}"))
        } else {
            Self(format!("{host}:{port}"))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What a user of NSQ's utilities gave, or what was connected to, which is not looked at.
    pub(crate) fn as_given(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The host, in brackets where it is numeric IPv6; empty for this machine.
    pub(crate) fn host(&self) -> &str {
        self.split().0
    }

    fn split(&self) -> (&str, Option<u16>) {
        let split = self.0.rsplit_once(':');
        match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => (host, Some(port)),
            None => (&self.0, None),
        }
    }

    /// The host as a process tells it of itself: IPv6 without brackets.
    pub(crate) fn host_without_brackets(&self) -> &str {
        let host = self.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port; that of HTTP when none was given.
    pub(crate) fn port(&self) -> u16 {
        self.split().1.unwrap_or(80)
    }
}

impl FromStr for Address {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const WRONG: InvalidValue = InvalidValue("should be host:port, without a scheme");
        let (host, port) = text.rsplit_once(':').ok_or(WRONG)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty() && !host.contains([':', '/', '@', '?', '#', ' ']);
        if port.parse::<u16>().is_err() || !(plain || bracketed) {
            return Err(WRONG);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses in a sentence.
pub(crate) fn list(addresses: &[Address]) -> String {
    let addresses: Vec<&str> = addresses.iter().map(Address::as_str).collect();
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:4151", "localhost:1", "[::1]:4150", "nsqd-0.nsqd:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().as_str(), text);
        }
        for text in
            ["", "localhost", ":4151", "http://a:4151", "a:b", "a:65536", "::1:4150", "a/b:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_host_gets_brackets() {
        assert_eq!(Address::of("::1", 4150).as_str(), "[::1]:4150");
        assert_eq!(Address::of("host", 4150).as_str(), "host:4150");
        let address = Address::of("::1", 4150);
        assert_eq!((address.host(), address.port()), ("[::1]", 4150));
        assert_eq!(address.host_without_brackets(), "::1");
        for (given, host, port) in [("nsqd", "nsqd", 80), (":4151", "", 4151), ("a:1", "a", 1)] {
            let address = Address::as_given(given);
            assert_eq!((address.host(), address.port()), (host, port));
        }
    }
}
