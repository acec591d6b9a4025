//! The folder of nsqd's data: whether it can be used, and on which file system it lies.
//!
//! Knows: which kinds of file systems keep what they are given, and how the kernel lists mounts and
//! locks. How fast it is, is [`super::latency`].

#![expect(clippy::disallowed_methods, reason = "an ordinary process may wait for its disk")]

use std::fs::{self, OpenOptions, read_to_string};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::Finding;

/// With less than this free, a busy topic fills the disk within minutes.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// With less than this free, not even the segments of a few topics find room.
const FREE_BYTES_MIN: u64 = 16 << 20;

/// What is known of a folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    usable: Usable,
    mount: Option<Mount>,
    space: Option<Space>,
    /// The process that holds the folder as nsqd does, and its name.
    holder: Option<(u32, String)>,
}

/// Whether files can be made in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Usable {
    Yes,
    NotThere,
    NoFolder,
    NotPermitted,
    No(String),
}

impl From<io::Error> for Usable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotThere,
            io::ErrorKind::NotADirectory => Self::NoFolder,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::No(error.to_string()),
        }
    }
}

/// Where a file system is mounted, and of which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    point: PathBuf,
}

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
struct Space {
    /// For this user.
    free_bytes: u64,
    total_bytes: u64,
    /// How many more files it takes; `None` where it has no such bound.
    free_files: Option<u64>,
}

impl Folder {
    /// Whether a file can be made in it.
    pub(super) fn is_usable(&self) -> bool {
        self.usable == Usable::Yes
    }
}

/// The name of a file of ours in `folder`, which is nobody else's.
pub(super) fn file_in(folder: &Path) -> PathBuf {
    folder.join(format!(".admin-cli-doctor-{}", std::process::id()))
}

/// Looks at a folder. A file is made in it and removed again.
pub(super) fn probe(path: &Path) -> Folder {
    // Where it does not exist, the file system is that of the folder it would lie in.
    let there = path.ancestors().find_map(|folder| fs::canonicalize(or_here(folder)).ok());
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let locks = read_to_string("/proc/locks").unwrap_or_default();
    let holder = fs::metadata(path).ok().and_then(|metadata| {
        let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let process = holder_of(&locks, device, metadata.ino())?;
        let name = read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        Some((process, name.trim().to_owned()))
    });
    Folder {
        path: path.to_owned(),
        usable: try_file(path).map_or_else(Into::into, |()| Usable::Yes),
        mount: there.as_deref().and_then(|there| mount_of(&mounts, there)),
        space: there.as_deref().and_then(|there| {
            let space = rustix::fs::statvfs(there).ok()?;
            Some(Space {
                free_bytes: space.f_bavail * space.f_frsize,
                total_bytes: space.f_blocks * space.f_frsize,
                free_files: (space.f_files != 0).then_some(space.f_favail),
            })
        }),
        holder,
    }
}

/// The empty path, which is what stands above a name alone, means the folder we are in.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn try_file(folder: &Path) -> io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let path = file_in(folder);
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)
}

/// The mount that `path`, which is absolute, lies on: of those above it the lowest, and of several
/// at one place the last.
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut found: Option<Mount> = None;
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (place.split(' ').nth(4), kind.split(' ').next()) else {
            continue;
        };
        let point = PathBuf::from(unescaped(point));
        let depth = point.components().count();
        let is_lower = found.as_ref().is_none_or(|found| found.point.components().count() <= depth);
        if is_lower && path.starts_with(&point) {
            found = Some(Mount { kind: kind.to_owned(), point });
        }
    }
    found
}

/// A path as the kernel lists it: blanks and the like are `\` and three octal digits.
fn unescaped(text: &str) -> std::ffi::OsString {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsStr::from_bytes(&bytes).to_owned()
}

/// The process that has locked a file for itself, in the words of `/proc/locks`.
fn holder_of(locks: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_lock = words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE");
        let process = words.next()?;
        (is_lock && words.next() == Some(&file)).then(|| process.parse().ok())?
    })
}

pub(super) fn judge(folder: &Folder) -> Vec<Finding> {
    let mut findings = vec![judge_use(folder)];
    findings.extend(folder.mount.as_ref().map(judge_mount));
    findings.extend(folder.space.map(judge_space));
    findings
}

