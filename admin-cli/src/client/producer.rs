//! One connection over which messages are published, a batch at a time.
//!
//! Knows: that a batch is either published as a whole or not at all, and that a connection which
//! breaks before the answer leaves this open. Does not know: where messages come from.

use protocol::name::TopicName;
use protocol::request;

use crate::address::Address;
use crate::client::connection::{Connection, Heartbeats, Lost};

/// A connection that only publishes. It has no heartbeats, so it may lie idle for as long as the
/// input does.
pub(crate) struct Producer {
    connection: Connection,
    topic: TopicName,
}

impl Producer {
    pub(crate) async fn connect(address: &Address, topic: TopicName) -> Result<Self, Lost> {
        let (connection, _) = Connection::open(address, Heartbeats::Off).await?;
        Ok(Self { connection, topic })
    }

    /// Publishes all of `bodies`, none of them empty, and waits for the answer.
    ///
    /// # Errors
    /// [`Lost::Refused`]: none of them is published. [`Lost::Broken`]: all of them or none.
    pub(crate) async fn publish(&mut self, bodies: &[Vec<u8>]) -> Result<(), Lost> {
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let mut command = Vec::new();
        request::publish_many(&mut command, self.topic.as_bytes(), &bodies);
        // A broker that refuses a batch before it has read all of it closes the connection, so the
        // sending may fail while the reason lies ready to be read.
        let sent = self.connection.send(&command).await;
        match (sent, self.connection.answer().await) {
            (_, Err(refused @ Lost::Refused(_))) => Err(refused),
            (Err(lost), _) | (_, Err(lost)) => Err(lost),
            (Ok(()), Ok(_)) => Ok(()),
        }
    }
}
