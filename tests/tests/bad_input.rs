//! Clients that err, attack, stop reading or vanish: each costs itself alone.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use tests::broker::Broker;
use tests::client::{MAGIC, with_body};
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

/// A generator of bytes that look random and are the same in every run (xorshift, 64 bits).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut byte = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..count).map(|_| byte()).collect()
    }
}

/// Sends bytes and goes away without reading.
fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("the broker accepts");
    stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
    // The broker may close while we still send: that is its right.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Both));
}

fn serves(broker: &mut Broker) {
    assert!(broker.process.is_running(), "{}", broker.process.log());
    broker.client().works();
    assert_eq!(broker.get("/ping").text(), "OK");
}

#[test]
fn garbage_on_either_port_harms_nobody() {
    let mut broker = Broker::start();
    let mut noise = Noise(0x1234_5678_9abc_def1);
    for round in 0..100 {
        let bytes = noise.bytes(1 + round * 37);
        throw(broker.tcp, &bytes);
        throw(broker.tcp, &[MAGIC, &bytes].concat());
        throw(broker.http, &bytes);
        throw(broker.http, &[b"POST /pub?topic=t HTTP/1.1\r\n", &bytes[..]].concat());
    }
    serves(&mut broker);
}

#[test]
fn commands_cut_off_anywhere_publish_nothing_and_harm_nobody() {
    let mut broker = Broker::start();
    let whole = [
        MAGIC,
        &with_body("IDENTIFY", br#"{"client_id":"x"}"#),
        &with_body("MPUB cut", b"\0\0\0\x02\0\0\0\x03abc\0\0\0\x03def"),
    ]
    .concat();
    for end in 0..whole.len() {
        throw(broker.tcp, &whole[..end]);
    }
    serves(&mut broker);
    let published =
        broker.topic("cut").map_or(0, |topic| topic["message_count"].as_i64().expect("it counts"));
    assert_eq!(published, 0);
}

#[test]
fn requests_cut_off_anywhere_publish_nothing_and_harm_nobody() {
    let mut broker = Broker::start();
    let whole = b"POST /pub?topic=cut HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for end in 0..whole.len() {
        throw(broker.http, &whole[..end]);
    }
    serves(&mut broker);
    let published =
        broker.topic("cut").map_or(0, |topic| topic["message_count"].as_i64().expect("it counts"));
    assert_eq!(published, 0);
}

#[test]
fn announced_sizes_take_no_memory_before_the_bytes_come() {
    let mut broker = Broker::start();
    let before = broker.process.resident_bytes();
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect_timeout(&broker.tcp, SOON).expect("the broker accepts");
        // The largest body that is allowed, and one byte of it.
        stream.write_all(MAGIC).expect("the broker reads");
        stream.write_all(b"MPUB t\n").expect("the broker reads");
        stream.write_all(&5_242_880_u32.to_be_bytes()).expect("the broker reads");
        stream.write_all(b"\0").expect("the broker reads");
        open.push(stream);
    }
    thread::sleep(Duration::from_millis(500));
    let grown = broker.process.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes for 200 connections that sent a byte");
    serves(&mut broker);
}

