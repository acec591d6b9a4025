//! `nsq_to_http`: sends messages to web servers, as GET or POST.
//!
//! Knows: the flags, and when a message is finished. Does not know: how a request gets there, which
//! is the affair of [`sender`], or whose turn it is, which is that of
//! [`super::upstreams`].
//!
//! Rule (NSQ behaviour): a POST is good with a status from 200 to 299, a GET with 200 only. What is
//! not good is requeued with go-nsq's default delay, and the consumer backs off.
//!
//! Bounds: `-n` requests at once; messages in memory, `--max-in-flight`.

mod answer;
mod connection;
mod headers;
mod sender;
mod template;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Parser};
use startup::version::NSQ_VERSION;
use startup::{duration, flags, float};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::Instant;

use self::headers::Headers;
use self::sender::{Method, Sender};
use super::upstreams::{Turns, Upstreams};
use super::{Failure, print_version};
use crate::client::consumer::Consumer;
use crate::client::log::{self, Log};
use crate::client::message::Message;
use crate::client::options::{Options, Setting};
use crate::client::random;
use crate::terminal::Interrupt;

/// What a body is, where nobody says it.
const CONTENT_TYPE: &str = "application/octet-stream";

/// The flags of `nsq_to_http`.
#[derive(Debug, Parser)]
#[command(name = "nsq_to_http")]
pub(crate) struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    version: bool,
    /// nsq topic
    #[arg(long, default_value = "")]
    topic: String,
    /// nsq channel
    #[arg(long, default_value = "nsq_to_http")]
    channel: String,
    /// max number of messages to allow in flight
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "200")]
    max_in_flight: i64,
    /// number of concurrent publishers
    #[arg(long = "n", value_parser = flags::integer::<i64>, default_value = "100")]
    publishers: i64,
    /// the upstream request mode options: round-robin, hostpool (default), epsilon-greedy
    #[arg(long, default_value = "hostpool")]
    mode: String,
    /// % of messages to publish (float b/w 0 -> 1)
    #[arg(long, value_parser = float::parse, default_value = "1")]
    sample: f64,
    /// timeout for HTTP connect
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    http_client_connect_timeout: Duration,
    /// timeout for HTTP request
    #[arg(long, value_parser = duration::parse, default_value = "20s")]
    http_client_request_timeout: Duration,
    /// the # of requests between logging status (per handler), 0 disables
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "250")]
    status_every: i64,
    /// the Content-Type used for POST requests
    #[arg(long, default_value = CONTENT_TYPE)]
    content_type: String,
    /// HTTP address to make a POST request to.  data will be in the body (may be given multiple times)
    #[arg(long)]
    post: Vec<String>,
    /// Custom header for HTTP requests (may be given multiple times)
    #[arg(long)]
    header: Vec<String>,
    /// HTTP address to make a GET request to. '%s' will be printf replaced with data (may be given multiple times)
    #[arg(long)]
    get: Vec<String>,
    /// nsqd TCP address (may be given multiple times)
    #[arg(long)]
    nsqd_tcp_address: Vec<String>,
    /// lookupd HTTP address (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<String>,
    #[arg(long, help = super::CONSUMER_OPT)]
    consumer_opt: Vec<Setting>,
}

impl Flags {
    /// The headers of all requests, when the flags fit together.
    fn check(&self) -> Result<Headers, Failure> {
        let fatal = |text: &str| Err(Failure::fatal(text));
        let content_type = (!self.post.is_empty()).then_some(self.content_type.as_str());
        let user_agent = format!("nsq_to_http v{NSQ_VERSION}");
        let Ok(headers) = Headers::new(&user_agent, content_type, &self.header) else {
            return fatal("--header value format should be 'key=value'");
        };
        if self.topic.is_empty() || self.channel.is_empty() {
            return fatal("--topic and --channel are required");
        }
        if self.content_type != CONTENT_TYPE {
            if self.post.is_empty() {
                return fatal("--content-type only used with --post");
            }
            if self.content_type.is_empty() {
                return fatal("--content-type requires a value when used");
            }
        }
        match (self.nsqd_tcp_address.is_empty(), self.lookupd_http_address.is_empty()) {
            (true, true) => return fatal("--nsqd-tcp-address or --lookupd-http-address required"),
            (false, false) => {
                return fatal("use --nsqd-tcp-address or --lookupd-http-address not both");
            }
            _ => {}
        }
        match (self.get.is_empty(), self.post.is_empty()) {
            (true, true) => return fatal("--get or --post required"),
            (false, false) => return fatal("use --get or --post not both"),
            _ => {}
        }
        if self.get.iter().any(|address| address.matches(template::PLACE).count() != 1) {
            return fatal("invalid GET address - must be a printf string");
        }
        if !(0.0..=1.0).contains(&self.sample) && !self.sample.is_nan() {
            return fatal("ERROR: --sample must be between 0.0 and 1.0");
        }
        Ok(headers)
    }
}

