//! Carries batches from core to core.
//!
//! Each pair of cores has a queue for each direction, which only these two touch, without a lock. A
//! core that is awake looks into its queues itself; one that sleeps is woken by a bell, a descriptor
//! that it waits for with its sockets. So cores that are busy tell each other things without asking
//! anything of the system. That a core is to stop is told beside the queues, which may be full.
//!
//! Does not know: what is carried, who looks when.

use super::placement::ShardId;
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The queues of one core: to each core and from each, of which those with itself stay empty.
pub struct Mailbox<T> {
    here: ShardId,
    to: RefCell<Vec<Lane<T>>>,
    from: RefCell<Vec<Consumer<T>>>,
    bells: Arc<[Bell]>,
}

/// The queue to one core.
struct Lane<T> {
    queue: Producer<T>,
    /// Bytes of the batches that may still lie there: those that were taken are forgotten when there
    /// seems to be no room.
    sizes: VecDeque<usize>,
    /// Their sum.
    bytes: usize,
    bounds: Bounds,
}

/// What a queue holds before its sender must wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In batches.
    pub batches: usize,
    /// In bytes; the batch that exceeds it is taken.
    pub bytes: usize,
}

/// Mailboxes of cores that have not started.
#[expect(
    clippy::disallowed_types,
    reason = "each core takes its own when it starts, and never again"
)]
pub struct Unclaimed<T>(std::sync::Mutex<Vec<Mailbox<T>>>);

/// Wakes one core.
#[derive(Debug)]
struct Bell {
    /// The core sleeps, or is about to: whoever sends something rings.
    is_wanted: AtomicBool,
    /// The core is to stop.
    is_last: AtomicBool,
    /// An eventfd(2), of which each write is told once.
    descriptor: OwnedFd,
}

/// The other core has ended: nobody looks into its mailbox any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A mailbox for each of `count` cores, whose queues hold so much.
///
/// # Errors
/// When the process has no descriptor left.
pub fn between<T>(count: usize, bounds: Bounds) -> io::Result<Vec<Mailbox<T>>> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let bell = |_| {
        let descriptor = eventfd(0, flags)?;
        Ok(Bell { is_wanted: AtomicBool::new(false), is_last: AtomicBool::new(false), descriptor })
    };
    let bells: Arc<[Bell]> = (0..count).map(bell).collect::<io::Result<_>>()?;
    let mut from: Vec<Vec<Consumer<T>>> = (0..count).map(|_| Vec::new()).collect();
    let to: Vec<Vec<Lane<T>>> = (0..count)
        .map(|_| {
            let queue = |from: &mut Vec<_>| {
                let (queue, consumer) = RingBuffer::new(bounds.batches);
                from.push(consumer);
                Lane { queue, sizes: VecDeque::new(), bytes: 0, bounds }
            };
            from.iter_mut().map(queue).collect()
        })
        .collect();
    let mailboxes = (0..).zip(to.into_iter().zip(from)).map(|(here, (to, from))| Mailbox {
        here: ShardId(here),
        to: to.into(),
        from: from.into(),
        bells: bells.clone(),
    });
    Ok(mailboxes.collect())
}

#[expect(clippy::disallowed_types, reason = "see the type")]
impl<T> Unclaimed<T> {
    /// For as many cores as there are mailboxes.
    pub fn new(mailboxes: Vec<Mailbox<T>>) -> Self {
        Self(std::sync::Mutex::new(mailboxes))
    }

    /// The mailbox of the core that asks; `None` when each core has its own.
    pub fn claim(&self) -> Option<Mailbox<T>> {
        self.0.lock().ok()?.pop()
    }
}

impl<T> Mailbox<T> {
    /// Whose it is.
    pub fn here(&self) -> ShardId {
        self.here
    }

    /// Whether something can be sent to the core `to`: its queue has room, or it is gone, as sending
    /// finds out.
    pub fn has_room(&self, to: ShardId) -> bool {
        self.to.borrow_mut()[usize::from(to.0)].has_room()
    }

