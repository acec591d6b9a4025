//! `admin-cli pub`: publishes the lines of standard input or of files, or whole files.
//!
//! Knows: what is read, and what to say on the way and at the end. What a line is, and when a batch is
//! full, is in [`lines`]; how fast it goes in [`progress`]; the conversation is
//! [`crate::client::producer`].

mod lines;
mod progress;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::Duration;

use clap::{ArgAction, Parser};
use protocol::name::TopicName;
use startup::{duration, flags};
use tokio::fs::{File, metadata};
use tokio::io::{AsyncRead, AsyncReadExt, stdin};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::command_line;
use crate::address::Address;
use crate::client::log::Log;
use crate::client::options::Options;
use crate::client::producer::{Producer, PublishError};
use crate::terminal::{Ending, Interrupt, Output, note, print_to_stderr};
use lines::{BATCH_MESSAGES, Batch, Line, Lines};
use progress::Progress;

/// The longest message that is read. Brokers take far less by default, and say so themselves.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long a line may wait for others.
const BATCH_PATIENCE: Duration = Duration::from_millis(100);
/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// Deferred messages are published one by one; so many are on their way at once.
const DEFERRED_AT_ONCE: usize = 128;
/// How often the progress is shown at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The flags of `admin-cli pub`. Behind them stand the names of files; without any, and for `-`,
/// standard input is read.
#[derive(Debug, Parser)]
#[command(name = "admin-cli pub")]
pub(crate) struct Flags {
    /// topic to publish to; every line of the files named behind the flags, or of standard input, is a message, empty lines are skipped
    #[arg(long, value_parser = command_line::topic)]
    topic: Option<TopicName>,
    /// publish each file, or standard input, as one message with every byte of it
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    binary: bool,
    /// duration that consumers get the messages later
    #[arg(long, value_parser = duration::parse, default_value = "0s")]
    defer: Duration,
    /// messages a second at most (0 = as fast as it goes)
    #[arg(long, value_parser = flags::integer::<u64>, default_value = "0")]
    rate: u64,
    /// TCP address of nsqd
    #[arg(long, default_value = "127.0.0.1:4150")]
    nsqd_tcp_address: Address,
}

/// Publishes everything, and says how much that was.
pub(crate) async fn run(flags: Flags, mut files: Vec<OsString>) -> Result<(), Ending> {
    let Some(topic) = flags.topic else {
        return Err(Ending::Misuse("--topic is required".to_owned()));
    };
    if files.is_empty() {
        files.push("-".into());
    }
    let address = flags.nsqd_tcp_address.clone();
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
    let progress = Progress { total: length_of(&files).await, ..Progress::default() };
    let meter = Meter { start: Instant::now(), shown: None, is_shown: is_bar_wanted(&files) };
    let producer = Rc::new(producer);
    let mut publisher = Publisher { producer, topic, flags, interrupt, progress, meter };
    let outcome = publisher.publish_files(&files).await;
    publisher.meter.clear();
    publisher.producer.stop().await;
    let published = publisher.progress.messages;
    let plural = if published == 1 { "" } else { "s" };
    let summary = format!("published {published} message{plural} to {topic} at {address}\n");
    Output::open().write(summary.as_bytes()).await?;
    outcome
}

/// The length of all files together; `None` when one has none, as standard input.
async fn length_of(files: &[OsString]) -> Option<u64> {
    let mut length = 0;
    for file in files {
        let metadata = metadata(file).await.ok().filter(std::fs::Metadata::is_file)?;
        length += metadata.len();
    }
    Some(length)
}

/// Whether somebody looks at standard error, and does not type there.
fn is_bar_wanted(files: &[OsString]) -> bool {
    let is_typed = files.iter().any(|file| file == "-") && io::stdin().is_terminal();
    let can_erase = std::env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
    io::stderr().is_terminal() && can_erase && !is_typed
}

/// The line on standard error that tells how far it is.
struct Meter {
    start: Instant,
    is_shown: bool,
    /// When it was shown last.
    shown: Option<Instant>,
}

