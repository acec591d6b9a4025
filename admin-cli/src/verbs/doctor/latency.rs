//! How long a write and a sync take in a folder, measured as nsqd does them: appends to one file.
//!
//! Knows: what the figures mean for `--acknowledge=synced`. The measurement is bounded in rounds and
//! in time, and its file is removed.

#![expect(clippy::disallowed_methods, reason = "an ordinary process may wait for its disk")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use startup::duration;

use super::finding::Finding;
use super::folder::file_in;

/// What one write appends: nsqd's log grows by whole blocks.
const WRITE_BYTES: usize = 4 << 10;
/// After so many rounds the figures are as good as they get.
const ROUNDS_MAX: usize = 300;
/// A sync that takes longer than this is felt by every publisher that waits for one.
const SYNC_SLOW: Duration = Duration::from_millis(30);
/// Disks of no kind stop for so long in good health.
const WRITE_STALLED: Duration = Duration::from_millis(100);

/// How long each write and each sync took.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    writes: Vec<Duration>,
    syncs: Vec<Duration>,
}

/// Removes a file, whatever happens.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Nobody can do anything about a file that cannot be removed.
        drop(fs::remove_file(&self.0));
    }
}

/// Writes and syncs until there were enough rounds, or `limit` is over.
///
/// # Errors
/// What the file system says.
pub(super) fn measure(folder: &Path, limit: Duration) -> io::Result<Latencies> {
    let path = file_in(folder);
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    let _removed = Removed(path);
    let mut latencies = Latencies::default();
    let start = Instant::now();
    while latencies.writes.len() < ROUNDS_MAX && start.elapsed() < limit {
        latencies.add(&file)?;
    }
    Ok(latencies)
}

impl Latencies {
    fn add(&mut self, mut file: &File) -> io::Result<()> {
        let before = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        let written = Instant::now();
        file.sync_data()?;
        self.writes.push(written - before);
        self.syncs.push(written.elapsed());
        Ok(())
    }
}

/// The value that so many percent of `durations` do not exceed; zero when there are none.
fn percentile(durations: &[Duration], percent: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A duration with three digits or so.
fn rounded(exact: Duration) -> String {
    let nanoseconds = u64::try_from(exact.as_nanos()).unwrap_or(u64::MAX);
    let mut unit = 1;
    while 1000 * unit <= nanoseconds {
        unit *= 10;
    }
    duration::format(Duration::from_nanos(nanoseconds / unit * unit))
}

pub(super) fn judge(measured: Result<&Latencies, &io::Error>) -> Vec<Finding> {
    match measured {
        Ok(latencies) => vec![judge_writes(&latencies.writes), judge_syncs(&latencies.syncs)],
        Err(error) => vec![Finding::wrong(
            "write, sync",
            format!("a file cannot be written: {error}"),
            "nsqd could not keep a message there: look at the disk, and into the kernel's log \
             (`dmesg`)",
        )],
    }
}

fn judge_writes(writes: &[Duration]) -> Finding {
    const CHECK: &str = "write";
    let slow = percentile(writes, 99);
    let found = figures(writes, "4 KiB");
    if WRITE_STALLED <= slow {
        let advice = "writes wait for the disk, and with them all clients of a core: look what else \
                      writes to it (`iostat -x`)";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::fine(CHECK, found)
}

fn judge_syncs(syncs: &[Duration]) -> Finding {
    const CHECK: &str = "sync";
    let typical = percentile(syncs, 50);
    let found = format!(
        "{}; with --acknowledge=synced a publisher alone gets {} OKs a second",
        figures(syncs, "fdatasync"),
        per_second(typical),
    );
    if SYNC_SLOW <= percentile(syncs, 99) {
        let advice = "an OK waits that long with --acknowledge=synced: use a disk that keeps what it \
                      is given (NVMe, or a controller with a battery), publish in batches or from \
                      many connections, which share a sync, or stay with --acknowledge=written";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::fine(CHECK, found)
}

fn figures(durations: &[Duration], what: &str) -> String {
    let (half, slow) = (percentile(durations, 50), percentile(durations, 99));
    format!("{what} in {}, p99 {} ({} tried)", rounded(half), rounded(slow), durations.len())
}

/// How often something fits into a second, roughly.
fn per_second(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos().max(1);
    let exact = (1_000_000_000 / nanoseconds).max(1);
    let mut unit = 1;
    while 100 * unit <= exact {
        unit *= 10;
    }
    (exact / unit * unit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::finding::Verdict;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<_> = (1..=100).rev().map(micros).collect();
        for (percent, expected) in [(50, 50), (99, 99), (100, 100), (1, 1)] {
            assert_eq!(percentile(&hundred, percent), micros(expected));
        }
        assert_eq!(percentile(&[micros(7)], 50), micros(7));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_slow_sync_is_a_warning_that_says_what_helps() {
        let mut syncs = vec![micros(1_234); 98];
        syncs.extend([micros(29_999); 2]);
        let finding = judge_syncs(&syncs);
        assert_eq!(finding.verdict, Verdict::Fine);
        assert_eq!(
            finding.found,
            "fdatasync in 1.23ms, p99 29.9ms (100 tried); with --acknowledge=synced a publisher alone \
             gets 810 OKs a second"
        );
        syncs.extend([micros(30_000); 3]);
        let finding = judge_syncs(&syncs);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.advice.unwrap().contains("--acknowledge=written"));
    }

    #[test]
    fn a_write_that_stalls_is_a_warning() {
        assert_eq!(judge_writes(&[micros(5); 100]).verdict, Verdict::Fine);
        assert_eq!(judge_writes(&[micros(100_000); 3]).verdict, Verdict::Warning);
    }

    #[test]
    fn what_cannot_be_written_is_wrong() {
        let error = io::Error::from_raw_os_error(28);
        let findings = judge(Err(&error));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].verdict, Verdict::Wrong);
    }

    #[test]
    fn figures_have_few_digits() {
        for (exact, text) in [
            (Duration::from_nanos(456), "456ns"),
            (Duration::from_nanos(12_345), "12.3µs"),
            (Duration::from_nanos(1_999_999), "1.99ms"),
            (Duration::from_millis(1_234), "1.23s"),
        ] {
            assert_eq!(rounded(exact), text);
        }
        assert_eq!(per_second(Duration::from_micros(1_234)), "810");
        assert_eq!(per_second(Duration::from_secs(5)), "1");
        assert_eq!(per_second(Duration::from_micros(3)), "330000");
    }

    #[test]
    fn a_measurement_leaves_no_file_behind() {
        let folder = tempfile::TempDir::new().unwrap();
        let latencies = measure(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(!latencies.writes.is_empty() && latencies.writes.len() == latencies.syncs.len());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
