//! What a message takes from the heap, on a core that has been busy for a while.
//!
//! Counted is what the core's own thread takes, with its log on disk and its clients' sockets. The
//! clients' buffers have a fixed size.

use super::tests::on_a_core;
use super::{Doors, Shard};
use crate::clock::Now;
use crate::command::{self, Step};
use crate::keys::ConnectionKey;
use crate::routing::request::Door;
use protocol::decoder::Decoder;
use protocol::frame::{self, MESSAGE_FRAME_OVERHEAD};
use startup::listen::Address;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const BODY_BYTES: usize = 200;
const FRAME_BYTES: usize = MESSAGE_FRAME_OVERHEAD + BODY_BYTES;
const FIN_BYTES: usize = 4 + 16 + 1;

/// A client with room for `messages` at once.
struct Client {
    stream: TcpStream,
    input: Box<[u8]>,
}

impl Client {
    fn connect(to: SocketAddr, messages: usize) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, input: vec![0; messages * FRAME_BYTES].into() };
        client.say(b"  V2");
        client
    }

    fn say(&mut self, words: &[u8]) {
        self.stream.write_all(words).unwrap();
    }

    fn hear(&mut self, bytes: usize) -> &[u8] {
        self.stream.read_exact(&mut self.input[..bytes]).unwrap();
        &self.input[..bytes]
    }

    fn expect_ok(&mut self, times: usize) {
        let answers = self.hear(times * frame::OK.len());
        assert!(answers.chunks_exact(frame::OK.len()).all(|answer| answer == frame::OK));
    }
}

/// What is published at once, and what finishes it: words that wait for their ids.
struct Round {
    publish: Vec<u8>,
    answers: usize,
    finish: Vec<u8>,
}

impl Round {
    /// As many PUBs.
    fn one_by_one(messages: usize) -> Self {
        let publish = [&b"PUB orders\n"[..], &message()].concat().repeat(messages);
        Self { publish, answers: messages, finish: finish(messages) }
    }

    /// One MPUB.
    fn batch(messages: usize) -> Self {
        let bodies = message().repeat(messages);
        let publish =
            [b"MPUB orders\n", &size(4 + bodies.len())[..], &size(messages), &bodies].concat();
        Self { publish, answers: 1, finish: finish(messages) }
    }

    fn messages(&self) -> usize {
        self.finish.len() / FIN_BYTES
    }

    /// The consumer takes all that was published.
    fn take(&mut self, consumer: &mut Client) {
        let frames = consumer.hear(self.messages() * FRAME_BYTES);
        let fins = self.finish.chunks_exact_mut(FIN_BYTES);
        for (fin, frame) in fins.zip(frames.chunks_exact(FRAME_BYTES)) {
            fin[4..20].copy_from_slice(&frame[frame::MESSAGE_ID_OFFSET..][..16]);
        }
    }
}

fn size(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}

fn message() -> Vec<u8> {
    [&size(BODY_BYTES)[..], &[b'x'; BODY_BYTES]].concat()
}

fn finish(messages: usize) -> Vec<u8> {
    b"FIN 0123456789abcdef\n".repeat(messages)
}

impl Shard {
    fn let_clients_in(self: &Rc<Self>) -> SocketAddr {
        let any_port = Address::Port("127.0.0.1:0".parse().unwrap());
        let doors = Doors::open(&any_port, None, None).unwrap();
        let address = doors.tcp.local_addr().unwrap();
        glommio::spawn_local(self.clone().accept(doors.tcp, Door::Tcp)).detach();
        address
    }

    /// What a reader and the turn behind it do with what a client has just said.
    fn serve_at_once(&self, key: ConnectionKey, decoder: &mut Decoder, bytes: usize, now: Now) {
        let socket = self.socket_of(key).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = self.read_buffer.borrow_mut();
        let mut length = 0;
        while length < bytes {
            self.readiness.look();
            if let Poll::Ready(read) = socket.poll_read(&mut context, &mut buffer[length..]) {
                length += read.unwrap();
            }
        }
        let mut state = self.state.borrow_mut();
        let executed = command::execute(&mut state, key, decoder, &buffer[..length], now);
        assert_eq!(executed, (bytes, Step::ReadOn));
        state.end_turn(now);
    }
}

