//! nsqlookupd with many nsqds that have many topics: how long it takes to register them, to answer,
//! and to answer while one of them leaves.
//!
//! Knows enough of nsqlookupd's TCP protocol for nsqds that register, and of HTTP for one client.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contestant::Contestant;
use crate::load::histogram;

/// Lookups that are measured, one after another.
const LOOKUPS: usize = 5_000;

/// How often all nodes are asked for while lookups are measured.
const NODES: usize = 5;

/// Prime, so that neighbours in time are no neighbours in the alphabet.
const STRIDE: usize = 7_919;

/// What one nsqlookupd took.
struct Figures {
    register: Duration,
    lookup: Histogram<u64>,
    nodes: Duration,
    beside_nodes: Histogram<u64>,
    topics: Duration,
    leaving: Histogram<u64>,
    left: Duration,
    resident_bytes: u64,
}

/// Measures the real nsqlookupd, then ours; the table is Markdown.
pub(crate) fn measure(programs: &[PathBuf; 2], nsqds: usize, topics: usize) -> String {
    let [real, ours] = programs.each_ref().map(|program| {
        let directory = Contestant::start_lookup(program);
        one(&directory, nsqds, topics)
    });
    let mut text = format!(
        "nsqlookupd with {nsqds} nsqds of {topics} topics with a channel each; lookups one after \
         another over one connection\n\n| | NSQ | ours |\n|---|---|---|\n"
    );
    let mut row = |what: &str, show: &dyn Fn(&Figures) -> String| {
        writeln!(text, "| {what} | {} | {} |", show(&real), show(&ours))
            .expect("a string takes everything");
    };
    let at = |histogram: &Histogram<u64>, quantile| {
        format!("{} us", histogram.value_at_quantile(quantile))
    };
    row("register all of it", &|found| format!("{:.1} s", found.register.as_secs_f64()));
    row("`/lookup`, half within", &|found| at(&found.lookup, 0.5));
    row("99 of 100 within", &|found| at(&found.lookup, 0.99));
    row("longest", &|found| format!("{} us", found.lookup.max()));
    row("`/lookup` while `/nodes` is asked, 99 of 100 within", &|found| {
        at(&found.beside_nodes, 0.99)
    });
    row("longest", &|found| format!("{} us", found.beside_nodes.max()));
    row("`/lookup` while an nsqd leaves, 99 of 100 within", &|found| at(&found.leaving, 0.99));
    row("longest", &|found| format!("{} us", found.leaving.max()));
    row("until it is off every topic", &|found| format!("{:.2} s", found.left.as_secs_f64()));
    row("`/topics`", &|found| format!("{:.1} ms", found.topics.as_secs_f64() * 1e3));
    row("`/nodes`", &|found| format!("{:.0} ms", found.nodes.as_secs_f64() * 1e3));
    row("memory", &|found| format!("{} MB", found.resident_bytes >> 20));
    text
}

fn one(directory: &Contestant, nsqds: usize, topics: usize) -> Figures {
    let begin = Instant::now();
    let mut connected: Vec<_> =
        (0..nsqds).map(|number| register(directory.tcp, number, topics)).collect();
    let register = begin.elapsed();
    let resident_bytes = directory.resident_bytes();
    let mut client = Client::connect(directory.http);
    let mut lookup = histogram();
    for number in 0..LOOKUPS {
        client.look_up(number * STRIDE % topics, nsqds, &mut lookup);
    }
    let begin = Instant::now();
    client.get("/topics");
    let topics_took = begin.elapsed();
    let begin = Instant::now();
    client.get("/nodes");
    let nodes = begin.elapsed();
    let mut beside_nodes = histogram();
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut other = Client::connect(directory.http);
            for _ in 0..NODES {
                other.get("/nodes");
            }
        });
        let mut number = 0;
        while !asking.is_finished() {
            client.look_up(number * STRIDE % topics, nsqds, &mut beside_nodes);
            number += 1;
        }
    });

    let leaver = connected.pop().expect("there is one nsqd at least");
    let mut leaving = histogram();
    let begin = Instant::now();
    leaver.shutdown(Shutdown::Both).expect("an open stream can be closed");
    drop(leaver);
    // It is swept out in one order or another: when the last name is without it, nearly all are.
    for number in (0..topics).rev() {
        while client.look_up(number, nsqds - 1, &mut leaving) != nsqds - 1 {
            assert!(begin.elapsed() < Duration::from_secs(30), "an nsqd that left is still there");
        }
    }
    Figures {
        register,
        lookup,
        nodes,
        beside_nodes,
        topics: topics_took,
        leaving,
        left: begin.elapsed(),
        resident_bytes,
    }
}

