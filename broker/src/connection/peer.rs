//! Where a client is: the other end of its socket.

use std::fmt;
use std::net::SocketAddr;

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somewhere on the network.
    Address(SocketAddr),
    /// On this machine, through a Unix socket.
    Local,
}

impl Peer {
    /// The address without the port: what a client is called that does not name itself. Nothing for
    /// a local one (NSQ behaviour).
    pub fn host(&self) -> String {
        match self {
            Self::Address(address) => address.ip().to_string(),
            Self::Local => String::new(),
        }
    }
}

/// As log lines and `/stats` have it.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local => f.write_str("@"),
        }
    }
}
