//! The comparison: both brokers in turn, the same load, the median of several rounds.
//!
//! They alternate within one run, because a machine that is busy or warm at another hour tells
//! more about the hour than about the broker. Processor time a message is the steadier figure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::contestant::Contestant;
use crate::drivers::{self, Work};
use crate::latency;

/// What to measure, and with what.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rounds of each broker.
    pub(crate) rounds: usize,
    /// Time of each measurement.
    pub(crate) time: Duration,
    /// Folder of the real nsqd and NSQ's generators.
    pub(crate) tools: PathBuf,
    /// Our broker.
    pub(crate) ours: PathBuf,
    /// Flags for our broker.
    pub(crate) ours_flags: Vec<String>,
    /// Folder for the brokers' data.
    pub(crate) data: PathBuf,
}

/// One round of one broker; every field is a column of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Round([f64; ROWS.len()]);

/// The rows of the table and the digits behind their points.
const ROWS: [(&str, usize); 13] = [
    ("MPUB of 200, messages/s", 0),
    ("MPUB of 200, broker's CPU us/message", 2),
    ("SUB with RDY 2500, messages/s", 0),
    ("SUB with RDY 2500, broker's CPU us/message", 2),
    ("PUB one by one, messages/s", 0),
    ("PUB one by one, broker's CPU us/message", 2),
    ("latency at 1,000 messages/s, RDY 100: p50 us", 0),
    ("latency: p99 us", 0),
    ("latency: p99.9 us", 0),
    ("latency: greatest us", 0),
    ("latency: broker's CPU us/message", 2),
    ("memory after all that, MiB", 0),
    ("memory when started, MiB", 0),
];

/// Runs everything and returns the tables, as Markdown.
pub(crate) fn measure(plan: &Plan) -> String {
    let real = plan.tools.join("nsqd");
    let mut rounds = [Vec::new(), Vec::new()];
    for number in 0..plan.rounds {
        let mut order = [(0, real.as_path(), &[][..]), (1, plan.ours.as_path(), &plan.ours_flags)];
        // Whoever goes second finds a warmer machine: they take turns at that too.
        if number % 2 == 1 {
            order.reverse();
        }
        for (who, program, flags) in order {
            rounds[who].push(round(plan, program, flags));
        }
    }
    let mut text = format!(
        "200-byte messages, {} s each, median of {} alternating rounds; nsqd 1.3.0 with default flags.\n\n\
         | figure | nsqd 1.3.0 | ours | ours / nsqd |\n|---|---|---|---|\n",
        plan.time.as_secs(),
        plan.rounds
    );
    for (row, (name, digits)) in ROWS.iter().enumerate() {
        let [real, ours] =
            rounds.each_ref().map(|rounds| median(rounds.iter().map(|round| round.0[row])));
        writeln!(text, "| {name} | {real:.digits$} | {ours:.digits$} | {:.2} |", ours / real)
            .expect("a string takes text");
    }
    text + &idle(plan)
}

fn round(plan: &Plan, program: &Path, flags: &[String]) -> Round {
    let broker = Contestant::start(program, flags, &plan.data);
    let fresh = mebibytes(broker.resident_bytes());

    broker.prepare("batches", "ch");
    let (written, written_cost) = cost(&broker, || {
        let work = drivers::write(&plan.tools, broker.tcp, "batches", 200, plan.time);
        broker.settle("batches");
        work
    });
    // As much again, so that the reader does not run dry where it is faster than the writer.
    drivers::write(&plan.tools, broker.tcp, "batches", 200, plan.time);
    broker.settle("batches");
    let (read, read_cost) =
        cost(&broker, || drivers::read(&plan.tools, broker.tcp, "batches", 2500, plan.time));
    // A reader that ran dry would have measured its waiting.
    assert!(0 < broker.channel_depth("batches"), "the backlog was too small for the reader");

    broker.prepare("singles", "ch");
    let (single, single_cost) = cost(&broker, || {
        let work = drivers::write(&plan.tools, broker.tcp, "singles", 1, plan.time);
        broker.settle("singles");
        work
    });
    let full = mebibytes(broker.resident_bytes());
    drop(broker);

    // On a broker of its own, or the backlog's timeouts would be measured too.
    let broker = Contestant::start(program, flags, &plan.data);
    broker.prepare("steady", "latency");
    let before = broker.processor_time();
    let latency = latency::measure(broker.tcp, "steady", plan.time);
    let spent = broker.processor_time() - before;
    let quantile = |quantile: f64| latency.value_at_quantile(quantile) as f64;
    Round([
        written.rate,
        written_cost,
        read.rate,
        read_cost,
        single.rate,
        single_cost,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        latency.max() as f64,
        spent.as_secs_f64() * 1e6 / latency.len() as f64,
        full,
        fresh,
    ])
}

/// Does some work, and returns it with the broker's processor time in microseconds a message.
fn cost(broker: &Contestant, work: impl FnOnce() -> Work) -> (Work, f64) {
    let before = broker.processor_time();
    let work = work();
    let spent = broker.processor_time() - before;
    (work, spent.as_secs_f64() * 1e6 / work.messages)
}

fn idle(plan: &Plan) -> String {
    let others = plan.ours_flags.iter().filter(|flag| !flag.contains("shards")).cloned();
    let flags: Vec<_> = others.chain(["--shards=2".to_owned()]).collect();
    let broker = Contestant::start(&plan.ours, &flags, &plan.data);
    thread::sleep(Duration::from_secs(1));
    let before = broker.processor_time();
    thread::sleep(plan.time);
    let spent = broker.processor_time() - before;
    format!(
        "\nours with two shards and no clients: {:.2} % of a core, {:.0} MiB\n",
        spent.as_secs_f64() / plan.time.as_secs_f64() * 100.0,
        mebibytes(broker.resident_bytes())
    )
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle of some values, or what is between the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_values() {
        for (values, expected) in
            [(&[3.0][..], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 100.0], 3.0)]
        {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }
}
