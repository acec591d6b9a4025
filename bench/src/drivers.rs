//! Load generators of others, as published: NSQ's `bench_writer` and `bench_reader`, which open one
//! connection for each processor, and wrk for HTTP.
//!
//! Knows their flags and what they say at their end.

use std::fs;
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

/// The program that [`post`] starts; it may not be installed.
pub(crate) const WRK: &str = "wrk";

/// Posts messages of 200 bytes to `/pub` for a time, from one thread. `folder` is where wrk's script
/// is left.
pub(crate) fn post(
    wrk: &Path,
    broker: SocketAddr,
    topic: &str,
    connections: usize,
    time: Duration,
    folder: &Path,
) -> Work {
    let script = folder.join("post.lua");
    fs::write(&script, "wrk.method = 'POST'\nwrk.body = string.rep('.', 200)\n")
        .expect("the folder can be written");
    let output = Command::new(wrk)
        .arg("--threads=1")
        .arg(format!("--connections={connections}"))
        .arg(format!("--duration={}s", time.as_secs()))
        .arg(format!("--script={}", script.display()))
        .arg(format!("http://{broker}/pub?topic={topic}"))
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", wrk.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    requests(&said)
        .unwrap_or_else(|| panic!("wrk said no result, or that something failed: {said}"))
}

/// Reads `  528467 requests in 4.00s, 51.91MB read`; lines of its own say what failed.
fn requests(said: &str) -> Option<Work> {
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return None;
    }
    let (count, rest) = said.lines().find_map(|line| line.split_once(" requests in "))?;
    let seconds: f64 = rest.split_once("s,")?.0.parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    Some(Work { messages: count.trim().parse().ok()?, time })
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

    #[test]
    fn wrk_counts_what_was_answered_and_tells_of_failures() {
        let said = "Running 2s test @ http://127.0.0.1:4151/pub?topic=t\n  \
            1 threads and 16 connections\n  \
            Latency   140.10us   60.00us   3.00ms   90.00%\n  \
            1000 requests in 2.50s, 38.40MB read\n\
            Requests/sec:    400.00\nTransfer/sec:     15.36MB\n";
        let time = Duration::from_millis(2_500);
        assert_eq!(requests(said), Some(Work { messages: 1000, time }));
        for failure in [
            "  Non-2xx or 3xx responses: 1000\n",
            "  Socket errors: connect 16, read 0, write 0, timeout 0\n",
        ] {
            assert_eq!(requests(&format!("{said}{failure}")), None, "{failure}");
        }
        assert_eq!(requests("unable to connect to 127.0.0.1:4151 Connection refused\n"), None);
    }
}