impl Meter {
    fn show(&mut self, progress: &Progress) {
        let is_due = self.shown.is_none_or(|shown| PROGRESS_INTERVAL <= shown.elapsed());
        if self.is_shown && is_due {
            print_to_stderr(&format!("\r\x1b[K{}", progress.line(self.start.elapsed())));
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            print_to_stderr("\r\x1b[K");
        }
    }
}

struct Publisher {
    producer: Rc<Producer>,
    topic: TopicName,
    flags: Flags,
    interrupt: Interrupt,
    /// What the broker has said OK to.
    progress: Progress,
    meter: Meter,
}

/// Why one input is read no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is no more of it.
    Reached,
    /// The user wants to stop. What was read is published, but for what `--rate` holds back.
    Interrupted,
}

impl Publisher {
    async fn publish_files(&mut self, files: &[OsString]) -> Result<(), Ending> {
        let mut behind = 0;
        for file in files {
            let end = if file == "-" {
                if io::stdin().is_terminal() && !self.flags.binary {
                    note("every line typed is a message; Ctrl-D ends");
                }
                self.publish_input(stdin(), "standard input").await?
            } else {
                let name = file.to_string_lossy();
                let opened = File::open(file).await.map_err(|error| unreadable(&name, &error))?;
                behind += opened.metadata().await.map_or(0, |metadata| metadata.len());
                let end = self.publish_input(opened, &name).await?;
                // Empty lines are no messages, and belong to what is done nevertheless.
                self.progress.bytes = behind;
                end
            };
            if end == End::Interrupted {
                break;
            }
        }
        Ok(())
    }

    async fn publish_input(
        &mut self,
        input: impl AsyncRead + Unpin,
        name: &str,
    ) -> Result<End, Ending> {
        if self.flags.binary {
            self.publish_whole(input, name).await
        } else {
            self.publish_lines(input, name).await
        }
    }

    /// Publishes all of one input as one message.
    async fn publish_whole(
        &mut self,
        input: impl AsyncRead + Unpin,
        name: &str,
    ) -> Result<End, Ending> {
        let mut body = Vec::new();
        let mut input = input.take(MESSAGE_BYTES_MAX as u64 + 1);
        let read = tokio::select! {
            read = input.read_to_end(&mut body) => read,
            () = self.interrupt.wait() => return Ok(End::Interrupted),
        };
        read.map_err(|error| unreadable(name, &error))?;
        if MESSAGE_BYTES_MAX < body.len() {
            let text = format!("{name} is longer than {MESSAGE_BYTES_MAX} bytes");
            return Err(Ending::Failed(text));
        }
        if body.is_empty() {
            note(&format!("{name} is empty, and a message is not"));
            return Ok(End::Reached);
        }
        let mut batch = Batch::of_at_most(1);
        batch.push(Line { number: 1, body });
        self.publish(&mut batch, name).await
    }

