//! Who is compared.

use std::env;
use std::path::PathBuf;

use crate::peers::Peer;

/// Whose broker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    Nsqd,
    Ours,
    Peer(Peer),
    /// `bare_loop.rs`.
    BareLoop,
}

/// A broker with its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    make: Make,
    flags: &'static [&'static str],
    /// It takes part on machines that have so many.
    pub(crate) cores: usize,
}

const fn nsqd(name: &'static str, flags: &'static [&'static str]) -> Contender {
    Contender { name, make: Make::Nsqd, flags, cores: 1 }
}

const fn ours(name: &'static str, flags: &'static [&'static str]) -> Contender {
    Contender { name, make: Make::Ours, flags, cores: 1 }
}

const fn peer(name: &'static str, peer: Peer, flags: &'static [&'static str]) -> Contender {
    Contender { name, make: Make::Peer(peer), flags, cores: 1 }
}

/// Where there are so many cores.
const fn on(cores: usize, who: Contender) -> Contender {
    Contender { cores, ..who }
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

/// All of them, and the floor under ours.
pub(crate) const ALL_AND_FLOOR: &[Contender] = &[ALL[0], ALL[1], ALL[2], ALL[3], BARE_LOOP];

const BARE_LOOP: Contender = Contender {
    name: "a bare loop, which keeps in memory only",
    make: Make::BareLoop,
    flags: &[],
    cores: 1,
};

/// What `OK` means to each: nsqd that writes and syncs each message, ours by policy.
pub(crate) const DURABLE: &[Contender] = &[
    nsqd("nsqd --mem-queue-size=0 --sync-every=1", &["--mem-queue-size=0", "--sync-every=1"]),
    ours("ours, synced", &["--acknowledge=synced"]),
    ours("ours, written", &["--acknowledge=written"]),
];

/// Ours on one core, on two that send each other what is not theirs, and on as many as there are.
pub(crate) const SHARDS: &[Contender] = &[
    ours("ours, one shard", &["--shards=1"]),
    ours("ours, two shards", &["--shards=2"]),
    on(4, ours("ours, four shards", &["--shards=4"])),
    on(8, ours("ours, eight shards", &["--shards=8"])),
    on(16, ours("ours, sixteen shards", &["--shards=16"])),
];

/// Each as it comes, with files: all but nsqd have written a message when they say so, and sync later.
pub(crate) const PEERS: &[Contender] = &[
    nsqd("nsqd", &[]),
    ours("ours", &[]),
    peer("NATS JetStream", Peer::Nats, &[]),
    peer("Redis, everysec", Peer::Redis, &["--appendfsync", "everysec"]),
];

/// Each having synced a message when it says that it has it.
pub(crate) const PEERS_SYNCED: &[Contender] = &[
    nsqd("nsqd --mem-queue-size=0 --sync-every=1", &["--mem-queue-size=0", "--sync-every=1"]),
    ours("ours, synced", &["--acknowledge=synced"]),
    peer("NATS JetStream, sync always", Peer::Nats, &["sync_interval: always"]),
    peer("Redis, always", Peer::Redis, &["--appendfsync", "always"]),
];

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The folder of the real nsqd and NSQ's generators.
    pub(crate) tools: PathBuf,
    /// Our broker.
    pub(crate) ours: PathBuf,
    /// The floor under it.
    pub(crate) bare_loop: PathBuf,
    /// More flags for our broker.
    pub(crate) ours_flags: Vec<String>,
    /// The folder where what is not NSQ's is looked for before `PATH`.
    pub(crate) peers: PathBuf,
}

impl Programs {
    /// A program that may not be installed.
    pub(crate) fn installed(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = [self.peers.clone()].into_iter().chain(env::split_paths(&path));
        folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
    }
}

impl Contender {
    /// The program, and its flags.
    pub(crate) fn program(&self, programs: &Programs) -> (PathBuf, Vec<String>) {
        let mut flags: Vec<String> = self.flags.iter().map(ToString::to_string).collect();
        match self.make {
            Make::Nsqd => (programs.tools.join("nsqd"), flags),
            Make::Ours => {
                flags.extend_from_slice(&programs.ours_flags);
                (programs.ours.clone(), flags)
            }
            Make::BareLoop => (programs.bare_loop.clone(), flags),
            Make::Peer(peer) => {
                let name = peer.program();
                (programs.installed(name).unwrap_or_else(|| name.into()), flags)
            }
        }
    }

    /// Which other broker it is, if it is not NSQ's or ours.
    pub(crate) fn peer(&self) -> Option<Peer> {
        match self.make {
            Make::Peer(peer) => Some(peer),
            Make::Nsqd | Make::Ours | Make::BareLoop => None,
        }
    }
}
