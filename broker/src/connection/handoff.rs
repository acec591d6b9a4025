//! A connection on its way to another core.
//!
//! It leaves only when all it is owed was sent and no read is under way, so nothing but the socket,
//! what it is, its layers, and the bytes it has not looked at need to travel.

use super::Session;
use super::layers::Layers;
use std::net::TcpStream;

/// See the head of this file.
#[derive(Debug)]
pub struct Traveller {
    /// A descriptor of its socket.
    pub stream: TcpStream,
    /// What it is.
    pub session: Session,
    /// TLS and compression, with what they hold.
    pub layers: Option<Box<Layers>>,
    /// What was read and not looked at, the command that made it move first.
    pub unread: Vec<u8>,
}
