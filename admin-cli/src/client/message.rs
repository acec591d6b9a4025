//! A message that was delivered and is not answered yet, and the line back to its broker.
//!
//! Knows: what an answer is on the wire, and how many are still owed. Does not know: when commands
//! leave, which is the affair of [`super::consumer`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::message_id::MessageId;
use protocol::request;
use tokio::sync::Notify;

use super::consumer::Shared;
use super::log::Level;
use super::ready::{Answer, Key};

/// The line to one broker, as messages and the consumer see it.
pub(super) struct Link {
    pub(super) key: Key,
    pub(super) address: String,
    consumer: Rc<Shared>,
    /// Commands that are to be sent: at most an answer for each message in flight, and what touches
    /// them.
    outgoing: RefCell<Vec<u8>>,
    /// Tells the connection's task that there are commands, or that something changed below.
    pub(super) wake: Notify,
    /// Messages that came and were not answered.
    in_flight: Cell<usize>,
    /// Those of them that nobody has taken from the consumer yet.
    pub(super) untaken: Cell<usize>,
    /// Nothing more comes from the broker.
    pub(super) is_closing: Cell<bool>,
    /// Nothing can be sent any more.
    pub(super) is_broken: Cell<bool>,
}

impl Link {
    pub(super) fn new(key: Key, address: String, consumer: Rc<Shared>) -> Self {
        Self {
            key,
            address,
            consumer,
            outgoing: RefCell::default(),
            wake: Notify::new(),
            in_flight: Cell::default(),
            untaken: Cell::default(),
            is_closing: Cell::default(),
            is_broken: Cell::default(),
        }
    }

    /// Has a command sent.
    pub(super) fn send(&self, push: impl FnOnce(&mut Vec<u8>)) {
        if !self.is_broken.get() {
            push(&mut self.outgoing.borrow_mut());
            self.wake.notify_one();
        }
    }

    /// Takes the commands that are to be sent; `spare` is used for those to come.
    pub(super) fn take_outgoing(&self, spare: Vec<u8>) -> Vec<u8> {
        self.outgoing.replace(spare)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// So many messages came.
    pub(super) fn came(&self, count: usize) {
        self.in_flight.set(self.in_flight.get() + count);
        self.untaken.set(self.untaken.get() + count);
    }

    /// So many messages were answered, or never will be.
    fn settled(&self, count: usize) {
        let left = self.in_flight.get().saturating_sub(count);
        self.in_flight.set(left);
        if left == 0 && self.is_closing.get() {
            self.wake.notify_one();
        }
    }

    /// So many messages were taken from the consumer.
    pub(super) fn taken(&self, count: usize) {
        self.untaken.set(self.untaken.get().saturating_sub(count));
        // It may have stopped reading.
        self.wake.notify_one();
    }
}

/// A message. Whoever drops it without an answer leaves it in flight: its broker delivers it again
/// when its timeout is over.
pub(crate) struct Message {
    pub(crate) id: MessageId,
    /// When it was published, in nanoseconds since 1970.
    pub(crate) timestamp: i64,
    /// How many times it was delivered, this time included.
    pub(crate) attempts: u16,
    /// A slice of what was read: it keeps the read's memory, 64 KiB or more, as long as it is kept.
    pub(crate) body: Bytes,
    link: Rc<Link>,
    is_answered: bool,
}

impl Message {
    pub(super) fn new(
        (id, timestamp, attempts): (MessageId, i64, u16),
        body: Bytes,
        link: Rc<Link>,
    ) -> Self {
        Self { id, timestamp, attempts, body, link, is_answered: false }
    }

    /// The address of the broker that it came from, as it was connected to.
    pub(crate) fn address(&self) -> &str {
        &self.link.address
    }

    /// FIN: the message needs no other delivery.
    pub(crate) fn finish(mut self) {
        self.answer(Answer::Finished, request::finish);
    }

    /// REQ: the message is to come again after this delay, or go-nsq's default: 90 seconds for each
    /// delivery, or what the options say. The consumer slows down.
    pub(crate) fn requeue(mut self, delay: Option<Duration>) {
        let delay = self.delay(delay);
        self.answer(Answer::Failed, |out, id| request::requeue(out, id, delay));
    }

    /// REQ without slowing down.
    pub(crate) fn requeue_without_backoff(mut self, delay: Option<Duration>) {
        let delay = self.delay(delay);
        self.answer(Answer::PutOff, |out, id| request::requeue(out, id, delay));
    }

    /// What go-nsq does when a handler returns an error: a line that says why, and
    /// [`Self::requeue`] with the default delay.
    pub(crate) fn fail(self, reason: &str) {
        let text = format!("Handler returned error ({reason}) for msg {}", self.id);
        self.link.consumer.log.say(Level::Error, text);
        self.requeue(None);
    }

    fn delay(&self, delay: Option<Duration>) -> Duration {
        delay.unwrap_or_else(|| self.link.consumer.options.requeue_delay(self.attempts))
    }

    fn answer(&mut self, answer: Answer, push: impl FnOnce(&mut Vec<u8>, MessageId)) {
        self.is_answered = true;
        self.link.send(|out| push(out, self.id));
        self.link.settled(1);
        self.link.consumer.answered(answer, 1);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if !self.is_answered {
            self.link.settled(1);
        }
    }
}

/// Messages that came together over one connection; never empty.
pub(crate) struct Batch {
    messages: Vec<Message>,
}

impl Batch {
    /// `None` when there are none.
    pub(super) fn of(messages: Vec<Message>) -> Option<Self> {
        (!messages.is_empty()).then_some(Self { messages })
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes the messages from this position on out of the batch.
    pub(crate) fn split_off(&mut self, at: usize) -> Vec<Message> {
        self.messages.split_off(at.min(self.messages.len()))
    }

    /// FIN for all of them, in one write.
    pub(crate) fn finish(mut self) {
        let Some(link) = self.messages.first().map(|first| first.link.clone()) else { return };
        link.send(|out| {
            for message in &mut self.messages {
                request::finish(out, message.id);
                message.is_answered = true;
            }
        });
        // On a line that is broken nothing was written.
        self.messages.iter_mut().for_each(|message| message.is_answered = true);
        link.settled(self.messages.len());
        link.consumer.answered(Answer::Finished, self.messages.len());
    }

    /// They have been taken from the consumer.
    pub(super) fn taken(&self) {
        if let Some(first) = self.messages.first() {
            first.link.taken(self.messages.len());
        }
    }
}

impl IntoIterator for Batch {
    type Item = Message;
    type IntoIter = std::vec::IntoIter<Message>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Message;
    type IntoIter = std::slice::Iter<'a, Message>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.iter()
    }
}
