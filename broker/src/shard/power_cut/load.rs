//! Clients of a broker that runs in the same thread, over real sockets, which write down what they
//! are told, and when.

use super::promises::{Done, Life, Number, Promises, Publish, When, body_of, number_of};
use super::random::Random;
use crate::disk::tape::Tape;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use protocol::frame::{Frame, decode_frame};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// Later than any test ends, in milliseconds: nsqd's greatest delay.
const FAR_OFF: u64 = 3_600_000;

/// What the clients of a run share.
pub(super) struct Clients {
    pub(super) tape: Tape,
    pub(super) promises: RefCell<Promises>,
    pub(super) next: Cell<Number>,
    pub(super) random: RefCell<Random>,
    pub(super) is_over: Cell<bool>,
    pub(super) tcp: Cell<Option<SocketAddr>>,
    pub(super) http: Cell<Option<SocketAddr>>,
}

/// A connection that speaks NSQ's protocol.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    async fn open(to: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"  V2").await.unwrap();
        Self { stream }
    }

    async fn send(&mut self, line: &str, body: Option<&[u8]>) {
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\n');
        if let Some(body) = body {
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(body);
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame; `None` when the broker closed.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).await.ok()?;
        let mut frame = size.to_vec();
        frame.resize(4 + u32::from_be_bytes(size) as usize, 0);
        self.stream.read_exact(&mut frame[4..]).await.ok()?;
        Some(frame)
    }

    async fn expect_ok(&mut self) {
        let frame = self.frame().await.expect("the broker is there");
        let (frame, _) = decode_frame(&frame, frame.len()).unwrap().unwrap();
        assert!(matches!(frame, Frame::Response(b"OK")), "{frame:?}");
    }
}

