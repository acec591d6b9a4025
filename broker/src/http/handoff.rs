//! An HTTP connection on its way to another core: one that publishes again and again to topics of
//! that core spares it, and its own, being woken for each message.
//!
//! It leaves behind a publish, when it was sent all answers, so nothing but the socket, TLS, and
//! the bytes that were not looked at need to travel. How NSQ's connections do it: [`crate::connection::handoff`].

use crate::connection::layers::Layers;
use crate::connection::peer::Peer;
use std::net::TcpStream;

/// See the head of this file.
#[derive(Debug)]
pub struct Traveller {
    /// A descriptor of its socket.
    pub stream: TcpStream,
    /// Where the client is.
    pub peer: Peer,
    /// TLS, with what it holds.
    pub layers: Option<Box<Layers>>,
    /// What was read and belongs to the next request.
    pub unread: Vec<u8>,
}
