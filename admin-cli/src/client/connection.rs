//! One TCP connection to a broker, from the client's side.
//!
//! Knows: the first words of a conversation, and how frames arrive. Does not know: what the frames
//! mean to a consumer or a producer. Nothing here waits for ever, but for the next frame.

use std::io;
use std::time::Duration;

use protocol::frame::{Frame, decode_frame};
use protocol::message_id::MessageId;
use protocol::request;
use serde::Deserialize;
use serde_json::json;
use startup::hostname::hostname;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::Address;

/// How long to wait until a connection is there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait until the broker takes what is sent to it, or answers the first words.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// The largest frame that is accepted: far beyond what brokers are configured to take.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// How much room there is at least for each read.
const READ_BYTES: usize = 64 << 10;

/// Why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The broker refused, in these words of its protocol.
    Refused(String),
    /// Anything else, in words for people.
    Broken(String),
}

impl Lost {
    /// For the user, behind the broker's address.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(text) => format!("refuses: {text}"),
            Self::Broken(reason) => reason.clone(),
        }
    }

    fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into())
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Whether the broker sends heartbeats, which must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeats {
    /// As often as the broker likes.
    Answered,
    /// Never: for a client that does nothing while it waits for input.
    Off,
}

/// What a broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// To be answered with NOP.
    Heartbeat,
    /// An answer to a command, other than a refusal.
    Response(Vec<u8>),
    /// A refusal: `CODE` or `CODE reason`.
    Error(String),
    /// A delivery.
    Message { id: MessageId, body: Vec<u8> },
}

/// What the broker tells about itself at IDENTIFY.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Agreement {
    /// The greatest count that RDY may have.
    pub(crate) max_rdy_count: u64,
    /// Whether it wants AUTH before anything else.
    auth_required: bool,
}

impl Default for Agreement {
    /// What holds at a broker that only says `OK`.
    fn default() -> Self {
        Self { max_rdy_count: 2500, auth_required: false }
    }
}

/// A connection on which IDENTIFY is done.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// How much at the start of `input` was decoded. Invariant: at most `input.len()`.
    decoded: usize,
}

impl Connection {
    /// Connects and says who we are.
    pub(crate) async fn open(
        address: &Address,
        heartbeats: Heartbeats,
    ) -> Result<(Self, Agreement), Lost> {
        let stream = timeout(CONNECT_PATIENCE, TcpStream::connect(address.as_str()))
            .await
            .map_err(|_| Lost::broken("cannot be connected to in time"))?
            .map_err(|error| Lost::broken(format!("cannot be connected to: {error}")))?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, input: Vec::new(), decoded: 0 };

        let mut hello = request::MAGIC.to_vec();
        request::identify(&mut hello, &identification(heartbeats));
        connection.send(&hello).await?;
        let answer = connection.answer().await?;
        let agreement = match answer.as_slice() {
            b"OK" => Agreement::default(),
            json => serde_json::from_slice(json).map_err(|error| {
                Lost::broken(format!("answers IDENTIFY with something else than JSON: {error}"))
            })?,
        };
        if agreement.auth_required {
            return Err(Lost::broken("asks for AUTH, which is not supported here"));
        }
        Ok((connection, agreement))
    }

    /// Sends commands, and waits until they have left.
    pub(crate) async fn send(&mut self, commands: &[u8]) -> Result<(), Lost> {
        timeout(ANSWER_PATIENCE, self.stream.write_all(commands))
            .await
            .map_err(|_| Lost::broken("does not read what is sent to it"))?
            .map_err(Lost::from)
    }

    /// The answer to the command sent last, on a connection that gets no messages yet.
    pub(crate) async fn answer(&mut self) -> Result<Vec<u8>, Lost> {
        let answer = async {
            loop {
                match self.receive().await? {
                    Received::Response(answer) => return Ok(answer),
                    Received::Error(text) => return Err(Lost::Refused(text)),
                    Received::Heartbeat => {
                        let mut nop = Vec::new();
                        request::nop(&mut nop);
                        self.send(&nop).await?;
                    }
                    Received::Message { .. } => {
                        return Err(Lost::broken("sends messages that were not asked for"));
                    }
                }
            }
        };
        timeout(ANSWER_PATIENCE, answer)
            .await
            .map_err(|_| Lost::broken("does not answer in time"))?
    }

    /// The next frame. When the wait is given up, nothing is lost.
    pub(crate) async fn receive(&mut self) -> Result<Received, Lost> {
        loop {
            if let Some(received) = self.received()? {
                return Ok(received);
            }
            self.input.drain(..self.decoded);
            self.decoded = 0;
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Lost::broken("has closed the connection"));
            }
        }
    }

    /// The next frame of those that have arrived.
    pub(crate) fn received(&mut self) -> Result<Option<Received>, Lost> {
        let input = &self.input[self.decoded..];
        let Some((frame, bytes)) = decode_frame(input, FRAME_BYTES_MAX)
            .map_err(|error| Lost::broken(format!("does not speak NSQ's protocol: {error}")))?
        else {
            return Ok(None);
        };
        let received = match frame {
            Frame::Response(b"_heartbeat_") => Received::Heartbeat,
            Frame::Response(data) => Received::Response(data.to_vec()),
            Frame::Error(text) => Received::Error(String::from_utf8_lossy(text).into_owned()),
            Frame::Message(message) => {
                Received::Message { id: message.id, body: message.body.to_vec() }
            }
        };
        self.decoded += bytes;
        Ok(Some(received))
    }
}

/// The body of IDENTIFY.
fn identification(heartbeats: Heartbeats) -> Vec<u8> {
    let hostname = hostname();
    let client_id = hostname.split('.').next().unwrap_or_default();
    let mut body = json!({
        "client_id": client_id,
        "hostname": hostname,
        "user_agent": concat!("admin-cli/", env!("CARGO_PKG_VERSION")),
        "feature_negotiation": true,
    });
    if heartbeats == Heartbeats::Off {
        body["heartbeat_interval"] = json!(-1);
    }
    body.to_string().into_bytes()
}
