//! Who may do what: administrators by a header, `/config` by the network, and no page of somebody
//! else's behind an administrator's back.
//!
//! Knows: the three rules. Does not know: what they guard.

use std::net::IpAddr;

use protocol::http::headers::Headers;

use super::options::Options;

/// Whether a request may change the cluster (NSQ behaviour): everybody may while no administrator
/// is named; else the header that a proxy in front sets names one of them.
pub(super) fn is_administrator(options: &Options, headers: &Headers) -> bool {
    let user = headers.get(&options.acl_http_header).unwrap_or_default();
    options.admin_users.is_empty() || options.admin_users.iter().any(|allowed| allowed == user)
}

/// Whether a request that changes something was made by another site's page, in the browser of
/// somebody who may. NSQ lets such requests through.
///
/// A program sends no `Origin` and passes. A browser says itself where a page is from; where it does
/// not (over plain HTTP), the origin's host has to be the one that was asked. Behind a proxy that
/// changes `Host`, it may be any, and our own page shows itself by `X-Requested-With`, which a page
/// from elsewhere may not send without asking first (and `OPTIONS` allows nobody).
pub(super) fn is_from_elsewhere(headers: &Headers) -> bool {
    match headers.get("Sec-Fetch-Site") {
        Some("same-origin" | "none") => return false,
        Some(_) => return true,
        None => {}
    }
    let Some(origin) = headers.get("Origin") else { return false };
    if headers.get("X-Requested-With").is_some() {
        return false;
    }
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let is_it =
        |name: &str| headers.get(name).is_some_and(|asked| asked.eq_ignore_ascii_case(host));
    !(is_it("Host") || is_it("X-Forwarded-Host"))
}

/// A range of addresses in CIDR notation: `127.0.0.1/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    /// How many leading bits count.
    bits: u8,
}

impl Network {
    /// Reads a range; `None` when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if bits.is_empty() || 3 < bits.len() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address lies in it. An IPv4 address may be written as an IPv6 one.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = (own.to_bits() ^ other.to_bits()).leading_zeros();
                u32::from(self.bits) <= differ
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = (own.to_bits() ^ other.to_bits()).leading_zeros();
                u32::from(self.bits) <= differ
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_a_network_when_its_leading_bits_are_the_same() {
        for (network, address, inside) in [
            ("127.0.0.1/8", "127.9.9.9", true),
            ("127.0.0.1/8", "128.0.0.1", false),
            ("127.0.0.1/8", "::ffff:127.0.0.1", true),
            ("127.0.0.1/8", "::1", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("::1/128", "::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "x", "127.0.0.1", "127.0.0.1/", "127.0.0.1/33", "::1/129", "a/8", "1.2.3.4/+8"]
        {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_pages_of_another_site_are_from_elsewhere() {
        for (headers, elsewhere) in [
            ("", false),
            ("Origin: http://admin:4171\r\n", false),
            ("Origin: http://ADMIN:4171\r\n", false),
            ("Origin: http://evil\r\n", true),
            ("Origin: null\r\n", true),
            ("Origin: http://evil\r\nX-Forwarded-Host: evil\r\n", false),
            ("Origin: https://outside\r\nX-Requested-With: XMLHttpRequest\r\n", false),
            ("Origin: https://outside\r\nSec-Fetch-Site: same-origin\r\n", false),
            ("Origin: http://admin:4171\r\nSec-Fetch-Site: cross-site\r\n", true),
            ("Sec-Fetch-Site: same-site\r\nX-Requested-With: x\r\n", true),
            ("Sec-Fetch-Site: none\r\n", false),
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: admin:4171\r\n{headers}\r\n");
            assert_eq!(is_from_elsewhere(&Headers::of(head.as_bytes())), elsewhere, "{headers}");
        }
    }
}
