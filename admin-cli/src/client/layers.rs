//! TLS, and inside it snappy or deflate, from the client's side.
//!
//! Knows bytes: what came off the wire becomes plain, what is to be sent becomes what goes on it.
//! Does not know: the socket. The compressions are [`protocol::compression`].
//!
//! Bounds: a step opens [`OPENED_BYTES_MAX`] and one unit of a layer, however little came for it.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use protocol::compression::deflate::Deflate;
use protocol::compression::snappy::Snappy;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error};

/// Plain bytes that one step opens, and at most one unit of a layer more.
const OPENED_BYTES_MAX: usize = 64 << 10;
/// Plain bytes of TLS that are handed to a compression at once.
const TLS_BYTES: usize = 16 << 10;

/// What lies between a connection and its socket; plain when it is empty.
#[derive(Default)]
pub(super) struct Layers {
    tls: Option<Box<ClientConnection>>,
    compression: Option<Compression>,
    /// What came out of TLS and was not opened by the compression yet.
    decrypted: Vec<u8>,
}

enum Compression {
    Snappy(Box<Snappy>),
    Deflate(Box<Deflate>),
}

/// What a step of opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Plain bytes; there may be more without reading.
    Bytes,
    /// Nothing: more must be read.
    NeedsInput,
    /// The broker has ended its stream.
    End,
}

impl Layers {
    /// Whether there is none.
    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none() && self.compression.is_none()
    }

    /// Begins TLS, whose handshake is still to come, with a broker at this host.
    ///
    /// # Errors
    /// When no certificate can be for such a host.
    pub(super) fn begin_tls(
        &mut self,
        config: &Arc<ClientConfig>,
        host: &str,
    ) -> Result<(), String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("tls: {host:?} is no name of a host"))?;
        let mut tls =
            ClientConnection::new(config.clone(), name).map_err(|error| format!("tls: {error}"))?;
        // What is sealed at once is bounded by its caller.
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Begins snappy, inside TLS if that is there. What was read behind the answer that agreed to it
    /// is in the new layer already: it goes from `input` to where that is opened.
    pub(super) fn begin_snappy(&mut self, input: &mut BytesMut, came: &mut Vec<u8>) {
        self.begin(Compression::Snappy(Box::default()), input, came);
    }

    /// Begins deflate of a level from 1 to 9; see [`Self::begin_snappy`].
    pub(super) fn begin_deflate(&mut self, level: u32, input: &mut BytesMut, came: &mut Vec<u8>) {
        let deflate = Deflate::of_level(level);
        self.begin(Compression::Deflate(Box::new(deflate)), input, came);
    }

    fn begin(&mut self, layer: Compression, input: &mut BytesMut, came: &mut Vec<u8>) {
        let unopened = if self.tls.is_some() { &mut self.decrypted } else { came };
        unopened.extend_from_slice(&input.split());
        self.compression = Some(layer);
    }

    /// Whether the handshake of TLS is still under way.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Goes on with the handshake: takes what came, and appends what is to be sent.
    ///
    /// # Errors
    /// Why it fails; what is to be sent for that is appended, too.
    pub(super) fn shake_hands(
        &mut self,
        came: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut outcome = Ok(());
        while tls.is_handshaking() && !came.is_empty() && outcome.is_ok() {
            outcome = take_in(tls, came);
        }
        write_out(tls, wire);
        outcome
    }

    /// Opens a part of `came`, takes it away, and appends what was inside to `plain`. Says that it
    /// needs input only when `came` is empty.
    ///
    /// # Errors
    /// When it cannot be opened, and nothing behind it either.
    pub(super) fn open(
        &mut self,
        came: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<Opened, String> {
        let before = plain.len();
        let room = before + OPENED_BYTES_MAX;
        let Self { tls, compression, decrypted } = self;
        let mut is_end = false;
        match (tls, compression) {
            (None, None) => plain.append(came),
            (None, Some(compression)) => {
                let taken = compression.open(came, plain, room)?;
                came.drain(..taken);
                is_end = compression.has_ended();
            }
            (Some(tls), None) => loop {
                is_end = read_decrypted(tls, plain, room)?;
                if is_end || room <= plain.len() || came.is_empty() {
                    break;
                }
                take_in(tls, came)?;
            },
            (Some(tls), Some(compression)) => loop {
                let taken = compression.open(decrypted, plain, room)?;
                decrypted.drain(..taken);
                is_end = compression.has_ended();
                if is_end || room <= plain.len() || !decrypted.is_empty() {
                    break;
                }
                is_end = read_decrypted(tls, decrypted, TLS_BYTES)?;
                if !decrypted.is_empty() {
                    continue;
                }
                if is_end || came.is_empty() {
                    break;
                }
                take_in(tls, came)?;
            },
        }
        Ok(match (before < plain.len(), is_end) {
            (true, _) => Opened::Bytes,
            (false, true) => Opened::End,
            (false, false) => Opened::NeedsInput,
        })
    }

    /// Appends what goes over the wire for `plain`, all of it.
    pub(super) fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let mut compressed = Vec::new();
        let inside = match &mut self.compression {
            None => plain,
            Some(Compression::Snappy(snappy)) => {
                snappy.seal(plain, &mut compressed);
                &compressed
            }
            Some(Compression::Deflate(deflate)) => {
                deflate.seal(plain, true, &mut compressed);
                &compressed
            }
        };
        match &mut self.tls {
            None => wire.extend_from_slice(inside),
            Some(tls) => {
                tls.writer().write_all(inside).expect("its buffer has no limit");
                write_out(tls, wire);
            }
        }
    }
}

impl Compression {
    fn open(&mut self, came: &[u8], plain: &mut Vec<u8>, room: usize) -> Result<usize, String> {
        match self {
            Self::Snappy(snappy) => snappy.open(came, plain, room),
            Self::Deflate(deflate) => deflate.open(came, plain, room),
        }
        .map_err(|broken| broken.0)
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Snappy(_) => false,
            Self::Deflate(deflate) => deflate.has_ended(),
        }
    }
}

/// Hands TLS a part of what came.
fn take_in(tls: &mut ClientConnection, came: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = came.as_slice();
    let taken = tls.read_tls(&mut rest).map_err(|error| format!("tls: {error}"))?;
    came.drain(..taken);
    tls.process_new_packets().map_err(|error| words(&error))?;
    if taken == 0 {
        // Nothing is taken any more behind the broker's goodbye.
        came.clear();
    }
    Ok(())
}

/// Appends what TLS has decrypted, until `plain` is as long as `room`; true at its end.
fn read_decrypted(
    tls: &mut ClientConnection,
    plain: &mut Vec<u8>,
    room: usize,
) -> Result<bool, String> {
    while plain.len() < room {
        let at = plain.len();
        plain.resize(room.min(at + TLS_BYTES), 0);
        let outcome = tls.reader().read(&mut plain[at..]);
        plain.truncate(at + outcome.as_ref().map_or(0, |&bytes| bytes));
        match outcome {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("tls: {error}")),
        }
    }
    Ok(false)
}

fn write_out(tls: &mut ClientConnection, wire: &mut Vec<u8>) {
    while tls.wants_write() {
        tls.write_tls(wire).expect("memory takes all that is written");
    }
}

/// The failure in the words of Go's TLS where it has the same, else in those of `rustls`.
fn words(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "failed to verify certificate: x509: certificate signed by unknown authority"
        }
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "failed to verify certificate: x509: certificate has expired or is not yet valid",
        other => return format!("tls: {other}"),
    };
    format!("tls: {words}")
}
