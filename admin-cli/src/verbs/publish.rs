//! `admin-cli pub`: publishes the lines of standard input or of files.
//!
//! Knows: what a line is, when a batch is full, and what to say at the end. The conversation is
//! [`crate::client::producer`].

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use protocol::name::TopicName;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, stdin};
use tokio::time::{Instant, sleep};

use super::command_line;
use crate::address::Address;
use crate::client::log::Log;
use crate::client::options::Options;
use crate::client::producer::{Producer, PublishError};
use crate::terminal::{Ending, Interrupt, Output, note};

/// The longest line that is read. Brokers take far less by default, and say so themselves.
const LINE_BYTES_MAX: usize = 64 << 20;
/// A batch of so many bytes is full. With one line more it still is below what brokers take at once,
/// five times this.
const BATCH_BYTES: usize = 1 << 20;
/// A batch of so many messages is full.
const BATCH_MESSAGES: usize = 10_000;
/// How long a line may wait for others.
const BATCH_PATIENCE: Duration = Duration::from_millis(100);
/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// The flags of `admin-cli pub`. Behind them stand the names of files; without any, and for `-`,
/// standard input is read.
#[derive(Debug, Parser)]
#[command(name = "admin-cli pub")]
pub(crate) struct Flags {
    /// topic to publish to; every line of the files named behind the flags, or of standard input, is a message, empty lines are skipped
    #[arg(long, value_parser = command_line::topic)]
    topic: Option<TopicName>,
    /// TCP address of nsqd
    #[arg(long, default_value = "127.0.0.1:4150")]
    nsqd_tcp_address: Address,
}

/// Publishes all lines, and says how many.
pub(crate) async fn run(flags: Flags, mut files: Vec<OsString>) -> Result<(), Ending> {
    let Some(topic) = flags.topic else {
        return Err(Ending::Misuse("--topic is required".to_owned()));
    };
    if files.is_empty() {
        files.push("-".into());
    }
    let address = flags.nsqd_tcp_address;
    let interrupt = Interrupt::listen()?;
    let options = Options {
        user_agent: concat!("admin-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Options::default()
    };
    let producer = Producer::new(address.as_str(), Rc::new(options), &Log::silent())
        .map_err(Ending::Failed)?;
    producer.connect().await.map_err(|error| {
        let reason = match &error {
            PublishError::Connect(error) => error.for_people(),
            other => other.to_string(),
        };
        Ending::Failed(format!(
            "{address} {reason}\ncheck that nsqd runs there, and that this is its TCP address (port 4150 \
             by default, not 4151)"
        ))
    })?;
    let mut publisher = Publisher { producer, topic, address, interrupt, published: 0 };
    let outcome = publisher.publish_files(&files).await;
    let Publisher { address, published, producer, .. } = publisher;
    producer.stop().await;
    let plural = if published == 1 { "" } else { "s" };
    let summary = format!("published {published} message{plural} to {topic} at {address}\n");
    Output::open().write(summary.as_bytes()).await?;
    outcome
}

struct Publisher {
    producer: Producer,
    topic: TopicName,
    address: Address,
    interrupt: Interrupt,
    /// Messages that the broker has said OK to.
    published: u64,
}

/// Why one input is read no further.
#[derive(PartialEq, Eq)]
enum End {
    /// There is no more of it.
    Reached,
    /// The user wants to stop. What was read is published.
    Interrupted,
}

impl Publisher {
    async fn publish_files(&mut self, files: &[OsString]) -> Result<(), Ending> {
        for file in files {
            let end = if file == "-" {
                if io::stdin().is_terminal() {
                    note("every line typed is a message; Ctrl-D ends");
                }
                self.publish_lines(stdin(), "standard input").await?
            } else {
                let name = file.to_string_lossy();
                let opened = File::open(file).await.map_err(|error| unreadable(&name, &error))?;
                self.publish_lines(opened, &name).await?
            };
            if end == End::Interrupted {
                break;
            }
        }
        Ok(())
    }

    /// Publishes the lines of one input, called `name` in errors. A last line without a line feed is
    /// whole when the end is reached, and left out when the user interrupts it.
    async fn publish_lines(
        &mut self,
        mut input: impl AsyncRead + Unpin,
        name: &str,
    ) -> Result<End, Ending> {
        let mut lines = Lines::default();
        let mut batch = Batch::default();
        let mut chunk = vec![0; READ_BYTES];
        // Begins with the first line of a batch.
        let mut patience = Box::pin(sleep(BATCH_PATIENCE));
        let end = loop {
            let was_empty = batch.bodies.is_empty();
            tokio::select! {
                read = input.read(&mut chunk) => {
                    let read = read.map_err(|error| unreadable(name, &error))?;
                    if read == 0 {
                        break End::Reached;
                    }
                    for line in lines.feed(&chunk[..read]) {
                        if batch.is_full_before(&line) {
                            self.publish(&mut batch, name).await?;
                        }
                        batch.push(line);
                    }
                    if LINE_BYTES_MAX < lines.partial.len() {
                        let number = lines.number;
                        return Err(Ending::Failed(format!(
                            "line {number} of {name} is longer than {LINE_BYTES_MAX} bytes"
                        )));
                    }
                }
                () = patience.as_mut(), if !was_empty => self.publish(&mut batch, name).await?,
                () = self.interrupt.wait() => break End::Interrupted,
            }
            if was_empty && !batch.bodies.is_empty() {
                patience.as_mut().reset(Instant::now() + BATCH_PATIENCE);
            }
        };
        if end == End::Reached
            && let Some(line) = lines.finish()
        {
            if batch.is_full_before(&line) {
                self.publish(&mut batch, name).await?;
            }
            batch.push(line);
        }
        self.publish(&mut batch, name).await?;
        Ok(end)
    }

    /// Publishes a batch, if there is anything in it, and empties it.
    async fn publish(&mut self, batch: &mut Batch, name: &str) -> Result<(), Ending> {
        let Batch { bodies, first_line, last_line, .. } = std::mem::take(batch);
        if bodies.is_empty() {
            return Ok(());
        }
        let address = &self.address;
        let lines = if first_line == last_line {
            format!("line {first_line} of {name}")
        } else {
            format!("lines {first_line} to {last_line} of {name}")
        };
        let published = tokio::select! {
            published = self.producer.publish_many(self.topic.as_str(), &bodies) => published,
            () = self.interrupt.wait() => {
                return Err(Ending::Failed(format!(
                    "{address} has not answered yet\n{lines} may be published or not, nothing after"
                )));
            }
        };
        match published {
            Ok(()) => {
                self.published += bodies.len() as u64;
                Ok(())
            }
            Err(PublishError::Refused(text)) => Err(Ending::Failed(format!(
                "{address} refuses: {text}\n{lines} not published, nor anything after"
            ))),
            Err(PublishError::Connect(error)) => Err(Ending::Failed(format!(
                "{address} {}\n{lines} not published, nor anything after",
                error.for_people()
            ))),
            Err(PublishError::NotConnected | PublishError::Stopped) => {
                let reason = self.producer.trouble().await;
                let reason = match reason.as_deref() {
                    None | Some("EOF" | "unexpected EOF") => "has closed the connection".to_owned(),
                    Some(reason) => format!("is lost: {reason}"),
                };
                Err(Ending::Failed(format!(
                    "{address} {reason}\n{lines} may be published or not, nothing after"
                )))
            }
        }
    }
}

fn unreadable(name: &str, error: &io::Error) -> Ending {
    Ending::Failed(format!("cannot read {name}: {error}"))
}

/// A line that is a message.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Counted from 1, empty lines included.
    number: u64,
    /// Without its line feed; not empty.
    body: Vec<u8>,
}

