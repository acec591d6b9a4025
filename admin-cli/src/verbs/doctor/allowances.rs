//! What this process may use: memory that is locked, and open files.
//!
//! Knows: how much of both nsqd takes. The limits are those of the shell that asks; a service manager
//! may give nsqd others.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::finding::Finding;

/// What the ring of one shard locks, in bytes.
const LOCKED_BYTES_PER_SHARD: u64 = 512 << 10;
/// Below so many open files hardly any are left for clients once nsqd has its own.
const FILES_MIN: u64 = 64;
/// From so many on, nobody notices the limit for long: half are for clients.
const FILES_ENOUGH: u64 = 8_192;

/// Limits of this process; `None` is no limit.
#[derive(Clone, Debug)]
pub(super) struct Allowances {
    /// In bytes, as it holds now: nsqd does not raise it.
    locked_memory: Option<u64>,
    /// Whether the kernel does not hold this process to it (`CAP_IPC_LOCK`).
    may_lock_any: bool,
    /// As far as nsqd may raise it, which it does.
    open_files: Option<u64>,
}

pub(super) fn probe() -> Allowances {
    Allowances {
        locked_memory: getrlimit(Resource::Memlock).current,
        may_lock_any: capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK)),
        open_files: getrlimit(Resource::Nofile).maximum,
    }
}

/// Judges for an nsqd of so many shards.
pub(super) fn judge(allowances: &Allowances, shards: u16) -> Vec<Finding> {
    vec![judge_locked_memory(allowances, shards), judge_open_files(allowances.open_files)]
}

fn judge_locked_memory(allowances: &Allowances, shards: u16) -> Finding {
    const CHECK: &str = "locked memory";
    let Some(limit) = allowances.locked_memory else { return Finding::fine(CHECK, "unlimited") };
    // A process that may lock any amount is still asked for the share of one ring.
    let rings = if allowances.may_lock_any { 1 } else { u64::from(shards) };
    let needed = LOCKED_BYTES_PER_SHARD * rings;
    let plural = if shards == 1 { "" } else { "s" };
    if limit < needed {
        let (limit, needed) = (limit >> 10, needed >> 10);
        return Finding::wrong(
            CHECK,
            format!("{limit} KiB, and io_uring needs {needed} KiB for {shards} shard{plural}"),
            format!(
                "raise it with `ulimit -l {needed}`, with `LimitMEMLOCK=infinity` in a systemd unit, \
                 or with `--ulimit memlock=-1` for a container; or let nsqd have fewer --shards"
            ),
        );
    }
    let found = format!("{} KiB, enough for {shards} shard{plural}", limit >> 10);
    Finding::fine(CHECK, found)
}

fn judge_open_files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    const RAISE: &str = "raise it with `LimitNOFILE=1048576` in a systemd unit, with `--ulimit \
                         nofile=1048576` for a container, or in /etc/security/limits.conf";
    match limit {
        None => Finding::fine(CHECK, "unlimited"),
        Some(limit) if limit < FILES_MIN => {
            let found = format!("{limit}: once nsqd has its own, clients find no room");
            Finding::wrong(CHECK, found, RAISE)
        }
        Some(limit) if limit < FILES_ENOUGH => {
            let found =
                format!("{limit}: clients and topics find no room beyond about {}", limit / 2);
            Finding::warning(CHECK, found, RAISE)
        }
        Some(limit) => Finding::fine(CHECK, limit.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::finding::Verdict;

    #[test]
    fn every_shard_needs_its_locked_memory_unless_the_process_may_lock_any() {
        const KIB: u64 = 1 << 10;
        for (locked_memory, may_lock_any, shards, verdict) in [
            (None, false, 64, Verdict::Fine),
            (Some(512 * KIB), false, 1, Verdict::Fine),
            (Some(512 * KIB - 1), false, 1, Verdict::Wrong),
            (Some(1024 * KIB), false, 2, Verdict::Fine),
            (Some(1024 * KIB), false, 3, Verdict::Wrong),
            (Some(512 * KIB), true, 64, Verdict::Fine),
            (Some(64 * KIB), true, 1, Verdict::Wrong),
        ] {
            let allowances = Allowances { locked_memory, may_lock_any, open_files: None };
            let finding = judge_locked_memory(&allowances, shards);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
        let allowances =
            Allowances { locked_memory: Some(64 * KIB), may_lock_any: false, open_files: None };
        let finding = judge_locked_memory(&allowances, 2);
        assert_eq!(finding.found, "64 KiB, and io_uring needs 1024 KiB for 2 shards");
        assert!(finding.advice.unwrap().starts_with("raise it with `ulimit -l 1024`"));
    }

    #[test]
    fn few_open_files_are_a_warning_and_hardly_any_are_wrong() {
        for (limit, verdict) in [
            (None, Verdict::Fine),
            (Some(1 << 20), Verdict::Fine),
            (Some(8_192), Verdict::Fine),
            (Some(8_191), Verdict::Warning),
            (Some(64), Verdict::Warning),
            (Some(63), Verdict::Wrong),
        ] {
            assert_eq!(judge_open_files(limit).verdict, verdict, "{limit:?}");
        }
    }
}
