//! How a TCP connection to a broker is made, and the words in which Go says why it could not be.
//!
//! Does not know: what is said over it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

/// Why no connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialError {
    /// What was tried, in Go's words: `dial tcp 127.0.0.1:4150: connect: `.
    before: String,
    /// Why it failed, for instance `connection refused`.
    pub(crate) reason: String,
}

impl DialError {
    /// In Go's words.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.before, self.reason)
    }
}

/// Connects to `host:port`, from an address of ours where that is said, and gives up after the limit
/// where there is one. The first of the host's addresses that takes it is used.
pub(crate) async fn dial(
    address: &str,
    limit: Option<Duration>,
    local: Option<SocketAddr>,
) -> Result<TcpStream, DialError> {
    let connecting = connect(address, local);
    let outcome = match limit {
        None => connecting.await,
        Some(limit) => timeout(limit, connecting).await.unwrap_or_else(|_| {
            let before = format!("dial tcp {address}: ");
            Err(DialError { before, reason: "i/o timeout".to_owned() })
        }),
    };
    let stream = outcome?;
    // As in Go; a socket on which it cannot be set is slower, and nothing else.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

async fn connect(address: &str, local: Option<SocketAddr>) -> Result<TcpStream, DialError> {
    let mut failure = None;
    for remote in resolve(address).await? {
        match connect_to(remote, local).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                // As it was given where the host is none.
                let shown =
                    if address.starts_with(':') { address.to_owned() } else { remote.to_string() };
                let local = local.map(|local| format!("{local}->"));
                let local = local.unwrap_or_default();
                failure.get_or_insert(DialError {
                    before: format!("dial tcp {local}{shown}: connect: "),
                    reason: words(&error),
                });
            }
        }
    }
    Err(failure.unwrap_or_else(|| no_such_host(address)))
}

async fn connect_to(remote: SocketAddr, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(local) = local else { return TcpStream::connect(remote).await };
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(local)?;
    socket.connect(remote).await
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = split(address).map_err(|reason| DialError {
        before: format!("dial tcp: address {address}: "),
        reason: reason.to_owned(),
    })?;
    let port: u16 = port.parse().map_err(|_| {
        let reason = if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() {
            return DialError {
                before: format!("dial tcp: address {port}: "),
                reason: "invalid port".to_owned(),
            };
        } else {
            "unknown port".to_owned()
        };
        DialError { before: format!("dial tcp: lookup tcp/{port}: "), reason }
    })?;
    if host.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::from((ip, port))]);
    }
    lookup_host((host, port)).await.map(Iterator::collect).map_err(|_| no_such_host(host))
}

fn no_such_host(host: &str) -> DialError {
    let before = format!("dial tcp: lookup {host}: ");
    DialError { before, reason: "no such host".to_owned() }
}

/// Host and port of an address; an IPv6 host stands in brackets.
///
/// # Errors
/// Why it is no address, in Go's words.
pub(super) fn split(address: &str) -> Result<(&str, &str), &'static str> {
    const MISSING: &str = "missing port in address";
    if let Some(rest) = address.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("missing ']' in address")?;
        return Ok((host, behind.strip_prefix(':').ok_or(MISSING)?));
    }
    let (host, port) = address.rsplit_once(':').ok_or(MISSING)?;
    if host.contains(':') {
        return Err("too many colons in address");
    }
    Ok((host, port))
}

/// What the system says of an error, as Go writes it: `connection refused`.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_as_go_does_it() {
        for (address, parts) in [
            ("127.0.0.1:4150", Ok(("127.0.0.1", "4150"))),
            ("[::1]:4150", Ok(("::1", "4150"))),
            (":4150", Ok(("", "4150"))),
            ("host:", Ok(("host", ""))),
            ("host", Err("missing port in address")),
            ("", Err("missing port in address")),
            ("::1:4150", Err("too many colons in address")),
            ("[::1]", Err("missing port in address")),
            ("[::1", Err("missing ']' in address")),
        ] {
            assert_eq!(split(address), parts, "{address}");
        }
    }

    #[test]
    fn the_system_is_quoted_in_small_letters_and_without_numbers() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::from_raw_os_error(101)), "network is unreachable");
    }

    fn text(address: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(dial(address, None, None));
        outcome.err().unwrap().text()
    }

    #[test]
    fn what_cannot_be_dialled_is_told_in_gos_words() {
        for (address, expected) in [
            ("127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
            ("localhost", "dial tcp: address localhost: missing port in address"),
            ("127.0.0.1:x", "dial tcp: lookup tcp/x: unknown port"),
            ("127.0.0.1:65536", "dial tcp: address 65536: invalid port"),
        ] {
            assert_eq!(text(address), expected);
        }
    }
}
