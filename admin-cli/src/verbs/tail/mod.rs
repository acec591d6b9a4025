//! `admin-cli tail`: prints messages as they come.
//!
//! Knows: which brokers are subscribed to, how many messages each may have in flight, and when
//! enough is printed. How a message looks is [`mod@format`], the conversation [`crate::client::consumer`].

mod format;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::Duration;

use clap::{ArgAction, Parser};
use protocol::name::{ChannelName, TopicName};
use startup::{duration, flags};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::command_line;
use crate::address::{self, Address};
use crate::client::consumer::{Consumer, Event, NotConnected};
use crate::client::log::Log;
use crate::client::message::Batch;
use crate::client::options::Options;
use crate::client::random;
use crate::cluster::{Discovery, Http, Patience};
use crate::terminal::{Ending, Interrupt, Output, note};
use format::{Fields, Form, Printed};

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
/// Batches that wait to be printed, of all topics together.
const BATCHES: usize = 16;
/// The first and the longest pause before connecting again; it doubles between them.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

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
    /// form of messages: pretty (JSON on several lines), json (an object a line with all that is known), hex, or raw (default: pretty in a terminal, else raw)
    #[arg(long)]
    format: Option<Form>,
    /// print the topic in front of each message: topic | body
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_topic: bool,
    /// print when the message was published in front of it
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_timestamp: bool,
    /// print the id in front of each message
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_id: bool,
    /// print how often the message was delivered in front of it, this time included
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_attempts: bool,
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
    form: Form,
    fields: Fields,
    output: Output,

    consumers: HashMap<TopicName, Rc<Consumer>>,
    options: Rc<Options>,
    /// They carry what each consumer has to where all is printed, and connect again.
    carriers: JoinSet<()>,
    /// The subscriptions that are kept up.
    wanted: BTreeSet<Subscription>,
    /// Those of them that get messages.
    subscribed: BTreeSet<Subscription>,
    /// Whether any subscription has ever got so far. Until then, a failure of all ends the program.
    was_subscribed: bool,
    /// Those that failed last time, and why.
    failed: BTreeMap<Subscription, String>,
    /// How often each has failed in a row.
    failures: HashMap<Subscription, u32>,
    /// The topics of which the user knows that no broker has them.
    missing: BTreeSet<TopicName>,

    delivery_sender: mpsc::Sender<Delivery>,
    deliveries: mpsc::Receiver<Delivery>,
    /// As few as connections are made and lost.
    news_sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

/// Messages that came together.
struct Delivery {
    topic: TopicName,
    batch: Batch,
}

/// What happened to a subscription.
struct News {
    topic: TopicName,
    address: Address,
    change: Change,
}

enum Change {
    /// Messages may come.
    Subscribed,
    /// No more messages come; this says why.
    Lost(String),
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
        let (delivery_sender, deliveries) = mpsc::channel(BATCHES);
        let (news_sender, news) = mpsc::unbounded_channel();
        let wanted = u64::from(flags.max_in_flight).min(remaining.unwrap_or(u64::MAX));
        let options = Options {
            max_in_flight: i64::try_from(wanted).unwrap_or(i64::MAX),
            // Whoever looks at messages is not the one to give them up.
            max_attempts: 0,
            user_agent: concat!("admin-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Options::default()
        };
        Ok(Self {
            channel: flags.channel.unwrap_or_else(ephemeral_channel),
            remaining,
            form: flags.format.unwrap_or_else(|| {
                if io::stdout().is_terminal() { Form::Pretty } else { Form::Raw }
            }),
            fields: Fields {
                topic: flags.print_topic,
                timestamp: flags.print_timestamp,
                id: flags.print_id,
                attempts: flags.print_attempts,
            },
            output: Output::open(),
            consumers: HashMap::new(),
            options: Rc::new(options),
            carriers: JoinSet::new(),
            wanted: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            was_subscribed: false,
            failed: BTreeMap::new(),
            failures: HashMap::new(),
            missing: BTreeSet::new(),
            delivery_sender,
            deliveries,
            news_sender,
            news,
            flags,
        })
    }

