//! Which sockets of a core have something to say, or take bytes again.
//!
//! All of them are in one `epoll` set, edge-triggered, and the ring waits for the set. So a hundred
//! clients that speak at once are one thing that the ring tells, and one system call; each of them in
//! the ring would be a hundred, and would interrupt the core as often.
//!
//! A socket is ready from when the set tells so until the system says that it would block, or less came
//! than there was room for (epoll(7)). One that the peer has shut stays ready: the end is to be read.
//! A socket that is muted is not told of when bytes come; who muted it reads from it by the clock.

use glommio::net::TcpStream;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slotmap::{Key as _, KeyData, SlotMap};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_lite::AsyncRead as _;

/// What is told of a socket that is muted: only how it ends, and that it takes bytes.
const MUTED: EventFlags = EventFlags::OUT.union(EventFlags::RDHUP).union(EventFlags::ET);
/// What is told of any other.
const HEARD: EventFlags = MUTED.union(EventFlags::IN);

slotmap::new_key_type! {
    /// A socket in the set.
    struct WatchKey;
}

/// So many sockets are told of at once; the others are told of the next time.
const TOLD_AT_ONCE: usize = 256;
/// How long a core pauses that has no descriptor left to wait with.
const PAUSE_WITHOUT_DESCRIPTOR: Duration = Duration::from_millis(1);

/// The sockets of one core.
#[derive(Debug)]
pub struct Readiness {
    set: OwnedFd,
    sockets: RefCell<SlotMap<WatchKey, Rc<Ready>>>,
}

/// For what one socket is ready, and who waits for it.
#[derive(Debug, Default)]
struct Ready {
    to_read: Cell<bool>,
    to_write: Cell<bool>,
    is_over: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

/// A socket's place in the set, which it must leave before it is closed: a duplicate of its descriptor
/// may live on.
#[derive(Debug)]
pub struct Watch {
    readiness: Rc<Readiness>,
    key: WatchKey,
    ready: Rc<Ready>,
}

impl Readiness {
    /// No socket yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: epoll::create(CreateFlags::CLOEXEC)?, sockets: RefCell::default() })
    }

    /// Adds a socket.
    ///
    /// # Errors
    /// When the system's limit of watched sockets is reached.
    pub fn watch(self: &Rc<Self>, socket: impl AsFd) -> io::Result<Watch> {
        let ready = Rc::new(Ready::default());
        let key = self.sockets.borrow_mut().insert(ready.clone());
        match epoll::add(&self.set, socket, EventData::new_u64(key.data().as_ffi()), HEARD) {
            Ok(()) => Ok(Watch { readiness: self.clone(), key, ready }),
            Err(error) => {
                self.sockets.borrow_mut().remove(key);
                Err(error.into())
            }
        }
    }

    /// Adds a descriptor that only ends a wait, whenever it is written to.
    ///
    /// # Errors
    /// When the system's limit of watched descriptors is reached.
    pub fn hear(&self, bell: impl AsFd) -> io::Result<()> {
        let nobody = EventData::new_u64(WatchKey::null().data().as_ffi());
        Ok(epoll::add(&self.set, bell, nobody, EventFlags::IN | EventFlags::ET)?)
    }

    /// Wakes whoever waits for a socket that is ready now, and returns how many descriptors had news.
    /// Waits for nothing.
    pub fn look(&self) -> usize {
        self.nap(Duration::ZERO)
    }

    /// The same, but while there is no news the whole thread sleeps, for less than a second: nothing
    /// else is heard. The one call that may hold a core's thread up, and only when it has nothing to do.
    pub fn nap(&self, longest: Duration) -> usize {
        let mut events = [MaybeUninit::<Event>::uninit(); TOLD_AT_ONCE];
        let longest = rustix::event::Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        // It can fail only by being interrupted.
        let Ok((events, _)) = epoll::wait(&self.set, &mut events[..], Some(&longest)) else {
            return 0;
        };
        let sockets = self.sockets.borrow();
        for event in &*events {
            let (flags, data) = (event.flags, event.data);
            let Some(ready) = sockets.get(KeyData::from_ffi(data.u64()).into()) else { continue };
            ready.told(flags);
        }
        events.len()
    }

