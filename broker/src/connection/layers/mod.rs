//! What lies between a client's bytes and the socket's: TLS, and inside it snappy or deflate.
//!
//! ```text
//! socket ──► came ──► TLS ──► snappy | deflate ──► plain bytes ──► commands
//! socket ◄── wire ◄── TLS ◄── snappy | deflate ◄── plain bytes ◄── output
//! ```
//!
//! Knows bytes. Does not know: the socket, time, what plain bytes mean. A plain connection has no
//! such value, and pays nothing for it. One that has moves to another core with it.
//!
//! Bounds: one step opens at most [`OPENED_BYTES_MAX`] and one unit of the layer, however little
//! came for it; what came and was not opened is no more than one read of the socket; what is sealed
//! and not sent is no more than [`WIRE_BYTES_FULL`] and one piece.

mod certificate;
#[cfg(test)]
mod tests;
mod tls;

pub use protocol::compression::Broken;
pub use tls::TlsFacts;

use super::output::Output;
use bytes::{Buf, Bytes};
use protocol::compression::deflate::Deflate;
use protocol::compression::snappy::Snappy;
use rustls::ServerConfig;
use std::sync::Arc;
use tls::Tls;

/// Plain bytes that one step opens, and at most one unit of the layer more: a record of TLS or a
/// chunk of snappy. The largest part of a decompression bomb that is ever in memory.
const OPENED_BYTES_MAX: usize = 64 << 10;
/// Nothing more is sealed while so many sealed bytes wait.
const WIRE_BYTES_FULL: usize = 64 << 10;
/// Plain bytes that are sealed together.
const SEALED_AT_ONCE: usize = 64 << 10;

/// See the head of this file.
#[derive(Debug)]
pub struct Layers {
    tls: Option<Box<Tls>>,
    compression: Option<Compression>,
    /// What came and was not opened.
    came: Bytes,
    /// What is sealed and was not sent.
    wire: Output,
    /// What is compressed and not encrypted; empty between two calls.
    compressed: Vec<u8>,
}

/// Inside TLS, if there is TLS.
#[derive(Debug)]
enum Compression {
    Snappy(Box<Snappy>),
    Deflate(Box<Deflate>),
}

/// What a step of opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Plain bytes; there may be more without reading.
    Bytes,
    /// Nothing: more must be read.
    NeedsInput,
    /// The peer has ended its stream.
    End,
}

impl Layers {
    /// None yet; `came` are the bytes that are to be opened first.
    fn over(came: Vec<u8>) -> Self {
        Self {
            tls: None,
            compression: None,
            came: came.into(),
            wire: Output::default(),
            compressed: Vec::new(),
        }
    }

    /// TLS alone, which begins with a handshake. `came` was read from the socket behind the request
    /// for it: it counts as part of the handshake, never as plain bytes.
    ///
    /// # Errors
    /// When the settings do not fit together.
    pub fn tls(config: &Arc<ServerConfig>, came: Vec<u8>) -> Result<Self, Broken> {
        let tls = Some(Box::new(Tls::begin(config)?));
        Ok(Self { tls, ..Self::over(came) })
    }

    /// Snappy alone, or inside the TLS of `outer`; `came` was read behind the request for it.
    pub fn snappy(outer: Option<Self>, came: Vec<u8>) -> Self {
        Self::compressing(outer, came, Compression::Snappy(Box::default()))
    }

    /// Deflate of a level from 1 to 9, alone or inside the TLS of `outer`; `came` was read behind
    /// the request for it.
    pub fn deflate(outer: Option<Self>, came: Vec<u8>, level: u32) -> Self {
        Self::compressing(outer, came, Compression::Deflate(Box::new(Deflate::of_level(level))))
    }

    fn compressing(outer: Option<Self>, came: Vec<u8>, compression: Compression) -> Self {
        match outer {
            // What was opened behind the request is not in the new layer: as in NSQ, it is lost.
            Some(outer) if outer.tls.is_some() => Self { compression: Some(compression), ..outer },
            _ => Self { compression: Some(compression), ..Self::over(came) },
        }
    }

    /// Whether snappy is there.
    pub fn has_snappy(&self) -> bool {
        matches!(self.compression, Some(Compression::Snappy(_)))
    }

    /// Whether deflate is there.
    pub fn has_deflate(&self) -> bool {
        matches!(self.compression, Some(Compression::Deflate(_)))
    }

