//! The ports that nsqd listens on: free, or who has them.
//!
//! Knows: how the kernel lists listening sockets, and whose they are. How one speaks to who listens
//! is [`super::peers`].

#![expect(clippy::disallowed_methods, reason = "an ordinary process may look into folders")]

use std::fs::{read_dir, read_link, read_to_string};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::finding::Finding;
use super::peers;
use crate::address::Address;

/// For which of its doors nsqd wants a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Tcp,
    Http,
}

impl Door {
    fn check(self) -> &'static str {
        match self {
            Self::Tcp => "TCP port",
            Self::Http => "HTTP port",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Tcp => "--tcp-address",
            Self::Http => "--http-address",
        }
    }
}

/// What is known of a port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    door: Door,
    address: Address,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Somebody listens.
    Taken {
        /// The version of the nsqd that answers; `None` when something else does, or nothing.
        nsqd: Option<String>,
        /// Whose it is, as far as this user may see.
        process: Option<String>,
    },
    /// Below 1024, and this user may not.
    NotPermitted,
    /// The host is not this machine.
    NotHere,
    Failed(String),
}

/// Tries to listen, for a moment, and asks who is there when that fails.
pub(super) async fn probe(door: Door, address: &Address) -> Port {
    let state = match peers::resolve(address).await {
        Err(reason) => State::Failed(reason),
        Ok(resolved) => match TcpListener::bind(resolved) {
            Ok(_) => State::Free,
            Err(error) => match error.kind() {
                io::ErrorKind::AddrInUse => State::Taken {
                    nsqd: nsqd_at(door, reachable(resolved)).await,
                    process: listener(resolved.port()),
                },
                io::ErrorKind::PermissionDenied => State::NotPermitted,
                io::ErrorKind::AddrNotAvailable => State::NotHere,
                _ => State::Failed(error.to_string()),
            },
        },
    };
    Port { door, address: address.clone(), state }
}

/// Where a client on this machine reaches who listens at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

async fn nsqd_at(door: Door, address: SocketAddr) -> Option<String> {
    match door {
        Door::Tcp => peers::nsqd_version(address).await.ok(),
        Door::Http => {
            let answer = peers::info(&address.to_string()).await.ok()?;
            // nsqlookupd answers the same question, without ports.
            answer.has_ports.then_some(answer.version)
        }
    }
}

/// The process that listens on a port of this machine, as `nsqd (process 7)`.
fn listener(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|path| {
        let sockets = read_to_string(path).ok()?;
        listening_inode(&sockets, port)
    })?;
    let target = format!("socket:[{inode}]");
    let processes = read_dir("/proc").ok()?.filter_map(Result::ok);
    for process in processes {
        let number = process.file_name().to_string_lossy().into_owned();
        // Other users' processes are not to be seen, and that is no mistake.
        let Ok(descriptors) = read_dir(process.path().join("fd")) else { continue };
        let has_it = descriptors
            .filter_map(Result::ok)
            .any(|descriptor| read_link(descriptor.path()).is_ok_and(|to| to == *target));
        if has_it {
            let name = read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {number})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on a port, from the kernel's list of sockets.
fn listening_inode(sockets: &str, port: u16) -> Option<u64> {
    const LISTENS: &str = "0A";
    sockets.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, listed) = words.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(listed, 16) == Ok(port) && words.get(3) == Some(&LISTENS);
        if is_it { words.get(9)?.parse().ok() } else { None }
    })
}

pub(super) fn judge(port: &Port) -> Finding {
    let Port { door, address, state } = port;
    let (check, flag) = (door.check(), door.flag());
    match state {
        State::Free => Finding::fine(check, format!("{address} is free")),
        State::Taken { nsqd: Some(version), process } => {
            let by = process.as_ref().map(|process| format!(": {process}")).unwrap_or_default();
            Finding::fine(check, format!("nsqd {version} serves at {address}{by}"))
        }
        State::Taken { nsqd: None, process } => {
            let (by, advice) = match process {
                Some(process) => (process.as_str(), "end that process, or give nsqd another port"),
                None => (
                    "a process of another user",
                    "look who it is with `ss -ltnp` as root, and end it, or give nsqd another port",
                ),
            };
            Finding::wrong(
                check,
                format!("{address} is taken by {by}, which is no nsqd that answers"),
                format!("{advice} ({flag})"),
            )
        }
        State::NotPermitted => Finding::wrong(
            check,
            format!("{address} may not be listened on by this user"),
            format!("ports below 1024 need CAP_NET_BIND_SERVICE: give nsqd a higher one ({flag})"),
        ),
        State::NotHere => Finding::wrong(
            check,
            format!("{address} is no address of this machine"),
            format!("0.0.0.0 listens on all that this machine has ({flag})"),
        ),
        State::Failed(reason) => Finding::wrong(
            check,
            format!("{address} cannot be listened on: {reason}"),
            format!("name a host of this machine and a port ({flag})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::finding::Verdict;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let sockets = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1036 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0 0
   1: 00000000:1036 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 0
   2: 00000000:1037 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 0
";
        assert_eq!(listening_inode(sockets, 4150), Some(222));
        assert_eq!(listening_inode(sockets, 4151), Some(333));
        assert_eq!(listening_inode(sockets, 40000), None);
    }

    #[test]
    fn whoever_listens_everywhere_is_reached_here() {
        for (listening, reached) in [
            ("0.0.0.0:4150", "127.0.0.1:4150"),
            ("[::]:4150", "[::1]:4150"),
            ("10.0.0.7:4150", "10.0.0.7:4150"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn a_port_is_fine_when_it_is_free_or_nsqd_has_it() {
        let taken = |nsqd: Option<&str>, process: Option<&str>| State::Taken {
            nsqd: nsqd.map(str::to_owned),
            process: process.map(str::to_owned),
        };
        for (state, verdict, found, advice) in [
            (State::Free, Verdict::Fine, "0.0.0.0:4150 is free", ""),
            (
                taken(Some("1.3.0"), Some("nsqd (process 7)")),
                Verdict::Fine,
                "nsqd 1.3.0 serves at 0.0.0.0:4150: nsqd (process 7)",
                "",
            ),
            (taken(Some("1.3.0"), None), Verdict::Fine, "nsqd 1.3.0 serves at 0.0.0.0:4150", ""),
            (taken(None, Some("nc (process 8)")), Verdict::Wrong, "by nc (process 8)", "end that"),
            (taken(None, None), Verdict::Wrong, "of another user", "ss -ltnp"),
            (State::NotPermitted, Verdict::Wrong, "by this user", "CAP_NET_BIND_SERVICE"),
            (State::NotHere, Verdict::Wrong, "no address of this machine", "--tcp-address"),
            (State::Failed("odd".into()), Verdict::Wrong, "odd", "--tcp-address"),
        ] {
            let address = "0.0.0.0:4150".parse().unwrap();
            let finding = judge(&Port { door: Door::Tcp, address, state });
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(found), "{finding:?}");
            assert!(finding.advice.unwrap_or_default().contains(advice));
        }
    }
}
