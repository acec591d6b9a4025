//! One TCP connection to a broker, from the client's side.
//!
//! Knows: the first words of a conversation (IDENTIFY, TLS, compression, AUTH), and how frames
//! arrive. Does not know: what frames mean to a consumer or a producer. Nothing here waits longer
//! than the options allow.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use protocol::frame::{Frame, MESSAGE_FRAME_OVERHEAD, decode_frame};
use protocol::message_id::MessageId;
use protocol::request;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial::{self, DialError, dial};
use super::layers::{Layers, Opened};
use super::log::{Labelled, Level};
use super::options::Options;

/// The largest frame that is accepted: far beyond what brokers are configured to take.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// Where less room is left in the buffer, it is not worth a read.
const ROOM_BYTES_MIN: usize = 8 << 10;
/// Commands that are sealed or written at once; more of them wait their turn.
const WRITE_BYTES: usize = 256 << 10;

/// Why a connection could not be brought to where commands may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// Nobody takes it.
    Dial(DialError),
    /// The broker refused in these words, to IDENTIFY or to AUTH.
    Refused { during: Stage, text: String },
    /// Anything else.
    Broken { during: Stage, text: String },
}

/// What was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// IDENTIFY, and the layers that were agreed.
    Identify,
    /// AUTH.
    Authorize,
}

impl ConnectError {
    /// In go-nsq's words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Dial(error) => error.text(),
            Self::Refused { during: Stage::Identify, text }
            | Self::Broken { during: Stage::Identify, text } => {
                format!("failed to IDENTIFY - {text}")
            }
            Self::Refused { during: Stage::Authorize, text } => {
                format!("Error authenticating {text}")
            }
            Self::Broken { during: Stage::Authorize, text } => text.clone(),
        }
    }

    /// For a person, behind the broker's address.
    pub(crate) fn for_people(&self) -> String {
        match self {
            Self::Dial(error) => format!("cannot be connected to: {}", error.reason),
            Self::Refused { text, .. } => format!("refuses: {text}"),
            Self::Broken { text, .. } => text.clone(),
        }
    }
}

/// What the broker tells about itself at IDENTIFY.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Agreement {
    /// The greatest count that RDY may have.
    pub(super) max_rdy_count: i64,
    tls_v1: bool,
    deflate: bool,
    snappy: bool,
    auth_required: bool,
}

impl Default for Agreement {
    /// What holds at a broker that only says `OK`.
    fn default() -> Self {
        Self {
            max_rdy_count: 2500,
            tls_v1: false,
            deflate: false,
            snappy: false,
            auth_required: false,
        }
    }
}

/// What AUTH is answered with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Authorization {
    identity: String,
    identity_url: String,
    permission_count: i64,
}

