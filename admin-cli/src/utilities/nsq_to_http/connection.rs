//! One connection to a web server: a request goes out, the head of the answer comes in.
//!
//! Knows: TCP and TLS, and where a body ends. Does not know: when a request is tried again, or how
//! long anything may take; every wait can be given up, and the connection with it.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{Answer, Body};
use crate::client::dial;
use crate::url::Url;

/// How long a TLS handshake may take, as in NSQ's.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at once.
const READ_BYTES: usize = 16 << 10;
/// The longest line between the chunks of a body.
const LINE_BYTES_MAX: usize = 4 << 10;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// What was read and is not used yet.
    input: Vec<u8>,
    /// Whether it has carried a request before.
    pub(super) is_used: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// In the words of Go's client.
    pub(super) text: String,
    /// How far it came.
    pub(super) progress: Progress,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it left.
    NothingSent,
    /// No byte of an answer came.
    NothingReceived,
    /// An answer began.
    SomethingReceived,
}

impl Connection {
    /// Connects to the server of an address.
    ///
    /// # Errors
    /// Why it cannot be, in Go's words.
    pub(super) async fn open(
        url: &Url,
        limit: Option<Duration>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let stream = dial::dial(&url.dialled(), limit, None).await.map_err(|error| error.text())?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = url.host_name().to_owned();
                let name = ServerName::try_from(name)
                    .map_err(|_| format!("tls: {:?} is no name of a server", url.host_name()))?;
                let connecting = TlsConnector::from(config.clone()).connect(name, stream);
                let stream = timeout(HANDSHAKE_PATIENCE, connecting)
                    .await
                    .map_err(|_| "net/http: TLS handshake timeout".to_owned())?
                    .map_err(|error| format!("tls: {error}"))?;
                Box::new(stream)
            }
        };
        Ok(Self { stream, input: Vec::new(), is_used: false })
    }

    /// Sends a request and reads the head of its answer, which may come before all is sent.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer, Broken> {
        self.is_used = true;
        let (mut reader, mut writer) = split(&mut self.stream);
        let (sent, received) = (Cell::new(0), Cell::new(0));
        let mut sending = pin!(send(&mut writer, request, &sent));
        let input = &mut self.input;
        let mut receiving = pin!(receive(&mut reader, input, &received));
        let mut unsent = None;
        let mut is_sent = false;
        let outcome = loop {
            tokio::select! {
                biased;
                answer = &mut receiving => break answer,
                result = &mut sending, if !is_sent => {
                    // A server that refuses early may have said why; so the answer is read still.
                    is_sent = true;
                    unsent = result.err();
                }
            }
        };
        let broken = |text: String| {
            let progress = match (sent.get(), received.get()) {
                (_, 1..) => Progress::SomethingReceived,
                (0, 0) => Progress::NothingSent,
                _ => Progress::NothingReceived,
            };
            Broken { text, progress }
        };
        match outcome {
            // What is left of the request would be taken for the next one.
            Ok(answer) if !is_sent || unsent.is_some() => {
                Ok(Answer { stays_open: false, ..answer })
            }
            Ok(answer) => Ok(answer),
            Err(text) => Err(broken(match unsent {
                Some(error) => format!("write tcp: write: {}", dial::words(&error)),
                None => text,
            })),
        }
    }

    /// Reads the body of an answer and throws it away. True when another request may follow.
    pub(super) async fn drain(&mut self, answer: &Answer) -> bool {
        let drained = match answer.body {
            Body::Sized(bytes) => self.skip(bytes).await,
            Body::Chunked => self.skip_chunks().await,
            Body::UntilClosed => self.skip(u64::MAX).await,
        };
        drained.is_ok() && answer.stays_open && self.input.is_empty()
    }

    /// Whether nothing has happened on the connection while nobody used it: neither its end, nor an
    /// answer to no question.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        let polled =
            Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
        polled.is_pending()
    }

    async fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        while 0 < bytes {
            if self.input.is_empty() {
                self.fill().await?;
            }
            let here = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.input.len());
            self.input.drain(..here);
            bytes -= u64::try_from(here).expect("a length fits");
        }
        Ok(())
    }

    async fn skip_chunks(&mut self) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.skip(size).await?;
            if !self.line().await?.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if LINE_BYTES_MAX < self.input.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Sends all of `bytes`; `sent` says how far it came.
async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    sent: &Cell<usize>,
) -> io::Result<()> {
    while sent.get() < bytes.len() {
        match writer.write(&bytes[sent.get()..]).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => sent.set(sent.get() + more),
        }
    }
    writer.flush().await
}

/// Reads the head of an answer; `received` says how many bytes came.
async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    received: &Cell<usize>,
) -> Result<Answer, String> {
    loop {
        if let Some((answer, bytes)) = Answer::read(input).map_err(|malformed| malformed.0)? {
            input.drain(..bytes);
            if answer.is_preliminary() {
                continue;
            }
            return Ok(answer);
        }
        input.reserve(READ_BYTES);
        match reader.read_buf(input).await {
            Ok(0) if received.get() == 0 => return Err("EOF".to_owned()),
            Ok(0) => return Err(Answer::cut_short(input).0),
            Ok(bytes) => received.set(received.get() + bytes),
            Err(error) => return Err(format!("read tcp: read: {}", dial::words(&error))),
        }
    }
}