    /// Waits, by the ring, until a socket has news.
    pub async fn wait(&self) {
        // The runtime waits for nothing but sockets of its own. It does so before it reads from them
        // for the first time, and then learns that this is none.
        let Ok(set) = self.set.try_clone() else {
            return glommio::timer::sleep(PAUSE_WITHOUT_DESCRIPTOR).await;
        };
        let mut set = TcpStream::from(socket2::Socket::from(std::net::TcpStream::from(set)));
        let read = poll_fn(|context| Pin::new(&mut set).poll_read(context, &mut [0])).await;
        debug_assert!(read.is_err(), "a set of sockets is no socket");
    }
}

impl Ready {
    fn told(&self, flags: EventFlags) {
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.is_over.set(true);
        }
        if flags.contains(EventFlags::IN) || self.is_over.get() {
            self.to_read.set(true);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        if flags.contains(EventFlags::OUT) || self.is_over.get() {
            self.to_write.set(true);
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
    }
}

impl Watch {
    /// Whether there may be something to read; if not, the task is woken when there is.
    pub fn can_read(&self, context: &Context<'_>) -> bool {
        if !self.ready.to_read.get() {
            self.ready.reader.replace(Some(context.waker().clone()));
        }
        self.ready.to_read.get()
    }

    /// Less came than there was room for: nothing is left to be read, unless it is the end.
    pub fn has_read_all(&self) {
        self.ready.to_read.set(self.ready.is_over.get());
    }

    /// There is nothing to read.
    pub fn has_nothing_to_read(&self) {
        self.ready.to_read.set(false);
    }

    /// There may be something to read that was not told.
    pub fn may_have_come(&self) {
        self.ready.to_read.set(true);
    }

    /// What comes on the socket from now on is not told.
    ///
    /// # Errors
    /// None that is known: the socket is in the set.
    pub fn mute(&self, socket: impl AsFd) -> io::Result<()> {
        self.tell(socket, MUTED)
    }

    /// What comes is told again, and what came meanwhile.
    ///
    /// # Errors
    /// As [`Self::mute`].
    pub fn unmute(&self, socket: impl AsFd) -> io::Result<()> {
        self.tell(socket, HEARD)
    }

    fn tell(&self, socket: impl AsFd, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(self.key.data().as_ffi());
        Ok(epoll::modify(&self.readiness.set, socket, data, flags)?)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub fn can_write(&self, context: &Context<'_>) -> bool {
        if !self.ready.to_write.get() {
            self.ready.writer.replace(Some(context.waker().clone()));
        }
        self.ready.to_write.get()
    }

    /// There is no room to write.
    pub fn has_no_room(&self) {
        self.ready.to_write.set(false);
    }

    /// Takes the socket out of the set.
    pub fn leave(&self, socket: impl AsFd) {
        self.readiness.sockets.borrow_mut().remove(self.key);
        // Fails only for a socket that never came in.
        epoll::delete(&self.readiness.set, socket).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Tick};
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Alarm(AtomicUsize);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Alarm {
        fn rang(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    /// Two ends of a connection.
    fn pair() -> [std::net::TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        [near, listener.accept().unwrap().0]
    }

    #[test]
    fn who_waits_is_woken_once_for_what_comes_and_always_for_the_end() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let [mut near, mut far] = pair();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let context = Context::from_waker(&waker);
        let watch = readiness.watch(&near).unwrap();
        assert!(!watch.can_read(&context) && !watch.can_write(&context));
        assert_eq!((readiness.look(), alarm.rang()), (1, 1), "it takes bytes from the first");
        assert!(!watch.can_read(&context) && watch.can_write(&context));
        assert_eq!((readiness.look(), alarm.rang()), (0, 0));

        far.write_all(b"ab").unwrap();
        assert_eq!((readiness.look(), alarm.rang()), (1, 1));
        assert!(watch.can_read(&context), "nothing was read yet");
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 2);
        watch.has_read_all();
        assert!(!watch.can_read(&context));
        assert_eq!((readiness.look(), alarm.rang()), (0, 0));

        // The end comes right behind the last bytes, and is told once.
        far.write_all(b"c").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!((readiness.look(), alarm.rang()), (1, 1));
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
        watch.has_read_all();
        assert!(watch.can_read(&context), "the end is to be read");
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_socket_that_is_muted_is_told_of_only_when_it_ends() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let [mut near, mut far] = pair();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let context = Context::from_waker(&waker);
        let watch = readiness.watch(&near).unwrap();
        readiness.look();
        watch.mute(&near).unwrap();
        // That it takes bytes is told once more; nobody waits for that.
        readiness.look();
        assert!(!watch.can_read(&context));
        far.write_all(b"ab").unwrap();
        assert_eq!((readiness.look(), alarm.rang()), (0, 0));

        watch.unmute(&near).unwrap();
        assert_eq!((readiness.look(), alarm.rang()), (1, 1), "what came meanwhile");
        assert!(watch.can_read(&context));
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 2);
        watch.has_read_all();

        watch.mute(&near).unwrap();
        readiness.look();
        far.write_all(b"c").unwrap();
        watch.may_have_come();
        assert!(watch.can_read(&context), "it is read from by the clock");
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
        watch.has_read_all();
        assert!(!watch.can_read(&context));
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!((readiness.look(), alarm.rang()), (1, 1));
        assert!(watch.can_read(&context), "the end is to be read");
    }

