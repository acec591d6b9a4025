//! One request while it is served: its head, and as much of its body as its route wants.
//!
//! Knows: when a body is read, and what becomes of one that nobody reads. Does not know: what any
//! body means.

use super::transport::Transport;
use crate::routing::placement::ShardId;
use crate::shard::Shard;
use protocol::http::body::{BodyError, BodyReader};
use protocol::http::request::{BodyLength, Head};
use protocol::http::response::CONTINUE;
use std::rc::Rc;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    /// The core that serves it.
    pub(super) shard: &'a Rc<Shard>,
    /// Its head.
    pub(super) head: &'a Head,
    /// The core that owns the topic it published to.
    pub(super) published_to: Option<ShardId>,
    transport: &'a mut Transport,
    body: Body,
}

/// Where the connection's next byte stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// At its start.
    Unread,
    /// Behind it.
    Read,
    /// Nobody knows: reading it failed.
    Lost,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// It is larger than allowed.
    TooBig,
    /// It is malformed, or ends too early.
    Broken,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(shard: &'a Rc<Shard>, head: &'a Head, transport: &'a mut Transport) -> Self {
        Self { shard, head, published_to: None, transport, body: Body::Unread }
    }

    /// Whether the head announces more than `limit` bytes of body.
    pub(super) fn announces_more_than(&self, limit: usize) -> bool {
        matches!(self.head.body, BodyLength::Length(bytes) if wide(limit) < bytes)
    }

    /// The whole body, of at most `limit` bytes. To be called once.
    pub(super) async fn body(&mut self, limit: usize) -> Result<Vec<u8>, NoBody> {
        assert_eq!(self.body, Body::Unread, "a body is read once");
        let mut reader =
            BodyReader::new(self.head.body, wide(limit)).map_err(|_| NoBody::TooBig)?;
        // From here on only reading to the end tells where the next request starts.
        self.body = Body::Lost;
        if self.head.expect_continue {
            let sent = self.transport.send(|bytes| bytes.extend_from_slice(CONTINUE)).await;
            sent.map_err(|_| NoBody::Broken)?;
        }
        self.read_to_end(&mut reader).await?;
        self.body = Body::Read;
        Ok(reader.into_content())
    }

    /// Passes over a body that nobody wanted; false when the connection cannot go on behind it.
    pub(super) async fn pass_body(mut self) -> bool {
        match self.body {
            Body::Read => true,
            Body::Lost => false,
            // The client was not told to send it, and so may or may not do so.
            Body::Unread if self.head.expect_continue => false,
            Body::Unread => match BodyReader::unwanted(self.head.body) {
                Ok(mut reader) => self.read_to_end(&mut reader).await.is_ok(),
                Err(_) => false,
            },
        }
    }

    async fn read_to_end(&mut self, reader: &mut BodyReader) -> Result<(), NoBody> {
        loop {
            let taken = reader.feed(self.transport.unread()).map_err(|error| match error {
                BodyError::TooBig => NoBody::TooBig,
                BodyError::Malformed => NoBody::Broken,
            })?;
            self.transport.consume(taken);
            if reader.is_complete() {
                return Ok(());
            }
            if self.transport.read_more().await.is_err() {
                if matches!(self.head.body, BodyLength::Length(_)) {
                    // Nothing follows that could be mistaken for a request (NSQ behaviour: such an
                    // answer does not say that the connection closes).
                    self.body = Body::Read;
                }
                return Err(NoBody::Broken);
            }
        }
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("an address has at most 64 bits")
}
