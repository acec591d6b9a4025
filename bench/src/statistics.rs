//! What `/stats` costs where there is much to tell: how long it takes, and how long messages take
//! meanwhile.
//!
//! Every topic has a channel and consumers who get nothing; beside them a publisher and a consumer
//! talk at a steady rate, first alone, then while somebody asks for all statistics again and again.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contestant::Contestant;
use crate::load::{connect, steady};
use crate::plan::Plan;
use crate::report::median;

const TOPICS: usize = 1_000;
const CONSUMERS_PER_TOPIC: usize = 10;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs everything and returns the table, as Markdown.
pub(crate) fn measure(plan: &Plan) -> String {
    let real = plan.programs.tools.join("nsqd");
    let mut text = format!(
        "{TOPICS} topics, {} consumers; /stats as JSON every {} ms; messages at 1,000/s.\n\n\
         | broker | /stats MB | /stats ms, median | most | delivery p99 us, alone | asked | \
         most us, alone | asked |\n\
         |---|---|---|---|---|---|---|---|\n",
        TOPICS * CONSUMERS_PER_TOPIC,
        PAUSE.as_millis()
    );
    for (name, program, flags) in [
        ("nsqd", &real, &[][..]),
        ("ours", &plan.programs.ours, plan.programs.ours_flags.as_slice()),
    ] {
        let found = one(program, flags, plan);
        let [alone, asked] = &found.delivery;
        writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} |",
            found.megabytes,
            median(found.milliseconds.iter().copied()),
            found.milliseconds.iter().copied().fold(0.0, f64::max),
            alone.value_at_quantile(0.99),
            asked.value_at_quantile(0.99),
            alone.max(),
            asked.max(),
        )
        .expect("a string takes text");
    }
    text
}

/// What was found of one broker.
struct Found {
    megabytes: f64,
    /// Of each answer.
    milliseconds: Vec<f64>,
    /// Alone, and while somebody asks.
    delivery: [Histogram<u64>; 2],
}

fn one(program: &Path, flags: &[String], plan: &Plan) -> Found {
    let broker = Arc::new(Contestant::start(program, flags, &plan.data));
    let _consumers = consumers(&broker);
    broker.prepare("latency", "latency");
    let alone = latency(broker.tcp, plan);
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = thread::spawn({
        let (broker, is_over) = (broker.clone(), is_over.clone());
        move || ask(&broker, &is_over)
    });
    let asked = latency(broker.tcp, plan);
    is_over.store(true, Ordering::Relaxed);
    let (megabytes, milliseconds) = asking.join().expect("asking does not panic");
    Found { megabytes, milliseconds, delivery: [alone, asked] }
}

/// How old messages are at their consumer, in microseconds, at a modest rate.
fn latency(broker: SocketAddr, plan: &Plan) -> Histogram<u64> {
    steady::run(broker, ("latency", "latency"), 200, 1_000, 100, plan.time).ages
}

/// Asks until it is over; the size of an answer, and how long each took.
fn ask(broker: &Contestant, is_over: &AtomicBool) -> (f64, Vec<f64>) {
    let mut milliseconds = Vec::new();
    let mut bytes = 0;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        bytes = broker.ask("GET", "/stats?format=json").len();
        milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        thread::sleep(PAUSE);
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes with one digit")]
    let megabytes = bytes as f64 / 1e6;
    (megabytes, milliseconds)
}

/// Consumers of all topics, each subscribed.
fn consumers(broker: &Contestant) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(TOPICS * CONSUMERS_PER_TOPIC);
    for topic in 0..TOPICS {
        let mut some: Vec<_> = (0..CONSUMERS_PER_TOPIC).map(|_| connect(broker.tcp)).collect();
        for stream in &mut some {
            let command = format!("SUB topic-{topic:04} channel\n");
            stream.write_all(command.as_bytes()).expect("the broker reads");
        }
        for stream in &mut some {
            let mut answer = [0; 10];
            stream.read_exact(&mut answer).expect("the broker answers");
            assert!(answer.ends_with(b"OK"), "{answer:?}");
        }
        all.append(&mut some);
    }
    all
}