/// Cuts what is read into lines.
#[derive(Debug)]
struct Lines {
    /// The start of the line that is not yet whole.
    partial: Vec<u8>,
    /// The number of that line.
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { partial: Vec::new(), number: 1 }
    }
}

impl Lines {
    /// The lines that `bytes` complete, without the empty ones.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
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
    fn finish(&mut self) -> Option<Line> {
        let body = std::mem::take(&mut self.partial);
        (!body.is_empty()).then_some(Line { number: self.number, body })
    }
}

/// Lines that are published together.
#[derive(Debug, Default)]
struct Batch {
    bodies: Vec<Vec<u8>>,
    bytes: usize,
    first_line: u64,
    last_line: u64,
}

impl Batch {
    /// Whether `line` must wait for the next batch. An empty batch has room for any line.
    fn is_full_before(&self, line: &Line) -> bool {
        let bytes = self.bytes + line.body.len();
        !self.bodies.is_empty() && (BATCH_BYTES < bytes || BATCH_MESSAGES <= self.bodies.len())
    }

    fn push(&mut self, line: Line) {
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
        let mut batch = Batch::default();
        assert!(!batch.is_full_before(&line(BATCH_BYTES + 1)));
        batch.push(line(BATCH_BYTES - 1));
        assert!(!batch.is_full_before(&line(1)));
        assert!(batch.is_full_before(&line(2)));

        let mut batch = Batch::default();
        (0..BATCH_MESSAGES - 1).for_each(|_| batch.push(line(1)));
        assert!(!batch.is_full_before(&line(1)));
        batch.push(Line { number: 9, body: vec![b'y'] });
        assert!(batch.is_full_before(&line(1)));
        assert_eq!((batch.first_line, batch.last_line), (7, 9));
    }
}