/// The two clients of a topic with one channel.
struct Clients {
    publisher: Client,
    consumer: Client,
    round: Round,
}

impl Clients {
    fn connect(to: SocketAddr, round: Round) -> Self {
        let [publisher, mut consumer] = [(); 2].map(|()| Client::connect(to, round.messages()));
        consumer.say(b"SUB orders shipping\nRDY 2500\n");
        consumer.expect_ok(1);
        Self { publisher, consumer, round }
    }

    fn publish(&mut self) {
        self.publisher.say(&self.round.publish);
    }

    /// Both take what they are owed.
    fn take(&mut self) {
        self.publisher.expect_ok(self.round.answers);
        self.round.take(&mut self.consumer);
    }

    fn finish(&mut self) {
        self.consumer.say(&self.round.finish);
    }
}

/// Runs `clients` on a thread of their own while the core serves them.
async fn beside<T: Send + 'static>(clients: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(clients);
    while !thread.is_finished() {
        glommio::timer::sleep(Duration::from_millis(10)).await;
    }
    thread.join().unwrap()
}

/// What the turns of so many rounds take, after others of their kind. Time stands still meanwhile,
/// and no task runs.
async fn taken_by_turns(shard: Rc<Shard>, round: Round, rounds: usize) -> u64 {
    let address = shard.let_clients_in();
    let mut clients = beside(move || {
        let mut clients = Clients::connect(address, round);
        clients.publish();
        clients.take();
        clients
    })
    .await;
    let find = |is_consumer| {
        let state = shard.state.borrow();
        let mut connections = state.connections.iter();
        let found = connections.find(|(_, there)| there.subscription.is_some() == is_consumer);
        found.unwrap().0
    };
    let (publisher, consumer) = (find(false), find(true));
    let mut decoder = Decoder::new(shard.config.limits.clone());
    let now = shard.clock.now();
    let mut play = |rounds| {
        for _ in 0..rounds {
            clients.finish();
            shard.serve_at_once(consumer, &mut decoder, clients.round.finish.len(), now);
            clients.publish();
            shard.serve_at_once(publisher, &mut decoder, clients.round.publish.len(), now);
            clients.take();
        }
    };
    play(rounds / 4);
    allocation_counter::measure(|| play(rounds)).count_total
}

/// What a core takes, from its start to its end, that serves so many rounds.
fn taken_by_core(round: Round, rounds: usize) -> u64 {
    let serve = || {
        on_a_core(&[], async |shard| {
            let address = shard.let_clients_in();
            beside(move || {
                let mut clients = Clients::connect(address, round);
                for _ in 0..rounds {
                    clients.publish();
                    clients.take();
                    clients.finish();
                }
            })
            .await;
        });
    };
    allocation_counter::measure(serve).count_total
}

/// A turn may have to remember where frames lie in a long block, and to grow a buffer for many
/// answers. Beyond that only the index of the log grows, by an entry each 64 KiB, and doubles its room
/// at times: five times from 10 entries to 320.
#[test]
fn a_busy_core_takes_nothing_from_the_heap_for_a_message() {
    let growth = 16;
    // 500 bytes of answers, from 10 on doubled six times; and marks for more than 32 messages.
    let (answers, marks) = (7, 1);
    let cases = [
        (Round::one_by_one(1), 10_000, 0),
        (Round::one_by_one(50), 1_000, answers + marks),
        (Round::batch(200), 1_000, marks),
    ];
    for (round, rounds, each) in cases {
        let messages = round.messages();
        on_a_core(&[], async |shard| {
            let taken = taken_by_turns(shard, round, rounds).await;
            let expected = each * rounds as u64;
            assert!(taken <= expected + growth, "{taken} for {rounds} rounds of {messages}");
        });
    }
}

/// With the tasks and the runtime: those take something for each sleep, and for each look at the ring,
/// of which there are few while 200 messages are served.
#[test]
fn tasks_take_nothing_from_the_heap_for_a_message() {
    let [few, many] = [100, 600].map(|rounds| taken_by_core(Round::one_by_one(200), rounds));
    let messages = 500 * 200;
    assert!(many - few < messages / 2, "{few} for 20,000 messages, {many} for 120,000");
}
