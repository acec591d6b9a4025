//! Reads a queue, file after file, in batches of bounded size.
//!
//! Lives on a thread that may wait for the disk, one batch at a time. Holds a window of one file in
//! memory, as long as the largest message needs it. Knows: files. Does not know: what becomes of the
//! messages.

#![expect(clippy::disallowed_methods, reason = "runs where a thread may wait for the disk")]

use super::metadata::Metadata;
use super::plan::{Oddity, Part, Plan};
use super::queues::QueueFiles;
use super::records::{Item, Records, Source};
use crate::disk::read_up_to;
use crate::limits::IMPORT_BATCH_BYTES;
use crate::message::Timestamp;
use protocol::message_id::MessageId;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Bytes of a file that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where they start.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// What the disk said, when they could not be read at all.
    pub reason: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, reason } = self;
        match reason {
            None => write!(f, "{file} is damaged at {offset}: {bytes} bytes are skipped"),
            Some(reason) => write!(f, "{file} cannot be read from {offset} on - {reason}"),
        }
    }
}

/// Some messages of a queue, in order.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    bodies: Vec<u8>,
    /// What could not be understood on the way.
    pub damage: Vec<Damage>,
}

#[derive(Debug)]
struct Message {
    timestamp: Timestamp,
    attempts: u16,
    id: MessageId,
    body: Range<usize>,
}

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldMessage<'a> {
    /// When it was published.
    pub timestamp: Timestamp,
    /// How often it was delivered.
    pub attempts: u16,
    /// How clients name it.
    pub id: MessageId,
    /// What was published.
    pub body: &'a [u8],
}

impl Batch {
    /// Its messages.
    pub fn messages(&self) -> impl Iterator<Item = OldMessage<'_>> {
        self.messages.iter().map(|message| {
            let Message { timestamp, attempts, id, ref body } = *message;
            OldMessage { timestamp, attempts, id, body: &self.bodies[body.clone()] }
        })
    }

    fn is_full(&self) -> bool {
        let headers = self.messages.len() * size_of::<Message>();
        IMPORT_BATCH_BYTES <= self.bodies.len() + headers
    }
}

/// See the head of this file. One for each queue that is imported; one of none is at its end.
#[derive(Debug, Default)]
pub struct QueueReader {
    folder: PathBuf,
    files: QueueFiles,
    lengths: BTreeMap<u64, u64>,
    metadata_bytes: u64,
    oddities: Vec<Oddity>,
    /// What is left, the next one last.
    parts: Vec<Part>,
    /// The part that is being read.
    reading: Option<(Records, Window)>,
}

impl QueueReader {
    /// Looks at the metadata and the lengths of a queue's files in `folder`.
    ///
    /// # Errors
    /// When they cannot be read, and are not damaged.
    pub fn open(folder: &Path, files: QueueFiles) -> io::Result<Self> {
        let mut lengths = BTreeMap::new();
        for (&number, name) in &files.data {
            lengths.insert(number, std::fs::metadata(folder.join(name))?.len());
        }
        let text = match &files.metadata {
            None => None,
            Some(name) => match std::fs::read(folder.join(name)) {
                // They are as good as lost; the data may well be readable.
                Err(error) if is_damage(&error) => None,
                read => Some(read?),
            },
        };
        let metadata = text.as_deref().and_then(Metadata::parse);
        let Plan { mut parts, oddities } = Plan::of(metadata, &lengths);
        parts.reverse();
        let metadata_bytes = text.map_or(0, |text| text.len() as u64);
        let folder = folder.to_owned();
        Ok(Self { folder, files, lengths, metadata_bytes, oddities, parts, reading: None })
    }

    /// Whether nothing is left to be read.
    pub fn is_at_end(&self) -> bool {
        self.parts.is_empty() && self.reading.is_none()
    }

    /// What is not as it should be with the queue as a whole.
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }

    /// All files of the queue and their lengths, in the order in which they are to be set aside.
    pub fn files(&self) -> impl Iterator<Item = (String, u64)> {
        let lengths = self.lengths.values().copied().chain([self.metadata_bytes]);
        self.files.names().cloned().zip(lengths)
    }

    /// The next messages; an empty batch without damage comes only at the end. A file that the disk
    /// cannot read counts as damaged, from where it cannot.
    ///
    /// # Errors
    /// When a file cannot be read, and is not damaged: it may belong to another user, or too many
    /// are open.
    pub fn next_batch(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        while !batch.is_full() {
            let Some((records, window)) = &mut self.reading else {
                let Some(part) = self.parts.pop() else { break };
                let name = self.files.data.get(&part.file).expect("parts are of files");
                let records = Records::between(part.from, part.to);
                self.reading = Some((records, Window::of(self.folder.join(name), name)));
                continue;
            };
            let offset = records.offset();
            let damage =
                |offset, bytes, reason| Damage { file: window.name.clone(), offset, bytes, reason };
            match records.next(&mut window.source) {
                Ok(Item::Record(record)) => {
                    let start = batch.bodies.len();
                    batch.bodies.extend_from_slice(record.body);
                    batch.messages.push(Message {
                        timestamp: record.timestamp,
                        attempts: record.attempts,
                        id: record.id,
                        body: start..batch.bodies.len(),
                    });
                }
                Ok(Item::Damage { offset, bytes }) => {
                    batch.damage.push(damage(offset, bytes, None));
                }
                Ok(Item::End) => self.reading = None,
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) => {
                    let bytes = records.bytes_left();
                    batch.damage.push(damage(offset, bytes, Some(error.to_string())));
                    self.reading = None;
                }
            }
        }
        Ok(batch)
    }
}

