//! The bytes of one HTTP connection, in and out, and how long they may take.
//!
//! Knows: the socket, what came and was not looked at yet, deadlines. Does not know: what any byte
//! means.

use crate::clock::Tick;
use crate::connection::output::Output;
use crate::connection::socket::{Sent, Socket};
use crate::limits::LINGER_MILLISECONDS;
use crate::shard::Shard;
use futures_lite::FutureExt;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

/// How long a connection may stay silent between two requests. Go's clients, which most of NSQ's
/// are, give up theirs after 90 seconds: so it is they who close, and no request meets a connection
/// that is being closed here.
const IDLE_MAX: Duration = Duration::from_mins(3);
/// How long a head may take from its first byte to its last.
const HEAD_MAX: Duration = Duration::from_mins(1);
/// How long a client may take for the next bytes of a body, or to take bytes of an answer.
const STALL_MAX: Duration = Duration::from_mins(1);
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
    /// What came; the first `consumed` bytes were looked at.
    input: Vec<u8>,
    /// Invariant: less than `input.len()`, or both are 0.
    consumed: usize,
    output: Output,
}

impl Transport {
    pub(super) fn new(shard: Rc<Shard>, socket: Rc<Socket>) -> Self {
        Self { shard, socket, input: Vec::new(), consumed: 0, output: Output::default() }
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
        glommio::executor().yield_now().await;
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let left = deadline.since(self.shard.clock.now().tick);
        let Self { shard, socket, input, .. } = self;
        let read = poll_fn(|context| {
            let mut buffer = shard.read_buffer.borrow_mut();
            match ready!(socket.poll_read(context, &mut buffer)) {
                Ok(0) | Err(_) => Poll::Ready(Err(Ended)),
                Ok(length) => {
                    input.extend_from_slice(&buffer[..length]);
                    Poll::Ready(Ok(()))
                }
            }
        });
        within(left, read).await
    }

    /// Sends what `write` appends, and waits until the system has taken all of it.
    pub(super) async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        self.output.gather(write);
        let Self { socket, output, .. } = self;
        while socket.send(output).map_err(ended)? == Sent::Blocked {
            let sent = poll_fn(|context| socket.poll_send(context, output));
            within(STALL_MAX, async { sent.await.map_err(ended) }).await?;
        }
        Ok(())
    }

    /// Closes so that the last answer arrives: with bytes unread, closing at once would destroy it
    /// on its way.
    pub(super) async fn close(mut self) {
        self.socket.shut_down(Shutdown::Write);
        let linger = Duration::from_millis(LINGER_MILLISECONDS);
        let deadline = self.shard.clock.now().tick.plus(linger);
        while self.read_until(deadline).await.is_ok() {
            self.consume(self.unread().len());
        }
    }
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