fn judge_use(folder: &Folder) -> Finding {
    const CHECK: &str = "data path";
    let shown = folder.path.display();
    match (&folder.usable, &folder.holder) {
        (Usable::Yes, None) => Finding::fine(CHECK, format!("{shown} can be written")),
        (Usable::Yes, Some((process, name))) if name == "nsqd" => {
            Finding::fine(CHECK, format!("{shown} is in use by nsqd (process {process})"))
        }
        (Usable::Yes, Some((process, name))) => Finding::wrong(
            CHECK,
            format!("{shown} is locked by process {process} ({name})"),
            "nsqd wants it for itself: end that process, or give nsqd another --data-path",
        ),
        (Usable::NotThere, _) => Finding::wrong(
            CHECK,
            format!("{shown} does not exist"),
            format!("make it, and give it to the user that nsqd runs as: `mkdir -p {shown}`"),
        ),
        (Usable::NoFolder, _) => {
            Finding::wrong(CHECK, format!("{shown} is no folder"), "name a folder as --data-path")
        }
        (Usable::NotPermitted, _) => Finding::wrong(
            CHECK,
            format!("{shown} cannot be written by this user"),
            format!("run this as nsqd's user, or give the folder to it: `chown nsqd {shown}`"),
        ),
        (Usable::No(reason), _) => Finding::wrong(
            CHECK,
            format!("{shown} cannot be written: {reason}"),
            "mount it for writing, or name another --data-path",
        ),
    }
}

fn judge_mount(mount: &Mount) -> Finding {
    const CHECK: &str = "file system";
    const NETWORK: [&str; 10] =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs"];
    let Mount { kind, point } = mount;
    let found = format!("{kind}, mounted at {}", point.display());
    match kind.as_str() {
        "tmpfs" | "ramfs" => Finding::warning(
            CHECK,
            format!("{found}: in memory"),
            "messages are gone when this machine restarts: put --data-path on a disk",
        ),
        "overlay" | "aufs" => Finding::warning(
            CHECK,
            format!("{found}: the layer of a container"),
            "messages are gone with the container, and writes are slow: mount a volume, and put \
             --data-path there",
        ),
        kind if NETWORK.contains(&kind) || kind == "fuse" || kind.starts_with("fuse.") => {
            Finding::warning(
                CHECK,
                format!("{found}: not a disk of this machine"),
                "what a sync is worth there is decided elsewhere, and a network that fails stops \
                 publishers: put --data-path on a local disk",
            )
        }
        _ => Finding::fine(CHECK, found),
    }
}

fn judge_space(space: Space) -> Finding {
    const CHECK: &str = "free space";
    const ROOM: &str = "make room, or bound what topics may take with --max-data-bytes: without space \
                        nsqd refuses publishers";
    let found = format!("{} of {}", bytes(space.free_bytes), bytes(space.total_bytes));
    if space.free_files == Some(0) {
        let found = format!("{found}, but no file more can be made (no inodes)");
        Finding::wrong(CHECK, found, "delete files, or make the file system anew with more inodes")
    } else if space.free_bytes < FREE_BYTES_MIN {
        Finding::wrong(CHECK, found, ROOM)
    } else if space.free_bytes < FREE_BYTES_LOW {
        Finding::warning(CHECK, found, ROOM)
    } else {
        Finding::fine(CHECK, found)
    }
}

