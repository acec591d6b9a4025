//! Cuts what a client sends into commands.
//!
//! ```text
//! NAME [SP parameter]* LF        a CR before the LF is dropped; every space parts two parameters
//! int32 size, size bytes         after IDENTIFY, AUTH, PUB, DPUB
//! int32 size, int32 count,       after MPUB
//!   count * (int32 size, size bytes)
//! ```
//!
//! Knows: these bytes, their limits, and the order in which NSQ looks at them. Does not know: where
//! input comes from; what is behind a command stays for the next call.

#![warn(clippy::indexing_slicing)]

use crate::command::Command;
use crate::conversation::Conversation;
use crate::limits::Limits;
use crate::refusal::Refusal;

/// What was found at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole command.
    Command {
        /// The command, which borrows its body from the input.
        command: Command<'a>,
        /// How many bytes of the input it took. The next call begins behind them.
        consumed: usize,
    },
    /// The beginning of a command.
    NeedMore {
        /// How many bytes the input must have, those there now included, before another call can
        /// tell more. At most a line and the larger of the body and message limits, and four bytes.
        at_least: usize,
    },
}

/// Why the input cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The client is told, and the connection closed.
    Refused(Refusal),
    /// The line does not end where it must. NSQ drops such a connection without a frame.
    LineTooLong,
}

impl From<Refusal> for DecodeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Cuts the input of one connection. Holds no bytes, only how far an unfinished command was looked
/// at, so that an MPUB that arrives in many pieces is looked at once.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder at the start of a conversation, behind the magic.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// The command at the start of `input`.
    ///
    /// `input` begins with the first byte that no command has consumed: an unfinished command is
    /// offered again, with more bytes behind it. `conversation` is as the commands before have
    /// left it. Allocates nothing unless it refuses.
    ///
    /// # Errors
    /// A [`DecodeError`] as soon as the bytes that prove it are there.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        conversation: Conversation,
    ) -> Result<Decoded<'a>, DecodeError> {
        todo!("{:?} {} {:?}", self.limits, input.len(), conversation)
    }
}

/// Whether a connection begins as it must, with [`crate::request::MAGIC`]; `None` until four bytes
/// are there.
pub fn check_magic(input: &[u8]) -> Option<Result<(), Refusal>> {
    let magic = input.first_chunk::<4>()?;
    Some(if magic == crate::request::MAGIC { Ok(()) } else { Err(Refusal::bad_protocol()) })
}
