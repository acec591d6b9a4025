//! Who is compared.

use std::path::PathBuf;

/// A broker with its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    is_ours: bool,
    flags: &'static [&'static str],
}

const fn nsqd(name: &'static str, flags: &'static [&'static str]) -> Contender {
    Contender { name, is_ours: false, flags }
}

const fn ours(name: &'static str, flags: &'static [&'static str]) -> Contender {
    Contender { name, is_ours: true, flags }
}

/// Ours as it comes, after nsqd as it comes.
pub(crate) const BOTH: &[Contender] = &[nsqd("nsqd", &[]), ours("ours", &[])];

/// nsqd in all its ways: as it comes (10,000 messages of a channel in memory, the others on disk),
/// all in memory, all on disk.
pub(crate) const ALL: &[Contender] = &[
    nsqd("nsqd", &[]),
    nsqd("nsqd, all in memory", &["--mem-queue-size=100000000"]),
    nsqd("nsqd, --mem-queue-size=0", &["--mem-queue-size=0"]),
    ours("ours", &[]),
];

/// What `OK` means to each: nsqd that writes and syncs each message, ours by policy.
pub(crate) const DURABLE: &[Contender] = &[
    nsqd("nsqd --mem-queue-size=0 --sync-every=1", &["--mem-queue-size=0", "--sync-every=1"]),
    ours("ours, synced", &["--acknowledge=synced"]),
    ours("ours, written", &["--acknowledge=written"]),
];

/// Ours on one core, and on two that send each other what is not theirs.
pub(crate) const SHARDS: &[Contender] =
    &[ours("ours, one shard", &["--shards=1"]), ours("ours, two shards", &["--shards=2"])];

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The folder of the real nsqd and NSQ's generators.
    pub(crate) tools: PathBuf,
    /// Our broker.
    pub(crate) ours: PathBuf,
    /// More flags for our broker.
    pub(crate) ours_flags: Vec<String>,
}

impl Contender {
    /// The program, and its flags.
    pub(crate) fn program(&self, programs: &Programs) -> (PathBuf, Vec<String>) {
        let mut flags: Vec<String> = self.flags.iter().map(ToString::to_string).collect();
        if self.is_ours {
            flags.extend_from_slice(&programs.ours_flags);
            (programs.ours.clone(), flags)
        } else {
            (programs.tools.join("nsqd"), flags)
        }
    }
}
