//! The metadata file of a disk queue: where its reader and its writer stand.
//!
//! ```text
//! <depth>\n<read file>,<read offset>\n<write file>,<write offset>\n
//! ```
//!
//! ASCII decimals (NSQ behaviour). Knows: this layout. Does not know: whether it is true; NSQ writes
//! it every two seconds, and a crash leaves an older one.

/// A place in a queue. A later place is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePlace {
    /// The number of the data file.
    pub file: u64,
    /// In bytes from its start.
    pub offset: u64,
}

/// What the file says. Invariant: `read <= write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The message that is read next.
    pub read: QueuePlace,
    /// Where the next message is written.
    pub write: QueuePlace,
}

impl Metadata {
    /// Reads the whole file; `None` when it is none. The depth is not kept: what counts are the
    /// places, and NSQ corrects it by them.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split('\n');
        let _: i64 = lines.next()?.parse().ok()?;
        let metadata = Self { read: place(lines.next()?)?, write: place(lines.next()?)? };
        let is_all = lines.all(str::is_empty);
        (is_all && metadata.read <= metadata.write).then_some(metadata)
    }
}

fn place(line: &str) -> Option<QueuePlace> {
    let (file, offset) = line.split_once(',')?;
    Some(QueuePlace { file: file.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_depth_reader_and_writer() {
        let metadata = Metadata {
            read: QueuePlace { file: 0, offset: 33 },
            write: QueuePlace { file: 2, offset: 0 },
        };
        assert_eq!(Metadata::parse(b"4\n0,33\n2,0\n"), Some(metadata));
        assert_eq!(Metadata::parse(b"-2\n0,33\n2,0\n"), Some(metadata));
    }

    #[test]
    fn what_is_cut_or_says_what_cannot_be_is_refused() {
        let refused = [
            "",
            "4\n",
            "4\n0,33\n",
            "4\n0\n2,0\n",
            "4\n0,33\n2,\n",
            "4\n0,-1\n2,0\n",
            "4\n3,0\n2,9\n",
            "4\n2,10\n2,9\n",
            "4\n0,33\n2,0\nx",
            "x\n0,33\n2,0\n",
        ];
        for text in refused {
            assert_eq!(Metadata::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Metadata::parse(&[0xff; 12]), None);
    }
}