    /// Sends a batch of so many bytes, and wakes the core `to` if it sleeps.
    ///
    /// # Errors
    /// When nobody looks into its queue any more.
    ///
    /// # Panics
    /// When the queue is full of batches; [`Self::has_room`] says so before.
    pub fn send(&self, to: ShardId, batch: T, bytes: usize) -> Result<(), Gone> {
        let mut lanes = self.to.borrow_mut();
        let lane = &mut lanes[usize::from(to.0)];
        if lane.queue.is_abandoned() {
            return Err(Gone);
        }
        let is_sent = lane.queue.push(batch).is_ok();
        assert!(is_sent, "somebody sends without asking for room");
        lane.sizes.push_back(bytes);
        lane.bytes += bytes;
        self.bells[usize::from(to.0)].ring();
        Ok(())
    }

    /// Tells all other cores to stop, however full their queues are.
    pub fn tell_to_stop(&self) {
        for (_, bell) in (0..).zip(&*self.bells).filter(|&(core, _)| core != self.here.0) {
            bell.is_last.store(true, Ordering::Relaxed);
            bell.ring();
        }
    }

    /// Whether this core was told to stop since it asked last.
    pub fn take_stop(&self) -> bool {
        let is_last = &self.bells[usize::from(self.here.0)].is_last;
        is_last.load(Ordering::Relaxed) && is_last.swap(false, Ordering::Relaxed)
    }

    /// Takes the first batch from each core that has sent one.
    pub fn take(&self) -> Vec<(ShardId, T)> {
        let mut queues = self.from.borrow_mut();
        let numbered = (0..).map(ShardId).zip(queues.iter_mut());
        numbered.filter_map(|(from, queue)| Some((from, queue.pop().ok()?))).collect()
    }

    /// What is written to when something is sent to a core that sleeps: it is to be heard by whatever
    /// ends its sleep, each write once.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bells[usize::from(self.here.0)].descriptor.as_fd()
    }

    /// Whether this core may sleep: nothing was sent to it, nor was it told to stop, and whatever is
    /// sent from now on, until [`Self::is_awake`], rings.
    pub fn may_sleep(&self) -> bool {
        let bell = &self.bells[usize::from(self.here.0)];
        bell.is_wanted.store(true, Ordering::Relaxed);
        // Whoever sends puts it into the queue and then looks at the bell; with a fence on both sides
        // one of the two sees what the other did.
        fence(Ordering::SeqCst);
        let is_empty = self.from.borrow().iter().all(Consumer::is_empty);
        let may_sleep = is_empty && !bell.is_last.load(Ordering::Relaxed);
        if !may_sleep {
            self.is_awake();
        }
        may_sleep
    }

    /// This core looks for itself again.
    pub fn is_awake(&self) {
        self.bells[usize::from(self.here.0)].is_wanted.store(false, Ordering::Relaxed);
    }
}

impl<T> Lane<T> {
    fn has_room(&mut self) -> bool {
        if self.queue.is_abandoned() || self.seems_to_have_room() {
            return true;
        }
        let left = self.bounds.batches - self.queue.slots();
        while left < self.sizes.len() {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
        self.seems_to_have_room()
    }

    fn seems_to_have_room(&self) -> bool {
        self.sizes.len() < self.bounds.batches && self.bytes < self.bounds.bytes
    }
}

impl Bell {
    fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_wanted.load(Ordering::Relaxed) && self.is_wanted.swap(false, Ordering::Relaxed) {
            // It fails only when it was written to 2^64 times: even then it rings.
            rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes()).ok();
        }
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailbox").field("here", &self.here).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const FIRST: ShardId = ShardId(0);
    const SECOND: ShardId = ShardId(1);

    fn two<T>(batches: usize, bytes: usize) -> [Mailbox<T>; 2] {
        let mailboxes = between(2, Bounds { batches, bytes }).unwrap();
        mailboxes.try_into().unwrap_or_else(|_| panic!("there are two"))
    }

