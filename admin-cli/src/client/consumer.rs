//! One topic and channel, consumed at many brokers as go-nsq does it.
//!
//! Knows: when to connect and to connect again, whom nsqlookupds name, what frames mean, how it ends.
//! Does not know: how many messages a connection may have in flight ([`super::ready`]), nor what is
//! done with messages ([`super::message`]).
//!
//! Tasks, all on one thread: one for each connection, one that redistributes ready counts, one that
//! asks nsqlookupds. A connection's task reads, cuts out all frames that came, and lays the messages
//! down as one [`Batch`]; answers wake it, and it writes all that are there at once.
//!
//! Bounds: of a connection no more is read while as many messages wait to be taken as it may have in
//! flight, and one read besides.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::name::{ChannelName, TopicName};
use protocol::request;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::connection::{ConnectError, Connection, Received};
use super::discovery::{self, Discovery};
use super::log::{Labelled, Level, Log};
use super::message::{Batch, Link, Message};
use super::options::Options;
use super::random;
use super::ready::{Answer, Key, Moment, RETRY_AFTER, Ready, Step};

/// How long a consumer that is stopped waits for answers (NSQ behaviour).
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection that ends is waited for by name, in the log (NSQ behaviour).
const DRAIN_NOTE_AFTER: Duration = Duration::from_secs(1);

/// Consumers and producers are numbered in one row (NSQ behaviour).
static INSTANCES: AtomicU64 = AtomicU64::new(0);

/// The number of the next consumer or producer.
pub(super) fn next_instance() -> u64 {
    INSTANCES.fetch_add(1, Ordering::Relaxed) + 1
}

/// What happens to a consumer's connections, for who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The broker has answered the subscription: messages may come.
    Subscribed { address: String },
    /// The connection has ended. When it was not wanted, this says why, in go-nsq's words; what the
    /// broker refused with is `refusal`.
    Ended { address: String, reason: String, refusal: Option<String> },
}

/// Why an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotConnected {
    /// The consumer was stopped.
    Stopped,
    /// It is connected to, or that is under way.
    AlreadyConnected,
    /// It could not be.
    Failed(ConnectError),
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("consumer stopped"),
            Self::AlreadyConnected => f.write_str("already connected"),
            Self::Failed(error) => f.write_str(&error.text()),
        }
    }
}

/// A consumer. It consumes until it is stopped; when it is dropped, its connections go.
pub(crate) struct Consumer {
    shared: Rc<Shared>,
}

/// What a consumer's tasks and messages share.
pub(super) struct Shared {
    topic: String,
    channel: String,
    pub(super) options: Rc<Options>,
    pub(super) log: Labelled,
    started: Instant,
    ready: RefCell<Ready>,
    links: RefCell<BTreeMap<Key, Rc<Link>>>,
    next_key: Cell<Key>,
    /// Addresses that are being connected to.
    pending: RefCell<BTreeSet<String>>,
    /// Addresses that were ever connected to: the ones that are connected to again.
    known: RefCell<BTreeSet<String>>,
    /// Whether brokers that are lost are left to who uses this.
    is_manual: bool,
    discovery: RefCell<Option<Discovery>>,
    /// Asks for a round of questions before its time.
    recheck: Notify,
    batches: RefCell<VecDeque<Batch>>,
    arrived: Notify,
    is_stopping: Cell<bool>,
    is_over: Cell<bool>,
    /// Tells those who wait for the end.
    over: Notify,
    tasks: RefCell<Vec<AbortHandle>>,
    events: Option<mpsc::UnboundedSender<Event>>,
}

impl Consumer {
    /// A consumer without connections.
    ///
    /// # Errors
    /// In go-nsq's words, when the names are illegal or the options do not fit together.
    pub(crate) fn new(
        topic: &str,
        channel: &str,
        options: Rc<Options>,
        log: &Log,
    ) -> Result<Self, String> {
        Self::make(topic, channel, options, log, None)
    }