/// A connection on which IDENTIFY and AUTH are done.
pub(super) struct Connection {
    stream: TcpStream,
    layers: Layers,
    /// What came and is still to be opened by the layers. At most one read.
    came: Vec<u8>,
    /// What the layers opened last; its memory is kept.
    opened: Vec<u8>,
    /// Plain bytes that are not taken yet: at most one frame that is not whole, and one read.
    input: BytesMut,
    /// What the layers sealed last; its memory is kept.
    wire: Vec<u8>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Connection {
    /// Connects, and says who we are.
    pub(super) async fn open(
        address: &str,
        options: &Options,
        log: &Labelled,
    ) -> Result<(Self, Agreement), ConnectError> {
        let (limit, local) = (options.dial_timeout.limit(), options.local_addr);
        let stream = dial(address, limit, local).await.map_err(ConnectError::Dial)?;
        let mut connection = Self {
            stream,
            layers: Layers::default(),
            came: Vec::new(),
            opened: Vec::new(),
            input: BytesMut::new(),
            wire: Vec::new(),
            read_timeout: options.read_timeout.limit(),
            write_timeout: options.write_timeout.limit(),
        };
        let agreement = connection.identify(address, options, log).await?;
        if agreement.auth_required {
            connection.authorize(address, options, log).await?;
        }
        Ok((connection, agreement))
    }

    async fn identify(
        &mut self,
        address: &str,
        options: &Options,
        log: &Labelled,
    ) -> Result<Agreement, ConnectError> {
        let during = Stage::Identify;
        let broken = |text| ConnectError::Broken { during, text };
        let mut hello = request::MAGIC.to_vec();
        request::identify(&mut hello, &options.identification());
        self.send(&hello).await.map_err(broken)?;
        let answer = match self.answer().await.map_err(broken)? {
            Answer::Response(answer) => answer,
            Answer::Error(text) => return Err(ConnectError::Refused { during, text }),
        };
        if answer.first() != Some(&b'{') {
            return Ok(Agreement::default());
        }
        let agreement: Agreement =
            serde_json::from_slice(&answer).map_err(|error| broken(error.to_string()))?;
        if agreement.tls_v1 {
            log.say_of(Level::Info, address, "upgrading to TLS");
            self.begin_tls(address, options).await.map_err(broken)?;
        }
        if agreement.deflate {
            log.say_of(Level::Info, address, "upgrading to Deflate");
            let level = u32::try_from(options.deflate_level).unwrap_or(6);
            self.layers.begin_deflate(level, &mut self.input, &mut self.came);
            self.expect_ok("Deflate").await.map_err(broken)?;
        }
        if agreement.snappy {
            log.say_of(Level::Info, address, "upgrading to Snappy");
            self.layers.begin_snappy(&mut self.input, &mut self.came);
            self.expect_ok("Snappy").await.map_err(broken)?;
        }
        Ok(agreement)
    }

    async fn begin_tls(&mut self, address: &str, options: &Options) -> Result<(), String> {
        let (host, _) = dial::split(address)?;
        self.layers.begin_tls(&options.tls.config()?, host)?;
        // What came behind the answer is TLS already.
        self.came = self.input.split().to_vec();
        loop {
            let mut wire = std::mem::take(&mut self.wire);
            let outcome = self.layers.shake_hands(&mut self.came, &mut wire);
            let sent = self.write(&wire).await;
            wire.clear();
            self.wire = wire;
            outcome?;
            sent?;
            if !self.layers.is_shaking_hands() {
                break;
            }
            let limit = self.read_timeout;
            let Self { stream, came, .. } = self;
            within(limit, stream, "read", async |stream| stream.read_buf(came).await)
                .await
                .and_then(not_the_end)?;
        }
        self.expect_ok("TLS").await
    }

    async fn expect_ok(&mut self, layer: &str) -> Result<(), String> {
        match self.answer().await? {
            Answer::Response(answer) if answer == b"OK" => Ok(()),
            _ => Err(format!("invalid response from {layer} upgrade")),
        }
    }

    async fn authorize(
        &mut self,
        address: &str,
        options: &Options,
        log: &Labelled,
    ) -> Result<(), ConnectError> {
        let during = Stage::Authorize;
        if options.auth_secret.is_empty() {
            log.say_of(Level::Error, address, "Auth Required");
            return Err(ConnectError::Broken { during, text: "Auth Required".to_owned() });
        }
        let mut command = Vec::new();
        request::auth(&mut command, options.auth_secret.as_bytes());
        let outcome = match self.send(&command).await {
            Ok(()) => self.answer().await,
            Err(text) => Err(text),
        };
        let authorization: Result<Authorization, ConnectError> = match outcome {
            Ok(Answer::Response(answer)) => serde_json::from_slice(&answer)
                .map_err(|error| ConnectError::Broken { during, text: error.to_string() }),
            Ok(Answer::Error(text)) => Err(ConnectError::Refused { during, text }),
            Err(text) => Err(ConnectError::Broken { during, text }),
        };
        let text = match &authorization {
            Ok(Authorization { identity, identity_url, permission_count }) => {
                log.say_of(
                    Level::Info,
                    address,
                    format_args!(
                        "Auth accepted. Identity: {identity:?} {identity_url} Permissions: \
                         {permission_count}"
                    ),
                );
                return Ok(());
            }
            Err(error) => error.text(),
        };
        log.say_of(Level::Error, address, format_args!("Auth Failed {text}"));
        authorization.map(drop)
    }

    /// The next frame, on a connection that gets no messages yet. What came behind it stays: it may
    /// be inside a layer that has not begun.
    async fn answer(&mut self) -> Result<Answer, String> {
        let limit = self.read_timeout;
        let answer = async {
            loop {
                let decoded = decode_frame(&self.input, FRAME_BYTES_MAX);
                if let Some((frame, bytes)) = decoded.map_err(|error| error.to_string())? {
                    let answer = match frame {
                        Frame::Response(data) => Answer::Response(data.to_vec()),
                        Frame::Error(text) => {
                            Answer::Error(String::from_utf8_lossy(text).into_owned())
                        }
                        Frame::Message(_) => {
                            return Err("a message came that nobody asked for".to_owned());
                        }
                    };
                    self.input.advance(bytes);
                    return Ok(answer);
                }
                self.read().await?;
            }
        };
        match limit {
            None => answer.await,
            Some(limit) => {
                timeout(limit, answer).await.unwrap_or_else(|_| Err("i/o timeout".to_owned()))
            }
        }
    }

    /// Sends commands, and waits until they have left.
    ///
    /// # Errors
    /// In Go's words, when the broker is gone or does not take them in time.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<(), String> {
        if self.layers.is_plain() {
            return self.write(commands).await;
        }
        for piece in commands.chunks(WRITE_BYTES) {
            let mut wire = std::mem::take(&mut self.wire);
            self.layers.seal(piece, &mut wire);
            let sent = self.write(&wire).await;
            wire.clear();
            self.wire = wire;
            sent?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        // Mostly all of it fits into the socket's buffer, and no timer is needed.
        let written = match self.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(describe(&self.stream, "write", &error)),
        };
        if written == bytes.len() {
            return Ok(());
        }
        let rest = &bytes[written..];
        within(self.write_timeout, &mut self.stream, "write", async |stream| {
            stream.write_all(rest).await
        })
        .await
    }

