//! What an `OK` costs under each promise: publishers that publish one message at a time.
//!
//! Each publisher sends its next message when it has the answer to the last, so the rate is bound
//! by the answers: with one publisher it shows what one waits for, with many what they share. The
//! brokers take turns within one run, each over a new folder. The topic has no channel, which
//! favours nsqd: it writes a message once for each.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::contestant::Contestant;
use crate::figures::{Plan, median};
use crate::latency::{GREATEST_US, connect};

/// How many publish at once.
const PUBLISHERS: [usize; 3] = [1, 16, 64];

const BODY_BYTES: usize = 200;

/// Who is compared: whether it is ours, and its flags.
const WAYS: [(&str, bool, &[&str]); 3] = [
    ("nsqd --mem-queue-size=0 --sync-every=1", false, &["--mem-queue-size=0", "--sync-every=1"]),
    ("ours, written", true, &["--acknowledge=written"]),
    ("ours, synced", true, &["--acknowledge=synced"]),
];

/// Publishes a second, and how long an answer takes in microseconds.
#[derive(Clone, Copy, Debug)]
struct Answers {
    rate: f64,
    half: f64,
    most: f64,
}

/// Runs everything and returns the table, as Markdown.
pub(crate) fn measure(plan: &Plan) -> String {
    let real = plan.tools.join("nsqd");
    let mut found = WAYS.map(|_| PUBLISHERS.map(|_| Vec::new()));
    for number in 0..plan.rounds {
        for step in 0..WAYS.len() {
            // Whoever goes later finds a warmer machine: they take turns at that too.
            let who = (step + number) % WAYS.len();
            let (_, is_ours, flags) = WAYS[who];
            let program = if is_ours { &plan.ours } else { &real };
            let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
            if is_ours {
                flags.extend_from_slice(&plan.ours_flags);
            }
            for (publishers, found) in PUBLISHERS.iter().zip(&mut found[who]) {
                found.push(one(program, &flags, &plan.data, *publishers, plan.time));
            }
        }
    }
    let mut text = format!(
        "200-byte messages, one at a time, {} s each, median of {} rounds.\n\n\
         | broker | publishers | publishes/s | of nsqd's | OK p50 us | OK p99 us |\n\
         |---|---|---|---|---|---|\n",
        plan.time.as_secs(),
        plan.rounds
    );
    let rate = |answers: &[Answers]| median(answers.iter().map(|answers| answers.rate));
    for ((name, _, _), found_here) in WAYS.iter().zip(&found) {
        for ((publishers, answers), of_nsqd) in PUBLISHERS.iter().zip(found_here).zip(&found[0]) {
            let half = median(answers.iter().map(|answers| answers.half));
            let most = median(answers.iter().map(|answers| answers.most));
            let (rate, times) = (rate(answers), rate(answers) / rate(of_nsqd));
            writeln!(
                text,
                "| {name} | {publishers} | {rate:.0} | {times:.2} | {half:.0} | {most:.0} |"
            )
            .expect("a string takes text");
        }
    }
    text
}

fn one(
    program: &Path,
    flags: &[String],
    data: &Path,
    publishers: usize,
    time: Duration,
) -> Answers {
    let broker = Contestant::start(program, flags, data);
    // The topic's folder is made before it counts.
    publish_for(broker.tcp, 1, Duration::ZERO);
    let waits = publish_for(broker.tcp, publishers, time);
    Answers {
        rate: waits.len() as f64 / time.as_secs_f64(),
        half: waits.value_at_quantile(0.5) as f64,
        most: waits.value_at_quantile(0.99) as f64,
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, GREATEST_US, 3).expect("the bounds are in order")
}

/// Publishes for a time over so many connections, each at least once, and says how long the answers
/// took. One thread serves all connections: with one thread each, what is measured on a small
/// machine is how fast it wakes threads.
fn publish_for(broker: SocketAddr, publishers: usize, time: Duration) -> Histogram<u64> {
    let mut command = b"PUB acknowledge\n".to_vec();
    command.extend(u32::try_from(BODY_BYTES).expect("it is small").to_be_bytes());
    command.resize(command.len() + BODY_BYTES, b'.');
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
    let mut all: Vec<_> = (0..publishers).map(|_| Publisher::connect(broker)).collect();
    for (number, publisher) in (0..).zip(&all) {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&ready, &publisher.stream, data, epoll::EventFlags::IN)
            .expect("it is added once");
    }
    let mut waits = empty();
    let begin = Instant::now();
    for publisher in &mut all {
        publisher.publish(&command);
    }
    let mut waiting = publishers;
    let mut events = Vec::with_capacity(publishers);
    while 0 < waiting {
        let limit = rustix::time::Timespec { tv_sec: 30, tv_nsec: 0 };
        epoll::wait(&ready, spare_capacity(&mut events), Some(&limit)).expect("it can be waited");
        assert!(!events.is_empty(), "the broker answers nobody for {} s", limit.tv_sec);
        let is_over = time <= begin.elapsed();
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64()).expect("it was one");
            let publisher = &mut all[number];
            if publisher.read_ok() {
                let taken = publisher.sent.elapsed().as_micros();
                let taken = u64::try_from(taken).expect("an hour fits");
                waits.record(taken.max(1)).expect("it is within the bounds");
                if is_over {
                    waiting -= 1;
                } else {
                    publisher.publish(&command);
                }
            }
        }
    }
    waits
}

/// One connection that publishes a message when it has the answer to the last.
struct Publisher {
    stream: TcpStream,
    sent: Instant,
    /// What has come of the answer.
    answer: Vec<u8>,
}

impl Publisher {
    fn connect(broker: SocketAddr) -> Self {
        Self { stream: connect(broker), sent: Instant::now(), answer: Vec::new() }
    }

    fn publish(&mut self, command: &[u8]) {
        self.sent = Instant::now();
        self.stream.write_all(command).expect("the broker reads");
    }

    /// Reads what is there, once; whether that was the end of an `OK`.
    fn read_ok(&mut self) -> bool {
        let mut bytes = [0; 256];
        let count = self.stream.read(&mut bytes).expect("something is there");
        assert!(0 < count, "the broker closed the connection");
        self.answer.extend_from_slice(&bytes[..count]);
        while let Some((size, rest)) = self.answer.split_first_chunk::<4>() {
            let size = usize::try_from(u32::from_be_bytes(*size)).expect("a frame is small");
            let Some(frame) = rest.get(..size) else { break };
            let is_ok = match &frame[4..] {
                b"OK" => true,
                // It may stay without an answer for longer than anything is measured.
                b"_heartbeat_" => false,
                refused => panic!("refused: {}", String::from_utf8_lossy(refused)),
            };
            self.answer.drain(..4 + size);
            if is_ok {
                return true;
            }
        }
        false
    }
}
