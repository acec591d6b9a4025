//! Publishers that send their next request when they have the answer to an earlier one.
//!
//! The rate is bound by the answers: with one publisher it shows what one waits for, with many what
//! they share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::crowd::Crowd;
use super::{histogram, record};
use crate::peers::Peer;

/// What over the wire says that a request was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// NSQ's TCP protocol: a frame `OK`.
    Frames,
    /// HTTP: status 200 and the body `OK`.
    Http,
    /// What another broker understands.
    Peer(Peer),
}

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    pub(crate) wire: Wire,
    pub(crate) connections: usize,
    /// How many requests of a connection may be without an answer.
    pub(crate) window: usize,
    /// What is sent in turn; connections begin at different ones, and stay with it where what they
    /// say to a peer is of the connection.
    pub(crate) requests: Vec<Vec<u8>>,
    /// When it ends.
    pub(crate) until: Until,
}

/// When publishers or consumers end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After so long.
    Time(Duration),
    /// After so many requests, or messages.
    Count(u64),
}

/// What was done.
pub(crate) struct Published {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    /// How long each answer took, in microseconds.
    pub(crate) waits: Histogram<u64>,
}

struct Publisher {
    /// When the requests without an answer were sent, oldest first.
    sent: VecDeque<Instant>,
    /// Which request is next.
    next: usize,
    /// What has come of the next answer.
    input: Vec<u8>,
}

impl Wire {
    /// What a connection says first.
    fn greeting(self, connection: usize) -> Vec<u8> {
        match self {
            Self::Frames => b"  V2".to_vec(),
            Self::Http => Vec::new(),
            Self::Peer(peer) => peer.greeting(connection),
        }
    }

    /// Whether what comes first is an answer, and how long it is; `None` while it is not whole.
    fn answer(self, bytes: &[u8]) -> Option<(bool, usize)> {
        match self {
            Self::Frames => frame(bytes),
            Self::Http => response(bytes),
            Self::Peer(peer) => peer.answer(bytes),
        }
    }
}

/// Publishes, each connection at least once, and waits for the last answer.
pub(crate) fn publish(broker: SocketAddr, what: &Publishing) -> Published {
    let mut crowd = Crowd::connect(broker, what.connections, b"");
    for number in 0..crowd.len() {
        crowd.send(number, &what.wire.greeting(number));
    }
    let mut publishers: Vec<Publisher> = (0..crowd.len())
        .map(|next| Publisher { sent: VecDeque::new(), next, input: Vec::new() })
        .collect();
    let mut waits = histogram();
    let begin = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    let is_over = |sent: u64| match what.until {
        Until::Time(time) => time <= begin.elapsed(),
        Until::Count(count) => count <= sent,
    };
    'all: for (number, publisher) in publishers.iter_mut().enumerate() {
        for _ in 0..what.window {
            if matches!(what.until, Until::Count(count) if count <= sent) {
                break 'all;
            }
            publisher.sent.push_back(Instant::now());
            crowd.send(number, publisher.take_next(what));
            sent += 1;
        }
    }
    while answered < sent {
        crowd.serve(None, |number, bytes, output| {
            let publisher = &mut publishers[number];
            publisher.input.extend_from_slice(bytes);
            let answers = publisher.answers(what.wire);
            let now = Instant::now();
            for _ in 0..answers {
                let at = publisher.sent.pop_front().expect("no more answers than requests");
                record(&mut waits, now - at);
                answered += 1;
                if !is_over(sent) {
                    output.extend_from_slice(publisher.take_next(what));
                    publisher.sent.push_back(now);
                    sent += 1;
                }
            }
        });
    }
    Published { requests: answered, time: begin.elapsed(), waits }
}

impl Publisher {
    fn take_next<'a>(&mut self, what: &'a Publishing) -> &'a [u8] {
        let request = &what.requests[self.next % what.requests.len()];
        if !matches!(what.wire, Wire::Peer(_)) {
            self.next += 1;
        }
        request
    }

    /// How many whole answers have come; all of them say yes.
    fn answers(&mut self, wire: Wire) -> usize {
        let (mut count, mut rest) = (0, self.input.as_slice());
        while let Some((is_answer, bytes)) = wire.answer(rest) {
            count += usize::from(is_answer);
            rest = &rest[bytes..];
        }
        let left = rest.len();
        self.input.drain(..self.input.len() - left);
        count
    }
}

/// Whether the first frame is an answer, and how long it is; `None` while it is not whole.
fn frame(bytes: &[u8]) -> Option<(bool, usize)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).expect("a frame is small");
    let frame = rest.get(..size)?;
    let is_answer = match &frame[4..] {
        b"OK" => true,
        // It may stay without an answer for longer than anything is measured.
        b"_heartbeat_" => false,
        refused => panic!("refused: {}", String::from_utf8_lossy(refused)),
    };
    Some((is_answer, 4 + size))
}

/// The same for an HTTP response whose body is `OK`.
fn response(bytes: &[u8]) -> Option<(bool, usize)> {
    const END: &[u8] = b"\r\n\r\nOK";
    let length = bytes.windows(END.len()).position(|window| window == END)? + END.len();
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&bytes[..length]));
    Some((true, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_is_waited_for() {
        let ok = b"\0\0\0\x06\0\0\0\0OK";
        assert_eq!(frame(ok), Some((true, 10)));
        assert_eq!(frame(&ok[..9]), None);
        assert_eq!(frame(b"\0\0\0\x0f\0\0\0\0_heartbeat_"), Some((false, 19)));
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKHTTP";
        assert_eq!(response(whole), Some((true, 40)));
        assert_eq!(response(&whole[..39]), None);
    }
}
