//! Deflate without a header, as NSQ's clients send and expect it.
//!
//! Knows: one stream in each direction, flushed to a byte's end where the peer has to see what was
//! sent. Does not know: what is inside.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Broken;

/// Room for what is opened grows in such steps.
const STEP_BYTES_MAX: usize = 16 << 10;
/// The first step, for the small commands that most reads bring.
const STEP_BYTES_MIN: usize = 256;

/// Both directions of one connection.
pub struct Deflate {
    opening: Decompress,
    sealing: Compress,
    /// The peer's stream has ended.
    ended: bool,
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Deflate {
    /// Compresses with a level from 1 to 9.
    pub fn of_level(level: u32) -> Self {
        Self {
            opening: Decompress::new(false),
            sealing: Compress::new(Compression::new(level), false),
            ended: false,
        }
    }

    /// Whether the peer's stream has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Opens as much of `input` as there is until `plain` is as long as `room`, and says how many
    /// bytes that were. There may be more inside when there was no room left.
    ///
    /// # Errors
    /// When it is not what deflate seals.
    ///
    /// # Panics
    /// When more is opened than an address space holds.
    pub fn open(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        room: usize,
    ) -> Result<usize, Broken> {
        let mut taken = 0;
        let mut step = (input.len() * 4).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        while plain.len() < room && !self.ended {
            let at = plain.len();
            plain.resize(at + step.min(room - at), 0);
            let (before_in, before_out) = (self.opening.total_in(), self.opening.total_out());
            let result =
                self.opening.decompress(&input[taken..], &mut plain[at..], FlushDecompress::None);
            taken += counted(self.opening.total_in() - before_in);
            let opened = counted(self.opening.total_out() - before_out);
            let is_full = at + opened == plain.len();
            plain.truncate(at + opened);
            let status = result.map_err(|error| Broken(format!("deflate: {error}")))?;
            self.ended = status == Status::StreamEnd;
            if !is_full {
                break;
            }
            step = STEP_BYTES_MAX;
        }
        Ok(taken)
    }

    /// Appends `piece`, compressed, to `out`, and all that was held back if it `is_last`.
    ///
    /// # Panics
    /// Never: without a dictionary compressing cannot fail.
    pub fn seal(&mut self, piece: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let flush = if is_last { FlushCompress::Sync } else { FlushCompress::None };
        let mut taken = 0;
        loop {
            out.reserve(piece.len() / 2 + 64);
            let before = self.sealing.total_in();
            self.sealing
                .compress_vec(&piece[taken..], out, flush)
                .expect("without a dictionary it cannot fail");
            taken += counted(self.sealing.total_in() - before);
            // Room that is left says that nothing more was to be written.
            if taken == piece.len() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

fn counted(bytes: u64) -> usize {
    usize::try_from(bytes).expect("no more than a buffer holds")
}