    /// Prints until enough is printed.
    async fn print(&mut self) -> Result<(), Ending> {
        for address in self.flags.nsqd_tcp_address.clone() {
            for topic in self.flags.topic.clone() {
                self.want(topic, address.clone())?;
            }
        }
        let mut discoveries = self.discover()?;
        loop {
            tokio::select! {
                Some((topic, discovery)) = discoveries.recv() => self.learn(topic, discovery)?,
                Some(news) = self.news.recv() => self.notice(news)?,
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
        self.carriers.abort_all();
        self.consumers.values().for_each(|consumer| consumer.stop());
        // What was not printed stays in flight until its timeout.
        drop(self.deliveries);
        let ended = async {
            for consumer in self.consumers.values() {
                while consumer.next().await.is_some() {}
            }
        };
        // A broker that does not answer will find out by itself.
        timeout(FAREWELL_PATIENCE, ended).await.ok();
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
            self.want(topic, broker.tcp)?;
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
    fn want(&mut self, topic: TopicName, address: Address) -> Result<(), Ending> {
        if !self.wanted.insert((topic, address.clone())) {
            return Ok(());
        }
        let consumer = match self.consumers.get(&topic) {
            Some(consumer) => consumer.clone(),
            None => self.consume(topic)?,
        };
        self.connect(consumer, topic, address, Duration::ZERO);
        Ok(())
    }

    /// Begins with a topic.
    fn consume(&mut self, topic: TopicName) -> Result<Rc<Consumer>, Ending> {
        let (name, channel) = (topic.as_str(), self.channel.as_str());
        let (consumer, mut events) =
            Consumer::manual(name, channel, self.options.clone(), &Log::silent())
                .map_err(Ending::Failed)?;
        let consumer = Rc::new(consumer);
        self.consumers.insert(topic, consumer.clone());

        let (source, sender) = (consumer.clone(), self.delivery_sender.clone());
        self.carriers.spawn_local(async move {
            while let Some(batch) = source.next().await {
                if sender.send(Delivery { topic, batch }).await.is_err() {
                    return;
                }
            }
        });
        let sender = self.news_sender.clone();
        self.carriers.spawn_local(async move {
            while let Some(event) = events.recv().await {
                let (address, change) = match event {
                    Event::Subscribed { address } => (address, Change::Subscribed),
                    Event::Ended { address, reason, refusal } => {
                        (address, Change::Lost(why_lost(&reason, refusal)))
                    }
                };
                // Not parsed: an nsqlookupd may have told it without a host, which means this machine.
                let address = Address::as_given(&address);
                // Nobody listens when the whole program ends, and then it does not matter.
                sender.send(News { topic, address, change }).ok();
            }
        });
        Ok(consumer)
    }

    /// Connects after a pause.
    fn connect(
        &mut self,
        consumer: Rc<Consumer>,
        topic: TopicName,
        address: Address,
        pause: Duration,
    ) {
        let sender = self.news_sender.clone();
        self.carriers.spawn_local(async move {
            sleep(pause).await;
            if let Err(NotConnected::Failed(error)) = consumer.connect(address.as_str()).await {
                let change = Change::Lost(error.for_people());
                // Nobody listens when the whole program ends, and then it does not matter.
                sender.send(News { topic, address, change }).ok();
            }
        });
    }

    /// Takes in what happened to a subscription.
    fn notice(&mut self, News { topic, address, change }: News) -> Result<(), Ending> {
        let subscription = (topic, address.clone());
        match change {
            Change::Subscribed => {
                note(&format!("subscribed to {topic}/{} at {address}", self.channel));
                self.was_subscribed = true;
                self.failed.remove(&subscription);
                self.failures.remove(&subscription);
                self.subscribed.insert(subscription);
            }
            Change::Lost(reason) => {
                let text = format!("{address} {reason}");
                self.subscribed.remove(&subscription);
                self.failed.insert(subscription.clone(), text.clone());
                let failures = self.failures.entry(subscription.clone()).or_insert(0);
                *failures += 1;
                let is_discovered = !self.flags.lookupd_http_address.is_empty();
                let is_given_up = is_discovered && DISCOVERED_ATTEMPTS_MAX <= *failures;
                let pause = pause_after(*failures);
                if is_given_up {
                    self.wanted.remove(&subscription);
                    self.failures.remove(&subscription);
                }
                self.check_for_hope()?;
                let next = if is_given_up {
                    "giving it up until nsqlookupd tells of it again".to_owned()
                } else {
                    if let Some(consumer) = self.consumers.get(&topic).cloned() {
                        self.connect(consumer, topic, address, pause);
                    }
                    format!("trying again in {}", duration::format(pause))
                };
                note(&format!("{text}; {next}"));
            }
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

    /// Writes messages and those that came with them, and only then finishes them.
    async fn write(&mut self, first: Delivery) -> Result<(), Ending> {
        let mut lines = Vec::new();
        let mut printed: Vec<Batch> = Vec::new();
        let mut next = Some(first);
        while let Some(Delivery { topic, mut batch }) = next {
            if let Some(remaining) = &mut self.remaining {
                let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX);
                // What is beyond stays in flight until its timeout.
                drop(batch.split_off(wanted));
                *remaining -= batch.len() as u64;
            }
            for message in &batch {
                let message = Printed {
                    topic: topic.as_str(),
                    nsqd: message.address(),
                    timestamp: message.timestamp,
                    id: message.id,
                    attempts: message.attempts,
                    body: &message.body,
                };
                format::print(&mut lines, &message, self.form, self.fields);
            }
            printed.push(batch);
            let enough = WRITE_BYTES <= lines.len() || self.remaining == Some(0);
            next = if enough { None } else { self.deliveries.try_recv().ok() };
        }
        self.output.write(&lines).await?;
        printed.into_iter().for_each(Batch::finish);
        Ok(())
    }
}

/// Why a connection was lost, for a person.
fn why_lost(reason: &str, refusal: Option<String>) -> String {
    match (refusal, reason) {
        (Some(text), _) => format!("refuses: {text}"),
        (None, "EOF" | "unexpected EOF") => "has closed the connection".to_owned(),
        (None, reason) => format!("is lost: {reason}"),
    }
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(doublings))
}

/// A channel that nobody else has, and that goes with us.
fn ephemeral_channel() -> ChannelName {
    let number = random::below(1_000_000);
    ChannelName::parse(format!("tail{number:06}#ephemeral").as_bytes()).expect("a legal name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let seconds = [1, 2, 3, 4, 5, 6, 7, 1_000].map(|failures| pause_after(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
