//! Tells every nsqlookupd which topics and channels are here, and asks them which channels a new topic
//! has elsewhere.
//!
//! Telling runs on the first core, which keeps the list of them. One task for each nsqlookupd, so
//! that one that is slow or gone holds up none of the others. Asking runs where the topic is.
//!
//! | Where do I look for | |
//! |---|---|
//! | what an nsqlookupd has to be told next | [`registration`] |
//! | the conversation with one, and what follows when it breaks | [`peer`] |
//! | which channels a topic has elsewhere | [`channels`] |

mod channels;
mod peer;
mod registration;

pub use channels::channels_elsewhere;

use crate::routing::request::Request;
use crate::shard::Shard;
use crate::shard::signal::Signal;
use crate::topic::catalogue::{Catalogue, Change};
use protocol::discovery::{Command, LookupdIdentity};
use registration::Registration;
use slotmap::SlotMap;
use std::rc::Rc;

slotmap::new_key_type! {
    /// An nsqlookupd that is told.
    struct PeerKey;
}

/// The nsqlookupds that are told; none on other cores than the first.
#[derive(Debug, Default)]
pub struct Peers {
    by_key: SlotMap<PeerKey, Peer>,
}

#[derive(Debug)]
struct Peer {
    /// As it was given, `host:port`.
    address: String,
    /// What it has to be told.
    registration: Registration,
    /// How it introduced itself the last time.
    identity: Option<LookupdIdentity>,
    /// Whether there is a connection.
    is_connected: bool,
    /// Wakes its task.
    changed: Rc<Signal>,
}

impl Peers {
    /// Has all of them told of a change that `before` is about to undergo.
    pub fn changing(&mut self, before: &Catalogue, change: Change) {
        for peer in self.by_key.values_mut() {
            peer.registration.changing(before, change);
            peer.changed.wake();
        }
    }

    /// Their addresses, as they were given.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.by_key.values().map(|peer| peer.address.as_str())
    }

    /// Where they answer HTTP, `host:port`: those that are connected, and if none is, all that ever
    /// were. There, and only there, is known which channels a topic has on other brokers.
    pub fn http_addresses(&self) -> Vec<String> {
        let of = |is_wanted: &dyn Fn(&Peer) -> bool| -> Vec<String> {
            let peers = self.by_key.values().filter(|peer| is_wanted(peer));
            peers.filter_map(|peer| http_address(peer.identity.as_ref()?)).collect()
        };
        let connected = of(&|peer| peer.is_connected);
        if connected.is_empty() { of(&|_| true) } else { connected }
    }

    /// Removes all that are not at these addresses.
    fn remove_others(&mut self, addresses: &[String]) {
        self.by_key.retain(|_, peer| {
            let stays = addresses.contains(&peer.address);
            if !stays {
                tracing::info!("LOOKUP({}): removing peer", peer.address);
                // Its task finds itself without a place, and ends.
                peer.changed.wake();
            }
            stays
        });
    }

    /// Makes a place for the one at this address, unless it has one.
    fn add(&mut self, address: &str) -> Option<(PeerKey, Rc<Signal>)> {
        if self.addresses().any(|known| known == address) {
            return None;
        }
        let changed = Rc::new(Signal::default());
        let key = self.by_key.insert(Peer {
            address: address.to_owned(),
            registration: Registration::default(),
            identity: None,
            is_connected: false,
            changed: changed.clone(),
        });
        Some((key, changed))
    }
}

/// Starts telling the nsqlookupds that the broker was started with.
pub fn start(shard: &Rc<Shard>) {
    let addresses = shard.config.lookupd_addresses.clone();
    set_addresses(shard, &addresses);
}

/// Tells exactly these from now on: new ones are connected to, the others left.
pub fn set_addresses(shard: &Rc<Shard>, addresses: &[String]) {
    {
        let state = &mut *shard.state.borrow_mut();
        state.lookup.remove_others(addresses);
        let has_some = !addresses.is_empty();
        if std::mem::replace(&mut state.has_lookupds, has_some) != has_some {
            for to in state.placement.all().filter(|&to| to != shard.here) {
                state.outboxes.push(to, Request::HasLookupds(has_some));
            }
        }
    }
    for address in addresses {
        let added = shard.state.borrow_mut().lookup.add(address);
        if let Some((key, changed)) = added {
            tracing::info!("LOOKUP({address}): adding peer");
            // Runs at once, up to its first wait: the state must not be borrowed here.
            let task = peer::tell(shard.clone(), key, address.clone(), changed);
            glommio::spawn_local(task).detach();
        }
    }
}

/// Where an nsqlookupd answers HTTP; `None` when it does not say its host.
fn http_address(identity: &LookupdIdentity) -> Option<String> {
    let LookupdIdentity { broadcast_address: host, http_port, .. } = identity;
    match host.as_str() {
        "" => None,
        _ if host.contains(':') => Some(format!("[{host}]:{http_port}")),
        _ => Some(format!("{host}:{http_port}")),
    }
}

/// The words of a command as they stand in log lines.
fn words(command: &Command) -> String {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_connected_are_asked_and_if_none_is_all_that_ever_were() {
        let mut peers = Peers::default();
        let [first, second, third, _never] =
            ["a:4160", "b:4160", "c:4160", "d:4160"].map(|address| peers.add(address).unwrap().0);
        assert_eq!(peers.http_addresses(), [""; 0]);
        for (key, host) in [(first, "one"), (second, "::1"), (third, "")] {
            let peer = &mut peers.by_key[key];
            let broadcast_address = host.to_owned();
            let identity =
                LookupdIdentity { broadcast_address, http_port: 4161, ..Default::default() };
            (peer.identity, peer.is_connected) = (Some(identity), true);
        }
        assert_eq!(peers.http_addresses(), ["one:4161", "[::1]:4161"]);
        peers.by_key[first].is_connected = false;
        assert_eq!(peers.http_addresses(), ["[::1]:4161"]);
        peers.by_key[second].is_connected = false;
        assert_eq!(peers.http_addresses(), ["one:4161", "[::1]:4161"]);
        peers.remove_others(&["b:4160".to_owned()]);
        assert_eq!(peers.http_addresses(), ["[::1]:4161"]);
    }
}