    /// Publishes the lines of one input, called `name` in errors. A last line without a line feed is
    /// whole when the end is reached, and left out when the user interrupts it.
    async fn publish_lines(
        &mut self,
        mut input: impl AsyncRead + Unpin,
        name: &str,
    ) -> Result<End, Ending> {
        let mut lines = Lines::default();
        let mut batch = Batch::of_at_most(self.messages_at_once());
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
                        if batch.is_full_before(&line)
                            && self.publish(&mut batch, name).await? == End::Interrupted
                        {
                            return Ok(End::Interrupted);
                        }
                        batch.push(line);
                    }
                    if MESSAGE_BYTES_MAX < lines.partial.len() {
                        let number = lines.number;
                        return Err(Ending::Failed(format!(
                            "line {number} of {name} is longer than {MESSAGE_BYTES_MAX} bytes"
                        )));
                    }
                }
                () = patience.as_mut(), if !was_empty => {
                    if self.publish(&mut batch, name).await? == End::Interrupted {
                        return Ok(End::Interrupted);
                    }
                }
                () = self.interrupt.wait() => break End::Interrupted,
            }
            if was_empty && !batch.bodies.is_empty() {
                patience.as_mut().reset(Instant::now() + BATCH_PATIENCE);
            }
        };
        if end == End::Reached
            && let Some(line) = lines.finish()
        {
            if batch.is_full_before(&line)
                && self.publish(&mut batch, name).await? == End::Interrupted
            {
                return Ok(End::Interrupted);
            }
            batch.push(line);
        }
        match self.publish(&mut batch, name).await? {
            End::Reached => Ok(end),
            End::Interrupted => Ok(End::Interrupted),
        }
    }

    /// With a rate, what goes out at once is small enough for ten times a second.
    fn messages_at_once(&self) -> usize {
        match self.flags.rate {
            0 => BATCH_MESSAGES,
            rate => usize::try_from(rate / 10).unwrap_or(usize::MAX),
        }
    }

    /// Publishes a batch, if there is anything in it, and empties it. [`End::Interrupted`] when the user
    /// did not want to wait for its turn: it is not published then.
    async fn publish(&mut self, batch: &mut Batch, name: &str) -> Result<End, Ending> {
        let Batch { bodies, bytes, first_line, last_line, .. } = batch.take();
        if bodies.is_empty() {
            return Ok(End::Reached);
        }
        let pause = self.progress.pause(self.flags.rate, self.meter.start.elapsed());
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.interrupt.wait() => return Ok(End::Interrupted),
            }
        }
        let lines = if self.flags.binary {
            name.to_owned()
        } else if first_line == last_line {
            format!("line {first_line} of {name}")
        } else {
            format!("lines {first_line} to {last_line} of {name}")
        };
        let address = &self.flags.nsqd_tcp_address;
        let count = bodies.len() as u64;
        let mut published = 0;
        let sent = tokio::select! {
            sent = send(&self.producer, self.topic, bodies, &self.flags, &mut published) => sent,
            () = self.interrupt.wait() => {
                return Err(Ending::Failed(format!(
                    "{address} has not answered yet\n{lines} may be published or not, nothing after"
                )));
            }
        };
        self.progress.messages += published;
        self.progress.bytes += bytes as u64 + published;
        self.meter.show(&self.progress);
        let Err(error) = sent else { return Ok(End::Reached) };
        // Of deferred messages, which go one by one, some may be there already.
        let of = match published {
            0 => lines,
            some => format!("{some} of {count} messages published; the rest of {lines}"),
        };
        Err(match error {
            PublishError::Refused(text) => Ending::Failed(format!(
                "{address} refuses: {text}\n{of} not published, nor anything after"
            )),
            PublishError::Connect(error) => Ending::Failed(format!(
                "{address} {}\n{of} not published, nor anything after",
                error.for_people()
            )),
            PublishError::NotConnected | PublishError::Stopped => {
                let reason = self.producer.trouble().await;
                let reason = match reason.as_deref() {
                    None | Some("EOF" | "unexpected EOF") => "has closed the connection".to_owned(),
                    Some(reason) => format!("is lost: {reason}"),
                };
                Ending::Failed(format!(
                    "{address} {reason}\n{of} may be published or not, nothing after"
                ))
            }
        })
    }
}

/// Sends messages together, or one by one when they are deferred, and counts those that the broker has
/// said OK to.
async fn send(
    producer: &Rc<Producer>,
    topic: TopicName,
    bodies: Vec<Vec<u8>>,
    flags: &Flags,
    published: &mut u64,
) -> Result<(), PublishError> {
    if flags.defer.is_zero() {
        match bodies.as_slice() {
            [body] if flags.binary => producer.publish(topic.as_str(), body).await?,
            bodies => producer.publish_many(topic.as_str(), bodies).await?,
        }
        *published = bodies.len() as u64;
        return Ok(());
    }
    let delay = flags.defer;
    let mut bodies = bodies.into_iter().peekable();
    while bodies.peek().is_some() {
        let mut sendings = JoinSet::new();
        for body in bodies.by_ref().take(DEFERRED_AT_ONCE) {
            let producer = producer.clone();
            sendings.spawn_local(async move {
                producer.publish_deferred(topic.as_str(), delay, &body).await
            });
        }
        let mut outcome = Ok(());
        for sent in sendings.join_all().await {
            match sent {
                Ok(()) => *published += 1,
                // The first says why; those behind it only that the connection is gone.
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
    }
    Ok(())
}

fn unreadable(name: &str, error: &io::Error) -> Ending {
    Ending::Failed(format!("cannot read {name}: {error}"))
}
