//! What all connections share: the registrations and who waits for a change of them, the clock,
//! counters, and how this process introduces itself.
//!
//! Everything runs on one thread, so sharing is an `Rc` and changing is a borrow that ends before
//! the next `await`.

use std::cell::{Cell, RefCell};

use protocol::discovery::LookupdIdentity;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::registry::{ProducerId, Registry};
use crate::waiting::Waiting;

/// The state of the process.
#[derive(Debug)]
pub(crate) struct Server {
    /// Who produces what.
    pub(crate) registry: RefCell<Registry>,
    /// Who waits for a change of what is known of a topic.
    pub(crate) waiting: Waiting,
    /// What has happened so far.
    pub(crate) metrics: RefCell<Metrics>,
    /// What time it is.
    pub(crate) clock: Clock,
    /// The answer to IDENTIFY.
    pub(crate) identity: LookupdIdentity,
    next_producer: Cell<u64>,
}

impl Server {
    pub(crate) fn new(registry: Registry, clock: Clock, identity: LookupdIdentity) -> Self {
        Self {
            registry: RefCell::new(registry),
            waiting: Waiting::default(),
            metrics: RefCell::default(),
            clock,
            identity,
            next_producer: Cell::new(0),
        }
    }

    /// An id that no connection had before.
    pub(crate) fn next_producer_id(&self) -> ProducerId {
        let id = self.next_producer.get();
        self.next_producer.set(id + 1);
        ProducerId(id)
    }
}
