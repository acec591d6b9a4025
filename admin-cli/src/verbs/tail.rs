//! `admin-cli tail`: prints messages as they come.
//!
//! Knows: which brokers are subscribed to, how many messages each may have in flight, and when
//! enough is printed. One subscription is [`crate::client::consumer`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use clap::{ArgAction, Parser};
use protocol::name::{ChannelName, TopicName};
use startup::{duration, flags};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::command_line;
use crate::address::{self, Address};
use crate::client::consumer::{Change, Consumer, Delivery, Event, Receipt};
use crate::cluster::{Discovery, Http, Patience};
use crate::terminal::{Ending, Interrupt, Output, note};

/// How often nsqlookupd is asked for brokers.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is asked while a topic has no broker.
const IMPATIENT_LOOKUP_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait at the end for the brokers to have read the last FINs.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(3);
/// After how many failures in a row a broker is given up that nsqlookupd told of. If it still tells
/// of it then, it is tried anew.
const DISCOVERED_ATTEMPTS_MAX: u32 = 5;
/// How much is written at once.
const WRITE_BYTES: usize = 64 << 10;

/// The flags of `admin-cli tail`.
#[derive(Debug, Parser)]
#[command(name = "admin-cli tail")]
pub(crate) struct Flags {
    /// topic to print (may be given multiple times)
    #[arg(long, value_parser = command_line::topic)]
    topic: Vec<TopicName>,
    /// channel to subscribe to; without it an ephemeral one of our own, so that other channels miss no message: of a topic that has no other, it takes what waits, and nobody gets that again
    #[arg(long, value_parser = command_line::channel)]
    channel: Option<ChannelName>,
    /// number of messages to print, of all topics together, before it ends (0 = do not end)
    #[arg(long = "n", value_parser = flags::integer::<u64>, default_value = "0")]
    count: u64,
    /// print the topic in front of each message: topic | body
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_topic: bool,
    /// number of messages that may be in flight, of each topic, at all brokers together
    #[arg(long, value_parser = flags::integer::<u32>, default_value = "200")]
    max_in_flight: u32,
    /// TCP address of nsqd (may be given multiple times; 127.0.0.1:4150 when no address is given)
    #[arg(long)]
    nsqd_tcp_address: Vec<Address>,
    /// HTTP address of nsqlookupd (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<Address>,
}

/// Prints until `-n` is reached, or the user stops it.
pub(crate) async fn run(flags: Flags) -> Result<(), Ending> {
    if flags.topic.is_empty() {
        return Err(Ending::Misuse("--topic is required".to_owned()));
    }
    if flags.max_in_flight == 0 {
        return Err(Ending::Misuse("--max-in-flight should be positive".to_owned()));
    }
    if !flags.nsqd_tcp_address.is_empty() && !flags.lookupd_http_address.is_empty() {
        let text = "use --nsqd-tcp-address or --lookupd-http-address not both";
        return Err(Ending::Misuse(text.to_owned()));
    }
    let mut interrupt = Interrupt::listen()?;
    let mut tail = Tail::new(flags)?;
    let outcome = tokio::select! {
        outcome = tail.print() => outcome,
        () = interrupt.wait() => Ok(()),
    };
    tail.stop().await;
    outcome
}

/// All subscriptions, and what comes out of them.
struct Tail {
    flags: Flags,
    channel: ChannelName,
    /// How many messages are still to be printed; `None` when there is no end.
    remaining: Option<u64>,
    output: Output,

    consumers: JoinSet<()>,
    /// How many messages each broker may have in flight, by topic.
    ready: HashMap<TopicName, watch::Sender<u64>>,
    /// The subscriptions that are kept up.
    wanted: BTreeSet<Subscription>,
    /// Those of them that get messages.
    subscribed: BTreeSet<Subscription>,
    /// Whether any subscription has ever got so far. Until then, a failure of all ends the program.
    was_subscribed: bool,
    /// Those that failed last time, and why.
    failed: BTreeMap<Subscription, String>,
    /// The topics of which the user knows that no broker has them.
    missing: BTreeSet<TopicName>,

