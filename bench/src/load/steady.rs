//! Messages at a steady rate, by the clock: a broker that is slow cannot slow the questions.
//!
//! The body carries the moment at which the message was *due*, so that a publisher held up by the
//! broker counts against it.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::consumers::{Answer, Consumed, Consuming, consume};
use super::publishers::Until;
use super::{connect, publish};

/// The shortest sleep between two looks at the clock. What is due meanwhile is sent together.
const NAP: Duration = Duration::from_micros(50);

/// Until the first message is due, so that all are connected.
const LEAD: Duration = Duration::from_millis(500);

/// Publishes and consumes for a time at `rate` messages a second, `ready` of them in flight at most.
/// Returns what was consumed, with ages.
pub(crate) fn run(
    broker: SocketAddr,
    (topic, channel): (&str, &str),
    body_bytes: usize,
    rate: u64,
    ready: u32,
    time: Duration,
) -> Consumed {
    let count = rate * time.as_secs();
    let begin = Instant::now() + LEAD;
    let stream = connect(broker);
    let command = publish(topic, &vec![b'.'; body_bytes.max(8)]);
    let at = command.len() - body_bytes.max(8);
    let publishing =
        thread::spawn(move || publish_by_the_clock(stream, command, at, begin, rate, count));
    let mut consumed = consume(
        broker,
        &Consuming {
            subscriptions: vec![(topic.to_owned(), channel.to_owned())],
            ready,
            identify: None,
            answer: Answer::Finish,
            until: Until::Count(count),
            sent_since: Some(begin),
        },
    );
    publishing.join().expect("the publisher does not panic");
    consumed.time = consumed.time.saturating_sub(LEAD);
    consumed
}

/// `command` is a PUB whose body begins at `body`.
fn publish_by_the_clock(
    mut stream: TcpStream,
    mut command: Vec<u8>,
    body: usize,
    begin: Instant,
    rate: u64,
    count: u64,
) {
    let mut answers = stream.try_clone().expect("a socket can be shared");
    let reading = thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    let due = |number: u64| Duration::from_nanos(number * 1_000_000_000 / rate);
    let (mut number, mut output) = (0, Vec::new());
    while number < count {
        let early = (begin + due(number)).saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early.max(NAP));
        }
        let now = Instant::now().saturating_duration_since(begin);
        output.clear();
        while number < count && due(number) <= now {
            let nanoseconds = u64::try_from(due(number).as_nanos()).expect("an hour fits");
            command[body..body + 8].copy_from_slice(&nanoseconds.to_be_bytes());
            output.extend_from_slice(&command);
            number += 1;
        }
        stream.write_all(&output).expect("the broker reads");
    }
    // The last answers may still be under way: what is half closed can be read to its end.
    stream.shutdown(Shutdown::Write).expect("an open stream can be half closed");
    let answered = reading.join().expect("the reader of answers does not panic").unwrap_or(0);
    // Each answer is `OK` in a frame of ten bytes; the half minute to a heartbeat is never reached.
    assert_eq!(answered, count * 10, "every publish is answered with OK");
}