fn topic(number: usize) -> String {
    format!("a-topic-with-a-name-of-some-length-{number:06}")
}

/// Connects an nsqd and registers all its topics.
fn register(directory: SocketAddr, number: usize, topics: usize) -> TcpStream {
    let mut stream = TcpStream::connect(directory).expect("nsqlookupd accepts");
    let identity = format!(
        r#"{{"broadcast_address":"nsqd-{number:03}.example.org","hostname":"nsqd-{number:03}","http_port":4151,"tcp_port":4150,"topology_region":"","topology_zone":"","version":"1.3.0"}}"#
    );
    let size = u32::try_from(identity.len()).expect("it is small");
    let mut bytes = b"  V1IDENTIFY\n".to_vec();
    bytes.extend(size.to_be_bytes());
    bytes.extend(identity.as_bytes());
    for number in 0..topics {
        bytes.extend(format!("REGISTER {} channel\n", topic(number)).as_bytes());
    }
    let mut answers = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let reading = thread::spawn(move || {
        for _ in 0..=topics {
            let mut size = [0; 4];
            answers.read_exact(&mut size).expect("an answer comes");
            let size = usize::try_from(u32::from_be_bytes(size)).expect("an answer is small");
            answers.read_exact(&mut vec![0; size]).expect("an answer is whole");
        }
    });
    stream.write_all(&bytes).expect("nsqlookupd reads");
    reading.join().expect("the reader of answers does not panic");
    stream
}

/// One HTTP connection.
struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

impl Client {
    fn connect(directory: SocketAddr) -> Self {
        let stream = TcpStream::connect(directory).expect("nsqlookupd accepts");
        stream.set_nodelay(true).expect("a socket option can be set");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit can be set");
        let input = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        Self { stream, input }
    }

    /// How many producers a topic has, at least `least`; the time is recorded.
    fn look_up(&mut self, number: usize, least: usize, took: &mut Histogram<u64>) -> usize {
        let begin = Instant::now();
        let body = self.get(&format!("/lookup?topic={}", topic(number)));
        let microseconds = u64::try_from(begin.elapsed().as_micros()).expect("an hour fits");
        took.record(microseconds.max(1)).expect("it is within the bounds");
        let found = body.windows(10).filter(|piece| piece == b"\"tcp_port\"").count();
        assert!(least <= found, "{found} of {least} producers are found");
        found
    }

    fn get(&mut self, target: &str) -> Vec<u8> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("nsqlookupd reads");
        let status = self.line();
        assert!(status.starts_with("HTTP/1.1 200 "), "{target}: {status}");
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.parse().expect("a length is a number");
            }
            is_chunked |= line == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        if !is_chunked {
            self.read(length, &mut body);
            return body;
        }
        loop {
            let size = usize::from_str_radix(&self.line(), 16).expect("a chunk has a size");
            self.read(size, &mut body);
            assert_eq!(self.line(), "", "a chunk ends");
            if size == 0 {
                return body;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("an answer comes");
        line.trim_end().to_owned()
    }

    fn read(&mut self, bytes: usize, body: &mut Vec<u8>) {
        let start = body.len();
        body.resize(start + bytes, 0);
        self.input.read_exact(&mut body[start..]).expect("an answer is whole");
    }
}
