//! What must be so before a core can start: each failure is one sentence that says what to do.

use crate::descriptor;
use crate::limits::{FILES_PER_TOPIC, OPEN_TOPICS_MAX};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What one shard's ring locks; glommio demands that the limit is no lower, whoever starts it.
const LOCKED_BYTES_PER_SHARD: u64 = 512 << 10;

/// Takes the data path for this process; the lock is held as long as the result lives.
///
/// Rule (NSQ behaviour): an exclusive `flock` on the folder itself.
///
/// # Errors
/// A sentence in NSQ's words.
#[expect(clippy::disallowed_methods, reason = "before any core serves")]
pub fn lock_data_path(path: &Path) -> Result<OwnedFd, String> {
    let shown = path.display();
    let folder = File::open(path)
        .map_err(|error| format!("failed to lock data-path: open {shown}: {}", describe(&error)))?;
    if !folder.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(format!("failed to lock data-path: {shown} is not a directory"));
    }
    flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let reason = match error {
            rustix::io::Errno::WOULDBLOCK => "resource temporarily unavailable".to_string(),
            error => describe(&error.into()),
        };
        format!(
            "failed to lock data-path: cannot flock directory {shown} - {reason} \
             (possibly in use by another instance of nsqd)"
        )
    })?;
    Ok(folder.into())
}

/// Go's words for the errors a start meets most.
fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_string(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        _ => error.to_string(),
    }
}

/// Raises the limit of open files as far as this process may, as Go's runtime does, and says what it
/// is now.
pub fn raise_open_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!("failed to raise the limit of open files - {error}");
            current
        }
    };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many topics of a core may have files open at once, of a limit for the whole process.
pub fn open_topics_per_shard(open_files: usize, shards: u16) -> usize {
    let share = open_files / 2 / FILES_PER_TOPIC / usize::from(shards.max(1));
    share.clamp(1, OPEN_TOPICS_MAX)
}

/// Whether the kernel does not hold this process to its limit of locked memory (`CAP_IPC_LOCK`).
fn may_lock_any() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Tries whether a shard can start: whether `io_uring` is there and allowed, and the limit of locked
/// memory is high enough.
///
/// # Errors
/// A sentence that names the obstacle and how to remove it.
pub fn check_ring(shards: u16) -> Result<(), String> {
    let needed = LOCKED_BYTES_PER_SHARD * if may_lock_any() { 1 } else { u64::from(shards) };
    let limit = getrlimit(Resource::Memlock).current;
    if let Some(limit) = limit.filter(|&limit| limit < needed) {
        return Err(format!(
            "the limit of locked memory (RLIMIT_MEMLOCK) is {} KiB and io_uring needs {} KiB for {shards} shard(s): \
             raise it with `ulimit -l {}`, with `LimitMEMLOCK=infinity` in a systemd unit, or \
             with `--ulimit memlock=-1` for a container",
            limit >> 10,
            needed >> 10,
            needed >> 10,
        ));
    }
    // Only the smallest ring: what a larger one locks is given back some milliseconds after it is
    // closed, and would be missing when the shards start.
    descriptor::try_ring().map_err(|error| {
        format!(
            "io_uring cannot be used - {error}: it may be switched off \
             (`sysctl kernel.io_uring_disabled` must be 0), forbidden by a container's seccomp \
             profile (allow io_uring_setup, io_uring_enter and io_uring_register), or missing \
             (the kernel must be 5.8 or newer)"
        )
    })
}
