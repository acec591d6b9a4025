//! One broker, published to as go-nsq does it.
//!
//! Knows: that a connection is made at the first publish and anew after it broke, that answers come
//! in the order of the commands, and that whatever was under way when it broke may be published or
//! not. Does not know: where messages come from.
//!
//! Bounds: what waits to be sent is what callers wait for; they bound it themselves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use protocol::request;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{ConnectError, Connection, Received};
use super::consumer::next_instance;
use super::log::{Labelled, Level, Log};
use super::options::Options;

/// How long the reason is waited for, when a broker takes no more bytes.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

/// Why something was not published, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// The broker refused, in these words of its protocol: nothing of the command is published.
    Refused(String),
    /// The connection broke before the answer: it may be published or not.
    NotConnected,
    /// There was no connection to be had: nothing is published.
    Connect(ConnectError),
    /// The producer was stopped.
    Stopped,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(text),
            Self::NotConnected => f.write_str("not connected"),
            Self::Connect(error) => f.write_str(&error.text()),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// A producer. Many publishes may be under way at once.
pub(crate) struct Producer {
    address: String,
    options: Rc<Options>,
    log: Labelled,
    /// The connection, if there is one. Locked while it is made.
    line: Mutex<Option<Rc<Line>>>,
    is_stopped: Cell<bool>,
}

/// A connection, as publishes and its task share it.
#[derive(Default)]
struct Line {
    /// Commands that are to be sent.
    outgoing: RefCell<Vec<u8>>,
    /// Who waits for answers, in the order of the commands.
    waiting: RefCell<VecDeque<Waiting>>,
    /// Tells the task that there are commands, or that it is to end.
    wake: Notify,
    is_ending: Cell<bool>,
    /// Why it broke, in Go's words.
    reason: RefCell<Option<String>>,
    task: RefCell<Option<JoinHandle<()>>>,
}

/// Who waits for answers.
struct Waiting {
    /// How many are still to come.
    answers: usize,
    /// The first refusal among those that came.
    refusal: Option<String>,
    done: oneshot::Sender<Result<(), PublishError>>,
}

impl Producer {
    /// A producer, which is not connected yet.
    ///
    /// # Errors
    /// In go-nsq's words, when the options do not fit together.
    pub(crate) fn new(address: &str, options: Rc<Options>, log: &Log) -> Result<Self, String> {
        options.validate()?;
        let label = format!("{:3}", next_instance());
        Ok(Self {
            address: address.to_owned(),
            options,
            log: log.labelled(label),
            line: Mutex::default(),
            is_stopped: Cell::default(),
        })
    }

    /// Connects, if there is no connection. A publish does so by itself.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connect(&self) -> Result<(), PublishError> {
        self.line().await.map(drop)
    }

    /// PUB: publishes a message.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn publish(&self, topic: &str, body: &[u8]) -> Result<(), PublishError> {
        self.command(1, |out| request::publish(out, topic.as_bytes(), body)).await
    }

    /// MPUB: publishes all of these messages, or none.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn publish_many(
        &self,
        topic: &str,
        bodies: &[impl AsRef<[u8]>],
    ) -> Result<(), PublishError> {
        let bodies: Vec<&[u8]> = bodies.iter().map(AsRef::as_ref).collect();
        self.command(1, |out| request::publish_many(out, topic.as_bytes(), &bodies)).await
    }

    /// DPUB: publishes a message that is delivered when the delay is over, in whole milliseconds.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn publish_deferred(
        &self,
        topic: &str,
        delay: Duration,
        body: &[u8],
    ) -> Result<(), PublishError> {
        self.command(1, |out| request::publish_deferred(out, topic.as_bytes(), delay, body)).await
    }

    /// PUB for each of these messages, all sent together, and all their answers.
    ///
    /// # Errors
    /// The first refusal; what came behind it may be published or not. Else see [`PublishError`].
    pub(crate) async fn publish_each(
        &self,
        topic: &str,
        bodies: &[impl AsRef<[u8]>],
    ) -> Result<(), PublishError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let push = |out: &mut Vec<u8>| {
            for body in bodies {
                request::publish(out, topic.as_bytes(), body.as_ref());
            }
        };
        self.command(bodies.len(), push).await
    }

    /// Ends the connection. Publishes that are under way are not waited for.
    pub(crate) async fn stop(&self) {
        if self.is_stopped.replace(true) {
            return;
        }
        self.log.say_of(Level::Info, &self.address, "stopping");
        let Some(line) = self.line.lock().await.take() else { return };
        line.is_ending.set(true);
        line.wake.notify_one();
        let task = line.task.borrow_mut().take();
        if let Some(task) = task {
            // It cannot fail but by a panic, which has ended the process.
            task.await.ok();
        }
    }

    /// Why the last connection broke, in Go's words, for who wants to tell more than go-nsq.
    pub(crate) async fn trouble(&self) -> Option<String> {
        let line = self.line.lock().await.clone()?;
        line.reason.borrow().clone()
    }

    async fn command(
        &self,
        answers: usize,
        push: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), PublishError> {
        let line = self.line().await?;
        let (done, answered) = oneshot::channel();
        push(&mut line.outgoing.borrow_mut());
        line.waiting.borrow_mut().push_back(Waiting { answers, refusal: None, done });
        line.wake.notify_one();
        answered.await.unwrap_or(Err(PublishError::NotConnected))
    }

    async fn line(&self) -> Result<Rc<Line>, PublishError> {
        let mut line = self.line.lock().await;
        if self.is_stopped.get() {
            return Err(PublishError::Stopped);
        }
        if let Some(line) = line.as_ref().filter(|line| !line.is_ending.get()) {
            return Ok(line.clone());
        }
        let (log, address) = (&self.log, self.address.as_str());
        log.say_of(Level::Info, address, "connecting to nsqd");
        let connection = match Connection::open(address, &self.options, log).await {
            Ok((connection, _)) => connection,
            Err(error) => {
                let text = format!("error connecting to nsqd - {}", error.text());
                log.say_of(Level::Error, address, text);
                return Err(PublishError::Connect(error));
            }
        };
        let fresh = Rc::new(Line::default());
        let silence = self.options.read_timeout.limit();
        let task = serve(fresh.clone(), connection, log.clone(), self.address.clone(), silence);
        *fresh.task.borrow_mut() = Some(spawn_local(task));
        *line = Some(fresh.clone());
        Ok(fresh)
    }
}

