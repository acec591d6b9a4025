//! What an `OK` costs under each promise: publishers that publish one message at a time.
//!
//! Each publisher sends its next message when it has the answer to the last, so the rate is bound
//! by the answers: with one publisher it shows what one waits for, with many what they share. The
//! brokers take turns within one run, each over a new folder. The topic has no channel, which
//! favours nsqd: it writes a message once for each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

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
    // The topic's folder is made, and all connections are open, before it counts.
    publish_for(broker.tcp, Duration::ZERO);
    let publishing: Vec<_> = (0..publishers)
        .map(|_| {
            let address = broker.tcp;
            thread::spawn(move || publish_for(address, time))
        })
        .collect();
    let mut waits = empty();
    for publisher in publishing {
        let part = publisher.join().expect("a publisher does not panic");
        waits.add(part).expect("all have the same bounds");
    }
    Answers {
        rate: waits.len() as f64 / time.as_secs_f64(),
        half: waits.value_at_quantile(0.5) as f64,
        most: waits.value_at_quantile(0.99) as f64,
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, GREATEST_US, 3).expect("the bounds are in order")
}

/// Publishes for a time, at least once, and says how long the answers took.
fn publish_for(broker: SocketAddr, time: Duration) -> Histogram<u64> {
    let mut stream = connect(broker);
    let mut command = b"PUB acknowledge\n".to_vec();
    command.extend(u32::try_from(BODY_BYTES).expect("it is small").to_be_bytes());
    command.resize(command.len() + BODY_BYTES, b'.');
    let mut waits = empty();
    let begin = Instant::now();
    loop {
        let sent = Instant::now();
        stream.write_all(&command).expect("the broker reads");
        wait_for_ok(&mut stream);
        let taken = u64::try_from(sent.elapsed().as_micros()).expect("an hour fits");
        waits.record(taken.max(1)).expect("it is within the bounds");
        if time <= begin.elapsed() {
            return waits;
        }
    }
}

fn wait_for_ok(stream: &mut impl std::io::Read) {
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("a frame comes");
        let size = u32::from_be_bytes(head[..4].try_into().expect("four bytes"));
        let mut data = vec![0; usize::try_from(size - 4).expect("a frame is small")];
        stream.read_exact(&mut data).expect("a frame is whole");
        match data.as_slice() {
            b"OK" => return,
            // It may stay without an answer for longer than anything is measured.
            b"_heartbeat_" => {}
            refused => panic!("refused: {}", String::from_utf8_lossy(refused)),
        }
    }
}
