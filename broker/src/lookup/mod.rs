//! Tells every nsqlookupd which topics and channels are here.
//!
//! Runs on the first core, which keeps the list of them. One task for each nsqlookupd, so that one
//! that is slow or gone holds up none of the others.
//!
//! | Where do I look for | |
//! |---|---|
//! | what an nsqlookupd has to be told next | [`registration`] |
//! | the conversation with one, and what follows when it breaks | [`peer`] |

mod peer;
mod registration;

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
    /// How it introduced itself; `None` while there is no connection.
    identity: Option<LookupdIdentity>,
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

    /// Where those that are connected answer HTTP: host, or address, and port. There, and only
    /// there, is known which channels a topic has on other brokers.
    pub fn http_addresses(&self) -> impl Iterator<Item = (&str, u16)> {
        self.by_key
            .values()
            .filter_map(|peer| peer.identity.as_ref())
            .filter(|identity| !identity.broadcast_address.is_empty())
            .map(|identity| (identity.broadcast_address.as_str(), identity.http_port))
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
    shard.state.borrow_mut().lookup.remove_others(addresses);
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

/// The words of a command as they stand in log lines.
fn words(command: &Command) -> String {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}