    stopping: watch::Sender<bool>,
    delivery_sender: mpsc::Sender<Delivery>,
    deliveries: mpsc::Receiver<Delivery>,
    event_sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

type Subscription = (TopicName, Address);

impl Tail {
    fn new(mut flags: Flags) -> Result<Self, Ending> {
        flags.topic.sort_unstable();
        flags.topic.dedup();
        if flags.nsqd_tcp_address.is_empty() && flags.lookupd_http_address.is_empty() {
            let local = "127.0.0.1:4150".parse().expect("an address");
            flags.nsqd_tcp_address.push(local);
        }
        let remaining = (0 < flags.count).then_some(flags.count);
        let (delivery_sender, deliveries) = mpsc::channel(flags.max_in_flight as usize);
        let (event_sender, events) = mpsc::unbounded_channel();
        Ok(Self {
            channel: flags.channel.unwrap_or_else(ephemeral_channel),
            remaining,
            output: Output::open(),
            consumers: JoinSet::new(),
            ready: HashMap::new(),
            wanted: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            was_subscribed: false,
            failed: BTreeMap::new(),
            missing: BTreeSet::new(),
            stopping: watch::Sender::new(false),
            delivery_sender,
            deliveries,
            event_sender,
            events,
            flags,
        })
    }

    /// Prints until enough is printed.
    async fn print(&mut self) -> Result<(), Ending> {
        for address in self.flags.nsqd_tcp_address.clone() {
            for topic in self.flags.topic.clone() {
                self.want(topic, address.clone());
            }
        }
        let mut discoveries = self.discover()?;
        loop {
            tokio::select! {
                Some((topic, discovery)) = discoveries.recv() => self.learn(topic, discovery)?,
                Some(event) = self.events.recv() => self.notice(event)?,
                Some(first) = self.deliveries.recv() => {
                    self.write(first).await?;
                    if self.remaining == Some(0) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Ends every subscription, and waits until the brokers know what is finished.
    async fn stop(mut self) {
        self.stopping.send_replace(true);
        let ended = async { while self.consumers.join_next().await.is_some() {} };
        // A broker that does not answer will find out by itself.
        drop(timeout(FAREWELL_PATIENCE, ended).await);
    }

    /// Asks the discovery daemons again and again, apart from all else: one that is slow does not
    /// hold up messages.
    fn discover(&self) -> Result<mpsc::Receiver<(TopicName, Discovery)>, Ending> {
        let (sender, receiver) = mpsc::channel(1);
        let http = Http::new(Patience::default())?;
        let (lookups, topics) = (self.flags.lookupd_http_address.clone(), self.flags.topic.clone());
        if !lookups.is_empty() {
            tokio::spawn(async move {
                loop {
                    let mut pause = LOOKUP_INTERVAL;
                    for &topic in &topics {
                        let discovery = http.discover(&lookups, topic).await;
                        if discovery.brokers.is_empty() {
                            pause = IMPATIENT_LOOKUP_INTERVAL;
                        }
                        if sender.send((topic, discovery)).await.is_err() {
                            return;
                        }
                    }
                    sleep(pause).await;
                }
            });
        }
        Ok(receiver)
    }

    /// Takes in what the discovery daemons said.
    fn learn(&mut self, topic: TopicName, discovery: Discovery) -> Result<(), Ending> {
        let lookups = &self.flags.lookupd_http_address;
        let answered = discovery.failures.len() < lookups.len();
        let failures = discovery
            .failures
            .iter()
            .map(|failure| format!("{} does not answer: {}", failure.address, failure.reason));
        if !answered && !self.was_subscribed && self.wanted.is_empty() {
            let failures: Vec<String> = failures.collect();
            return Err(Ending::Failed(format!(
                "no nsqlookupd answers at {}\n  {}\ncheck that nsqlookupd runs there, and that this is \
                 its HTTP address (port 4161 by default, not 4160)",
                address::list(lookups),
                failures.join("\n  "),
            )));
        }
        failures.for_each(|text| note(&text));
        let is_new = !self.wanted.iter().any(|(wanted, _)| *wanted == topic);
        if is_new
            && self.flags.channel.is_none()
            && !discovery.brokers.is_empty()
            && !discovery.has_channels
        {
            note(&format!(
                "the topic {topic} has no channel yet: ours takes what waits in it, and what is \
                 printed is gone"
            ));
        }
        for broker in discovery.brokers {
            self.want(topic, broker.tcp);
        }
        let has_broker = self.wanted.iter().any(|(wanted, _)| *wanted == topic);
        if has_broker {
            self.missing.remove(&topic);
        } else if answered && self.missing.insert(topic) {
            note(&format!("no broker has the topic {topic} yet; waiting for one"));
        }
        Ok(())
    }

    /// Keeps up a subscription from now on.
    fn want(&mut self, topic: TopicName, address: Address) {
        if !self.wanted.insert((topic, address.clone())) {
            return;
        }
        let share = self.share(1);
        let ready = self.ready.entry(topic).or_insert_with(|| watch::Sender::new(share));
        let is_discovered = !self.flags.lookupd_http_address.is_empty();
        let consumer = Consumer {
            address,
            topic,
            channel: self.channel,
            attempts_max: is_discovered.then_some(DISCOVERED_ATTEMPTS_MAX),
            ready: ready.subscribe(),
            stopping: self.stopping.subscribe(),
            deliveries: self.delivery_sender.clone(),
            events: self.event_sender.clone(),
        };
        self.consumers.spawn(consumer.run());
    }

    /// Takes in what happened to a subscription, and shares the messages in flight anew.
    fn notice(&mut self, Event { topic, address, change }: Event) -> Result<(), Ending> {
        let subscription = (topic, address.clone());
        match change {
            Change::Subscribed => {
                note(&format!("subscribed to {topic}/{} at {address}", self.channel));
                self.was_subscribed = true;
                self.failed.remove(&subscription);
                self.subscribed.insert(subscription);
            }
            Change::Lost { lost, pause } => {
                let text = format!("{address} {}", lost.text());
                self.subscribed.remove(&subscription);
                self.failed.insert(subscription.clone(), text.clone());
                if pause.is_none() {
                    self.wanted.remove(&subscription);
                }
                self.check_for_hope()?;
                let next = match pause {
                    Some(pause) => format!("trying again in {}", duration::format(pause)),
                    None => "giving it up until nsqlookupd tells of it again".to_owned(),
                };
                note(&format!("{text}; {next}"));
            }
        }
        let brokers = self.subscribed.iter().filter(|(other, _)| *other == topic).count();
        let share = self.share(brokers);
        if let Some(ready) = self.ready.get(&topic) {
            ready.send_if_modified(|ready| std::mem::replace(ready, share) != share);
        }
        Ok(())
    }

    /// When no broker that the user named could be subscribed to from the start, trying again would
    /// only hide a mistake.
    fn check_for_hope(&self) -> Result<(), Ending> {
        let brokers = &self.flags.nsqd_tcp_address;
        if self.was_subscribed || brokers.is_empty() || self.failed.len() < self.wanted.len() {
            return Ok(());
        }
        let mut failures: Vec<&str> = self.failed.values().map(String::as_str).collect();
        failures.dedup();
        Err(Ending::Failed(format!(
            "no nsqd can be subscribed to at {}\n  {}\ncheck that nsqd runs there, and that this is its \
             TCP address (port 4150 by default, not 4151)",
            address::list(brokers),
            failures.join("\n  "),
        )))
    }

    /// How many messages each of so many brokers may have in flight: at least one, or a broker would
    /// never be heard.
    fn share(&self, brokers: usize) -> u64 {
        let all = u64::from(self.flags.max_in_flight).min(self.remaining.unwrap_or(u64::MAX));
        (all / brokers.max(1) as u64).max(1)
    }

    /// Writes a message and those that came with it, and only then finishes them.
    async fn write(&mut self, first: Delivery) -> Result<(), Ending> {
        let mut lines = Vec::new();
        let mut receipts = Vec::new();
        let mut next = Some(first);
        while let Some(Delivery { topic, body, receipt }) = next {
            if self.flags.print_topic {
                lines.extend_from_slice(topic.as_bytes());
                lines.extend_from_slice(b" | ");
            }
            lines.extend_from_slice(&body);
            lines.push(b'\n');
            receipts.push(receipt);
            let enough = WRITE_BYTES <= lines.len()
                || self.remaining.is_some_and(|remaining| remaining <= receipts.len() as u64);
            next = if enough { None } else { self.deliveries.try_recv().ok() };
        }
        self.output.write(&lines).await?;
        if let Some(remaining) = &mut self.remaining {
            *remaining -= receipts.len() as u64;
        }
        receipts.into_iter().for_each(Receipt::finish);
        Ok(())
    }
}

/// A channel that nobody else has, and that goes with us.
fn ephemeral_channel() -> ChannelName {
    // The keys of a hash map are the randomness that the standard library has.
    let random = RandomState::new().build_hasher().finish() % 1_000_000;
    ChannelName::parse(format!("tail{random:06}#ephemeral").as_bytes()).expect("a legal name")
}