/// The task of one connection.
async fn serve(
    line: Rc<Line>,
    mut connection: Connection,
    log: Labelled,
    address: String,
    silence: Option<Duration>,
) {
    let say = |level, text: &str| log.say_of(level, &address, text);
    if let Err(reason) = converse(&line, &mut connection, silence).await {
        say(Level::Error, &format!("IO error - {reason}"));
        line.reason.replace(Some(reason));
    }
    line.is_ending.set(true);
    for text in [
        "beginning close",
        "readLoop exiting",
        "breaking out of writeLoop",
        "writeLoop exiting",
        "finished draining, cleanup exiting",
        "clean close complete",
    ] {
        say(Level::Info, text);
    }
    connection.close().await;
    for waiting in line.waiting.take() {
        let outcome = waiting.refusal.map_or(PublishError::NotConnected, PublishError::Refused);
        // Who has given up waiting does not care.
        waiting.done.send(Err(outcome)).ok();
    }
    say(Level::Info, "exiting router");
}

/// Sends commands and hands out answers until the line is to end.
async fn converse(
    line: &Line,
    connection: &mut Connection,
    silence: Option<Duration>,
) -> Result<(), String> {
    let mut spare = Vec::new();
    let mut heard = Instant::now();
    let mut silence_ends = pin!(sleep_until(heard + silence.unwrap_or_default()));
    loop {
        let outgoing = line.outgoing.replace(spare);
        if !outgoing.is_empty()
            && let Err(reason) = connection.send(&outgoing).await
        {
            // A broker that refuses before it has read all closes the connection, so sending may
            // fail while the reason lies ready to be read.
            while let Ok(Ok(())) = timeout(REASON_PATIENCE, connection.read()).await {
                take_in(line, connection)?;
            }
            return Err(reason);
        }
        spare = outgoing;
        spare.clear();
        if line.is_ending.get() {
            return Ok(());
        }
        tokio::select! {
            biased;
            read = connection.read() => {
                read?;
                heard = Instant::now();
                take_in(line, connection)?;
            }
            () = line.wake.notified() => {}
            () = &mut silence_ends, if silence.is_some() => {
                let ends = heard + silence.unwrap_or_default();
                if ends <= Instant::now() {
                    return Err(connection.silence());
                }
                silence_ends.as_mut().reset(ends);
            }
        }
    }
}

/// Hands out the answers that came.
fn take_in(line: &Line, connection: &mut Connection) -> Result<(), String> {
    for frame in connection.take_frames()?.iter() {
        let refusal = match frame {
            Received::Response(data) if *data == *b"_heartbeat_" => {
                request::nop(&mut line.outgoing.borrow_mut());
                continue;
            }
            Received::Response(_) => None,
            Received::Error(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            Received::Message { .. } => continue,
        };
        let mut waiting = line.waiting.borrow_mut();
        let Some(first) = waiting.front_mut() else {
            return Err("an answer came that nobody waits for".to_owned());
        };
        first.answers -= 1;
        if first.refusal.is_none() {
            first.refusal = refusal;
        }
        if first.answers == 0
            && let Some(done) = waiting.pop_front()
        {
            let outcome = done.refusal.map_or(Ok(()), |text| Err(PublishError::Refused(text)));
            // Who has given up waiting does not care.
            done.done.send(outcome).ok();
        }
    }
    Ok(())
}