    #[test]
    fn a_nap_ends_with_news_or_with_its_time() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let [near, mut far] = pair();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let context = Context::from_waker(&waker);
        let watch = readiness.watch(&near).unwrap();
        readiness.look();
        assert!(!watch.can_read(&context));
        let clock = Clock::start();
        assert_eq!((readiness.nap(Duration::from_millis(5)), alarm.rang()), (0, 0));
        assert!(Duration::from_millis(5) <= clock.now().tick.since(Tick(0)));

        let speaker = std::thread::spawn(move || {
            far.write_all(b"a").unwrap();
            far
        });
        assert_eq!((readiness.nap(Duration::from_millis(999)), alarm.rang()), (1, 1));
        assert!(watch.can_read(&context));
        speaker.join().unwrap();
    }

    #[test]
    fn a_writer_waits_until_the_peer_has_read() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let [mut near, mut far] = pair();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let context = Context::from_waker(&waker);
        let watch = readiness.watch(&near).unwrap();
        readiness.look();
        let mut sent = 0;
        while let Ok(bytes) = near.write(&[0; 64 << 10]) {
            sent += bytes;
        }
        watch.has_no_room();
        assert!(!watch.can_write(&context));
        assert_eq!((readiness.look(), alarm.rang()), (0, 0));
        far.read_exact(&mut vec![0; sent]).unwrap();
        while readiness.look() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(alarm.rang(), 1);
        assert!(watch.can_write(&context));
    }

    #[test]
    fn a_socket_that_has_left_is_not_told_of_though_its_duplicate_lives() {
        let here = Rc::new(Readiness::new().unwrap());
        let there = Rc::new(Readiness::new().unwrap());
        let [near, mut far] = pair();
        let watch = here.watch(&near).unwrap();
        far.write_all(b"unread").unwrap();
        let duplicate = near.try_clone().unwrap();
        watch.leave(&near);
        drop(near);
        assert_eq!(here.look(), 0);
        assert!(here.sockets.borrow().is_empty());
        // What came before is told where it goes on.
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let watch = there.watch(&duplicate).unwrap();
        assert!(!watch.can_read(&Context::from_waker(&waker)));
        assert_eq!((there.look(), alarm.rang()), (1, 1));
        assert!(watch.can_read(&Context::from_waker(&waker)));
    }

    #[test]
    fn more_sockets_than_are_told_of_at_once_are_told_of_in_turn() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let ends: Vec<_> =
            (0..300).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let context = Context::from_waker(&waker);
        let watches: Vec<_> = ends.iter().map(|(near, _)| readiness.watch(near).unwrap()).collect();
        for ((_, far), watch) in ends.iter().zip(&watches) {
            (&*far).write_all(b"a").unwrap();
            assert!(!watch.can_read(&context));
        }
        assert_eq!((readiness.look(), alarm.rang()), (256, 256));
        assert_eq!((readiness.look(), alarm.rang()), (44, 44));
        assert!(watches.iter().all(|watch| watch.can_read(&context)));
    }
}
