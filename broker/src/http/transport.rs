//! The bytes of one HTTP connection, in and out, and how long they may take.
//!
//! Knows: the socket, TLS, what came and was not looked at yet, deadlines. Does not know: what any byte
//! means.

use crate::clock::Tick;
use crate::connection::layers::{Broken, Layers, Opened};
use crate::connection::output::Output;
use crate::connection::peer::Peer;
use crate::connection::socket::{Sent, Socket};
use crate::http::handoff::Traveller;
use crate::limits::{HANDSHAKE_MILLISECONDS, LINGER_MILLISECONDS};
use crate::shard::Shard;
use futures_lite::FutureExt;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection may stay silent between two requests. Go's clients, which most of NSQ's
/// are, give up theirs after 90 seconds: so it is they who close, and no request meets a connection
/// that is being closed here.
const IDLE_MAX: Duration = Duration::from_mins(3);
/// How long a head may take from its first byte to its last.
const HEAD_MAX: Duration = Duration::from_mins(1);
/// How long a client may take for the next bytes of a body, or to take bytes of an answer.
const STALL_MAX: Duration = Duration::from_mins(1);
/// Bytes of an answer that are sent before others have their turn; inside TLS about half as many.
const SENT_AT_ONCE: usize = 128 << 10;
/// A buffer of this size is kept between requests; a larger one is given back.
const KEPT_BYTES_MAX: usize = 4096;

/// The connection has ended, by the client, by an error or by a deadline: nobody is left to be
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Transport {
    shard: Rc<Shard>,
    socket: Rc<Socket>,
    /// TLS, if the connection came in by that port.
    layers: Option<Box<Layers>>,
    /// What came; the first `consumed` bytes were looked at.
    input: Vec<u8>,
    /// Invariant: less than `input.len()`, or both are 0.
    consumed: usize,
    output: Output,
}

impl Transport {
    pub(super) fn new(shard: Rc<Shard>, socket: Rc<Socket>) -> Self {
        Self {
            shard,
            socket,
            layers: None,
            input: Vec::new(),
            consumed: 0,
            output: Output::default(),
        }
    }

    /// One that another core has served until now.
    pub(super) fn arrived(
        shard: Rc<Shard>,
        socket: Rc<Socket>,
        layers: Option<Box<Layers>>,
        unread: Vec<u8>,
    ) -> Self {
        Self { layers, input: unread, ..Self::new(shard, socket) }
    }

    /// What travels to another core between a POST and the next request, when all answers were sent.
    /// This is of no use any more then.
    ///
    /// # Errors
    /// When the process has no descriptor left; it stays as it was.
    pub(super) fn leave(&mut self, peer: Peer) -> io::Result<Traveller> {
        debug_assert!(self.has_sent_all(), "answers do not travel");
        let stream = self.socket.duplicate()?;
        let unread = self.input.split_off(self.consumed);
        Ok(Traveller { stream, peer, layers: self.layers.take(), unread })
    }

