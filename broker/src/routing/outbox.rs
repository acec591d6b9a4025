//! Requests gathered for other cores in one turn.
//!
//! One mail a peer and turn: waking a core costs microseconds, whatever it is woken for. What a mail is
//! made of goes from core to core and back: memory that one core takes from the heap and another gives
//! back has both wait for the allocator's lock.

use super::placement::ShardId;
use super::request::{Batch, Publish, Request};
use crate::limits::{MAIL_BYTES_KEPT, MAILS_KEPT};
use std::ops::Range;
use std::task::Waker;

/// The outboxes of one core, one for each core (its own stays empty).
#[derive(Debug)]
pub struct Outboxes {
    peers: Vec<Outbox>,
    /// Empty, and used before the heap is asked.
    kept: Vec<Mail>,
}

/// What is on its way to one core.
#[derive(Debug, Default)]
struct Outbox {
    mail: Mail,
    bytes: usize,
    /// The task that carries mails to this peer.
    courier: Option<Waker>,
    /// Readers that wait until it has room again.
    waiting: Vec<Waker>,
}

/// What travels from core to core at once.
#[derive(Debug, Default)]
pub struct Mail {
    /// In the order in which they came.
    pub requests: Vec<Request>,
    /// What those that publish have to say.
    pub bodies: Bodies,
}

/// The bodies of a mail, one behind the other.
#[derive(Debug, Default)]
pub struct Bodies(Vec<u8>);

/// Where in its mail the bodies of a publish are.
#[derive(Clone, Debug)]
pub struct Within(Range<usize>);

impl Outboxes {
    /// Outboxes towards `count` cores.
    pub fn towards(count: usize) -> Self {
        Self { peers: (0..count).map(|_| Outbox::default()).collect(), kept: Vec::new() }
    }

    /// Adds a request.
    pub fn push(&mut self, to: ShardId, request: Request) {
        self.add(to, request, 0);
    }

    /// Adds a publish.
    pub fn publish(&mut self, to: ShardId, publish: &Publish<&[u8]>) {
        let &Publish { waiter, topic, delay, batch: Batch { count, region } } = publish;
        let Bodies(bodies) = &mut self.peers[usize::from(to.0)].mail.bodies;
        let begin = bodies.len();
        bodies.extend_from_slice(region);
        let batch = Batch { count, region: Within(begin..bodies.len()) };
        self.add(to, Request::Publish(Publish { waiter, topic, delay, batch }), region.len());
    }

    fn add(&mut self, to: ShardId, request: Request, body_bytes: usize) {
        let outbox = &mut self.peers[usize::from(to.0)];
        outbox.bytes += size_of::<Request>() + body_bytes;
        outbox.mail.requests.push(request);
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

    /// Takes the mail for `to`, and how many bytes it has; without one, keeps `courier` to be woken
    /// when there is one.
    pub fn take(&mut self, to: ShardId, courier: &Waker) -> Option<(Mail, usize)> {
        let outbox = &mut self.peers[usize::from(to.0)];
        if outbox.mail.requests.is_empty() {
            outbox.courier = Some(courier.clone());
            return None;
        }
        outbox.waiting.drain(..).for_each(Waker::wake);
        let next = self.kept.pop().unwrap_or_default();
        Some((std::mem::replace(&mut outbox.mail, next), std::mem::take(&mut outbox.bytes)))
    }

    /// Keeps what a mail that came was made of, for one that leaves, unless there is enough of it.
    pub fn give_back(&mut self, mut mail: Mail) {
        if self.kept.len() < MAILS_KEPT && mail.capacity() <= MAIL_BYTES_KEPT {
            mail.requests.clear();
            mail.bodies.0.clear();
            self.kept.push(mail);
        }
    }

    /// Wakes `reader` when the mail for `to` has left.
    pub fn wait(&mut self, to: ShardId, reader: Waker) {
        self.peers[usize::from(to.0)].waiting.push(reader);
    }
}

impl Mail {
    fn capacity(&self) -> usize {
        self.requests.capacity() * size_of::<Request>() + self.bodies.0.capacity()
    }
}

impl Bodies {
    /// The publish with its bodies, which are in this mail.
    pub fn of(&self, publish: Publish<Within>) -> Publish<&[u8]> {
        let Publish { waiter, topic, delay, batch: Batch { count, region } } = publish;
        Publish { waiter, topic, delay, batch: Batch { count, region: &self.0[region.0] } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::request::Waiter;
    use protocol::name::TopicName;

    const HERE: ShardId = ShardId(0);
    const THERE: ShardId = ShardId(1);

    fn publish(outboxes: &mut Outboxes, body: &[u8]) {
        let topic = TopicName::parse(b"orders").unwrap();
        let waiter = Waiter::Task(slotmap::KeyData::from_ffi(1).into());
        let batch = Batch { count: None, region: body };
        outboxes.publish(THERE, &Publish { waiter, topic, delay: None, batch });
    }

    fn take(outboxes: &mut Outboxes) -> Option<(Mail, usize)> {
        outboxes.take(THERE, Waker::noop())
    }

    fn bodies(mail: &mut Mail) -> Vec<&[u8]> {
        let Mail { requests, bodies } = mail;
        let publishes = requests.drain(..).map(|request| match request {
            Request::Publish(publish) => bodies.of(publish).batch.region,
            other => panic!("{other:?}"),
        });
        publishes.collect()
    }

    #[test]
    fn each_publish_finds_its_bodies_in_its_mail() {
        let mut outboxes = Outboxes::towards(2);
        for body in [&b"one"[..], b"", b"three"] {
            publish(&mut outboxes, body);
        }
        let (mut first, bytes) = take(&mut outboxes).unwrap();
        assert_eq!(bytes, 3 * size_of::<Request>() + 8);
        assert!(take(&mut outboxes).is_none());
        publish(&mut outboxes, b"four");
        assert_eq!(bodies(&mut first), [&b"one"[..], b"", b"three"]);
        assert_eq!(bodies(&mut take(&mut outboxes).unwrap().0), [b"four"]);
    }

    #[test]
    fn what_came_is_used_for_what_leaves() {
        let mut outboxes = Outboxes::towards(2);
        publish(&mut outboxes, &[1; 1000]);
        let (mail, _) = take(&mut outboxes).unwrap();
        let memory = mail.bodies.0.as_ptr();
        outboxes.give_back(mail);
        publish(&mut outboxes, b"in the mail that was begun before");
        take(&mut outboxes).unwrap();
        publish(&mut outboxes, &[2; 1000]);
        let (mut mail, _) = take(&mut outboxes).unwrap();
        assert_eq!(mail.bodies.0.as_ptr(), memory);
        assert_eq!(bodies(&mut mail), [[2; 1000]]);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_say() {
        let mut outboxes = Outboxes::towards(2);
        for _ in 0..=MAILS_KEPT {
            outboxes.give_back(Mail::default());
        }
        assert_eq!(outboxes.kept.len(), MAILS_KEPT);
        outboxes.kept.clear();
        for bytes in [MAIL_BYTES_KEPT, MAIL_BYTES_KEPT + 1] {
            outboxes.give_back(Mail {
                requests: Vec::new(),
                bodies: Bodies(Vec::with_capacity(bytes)),
            });
        }
        assert_eq!(outboxes.kept.len(), 1);
        assert!(outboxes.take(HERE, Waker::noop()).is_none());
    }
}
