//! A server that does nothing: it says `OK` to whatever is published, and has a message for whoever
//! finished one. What the generator reaches against it is the most it can show of any broker.
//!
//! One thread serves all connections and never sleeps while there is one: to be woken is the most
//! expensive part of a small answer, and a server that were woken for each would answer later than a
//! broker that is busy.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// What is told of the listener; connections have the numbers from 0.
const NEW: u64 = u64::MAX;

/// Starts one for the rest of the program.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || Server::of(listener).serve());
    address
}

struct Server {
    listener: TcpListener,
    ready: OwnedFd,
    clients: BTreeMap<u64, Client>,
    next: u64,
    /// What is sent to a consumer.
    message: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    is_greeted: bool,
    /// What has come of the next command.
    input: Vec<u8>,
    /// What its socket has not taken.
    output: Vec<u8>,
}

impl Server {
    fn of(listener: TcpListener) -> Self {
        listener.set_nonblocking(true).expect("a socket option can be set");
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
        let new = epoll::EventData::new_u64(NEW);
        epoll::add(&ready, &listener, new, epoll::EventFlags::IN).expect("it is added once");
        Self { listener, ready, clients: BTreeMap::new(), next: 0, message: message() }
    }

    fn serve(mut self) {
        const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = Vec::with_capacity(256);
        let mut piece = vec![0; READ_BYTES];
        loop {
            let limit = if self.clients.is_empty() { None } else { Some(&AT_ONCE) };
            events.clear();
            epoll::wait(&self.ready, spare_capacity(&mut events), limit).expect("it can be waited");
            for event in &events {
                let number = event.data.u64();
                if number == NEW {
                    self.admit();
                } else if let Some(client) = self.clients.get_mut(&number)
                    && client.serve(&mut piece, &self.message).is_err()
                {
                    self.clients.remove(&number);
                }
            }
        }
    }

    fn admit(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        drop(stream.set_nodelay(true));
        stream.set_nonblocking(true).expect("a socket option can be set");
        let data = epoll::EventData::new_u64(self.next);
        // Each news of its socket is told once, whether it can be read or written to.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.ready, &stream, data, flags).expect("it is added once");
        let client = Client { stream, is_greeted: false, input: Vec::new(), output: Vec::new() };
        self.clients.insert(self.next, client);
        self.next += 1;
    }
}

impl Client {
    /// Answers what has come; an error is the end of the connection.
    fn serve(&mut self, piece: &mut [u8], message: &[u8]) -> io::Result<()> {
        loop {
            // Nobody who does not listen is answered.
            if !self.send()? {
                return Ok(());
            }
            let count = match self.stream.read(piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.answer(&piece[..count], message);
            if count < piece.len() {
                // More that comes is told.
                self.send()?;
                return Ok(());
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], message: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut at = 0;
        if !self.is_greeted && 4 <= self.input.len() {
            (self.is_greeted, at) = (true, 4);
        }
        if !self.is_greeted {
            return;
        }
        while let Some(length) = command(&self.input[at..], message, &mut self.output) {
            at += length;
        }
        self.input.drain(..at);
    }

    /// Whether all was sent.
    fn send(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Answers the first command; how long it was, or `None` while it is not whole.
fn command(bytes: &[u8], message: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let line = bytes.iter().take(128).position(|byte| *byte == b'\n')? + 1;
    if bytes.starts_with(b"FIN ") {
        output.extend_from_slice(message);
        return Some(line);
    }
    if let Some(count) = bytes.strip_prefix(b"RDY ") {
        let digits = &count[..line - 5];
        let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (0..count).for_each(|_: u32| output.extend_from_slice(message));
        return Some(line);
    }
    let length = if bytes.starts_with(b"SUB ") {
        line
    } else {
        let size = u32::from_be_bytes(*bytes[line..].first_chunk()?);
        line + 4 + usize::try_from(size).ok()?
    };
    if bytes.len() < length {
        return None;
    }
    output.extend_from_slice(b"\0\0\0\x06\0\0\0\0OK");
    Some(length)
}

/// A message of 200 bytes.
fn message() -> Vec<u8> {
    let mut message = (4_u32 + 8 + 2 + 16 + 200).to_be_bytes().to_vec();
    message.extend([0, 0, 0, 2]);
    message.extend([0; 8]);
    message.extend([0, 1]);
    message.extend([b'0'; 16]);
    message.resize(message.len() + 200, b'.');
    message
}