    /// A consumer that connects to nobody by itself: who uses it decides when to connect again, and
    /// is told what happens. Events are as few as connections are made and lost.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub(crate) fn manual(
        topic: &str,
        channel: &str,
        options: Rc<Options>,
        log: &Log,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), String> {
        let (sender, events) = mpsc::unbounded_channel();
        Ok((Self::make(topic, channel, options, log, Some(sender))?, events))
    }

    fn make(
        topic: &str,
        channel: &str,
        options: Rc<Options>,
        log: &Log,
        events: Option<mpsc::UnboundedSender<Event>>,
    ) -> Result<Self, String> {
        options.validate()?;
        TopicName::parse(topic.as_bytes()).map_err(|_| "invalid topic name")?;
        ChannelName::parse(channel.as_bytes()).map_err(|_| "invalid channel name")?;
        let label = format!("{:3} [{topic}/{channel}]", next_instance());
        let shared = Rc::new(Shared {
            topic: topic.to_owned(),
            channel: channel.to_owned(),
            log: log.labelled(label),
            started: Instant::now(),
            ready: RefCell::new(Ready::new(&options)),
            options,
            links: RefCell::default(),
            next_key: Cell::default(),
            pending: RefCell::default(),
            known: RefCell::default(),
            is_manual: events.is_some(),
            discovery: RefCell::default(),
            recheck: Notify::new(),
            batches: RefCell::default(),
            arrived: Notify::new(),
            is_stopping: Cell::default(),
            is_over: Cell::default(),
            over: Notify::new(),
            tasks: RefCell::default(),
            events,
        });
        shared.keep(redistribute(shared.clone()));
        Ok(Self { shared })
    }

    /// Connects to a broker.
    ///
    /// # Errors
    /// Why it is not connected to.
    pub(crate) async fn connect(&self, address: &str) -> Result<(), NotConnected> {
        connect(&self.shared, address).await
    }

    /// Connects to brokers, one after the other; each is connected to anew whenever it is lost.
    ///
    /// # Errors
    /// In go-nsq's words, for the first that cannot be connected to; those behind it are not tried.
    pub(crate) async fn connect_to_nsqds(&self, addresses: &[String]) -> Result<(), String> {
        for address in addresses {
            self.connect(address).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Asks nsqlookupds for brokers, at once and from then on, and connects to those.
    ///
    /// # Errors
    /// In go-nsq's words, when an address is none. One that does not answer is none: it is asked
    /// again.
    pub(crate) async fn connect_to_lookupds(&self, addresses: &[String]) -> Result<(), String> {
        let is_encrypted = addresses.iter().any(|address| address.starts_with("https:"));
        for address in addresses {
            if self.shared.is_stopping.get() {
                return Err(NotConnected::Stopped.to_string());
            }
            let endpoint = discovery::endpoint(address, &self.shared.topic)?;
            let is_first = {
                let mut discovery = self.shared.discovery.borrow_mut();
                let discovery = match &mut *discovery {
                    Some(discovery) => discovery,
                    none => none.insert(Discovery::new(&self.shared.options, is_encrypted)?),
                };
                discovery.add(endpoint) && discovery.len() == 1
            };
            if is_first {
                discover(&self.shared).await;
                self.shared.keep(keep_discovering(self.shared.clone()));
            }
        }
        Ok(())
    }

    /// The next messages; waits until there are some. `None` when the consumer was stopped and all is
    /// over. When the wait is given up, nothing is lost.
    pub(crate) async fn next(&self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.next_here() {
                return Some(batch);
            }
            if self.shared.is_over.get() {
                return None;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// The next messages of those that are here.
    pub(crate) fn next_here(&self) -> Option<Batch> {
        let batch = self.shared.batches.borrow_mut().pop_front()?;
        batch.taken();
        Some(batch)
    }

    /// Waits until the consumer was stopped and all is over, whether messages are still being handled
    /// or not: then nobody takes their answers any more.
    pub(crate) async fn ended(&self) {
        while !self.shared.is_over.get() {
            self.shared.over.notified().await;
        }
    }

    /// Whether, on some connection, nearly all is in flight that may be: it gets little more before
    /// something is answered.
    pub(crate) fn is_starved(&self) -> bool {
        let links = self.shared.links.borrow();
        let in_flight = |key: Key| {
            let count = links.get(&key).map_or(0, |link| link.in_flight());
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        self.shared.ready.borrow().is_starved(in_flight)
    }

    /// Changes how many messages may be in flight over all connections; 0 for a pause.
    pub(crate) fn set_max_in_flight(&self, max_in_flight: i64) {
        let now = self.shared.now();
        let steps = self.shared.ready.borrow_mut().set_max_in_flight(max_in_flight, now);
        self.shared.carry_out(steps);
    }

    /// Asks all brokers for no more messages. [`Self::next`] goes on until those that came are
    /// answered, or dropped, for 30 seconds at most.
    pub(crate) fn stop(&self) {
        let shared = &self.shared;
        if shared.is_stopping.replace(true) {
            return;
        }
        shared.log.say(Level::Info, "stopping...");
        if shared.links.borrow().is_empty() {
            shared.end();
            return;
        }
        for link in shared.links.borrow().values() {
            link.send(request::start_close);
        }
        shared.keep({
            let shared = shared.clone();
            async move {
                sleep(STOP_PATIENCE).await;
                shared.is_over.set(true);
                shared.arrived.notify_waiters();
                shared.arrived.notify_one();
                shared.over.notify_waiters();
            }
        });
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // The tasks hold what is shared, and would go on.
        self.shared.is_stopping.set(true);
        self.shared.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
        for link in self.shared.links.borrow().values() {
            link.is_closing.set(true);
            link.wake.notify_one();
        }
        self.shared.batches.borrow_mut().clear();
    }
}

impl Shared {
    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Starts a task that goes with the consumer.
    fn keep(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.push(spawn_local(task).abort_handle());
    }

    fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            // Nobody listens when the whole program ends, and then it does not matter.
            events.send(event).ok();
        }
    }

    fn link(&self, key: Key) -> Option<Rc<Link>> {
        self.links.borrow().get(&key).cloned()
    }

    fn link_to(&self, address: &str) -> Option<Rc<Link>> {
        self.links.borrow().values().find(|link| link.address == address).cloned()
    }

    /// So many messages were answered.
    pub(super) fn answered(self: &Rc<Self>, answer: Answer, count: usize) {
        for _ in 0..count {
            if answer == Answer::Finished && self.ready.borrow().is_at_ease() {
                return;
            }
            let now = self.now();
            let steps = self.ready.borrow_mut().answered(answer, now, random::fraction);
            self.carry_out(steps);
        }
    }

    fn carry_out(self: &Rc<Self>, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(key, count) => {
                    if let Some(link) = self.link(key) {
                        let count = u64::try_from(count).unwrap_or_default();
                        link.send(|out| request::ready(out, count));
                    }
                }
                Step::Say(level, None, text) => self.log.say(level, text),
                Step::Say(level, Some(key), text) => {
                    let link = self.link(key);
                    let address = link.as_ref().map_or("", |link| link.address.as_str());
                    self.log.say_of(level, address, text);
                }
                Step::ResumeAfter(pause) => {
                    let shared = self.clone();
                    self.keep(async move {
                        sleep(pause).await;
                        if !shared.is_stopping.get() {
                            let now = shared.now();
                            let steps = shared.ready.borrow_mut().resume(now, random::below);
                            shared.carry_out(steps);
                        }
                    });
                }
                Step::Retry(key, attempt) => {
                    let shared = self.clone();
                    self.keep(async move {
                        sleep(RETRY_AFTER).await;
                        let now = shared.now();
                        let steps = shared.ready.borrow_mut().retry(key, attempt, now);
                        shared.carry_out(steps);
                    });
                }
            }
        }
    }

    /// A connection has ended, and nothing is owed to it any more.
    fn closed(self: &Rc<Self>, link: &Link) {
        self.links.borrow_mut().remove(&link.key);
        let now = self.now();
        let steps = self.ready.borrow_mut().closed(link.key, now);
        self.carry_out(steps);
        if self.is_stopping.get() {
            if self.links.borrow().is_empty() {
                self.end();
            }
        } else if !self.is_manual {
            if self.discovery.borrow().is_some() {
                self.recheck.notify_one();
            } else if self.known.borrow().contains(&link.address) {
                self.keep(reconnect(self.clone(), link.address.clone()));
            }
        }
    }

    /// The consumer was stopped, and its last connection has ended.
    fn end(&self) {
        if self.is_over.replace(true) {
            return;
        }
        self.log.say(Level::Info, "stopping handlers");
        if self.discovery.borrow().is_some() {
            self.log.say(Level::Info, "exiting lookupdLoop");
        }
        self.log.say(Level::Info, "rdyLoop exiting");
        self.arrived.notify_waiters();
        self.arrived.notify_one();
        self.over.notify_waiters();
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
    }
}

