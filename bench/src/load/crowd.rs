//! Connections that are served by one thread, each when something has come for it.
//!
//! Knows sockets. Does not know: what is said over them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// A broker that says nothing for so long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// See the head of this file.
pub(crate) struct Crowd {
    ready: OwnedFd,
    streams: Vec<TcpStream>,
    events: Vec<epoll::Event>,
    piece: Vec<u8>,
}

impl Crowd {
    /// Opens so many connections, and says `hello` over each.
    pub(crate) fn connect(server: SocketAddr, count: usize, hello: &[u8]) -> Self {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
        let streams: Vec<TcpStream> = (0..count)
            .map(|_| {
                let mut stream = TcpStream::connect(server).expect("the broker accepts");
                stream.set_nodelay(true).expect("a socket option can be set");
                stream.write_all(hello).expect("the broker reads");
                stream
            })
            .collect();
        for (number, stream) in (0..).zip(&streams) {
            let data = epoll::EventData::new_u64(number);
            epoll::add(&ready, stream, data, epoll::EventFlags::IN).expect("it is added once");
        }
        Self { ready, streams, events: Vec::with_capacity(256), piece: vec![0; READ_BYTES] }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) {
        self.streams[number].write_all(bytes).expect("the broker reads");
    }

    /// Waits until something has come, for so long at most, and hands each piece to `take`, whose
    /// answer is sent.
    ///
    /// # Panics
    /// When nothing comes for so long that the broker must be dead, and when it closes a connection.
    pub(crate) fn serve(
        &mut self,
        patience: Option<Duration>,
        mut take: impl FnMut(usize, &[u8], &mut Vec<u8>),
    ) {
        let patience_or_death = patience.unwrap_or(SILENCE_MAX);
        let limit = Timespec::try_from(patience_or_death).expect("a minute fits");
        self.events.clear();
        epoll::wait(&self.ready, spare_capacity(&mut self.events), Some(&limit))
            .expect("it can be waited");
        assert!(
            patience.is_some() || !self.events.is_empty(),
            "the broker says nothing for {SILENCE_MAX:?}"
        );
        let mut answer = Vec::new();
        for event in &self.events {
            let number = usize::try_from(event.data.u64()).expect("it was one");
            let stream = &mut self.streams[number];
            let count = stream.read(&mut self.piece).expect("something is there");
            assert!(0 < count, "the broker closed the connection");
            answer.clear();
            take(number, &self.piece[..count], &mut answer);
            if !answer.is_empty() {
                stream.write_all(&answer).expect("the broker reads");
            }
        }
    }
}
