//! `nsq_to_nsq`: publishes messages again, at other nsqds.
//!
//! Knows: the flags, and when a message is finished: when the destination has taken it. Does not
//! know: which messages pass, which is the affair of [`filter`], or whose turn it is, which is that
//! of [`super::upstreams`].
//!
//! Rule (NSQ behaviour): for each topic as many messages are looked at and handed to connections at
//! once as there are destinations; how many wait for an answer is bounded by `--max-in-flight` only.

mod filter;
mod object;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use clap::{ArgAction, Parser};
use protocol::name::{ChannelName, TopicName};
use startup::flags;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::Instant;

use self::filter::{Filter, Verdict};
use super::upstreams::{Turns, Upstreams};
use super::{Failure, print_version};
use crate::client::consumer::Consumer;
use crate::client::log::{self, Log};
use crate::client::message::Message;
use crate::client::options::{Options, Setting};
use crate::client::producer::{Producer, PublishError};
use crate::client::random;
use crate::terminal::Interrupt;

/// The flags of `nsq_to_nsq`.
#[derive(Debug, Parser)]
#[command(name = "nsq_to_nsq")]
pub(crate) struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    version: bool,
    /// nsq channel
    #[arg(long, default_value = "nsq_to_nsq")]
    channel: String,
    /// use this destination topic for all consumed topics (default is consumed topic name)
    #[arg(long, default_value = "")]
    destination_topic: String,
    /// max number of messages to allow in flight
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "200")]
    max_in_flight: i64,
    /// the # of requests between logging status (per destination), 0 disables
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "250")]
    status_every: i64,
    /// the upstream request mode options: round-robin, hostpool (default), epsilon-greedy
    #[arg(long, default_value = "hostpool")]
    mode: String,
    /// nsqd TCP address (may be given multiple times)
    #[arg(long)]
    nsqd_tcp_address: Vec<String>,
    /// destination nsqd TCP address (may be given multiple times)
    #[arg(long)]
    destination_nsqd_tcp_address: Vec<String>,
    /// lookupd HTTP address (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<String>,
    /// nsq topic (may be given multiple times)
    #[arg(long)]
    topic: Vec<String>,
    /// for JSON messages: pass this field (may be given multiple times)
    #[arg(long)]
    whitelist_json_field: Vec<String>,
    /// for JSON messages: only pass messages that contain this field
    #[arg(long, default_value = "")]
    require_json_field: String,
    /// for JSON messages: only pass messages in which the required field has this value
    #[arg(long, default_value = "")]
    require_json_value: String,
    #[arg(
        long,
        help = "option to passthrough to nsq.Consumer (may be given multiple times, see http://godoc.org/github.com/nsqio/go-nsq#Config)"
    )]
    consumer_opt: Vec<Setting>,
    #[arg(
        long,
        help = "option to passthrough to nsq.Producer (may be given multiple times, see http://godoc.org/github.com/nsqio/go-nsq#Config)"
    )]
    producer_opt: Vec<Setting>,
}

impl Flags {
    /// Whether the flags fit together.
    fn check(&self) -> Result<(), Failure> {
        let fatal = |text: &str| Err(Failure::fatal(text));
        if self.topic.is_empty() || self.channel.is_empty() {
            return fatal("--topic and --channel are required");
        }
        let is_topic = |name: &str| TopicName::parse(name.as_bytes()).is_ok();
        if !self.topic.iter().all(|topic| is_topic(topic)) {
            return fatal("--topic is invalid");
        }
        if !self.destination_topic.is_empty() && !is_topic(&self.destination_topic) {
            return fatal("--destination-topic is invalid");
        }
        if ChannelName::parse(self.channel.as_bytes()).is_err() {
            return fatal("--channel is invalid");
        }
        match (self.nsqd_tcp_address.is_empty(), self.lookupd_http_address.is_empty()) {
            (true, true) => return fatal("--nsqd-tcp-address or --lookupd-http-address required"),
            (false, false) => {
                return fatal("use --nsqd-tcp-address or --lookupd-http-address not both");
            }
            _ => {}
        }
        if self.destination_nsqd_tcp_address.is_empty() {
            return fatal("--destination-nsqd-tcp-address required");
        }
        Ok(())
    }

    fn options(&self, flag: &str, settings: &[Setting]) -> Result<Options, Failure> {
        Options::for_utility("nsq_to_nsq", settings)
            .map_err(|invalid| Failure::option(flag, &invalid))
    }
}

/// Publishes messages again until it is told to end.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    if flags.version {
        print_version("nsq_to_nsq");
        return Ok(());
    }
    flags.check()?;
    let mut interrupt = Interrupt::listen()?;
    let mut consumer_options = flags.options("consumer-opt", &flags.consumer_opt)?;
    consumer_options.max_in_flight = flags.max_in_flight;
    let consumer_options = Rc::new(consumer_options);
    let log = Log::to_stderr();
    let forwarder = Rc::new(Forwarder::new(&flags, &log)?);

    let mut consumers = Vec::new();
    for topic in &flags.topic {
        let consumer = Consumer::new(topic, &flags.channel, consumer_options.clone(), &log)
            .map_err(Failure::Fatal)?;
        let consumer = Rc::new(consumer);
        let destination =
            if flags.destination_topic.is_empty() { topic } else { &flags.destination_topic };
        let handler = Handler {
            forwarder: forwarder.clone(),
            destination: destination.as_str().into(),
            places: Arc::new(Semaphore::new(flags.destination_nsqd_tcp_address.len())),
        };
        spawn_local(handler.handle_all(consumer.clone()));
        consumers.push(consumer);
    }
    let connecting = async {
        for consumer in &consumers {
            consumer.connect_to_nsqds(&flags.nsqd_tcp_address).await?;
        }
        for consumer in &consumers {
            consumer.connect_to_lookupds(&flags.lookupd_http_address).await?;
        }
        Ok(())
    };
    tokio::select! {
        connected = connecting => {
            connected.map_err(Failure::Fatal)?;
            interrupt.wait().await;
        }
        () = interrupt.wait() => {}
    }
    consumers.iter().for_each(|consumer| consumer.stop());
    for consumer in &consumers {
        consumer.ended().await;
    }
    Ok(())
}