/// Connects to a broker, and subscribes.
async fn connect(shared: &Rc<Shared>, address: &str) -> Result<(), NotConnected> {
    if shared.is_stopping.get() {
        return Err(NotConnected::Stopped);
    }
    if shared.link_to(address).is_some() || !shared.pending.borrow_mut().insert(address.to_owned())
    {
        return Err(NotConnected::AlreadyConnected);
    }
    // However it ends, also when the wait for it is given up.
    let _pending = Pending { shared, address };
    shared.known.borrow_mut().insert(address.to_owned());
    shared.log.say_of(Level::Info, address, "connecting to nsqd");
    let (connection, agreement) = Connection::open(address, &shared.options, &shared.log)
        .await
        .map_err(NotConnected::Failed)?;
    if shared.is_stopping.get() {
        return Err(NotConnected::Stopped);
    }
    let max_in_flight = shared.ready.borrow().max_in_flight();
    let max_ready = agreement.max_rdy_count;
    if max_ready < max_in_flight {
        let text = format!(
            "max RDY count {max_ready} < consumer max in flight {max_in_flight}, truncation possible"
        );
        shared.log.say_of(Level::Warning, address, text);
    }
    let key = shared.next_key.replace(shared.next_key.get() + 1);
    let link = Rc::new(Link::new(key, address.to_owned(), shared.clone()));
    link.send(|out| {
        request::subscribe(out, shared.topic.as_bytes(), shared.channel.as_bytes());
    });
    shared.links.borrow_mut().insert(key, link.clone());
    let now = shared.now();
    let steps = shared.ready.borrow_mut().connected(key, max_ready, now);
    shared.carry_out(steps);
    spawn_local(serve(shared.clone(), link, connection));
    Ok(())
}

