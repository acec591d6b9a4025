//! Listening sockets: what an address means, and what is said when it cannot be had.
//!
//! Rule (NSQ behaviour): an address that stands for every address of the machine, `0.0.0.0` or
//! `[::]`, is served in both families by one socket, which shows itself as `[::]`; a client that
//! comes by IPv4 is shown with its IPv4 address. Where the machine has no IPv6, IPv4 alone is served.
//!
//! Does not know: how names are resolved, or how connections are accepted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// How many connections may wait to be accepted; the kernel has a limit of its own below which it
/// keeps this.
const BACKLOG: i32 = 4096;

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
    let text = error.to_string();
    let Some((words, _)) = text.split_once(" (os error ") else { return text };
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    format!("bind: {}", first.into_iter().chain(letters).collect::<String>())
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
