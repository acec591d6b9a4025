//! Snappy's framing format: a stream of chunks, each with its checksum.
//!
//! ```text
//! stream identifier   ff 06 00 00 "sNaPpY"      first, and anywhere behind (pynsq repeats it)
//! chunk               type (1)  length (3, little-endian)  content
//!   00 compressed     masked CRC-32C (4)  block, of at most 65,536 bytes when opened
//!   01 as it is       masked CRC-32C (4)  at most 65,536 bytes
//!   80 to fe          passed over
//!   others            refused
//! ```
//!
//! Knows: chunks. The blocks inside are `snap`'s.

use std::fmt;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::Broken;

const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";
const COMPRESSED: u8 = 0x00;
const AS_IT_IS: u8 = 0x01;
const IDENTIFIER: u8 = 0xff;
const HEADER_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// Plain bytes of a chunk.
const PLAIN_BYTES_MAX: usize = 65_536;
/// The longest content that NSQ takes: the longest block of so many plain bytes, and its checksum.
const CONTENT_BYTES_MAX: usize = 76_490 + CHECKSUM_BYTES;
/// A buffer for an unfinished chunk that is larger is given back.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// Both directions of one connection.
pub struct Snappy {
    /// The beginning of a chunk. Bounded by the longest content and its header.
    unfinished: Vec<u8>,
    /// The peer has sent its identifier.
    is_identified: bool,
    /// The peer was sent ours.
    has_identified: bool,
    decoder: Decoder,
    encoder: Encoder,
}

impl Default for Snappy {
    fn default() -> Self {
        Self {
            unfinished: Vec::new(),
            is_identified: false,
            has_identified: false,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
        }
    }
}

impl fmt::Debug for Snappy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unfinished = self.unfinished.len();
        f.debug_struct("Snappy").field("unfinished", &unfinished).finish_non_exhaustive()
    }
}

/// The first four bytes of a chunk.
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    content: usize,
}

impl Header {
    /// The header at the start of `bytes`, if it is whole.
    fn at(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let Some(&[kind, low, middle, high]) = bytes.first_chunk() else { return Ok(None) };
        let content = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if CONTENT_BYTES_MAX < content {
            return Err(broken("a chunk is too long"));
        }
        Ok(Some(Self { kind, content }))
    }

    fn whole_bytes(self) -> usize {
        HEADER_BYTES + self.content
    }
}

impl Snappy {
    /// Opens chunks of `input` while `plain` is shorter than `room`, the last of them beyond it, and
    /// says how many bytes that were.
    ///
    /// # Errors
    /// When it is not what snappy seals.
    pub fn open(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        room: usize,
    ) -> Result<usize, Broken> {
        let mut taken = 0;
        while taken < input.len() && plain.len() < room {
            let rest = &input[taken..];
            if self.unfinished.is_empty()
                && let Some(header) = Header::at(rest)?
                && let Some(chunk) = rest.get(HEADER_BYTES..header.whole_bytes())
            {
                self.open_chunk(header.kind, chunk, plain)?;
                taken += header.whole_bytes();
                continue;
            }
            let wanted = Header::at(&self.unfinished)?.map_or(HEADER_BYTES, Header::whole_bytes);
            let more = rest.len().min(wanted - self.unfinished.len());
            self.unfinished.extend_from_slice(&rest[..more]);
            taken += more;
            if let Some(header) = Header::at(&self.unfinished)?
                && self.unfinished.len() == header.whole_bytes()
            {
                let mut chunk = std::mem::take(&mut self.unfinished);
                self.open_chunk(header.kind, &chunk[HEADER_BYTES..], plain)?;
                if chunk.capacity() <= KEPT_BYTES_MAX {
                    chunk.clear();
                    self.unfinished = chunk;
                }
            }
        }
        Ok(taken)
    }

    fn open_chunk(&mut self, kind: u8, content: &[u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
        if kind == IDENTIFIER {
            self.is_identified = content == &STREAM_IDENTIFIER[HEADER_BYTES..];
        }
        if !self.is_identified {
            return Err(broken("the stream identifier is missing"));
        }
        let at = plain.len();
        let checksum = match kind {
            COMPRESSED => {
                let (checksum, block) = parts(content)?;
                let bytes = decompress_len(block).map_err(|_| corrupt())?;
                if PLAIN_BYTES_MAX < bytes {
                    return Err(corrupt());
                }
                plain.resize(at + bytes, 0);
                self.decoder.decompress(block, &mut plain[at..]).map_err(|_| corrupt())?;
                checksum
            }
            AS_IT_IS => {
                let (checksum, bytes) = parts(content)?;
                if PLAIN_BYTES_MAX < bytes.len() {
                    return Err(corrupt());
                }
                plain.extend_from_slice(bytes);
                checksum
            }
            0x80.. => return Ok(()),
            _ => return Err(broken("a chunk is of an unknown type")),
        };
        if masked(crc32c::crc32c(&plain[at..])) == checksum { Ok(()) } else { Err(corrupt()) }
    }

    /// Appends `piece` to `out` in chunks, each of which can be opened by itself.
    ///
    /// # Panics
    /// Never: there is room for the longest chunk.
    pub fn seal(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_identified, true) {
            out.extend_from_slice(STREAM_IDENTIFIER);
        }
        for plain in piece.chunks(PLAIN_BYTES_MAX) {
            let at = out.len();
            let content_at = at + HEADER_BYTES + CHECKSUM_BYTES;
            out.resize(content_at + max_compress_len(plain.len()), 0);
            let bytes = self
                .encoder
                .compress(plain, &mut out[content_at..])
                .expect("there is room for the longest block");
            out.truncate(content_at + bytes);
            // As NSQ does: what saves less than an eighth is not worth opening.
            let kind = if bytes < plain.len() - plain.len() / 8 {
                COMPRESSED
            } else {
                out.truncate(content_at);
                out.extend_from_slice(plain);
                AS_IT_IS
            };
            let content = u32::try_from(out.len() - at - HEADER_BYTES).expect("a chunk is short");
            let header = &mut out[at..content_at];
            header[..4].copy_from_slice(&(content << 8 | u32::from(kind)).to_le_bytes());
            header[4..].copy_from_slice(&masked(crc32c::crc32c(plain)).to_le_bytes());
        }
    }
}

/// The checksum in front of a chunk's content, and what is behind it.
fn parts(content: &[u8]) -> Result<(u32, &[u8]), Broken> {
    let (checksum, rest) = content.split_first_chunk().ok_or_else(corrupt)?;
    Ok((u32::from_le_bytes(*checksum), rest))
}

/// A checksum as it stands in a chunk (snappy's framing format, section 3).
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn corrupt() -> Broken {
    broken("corrupt input")
}

fn broken(reason: &str) -> Broken {
    Broken(format!("snappy: {reason}"))
}