/// Handles the messages of one topic.
struct Handler {
    forwarder: Rc<Forwarder>,
    /// The topic at the destination.
    destination: Rc<str>,
    /// How many messages may be handled at once.
    places: Arc<Semaphore>,
}

impl Handler {
    /// Handles what the consumer gets, until it has ended.
    async fn handle_all(self, consumer: Rc<Consumer>) {
        while let Some(batch) = consumer.next().await {
            for message in batch {
                let place = self.places.clone().acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                let (forwarder, destination) = (self.forwarder.clone(), self.destination.clone());
                spawn_local(async move {
                    let Some(handed) = forwarder.hand_over(message).await else { return };
                    // Whether it is taken turns out while others are handled.
                    drop(place);
                    forwarder.publish(handed, &destination).await;
                });
            }
        }
    }
}

/// Publishes messages at the destinations.
struct Forwarder {
    filter: Filter,
    upstreams: RefCell<Upstreams>,
    /// By address.
    producers: HashMap<String, Producer>,
}

/// A message that is about to be published.
struct Handed {
    message: Message,
    /// What it is at the destination; as it came when `None`.
    body: Option<Vec<u8>>,
    /// Which destination.
    position: usize,
    begin: Instant,
}

impl Forwarder {
    fn new(flags: &Flags, log: &Log) -> Result<Self, Failure> {
        let options = Rc::new(flags.options("producer-opt", &flags.producer_opt)?);
        let addresses = flags.destination_nsqd_tcp_address.clone();
        let mut producers = HashMap::new();
        for address in &addresses {
            let producer = Producer::new(address, options.clone(), log)
                .map_err(|reason| Failure::Fatal(format!("failed creating producer {reason}")))?;
            producers.insert(address.clone(), producer);
        }
        // Unlike `nsq_to_http`, it knows no mode in which each message goes to every address.
        let turns = Turns::of_mode(&flags.mode).unwrap_or(Turns::Fixed);
        let (upstreams, warnings) =
            Upstreams::new(addresses, turns, flags.status_every, Instant::now());
        warnings.iter().for_each(|warning| log::line(warning));
        let filter = Filter::new(
            &flags.require_json_field,
            &flags.require_json_value,
            &flags.whitelist_json_field,
        );
        Ok(Self { filter, upstreams: RefCell::new(upstreams), producers })
    }

    /// Looks at a message, and connects to the destination whose turn it is. `None` when the message
    /// is answered already.
    async fn hand_over(&self, message: Message) -> Option<Handed> {
        let body = match self.filter.judge(&message.body) {
            Verdict::Passes(Cow::Borrowed(_)) => None,
            Verdict::Passes(Cow::Owned(body)) => Some(body),
            Verdict::IsDropped => {
                message.finish();
                return None;
            }
            Verdict::IsUnreadable => {
                let body = String::from_utf8_lossy(&message.body);
                log::line(&format!("ERROR: Unable to decode json: {body}"));
                message.finish();
                return None;
            }
            Verdict::LacksField => {
                log::line("ERROR: missing field to check required value");
                message.fail("backoff");
                return None;
            }
        };
        let begin = Instant::now();
        let position = self.upstreams.borrow_mut().pick(begin, random::fraction);
        match self.producer(position).connect().await {
            Ok(()) => Some(Handed { message, body, position, begin }),
            Err(error) => {
                self.upstreams.borrow_mut().failed(position, Instant::now());
                message.fail(&error.to_string());
                None
            }
        }
    }

    /// Publishes, and answers the message when it is known what became of it.
    async fn publish(&self, handed: Handed, topic: &str) {
        let Handed { message, body, position, begin } = handed;
        let body = body.as_deref().unwrap_or(&message.body);
        let outcome = self.producer(position).publish(topic, body).await;
        let now = Instant::now();
        let mut upstreams = self.upstreams.borrow_mut();
        match outcome {
            Ok(()) => {
                upstreams.succeeded(position, now - begin, now);
                message.finish();
            }
            Err(PublishError::Refused(_) | PublishError::NotConnected) => {
                upstreams.failed(position, now);
                message.requeue(None);
            }
            Err(error @ (PublishError::Connect(_) | PublishError::Stopped)) => {
                upstreams.failed(position, now);
                message.fail(&error.to_string());
                return;
            }
        }
        let lines = [upstreams.done_at(position, now - begin), upstreams.done(now - begin)];
        lines.iter().flatten().for_each(|line| log::line(line));
    }

    fn producer(&self, position: usize) -> &Producer {
        let upstreams = self.upstreams.borrow();
        self.producers.get(upstreams.address(position)).expect("every address has a producer")
    }
}