/// A number of bytes with three digits or so: `900 MiB`, `1.5 GiB`.
fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "only the first digits are shown")]
    let mut scaled = count as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].iter().peekable();
    while let Some(unit) = units.next() {
        if scaled < 1000.0 || units.peek().is_none() {
            let decimals = usize::from(scaled < 10.0 && *unit != "B");
            return format!("{scaled:.decimals$} {unit}");
        }
        scaled /= 1024.0;
    }
    unreachable!("the last unit takes any number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::finding::Verdict;

    const MOUNTS: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /dev/shm rw shared:2 - tmpfs tmpfs rw
23 21 0:30 / /srv/with\\040blank rw - nfs4 server:/a rw
24 21 0:31 / /data rw - xfs /dev/sdb1 rw
25 24 0:32 / /data rw master:3 - overlay overlay rw,lowerdir=/a
26 24 0:33 / /data/nsq rw - btrfs /dev/sdc1 rw
a line that is none
";

    #[test]
    fn the_lowest_and_last_mount_is_the_one_that_counts() {
        for (path, kind, point) in [
            ("/", "ext4", "/"),
            ("/dev/shm/x", "tmpfs", "/dev/shm"),
            ("/dev/shmx", "ext4", "/"),
            ("/srv/with blank/nsq", "nfs4", "/srv/with blank"),
            ("/data/other", "overlay", "/data"),
            ("/data/nsq/deep", "btrfs", "/data/nsq"),
        ] {
            let expected = Mount { kind: kind.into(), point: point.into() };
            assert_eq!(mount_of(MOUNTS, Path::new(path)), Some(expected), "{path}");
        }
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn file_systems_that_do_not_keep_what_they_are_given_are_warned_of() {
        for (kind, verdict) in [
            ("ext4", Verdict::Fine),
            ("xfs", Verdict::Fine),
            ("zfs", Verdict::Fine),
            ("tmpfs", Verdict::Warning),
            ("overlay", Verdict::Warning),
            ("nfs4", Verdict::Warning),
            ("fuse.sshfs", Verdict::Warning),
            ("fuseblk", Verdict::Fine),
        ] {
            let mount = Mount { kind: kind.into(), point: "/".into() };
            assert_eq!(judge_mount(&mount).verdict, verdict, "{kind}");
        }
    }

    #[test]
    fn the_holder_of_a_folder_is_found_among_the_locks() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF
2: FLOCK  ADVISORY  READ 12 08:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 13 08:11:77 0 EOF
4: FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF
4: -> FLOCK  ADVISORY  WRITE 15 08:01:78 0 EOF
";
        assert_eq!(holder_of(locks, (8, 1), 77), Some(14));
        assert_eq!(holder_of(locks, (8, 17), 77), Some(13));
        assert_eq!(holder_of(locks, (8, 1), 78), None);
    }

    fn folder(usable: Usable, holder: Option<(u32, &str)>) -> Finding {
        let holder = holder.map(|(process, name)| (process, name.to_owned()));
        judge_use(&Folder { path: "/d".into(), usable, mount: None, space: None, holder })
    }

    #[test]
    fn a_folder_that_nsqd_cannot_use_is_wrong_and_one_that_it_uses_is_fine() {
        for (finding, verdict, words) in [
            (folder(Usable::Yes, None), Verdict::Fine, "/d can be written"),
            (folder(Usable::Yes, Some((7, "nsqd"))), Verdict::Fine, "by nsqd (process 7)"),
            (folder(Usable::Yes, Some((7, "sh"))), Verdict::Wrong, "process 7 (sh)"),
            (folder(Usable::NotThere, None), Verdict::Wrong, "does not exist"),
            (folder(Usable::NoFolder, None), Verdict::Wrong, "is no folder"),
            (folder(Usable::NotPermitted, None), Verdict::Wrong, "cannot be written by this user"),
            (folder(Usable::No("EROFS".into()), None), Verdict::Wrong, "EROFS"),
        ] {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
            assert_eq!(finding.advice.is_none(), verdict == Verdict::Fine, "{finding:?}");
        }
    }

    #[test]
    fn space_runs_out_by_bytes_or_by_files() {
        const MIB: u64 = 1 << 20;
        for (free_bytes, free_files, verdict) in [
            (1 << 40, None, Verdict::Fine),
            (1 << 30, Some(1), Verdict::Fine),
            ((1 << 30) - 1, Some(1), Verdict::Warning),
            (16 * MIB - 1, None, Verdict::Wrong),
            (1 << 40, Some(0), Verdict::Wrong),
        ] {
            let space = Space { free_bytes, total_bytes: 1 << 41, free_files };
            assert_eq!(judge_space(space).verdict, verdict, "{space:?}");
        }
    }

    #[test]
    fn bytes_are_told_in_few_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1 << 20, "1.0 MiB"),
            (1_500 << 20, "1.5 GiB"),
            (900 << 20, "900 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
