//! The floor under a broker on this runtime: a loop that parses what is published, checks its sum,
//! keeps it in memory and says `OK`. It has no topics, no channels, no log and no consumers.
//!
//! It is started as a broker is, and answers over HTTP whatever the bench asks of one while it
//! prepares a row.
#![expect(clippy::print_stderr, reason = "its ports are read from there, as a broker's are")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::TcpStream;
use glommio::{LocalExecutorBuilder, Placement};
use protocol::command::Command;
use protocol::conversation::Conversation;
use protocol::decoder::{Decoded, Decoder};
use protocol::frame;
use protocol::limits::Limits;
use protocol::request::MAGIC;

/// As much as the broker reads at once.
const READ_BYTES: usize = 128 << 10;
const PAGE_BYTES: usize = 1 << 20;
/// What is kept; then the oldest page is written to again, as fresh memory would cost more than all
/// the rest.
const PAGES: usize = 64;

fn main() {
    let http = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    tell("HTTP", http.local_addr());
    thread::spawn(move || answer_requests(&http));
    LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .expect("the kernel gives a ring")
        .run(serve());
}

/// Tells a port as brokers tell theirs.
fn tell<E: Debug>(name: &str, address: Result<SocketAddr, E>) {
    eprintln!("{name}: listening on {}", address.expect("a listener has an address"));
}

/// Nothing waits in any topic.
fn answer_requests(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        drop(stream.read(&mut [0; 1024]));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"depth\":0}"));
    }
}

async fn serve() {
    let listener = glommio::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    tell("TCP", listener.local_addr());
    let kept = Rc::new(RefCell::new(Kept::default()));
    loop {
        let stream = listener.accept().await.expect("a descriptor is left");
        glommio::spawn_local(publisher(stream, kept.clone())).detach();
    }
}

/// Serves one connection until it ends.
async fn publisher(mut stream: TcpStream, kept: Rc<RefCell<Kept>>) {
    drop(stream.set_nodelay(true));
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = vec![0; 2 * READ_BYTES];
    let (mut length, mut is_greeted) = (0, false);
    let mut answers = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]).await {
        length += count;
        let mut at = 0;
        if !is_greeted && MAGIC.len() <= length {
            (is_greeted, at) = (true, MAGIC.len());
        }
        while is_greeted
            && let Ok(Decoded::Command { command, consumed }) =
                decoder.decode(&buffer[at..length], Conversation::fresh())
        {
            let mut kept = kept.borrow_mut();
            match command {
                Command::PublishMany { bodies, .. } => kept.keep(bodies.region()),
                Command::Publish { body, .. } => kept.keep(body),
                _ => return,
            }
            answers.extend_from_slice(frame::OK);
            at += consumed;
        }
        buffer.copy_within(at..length, 0);
        length -= at;
        if !answers.is_empty() && stream.write_all(&answers).await.is_err() {
            return;
        }
        answers.clear();
    }
}

/// The newest messages, with the sums of what came together.
#[derive(Default)]
struct Kept {
    pages: VecDeque<Vec<u8>>,
}

impl Kept {
    fn keep(&mut self, bodies: &[u8]) {
        let sum = crc32fast::hash(bodies).to_be_bytes();
        let needed = sum.len() + bodies.len();
        if self.pages.back().is_none_or(|page| page.capacity() - page.len() < needed) {
            let mut page = if self.pages.len() < PAGES {
                Vec::with_capacity(PAGE_BYTES)
            } else {
                self.pages.pop_front().unwrap_or_default()
            };
            page.clear();
            self.pages.push_back(page);
        }
        if let Some(page) = self.pages.back_mut() {
            page.extend_from_slice(&sum);
            page.extend_from_slice(bodies);
        }
    }
}