#[test]
fn a_consumer_that_stops_reading_costs_only_itself() {
    let mut broker = Broker::start();
    let body = vec![b'x'; 100_000];
    let mut stuck = broker.client();
    stuck.identify(r#"{"heartbeat_interval":3000}"#);
    stuck.subscribe("t", "stuck");
    let mut well = broker.subscribed("t", "well");
    stuck.ready(2500);
    well.ready(10);
    let mut publisher = broker.client();
    let before = broker.process.resident_bytes();
    // 100 MB for each channel: far beyond what sockets buffer, so the stuck one's share must wait.
    for _ in 0..1000 {
        publisher.publish("t", &body);
        let message = well.message();
        assert_eq!(message.body.len(), body.len());
        well.finish(&message);
    }
    broker.count_becomes("t", "well", "depth", 0);
    if only_ours("the real nsqd keeps up to 10,000 messages of a channel in memory") {
        let grown = broker.process.resident_bytes().saturating_sub(before);
        assert!(grown < 80 << 20, "{grown} bytes of memory for a consumer that does not read");
        // Silent for longer than two heartbeats: its place is free again.
        broker.count_becomes("t", "stuck", "client_count", 0);
    }
    serves(&mut broker);
}

#[test]
fn a_publisher_that_never_reads_its_answers_costs_only_itself() {
    let mut broker = Broker::start();
    let address = broker.tcp;
    let flood = thread::spawn(move || {
        let mut stream = TcpStream::connect_timeout(&address, SOON).expect("the broker accepts");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a limit can be set");
        stream.write_all(MAGIC).expect("the broker reads");
        let many = with_body("PUB flood", b"m").repeat(5000);
        // Ends when the broker no longer reads, closes, or has taken 2.5 million commands.
        for _ in 0..500 {
            if stream.write_all(&many).is_err() {
                break;
            }
        }
    });
    for _ in 0..50 {
        broker.client().publish("calm", b"m");
        thread::sleep(Duration::from_millis(20));
    }
    flood.join().expect("the flood ends");
    serves(&mut broker);
}

/// How many publishes a core takes from one that never waits while somebody else waits for
/// an answer: counted, not timed, so that a slow machine changes nothing.
#[test]
fn a_publisher_that_never_waits_lets_others_be_heard() {
    /// Each `OK`, as a frame.
    const OK_BYTES: usize = 10;
    if !only_ours("how much the real nsqd takes meanwhile is its scheduler's affair") {
        return;
    }
    let broker = Broker::with(&["--shards=1"]);
    let mut reading = TcpStream::connect_timeout(&broker.tcp, SOON).expect("the broker accepts");
    let mut writing = reading.try_clone().expect("a socket can be duplicated");
    let closing = reading.try_clone().expect("a socket can be duplicated");
    let publisher = thread::spawn(move || {
        writing.write_all(MAGIC).expect("the broker reads");
        let many = with_body("PUB flood", &[b'x'; 200]).repeat(600);
        while writing.write_all(&many).is_ok() {}
    });
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let reader = thread::spawn(move || {
        let mut answers = vec![0; 1 << 16];
        while let Ok(length @ 1..) = reading.read(&mut answers) {
            counted.fetch_add(length, Ordering::Relaxed);
        }
    });
    let count = || served.load(Ordering::Relaxed) / OK_BYTES;
    eventually(SOON, "the publisher is under way", || (20_000 < count()).then_some(()));
    let mut meanwhile: Vec<_> = (0..41)
        .map(|_| {
            let before = count();
            // A new connection each: it is the ring that tells of it.
            assert_eq!(broker.get("/ping").text(), "OK");
            count() - before
        })
        .collect();
    closing.shutdown(Shutdown::Both).expect("the publisher is connected");
    for end in [publisher, reader] {
        end.join().expect("it ends with its connection");
    }
    meanwhile.sort_unstable();
    assert!(meanwhile[20] < 8_000, "publishes taken while a ping waited: {meanwhile:?}");
}

#[test]
fn connections_that_only_open_and_vanish_leave_nothing_behind() {
    let mut broker = Broker::start();
    for _ in 0..300 {
        drop(TcpStream::connect_timeout(&broker.tcp, SOON).expect("the broker accepts"));
        let mut client = broker.client();
        client.try_send(b"SUB t c\nRDY 10\n");
        drop(client);
    }
    serves(&mut broker);
    eventually(SOON, "all consumers have left", || {
        let left = broker.channel("t", "c").is_none_or(|channel| channel["client_count"] == 0);
        left.then_some(())
    });
}

#[test]
fn unfinished_requests_do_not_keep_others_out() {
    let mut broker = Broker::start();
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream =
            TcpStream::connect_timeout(&broker.http, SOON).expect("the broker accepts");
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost:").expect("the broker reads");
        open.push(stream);
    }
    serves(&mut broker);
}

/// Lets this process, which holds the other ends, open as many files as the system allows it.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may use its limit");
}

#[test]
fn thousands_of_idle_http_connections_keep_nobody_out() {
    open_many_files();
    let mut broker = Broker::start();
    let before = broker.process.resident_bytes();
    let mut open = Vec::new();
    // Some say nothing, some stop in the middle of a head, some were answered and stay.
    let sent = [
        &b""[..],
        b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for round in 0..3000 {
        let mut stream =
            TcpStream::connect_timeout(&broker.http, SOON).expect("the broker accepts");
        stream.write_all(sent[round % sent.len()]).expect("the broker reads");
        open.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(broker.get("/ping").text(), "OK");
    }
    if only_ours("the real nsqd takes a goroutine and its buffers for each") {
        let grown = broker.process.resident_bytes().saturating_sub(before);
        assert!(grown < 60 << 20, "{grown} bytes for 3,000 idle connections");
    }
    // One of them goes on where it stopped.
    let mut stopped = open.swap_remove(1);
    stopped.write_all(b"yes\r\nContent-Length: 1\r\nConnection: close\r\n\r\nm").expect("it reads");
    stopped.set_read_timeout(Some(SOON)).expect("a limit can be set");
    let mut answer = String::new();
    stopped.read_to_string(&mut answer).expect("the broker answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(open);
    serves(&mut broker);
}

#[test]
fn large_heads_without_an_end_take_little_memory() {
    let mut broker = Broker::start();
    let before = broker.process.resident_bytes();
    let head = [&b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Large: "[..], &[b'x'; 60_000]].concat();
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream =
            TcpStream::connect_timeout(&broker.http, SOON).expect("the broker accepts");
        stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
        stream.write_all(&head).expect("the broker reads");
        open.push(stream);
    }
    serves(&mut broker);
    let grown = broker.process.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes for 300 heads of 60,000");
}