    /// Whether there is TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.layers.is_some()
    }

    /// Begins TLS.
    ///
    /// # Errors
    /// Why there is none, for the log; the client was told.
    pub(super) async fn begin_tls(&mut self) -> Result<(), String> {
        let settings = self.shard.config.tls.clone().ok_or("there is no certificate")?;
        let limit = Duration::from_millis(HANDSHAKE_MILLISECONDS);
        let deadline = self.shard.clock.now().tick.plus(limit);
        let mut layers = Layers::tls(&settings, Vec::new()).map_err(|Broken(reason)| reason)?;
        loop {
            self.read_until(deadline).await.map_err(|Ended| "it broke off or took too long")?;
            let is_http = looks_like_http(self.unread());
            let shard = self.shard.clone();
            let shaken = shard.handshakes.step(|| layers.shake_hands(self.unread())).await;
            self.consume(self.unread().len());
            self.send(|bytes| layers.wire().take_into(bytes)).await.ok();
            match shaken {
                Ok(false) => {}
                Ok(true) => break,
                Err(Broken(_)) if is_http => {
                    self.send(|bytes| bytes.extend_from_slice(NOT_HTTPS)).await.ok();
                    return Err("client sent an HTTP request to an HTTPS server".to_string());
                }
                Err(Broken(reason)) => return Err(reason),
            }
        }
        self.layers = Some(Box::new(layers));
        Ok(())
    }

    /// What came and was not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// The first `bytes` of the unread ones are done with.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        if self.consumed < self.input.len() {
            return;
        }
        self.consumed = 0;
        self.input.clear();
        if KEPT_BYTES_MAX < self.input.capacity() {
            self.input = Vec::new();
        }
    }

    /// When a head that has begun now must have come.
    pub(super) fn head_deadline(&self) -> Tick {
        self.shard.clock.now().tick.plus(HEAD_MAX)
    }

    /// Whether there is still time.
    pub(super) fn is_before(&self, deadline: Tick) -> bool {
        self.shard.clock.now().tick < deadline
    }

    /// Waits for the first bytes of a request.
    pub(super) async fn wait_for_request(&mut self) -> Result<(), Ended> {
        let deadline = self.shard.clock.now().tick.plus(IDLE_MAX);
        self.read_until(deadline).await
    }

    /// Waits for more bytes of a body.
    pub(super) async fn read_more(&mut self) -> Result<(), Ended> {
        let deadline = self.shard.clock.now().tick.plus(STALL_MAX);
        self.read_until(deadline).await
    }

    /// Waits for more bytes, not beyond `deadline`.
    pub(super) async fn read_until(&mut self, deadline: Tick) -> Result<(), Ended> {
        // A client that never stops sending must not keep the others of its core waiting.
        self.let_others().await;
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let left = deadline.since(self.shard.clock.now().tick);
        let Self { shard, socket, layers, input, .. } = self;
        let read = poll_fn(|context| {
            let mut buffer = shard.read_buffer.borrow_mut();
            let read = match layers {
                Some(layers) => socket
                    .poll_open(context, &mut buffer, layers, input)
                    .map_ok(|opened| opened != Opened::End),
                None => socket.poll_read(context, &mut buffer).map_ok(|length| {
                    input.extend_from_slice(&buffer[..length]);
                    0 < length
                }),
            };
            read.map(|read| if read.is_ok_and(|is_open| is_open) { Ok(()) } else { Err(Ended) })
        });
        let read = within(left, read).await;
        if self.layers.as_ref().is_some_and(|layers| !layers.is_wire_empty()) {
            // TLS has something to say for itself, if only why it ends.
            self.send(|_| ()).await?;
        }
        read
    }

    /// Sends what `write` appends, and waits until the system has taken all of it.
    pub(super) async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        self.output.gather(write);
        loop {
            let Self { socket, layers, output, .. } = self;
            let waiting = match layers {
                None => &mut *output,
                Some(layers) => {
                    layers.seal(output);
                    layers.wire()
                }
            };
            if waiting.is_empty() {
                return Ok(());
            }
            if socket.send_some(waiting, SENT_AT_ONCE).map_err(ended)? == Sent::Blocked {
                let sent = poll_fn(|context| socket.poll_send(context, waiting));
                within(STALL_MAX, async { sent.await.map_err(ended) }).await?;
            } else if !self.has_sent_all() {
                // Nor must one who takes a long answer as fast as it is sent.
                self.let_others().await;
            }
        }
    }

    fn has_sent_all(&self) -> bool {
        let is_wire_empty = self.layers.as_ref().is_none_or(|layers| layers.is_wire_empty());
        self.output.is_empty() && is_wire_empty
    }

    /// Lets the other connections have their turn.
    pub(super) async fn let_others(&self) {
        self.shard.let_others().await;
    }

    /// Closes so that the last answer arrives: with bytes unread, closing at once would destroy it
    /// on its way.
    pub(super) async fn close(mut self) {
        if let Some(layers) = &mut self.layers {
            layers.say_goodbye();
            // It is a courtesy: whoever takes no bytes now goes without.
            self.socket.send(layers.wire()).ok();
        }
        self.socket.shut_down(Shutdown::Write);
        let linger = Duration::from_millis(LINGER_MILLISECONDS);
        let deadline = self.shard.clock.now().tick.plus(linger);
        while self.read_until(deadline).await.is_ok() {
            self.consume(self.unread().len());
        }
    }
}

/// What Go's server says, outside TLS, to a request that did not begin with it.
const NOT_HTTPS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Whether this is the beginning of a request outside TLS.
fn looks_like_http(bytes: &[u8]) -> bool {
    let words: [&[u8]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
    words.iter().any(|word| bytes.starts_with(word))
}

fn ended(_: io::Error) -> Ended {
    Ended
}

/// Waits for `work`, not longer than `longest`.
async fn within(
    longest: Duration,
    work: impl Future<Output = Result<(), Ended>>,
) -> Result<(), Ended> {
    // The timer is made only if the work has to wait.
    let deadline = async {
        glommio::timer::sleep(longest).await;
        Err(Ended)
    };
    work.or(deadline).await
}