    /// What was agreed for TLS, if it is there.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        self.tls.as_ref().map(|tls| tls.facts())
    }

    /// The name in the certificate that the client showed; empty when it showed none.
    pub fn common_name(&self) -> String {
        self.tls.as_ref().and_then(|tls| tls.common_name()).unwrap_or_default()
    }

    /// Whether the handshake of TLS is still under way. Until it is over nothing is sealed.
    pub fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_shaking_hands())
    }

    /// Whether something came that was not looked at.
    pub fn has_input(&self) -> bool {
        !self.came.is_empty()
    }

    /// Keeps what was read from the socket for the next step. There must be nothing that was not
    /// looked at.
    pub fn keep(&mut self, fresh: &[u8]) {
        debug_assert!(self.came.is_empty(), "what came before is looked at before more is read");
        self.came = Bytes::copy_from_slice(fresh);
    }

    /// Goes on with the handshake of TLS; true when it is over. What is to be sent for it is on the
    /// wire, also when it fails. `fresh` was read from the socket; it must be empty while
    /// [`Self::has_input`].
    ///
    /// # Errors
    /// Why it fails, in the words of NSQ where it has any.
    pub fn shake_hands(&mut self, fresh: &[u8]) -> Result<bool, Broken> {
        let Self { tls: Some(tls), came, wire, .. } = self else { return Ok(true) };
        let stored = std::mem::take(came);
        let input = if stored.is_empty() { fresh } else { &stored };
        let mut taken = 0;
        while tls.is_shaking_hands() && taken < input.len() {
            taken += tls.take_in(&input[taken..], wire)?;
        }
        *came = Bytes::copy_from_slice(&input[taken..]);
        Ok(!tls.is_shaking_hands())
    }

    /// Opens a part of what came, and appends it to `plain`. `fresh` has just been read from the
    /// socket; it must be empty unless the step before said [`Opened::NeedsInput`].
    ///
    /// # Errors
    /// When it cannot be opened. What is to be told the peer of it is on the wire.
    pub fn open(&mut self, fresh: &[u8], plain: &mut Vec<u8>) -> Result<Opened, Broken> {
        if self.came.is_empty() {
            let (taken, opened) = self.open_from(fresh, plain)?;
            if taken < fresh.len() {
                self.came = Bytes::copy_from_slice(&fresh[taken..]);
            }
            return Ok(opened);
        }
        debug_assert!(fresh.is_empty(), "what came before is opened before more is read");
        let mut came = std::mem::take(&mut self.came);
        let (taken, opened) = self.open_from(&came, plain)?;
        came.advance(taken);
        self.came = came;
        Ok(opened)
    }

    /// How many bytes of `input` were taken, and what was found.
    fn open_from(&mut self, input: &[u8], plain: &mut Vec<u8>) -> Result<(usize, Opened), Broken> {
        let before = plain.len();
        let room = before + OPENED_BYTES_MAX;
        let Self { tls, compression, wire, .. } = self;
        let mut taken = 0;
        let is_end = match (tls, compression) {
            (None, Some(compression)) => {
                taken = compression.open(input, plain, room)?;
                compression.has_ended()
            }
            (Some(tls), compression) => loop {
                if let Some(compression) = compression {
                    // It may hold more than had room the last time.
                    compression.open(&[], plain, room)?;
                }
                let mut is_end = false;
                while plain.len() < room && !is_end {
                    is_end = match tls.opened()? {
                        tls::Inside::Nothing => break,
                        tls::Inside::End => true,
                        tls::Inside::Bytes(bytes) => {
                            let opened = match compression {
                                None => {
                                    plain.extend_from_slice(bytes);
                                    bytes.len()
                                }
                                Some(compression) => compression.open(bytes, plain, room)?,
                            };
                            tls.consume(opened);
                            compression.as_ref().is_some_and(Compression::has_ended)
                        }
                    };
                }
                if is_end || room <= plain.len() || taken == input.len() {
                    break is_end;
                }
                taken += tls.take_in(&input[taken..], wire)?;
            },
            (None, None) => unreachable!("there is a layer"),
        };
        let opened = match (before < plain.len(), is_end) {
            (true, _) => Opened::Bytes,
            (false, true) => Opened::End,
            (false, false) => Opened::NeedsInput,
        };
        Ok((taken, opened))
    }

    /// Seals what `output` holds as far as the wire has room. The last of it is flushed through all
    /// layers, so that the peer gets it at once.
    pub fn seal(&mut self, output: &mut Output) {
        if self.is_shaking_hands() {
            return;
        }
        let Self { tls, compression, wire, compressed, .. } = self;
        while !output.is_empty() && wire.len() < WIRE_BYTES_FULL {
            let piece = output.first();
            let piece = &piece[..piece.len().min(SEALED_AT_ONCE)];
            let is_last = piece.len() == output.len();
            match (&mut *tls, &mut *compression) {
                (None, Some(compression)) => {
                    wire.gather(|bytes| compression.seal(piece, is_last, bytes));
                }
                (Some(tls), None) => tls.seal(piece, wire),
                (Some(tls), Some(compression)) => {
                    compression.seal(piece, is_last, compressed);
                    tls.seal(compressed, wire);
                    compressed.clear();
                }
                (None, None) => unreachable!("there is a layer"),
            }
            let bytes = piece.len();
            output.sent(bytes);
        }
        if SEALED_AT_ONCE / 4 < compressed.capacity() {
            *compressed = Vec::new();
        }
    }

    /// Tells the peer that nothing more comes, in the layers that have a word for it.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&mut self.wire);
        }
    }

    /// What is sealed and was not sent.
    pub fn wire(&mut self) -> &mut Output {
        &mut self.wire
    }

    /// Whether all that is sealed was sent.
    pub fn is_wire_empty(&self) -> bool {
        self.wire.is_empty()
    }

    /// What is left on the wire when the layers go.
    pub fn into_wire(self) -> Output {
        self.wire
    }
}

impl Compression {
    /// Opens as much of `input` as `plain` has room for, and says how many bytes that were.
    fn open(&mut self, input: &[u8], plain: &mut Vec<u8>, room: usize) -> Result<usize, Broken> {
        match self {
            Self::Snappy(snappy) => snappy.open(input, plain, room),
            Self::Deflate(deflate) => deflate.open(input, plain, room),
        }
    }

    /// Appends `piece`, compressed, to `out`; all that was sealed so far can be opened by the peer
    /// if it `is_last`.
    fn seal(&mut self, piece: &[u8], is_last: bool, out: &mut Vec<u8>) {
        match self {
            Self::Snappy(snappy) => snappy.seal(piece, out),
            Self::Deflate(deflate) => deflate.seal(piece, is_last, out),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            // Its stream has no end.
            Self::Snappy(_) => false,
            Self::Deflate(deflate) => deflate.has_ended(),
        }
    }
}