    /// How often a core was rung for since this was asked last.
    fn rang<T>(mailbox: &Mailbox<T>) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(mailbox.bell(), &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_each_core_sends_to_each_comes_in_order() {
        let cores = between(3, Bounds { batches: 4, bytes: 100 }).unwrap();
        for from in &cores {
            for to in (0..3).map(ShardId).filter(|&to| to != from.here()) {
                from.send(to, (from.here(), to, 1), 1).unwrap();
                from.send(to, (from.here(), to, 2), 1).unwrap();
            }
        }
        for to in &cores {
            let others: Vec<_> = (0..3).map(ShardId).filter(|&from| from != to.here()).collect();
            for number in 1..=2 {
                let expected = others.iter().map(|&from| (from, (from, to.here(), number)));
                assert_eq!(to.take(), expected.collect::<Vec<_>>());
            }
            assert_eq!(to.take(), []);
        }
    }

    #[test]
    fn a_full_queue_has_room_again_when_something_was_taken() {
        let [first, second] = two(2, 100);
        for letter in ["a", "b"] {
            assert!(first.has_room(SECOND));
            assert_eq!(first.send(SECOND, letter, 1), Ok(()));
        }
        assert!(!first.has_room(SECOND));
        assert_eq!(second.take(), [(FIRST, "a")]);
        assert!(first.has_room(SECOND));
        assert_eq!(first.send(SECOND, "c", 1), Ok(()));
        assert!(!first.has_room(SECOND));
        drop(second);
        assert!(first.has_room(SECOND));
        assert_eq!(first.send(SECOND, "d", 1), Err(Gone));
    }

    #[test]
    fn a_queue_is_full_of_bytes_until_they_are_taken() {
        let [first, second] = two(8, 100);
        for (letter, bytes) in [("a", 60), ("b", 39), ("c", 500)] {
            assert!(first.has_room(SECOND), "{letter}");
            assert_eq!(first.send(SECOND, letter, bytes), Ok(()));
        }
        for letter in ["a", "b"] {
            assert!(!first.has_room(SECOND));
            assert_eq!(second.take(), [(FIRST, letter)]);
        }
        assert!(!first.has_room(SECOND), "of the last one there are 500");
        assert_eq!(second.take(), [(FIRST, "c")]);
        assert!(first.has_room(SECOND));
    }

    #[test]
    fn a_core_is_told_to_stop_however_full_its_queue_is() {
        let [first, second] = two(1, 100);
        first.send(SECOND, 1, 1).unwrap();
        assert!(!first.has_room(SECOND));
        assert!(!second.take_stop());
        first.tell_to_stop();
        second.take();
        assert!(!second.may_sleep());
        assert!(second.take_stop());
        assert!(!second.take_stop() && second.may_sleep());
        first.tell_to_stop();
        assert_eq!((rang(&second), rang(&first)), (1, 0));
        assert!(second.take_stop() && !first.take_stop());
    }

    #[test]
    fn the_bell_rings_once_for_a_core_that_sleeps_and_never_for_one_that_is_awake() {
        let [first, second] = two(8, 100);
        first.send(SECOND, 1, 1).unwrap();
        assert_eq!(rang(&second), 0, "it is awake");
        assert!(!second.may_sleep(), "something is there");
        first.send(SECOND, 2, 1).unwrap();
        assert_eq!(rang(&second), 0);
        assert_eq!((second.take(), second.take()), (vec![(FIRST, 1)], vec![(FIRST, 2)]));
        assert!(second.may_sleep());
        first.send(SECOND, 3, 1).unwrap();
        first.send(SECOND, 4, 1).unwrap();
        assert_eq!((rang(&second), rang(&first)), (1, 0));
        second.is_awake();
        first.send(SECOND, 5, 1).unwrap();
        assert_eq!(rang(&second), 0);
    }

    /// Both sides at full speed: a core that sleeps with something in its queue, and was not rung
    /// for, would sleep for ever.
    #[test]
    fn nothing_is_ever_slept_over() {
        const BATCHES: u32 = 200_000;
        let [first, second] = two(16, 1000);
        let sender = thread::spawn(move || {
            for number in 0..BATCHES {
                while !first.has_room(SECOND) {
                    thread::yield_now();
                }
                first.send(SECOND, number, 1).unwrap();
            }
        });
        let mut expected = 0;
        while expected < BATCHES {
            for (_, number) in second.take() {
                assert_eq!(number, expected);
                expected += 1;
            }
            if expected < BATCHES && second.may_sleep() {
                let mut bell = [rustix::event::PollFd::new(
                    &second.bells[1].descriptor,
                    rustix::event::PollFlags::IN,
                )];
                let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
                let events = rustix::event::poll(&mut bell, Some(&limit)).unwrap();
                assert_eq!(events, 1, "asleep with {expected} of {BATCHES}");
                rang(&second);
                second.is_awake();
            }
        }
        sender.join().unwrap();
    }
}