/// Sends messages until it is told to end.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    if flags.version {
        print_version("nsq_to_http");
        return Ok(());
    }
    let headers = flags.check()?;
    let mut interrupt = Interrupt::listen()?;
    let mut options = Options::for_utility("nsq_to_http", &flags.consumer_opt)
        .map_err(|invalid| Failure::option("consumer-opt", &invalid))?;
    options.max_in_flight = flags.max_in_flight;
    let consumer = Consumer::new(&flags.topic, &flags.channel, Rc::new(options), &Log::to_stderr())
        .map_err(Failure::Fatal)?;
    let handler = Rc::new(Handler::new(&flags, headers));
    let publishers = usize::try_from(flags.publishers).unwrap_or(0).min(Semaphore::MAX_PERMITS);
    if publishers == 0 {
        return Err(Failure::fatal("no handlers"));
    }
    let consumer = Rc::new(consumer);
    spawn_local(handle_all(consumer.clone(), handler, publishers));
    let connecting = async {
        consumer.connect_to_nsqds(&flags.nsqd_tcp_address).await?;
        consumer.connect_to_lookupds(&flags.lookupd_http_address).await
    };
    tokio::select! {
        connected = connecting => connected.map_err(Failure::Fatal)?,
        () = interrupt.wait() => consumer.stop(),
    }
    tokio::select! {
        () = consumer.ended() => return Ok(()),
        () = interrupt.wait() => consumer.stop(),
    }
    // A request that is still under way then is given up, and its message comes again.
    consumer.ended().await;
    Ok(())
}

/// Handles what the consumer gets, until it has ended.
async fn handle_all(consumer: Rc<Consumer>, handler: Rc<Handler>, publishers: usize) {
    let places = Arc::new(Semaphore::new(publishers));
    while let Some(batch) = consumer.next().await {
        for message in batch {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let handler = handler.clone();
            spawn_local(async move {
                handler.handle(message).await;
                drop(place);
            });
        }
    }
}

/// Where messages go.
struct Handler {
    is_get: bool,
    /// Whether each message goes to every address.
    to_all: bool,
    upstreams: RefCell<Upstreams>,
    sender: Sender,
    /// The share of messages that are sent at all.
    sample: f64,
}

impl Handler {
    fn new(flags: &Flags, headers: Headers) -> Self {
        let is_get = flags.post.is_empty();
        let addresses = if is_get { flags.get.clone() } else { flags.post.clone() };
        let turns = Turns::of_mode(&flags.mode);
        let (upstreams, warnings) = Upstreams::new(
            addresses,
            turns.unwrap_or(Turns::Fixed),
            flags.status_every,
            Instant::now(),
        );
        warnings.iter().for_each(|warning| log::line(warning));
        let connect_limit = flags.http_client_connect_timeout;
        Self {
            is_get,
            to_all: turns.is_none(),
            upstreams: RefCell::new(upstreams),
            sender: Sender::new(headers, connect_limit, flags.http_client_request_timeout),
            sample: flags.sample,
        }
    }

    /// Answers a message when it is known what became of it.
    async fn handle(&self, message: Message) {
        if self.sample < 1.0 && self.sample < random::fraction() {
            message.finish();
            return;
        }
        let outcome =
            if self.to_all { self.send_to_all(&message).await } else { self.send(&message).await };
        match outcome {
            Ok(()) => message.finish(),
            Err(reason) => message.fail(&reason),
        }
    }

    async fn send_to_all(&self, message: &Message) -> Result<(), String> {
        let begin = Instant::now();
        let count = self.upstreams.borrow().len();
        for position in 0..count {
            let begin = Instant::now();
            self.send_to(position, &message.body).await?;
            self.done_at(position, begin);
        }
        self.done(begin);
        Ok(())
    }

    async fn send(&self, message: &Message) -> Result<(), String> {
        let begin = Instant::now();
        let position = self.upstreams.borrow_mut().pick(begin, random::fraction);
        let outcome = self.send_to(position, &message.body).await;
        let now = Instant::now();
        match outcome {
            Ok(()) => self.upstreams.borrow_mut().succeeded(position, now - begin, now),
            Err(reason) => {
                self.upstreams.borrow_mut().failed(position, now);
                return Err(reason);
            }
        }
        self.done_at(position, begin);
        self.done(begin);
        Ok(())
    }

    async fn send_to(&self, position: usize, body: &[u8]) -> Result<(), String> {
        let address = self.upstreams.borrow().address(position).to_owned();
        let (status, is_good) = if self.is_get {
            let address = template::fill(&address, &template::query_escape(body));
            let status = self.sender.send(&address, Method::Get).await?;
            (status, status == 200)
        } else {
            let status = self.sender.send(&address, Method::Post(body)).await?;
            (status, (200..300).contains(&status))
        };
        if is_good { Ok(()) } else { Err(format!("got status code {status}")) }
    }

    fn done_at(&self, position: usize, begin: Instant) {
        let line = self.upstreams.borrow_mut().done_at(position, begin.elapsed());
        line.iter().for_each(|line| log::line(line));
    }

    fn done(&self, begin: Instant) {
        let line = self.upstreams.borrow_mut().done(begin.elapsed());
        line.iter().for_each(|line| log::line(line));
    }
}
