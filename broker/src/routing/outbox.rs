//! Requests gathered for other cores in one turn.
//!
//! One batch a peer and turn: waking a core costs microseconds, whatever it is woken for.

use super::placement::ShardId;
use super::request::Request;
use std::task::Waker;

/// The outboxes of one core, one for each core (its own stays empty).
#[derive(Debug)]
pub struct Outboxes {
    peers: Vec<Outbox>,
}

/// What is on its way to one core.
#[derive(Debug, Default)]
struct Outbox {
    requests: Vec<Request>,
    bytes: usize,
    /// The task that carries batches to this peer.
    courier: Option<Waker>,
    /// Readers that wait until it has room again.
    waiting: Vec<Waker>,
}

impl Outboxes {
    /// Outboxes towards `count` cores.
    pub fn towards(count: usize) -> Self {
        Self { peers: (0..count).map(|_| Outbox::default()).collect() }
    }

    /// Adds a request.
    pub fn push(&mut self, to: ShardId, request: Request) {
        let outbox = &mut self.peers[usize::from(to.0)];
        outbox.bytes += match &request {
            Request::Publish(publish) => publish.bytes(),
            _ => size_of::<Request>(),
        };
        outbox.requests.push(request);
        // The courier runs when those that are ready now have had their turn, so it finds all
        // they have added.
        if let Some(courier) = outbox.courier.take() {
            courier.wake();
        }
    }

    /// How many bytes wait for `to`.
    pub fn bytes(&self, to: ShardId) -> usize {
        self.peers[usize::from(to.0)].bytes
    }

    /// Takes the batch for `to`, and how many bytes it has; without one, keeps `courier` to be woken
    /// when there is one.
    pub fn take(&mut self, to: ShardId, courier: &Waker) -> Option<(Vec<Request>, usize)> {
        let outbox = &mut self.peers[usize::from(to.0)];
        if outbox.requests.is_empty() {
            outbox.courier = Some(courier.clone());
            return None;
        }
        outbox.waiting.drain(..).for_each(Waker::wake);
        Some((std::mem::take(&mut outbox.requests), std::mem::take(&mut outbox.bytes)))
    }

    /// Wakes `reader` when the batch for `to` has left.
    pub fn wait(&mut self, to: ShardId, reader: Waker) {
        self.peers[usize::from(to.0)].waiting.push(reader);
    }
}
