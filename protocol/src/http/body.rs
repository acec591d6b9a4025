//! The body of a request, cut from the connection's bytes piece by piece.
//!
//! Knows: where a body ends, by its length or by its chunks, and when it is larger than allowed.
//! Does not know: what the body means, or where the bytes come from.

use super::request::BodyLength;

/// How much of a body nobody wants is still read, so that the connection can go on to the next
/// request; with more than this left, it closes instead. (NSQ behaviour: 256 KiB.)
pub const UNWANTED_BODY_BYTES_MAX: u64 = 256 << 10;

/// The longest line of a chunked body: a chunk's size with its extension, or one trailer.
pub const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// All trailers together.
const TRAILERS_BYTES_MAX: usize = 16 << 10;

/// What is reserved on a client's word alone; more comes with the bytes themselves.
const RESERVED_BYTES_MAX: u64 = 64 << 10;

/// Why a body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than the limit. The rest is unread, so the connection closes after the answer.
    TooBig,
    /// Not a legal chunked body. Nobody knows where the next request starts: close.
    Malformed,
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// How many more bytes of content are allowed.
    allowance: u64,
    /// Whether the content is kept or only passed over.
    keep: bool,
    content: Vec<u8>,
    /// A line of a chunked body that has begun; at most [`CHUNK_LINE_BYTES_MAX`].
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of a body of known length are missing; never 0.
    Counted(u64),
    ChunkSize,
    /// So many bytes of this chunk are missing; never 0.
    ChunkContent(u64),
    ChunkEnd,
    Trailers {
        bytes: usize,
    },
    Complete,
}

impl BodyReader {
    /// A reader that keeps a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooBig`] when the head already announces more than `limit`.
    pub fn new(length: BodyLength, limit: u64) -> Result<Self, BodyError> {
        Self::with(length, limit, true)
    }

    /// A reader that only finds the end of a body, for routes that take none.
    ///
    /// # Errors
    /// [`BodyError::TooBig`] when the head announces more than [`UNWANTED_BODY_BYTES_MAX`].
    pub fn unwanted(length: BodyLength) -> Result<Self, BodyError> {
        Self::with(length, UNWANTED_BODY_BYTES_MAX, false)
    }

    fn with(length: BodyLength, limit: u64, keep: bool) -> Result<Self, BodyError> {
        let (state, expected) = match length {
            BodyLength::None | BodyLength::Length(0) => (State::Complete, 0),
            BodyLength::Length(bytes) if limit < bytes => return Err(BodyError::TooBig),
            BodyLength::Length(bytes) => (State::Counted(bytes), bytes),
            BodyLength::Chunked => (State::ChunkSize, 0),
        };
        let reserved = if keep { expected.min(RESERVED_BYTES_MAX) } else { 0 };
        let reserved = usize::try_from(reserved).expect("64 KiB fit in memory");
        Ok(Self {
            state,
            allowance: limit,
            keep,
            content: Vec::with_capacity(reserved),
            line: Vec::new(),
        })
    }