impl Clients {
    pub(super) fn new(tape: Tape, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            tape,
            promises: RefCell::default(),
            next: Cell::new(1),
            random: RefCell::new(Random::new(seed)),
            is_over: Cell::new(false),
            tcp: Cell::new(None),
            http: Cell::new(None),
        })
    }

    fn below(&self, end: usize) -> usize {
        self.random.borrow_mut().below(end)
    }

    fn begun(&self) -> When {
        When { begun: self.tape.position(), ended: None }
    }

    fn ended(&self) -> Option<usize> {
        Some(self.tape.position())
    }

    // --- publishing ---

    fn begin_publish(&self, topic: &str, count: usize, is_far_off: bool) -> (usize, Range<Number>) {
        let first = self.next.get();
        let numbers = first..first + Number::try_from(count).unwrap();
        self.next.set(numbers.end);
        let publishes = &mut self.promises.borrow_mut().publishes;
        let (topic, when) = (topic.to_owned(), self.begun());
        publishes.push(Publish { topic, numbers: numbers.clone(), when, is_far_off });
        (publishes.len() - 1, numbers)
    }

    fn acknowledged(&self, publish: usize) {
        self.promises.borrow_mut().publishes[publish].when.ended = self.ended();
    }

    /// Publishes one or many, at once or for later.
    pub(super) async fn publish(self: Rc<Self>, topic: &'static str, pause: Range<usize>) {
        let mut connection = Connection::open(self.tcp.get().unwrap()).await;
        while !self.is_over.get() {
            let kind = self.below(10);
            let count = if kind < 3 { 2 + self.below(8) } else { 1 };
            let delay = match kind {
                3 => Some(FAR_OFF),
                4 => Some(20),
                _ => None,
            };
            let (publish, numbers) = self.begin_publish(topic, count, delay == Some(FAR_OFF));
            let bodies: Vec<_> = numbers.map(body_of).collect();
            match (count, delay) {
                (1, None) => connection.send(&format!("PUB {topic}"), Some(&bodies[0])).await,
                (1, Some(delay)) => {
                    connection.send(&format!("DPUB {topic} {delay}"), Some(&bodies[0])).await;
                }
                _ => connection.send(&format!("MPUB {topic}"), Some(&many(&bodies))).await,
            }
            connection.expect_ok().await;
            self.acknowledged(publish);
            self.pause(pause.clone()).await;
        }
    }

    /// The same over HTTP, one at a time.
    pub(super) async fn publish_by_http(self: Rc<Self>, topic: &str, times: usize) {
        for _ in 0..times {
            let count = *[1, 1, 3].get(self.below(3)).unwrap();
            let is_far_off = count == 1 && self.below(4) == 0;
            let (publish, numbers) = self.begin_publish(topic, count, is_far_off);
            let bodies: Vec<_> = numbers.map(body_of).collect();
            let path = match (count, is_far_off) {
                (1, false) => format!("/pub?topic={topic}"),
                (1, true) => format!("/pub?topic={topic}&defer={FAR_OFF}"),
                _ => format!("/mpub?topic={topic}&binary=true"),
            };
            let body = if count == 1 { bodies[0].clone() } else { many(&bodies) };
            self.post(&path, &body).await;
            self.acknowledged(publish);
        }
    }

    pub(super) async fn pause(&self, milliseconds: Range<usize>) {
        let length = milliseconds.end - milliseconds.start;
        let pause = milliseconds.start + self.below(length.max(1));
        glommio::timer::sleep(Duration::from_millis(pause as u64)).await;
    }

    // --- consuming ---

    /// Takes messages; of a hundred `finished` are finished, some are sent back for later, and the
    /// rest is kept.
    pub(super) async fn consume(
        self: Rc<Self>,
        topic: &'static str,
        channel: &'static str,
        finished: usize,
    ) {
        let life = self.begin_life(topic, Some(channel));
        let mut connection = Connection::open(self.tcp.get().unwrap()).await;
        connection.send(&format!("SUB {topic} {channel}"), None).await;
        connection.expect_ok().await;
        self.promises.borrow_mut().lives[life].created.ended = self.ended();
        connection.send("RDY 2000", None).await;
        while let Some(bytes) = connection.frame().await {
            let (frame, _) = decode_frame(&bytes, bytes.len()).unwrap().unwrap();
            let Frame::Message(message) = frame else { continue };
            let number = number_of(message.body).unwrap();
            let id = String::from_utf8(message.id.0.to_vec()).unwrap();
            let kind = self.below(100);
            if kind < finished {
                let what = (topic.to_owned(), channel.to_owned(), number);
                let begun = self.tape.position();
                self.promises.borrow_mut().finished.entry(what).or_insert(begun);
                connection.send(&format!("FIN {id}"), None).await;
            } else if kind < finished + 3 {
                let delay = *[0, 30, FAR_OFF].get(self.below(3)).unwrap();
                connection.send(&format!("REQ {id} {delay}"), None).await;
            }
        }
    }

    // --- administration ---

    fn begin_life(&self, topic: &str, channel: Option<&str>) -> usize {
        let lives = &mut self.promises.borrow_mut().lives;
        let (topic, channel) = (topic.to_owned(), channel.map(str::to_owned));
        // One that was there before goes on.
        let same = |life: &Life| {
            (&life.topic, &life.channel) == (&topic, &channel) && life.deleted.is_none()
        };
        if let Some(at) = lives.iter().position(same) {
            return at;
        }
        lives.push(Life { topic, channel, created: self.begun(), deleted: None });
        lives.len() - 1
    }

    pub(super) async fn create(&self, topic: &str, channel: Option<&str>) -> usize {
        let life = self.begin_life(topic, channel);
        self.administer("create", topic, channel).await;
        let created = &mut self.promises.borrow_mut().lives[life].created;
        created.ended = created.ended.or(self.ended());
        life
    }

    pub(super) async fn delete(&self, life: usize) {
        let (topic, channel) = {
            let life = &mut self.promises.borrow_mut().lives[life];
            life.deleted = Some(self.begun());
            (life.topic.clone(), life.channel.clone())
        };
        self.administer("delete", &topic, channel.as_deref()).await;
        let ended = self.ended();
        let deleted = &mut self.promises.borrow_mut().lives[life].deleted;
        *deleted = deleted.map(|when| When { ended, ..when });
    }

    pub(super) async fn empty(&self, topic: &str, channel: Option<&str>) {
        let emptied = self.done(topic, channel, ());
        let at = {
            let all = &mut self.promises.borrow_mut().emptied;
            all.push(emptied);
            all.len() - 1
        };
        self.administer("empty", topic, channel).await;
        self.promises.borrow_mut().emptied[at].when.ended = self.ended();
    }

    pub(super) async fn set_paused(&self, topic: &str, channel: Option<&str>, is_paused: bool) {
        let paused = self.done(topic, channel, is_paused);
        let at = {
            let all = &mut self.promises.borrow_mut().paused;
            all.push(paused);
            all.len() - 1
        };
        let verb = if is_paused { "pause" } else { "unpause" };
        self.administer(verb, topic, channel).await;
        self.promises.borrow_mut().paused[at].when.ended = self.ended();
    }

    fn done<T>(&self, topic: &str, channel: Option<&str>, what: T) -> Done<T> {
        let (topic, channel) = (topic.to_owned(), channel.map(str::to_owned));
        Done { topic, channel, what, when: self.begun() }
    }

    async fn administer(&self, verb: &str, topic: &str, channel: Option<&str>) {
        let path = match channel {
            None => format!("/topic/{verb}?topic={topic}"),
            Some(channel) => format!("/channel/{verb}?topic={topic}&channel={channel}"),
        };
        self.post(&path, b"").await;
    }

    async fn post(&self, path: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(self.http.get().unwrap()).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
}

/// The body of an MPUB.
fn many(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = u32::try_from(bodies.len()).unwrap().to_be_bytes().to_vec();
    for body in bodies {
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

/// What operators do, in turn.
pub(super) async fn administer(clients: Rc<Clients>) {
    // The first publish may come later than the first channel.
    clients.administer("create", "orders", None).await;
    for round in 0.. {
        if clients.is_over.get() {
            return;
        }
        let brief = clients.create("orders", Some("brief")).await;
        clients.pause(20..60).await;
        let name = format!("passing{}", round % 3);
        let passing = clients.create(&name, None).await;
        clients.clone().publish_by_http(&name, 2).await;
        let channel = clients.create(&name, Some("x")).await;
        clients.clone().publish_by_http(&name, 2).await;
        clients.delete(brief).await;
        match round % 3 {
            0 => clients.set_paused("orders", Some("slow"), round % 2 == 0).await,
            1 => clients.set_paused("waiting", None, round % 2 == 0).await,
            _ => clients.empty("orders", Some("fast")).await,
        }
        clients.pause(5..30).await;
        if round % 4 == 3 {
            clients.empty("waiting", None).await;
        }
        let later = clients.below(2) == 0;
        if later {
            clients.delete(channel).await;
        }
        {
            // They go with the topic.
            let ended = clients.begun();
            let lives = &mut clients.promises.borrow_mut().lives;
            let live = |life: &&mut Life| life.topic == name && life.deleted.is_none();
            lives.iter_mut().filter(live).for_each(|life| life.deleted = Some(ended));
        }
        clients.delete(passing).await;
        clients.pause(20..60).await;
    }
}