    /// Waits until something came. When the wait is given up, nothing is lost. The limit of time is
    /// for the caller to keep.
    ///
    /// # Errors
    /// In Go's words, when nothing comes any more: `EOF` for an orderly end.
    pub(super) async fn read(&mut self) -> Result<(), String> {
        if self.layers.is_plain() {
            if self.input.capacity() - self.input.len() < ROOM_BYTES_MIN {
                self.input.reserve(READ_BYTES);
            }
            let bytes = self.stream.read_buf(&mut self.input).await;
            let bytes = bytes.map_err(|error| describe(&self.stream, "read", &error))?;
            return if bytes == 0 { Err(self.end()) } else { Ok(()) };
        }
        loop {
            let opened = self.layers.open(&mut self.came, &mut self.opened)?;
            match opened {
                Opened::Bytes => {
                    self.input.extend_from_slice(&self.opened);
                    self.opened.clear();
                    return Ok(());
                }
                Opened::End => return Err(self.end()),
                Opened::NeedsInput => {}
            }
            self.came.reserve(READ_BYTES);
            let bytes = self.stream.read_buf(&mut self.came).await;
            let bytes = bytes.map_err(|error| describe(&self.stream, "read", &error))?;
            if bytes == 0 {
                return Err(self.end());
            }
        }
    }

    fn end(&self) -> String {
        if self.input.is_empty() { "EOF".to_owned() } else { "unexpected EOF".to_owned() }
    }

    /// What Go says when nothing came in time.
    pub(super) fn silence(&self) -> String {
        describe(&self.stream, "read", &io::Error::from(io::ErrorKind::TimedOut))
    }

    /// Takes the whole frames that came.
    ///
    /// # Errors
    /// When what came is not NSQ's protocol.
    pub(super) fn take_frames(&mut self) -> Result<Frames, String> {
        let mut whole = 0;
        while let Some((_, bytes)) = decode_frame(&self.input[whole..], FRAME_BYTES_MAX)
            .map_err(|error| error.to_string())?
        {
            whole += bytes;
        }
        let bytes = self.input.split_to(whole).freeze();
        // Room for all of a large frame that has begun: else it would be copied as it grows.
        if let Some(size) = self.input.first_chunk() {
            let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or_default() + 4;
            self.input.reserve(size.saturating_sub(self.input.len()));
        }
        Ok(Frames { bytes })
    }

    /// Says that nothing more is sent. What the broker still sends is thrown away.
    pub(super) async fn close(mut self) {
        // It is gone already where this fails.
        drop(self.stream.shutdown().await);
    }
}

/// An answer to one of the first words.
enum Answer {
    Response(Vec<u8>),
    Error(String),
}

/// Whole frames that came together.
pub(super) struct Frames {
    bytes: Bytes,
}

/// A frame; what it holds is a slice of what was read.
pub(super) enum Received {
    /// An answer or a heartbeat.
    Response(Bytes),
    /// A refusal.
    Error(Bytes),
    /// A delivery.
    Message { timestamp: i64, attempts: u16, id: MessageId, body: Bytes },
}

impl Frames {
    /// The frames, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Received> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at;
            let (frame, bytes) = decode_frame(&self.bytes[start..], FRAME_BYTES_MAX).ok()??;
            at += bytes;
            Some(match frame {
                Frame::Response(_) => Received::Response(self.bytes.slice(start + 8..at)),
                Frame::Error(_) => Received::Error(self.bytes.slice(start + 8..at)),
                Frame::Message(message) => Received::Message {
                    timestamp: message.timestamp,
                    attempts: message.attempts,
                    id: message.id,
                    body: self.bytes.slice(start + MESSAGE_FRAME_OVERHEAD..at),
                },
            })
        })
    }
}

/// Does something with the socket within a limit of time.
async fn within<T>(
    limit: Option<Duration>,
    stream: &mut TcpStream,
    what: &str,
    work: impl AsyncFnOnce(&mut TcpStream) -> io::Result<T>,
) -> Result<T, String> {
    let outcome = match limit {
        None => work(stream).await,
        Some(limit) => timeout(limit, work(stream))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))),
    };
    outcome.map_err(|error| describe(stream, what, &error))
}

fn not_the_end(bytes: usize) -> Result<(), String> {
    if bytes == 0 { Err("EOF".to_owned()) } else { Ok(()) }
}

/// An error of the socket in Go's words: `read tcp HERE->THERE: read: connection reset by peer`.
fn describe(stream: &TcpStream, what: &str, error: &io::Error) -> String {
    let shown = |address: io::Result<std::net::SocketAddr>| {
        address.map(|address| address.to_string()).unwrap_or_default()
    };
    let (here, there) = (shown(stream.local_addr()), shown(stream.peer_addr()));
    match error.raw_os_error() {
        None if error.kind() == io::ErrorKind::TimedOut => {
            format!("{what} tcp {here}->{there}: i/o timeout")
        }
        None if error.kind() == io::ErrorKind::WriteZero => "short write".to_owned(),
        _ => format!("{what} tcp {here}->{there}: {what}: {}", dial::words(error)),
    }
}
