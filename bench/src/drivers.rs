//! NSQ's own load generators, `bench_writer` and `bench_reader`, as published.
//!
//! Knows their flags and their last line. They open one connection for each processor.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a generator has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Messages published or finished.
    pub(crate) messages: u64,
    pub(crate) time: Duration,
}

/// Publishes messages of 200 bytes in batches for a time.
pub(crate) fn write(
    tools: &Path,
    broker: SocketAddr,
    topic: &str,
    batch: u32,
    time: Duration,
) -> Work {
    run(tools, "bench_writer", broker, topic, time, &format!("--batch-size={batch}"))
}

/// Receives and finishes messages of channel `ch` for a time.
pub(crate) fn read(
    tools: &Path,
    broker: SocketAddr,
    topic: &str,
    ready: u32,
    time: Duration,
) -> Work {
    run(tools, "bench_reader", broker, topic, time, &format!("--rdy={ready}"))
}

fn run(
    tools: &Path,
    name: &str,
    broker: SocketAddr,
    topic: &str,
    time: Duration,
    flag: &str,
) -> Work {
    let output = Command::new(tools.join(name))
        .arg(format!("--nsqd-tcp-address={broker}"))
        .arg(format!("--topic={topic}"))
        .arg(format!("--runfor={}s", time.as_secs()))
        .args(["--size=200", flag])
        .output()
        .unwrap_or_else(|error| panic!("cannot start {name}: {error}; `make real` first"));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {log}");
    work(&log).unwrap_or_else(|| panic!("{name} said no result: {log}"))
}

/// Reads `… duration: 4.002s - 76.294mb/s - 400000.000ops/s - 2.500us/op`.
fn work(log: &str) -> Option<Work> {
    let line = log.lines().rev().find_map(|line| line.split_once("duration: "))?.1;
    let mut parts = line.split(" - ");
    let seconds: f64 = parts.next()?.strip_suffix('s')?.parse().ok()?;
    let rate: f64 = parts.nth(1)?.strip_suffix("ops/s")?.parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    let messages = (rate * seconds).round() as u64;
    Some(Work { messages, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_generator_is_read() {
        let log =
            "[bench_writer] 2026/11/22 duration: 2.5s - 1.0mb/s - 400.000ops/s - 2.500us/op\n";
        let time = Duration::from_millis(2_500);
        assert_eq!(work(log), Some(Work { messages: 1000, time }));
        assert_eq!(work("panic: connection refused"), None);
    }
}
