//! Listening sockets: what an address means, and what is said when it cannot be had.
//!
//! Rule (NSQ behaviour): an address that stands for every address of the machine, `0.0.0.0` or
//! `[::]`, is served in both families by one socket, which shows itself as `[::]`; a client that
//! comes by IPv4 is shown with its IPv4 address. Where the machine has no IPv6, IPv4 alone is served.
//!
//! Does not know: how names are resolved, or how connections are accepted.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

/// How many connections may wait to be accepted; the kernel has a limit of its own below which it
/// keeps this.
const BACKLOG: i32 = 4096;

/// Where a program listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a port.
    Port(SocketAddr),
    /// On a Unix socket at this path.
    Path(PathBuf),
}

impl Address {
    /// The port; 0 for a path.
    pub fn port(&self) -> u16 {
        match self {
            Self::Port(address) => address.port(),
            Self::Path(_) => 0,
        }
    }

    /// The kind of network in Go's words, as log lines have it: `tcp` or `unix`.
    pub fn network(&self) -> &'static str {
        match self {
            Self::Port(_) => "tcp",
            Self::Path(_) => "unix",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Whether an address on the command line is the path of a Unix socket: whatever is not `host:port`
/// (NSQ behaviour). An IPv6 address with a port stands in brackets.
pub fn is_path(address: &str) -> bool {
    let host = address.rsplit_once(':').map(|(host, _port)| host);
    let inner = host.and_then(|host| host.strip_prefix('[')?.strip_suffix(']'));
    match (host, inner) {
        (None, _) => true,
        (Some(_), Some(inner)) => inner.contains(['[', ']']),
        (Some(host), None) => host.contains([':', '[', ']']),
    }
}

/// Listens on a Unix socket at `path`, where nothing may be. Who may connect is up to the process's
/// umask. The listener has the type that accepts connections of any kind.
///
/// # Errors
/// What the system said; [`reason`] has the words for it.
pub fn bind_path(path: &Path) -> io::Result<TcpListener> {
    let socket =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Listens on `address`.
///
/// # Errors
/// What the system said; [`reason`] has the words for it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return first_that_listens([address]);
    }
    let families = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    first_that_listens(families.map(|every| SocketAddr::new(every, address.port())))
}

/// Listens on the first of the candidates that can be listened on. One that is taken ends the
/// search: to serve only some of what was asked for would hide it.
fn first_that_listens<const COUNT: usize>(
    candidates: [SocketAddr; COUNT],
) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for candidate in candidates {
        match listen_on(candidate) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => last = error,
            outcome => return outcome,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if address.is_ipv6() {
        // Whatever the machine's default is: both families only where every address is meant.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    // So that a program that starts anew is not kept out by its predecessor's last connections.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// An address as NSQ shows it: an IPv4 peer of a socket for both families is an IPv4 address.
pub fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Why an address cannot be listened on, in the words that NSQ's programs have for it:
/// `bind: address already in use`. What the system did not say is left as it is.
pub fn reason(error: &io::Error) -> String {
    words(error).map_or_else(|| error.to_string(), |words| format!("bind: {words}"))
}

/// What the system said, as Go writes it; `None` when it was not the system.
pub fn words(error: &io::Error) -> Option<String> {
    let text = error.to_string();
    let (words, _) = text.split_once(" (os error ")?;
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    Some(first.into_iter().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const LOCAL: [u8; 4] = [127, 0, 0, 1];
    /// An address of a documentation network, which no machine has.
    const FOREIGN: [u8; 4] = [192, 0, 2, 1];

    fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
        SocketAddr::new(ip.into(), port)
    }

    #[test]
    fn what_is_no_host_and_port_is_a_path() {
        for address in ["127.0.0.1:4150", ":4150", "[::1]:4150", "host:", "/a:b", "0.0.0.0:0"] {
            assert!(!is_path(address), "{address}");
        }
        for path in ["/run/nsqd.sock", "nsqd", "::1", "[::1]", "a:b:c", "[::1]x:1"] {
            assert!(is_path(path), "{path}");
        }
    }

    #[test]
    fn a_unix_socket_is_listened_on_where_nothing_is() {
        let folder = std::env::temp_dir().join(format!("listen-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let listener = bind_path(&path).unwrap();
        let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop((listener, client));
        assert_eq!(reason(&bind_path(&path).unwrap_err()), "bind: address already in use");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_address_means_those_of_both_families() {
        for every in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let listener = bind(at(every, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let local = at(LOCAL, port);
            let client = TcpStream::connect(local).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(shown(peer), client.local_addr().unwrap());
            if listener.local_addr().unwrap().is_ipv6() {
                let client = TcpStream::connect(at(Ipv6Addr::LOCALHOST, port)).unwrap();
                assert_eq!(shown(listener.accept().unwrap().1), client.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn one_address_means_only_itself() {
        let listener = bind(at(LOCAL, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), IpAddr::from(LOCAL));
        assert!(TcpStream::connect(at([127, 0, 0, 2], address.port())).is_err());
    }

    #[test]
    fn a_family_that_the_machine_does_not_have_is_left_out_and_a_taken_port_is_not() {
        let listener = first_that_listens([at(FOREIGN, 0), at(LOCAL, 0)]).unwrap();
        let taken = listener.local_addr().unwrap();
        assert_eq!(taken.ip(), IpAddr::from(LOCAL));
        let error = first_that_listens([taken, at(LOCAL, 0)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_the_system_says_is_told_in_nsqs_words() {
        let holder = bind(at(LOCAL, 0)).unwrap();
        let taken = holder.local_addr().unwrap();
        let said = |address| reason(&bind(address).unwrap_err());
        assert_eq!(said(taken), "bind: address already in use");
        assert_eq!(said(at(FOREIGN, 0)), "bind: cannot assign requested address");
        assert_eq!(reason(&io::Error::other("no such host")), "no such host");
    }
}
