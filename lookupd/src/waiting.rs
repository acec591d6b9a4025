//! Who waits for a change of what is known of a topic: the clients that ask `/lookup` with `wait`.
//!
//! Knows: topics, and how many may wait. Does not know: what has changed, or for how long somebody
//! waits. Whoever is woken looks for itself, and may find that nothing has changed for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use protocol::name::TopicName;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// So many may wait at once. Each is a connection with its buffers, about 10 KiB.
pub(crate) const WAITERS_MAX: usize = 10_000;

/// The longest wait; longer ones end then. Proxies and load balancers cut connections that are
/// silent for longer.
pub(crate) const WAIT_MAX: Duration = Duration::from_mins(5);

/// Those who wait. One per process.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: Cell<usize>,
    /// Invariant: a topic is here as long as somebody waits for it.
    by_topic: RefCell<HashMap<TopicName, Rc<Notify>>>,
}

impl Waiting {
    /// A place among those who wait for `topic`; `None` when there is no room.
    pub(crate) fn enter(&self, topic: TopicName) -> Option<Place<'_>> {
        if WAITERS_MAX <= self.count.get() {
            return None;
        }
        self.count.set(self.count.get() + 1);
        let bell = Rc::clone(self.by_topic.borrow_mut().entry(topic).or_default());
        Some(Place { waiting: self, topic, bell })
    }

    /// Something about `topic` may have changed.
    pub(crate) fn wake(&self, topic: TopicName) {
        if let Some(bell) = self.by_topic.borrow().get(&topic) {
            bell.notify_waiters();
        }
    }

    /// Something may have changed, wherever.
    pub(crate) fn wake_all(&self) {
        for bell in self.by_topic.borrow().values() {
            bell.notify_waiters();
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }
}

/// One that waits; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiting: &'a Waiting,
    topic: TopicName,
    bell: Rc<Notify>,
}

impl Place<'_> {
    /// Is ready at the next change after this call, whenever it is waited for.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.count.set(self.waiting.count.get() - 1);
        // The map's own and this one: nobody else waits for the topic.
        if Rc::strong_count(&self.bell) == 2 {
            self.waiting.by_topic.borrow_mut().remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_change_wakes_those_who_wait_for_its_topic_even_before_they_sleep() {
        let waiting = Waiting::default();
        let (t, also_t, u) = (
            waiting.enter(topic("t")).unwrap(),
            waiting.enter(topic("t")).unwrap(),
            waiting.enter(topic("u")).unwrap(),
        );
        let changes = [t.changed(), also_t.changed(), u.changed()];
        waiting.wake(topic("t"));
        waiting.wake(topic("nobody"));
        assert_eq!(changes.map(is_ready), [true, true, false]);
        let changes = [t.changed(), u.changed()];
        waiting.wake_all();
        assert_eq!(changes.map(is_ready), [true, true]);
        assert!(!is_ready(t.changed()), "a change counts once");
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let waiting = Waiting::default();
        let mut places: Vec<_> =
            (0..WAITERS_MAX).map(|_| waiting.enter(topic("t")).unwrap()).collect();
        assert!(waiting.enter(topic("u")).is_none());
        places.truncate(1);
        assert_eq!(waiting.count(), 1);
        assert!(waiting.enter(topic("u")).is_some());
        places.clear();
        assert_eq!((waiting.count(), waiting.by_topic.borrow().len()), (0, 0));
    }
}
