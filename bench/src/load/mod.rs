//! The generator: what clients of each kind do, cheaply enough not to be what is measured.
//!
//! One thread serves all connections of a kind, reads what has come in large pieces, and answers it
//! in one. What it could do at most shows [`null`], a server that does nothing.

pub(crate) mod consumers;
pub(crate) mod crowd;
pub(crate) mod null;
pub(crate) mod publishers;
pub(crate) mod steady;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longer than anything that is waited for, so that nothing measured is cut to fit.
const GREATEST_US: u64 = 600_000_000;

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, GREATEST_US, 3).expect("the bounds are in order")
}

/// Counts a wait.
pub(crate) fn record(histogram: &mut Histogram<u64>, wait: Duration) {
    let microseconds = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(microseconds.max(1));
}

/// A connection over which NSQ's protocol is spoken, and whose silence does not last for ever.
pub(crate) fn connect(broker: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(broker).expect("the broker accepts");
    stream.set_nodelay(true).expect("a socket option can be set");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit can be set");
    stream.write_all(b"  V2").expect("the broker reads");
    stream
}

/// As many descriptors as this process may have; the brokers do the same for themselves.
pub(crate) fn allow_many_connections() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("a process may go up to its own limit");
}

/// A PUB of a body.
pub(crate) fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    command(format!("PUB {topic}\n"), body)
}

/// A DPUB of a body.
pub(crate) fn publish_deferred(topic: &str, milliseconds: u64, body: &[u8]) -> Vec<u8> {
    command(format!("DPUB {topic} {milliseconds}\n"), body)
}

/// An MPUB of so many times the same body.
pub(crate) fn publish_many(topic: &str, count: u32, body: &[u8]) -> Vec<u8> {
    let mut bodies = count.to_be_bytes().to_vec();
    for _ in 0..count {
        bodies.extend(size(body));
        bodies.extend_from_slice(body);
    }
    command(format!("MPUB {topic}\n"), &bodies)
}

/// A `POST /pub` of a body, over a connection that stays.
pub(crate) fn post(topic: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /pub?topic={topic} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn command(line: String, body: &[u8]) -> Vec<u8> {
    let mut bytes = line.into_bytes();
    bytes.extend(size(body));
    bytes.extend_from_slice(body);
    bytes
}

fn size(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len()).expect("a body is small").to_be_bytes()
}
