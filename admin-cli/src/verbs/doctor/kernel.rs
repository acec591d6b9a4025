//! The kernel: its version, and whether this process may have an `io_uring`.
//!
//! Knows: what nsqd needs of the kernel, and which switches take `io_uring` away.

use std::fs::read_to_string;
use std::io;

use super::finding::Finding;

/// The first kernel with all that nsqd asks of `io_uring`: major and minor number.
const OLDEST: (u32, u32) = (5, 8);

/// What the kernel says about itself.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// Such as `6.1.0-18-amd64`.
    release: String,
    ring: Attempt,
    /// The sysctl `kernel.io_uring_disabled`; older kernels have none.
    disabled: Option<u8>,
    /// Whether a seccomp filter holds for this process.
    is_filtered: bool,
}

/// What came of making a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attempt {
    Made,
    NotPermitted,
    /// The kernel has no such system call.
    Missing,
    /// There is no memory that may be locked for it.
    NoMemory,
    Failed(String),
}

impl From<io::Error> for Attempt {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            io::ErrorKind::Unsupported => Self::Missing,
            io::ErrorKind::OutOfMemory => Self::NoMemory,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Asks the kernel, and makes the smallest ring to see whether that is allowed.
pub(super) fn probe() -> Kernel {
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let ring = match io_uring::IoUring::new(1) {
        Ok(_) => Attempt::Made,
        Err(error) => error.into(),
    };
    let disabled = read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    Kernel {
        release: release.trim().to_owned(),
        ring,
        disabled: disabled.and_then(|text| text.trim().parse().ok()),
        is_filtered: seccomp_mode(&status).is_some_and(|mode| mode != 0),
    }
}

/// The mode in `/proc/PID/status`: 0 for none, 2 for a filter.
fn seccomp_mode(status: &str) -> Option<u8> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().parse().ok()
}

pub(super) fn judge(kernel: &Kernel) -> Vec<Finding> {
    vec![judge_version(&kernel.release), judge_ring(kernel)]
}

fn judge_version(release: &str) -> Finding {
    const CHECK: &str = "kernel";
    let (major, minor) = OLDEST;
    let wanted = format!("nsqd needs Linux {major}.{minor} or newer, with io_uring");
    match version(release) {
        Some(version) if OLDEST <= version => Finding::fine(CHECK, format!("Linux {release}")),
        Some(_) => Finding::wrong(CHECK, format!("Linux {release}"), wanted),
        None => Finding::warning(CHECK, format!("{release:?} is no version of Linux"), wanted),
    }
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn judge_ring(kernel: &Kernel) -> Finding {
    const CHECK: &str = "io_uring";
    const SWITCH_ON: &str = "switch it on with `sysctl -w kernel.io_uring_disabled=0`, and in \
                             /etc/sysctl.d for good";
    match (&kernel.ring, kernel.disabled) {
        (Attempt::Made, Some(1)) => Finding::warning(
            CHECK,
            "permitted to this user, not to all (kernel.io_uring_disabled is 1)",
            "run nsqd as a user with CAP_SYS_ADMIN or of the group kernel.io_uring_group, or set \
             kernel.io_uring_disabled to 0",
        ),
        (Attempt::Made, _) => Finding::fine(CHECK, "permitted"),
        (Attempt::NotPermitted, Some(2)) => {
            Finding::wrong(CHECK, "switched off (kernel.io_uring_disabled is 2)", SWITCH_ON)
        }
        (Attempt::NotPermitted, Some(1)) => Finding::wrong(
            CHECK,
            "not permitted to this user (kernel.io_uring_disabled is 1)",
            format!("run nsqd as a user of the group kernel.io_uring_group, or {SWITCH_ON}"),
        ),
        (Attempt::NotPermitted, _) if kernel.is_filtered => Finding::wrong(
            CHECK,
            "forbidden by a seccomp filter, as containers have one",
            "give the container a profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register (`--security-opt seccomp=PROFILE`)",
        ),
        (Attempt::NotPermitted, _) => Finding::wrong(
            CHECK,
            "not permitted",
            "look whether a security module (SELinux, AppArmor) forbids io_uring to this user",
        ),
        (Attempt::Missing, _) => Finding::wrong(
            CHECK,
            "this kernel has none",
            "use a kernel that was built with CONFIG_IO_URING; some sandboxes have no io_uring at all",
        ),
        (Attempt::NoMemory, _) => Finding::wrong(
            CHECK,
            "there is no memory that may be locked for a ring",
            "raise the limit of locked memory (RLIMIT_MEMLOCK), see there",
        ),
        (Attempt::Failed(reason), _) => Finding::wrong(
            CHECK,
            format!("a ring cannot be made: {reason}"),
            "look into the kernel's log (`dmesg`)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::finding::Verdict;

    #[test]
    fn kernels_from_5_8_on_are_fine() {
        for (release, verdict) in [
            ("5.8.0", Verdict::Fine),
            ("6.18.44-generic", Verdict::Fine),
            ("10.0", Verdict::Fine),
            ("5.7.19", Verdict::Wrong),
            ("4.19.0-27-amd64", Verdict::Wrong),
            ("unknown", Verdict::Warning),
            ("", Verdict::Warning),
        ] {
            assert_eq!(judge_version(release).verdict, verdict, "{release}");
        }
    }

    fn ring(ring: Attempt, disabled: Option<u8>, is_filtered: bool) -> Finding {
        judge_ring(&Kernel { release: "6.1.0".into(), ring, disabled, is_filtered })
    }

    #[test]
    fn whoever_takes_io_uring_away_is_named() {
        use Attempt::{Failed, Made, Missing, NoMemory, NotPermitted};
        for (attempt, disabled, is_filtered, verdict, words) in [
            (Made, None, false, Verdict::Fine, "permitted"),
            (Made, Some(0), true, Verdict::Fine, "permitted"),
            (Made, Some(1), false, Verdict::Warning, "kernel.io_uring_group"),
            (NotPermitted, Some(2), true, Verdict::Wrong, "sysctl -w kernel.io_uring_disabled=0"),
            (NotPermitted, Some(1), false, Verdict::Wrong, "kernel.io_uring_group"),
            (NotPermitted, Some(0), true, Verdict::Wrong, "seccomp"),
            (NotPermitted, None, false, Verdict::Wrong, "SELinux"),
            (Missing, None, false, Verdict::Wrong, "CONFIG_IO_URING"),
            (NoMemory, Some(0), false, Verdict::Wrong, "RLIMIT_MEMLOCK"),
            (Failed("EIO".into()), Some(0), false, Verdict::Wrong, "EIO"),
        ] {
            let finding = ring(attempt, disabled, is_filtered);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            let text = format!("{} {}", finding.found, finding.advice.unwrap_or_default());
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn errors_of_the_kernel_are_told_apart() {
        for (number, attempt) in
            [(1, Attempt::NotPermitted), (38, Attempt::Missing), (12, Attempt::NoMemory)]
        {
            assert_eq!(Attempt::from(io::Error::from_raw_os_error(number)), attempt);
        }
        assert!(matches!(Attempt::from(io::Error::from_raw_os_error(5)), Attempt::Failed(_)));
    }

    #[test]
    fn a_filter_is_seen_in_the_status_of_the_process() {
        assert_eq!(seccomp_mode("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode("Seccomp:\t0\n"), Some(0));
        assert_eq!(seccomp_mode("Name:\tx\n"), None);
    }
}
