//! What is to be written to a file next, compressed where it is to be.
//!
//! Does not know: which file, or when.

use super::gzip::Members;

/// Lines on their way to a file.
pub(super) struct Waiting {
    plain: Vec<u8>,
    compressed: Option<Compressed>,
}

struct Compressed {
    members: Members,
    packed: Vec<u8>,
}

impl Waiting {
    /// For compressed files of this level, 1 to 9, or for plain ones.
    pub(super) fn new(gzip_level: Option<u8>) -> Self {
        let compressed =
            gzip_level.map(|level| Compressed { members: Members::new(level), packed: Vec::new() });
        Self { plain: Vec::new(), compressed }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// How many bytes wait to be compressed or written.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// Adds a text and a line feed, and returns how many bytes that is.
    pub(super) fn push_line(&mut self, text: &[u8]) -> u64 {
        self.plain.extend_from_slice(text);
        self.plain.push(b'\n');
        text.len() as u64 + 1
    }

    /// Ends what can be read by itself, in a compressed file; an empty piece of it, perhaps.
    pub(super) fn end_member(&mut self) {
        self.pack();
        if let Some(Compressed { members, packed }) = &mut self.compressed {
            members.finish(packed);
        }
    }

    /// The bytes for the file, for the caller to take away.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.pack();
        match &mut self.compressed {
            Some(compressed) => &mut compressed.packed,
            None => &mut self.plain,
        }
    }

    fn pack(&mut self) {
        if let Some(Compressed { members, packed }) = &mut self.compressed
            && !self.plain.is_empty()
        {
            members.write(&self.plain, packed);
            self.plain.clear();
        }
    }
}
