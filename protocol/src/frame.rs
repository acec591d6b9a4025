//! What a broker sends: frames of one response, one error or one message.
//!
//! ```text
//! int32  size        of all that follows: 4 + data
//! int32  frame type  0 response, 1 error, 2 message
//! data               of a message:
//!   int64   timestamp   nanoseconds since 1970 at which it was published
//!   uint16  attempts    1 at the first delivery
//!   16 B    message id
//!   N B     body
//! ```
//!
//! All numbers are big-endian. Knows: this layout, both ways. Does not know: when bytes leave, nor
//! what the texts of errors mean ([`crate::refusal`]).

#![warn(clippy::indexing_slicing)]

use std::fmt;

use crate::message_id::MessageId;

/// What a frame holds, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// An answer or a heartbeat.
    Response = 0,
    /// A refusal.
    Error = 1,
    /// A delivery.
    Message = 2,
}

/// The whole frame that answers a command that went well.
pub const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// The whole frame of a heartbeat.
pub const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";

/// The whole frame that answers CLS.
pub const CLOSE_WAIT: &[u8] = b"\0\0\0\x0e\0\0\0\0CLOSE_WAIT";

/// The bytes of a message frame before its body.
pub const MESSAGE_FRAME_OVERHEAD: usize = 34;

/// Where the timestamp stands in a message frame; eight bytes.
pub const TIMESTAMP_OFFSET: usize = 8;

/// Where the attempts stand in a message frame; two bytes. A redelivery differs from the first
/// delivery in these alone.
pub const ATTEMPTS_OFFSET: usize = 16;

/// Where the id stands in a message frame; sixteen bytes.
pub const MESSAGE_ID_OFFSET: usize = 18;

/// The largest body that a frame can announce: its size is a signed 32-bit number on the wire.
pub const BODY_BYTES_MAX: usize = 0x7fff_ffff - (MESSAGE_FRAME_OVERHEAD - 4);

/// Appends a response frame.
///
/// # Panics
/// When `data` is longer than [`BODY_BYTES_MAX`], which no limit of a broker allows.
pub fn push_response(out: &mut Vec<u8>, data: &[u8]) {
    push_frame(out, FrameType::Response, data);
}

/// Appends an error frame; `text` is a refusal's `CODE` or `CODE reason`.
///
/// # Panics
/// When `text` is longer than [`BODY_BYTES_MAX`], which no refusal is.
pub fn push_error(out: &mut Vec<u8>, text: &[u8]) {
    push_frame(out, FrameType::Error, text);
}

/// Appends a message frame. The timestamp is in nanoseconds since 1970.
///
/// # Panics
/// When `body` is longer than [`BODY_BYTES_MAX`], which no limit of a broker allows.
pub fn push_message(out: &mut Vec<u8>, timestamp: i64, attempts: u16, id: MessageId, body: &[u8]) {
    out.reserve(MESSAGE_FRAME_OVERHEAD + body.len());
    out.extend_from_slice(&message_frame_header(body.len(), timestamp, attempts, id));
    out.extend_from_slice(body);
}

/// The bytes of a message frame before a body of `body_bytes`. The timestamp is in nanoseconds since
/// 1970.
///
/// # Panics
/// When `body_bytes` is greater than [`BODY_BYTES_MAX`], which no limit of a broker allows.
pub fn message_frame_header(
    body_bytes: usize,
    timestamp: i64,
    attempts: u16,
    id: MessageId,
) -> [u8; MESSAGE_FRAME_OVERHEAD] {
    let mut header = [0; MESSAGE_FRAME_OVERHEAD];
    let parts: [&[u8]; 5] = [
        &frame_size(MESSAGE_FRAME_OVERHEAD - 8 + body_bytes),
        &(FrameType::Message as i32).to_be_bytes(),
        &timestamp.to_be_bytes(),
        &attempts.to_be_bytes(),
        &id.0,
    ];
    let mut rest = &mut header[..];
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    header
}

fn push_frame(out: &mut Vec<u8>, frame_type: FrameType, data: &[u8]) {
    out.reserve(8 + data.len());
    out.extend_from_slice(&frame_size(data.len()));
    out.extend_from_slice(&(frame_type as i32).to_be_bytes());
    out.extend_from_slice(data);
}

/// The size field of a frame with so much data.
fn frame_size(data_bytes: usize) -> [u8; 4] {
    i32::try_from(4 + data_bytes).expect("limits keep bodies far below 2 GiB").to_be_bytes()
}

/// One frame as a client receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An answer or a heartbeat.
    Response(&'a [u8]),
    /// A refusal: `CODE` or `CODE reason`.
    Error(&'a [u8]),
    /// A delivery.
    Message(MessageFrame<'a>),
}

/// One delivery as a client receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFrame<'a> {
    /// When it was published, in nanoseconds since 1970.
    pub timestamp: i64,
    /// How many times it was delivered, this time included.
    pub attempts: u16,
    /// How the client names it in FIN, REQ and TOUCH.
    pub id: MessageId,
    /// What was published.
    pub body: &'a [u8],
}

/// Why some bytes are no frame. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The size does not even hold what the frame's type demands.
    TooSmall {
        /// The size as announced.
        size: i32,
    },
    /// The size is greater than the reader accepts.
    TooBig {
        /// The size as announced.
        size: i32,
        /// The size that is accepted.
        max: usize,
    },
    /// No type has this number.
    UnknownType(i32),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { size } => write!(f, "frame size {size} is too small"),
            Self::TooBig { size, max } => write!(f, "frame size {size} is greater than {max}"),
            Self::UnknownType(number) => write!(f, "frame type {number} is unknown"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The frame at the start of `input`, and how many bytes it takes; `None` while it is incomplete.
/// `max_bytes` is the greatest announced size that is accepted.
///
/// # Errors
/// A [`FrameError`] as soon as the bytes that prove it are there.
pub fn decode_frame(
    input: &[u8],
    max_bytes: usize,
) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((size, rest)) = input.split_first_chunk() else { return Ok(None) };
    let announced = i32::from_be_bytes(*size);
    let size = match usize::try_from(announced) {
        Ok(size) if max_bytes < size => {
            return Err(FrameError::TooBig { size: announced, max: max_bytes });
        }
        Ok(size) if 4 <= size => size,
        _ => return Err(FrameError::TooSmall { size: announced }),
    };
    let Some((number, _)) = rest.split_first_chunk() else { return Ok(None) };
    let frame_type = match i32::from_be_bytes(*number) {
        0 => FrameType::Response,
        1 => FrameType::Error,
        2 if MESSAGE_FRAME_OVERHEAD - 4 <= size => FrameType::Message,
        2 => return Err(FrameError::TooSmall { size: announced }),
        number => return Err(FrameError::UnknownType(number)),
    };
    let Some(data) = rest.get(4..size) else { return Ok(None) };
    let frame = match frame_type {
        FrameType::Response => Frame::Response(data),
        FrameType::Error => Frame::Error(data),
        FrameType::Message => {
            let message = message_frame(data).expect("the size was compared with the overhead");
            Frame::Message(message)
        }
    };
    Ok(Some((frame, 4 + size)))
}

/// The message in a frame's data; `None` when the data is shorter than a message without a body.
fn message_frame(data: &[u8]) -> Option<MessageFrame<'_>> {
    let (timestamp, rest) = data.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (id, body) = rest.split_first_chunk()?;
    Some(MessageFrame {
        timestamp: i64::from_be_bytes(*timestamp),
        attempts: u16::from_be_bytes(*attempts),
        id: MessageId(*id),
        body,
    })
}
