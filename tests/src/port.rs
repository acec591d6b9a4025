//! A port that nobody listens on, and that stays the test's own.
//!
//! Knows how a port is held without listening: the system gives it to nobody who asks for any port,
//! and refuses whoever connects to it; a program that is told to listen there may.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

/// A port of the loopback, held until this is dropped.
#[derive(Debug)]
pub struct Port {
    /// Where nobody listens, unless the test starts a program there.
    pub address: SocketAddr,
    _socket: OwnedFd,
}

impl Port {
    /// Any port that is free.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn any() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a descriptor is left");
        // Servers set this, too: so one of them may listen where this socket is bound.
        sockopt::set_socket_reuseaddr(&socket, true).expect("a socket option can be set");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let bound = getsockname(&socket).expect("a bound socket has an address");
        let address = bound.try_into().expect("it is one of the internet");
        Self { address, _socket: socket }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_held_port_refuses_connections_and_lets_a_server_listen() {
        let port = Port::any();
        let refused = TcpStream::connect(port.address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let server = TcpListener::bind(port.address).unwrap();
        TcpStream::connect(port.address).unwrap();
        drop(server);
        let again = TcpListener::bind(port.address).unwrap();
        TcpStream::connect(port.address).unwrap();
        drop(again);
    }
}
