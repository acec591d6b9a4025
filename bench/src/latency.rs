//! How long a message takes from a publisher to a consumer at a steady, modest rate.
//!
//! Knows enough of the V2 protocol for one publisher and one consumer. The body carries the moment
//! at which the message was *due*, so that a publisher held up by the broker counts against it.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Messages in a second.
pub(crate) const RATE: u32 = 1000;

/// The consumer's window. Greater than what is ever in flight, so that the broker may buffer.
pub(crate) const READY: u32 = 100;

const BODY_BYTES: usize = 200;

/// Longer than the reader waits for a frame, so that nothing measured is cut to fit.
pub(crate) const GREATEST_US: u64 = 600_000_000;

/// Runs publisher and consumer for a time; the histogram is in microseconds.
pub(crate) fn measure(broker: SocketAddr, topic: &str, time: Duration) -> Histogram<u64> {
    let begin = Instant::now() + Duration::from_millis(500);
    let count = u32::try_from(time.as_secs()).expect("less than an hour") * RATE;
    let mut consumer = connect(broker);
    write!(consumer, "SUB {topic} latency\nRDY {READY}\n").expect("the broker reads");
    let publisher = connect(broker);
    let topic = topic.to_owned();
    let publishing = thread::spawn(move || publish(publisher, &topic, begin, count));
    let histogram = receive(consumer, begin, count);
    publishing.join().expect("the publisher does not panic");
    histogram
}

/// A connection that has sent the magic.
pub(crate) fn connect(broker: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(broker).expect("the broker accepts");
    stream.set_nodelay(true).expect("a socket option can be set");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit can be set");
    stream.write_all(b"  V2").expect("the broker reads");
    stream
}

fn publish(mut stream: TcpStream, topic: &str, begin: Instant, count: u32) {
    let mut answers = stream.try_clone().expect("a socket can be shared");
    let reading = thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    for number in 0..count {
        let due = Duration::from_secs(1) * number / RATE;
        thread::sleep((begin + due).saturating_duration_since(Instant::now()));
        let nanoseconds = u64::try_from(due.as_nanos()).expect("an hour fits");
        let mut command = format!("PUB {topic}\n").into_bytes();
        command.extend(u32::try_from(BODY_BYTES).expect("it is small").to_be_bytes());
        command.extend(nanoseconds.to_be_bytes());
        command.resize(command.len() + BODY_BYTES - 8, b'.');
        stream.write_all(&command).expect("the broker reads");
    }
    // The last answers may still be under way: what is half closed can be read to its end.
    stream.shutdown(Shutdown::Write).expect("an open stream can be half closed");
    let copied = reading.join().expect("the reader of answers does not panic");
    // Each answer is `OK` in a frame of ten bytes; the half hour until a heartbeat is never reached.
    let answered = copied.unwrap_or_default();
    assert_eq!(answered, u64::from(count) * 10, "every publish is answered with OK");
}

fn receive(stream: TcpStream, begin: Instant, count: u32) -> Histogram<u64> {
    let mut answers = stream.try_clone().expect("a socket can be shared");
    let mut frames = BufReader::new(stream);
    let mut histogram =
        Histogram::new_with_bounds(1, GREATEST_US, 3).expect("the bounds are in order");
    let mut received = 0;
    while received < count {
        let mut head = [0; 8];
        frames.read_exact(&mut head).expect("a frame comes");
        let size = u32::from_be_bytes(head[..4].try_into().expect("four bytes"));
        let mut data = vec![0; usize::try_from(size - 4).expect("a frame is small")];
        frames.read_exact(&mut data).expect("a frame is whole");
        match head[7] {
            0 => continue,
            1 => panic!("refused: {}", String::from_utf8_lossy(&data)),
            _ => {}
        }
        let now = Instant::now();
        let due = u64::from_be_bytes(data[26..34].try_into().expect("eight bytes"));
        let taken = now.saturating_duration_since(begin + Duration::from_nanos(due));
        let microseconds = u64::try_from(taken.as_micros()).expect("an hour fits");
        histogram.record(microseconds).expect("it is within the bounds");
        let finish = [b"FIN ", &data[10..26], b"\n"].concat();
        answers.write_all(&finish).expect("the broker reads");
        received += 1;
    }
    histogram
}
