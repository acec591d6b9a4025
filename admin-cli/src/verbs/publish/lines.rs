//! Lines, and what is published together.
//!
//! Knows: what a line is, and when a batch is full. Does not know: where bytes come from, or go.

/// A batch of so many bytes is full. With one line more it still is below what brokers take at once,
/// five times this.
const BATCH_BYTES: usize = 1 << 20;
/// A batch of so many messages is full, whatever is asked for.
pub(super) const BATCH_MESSAGES: usize = 10_000;

/// A line that is a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, empty lines included.
    pub(super) number: u64,
    /// Without its line feed; not empty.
    pub(super) body: Vec<u8>,
}

/// Cuts what is read into lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// The start of the line that is not yet whole.
    pub(super) partial: Vec<u8>,
    /// The number of that line.
    pub(super) number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { partial: Vec::new(), number: 1 }
    }
}

impl Lines {
    /// The lines that `bytes` complete, without the empty ones.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        // The piece behind the last line feed; the whole when there is none.
        let behind = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.partial.extend_from_slice(piece);
            lines.extend(self.finish());
            self.number += 1;
        }
        self.partial.extend_from_slice(behind);
        lines
    }

    /// The line as far as it has come, unless it is empty.
    pub(super) fn finish(&mut self) -> Option<Line> {
        let body = std::mem::take(&mut self.partial);
        (!body.is_empty()).then_some(Line { number: self.number, body })
    }
}

/// Lines that are published together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bodies: Vec<Vec<u8>>,
    /// Of the bodies together.
    pub(super) bytes: usize,
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    /// With so many it is full.
    messages_max: usize,
}

impl Batch {
    /// An empty one, for at most so many messages.
    pub(super) fn of_at_most(messages_max: usize) -> Self {
        let messages_max = messages_max.clamp(1, BATCH_MESSAGES);
        Self { bodies: Vec::new(), bytes: 0, first_line: 0, last_line: 0, messages_max }
    }

    /// What it holds; it is empty afterwards.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::of_at_most(self.messages_max))
    }

    /// Whether `line` must wait for the next batch. An empty batch has room for any line.
    pub(super) fn is_full_before(&self, line: &Line) -> bool {
        let bytes = self.bytes + line.body.len();
        !self.bodies.is_empty() && (BATCH_BYTES < bytes || self.messages_max <= self.bodies.len())
    }

    pub(super) fn push(&mut self, line: Line) {
        if self.bodies.is_empty() {
            self.first_line = line.number;
        }
        self.last_line = line.number;
        self.bytes += line.body.len();
        self.bodies.push(line.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Lines::default();
        let mut found: Vec<Line> = chunks.iter().flat_map(|chunk| lines.feed(chunk)).collect();
        found.extend(lines.finish());
        found.into_iter().map(|line| (line.number, line.body)).collect()
    }

    #[test]
    fn empty_lines_are_skipped_and_counted_and_the_last_line_needs_no_line_feed() {
        let expected = |lines: &[(u64, &str)]| -> Vec<(u64, Vec<u8>)> {
            lines.iter().map(|(number, body)| (*number, body.as_bytes().to_vec())).collect()
        };
        for (text, lines) in [
            ("", &[][..]),
            ("\n\n", &[]),
            ("a", &[(1, "a")]),
            ("a\n", &[(1, "a")]),
            ("a\n\nb\r\n c", &[(1, "a"), (3, "b\r"), (4, " c")]),
        ] {
            assert_eq!(lines_of(&[text.as_bytes()]), expected(lines), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_are_read(
            text in "[ab\n]{0,40}",
            cut in 0_usize..40,
        ) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(lines_of(&[first, second]), lines_of(&[text.as_bytes()]));
        }
    }

    #[test]
    fn a_batch_is_full_by_bytes_or_by_messages_but_takes_any_line_when_empty() {
        let line = |bytes: usize| Line { number: 7, body: vec![b'x'; bytes] };
        let mut batch = Batch::of_at_most(usize::MAX);
        assert!(!batch.is_full_before(&line(BATCH_BYTES + 1)));
        batch.push(line(BATCH_BYTES - 1));
        assert!(!batch.is_full_before(&line(1)));
        assert!(batch.is_full_before(&line(2)));

        let mut batch = Batch::of_at_most(usize::MAX);
        (0..BATCH_MESSAGES - 1).for_each(|_| batch.push(line(1)));
        assert!(!batch.is_full_before(&line(1)));
        batch.push(Line { number: 9, body: vec![b'y'] });
        assert!(batch.is_full_before(&line(1)));
        assert_eq!((batch.first_line, batch.last_line), (7, 9));

        let mut batch = Batch::of_at_most(0);
        batch.push(line(1));
        assert!(batch.is_full_before(&line(1)));
        assert_eq!(batch.take().bodies.len(), 1);
        assert!(!batch.is_full_before(&line(1)));
    }
}