/// An address that is being connected to, as long as this lives.
struct Pending<'a> {
    shared: &'a Shared,
    address: &'a str,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.shared.pending.borrow_mut().remove(self.address);
    }
}

/// Connects to a lost broker again and again, until it is there.
async fn reconnect(shared: Rc<Shared>, address: String) {
    let pause = shared.options.lookupd_poll_interval;
    loop {
        shared.log.say_of(Level::Info, &address, format_args!("re-connecting in {pause}"));
        sleep(pause.duration()).await;
        match connect(&shared, &address).await {
            Ok(()) | Err(NotConnected::Stopped | NotConnected::AlreadyConnected) => return,
            Err(error) => {
                let text = format!("error connecting to nsqd - {error}");
                shared.log.say_of(Level::Error, &address, text);
            }
        }
    }
}

/// Moves ready counts between connections, every so often.
async fn redistribute(shared: Rc<Shared>) {
    let mut ticks = interval(shared.options.rdy_redistribute_interval.duration());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = shared.now();
        let steps = shared.ready.borrow_mut().redistribute(now, random::below);
        shared.carry_out(steps);
    }
}

/// Asks nsqlookupds again and again, not all consumers at the same moment.
async fn keep_discovering(shared: Rc<Shared>) {
    let pause = shared.options.lookupd_poll_interval.duration();
    sleep(pause.mul_f64(shared.options.lookupd_poll_jitter.clamp(0.0, 1.0) * random::fraction()))
        .await;
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.recheck.notified() => {}
        }
        discover(&shared).await;
    }
}

/// Asks one nsqlookupd, and others when it fails; connects to the brokers that are new.
async fn discover(shared: &Rc<Shared>) {
    let mut brokers = Vec::new();
    for tried in 1..=discovery::TRIES {
        let question = shared.discovery.borrow_mut().as_mut().map(Discovery::take_turn);
        let Some(question) = question else { return };
        let endpoint = &question.endpoint;
        shared.log.say(Level::Info, format_args!("querying nsqlookupd {endpoint}"));
        match question.ask().await {
            Ok(found) => {
                brokers = found;
                break;
            }
            Err(reason) => {
                let text = format!("error querying nsqlookupd ({endpoint}) - {reason}");
                shared.log.say(Level::Error, text);
                if tried < discovery::TRIES {
                    shared.log.say(Level::Info, "retrying with next nsqlookupd");
                }
            }
        }
    }
    for address in brokers {
        match connect(shared, &address).await {
            Ok(()) | Err(NotConnected::AlreadyConnected) => {}
            Err(error) => {
                let text = format!("error connecting to nsqd - {error}");
                shared.log.say_of(Level::Error, &address, text);
            }
        }
    }
}