    /// Takes from the start of `input` what belongs to the body, and tells how many bytes that
    /// were. Takes all of it unless the body ends inside.
    ///
    /// # Errors
    /// [`BodyError`] as soon as it is certain.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut rest = input;
        while !rest.is_empty() && self.state != State::Complete {
            match self.state {
                State::Counted(missing) => {
                    let missing = self.take_content(&mut rest, missing)?;
                    self.state =
                        if missing == 0 { State::Complete } else { State::Counted(missing) };
                }
                State::ChunkContent(missing) => {
                    let missing = self.take_content(&mut rest, missing)?;
                    self.state =
                        if missing == 0 { State::ChunkEnd } else { State::ChunkContent(missing) };
                }
                State::ChunkSize => {
                    if let Some(line) = self.take_line(&mut rest)? {
                        let size = parse_chunk_size(&line).ok_or(BodyError::Malformed)?;
                        if self.allowance < size {
                            return Err(BodyError::TooBig);
                        }
                        self.state = match size {
                            0 => State::Trailers { bytes: 0 },
                            _ => State::ChunkContent(size),
                        };
                    }
                }
                State::ChunkEnd => {
                    if let Some(line) = self.take_line(&mut rest)? {
                        if !line.is_empty() {
                            return Err(BodyError::Malformed);
                        }
                        self.state = State::ChunkSize;
                    }
                }
                State::Trailers { bytes } => {
                    if let Some(line) = self.take_line(&mut rest)? {
                        let bytes = bytes + line.len();
                        if TRAILERS_BYTES_MAX < bytes {
                            return Err(BodyError::Malformed);
                        }
                        self.state = if line.is_empty() {
                            State::Complete
                        } else {
                            State::Trailers { bytes }
                        };
                    }
                }
                State::Complete => {}
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Whether the body has been read to its end. What follows is the next request.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The content read so far; nothing for an unwanted body.
    pub fn into_content(self) -> Vec<u8> {
        self.content
    }

    /// Moves up to `missing` bytes from `rest` to the content; returns what is still missing.
    fn take_content(&mut self, rest: &mut &[u8], missing: u64) -> Result<u64, BodyError> {
        let bytes = usize::try_from(missing).map_or(rest.len(), |missing| missing.min(rest.len()));
        let taken = rest.split_off(..bytes).expect("at most the rest");
        let bytes = u64::try_from(taken.len()).expect("a slice is shorter than 2^64");
        self.allowance = self.allowance.checked_sub(bytes).ok_or(BodyError::TooBig)?;
        if self.keep {
            self.content.extend_from_slice(taken);
        }
        Ok(missing - bytes)
    }

    /// The next line without its end; `None` when it is not complete yet.
    fn take_line(&mut self, rest: &mut &[u8]) -> Result<Option<Vec<u8>>, BodyError> {
        let end = rest.iter().position(|&byte| byte == b'\n');
        let piece = rest.split_off(..end.unwrap_or(rest.len())).expect("at most the rest");
        if CHUNK_LINE_BYTES_MAX < self.line.len() + piece.len() {
            return Err(BodyError::Malformed);
        }
        self.line.extend_from_slice(piece);
        if end.is_none() {
            return Ok(None);
        }
        rest.split_off_first();
        let mut line = std::mem::take(&mut self.line);
        // A line feed alone would end the line for one program in a chain and not for another.
        if line.pop() != Some(b'\r') {
            return Err(BodyError::Malformed);
        }
        Ok(Some(line))
    }
}

/// The size before an extension, which nobody uses and everybody must skip.
fn parse_chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    if size.is_empty() || 16 < size.len() || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `input` cut at `cut`; gives the content and the bytes left for the next request.
    fn read(
        length: BodyLength,
        limit: u64,
        input: &[u8],
        cut: usize,
    ) -> Result<(Option<Vec<u8>>, usize), BodyError> {
        let mut reader = BodyReader::new(length, limit)?;
        let (first, second) = input.split_at(cut.min(input.len()));
        let mut taken = 0;
        for piece in [first, second] {
            if !reader.is_complete() {
                taken += reader.feed(piece)?;
            }
        }
        let left = input.len() - taken;
        Ok((reader.is_complete().then(|| reader.into_content()), left))
    }

    #[test]
    fn a_body_ends_where_its_length_or_its_last_chunk_says() {
        let chunked = BodyLength::Chunked;
        for (length, input, content, left) in [
            (BodyLength::None, &b"GET"[..], Some(&b""[..]), 3),
            (BodyLength::Length(3), b"abcGET", Some(b"abc"), 3),
            (BodyLength::Length(3), b"ab", None, 0),
            (
                chunked,
                b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\nGET",
                Some(b"abc0123456789"),
                3,
            ),
            (chunked, b"0\r\nTrailer: x\r\n\r\nGET", Some(b""), 3),
            (chunked, b"3\r\nabc\r\n0\r\n", None, 0),
        ] {
            for cut in 0..=input.len() {
                let read = read(length, 100, input, cut);
                assert_eq!(read, Ok((content.map(<[u8]>::to_vec), left)), "{input:?} at {cut}");
            }
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_from_its_length_or_from_the_chunk_that_passes_it() {
        assert_eq!(read(BodyLength::Length(5), 4, b"", 0), Err(BodyError::TooBig));
        assert_eq!(read(BodyLength::Chunked, 4, b"3\r\nabc\r\n2\r\n", 0), Err(BodyError::TooBig));
        assert!(read(BodyLength::Length(4), 4, b"abcd", 0).is_ok());
        assert!(read(BodyLength::Chunked, 4, b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", 0).is_ok());
        let unwanted = UNWANTED_BODY_BYTES_MAX;
        assert!(BodyReader::unwanted(BodyLength::Length(unwanted)).is_ok());
        assert!(BodyReader::unwanted(BodyLength::Length(unwanted + 1)).is_err());
    }

    #[test]
    fn bad_chunks_are_malformed() {
        let endless_line = vec![b'1'; CHUNK_LINE_BYTES_MAX + 1];
        let endless_trailers = format!("0\r\n{}", "a: b\r\n".repeat(5000));
        for input in [
            &b"\r\n"[..],
            b"-1\r\n",
            b"x\r\n",
            b"1\r\nab\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"11111111111111111\r\n",
            &endless_line,
            endless_trailers.as_bytes(),
        ] {
            assert_eq!(read(BodyLength::Chunked, u64::MAX, input, 0), Err(BodyError::Malformed));
        }
    }

    #[test]
    fn an_announced_length_reserves_little_before_its_bytes_come() {
        let reader = BodyReader::new(BodyLength::Length(1 << 40), 1 << 40).unwrap();
        assert!(reader.content.capacity() <= 64 << 10);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_content(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 0_usize..400,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\n");
            let read = read(BodyLength::Chunked, 1000, &input, cut);
            prop_assert_eq!(read, Ok((Some(chunks.concat()), 0)));
        }
    }
}