/// Whether it is the disk that fails, or what is on it: another try would end in the same way.
fn is_damage(error: &io::Error) -> bool {
    let damage = [Errno::IO, Errno::UCLEAN, Errno::ISDIR];
    damage.into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A file, and what was read of it last.
#[derive(Debug)]
struct Window {
    name: String,
    source: WindowedFile,
}

impl Window {
    fn of(path: PathBuf, name: &str) -> Self {
        let source = WindowedFile { path, file: None, start: 0, bytes: Vec::new() };
        Self { name: name.to_string(), source }
    }
}

#[derive(Debug)]
struct WindowedFile {
    path: PathBuf,
    file: Option<File>,
    /// Where the window starts in the file.
    start: u64,
    bytes: Vec<u8>,
}

impl WindowedFile {
    fn find(&self, offset: u64, bytes: u64) -> Option<Range<usize>> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(bytes).ok()?)?;
        (to <= self.bytes.len()).then_some(from..to)
    }

    fn load(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        let wanted = usize::try_from(bytes).map_err(io::Error::other)?.max(IMPORT_BATCH_BYTES);
        self.start = offset;
        self.bytes.clear();
        // A window that one large message made large must not stay so.
        self.bytes.shrink_to(wanted);
        self.bytes.resize(wanted, 0);
        let read = read_up_to(file, offset, &mut self.bytes);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }
}

impl Source for WindowedFile {
    fn read(&mut self, offset: u64, bytes: u64) -> io::Result<&[u8]> {
        let range = match self.find(offset, bytes) {
            Some(range) => range,
            None => {
                self.load(offset, bytes)?;
                let there = usize::try_from(bytes).map_err(io::Error::other)?;
                0..there.min(self.bytes.len())
            }
        };
        Ok(&self.bytes[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::queues::{QueueOwner, find};

    fn record(number: usize, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(26 + body.len()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&1_i64.to_be_bytes());
        bytes.extend_from_slice(&0_u16.to_be_bytes());
        bytes.extend_from_slice(format!("{number:016x}").as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn body(number: usize) -> Vec<u8> {
        number.to_string().repeat(1 + number % 97).into_bytes()
    }

    fn open(folder: &Path) -> QueueReader {
        let names = folder.read_dir().unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let found = find(names).topics.into_values().next().unwrap();
        QueueReader::open(folder, found.queues[&QueueOwner::Topic].clone()).unwrap()
    }

    /// All bodies, the damage as `!file:offset+bytes`, and the number of batches.
    fn read(reader: &mut QueueReader) -> (Vec<Vec<u8>>, Vec<String>, usize) {
        let (mut bodies, mut damage, mut batches) = (Vec::new(), Vec::new(), 0);
        while !reader.is_at_end() {
            let batch = reader.next_batch().unwrap();
            bodies.extend(batch.messages().map(|message| message.body.to_vec()));
            let shown = |it: &Damage| format!("!{}:{}+{}", it.file, it.offset, it.bytes);
            damage.extend(batch.damage.iter().map(shown));
            batches += 1;
        }
        (bodies, damage, batches)
    }

    #[test]
    fn all_messages_come_in_order_in_batches_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(format!("t.diskqueue.{name}.dat")), bytes).unwrap();
        };
        let bodies: Vec<_> = (0..20_000).map(body).collect();
        let large = vec![b'x'; 3 * IMPORT_BATCH_BYTES];
        let files = [&bodies[..12_000], std::slice::from_ref(&large), &bodies[12_000..]];
        let skipped = record(9, b"read before").len();
        for (number, bodies) in files.iter().enumerate() {
            let mut bytes = if number == 0 { record(9, b"read before") } else { Vec::new() };
            bytes.extend(bodies.iter().enumerate().flat_map(|(n, body)| record(n, body)));
            put(&format!("{number:06}"), &bytes);
        }
        put("meta", format!("1\n0,{skipped}\n2,0\n").as_bytes());
        let mut reader = open(folder.path());
        assert_eq!(reader.oddities(), []);
        let (found, damage, batches) = read(&mut reader);
        assert_eq!(damage, [""; 0]);
        assert!(found == files.concat(), "{} bodies", found.len());
        assert!((6..20).contains(&batches), "{batches}");
        let names: Vec<_> = reader.files().map(|(name, _)| name).collect();
        assert_eq!(names.last().unwrap(), "t.diskqueue.meta.dat");
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn damage_is_told_with_file_and_offset_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("t.diskqueue.{name}.dat"));
        std::fs::write(path("000003"), [record(1, b"a"), vec![0; 50], record(2, b"b")].concat())
            .unwrap();
        // A folder can be opened, and not be read.
        std::fs::create_dir(path("000004")).unwrap();
        std::fs::write(path("000005"), record(3, b"c")).unwrap();
        std::fs::write(path("meta"), "no metadata").unwrap();
        let mut reader = open(folder.path());
        assert_eq!(reader.oddities(), [Oddity::NoMetadata]);
        let (bodies, damage, _) = read(&mut reader);
        assert_eq!(bodies, [b"b", b"c"]);
        let unreadable = std::fs::metadata(path("000004")).unwrap().len();
        let expected = [
            "!t.diskqueue.000003.dat:0+81".to_string(),
            format!("!t.diskqueue.000004.dat:0+{unreadable}"),
        ];
        let expected = if unreadable == 0 { &expected[..1] } else { &expected[..] };
        assert_eq!(damage, expected);
    }
}