/// The task of one connection, from SUB to its end.
async fn serve(shared: Rc<Shared>, link: Rc<Link>, mut connection: Connection) {
    let log = &shared.log;
    let address = link.address.as_str();
    let mut refusal = None;
    let outcome = converse(&shared, &link, &mut connection, &mut refusal).await;
    let reason = match outcome {
        Ok(()) => String::new(),
        Err(reason) => {
            log.say_of(Level::Error, address, format_args!("IO error - {reason}"));
            reason
        }
    };
    link.is_closing.set(true);
    link.is_broken.set(true);
    drop(link.take_outgoing(Vec::new()));
    shared.ready.borrow_mut().closing(link.key);

    let outstanding = link.in_flight();
    if 0 < outstanding {
        let text = format!("delaying close, {outstanding} outstanding messages");
        log.say_of(Level::Warning, address, text);
    } else {
        log.say_of(Level::Info, address, "beginning close");
    }
    log.say_of(Level::Info, address, "readLoop exiting");
    connection.close().await;
    // Who has the messages finds out by its answers that they are of no use; until then the broker's
    // share is taken.
    if 0 < outstanding {
        while 0 < link.in_flight() {
            tokio::select! {
                () = link.wake.notified() => {}
                () = sleep(DRAIN_NOTE_AFTER) => {
                    let left = link.in_flight();
                    let text = format!("draining... waiting for {left} messages in flight");
                    log.say_of(Level::Warning, address, text);
                }
            }
        }
        log.say_of(Level::Info, address, "beginning close");
    }
    for text in [
        "breaking out of writeLoop",
        "writeLoop exiting",
        "finished draining, cleanup exiting",
        "clean close complete",
    ] {
        log.say_of(Level::Info, address, text);
    }
    shared.closed(&link);
    shared.tell(Event::Ended { address: link.address.clone(), reason, refusal });
}

/// Reads and writes until the broker has let us go and nothing is owed to it.
async fn converse(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    connection: &mut Connection,
    refusal: &mut Option<String>,
) -> Result<(), String> {
    let mut is_subscribed = false;
    let mut spare = Vec::new();
    let silence = shared.options.read_timeout.limit();
    let mut heard = Instant::now();
    let mut silence_ends = pin!(sleep_until(heard + silence.unwrap_or_default()));
    loop {
        let outgoing = link.take_outgoing(spare);
        if !outgoing.is_empty() {
            connection.send(&outgoing).await?;
        }
        spare = outgoing;
        spare.clear();
        let is_closing = link.is_closing.get();
        if is_closing && link.in_flight() == 0 {
            return Ok(());
        }
        let bound = usize::try_from(shared.ready.borrow().of(link.key)).unwrap_or_default().max(1);
        tokio::select! {
            biased;
            read = connection.read(), if !is_closing && link.untaken.get() < bound => {
                read?;
                heard = Instant::now();
                take_in(shared, link, connection, refusal, &mut is_subscribed)?;
            }
            () = link.wake.notified() => {}
            () = &mut silence_ends, if !is_closing && silence.is_some() => {
                let ends = heard + silence.unwrap_or_default();
                if ends <= Instant::now() {
                    return Err(connection.silence());
                }
                silence_ends.as_mut().reset(ends);
            }
        }
    }
}

/// Looks at all frames that came, and lays the messages among them down.
fn take_in(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    connection: &mut Connection,
    refusal: &mut Option<String>,
    is_subscribed: &mut bool,
) -> Result<(), String> {
    let frames = connection.take_frames()?;
    let max_attempts = shared.options.max_attempts;
    let mut messages = Vec::new();
    for frame in frames.iter() {
        match frame {
            Received::Message { timestamp, attempts, id, body } => {
                if 0 < max_attempts && max_attempts < attempts {
                    let text = format!("msg {id} attempted {attempts} times, giving up");
                    shared.log.say(Level::Warning, text);
                    link.send(|out| request::finish(out, id));
                    shared.answered(Answer::Finished, 1);
                    continue;
                }
                messages.push(Message::new((id, timestamp, attempts), body, link.clone()));
            }
            Received::Response(data) if *data == *b"_heartbeat_" => link.send(request::nop),
            Received::Response(data) if *data == *b"CLOSE_WAIT" => {
                let address = &link.address;
                shared.log.say_of(Level::Info, address, "received CLOSE_WAIT from nsqd");
                link.is_closing.set(true);
                shared.ready.borrow_mut().closing(link.key);
            }
            Received::Response(_) => {
                if !std::mem::replace(is_subscribed, true) {
                    shared.tell(Event::Subscribed { address: link.address.clone() });
                }
            }
            Received::Error(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let said = format!("protocol error - {text}");
                shared.log.say_of(Level::Error, &link.address, said);
                *refusal = Some(text);
            }
        }
    }
    link.came(messages.len());
    if let Some(batch) = Batch::of(messages) {
        let now = shared.now();
        shared.ready.borrow_mut().came(link.key, now);
        shared.batches.borrow_mut().push_back(batch);
        shared.arrived.notify_one();
    }
    Ok(())
}
