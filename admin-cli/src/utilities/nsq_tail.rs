//! `nsq_tail`: prints messages as they come.
//!
//! Knows: what a line looks like, and when enough is printed. Other than NSQ's, it finishes the
//! messages that it has printed before it ends.

use std::rc::Rc;
use std::time::Duration;

use clap::{ArgAction, Parser};
use startup::flags;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{CONSUMER_OPT, Failure, print_version};
use crate::client::consumer::Consumer;
use crate::client::log::{self, Log};
use crate::client::message::Batch;
use crate::client::options::{Options, Setting};
use crate::client::random;
use crate::terminal::{Interrupt, Output};

/// How long to wait at the end of `-n` until the brokers know what was printed.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);

/// The flags of `nsq_tail`.
#[derive(Debug, Parser)]
#[command(name = "nsq_tail")]
pub(crate) struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    version: bool,
    /// NSQ channel
    #[arg(long, default_value = "")]
    channel: String,
    /// max number of messages to allow in flight
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "200")]
    max_in_flight: i64,
    /// total messages to show (will wait if starved)
    #[arg(long = "n", value_parser = flags::integer::<i64>, default_value = "0")]
    count: i64,
    /// print topic name where message was received
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    print_topic: bool,
    /// nsqd TCP address (may be given multiple times)
    #[arg(long)]
    nsqd_tcp_address: Vec<String>,
    /// lookupd HTTP address (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<String>,
    /// NSQ topic (may be given multiple times)
    #[arg(long)]
    topic: Vec<String>,
    #[arg(long, help = CONSUMER_OPT)]
    consumer_opt: Vec<Setting>,
}

/// Prints until `-n` is reached for a topic, or it is told to end.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    let mut options = Options::for_utility("nsq_tail", &flags.consumer_opt)
        .map_err(|invalid| Failure::option("consumer-opt", &invalid))?;
    if flags.version {
        print_version("nsq_tail");
        return Ok(());
    }
    if flags.nsqd_tcp_address.is_empty() && flags.lookupd_http_address.is_empty() {
        return Err(Failure::fatal("--nsqd-tcp-address or --lookupd-http-address required"));
    }
    if !flags.nsqd_tcp_address.is_empty() && !flags.lookupd_http_address.is_empty() {
        let text = "use --nsqd-tcp-address or --lookupd-http-address not both";
        return Err(Failure::fatal(text));
    }
    if flags.topic.is_empty() {
        return Err(Failure::fatal("--topic required"));
    }
    let mut interrupt = Interrupt::listen()?;
    options.max_in_flight = match flags.count {
        // It does not ask for more than it wants.
        count if 0 < count => flags.max_in_flight.min(count),
        _ => flags.max_in_flight,
    };
    let channel = match flags.channel.as_str() {
        "" => format!("tail{:06}#ephemeral", random::below(999_999)),
        channel => channel.to_owned(),
    };
    let mut tail = Tail {
        options: Rc::new(options),
        log: Log::to_stderr(),
        output: Rc::new(Mutex::new(Output::open())),
        consumers: Vec::new(),
        printers: JoinSet::new(),
        flags,
        channel,
    };
    tokio::select! {
        outcome = tail.print() => outcome?,
        () = interrupt.wait() => {}
    }
    tail.stop().await
}

struct Tail {
    flags: Flags,
    channel: String,
    options: Rc<Options>,
    log: Log,
    /// One message is printed at a time, whatever its topic.
    output: Rc<Mutex<Output>>,
    consumers: Vec<Rc<Consumer>>,
    /// A task for each topic.
    printers: JoinSet<Result<(), Failure>>,
}

impl Tail {
    /// Prints until enough is printed of a topic.
    async fn print(&mut self) -> Result<(), Failure> {
        for topic in &self.flags.topic {
            log::line(&format!("Adding consumer for topic: {topic}"));
            let consumer = Consumer::new(topic, &self.channel, self.options.clone(), &self.log)
                .map_err(Failure::Fatal)?;
            let consumer = Rc::new(consumer);
            let printer = Printer {
                consumer: consumer.clone(),
                output: self.output.clone(),
                prefix: if self.flags.print_topic { format!("{topic} | ") } else { String::new() },
                remaining: usize::try_from(self.flags.count).ok().filter(|&count| 0 < count),
            };
            self.consumers.push(consumer.clone());
            self.printers.spawn_local(printer.run());
            consumer
                .connect_to_nsqds(&self.flags.nsqd_tcp_address)
                .await
                .map_err(Failure::Fatal)?;
            let lookups = &self.flags.lookupd_http_address;
            consumer.connect_to_lookupds(lookups).await.map_err(Failure::Fatal)?;
        }
        match self.printers.join_next().await {
            Some(Ok(outcome)) => {
                // NSQ's ends here without a word.
                self.log.fall_silent();
                outcome
            }
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Takes what is in flight to its end, and goes.
    async fn stop(mut self) -> Result<(), Failure> {
        let is_enough = self.printers.len() < self.consumers.len();
        self.consumers.iter().for_each(|consumer| consumer.stop());
        if is_enough {
            let ended = async {
                for consumer in &self.consumers {
                    // What came beyond what was wanted goes back.
                    while let Some(batch) = consumer.next().await {
                        let immediately = Some(Duration::ZERO);
                        batch
                            .into_iter()
                            .for_each(|message| message.requeue_without_backoff(immediately));
                    }
                }
            };
            self.printers.abort_all();
            // A broker that does not answer will find out by itself.
            timeout(FAREWELL_PATIENCE, ended).await.ok();
            return Ok(());
        }
        while let Some(ended) = self.printers.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

/// Prints the messages of one topic.
struct Printer {
    consumer: Rc<Consumer>,
    output: Rc<Mutex<Output>>,
    prefix: String,
    /// How many are still to be printed; `None` when there is no end.
    remaining: Option<usize>,
}

impl Printer {
    /// Prints until it was enough, or the consumer has ended.
    async fn run(mut self) -> Result<(), Failure> {
        let mut lines = Vec::new();
        while let Some(mut batch) = self.consumer.next().await {
            let beyond = batch.split_off(self.remaining.unwrap_or(usize::MAX));
            self.push(&batch, &mut lines);
            self.output
                .lock()
                .await
                .write_all(&lines)
                .await
                .map_err(|error| Failure::output(&error))?;
            lines.clear();
            if let Some(remaining) = &mut self.remaining {
                *remaining -= batch.len();
            }
            if self.remaining == Some(0) {
                // Said before the last FIN, so that no other message comes in its place.
                self.consumer.set_max_in_flight(0);
            }
            batch.finish();
            for message in beyond {
                message.requeue_without_backoff(Some(Duration::ZERO));
            }
            if self.remaining == Some(0) {
                break;
            }
        }
        Ok(())
    }

    fn push(&self, batch: &Batch, lines: &mut Vec<u8>) {
        for message in batch {
            lines.extend_from_slice(self.prefix.as_bytes());
            lines.extend_from_slice(&message.body);
            lines.push(b'\n');
        }
    }
}
